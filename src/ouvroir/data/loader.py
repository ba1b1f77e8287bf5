"""Which rows each step takes: a pure function of (seed, step), so that a resumed run goes on with the same rows.

Nothing here opens a file; a step's places are indices into the items of a task.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from ouvroir.errors import DataError
from ouvroir.rng import key

if TYPE_CHECKING:
    from ouvroir.data.table import TableSlice
    from ouvroir.task import Items


REAL_FROM = 0.8
"""Share of the steps after which no synthetic item is drawn any more."""


def made_in_batch(share: float, batch_size: int) -> int:
    """How many rows of a batch are synthetic, where `share` of it is."""
    return round(share * batch_size)


class Sliced(Protocol):
    """What rows are taken from: a Table, or anything that slices like one."""

    def slice(self, index: np.ndarray, start: Any = None, length: Any = None) -> TableSlice:
        """The rows at `index`, windows of them where `start` and `length` are given."""


class Sampler:
    """Places of items for every step. Epochs follow each other without a gap, so every batch is full.

    `plain` visits every item once per epoch, in a new order each time. `balanced` gives every class as many draws as
    any other (to within one per epoch), and within a class visits every item before any is repeated.

    Where some items are synthetic, (M,) bool, `share` of every batch is drawn from these and the rest from the others, each
    part in epochs of its own; in the last fifth of `steps` all are real, so that the model ends on what it will be judged by.
    """

    def __init__(
        self,
        items: Items,
        *,
        seed: int,
        batch_size: int,
        sampling: Literal["plain", "balanced"] = "plain",
        synthetic: np.ndarray | None = None,
        share: float = 0.0,
        steps: int = 0,
    ) -> None:
        n = len(items.row)
        if not n:
            raise DataError("There is nothing to train on: the train split has no items.")
        self.n_items = n
        self.batch_size = batch_size
        made = np.zeros(n, dtype=bool) if synthetic is None else synthetic
        if made.all():
            raise DataError("All train rows are synthetic. Nothing is learned from made rows alone: add real ones.")
        stratum = items.stratum if sampling == "balanced" else None
        self._real = _Stream(np.flatnonzero(~made), stratum, seed)
        self._made = _Stream(np.flatnonzero(made), stratum, key(seed, "synthetic")) if made.any() else None
        self._n_made = made_in_batch(share, batch_size) if self._made else 0
        self._until = round(REAL_FROM * steps)

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which as many items are drawn as there are; not a whole number in general."""
        return self.n_items / self.batch_size

    def draw(self, step: int) -> np.ndarray:
        """(batch_size,) int64 places of the items of `step`, which counts from 0."""
        n_made = self._n_made if step < self._until else 0
        before = self._n_made * min(step, self._until)
        real = self._real.draw(step * self.batch_size - before, self.batch_size - n_made)
        if not n_made or self._made is None:
            return real
        return np.concatenate([real, self._made.draw(before, n_made)])


class _Stream:
    """An endless sequence of some of the items, one shuffled epoch after another."""

    def __init__(self, members: np.ndarray, stratum: np.ndarray | None, seed: int) -> None:
        self.members, self.seed = members, seed
        self.n_items = len(members)
        self._classes: list[np.ndarray] = []
        if stratum is not None:
            mine = stratum[members]
            order = np.argsort(mine, kind="stable")
            borders = np.flatnonzero(np.diff(mine[order])) + 1
            self._classes = np.split(order, borders)
        self._epochs: dict[int, np.ndarray] = {}

    def draw(self, start: int, n: int) -> np.ndarray:
        """(n,) int64 places of items, from the `start`-th of the sequence on."""
        epoch, offset = divmod(start, self.n_items)
        if offset + n <= self.n_items:
            found: np.ndarray = self.members[self._order(epoch)[offset : offset + n]]
            return found
        pieces = []
        left = n
        while left:
            piece = self._order(epoch)[offset : offset + left]
            pieces.append(piece)
            left -= len(piece)
            epoch, offset = epoch + 1, 0
        joined: np.ndarray = self.members[np.concatenate(pieces)]
        return joined

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
    found = table.slice(items.row[places], start, length)
    if items.lead is None:
        return found
    import torch

    return replace(found, lead=torch.from_numpy(items.lead[places]))
