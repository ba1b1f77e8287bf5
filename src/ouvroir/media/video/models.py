"""AdvancedVideoModel: a network over each frame, one over space and time together, and attention over time.

Clips come in as they are stored; exported files carry the scaling of colours.

Axes: B rows, T frames, H and W height and width, C channels, D width of the pooled vector, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional

from ouvroir.layers import Conv3d, Head, Pool, exactly, through

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.video.processor import VideoProcessor
    from ouvroir.media.video.recipes import Options
    from ouvroir.recipe import Recipe

_WIDTH = {"tiny": 16, "small": 32, "base": 64}
_WIDER = 2  # from the stem to all that follows
_DEPTH = {"tiny": 1, "small": 1, "base": 2}
_WINDOW = 5  # pixels of a scale that are taken to move together
_NOISE = 1e-3  # of squared slopes, in deviations of the levels: what is no more than this tells nothing
_FASTEST = 4.0  # pixels of a scale in a frame


class Residual(nn.Module):
    """Two convolutions with batch normalisation: x + γ·f(x); γ, one number a channel, starts at `scale`. n_dims: 2 or 3."""

    def __init__(self, width: int, scale: float, n_dims: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(width, width, n_dims), _norm(width, n_dims)
        self.conv2, self.norm2 = _conv(width, width, n_dims), _norm(width, n_dims)
        self.scale = nn.Parameter(torch.full((width, *[1] * n_dims), scale))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...), kept."""
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        found: Tensor = x + y * self.scale
        return found


def _conv(width_in: int, width: int, n_dims: int, stride: int | tuple[int, ...] = 1) -> nn.Module:
    kind = nn.Conv2d if n_dims == 2 else Conv3d
    return kind(width_in, width, 3, stride=stride, padding=1, bias=False)  # type: ignore[arg-type]


def _norm(width: int, n_dims: int) -> nn.Module:
    return nn.BatchNorm2d(width) if n_dims == 2 else nn.BatchNorm3d(width)


class Motion(nn.Module):
    """Which way and how fast each place moves from the frame before, at two scales (Lucas and Kanade 1981). Nothing is learned.

    The shift that best explains the change about each place is the same for any colours and contrast, which from few clips would
    be hard to learn. Where nothing tells, it is 0.
    """

    n_channels: ClassVar[int] = 4

    def forward(self, frames: Tensor) -> Tensor:
        """frames: (B, T, H, W, 3), of deviation 1. Returns (B, 4, T, H/4, W/4), across and down, in pixels of each scale."""
        with exactly(frames):
            grey = frames.float().mean(dim=4)
            fine = _halved(grey)
            return torch.cat([_flow(fine, 2), _flow(_halved(fine), 1)], dim=1)


def _halved(grey: Tensor) -> Tensor:
    """(B, T, H, W) at half the size."""
    return functional.avg_pool2d(grey, 2, ceil_mode=True)


def _flow(grey: Tensor, stride: int) -> Tensor:
    """(B, 2, T, H/stride, W/stride): the shift from the frame before, of (B, T, H, W)."""
    before = torch.cat([grey[:, :1], grey[:, :-1]], dim=1)
    change, middle = grey - before, functional.pad((grey + before) / 2, (1, 1, 1, 1), mode="replicate")
    across = (middle[:, :, 1:-1, 2:] - middle[:, :, 1:-1, :-2]) / 2
    down = (middle[:, :, 2:, 1:-1] - middle[:, :, :-2, 1:-1]) / 2
    products = [across * across, down * down, across * down, across * change, down * change]
    summed = functional.avg_pool2d(
        torch.cat(products, dim=1), _WINDOW, stride=stride, padding=_WINDOW // 2, count_include_pad=False
    )
    xx, yy, xy, xt, yt = summed.chunk(5, dim=1)
    xx, yy = xx + _NOISE, yy + _NOISE
    least = xx * yy - xy * xy  # above 0, as _NOISE is
    shift = torch.stack([xy * yt - yy * xt, xy * xt - xx * yt], dim=1) / least[:, None]
    return shift.clamp(-_FASTEST, _FASTEST)


