"""Rows of a Parquet file, read a slice at a time and from the front to the back: what was opened last stays open."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ouvroir.errors import DataError, MissingExtra
from ouvroir.records import Cells

_BATCH_BYTES = 1 << 20  # of rows that are decoded at a time, about
_MOST_ROWS = 1024
_BUFFER = 1 << 18  # bytes read at a time of each column, so that no row group is read whole


class RowGroups:
    """An open file. `columns`: the cells of each row, in this order; `names`: all columns that it has."""

    def __init__(self, path: Path, columns: Sequence[str] | None = None) -> None:
        """Raises DataError, MissingExtra and OSError."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise MissingExtra(f"Reading `{path.name}`", "table") from error
        self._broken = pyarrow.ArrowException
        self.path = path
        try:
            self._file = pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
        except pyarrow.ArrowException as error:
            raise self._unreadable(error) from error
        meta = self._file.metadata
        sizes = [meta.row_group(number).num_rows for number in range(meta.num_row_groups)]
        self._starts = list(accumulate(sizes[:-1], initial=0)) if sizes else []
        self.names = list(self._file.schema_arrow.names)
        self.columns = list(self.names if columns is None else columns)
        self.n_rows = int(meta.num_rows)
        self.n_bytes = sum(meta.row_group(number).total_byte_size for number in range(meta.num_row_groups))
        self._at = 0
        self._kept: deque[Sequence[Any]] = deque()
        self._batches: Iterator[Any] = iter(())
        self._go_to(0)

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(f"`{self.path.name}` could not be read as Parquet: {error}. Write it again.")

    def _go_to(self, start: int) -> None:
        """Begin anew at the row group in which row `start` is."""
        group = max((number for number, first in enumerate(self._starts) if first <= start), default=0)
        self._at = self._starts[group] if self._starts else 0
        self._kept.clear()
        n = max(1, min(_MOST_ROWS, _BATCH_BYTES * self.n_rows // max(1, self.n_bytes)))
        groups = list(range(group, len(self._starts)))
        self._batches = self._file.iter_batches(
            batch_size=n, row_groups=groups, columns=list(dict.fromkeys(self.columns)), use_threads=False
        )

    def rows(self, start: int, n: int) -> Iterator[Sequence[Any]]:
        """The rows from `start` on, n of them or as many as there are. Raises DataError."""
        group = max((first for first in self._starts if first <= start), default=0)
        if start < self._at or group > self._at + len(self._kept):
            self._go_to(start)
        while self._at < start + n:
            if not self._kept:
                try:
                    batch = next(self._batches, None)
                except (self._broken, OSError) as error:
                    raise self._unreadable(error) from error
                if batch is None:
                    return
                if self._at + batch.num_rows <= start:
                    self._at += batch.num_rows
                    continue
                cells = {name: batch.column(place).to_pylist() for place, name in enumerate(batch.schema.names)}
                self._kept.extend(zip(*(cells[name] for name in self.columns), strict=True))
            row = self._kept.popleft()
            self._at += 1
            if self._at > start:
                yield row


class _Open(threading.local):
    """The file that a thread read last."""

    key: tuple[Any, ...] = ()
    file: RowGroups | None = None


_OPEN = _Open()


def texts_of_rows(path: Path, start: int, n: int, cells: Cells) -> bytes:
    """The texts of n rows from `start` on in UTF-8, joined by newlines; b"" where the columns are not there.

    Raises DataError, MissingExtra and OSError.
    """
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns, status.st_ino, cells.columns)
    if _OPEN.file is None or _OPEN.key != key:
        _OPEN.file, _OPEN.key = RowGroups(path, cells.columns), key
    if not set(cells.columns) <= set(_OPEN.file.names):
        return b""
    try:
        return "\n".join(cells.texts(_OPEN.file.rows(start, n))).encode("utf-8")
    except DataError:
        _OPEN.file = None
        raise
