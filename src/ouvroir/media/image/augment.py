"""Random changes to a batch of pictures, on the device, all rows at once.

Geometry (mirroring, turning, zooming, shifting, cropping, stretching) is one matrix a row and one resampling. Every
number comes from an Rng by name, so a picture is changed in the same way however the batch is grouped. What is switched
off costs nothing and draws nothing.

Axes: B rows, C channels, H rows and W columns of pixels, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.image.recipes import Options
    from ouvroir.rng import Rng

LUMA = (0.299, 0.587, 0.114)  # grey of RGB, ITU-R BT.601
ERASED_AREA = (0.02, 0.2)  # share of the picture that erasing paints over; Zhong 2017, arXiv 1708.04896, section 4.2
ERASED_ASPECT = 3.0
MIX_CONCENTRATION = 0.4  # Beta(a, a) of mixup is approximated by a power of a uniform number, see `_mix_share`


@dataclass(frozen=True)
class Mixed:
    """Which rows a batch was blended from: partner (B,) int64 and own (B,) float32, the share that is the row's own."""

    partner: Tensor
    own: Tensor

    def targets(self, targets_BK: Tensor) -> Tensor:
        """(B, K) float32: each row's target, its own share of it and the rest of its partner's."""
        own = self.own[:, None]
        return own * targets_BK + (1 - own) * targets_BK[self.partner]


def is_random(options: Options) -> bool:
    """Whether `augment` changes anything under these options, other than a resize to train_px."""
    return (
        _has_geometry(options)
        or options.flip != "never"
        or any(
            (
                options.brightness,
                options.contrast,
                options.colour_jitter,
                options.erasing,
                options.mixup,
                options.cutmix,
            )
        )
    )


def _has_geometry(options: Options) -> bool:
    return options.crop < 1 or any((options.rotation_deg, options.scale, options.translate, options.stretch))


def augment(pixels: Tensor, options: Options, rng: Rng, *, edge_px: int | None = None) -> tuple[Tensor, Mixed | None]:
    """pixels: (B, C, H, W) uint8 or float in [0, 255]. Returns float32 in [0, 255], (B, C, edge_px, edge_px) if
    `edge_px` is given, and what rows were blended from, if any were. Nothing switched on: returned as they came.
    """
    edge = edge_px or pixels.shape[-1]
    if not is_random(options) and edge == pixels.shape[-1]:
        return pixels, None
    x = pixels.float()
    if _has_geometry(options) or edge != pixels.shape[-1]:
        x = _resample(x, _matrices(options, rng), edge)
    elif options.flip != "never":
        x = _mirror(x, options, rng)
    if options.brightness or options.contrast or options.colour_jitter:
        x = _recolour(x, options, rng)
    if options.erasing:
        x = _erase(x, options.erasing, rng)
    if options.mixup or options.cutmix:
        return _mix(x, options, rng)
    return x, None


def _between(rng: Rng, name: str, reach: float) -> Tensor:
    """(B,) uniform in [-reach, reach)."""
    return (rng.uniform(name) * 2 - 1) * reach


def _signs(options: Options, rng: Rng) -> tuple[Tensor, Tensor]:
    """(B,) each: -1 where a row is mirrored left to right, and top to bottom."""
    one = torch.ones(len(rng.places), device=rng.places.device)
    across = (
        torch.where(rng.uniform("flip_horizontal") < 0.5, -one, one) if options.flip in ("horizontal", "both") else one
    )
    upside = torch.where(rng.uniform("flip_vertical") < 0.5, -one, one) if options.flip in ("vertical", "both") else one
    return across, upside


def _mirror(x: Tensor, options: Options, rng: Rng) -> Tensor:
    across, upside = _signs(options, rng)
    x = torch.where(across[:, None, None, None] < 0, x.flip(3), x)
    return torch.where(upside[:, None, None, None] < 0, x.flip(2), x) if options.flip in ("vertical", "both") else x


def _matrices(options: Options, rng: Rng) -> Tensor:
    """(B, 2, 3): where each output position looks in the input, both in [-1, 1] (x, y)."""
    n_rows, device = len(rng.places), rng.places.device
    zero = torch.zeros(n_rows, device=device)
    angle = _between(rng, "rotation", math.radians(options.rotation_deg)) if options.rotation_deg else zero
    zoom = (_between(rng, "scale", 1.0) * math.log1p(options.scale)).exp() if options.scale else zero + 1
    wide = (_between(rng, "stretch", 0.5) * math.log1p(options.stretch)).exp() if options.stretch else zero + 1
    across, upside = _signs(options, rng)
    shift_x = _between(rng, "translate_x", 2 * options.translate) if options.translate else zero
    shift_y = _between(rng, "translate_y", 2 * options.translate) if options.translate else zero
    if options.crop < 1:
        side = (options.crop + (1 - options.crop) * rng.uniform("crop_area")).sqrt()
        zoom = zoom * side
        room = (1 - side).clamp_min(0)
        shift_x, shift_y = shift_x + _between(rng, "crop_x", 1.0) * room, shift_y + _between(rng, "crop_y", 1.0) * room
    cos, sin = angle.cos(), angle.sin()
    size_x, size_y = zoom * wide * across, zoom / wide * upside
    return torch.stack([size_x * cos, -size_y * sin, shift_x, size_x * sin, size_y * cos, shift_y], dim=1).view(
        -1, 2, 3
    )


