"""Augmentation: nothing when off, the same for a row however rows are grouped, and what each setting promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from ouvroir.media.image.augment import Mixed, _matrices, augment, is_random
from ouvroir.media.image.recipes import Options
from ouvroir.rng import Rng

OFF = Options()
ALL = Options(
    flip="both", rotation_deg=20, scale=0.2, translate=0.1, crop=0.5, stretch=0.2, brightness=0.3, contrast=0.3,
    colour_jitter=0.3, erasing=0.5, mixup=0.3, cutmix=0.3,
)  # fmt: skip
SETTINGS = {
    "flip": "horizontal", "rotation_deg": 20.0, "scale": 0.2, "translate": 0.1, "crop": 0.5, "stretch": 0.2,
    "brightness": 0.3, "contrast": 0.3, "colour_jitter": 0.3, "erasing": 1.0, "mixup": 1.0, "cutmix": 1.0,
}  # fmt: skip


def rng(n=12, first=0, step=0, shard_size=None):
    return Rng(7, step, torch.arange(first, first + n), shard_size=shard_size or n)


@pytest.fixture
def batch(pictures):
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def test_off_is_the_identity(batch):
    assert not is_random(OFF)
    found, mixed = augment(batch, OFF, rng())
    assert found is batch
    assert mixed is None


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_changes_pictures_and_says_so(batch, name):
    options = replace(OFF, **{name: SETTINGS[name]})
    assert is_random(options)
    found, _ = augment(batch, options, rng())
    assert found.shape == batch.shape
    assert not torch.equal(found, batch.float())
    assert found.min() >= 0
    assert found.max() <= 255


@pytest.mark.parametrize("name", [*SETTINGS, "all"])
def test_grouping_into_micro_batches_changes_nothing(batch, name):
    options = ALL if name == "all" else replace(OFF, **{name: SETTINGS[name]})
    whole, mixed = augment(batch, options, rng(shard_size=6), edge_px=16)
    halves = [augment(batch[first : first + 6], options, rng(6, first), edge_px=16) for first in (0, 6)]
    assert torch.equal(whole, torch.cat([pixels for pixels, _ in halves]))
    if mixed is not None:
        assert torch.equal(mixed.own, torch.cat([part.own for _, part in halves]))
        assert torch.equal(mixed.partner, torch.cat([part.partner + 6 * n for n, (_, part) in enumerate(halves)]))


def test_steps_differ_and_repeat(batch):
    first, again, other = (augment(batch, ALL, rng(step=step))[0] for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_mirroring_gives_the_picture_or_its_mirror_image(batch):
    found, _ = augment(batch, replace(OFF, flip="horizontal"), rng())
    kept = [torch.equal(found[row], batch[row].float()) for row in range(12)]
    turned = [torch.equal(found[row], batch[row].float().flip(2)) for row in range(12)]
    assert all(one != other for one, other in zip(kept, turned, strict=True))
    assert 0 < sum(kept) < 12


def test_rotation_agrees_with_scipy():
    """One row's angle is read from its matrix, and scipy turns the same picture by it."""
    ramp = np.add.outer(np.linspace(0, 100, 33), np.linspace(0, 150, 33) ** 1.0).astype(np.float32)
    pixels = torch.from_numpy(ramp)[None, None].repeat(4, 1, 1, 1)
    options = replace(OFF, rotation_deg=30.0)
    found, _ = augment(pixels, options, rng(4))
    matrices = _matrices(options, rng(4))
    for row in range(4):
        angle = torch.atan2(matrices[row, 1, 0], matrices[row, 0, 0]).rad2deg().item()
        want = ndimage.rotate(ramp, angle, reshape=False, order=1, mode="nearest")
        inner = slice(10, 23)  # where no border is seen
        assert np.abs(found[row, 0].numpy() - want)[inner, inner].max() < 1.5


def test_translation_moves_by_whole_pixels_when_asked():
    from ouvroir.media.image.augment import _resample

    pixels = torch.arange(256.0).reshape(1, 1, 16, 16)
    shift = torch.tensor([[[1.0, 0, 2 * 3 / 16], [0, 1.0, 0]]])  # three pixels of a 16-pixel picture that spans 2
    found = _resample(pixels, shift, 16)
    assert torch.allclose(found[0, 0, :, :13], pixels[0, 0, :, 3:], atol=1e-3)