class Spatial(nn.Module):
    """Each frame by itself: (B, T, H, W, 3) levels from 0 to 255 to (B, C, T, H/4, W/4); with `motion` the last four of C are
    that.

    `mean` and `std` (3,) are of the levels of the train clips.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, depth: int, scale: float, *, motion: bool = True) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((3,), 127.5))
        self.register_buffer("std", torch.full((3,), 64.0))
        layers: list[nn.Module] = []
        before = 3
        for after in (width, _WIDER * width):
            layers += [_conv(before, after, 2, stride=2), _norm(after, 2), nn.ReLU()]
            if before > 3:
                layers += [Residual(after, scale, 2) for _ in range(depth)]
            before = after
        self.layers = nn.Sequential(*layers)
        self.motion = Motion() if motion else None
        self.width = before + (Motion.n_channels if motion else 0)

    def forward(self, frames: Tensor) -> Tensor:
        """frames: (B, T, H, W, 3)."""
        scaled = (frames.float() - self.mean) / self.std
        seen = self.layers(scaled.flatten(0, 1).permute(0, 3, 1, 2))
        found: Tensor = seen.unflatten(0, frames.shape[:2]).transpose(1, 2)
        return found if self.motion is None else torch.cat([found, self.motion(scaled).to(found.dtype)], dim=1)


class Temporal(nn.Module):
    """Space and time together, by convolutions of 3 x 3 x 3: (B, C, T, H, W) to (B, D, T, H/4, W/4).

    How each place differs from the frame before is laid beside what is seen there.
    """

    def __init__(self, width_in: int, width: int, depth: int, scale: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 2 * width_in
        for _ in range(2):
            layers += [_conv(before, width, 3, stride=(1, 2, 2)), _norm(width, 3), nn.ReLU()]
            layers += [Residual(width, scale, 3) for _ in range(depth)]
            before = width
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, T, H, W)."""
        change = x - torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
        found: Tensor = self.layers(torch.cat([x, change], dim=1))
        return found


class OverTime(Pool):
    """Attention over time to what is seen in each frame, averaged over space: looks for the frames that matter."""

    def __init__(self, width: int, pi: float | None) -> None:
        super().__init__(width, pi, n_dims=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, D, T, H, W). Returns (B, D)."""
        return super().forward(x.mean(dim=(3, 4)))


class AdvancedVideoModel(nn.Module):
    """Clips to logits. Parts, input first: `spatial`, `temporal`, `attention`, `head`.

    `class_weight` (K,) weighs the loss; it is set from the train rows before training and saved with the weights.
    """

    class_weight: Tensor
    per_class: ClassVar[Mapping[str, int]] = {"head.out.weight": 0, "head.out.bias": 0}
    """Arrays with an axis of classes, and which."""

    def __init__(self, spatial: Spatial, temporal: Temporal, attention: OverTime, head: Head, n_classes: int) -> None:
        super().__init__()
        self.spatial, self.temporal, self.attention, self.head = spatial, temporal, attention, head
        self.register_buffer("class_weight", torch.ones(n_classes))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""
        return [(name, getattr(self, name)) for name in ("spatial", "temporal", "attention", "head")]

    def embed(self, frames: Tensor, part: str = "head") -> Tensor:
        """The output of all parts before `part`: (B, D) before the head, (B, C, T, H, W) before the others after the first."""
        return through(self.parts(), frames, end=part)

    def forward(
        self,
        frames: Tensor,
        masks: Sequence[Tensor] = (),
        features: Tensor | None = None,
        part: str = "head",
    ) -> Tensor:
        """Logits (B, K) float32.

        frames: (B, T, H, W, 3), uint8 or of the same scale; not looked at when `features`, the output of all parts before `part`,
        are given. masks: for dropout in the head, see `Head`.
        """
        x = self.embed(frames) if features is None else through(self.parts(), features, begin=part)
        logits: Tensor = self.head(x, masks)
        return logits


def build(recipe: Recipe, processor: VideoProcessor) -> AdvancedVideoModel:
    """The network for a recipe, with initial weights drawn from torch's global generator."""
    preset, n_classes = recipe.model.preset, len(processor.labels)
    scale, ratio = recipe.constants.value("alpha"), recipe.constants.value("phi")
    assert scale is not None, "alpha has an ordinary value"
    width, depth = _WIDTH[preset], _DEPTH[preset]
    options: Options = recipe.options
    spatial = Spatial(width, depth, scale, motion=options.motion)
    temporal = Temporal(spatial.width, _WIDER * width, depth, scale)
    for module in [*spatial.modules(), *temporal.modules()]:
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    attention = OverTime(_WIDER * width, recipe.constants.value("pi"))
    return AdvancedVideoModel(spatial, temporal, attention, Head(_WIDER * width, n_classes, ratio), n_classes)
