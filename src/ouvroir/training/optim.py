"""How weights move: parameter groups, learning-rate schedules, AdamW, Adam, SGD and Muon, clipping, averages.

The optimisers call torch's fused kernels directly. `torch.optim` would do the same arithmetic (tests compare the two),
but making its first optimiser loads the compiler, which takes a second at every start, and its bookkeeping costs as
much as a small model's step. One call divides the summed gradients by the item count, clips and updates.

Every optimiser has `step(lr, coefficient)` and `state()`; lr is a plain number, so a schedule costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from ouvroir.training.muon import Muon

if TYPE_CHECKING:
    from ouvroir.recipe import Optim

EPS = 1e-8
"""Adam's epsilon (Kingma and Ba 2015, algorithm 1)."""
DIV_START, DIV_END = 25.0, 1e4
"""One-cycle: the rate starts at peak / 25 and ends at start / 1e4 (Smith and Topin 2017, as in torch's OneCycleLR)."""
DECAY_SHARE = 0.2
"""Warm-up-stable-decay: share of the steps in which the rate falls to 0 (Hägele 2024, arXiv 2405.18392, section 4)."""


def rate(optim: Optim, step: int, steps: int) -> float:
    """Learning rate of `step` (from 0) of `steps`, a pure function.

    `one-cycle`: cosine up to the peak at share `warmup`, cosine down to nearly 0. `cosine`: straight up, cosine down to
    0. `warmup-stable-decay`: straight up, level, straight down over the last fifth. `constant`: the peak throughout.
    """
    peak = optim.lr
    if optim.schedule == "constant" or steps <= 1:
        return peak
    if optim.schedule == "one-cycle":
        return _one_cycle(peak, optim.warmup, step, steps)
    n_warmup = optim.warmup * steps
    if step < n_warmup:
        return peak * (step + 1) / (n_warmup + 1)
    if optim.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / max(1.0, steps - n_warmup)))
    n_decay = DECAY_SHARE * steps
    return peak * min(1.0, (steps - step) / (n_decay + 1))


def _one_cycle(peak: float, warmup: float, step: int, steps: int) -> float:
    last_up = warmup * steps - 1
    start = peak / DIV_START
    end = start / DIV_END
    if step <= last_up and last_up > 0:
        return _cosine(start, peak, step / last_up)
    first_down = max(0.0, last_up)
    return _cosine(peak, end, (step - first_down) / (steps - 1 - first_down))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


@dataclass
class Group:
    """Parameters that share a rate (`ratio` times the schedule's) and a decay."""

    names: list[str]
    params: list[Tensor]
    ratio: float
    weight_decay: float
    by_muon: bool = False

    def zeros(self) -> list[Tensor]:
        """What an optimiser remembers of each parameter, as it begins."""
        return [torch.zeros_like(param) for param in self.params]

    def named(self, **remembered: list[Tensor]) -> dict[str, Tensor]:
        """Lists of one tensor a parameter as one dict, `<parameter>/<kind>` to tensor."""
        return {
            f"{name}/{kind}": one
            for kind, many in remembered.items()
            for name, one in zip(self.names, many, strict=True)
        }


def make_groups(model: nn.Module, parts: Sequence[tuple[str, nn.Module]], optim: Optim) -> list[Group]:
    """Parameters that learn, in groups of equal rate, decay and kind.

    A matrix has 2 or more dimensions that are longer than 1; what is none (biases, norms, scales of branches) does not
    decay. Part k of K learns at part_decay^(K - 1 - k) of the rate (Howard and Ruder 2018, section 3.2; Bao 2022, table 9).
    Muon moves the matrices in the parts between the first and the last.
    """
    place = {id(param): k for k, (_, part) in enumerate(parts) for param in part.parameters()}
    last = len(parts) - 1
    groups: dict[tuple[float, float, bool], Group] = {}
    for name, param in model.named_parameters():
        if not param.requires_grad:
            continue
        k = place.get(id(param), last)
        ratio = optim.part_decay ** (last - k)
        is_matrix = param.squeeze().ndim > 1
        decay = optim.weight_decay if is_matrix else 0.0
        by_muon = optim.name == "muon" and is_matrix and (0 < k < last or last == 0)
        group = groups.setdefault((ratio, decay, by_muon), Group([], [], ratio, decay, by_muon))
        group.names.append(name)
        group.params.append(param)
    return list(groups.values())


class Optimizer(Protocol):
    """What the loop needs of an optimiser."""

    def step(self, lr: float, coefficient: Tensor | None) -> None:
        """Move the parameters along minus `coefficient` (a scalar tensor; None is 1) times their gradients."""

    def state(self) -> dict[str, Tensor]:
        """Its tensors by name, live: reading them saves, copying into them restores."""


