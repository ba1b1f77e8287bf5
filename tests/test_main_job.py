"""The main job and its kin from end to end, through the command line, with interruptions of every kind."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ouvroir import main_job
from ouvroir.errors import TrainingError
from pictures import QUICK, call, call_json, environment, read_object, run, start, unchanged, write_digits

STEPS = 40
JOB = (
    "--no-synthetic",
    *QUICK,
    "--set",
    f"loop.steps={STEPS}",
    "--set",
    "loop.save_every=4",
    "--set",
    "data.per_class=15",
)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Digits, and the main job done on them without interruption; `room.done` is what it printed."""
    place = tmp_path_factory.mktemp("room")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        patch.chdir(place)
        write_digits(place / "digits", per_class=40)
        with unchanged(place / "digits"):
            (place / "done.json").write_text(run("refine", "digits", *JOB, "--json").stdout)
        yield place


@pytest.fixture
def done(room):
    """What the uninterrupted job printed."""
    return read_object((room / "done.json").read_text(encoding="utf-8"))


def weights(run_path):
    return load_file(Path(run_path) / "final_model" / "model.safetensors")


def assert_same_weights(one, other):
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def lines_of(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def without_seconds(path):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines_of(path)]


# ---------------------------------------------------------------- the job


def test_refine_ends_with_a_model_and_a_report(room, done):
    folder = Path(done["run"])
    assert done["state"] == "finished"
    assert Path(done["report"]) == folder / "report.html"
    assert Path(done["report"]).stat().st_size > 50_000
    assert {"model.safetensors", "config.json", "recipe.json", "README.md", "training_info.txt"} <= {
        path.name for path in (folder / "final_model").iterdir()
    }
    assert done["metrics"]["accuracy"]["low"] < done["metrics"]["accuracy"]["value"]
    assert done["verdict"]["kept"] in ("base", "tuned")
    assert {"check", "pack", "train", "evaluate", "bundle", "baselines", "report"} == set(done["timings"])
    assert {"check", "bundle"} <= set(json.loads((folder / "report.json").read_text())["timings"])
    page = Path(done["report"]).read_text()
    assert all(stage in page for stage in ("reading and checking", "copying the model and checking the copy"))


def test_train_rows_are_15_of_each_class_and_the_rest_is_judged(room):
    told = call_json("check", "digits", "--set", "data.per_class=15")
    assert set(told["counts"]["train"].values()) == {15}
    assert told["splits"]["validation"] + told["splits"]["test"] == 160 - 60


def test_both_models_had_equally_many_steps(done):
    folder = Path(done["run"])
    base, tuned = (json.loads((folder / name / "recipe.json").read_text()) for name in ("base", "tuned"))
    branch = int(Path(tuned["model"]["init_from"]).name.removeprefix("step_"))
    assert base["loop"]["steps"] == STEPS
    assert 0 < branch < STEPS
    assert branch + tuned["loop"]["steps"] == STEPS
    assert lines_of(folder / "base" / "metrics.jsonl")[-1]["step"] == STEPS
    assert lines_of(folder / "tuned" / "metrics.jsonl")[-1]["step"] == STEPS - branch
    systems = json.loads((folder / "report.json").read_text(encoding="utf-8"))["systems"]
    assert {one["steps"] for one in systems if one["role"] in ("base", "tuned")} == {STEPS}


def test_the_kept_model_is_the_one_that_is_told(done):
    folder = Path(done["run"])
    kept = done["verdict"]["kept"]
    evaluation = json.loads((folder / kept / "evaluation.json").read_text())
    assert evaluation["test"]["accuracy"]["value"] == done["metrics"]["accuracy"]["value"]
    other = {"base": "tuned", "tuned": "base"}[kept]
    worse = json.loads((folder / other / "evaluation.json").read_text())["validation"]
    assert done["validation"]["accuracy"]["value"] >= worse["accuracy"]["value"]
    again = call_json("evaluate", done["run"], "digits")
    assert again["n"] == json.loads((folder / kept / "data.json").read_text())["judged"]["test"]
    assert again["metrics"]["accuracy"] == done["metrics"]["accuracy"]


