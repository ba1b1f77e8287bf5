"""The longest passage of a text that stands in another text as it is.

Runs of pieces are hashed, all of one length at a time (Karp and Rabin 1987); lengths grow by a quarter from one to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ouvroir.data.marks import FINE

SHORTEST = 4  # pieces; shorter runs stand everywhere
_GROWTH = 1.25
_MARKED = (
    64  # characters of a passage that is known by a number, blanks not counted: texts of one kind share shorter ones
)
_CHOSEN = np.uint64(255)  # one passage of 256 is chosen, which are 16 bytes of marks for a thousand characters
_CHOSEN_FINELY = np.uint64(15)  # of short blocks, of which there are few; those of 256 are among them
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))
_LAST_BITS = np.uint64((1 << 16) - 1)


def longest_shared(asked: Sequence[np.ndarray], known: Sequence[np.ndarray], *, is_itself: bool = False) -> np.ndarray:
    """(len(asked),) float64: the share of each text that is its longest run of pieces which stands in one of `known`.

    Texts are whole numbers (n,). With `is_itself` they are the same texts, and each is looked for in the others.
    """
    lengths = np.array([len(one) for one in asked], dtype=np.int64)
    hashed = [_Hashed(one) for one in asked]
    others = hashed if is_itself else [_Hashed(one) for one in known]
    found = np.zeros(len(asked), dtype=np.int64)
    size = SHORTEST
    waiting = np.flatnonzero(lengths >= size)
    while len(waiting):
        hits = _shared_runs([hashed[place] for place in waiting.tolist()], others, size, waiting if is_itself else None)
        found[waiting[hits]] = size
        # what has no run of this length has none that is longer
        longer = max(size + 1, int(size * _GROWTH))
        waiting = waiting[hits & (lengths[waiting] >= longer)]
        size = longer
    return found / np.maximum(lengths, 1)


def _shared_runs(asked: Sequence[_Hashed], others: Sequence[_Hashed], size: int, own: np.ndarray | None) -> np.ndarray:
    """(len(asked),) bool: whether a run of `size` pieces stands in one of the others; `own`: the places of `asked` among these."""
    runs = [one.runs(size) for one in others]
    owner = np.repeat(np.arange(len(runs)), [len(one) for one in runs])
    flat = np.concatenate([*runs, np.zeros(0, dtype=np.uint64)])
    order = np.lexsort((owner, flat))
    flat, owner = flat[order], owner[order]
    hits = np.zeros(len(asked), dtype=bool)
    for number, one in enumerate(asked):
        mine = one.runs(size)
        first, last = np.searchsorted(flat, mine, "left"), np.searchsorted(flat, mine, "right")
        is_there = first < last
        if own is not None:  # one that only its own text holds has no other owner at either end
            me = own[number]
            ends = np.clip(np.stack([first, last - 1]), 0, max(0, len(owner) - 1))
            is_there &= (owner[ends] != me).any(axis=0) if len(owner) else False
        hits[number] = bool(is_there.any())
    return hits


def marks(text: str, *, is_fine: bool = False) -> np.ndarray:
    """(n,) uint32, ascending: what some passages of a text are known by, wherever it is cut and however its lines are broken.

    They are chosen by their hashes alone, so that two texts that share a passage have both chosen it or neither has. `is_fine`:
    more of them, those from FINE on.
    """
    line = "".join(text.split())
    if len(line) < _MARKED:
        return np.zeros(0, dtype=np.uint32)
    runs = _Hashed(np.frombuffer(line.encode("utf-32-le", errors="surrogatepass"), dtype="<u4")).runs(_MARKED)
    runs = runs[runs & (_CHOSEN_FINELY if is_fine else _CHOSEN) == 0]
    return np.unique(
        (runs >> np.uint64(33)).astype(np.uint32) + np.where(runs & _CHOSEN == 0, 0, FINE).astype(np.uint32)
    )


class Passages:
    """Texts, whole numbers (n,) each, in which runs are looked for that stand in another one too."""

    def __init__(self, known: Sequence[np.ndarray]) -> None:
        apart = np.array([max((int(one.max()) for one in known if len(one)), default=0) + 1])
        self._line = _Hashed(np.concatenate([part for one in known for part in (one, apart)] or [apart[:0]]))

    def longest(self, asked: np.ndarray) -> tuple[int, int]:
        """Where the longest run of `asked` (n,) begins that stands in one of the texts, and how long it is; (0, 0) for none."""
        mine = _Hashed(asked)
        low, high, start = 0, len(asked), 0
        while low < high:
            size = (low + high + 1) // 2
            hits = _common(mine.runs(size), self._line.runs(size))
            if len(hits):
                low, start = size, int(hits[0])
            else:
                high = size - 1
        return start, low


def _common(few: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Places in `few` of what is in `many` too. Most of these are told apart by their last bits alone."""
    is_perhaps = np.zeros(_LAST_BITS + 1, dtype=bool)
    is_perhaps[few & _LAST_BITS] = True
    found: np.ndarray = np.flatnonzero(np.isin(few, many[is_perhaps[many & _LAST_BITS]], kind="sort"))
    return found


class _Hashed:
    """Hashes of the runs of a text, from sums up to each place: b⁻ⁱ times what stands there, modulo 2⁶⁴."""

    def __init__(self, text: np.ndarray) -> None:
        values = (np.asarray(text, dtype=np.uint64) + np.uint64(1)) * _BASE
        values ^= values >> np.uint64(29)
        powers = np.full((2, len(values)), [[_BASE], [_INVERSE]])
        powers[:, :1] = 1
        self._powers, inverse = powers.cumprod(axis=1)
        self._sums = np.concatenate([np.zeros(1, dtype=np.uint64), (values * inverse).cumsum()])

    def runs(self, size: int) -> np.ndarray:
        """(n - size + 1,) uint64: a hash of each run of `size` numbers."""
        n = max(0, len(self._powers) - size + 1)
        found: np.ndarray = (self._sums[size : size + n] - self._sums[:n]) * self._powers[:n]
        found ^= found >> np.uint64(31)
        return found
