"""hashes.json: the SHA-256 of every file in a folder, kept in it, so that a file which was damaged or lost is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

HASHES = "hashes.json"


def hash_file(path: Path) -> str:
    """SHA-256 of one file as hex. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under `folder` by its relative path, without the list itself. Raises OSError."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / HASHES)
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


def damages(folder: Path, wanted: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Files of the list `wanted` that are not as they were written, and whether they are there. Raises OSError."""
    for name, digest in wanted.items():
        path = folder / name
        is_there = path.is_file()
        if not is_there or hash_file(path) != digest:
            yield name, is_there
