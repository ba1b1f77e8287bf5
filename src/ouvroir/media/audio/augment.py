"""Random changes of whole batches of waves, on the device: shift, speed, loudness, noise, mixtures.

All numbers come from `Rng`, so a row is changed alike however rows are grouped.

Axes: B rows, T samples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from ouvroir.media.audio.spectra import WARPS

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.audio.recipes import Options
    from ouvroir.rng import Rng

LEAST_NOISE_DB, MOST_NOISE_DB = 5.0, 40.0  # of the sound over the noise


def is_random(options: Options) -> bool:
    """Whether anything is changed at all."""
    shares = (options.shift, options.speed, options.noise, options.mixup, options.warp, options.hide)
    return any(share > 0 for share in shares)


def augment(wave: Tensor, heard: Tensor, options: Options, rng: Rng) -> dict[str, Any]:
    """`wave` (B, T) float32 changed; `warp` (B,) and `hidden` (B, 4) for the spectrogram; `partner` and `share` of blended rows.

    wave: (B, T) int16, in the middle of silence where a row has fewer samples; heard: (B,), how many these are.
    """
    found: dict[str, Any] = {}
    x = wave.float() / 32768
    if options.speed or options.shift:
        x = _moved(x, heard, options, rng)
    if options.noise:
        x = _noisy(x, options.noise, rng)
    if options.mixup:
        partner = rng.partner("mixup")
        share = 0.5 + 0.5 * rng.uniform("mixup share")
        share = torch.where(rng.uniform("mixup which") < options.mixup, share, torch.ones_like(share))
        level = x.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-5)
        even = x / level  # else the louder one would be all that is heard
        x = share[:, None] * even + (1 - share[:, None]) * even[partner]
        found |= {"partner": partner, "share": share}
    found["wave"] = x
    if options.warp:
        which = (rng.uniform("warp") * (len(WARPS) - 1)).long() + 1
        found["warp"] = torch.where(rng.uniform("warp which") < options.warp, which, torch.zeros_like(which))
    if options.hide:
        hidden = rng.uniform("hidden", (4,))
        is_off = rng.uniform("hidden which") >= options.hide
        found["hidden"] = torch.where(is_off[:, None], _nothing_hidden(hidden), hidden)
    return found


def _nothing_hidden(like: Tensor) -> Tensor:
    return torch.zeros_like(like)  # runs of width 0


def _moved(x: Tensor, heard: Tensor, options: Options, rng: Rng) -> Tensor:
    """Each row faster or slower about its middle, and earlier or later as far as there is silence, or by a share of it all.

    Samples between two are taken on the line between them; beyond the ends there is silence.
    """
    n = x.shape[1]
    factor = (
        (1 + options.speed * (2 * rng.uniform("speed") - 1)) if options.speed else torch.ones(len(x), device=x.device)
    )
    free = (n - heard / factor).clamp_min(0) / 2 + options.shift * heard.clamp_max(n) / 2
    offset = (2 * rng.uniform("shift") - 1) * (free if options.shift else torch.zeros_like(free))
    middle = (n - 1) / 2
    at = (torch.arange(n, device=x.device) - middle - offset[:, None]) * factor[:, None] + middle
    low = at.floor()
    share = at - low
    first = low.long()

    def taken(places: Tensor) -> Tensor:
        inside = (places >= 0) & (places < n)
        return x.gather(1, places.clamp(0, n - 1)) * inside

    return taken(first) * (1 - share) + taken(first + 1) * share


def _noisy(x: Tensor, share: float, rng: Rng) -> Tensor:
    """White noise under a `share` of the rows, from barely heard to loud."""
    level = x.square().mean(dim=1).sqrt().clamp_min(1e-5)
    decibels = LEAST_NOISE_DB + (MOST_NOISE_DB - LEAST_NOISE_DB) * rng.uniform("noise level")
    strength = level * torch.exp(-decibels * (math.log(10) / 20))
    is_noisy = rng.uniform("noise which") < share
    return x + rng.normal("noise", (x.shape[1],)) * (strength * is_noisy)[:, None]
