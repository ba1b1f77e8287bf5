"""Short texts that stand in others word for word: the same ones as a search for each of them finds."""

import random
import re
import time

import pytest

from ouvroir.data import quotes as quotes_module
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

    expected = [n for n, text in enumerate(asked) if sum(map(str.isalnum, text)) >= SHORTEST and stands(text)]
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
        ("-" * 80, "-" * 80, False),
        ("- " * 80, "- " * 80, False),
        ("— Non ! — Si ! — … — Oui !", "— Non ! — Si ! — … — Oui !", False),
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


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_texts_that_begin_alike_for_long_are_told_apart(monkeypatch, piece):
    monkeypatch.setattr(quotes_module, "_PIECE", piece)
    some = random.Random(1)
    begin = "<|im_start|>user " + "a quiet sea and " * 40
    asked = [begin[: some.randint(30, len(begin))] + "ab" * some.randint(0, 400) for _ in range(300)]
    asked += [begin + "ab" * 200 + str(number) for number in range(20)]
    held_out = " | ".join([*some.sample(asked, 20), begin + "ab" * 390, "ab" * 9, asked[-1]])
    quotes = Quotes(enumerate(asked))
    expected = [
        n for n, text in enumerate(asked) if re.search(f"{re.escape(' '.join(text.split()))}(?![^\\W_])", held_out)
    ]
    assert 20 < len(expected) < 300
    assert sorted(quotes.found_in(held_out)) == expected
    assert quotes.found_in(held_out) == []


@pytest.mark.parametrize(
    ("asked", "held_out"),
    [
        ([f"<|im_start|>user {'a ' * (n % 3000)}{n}" for n in range(10_000)], "<|im_start|>user a b " * 20_000),
        (["0" * n for n in range(24, 3024)], "0" * 20_000),
        (["0" * n + "z" for n in range(24, 3024)], "0" * 20_000),
        (["0" * n for n in range(24, 3024)], ("0" * 30 + "|") * 1000),
    ],
)
def test_many_texts_that_begin_alike_are_looked_for_at_once(asked, held_out):
    quotes = Quotes(enumerate(asked))
    begin = time.process_time()
    quotes.found_in(held_out)
    assert time.process_time() - begin < 4, "a search for each length takes from ten seconds to minutes"
