"""What is kept of a text, and what comes back from a saved processor."""

from dataclasses import replace

import numpy as np
import pytest

from ouvroir.errors import RunError
from ouvroir.media.text import tokens
from ouvroir.media.text.processor import MOST_GRAMS, N_BUCKETS, TextProcessor, grams
from ouvroir.source import Source
from ouvroir.task import Limits

PIECES = tokens.learn("bpe", ["one two three four five six seven eight"] * 40, 2000, has_prefix=True)
PROCESSOR = TextProcessor(labels=("a", "b"), tokenizer=PIECES, max_pieces=20)
LONG = " ".join(f"{number}" for number in range(100))


def encoded(processor, text):
    return processor.encode(Source("", "", text=text), Limits())


def test_both_ends_of_a_long_text_are_kept():
    whole = PIECES.encode(LONG).tolist()
    found = encoded(PROCESSOR, LONG)["pieces"].tolist()
    assert found == whole[:15] + whole[-5:]


def test_n_grams_are_counted():
    found, counts = grams("the cat the Cat")
    assert len(np.unique(found)) == len(found)
    assert found.dtype == np.int32
    assert counts.dtype == np.uint8
    assert found.min() > 0
    assert found.max() < N_BUCKETS
    alone, _ = grams("cat")
    assert set(counts[np.isin(found, alone)].tolist()) == {2}


def test_a_very_long_text_keeps_its_most_frequent_n_grams():
    text = "again " * 500 + " ".join(f"word{number}x" for number in range(6000))
    found, counts = grams(text)
    assert len(found) == MOST_GRAMS
    assert counts.max() == 255
    assert set(grams("again")[0].tolist()) <= set(found.tolist())


def test_it_comes_back(tmp_path):
    processor = replace(PROCESSOR, is_multi_label=True)
    processor.save(tmp_path)
    assert TextProcessor.load(tmp_path) == processor


def test_what_is_stored_depends_on_pieces_and_length_only():
    same = replace(PROCESSOR, labels=("x",), is_multi_label=True)
    assert same.storage_fingerprint() == PROCESSOR.storage_fingerprint()
    others = [replace(PROCESSOR, max_pieces=30), replace(PROCESSOR, tokenizer=tokens.learn("bpe", ["a b c"] * 9, 99))]
    assert len({one.storage_fingerprint() for one in [PROCESSOR, *others]}) == 3


@pytest.mark.parametrize("content", ["", "[]", '{"encoding": 1}', "{"])
def test_a_damaged_one_is_said(tmp_path, content):
    PROCESSOR.save(tmp_path)
    (tmp_path / "text_processor.json").write_text(content)
    with pytest.raises(RunError, match="could not be read"):
        TextProcessor.load(tmp_path)


def test_one_of_another_version_is_refused(tmp_path):
    PROCESSOR.save(tmp_path)
    path = tmp_path / "text_processor.json"
    path.write_text(path.read_text().replace('"encoding": 2', '"encoding": 0'))
    with pytest.raises(RunError, match="another way"):
        TextProcessor.load(tmp_path)
