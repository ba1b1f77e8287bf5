"""The whole way of synthetic data: generator, samples, scores, choice, trial; and what fine-tuning does with the verdict."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import pytest

import ouvroir
import pictures
from ouvroir import admitting, assessing, generating, main_job, proving, trials, workflow
from ouvroir.errors import DataError, RunError, Untried, UsageError
from ouvroir.evaluation.french import in_french
from ouvroir.options import Workplace
from ouvroir.progress import QUIET
from ouvroir.run import Run
from ouvroir.synthesis.samples import Samples
from ouvroir.verdicts import Plan

QUICK = (
    "--preset",
    "tiny",
    "--set",
    "loop.precision=fp32",
    "--set",
    "loop.layout=contiguous",
    "--set",
    "loop.threads=1",
)
QUICK += (
    "--set",
    "loop.micro_batch=16",
    "--set",
    "loop.batch_size=16",
    "--set",
    "loop.steps=24",
    "--set",
    "data.per_class=24",
)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A finished main job with all its stages, of a moment each: digits of three classes, two seeds, a generator of 3 steps."""
    place = tmp_path_factory.mktemp("proving")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        patch.chdir(place)
        patch.setattr(proving, "CHOICE_SEEDS", 1)
        patch.setattr(proving, "SHARES", (0.25, 0.5))
        patch.setattr(proving, "LEAST_MADE", 30)
        patch.setattr(generating, "LEAST_LEARNED", 0.0)
        patch.setattr(trials, "USUAL_SEEDS", 2)
        patch.setattr(trials.trial, "least_seeds", lambda n_tried=1: 2)
        patch.setattr(proving.Synthesis, "_recipe", _short(proving.Synthesis._recipe))
        pictures.write_digits(place / "digits", per_class=90, classes="012")
        (place / "told.txt").write_text(pictures.call("refine", "digits", *QUICK, "--json").stdout)
        yield place


def _short(make, steps=3):
    def recipe(self, task):
        found = make(self, task)
        return found.replace(
            "loop",
            steps=steps,
            minutes=None,
            precision="fp32",
            layout="contiguous",
            threads=1,
            micro_batch=16,
            batch_size=16,
        )

    return recipe


@pytest.fixture
def told(room):
    return pictures.read_object((room / "told.txt").read_text())


def test_the_main_job_ends_in_a_verdict_on_synthetic_data(told):
    run = Run(Path(told["run"]))
    assert told["state"] == "finished"
    noted = run.read_json(admitting.OUTCOME)
    assert told["synthetic"]["verdict"] == noted["verdict"]
    assert told["synthetic"]["lines"]["fr"] != told["synthetic"]["lines"]["en"]
    assert (run.path / "generator" / "synthetic" / "scores.jsonl").is_file()
    assert {"generator", "assess", "train"} <= told["timings"].keys()
    report = json.loads((run.path / "report.json").read_text())
    assert report["synthesis"]["assessment"]["n_made"] == 72
    assert sum(report["ledger"]["splits"].values()) == 270  # rows of the user's, samples are not among them


@pytest.mark.slow
def test_a_standalone_trial_of_a_run_that_was_trained(room, monkeypatch):
    made = ouvroir.train("digits", preset="tiny", settings=dict(pair.split("=") for pair in QUICK[3::2]), runs="others")
    monkeypatch.setattr(proving, "LEAST_MADE", 30)
    monkeypatch.setattr(proving.Synthesis, "_recipe", _short(proving.Synthesis._recipe, steps=200))
    found = ouvroir.prove(made.path, seeds=2, share=0.5)
    assert found.verdict is not None
    assert found.found["chief"] in ("synthetic", "varied")
    assert "interpolation" in found.found["arms"]
    trial = made.path / "trial" / "synthetic"
    kept = {path: path.read_bytes() for path in trial.rglob("answers.safetensors")}
    assert ouvroir.prove(made.path, seeds=2, share=0.5).found == found.found  # nothing is left to do
    assert {path: path.read_bytes() for path in trial.rglob("answers.safetensors")} == kept
    rows = workflow.manifest_of(Run(trial / found.found["chief"])).rows
    assert {row.split for row in rows if row.origin == "synthetic"} == {"train"}
    assert sum(row.split == "train" and row.origin == "real" for row in rows) == 72
    other = ouvroir.prove(made.path, seeds=2, share=0.25).found
    assert "The test items were looked at before (1)" in " ".join(other["cut"])
    assert Plan.read(trial).n_before == 1
    assert ouvroir.prove(made.path, seeds=2, share=0.25).found == other


