"""Random numbers that depend on seed, step, name and place, and on nothing else."""

import numpy as np
import pytest
import torch
from scipy import stats

from ouvroir.rng import Rng, key, mix


def rng(n=8, *, first=0, seed=3, step=5, shard_size=None):
    return Rng(seed, step, torch.arange(first, first + n), shard_size=shard_size)


def test_the_mixing_function_is_splitmix64():
    """First outputs for seed 1234567, as published with the reference code (prng.di.unimi.it/splitmix64.c)."""
    golden = 0x9E3779B97F4A7C15
    outputs = [mix((1234567 + n * golden) % 2**64) for n in range(5)]
    assert outputs == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_tensors_are_mixed_as_numbers_are():
    base = key(3, 5, "x")
    bits = rng(4)._bits("x", (3,)).flatten()
    for place in range(12):
        expected = mix((base + (place - 1) * 0x9E3779B97F4A7C15) % 2**64)
        assert int(bits[place]) % 2**64 == expected


@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
def test_pieces_of_a_batch_draw_what_the_whole_draws(shape):
    whole = rng(12)
    pieces = [rng(4, first=first) for first in (0, 4, 8)]
    for draw in ("uniform", "normal"):
        parts = torch.cat([getattr(piece, draw)("name", shape) for piece in pieces])
        assert torch.equal(getattr(whole, draw)("name", shape), parts)


def test_seed_step_name_and_place_all_matter():
    base = rng().uniform("a")
    assert torch.equal(base, rng().uniform("a"))
    assert base.unique().numel() == 8
    for other in (rng(seed=4).uniform("a"), rng(step=6).uniform("a"), rng().uniform("b"), rng(first=8).uniform("a")):
        assert not torch.isclose(base, other).any()


def test_distributions():
    many = rng(50_000)
    uniform, normal = many.uniform("u").numpy(), many.normal("n", (2,)).numpy()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal[:, 0], "norm").pvalue > 1e-3
    assert abs(np.corrcoef(normal.T)[0, 1]) < 0.02
    assert abs(np.corrcoef(uniform[:-1], uniform[1:])[0, 1]) < 0.02
    steps = np.stack([rng(1000, step=step).uniform("u").numpy() for step in (0, 1)])
    assert abs(np.corrcoef(steps)[0, 1]) < 0.15


def test_the_mask_keeps_the_mean():
    mask = rng(20_000).keep_mask("m", (4,), 0.25)
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert mask.mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("n", "shard_size"), [(12, 4), (12, 12), (6, 2), (10, 4), (3, 1)])
def test_partners_are_others_of_the_same_shard(n, shard_size):
    for step in range(20):
        partner = rng(n, step=step, shard_size=shard_size).partner("mix")
        place = torch.arange(n)
        full = place < n // shard_size * shard_size
        assert torch.equal(partner // shard_size, place // shard_size)
        if shard_size > 1:
            assert (partner != place)[full].all()


def test_partners_do_not_depend_on_the_grouping():
    whole = rng(12, shard_size=4).partner("mix")
    parts = [rng(4, first=first, shard_size=4).partner("mix") + first for first in (0, 4, 8)]
    assert torch.equal(whole, torch.cat(parts))


def test_torch_seeds_differ_by_shard_and_step():
    seeds = {rng(4, first=first, step=step, shard_size=4).torch_seed() for first in (0, 4, 8) for step in range(50)}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)
    known = Rng(3, 5, torch.arange(8, 12), shard_size=4, first=8)
    assert known.torch_seed() == rng(4, first=8, shard_size=4).torch_seed()


def test_no_rows_draw_nothing():
    empty = rng(0)
    assert empty.uniform("u", (3,)).shape == (0, 3)
    assert empty.partner("p").shape == (0,)
    assert empty.torch_seed() >= 0


def test_a_line_of_numbers_does_not_depend_on_how_many_are_asked_for():
    long, short = rng(4).along("line", 50), rng(4).along("line", 7)
    assert torch.equal(long[:, :7], short)
    assert torch.equal(rng(2, first=2).along("line", 7), short[2:])
    assert long.unique().numel() > 190
    assert 0.3 < float(long.mean()) < 0.7
    assert not torch.equal(rng(4).along("other", 7), short)
