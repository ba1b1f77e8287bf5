"""The longest passage that stands in another text, against a plain search."""

import numpy as np
import pytest

from ouvroir.media.text.passages import SHORTEST, longest_shared


def plain(one, known):
    """The longest run of `one` in one of `known`, by trying all."""
    for size in range(len(one), 0, -1):
        runs = {tuple(text[at : at + size]) for text in known for at in range(len(text) - size + 1)}
        if any(tuple(one[at : at + size]) in runs for at in range(len(one) - size + 1)):
            return size
    return 0


@pytest.mark.parametrize("seed", range(5))
def test_against_a_plain_search(seed):
    rng = np.random.default_rng(seed)
    known = [rng.integers(4, 12, rng.integers(3, 60)) for _ in range(12)]
    asked = [rng.integers(4, 12, rng.integers(1, 60)) for _ in range(12)]
    asked[0] = np.concatenate([asked[0], known[3], asked[1]])
    found = longest_shared(asked, known) * [len(one) for one in asked]
    want = np.array([plain(one.tolist(), [text.tolist() for text in known]) for one in asked])
    assert (found <= want + 1e-9).all()
    assert (found[want >= SHORTEST] > want[want >= SHORTEST] / 1.3 - 1).all()  # lengths grow by a quarter
    assert (found[want < SHORTEST] == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_each_is_looked_for_in_the_others(seed):
    rng = np.random.default_rng(seed)
    texts = [rng.integers(4, 500, 40) for _ in range(10)]
    texts[7] = texts[2].copy()
    texts[8] = np.concatenate([texts[1][:20], rng.integers(500, 900, 20)])
    found = longest_shared(texts, texts, is_itself=True)
    assert found[7] == found[2] > 0.8
    assert 0.35 < found[8] <= 0.5
    assert 0.35 < found[1] <= 0.5
    assert (found[[0, 3, 4, 5, 6, 9]] == 0).all()


def test_a_copy_is_nearly_all_of_itself_and_nothing_is_shared_with_nobody():
    rng = np.random.default_rng(0)
    text = rng.integers(4, 1000, 50)
    assert longest_shared([text], [text])[0] > 0.75
    assert longest_shared([text], []).tolist() == [0.0]
    assert longest_shared([], [text]).tolist() == []
