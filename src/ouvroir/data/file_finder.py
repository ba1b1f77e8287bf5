"""Which file a cell of a table names: a path from the table's own place or from above, or a name without its suffix."""

from __future__ import annotations

import os
import stat
from functools import cached_property
from pathlib import Path

from ouvroir.data.listing import File, Listing, suffix_of
from ouvroir.records import SPLIT_NAMES
from ouvroir.source import FOLDER, ZIP_SEPARATOR
from ouvroir.task import Split


class FileFinder:
    """Which listed file a table cell names."""

    def __init__(self, listing: Listing, *, looks_outside: bool = False) -> None:
        self._root = listing.root
        self._looks_outside = looks_outside
        self._by_path = {file.path.rstrip(FOLDER): file for file in listing.files}
        self._by_name: dict[str, list[File]] = {}
        for file in listing.files:
            name = file.name
            self._by_name.setdefault(name, []).append(file)
            stem = name.rsplit(".", 1)[0]
            if stem != name:
                self._by_name.setdefault(stem, []).append(file)

    def find(self, cell: str, table: File, *, split: Split | None = None) -> list[File]:
        """The file named by `cell` in `table`: one, none, or several when the name is ambiguous."""
        value = cell.strip().replace("\\", "/").removeprefix("./").rstrip(FOLDER)
        folder = table.path.rsplit("/", 1)[0] + "/" if "/" in table.path else ""
        for path in (folder + value, value):
            if path in self._by_path:
                return [self._by_path[path]]
        if self._looks_outside and (found := self._find_outside(value, folder)):
            return found
        if value.startswith("/") or ".." in value.split("/"):
            return [] if ZIP_SEPARATOR in table.locator else self._find_outside(value, folder)
        named = [
            file
            for file in self._by_name.get(value.rsplit("/", 1)[-1], [])
            if _ends_like(file.path.rstrip(FOLDER), value)
        ]
        if len(named) > 1 and split is not None:
            named = [file for file in named if split in map(SPLIT_NAMES.get, file.path.lower().split("/"))] or named
        return named

    def find_in_other_case(self, cell: str) -> File | None:
        """The listed file whose path or name is `cell` but for capitals, or None."""
        value = cell.strip().replace("\\", "/").removeprefix("./").casefold()
        named = self._by_small_name.get(value.rsplit("/", 1)[-1], [])
        return next((file for file in named if _ends_like(file.path.casefold(), value)), None)

    @cached_property
    def _by_small_name(self) -> dict[str, list[File]]:
        found: dict[str, list[File]] = {}
        for name, files in self._by_name.items():
            found.setdefault(name.casefold(), []).extend(files)
        return found

    def _find_outside(self, value: str, folder: str) -> list[File]:
        """A path that is not in the listing: the user's own table may name files anywhere on the disk."""
        absolute = os.path.normpath(Path(self._root) / folder / value)
        inside = os.path.relpath(absolute, self._root)
        if inside in self._by_path:
            return [self._by_path[inside]]
        try:
            status = Path(absolute).stat()
        except (OSError, ValueError):
            return []
        if not stat.S_ISREG(status.st_mode) or ZIP_SEPARATOR in absolute:
            return []
        locator = absolute if inside.startswith("..") else inside
        return [File(locator, locator, status.st_size, status.st_mtime_ns)]


def _ends_like(path: str, value: str) -> bool:
    return any(f"/{whole}".endswith(f"/{value}") for whole in (path, path[: -len(suffix_of(path)) or None]))