def _resample(x: Tensor, matrices: Tensor, edge_px: int) -> Tensor:
    """Bilinear; beyond the border its colour goes on. Shrinking by more than a third is smoothed first."""
    if x.shape[-1] > edge_px * 3 // 2:
        x = functional.interpolate(x, size=(edge_px, edge_px), mode="area")
    grid = functional.affine_grid(matrices, [len(x), x.shape[1], edge_px, edge_px], align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _recolour(x: Tensor, options: Options, rng: Rng) -> Tensor:
    """Brightness and contrast (about the row's mean) as one factor and one offset a row, then saturation; clamped."""
    if options.brightness or options.contrast:
        bright = (
            1 + _between(rng, "brightness", options.brightness)
            if options.brightness
            else torch.ones(len(x), device=x.device)
        )
        contrast = (
            1 + _between(rng, "contrast", options.contrast) if options.contrast else torch.ones(len(x), device=x.device)
        )
        offset = bright * (1 - contrast) * x.mean(dim=(1, 2, 3))
        x = torch.addcmul(offset[:, None, None, None], x, (bright * contrast)[:, None, None, None])
    if options.colour_jitter and x.shape[1] == 3:
        grey = torch.einsum("bchw,c->bhw", x, torch.tensor(LUMA, device=x.device, dtype=x.dtype))[:, None]
        x = torch.lerp(grey, x, 1 + _between(rng, "saturation", options.colour_jitter)[:, None, None, None])
    return x.clamp_(0, 255)


def _boxes(x: Tensor, share: Tensor, aspect: Tensor, place: Tensor) -> Tensor:
    """(B, 1, H, W) bool: rectangles of an area `share` (B,), an `aspect` (B,) and a centre `place` (B, 2) in [0, 1)."""
    height, width = x.shape[-2:]
    half_h = (share * aspect).sqrt().clamp(max=1) * height / 2
    half_w = (share / aspect).sqrt().clamp(max=1) * width / 2
    rows = torch.arange(height, device=x.device) + 0.5
    columns = torch.arange(width, device=x.device) + 0.5
    centre_y = half_h + place[:, 0] * (height - 2 * half_h)
    centre_x = half_w + place[:, 1] * (width - 2 * half_w)
    in_rows = (rows[None] - centre_y[:, None]).abs() < half_h[:, None]
    in_columns = (columns[None] - centre_x[:, None]).abs() < half_w[:, None]
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def _erase(x: Tensor, chance: float, rng: Rng) -> Tensor:
    """Paint a random rectangle of some rows in the row's mean colour."""
    numbers = rng.uniform("erase", (5,))
    share = ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * numbers[:, 1]
    share = torch.where(numbers[:, 0] < chance, share, 0.0)
    aspect = ((numbers[:, 2] * 2 - 1) * math.log(ERASED_ASPECT)).exp()
    return torch.where(_boxes(x, share, aspect, numbers[:, 3:]), x.mean(dim=(2, 3), keepdim=True), x)


def _mix(x: Tensor, options: Options, rng: Rng) -> tuple[Tensor, Mixed]:
    """Blend (mixup; Zhang 2018, arXiv 1710.09412) or patch (cutmix; Yun 2019, arXiv 1905.04899) rows with a partner.

    One draw a row decides: mixup, cutmix or neither. A row's own share is at least one half.
    """
    partner = rng.partner("mix")
    numbers = rng.uniform("mix", (4,))
    is_mixup = numbers[:, 0] < options.mixup
    is_cutmix = ~is_mixup & (numbers[:, 0] < options.mixup + options.cutmix)
    share = _mix_share(numbers[:, 1])
    own = torch.where(is_mixup, 1 - share, torch.ones_like(share))
    other = x[partner]
    if options.cutmix:
        box = _boxes(x, torch.where(is_cutmix, numbers[:, 1] / 2, 0.0), torch.ones_like(share), numbers[:, 2:])
        own = torch.where(is_cutmix, 1 - box.float().mean(dim=(1, 2, 3)), own)
        if options.mixup:
            blend = (1 - own)[:, None, None, None] * is_mixup[:, None, None, None]
            return torch.where(box, other, torch.lerp(x, other, blend)), Mixed(partner, own)
        return torch.where(box, other, x), Mixed(partner, own)
    return torch.lerp(x, other, (1 - own)[:, None, None, None]), Mixed(partner, own)


def _mix_share(uniform: Tensor) -> Tensor:
    """The partner's share in [0, 1/2]: u^(1/a)/2 of a uniform u, which like Beta(a, a) folded at 1/2 is mostly small."""
    return 0.5 * uniform ** (1 / MIX_CONCENTRATION)
