import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from ouvroir import bundle as bundles
from ouvroir import predictor
from ouvroir.errors import CheckpointError, DiskFull, RunError, UsageError
from ouvroir.hashes import hash_file, hash_files
from toy_run import METRICS, make_run
from toy_task import NAME


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def made(tmp_path, home):
    run, manifest = make_run(tmp_path)
    learned = bundles.Learned(frozenset(row.sha256 for row in manifest.rows if row.split != "test"))
    return (
        run,
        manifest,
        bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle, learned=learned),
    )


def test_a_bundle_has_all_its_files_and_reads_back(made):
    run, manifest, bundle = made
    found = {path.relative_to(bundle.path).as_posix() for path in bundle.path.rglob("*") if path.is_file()}
    assert found == {
        "model.safetensors",
        "processor/processor.json",
        "config.json",
        "recipe.json",
        "README.md",
        "training_info.txt",
        "check_items.safetensors",
        "learned.safetensors",
        "hashes.json",
    }
    assert (bundle.task, bundle.labels) == (NAME, ("large", "small", "wide"))
    assert (bundle.format_version, bundle.threshold) == (bundles.FORMAT_VERSION, 0.0)
    assert bundle.config["metrics"] == METRICS
    assert bundle.config["data"] == {
        "name": "numbers",
        "fingerprint": manifest.fingerprint,
        "rows": {"train": 60, "validation": 0, "test": 30},
    }
    assert bundle.config["input"]["encoded"] == {"values": {"dtype": "float32", "shape": [None]}}
    assert bundles.is_bundle(run.bundle)


def test_a_bundle_answers_as_the_checkpoint_does(made, tmp_path):
    run, _, bundle = made
    files = sorted((tmp_path / "numbers").rglob("*.txt"))
    from_bundle = predictor.load(bundle.path, device="cpu").predict(files)
    from_checkpoint = predictor.load(run.checkpoint("best"), device="cpu").predict(files)
    from_run = predictor.load(run.name, device="cpu", runs=run.path.parent).predict(files)
    assert from_bundle == from_checkpoint == from_run
    right = sum(one.label == file.parent.name for one, file in zip(from_bundle, files, strict=True))
    assert right > 0.7 * len(files)


def test_a_moved_bundle_works_and_holds_no_path_of_its_maker(made, tmp_path, monkeypatch):
    run, _, bundle = made
    moved = tmp_path / "elsewhere"
    shutil.copytree(bundle.path, moved)
    files = sorted((tmp_path / "numbers").rglob("*.txt"))[:3]
    wanted = predictor.load(bundle.path, device="cpu").predict(files)
    shutil.rmtree(run.path)
    assert predictor.load(moved, device="cpu").predict(files) == wanted
    for path in moved.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path


def test_check_items_hold_the_models_own_answers(made):
    from ouvroir import replay

    _, manifest, bundle = made
    items = bundle.check_items()
    test_ids = {row.id for row in manifest.rows if row.split == "test"}
    assert len(items) == 30
    assert set(items.ids) == test_ids
    task, model, processor, recipe = bundle.open_model()
    answers = replay.answer(task, model, processor, recipe, items)
    assert torch.allclose(torch.from_numpy(answers.scores), torch.from_numpy(items.scores), atol=1e-6)
    assert (answers.scores.argmax(1) == answers.targets).mean() > 0.7


def test_check_items_are_few_and_spread(tmp_path, home):
    run, manifest = make_run(tmp_path, n_per_class=90)
    items = bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle).check_items()
    assert len(items) == bundles.N_CHECK_ITEMS
    assert {item.partition("/")[0] for item in items.ids} == {"large", "small", "wide"}


def test_what_was_learned_from_travels_in_32_bytes_a_row(made):
    _, manifest, bundle = made
    wanted = {row.sha256 for row in manifest.rows if row.split == "train"}
    assert bundles.read_learned(bundle.path) == bundles.Learned(frozenset(wanted), is_complete=True)
    assert (bundle.path / "learned.safetensors").stat().st_size < 32 * len(wanted) + 500


