"""Rewritten texts: words of the same place, and nothing but words changed."""

import re
from itertools import pairwise

import numpy as np

from ouvroir.media.text.rewriting import blend, rewrite, words_alike

COLOURS = "red blue green white black".split()
THINGS = "lamp chair table cup hat".split()
TEXTS = [f"I bought the {colour} {thing} for my aunt" for colour in COLOURS for thing in THINGS] * 2


def test_words_that_stand_in_the_same_places_are_alike():
    alike = words_alike(TEXTS)
    assert set(alike["red"]) <= set(COLOURS) - {"red"}
    assert set(alike["lamp"]) <= set(THINGS) - {"lamp"}
    assert words_alike(TEXTS) == alike
    assert words_alike([]) == {}
    assert words_alike(["once", "never again"]) == {}


def test_a_rewriting_changes_about_the_share_that_is_asked_for():
    alike = words_alike(TEXTS)
    text = " ".join(f"the {colour} {thing}" for colour in COLOURS for thing in THINGS) + "."
    words = text.split()
    kept = []
    for seed in range(20):
        found = rewrite(text, alike, 0.2, np.random.default_rng(seed))
        assert found != text
        kept.append(len(set(pairwise(words)) & set(pairwise(found.split()))))
    assert rewrite(text, alike, 0.2, np.random.default_rng(3)) == rewrite(text, alike, 0.2, np.random.default_rng(3))
    least = [len(set(rewrite(text, alike, 0.9, np.random.default_rng(seed)).split())) for seed in range(3)]
    assert np.mean(kept) > 20
    assert max(least) <= len(set(words))


def test_what_stands_between_words_stays():
    found = rewrite("One, two!\n\nThree: four?", {}, 0.25, np.random.default_rng(1))
    assert re.sub(r"\w+", "", found).replace(" ", "").count("\n\n") == 1
    assert rewrite("...", {}, 0.5, np.random.default_rng(0)) == "..."
    assert rewrite("word", {}, 0.5, np.random.default_rng(0)) == "word"


def test_capitals_are_kept():
    alike = {"red": ("blue",)}
    found = {rewrite("Red", alike, 1.0, np.random.default_rng(seed)) for seed in range(9)}
    assert "Blue" in found
    assert found <= {"Blue", "Red"}


def test_a_mixture_has_the_beginning_of_one_and_the_end_of_the_other():
    assert blend("a b c d", "e f g h", 0.5) == "a b g h"
    assert blend("a b c d", "e f g h", 1.0) == "a b c d"
    assert blend("a", "b", 0.5).startswith("a")
