"""Motion: the shift of each place from the frame before, whatever the colours."""

import numpy as np
import pytest
import torch

from ouvroir.media.video.models import Motion


def disc(across, down, contrast, n=6, size=48, ground=0.3):
    """(1, T, H, W, 3): a soft disc that moves so many pixels a frame, in deviations of the levels."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    frames = [
        ground + contrast * np.clip(0.5 - (np.hypot(x - 20 - across * t, y - 22 - down * t) - 9) / 3, 0, 1)
        for t in range(n)
    ]
    return torch.from_numpy(np.stack([np.stack(frames)] * 3, axis=-1))[None].float()


def strongest(clip):
    """(4,): the mean shift over the places that move, after the first frame."""
    found = Motion()(clip)[0, :, 1:]
    moves = (found.abs().amax(dim=0) > 0.1).float()
    return ((found * moves).sum(dim=(1, 2, 3)) / moves.sum().clamp_min(1)).tolist()


@pytest.mark.parametrize("contrast", [1.5, -1.5, 0.5])
@pytest.mark.parametrize(("across", "down"), [(1.5, 0), (-1.5, 0), (0, 1.5), (0, -1.5)])
def test_the_way_and_not_the_colours_is_seen(across, down, contrast):
    found = np.array(strongest(disc(across, down, contrast))).reshape(2, 2)  # scales, ways
    wanted = np.sign([across, down])
    for scale in found:
        assert scale @ wanted > 0.15
        assert abs(scale @ wanted[::-1]) < 0.1 * (scale @ wanted)


def test_what_moves_faster_has_the_larger_shift():
    slow, fast = strongest(disc(0.8, 0, 1)), strongest(disc(1.6, 0, 1))
    assert fast[0] > 1.5 * slow[0] > 0
    assert fast[2] > 1.5 * slow[2] > 0


def test_what_stands_still_and_what_tells_nothing_moves_not():
    assert not Motion()(disc(0, 0, 1)).any()
    assert not Motion()(torch.ones(2, 5, 32, 32, 3)).any()
    brighter = torch.linspace(0, 1, 5).view(1, 5, 1, 1, 1) * torch.ones(1, 5, 32, 32, 3)
    assert Motion()(brighter).abs().max() < 1e-3  # a change without any slope
    noise = torch.randn(1, 5, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(Motion()(100 * noise)).all()


@pytest.mark.parametrize("size", [16, 30, 33, 48, 50])
def test_it_is_as_large_as_what_is_seen_of_each_frame(size):
    from ouvroir.media.video.models import Spatial

    spatial = Spatial(8, 1, 1 / 137).eval()
    found = spatial(torch.zeros(2, 3, size, size, 3))
    assert found.shape == (2, spatial.width, 3, -(-size // 4), -(-size // 4))
    alone = Spatial(8, 1, 1 / 137, motion=False).eval()
    assert alone(torch.zeros(2, 3, size, size, 3)).shape[1] == alone.width == spatial.width - Motion.n_channels