def test_what_may_be_deleted_may_be_deleted(made):
    _, _, bundle = made
    for name in bundles.DELETABLE:
        (bundle.path / name).unlink()
    assert bundles.load_bundle(bundle.path).check_items() is None
    assert predictor.load(bundle.path, device="cpu").labels == ("large", "small", "wide")


def test_the_card_may_be_edited(made):
    _, _, bundle = made
    (bundle.path / "README.md").write_text("My own words.")
    assert bundles.load_bundle(bundle.path).task == NAME


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "recipe.json", "processor/processor.json", *sorted(bundles.DELETABLE - bundles.EDITABLE)],
)
def test_damage_is_found_and_named(made, name):
    path = made[2].path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{Path(name).name} is damaged"):
        bundles.load_bundle(made[2].path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "hashes.json"])
def test_a_missing_file_is_named(made, name):
    (made[2].path / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        bundles.load_bundle(made[2].path)


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    hashes = json.loads((folder / "hashes.json").read_text())
    hashes["config.json"] = hash_file(folder / "config.json")
    (folder / "hashes.json").write_text(json.dumps(hashes))


def test_a_newer_format_is_refused_with_the_next_step(made):
    change_config(made[2].path, format_version=bundles.FORMAT_VERSION + 1, ouvroir="9.9")
    with pytest.raises(CheckpointError, match=r"9\.9.*newer.*pip install --upgrade"):
        bundles.load_bundle(made[2].path)


def test_unknown_keys_of_the_same_format_are_no_obstacle(made):
    change_config(made[2].path, something_new=1)
    assert bundles.load_bundle(made[2].path).config["something_new"] == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "resnet"}', '{"format_version": "1"}'])
def test_another_config_is_not_taken_for_a_bundle(made, text):
    (made[2].path / "config.json").write_text(text)
    with pytest.raises(CheckpointError):
        bundles.load_bundle(made[2].path)


def test_the_threshold_travels_with_the_bundle(tmp_path, home):
    run, manifest = make_run(tmp_path)
    bundle = bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle, threshold=1.0)
    answering = predictor.load(bundle.path, device="cpu")
    file = next((tmp_path / "numbers").rglob("*.txt"))
    assert (answering.threshold, answering.proposed_threshold) == (0.0, 1.0)
    assert answering.predict([file], threshold="auto")[0].label is None
    assert answering.predict([file])[0].label is not None
    assert "none of these" in (bundle.path / "README.md").read_text()


def test_the_card_says_what_a_reader_needs(made):
    run, manifest, bundle = made
    text = (bundle.path / "README.md").read_text()
    for wanted in (
        "# numbers: toy_task:Numbers",
        manifest.fingerprint,
        "| train | 60 |",
        "0.900 [0.800, 0.960]",
        "30 rows of the test split",
        "The network is a hidden layer: preset",
        "## Limits",
        "ouvroir.load(",
        "ouvroir predict",
    ):
        assert wanted in text
    assert run.name not in text
    info = (bundle.path / "training_info.txt").read_text()
    for wanted in (
        f"run: {run.name}",
        "steps: 50",
        "seconds: 1.5",
        f"torch: {torch.__version__}",
        "started: 2",
        "seed: 0",
    ):
        assert wanted in info


def test_a_refit_says_whose_figures_it_shows(tmp_path, home):
    run, _ = make_run(tmp_path / "a")
    again, everything = make_run(tmp_path / "b")
    bundle = bundles.write_bundle(
        again, again.checkpoint("best"), everything, folder=again.bundle, judged=run.read_json("evaluation.json")
    )
    assert bundle.config["refit"] is True
    assert bundle.config["metrics"] == METRICS
    assert "trained again on all rows" in (bundle.path / "README.md").read_text()


