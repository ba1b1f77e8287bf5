"""Flow matching: a network that tells how noise flows into samples of a class, and the way along it.

Samples are maps of C channels, as what is seen or heard can be laid out. A sample x and noise ε of the same shape are joined by
the straight line x_t = (1 - t) ε + t x; the network learns the velocity x - ε from x_t, t and the class (Lipman 2023, arXiv
2210.02747; Liu 2023, arXiv 2209.03003). Following it from noise at t = 0 gives a new sample at t = 1; beginning at t > 0 from a
noisy real one gives a variation of that one.

Axes: B rows, C channels, H and W height and width, K classes, E width of what is known of time and class.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from ouvroir.layers import group_norm
from ouvroir.making import left_out, weights_of
from ouvroir.rng import Rng
from ouvroir.task import Loss, StepOutput

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.recipe import Recipe
    from ouvroir.task import Batch

N_FREQUENCIES = 6
WIDTHS = {"tiny": 16, "small": 32, "base": 64}
_HALVINGS = 2


class Condition(nn.Module):
    """What is known of time and class, (B, E): Fourier features of the time and a learned vector for each class.

    The time t in [0, 1] enters as sin and cos of 2^k·f·t for k = 0, 1, ..., f being π, or 1 as in transformers' positions.
    """

    frequencies: Tensor

    def __init__(self, n_classes: int, width: int, pi: float | None) -> None:
        super().__init__()
        first = 1.0 if pi is None else pi
        self.register_buffer("frequencies", first * 2.0 ** torch.arange(N_FREQUENCIES), persistent=False)
        self.time = nn.Linear(2 * N_FREQUENCIES, width)
        self.label = nn.Linear(n_classes + 1, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, times: Tensor, labels: Tensor) -> Tensor:
        """times: (B,); labels: (B, K + 1), the weight of each class and last that of no class at all."""
        angles = times[:, None] * self.frequencies
        known = self.time(torch.cat([angles.sin(), angles.cos()], dim=1)) + self.label(labels)
        found: Tensor = functional.silu(self.out(functional.silu(known)))
        return found


class Block(nn.Module):
    """Residual block that time and class scale and shift: x + γ·f(x), where γ starts at `scale`.

    Scale and shift of the second normalisation are linear in the condition (FiLM; Perez 2018, arXiv 1709.07871).
    """

    def __init__(self, width_in: int, width: int, width_known: int, scale: float) -> None:
        super().__init__()
        self.norm1 = group_norm(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.film = nn.Linear(width_known, 2 * width)
        self.norm2 = group_norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.scale = nn.Parameter(torch.full((width, 1, 1), scale))
        self.skip = nn.Identity() if width_in == width else nn.Conv2d(width_in, width, 1)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """x: (B, C, H, W); known: (B, E). Returns (B, width, H, W)."""
        y = self.conv1(functional.silu(self.norm1(x)))
        gain, shift = self.film(known)[:, :, None, None].chunk(2, dim=1)
        y = self.conv2(functional.silu(self.norm2(y) * (1 + gain) + shift))
        found: Tensor = self.skip(x) + y * self.scale
        return found


class FlowModel(nn.Module):
    """Velocity of samples in [-1, 1]: a U-Net of two halvings whose way up is made of transposed convolutions.

    Samples whose edges are no multiple of 4 are padded inside. Parts, input first: condition, down, middle, up, out.
    """

    def __init__(self, *, n_channels: int, n_classes: int, width: int, scale: float, pi: float | None) -> None:
        super().__init__()
        self.n_classes = n_classes
        widths = [width * 2**level for level in range(_HALVINGS + 1)]
        known = 4 * width
        self.condition = Condition(n_classes, known, pi)
        self.first = nn.Conv2d(n_channels, width, 3, padding=1)
        self.down = nn.ModuleList()
        self.smaller = nn.ModuleList()
        for before, after in pairwise(widths):
            self.down.append(Block(before, before, known, scale))
            self.smaller.append(nn.Conv2d(before, after, 4, stride=2, padding=1))
        self.middle = Block(widths[-1], widths[-1], known, scale)
        self.larger = nn.ModuleList()
        self.up = nn.ModuleList()
        for before, after in pairwise(reversed(widths)):
            self.larger.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1))
            self.up.append(Block(2 * after, after, known, scale))
        self.norm = group_norm(width)
        self.out = nn.Conv2d(width, n_channels, 3, padding=1)
        for param in self.out.parameters():  # the first answer is no velocity at all, about the mean of all
            nn.init.zeros_(param)

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""
        return [
            ("condition", self.condition),
            ("down", nn.ModuleList([self.first, self.down, self.smaller])),
            ("middle", self.middle),
            ("up", nn.ModuleList([self.larger, self.up])),
            ("out", nn.ModuleList([self.norm, self.out])),
        ]

    def forward(self, x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """Velocity (B, C, H, W) at x (B, C, H, W) and times (B,) for labels (B, K + 1)."""
        height, width = x.shape[2:]
        size = 2**_HALVINGS
        x = functional.pad(x, (0, -width % size, 0, -height % size), mode="replicate")
        known = self.condition(times, labels)
        x = self.first(x)
        kept = []
        for block, smaller in zip(self.down, self.smaller, strict=True):
            x = block(x, known)
            kept.append(x)
            x = smaller(x)
        x = self.middle(x, known)
        for larger, block in zip(self.larger, self.up, strict=True):
            x = block(torch.cat([larger(x), kept.pop()], dim=1), known)
        velocity: Tensor = self.out(functional.silu(self.norm(x)))
        return velocity[:, :, :height, :width]


def on_the_way(samples: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """x_t and the velocity there, each as samples (B, ...) of about unit size, for noise of that shape and times (B,)."""
    t = times.view(-1, *[1] * (samples.ndim - 1))
    return (1 - t) * noise + t * samples, samples - noise


def flow_step(
    model: nn.Module, samples: Tensor, batch: Batch, recipe: Recipe, *, n_classes: int, rng: Rng, training: bool
) -> StepOutput:
    """Mean squared error of the velocity at one time of each of samples (B, C, H, W), drawn anew at each step; always the same in
    judging.

    The times are frac(i/φ + a) for row i, a being drawn for each step: evenly spread over every batch, however small. The ordinary
    way draws each time for itself. The recipe's options have `label_dropout`.
    """
    if not training:  # by the row, and not by its place in a batch
        rng = Rng(rng.seed, 0, batch["index"])
    noise = rng.normal("noise", tuple(samples.shape[1:]))
    labels = weights_of(batch["labels"], n_classes)
    if training:
        labels = left_out(labels, recipe.options.label_dropout, rng)
    phi = recipe.constants.phi
    times = rng.uniform("time") if phi == "ordinary" else rng.spread("time", 1 / phi)
    x, wanted = on_the_way(samples, noise, times)
    velocity = model(x, times, labels).float()
    per_row = (velocity - wanted).square().flatten(1).mean(dim=1)
    n_items = torch.ones(len(per_row), dtype=torch.int64, device=per_row.device)
    return StepOutput(losses={"flow": Loss(per_row, n_items)}, outputs=velocity)


@torch.no_grad()
def follow(
    model: nn.Module, x: Tensor, labels: Tensor, *, steps: int, guidance: float = 1.0, begin: float = 0.0
) -> Tensor:
    """Samples (B, ...) of about unit size: the flow followed from x at time `begin` to time 1, by Heun's method.

    guidance: 1 is the flow of the class; more goes further away from that of no class (Ho and Salimans 2022, arXiv 2207.12598),
    which makes samples more typical and less varied. Each step costs two evaluations, four with guidance.
    """
    times = torch.linspace(begin, 1.0, steps + 1, device=x.device)
    nothing = torch.zeros_like(labels)
    nothing[:, -1] = 1

    def velocity(at: Tensor, t: Tensor) -> Tensor:
        when = t.expand(len(at))
        towards: Tensor = model(at, when, labels).float()
        if guidance == 1.0:
            return towards
        anywhere: Tensor = model(at, when, nothing).float()
        return anywhere + guidance * (towards - anywhere)

    for now, then in pairwise(times):
        step = then - now
        first = velocity(x, now)
        if then < 1:
            second = velocity(x + step * first, then)
            x = x + step * (first + second) / 2
        else:  # at 1 itself the network has hardly been asked
            x = x + step * first
    return x
