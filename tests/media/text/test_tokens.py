"""Pieces of words: any text comes back from them to the character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouvroir.errors import DataError
from ouvroir.media.text import tokens

TEXTS = [
    f"the {thing} of the {owner} costs {n} euros, and c’est déjà trop"
    for n, thing in enumerate("lamp hat cup".split())
    for owner in "aunt baker captain dentist".split()
] * 3
PIECES = tokens.learn(TEXTS, sum(map(len, TEXTS)))


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\ue000\0")))
def test_any_text_comes_back(text):
    assert tokens.decode(PIECES, tokens.encode(PIECES, text)) == text


@pytest.mark.parametrize("text", ["", "a  b", " a", "a ", "\n\n", "▁ and ▁▁", "🙂 👩‍👩‍👧", "e\u0301", "日本語", "\tx"])
def test_odd_texts_come_back(text):
    assert tokens.decode(PIECES, tokens.encode(PIECES, text)) == text


def test_learning_is_deterministic():
    assert tokens.learn(TEXTS, sum(map(len, TEXTS))) == PIECES


def test_common_words_are_single_pieces():
    assert len(tokens.encode(PIECES, "the")) == 1
    assert len(tokens.encode(PIECES, "zzz")) >= 3


def test_numbers_that_are_no_text_are_left_out():
    numbers = tokens.encode(PIECES, "the lamp")
    assert tokens.decode(PIECES, [tokens.BEGIN, *numbers, tokens.UNKNOWN, tokens.END, tokens.NOTHING]) == "the lamp"


def test_how_many_pieces_can_be_said():
    assert tokens.count(tokens.learn(TEXTS, 10_000, 300)) == 300


@pytest.mark.parametrize("texts", [[], ["", " \n "]])
def test_nothing_to_learn_from_is_said(texts):
    with pytest.raises(DataError, match="too short"):
        tokens.learn(texts, 0)
