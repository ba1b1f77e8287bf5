"""A table whose columns lie on a GPU: batches are then made there, and nothing crosses the bus but the row numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ouvroir.data.table import Ragged, TableSlice
from ouvroir.training.features import free_memory
from ouvroir.windows import evenly

if TYPE_CHECKING:
    from ouvroir.data.table import Table
    from ouvroir.source import Source
    from ouvroir.task import Items, Row

MEMORY_SHARE = 0.4
"""Share of a GPU's free memory that the data may take; the rest is for the model and its activations."""
ROWS_AT_ONCE = 4096
MOST_SIZED = 20_000
"""Rows whose length is looked at to find the largest; more are sampled evenly."""


class ResidentTable:
    """The rows of `table` with all columns on `device`. Slices like a Table, except into windows of rows."""

    def __init__(self, table: Table, fields: dict[str, Tensor], device: str) -> None:
        self.rows: Sequence[Row] = table.rows
        self.root = table.root
        self.targets = {name: column.to(device) for name, column in table.targets.items()}
        self.weight = table.weight.to(device)
        self._table, self._fields, self._device = table, fields, device

    def __len__(self) -> int:
        return len(self._table)

    def slice(self, index: Tensor | np.ndarray, start: None = None, length: None = None) -> TableSlice:
        """The rows at `index` (B,) int64, on the device."""
        assert start is None, "windows of rows are cut on the CPU"
        assert length is None, "windows of rows are cut on the CPU"
        place = torch.as_tensor(index)
        if self._device.startswith("cuda") and place.device.type == "cpu":
            place = place.pin_memory()
        place = place.to(self._device, non_blocking=True)
        return TableSlice(
            index=place,
            fields={name: column.index_select(0, place) for name, column in self._fields.items()},
            targets={name: column.index_select(0, place) for name, column in self.targets.items()},
            weight=self.weight.index_select(0, place),
        )

    def source(self, place: int) -> Source:
        """Where to read the content of one row."""
        return self._table.source(place)

    def ids(self, index: Tensor | np.ndarray) -> list[str]:
        """The ids of rows."""
        return self._table.ids(index)


def make_resident(table: Table, items: Items, device: str) -> Table | ResidentTable:
    """`table` on the device when its rows are equally long, items are whole rows, and they fit; else as it is."""
    if items.start is not None or items.length is not None:
        return table
    sample = table.slice(np.zeros(1, dtype=np.int64)).fields
    if any(isinstance(value, Ragged) for value in sample.values()):
        return table
    dense: dict[str, Tensor] = {name: value for name, value in sample.items() if isinstance(value, Tensor)}
    row_bytes = sum(value.numel() * value.element_size() for value in dense.values())
    if row_bytes * len(table) > MEMORY_SHARE * free_memory(device):
        return table
    fields = {
        name: torch.empty((len(table), *value.shape[1:]), dtype=value.dtype, device=device)
        for name, value in dense.items()
    }
    for first in range(0, len(table), ROWS_AT_ONCE):
        places = np.arange(first, min(first + ROWS_AT_ONCE, len(table)))
        for name, value in table.slice(places).fields.items():
            assert isinstance(value, Tensor)
            fields[name][first : first + len(places)] = value
    return ResidentTable(table, fields, device)


def item_sizes(table: Table | ResidentTable, items: Items) -> np.ndarray | None:
    """(M,) sizes that tell which items take most memory, None when all are alike. Of very many, evenly spaced ones."""
    if items.length is not None:
        return items.length
    if not any(isinstance(value, Ragged) for value in table.slice(items.row[:1]).fields.values()):
        return None
    sizes = np.zeros(len(items.row), dtype=np.int64)
    chosen = evenly(len(sizes), MOST_SIZED)
    for first in range(0, len(chosen), ROWS_AT_ONCE):
        places = chosen[first : first + ROWS_AT_ONCE]
        for value in table.slice(items.row[places]).fields.values():
            if isinstance(value, Ragged):
                sizes[places] += value.lengths.numpy()
    return sizes
