"""Decoder: a Transformer that tells each piece from those before it, with the layers of Llama, so that others can load it.

Normalisation by the root mean square before each branch (Zhang and Sennrich 2019, arXiv 1910.07467), rotary positions (Su 2021,
arXiv 2104.09864), gated feed-forward layers (Shazeer 2020, arXiv 2002.05202), one table for reading and writing; Touvron 2023,
arXiv 2302.13971.

Axes: B rows, P pieces, V pieces that there are, D width, H heads, K classes; place K is of no class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from ouvroir.media.text.language import LanguageModel, Reading

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ouvroir.media.text.language import Masks

    Turns = tuple[Tensor, Tensor]
    """Cosines and sines of the rotary angles, (P, D/H/2) each."""

EPS = 1e-5
THETA = 10_000.0  # base of the rotary angles
_TABLE_STD = 0.02


@dataclass(frozen=True)
class Shape:
    """How large a Decoder is. `ratio`: the feed-forward layers are `width` · ratio · 5/3 wide, a multiple of 32."""

    width: int
    n_layers: int
    n_heads: int
    ratio: float

    @property
    def head(self) -> int:
        """Width of a head."""
        return self.width // self.n_heads

    @property
    def inner(self) -> int:
        """Width of the feed-forward layers: 8/3 of the width at the golden ratio, as in Llama."""
        return 32 * round(self.width * self.ratio * 5 / 3 / 32)


class Norm(nn.Module):
    """x / rms(x) · weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D), kept."""
        return functional.rms_norm(x, self.weight.shape, self.weight, EPS)


class Cache:
    """Keys and values of the pieces read so far, of each layer (B, H, P, D/H).

    One less than `most` pieces are kept, so that the next one attends to `most`, itself among them.
    """

    def __init__(self, n_layers: int, most: int) -> None:
        self.kept: list[tuple[Tensor, Tensor] | None] = [None] * n_layers
        self.most = most
        self.n_read = 0

    def joined(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """What there was with what is new; both are kept."""
        before = self.kept[layer]
        if before is not None:
            key, value = torch.cat([before[0], key], dim=2), torch.cat([before[1], value], dim=2)
        at = max(0, key.shape[2] - self.most + 1)
        self.kept[layer] = key[:, :, at:], value[:, :, at:]
        return key, value


class Layer(nn.Module):
    """x + γ·attention(x), then x + γ·feed-forward(x); γ, one number a channel, starts at `scale`.

    Logits of attention are q·k/π, or q·k/√(D/H) where `pi` is None.
    """

    def __init__(self, shape: Shape, scale: float, pi: float | None) -> None:
        super().__init__()
        width, inner = shape.width, shape.inner
        self.n_heads = shape.n_heads
        self.factor = 1 / pi if pi is not None else shape.head**-0.5
        self.norm1, self.norm2 = Norm(width), Norm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)
        self.scale1, self.scale2 = (nn.Parameter(torch.full((width,), scale)) for _ in range(2))
        for one in (self.query, self.key, self.value, self.out, self.gate, self.up, self.down):
            nn.init.normal_(one.weight, std=one.in_features**-0.5)

    def forward(
        self,
        x: Tensor,
        turns: Turns,
        mask: Tensor | None,
        cache: Cache | None,
        number: int,
        keep: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """x: (B, P, D), kept; mask: (P, all) bool, or None for all that come before; keep: dropout of the two branches."""
        batch, n, width = x.shape
        normed = self.norm1(x)
        query, key, value = (
            part(normed).view(batch, n, self.n_heads, -1).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        query, key = turned(query, turns), turned(key, turns)
        if cache is not None:
            key, value = cache.joined(number, key, value)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None and (cache is None or n > 1), scale=self.factor
        )
        y = self.out(mixed.transpose(1, 2).reshape(batch, n, width))
        x = x + self.scale1 * (y if keep is None else y * keep[0])
        normed = self.norm2(x)
        y = self.down(functional.silu(self.gate(normed)) * self.up(normed))
        found: Tensor = x + self.scale2 * (y if keep is None else y * keep[1])
        return found


def turns_of(first: int, n: int, width: int, like: Tensor) -> Turns:
    """The turns of places `first` to `first + n` for heads of `width`, on the device and in the arithmetic of `like`."""
    half = width // 2
    rates = THETA ** (-torch.arange(half, device=like.device, dtype=torch.float32) / half)
    angles = torch.arange(first, first + n, device=like.device, dtype=torch.float32)[:, None] * rates
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def turned(x: Tensor, turns: Turns) -> Tensor:
    """x: (B, H, P, E), kept: the two halves of each vector as the parts of complex numbers, turned."""
    cos, sin = turns
    one, other = x.chunk(2, dim=-1)
    return torch.cat([one * cos - other * sin, other * cos + one * sin], dim=-1)


class Decoder(LanguageModel):
    """Layers of attention and feed-forward over pieces. Parts, input first: `reading`, `layers`, `writing`.

    context: pieces that are attended to; what lies further back is forgotten. What a class adds, it adds to each piece read.
    """

    def __init__(
        self, *, sizes: np.ndarray, n_classes: int, shape: Shape, context: int, scale: float, pi: float | None
    ) -> None:
        super().__init__(sizes, n_classes)
        self.shape, self.context = shape, context
        self.reading = Reading(sizes.shape[1], shape.width, n_classes)
        self.layers = nn.ModuleList(Layer(shape, scale, pi) for _ in range(shape.n_layers))
        self.norm = Norm(shape.width)
        nn.init.normal_(self.reading.table.weight, std=_TABLE_STD)

    @property
    def first(self) -> nn.Embedding:
        """As of LanguageModel."""
        return self.reading.table

    def mask_widths(self) -> dict[str, int]:
        """Two branches of each layer."""
        return {f"layer{number}{branch}": self.shape.width for number in range(len(self.layers)) for branch in "ab"}

    def parts(self) -> list[tuple[str, nn.Module]]:
        """As of LanguageModel."""
        return [("reading", self.reading), ("layers", self.layers), ("writing", self.norm)]

    def states(self, pieces: Tensor, labels: Tensor | None, masks: Masks | None = None) -> Tensor:
        """As of LanguageModel."""
        x = self.reading(pieces, labels)
        turns = turns_of(0, pieces.shape[1], self.shape.head, x)
        for number, layer in enumerate(self.layers):
            keep = None if masks is None else (masks[f"layer{number}a"], masks[f"layer{number}b"])
            x = layer(x, turns, None, None, number, keep)
        found: Tensor = self.norm(x)
        return found

    def logits(self, state: Tensor, labels: Tensor | None) -> Tensor:
        """As of LanguageModel."""
        del labels  # which are in the state
        return functional.linear(state, self.first.weight)

    def after(self, pieces: Tensor, labels: Tensor | None, memory: Cache | None) -> tuple[Tensor, Cache]:
        """As of LanguageModel; no piece looks further back than `context`."""
        cache = Cache(self.shape.n_layers, self.context) if memory is None else memory
        n, n_kept = pieces.shape[1], min(cache.n_read, self.context - 1)
        x = self.reading(pieces, labels)
        turns = turns_of(cache.n_read, n, self.shape.head, x)
        mask = None
        if n > 1 and (n_kept or n > self.context):
            back = torch.arange(n, device=x.device)[:, None] + n_kept - torch.arange(n + n_kept, device=x.device)
            mask = (back >= 0) & (back < self.context)
        for number, layer in enumerate(self.layers):
            x = layer(x, turns, mask, cache, number, None)
        cache.n_read += n
        return self.logits(self.norm(x[:, -1]), labels), cache
