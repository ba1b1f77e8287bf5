import fcntl
import json
import mmap
import os
import time

import pytest

from ouvroir import cache
from ouvroir.errors import NotWritable, RunError, UsageError


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def fill(path, size=100, age_days=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    when = time.time() - age_days * 86_400
    os.utime(path, (when, when))


def make_run(root, name, *, state="finished", metrics=None):
    run = root / name
    run.mkdir(parents=True)
    recipe = {"task": "image-classification", "data": {"source": "/data/flowers"}}
    (run / "recipe.json").write_text(json.dumps(recipe))
    (run / "environment.json").write_text("{}")
    (run / "status.json").write_text(json.dumps({"state": state, "sentence": "Done.", "time": 1000.0}))
    if metrics:
        (run / "evaluation.json").write_text(json.dumps({"test": metrics}))
    return run


def test_an_empty_home_lists_nothing(home):
    assert cache.list_cache() == []


def test_entries_have_sizes_and_kinds(home):
    fill(home / "manifests" / "abc" / "manifest.json", 10)
    fill(home / "packs" / "p1" / "a.safetensors", 1000)
    fill(home / "packs" / "p1" / "b.safetensors", 500)
    fill(home / "probes" / "machine.json", 7)
    found = {(entry.kind, entry.name): entry for entry in cache.list_cache()}
    assert set(found) == {("manifests", "abc"), ("packs", "p1"), ("probes", "machine")}
    assert (found["packs", "p1"].size_bytes, found["packs", "p1"].n_files) == (1500, 2)
    assert not any(entry.is_busy for entry in found.values())


def test_entries_say_what_data_they_are_of(home, tmp_path):
    from ouvroir.data.admission import admit

    for name in ("cat/1.png", "dog/2.png", "dog/3.png"):
        fill(tmp_path / "my pets" / name)
    admit(tmp_path / "my pets", task="image-classification", workers=1).save()
    fill(home / "packs" / "p1" / "data_names.txt")
    (home / "packs" / "p1" / "data_names.txt").write_text("a\nb\nc\nd\n")
    fill(home / "packs" / "p2" / "shard", 5)
    fill(home / "facts" / "broken.safetensors", 5)
    found = {(entry.kind, entry.data) for entry in cache.list_cache()}
    assert found == {
        ("manifests", "my pets"),
        ("facts", "my pets"),
        ("packs", "a, b, c, …"),
        ("packs", ""),
        ("facts", ""),
    }


def test_removal_by_kind_leaves_the_others(home):
    fill(home / "manifests" / "abc" / "manifest.json")
    fill(home / "packs" / "p1" / "a.safetensors", 1000)
    (removed,) = cache.clear_cache(["packs"])
    assert (removed.name, removed.size_bytes) == ("p1", 1000)
    assert [entry.kind for entry in cache.list_cache()] == ["manifests"]
    assert not list((home / "packs").iterdir())


def test_removal_by_age_keeps_what_was_used_lately(home):
    fill(home / "packs" / "old" / "a", age_days=40)
    fill(home / "packs" / "new" / "a", age_days=1)
    assert [entry.name for entry in cache.clear_cache(unused_days=30)] == ["old"]
    assert [entry.name for entry in cache.list_cache()] == ["new"]


def test_a_dry_run_deletes_nothing(home):
    fill(home / "packs" / "p1" / "a", 5)
    assert [entry.size_bytes for entry in cache.clear_cache(dry_run=True)] == [5]
    assert len(cache.list_cache()) == 1


@pytest.mark.parametrize("lock", ["p1/.lock", "p1.lock", ".p1.lock"])
def test_what_a_process_holds_is_kept(home, lock):
    fill(home / "packs" / "p1" / "a", 5)
    fill(home / "packs" / lock, 0)
    with open(home / "packs" / lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert cache.list_cache()[0].is_busy
        assert cache.clear_cache(names=["p1"]) == []
        assert (home / "packs" / "p1" / "a").exists()
    assert [entry.name for entry in cache.clear_cache(names=["p1"])] == ["p1"]


def test_a_pack_that_a_training_reads_is_kept(home):
    fill(home / "packs" / "p1" / "shard", 4096)
    fill(home / "packs" / "p10" / "shard", 4096)
    with open(home / "packs" / "p1" / "shard", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert [entry.name for entry in cache.clear_cache()] == ["p10"]
    assert [entry.name for entry in cache.clear_cache()] == ["p1"]


def test_a_link_is_removed_and_its_target_kept(home, tmp_path):
    fill(tmp_path / "precious" / "file", 5)
    (home / "packs").mkdir(parents=True)
    (home / "packs" / "link").symlink_to(tmp_path / "precious")
    assert len(cache.clear_cache()) == 1
    assert (tmp_path / "precious" / "file").exists()


def test_unknown_names_are_refused_with_what_there_is(home):
    with pytest.raises(UsageError, match="manifests, facts, splits, packs, probes"):
        cache.clear_cache(["pack"])
    with pytest.raises(UsageError, match="nothing called `nope`"):
        cache.clear_cache(names=["nope"])
    with pytest.raises(UsageError, match="negative"):
        cache.clear_cache(unused_days=-1)


def test_runs_are_listed_with_their_main_metric(tmp_path):
    metrics = {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100}, "f1_macro": {"value": 0.1}}
    make_run(tmp_path, "a", metrics=metrics)
    make_run(tmp_path, "b", state="running")
    first, second = sorted(cache.list_runs(tmp_path), key=lambda entry: entry.name)
    assert (first.metric, first.value, first.low, first.high) == ("accuracy", 0.9, 0.8, 0.95)
    assert (first.task, first.data, first.changed_at) == ("image-classification", "/data/flowers", 1000.0)
    assert (second.state, second.metric) == ("stopped", None)  # says running, but nobody holds it
    assert json.dumps(first.as_dict())


def test_a_refit_has_no_figures_of_its_own(tmp_path):
    run = make_run(tmp_path, "a refit")
    (run / "refit.json").write_text(json.dumps({"of": "a", "rows": 9, "before": 6}))
    (run / "final_model").mkdir()
    (run / "final_model" / "config.json").write_text(json.dumps({"metrics": {"accuracy": {"value": 0.9}}}))
    (entry,) = cache.list_runs(tmp_path)
    assert (entry.metric, entry.value, entry.refit_of) == (None, None, "a")


def test_a_damaged_run_is_listed_as_such(tmp_path):
    (make_run(tmp_path, "a") / "recipe.json").write_text("{")
    (entry,) = cache.list_runs(tmp_path)
    assert entry.state == "failed"
    assert "damaged" in entry.sentence


def test_a_run_is_removed_by_name(tmp_path):
    make_run(tmp_path, "a")
    make_run(tmp_path, "b")
    assert cache.remove_run("a", tmp_path) == tmp_path / "a"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_run_at_work_is_not_removed(tmp_path):
    run = make_run(tmp_path, "a")
    with open(run / ".lock", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="Another process"):
            cache.remove_run("a", tmp_path)
    assert run.exists()


def test_a_job_whose_inner_run_is_at_work_is_not_removed(tmp_path):
    inner = make_run(make_run(tmp_path, "a"), "base")
    with open(inner / ".lock", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="Another process"):
            cache.remove_run("a", tmp_path)
    assert inner.exists()


def test_half_of_a_job_is_not_removed(tmp_path):
    job = make_run(tmp_path, "job")
    base = make_run(job, "base")
    with pytest.raises(RunError, match=f"a part of the run {job}.*ouvroir runs rm {job}"):
        cache.remove_run("job/base", tmp_path)
    assert base.is_dir()


def test_what_cannot_be_deleted_is_said_and_where_it_is(tmp_path, monkeypatch):
    run = make_run(tmp_path, "a")

    def fail(path):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(cache.shutil, "rmtree", fail)
    with pytest.raises(NotWritable, match=r"\.a\.\d+\.gone.*delete it yourself"):
        cache.remove_run("a", tmp_path)
    assert not run.exists()
    assert not cache.list_runs(tmp_path)


def test_nothing_but_a_run_is_removed(tmp_path):
    bundle = tmp_path / "final_model"  # has a recipe.json, but is no run
    bundle.mkdir()
    (bundle / "recipe.json").write_text('{"task": "image-classification"}')
    with pytest.raises(RunError, match="not a run folder"):
        cache.remove_run(bundle)
    (tmp_path / "runs").mkdir()
    real = make_run(tmp_path, "real")
    (tmp_path / "runs" / "link").symlink_to(real)
    with pytest.raises(RunError, match="it is a link"):
        cache.remove_run("link", tmp_path / "runs")
    with pytest.raises(RunError):
        cache.remove_run(tmp_path)
    assert bundle.exists()
    assert real.exists()