def test_base_and_tuned_compared_again_agree_with_the_report(done):
    folder = Path(done["run"])
    compared = call("compare", folder / "base", folder / "tuned", "digits", "--json")
    assert "flatter" not in compared.stderr  # what both learned from is known
    told = read_object(compared.stdout)
    values = [
        json.loads((folder / name / "evaluation.json").read_text())["test"]["accuracy"]["value"]
        for name in ("base", "tuned")
    ]
    assert told["difference"]["value"] == pytest.approx(values[1] - values[0])
    assert told["kinship"] == "B went on from an earlier step of the training of A."
    turned = call_json("compare", folder / "tuned", folder / "base", "digits")
    assert turned["kinship"] == "A went on from an earlier step of the training of B."


def test_again_gives_the_same_weights(room, done):
    told = call_json("refine", "digits", *JOB)
    assert told["run"] != done["run"]
    assert_same_weights(told["run"], done["run"])
    assert call_json("refine", "--resume", told["run"])["state"] == "finished"  # nothing left to do
    call("runs", "rm", "--yes", told["name"])


def test_a_run_that_goes_on_while_its_files_are_away_says_what_that_costs_and_mends_when_they_are_back(room, done):
    job = shutil.copytree(done["run"], room / "files_away" / "job")
    shutil.rmtree(job / "final_model")
    for name in ("report.json", "report.html"):
        (job / name).unlink()
    (room / "digits").rename(room / "digits.away")
    try:
        told = call("refine", "--resume", job)
        assert f"The files are not in {room / 'digits'} any more" in told.stderr
        assert f"`ouvroir report {job}`" in told.stderr
        names = {path.name for path in (job / "final_model").iterdir()}
        assert "check_items.safetensors" in names  # from the pack
        assert "data:image" not in (job / "report.html").read_text(encoding="utf-8")
        call("report", job)  # which changes nothing yet
        assert "data:image" not in (job / "report.html").read_text(encoding="utf-8")
    finally:
        (room / "digits.away").rename(room / "digits")
    call("report", job)
    first, again = (json.loads((Path(run) / "report.json").read_text()) for run in (done["run"], job))
    for part in ("mistakes", "changes", "mislabels", "samples"):
        assert again[part] == first[part]
    assert "data:image" in (job / "report.html").read_text(encoding="utf-8")


def test_a_job_goes_on_without_its_trial_when_that_is_asked_for(room, done, monkeypatch):
    job = shutil.copytree(done["run"], room / "no_trial" / "job")
    plan = json.loads((job / "refine.json").read_text())
    (job / "refine.json").write_text(json.dumps({**plan, "synthetic": True}))
    shutil.rmtree(job / "tuned")

    def breaks(*given):
        raise TrainingError("A process that trains was killed by signal 9.")

    monkeypatch.setattr(main_job.proving, "prove_synthetic", breaks)
    told = call("refine", "--resume", job, status=1).stderr
    assert f"`ouvroir refine --resume {job} --no-synthetic` goes on" in " ".join(told.split())
    assert call_json("refine", "--resume", job, "--no-synthetic")["state"] == "finished"
    noted = json.loads((job / "synthesis.json").read_text())
    assert noted["verdict"] == "untried"
    assert "as was asked for" in noted["said"][0]
    told = call_json("refine", "--resume", job, "--no-synthetic")  # once more, and nothing is left to do
    assert "NOT TRIED. The job went on without them" in told["synthetic"]["lines"]["en"]


