"""A model that was fine-tuned beside the one that it started from: compared, or said why not and what can be done."""

import json
import random
import re
import shlex

import pytest
from typer.testing import CliRunner

import ouvroir
from ouvroir.bundle import load_bundle
from ouvroir.cli import app
from ouvroir.errors import DataError, UsageError
from ouvroir.progress import QUIET

QUICK = {"loop.steps": 2, "loop.threads": 1, "options.network": "ngrams"}
WORDS = {"rain": "wet cloud storm drizzle", "sun": "bright warm clear gold", "wind": "gust breeze howl sail"}


def table(path, labels, *, seed, n=60):
    """A table of texts, each with the words of its labels."""
    draw = random.Random(seed)
    lines = ["text,label"]
    for number in range(n):
        chosen = labels[number % len(labels)]
        words = " ".join(WORDS[one] for one in chosen.split(";")).split()
        lines.append(f"{' '.join(draw.choices(words, k=8))} {seed} {number},{chosen}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs on rows with one label and with several."""
    place = tmp_path_factory.mktemp("labels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        patch.chdir(place)
        one = table(place / "one.csv", ["rain", "sun", "wind"], seed=0)
        several = table(place / "several.csv", ["rain", "sun;wind", "rain;wind"], seed=1)
        yield {
            "single": train(one),
            "multi": train(several, **{"data.label_separator": ";"}),
        }


def train(data, **settings):
    return ouvroir.train(data, task="text-classification", preset="tiny", settings={**QUICK, **settings})


def tune(run, data, **settings):
    said = []
    told = type("Told", (), {"say": staticmethod(said.append), "bar": staticmethod(QUIET.bar)})()
    tuned = ouvroir.finetune(run.path, data, settings={**QUICK, **settings}, progress=told)
    assert tuned.state == "finished"
    return tuned, said


def not_compared(run):
    """The note in the report on why the start is not compared."""
    report = json.loads((run.path / "report.json").read_text(encoding="utf-8"))
    assert not [one for one in report["systems"] if one["is_start"]]
    (note,) = [one for one in report["notes"] if "compared" in one["text"]]
    assert note["text"].split(":")[0] in (run.path / "report.html").read_text(encoding="utf-8")
    return note


@pytest.mark.parametrize(("start", "labels"), [("single", ["rain;sun", "wind"]), ("multi", ["rain", "sun", "wind"])])
def test_one_label_and_several_are_not_compared(runs, tmp_path, start, labels):
    data = table(tmp_path / "other.csv", labels, seed=2)
    settings = {"data.label_separator": ";"} if start == "single" else {}
    tuned, said = tune(runs[start], data, **settings)
    note = not_compared(tuned)
    assert "one of them gives a label for each row, and the other several." in note["text"]
    assert "ouvroir compare" not in note["text"], "which would only fail"
    assert "l’un donne une étiquette par élément, l’autre plusieurs." in note["fr"]
    assert note["text"] in said


def test_models_of_one_label_and_of_several_are_told_apart_before_they_are_judged(runs, tmp_path):
    data = table(tmp_path / "more.csv", ["rain", "sun"], seed=5)
    for pair, said in (
        (("single", "multi"), "A gives a label for each item and B several"),
        (("multi", "single"), "B gives"),
    ):
        with pytest.raises(UsageError, match=said):
            ouvroir.compare(*(runs[name].path for name in pair), data)


def test_models_that_read_other_columns_are_not_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    lines = (tmp_path / "x").with_suffix(".csv")
    table(lines, ["rain", "sun"], seed=6)
    header, *rows = lines.read_text(encoding="utf-8").splitlines()
    both = [f"{row.rsplit(',', 1)[0]},{number} {row}" for number, row in enumerate(rows)]
    lines.write_text("\n".join(["title,body,label", *both]) + "\n", encoding="utf-8")
    assert header == "text,label"
    a, b = (train(lines, **{"data.text_column": name}) for name in ("title", "body"))
    with pytest.raises(DataError, match="Each model reads its own column"):
        ouvroir.compare(a.path, b.path, lines)
    assert ouvroir.compare(a.path, b.path, lines, split="all", settings={"data.text_column": "body"}).comparison.n > 0


def test_what_to_type_where_the_start_does_not_know_all_labels_does_compare(runs, tmp_path):
    data = table(tmp_path / "other.csv", ["rain", "sun"], seed=3)
    start = ouvroir.train(data, task="text-classification", preset="tiny", settings=QUICK)
    more = table(tmp_path / "more.csv", ["rain", "sun", "wind"], seed=4)
    tuned, _ = tune(start, more)
    note = not_compared(tuned)
    assert "that one does not know all labels of the test. On what neither learned from" in note["text"]
    call = re.search(r"`ouvroir (compare .+?)`", note["text"])[1]
    assert call in note["fr"]
    shown = CliRunner().invoke(app, [*shlex.split(call), "--quiet"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "B was started from A" in shown.stdout


def test_the_card_says_whether_answers_are_one_label_or_several(runs):
    single, multi = ((runs[name].bundle / "README.md").read_text(encoding="utf-8") for name in ("single", "multi"))
    assert "It answers with one of 3 labels" in single
    assert "still picks one" in single
    assert "print(prediction.label, prediction.scores)" in single
    assert "It answers with any number of 3 labels" in multi
    assert "still picks one" not in multi
    assert "print(prediction.labels, prediction.scores)" in multi
    load_bundle(runs["multi"].bundle)
