"""Layers that the networks of several media share: attention with the temperature π, the head whose widths fall by φ.

Axes: B rows, P positions, D width, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

HEAD_DIM = 32  # width of one attention head
N_HIDDEN = 2  # hidden layers of the head
NORM_CHANNELS = 16  # channels of one group of GroupNorm


def exactly(like: Tensor) -> AbstractContextManager[object]:
    """Single precision, whatever the rest of the network works in: squares of eight bits are too coarse."""
    if torch.compiler.is_exporting():
        return nullcontext()
    return torch.autocast(like.device.type, enabled=False)


def attention_factor(dim: int, pi: float | None) -> float:
    """What logits are multiplied by: √d/π of unit vectors, or 1/√d as usual (Vaswani 2017, arXiv 1706.03762, eq. 1)."""
    return 1 / math.sqrt(dim) if pi is None else math.sqrt(dim) / pi


def pooled(keys: Tensor, values: Tensor, query: Tensor, pi: float | None, is_there: Tensor | None = None) -> Tensor:
    """(B, heads, d): the mean of values (B, heads, d, P), weighted by how well keys (B, heads, d, P) answer query (heads, d).

    With temperature π, queries and keys have unit length and the logits are q·k·√d/π, at most √d/π in size: no position can
    take all the weight. `is_there`: (B, P) bool, the positions that count; each row needs one.
    """
    if pi is not None:
        keys, query = functional.normalize(keys, dim=2), functional.normalize(query, dim=1)
    logits = (query[None, :, :, None] * keys).sum(dim=2, keepdim=True) * attention_factor(query.shape[1], pi)
    if is_there is not None:
        logits = logits.masked_fill(~is_there[:, None, None, :], -math.inf)
    found: Tensor = (values * logits.softmax(dim=3)).sum(dim=3)
    return found


def through(
    parts: Sequence[tuple[str, nn.Module]], x: Tensor, *, begin: str | None = None, end: str = "head"
) -> Tensor:
    """The output of all `parts` from `begin`, the first where that is None, up to `end`, which is left out.

    x: what goes into the part `begin`. Raises KeyError for a part that there is not.
    """
    names = [name for name, _ in parts]
    for name in (begin or names[0], end):
        if name not in names:
            raise KeyError(name)
    for _, module in parts[names.index(begin or names[0]) : names.index(end)]:
        x = module(x)
    return x


class Pool(nn.Module):
    """A weighted mean over positions, in a line or a plane: learned queries, one for each head, look for those that matter."""

    def __init__(self, width: int, pi: float | None, n_dims: int = 2) -> None:
        super().__init__()
        self.n_heads = max(1, width // HEAD_DIM)
        self.pi = pi
        self.key = (nn.Conv1d if n_dims == 1 else nn.Conv2d)(width, width, 1)
        self.query = nn.Parameter(torch.randn(self.n_heads, width // self.n_heads))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, D, P) or (B, D, H, W). Returns (B, D)."""
        batch, width = x.shape[:2]
        shape = (batch, self.n_heads, width // self.n_heads, -1)
        keys, values = self.key(x).reshape(shape).float(), x.reshape(shape).float()
        return pooled(keys, values, self.query.float(), self.pi).reshape(batch, width)


class Attention(nn.Module):
    """Self-attention over positions, in heads of HEAD_DIM, with the temperature of `pooled`."""

    def __init__(self, width: int, pi: float | None) -> None:
        super().__init__()
        self.n_heads = max(1, width // HEAD_DIM)
        self.pi = pi
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, is_there: Tensor) -> Tensor:
        """x: (B, P, D), kept; is_there: (B, P) bool, the positions that are looked at."""
        batch, n, width = x.shape
        query, key, value = self.qkv(x).view(batch, n, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        if self.pi is not None:
            query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
        mixed = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=is_there[:, None, None, :],
            scale=attention_factor(width // self.n_heads, self.pi),
        )
        found: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, n, width))
        return found


class _GroupNorm(nn.GroupNorm):
    """GroupNorm that also survives an input without gradient, as comes out of frozen parts.

    The channels-last kernel of torch 2.13 for CPUs writes that gradient wherever it may not be, and the process dies.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W), kept."""
        learns = self.weight.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_exporting()
        if learns and not x.requires_grad:
            x = x.detach().requires_grad_()
        return super().forward(x)


def group_norm(width: int) -> nn.GroupNorm:
    """GroupNorm in groups of NORM_CHANNELS; it never mixes rows, and costs a tenth of a convolution in channels-last."""
    return _GroupNorm(max(1, width // NORM_CHANNELS), width)


class Head(nn.Module):
    """From the pooled vector to logits through hidden layers whose widths fall by `ratio`: D/φ, D/φ².

    With `ratio` None it is one linear layer: what other libraries know.
    """

    def __init__(self, width: int, n_classes: int, ratio: float | None) -> None:
        super().__init__()
        hidden = [] if ratio is None else [max(8, round(width / ratio ** (layer + 1))) for layer in range(N_HIDDEN)]
        widths = [width, *hidden]
        self.widths = tuple(widths)
        self.norm = nn.Identity() if ratio is None else nn.LayerNorm(width)
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.out = nn.Linear(widths[-1], n_classes)

    def forward(self, pooled: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """pooled: (B, D); masks: for dropout, (B, width) before each layer. Returns (B, K) logits, float32."""
        x = self.norm(pooled.float())
        for number, layer in enumerate([*self.hidden, self.out]):
            if number < len(masks):
                x = x * masks[number]
            x = layer(x)
            if layer is not self.out:
                x = functional.gelu(x)
        logits: Tensor = x.float()
        return logits

    def reset(self) -> None:
        """Draw the last layer anew, close to uniform answers."""
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)


class Conv3d(nn.Conv3d):
    """As nn.Conv3d, and right where there are two frames: (B, C, T, H, W) to the same with other channels.

    For maps of two frames under a kernel of three, oneDNN leaves a part of the gradient of the weights in bfloat16 unwritten (seen
    in PyTorch 2.13 on processors with AMX). A third frame of zeros, as padding puts there anyway, changes no number and avoids it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, T, H, W)."""
        if x.shape[2] != 2 or self.kernel_size[0] != 3:
            return super().forward(x)
        return super().forward(functional.pad(x, (0, 0, 0, 0, 0, 1)))[:, :, : 3 - self.stride[0]]
