"""How a corpus is read: what is held out, files that are cut into blocks, in any encoding, and what is told of them."""

import random

import pytest

import ouvroir
from ouvroir.data.findings import given_settings
from ouvroir.errors import DataError, RecipeError

WORDS = "sea road lamp bird rain bread stone river light window garden letter morning summer quiet narrow old".split()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))


def prose(seed, n, *, word="no"):
    """Lines of some words; none comes twice."""
    rng = random.Random(seed)
    return "".join(f"{' '.join(rng.choices(WORDS, k=12))}, {word} {seed} {number}.\n" for number in range(n))


# --- what is held out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "validation", "test"),
    [
        ({}, 0.1, 0.1),
        ({"data.test": 0.2}, 0.1, 0.2),
        ({"data.test": 0.3}, 0.1, 0.3),
        ({"data.validation": 0.15}, 0.15, 0.1),
        ({"data.validation": 0, "data.test": None}, 0, 0.1),
    ],
)
def test_each_share_of_a_corpus_is_what_was_asked_or_a_tenth(tmp_path, given, validation, test):
    (tmp_path / "one.txt").write_text(prose(0, 2000))
    manifest = ouvroir.check(tmp_path / "one.txt", settings=given)
    assert (manifest.data.validation, manifest.data.test) == (validation, test)
    assert abs(len(manifest.positions("test")) / len(manifest.rows) - test) < 0.05
    told = given_settings(manifest)
    assert {name: float(value) for name, value in told.items()} == {
        name: value for name, value in given.items() if value is not None
    }
    again = ouvroir.check(tmp_path / "one.txt", settings=told)
    assert again.fingerprint == manifest.fingerprint


def test_texts_with_classes_keep_the_usual_shares(tmp_path):
    for name in "ab":
        (tmp_path / "classes" / name).mkdir(parents=True)
        for number in range(30):
            (tmp_path / "classes" / name / f"{number}.txt").write_text(prose(f"{name}{number}", 3))
    manifest = ouvroir.check(tmp_path / "classes", task="text-generation", settings={"data.test": 0.1})
    assert (manifest.data.validation, manifest.data.test) == (0.15, 0.1)
    assert given_settings(manifest) == {"data.test": "0.1"}
    with pytest.raises(RecipeError, match="leave nothing to learn from"):
        ouvroir.check(tmp_path / "classes", settings={"data.test": 0.9})


# --- what was learned from, under other borders -----------------------------------------------------------------------

QUICK = {"loop.threads": 1, "loop.batch_size": 8, "loop.steps": 3, "loop.precision": "fp32", "options.context": 32}


@pytest.fixture
def trained(tmp_path):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one.txt").write_text(prose(0, 4000))
    run = ouvroir.train(tmp_path / "books", preset="tiny", settings=QUICK, runs=tmp_path / "runs")
    return run, tmp_path


@pytest.mark.parametrize("model", ["run", "final_model"])
def test_a_corpus_that_has_grown_is_not_judged_on_what_was_learned(trained, model):
    run, place = trained
    before = {row.id: row for row in ouvroir.check(place / "books").rows}
    n_test = sum(row.split == "test" for row in before.values())
    (place / "more").mkdir()
    (place / "more" / "one.txt").write_text("One line at the front.\n" + prose(0, 4000) + prose(1, 3000))
    asked = run.path if model == "run" else run.bundle
    found = ouvroir.evaluate(asked, place / "more")
    assert not found.learned
    n_learned, n_rows = found.left_out["learned from"], len(found.ids) + found.left_out["learned from"]
    assert abs(n_learned / n_rows - 0.9 * 4 / 7) < 0.06, "what is new and what was the test is judged"
    assert len(found.ids) > n_test / 2
    learned = ouvroir.evaluate(asked, place / "more", split="train")
    assert len(learned.learned) / n_rows > 0.45
    (place / "most").mkdir()
    (place / "most" / "b.txt").write_text("\n\n" + prose(0, 3000))
    both = ouvroir.compare(asked, asked, place / "most")
    assert not both.of[0].learned
    assert both.of[0].left_out["learned from"] > 0.7 * n_rows * 3 / 7


def test_rows_keep_their_split_where_the_same_file_has_grown(trained):
    run, place = trained
    exact = ouvroir.evaluate(run.path, place / "books")
    assert set(exact.left_out) == {"another split"}
    (place / "books" / "one.txt").write_text("A line.\n" + prose(0, 4000) + prose(2, 400))
    found = ouvroir.evaluate(run.path, place / "books")
    assert not found.learned
    assert "gone since training" not in found.left_out
    assert 0 < found.left_out["added since training"] < 0.15 * found.left_out["another split"]
    assert abs(len(found.ids) - len(exact.ids)) <= 2
    change = found.judgement.metrics["nats_per_character"].value / exact.judgement.metrics["nats_per_character"].value
    assert abs(change - 1) < 0.03
    (place / "books" / "one.txt").write_text(prose(3, 4000))
    with pytest.raises(DataError, match="added since training"):
        ouvroir.evaluate(run.path, place / "books")


def test_other_texts_with_the_same_words_are_not_known(trained):
    run, place = trained
    (place / "other.txt").write_text(prose(9, 2000))
    assert ouvroir.evaluate(run.path, place / "other.txt").left_out == {}
