"""Rows that are longer than a model looks at a time: cut into windows that lie end to end, drawn and answered one by one.

A processor stores each row's windows along a ragged first axis, one of its fields being `begin`, where each window begins.

Axes: B rows of a batch, N rows of a table, M items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ouvroir import classification as shared
from ouvroir.task import Items, Prediction, Timed

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.data.table import Ragged, Table, TableSlice


def starts_of(n: int, window: int) -> np.ndarray:
    """(windows,) int32: where windows of n elements begin, one after the other, the last one ending with the row; one where
    all fits into it.
    """
    return np.array([*range(0, n - window, window), n - window] if n > window else [0], dtype=np.int32)


def items_of(table: Table) -> Items:
    """One draw is one window of a row; its stratum is the row's class, or its rarest label when multi-label."""
    n_windows = table.lengths("begin").numpy()
    row = np.repeat(np.arange(len(table), dtype=np.int64), n_windows)
    start = np.arange(len(row), dtype=np.int64) - np.repeat(n_windows.cumsum() - n_windows, n_windows)
    labels = table.targets.get("labels")
    stratum = None if labels is None else shared.strata(labels.numpy())[row]
    return Items(row=row, start=start, length=np.ones(len(row), dtype=np.int64), stratum=stratum)


def first_windows(table: Table, places: np.ndarray) -> TableSlice:
    """The rows at `places` (B,), of each its first window alone: a row may be hours long."""
    return table.slice(places, np.zeros(len(places), dtype=np.int64), np.ones(len(places), dtype=np.int64))


def first_of(field: Tensor | Ragged) -> Tensor:
    """(B, ...): the first window of what was cut out of each row."""
    ragged: Ragged = field  # type: ignore[assignment]
    return ragged.values[ragged.offsets[:-1]]


def evenly(n: int, most: int) -> np.ndarray:
    """(N,) int64: all of `n` places, or `most` of them, evenly spaced, the first and the last among them."""
    found: np.ndarray = np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
    return found


def pieces_of(n: int, most: int, at_once: int) -> Iterator[np.ndarray]:
    """Places of at most `most` of n rows, evenly spaced, a few at a time."""
    places = evenly(n, most)
    for start in range(0, len(places), at_once):
        yield places[start : start + at_once]


def answers_of(
    scores: np.ndarray,
    begins: Sequence[np.ndarray],
    labels: tuple[str, ...],
    *,
    seconds: float,
    rate: float,
    threshold: float,
    is_multi_label: bool,
) -> list[Prediction]:
    """An answer for each row from the scores (M, C) of all windows, end to end: their mean, and those of each with its time.

    begins: for each row where its windows begin, in elements, `rate` of which are a second; seconds: how long a window is.
    """
    each = np.split(scores, np.cumsum([len(begin) for begin in begins])[:-1])
    means = np.stack([some.mean(axis=0) for some in each])
    whole = shared.predictions(means, labels, threshold=threshold, is_multi_label=is_multi_label)
    found = []
    for one, some, begin in zip(whole, each, begins, strict=True):
        if len(some) == 1:
            found.append(one)
            continue
        parts = shared.predictions(some, labels, threshold=threshold, is_multi_label=is_multi_label)
        times = tuple(
            Timed(round(at / rate, 3), round(at / rate + seconds, 3), part.label, max(part.scores.values()))
            for at, part in zip(begin.tolist(), parts, strict=True)
        )
        found.append(replace(one, times=times))
    return found