def test_the_model_in_a_run_stands_for_its_run_and_one_that_was_carried_away_does_not(room, done):
    model = Path(done["run"]) / "final_model"
    assert call_json("report", model)["report"] == str(Path(done["run"]) / "report.html")
    away = shutil.copytree(model, room / "away" / "final_model")
    for command in (("report", away), ("generate", away), ("prove", away), ("refit", away)):
        assert "is a model without its run" in call(*command, status=1).stderr


@pytest.mark.parametrize("is_planned", [False, True])
def test_a_damaged_start_of_the_tuned_model_is_told_and_an_older_one_taken(room, done, is_planned):
    job = shutil.copytree(done["run"], room / f"damaged_start_{is_planned}" / "job")
    checkpoints, tuned = job / "base" / "checkpoints", job / "tuned"
    branch = int((checkpoints / "branch.txt").read_text().strip().removeprefix("step_"))
    older = shutil.copytree(checkpoints / f"step_{branch:06d}", checkpoints / f"step_{branch - 1:06d}")
    shutil.rmtree(tuned / "checkpoints" if is_planned else tuned)
    if is_planned:  # it was stopped before its first checkpoint
        recipe = json.loads((tuned / "recipe.json").read_text())
        recipe["model"]["init_from"] = str(checkpoints / f"step_{branch:06d}")
        (tuned / "recipe.json").write_text(json.dumps(recipe))
        (tuned / "status.json").write_text(json.dumps({"state": "stopped", "sentence": "", "time": 0}))
    damage(job / "base", "branch")
    told = call("refine", "--resume", job, "--json")
    assert f"{older.name}, the one before it, takes its place" in told.stderr
    recipe = json.loads((tuned / "recipe.json").read_text())
    assert recipe["model"]["init_from"] == str(older)
    assert branch - 1 + recipe["loop"]["steps"] == STEPS


def test_a_base_that_lost_where_the_tuned_model_leaves_it_is_trained_again(room, done):
    job = shutil.copytree(done["run"], room / "lost_start" / "job")
    checkpoints = job / "base" / "checkpoints"
    shutil.rmtree(job / "tuned")
    branch = (checkpoints / "branch.txt").read_text().strip()
    for path in checkpoints.glob("step_*"):
        if path.name <= branch:
            shutil.rmtree(path)
    told = call("refine", "--resume", job, "--json")
    assert read_object(told.stdout)["state"] == "finished"
    assert f"trained again up to step {int(branch.removeprefix('step_'))}" in told.stderr
    assert json.loads((job / "tuned" / "branch.json").read_text()) == {
        "run": "../base",
        "step": int(branch.removeprefix("step_")),
    }
    assert_same_weights(job, done["run"])


def test_weights_are_hinted_at_only_where_none_are_given(room, done, caplog):
    from ouvroir.main_job import plan_refine
    from ouvroir.options import Training, Workplace
    from ouvroir.planning import plan_training

    caplog.set_level("INFO", logger="ouvroir")
    rng = np.random.default_rng(0)
    for label in "01":
        (room / "photographs" / label).mkdir(parents=True)
        for number in range(10):
            picture = Image.fromarray(rng.integers(0, 255, (80, 80, 3), dtype=np.uint8))
            picture.save(room / "photographs" / label / f"{number}.png")
    hint = "photographs are few to learn from nothing"
    plan = plan_refine(Training(room / "photographs"), Workplace())
    assert hint in caplog.text
    assert any(hint in note.text for note in plan.manifest.notes)
    caplog.clear()
    plan = plan_refine(Training(room / "photographs", init_from=done["run"]), Workplace())
    assert hint not in caplog.text
    assert "The new model forgets" in caplog.text
    assert [note.code for note in plan.manifest.notes if note.code in ("few_photographs", "forgotten")] == ["forgotten"]
    asked = Training(room / "photographs", settings={"model.init_from": done["run"]})
    again = plan_refine(asked, Workplace())
    assert (again.init_from, again.base, again.tuned) == (plan.init_from, plan.base, plan.tuned)
    assert again.base.model.init_from == "scratch"
    assert plan_training(asked, Workplace())[0].model.init_from == plan.tuned.model.init_from


