"""Muon: momentum whose direction is made orthogonal, for weight matrices inside a network.

Keller Jordan 2024, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon), with
his quintic Newton-Schulz iteration. Kernels of convolutions are taken as matrices of one row per output channel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ouvroir.training.optim import Group

A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of the quintic, chosen by Jordan for the steepest slope at 0; singular values end in about [0.7, 1.2]."""
N_ITERATIONS = 5
RATE_RATIO = 0.2
"""Muon's step is this times the root of the larger side, so that its entries are as large as AdamW's and the two share
one learning rate (Liu 2025, arXiv 2502.16982, equation 4)."""


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal rows or columns to `matrix` (n, m), roughly: singular values in about [0.7, 1.2].

    Each iteration multiplies by a polynomial of X·Xᵀ. These polynomials commute, so on a CPU they are multiplied with one
    another, all as small as the shorter side, and with `matrix` once, in float32: less than half the arithmetic for the
    kernels of convolutions. A GPU has arithmetic to spare and works on the matrix itself, in bfloat16.
    """
    work = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    is_tall = work.shape[0] > work.shape[1]
    if is_tall:
        work = work.mT
    work = work / (work.norm() + 1e-7)
    work = _iterated(work) if work.is_cuda else _factor(work @ work.mT) @ work
    found: Tensor = work.mT if is_tall else work
    return found.to(matrix.dtype)


def _iterated(work: Tensor) -> Tensor:
    for _ in range(N_ITERATIONS):
        gram = work @ work.mT
        work = A * work + (B * gram + C * gram @ gram) @ work
    return work


def _factor(gram: Tensor) -> Tensor:
    """The product of the polynomials of all iterations, given X·Xᵀ."""
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor = eye
    for left in reversed(range(N_ITERATIONS)):
        square = gram @ gram
        polynomial = A * eye + B * gram + C * square
        factor = polynomial @ factor
        if left:
            gram = polynomial @ gram @ polynomial
    return factor


@dataclass
class Muon:
    """The optimiser; an Optimizer of `training.optim`. Nesterov momentum, decoupled decay."""

    groups: list[Group]
    momentum: float
    _speed: list[list[Tensor]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._speed = [group.zeros() for group in self.groups]

    @torch.no_grad()
    def step(self, lr: float, coefficient: Tensor | None) -> None:
        """As Optimizer.step."""
        for group, speeds in zip(self.groups, self._speed, strict=True):
            rate = lr * group.ratio
            for param, speed in zip(group.params, speeds, strict=True):
                assert param.grad is not None, "fill_gradients comes before the step"
                grad = param.grad if coefficient is None else param.grad.mul_(coefficient)
                speed.lerp_(grad, 1 - self.momentum)
                direction = orthogonalise(grad.lerp(speed, self.momentum).flatten(1)).view_as(param)
                size = RATE_RATIO * max(len(param), param[0].numel()) ** 0.5
                param.mul_(1 - rate * group.weight_decay).add_(direction, alpha=-rate * size)

    def state(self) -> dict[str, Tensor]:
        """As Optimizer.state."""
        found: dict[str, Tensor] = {}
        for group, speed in zip(self.groups, self._speed, strict=True):
            found |= group.named(speed=speed)
        return found