def test_the_tuned_model_learns_from_what_was_admitted_and_is_judged_on_real_rows(room, told, tmp_path):
    shutil.copytree(told["run"], tmp_path / "job")
    run = Run(tmp_path / "job")
    shutil.rmtree(run.path / "tuned")
    run.write_json(admitting.OUTCOME, {"verdict": "rejected", "kind": "synthetic", "share": 0.25, "said": []})
    planned = main_job._plan_tuned(run, QUIET)  # on real rows alone, before anything was admitted
    assert {row.origin for row in workflow.manifest_of(planned).rows} == {"real"}
    folder = run.path / "generator" / "synthetic"
    rows = _admit_some(run, folder)
    done = main_job.refine_run(run, Workplace())
    assert done.state == "finished"
    tuned = Run(run.path / "tuned")
    manifest = workflow.manifest_of(tuned)
    made = [row for row in manifest.rows if row.origin == "synthetic"]
    assert {row.id for row in made} == {row.id for row in rows}
    assert {row.split for row in made} == {"train"}
    assert tuned.recipe().loop.synthetic_share == 0.25
    base = workflow.manifest_of(Run(run.path / "base"))
    assert {row.id for row in base.rows} == {row.id for row in manifest.rows if row.origin == "real"}
    assert tuned.read_json("evaluation.json")["test"]["accuracy"]["n"] == len(base.judged("test"))
    for one in (run, Run(run.path / "base"), tuned, Run(run.path / "generator")):
        assert workflow.manifest_of(one).fingerprint == one.recipe().data.manifest
    ouvroir.load(run.path).predict([next((room / "digits" / "0").iterdir())])
    report = json.loads((run.path / "report.json").read_text())
    assert sum(report["ledger"]["splits"].values()) == 270
    with pytest.raises(UsageError, match="learned from samples that were admitted"):
        ouvroir.prove(run.path)
    settings = {**dict(pair.split("=") for pair in QUICK[3::2]), "loop.steps": 2}
    further = ouvroir.finetune(run.path, room / "digits", settings=settings, runs=tmp_path / "runs")
    assert {row.id for row in workflow.manifest_of(further).rows if row.origin == "synthetic"} == {
        row.id for row in rows
    }
    assert further.recipe().loop.synthetic_share == 0.25
    other = ouvroir.finetune(
        run.path, room / "digits", settings={**settings, "data.per_class": 20}, runs=tmp_path / "runs"
    )
    assert {row.origin for row in workflow.manifest_of(other).rows} == {"real"}


def _admit_some(run, folder):
    """Have the samples of a folder count as admitted, whatever was found: what comes after is looked at here."""
    lines = [json.loads(line) for line in (folder / assessing.SCORES).read_text().splitlines()]
    for line in lines:
        line.update(reason="", weight=1.0)
    (folder / assessing.SCORES).write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = assessing.kept_rows(folder)
    digest = trials.rows_digest(rows)
    noted = {"verdict": "admitted", "kind": "synthetic", "share": 0.25, "rows": digest, "said": []}
    run.write_json(admitting.OUTCOME, noted)
    run.set_status("stopped", "Stopped.")
    return rows


def test_samples_that_were_edited_or_deleted_after_the_verdict_are_said(told, tmp_path):
    shutil.copytree(told["run"], tmp_path / "job")
    run = Run(tmp_path / "job")
    shutil.rmtree(run.path / "tuned")
    folder = run.path / "generator" / "synthetic"
    rows = _admit_some(run, folder)
    victim = next(folder.glob("*/*.png"))
    victim.write_bytes(victim.read_bytes() + b"x")
    with pytest.raises(DataError, match="changed since they were made"):
        main_job.refine_run(run, Workplace())
    assert run.state == "failed"
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="not those that were admitted"):
        admitting.admitted(run)
    assert rows


