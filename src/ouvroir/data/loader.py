"""Which rows each step takes: a pure function of (seed, step), so that a resumed run goes on with the same rows.

Nothing here opens a file; a step's places are indices into the items of a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from ouvroir.errors import DataError
from ouvroir.rng import key

if TYPE_CHECKING:
    from ouvroir.data.table import TableSlice
    from ouvroir.task import Items


class Sliced(Protocol):
    """What rows are taken from: a Table, or anything that slices like one."""

    def slice(self, index: np.ndarray, start: Any = None, length: Any = None) -> TableSlice:
        """The rows at `index`, windows of them where `start` and `length` are given."""


class Sampler:
    """Places of items for every step. Epochs follow each other without a gap, so every batch is full.

    `plain` visits every item once per epoch, in a new order each time. `balanced` gives every class as many draws as
    any other (to within one per epoch), and within a class visits every item before any is repeated.
    """

    def __init__(
        self, items: Items, *, seed: int, batch_size: int, sampling: Literal["plain", "balanced"] = "plain"
    ) -> None:
        self.n_items = len(items.row)
        if not self.n_items:
            raise DataError("There is nothing to train on: the train split has no items.")
        self.seed = seed
        self.batch_size = batch_size
        self._classes: list[np.ndarray] = []
        if sampling == "balanced" and items.stratum is not None:
            order = np.argsort(items.stratum, kind="stable")
            borders = np.flatnonzero(np.diff(items.stratum[order])) + 1
            self._classes = np.split(order, borders)
        self._epochs: dict[int, np.ndarray] = {}

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which as many items are drawn as there are; not a whole number in general."""
        return self.n_items / self.batch_size

    def draw(self, step: int) -> np.ndarray:
        """(batch_size,) int64 places of the items of `step`, which counts from 0."""
        start = step * self.batch_size
        epoch, offset = divmod(start, self.n_items)
        if offset + self.batch_size <= self.n_items:
            return self._order(epoch)[offset : offset + self.batch_size]
        pieces = []
        left = self.batch_size
        while left:
            piece = self._order(epoch)[offset : offset + left]
            pieces.append(piece)
            left -= len(piece)
            epoch, offset = epoch + 1, 0
        return np.concatenate(pieces)

    def _order(self, epoch: int) -> np.ndarray:
        found = self._epochs.get(epoch)
        if found is None:
            found = self._balanced(epoch) if self._classes else self._shuffled(self.n_items, "order", epoch)
            self._epochs = {known: order for known, order in self._epochs.items() if known == epoch - 1}
            self._epochs[epoch] = found
        return found

    def _shuffled(self, n: int, *name: int | str) -> np.ndarray:
        return np.random.Generator(np.random.PCG64(key(self.seed, *name))).permutation(n)

    def _balanced(self, epoch: int) -> np.ndarray:
        """One epoch in which class c is drawn n // C times, the rest going round the classes from epoch to epoch."""
        n_classes = len(self._classes)
        each, rest = divmod(self.n_items, n_classes)
        drawn = []
        for c, members in enumerate(self._classes):
            before = epoch * each + _turns(epoch * rest, c, n_classes)
            until = (epoch + 1) * each + _turns((epoch + 1) * rest, c, n_classes)
            drawn.append(self._from_class(c, members, before, until))
        whole = np.concatenate(drawn)
        shuffled: np.ndarray = whole[self._shuffled(len(whole), "balance", epoch)]
        return shuffled

    def _from_class(self, c: int, members: np.ndarray, before: int, until: int) -> np.ndarray:
        """Draws `before` to `until` of class c, whose stream is one shuffled pass over its members after another."""
        n = len(members)
        first, last = before // n, -(-until // n)
        passes = [members[self._shuffled(n, "class", c, turn)] for turn in range(first, last)]
        stream = np.concatenate(passes) if passes else members[:0]
        return stream[before - first * n : until - first * n]


def _turns(n: int, c: int, n_classes: int) -> int:
    """How often class c comes up among the first `n` of the endless round 0, 1, ..., C - 1, 0, 1, ..."""
    return n // n_classes + (c < n % n_classes)


def take(table: Sliced, items: Items, places: np.ndarray) -> TableSlice:
    """The slice of `table` that holds the items at `places`."""
    start = None if items.start is None else items.start[places]
    length = None if items.length is None else items.length[places]
    return table.slice(items.row[places], start, length)
