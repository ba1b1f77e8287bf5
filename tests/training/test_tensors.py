"""Tensors are read back as they were written."""

import torch

from ouvroir.training.tensors import read_tensors, write_tensors


def test_tied_and_strided_tensors_survive(tmp_path):
    weight = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    whole = torch.randn(10)
    tensors = {
        "a": weight,
        "b": weight,
        "left": whole[:5],
        "right": whole[5:],
        "n": torch.tensor(3),
        "t": whole.view(2, 5).T,
    }
    write_tensors(tmp_path / "x.safetensors", tensors)
    found = read_tensors(tmp_path / "x.safetensors")
    assert set(found) == set(tensors)
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