def _gradients(group: Group, coefficient: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
    """Gradients of the group and what a fused kernel divides them by."""
    grads = [param.grad for param in group.params if param.grad is not None]
    assert len(grads) == len(group.params), "fill_gradients comes before the step"
    if coefficient is None:
        return grads, None
    if coefficient.device.type in {"cpu", "cuda"}:
        return grads, coefficient.reciprocal()
    torch._foreach_mul_(grads, coefficient)  # the kernels of other devices do not divide
    return grads, None


def fill_gradients(params: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of `params`; one that took no part in the step gets zeros, on whatever process, so that all agree."""
    found = []
    for param in params:
        if param.grad is None:
            param.grad = torch.zeros_like(param)
        found.append(param.grad)
    return found


@dataclass
class Adam:
    """Adam (Kingma and Ba 2015) and, when `is_decoupled`, AdamW (Loshchilov and Hutter 2019), by torch's fused kernels."""

    groups: list[Group]
    beta1: float
    beta2: float
    is_decoupled: bool
    _first: list[list[Tensor]] = field(default_factory=list, init=False)
    _second: list[list[Tensor]] = field(default_factory=list, init=False)
    _steps: list[list[Tensor]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        for group in self.groups:
            self._first.append(group.zeros())
            self._second.append(group.zeros())
            self._steps.append([torch.zeros((), device=param.device) for param in group.params])

    @torch.no_grad()
    def step(self, lr: float, coefficient: Tensor | None) -> None:
        """As Optimizer.step."""
        update = torch._fused_adamw_ if self.is_decoupled else torch._fused_adam_
        for group, first, second, steps in zip(self.groups, self._first, self._second, self._steps, strict=True):
            torch._foreach_add_(steps, 1)
            grads, scale = _gradients(group, coefficient)
            update(
                group.params,
                grads,
                first,
                second,
                [],
                steps,
                lr=lr * group.ratio,
                beta1=self.beta1,
                beta2=self.beta2,
                weight_decay=group.weight_decay,
                eps=EPS,
                amsgrad=False,
                maximize=False,
                grad_scale=scale,
            )

    def state(self) -> dict[str, Tensor]:
        """As Optimizer.state."""
        found: dict[str, Tensor] = {}
        for group, first, second, step in zip(self.groups, self._first, self._second, self._steps, strict=True):
            found |= group.named(first=first, second=second, step=step)
        return found


@dataclass
class SGD:
    """Gradient descent with Nesterov momentum (Sutskever 2013), as torch.optim.SGD, by its fused kernel."""

    groups: list[Group]
    momentum: float
    _speed: list[list[Tensor]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._speed = [group.zeros() for group in self.groups]

    @torch.no_grad()
    def step(self, lr: float, coefficient: Tensor | None) -> None:
        """As Optimizer.step. Momentum starts at zero, so the first step needs no case of its own."""
        for group, speed in zip(self.groups, self._speed, strict=True):
            grads, scale = _gradients(group, coefficient)
            torch._fused_sgd_(
                group.params,
                grads,
                speed if self.momentum else [],
                weight_decay=group.weight_decay,
                momentum=self.momentum,
                lr=lr * group.ratio,
                dampening=0.0,
                nesterov=self.momentum > 0,
                maximize=False,
                is_first_step=False,
                grad_scale=scale,
            )

    def state(self) -> dict[str, Tensor]:
        """As Optimizer.state."""
        found: dict[str, Tensor] = {}
        for group, speed in zip(self.groups, self._speed, strict=True):
            found |= group.named(speed=speed)
        return found


@dataclass
class Several:
    """Optimisers that share out the parameters of one model."""

    members: list[Optimizer]

    def step(self, lr: float, coefficient: Tensor | None) -> None:
        """As Optimizer.step."""
        for member in self.members:
            member.step(lr, coefficient)

    def state(self) -> dict[str, Tensor]:
        """As Optimizer.state."""
        return {name: tensor for member in self.members for name, tensor in member.state().items()}


def make_optimizer(model: nn.Module, parts: Sequence[tuple[str, nn.Module]], optim: Optim) -> Optimizer:
    """The optimiser of the recipe over the parameters of `model` that learn. Made after the model is on its device."""
    groups = make_groups(model, parts, optim)
    if optim.name == "sgd":
        return SGD(groups, optim.momentum)
    if optim.name == "muon":
        matrices = [group for group in groups if group.by_muon]
        others = [group for group in groups if not group.by_muon]
        return Several([Muon(matrices, optim.momentum), Adam(others, optim.momentum, optim.beta2, is_decoupled=True)])
    return Adam(groups, optim.momentum, optim.beta2, is_decoupled=optim.name == "adamw")


def coefficient(grads: list[Tensor], count: Tensor, max_norm: float) -> tuple[Tensor, Tensor]:
    """What summed gradients are multiplied with: 1 / `count`, smaller where their norm would exceed `max_norm` (0: never).

    Returns the coefficient and the norm before clipping, scalar tensors; nothing waits for the device. Equal to dividing
    and then torch.nn.utils.clip_grad_norm_.
    """
    inverse = count.clamp_min(1e-12).reciprocal()
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads))) * inverse
    if not max_norm:
        return inverse, norm
    return inverse * (max_norm / (norm + 1e-6)).clamp_max_(1.0), norm


class Average:
    """A copy of the model whose weights are the exponential moving average of the model's, Polyak and Juditsky 1992.

    The decay grows with the step as (1 + t) / (10 + t) up to `decay`, so that early weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        import copy

        self.model = copy.deepcopy(model)
        self.decay = decay
        # parameters and not their data: moving a model to a layout gives a parameter new data
        mine, theirs = self.model.state_dict(keep_vars=True), model.state_dict(keep_vars=True)
        fixed = {name for name, param in model.named_parameters() if not param.requires_grad}
        floating = [name for name in mine if mine[name].is_floating_point() and name not in fixed]
        self._mine: list[Tensor] = [mine[name] for name in floating]
        self._theirs: list[Tensor] = [theirs[name] for name in floating]
        self._whole = [(mine[name], theirs[name]) for name in mine if not mine[name].is_floating_point()]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take the weights after `step` (from 0) into the average."""
        torch._foreach_lerp_(self._mine, self._theirs, 1 - min(self.decay, (1 + step) / (10 + step)))

    def copy_counters(self) -> None:
        """Copy what cannot be averaged, whole numbers such as the batches a norm has seen."""
        for mine, theirs in self._whole:
            mine.copy_(theirs)