def test_crop_stays_inside_the_picture():
    for seed in range(20):
        matrices = _matrices(replace(OFF, crop=0.3), Rng(seed, 0, torch.arange(64)))
        reach = matrices[:, [0, 1], [0, 1]].abs() + matrices[:, :, 2].abs()
        assert reach.max() <= 1 + 1e-5
        area = matrices[:, 0, 0] * matrices[:, 1, 1]
        assert 0.3 <= area.min() < 0.35
        assert area.max() <= 1


def test_zoom_and_rotation_keep_their_ranges():
    matrices = _matrices(replace(OFF, rotation_deg=15.0, scale=0.25), Rng(0, 0, torch.arange(2000)))
    size = matrices[:, :, 0].norm(dim=1)
    angle = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]).rad2deg()
    assert 0.8 - 1e-4 <= size.min() < 0.81
    assert 1.24 < size.max() <= 1.25 + 1e-4
    assert -15 - 1e-3 <= angle.min() < -14.5
    assert 14.5 < angle.max() <= 15 + 1e-3


def test_smaller_training_size(batch):
    found, _ = augment(batch, OFF, rng(), edge_px=8)
    assert found.shape == (12, 3, 8, 8)
    want = batch.float().reshape(12, 3, 8, 2, 8, 2).mean(dim=(3, 5))
    assert torch.allclose(found, want, atol=0.01)


def test_brightness_and_contrast_hand_worked():
    """A flat picture has no contrast, so only brightness acts; the factor stays in its range."""
    flat = torch.full((200, 1, 4, 4), 100.0)
    found, _ = augment(flat, replace(OFF, brightness=0.2, contrast=0.5), rng(200))
    assert torch.allclose(found.std(dim=(1, 2, 3)), torch.zeros(200), atol=1e-3)
    assert 79.9 <= found.min() < 82
    assert 118 < found.max() <= 120.1


def test_saturation_leaves_grey_alone(batch):
    grey = batch[:, :1].repeat(1, 3, 1, 1)
    found, _ = augment(grey, replace(OFF, colour_jitter=0.5), rng())
    assert torch.allclose(found, grey.float(), atol=0.01)


def test_erasing_paints_one_rectangle_in_the_mean_colour(batch):
    found, _ = augment(batch, replace(OFF, erasing=1.0), rng())
    for row in range(12):
        changed = (found[row] != batch[row].float()).any(dim=0)
        rows, columns = torch.nonzero(changed.any(dim=1)).ravel(), torch.nonzero(changed.any(dim=0)).ravel()
        box = found[row, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        mean = batch[row].float().mean(dim=(1, 2))
        assert torch.allclose(box, mean[:, None, None].expand_as(box), atol=0.01)
        assert 0 < changed.float().mean() <= 0.35


def test_erasing_spares_the_share_it_should():
    pixels = torch.rand(400, 1, 8, 8) * 255
    found, _ = augment(pixels, replace(OFF, erasing=0.25), rng(400))
    share = (found != pixels).flatten(1).any(dim=1)
    assert 0.18 < share.float().mean() < 0.32


def test_mixup_blends_with_the_partner_by_the_stated_share(batch):
    found, mixed = augment(batch, replace(OFF, mixup=1.0), rng())
    own = mixed.own[:, None, None, None]
    want = own * batch.float() + (1 - own) * batch.float()[mixed.partner]
    assert torch.allclose(found, want, atol=1e-2)
    assert mixed.own.min() >= 0.5
    assert (mixed.partner != torch.arange(12)).all()


def test_cutmix_share_is_the_area(batch):
    found, mixed = augment(batch, replace(OFF, cutmix=1.0), rng())
    from_own = (found == batch.float()).all(dim=1)
    from_other = (found == batch.float()[mixed.partner]).all(dim=1)
    assert (from_own | from_other).all()
    assert torch.allclose(from_own.float().mean(dim=(1, 2)), mixed.own, atol=0.02)


def test_share_of_rows_that_are_mixed():
    pixels = torch.rand(4000, 1, 16, 16) * 255
    _, mixed = augment(pixels, replace(OFF, mixup=0.2, cutmix=0.3), rng(4000))
    assert 0.46 < (mixed.own < 1).float().mean() < 0.52


def test_blended_targets_hand_worked():
    targets = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    mixed = Mixed(partner=torch.tensor([1, 2, 0]), own=torch.tensor([0.75, 1.0, 0.5]))
    assert mixed.targets(targets).tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0.5, 0, 0.5]]
