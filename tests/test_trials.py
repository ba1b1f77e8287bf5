"""Trials: trainings side by side, their verdict, and that stopping, killing and asking again change nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import ouvroir
import pictures
from ouvroir import trials, trying, verdicts
from ouvroir.arms import Arm, Contrast, Design, Way, arm_at, constants_design, settings_arm
from ouvroir.data.loader import Sampler
from ouvroir.errors import DataError, RunError, TrainingError, Untried, UsageError
from ouvroir.evaluation import proof, trial
from ouvroir.evaluation.french import in_french
from ouvroir.evaluation.language import Language
from ouvroir.ground import Ground
from ouvroir.options import Workplace
from ouvroir.run import Run
from ouvroir.task import Row
from ouvroir.training import device
from ouvroir.training.crew import Crew
from ouvroir.trials import hold_trial
from ouvroir.verdicts import Plan

QUICK = {
    "loop.steps": 6,
    "loop.precision": "fp32",
    "loop.layout": "contiguous",
    "loop.threads": 1,
    "loop.micro_batch": 16,
    "loop.batch_size": 16,
}
AT = Workplace()
SOFTER = settings_arm({"options.label_smoothing": 0.2})


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    place = tmp_path_factory.mktemp("trials")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        pictures.write_digits(place / "digits", per_class=44, classes="012")
        yield place


@pytest.fixture(scope="module")
def trained(room):
    settings = {**QUICK, "data.per_class": 12}
    return ouvroir.train(room / "digits", preset="tiny", settings=settings, runs=room / "runs")


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the trained run, for a test to try things in."""
    shutil.copytree(trained.path, tmp_path / "run")
    return Run(tmp_path / "run")


def answers_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob(trying.ANSWERS)}


def test_a_trial_and_what_is_left_of_it(run):
    found = hold_trial(Ground.of(run), Design.of([SOFTER]), AT, name="softer", seeds=3)
    folder = run.path / "trial" / "softer"
    assert json.loads((folder / "trial.json").read_text()) == found
    assert found["n_seeds"] == 3
    assert found["n_items"] == len(Ground.of(run).manifest.judged("test"))
    assert found["steps"] == 6
    arm = found["arms"][SOFTER.name]
    assert arm["verdict"] in ("rejected", "harmful", "unreliable")  # 3 seeds admit nothing
    assert arm["gain"]["low"] <= arm["gain"]["value"] <= arm["gain"]["high"]
    assert arm["gain"]["value"] == pytest.approx(sum(arm["differences"]) / 3)
    assert sorted(answers_of(folder)) == sorted(
        f"{name}/seed_{seed:03d}/answers.safetensors"
        for name, first in (("ordinary", 0), ("again", verdicts.OTHER_SEEDS), (SOFTER.name, 0))
        for seed in range(first, first + 3)
    )
    assert not list(folder.rglob("*.safetensors.tmp"))
    assert not list(folder.rglob("checkpoints"))  # weights are of no use


def test_the_same_trial_goes_on_where_it_was_and_more_seeds_keep_those_that_are_there(run):
    ground, design = Ground.of(run), Design.of([SOFTER])
    found = hold_trial(ground, design, AT, name="softer", seeds=2)
    folder = run.path / "trial" / "softer"
    before = answers_of(folder)
    times = {name: (folder / name).stat().st_mtime_ns for name in before}
    assert hold_trial(ground, design, AT, name="softer", seeds=2) == found
    lost = sorted(before)[1]
    shutil.rmtree((folder / lost).parent)  # as if it had been killed there
    assert hold_trial(ground, design, AT, name="softer", seeds=2) == found
    assert answers_of(folder) == before
    more = hold_trial(ground, design, AT, name="softer", seeds=3)
    assert more["n_seeds"] == 3
    assert len(answers_of(folder)) == 9
    assert all((folder / name).stat().st_mtime_ns == times[name] for name in before if name != lost)


