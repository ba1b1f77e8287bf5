"""Cached outputs of frozen parts train to the same result as the slow way."""

import pytest
import torch
import toy

from ouvroir.run import Run
from ouvroir.training import features
from ouvroir.training.checkpoint import read_weights
from ouvroir.training.loop import fit


def trained(folder, name, scope, told=None, **options):
    recipe = toy.recipe(options=toy.Options(net="batchnorm", dropout=0.3, **options), optim={"ema": 0.9})
    run = Run.create(recipe.replace("model", scope=scope), folder, name=name)
    fit(toy.ToyTask(), run, toy.prepared(), device="cpu", progress=told or toy.Told())
    return run


def same(one, other):
    a, b = read_weights(one.checkpoint("last")), read_weights(other.checkpoint("last"))
    return all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


@pytest.mark.parametrize("scope", ["head", "last:2"])
def test_cached_features_give_the_result_of_the_slow_way(tmp_path, monkeypatch, scope):
    told = toy.Told()
    fast = trained(tmp_path, "fast", scope, told)
    assert told.has("frozen parts were run once over 96 items")
    monkeypatch.setattr("ouvroir.training.loop.can_cache", lambda *_: None)
    told = toy.Told()
    slow = trained(tmp_path, "slow", scope, told)
    assert not told.has("run once")
    assert same(fast, slow)
    for mine, theirs in zip(fast.metrics(), slow.metrics(), strict=True):
        assert mine.value == pytest.approx(theirs.value, abs=1e-5)


def test_nothing_is_cached_where_training_changes_the_rows_at_random(tmp_path):
    told = toy.Told()
    trained(tmp_path, "noise", "head", told, noise=0.1)
    assert not told.has("run once")


def test_large_features_go_to_a_file_and_larger_ones_nowhere(tmp_path, monkeypatch):
    small = trained(tmp_path, "memory", "head")
    monkeypatch.setattr(features, "free_memory", lambda _: 0)
    told = toy.Told()
    filed = trained(tmp_path, "file", "head", told)
    assert told.has("kept in", "while training lasts")
    assert same(small, filed)
    assert not list(filed.path.glob(".features*"))
    monkeypatch.setattr(features, "MEMORY_SHARE", 0.0)
    told = toy.Told()
    nowhere = trained(tmp_path, "nowhere", "head", told)
    assert told.has("more than there is room for")
    assert same(small, nowhere)


def test_free_memory_is_known():
    assert features.free_memory("cpu") > 1e6
