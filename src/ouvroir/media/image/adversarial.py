"""Two nets that learn against each other: one makes pictures of a class, the other tells them from real ones.

The generator's way up is made of transposed convolutions; latent numbers and class scale and shift every normalisation
(Miyato 2018, arXiv 1802.05637; Brock 2019, arXiv 1809.11096). The discriminator is bounded by spectral norms (Miyato 2018,
arXiv 1802.05957) and judges a picture with its class by projection. Both see changed pictures only (`changed`), real ones and
made ones alike, so that few pictures are not soon known by heart (Zhao 2020, arXiv 2006.10738).

Axes: B rows, C channels, H and W height and width, K classes, E latent numbers, D width of the discriminator's end.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.rng import Rng

N_LATENTS = 64
WIDTHS = {"tiny": 16, "small": 24, "base": 48}
LARGEST_BASE_PX = 7
"""The pictures are doubled from the first size that is no larger."""
SLOPE = 0.1
GAIN = 2.0
"""Of each layer of the discriminator: spectral norms alone leave one that hardly tells anything on small pictures."""
SHIFT, CUT = 1 / 8, 1 / 2
"""Shares of the edge: how far `changed` moves a picture, and the edge of what it covers (Zhao 2020, section 4)."""


def doublings(edge_px: int) -> tuple[int, int]:
    """How often a picture of `edge_px` is doubled, and from which edge: the result is cut to size where it is larger."""
    n = 0
    while edge_px > LARGEST_BASE_PX:
        edge_px = -(-edge_px // 2)
        n += 1
    return n, edge_px


def widths(width: int, n: int, ratio: float) -> list[int]:
    """Channels of n + 1 sizes, the largest first: `width`, and `ratio` times as many with each halving, in eights.

    Pictures that are doubled more than once begin with `width` / `ratio`: their many pixels are what costs time.
    """
    first = width / ratio if n > 1 else width
    return [max(8, round(first * ratio**k / 8) * 8) for k in range(n + 1)]


def conditioning(step: int, steps: int | None, whole_at: float) -> float:
    """How much the class counts at `step`: nothing until a third of `whole_at`, a share of the steps, and from there on all.

    Classes that come in late keep few pictures of each from being learned as one picture (Shahbazi 2022, arXiv 2201.06578).
    """
    if not steps or not whole_at:
        return 1.0
    first = whole_at / 3
    return min(1.0, max(0.0, (step / steps - first) / (whole_at - first)))


class Conditional(nn.Module):
    """Batch normalisation whose scale and shift are linear in what is known of a row (de Vries 2017, arXiv 1707.00683)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.film = nn.Linear(N_LATENTS, 2 * width)
        nn.init.normal_(self.film.weight, std=0.02)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """x: (B, C, H, W); known: (B, E)."""
        gain, shift = self.film(known)[:, :, None, None].chunk(2, dim=1)
        found: Tensor = functional.relu(self.norm(x) * (1 + gain) + shift)
        return found


