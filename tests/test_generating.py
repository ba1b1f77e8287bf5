"""generate: files, what is written of them, and what is said when they are not what they were."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import ouvroir
import pictures
from ouvroir import generating, workflow
from ouvroir.cli import app
from ouvroir.errors import DataError, TrainingError, Untried, UsageError
from ouvroir.evaluation.report_input import Synthesis
from ouvroir.evaluation.samples import Shelf
from ouvroir.evaluation.synthesis_report import synthesis_values
from ouvroir.media import find_task
from ouvroir.options import Workplace, answers, does, is_judged, makes
from ouvroir.run import GENERATOR
from ouvroir.synthesis.samples import Sample, Samples

QUICK = {
    "loop.steps": 3,
    "loop.precision": "fp32",
    "loop.layout": "contiguous",
    "loop.threads": 1,
    "loop.micro_batch": 16,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("generator")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        folder = pictures.write_digits(place / "digits", per_class=8, classes="012")
        return ouvroir.train(
            folder,
            task="image-generation",
            preset="tiny",
            settings={**QUICK, "loop.batch_size": 16},
            runs=place / "runs",
        )


def test_samples_of_every_class_with_their_provenance(run):
    found = ouvroir.generate(run.path, count=4, seed=3)
    assert [sample.label for sample in found.samples] == [label for label in "012" for _ in range(4)]
    assert all(path.is_file() for path in found.files)
    assert found.folder == run.path / "synthetic"
    assert {sample.id for sample in Samples(found.folder).read()} >= {sample.id for sample in found.samples}
    contents = [path.read_bytes() for path in found.files]
    again = ouvroir.generate(run.path, count=4, seed=3)
    assert again.samples == found.samples
    assert [path.read_bytes() for path in again.files] == contents
    other = ouvroir.generate(run.path, "1", count=2, seed=4)
    assert {path.name for path in other.files} == {"4_00000.png", "4_00001.png"}


def test_the_command_line(run):
    result = CliRunner().invoke(
        app,
        ["generate", str(run.path), "--label", "2", "--count", "5", "--seed", "9", "--json"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["made"] == 5
    assert told["labels"] == {"2": 5}
    assert told["per_second"] > 0
    shown = CliRunner().invoke(app, ["generate", str(run.path), "--count", "2"], catch_exceptions=False)
    assert "6 samples made in" in shown.stdout
    wrong = CliRunner().invoke(app, ["generate", str(run.path), "--label", "rose"])
    assert wrong.exit_code == 2
    assert "knows no class `rose`" in wrong.stderr


def test_samples_that_are_what_was_learned_from_are_counted(run, monkeypatch, tmp_path):
    """A generator that writes train pictures again, every second time."""
    from ouvroir.media.image.generation import ImageGeneration

    monkeypatch.setenv("OUVROIR_HOME", str(run.path.parent.parent / "home"))
    fresh = ouvroir.generate(run.path, count=2, seed=11)
    assert fresh.copies == ()
    make = ImageGeneration.make

    def copying(self, *given, **others):
        for number, one in enumerate(make(self, *given, **others)):
            yield one if number % 2 else replace(one, content=known[number])

    manifest = workflow.manifest_of(run)
    known = [(Path(manifest.root) / row.locator).read_bytes() for row in manifest.rows if row.split == "train"]
    monkeypatch.setattr(ImageGeneration, "make", copying)
    found = ouvroir.generate(run.path, "1", count=4, seed=12)
    assert found.copies == (found.samples[0].id, found.samples[2].id)
    shown = CliRunner().invoke(app, ["generate", str(run.path), "--label", "1", "--count", "4", "--seed", "13"])
    assert "2 of them are copies of what the generator learned from, whole or mostly." in " ".join(shown.stdout.split())
    told = CliRunner().invoke(
        app, ["generate", str(run.path), "--label", "1", "--count", "1", "--seed", "13", "--json"]
    )
    assert json.loads(told.stdout)["copies"] == 1
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "elsewhere"))  # no packs here, and no data any more
    folder = Path(manifest.root)
    folder.rename(folder.with_name("gone"))
    try:
        assert ouvroir.generate(run.path, "1", count=2, seed=14).copies is None
        shown = CliRunner().invoke(app, ["generate", str(run.path), "--label", "1", "--count", "2", "--seed", "14"])
        assert "whether any of them is a copy is not known" in " ".join(shown.stdout.split())
    finally:
        folder.with_name("gone").rename(folder)


def test_a_generator_is_told_to_generate_and_not_to_answer(run):
    use = run.read_json("report.json")["use"]
    assert [key for key, _ in use["commands"]] == ["use_generate", "use_report"]
    assert "ouvroir.generate(" in use["python"]
    done = CliRunner().invoke(app, ["predict", str(run.path), "absent.png"])
    assert done.exit_code == 2
    assert "makes samples and answers nothing" in done.stderr


def test_the_report_of_a_generator_shows_samples_beside_their_nearest_real_ones(run):
    report = run.read_json("report.json")
    assert report["synthesis"]["verdict"] is None  # nothing was tried
    classes = report["synthesis"]["gallery"]["classes"]
    assert [one["label"] for one in classes] == ["0", "1", "2"]
    manifest = workflow.manifest_of(run)
    learned = {row.id for row in manifest.rows if row.split == "train"}
    for one in classes:
        pairs = [*one["kept"], *one["refused"]]
        assert len(pairs) == 4
        assert all(base64.b64decode(pair["made"]["data"])[:4] == b"\x89PNG" for pair in pairs)
        assert all(pair["made"]["name"].startswith(f"{one['label']}/0_000") for pair in pairs)
        assert {pair["real"]["name"] for pair in pairs} <= learned
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "Synthetic samples beside their nearest real ones" in page
    assert "What the synthetic samples are like" not in page


def test_classes_without_shown_samples_are_counted(run, monkeypatch):
    monkeypatch.setattr(generating, "MOST_CLASSES_SHOWN", 2)
    found = generating.some_to_show(run, Workplace(run.path.parent, "cpu"))
    assert {sample["label"] for sample in found["samples"]} == {"0", "1"}
    report = synthesis_values(Synthesis(assessment=found), Shelf(), {})
    assert report["gallery"]["n_more"] == 1


def test_a_generator_is_not_tried_itself(run):
    with pytest.raises(Untried, match="A model of image-generation makes samples"):
        ouvroir.prove(run.path)
    for asked in ({"constants": True}, {"settings": {"optim.lr": 0.1}}):
        with pytest.raises(UsageError, match="counts right and wrong answers"):
            ouvroir.prove(run.path, **asked)


def test_last_is_the_newest_run_that_can_do_what_is_asked(run, tmp_path):
    """Of a classifier, a generator that was trained after it, and a classifier that holds a generator of its own."""
    root, wanted = tmp_path / "runs", {}
    recipe = run.recipe()
    for number, (name, task) in enumerate([("mine", "image-classification"), ("maker", recipe.task)]):
        made = ouvroir.Run.create(
            replace(recipe, task=task, options=find_task(task).Options()), root, name=name, now=1e9 + number
        )
        made.set_status("finished", "Finished.")
        made.write_json("environment.json", {"created": 1e9 + number})
        wanted[name] = made.path
    at = Workplace(root)
    assert at.run_of("last").path == at.run_of("last", makes).path == wanted["maker"]
    assert at.run_of("last", answers).path == wanted["mine"]
    assert at.place_of("last/base", answers) == str(wanted["mine"] / "base")
    assert at.run_of("last", does(recipe.task)).path == wanted["maker"]
    assert at.run_of("last", does(None)).path == wanted["mine"]
    assert at.run_of("last", does("text-generation")).path == wanted["maker"]  # where there is none, the newest
    assert at.run_of("last", is_judged).path == wanted["mine"]
    ouvroir.Run(wanted["mine"]).write_json("refit.json", {"of": "another"})
    assert at.run_of("last", is_judged).path == wanted["maker"]  # which then says that it cannot
    assert at.run_of("last", answers).path == wanted["mine"]
    (wanted["mine"] / "refit.json").unlink()
    ouvroir.Run(wanted["mine"]).child(GENERATOR, recipe)
    (wanted["maker"] / "recipe.json").unlink()
    assert at.run_of("last", makes).path == wanted["mine"]


def test_a_run_without_a_generator_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    folder = pictures.write_digits(tmp_path / "digits")
    classifier = ouvroir.train(folder, preset="tiny", settings={**QUICK, "loop.batch_size": 16}, runs=tmp_path / "runs")
    with pytest.raises(UsageError, match=r"has no generator.*--task image-generation"):
        ouvroir.generate(classifier.path)


def test_a_generator_that_has_collapsed_is_said_to_have(run, tmp_path):
    import shutil

    place = tmp_path / "collapsed"
    shutil.copytree(run.path, place)
    file = ouvroir.Run(place).checkpoint("best") / "model.safetensors"
    weights = load_file(file)
    weights["out.bias"] = torch.full_like(weights["out.bias"], 1000.0)
    save_file(weights, file)
    with pytest.raises(TrainingError, match=r"All 9 samples of `0` are the same.*has collapsed"):
        ouvroir.generate(place, "0", count=9, seed=50)
    assert not list(place.glob("synthetic/0/50_*"))


def test_samples_that_were_changed_deleted_or_added_are_named(tmp_path):
    samples = Samples(tmp_path / "synthetic")
    made = []
    for number in range(3):
        place = samples.place("a/b", ["a/b"], 1, number, ".png")
        made.append(Sample(place, "a/b", 1, number, samples.write(place, b"%d" % number), "0" * 64))
    samples.note(made)
    assert samples.read() == made
    (samples.folder / made[0].id).write_bytes(b"other")
    (samples.folder / made[1].id).unlink()
    (samples.folder / "a_b.0" / "mine.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no longer there.*changed since.*not made by the generator") as error:
        samples.read()
    for name in (made[0].id, made[1].id, "a_b.0/mine.png"):
        assert name in str(error.value)


def test_samples_of_no_class_that_lie_where_they_did_before_are_read(tmp_path):
    samples = Samples(tmp_path)
    name = "of_no_class/0_00000.png"
    samples.note([Sample(name, None, 0, 0, samples.write(name, b"x"), "0" * 64)])
    assert [sample.id for sample in samples.read()] == [name]
    assert samples.place(None, (), 0, 0, ".png") == "samples/0_00000.png"


def test_names_of_classes_never_leave_the_folder(tmp_path):
    samples = Samples(tmp_path)
    labels = ["../up", "/etc", "..", "samples", "plain name", "plain_name", "a\0b", ""]
    places = [samples.place(label, labels, 0, 0, ".png") for label in labels]
    assert len(set(places)) == len(labels)
    for place in places:
        assert (tmp_path / place).resolve().is_relative_to(tmp_path.resolve())
        assert (tmp_path / place).resolve().parent.parent == tmp_path.resolve()
    assert samples.place(None, labels, 0, 0, ".png") not in places
