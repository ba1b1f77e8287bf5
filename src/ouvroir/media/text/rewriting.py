"""Rewriting a text so that it says the same: words swapped, left out, or replaced by words that stand in the same places.

As "easy data augmentation" does (Wei and Zou 2019, arXiv 1901.11196), without a dictionary: which words are alike is learned from
the train texts alone, by the words beside them (Schütze 1993; positive pointwise mutual information, Bullinaria and Levy 2007).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

_WORD = re.compile(r"\w+")
_PARTS = re.compile(r"\w+|\W+")
MOST_WORDS = 4000  # the most frequent ones
LEAST_SEEN = 4  # times, for a word to have others like it
LEAST_ALIKE = 0.3  # cosine
N_ALIKE = 4
_MOST_CHARACTERS = 20_000_000
REPLACED, SWAPPED = 0.6, 0.2
"""Shares of the words that are changed; the rest are left out."""


def words_alike(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each word that is seen often enough up to N_ALIKE others that stand beside the same words, the most alike first."""
    from scipy.sparse import coo_matrix

    lines = []
    left = _MOST_CHARACTERS
    for text in texts:
        lines.append(_WORD.findall(text.casefold()))
        left -= len(text)
        if left < 0:
            break
    seen = Counter(word for line in lines for word in line)
    words = sorted((word for word in seen if seen[word] >= LEAST_SEEN), key=lambda word: (-seen[word], word))[
        :MOST_WORDS
    ]
    place = {word: number for number, word in enumerate(words)}
    pairs: Counter[tuple[int, int]] = Counter()
    n = len(words)
    for line in lines:
        for first, second in pairwise(line):
            a, b = place.get(first), place.get(second)
            if a is not None and b is not None:
                pairs[a, b] += 1  # what stands after a
                pairs[b, n + a] += 1  # what stands before b
    if not pairs:
        return {}
    at = np.array(list(pairs), dtype=np.int64)
    table = coo_matrix(
        (np.array(list(pairs.values()), dtype=np.float64), (at[:, 0], at[:, 1])), shape=(n, 2 * n)
    ).tocsr()
    alike = _cosines(table)
    found = {}
    for number, word in enumerate(words):
        best = np.argsort(-alike[number], kind="stable")[:N_ALIKE]
        if near := tuple(words[other] for other in best.tolist() if alike[number, other] >= LEAST_ALIKE):
            found[word] = near
    return found


def _cosines(table: object) -> np.ndarray:
    """(n, n) float32 cosines of rows of positive pointwise mutual information; 0 with itself."""
    from scipy.sparse import csr_matrix
    from sklearn.preprocessing import normalize

    counts = csr_matrix(table)
    total = counts.sum()
    by_row, by_column = np.asarray(counts.sum(axis=1)).ravel(), np.asarray(counts.sum(axis=0)).ravel()
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    expected = by_row[rows] * by_column[counts.indices] ** 0.75 * (total / (by_column**0.75).sum()) / total
    counts.data = np.maximum(np.log(counts.data / expected), 0.0)
    unit = normalize(counts)
    found: np.ndarray = (unit @ unit.T).toarray().astype(np.float32)
    np.fill_diagonal(found, 0.0)
    return found


def rewrite(text: str, alike: Mapping[str, Sequence[str]], share: float, rng: np.random.Generator) -> str:
    """The text with about `share` of its words changed, at least one. What stands between words stays."""
    parts = _PARTS.findall(text)
    places = [place for place, part in enumerate(parts) if _WORD.fullmatch(part)]
    if not places:
        return text
    n = max(1, round(share * len(places)))
    for number in sorted(rng.permutation(len(places))[:n].tolist()):
        place = places[number]
        word, draw = parts[place], rng.random()
        others = alike.get(word.casefold(), ())
        if draw < REPLACED and others:
            parts[place] = _as_written(others[int(rng.integers(len(others)))], word)
        elif draw < REPLACED + SWAPPED and number + 1 < len(places):
            after = places[number + 1]
            parts[place], parts[after] = parts[after], parts[place]
        elif len(places) > 1:
            parts[place] = ""
    return re.sub(r"[^\S\n]{2,}", " ", "".join(parts)).strip() or text


def _as_written(word: str, like: str) -> str:
    """The word with capitals where `like` has them."""
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def blend(first: str, second: str, share: float) -> str:
    """The first `share` of the words of one text, and the end of the other."""
    one, other = first.split(" "), second.split(" ")
    kept = max(1, round(share * len(one)))
    more = round((1 - share) * len(other))
    return " ".join([*one[:kept], *(other[len(other) - more :] if more else [])])
