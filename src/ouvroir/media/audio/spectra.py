"""From waves to what a network looks at, and back: log-mel spectrograms, cepstra, and the phase of a spectrogram found again.

All of it is tensor operations on whole batches, on the device, and part of the model, so that exported files carry it.

Axes: B rows, T samples of a wave, F frames in time, N samples of a frame, K = N/2 + 1 frequencies, M mel bands, W warps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from ouvroir.layers import exactly

if TYPE_CHECKING:
    from torch import Tensor

FRAME_S, HOP_S = 0.025, 0.010
LOWEST_HZ = 50.0
WARPS = (1.0, 0.84, 0.88, 0.92, 0.96, 1.04, 1.08, 1.12, 1.16)
"""Factors by which frequencies are moved in training, as longer and shorter throats do; the first is none."""
N_CEPSTRA = 20
_FLOOR = 1e-5  # of the mean power of a sound: 50 dB under it is nothing


def frame_sizes(rate: int) -> tuple[int, int]:
    """(N, hop): samples of one frame, a power of 2, and from one to the next."""
    return 2 ** math.ceil(math.log2(FRAME_S * rate)), round(HOP_S * rate)


def n_frames(n_samples: int, rate: int) -> int:
    """F of a wave of `n_samples`."""
    size, hop = frame_sizes(rate)
    return 1 + max(0, n_samples - size) // hop


def usual_bands(rate: int) -> int:
    """M for sounds of that rate."""
    return 40 if rate <= 8_000 else 64


def mel(hz: float | Tensor) -> Tensor:
    """Frequencies as the ear spaces them (O'Shaughnessy 1987, in the form of HTK: 2595·log10(1 + f/700))."""
    return 2595 * torch.log10(1 + torch.as_tensor(hz, dtype=torch.float64) / 700)


def mel_banks(rate: int, size: int, n_bands: int) -> Tensor:
    """(W, K, M) float32: triangles over frequencies, evenly spaced in mel; one set for each of WARPS.

    Under a warp w the triangles lie at w times their frequencies, up to where the highest one would pass the top (Jaitly and
    Hinton 2013).
    """
    edges = torch.linspace(float(mel(LOWEST_HZ)), float(mel(rate / 2)), n_bands + 2, dtype=torch.float64)
    hz = 700 * (10 ** (edges / 2595) - 1)
    at = torch.arange(size // 2 + 1, dtype=torch.float64) * rate / size
    found = []
    for warp in WARPS:
        knee = 0.8 * rate / 2 / max(warp, 1.0)
        top = rate / 2
        above = warp * knee + (hz - knee) * (top - warp * knee) / (top - knee)
        moved = torch.where(hz <= knee, warp * hz, above)
        low, centre, high = moved[:-2], moved[1:-1], moved[2:]
        up = (at[:, None] - low) / (centre - low)
        down = (high - at[:, None]) / (high - centre)
        found.append(torch.minimum(up, down).clamp_min(0))
    return torch.stack(found).float()


class Frames(nn.Module):
    """The power of each frequency in each frame of waves: (B, T) to (B, F, K).

    By the fast transform; exported files, which have none, multiply by its matrix.
    """

    window: Tensor

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.size, self.hop = frame_sizes(rate)
        window = torch.hann_window(self.size, periodic=True, dtype=torch.float64)
        self.register_buffer("window", window.float(), persistent=False)

    def _matrix(self) -> Tensor:
        """(N, 2·K): the transform, cosines and then sines."""
        times = torch.arange(self.size, dtype=torch.float64)
        angles = 2 * math.pi * times[:, None] * torch.arange(self.size // 2 + 1, dtype=torch.float64) / self.size
        return torch.cat([angles.cos(), angles.sin()], dim=1).float()

    def forward(self, wave: Tensor) -> Tensor:
        """wave: (B, T) float32."""
        framed = wave.float().unfold(1, self.size, self.hop) * self.window
        with exactly(wave):
            if torch.compiler.is_exporting():
                real, imaginary = (framed @ self._matrix()).chunk(2, dim=2)
            else:
                spectrum = torch.fft.rfft(framed)
                real, imaginary = spectrum.real, spectrum.imag
            found: Tensor = real.square() + imaginary.square()
        return found


class LogMel(nn.Module):
    """Log-mel spectrograms of waves, of the same mean and deviation in each band: (B, T) to (B, M, F).

    `mean` and `std` (M,) are those of the train rows and are saved with the weights. How loud a sound is makes no difference.
    """

    banks: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, rate: int, n_bands: int) -> None:
        super().__init__()
        self.frames = Frames(rate)
        self.register_buffer("banks", mel_banks(rate, self.frames.size, n_bands), persistent=False)
        self.register_buffer("mean", torch.zeros(n_bands))
        self.register_buffer("std", torch.ones(n_bands))

    def levels(self, wave: Tensor, warp: Tensor | None = None) -> Tensor:
        """(B, M, F): the logarithm of each band's power over the mean power of the sound. warp: (B,) int64, places in WARPS."""
        power = self.frames(wave)
        with exactly(wave):
            bands = power @ self.banks[0] if warp is None else torch.bmm(power, self.banks[warp])
        whole = bands.mean(dim=(1, 2), keepdim=True)
        return (bands / whole.clamp_min(1e-10) + _FLOOR).log().transpose(1, 2)

    @torch.no_grad()
    def measure(self, waves: Iterable[Tensor]) -> None:
        """Take mean and deviation of each band from waves (B, T), batch by batch."""
        total, squares = (
            torch.zeros(len(self.mean), dtype=torch.float64),
            torch.zeros(len(self.mean), dtype=torch.float64),
        )
        n = 0
        for wave in waves:
            levels = self.levels(wave).double()
            total += levels.sum(dim=(0, 2))
            squares += levels.square().sum(dim=(0, 2))
            n += levels.shape[0] * levels.shape[2]
        mean = total / n
        self.mean.copy_(mean)
        self.std.copy_((squares / n - mean**2).clamp_min(0).sqrt().clamp_min(0.1))

    def forward(self, wave: Tensor, warp: Tensor | None = None) -> Tensor:
        """wave: (B, T), in any scale."""
        return (self.levels(wave, warp) - self.mean[:, None]) / self.std[:, None]


def cosines(n_bands: int, n_cepstra: int = N_CEPSTRA) -> Tensor:
    """(n_cepstra, M): the rows of a cosine transform (DCT-II, orthonormal) that turn log-mel bands into cepstra (Davis 1980)."""
    place = torch.arange(n_bands, dtype=torch.float64) + 0.5
    rows = torch.arange(n_cepstra, dtype=torch.float64)[:, None]
    found = torch.cos(math.pi * rows * place / n_bands) * math.sqrt(2 / n_bands)
    found[0] /= math.sqrt(2)
    return found.float()


def masked(seen: Tensor, places: Tensor) -> Tensor:
    """Spectrograms (B, M, F) with one run of bands and one of frames at 0 (SpecAugment; Park 2019, arXiv 1904.08779).

    places: (B, 4) in [0, 1): where each run begins and how wide it is, up to a fifth of all.
    """
    for axis, (begin, wide) in ((1, (0, 1)), (2, (2, 3))):
        n = seen.shape[axis]
        width = (places[:, wide] * (n / 5 + 1)).floor()
        first = (places[:, begin] * (n - width + 1)).floor()
        at = torch.arange(n, device=seen.device)
        is_out = (at >= first[:, None]) & (at < (first + width)[:, None])
        seen = seen.masked_fill(is_out[:, :, None] if axis == 1 else is_out[:, None, :], 0.0)
    return seen


# --- back to waves ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def to_power(levels: Tensor, banks: Tensor, *, steps: int = 60) -> Tensor:
    """(B, F, K) the powers of frequencies that would give log-mel levels (B, M, F): least squares without negative powers.

    By the rule of Lee and Seung (2001) for one factor that is known.
    """
    bands = (levels.exp() - _FLOOR).clamp_min(0).transpose(1, 2)
    bank = banks[0]
    found = (bands @ bank.T) / bank.sum(dim=0).mean() + 1e-8
    wanted = bands @ bank.T
    gram = bank @ bank.T
    for _ in range(steps):
        found = found * wanted / (found @ gram + 1e-10)
    return found


@torch.no_grad()
def to_waves(power: Tensor, rate: int, *, seed: int, steps: int = 40, momentum: float = 0.99) -> Tensor:
    """(B, T) float32 in [-1, 1]: waves whose frames have powers (B, F, K), phases found step by step.

    Fast Griffin-Lim (Perraudin 2013): each step takes the spectrogram of the wave, keeps its phases and the magnitudes wanted, and
    goes on in the direction of the last change.
    """
    size, hop = frame_sizes(rate)
    window = torch.hann_window(size, periodic=True, device=power.device)
    magnitude = power.sqrt().transpose(1, 2)
    generator = torch.Generator().manual_seed(seed)
    angle = (torch.rand(magnitude.shape, generator=generator) * 2 * math.pi).to(power.device)
    phase = torch.polar(torch.ones_like(angle), angle)
    before = torch.zeros_like(phase)
    n = (magnitude.shape[2] - 1) * hop + size

    def wave_of(spectrum: Tensor) -> Tensor:
        frames = torch.fft.irfft(spectrum, n=size, dim=1) * window[:, None]
        total = functional.fold(frames, (1, n), (1, size), stride=(1, hop))[:, 0, 0]
        squares = window.square()[None, :, None].expand(1, -1, frames.shape[2])
        weight = functional.fold(squares, (1, n), (1, size), stride=(1, hop))[:, 0, 0]
        return total / weight.clamp_min(1e-3)

    for _ in range(steps):
        wave = wave_of(magnitude * phase)
        now = torch.fft.rfft(wave.unfold(1, size, hop).transpose(1, 2) * window[:, None], dim=1)
        ahead = now + momentum * (now - before)
        phase = ahead / ahead.abs().clamp_min(1e-8)
        before = now
    wave = wave_of(magnitude * phase)
    return wave / wave.abs().amax(dim=1, keepdim=True).clamp_min(1e-6)
