"""From a folder of texts to answers, samples and an exported file, through the public API and the command line."""

import hashlib
import json
import os
import sys

import pytest
from typer.testing import CliRunner

import ouvroir
from ouvroir.cli import app
from ouvroir.media.text.samples import write_reviews

QUICK = {
    "loop.precision": "fp32",
    "loop.layout": "contiguous",
    "loop.threads": 1,
    "loop.micro_batch": 16,
    "loop.batch_size": 16,
}


def hashes(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        write_reviews(place / "reviews", n_texts=300)
        before = hashes(place / "reviews")
        yield place
        assert hashes(place / "reviews") == before


@pytest.fixture(scope="module")
def run(place):
    return ouvroir.train(place / "reviews", preset="tiny", settings={**QUICK, "loop.steps": 80}, runs=place / "runs")


@pytest.fixture(scope="module")
def generator(place):
    return ouvroir.train(
        place / "reviews",
        task="text-generation",
        preset="tiny",
        settings={**QUICK, "loop.steps": 60},
        runs=place / "runs",
    )


def test_notes_are_told_from_reviews(run, place):
    assert run.recipe().task == "text-classification"
    found = ouvroir.predict(
        run.path,
        [
            "The library on Mill Street stays closed until Monday for repairs.",
            "Le conseil municipal se réunit lundi à 18 h 30 pour voter la nouvelle ligne de tramway.",
            next((place / "reviews" / "note").iterdir()),
        ],
    )
    assert [one.label for one in found] == ["note"] * 3
    report = (run.path / "report.html").read_text(encoding="utf-8")
    assert "logistic regression on n-grams" in report
    assert "<script src" not in report


def test_texts_of_every_kind_are_answered_for(run, place, monkeypatch):
    table = place / "more.csv"
    table.write_text("id,text\n1,The match between the harbour and the old town ended 3 to 1.\n2,\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", None)
    result = CliRunner().invoke(
        app,
        ["predict", str(run.path), "It broke after two days // and smells", str(table), "gone.txt", "--json"],
        catch_exceptions=False,
    )
    told = json.loads(result.stdout)["predictions"]
    assert [one["input"] for one in told] == [
        "It broke after two days // and smells",
        f"{table}#2",
        f"{table}#3",
        "gone.txt",
    ]
    assert told[1]["label"] == "note"
    assert "no text" in told[2]["error"]
    assert "not there" in told[3]["error"]
    assert result.exit_code == 1


def test_lines_of_standard_input_are_texts(run):
    given = "The bakery on Elm Street won the prize for the best loaf again.\n\nÇa a cassé au bout de deux jours\n"
    result = CliRunner().invoke(app, ["predict", str(run.path), "-", "--format", "jsonl"], input=given)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["input"] for one in told] == given.splitlines()  # an empty one has its place too
    assert told[0]["label"] == "note"
    assert told[1]["error"] == "The text is empty."


def test_a_table_without_texts_is_refused(run, place):
    (place / "numbers.csv").write_text("a,b\n1,2\n3,4\n")
    result = CliRunner().invoke(app, ["predict", str(run.path), str(place / "numbers.csv")])
    assert result.exit_code == 2
    assert "holds texts" in result.stderr


@pytest.mark.parametrize("network", ["blocks", "ngrams"])
def test_the_exported_file_answers_as_the_model(run, place, network):
    pytest.importorskip("onnxruntime")
    if network == "ngrams":
        run = ouvroir.train(
            place / "reviews",
            preset="tiny",
            settings={**QUICK, "loop.steps": 20, "options.network": "ngrams"},
            runs=place / "runs",
        )
    result = ouvroir.export(run.path, "onnx")
    assert result.n_items >= 30


@pytest.mark.slow
def test_the_same_training_ends_with_the_same_weights(place):
    settings = {**QUICK, "loop.steps": 12}
    runs = [
        ouvroir.train(place / "reviews", preset="tiny", settings=settings, runs=place / f"runs{n}") for n in range(2)
    ]
    weights = [(run.path / "final_model" / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]


def test_only_the_head_learns_from_cached_features(run, place):
    tuned = ouvroir.finetune(
        run.path, place / "reviews", scope="head", settings={**QUICK, "loop.steps": 10}, runs=place / "runs"
    )
    assert tuned.state == "finished"


def test_samples_are_files_that_say_what_they_are(generator):
    found = ouvroir.generate(generator.path, count=3, seed=1)
    assert [sample.label for sample in found.samples] == [label for label in ("bad", "good", "note") for _ in range(3)]
    contents = [path.read_text(encoding="utf-8") for path in found.files]
    assert all(content.startswith("---\nsynthetic: true\n") for content in contents)
    assert [
        path.read_text(encoding="utf-8") for path in ouvroir.generate(generator.path, count=3, seed=1).files
    ] == contents


def test_texts_without_classes_teach_a_generator_of_none(place):
    folder = place / "plain"
    folder.mkdir()
    for number, path in enumerate(sorted((place / "reviews" / "note").iterdir())[:60]):
        (folder / f"{number}.txt").write_bytes(path.read_bytes())
    run = ouvroir.train(
        folder, task="text-generation", preset="tiny", settings={**QUICK, "loop.steps": 5}, runs=place / "runs"
    )
    (sample,) = ouvroir.generate(run.path, count=1).samples
    assert sample.label is None


def test_a_class_of_one_text_and_labels_that_differ_by_a_blank(place):
    rows = [f'"Something number {number} is written here",{label}' for number in range(30) for label in ("a", "b")]
    rows += ['"A text that is alone in its class",lonely', '"Another text with a blank in its label"," a"']
    (place / "odd.csv").write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    manifest = ouvroir.check(place / "odd.csv")
    assert manifest.found == 62
    assert len(manifest.rows) + len(manifest.refused) == 62
    assert any("lonely" in note.text for note in manifest.notes)


def test_real_topics_stay_together_by_article():
    data = os.environ.get("OUVROIR_TEST_DATA")
    if not data:
        pytest.skip("OUVROIR_TEST_DATA does not name the shared data sets")
    manifest = ouvroir.check(f"{data}/piaf_topics_fr", settings={"data.group_column": "article"})
    assert manifest.task == "text-classification"
    assert len(manifest.rows) + len(manifest.refused) == manifest.found >= 803
    splits = ("train", "validation", "test")
    groups = {split: {row.group for row in manifest.rows if row.split == split} for split in splits}
    assert all(groups.values())
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