def test_another_trial_of_the_same_name_is_begun_anew(run):
    ground = Ground.of(run)
    hold_trial(ground, Design.of([SOFTER]), AT, name="one", seeds=2)
    other = Arm(SOFTER.name, SOFTER.sentence, lambda way: way.having({"options.label_smoothing": 0.1}))
    hold_trial(ground, Design.of([other]), AT, name="one", seeds=2)
    place = run.path / "trial" / "one" / SOFTER.name
    for folder in (place, place / "seed_000"):  # and the process that trained the first one, which is still there
        assert Run(folder).recipe().options.label_smoothing == 0.1


def test_a_process_of_the_crew_answers_as_this_one_does(run):
    ground = Ground.of(run)
    hold_trial(ground, Design.of([SOFTER]), AT, name="one", seeds=2)
    folder = run.path / "trial" / "one"
    before = answers_of(folder)
    for name in before:
        (folder / name).unlink()
    code = f"""
from pathlib import Path
from ouvroir.trying import try_one
known = {{}}
for arm, seed in (("ordinary", 1), ("{SOFTER.name}", 0)):
    try_one(Path({str(folder)!r}), arm, seed, known)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    found = answers_of(folder)
    assert len(found) == 2
    assert all(before[name] == content for name, content in found.items())


def test_arms_that_train_longer_or_on_other_data_are_refused(run):
    ground = Ground.of(run)

    def tried(settings):
        return hold_trial(ground, Design.of([settings_arm(settings)]), AT, name="x", seeds=2)

    for settings in ({"loop.steps": 12}, {"loop.batch_size": 32}, {"loop.epochs": 50}):
        with pytest.raises(UsageError, match="more training would pass for a gain"):
            tried(settings)
    for settings in ({"loop.seed": 7}, {"loop.patience": 3}):
        with pytest.raises(UsageError, match="nothing would come of it"):
            tried(settings)
    for settings in ({"options.storage_px": 16}, {"options.colour": "rgb"}):
        with pytest.raises(UsageError, match="how items are stored"):
            tried(settings)
    with pytest.raises(UsageError, match="must return one"):
        hold_trial(ground, Design.of([Arm("none", "", lambda way: None)]), AT, name="x", seeds=2)
    with pytest.raises(UsageError, match="same items"):
        tried({"data.seed": 4})
    with pytest.raises(UsageError, match="an arm beside"):
        hold_trial(ground, Design.of([]), AT, name="x")


def test_arms_may_not_learn_from_what_is_judged_by(run):
    ground = Ground.of(run)
    test = [row for row in ground.manifest.rows if row.split == "test"][:5]
    made = [replace(row, id=f"synthetic:{row.id}", origin="synthetic") for row in test]
    cheat = Arm("cheat", "", lambda way: way.learning_from(made, share=0.5))
    hidden = Arm("hidden", "", lambda way: replace(way, extra=tuple(replace(row, split="test") for row in made)))
    for arm in (cheat, hidden):
        with pytest.raises(UsageError, match="is a validation or test row"):
            hold_trial(ground, Design.of([arm]), AT, name="x", seeds=2)
    other = settings_arm({"model.init_from": str(run.path)})
    with pytest.raises(UsageError, match="starts from another model"):
        hold_trial(ground, Design.of([other]), AT, name="x", seeds=2)


def test_a_share_that_no_batch_can_hold_is_refused(run):
    ground = Ground.of(run)
    rows = [
        replace(row, id=f"synthetic:{row.id}", origin="synthetic")
        for row in ground.manifest.rows
        if row.split == "train"
    ]
    for share in (0.001, 0.999):
        arm = Arm("odd", "", lambda way, share=share: way.learning_from(rows, share=share))
        with pytest.raises(UsageError, match="leaves room for both"):
            hold_trial(ground, Design.of([arm]), AT, name="x", seeds=2)


def test_a_way_that_diverges_is_not_tried(run):
    wild = settings_arm({"optim.lr": "1e30"})
    with pytest.raises(Untried, match=r"The training of `optim.lr=1e30` with seed 0 diverged") as found:
        hold_trial(Ground.of(run), Design.of([wild]), AT, name="wild", seeds=2)
    assert "a divergé" in in_french(str(found.value))


def test_a_trial_is_in_single_precision_where_the_processor_has_no_other(run, monkeypatch):
    recipe = run.recipe()
    run.write_recipe(recipe.replace("loop", precision="bf16"))
    monkeypatch.setattr(device, "has_bf16", lambda _: False)
    assert Ground.of(run).way(6).recipe.loop.precision == "fp32"
    monkeypatch.setattr(device, "has_bf16", lambda _: True)
    assert Ground.of(run).way(6).recipe.loop.precision == "bf16"


def test_a_trial_that_was_left_is_not_grown(run, monkeypatch):
    ground, design = Ground.of(run), Design.of([SOFTER], chief=SOFTER.name)
    monkeypatch.setattr(trial, "is_futile", lambda table, groups=None: True)
    left = hold_trial(ground, design, AT, name="left", seeds=6)
    assert (left["n_seeds"], left["planned_seeds"]) == (4, 6)
    assert proof.left_told(left, Language("en")) == [
        f"{SOFTER.name}: left after 4 seeds, since no gain worth having was in reach."
    ]
    assert hold_trial(ground, design, AT, name="left", seeds=9) == left


def test_a_trial_goes_on_after_its_run_was_moved(run, tmp_path):
    found = hold_trial(Ground.of(run), Design.of([SOFTER]), AT, name="one", seeds=2)
    before = answers_of(run.path / "trial")
    moved = Run(shutil.move(run.path, tmp_path / "elsewhere"))
    (moved.path / "trial" / "one" / "trial.json").unlink()
    assert hold_trial(Ground.of(moved), Design.of([SOFTER]), AT, name="one", seeds=2) == found
    assert answers_of(moved.path / "trial") == before


def test_a_damaged_checkpoint_of_a_training_costs_that_training_only(run):
    ground = Ground.of(run)
    found = hold_trial(ground, Design.of([SOFTER]), AT, name="one", seeds=2)
    place = trying.place_of(run.path / "trial" / "one", SOFTER.name, 1)
    wanted = (place / trying.ANSWERS).read_bytes()
    (place / trying.ANSWERS).unlink()
    (place / "checkpoints" / "step_000006").mkdir(parents=True)
    (place / "checkpoints" / "last.txt").write_text("step_000006")
    (place / "checkpoints" / "best.txt").write_text("step_000006")
    assert hold_trial(Ground.of(run), Design.of([SOFTER]), AT, name="one", seeds=2) == found
    assert (place / trying.ANSWERS).read_bytes() == wanted


def test_names_of_arms():
    for name in ("", "../x", "Ä", "a b", "x" * 61, "processor", "speed"):
        with pytest.raises(UsageError, match="name of an arm"):
            Arm(name, "", lambda way: way)
    with pytest.raises(UsageError, match="called alike"):
        Design.of([SOFTER, SOFTER])
    with pytest.raises(UsageError, match="called alike"):
        Design.of([Arm("ordinary", "", lambda way: way)])
    assert settings_arm({"options.mixup": 0.2}).name == "options.mixup=0.2"
    long = [
        settings_arm({"options.mixup": 0.2, "options.label_smoothing": 0.1, "optim.lr": rate})
        for rate in (0.001, 0.0015)
    ]
    assert len({arm.name for arm in long}) == 2
    assert all(len(arm.name) <= 60 for arm in long)
    with pytest.raises(UsageError, match=r"no ending \.json"):
        Arm("trial.json", "", lambda way: way)
    with pytest.raises(UsageError, match="could not be loaded"):
        arm_at("ouvroir.nothing:ARM")
    with pytest.raises(UsageError, match="is no arm"):
        arm_at("ouvroir.arms:ORDINARY")
    assert arm_at("test_trials:SOFTER") is SOFTER


def test_real_rows_are_not_added_as_synthetic(run):
    way = Ground.of(run).way(6)
    row = Row("x", "x.png", "0" * 64, label="0")
    with pytest.raises(DataError, match="not marked as synthetic"):
        way.learning_from([row], share=0.5)


def test_samples_are_learned_from_and_never_judged_by(run):
    ground = Ground.of(run)
    real = [row for row in ground.manifest.rows if row.split == "train"]
    made = [
        Row(
            f"synthetic:{row.id}",
            row.locator,
            row.sha256,
            label=row.label,
            split="test",
            origin="synthetic",
            weight=0.5,
        )
        for row in real[:9]
    ]
    way = ground.way(6).learning_from(made, share=0.5)
    rows = ground.rows_of(way).rows
    assert sum(row.origin == "synthetic" for row in rows) == 9
    assert {row.split for row in rows if row.origin == "synthetic"} == {"train"}
    assert {row.id for row in rows if row.split == "test"} == {
        row.id for row in ground.manifest.rows if row.split == "test"
    }
    assert not [row for row in rows if row.split == "validation"]
    assert way.recipe.loop.synthetic_share == 0.5


def test_too_few_items_are_said_before_anything_is_trained(room, tmp_path):
    few = pictures.write_digits(tmp_path / "few", per_class=10, classes="012")
    made = ouvroir.train(few, preset="tiny", settings=QUICK, runs=tmp_path / "runs")
    with pytest.raises(Untried, match=r"Independent items in the \w+ split: 6\..*takes about \d+"):
        hold_trial(Ground.of(made), Design.of([SOFTER]), AT, name="x")
    assert not (made.path / "trial").exists()


def test_a_run_without_a_model_is_said(run):
    (run.path / "metrics.jsonl").unlink()
    with pytest.raises(RunError, match="no trained model"):
        Ground.of(run)


def test_a_training_that_a_signal_stops_leaves_no_answers(run, monkeypatch):
    ground = Ground.of(run)
    hold_trial(ground, Design.of([SOFTER]), AT, name="stopped", seeds=2)
    folder = run.path / "trial" / "stopped"
    draw = Sampler.draw

    def stopped(self, step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "draw", stopped)
        with pytest.raises(TrainingError, match=r"with seed 7 was stopped by a signal.*goes on"):
            trying.try_one(folder, "ordinary", 7, {})
    assert not trying.is_done(folder, "ordinary", 7)
    trying.try_one(folder, "ordinary", 7, {})
    assert trying.is_done(folder, "ordinary", 7)


def test_minutes_cut_seeds_first_and_then_steps(run, monkeypatch):
    ground = Ground.of(run)
    monkeypatch.setattr(trials, "measure", lambda *_: trials.Speed(step_s=10.0, rest_s=0.0, n_processes=2))

    def afforded(minutes, seeds=None):
        return trials.afforded(ground, AT, 4, seeds=seeds, minutes=minutes)

    assert afforded(None) == (10, 6, [])
    assert afforded(20) == (10, 6, [])  # 4 arms x 10 seeds x 60 s on 2 cores
    n_seeds, steps, cut = afforded(16)
    assert (n_seeds, steps) == (8, 6)
    assert cut == ["8 seeds instead of 10, for lack of time."]
    n_seeds, steps, cut = afforded(6)
    assert (n_seeds, steps) == (6, 3)
    assert len(cut) == 2
    n_seeds, steps, cut = afforded(6, seeds=10)
    assert (n_seeds, steps) == (10, 1)
    assert cut == ["Trainings of 1 steps instead of 6, for lack of time."]
    with pytest.raises(Untried, match=r"With --minutes 1 .* less than 10 % .* --minutes 2 is enough") as few:
        afforded(1)
    with pytest.raises(Untried, match=r"With --minutes 2 .* --minutes 4 is enough"):
        trials.afforded(ground, AT, 4, seeds=None, minutes=1, share=0.5)
    with pytest.raises(Untried, match=r"--minutes 9 is enough"):
        trials.afforded(ground, AT, 4, seeds=None, minutes=1, share=0.5, at_least=8.2)
    assert trials.least_minutes(ground, AT, 4) == 2
    french = in_french(f"Synthetic data were not tried. {few.value}")
    assert "Avec --minutes 1, chaque entraînement" in french
    assert french.endswith("--minutes 2 suffit.")


@pytest.mark.slow
def test_more_seeds_take_back_what_fewer_could_not(run):
    ground, design = Ground.of(run), Design.of([SOFTER])
    few = hold_trial(ground, design, AT, name="grown", seeds=2)
    assert few["cut"] == ["2 seeds can admit nothing here: it takes 6."]
    assert in_french(few["cut"][0]) == "2 graines ne peuvent rien faire admettre ici\u202f: il en faut 6."
    more = hold_trial(ground, design, AT, name="grown", seeds=6)
    assert more["cut"] == [
        "6 seeds can admit nothing here: it takes 7.",
        "The test items were looked at before (1), so the interval is widened.",
    ]
    assert more["arms"][SOFTER.name]["level"] == pytest.approx(0.975)
    assert all(in_french(sentence) for sentence in more["cut"])
    assert hold_trial(ground, design, AT, name="grown", seeds=6) == more
    shutil.rmtree(run.path / "trial")
    assert (
        hold_trial(ground, design, AT, name="grown", seeds=6) == more
    )  # what was asked is known, and asked no other way
    assert trials.n_looks(run, "grown") == 2
    other = Design.of([settings_arm({"options.label_smoothing": 0.3})])
    assert hold_trial(ground, other, AT, name="grown", seeds=2)["n_before"] == 2
    assert hold_trial(ground, other, AT, name="another", seeds=2)["n_before"] == 0


def test_a_seed_that_diverges_leaves_the_verdict_of_the_others(run, monkeypatch):
    ground, design = Ground.of(run), Design.of([SOFTER])
    found = hold_trial(ground, design, AT, name="grown", seeds=2)
    before = answers_of(run.path / "trial")

    def diverges(*given, **kept):
        raise Untried("The training of `again` with seed 502 diverged.")

    with monkeypatch.context() as patch:
        patch.setattr(trials, "train_all", diverges)
        with pytest.raises(TrainingError, match=r"diverged\. The verdict of 2 seeds stands\.") as error:
            hold_trial(ground, design, AT, name="grown", seeds=3)
        assert not isinstance(error.value, Untried)
    assert answers_of(run.path / "trial") == before
    assert hold_trial(ground, design, AT, name="grown") == found


def test_the_speed_is_measured_once(run):
    ground = Ground.of(run)
    speed = trials.measure(ground, AT)
    assert speed.step_s > 0
    assert trials.measure(ground, AT) == speed
    assert speed.seconds(10) == pytest.approx(speed.rest_s + 10 * speed.step_s)


def test_half_of_all_combinations_of_constants(trained):
    design = constants_design(Ground.of(trained).recipe)
    assert len(design.arms) == 7  # the eighth is the ordinary way
    assert design.contrasts.keys() == {"phi", "pi", "alpha", "zeta"}
    for contrast in design.contrasts.values():
        assert len(set(contrast.plus)) == len(set(contrast.minus)) == 4
        assert not set(contrast.plus) & set(contrast.minus)
        assert "ordinary" in contrast.plus
    for one, other in (("phi", "pi"), ("alpha", "zeta"), ("pi", "zeta")):
        a, b = design.contrasts[one], design.contrasts[other]
        assert len(set(a.plus) & set(b.plus)) == len(set(a.plus) & set(b.minus)) == 2
    way = Way(Ground.of(trained).recipe)
    off = next(arm for arm in design.arms if arm.name == "with-none")
    assert off.change(way).recipe.constants.phi == "ordinary"
    assert off.change(way).recipe.constants.zeta == "ordinary"


def test_effects_of_a_design_are_means_of_arms(run):
    other = settings_arm({"options.label_smoothing": 0.1})
    design = Design(
        (SOFTER, other), {"smoothing": Contrast((SOFTER.name, other.name)), SOFTER.name: Contrast((SOFTER.name,))}
    )
    found = hold_trial(Ground.of(run), design, AT, name="design", seeds=2)
    assert found["effects"].keys() == {"smoothing"}
    assert found["arms"].keys() == {SOFTER.name}
    assert {"value", "low", "high", "verdict", "differences"} <= found["effects"]["smoothing"].keys()
    plan = Plan.read(run.path / "trial" / "design")
    assert plan is not None
    assert plan.contrasts == design.contrasts


def test_an_error_in_a_process_is_told(run):
    ground = Ground.of(run)
    hold_trial(ground, Design.of([SOFTER]), AT, name="one", seeds=2)
    folder = run.path / "trial" / "one"
    shutil.rmtree(folder / SOFTER.name / "seed_000")
    (folder / SOFTER.name / "recipe.json").write_text("{")
    with pytest.raises(TrainingError, match="not JSON"):
        trials.train_all(Ground.of(run), folder, [(SOFTER.name, 0)])


def test_a_process_that_is_killed_is_told(run):
    place = run.path / "killed"
    code = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)"
    (run.path / "dies.py").write_text(code)
    crew = Crew("dies", size=1, environment={"PYTHONPATH": str(run.path)})
    with pytest.raises(TrainingError, match=f"killed by signal {int(signal.SIGKILL)}.*goes on from what is done"):
        list(crew.run([{"arm": "x"}], place / "crew.log"))
    assert (place / "crew.log").is_file()


def test_prove_from_the_command_line(run):
    told = pictures.call_json("prove", str(run.path), "--augmentation", "label_smoothing=0.2", "--seeds", "2")
    assert told["verdict"] in ("rejected", "harmful", "unreliable")
    assert told["told"][1:] == told["trial"]["cut"]
    assert told["trial"]["name"] == "options.label_smoothing=0.2"
    report = json.loads((run.path / "report.json").read_text())
    assert report["synthesis"]["trials"].keys() == {"options.label_smoothing=0.2"}
    shown = pictures.call("prove", str(run.path), "--augmentation", "label_smoothing=0.2", "--seeds", "2").stdout
    assert told["told"][0] in shown.replace("\n", " ")
    for words, said in (
        (["--constants", "--set", "optim.lr=1"], "trial of their own"),
        (["--set", "loop.steps=9"], "more training"),
        (["--share", "2"], "between 0 and 1"),
    ):
        assert said in pictures.call("prove", str(run.path), *words, status=2).stderr.replace("\n", " ")


@pytest.mark.slow
def test_a_trial_that_is_killed_again_and_again_comes_to_the_same_verdict(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "other")
    ground = Ground.of(run)
    wanted = hold_trial(ground, Design.of([SOFTER]), AT, name=SOFTER.name, seeds=4)
    words = ["prove", str(tmp_path / "other"), "--augmentation", "label_smoothing=0.2", "--seeds", "4", "--quiet"]
    n_killed = 0
    for patience_s in (4.0, 6.0, 5.0, 7.0):
        process = subprocess.Popen([sys.executable, "-m", "ouvroir", *words], stdout=subprocess.DEVNULL)
        time.sleep(patience_s)
        if process.poll() is None:
            process.kill()
            n_killed += 1
        process.wait()
    pictures.run(*words)
    found = json.loads((tmp_path / "other" / "trial" / SOFTER.name / "trial.json").read_text())
    assert found == wanted
    assert n_killed
    assert Path(tmp_path / "other" / "report.html").is_file()
