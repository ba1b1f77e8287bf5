"""Encoded texts of a table, one by one, and some of very many."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ouvroir.windows import evenly

if TYPE_CHECKING:
    from ouvroir.data.table import Ragged, Table

_AT_ONCE = 1024  # rows


def spread(lengths: np.ndarray, most: int) -> np.ndarray:
    """Places of all rows of `lengths` (N,), or of evenly spaced ones that have no more than `most` pieces, one row at least."""
    n = len(lengths)
    if lengths.sum() > most:
        n = max(1, int(most / lengths.mean()))
    places = evenly(len(lengths), n)
    while len(places) > 1 and lengths[places].sum() > most:
        places = evenly(len(lengths), int(0.95 * len(places)))
    return places


def pieces_of(table: Table) -> Iterator[np.ndarray]:
    """The pieces of each row of a table, the one that is given before them and the one that ends them included."""
    for start in range(0, len(table), _AT_ONCE):
        field: Ragged = table.slice(np.arange(start, min(start + _AT_ONCE, len(table)))).fields["pieces"]  # type: ignore[assignment]
        values, offsets = field.values.numpy(), field.offsets.tolist()
        yield from (values[first:last] for first, last in pairwise(offsets))
