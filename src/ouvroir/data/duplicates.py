"""Rows with the same or nearly the same content, found from keys that a task made; this file knows no medium.

A near-duplicate key is a vector of float32; two rows are near-duplicates when their cosine is close to 1. How close is
told by the data: handwritten digits of different people are more alike than photographs are after re-encoding, so a
pair must also be far closer than the neighbours of either row usually are (the ratio test of Lowe 2004, section 7.1).

The search is exact: blocks of the matrix of all cosines, after sorting the rows along their main direction so that
blocks too far apart for any pair are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

MAX_DISTANCE = 0.004  # 1 - cosine; re-encoded, resized and slightly brightened photographs stay under it
RATIO = 0.08  # a near-duplicate is this much closer than the k-th neighbour of either row
NEIGHBOUR = 8  # k; clusters larger than this are found through MIN_DISTANCE only
MIN_DISTANCE = 2e-5  # so close that it counts whatever the neighbours are
_BLOCK = 1024  # rows per block; a block of cosines takes 4 MiB
_BACKGROUND_ROWS = 20_000  # rows among which neighbours are counted


@dataclass(frozen=True)
class Pairs:
    """Near-duplicate pairs: (P, 2) int64 places with first < second, and (P,) float32 distances, 1 - cosine."""

    places: np.ndarray
    distance: np.ndarray


def find_pairs(keys: np.ndarray, *, n_known: int = 0) -> Pairs:
    """Near-duplicate pairs among keys (N, D) float32. Rows of zeros and of non-finite numbers have no pair.

    `n_known`: the first rows whose pairs among themselves are known already and are not looked for.
    """
    usable, unit = _unit_rows(keys)
    close = _close_pairs(unit, np.searchsorted(usable, n_known).item(), _RatioTest(unit).keeps)
    return Pairs(usable[close.places], close.distance)


def is_duplicate(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N,) bool: which of the keys (N, D) have a near-duplicate among `known` (K, D); none where either side has no keys at all."""
    told = np.zeros(len(keys), dtype=bool)
    if keys.shape[1] != known.shape[1]:
        return told
    usable, unit = _unit_rows(np.concatenate([known, keys]))
    n = np.searchsorted(usable, len(known)).item()
    # many copies of one row are each other's neighbours, and so close that none would be far closer than these
    pairs = usable[_close_pairs(unit, n, _RatioTest(unit, n).keeps).places]
    told[pairs[(pairs[:, 0] < len(known)) & (pairs[:, 1] >= len(known)), 1] - len(known)] = True
    return told


