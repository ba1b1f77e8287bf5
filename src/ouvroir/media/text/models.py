"""CustomTextModel: blocks of convolution and attention over pieces of words, beside weighted n-grams; NgramModel: these alone.

No layer mixes the rows of a batch, and padding changes no answer: the answer for a text does not depend on its neighbours.

Axes: B rows, P pieces, N different n-grams, D width, G width of the n-grams, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional

from ouvroir.layers import HEAD_DIM, Attention, Head, pooled

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.text.processor import TextProcessor
    from ouvroir.media.text.recipes import Options
    from ouvroir.recipe import Recipe

KERNEL = 5  # pieces that a convolution sees
GAIN = 5.0  # of the n-grams: each is met by few texts, and must learn so many times faster than the rest
N_LENGTHS = 4  # parts of a batch that are padded each to its own length
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


class Grams(nn.Module):
    """The mean of the vectors of a text's n-grams (Joulin 2016, arXiv 1607.01759), rare ones weighing more.

    The weights are (1 + log count) · rarity, of length GAIN over a text (Salton 1988). `rarity` (buckets,) is set from the train
    rows before training and saved with the weights.
    """

    rarity: Tensor

    def __init__(self, n_buckets: int, width: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(n_buckets, width, mode="sum", padding_idx=0)
        self.register_buffer("rarity", torch.ones(n_buckets))
        nn.init.normal_(self.table.weight, std=width**-0.5 / GAIN)
        with torch.no_grad():
            self.table.weight[0].zero_()

    def forward(self, grams: Tensor, counts: Tensor) -> Tensor:
        """grams: (B, N) int64, 0 where a text has no more; counts: (B, N), how often each occurs. Returns (B, G) float32."""
        weights = (1 + counts.float().clamp_min(1).log()) * self.rarity[grams] * (grams != 0)
        weights = weights * (GAIN / weights.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-6))
        if torch.compiler.is_exporting():
            vectors = functional.embedding(grams, self.table.weight)
            return (vectors * weights[:, :, None]).sum(dim=1)
        found: Tensor = self.table(grams, per_sample_weights=weights)
        return found


class TextHead(nn.Module):
    """Logits of the n-grams, to which those of the pieces in their order are added: wide(g) + γ·deep(p).

    γ, one number a class, starts at `scale`: few texts teach the n-grams, and the order comes in as it helps (Cheng 2016,
    arXiv 1606.07792, joins the two so).
    """

    def __init__(self, width: int, gram_width: int, n_classes: int, ratio: float, scale: float) -> None:
        super().__init__()
        self.deep = Head(width, n_classes, ratio)
        self.wide = nn.Linear(gram_width, n_classes)
        self.scale = nn.Parameter(torch.full((n_classes,), scale))
        self.width = width
        self.widths = (*self.deep.widths, gram_width)

    def forward(self, both: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """both: (B, D + G); masks: for dropout, (B, width) before each layer, the last of them of the n-grams."""
        deep, grams = both[:, : self.width], both[:, self.width :].float()
        if masks:
            grams = grams * masks[-1]
        logits: Tensor = self.wide(grams) + self.scale * self.deep(deep, masks[:-1])
        return logits.float()

    def reset(self) -> None:
        """Draw the last layers anew, close to uniform answers."""
        self.deep.reset()
        nn.init.normal_(self.wide.weight, std=0.01)
        nn.init.zeros_(self.wide.bias)


class CustomTextModel(nn.Module):
    """Texts to logits. Parts, input first: `embedding`, `block1` to the last, `pool`, `grams`, `head`.

    The head sees what the pool gives of the pieces, in order, and the mean of the n-grams, which knows no order but needs few
    texts. `class_weight` (K,) weighs the loss; it is set from the train rows before training and saved with the weights.
    """

    class_weight: Tensor
    per_class: ClassVar[Mapping[str, int]] = {
        "head.deep.out.weight": 0,
        "head.deep.out.bias": 0,
        "head.wide.weight": 0,
        "head.wide.bias": 0,
        "head.scale": 0,
    }
    """Arrays with an axis of classes, and which."""

    def __init__(
        self,
        *,
        n_pieces: int,
        n_buckets: int,
        width: int,
        depth: int,
        gram_width: int,
        n_classes: int,
        ratio: float,
        scale: float,
        pi: float | None,
    ) -> None:
        super().__init__()
        self.embedding = Embedding(n_pieces, width, ratio)
        self.blocks = nn.ModuleList(Block(width, scale, pi) for _ in range(depth))
        self.pool = Pool(width, pi)
        self.grams = Grams(n_buckets, gram_width)
        self.head = TextHead(width, gram_width, n_classes, ratio, scale)
        self.register_buffer("class_weight", torch.ones(n_classes))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""
        return [*self._in_order(), ("grams", self.grams), ("head", self.head)]

    def _in_order(self) -> list[tuple[str, nn.Module]]:
        """The stages that see the pieces in their order."""
        blocks = [(f"block{number}", block) for number, block in enumerate(self.blocks, start=1)]
        return [("embedding", self.embedding), *blocks, ("pool", self.pool)]

    def embed(self, pieces: Tensor, lengths: Tensor, grams: Tensor, gram_counts: Tensor, part: str = "head") -> Tensor:
        """The output of all parts before `part`: (B, D + G) before the head, (B, D) before the n-grams, else (B, P, D)."""
        is_cut = part in ("grams", "head") and pieces.device.type == "cpu" and not torch.compiler.is_exporting()
        if is_cut and len(pieces) >= 2 * N_LENGTHS:
            return self._finished(self._by_length(pieces, lengths), grams, gram_counts, part)
        return self._finished(self._through(pieces, lengths, part), grams, gram_counts, part)

    def _finished(self, x: Tensor, grams: Tensor, gram_counts: Tensor, part: str) -> Tensor:
        return self._with_grams(x, grams, gram_counts) if part == "head" else x

    def _with_grams(self, x: Tensor, grams: Tensor, gram_counts: Tensor) -> Tensor:
        return torch.cat([x.float(), self.grams(grams, gram_counts)], dim=1)

    def _through(self, x: Tensor, lengths: Tensor, until: str, since: str = "embedding") -> Tensor:
        """What goes into the part `since`, through it and those after it, to before the part `until`."""
        is_there = torch.arange(x.shape[1], device=x.device)[None, :] < lengths[:, None]
        names = [name for name, _ in self._in_order()]
        first = names.index(since)
        last = names.index(until) if until in names else len(names)
        for name, module in self._in_order()[first:last]:
            x = module(x) if name == "embedding" else module(x, is_there)
        return x

    def _by_length(self, pieces: Tensor, lengths: Tensor) -> Tensor:
        """As `_through` to the end, the rows in parts of about equal length, so that little is spent on padding."""
        order = torch.argsort(lengths, stable=True)
        found = []
        for mine in order.chunk(N_LENGTHS):
            longest = int(lengths[mine[-1]])
            found.append(self._through(pieces[mine, :longest], lengths[mine], "head"))
        return torch.cat(found)[torch.argsort(order)]

    def forward(
        self,
        pieces: Tensor,
        lengths: Tensor,
        grams: Tensor,
        gram_counts: Tensor,
        masks: Sequence[Tensor] = (),
        features: Tensor | None = None,
        part: str = "head",
    ) -> Tensor:
        """Logits (B, K) float32.

        pieces: (B, P) int64, 0 beyond the (B,) int64 lengths; grams: (B, N) int64, 0 where a text has no more; gram_counts: (B, N).
        Pieces are not looked at when `features`, the output of all parts before `part`, are given. masks: see `Head`.
        """
        if features is None:
            x = self.embed(pieces, lengths, grams, gram_counts)
        elif part == "head":
            x = features
        else:
            x = features if part == "grams" else self._through(features, lengths, "head", part)
            x = self._with_grams(x, grams, gram_counts)
        logits: Tensor = self.head(x, masks)
        return logits


class NgramModel(nn.Module):
    """The mean of the vectors of a text's n-grams, and one linear layer on it. Parts: `grams`, `head`."""

    class_weight: Tensor
    per_class: ClassVar[Mapping[str, int]] = {"head.out.weight": 0, "head.out.bias": 0}
    """Arrays with an axis of classes, and which."""

    def __init__(self, n_buckets: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.grams = Grams(n_buckets, width)
        self.head = Head(width, n_classes, None)
        self.register_buffer("class_weight", torch.ones(n_classes))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""
        return [("grams", self.grams), ("head", self.head)]

    def embed(self, pieces: Tensor, lengths: Tensor, grams: Tensor, gram_counts: Tensor, part: str = "head") -> Tensor:
        """(B, G) float32: the mean vector of each text. Pieces are not looked at."""
        del pieces, lengths
        if part != "head":
            raise KeyError(part)
        found: Tensor = self.grams(grams, gram_counts)
        return found

    def forward(
        self,
        pieces: Tensor,
        lengths: Tensor,
        grams: Tensor,
        gram_counts: Tensor,
        masks: Sequence[Tensor] = (),
        features: Tensor | None = None,
        part: str = "head",
    ) -> Tensor:
        """Logits (B, K) float32, of the same inputs as `CustomTextModel`."""
        x = self.embed(pieces, lengths, grams, gram_counts, part) if features is None else features
        logits: Tensor = self.head(x, masks)
        return logits


def build(recipe: Recipe, processor: TextProcessor) -> CustomTextModel | NgramModel:
    """The network for a recipe, with initial weights drawn from torch's global generator."""
    from ouvroir.media.text.processor import N_BUCKETS

    options: Options = recipe.options
    n_classes, preset = len(processor.labels), recipe.model.preset
    if options.network == "ngrams":
        return NgramModel(N_BUCKETS, _GRAM_WIDTH[preset], n_classes)
    ratio, scale = recipe.constants.value("phi"), recipe.constants.value("alpha")
    assert ratio is not None, "phi has an ordinary value"
    assert scale is not None, "alpha has an ordinary value"
    return CustomTextModel(
        n_pieces=processor.tokenizer.n,
        n_buckets=N_BUCKETS,
        width=_WIDTH[preset],
        depth=_DEPTH[preset],
        gram_width=_GRAM_WIDTH[preset],
        n_classes=n_classes,
        ratio=ratio,
        scale=scale,
        pi=recipe.constants.value("pi"),
    )
