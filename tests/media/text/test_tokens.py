"""Pieces of words: any text comes back from them to the character."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouvroir.errors import DataError
from ouvroir.media.text import tokens
from ouvroir.media.text.tokens import Tokenizer

TEXTS = [
    f"the {thing} of the {owner} costs {n} euros, and c’est déjà trop"
    for n, thing in enumerate("lamp hat cup".split())
    for owner in "aunt baker captain dentist".split()
] * 3
PIECES = tokens.learn("bpe", TEXTS, sum(map(len, TEXTS)))
ALL = [
    PIECES,
    tokens.learn("bpe", TEXTS, sum(map(len, TEXTS)), has_prefix=True),
    tokens.learn("characters", TEXTS, 0),
    Tokenizer("bytes"),
]
NAMES = ["bpe", "bpe with prefix", "characters", "bytes"]


@pytest.mark.parametrize("tokenizer", ALL, ids=NAMES)
@given(text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
def test_any_text_comes_back(tokenizer, text):
    numbers = tokenizer.encode(text)
    assert tokenizer.decode(numbers) == text
    assert numbers.dtype == np.int32
    characters, n_bytes = tokenizer.sizes()[:, numbers].sum(axis=1)
    blank = tokenizer is ALL[1] and text[:1] not in ("", "▁")  # which stands for the prefix
    assert characters == len(text) + blank
    assert n_bytes == len(text.encode()) + blank


@pytest.mark.parametrize("tokenizer", ALL, ids=NAMES)
@pytest.mark.parametrize("text", ["", "a  b", " a", "a ", "\n\n", "▁ and ▁▁", "🙂 👩‍👩‍👧", "e\u0301", "日本語", "\tx"])
def test_odd_texts_come_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_learning_is_deterministic():
    assert tokens.learn("bpe", TEXTS, sum(map(len, TEXTS))) == PIECES


def test_common_words_are_single_pieces():
    assert len(PIECES.encode("the")) == 1
    assert len(PIECES.encode("zzz")) >= 3


def test_numbers_that_are_no_text_are_left_out():
    numbers = PIECES.encode("the lamp")
    assert PIECES.decode([tokens.BEGIN, *numbers, tokens.UNKNOWN, tokens.END, tokens.NOTHING]) == "the lamp"


def test_how_many_pieces_can_be_said():
    assert tokens.learn("bpe", TEXTS, 10_000, 300).n == 300


@pytest.mark.parametrize("texts", [[], ["", " \n "]])
def test_nothing_to_learn_from_is_said(texts):
    with pytest.raises(DataError, match="too short"):
        tokens.learn("bpe", texts, 0)


def test_a_letter_that_was_never_seen_is_spelled():
    tokenizer = tokens.learn("characters", ["abc"], 3)
    assert tokenizer.n == 4 + 256 + 3
    assert tokenizer.encode("aé").tolist() == [260, 4 + 0xC3, 4 + 0xA9]
    assert tokenizer.shown(4 + 0xC3) == "<C3>"
    assert tokenizer.shown(tokens.END) == "<end>"


def test_bytes_that_are_no_letter_are_said_so():
    assert Tokenizer("bytes").decode([4 + 0xC3, 4 + ord("a")]) == "\ufffda"


def test_no_characters_at_all_is_said():
    with pytest.raises(DataError, match="no characters"):
        tokens.learn("characters", [], 0)
