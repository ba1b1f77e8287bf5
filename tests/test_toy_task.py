"""A task from outside the package goes through everything without a line changed in shared code."""

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import toy_task
from ouvroir import api, judging, workflow
from ouvroir.errors import OuvroirError, RecipeError, UsageError
from ouvroir.evaluation.french import in_french
from ouvroir.files import write_json, write_text
from ouvroir.hashes import hash_files
from ouvroir.main_job import plan_refine
from ouvroir.media import find_task
from ouvroir.options import Training, Workplace
from ouvroir.planning import plan_training
from ouvroir.progress import QUIET
from ouvroir.run import Run
from ouvroir.task import Task
from ouvroir.workflow import manifest_of

HERE = str(Path(__file__).parent)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([HERE, *filter(None, [os.environ.get("PYTHONPATH")])])
    )  # for workers
    monkeypatch.chdir(tmp_path)
    assert HERE in sys.path
    toy_task.write_data(tmp_path / "numbers", 40)
    return tmp_path


@pytest.fixture
def run(place):
    return api.train("numbers", task=toy_task.NAME, device="cpu", workers=1, settings={"loop.steps": "120"})


def test_it_keeps_the_protocol():
    assert isinstance(find_task(toy_task.NAME), Task)


def test_check_accounts_for_every_file(place):
    (place / "numbers" / "small" / "words.txt").write_text("one two three")
    (place / "numbers" / "small" / "nothing.txt").write_text("")
    manifest = api.check("numbers", task=toy_task.NAME, workers=1)
    assert manifest.found == 122
    assert len(manifest.rows) == 120
    assert {refusal.code for refusal in manifest.refused} == {"not_numbers", "empty"}
    assert manifest.labels == ("large", "small", "wide")


def test_it_trains_evaluates_predicts_reports_and_exports(run, place):
    assert run.status()["state"] == "finished"
    judged = json.loads((run.path / "evaluation.json").read_text())["test"]
    assert judged["accuracy"]["value"] > 0.8
    assert judged["accuracy"]["low"] < judged["accuracy"]["value"] <= judged["accuracy"]["high"]

    toy_task.write_data(place / "more", 20, seed=1)
    evaluation = api.evaluate(run.path, "more", device="cpu", workers=1)
    assert evaluation.judgement.metrics["accuracy"].value > 0.8
    assert len(evaluation.ids) == 60

    files = sorted((place / "more").rglob("*.txt"))
    (place / "bad.txt").write_text("no numbers")
    found = api.predict(run.path, [*files, place / "bad.txt", place / "missing.txt"], device="cpu")
    right = sum(one.label == path.parent.name for one, path in zip(found, files, strict=False))
    assert right > 0.8 * len(files)
    assert "no number" in found[-2].error
    assert "is not there" in found[-1].error

    page = api.report(run.path).read_text(encoding="utf-8")
    assert "large" in page
    assert "most frequent class" in page

    assert api.export(run.path, "pth").largest_difference < 1e-5


def test_the_main_job_runs_on_it(place):
    run = api.refine("numbers", task=toy_task.NAME, device="cpu", workers=1, settings={"loop.steps": "60"})
    assert run.status()["state"] == "finished"
    assert (run.path / "report.html").is_file()
    assert api.load(run.path, device="cpu").labels == ("large", "small", "wide")


def test_it_is_fine_tuned_with_a_setting(run, place):
    tuned = api.finetune(
        run.path, "numbers", task=toy_task.NAME, scope="head", device="cpu", workers=1, settings={"loop.steps": "20"}
    )
    assert tuned.status()["state"] == "finished"
    before, after = (api.load(one.path, device="cpu").model.state_dict() for one in (run, tuned))
    assert before["body.weight"].equal(after["body.weight"])
    assert not before["head.weight"].equal(after["head.weight"])
    report = tuned.read_json("report.json")
    base, one = (found for found in report["systems"] if found["role"] in ("base", "tuned"))
    assert base["is_start"]
    assert [pair["first"] for pair in report["pairs"] if pair["kind"] == "tuning"] == [base["name"]]
    (as_judged,) = [found for found in run.read_json("report.json")["systems"] if found["role"] == "base"]
    assert base["metrics"] == as_judged["metrics"], "the same test, which it was judged by before"
    assert one["metrics"] != base["metrics"]


