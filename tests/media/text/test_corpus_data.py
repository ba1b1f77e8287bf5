"""How a corpus is read: what is held out, files that are cut into blocks, in any encoding, and what is told of them."""

import random

import pytest

import ouvroir
from ouvroir.data.findings import given_settings
from ouvroir.errors import RecipeError

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
