"""Cached outputs of frozen parts train to the same result as the slow way."""

import pytest
import torch
import toy

from ouvroir.errors import RecipeError, TrainingError
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


def without_room(monkeypatch):
    monkeypatch.setattr(features, "free_memory", lambda _: 0)
    monkeypatch.setattr(features, "MEMORY_SHARE", 0.0)


def interrupted(folder, **loop):
    """A run on frozen parts that was stopped after step 12 of 30."""
    recipe = toy.recipe(options=toy.Options(net="batchnorm"), **loop).replace("model", scope="head")
    run = Run.create(recipe, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ouvroir.training.loop._Job._is_asked", lambda *given: given[-1] == 12)
        fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    return run


def test_a_run_that_goes_on_does_as_it_did_before(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        without_room(patch)
        run = interrupted(tmp_path)
    assert run.recipe().loop.cache_features is False
    told = toy.Told()
    fit(toy.ToyTask(), run, toy.prepared(), device="cpu", progress=told, resume=True)
    assert not told.has("run once")


def test_a_run_on_cached_features_does_not_go_on_without_them(tmp_path, monkeypatch):
    run = interrupted(tmp_path)
    assert run.recipe().loop.cache_features is True
    with monkeypatch.context() as patch:
        without_room(patch)
        with pytest.raises(TrainingError, match=r"no room .* go on"):
            fit(toy.ToyTask(), run, toy.prepared(), device="cpu", resume=True)
    told = toy.Told()
    assert fit(toy.ToyTask(), run, toy.prepared(), device="cpu", progress=told, resume=True).stopped == "finished"
    assert told.has("run once over 96 items")


def test_training_and_validation_are_cached_together_or_not_at_all(tmp_path, monkeypatch):
    rooms = [torch.empty(96, 16), None]
    monkeypatch.setattr(features, "_room", lambda *_: rooms.pop(0))
    told = toy.Told()
    run = trained(tmp_path, "half", "head", told)
    assert not rooms
    assert run.recipe().loop.cache_features is False


def test_caching_is_refused_where_nothing_is_frozen_and_left_out_when_off(tmp_path):
    run = Run.create(toy.recipe(cache_features=True), tmp_path)
    with pytest.raises(RecipeError, match=r"nothing can be kept.*model\.scope"):
        fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    told = toy.Told()
    fit(
        toy.ToyTask(),
        interrupted(tmp_path, cache_features=False),
        toy.prepared(),
        device="cpu",
        progress=told,
        resume=True,
    )
    assert not told.has("run once")


def test_free_memory_is_known():
    assert features.free_memory("cpu") > 1e6