class Refined(nn.Module):
    """Residual branch after an enlargement: x + γ·f(x), where γ starts at `scale`."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.norm = Conditional(width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.scale = nn.Parameter(torch.full((width, 1, 1), scale))

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """x: (B, C, H, W); known: (B, E)."""
        found: Tensor = x + self.conv(self.norm(x, known)) * self.scale
        return found


class Generator(nn.Module):
    """Latent numbers and a class to a picture in [-1, 1]."""

    def __init__(
        self, *, n_channels: int, n_classes: int, edge_px: int, width: int, ratio: float, scale: float
    ) -> None:
        super().__init__()
        n, self.base_px = doublings(edge_px)
        self.edge_px = edge_px
        each = widths(width, n, ratio)[::-1]
        self.label = nn.Linear(n_classes + 1, N_LATENTS, bias=False)
        nn.init.normal_(self.label.weight)
        self.first = nn.Linear(N_LATENTS, each[0] * self.base_px**2)
        self.norms, self.larger, self.refined = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for before, after in pairwise(each):
            self.norms.append(Conditional(before))
            self.larger.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1))
            self.refined.append(Refined(after, scale))
        self.norm = Conditional(each[-1])
        self.out = nn.Conv2d(each[-1], n_channels, 3, padding=1)

    def forward(self, latents: Tensor, labels: Tensor, conditioned: float = 1.0) -> Tensor:
        """(B, C, H, W) for latents (B, E) and labels (B, K + 1), the weight of each class and last that of no class at all."""
        known = latents + conditioned * self.label(labels)
        x = self.first(known).view(len(known), -1, self.base_px, self.base_px)
        for norm, larger, refined in zip(self.norms, self.larger, self.refined, strict=True):
            x = refined(larger(norm(x, known)), known)
        found: Tensor = torch.tanh(self.out(self.norm(x, known)))
        return found[:, :, : self.edge_px, : self.edge_px]


class Bounded(nn.Module):
    """A linear layer or convolution whose weights are divided by their largest singular value.

    That value is followed by one power iteration at each training step, from the vector `u` (Miyato 2018, algorithm 1).
    """

    u: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.stride, self.padding = getattr(layer, "stride", 1), getattr(layer, "padding", 0)
        self.register_buffer("u", functional.normalize(torch.randn(len(layer.weight)), dim=0))
        for _ in range(10):
            self._iterate()

    @torch.no_grad()
    def _iterate(self) -> tuple[Tensor, Tensor]:
        """The vectors u and v of the largest singular value, after one more iteration."""
        matrix = self.weight.flatten(1)
        v = functional.normalize(matrix.T @ self.u, dim=0)
        if self.training:
            self.u.copy_(functional.normalize(matrix @ v, dim=0))
        return self.u.clone(), v

    def forward(self, x: Tensor) -> Tensor:
        """As the layer itself."""
        with torch.autocast(x.device.type, enabled=False):  # a norm in bf16 would be off by half a percent
            u, v = self._iterate()
            weight = self.weight / torch.dot(u, self.weight.flatten(1) @ v)
        if weight.ndim == 2:
            return functional.linear(x, weight, self.bias)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class Discriminator(nn.Module):
    """How real a picture of a class is: about 1 and more for real ones, -1 and less for made ones."""

    def __init__(self, *, n_channels: int, n_classes: int, edge_px: int, width: int, ratio: float) -> None:
        super().__init__()
        n, _ = doublings(edge_px)
        each = widths(width, n, ratio)
        self.body = nn.ModuleList([Bounded(nn.Conv2d(n_channels, each[0], 3, padding=1))])
        for before, after in pairwise(each):
            self.body.append(Bounded(nn.Conv2d(before, after, 4, stride=2, padding=1)))
        self.body.append(Bounded(nn.Conv2d(each[-1], each[-1], 3, padding=1)))
        self.out = Bounded(nn.Linear(each[-1], 1))
        self.label = Bounded(nn.Linear(n_classes + 1, each[-1], bias=False))

    def forward(self, pictures: Tensor, labels: Tensor, conditioned: float = 1.0) -> Tensor:
        """(B,) for pictures (B, C, H, W) in [-1, 1] and labels (B, K + 1)."""
        x = pictures
        for layer in self.body:
            x = GAIN * functional.leaky_relu(layer(x), SLOPE)
        x = x.sum(dim=(2, 3))
        found: Tensor = self.out(x)[:, 0] + conditioned * (x * self.label(labels)).sum(dim=1)
        return found


class AdversarialModel(nn.Module):
    """Both nets. Making pictures needs the generator only; learning on needs both. Parts: generator, discriminator."""

    def __init__(
        self, *, n_channels: int, n_classes: int, edge_px: int, width: int, ratio: float, scale: float
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.generator = Generator(
            n_channels=n_channels, n_classes=n_classes, edge_px=edge_px, width=width, ratio=ratio, scale=scale
        )
        self.discriminator = Discriminator(
            n_channels=n_channels, n_classes=n_classes, edge_px=edge_px, width=width, ratio=ratio
        )

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Pictures (B, C, H, W) in [-1, 1] from latents (B, E) and labels (B, K + 1)."""
        found: Tensor = self.generator(latents, labels)
        return found


def changed(pictures: Tensor, rng: Rng, name: str) -> Tensor:
    """Pictures (B, C, H, W) in other colours, moved, and with a square covered; gradients pass (Zhao 2020, DiffAugment).

    Each row draws its own numbers under `name`: brightness within ±1/2, saturation 0 to 2, contrast 1/2 to 3/2.
    """
    n_channels, height, width = pictures.shape[1:]
    numbers = rng.uniform(name, (7,))
    bright, saturated, contrast = numbers[:, :3, None, None, None].unbind(1)
    x = pictures + (bright - 0.5)
    if n_channels > 1:
        grey = x.mean(dim=1, keepdim=True)
        x = grey + (x - grey) * (2 * saturated)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * (contrast + 0.5)
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    reach = round(SHIFT * height), round(SHIFT * width)
    down, right = (numbers[:, 3 + k] * (2 * reach[k] + 1) for k in range(2))
    x = functional.pad(x, (reach[1], reach[1], reach[0], reach[0]))
    from_row, from_column = rows + down.long()[:, None], columns + right.long()[:, None]  # (B, H), (B, W)
    x = x.gather(2, from_row[:, None, :, None].expand(-1, n_channels, -1, x.shape[3]))
    x = x.gather(3, from_column[:, None, None, :].expand(-1, n_channels, height, -1))
    in_rows, in_columns = (
        (places - (numbers[:, 5 + k] * (edge + 1)).long()[:, None] + round(CUT * edge / 2)).clamp(-1, round(CUT * edge))
        for k, (places, edge) in enumerate(((rows, height), (columns, width)))
    )
    covered_rows = (in_rows >= 0) & (in_rows < round(CUT * height))
    covered_columns = (in_columns >= 0) & (in_columns < round(CUT * width))
    is_covered = covered_rows[:, None, :, None] & covered_columns[:, None, None, :]
    return x * ~is_covered


def energy(made: Tensor, real: Tensor) -> Tensor:
    """(B,): how well M made pictures each (M, B, C, H, W) stand for the real one (B, C, H, W) that they were not made from.

    The energy score (Gneiting and Raftery 2007, section 4.2): the mean distance of the made ones to the real one, less half
    their distance from each other. On average it is least when they are distributed as the real ones are, so it rises where
    they are wrong and where they lack variety. Distances are root mean squares over pixels.
    """
    m = len(made)
    made, real = made.flatten(2).transpose(0, 1), real.flatten(1)  # (B, M, P), (B, P)
    size = made.shape[2] ** 0.5
    to_real = (made - real[:, None]).norm(dim=2).mean(dim=1)
    apart = torch.cdist(made, made, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=(1, 2)) / (m * (m - 1))
    found: Tensor = (to_real - apart / 2) / size
    return found
