"""Short texts that stand in others word for word: the same ones as a search for each of them finds."""

import random
import re

import pytest

from ouvroir.data.quotes import SHORTEST, Quotes


def test_all_are_found_that_a_search_for_each_finds():
    some = random.Random(0)
    words = ["a", "été", "sea", "quiet", "12", "harbour,", "“boat”", "no.", "長い", "x" * 40]
    held_out = [" ".join(some.choices(words, k=some.randint(3, 60))) for _ in range(300)]
    asked = [" ".join(some.choices(words, k=some.randint(3, 9))) for _ in range(2000)]
    asked += [one[: some.randint(20, 60)] for one in held_out[:100]] + [one[-50:] for one in held_out[100:200]]
    asked += held_out[200:220] + asked[:50]
    quotes = Quotes(enumerate(asked))
    found = [place for text in held_out for place in quotes.found_in(text.replace(" ", "\n \t", 2))]

    def stands(text):
        whole = re.escape(" ".join(text.split()))
        before, after = ("(?<![^\\W_])" * text.lstrip()[:1].isalnum(), "(?![^\\W_])" * text.rstrip()[-1:].isalnum())
        pattern = re.compile(f"{before}{whole}{after}" if " " in text.strip() else whole)
        return any(map(pattern.search, held_out))

    expected = [n for n, text in enumerate(asked) if len("".join(text.split())) >= SHORTEST and stands(text)]
    assert len(expected) > 200
    assert sorted(found) == expected, "each once"


@pytest.mark.parametrize(
    ("text", "other", "is_there"),
    [
        ("I should like to know more of it.", "ann: I should like\n   to know more of it. bob: Yes.", True),
        ("the boat of the harbour, number 1", "the boat of the harbour, number 12", False),
        ("he boat of the harbour, number 1", "the boat of the harbour, number 1", False),
        ("the boat of the harbour, number 1", "the boat of the harbour, number 1", True),
        (
            "静かな海のほとりに小さな家があり、そこに老人が住んでいた",
            "昔、静かな海のほとりに小さな家があり、そこに老人が住んでいたという",
            True,
        ),
        ("Yes, of course I do.", "ann: Yes, of course I do.", False),
        ("I should like to know more of it.", "I should like", False),
        ("I should like to know more of it.", "", False),
    ],
)
def test_what_stands_word_for_word(text, other, is_there):
    assert Quotes([(7, text)]).found_in(other) == [7] * is_there


def test_what_was_found_is_not_looked_for_again_and_nothing_is_found_in_nothing():
    quotes = Quotes([(1, "a quiet sea and a little red boat"), (5, "a quiet sea  and a little red boat")])
    assert quotes
    assert sorted(quotes.found_in("There was a quiet sea and a little red boat.")) == [1, 5]
    assert not quotes
    assert quotes.found_in("There was a quiet sea and a little red boat.") == []
    assert not Quotes([(1, "short")])
