"""Tables that are opened to see which serve: their columns, and the split that each says. `chosen_tables.py` chooses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ouvroir.data.blocks import block_bytes
from ouvroir.data.candidates import Collection
from ouvroir.data.columns import (
    Columns,
    find_columns,
    head_in_doubt,
    read_head_as_row,
    read_head_as_text,
    without_unlikely_label,
)
from ouvroir.data.file_finder import FileFinder
from ouvroir.data.large_tables import Head, look_at
from ouvroir.data.listing import File, Listing, suffix_of
from ouvroir.data.tabular import TABLE_SUFFIXES, RawTable, open_table
from ouvroir.errors import DataError
from ouvroir.media import TASKS, find_task, suffixes_of
from ouvroir.recipe import Data
from ouvroir.records import SPLIT_NAMES, as_text
from ouvroir.source import Source
from ouvroir.task import Note, Split


@dataclass(frozen=True)
class Used:
    """A table that is used, its columns, and the split that its name or a folder says.

    `head`: where only its first rows are in `raw`.
    """

    file: File
    raw: RawTable
    columns: Columns
    split: Split | None
    n_hits: int
    head: Head | None = None


@dataclass(frozen=True)
class Said:
    """The split that a table says. `place`: what says it, its own path or that of a folder; `parent`: the folder around this."""

    split: Split
    place: str
    parent: str
    by_folder: bool


@dataclass(frozen=True)
class Reading:
    """How tables are opened, and what came of it. `n_bytes`: of all together; says_splits: whether names or folders say several."""

    listing: Listing
    finder: FileFinder
    n_bytes: int
    says_splits: bool
    collection: Collection
    data: Data
    opened: dict[str, Used] = field(default_factory=dict)
    failed: dict[str, DataError] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task that the tables are for."""
        return self.collection.task

    def others(self, known: Iterable[File]) -> list[File]:
        """The tables beside and below those that are known."""
        locators = {file.locator for file in known}
        return [file for file in self.listing.files if file.suffix in TABLE_SUFFIXES and file.locator not in locators]

    def open(self, file: File) -> Used | None:
        """A table, opened once, or None where it cannot be."""
        if file.locator not in self.opened and file.locator not in self.failed:
            try:
                self.opened[file.locator] = open_in(file, self)
            except DataError as error:
                self.failed[file.locator] = error
        return self.opened.get(file.locator)

    def leave_out(self, file: File, reason: str) -> None:
        """Say why a table is not used."""
        text = f"{reason} The table was not used."
        self.left_out[file.locator] = text
        self.collection.notes.append(Note("table_ignored", text))


def said_split(file: File) -> Said | None:
    """The split that a table says: the folder nearest to it that is called like one, unless its own name says another."""
    words = re.split(r"[\W\d_]+", file.name.lower().rsplit(".", 1)[0])
    in_name = next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)
    folders = file.folders
    for at in reversed(range(len(folders))):
        split = SPLIT_NAMES.get(folders[at].lower())
        if split is not None and in_name in (None, split):
            return Said(split, "/".join(folders[: at + 1]), "/".join(folders[:at]), by_folder=True)
        if split is not None:
            break
    return None if in_name is None else Said(in_name, file.path, "/".join(folders), by_folder=False)


def serves(table: Used) -> bool:
    """Whether it holds texts or names files that are there."""
    return table.columns.text is not None or table.n_hits > 0


def of_use(tables: Sequence[Used], task: str) -> list[Used]:
    """Those that serve: with labels, or, where none has some and the task needs none, all."""
    serving = [table for table in tables if serves(table)]
    labelled = [table for table in serving if table.columns.label is not None]
    return labelled if labelled or find_task(task).needs_labels else serving


def open_in(file: File, reading: Reading) -> Used:
    """A table and its columns: whole, unless its first rows show that it is a large one to be read in blocks, or cannot serve."""
    finder, task, data = reading.finder, reading.task, reading.data
    readable = suffixes_of(task)

    def names_file(cell: str) -> bool:
        return any(found.suffix in readable for found in finder.find(cell, file))

    head = look_at(reading.listing.root, file, n_bytes=reading.n_bytes)
    raw, columns = head.raw, columns_in(head.raw, names_file, task, data)
    is_head = not head.is_whole
    if block_bytes(task):
        columns = without_unlikely_label(raw, columns, data.label_column)
    if is_head:
        is_head = columns.text is not None and columns.label is None
        is_head &= bool(block_bytes(task)) or find_task(task).needs_labels
        if not is_head and (columns.text, columns.path, columns.label) != (None, None, None):
            raw = open_table(Source(reading.listing.root, file.locator), name=file.path)
            columns = columns_in(raw, names_file, task, data)
    said = said_split(file)
    split = None if said is None or (said.by_folder and not reading.says_splits) else said.split
    n_hits = 0
    if columns.path is not None:
        n_hits = sum(names_file(as_text(cell)) for cell in raw.column(columns.path))
    return Used(file, raw, columns, split, n_hits, head if is_head else None)


def columns_in(raw: RawTable, names_file: Callable[[str], bool], task: str, data: Data) -> Columns:
    """Which column is which; the line that their names were read from may turn out to be a row."""
    readable = suffixes_of(task)
    path_names = TASKS[task].columns if task in TASKS else ()
    read_head_as_row(raw, names_file, path_names)
    is_text = find_task(task).reads_text
    if is_text and data.text_column is None and data.label_column is None:
        read_head_as_text(raw)
    columns = find_columns(
        raw,
        names_file=names_file,
        looks_like_file=lambda cell: suffix_of(cell) in readable,
        path_column=data.path_column,
        text_column=data.text_column,
        label_column=data.label_column,
        group_column=data.group_column,
        reads_text=is_text,
        path_names=path_names,
    )
    if not data.labels:
        columns = columns.without_label()
    if columns.text is not None and (doubt := head_in_doubt(raw, columns.text)):
        raw.notes.append(Note("head_in_doubt", doubt))
    return columns