def test_refine_from_an_earlier_run(room, done):
    told = call_json("refine", "digits", *JOB, "--from", done["run"])
    assert told["state"] == "finished"
    tuned = json.loads((Path(told["run"]) / "tuned" / "recipe.json").read_text())
    assert tuned["model"]["init_from"] == str(Path(done["run"]) / "final_model")
    call("runs", "rm", "--yes", told["name"])


# ---------------------------------------------------------------- kill -9 and Ctrl-C


def wait_for(path_of, process, *, seconds=60):
    """Wait until `path_of()` exists. False when the process ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            return False
        if any(path_of()):
            return True
        time.sleep(0.002)
    raise AssertionError("nothing happened")


def killed(arguments, moment):
    """Start the command, wait for the files of `moment`, kill -9. Returns whether it was killed in time."""
    process = start(*arguments)
    try:
        was_there = wait_for(moment, process)
    finally:
        process.kill()
        process.communicate()
    return was_there


STAGES = [
    "base/recipe.json",
    "base/checkpoints/last.txt",
    "base/evaluation.json",
    "tuned/checkpoints/last.txt",
    "tuned/evaluation.json",
    "final_model",
    "report.json",
]


def test_killed_in_every_stage_ends_with_the_same_weights(room, done):
    runs = room / "killed"
    arguments = ["refine", "digits", *JOB, "--runs", runs]
    for stage in STAGES[1:6:2]:
        killed(arguments, lambda stage=stage: runs.glob(f"*/{stage}"))
        found = call_json("runs", "--runs", runs)["runs"]
        assert [one["state"] for one in found] in (["stopped"], ["finished"])
        arguments = ["refine", "--resume", found[0]["name"], "--runs", runs]
    told = read_object(run(*arguments, "--json").stdout)
    assert told["state"] == "finished"
    assert_same_weights(told["run"], done["run"])
    for stage in ("base", "tuned"):
        mine, theirs = (without_seconds(Path(one["run"], stage, "metrics.jsonl")) for one in (told, done))
        assert mine == theirs
    assert told["metrics"] == done["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_ends_with_the_same_weights(room, done, seed):
    draw, runs = random.Random(seed), room / f"random_{seed}"
    arguments = ["refine", "digits", *JOB, "--runs", runs]
    for _ in range(20):
        process = start(*arguments)
        time.sleep(draw.uniform(0.3, 6.0))
        is_over = process.poll() is not None
        process.kill()
        process.communicate()
        names = [path.parent.name for path in runs.glob("*/refine.json")]
        arguments = ["refine", "--resume", names[0], "--runs", runs] if names else arguments
        if is_over:
            break
    told = read_object(run(*arguments, "--json").stdout)
    assert_same_weights(told["run"], done["run"])
    for stage in ("base", "tuned"):
        mine, theirs = (without_seconds(Path(one["run"], stage, "metrics.jsonl")) for one in (told, done))
        assert mine == theirs


def damage(run, pointer):
    checkpoints = Path(run) / "checkpoints"
    file = checkpoints / (checkpoints / f"{pointer}.txt").read_text().strip() / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 64
    file.write_bytes(bytes(content))


def test_a_damaged_best_checkpoint_is_told_and_another_one_kept(room, monkeypatch):
    from ouvroir.training import judging

    def first_is_best(place, values):
        return place.best_value is None and judging.take_if_better(place, values)

    monkeypatch.chdir(room)
    monkeypatch.setattr("ouvroir.training.course.take_if_better", first_is_best)
    made = call_json("train", "digits", *JOB[1:], "--set", "loop.evaluate_every=8", "--runs", room / "best")["run"]
    assert "step_000008" in (Path(made) / "checkpoints" / "best.txt").read_text()
    damage(made, "best")
    told = call("train", "--resume", made)
    assert "step_000040 takes its place: of the intact ones it has the best accuracy on validation" in told.stderr
    assert torch.equal(
        *(
            load_file(Path(made) / place / "model.safetensors")["head.out.weight"]
            for place in ("final_model", "checkpoints/step_000040")
        )
    )


def test_a_job_whose_best_checkpoints_are_damaged_does_that_part_again(room, done):
    job = shutil.copytree(done["run"], room / "damaged" / "job")
    for stage in ("base", "tuned"):
        damage(job / stage, "best")
    told = run("refine", "--resume", job, "--json")
    assert read_object(told.stdout)["state"] == "finished"
    assert told.stderr.count("is damaged") == 2
    call("predict", job, "digits")


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=lambda one: one.name
)
def test_ctrl_c_leaves_a_resumable_run(room, number):
    runs, job = room / number.name, (*QUICK, "--set", "loop.steps=400", "--set", "loop.save_every=20")
    process = start("refine", "digits", *job, "--runs", runs, "--json")
    assert wait_for(lambda: runs.glob("*/base/checkpoints/last.txt"), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    told = read_object(out)
    assert told["state"] == "stopped"
    way_on = f"`ouvroir refine --resume {told['run']}`"
    assert way_on in told["sentence"]
    assert way_on in err
    assert "train --resume" not in err
    has_best = (Path(told["run"]) / "base" / "checkpoints" / "best.txt").is_file()
    assert (f"`ouvroir predict {told['run']}/base FILES` answers" in told["sentence"]) == has_best
    assert way_on in call("predict", told["run"], "digits", status=1).stderr
    assert call_json("runs", "--runs", runs)["runs"][0]["state"] == "stopped"
    assert "refine --resume" in call("refit", "last", "--runs", runs, status=1).stderr
    again = call("train", "--resume", Path(told["run"]) / "base", "--json")
    assert "is a part of" in again.stderr
    assert read_object(again.stdout)["run"] == told["run"]
    assert read_object(again.stdout)["state"] == "finished"
    for part in ("base", "tuned", "final_model"):
        call("evaluate", f"{Path(told['run']).name}/{part}", "digits", "--runs", runs)


@pytest.mark.parametrize("library", ["pydantic", "typer", "torch"])
def test_ctrl_c_while_a_library_loads_ends_quietly(room, tmp_path, library):
    """The package needs the first at once, the command line the second, and training the third."""
    (tmp_path / f"{library}.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    process = start("train", "digits", *JOB[1:], "--runs", room / "early", env=environment(PYTHONPATH=path))
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "Stopped.\n")
    assert process.returncode == 130


def test_a_program_that_imports_the_package_hears_ctrl_c_as_before():
    script = "import ouvroir, signal; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    assert subprocess.run([sys.executable, "-c", script], check=False, env=environment()).returncode == 0


def test_ctrl_c_before_training_says_so(room, monkeypatch):
    """While files are still looked at, there is nothing to resume."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ouvroir.planning.admit", interrupted)
    assert call("train", "digits", *JOB[1:], "--runs", room / "early", status=130).stderr.endswith("Stopped.\n")
    assert not (room / "early").exists()


