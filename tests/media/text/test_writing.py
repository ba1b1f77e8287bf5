"""The habits of a model that writes are those of texts as long as the real ones that stand beside them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ouvroir.media.text import baselines, writing
from ouvroir.media.text.corpus import CorpusProcessor
from ouvroir.media.text.tokens import BEGIN, END, Tokenizer
from ouvroir.sampling import Sampling

PROCESSOR = CorpusProcessor(tokenizer=Tokenizer("bytes"), context=16, longest=16)


class Pieces:
    """As much of a table as habits ask for; `read` counts the rows that were read."""

    def __init__(self, rows, read=None):
        self.all, self.read = rows, [] if read is None else read

    def __len__(self):
        return len(self.all)

    def lengths(self, name):
        return torch.tensor([len(row) for row in self.all])

    def subset(self, places):
        return Pieces([self.all[place] for place in places.tolist()], self.read)

    def slice(self, places):
        rows = [self.all[place] for place in places.tolist()]
        self.read += rows
        offsets = torch.tensor([0, *np.cumsum([len(row) for row in rows])])
        return SimpleNamespace(
            fields={"pieces": SimpleNamespace(values=torch.tensor(np.concatenate(rows)), offsets=offsets)}
        )


class Writes:
    """A network that holds every piece for equally likely, and the end for far more so."""

    n_classes = 0
    first = SimpleNamespace(num_embeddings=PROCESSOR.tokenizer.n)

    def after(self, given, labels, memory):
        logits = torch.zeros(len(given), PROCESSOR.tokenizer.n)
        logits[:, END] = 9.0
        return logits, None


def rows(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    return Pieces([np.array([BEGIN, *rng.integers(100, 200, n), END]) for n in lengths])


def habits(train, test):
    return writing.habits(Writes(), PROCESSOR, Sampling(), {"train": train, "test": test}, seed=0, device="cpu")


def test_texts_are_as_long_as_the_real_ones_beside_them(monkeypatch):
    made = []
    monkeypatch.setattr(writing, "_repeated", lambda text: made.append(len(text)) or 0.0)
    found = habits(rows(900, 900), rows(30, 500, 40))
    assert made == [30, 400, 40] * 2
    assert (found["texts"], found["texts_real"], found["pieces"], found["pieces_real"]) == (3, 3, 470 / 3, 470 / 3)


def test_stretches_of_few_long_rows_are_as_many_and_spread():
    read = writing._stretches(table := rows(4000, 2000, 5))
    assert [len(one) for one in read] == [400] * 8
    assert np.array_equal(read[0], table.all[0][1:401])
    assert np.array_equal(read[-1], table.all[1][1601:2001])


def test_a_text_may_end_where_rows_do():
    short = habits(rows(20, 30, 25), rows(30, 30))
    assert short["pieces"] == writing.REPEATED
    assert short["pieces_real"] == 30


def test_passages_are_looked_for_in_rows_from_beginning_to_end(monkeypatch):
    monkeypatch.setattr(writing, "_MOST_KNOWN", 2100)
    train = rows(*[100] * 99, 1000)
    copy = Pieces([train.all[-1]])
    found = habits(train, copy)
    assert 0.09 < found["searched"] < 0.13
    assert found["copied_real"] == len(PROCESSOR.tokenizer.decode(copy.all[0][1:401])), "the last row is among them"
    assert sum(map(len, train.read)) <= 2100, "and no more is read"
    monkeypatch.setattr(writing, "_MOST_KNOWN", 4_000_000)
    assert habits(train, copy)["searched"] == 1


@pytest.mark.parametrize("most", [1, 50, 449, 450, 10**6])
def test_rows_are_spread_within_a_bound(most):
    lengths = np.array([10] * 20 + [200] + [10] * 5)
    places = baselines.spread(lengths, most)
    assert lengths[places].sum() <= most or len(places) == 1
    assert (len(places) == len(lengths)) == (most >= 450)


def test_only_the_rows_that_are_asked_for_are_read():
    table = rows(*[8] * 3000)
    next(baselines.pieces_of(table))
    assert len(table.read) == baselines.ROWS_AT_ONCE