def _unit_rows(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the comparable rows, and these rows at length 1."""
    length = np.sqrt(np.einsum("nd,nd->n", keys, keys, dtype=np.float64))
    usable = np.flatnonzero(np.isfinite(length) & (length > 1e-6))
    return usable, np.ascontiguousarray(keys[usable] / length[usable, None].astype(np.float32), dtype=np.float32)


def _close_pairs(unit: np.ndarray, n_known: int, keeps: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Pairs:
    """All pairs within MAX_DISTANCE that `keeps` keeps, given places (P, 2) and distances (P,), and that are not known.

    It is asked block by block: pictures of one fixed camera are all close to each other, and their pairs fill any memory.
    """
    n = len(unit)
    order, position = _sort_along_main_direction(unit)
    width = float(np.sqrt(2 * MAX_DISTANCE)) + 1e-4  # |a - b| of unit vectors at that cosine
    found: list[np.ndarray] = []
    distances: list[np.ndarray] = []
    buffer = np.empty((_BLOCK, _BLOCK), dtype=np.float32)
    for first in range(0, n, _BLOCK):
        rows = order[first : first + _BLOCK]
        left = unit[rows]
        is_new = rows >= n_known
        for second in range(first, n, _BLOCK):
            if position[second] > position[min(first + _BLOCK, n) - 1] + width:
                break
            others = order[second : second + _BLOCK]
            if not is_new.any() and (others < n_known).all():
                continue
            cosines = np.matmul(left, unit[others].T, out=buffer[: len(rows), : len(others)])
            a, b = np.nonzero(cosines >= 1 - MAX_DISTANCE)
            keep = (rows[a] < others[b]) | (second > first)
            keep &= (rows[a] != others[b]) & (is_new[a] | (others[b] >= n_known))
            a, b = a[keep], b[keep]
            if not len(a):
                continue
            places, distance = np.sort(np.stack([rows[a], others[b]], axis=1), axis=1), 1 - cosines[a, b]
            kept = keeps(places, distance)
            found.append(places[kept])
            distances.append(distance[kept])
    if not found:
        return Pairs(np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float32))
    return Pairs(np.concatenate(found), np.concatenate(distances))


def _sort_along_main_direction(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of the rows along their first principal direction, and their places on it in that order."""
    if not len(unit):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    sample = unit[:: max(1, len(unit) // 4096)].astype(np.float64)
    _, vectors = np.linalg.eigh(np.cov(sample, rowvar=False) if len(sample) > 1 else np.eye(unit.shape[1]))
    position = unit @ vectors[:, -1].astype(np.float32)
    order = np.argsort(position, kind="stable")
    return order, position[order]


class _RatioTest:
    """Which close pairs are near-duplicates: those far closer than the neighbours of either row."""

    def __init__(self, unit: np.ndarray, n_background: int | None = None) -> None:
        """`n_background`: the first rows, among which alone neighbours are counted."""
        self._unit = unit
        self._n_background = len(unit) if n_background is None else n_background
        self._step = max(1, self._n_background // _BACKGROUND_ROWS)
        self._background = np.ascontiguousarray(unit[: self._n_background : self._step])
        self._neighbour = np.full(len(unit), np.nan, dtype=np.float32)  # worked out when first asked for

    def keeps(self, places: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """(P,) bool for pairs (P, 2) and their distances (P,)."""
        rows = np.unique(places)
        rows = rows[np.isnan(self._neighbour[rows])]
        self._neighbour[rows] = self._distances(rows)
        kept: np.ndarray = distance <= np.maximum(MIN_DISTANCE, RATIO * self._neighbour[places].min(axis=1))
        return kept

    def _distances(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) float32 distance to the k-th nearest other row, among a fixed part of the data when it is large."""
        k = min(NEIGHBOUR, len(self._background) - 1)
        if k < 2:
            return np.full(len(rows), np.inf, dtype=np.float32)
        result = np.empty(len(rows), dtype=np.float32)
        for first in range(0, len(rows), _BLOCK // 2):
            part = rows[first : first + _BLOCK // 2]
            cosines = self._unit[part] @ self._background.T
            # the row itself may be among the background: it is then the nearest, so one more is counted off
            itself = ((part % self._step == 0) & (part < self._n_background)).astype(np.int64)
            nearest = np.partition(cosines, -(k + 1), axis=1)[:, -(k + 1) :]
            nearest.sort(axis=1)
            result[first : first + len(part)] = 1 - nearest[np.arange(len(part)), 1 - itself]
        return result


class Clusters:
    """Union of rows into clusters, by path halving."""

    def __init__(self, n: int) -> None:
        self._above = list(range(n))

    def find(self, place: int) -> int:
        """The first row of the cluster that holds `place`."""
        above = self._above
        while above[place] != place:
            above[place] = above[above[place]]
            place = above[place]
        return place

    def join(self, first: int, second: int) -> None:
        """Put two rows into one cluster; its smallest place leads it."""
        a, b = self.find(first), self.find(second)
        if a != b:
            self._above[max(a, b)] = min(a, b)

    def join_all(self, pairs: Iterable[Sequence[int]]) -> None:
        """Join each pair."""
        for first, second in pairs:
            self.join(first, second)

    def join_equal(self, values: Iterable[str]) -> None:
        """Join rows with equal non-empty values."""
        seen: dict[str, int] = {}
        for place, value in enumerate(values):
            if value:
                leader = seen.setdefault(value, place)
                if leader != place:
                    self.join(leader, place)