def test_two_processes_do_not_work_on_one_run(room, done):
    process = start("refine", "digits", *QUICK, "--set", "loop.steps=3000", "--runs", room / "held")
    try:
        assert wait_for(lambda: (room / "held").glob("*/base/checkpoints/last.txt"), process)
        name = next((room / "held").glob("*/refine.json")).parent.name
        assert "Another process" in call("refine", "--resume", name, "--runs", "held", status=1).stderr
        assert "held" in call("runs", "rm", "--yes", name, "--runs", "held", status=1).stderr
    finally:
        process.kill()
        process.communicate()


# ---------------------------------------------------------------- train, finetune, recipes


def test_minutes_become_steps_and_the_recipe_gives_the_same_bits(room):
    arguments = ("--preset", "tiny", "--set", "loop.batch_size=16")
    told = call_json("train", "digits", *arguments, "--minutes", "0.05")
    recipe = json.loads((Path(told["run"]) / "recipe.json").read_text())
    assert recipe["loop"]["steps"] == told["steps"] > 0
    assert recipe["loop"]["precision"] in ("fp32", "bf16")
    again = call_json("train", "digits", "--recipe", Path(told["run"]) / "recipe.json")
    assert again["steps"] == told["steps"]
    assert_same_weights(told["run"], again["run"])
    assert again["metrics"] == told["metrics"]
    for one in (told, again):
        call("runs", "rm", "--yes", one["name"])