def test_a_model_that_was_not_judged_says_so(tmp_path, home):
    run, manifest = make_run(tmp_path)
    (run.path / "evaluation.json").unlink()
    bundle = bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle)
    assert bundle.config["metrics"] == {}
    assert "Not measured" in (bundle.path / "README.md").read_text()


def test_a_bundle_is_made_although_the_files_are_gone(tmp_path, home):
    run, manifest = make_run(tmp_path)
    shutil.rmtree(tmp_path / "numbers")
    assert bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle).check_items() is None
    card = (run.bundle / "README.md").read_text()
    named = set(re.findall(r"^- `([^`/]+)`", card, re.MULTILINE))
    assert {"model.safetensors", "config.json", "hashes.json"} <= named
    assert named <= {path.name for path in run.bundle.iterdir()}


def test_writing_is_all_or_nothing(made, monkeypatch):
    run, manifest, bundle = made
    before = hash_files(bundle.path)

    def full(*arguments, **others):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles, "render_card", full)
    with pytest.raises(DiskFull):
        bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle)
    assert hash_files(bundle.path) == before
    assert [path.name for path in run.path.iterdir() if path.name.endswith(".tmp")] == []


def test_a_damaged_checkpoint_makes_no_bundle(tmp_path, home):
    run, manifest = make_run(tmp_path)
    path = run.checkpoint("best") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError):
        bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle)
    assert not run.bundle.exists()


def test_threads_share_a_loaded_model(made, tmp_path):
    answering = predictor.load(made[2].path, device="cpu")
    files = sorted((tmp_path / "numbers").rglob("*.txt"))
    wanted = answering.predict(files)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda size: answering.predict(files, batch_size=size), [1, 2, 3, 5, 8, 13, 21, 34]):
            assert [one.label for one in found] == [one.label for one in wanted]
            for one, other in zip(found, wanted, strict=True):
                assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_loading_something_else_is_an_error_with_a_sentence(tmp_path, home):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"not a run"):
        predictor.load(tmp_path / "empty", device="cpu")
    run, _ = make_run(tmp_path)
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(CheckpointError):
        predictor.load(run.path, device="cpu")


def test_a_bundle_does_not_choose_what_is_imported(made):
    code = "import sys\nfrom ouvroir.predictor import load\nload(sys.argv[1], device='cpu')"
    here = str(Path(__file__).parent)
    for trusted, says in (({}, "code from outside"), ({"OUVROIR_TASKS": "toy_task:Numbers"}, "")):
        done = subprocess.run(
            [sys.executable, "-c", code, str(made[2].path)],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": here, **trusted},
        )
        assert says in done.stderr
        assert (done.returncode == 0) == bool(trusted)


def test_of_an_imported_module_only_a_task_may_be_named(made, tmp_path, monkeypatch):
    folder = shutil.copytree(made[2].path, tmp_path / "renamed")
    monkeypatch.setattr("builtins.print", lambda *_: pytest.fail("it was called"))
    for name in ("builtins:print", "ouvroir.predictor:Predictor", "toy_task:NumberOptions", "toy_task:gone"):
        change_config(folder, task=name)
        monkeypatch.delenv("OUVROIR_TASKS", raising=False)
        with pytest.raises(UsageError, match="code from outside"):
            predictor.load(folder, device="cpu")
        monkeypatch.setenv("OUVROIR_TASKS", name)
        with pytest.raises(UsageError, match=r"is no task|could not be loaded"):
            predictor.load(folder, device="cpu")


def test_reading_a_bundle_loads_no_pickle(made):
    code = f"""
import pickle, sys, torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
import toy_task
def never(*arguments, **others): raise AssertionError("a pickle was opened")
pickle.load = pickle.loads = torch.load = never
from ouvroir.predictor import load
load({str(made[2].path)!r}, device="cpu")
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
