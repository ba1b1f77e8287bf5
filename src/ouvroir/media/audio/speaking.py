"""SoundFlow: the flow over spectrograms of sounds, and the way from what it makes to waves.

Axes: B rows, T samples, M bands, F frames; H = M/2 and W = F/2 of the maps, which have four channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

from ouvroir.flow import WIDTHS, FlowModel
from ouvroir.media.audio.spectra import LogMel, n_frames, to_power, to_waves, usual_bands

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.audio.processor import AudioProcessor
    from ouvroir.recipe import Recipe

SPREAD = 2.5  # deviations of a band's level that become 1 in a map
FOLD = 2  # places along an edge that become channels: a quarter of the positions, and of the time


def map_shape(processor: AudioProcessor) -> tuple[int, int, int]:
    """(4, H, W) of the maps of sounds that fill a window."""
    bands, frames = usual_bands(processor.rate), n_frames(processor.window, processor.rate)
    return FOLD**2, -(-bands // FOLD), -(-frames // FOLD)


class SoundFlow(nn.Module):
    """Velocity of maps of sounds. A map is a log-mel spectrogram, each band about its mean, folded to four channels."""

    def __init__(self, *, rate: int, window: int, n_classes: int, width: int, scale: float, pi: float | None) -> None:
        super().__init__()
        self.rate = rate
        self.n_frames = n_frames(window, rate)
        self.mel = LogMel(rate, usual_bands(rate))
        self.flow = FlowModel(n_channels=FOLD**2, n_classes=n_classes, width=width, scale=scale, pi=pi)

    def maps(self, wave: Tensor) -> Tensor:
        """(B, 4, H, W) of waves (B, T)."""
        seen = self.mel(wave) / SPREAD
        height, width = seen.shape[1:]
        padded = functional.pad(seen[:, None], (0, -width % FOLD, 0, -height % FOLD), mode="replicate")
        return functional.pixel_unshuffle(padded, FOLD)

    def waves(self, maps: Tensor, *, seed: int, steps: int) -> Tensor:
        """(B, T) float32 in [-1, 1] of maps (B, 4, H, W)."""
        seen = functional.pixel_shuffle(maps.float(), FOLD)[:, 0, : len(self.mel.mean), : self.n_frames]
        levels = seen * SPREAD * self.mel.std[:, None] + self.mel.mean[:, None]
        return to_waves(to_power(levels, self.mel.banks), self.rate, seed=seed, steps=steps)

    def forward(self, x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """Velocity (B, 4, H, W) at x (B, 4, H, W) and times (B,) for labels (B, K + 1)."""
        found: Tensor = self.flow(x, times, labels)
        return found


def build(recipe: Recipe, processor: AudioProcessor) -> SoundFlow:
    """The network for a recipe, with initial weights drawn from torch's global generator."""
    scale = recipe.constants.value("alpha")
    assert scale is not None, "alpha has an ordinary value"
    return SoundFlow(
        rate=processor.rate,
        window=processor.window,
        n_classes=len(processor.labels),
        width=WIDTHS[recipe.model.preset],
        scale=scale,
        pi=recipe.constants.value("pi"),
    )