def test_samples_that_were_broken_off_are_made_again(told, tmp_path, monkeypatch):
    shutil.copytree(Path(told["run"]) / "generator", tmp_path / "generator")
    generator, at = Run(tmp_path / "generator"), Workplace()
    shutil.rmtree(generator.path / "synthetic")
    wanted = generating.generate(generator, None, 6, 0, at)
    contents = {path.name: path.read_bytes() for path in wanted.files}
    shutil.rmtree(generator.path / "synthetic")
    write, n_left = Samples.write, [9]

    def breaks_off(self, place, content):
        n_left[0] -= 1
        if n_left[0] < 0:
            raise KeyboardInterrupt
        return write(self, place, content)

    monkeypatch.setattr(Samples, "write", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        generating.generate(generator, None, 6, 0, at)
    monkeypatch.setattr(Samples, "write", write)
    samples = Samples(generator.path / "synthetic")
    assert len(list(samples.folder.glob("*/*.png"))) == 9
    assert len(samples.read()) == 6  # those of the class that was done
    again = generating.generate(generator, None, 6, 0, at)
    assert again.samples == wanted.samples
    assert {path.name: path.read_bytes() for path in again.files} == contents
    (samples.folder / "0" / "mine.png").write_bytes(b"x")
    with pytest.raises(DataError, match="not made by the generator"):
        samples.read()


def test_a_class_of_three_samples_and_too_few_rows_are_said_and_the_job_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    pictures.write_digits("few", per_class=12, classes="01")
    pictures.write_digits("few", per_class=3, classes="2")
    done = pictures.call("refine", "few", *QUICK[:-2])
    report = json.loads(next((tmp_path / "runs").glob("*/report.json")).read_text())
    assert report["synthesis"]["verdict"]["verdict"] == "untried"
    assert "takes about" in done.stderr.replace("\n", " ")
    assert "NOT TRIED" in done.stdout


STAGES = [
    ("ouvroir.workflow", "train_run"),
    ("ouvroir.assessing", "train_folds"),
    ("ouvroir.generating", "generate"),
    ("ouvroir.generating", "vary"),
    ("ouvroir.assessing", "assess_samples"),
    ("ouvroir.trials", "try_out"),
    ("ouvroir.generating", "mixed"),
    ("ouvroir.trials", "_train"),
    ("ouvroir.trials", "result_of"),
    ("ouvroir.trials", "hold_trial"),
]


@pytest.mark.parametrize(
    "kind", ["image-generation", pytest.param("image-generation-adversarial", marks=pytest.mark.slow)]
)
def test_broken_off_after_each_stage_it_comes_to_the_same_verdict(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(proving, "LEAST_MADE", 30)
    monkeypatch.setattr(generating, "LEAST_LEARNED", 0.0)
    monkeypatch.setattr(proving, "CHOICE_SEEDS", 1)
    monkeypatch.setattr(proving, "SHARES", (0.25, 0.5))
    monkeypatch.setattr(proving.Synthesis, "_recipe", _short(proving.Synthesis._recipe, steps=120))
    # it is about the stages: what so short a training makes would be refused
    monkeypatch.setattr("ouvroir.synthesis.scores.reasons", lambda margins, **others: [""] * len(others["held_out"]))
    monkeypatch.setattr("ouvroir.synthesis.assessment._is_elsewhere", lambda whole: False)
    pictures.write_digits(tmp_path / "digits", per_class=90, classes="012")
    settings = dict(pair.split("=") for pair in QUICK[3::2])
    made = ouvroir.train(tmp_path / "digits", preset="tiny", settings=settings, runs=tmp_path / "runs")
    shutil.copytree(made.path, tmp_path / "broken")
    asked = {"seeds": 2, "generator": kind}
    wanted = ouvroir.prove(made.path, **asked)
    assert wanted.verdict is not None
    n_broken = 0
    stages = [
        stage for stage in STAGES if stage[1] != "vary" or kind == "image-generation"
    ]  # the other kind varies nothing
    for module, name in stages:
        with monkeypatch.context() as patch:
            real = getattr(importlib.import_module(module), name)

            def once(*given, real=real, **named):
                real(*given, **named)
                raise KeyboardInterrupt

            patch.setattr(f"{module}.{name}", once)
            try:
                ouvroir.prove(tmp_path / "broken", **asked)
            except KeyboardInterrupt:
                n_broken += 1
    assert n_broken == len(stages)
    found = ouvroir.prove(tmp_path / "broken", **asked)
    assert found.found == wanted.found
    both = [Run(path) for path in (made.path, tmp_path / "broken")]
    noted = [one.read_json(admitting.OUTCOME) for one in both]
    assert noted[0]["verdict"] == noted[1]["verdict"]
    looks = [one.read_json(trials.LOOKS) for one in both]
    assert looks[0] == looks[1]
    assert len(looks[0]["synthetic"]) == 1


def test_a_generator_that_would_hardly_learn_is_said_before_it_is_trained(told, tmp_path, monkeypatch):
    monkeypatch.setattr(generating, "LEAST_LEARNED", 0.25)
    shutil.copytree(told["run"], tmp_path / "job")
    run = Run(tmp_path / "job")
    (run.path / admitting.OUTCOME).unlink()
    (run.path / proving.PLAN).unlink(missing_ok=True)
    with pytest.raises(
        Untried, match=r"With --minutes 0.1 the generator would have \d+ of the 600 steps .* --minutes \d+ is enough"
    ) as error:
        ouvroir.prove(run.path, minutes=0.1)
    assert "le générateur ferait" in in_french(str(error.value))
    assert run.read_json(admitting.OUTCOME) is None  # nothing was changed
    assert not (run.path / proving.BEFORE).exists()


def test_a_generator_that_hardly_learned_is_put_aside_and_said_where_its_samples_are_made(told, tmp_path, monkeypatch):
    monkeypatch.setattr(generating, "LEAST_LEARNED", 0.25)
    monkeypatch.setattr(proving.Synthesis, "_recipe", _short(proving.Synthesis._recipe, steps=4))
    shutil.copytree(told["run"], tmp_path / "job")
    run = Run(tmp_path / "job")
    shown = pictures.call("generate", run.path, "--count", "1").stderr
    assert "had 3 of the 600 steps that it needs" in " ".join(shown.split())
    with pytest.raises(Untried, match=r"The generator had 4 of the 600 steps"):
        ouvroir.prove(run.path)
    assert Run(run.path / proving.BEFORE).recipe().loop.steps == 3
    noted = run.read_json(admitting.OUTCOME)
    assert noted["verdict"] == "untried"
    assert "The generator had 4" in noted["said"][0]


@pytest.mark.slow
def test_minutes_that_are_too_few_for_a_generator_are_for_the_two_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(generating, "LEAST_LEARNED", 0.25)
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    pictures.write_digits("digits", per_class=90, classes="012")
    asked = [*QUICK[:8], "--minutes", "0.1"]
    told = pictures.call_json("refine", "digits", *asked, "--dry-run")
    assert told["synthetic_seconds"] == 0
    assert "the generator would have" in told["synthetic_untried"]
    done = pictures.call("refine", "digits", *asked, "--json")
    told = pictures.read_object(done.stdout)
    run = Run(Path(told["run"]))
    assert not (run.path / "generator").exists()
    assert run.read_json(admitting.OUTCOME)["verdict"] == "untried"
    assert run.read_json("refine.json")["trial_minutes"] is None
    assert Run(run.path / "base").recipe().loop.minutes == pytest.approx(0.1 / main_job.TRUNK_COST)
    assert "NOT TRIED. With --minutes 0.1 the generator" in told["synthetic"]["lines"]["en"]


def test_without_synthetic_data_nothing_is_said_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    pictures.write_digits("digits", per_class=12, classes="01")
    told = pictures.call_json("refine", "digits", *QUICK[:-2], "--no-synthetic")
    assert told["synthetic"] is None
    assert not (Run(Path(told["run"])).path / admitting.OUTCOME).exists()


def test_a_part_of_a_job_and_a_wrong_generator_are_said(told, tmp_path):
    shutil.copytree(told["run"], tmp_path / "job")
    with pytest.raises(RunError, match="is a part of a job"):
        ouvroir.prove(tmp_path / "job" / "tuned")
    with pytest.raises(UsageError, match="is a generator of another kind"):
        ouvroir.prove(tmp_path / "job", generator="image-generation-adversarial")
    with pytest.raises(UsageError, match="makes no samples"):
        ouvroir.prove(tmp_path / "job", generator="image-classification")
    with pytest.raises(UsageError, match="two seeds"):
        ouvroir.prove(tmp_path / "job", seeds=1)
    assert Run(tmp_path / "job").read_json(admitting.OUTCOME) == Run(Path(told["run"])).read_json(admitting.OUTCOME)


def test_a_trial_on_data_that_changed_is_refused_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    folder = pictures.write_digits(tmp_path / "digits", per_class=100, classes="01")
    settings = {**dict(pair.split("=") for pair in QUICK[3::2]), "data.per_class": "20"}
    made = ouvroir.train(folder, preset="tiny", settings=settings, runs="runs")
    tried = {"settings": {"options.label_smoothing": 0.2}, "seeds": 2}
    row = next(row for row in workflow.manifest_of(made).rows if row.split == "train")
    kept = (folder / row.locator).read_bytes()
    other = next(path for path in sorted(folder.rglob("*.png")) if path.read_bytes() != kept)
    (folder / row.locator).write_bytes(other.read_bytes())
    found = ouvroir.prove(made.path, **tried).found  # what was packed is as it was
    shutil.rmtree(tmp_path / "home")
    shutil.rmtree(made.path / "trial")
    with pytest.raises(DataError, match="changed") as error:
        ouvroir.prove(made.path, **tried)
    assert row.id in str(error.value)
    (folder / row.locator).write_bytes(kept)
    assert ouvroir.prove(made.path, **tried).found == found
