"""ConceptualImageModel: a residual network for pictures, or a pretrained ResNet, under one head.

Both take uint8 or float pixel values in [0, 255] and normalise inside, so that every exported file carries it. No layer
mixes the rows of a batch in `compact`: the answer for a picture does not depend on its neighbours.

Axes: B rows, C channels, H and W picture height and width, P = H·W positions, D width of the pooled vector, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional

from ouvroir.layers import Head, Pool, group_norm, through

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.image.processor import ImageProcessor
    from ouvroir.media.image.recipes import Options
    from ouvroir.recipe import Recipe

TINY_PX = 16  # up to here the stem keeps every pixel
SMALL_PX = 40  # up to here two stages, of wider maps
MIDDLE_PX = 96  # up to here three stages; beyond, a fourth
LARGE_PX = 160  # up to here the stem halves; beyond, it quarters

_WIDTH = {"tiny": 16, "small": 32, "base": 64}  # of the first stage; each next stage doubles it
_DEPTH = {"tiny": (1, 1, 1, 1), "small": (1, 2, 2, 1), "base": (2, 2, 2, 2)}


@dataclass(frozen=True)
class Plan:
    """The shape of a compact network: the stem's stride, and width and number of blocks of each stage."""

    stem_stride: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]


def plan(preset: str, edge_px: int) -> Plan:
    """The network for pictures stored at `edge_px`.

    Many positions and few channels: on 3,000 photographs a stem of stride 4 with four stages was far behind, given
    as much time. What was tried is in docs/decisions/0006-small-nets-on-a-cpu.md.
    """
    width, depths = _WIDTH[preset], _DEPTH[preset]
    if TINY_PX < edge_px <= SMALL_PX:
        return Plan(2, (width * 3 // 2, width * 3), (max(depths), max(depths)))
    n_stages = 3 if edge_px <= MIDDLE_PX else 4
    stride = 1 if edge_px <= TINY_PX else 2 if edge_px <= LARGE_PX else 4
    return Plan(stride, tuple(width * 2**stage for stage in range(n_stages)), depths[:n_stages])


class Block(nn.Module):
    """Residual block of two 3x3 convolutions: x + γ·f(x), f normalising first (He 2016, arXiv 1603.05027, figure 4e).

    γ, one number a channel, starts at `scale` (LayerScale; Touvron 2021, arXiv 2103.17239, eq. 3).
    """

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.norm1 = group_norm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = group_norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.scale = nn.Parameter(torch.full((width, 1, 1), scale))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W), kept."""
        y = self.conv1(functional.relu(self.norm1(x)))
        y = self.conv2(functional.relu(self.norm2(y)))
        return torch.addcmul(x, y, self.scale.to(x.dtype)) if y.dtype == x.dtype else x + y * self.scale


class Stem(nn.Sequential):
    """From pixels to the first width, with stride 1, 2 or 4."""

    def __init__(self, n_channels: int, width: int, stride: int) -> None:
        if stride < 4:
            super().__init__(nn.Conv2d(n_channels, width, stride + 2, stride=stride, padding=1, bias=False))
            return
        super().__init__(
            nn.Conv2d(n_channels, width // 2, 3, stride=2, padding=1, bias=False),
            group_norm(width // 2),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1, bias=False),
        )


class Stage(nn.Sequential):
    """Residual blocks; before them, when the width changes, a normalised 3x3 convolution of stride 2."""

    def __init__(self, width_in: int, width: int, depth: int, scale: float) -> None:
        down = [group_norm(width_in), nn.Conv2d(width_in, width, 3, stride=2, padding=1, bias=False)]
        super().__init__(*(down if width_in != width else []), *(Block(width, scale) for _ in range(depth)))


class AttentionPool(Pool):
    """`layers.Pool` of what is left after a normalisation."""

    def __init__(self, width: int, pi: float | None) -> None:
        super().__init__(width, pi)
        self.norm = group_norm(width)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, D, H, W). Returns (B, D)."""
        return super().forward(functional.relu(self.norm(x)))


class MeanPool(nn.Module):
    """The mean over positions, as ResNet does."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, D, H, W). Returns (B, D)."""
        return x.mean(dim=(2, 3))


class ConceptualImageModel(nn.Module):
    """Pictures to logits. Parts, input first: those of `body`, then `pool`, then `head`.

    `mean` and `std` (C,) in levels of [0, 255] normalise; `class_weight` (K,) weighs the loss. All three are set from the
    train rows before training and are saved with the weights.
    """

    mean: Tensor
    std: Tensor
    class_weight: Tensor
    per_class: ClassVar[Mapping[str, int]] = {"head.out.weight": 0, "head.out.bias": 0}
    """Arrays with an axis of classes, and which."""

    def __init__(
        self, body: dict[str, nn.Module], pool: nn.Module, head: Head, n_channels: int, n_classes: int
    ) -> None:
        super().__init__()
        self.body = nn.ModuleDict(body)
        self.pool = pool
        self.head = head
        self.register_buffer("mean", torch.full((n_channels,), 127.5))
        self.register_buffer("std", torch.full((n_channels,), 64.0))
        self.register_buffer("class_weight", torch.ones(n_classes))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""
        return [*self.body.items(), ("pool", self.pool), ("head", self.head)]

    def embed(self, pixel_values: Tensor, part: str = "head") -> Tensor:
        """The output of all parts before `part`: (B, D) before the head, (B, C, H, W) before the others."""
        x = (pixel_values.float() - self.mean[:, None, None]) / self.std[:, None, None]
        return through(self.parts(), x, end=part)

    def forward(
        self, pixel_values: Tensor, masks: Sequence[Tensor] = (), features: Tensor | None = None, part: str = "head"
    ) -> Tensor:
        """Logits (B, K) float32.

        pixel_values: (B, C, H, W) uint8 or float in [0, 255]; not looked at when `features`, the output of all parts
        before `part`, are given. masks: for dropout in the head, see `Head`.
        """
        x = self.embed(pixel_values) if features is None else through(self.parts(), features, begin=part)
        logits: Tensor = self.head(x, masks)
        return logits


def build(recipe: Recipe, processor: ImageProcessor) -> ConceptualImageModel:
    """The network for a recipe, with initial weights drawn from torch's global generator."""
    options: Options = recipe.options
    n_classes = len(processor.labels)
    ratio = None if options.head == "linear" else recipe.constants.value("phi")
    if processor.backbone is not None:
        from ouvroir.media.image.pretrained import build_backbone

        body, width = build_backbone(processor.backbone)
        model = ConceptualImageModel(body, MeanPool(), Head(width, n_classes, ratio), 3, n_classes)
        model.mean.copy_(torch.tensor(processor.backbone["image_mean"]) * 255)
        model.std.copy_(torch.tensor(processor.backbone["image_std"]) * 255)
        return model
    # by the stored size: the size that is trained at may change from one training to the next, the network may not
    shape = plan(recipe.model.preset, processor.storage_px)
    scale = recipe.constants.value("alpha")
    assert scale is not None, "alpha has an ordinary value"
    body = {"stem": Stem(processor.n_channels, shape.widths[0], shape.stem_stride)}
    width = shape.widths[0]
    for number, (after, depth) in enumerate(zip(shape.widths, shape.depths, strict=True), start=1):
        body[f"stage{number}"] = Stage(width, after, depth, scale)
        width = after
    for module in nn.ModuleList(body.values()).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    pool = AttentionPool(width, recipe.constants.value("pi"))
    return ConceptualImageModel(body, pool, Head(width, n_classes, ratio), processor.n_channels, n_classes)
