"""Interpolated n-grams with modified Kneser-Ney discounts: what a network that writes must beat, counted in a second.

Chen and Goodman 1998, TR-10-98, section 3; Kneser and Ney 1995. The n-grams of each order are sorted arrays, so that millions of
tokens are counted and looked up without a loop over them.

Axes: T tokens of a text, V tokens that there are, N different n-grams of an order, B of their beginnings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

MOST_ORDER = 7
_LEAST = 0.01  # of a discount: something is left to what never occurred
_CLASSES = 3  # counts of 1, of 2, and of 3 and more have discounts of their own


@dataclass(frozen=True)
class Order:
    """The n-grams of one length, each known by the number of its beginning (all but its last token) and its last token.

    keys: (N,) int64 ascending, beginning · (V + 1) + token. share: (N,) float32, its probability without the discount. rest: (B,)
    float32, what the discounts leave of each beginning to the next shorter order.
    """

    keys: np.ndarray
    share: np.ndarray
    rest: np.ndarray


@dataclass
class _Counted:
    """N-grams of one length as they stand in texts. keys: (N,); often: (N,) int32, how often each is there; preceded: (N,) int32,
    by how many different tokens, that which begins a text among them, once the longer ones are counted.
    """

    keys: np.ndarray
    often: np.ndarray
    preceded: np.ndarray


@dataclass(frozen=True)
class KneserNey:
    """Probabilities of the next token after those before it. `orders`: shortest first."""

    n_tokens: int
    orders: tuple[Order, ...]

    @classmethod
    def of(cls, texts: Sequence[np.ndarray], n_tokens: int, order: int = MOST_ORDER) -> KneserNey:
        """Counts texts, each (T,) whole numbers below `n_tokens`."""
        return cls._of(list(_count(texts, n_tokens, order)), n_tokens)

    @classmethod
    def _of(cls, counted: Sequence[_Counted], n_tokens: int) -> KneserNey:
        return cls(n_tokens, tuple(_order(counted, length, n_tokens) for length in range(1, len(counted) + 1)))

    @classmethod
    def best(cls, texts: Sequence[np.ndarray], validation: Sequence[np.ndarray], n_tokens: int) -> KneserNey:
        """That of the order, up to MOST_ORDER, which is surprised least by the texts of `validation`.

        The next higher order is tried as long as it is better.
        """
        counted: list[_Counted] = []
        best, least = None, np.inf
        for one in _count(texts, n_tokens, MOST_ORDER):
            counted.append(one)
            if len(counted) < 2:
                continue
            found = cls._of(counted, n_tokens)
            surprise = float(sum(found.nats(text).sum() for text in validation))
            if surprise >= least:
                break
            best, least = found, surprise
        return best or cls._of(counted[:1], n_tokens)

    def nats(self, text: np.ndarray) -> np.ndarray:
        """(T,) float64: the surprise of each token of a text after those before it."""
        _, tokens = _joined([text], self.n_tokens)
        found = np.full(len(tokens), 1 / self.n_tokens)
        beginning = np.zeros(len(tokens), dtype=np.int64)
        for one in self.orders:
            found = found * np.where(beginning >= 0, one.rest[beginning], 1.0)
            place = _places(one.keys, beginning * (self.n_tokens + 1) + tokens, beginning >= 0)
            found = found + np.where(place >= 0, one.share[place], 0.0)
            beginning = np.concatenate([[-1], place[:-1]])
        nats: np.ndarray = -np.log(found[1:])
        return nats


def _joined(texts: Sequence[np.ndarray], n_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each text begins in all of them together, and these, each after a token of its own number that begins it."""
    lengths = np.array([0, *(len(text) + 1 for text in texts)])
    begin = np.array([n_tokens])
    joined = np.concatenate([part for text in texts for part in (begin, text)])
    return lengths.cumsum()[:-1], joined.astype(np.int64)


def _count(texts: Sequence[np.ndarray], n_tokens: int, order: int) -> Iterator[_Counted]:
    """Shortest first; what is preceded by what is known of one when the next is asked for."""
    begins, tokens = _joined(texts, n_tokens)
    since = np.arange(len(tokens)) - np.repeat(begins, np.diff([*begins, len(tokens)]))
    beginning = np.zeros(len(tokens), dtype=np.int64)
    number = np.zeros(
        len(tokens), dtype=np.int32
    )  # which n-gram ends at each token, -1 where the text is too short yet
    shorter = None
    for length in range(1, order + 1):
        at = np.flatnonzero(since >= length - 1)
        keys, first, place = np.unique(
            beginning[at] * (n_tokens + 1) + tokens[at], return_index=True, return_inverse=True
        )
        if shorter is not None:
            shorter.preceded += np.bincount(number[at[first]], minlength=len(shorter.keys)).astype(np.int32)
        number = np.full(len(tokens), -1, dtype=np.int32)
        number[at] = place
        often = np.bincount(place, minlength=len(keys)).astype(np.int32)
        at_begin = np.bincount(number[since == length - 1], minlength=len(keys)).astype(np.int32)
        shorter = _Counted(keys, often, at_begin)
        yield shorter
        beginning = np.concatenate([[0], number[:-1]]).astype(np.int64)


def _order(counted: Sequence[_Counted], length: int, n_tokens: int) -> Order:
    """The n-grams of one length; a shorter one counts by how many tokens it is preceded, one of the longest by how often it stands
    there.
    """
    keys = counted[length - 1].keys
    counts = (counted[length - 1].preceded if length < len(counted) else counted[length - 1].often).astype(np.int64)
    counts[keys % (n_tokens + 1) == n_tokens] = 0  # what begins a text is never told
    beginning = keys // (n_tokens + 1)
    n_beginnings = len(counted[length - 2].keys) if length > 1 else 1
    lost = np.minimum(_discounts(counts)[np.minimum(counts, _CLASSES)], counts)
    total = np.bincount(beginning, counts, minlength=n_beginnings)
    gone = np.bincount(beginning, lost, minlength=n_beginnings)
    share = (counts - lost) / np.maximum(total[beginning], 1)
    rest = np.where(total > 0, gone / np.maximum(total, 1), 1.0)
    return Order(keys, share.astype(np.float32), rest.astype(np.float32))


def _discounts(counts: np.ndarray) -> np.ndarray:
    """(4,): what is taken from a count of 0, 1, 2, and of 3 or more (Chen and Goodman 1998, equation 26)."""
    n = np.bincount(np.minimum(counts, 5), minlength=6)[1:].astype(np.float64)
    if not n[:2].all():
        return np.array([0.0, 0.5, 0.5, 0.5])
    y = n[0] / (n[0] + 2 * n[1])
    found = [k - (k + 1) * y * n[k] / max(n[k - 1], 1.0) for k in (1, 2, 3)]
    discounts: np.ndarray = np.clip([0.0, *found], [0.0, *[_LEAST] * _CLASSES], [0.0, 1.0, 2.0, 3.0])
    return discounts


def _places(keys: np.ndarray, asked: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where each of `asked` stands in `keys`, -1 where it does not or is not `known`."""
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(known & (keys[place] == asked), place, -1)
