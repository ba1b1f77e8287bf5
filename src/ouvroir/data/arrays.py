"""Arrays on a disk: safetensors files, written in one go or piece by piece, and opened as memory maps.

Only the file format lives here. What the arrays mean is known in `pack.py` and `facts.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from ouvroir.errors import ManifestError
from ouvroir.files import whole_file

ALIGNMENT = 64  # bytes; every array starts at a multiple, so that a map of the file can be viewed as its dtype
_CODES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}
_DTYPES = {code: name for name, code in _CODES.items()}
_DATA_NAME = "data_name"
NAMES_FILE = "data_names.txt"  # in the folder of a pack: the names of the data whose rows it holds, one a line
_FILLER = "__filler__"

Layout = dict[str, tuple[str, tuple[int, ...]]]
"""Name to (dtype name, shape), in the order in which the arrays follow each other."""


def n_bytes_of(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of one array."""
    size = np.dtype(dtype).itemsize
    for length in shape:
        size *= length
    return size


def place(layout: Layout) -> tuple[dict[str, int], int]:
    """Where each array starts, counted from the end of the header, and where the last one ends."""
    starts: dict[str, int] = {}
    end = 0
    for name, (dtype, shape) in layout.items():
        starts[name] = end + -end % ALIGNMENT
        end = starts[name] + n_bytes_of(dtype, shape)
    return starts, end


def header_bytes(layout: Layout, *, room: int | None = None) -> bytes:
    """The header of a safetensors file, padded with blanks to `room` bytes or to the alignment.

    The format allows no holes between arrays, so the bytes that align them are arrays of their own.
    """
    entries: dict[str, object] = {"__metadata__": {"format": "ouvroir"}}
    starts, _ = place(layout)
    end = 0
    for number, (name, (dtype, shape)) in enumerate(layout.items()):
        if starts[name] > end:
            hole = [end, starts[name]]
            entries[f"{_FILLER}{number}"] = {"dtype": "U8", "shape": [hole[1] - hole[0]], "data_offsets": hole}
        end = starts[name] + n_bytes_of(dtype, shape)
        entries[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [starts[name], end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    size = len(text) + 8
    size += -size % ALIGNMENT if room is None else room - size
    assert size >= len(text) + 8, "the room kept for the header is too small"
    return (size - 8).to_bytes(8, "little") + text.ljust(size - 8)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as one safetensors file, whole or not at all. Raises DiskFull."""
    layout: Layout = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
    starts, _ = place(layout)
    header = header_bytes(layout)
    with whole_file(path) as file:
        file.write(header)
        for name, array in arrays.items():
            file.write(b"\0" * (len(header) + starts[name] - file.tell()))
            if array.size:
                file.write(np.ascontiguousarray(array).data.cast("B"))


def data_named(name: str) -> dict[str, np.ndarray]:
    """The name of the data that a file was made from as an array, to be written with the others: `ouvroir cache` shows it."""
    return {_DATA_NAME: np.frombuffer(name.encode("utf-8", "replace"), dtype=np.uint8)}


def data_name_in(path: Path) -> str:
    """The name that `data_named` put into a file, '' when there is none. Raises as `map_arrays`."""
    arrays = map_arrays(path)
    return arrays[_DATA_NAME].tobytes().decode("utf-8") if _DATA_NAME in arrays else ""


def map_arrays(path: Path) -> dict[str, np.ndarray]:
    """Open a safetensors file as arrays over one private memory map; nothing written to them reaches the file.

    Raises ManifestError when the file is damaged, FileNotFoundError when it is absent.
    """
    with open(path, "rb") as file:
        header, start = _read_header(file, path)
    try:
        whole = np.memmap(path, dtype=np.uint8, mode="c")
        return {
            name: _view(whole, start, entry)
            for name, entry in header.items()
            if name != "__metadata__" and not name.startswith(_FILLER)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{path} is damaged: {error}. Delete it, and it is made again.") from error


def _read_header(file: IO[bytes], path: Path) -> tuple[dict[str, dict[str, object]], int]:
    size = int.from_bytes(file.read(8), "little")
    try:
        if not 0 < size <= os.fstat(file.fileno()).st_size:
            raise ValueError("it ends within its header")
        header = json.loads(file.read(size))
    except ValueError as error:
        raise ManifestError(f"{path} is damaged: {error}. Delete it, and it is made again.") from error
    return header, size + 8


def _view(whole: np.ndarray, start: int, entry: Mapping[str, object]) -> np.ndarray:
    first, last = entry["data_offsets"]  # type: ignore[misc]
    dtype = np.dtype(_DTYPES[str(entry["dtype"])])
    shape = tuple(int(length) for length in entry["shape"])  # type: ignore[attr-defined]
    if start + last > len(whole):  # type: ignore[has-type]
        raise ValueError("it is shorter than its header says")
    flat = whole[start + first : start + last]  # type: ignore[has-type]
    return np.asarray(flat).view(dtype).reshape(shape)
