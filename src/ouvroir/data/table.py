"""Table: the rows of one split with their encoded content, targets and weights, from which batches are sliced.

Everything is columns; a slice costs a few tensor operations, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ouvroir.data.pack import Pack, Ragged
from ouvroir.errors import DataError
from ouvroir.source import Source
from ouvroir.task import SPLITS, Row, Split

__all__ = ["Ragged", "Table", "TableSlice", "make_tables", "refuse_synthetic"]

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.data.manifest import Manifest
    from ouvroir.task import Processor, Task


@dataclass(frozen=True)
class TableSlice:
    """Some rows of a table, B of them: what `Task.collate` makes a batch from.

    index: (B,) int64 places in the table; fields: encoded arrays (B, ...) or Ragged; targets: (B, ...); weight: (B,)
    float32; start and length: (B,) int64 where each item is a window of its row, else None; lead: (B,) int64 as of `task.Items`.
    """

    index: Tensor
    fields: dict[str, Tensor | Ragged]
    targets: dict[str, Tensor]
    weight: Tensor
    start: Tensor | None = None
    length: Tensor | None = None
    lead: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)


class Table:
    """N rows of one split. `targets`: columns (N, ...); `weight`: (N,) float32; `positions`: their places in the pack."""

    def __init__(
        self,
        rows: Sequence[Row],
        root: str,
        pack: Pack,
        positions: Tensor,
        targets: Mapping[str, Tensor],
        weight: Tensor,
    ) -> None:
        self.rows = rows
        self.root = root
        self.targets = dict(targets)
        self.weight = weight
        self._pack = pack
        self._positions = positions

    def __len__(self) -> int:
        return len(self.rows)

    def slice(
        self,
        index: Tensor | np.ndarray,
        start: Tensor | np.ndarray | None = None,
        length: Tensor | np.ndarray | None = None,
    ) -> TableSlice:
        """The rows at `index` (B,) int64, in that order; ragged fields are cut to `start` and `length` where given."""
        places = _whole_numbers(index)
        first = None if start is None else _whole_numbers(start)
        n = None if length is None else _whole_numbers(length)
        return TableSlice(
            index=places,
            fields=self._pack.take(self._positions[places], first, n),
            targets={name: column.index_select(0, places) for name, column in self.targets.items()},
            weight=self.weight.index_select(0, places),
            start=first,
            length=n,
        )

    def lengths(self, name: str) -> Tensor:
        """(N,) int64: how many elements the ragged field `name` of each row has, without reading any."""
        return self._pack.lengths(name, self._positions)

    def subset(self, positions: Tensor | np.ndarray) -> Table:
        """A table of some of the rows, in the order given. Shares the pack."""
        places = _whole_numbers(positions)
        return Table(
            rows=[self.rows[place] for place in places.tolist()],
            root=self.root,
            pack=self._pack,
            positions=self._positions[places],
            targets={name: column.index_select(0, places) for name, column in self.targets.items()},
            weight=self.weight.index_select(0, places),
        )

    def joined(self, other: Table) -> Table:
        """A table of these rows and then those of `other`, which has the same pack and columns."""
        return Table(
            rows=[*self.rows, *other.rows],
            root=self.root,
            pack=self._pack,
            positions=torch.cat([self._positions, other._positions]),
            targets={name: torch.cat([column, other.targets[name]]) for name, column in self.targets.items()},
            weight=torch.cat([self.weight, other.weight]),
        )

    def source(self, place: int) -> Source:
        """Where to read the content of one row."""
        return self.rows[place].source(self.root)

    def ids(self, index: Tensor | np.ndarray) -> list[str]:
        """The ids of rows, so that a message can name them."""
        return [self.rows[place].id for place in index.tolist()]


def _whole_numbers(values: Tensor | np.ndarray) -> Tensor:
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values, dtype=np.int64))
    return tensor.to(dtype=torch.int64, device="cpu")


def make_tables(manifest: Manifest, pack: Pack, task: Task, processor: Processor) -> dict[Split, Table]:
    """One table per split that has rows; validation and test hold those that are judged by (`Manifest.judged`).

    Raises DataError when a synthetic row would be judged by.
    """
    tables: dict[Split, Table] = {}
    for split in SPLITS:
        positions = manifest.positions(split) if split == "train" else manifest.judged(split)
        if not len(positions):
            continue
        rows = [manifest.rows[place] for place in positions.tolist()]
        if split != "train":
            refuse_synthetic(rows, split)
        targets = {
            name: torch.from_numpy(np.ascontiguousarray(column))
            for name, column in task.targets(rows, processor).items()
        }
        weight = torch.tensor([row.weight for row in rows], dtype=torch.float32)
        tables[split] = Table(rows, manifest.root, pack, torch.from_numpy(positions), targets, weight)
    return tables


def refuse_synthetic(rows: Sequence[Row], split: Split) -> None:
    """Raise DataError when one of `rows` is synthetic: results on made-up rows would say nothing."""
    for row in rows:
        if row.origin == "synthetic":
            raise DataError(
                f"`{row.id}` is synthetic and lies in the {split} split. Synthetic rows may be learned from but never judged by; "
                "move it into train, or take it out."
            )
