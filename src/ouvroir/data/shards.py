"""One shard of a pack: a safetensors file of encoded rows, written row by row, whole or not at all.

Arrays of a shard with n rows: `keys` (n, 32) uint8, the SHA-256 of each row's content (all zero: the place is unused);
each field of fixed shape as (n, ...); each ragged field as its values end to end and `<name>.offsets` (n + 1,) int64.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from ouvroir.data.arrays import Layout, header_bytes, n_bytes_of, place
from ouvroir.errors import ManifestError
from ouvroir.files import disk_errors, sync_folder
from ouvroir.task import Field

KEYS = "keys"
KEY_BYTES = 32
_LARGEST_LENGTH = 10**15  # stands for an unknown length when room for the header is set aside


def offsets_name(field: str) -> str:
    """The array that holds where the rows of a ragged field begin."""
    return f"{field}.offsets"


def fixed_row_bytes(fields: Mapping[str, Field]) -> int:
    """Bytes of one row without what is ragged."""
    total = KEY_BYTES
    for field in fields.values():
        total += 8 if field.is_ragged else n_bytes_of(field.dtype, _fixed(field.shape))
    return total


def _fixed(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    if any(length is None for length in shape):
        raise ValueError("only the first axis of a field may be ragged")
    return tuple(length for length in shape if length is not None)


def layout_of(fields: Mapping[str, Field], n: int, lengths: Mapping[str, int]) -> Layout:
    """The arrays of a shard with `n` rows; `lengths` are those of the ragged values. What is ragged comes last."""
    layout: Layout = {KEYS: ("uint8", (n, KEY_BYTES))}
    for name, field in fields.items():
        if field.is_ragged:
            layout[offsets_name(name)] = ("int64", (n + 1,))
        else:
            layout[name] = (field.dtype, (n, *_fixed(field.shape)))
    for name, field in fields.items():
        if field.is_ragged:
            layout[name] = (field.dtype, (lengths[name], *_fixed(field.shape[1:])))
    return layout


def check_shard(arrays: Mapping[str, np.ndarray], fields: Mapping[str, Field], path: Path) -> None:
    """Raise ManifestError when the arrays of a shard are not those of these fields."""
    n = len(arrays[KEYS]) if KEYS in arrays else -1
    try:
        lengths = {name: len(arrays[name]) for name, field in fields.items() if field.is_ragged}
        expected = layout_of(fields, n, lengths)
        is_right = expected == {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
    except KeyError:
        is_right = False
    if n < 0 or not is_right:
        raise ManifestError(f"{path} does not hold what it should. Delete it, and it is made again.")


class ShardWriter:
    """Writes up to `n_rows` rows to `path`. Use as a context manager: the file appears when the block ends well."""

    def __init__(self, path: Path, fields: Mapping[str, Field], n_rows: int) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._fields = dict(fields)
        self._n_rows = n_rows
        self._n_added = 0
        self._ragged = [name for name, field in fields.items() if field.is_ragged]
        self._lengths = {name: np.zeros(n_rows, dtype=np.int64) for name in self._ragged}
        guess = layout_of(fields, n_rows, dict.fromkeys(self._ragged, _LARGEST_LENGTH))
        self._room = len(header_bytes(guess)) + 64 * len(self._ragged)
        self._spools: dict[str, IO[bytes]] = {}

    def __enter__(self) -> ShardWriter:
        with disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._temporary, "w+b", buffering=0)
            self._starts, _ = place(layout_of(self._fields, self._n_rows, dict.fromkeys(self._ragged, 0)))
            for name in self._ragged:
                self._spools[name] = tempfile.TemporaryFile(dir=self._path.parent, buffering=0)
        return self

    def add(self, key: bytes, example: Mapping[str, np.ndarray]) -> None:
        """Write one row. `key`: the 32 bytes of its content's SHA-256. Raises DiskFull."""
        row = self._n_added
        assert row < self._n_rows, "more rows than the shard was made for"
        with disk_errors(self._path):
            for name, field in self._fields.items():
                array = example[name]
                check_array(name, field, array)
                data = np.ascontiguousarray(array).data
                if field.is_ragged:
                    _write_all(self._spools[name], data)
                    self._lengths[name][row] = len(array)
                else:
                    self._write(data, self._starts[name] + row * array.nbytes)
            self._write(memoryview(key), self._starts[KEYS] + row * KEY_BYTES)
        self._n_added += 1

    def _write(self, data: memoryview, start: int) -> None:
        data = data.cast("B") if data.nbytes else memoryview(b"")
        done = 0
        while done < len(data):
            done += os.pwrite(self._file.fileno(), data[done:], self._room + start + done)

    def _finish(self) -> None:
        lengths = {name: int(self._lengths[name].sum()) for name in self._ragged}
        layout = layout_of(self._fields, self._n_rows, lengths)
        starts, end = place(layout)
        self._file.truncate(self._room + end)
        for name in self._ragged:
            offsets = np.concatenate([[0], np.cumsum(self._lengths[name])]).astype(np.int64)
            self._write(offsets.data, starts[offsets_name(name)])
            self._file.seek(self._room + starts[name])
            self._spools[name].seek(0)
            while chunk := self._spools[name].read(1 << 20):
                _write_all(self._file, memoryview(chunk))
        self._file.seek(0)
        _write_all(self._file, memoryview(header_bytes(layout, room=self._room)))
        os.fsync(self._file.fileno())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._n_added:
                with disk_errors(self._path):
                    self._finish()
                    os.replace(self._temporary, self._path)
                    sync_folder(self._path.parent)
        finally:
            for file in (self._file, *self._spools.values()):
                file.close()
            self._temporary.unlink(missing_ok=True)


def _write_all(file: IO[bytes], data: memoryview) -> None:
    """An unbuffered file may take less than it is given, and says so."""
    data = data.cast("B") if data.nbytes else memoryview(b"")
    done = 0
    while done < len(data):
        done += file.write(data[done:])


def check_array(name: str, field: Field, array: np.ndarray) -> None:
    """An encoder that does not keep to its own fields is our mistake, not the user's."""
    wanted = field.shape[1:] if field.is_ragged else field.shape
    given = array.shape[1:] if field.is_ragged else array.shape
    assert array.dtype.name == field.dtype, f"`{name}` is {array.dtype.name}, and {field.dtype} was declared"
    assert given == wanted, f"`{name}` has shape {array.shape}, and {field.shape} was declared"