def test_what_the_model_to_start_from_learned_from_is_no_test(run, place):
    said = []
    told = SimpleNamespace(say=said.append, bar=QUIET.bar)
    settings = {"loop.steps": "2", "data.seed": "5"}
    was = {row.sha256 for row in manifest_of(run).rows if row.split != "test"}
    tuned = api.finetune(
        run.path, "numbers", task=toy_task.NAME, device="cpu", workers=1, settings=settings, progress=told
    )
    manifest = manifest_of(tuned)
    test = [row for row in manifest.rows if row.split == "test"]
    assert not was & {row.sha256 for row in test}
    known = [refusal for refusal in manifest.refused if refusal.code == "leak"]
    assert known
    assert all(in_french(refusal.reason) for refusal in known)
    (line,) = [one for one in said if one.startswith("Rows of the test that the model to start from")]
    assert f": {len(known)} of {len(known) + len(test)}. They are left out" in line
    assert in_french(line)
    report = tuned.read_json("report.json")
    assert bool(test) == any(pair["kind"] == "tuning" for pair in report["pairs"])
    assert line in [note["text"] for note in report["ledger"]["notes"]]


def test_a_model_that_knows_all_of_the_test_leaves_none(run, place):
    shutil.copytree(place / "numbers", place / "again")
    for row in manifest_of(run).rows:
        if row.split == "test":
            (place / "again" / row.id).unlink()
    settings = {"loop.steps": "2", "data.seed": "5"}
    tuned = api.finetune(run.path, "again", task=toy_task.NAME, device="cpu", workers=1, settings=settings)
    assert not [row for row in manifest_of(tuned).rows if row.split == "test"]
    (note,) = [note for note in manifest_of(tuned).notes if note.code == "learned_before"]
    assert "So there is no test: add data that it does not know, or start from nothing." in note.text
    assert in_french(note.text)
    assert (tuned.path / "report.html").is_file()
    training = Training("again", toy_task.NAME, init_from=str(run.path), settings={"loop.steps": "2", "data.seed": "5"})
    plan = plan_refine(training, Workplace(device="cpu", workers=1))
    assert "learned_before" in [note.code for note in plan.manifest.notes]
    assert plan.base.data.manifest == plan.manifest.fingerprint == plan.tuned.data.manifest


def test_evaluate_on_the_data_of_the_training_sees_what_changed_there(run, place):
    before = api.evaluate(run.path, "numbers", device="cpu", workers=1)
    held_out = len(before.ids)
    assert before.left_out == {"another split": 120 - held_out}
    moved, gone = (place / "numbers" / name for name in (before.ids[0], before.ids[-1]))
    mended = place / "numbers" / ("wide" if moved.parent.name != "wide" else "small") / "mended.txt"
    moved.rename(mended)
    gone.unlink()
    (place / "numbers" / "small" / "added.txt").write_text("0.5 0.25 0.125")
    found = api.evaluate(run.path, "numbers", device="cpu", workers=1)
    assert len(found.ids) == held_out - 1
    target = found.judgement.answers.targets[found.ids.index(f"{mended.parent.name}/mended.txt")]
    assert api.load(run.path, device="cpu").labels[target] == mended.parent.name
    assert found.left_out == {"another split": 120 - held_out, "added since training": 1, "gone since training": 1}
    everything = api.evaluate(run.path, "numbers", split="all", device="cpu", workers=1)
    assert len(everything.ids) == held_out
    assert "small/added.txt" in everything.ids


def test_files_added_to_the_test_folder_are_judged(place):
    for split in ("train", "test"):
        toy_task.write_data(place / "split" / split, 10, seed=len(split))
    run = api.train("split", task=toy_task.NAME, device="cpu", workers=1, settings={"loop.steps": "1"})
    for split in ("train", "test"):
        (place / "split" / split / "small" / "added.txt").write_text(f"0.5 0.25 0.12{len(split)}")
    found = api.evaluate(run.path, "split", device="cpu", workers=1)
    assert (len(found.ids), found.left_out) == (31, {"another split": 30, "added since training": 1})


def test_a_recipe_of_a_run_may_be_given_another_length(run):
    recipe = run.recipe()
    assert recipe.loop.steps == 120
    assert recipe.loop.evaluate_every
    assert recipe.loop.save_every

    def planned(**how):
        at = Workplace(run.path.parent, "cpu", 1)
        return plan_training(Training("numbers", toy_task.NAME, recipe=recipe, **how), at)[0].loop

    assert planned().steps == 120
    for how, minutes, epochs in (({"minutes": 3.0}, 3, 20), ({"settings": {"loop.epochs": "7"}}, None, 7)):
        loop = planned(**how)
        assert (loop.minutes, loop.epochs) == (minutes, epochs)
        assert (loop.steps, loop.evaluate_every, loop.save_every) == (None, None, None)
    loop = planned(settings={"loop.save_every": 5, "loop.steps": 9})
    assert (loop.steps, loop.save_every) == (9, 5)
    for how in ({"settings": {"loop.epochs": 7, "loop.steps": 9}}, {"minutes": 1.0, "settings": {"loop.steps": "9"}}):
        with pytest.raises(RecipeError, match="each say how long to train"):
            planned(**how)


