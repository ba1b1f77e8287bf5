"""What passages of a long content are known by, so that they are found again where files are cut at other places.

A task gives numbers for passages that it chooses by what is in them, `ouvroir.task.Facts.details` keeps them as text. They are
few, 4 bytes each: of two contents that share a passage both have its number, or neither has (Schleimer 2003, winnowing). Of short
blocks there are more, those from FINE on: where what they are compared with has none of them, only the others count.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

import numpy as np

from ouvroir.source import block_of
from ouvroir.task import SPLITS, Row, Split

MARKS = "marks"
"""The name of the detail."""
MOST_KEPT = 4_000_000
"""Of all rows together, 16 MB; where there are more, those with the lowest numbers, and only such are asked about."""
FINE = 1 << 31
"""Marks from here on are given for short blocks only, _FINER for each of the others."""
_FINER = 15
_MOST = 0.45  # and not a half: the last passages of what stands in another content as it is go on there in another way
_LEAST = 4  # of a content that is no block: one passage that stands everywhere says nothing of a short one


def written(marks: np.ndarray) -> str:
    """Marks, uint32, as a detail of a row."""
    return base64.b64encode(marks.astype("<u4").tobytes()).decode("ascii")


def marks_of(row: Row) -> np.ndarray:
    """(n,) uint32: the marks of a row; none where its task gives none."""
    given = row.details.get(MARKS, "")
    return np.frombuffer(base64.b64decode(given) if isinstance(given, str) else b"", dtype="<u4")


def gathered(rows: Iterable[Row], *, without: np.ndarray | None = None) -> np.ndarray:
    """(n,) uint32, ascending, MOST_KEPT at most: what stands in `rows`, less what is in `without`."""
    found = _joined(marks_of(row) for row in rows if MARKS in row.details)
    return (found if without is None else np.setdiff1d(found, without, assume_unique=True))[:MOST_KEPT]


def together(parts: Iterable[np.ndarray]) -> np.ndarray:
    """(n,) uint32, ascending, MOST_KEPT at most: what is in any of `parts`."""
    return _joined(parts)[:MOST_KEPT]


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    found: np.ndarray = np.unique(np.concatenate([*parts, np.zeros(0, dtype=np.uint32)]))
    return found


def is_among(row: Row, known: np.ndarray) -> bool:
    """Whether most of a row stands in what `known` was gathered of."""
    return share_among(row, known) > _MOST


def share_among(row: Row, known: np.ndarray) -> float:
    """How much of a row stands in what `known` was gathered of."""
    (n_found,), n = _count(row, [known])
    return n_found / max(1, n)


class Places:
    """Where the passages of rows were when these were split. What stands in several splits counts as the most held out of them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        taken = np.zeros(0, dtype=np.uint32)
        self._known: dict[Split, np.ndarray] = {}
        for split in reversed(SPLITS):
            self._known[split] = gathered((row for row in rows if row.split == split), without=taken)
            taken = together([taken, self._known[split]])

    def split_of(self, row: Row) -> Split | None:
        """The split in which most of a row was, where most of it was in one of them at all."""
        return self._most(row, list(self._known))

    def held_out_of(self, row: Row) -> Split | None:
        """The split in which most is that a row has in common with more held out ones than its own, where that is most of it."""
        above = [split for split in self._known if SPLITS.index(split) > SPLITS.index(row.split)]
        return self._most(row, above)

    def _most(self, row: Row, among: Sequence[Split]) -> Split | None:
        counts, n = _count(row, [self._known[split] for split in among])
        if sum(counts) <= _MOST * n:
            return None
        found = dict(zip(among, counts, strict=True))
        return max(found, key=lambda split: found[split])


def _count(row: Row, among: Sequence[np.ndarray]) -> tuple[list[int], int]:
    """How many marks of a row are in each of `among`, and how many could be; 0 of 0 where they are too few to tell."""
    mine = marks_of(row)
    for known in among:
        if len(known) >= MOST_KEPT:
            mine = mine[mine <= known[-1]]
        if len(known) and not _is_fine(known):
            mine = mine[mine < FINE]
    is_block = block_of(row.locator)[1] is not None
    if len(mine) < (1 if is_block else _LEAST):
        return [0] * len(among), 0
    return [_n_in(mine, known) for known in among], len(mine)


def _is_fine(known: np.ndarray) -> bool:
    """Whether most of what `known` was gathered of was short blocks."""
    n_coarse = int(np.searchsorted(known, FINE))
    return len(known) - n_coarse > _FINER / 2 * n_coarse


def _n_in(mine: np.ndarray, known: np.ndarray) -> int:
    """How many of `mine` are in `known`, which may be very long and is ascending."""
    if not len(known):
        return 0
    place = np.minimum(np.searchsorted(known, mine), len(known) - 1)
    return int(np.count_nonzero(known[place] == mine))
