"""Random changes of sounds: the same for a row in any batch, and each what it says."""

import math

import pytest
import torch

from ouvroir.media.audio.augment import augment
from ouvroir.media.audio.recipes import Options
from ouvroir.rng import Rng

RATE, T = 8_000, 4_000
OFF = {"shift": 0.0, "speed": 0.0, "warp": 0.0, "noise": 0.0, "hide": 0.0, "mixup": 0.0}


def tone(hz=500.0, heard=2_000, batch=4):
    times = torch.arange(heard) / RATE
    wave = torch.zeros(batch, T)
    wave[:, (T - heard) // 2 : (T + heard) // 2] = 16_000 * torch.sin(2 * math.pi * hz * times)
    return wave.to(torch.int16), torch.full((batch,), heard)


def changed(seed=0, places=4, **options):
    wave, heard = tone(batch=places)
    return augment(wave, heard, Options(**{**OFF, **options}), Rng(seed, 1, torch.arange(places), shard_size=2))


def loud(wave):
    return torch.nonzero(wave.abs() > 0.05).flatten()


@pytest.mark.parametrize("options", [{name: 0.4} for name in OFF] + [dict.fromkeys(OFF, 0.4)])
def test_the_same_for_a_row_in_any_batch(options):
    whole, part = changed(places=4, **options), changed(places=2, **options)
    for name, value in part.items():
        assert torch.equal(value, whole[name][:2]), name
    assert torch.isfinite(whole["wave"]).all()


def test_nothing_asked_for_changes_nothing():
    wave, _ = tone()
    assert torch.equal(changed()["wave"], wave.float() / 32768)


def test_shifts_stay_within_the_silence_and_a_little_beyond():
    found = changed(shift=0.1)["wave"]
    begins = [int(loud(row)[0]) for row in found]
    assert len(set(begins)) > 1
    for row in found:
        assert int(loud(row)[-1] - loud(row)[0]) > 1_700  # of 2,000: hardly any is lost


def test_speed_moves_length_and_pitch():
    found = changed(speed=0.3)["wave"]
    lengths = {int(loud(row)[-1] - loud(row)[0]) for row in found}
    assert max(lengths) > 2_050 or min(lengths) < 1_950
    assert all(2_000 / 1.31 - 20 < length < 2_000 / 0.69 + 20 for length in lengths)
    for row in found:
        spectrum = torch.fft.rfft(row).abs()
        pitch = int(spectrum.argmax()) * RATE / T
        length = int(loud(row)[-1] - loud(row)[0])
        assert pitch * length == pytest.approx(500 * 2_000, rel=0.05)  # as a record played faster


def test_noise_is_under_a_share_of_the_sounds_and_not_louder_than_they_are():
    wave, heard = tone(batch=64)
    found = augment(wave, heard, Options(**{**OFF, "noise": 0.5}), Rng(0, 1, torch.arange(64)))["wave"]
    added = (found - wave.float() / 32768).square().mean(dim=1)
    power = (wave.float() / 32768).square().mean(dim=1)
    n_noisy = int((added > 0).sum())
    assert 20 <= n_noisy <= 44
    assert (added < power).all()


def test_mixtures_say_what_they_are_made_of():
    found = changed(mixup=1.0)
    partner, share = found["partner"], found["share"]
    assert (partner != torch.arange(4)).all()
    assert ((share >= 0.5) & (share <= 1)).all()


def test_warps_and_what_is_hidden_are_of_a_share():
    wave, heard = tone(batch=200)
    found = augment(wave, heard, Options(**{**OFF, "warp": 0.5, "hide": 0.5}), Rng(0, 1, torch.arange(200)))
    assert 60 < int((found["warp"] == 0).sum()) < 140
    assert 60 < int((found["hidden"] == 0).all(dim=1).sum()) < 140
    assert int(found["warp"].max()) <= 8