def test_finetune_maps_classes_by_name_and_says_so(room, done, tmp_path, monkeypatch):
    write_digits(room / "new", classes="1239", per_class=15, skip=60)
    output = call("finetune", done["run"], "new", "--scope", "head", "--set", "loop.steps=10", "--json")
    told = read_object(output.stdout)
    assert told["state"] == "finished"
    recipe = json.loads((Path(told["run"]) / "recipe.json").read_text())
    assert recipe["model"]["scope"] == "head"
    assert "3 of 4 classes are mapped by name" in output.stderr
    assert "9" in output.stderr.split("mapped by name")[1]
    assert "that one does not know all labels of the test." in output.stderr
    before, after = weights(done["run"]), weights(told["run"])
    kept = [name for name in before if name in after and torch.equal(before[name], after[name])]
    assert len(kept) > 5  # the body did not learn
    answers = call_json("predict", told["run"], "new")["predictions"]
    assert set(answers[0]["scores"]) == {"1", "2", "3", "9"}
    # rows that the first model learned from are no unseen rows for the second either
    judged = call_json("evaluate", told["run"], "digits", "--split", "all")
    splits = call_json("check", "digits", "--set", "data.per_class=15")["counts"]
    seen = sum(splits[split][label] for split in ("train", "validation") for label in "0123")
    assert judged["left_out"]["learned from"] == seen
    # nor where there is nothing but its bundle
    shutil.copytree(told["model"], tmp_path / "model")
    shutil.copytree("digits", tmp_path / "digits")
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    elsewhere = call_json("evaluate", tmp_path / "model", tmp_path / "digits")
    assert elsewhere["left_out"]["learned from"] == seen
    monkeypatch.undo()
    call("runs", "rm", "--yes", told["name"])


def test_train_from_a_bundle_folder(room, done):
    told = call_json("train", "digits", *QUICK, "--set", "loop.steps=3", "--from", Path(done["run"]) / "final_model")
    assert told["state"] == "finished"
    call("runs", "rm", "--yes", told["name"])


def test_train_killed_and_resumed_has_the_same_weights(room):
    job = ("digits", *QUICK, "--set", "loop.steps=60", "--set", "loop.save_every=5")
    whole = call_json("train", *job)
    runs = room / "train_killed"
    assert killed(["train", *job, "--runs", runs], lambda: runs.glob("*/checkpoints/last.txt"))
    told = call_json("train", "--resume", "last", "--runs", runs)
    assert_same_weights(whole["run"], told["run"])


def test_run_moved_elsewhere_still_answers(room, done):
    copied = room / "elsewhere" / "model"
    import shutil

    shutil.copytree(Path(done["run"]) / "final_model", copied)
    here = call_json("predict", done["run"], "digits/0")["predictions"]
    assert call_json("predict", copied, "digits/0")["predictions"] == here


# ---------------------------------------------------------------- unusual data


def test_without_validation_data_no_choice_is_claimed(room):
    told = call(
        "refine", "digits", "--no-synthetic", *QUICK, "--set", "loop.steps=6", "--set", "data.validation=0", "--json"
    )
    verdict = read_object(told.stdout)["verdict"]
    assert verdict["kept"] == "base"
    assert "no validation data" in verdict["sentence"]
    assert "better" not in told.stderr