def test_a_plan_and_its_training_fit_the_processor_once(run, place, monkeypatch):
    monkeypatch.setattr(workflow, "_fitted", {})
    fitted = []
    real = toy_task.Numbers.fit_processor
    monkeypatch.setattr(
        toy_task.Numbers, "fit_processor", lambda *given, **more: (fitted.append(1), real(*given, **more))[1]
    )
    for known in (None, run.recipe()):
        recipe, manifest = plan_training(
            Training("numbers", toy_task.NAME, recipe=known), Workplace(run.path.parent, "cpu", 1)
        )
        workflow.fit_processor(find_task(toy_task.NAME), manifest, recipe)
    assert len(fitted) == 1  # both plans are for the same data and model
    workflow.fit_processor(find_task(toy_task.NAME), manifest, recipe.replace("model", preset="tiny"))
    assert len(fitted) == 2


def test_the_task_says_which_rows_can_be_judged(run, place, monkeypatch):
    """A task without labels, such as a language model, is judged on every row that it did not learn from."""
    toy_task.write_data(place / "more", 4, seed=1)
    (place / "more" / "small").rename(place / "more" / "tiny")
    known = api.evaluate(run.path, "more", device="cpu", workers=1)
    assert (len(known.ids), known.left_out) == (8, {"unknown label": 4})
    monkeypatch.setattr(toy_task.Numbers, "unjudged", lambda self, row, processor: "odd" if "/000" in row.id else None)
    monkeypatch.setattr(toy_task.Numbers, "targets", lambda self, rows, processor: {})
    monkeypatch.setattr(toy_task.Numbers, "metrics_for", lambda self, processor: ())
    everything = api.evaluate(run.path, "more", device="cpu", workers=1)
    assert (len(everything.ids), everything.left_out) == (9, {"odd": 3})


@pytest.mark.parametrize("name", ["network", "draw"])
def test_a_task_of_another_version_is_refused_before_anything_is_trained(place, monkeypatch, name):
    for one in toy_task.Numbers.__mro__:
        if name in vars(one):
            monkeypatch.delattr(one, name)
    with pytest.raises(UsageError, match=f"lacks {name}, which"):
        api.train("numbers", task=toy_task.NAME, device="cpu", workers=1, settings={"loop.steps": "2"})
    assert not (place / "runs").exists()


def test_models_of_other_seeds_are_compared_with_the_same_draws(run, place, monkeypatch):
    """Judging may draw, as the noise that a generator is to take away: equal weights then differ by nothing."""
    step = toy_task.Numbers.step

    def noisy(self, model, batch, recipe, *, rng, training):
        if not training and "facts" in batch:
            batch = {**batch, "facts": batch["facts"] + 3 * rng.normal("noise", (4,))}
        return step(self, model, batch, recipe, rng=rng, training=training)

    monkeypatch.setattr(toy_task.Numbers, "step", noisy)
    other = place / "other"
    shutil.copytree(run.path, other)
    shutil.rmtree(other / "final_model")
    checkpoint = Run(other).checkpoint("best")
    recipe = run.recipe().replace("loop", seed=7)
    write_text(checkpoint / "recipe.json", recipe.to_json())
    write_json(checkpoint / "hashes.json", hash_files(checkpoint))
    Run(other).write_recipe(recipe)
    toy_task.write_data(place / "more", 20, seed=1)
    alone = [api.evaluate(one, "more", device="cpu", workers=1).judgement for one in (run.path, other)]
    assert (alone[0].answers.loss != alone[1].answers.loss).any()
    for pair in ((run.path, other), (other, run.path)):
        found = api.compare(*pair, "more", device="cpu", workers=1)
        assert found.kinship == "A and B are the same model: their weights are the same."
        assert (found.a.answers.loss == found.b.answers.loss).all()
        assert found.comparison.difference.value == 0


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), OuvroirError("The start is damaged.")])
def test_a_comparison_that_fails_costs_neither_the_model_nor_the_report(run, place, monkeypatch, error):
    said = []
    told = SimpleNamespace(say=said.append, bar=QUIET.bar)
    judge, n_judged = judging.judge, []

    def judge_once(*given, **named):
        if any("that this one started from on the same test" in one for one in said):
            raise error
        n_judged.append(1)
        return judge(*given, **named)

    monkeypatch.setattr(judging, "judge", judge_once)
    tuned = api.finetune(
        run.path, "numbers", task=toy_task.NAME, device="cpu", workers=1, settings={"loop.steps": "2"}, progress=told
    )
    assert n_judged
    assert tuned.status()["state"] == "finished"
    assert (tuned.path / "report.html").is_file()
    assert (tuned.bundle / "model.safetensors").is_file()
    assert any(str(error) in one for one in said)
    (note,) = [
        one for one in json.loads((tuned.path / "report.json").read_text())["notes"] if str(error) in one["text"]
    ]
    assert note["fr"].startswith("Le modèle de départ n’a pas été évalué sur le même test")
    assert str(error) in note["fr"]
