"""Convolutions over few frames: the same numbers as PyTorch's, and none that was never written."""

import pytest
import torch
from torch import nn

from ouvroir.layers import Conv3d


@pytest.mark.parametrize("stride", [1, (1, 2, 2), 2])
@pytest.mark.parametrize("n_frames", [1, 2, 3, 5])
def test_the_numbers_are_those_of_torch(n_frames, stride):
    torch.manual_seed(0)
    ours = Conv3d(4, 6, 3, stride=stride, padding=1)
    theirs = nn.Conv3d(4, 6, 3, stride=stride, padding=1)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, n_frames, 8, 8)
    assert ours(x).shape == theirs(x).shape
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


def test_gradients_in_half_precision_are_whole():
    torch.manual_seed(0)
    layer, x = Conv3d(16, 16, 3, padding=1), torch.randn(8, 16, 2, 8, 8)
    layer(x).sum().backward()
    want = layer.weight.grad.clone()
    for _ in range(10):
        junk = [torch.full((200_000,), 1e30) for _ in range(20)]  # what is not written holds this
        del junk
        layer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = layer(x)
        found.float().sum().backward()
        assert (layer.weight.grad - want).abs().max() < 0.05 * want.abs().max()


def test_two_frames_are_calculated_as_three(monkeypatch):
    seen = []
    forward = nn.Conv3d.forward
    monkeypatch.setattr(nn.Conv3d, "forward", lambda self, x: seen.append(x.shape[2]) or forward(self, x))
    for n_frames in (1, 2, 3):
        assert Conv3d(4, 6, 3, padding=1)(torch.randn(1, 4, n_frames, 8, 8)).shape[2] == n_frames
    assert seen == [1, 3, 3]