@pytest.mark.parametrize("split", ["test", "validation"])
def test_without_any_held_out_data_nothing_is_claimed(room, split):
    settings = ("--set", "data.test=0", "--set", f"data.validation={0 if split == 'validation' else 0.2}")
    told = call_json("refine", "digits", "--no-synthetic", *QUICK, "--set", "loop.steps=6", *settings)
    assert told["metrics"] == {}
    assert "Nothing was measured" in told["verdict"]["sentence"]
    assert "95 %" not in Path(told["report"]).read_text(encoding="utf-8"), "there are no intervals to explain"


def test_several_labels_an_item(room):
    names = sorted(path.relative_to(room / "digits") for path in (room / "digits").rglob("*.png"))
    sides = {"0": "even|round", "1": "odd", "2": "even", "3": "odd|round"}
    lines = [f"{name},{sides[name.parent.name]}" for name in names]
    (room / "digits" / "several.csv").write_text("\n".join(["path,label", *lines]))
    try:
        told = call_json("refine", "digits/several.csv", *JOB[:-2], "--set", "data.label_separator=|")
        assert {"macro_f1", "micro_f1", "subset_accuracy", "nll"} <= set(told["metrics"])
        judged = call_json("evaluate", told["run"], "digits/several.csv")  # the separator is known from the training
        assert judged["metrics"] == told["metrics"]
        answer = call_json("predict", told["run"], "digits/0")["predictions"][0]
        assert set(answer["scores"]) == {"even", "odd", "round"}
    finally:
        (room / "digits" / "several.csv").unlink()


def test_names_that_look_like_markup_stay_names(room):
    write_digits(room / "odd_names", classes="01", per_class=12)
    (room / "odd_names" / "0").rename(room / "odd_names" / "<img src=x onerror=alert(1)>")
    (room / "odd_names" / "1").rename(room / "odd_names" / "été & \"hiver\" 'l'")
    told = call_json("refine", "odd_names", "--no-synthetic", *QUICK, "--set", "loop.steps=6")
    for language in ("en", "fr"):
        call("report", told["run"], "--language", language)
        page = Path(told["report"]).read_text(encoding="utf-8")
        assert "<img src=x" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;" in page
    answers = call_json("predict", told["run"], "odd_names")["predictions"]
    assert len(answers) == 24
    assert set(answers[0]["scores"]) == {path.name for path in (room / "odd_names").iterdir()}
    call("export", told["run"], "--to", "pth")


def test_refit_of_a_tuned_model_begins_where_that_one_did(room):
    """Both parts of a tuned model's training learn from everything, and the second starts from the first one's branch."""
    made = json.loads((room / "done.json").read_text(encoding="utf-8"))
    copy = room / "tuned_kept"
    shutil.copytree(made["run"], copy)
    recipe = json.loads((copy / "tuned" / "recipe.json").read_text(encoding="utf-8"))
    (copy / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    again = call_json("refit", str(copy), "--runs", "refits")
    run_path = Path(again["run"])
    settled = json.loads((run_path / "recipe.json").read_text(encoding="utf-8"))
    trunk = json.loads((run_path / "base" / "recipe.json").read_text(encoding="utf-8"))
    assert Path(settled["model"]["init_from"]).parents[1] == run_path / "base"
    branch = int(settled["model"]["init_from"].rsplit("_", 1)[-1])
    assert branch + settled["loop"]["steps"] == trunk["loop"]["steps"] > STEPS
    assert (run_path / "base" / "checkpoints" / "last.txt").read_text() == f"step_{branch:06d}\n", "no step too many"
    for place in (run_path, run_path / "base"):
        assert json.loads((place / "data.json").read_text(encoding="utf-8"))["rows"].keys() == {"train"}
    assert (run_path / "final_model" / "model.safetensors").is_file()
