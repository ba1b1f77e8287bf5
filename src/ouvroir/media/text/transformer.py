"""Decoder: a Transformer that tells each piece from those before it, with the layers of Llama, so that others can load it.

Normalisation by the root mean square before each branch (Zhang and Sennrich 2019, arXiv 1910.07467), rotary positions (Su 2021,
arXiv 2104.09864), gated feed-forward layers (Shazeer 2020, arXiv 2002.05202), one table for reading and writing; Touvron 2023,
arXiv 2302.13971.

Axes: B rows, P pieces, V pieces that there are, D width, H heads, K classes; place K is of no class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from ouvroir.media.text.fused import gated, normed, turned
from ouvroir.media.text.language import LanguageModel, Reading

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ouvroir.media.text.language import Masks

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


Attend = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]
"""From queries, keys and values (B, H, n, D/H) of n pieces to what is mixed of all that they see, (B, H, n, D/H)."""


@dataclass(frozen=True)
class Weights:
    """Weights of a layer as it works with them: those that work on the same vectors are one, and all scales are in them.

    into: (3 D, D), queries, keys and values; out: (D, D); up: (2 inner, D), gate and up; down: (D, inner). The two halves of each
    query and key, which are turned as parts of complex numbers, stand pair by pair.
    """

    into: Tensor
    out: Tensor
    up: Tensor
    down: Tensor

    def work(self, x: Tensor, turns: Tensor, attend: Attend, keep: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """x: (B, n, D), kept; turns: as of `turns_of`; keep: dropout of the two branches, (B, 1, D) each."""
        batch, n, width = x.shape
        parts = functional.linear(normed(x), self.into).view(batch, n, 3, turns.shape[2], -1)
        pair, value = torch.split(parts, [2, 1], dim=2)
        query, key = turned(pair, turns).transpose(1, 3).unbind(2)
        mixed = attend(query, key, value[:, :, 0].transpose(1, 2))
        x = _added(x, functional.linear(mixed.transpose(1, 2).reshape(batch, n, width), self.out), keep and keep[0])
        return _added(x, functional.linear(gated(functional.linear(normed(x), self.up)), self.down), keep and keep[1])


def _added(x: Tensor, branch: Tensor, keep: Tensor | None) -> Tensor:
    return x + branch if keep is None else torch.addcmul(x, branch, keep)


class Norm(nn.Module):
    """The weight of x / rms(x) · weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D), kept."""
        return normed(x) * self.weight


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

    def forward(self, x: Tensor, turns: Tensor, keep: tuple[Tensor, Tensor] | None) -> Tensor:
        """x: (B, P, D), kept, each piece from those before it; turns and keep as of `Weights.work`."""
        attend = partial(functional.scaled_dot_product_attention, is_causal=True, scale=self.factor)
        return self.weights().work(x, turns, attend, keep)

    def weights(self) -> Weights:
        """Of this moment."""

        def in_pairs(weight: Tensor) -> Tensor:
            return weight.view(self.n_heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)

        return Weights(
            torch.cat([in_pairs(self.query.weight), in_pairs(self.key.weight), self.value.weight]) * self.norm1.weight,
            self.scale1[:, None] * self.out.weight,
            torch.cat([self.gate.weight, self.up.weight]) * self.norm2.weight,
            self.scale2[:, None] * self.down.weight,
        )


def turns_of(first: int, n: int, shape: Shape, device: torch.device) -> Tensor:
    """(n, 2, H, D/H/2, 2) float32: cosines and sines of the angles of places `first` to `first + n`, for queries and keys alike.

    They are written out for each head: long runs of numbers are multiplied faster than short ones over and over.
    """
    half = shape.head // 2
    rates = THETA ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
    angles = torch.arange(first, first + n, device=device, dtype=torch.float32)[:, None] * rates
    found = torch.stack([angles.cos(), angles.sin()], dim=-1)
    return found[:, None, None].expand(-1, 2, shape.n_heads, -1, -1).contiguous()


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
        turns = turns_of(0, pieces.shape[1], self.shape, x.device)
        for number, layer in enumerate(self.layers):
            keep = None if masks is None else (masks[f"layer{number}a"], masks[f"layer{number}b"])
            x = layer(x, turns, keep)
        found: Tensor = self.norm(x)
        return found

    def logits(self, state: Tensor, labels: Tensor | None) -> Tensor:
        """As of LanguageModel."""
        del labels  # which are in the state
        return functional.linear(state, self.first.weight)

    @torch.no_grad()
    def after(self, pieces: Tensor, labels: Tensor | None, memory: Memory | None) -> tuple[Tensor, Memory]:
        """As of LanguageModel, for weights that do not change meanwhile; no piece looks further back than `context`."""
        kept = Memory(self, len(pieces)) if memory is None else memory
        x = kept.read(self.reading(pieces, labels))
        return self.logits(self.norm(x[:, -1]), labels), kept


class Memory:
    """Keys and values of the last `context` pieces read, a new one in the place of the oldest, and the weights to read on with."""

    def __init__(self, network: Decoder, batch: int) -> None:
        layers = [layer for layer in network.layers if isinstance(layer, Layer)]
        self.weights, self.factor = [layer.weights() for layer in layers], layers[0].factor
        self.shape, self.most = network.shape, network.context
        self.n_read = 0
        table = network.first.weight
        self._kept = table.new_empty(len(layers), 2, batch, self.shape.n_heads, 0, self.shape.head)
        self._turns = turns_of(0, 0, self.shape, table.device)

    @property
    def n_kept(self) -> int:
        """Pieces that are kept."""
        return min(self.n_read, self.most)

    def read(self, x: Tensor) -> Tensor:
        """What the layers make of the next pieces x (B, n, D), kept; none attends to more than `most`, itself among them."""
        n = x.shape[1]
        self._make_room(self.n_read + n)
        turns, mask = self._turns[self.n_read : self.n_read + n], self._mask(n)
        slots = (
            torch.arange(max(self.n_read, self.n_read + n - self.most), self.n_read + n, device=x.device) % self.most
        )
        for weights, kept in zip(self.weights, self._kept.unbind(), strict=True):
            x = weights.work(x, turns, partial(self._attend, kept, slots, mask))
        self.n_read += n
        return x

    def _attend(
        self, kept: Tensor, slots: Tensor, mask: Tensor | None, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        n = query.shape[2]
        new = torch.stack([key, value])
        before = kept[:, :, :, : self.n_kept]
        shown = torch.cat([before, new], dim=3) if n > 1 else kept[:, :, :, : min(self.n_read + 1, self.most)]
        kept.index_copy_(3, slots, new[:, :, :, n - len(slots) :])  # which changes what a single one is shown
        keys, values = shown
        is_causal = mask is None and n > 1
        return functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, is_causal=is_causal, scale=self.factor
        )

    def _mask(self, n: int) -> Tensor | None:
        """(n, kept + n) bool: what each of the next n pieces attends to; None where it is all that comes before it."""
        if n == 1 or (not self.n_read and n <= self.most):
            return None
        device = self._kept.device
        last, slot = self.n_read - 1, torch.arange(self.n_kept, device=device)
        before = last - (last - slot) % self.most  # the place of the piece in each slot
        new = torch.arange(self.n_read, self.n_read + n, device=device)
        back = new[:, None] - torch.cat([before, new])
        return (back >= 0) & (back < self.most)

    def _make_room(self, n: int) -> None:
        """For so many pieces in all; twice as many where it has to grow."""
        if n > len(self._turns):
            self._turns = turns_of(0, 2 * n, self.shape, self._kept.device)
        size = self._kept.shape[4]
        if size < min(n, self.most):
            more = self._kept.new_zeros(*self._kept.shape[:4], min(2 * n, self.most) - size, self.shape.head)
            self._kept = torch.cat([self._kept, more], dim=4)
