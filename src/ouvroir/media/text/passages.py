"""The longest passage of a text that stands in another text as it is.

Runs of pieces are hashed, all of one length at a time (Karp and Rabin 1987); lengths grow by a quarter from one to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHORTEST = 4  # pieces; shorter runs stand everywhere
_GROWTH = 1.25
_BASE = np.uint64(0x9E3779B97F4A7C15)


def longest_shared(asked: Sequence[np.ndarray], known: Sequence[np.ndarray], *, is_itself: bool = False) -> np.ndarray:
    """(len(asked),) float64: the share of each text that is its longest run of pieces which stands in one of `known`.

    Texts are whole numbers (n,). With `is_itself` they are the same texts, and each is looked for in the others.
    """
    lengths = np.array([len(one) for one in asked], dtype=np.int64)
    found = np.zeros(len(asked), dtype=np.int64)
    size = SHORTEST
    waiting = np.flatnonzero(lengths >= size)
    while len(waiting):
        hits = _shared_runs([asked[place] for place in waiting.tolist()], known, size, waiting if is_itself else None)
        found[waiting[hits]] = size
        # what has no run of this length has none that is longer
        longer = max(size + 1, int(size * _GROWTH))
        waiting = waiting[hits & (lengths[waiting] >= longer)]
        size = longer
    return found / np.maximum(lengths, 1)


def _shared_runs(
    asked: Sequence[np.ndarray], known: Sequence[np.ndarray], size: int, own: np.ndarray | None
) -> np.ndarray:
    """(len(asked),) bool: whether a run of `size` pieces stands in a known text; `own`: the places of `asked` among these."""
    runs = [_runs(one, size) for one in known]
    owner = np.repeat(np.arange(len(runs)), [len(one) for one in runs])
    flat = np.concatenate([*runs, np.zeros(0, dtype=np.uint64)])
    order = np.lexsort((owner, flat))
    flat, owner = flat[order], owner[order]
    hits = np.zeros(len(asked), dtype=bool)
    for number, one in enumerate(asked):
        mine = _runs(one, size)
        first, last = np.searchsorted(flat, mine, "left"), np.searchsorted(flat, mine, "right")
        is_there = first < last
        if own is not None:  # one that only its own text holds has no other owner at either end
            me = own[number]
            ends = np.clip(np.stack([first, last - 1]), 0, max(0, len(owner) - 1))
            is_there &= (owner[ends] != me).any(axis=0) if len(owner) else False
        hits[number] = bool(is_there.any())
    return hits


def _runs(text: np.ndarray, size: int) -> np.ndarray:
    """(n - size + 1,) uint64: a hash of each run of `size` numbers."""
    n = len(text) - size + 1
    if n < 1:
        return np.zeros(0, dtype=np.uint64)
    values = (np.asarray(text, dtype=np.uint64) + np.uint64(1)) * _BASE
    values ^= values >> np.uint64(29)
    found = np.zeros(n, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for at in range(size):
            found = found * _BASE + values[at : at + n]
    return found ^ (found >> np.uint64(31))


def longest_passage(asked: np.ndarray, known: Sequence[np.ndarray]) -> tuple[int, int]:
    """Where the longest run of `asked` (n,) begins that stands in one of `known`, and how long it is; (0, 0) where none does."""
    low, high, start = 0, len(asked), 0
    while low < high:
        size = (low + high + 1) // 2
        runs = np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *(_runs(one, size) for one in known)]))
        mine = _runs(asked, size)
        at = np.searchsorted(runs, mine)
        hits = np.flatnonzero(runs[np.minimum(at, len(runs) - 1)] == mine) if len(runs) else at[:0]
        if len(hits):
            low, start = size, int(hits[0])
        else:
            high = size - 1
    return start, low
