"""Spectrograms against plain computations, and the way back to waves."""

import math

import numpy as np
import pytest
import torch

from ouvroir.media.audio import spectra
from ouvroir.media.audio.spectra import LogMel

RATE = 8_000


def wave_of(hz, n=RATE, batch=1):
    times = torch.arange(n) / RATE
    return (torch.sin(2 * math.pi * hz * times) * 8000)[None].expand(batch, n)


def test_frames_have_the_power_that_numpy_finds():
    torch.manual_seed(0)
    wave = torch.randn(2, 2000)
    found = spectra.Frames(RATE)(wave)
    size, hop = spectra.frame_sizes(RATE)
    window = np.hanning(size + 1)[:-1]
    for row in range(2):
        for frame in (0, 3, found.shape[1] - 1):
            part = wave[row, frame * hop : frame * hop + size].numpy() * window
            assert np.allclose(found[row, frame].numpy(), np.abs(np.fft.rfft(part)) ** 2, rtol=1e-3, atol=1e-3)
    assert found.shape[1] == spectra.n_frames(2000, RATE)


@pytest.mark.parametrize("hz", [200.0, 700.0, 2500.0])
def test_a_tone_is_in_the_band_of_its_pitch(hz):
    bands = 40
    mel = LogMel(RATE, bands)
    levels = mel.levels(wave_of(hz))[0].mean(dim=1)
    edges = torch.linspace(float(spectra.mel(50.0)), float(spectra.mel(RATE / 2)), bands + 2)
    want = int((edges - float(spectra.mel(hz))).abs().argmin()) - 1
    assert abs(int(levels.argmax()) - want) <= 1


def test_loudness_makes_no_difference():
    mel = LogMel(RATE, 40)
    wave = wave_of(600) + torch.randn(1, RATE)
    assert torch.allclose(mel(wave), mel(wave * 0.1), atol=1e-3)


def test_warped_banks_move_tones():
    mel = LogMel(RATE, 40)
    tone = wave_of(1000, batch=3)
    up, plain, down = (spectra.WARPS.index(warp) for warp in (1.16, 1.0, 0.84))
    levels = mel.levels(tone, torch.tensor([down, plain, up])).mean(dim=2).argmax(dim=1)
    assert levels[0] > levels[1] > levels[2]  # a band that lies lower hears a tone as higher
    assert torch.allclose(mel.levels(tone[:1]), mel.levels(tone[:1], torch.tensor([plain])), atol=1e-4)


def test_measured_levels_have_mean_0_and_deviation_1():
    torch.manual_seed(0)
    mel = LogMel(RATE, 40)
    waves = [torch.randn(4, RATE) * 1000 for _ in range(3)]
    mel.measure(iter(waves))
    seen = torch.cat([mel(wave) for wave in waves])
    assert seen.mean(dim=(0, 2)).abs().max() < 1e-3
    assert (seen.std(dim=(0, 2)) - 1).abs().max() < 0.02


def test_cepstra_are_an_orthonormal_turn():
    rows = spectra.cosines(40, 40)
    assert torch.allclose(rows @ rows.T, torch.eye(40), atol=1e-5)


def test_what_is_hidden_is_one_run_of_bands_and_one_of_frames():
    seen = torch.ones(3, 40, 50)
    places = torch.tensor([[0.5, 0.99, 0.0, 0.99], [0.0, 0.0, 0.0, 0.0], [0.99, 0.5, 0.99, 0.5]])
    found = spectra.masked(seen, places)
    assert (found[1] == 1).all()
    for row in (0, 2):
        bands = (found[row] == 0).all(dim=1)
        frames = (found[row] == 0).all(dim=0)
        for gone in (bands, frames):
            where = torch.nonzero(gone).flatten()
            assert 0 < len(where) <= len(gone) / 5 + 1
            assert (where.diff() == 1).all()


def test_a_wave_comes_back_from_its_spectrogram():
    torch.manual_seed(0)
    times = torch.arange(RATE) / RATE
    wave = (torch.sin(2 * math.pi * (300 + 300 * times) * times) * torch.hann_window(RATE))[None]
    power = spectra.Frames(RATE)(wave)
    found = spectra.to_waves(power, RATE, seed=0, steps=60)
    again = spectra.Frames(RATE)(found)
    n = min(power.shape[1], again.shape[1])
    a, b = power[:, :n].sqrt().flatten(), again[:, :n].sqrt().flatten()
    assert float(torch.nn.functional.cosine_similarity(a, b, dim=0)) > 0.97
    assert torch.equal(found, spectra.to_waves(power, RATE, seed=0, steps=60))


def test_powers_come_back_from_bands():
    torch.manual_seed(0)
    mel = LogMel(RATE, 40)
    wave = wave_of(700) + wave_of(1500)
    levels = mel.levels(wave)
    power = spectra.to_power(levels, mel.banks)
    assert (power >= 0).all()
    bands = power @ mel.banks[0]
    want = (levels.exp() - 1e-5).transpose(1, 2)
    assert float((bands - want).abs().mean() / want.abs().mean()) < 0.1
