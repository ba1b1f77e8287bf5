"""What a training starts from, and what is told of it afterwards: starts that are gone, branches, steps, known rows."""

import json
import shutil
import time
from pathlib import Path

import pytest

from ouvroir import planning, workflow
from ouvroir.predictor import load
from ouvroir.progress import QUIET
from ouvroir.run import Run
from pictures import QUICK, call, call_json, write_digits

STEPS = ("--set", "loop.steps=8")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Digits, other digits, and `first`: a run on the digits that was stopped early."""
    place = tmp_path_factory.mktemp("room")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        patch.setattr(workflow, "drop_states", lambda *_, **__: None)  # the tests stop runs after they have finished
        patch.chdir(place)
        write_digits(place / "digits", per_class=10)
        write_digits(place / "others", per_class=10, skip=20)
        early = ("loop.steps=40", "loop.patience=1", "loop.evaluate_every=4", "optim.lr=1e-30", "loop.save_every=4")
        told = call_json("train", "digits", *QUICK, *(word for one in early for word in ("--set", one)))
        Path(told["run"]).rename(place / "first")
        (place / "told.json").write_text(json.dumps(told))
        yield place


@pytest.fixture
def first(room):
    return Run(room / "first")


def recipe_of(run_path):
    return json.loads((Path(run_path) / "recipe.json").read_text(encoding="utf-8"))


def test_what_is_timed_within_a_stage_is_not_of_that_stage_too(tmp_path):
    run = Run(tmp_path)
    began = time.perf_counter()
    with workflow.timed(run, "report_s"):
        with workflow.timed(run, "baselines_s"):
            time.sleep(0.3)
        time.sleep(0.1)
    whole = time.perf_counter() - began
    found = run.read_json("timings.json")
    assert found["baselines_s"] >= 0.3
    assert sum(found.values()) <= whole + 0.01


# ---------------------------------------------------------------- steps


def test_a_signal_between_two_stages_says_how_to_go_on(room, monkeypatch):
    def judge(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("ouvroir.judging.judge_run", judge)
    monkeypatch.chdir(room)
    told = call("train", "digits", *QUICK, *STEPS, "--runs", "halted", status=130).stderr
    (run,) = Run.all(room / "halted")
    assert told.endswith(f"Stopped; `{run.way_on}` goes on.\n")
    assert run.status()["state"] == "stopped"


def test_steps_that_were_taken_are_told_and_not_those_that_were_planned(room, first):
    assert first.recipe().loop.steps == 40
    taken = first.steps_taken
    assert taken == int(first.checkpoint("last").name.removeprefix("step_")) < 40
    assert json.loads((room / "told.json").read_text())["steps"] == taken
    assert f"{taken} steps of 16 rows" in (first.bundle / "README.md").read_text(encoding="utf-8")
    assert f"steps: {taken}\n" in (first.bundle / "training_info.txt").read_text(encoding="utf-8")


def test_a_refit_takes_as_many_passes_as_were_taken(first):
    again = call_json("refit", first.path)
    n_train = json.loads((first.path / "data.json").read_text())["rows"]["train"]
    assert again["steps"] == recipe_of(again["run"])["loop"]["steps"] == round(first.steps_taken * 40 / n_train)
    call("runs", "rm", "--yes", again["name"])


# ---------------------------------------------------------------- what it starts from


@pytest.fixture(scope="module")
def tuned(room):
    """A fine-tuning of a checkpoint of the first run, on other digits."""
    checkpoint = Run(room / "first").checkpoint("last")
    return call_json("finetune", checkpoint, "others", *QUICK[2:], *STEPS, "--set", "loop.save_every=4")


def test_a_fine_tuning_of_a_checkpoint_is_no_branch(first, tuned):
    """The folder of a checkpoint is called step_..., whoever starts from it."""
    assert tuned["steps"] == 8
    again = call_json("refit", tuned["run"])
    assert not (Path(again["run"]) / "base").exists()
    assert recipe_of(again["run"])["model"]["init_from"] == str(first.checkpoint("last"))
    assert again["steps"] > 8
    call("runs", "rm", "--yes", again["name"])


@pytest.fixture
def gone(first):
    """The first run is moved away."""
    first.path.rename(first.path.with_name("moved"))
    yield
    first.path.with_name("moved").rename(first.path)


@pytest.mark.usefixtures("gone")
def test_nothing_is_trained_from_nothing_because_the_start_is_gone(room, tuned):
    runs = sorted((room / "runs").iterdir())
    missing = "There is no model at"
    for asked in (
        ("refit", tuned["run"]),
        ("train", "others", "--recipe", Path(tuned["run"]) / "recipe.json"),
        ("train", "others", "--recipe", Path(tuned["run"]) / "recipe.json", "--dry-run"),
    ):
        said = call(*asked, status=1).stderr
        assert missing in said
        assert "--from" in said
    assert sorted((room / "runs").iterdir()) == runs
    stopped = shutil.copytree(tuned["run"], room / "stopped")
    shutil.rmtree(stopped / "checkpoints")
    assert missing in call("train", "--resume", stopped, status=1).stderr
    shutil.rmtree(stopped)


@pytest.mark.usefixtures("gone")
def test_a_run_goes_on_from_its_checkpoint_when_its_start_is_gone(room, tuned):
    again = shutil.copytree(tuned["run"], room / "again")
    shutil.rmtree(again / "checkpoints" / "step_000008")
    for pointer in ("last.txt", "best.txt"):
        (again / "checkpoints" / pointer).write_text("step_000004\n")
    told = call_json("train", "--resume", again)
    assert (told["state"], told["steps"]) == ("finished", 8)
    shutil.rmtree(again)


def test_a_run_from_pretrained_weights_goes_on_when_their_folder_is_gone(room):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    transformers.ResNetModel(config).save_pretrained(room / "resnet")
    small = ("--set", "options.storage_px=32", "--set", "options.train_px=32", "--set", "loop.save_every=4")
    told = call_json("train", "digits", "--from", "resnet", *QUICK, *STEPS, *small)
    shutil.rmtree(room / "resnet")
    checkpoints = Path(told["run"]) / "checkpoints"
    shutil.rmtree(checkpoints / "step_000008")
    for pointer in ("last.txt", "best.txt"):
        (checkpoints / pointer).write_text("step_000004\n")
    assert call_json("train", "--resume", told["run"])["state"] == "finished"
    further = call_json(
        "finetune", told["run"], "others", *QUICK[2:], *STEPS
    )  # the shape of the network is in the model
    assert further["state"] == "finished"
    for one in (told, further):
        call("runs", "rm", "--yes", one["name"])


# ---------------------------------------------------------------- what it learned from


def test_what_an_earlier_model_learned_from_is_not_taken_for_known(room, tuned):
    bundle = shutil.copytree(tuned["model"], room / "bundle")
    assert workflow.learned_from(load(bundle).recipe, bundle, progress=QUIET).is_complete
    (bundle / "learned.safetensors").unlink()
    assert not workflow.learned_from(load(bundle).recipe, bundle, progress=QUIET).is_complete
    said = call("evaluate", bundle, "digits", "--json").stderr
    assert "not all known" in said
    inside = Path(tuned["model"])  # where the rows of its own training are known
    kept = (inside / "learned.safetensors").read_bytes()
    (inside / "learned.safetensors").unlink()
    try:
        learned = workflow.learned_from(load(inside).recipe, inside, progress=QUIET)
    finally:
        (inside / "learned.safetensors").write_bytes(kept)
    assert learned.contents
    assert not learned.is_complete


# ---------------------------------------------------------------- how long it takes


def test_the_length_of_a_fine_tuning_follows_from_its_own_data(room, first):
    from ouvroir.media import find_task
    from ouvroir.options import Training, Workplace

    write_digits(room / "many", per_class=150)
    planned, manifest = planning.plan_training(Training(room / "many", init_from=str(first.path)), Workplace(workers=2))
    proposed, _ = find_task(planned.task).recipe(manifest, "tiny")
    assert planned.loop.epochs == proposed.loop.epochs != first.recipe().loop.epochs
    assert planned.loop.batch_size == proposed.loop.batch_size
    assert planned.loop.micro_batch is None
    assert planned.optim.lr == pytest.approx(proposed.optim.lr / 3)
    assert planned.model.preset == "tiny"
