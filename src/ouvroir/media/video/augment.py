"""Random changes of whole batches of clips, on the device: place, size, mirror, light, and speed and begin in time.

All numbers come from `Rng`, so a row is changed alike however rows are grouped; all frames of a clip are changed alike.

Axes: B rows, T frames, H and W height and width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.video.recipes import Options
    from ouvroir.rng import Rng


def is_random(options: Options) -> bool:
    """Whether anything is changed at all."""
    return options.flip or any((options.shift, options.zoom, options.light, options.speed))


def augment(frames: Tensor, options: Options, rng: Rng) -> Tensor:
    """(B, T, H, W, 3) float32 in the scale of `frames`, (B, T, H, W, 3) uint8."""
    x = frames
    if options.speed:
        x = _in_time(x, options.speed, rng)
    x = x.float()
    if options.shift or options.zoom or options.flip:
        x = _in_space(x, options, rng)
    if options.light:
        gain = 1 + options.light * (2 * rng.uniform("gain") - 1)
        shift = 128 * options.light * (2 * rng.uniform("light") - 1)
        x = (x * gain.view(-1, 1, 1, 1, 1) + shift.view(-1, 1, 1, 1, 1)).clamp(0, 255)
    return x


def _in_time(frames: Tensor, share: float, rng: Rng) -> Tensor:
    """Faster or slower by up to a ratio of `share`, earlier or later by as much; frames beyond the ends are those at the ends."""
    n = frames.shape[1]
    factor = 1 + share * (2 * rng.uniform("speed") - 1)
    offset = share * n / 2 * (2 * rng.uniform("begin") - 1)
    middle = (n - 1) / 2
    at = (torch.arange(n, device=frames.device) - middle) * factor[:, None] + middle + offset[:, None]
    places = at.round().long().clamp(0, n - 1)
    return frames[torch.arange(len(frames), device=frames.device)[:, None], places]


def _in_space(x: Tensor, options: Options, rng: Rng) -> Tensor:
    batch, n, height, width, channels = x.shape
    size = torch.exp(options.zoom * (2 * rng.uniform("zoom") - 1))
    move = options.shift * (2 * rng.uniform("shift", (2,)) - 1)
    mirror = torch.where(rng.uniform("flip") < 0.5, -1.0, 1.0) if options.flip else torch.ones_like(size)
    zero = torch.zeros_like(size)
    rows = [torch.stack([size * mirror, zero, move[:, 0]], dim=1), torch.stack([zero, size, move[:, 1]], dim=1)]
    grid = functional.affine_grid(torch.stack(rows, dim=1), [batch, 1, height, width], align_corners=False)
    flat = x.permute(0, 1, 4, 2, 3).reshape(batch, n * channels, height, width)
    moved = functional.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.view(batch, n, channels, height, width).permute(0, 1, 3, 4, 2)
