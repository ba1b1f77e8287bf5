"""CustomTextModel: blocks of convolution and attention over pieces of words; NgramModel: the mean of vectors of n-grams.

No layer mixes the rows of a batch, and padding changes no answer: the answer for a text does not depend on its neighbours.

Axes: B rows, P pieces, D width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from ouvroir.layers import Attention, Head, pooled

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.text.processor import TextProcessor
    from ouvroir.media.text.recipes import Options
    from ouvroir.recipe import Recipe

KERNEL = 5  # pieces that a convolution sees
N_BUCKETS_OF_LENGTH = 4  # parts of a batch that are padded each to its own length
_WIDTH = {"tiny": 64, "small": 96, "base": 192}
_DEPTH = {"tiny": 1, "small": 2, "base": 4}
_GRAM_WIDTH = {"tiny": 32, "small": 64, "base": 128}


class Block(nn.Module):
    """x + γ·conv(x), then x + γ·attention(x), each normalising first; γ, one number a channel, starts at `scale`."""

    def __init__(self, width: int, scale: float, pi: float | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.conv1 = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2)
        self.conv2 = nn.Linear(width, width)
        self.attention = Attention(width, pi)
        self.scale1, self.scale2 = (nn.Parameter(torch.full((width,), scale)) for _ in range(2))

    def forward(self, x: Tensor, is_there: Tensor) -> Tensor:
        """x: (B, P, D), kept; is_there: (B, P) bool."""
        near = self.norm1(x) * is_there[:, :, None]  # what is not there is 0, as beyond the ends
        y = self.conv2(functional.gelu(self.conv1(near.transpose(1, 2)).transpose(1, 2)))
        x = x + y * self.scale1
        found: Tensor = x + self.attention(self.norm2(x), is_there) * self.scale2
        return found


class Embedding(nn.Module):
    """From numbers of pieces to vectors of D/φ numbers, and these to the width D."""

    def __init__(self, n_pieces: int, width: int, ratio: float) -> None:
        super().__init__()
        inner = max(8, round(width / ratio))
        self.table = nn.Embedding(n_pieces, inner, padding_idx=0)
        self.out = nn.Linear(inner, width)
        nn.init.normal_(self.table.weight, std=inner**-0.5)
        with torch.no_grad():
            self.table.weight[0].zero_()

    def forward(self, pieces: Tensor) -> Tensor:
        """pieces: (B, P) int64. Returns (B, P, D)."""
        found: Tensor = self.out(self.table(pieces))
        return found


class Pool(nn.Module):
    """A weighted mean over pieces: learned queries, one for each head, look for those that matter."""

    def __init__(self, width: int, pi: float | None) -> None:
        super().__init__()
        from ouvroir.layers import HEAD_DIM

        self.n_heads = max(1, width // HEAD_DIM)
        self.pi = pi
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width)
        self.query = nn.Parameter(torch.randn(self.n_heads, width // self.n_heads))

    def forward(self, x: Tensor, is_there: Tensor) -> Tensor:
        """x: (B, P, D); is_there: (B, P) bool. Returns (B, D)."""
        x = self.norm(x)
        batch, n, width = x.shape

        def in_heads(y: Tensor) -> Tensor:
            return y.float().view(batch, n, self.n_heads, -1).permute(0, 2, 3, 1)

        found = pooled(in_heads(self.key(x)), in_heads(x), self.query.float(), self.pi, is_there)
        return found.reshape(batch, width)


class CustomTextModel(nn.Module):
    """Texts to logits. Parts, input first: `embedding`, `block1` to the last, `pool`, `head`.

    `class_weight` (K,) weighs the loss; it is set from the train rows before training and saved with the weights.
    """

    class_weight: Tensor

    def __init__(self, n_pieces: int, width: int, depth: int, n_classes: int, *, ratio: float, scale: float, pi: float | None) -> None:
        super().__init__()
        self.embedding = Embedding(n_pieces, width, ratio)
        self.blocks = nn.ModuleList(Block(width, scale, pi) for _ in range(depth))
        self.pool = Pool(width, pi)
        self.head = Head(width, n_classes, ratio)
        self.register_buffer("class_weight", torch.ones(n_classes))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""
        blocks = [(f"block{number}", block) for number, block in enumerate(self.blocks, start=1)]
        return [("embedding", self.embedding), *blocks, ("pool", self.pool), ("head", self.head)]

    def embed(self, pieces: Tensor, lengths: Tensor, part: str = "head") -> Tensor:
        """The output of all parts before `part`: (B, D) before the head, (B, P, D) before the others."""
        if part == "head" and len(pieces) >= 2 * N_BUCKETS_OF_LENGTH and not torch.compiler.is_exporting():
            return self._by_length(pieces, lengths)
        return self._through(pieces, lengths, part)

    def _through(self, pieces: Tensor, lengths: Tensor, part: str) -> Tensor:
        is_there = torch.arange(pieces.shape[1], device=pieces.device)[None, :] < lengths[:, None]
        x: Tensor = pieces
        for name, module in self.parts():
            if name == part:
                break
            x = module(x) if name == "embedding" else module(x, is_there)
        return x

    def _by_length(self, pieces: Tensor, lengths: Tensor) -> Tensor:
        """As `_through` up to the head, the rows in parts of about equal length, so that little is spent on padding."""
        order = torch.argsort(lengths, stable=True)
        found = []
        for mine in order.chunk(N_BUCKETS_OF_LENGTH):
            longest = int(lengths[mine[-1]])
            found.append(self._through(pieces[mine, :longest], lengths[mine], "head"))
        return torch.cat(found)[torch.argsort(order)]

    def forward(
        self, pieces: Tensor, lengths: Tensor, masks: Sequence[Tensor] = (), features: Tensor | None = None, part: str = "head"
    ) -> Tensor:
        """Logits (B, K) float32. pieces: (B, P) int64, 0 beyond the (B,) int64 lengths; not looked at when `features` are given."""
        if features is None:
            x = self.embed(pieces, lengths)
        else:
            x = self._from(features, lengths, part)
        logits: Tensor = self.head(x, masks)
        return logits

    def _from(self, x: Tensor, lengths: Tensor, part: str) -> Tensor:
        if part == "head":
            return x
        is_there = torch.arange(x.shape[1], device=x.device)[None, :] < lengths[:, None]
        names = [name for name, _ in self.parts()]
        for _, module in self.parts()[names.index(part) : -1]:
            x = module(x, is_there)
        return x


class NgramModel(nn.Module):
    """The mean of the vectors of a text's n-grams, and one linear layer on it (Joulin 2016, arXiv 1607.01759)."""

    class_weight: Tensor

    def __init__(self, n_buckets: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(n_buckets, width, mode="mean", padding_idx=0)
        self.head = Head(width, n_classes, None)
        nn.init.uniform_(self.table.weight, -1 / width, 1 / width)
        self.register_buffer("class_weight", torch.ones(n_classes))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """table, head."""
        return [("table", self.table), ("head", self.head)]

    def embed(self, grams: Tensor, part: str = "head") -> Tensor:
        """(B, D): the mean vector of each text. grams: (B, n) int64, 0 where a text has no more."""
        if part != "head":
            raise KeyError(part)
        found: Tensor = self.table(grams)
        return found

    def forward(self, grams: Tensor, masks: Sequence[Tensor] = (), features: Tensor | None = None) -> Tensor:
        """Logits (B, K) float32."""
        logits: Tensor = self.head(self.embed(grams) if features is None else features, masks)
        return logits


def build(recipe: Recipe, processor: TextProcessor) -> CustomTextModel | NgramModel:
    """The network for a recipe, with initial weights drawn from torch's global generator."""
    from ouvroir.media.text import tokens
    from ouvroir.media.text.processor import N_BUCKETS

    options: Options = recipe.options
    n_classes, preset = len(processor.labels), recipe.model.preset
    if options.network == "ngrams":
        return NgramModel(N_BUCKETS, _GRAM_WIDTH[preset], n_classes)
    ratio, scale = recipe.constants.value("phi"), recipe.constants.value("alpha")
    assert ratio is not None, "phi has an ordinary value"
    assert scale is not None, "alpha has an ordinary value"
    return CustomTextModel(
        tokens.count(processor.pieces),
        _WIDTH[preset],
        _DEPTH[preset],
        n_classes,
        ratio=ratio,
        scale=scale,
        pi=recipe.constants.value("pi"),
    )
