"""Which tables of what a person pointed at are read, which column of each is which, and which split each is of.

They are one, one or several for each split, or all of a corpus. Their rows become candidates in `labels.py`.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ouvroir.data.blocks import block_bytes
from ouvroir.data.candidates import Collection
from ouvroir.data.columns import (
    Columns,
    NoSuchColumn,
    find_columns,
    find_text,
    head_in_doubt,
    label_like,
    most_name_files,
    read_head_as_row,
    read_head_as_text,
    without_unlikely_label,
)
from ouvroir.data.file_finder import FileFinder
from ouvroir.data.large_tables import Head, look_at
from ouvroir.data.listing import File, Listing, suffix_of
from ouvroir.data.tabular import TABLE_SUFFIXES, RawTable, open_table
from ouvroir.errors import DataError
from ouvroir.files import readable_names
from ouvroir.media import TASKS, find_task, suffixes_of
from ouvroir.recipe import Data
from ouvroir.records import SPLIT_NAMES, as_text
from ouvroir.source import Source
from ouvroir.task import Note, Split

_SAMPLE = 200  # rows looked at to tell where the files are


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
class Chosen:
    """The tables to read, none where folders serve; is_corpus: they and the files beside them are texts without labels."""

    tables: list[Used]
    is_corpus: bool = False


@dataclass(frozen=True)
class _Reading:
    """How tables are opened: what lies beside them, how many bytes they have together, whether folders say splits."""

    listing: Listing
    finder: FileFinder
    n_bytes: int
    has_split_folders: bool
    task: str
    data: Data

    def others(self, known: Sequence[File]) -> list[File]:
        """The tables beside and below those that are known."""
        locators = {file.locator for file in known}
        return [file for file in self.listing.files if file.suffix in TABLE_SUFFIXES and file.locator not in locators]


def choose_tables(
    collection: Collection,
    listing: Listing,
    tables: Sequence[File],
    data: Data,
    finder: FileFinder,
    *,
    is_only_source: bool,
) -> Chosen:
    """Open the tables and choose. What is left out, and what splits were taken from, is said. Raises DataError, MissingExtra."""
    named = {_split_in_name(file) for file in listing.files if file.suffix in TABLE_SUFFIXES}
    named |= {_split_in_folders(file) for file in listing.files}
    n_bytes = sum(file.size for file in tables)
    reading = _Reading(listing, finder, n_bytes, len(named - {None}) > 1, collection.task, data)
    opened: list[Used] = []
    failed: dict[str, DataError] = {}
    for file in tables:
        try:
            opened.append(_open(file, reading))
        except DataError as error:
            if is_only_source:
                raise
            failed[file.locator] = error
    if failed and not opened and _names_a_column(data):
        _raise_failed(list(failed.values()))
    used = _choose(opened, listing, collection, is_only_source=is_only_source)
    is_corpus = not is_only_source and _are_of_a_corpus(used, collection.task) and data.label_pattern is None
    again = {name for name, reason in failed.items() if is_corpus and isinstance(reason, NoSuchColumn)}
    for name, reason in failed.items():
        if name not in again:
            _say_ignored(collection, reason)
    if is_corpus:
        known = [file for file in tables if file.locator not in again]
        used = [*used, *_rest_of_corpus(collection, known, reading)]
    elif not is_only_source:
        used = [*used, *_of_splits_below(collection, tables, used, reading)]
    _say_folders(collection, used)
    return Chosen(used, is_corpus)


def _say_ignored(collection: Collection, error: DataError) -> None:
    collection.notes.append(Note("table_ignored", f"{error} The table was not used."))


def _raise_failed(errors: Sequence[DataError]) -> None:
    if len(errors) > 1 and all(isinstance(error, NoSuchColumn) for error in errors):
        raise DataError(f"{errors[0]} No other table beside it has it either.")
    raise errors[-1]


def _rest_of_corpus(collection: Collection, known: Sequence[File], reading: _Reading) -> list[Used]:
    """Tables of texts beside and below those of a corpus: parts of it as files there are, and without labels as these.

    They may lack a column that was named, and are read as if none had been.
    """
    rest = reading.others(known)
    n_bytes = sum(file.size for file in [*known, *rest])
    reading = replace(reading, n_bytes=n_bytes, data=replace(reading.data, labels=False, label_column=None))
    found: list[Used] = []
    lacking: dict[str, list[str]] = {}
    for file in rest:
        try:
            table, lacks = _open_as_usual(file, reading)
        except DataError as error:
            _say_ignored(collection, error)
            continue
        if table.columns.text is not None:
            found.append(table)
            for column in lacks:
                lacking.setdefault(column, []).append(file.path)
    for column, names in lacking.items():
        text = (
            f"Tables without the column `{column}` that was named are read as usual: {readable_names(names, most=3)}."
        )
        collection.notes.append(Note("column_lacking", text))
    return found


def _open_as_usual(file: File, reading: _Reading) -> tuple[Used, list[str]]:
    """A table, and the columns that were named and that it lacks."""
    lacks: list[str] = []
    while True:
        try:
            return _open(file, reading), lacks
        except NoSuchColumn as error:
            lacks.append(error.column)
            without: dict[str, Any] = {error.setting: None}
            reading = replace(reading, data=replace(reading.data, **without))


def _of_splits_below(
    collection: Collection, known: Sequence[File], used: Sequence[Used], reading: _Reading
) -> list[Used]:
    """Tables that lie deeper than those that are used, have the columns of one of them, and say a split as all of them do."""
    if not used or any(table.split is None for table in used):
        return []
    columns = {frozenset(table.raw.columns) for table in used}
    found = []
    for file in reading.others(known):
        if _said_split(file) is None:
            continue
        try:
            table = _open(file, reading)
        except DataError as error:
            _say_ignored(collection, error)
            continue
        has_rows = table.columns.text is not None or table.n_hits > 0
        if has_rows and frozenset(table.raw.columns) in columns:
            found.append(table)
    return found if _are_parts([*used, *found]) else []


def _say_folders(collection: Collection, used: Sequence[Used]) -> None:
    """A note on the folders that were taken as splits."""
    told = [table.file.folders for table in used if table.split is not None and _split_in_name(table.file) is None]
    if not told:
        return
    depth = {parts: next(at for at, name in enumerate(parts) if name.lower() in SPLIT_NAMES) for parts in told}
    folders = readable_names(dict.fromkeys("/".join(parts[: at + 1]) for parts, at in depth.items()), most=6)
    text = f"Taken as splits by their folders: {folders}."
    if any(table.split is None and table.columns.split is None for table in used):
        text += " All other tables are to learn from."
    collection.notes.append(Note("splits_by_folder", text))


def _names_a_column(data: Data) -> bool:
    """Whether the user expects a table."""
    return any((data.path_column, data.text_column, data.label_column, data.group_column))


def suffixes_of_named_files(root: str, table: File) -> Counter[str]:
    """How many files of each suffix the first rows of a table name by paths from its own place; empty when few do."""
    raw = look_at(root, table).raw
    finder = FileFinder(Listing(root), looks_outside=True)
    sample = raw.values[:: max(1, len(raw.values) // _SAMPLE)][:_SAMPLE]
    found = [
        [file.suffix for cell in row if isinstance(cell, str) and suffix_of(cell) for file in finder.find(cell, table)]
        for row in sample
    ]
    if sum(map(bool, found)) * 2 < len(sample):
        return Counter()
    return Counter(suffix for suffixes in found for suffix in suffixes)


def n_texts(listing: Listing, tables: Sequence[File]) -> int:
    """How many rows of tables hold a text, and name no file that is listed: what tells data of texts. Broken tables have none.

    Of a large table it is told from its first rows.
    """
    finder = FileFinder(listing)
    found = 0
    n_bytes = sum(table.size for table in tables)
    for table in tables:
        with suppress(DataError):
            head = look_at(listing.root, table, n_bytes=n_bytes)
            names_file = partial(_is_found, finder, table)
            if find_text(head.raw) is not None and most_name_files(head.raw, names_file) is None:
                found += head.n_rows
    return found


def hold_texts_alone(listing: Listing, tables: Sequence[File], task: str, data: Data) -> bool:
    """Whether tables hold texts, and no column that is one of labels: then they are a corpus.

    A column that may be one is in doubt, unless there is another table without such a column, or more text in files. Tables that
    neither hold texts nor name files nor have labels, as a list of authors may be, say nothing, nor do broken ones.
    """
    finder = FileFinder(listing)
    readable = suffixes_of(task)
    doubted: list[File] = []
    n_with_texts = 0
    n_bytes = sum(table.size for table in tables)
    for table in tables:
        try:
            raw = look_at(listing.root, table, n_bytes=n_bytes).raw
            columns = _find_columns(raw, partial(_is_found, finder, table), task, data)
        except DataError:
            continue
        columns = without_unlikely_label(raw, columns, data.label_column)
        may_be_labels = bool(label_like(raw, columns))
        if columns.label is not None or columns.path is not None or (may_be_labels and columns.text is None):
            return False
        n_with_texts += columns.text is not None
        doubted += [table] * may_be_labels
    n_in_files = sum(file.size for file in listing.files if file.suffix in readable)
    is_sure = n_with_texts > len(doubted) or n_in_files > sum(table.size for table in doubted)
    return n_with_texts > 0 and (not doubted or is_sure)


def _is_found(finder: FileFinder, table: File, cell: str) -> bool:
    return bool(finder.find(cell, table))


def _open(file: File, reading: _Reading) -> Used:
    """A table and its columns: whole, unless its first rows show that it is a large one to be read in blocks, or cannot serve."""
    finder, task, data = reading.finder, reading.task, reading.data
    readable = suffixes_of(task)

    def names_file(cell: str) -> bool:
        return any(found.suffix in readable for found in finder.find(cell, file))

    head = look_at(reading.listing.root, file, n_bytes=reading.n_bytes)
    raw, columns = head.raw, _find_columns(head.raw, names_file, task, data)
    is_head = not head.is_whole
    if block_bytes(task):
        columns = without_unlikely_label(raw, columns, data.label_column)
    if is_head:
        is_head = columns.text is not None and columns.label is None
        is_head &= bool(block_bytes(task)) or find_task(task).needs_labels
        if not is_head:
            raw = open_table(Source(reading.listing.root, file.locator), name=file.path)
            columns = _find_columns(raw, names_file, task, data)
    split = _said_split(file) if reading.has_split_folders else _split_in_name(file)
    n_hits = 0
    if columns.path is not None:
        n_hits = sum(names_file(as_text(cell)) for cell in raw.column(columns.path))
    return Used(file, raw, columns, split, n_hits, head if is_head else None)


def _said_split(file: File) -> Split | None:
    """The split that the name of a table says, or else a folder it lies in."""
    return _split_in_name(file) or _split_in_folders(file)


def _split_in_name(file: File) -> Split | None:
    return _split_named(re.split(r"[\W\d_]+", file.name.lower().rsplit(".", 1)[0]))


def _split_in_folders(file: File) -> Split | None:
    return _split_named(file.folders)


def _split_named(names: Iterable[str]) -> Split | None:
    """The split that the first of the names which says one says."""
    return next((SPLIT_NAMES[name.lower()] for name in names if name.lower() in SPLIT_NAMES), None)


def _find_columns(raw: RawTable, names_file: Callable[[str], bool], task: str, data: Data) -> Columns:
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


def _choose(opened: Sequence[Used], listing: Listing, collection: Collection, *, is_only_source: bool) -> list[Used]:
    """The tables to use: one, those of splits, or all of a corpus. Of others the table that names most files wins."""
    readable = suffixes_of(collection.task)
    loose = sum(file.suffix in readable for file in listing.files)
    serving = [table for table in opened if table.columns.text is not None or table.n_hits]
    if not serving and (is_only_source or not loose):
        serving = [table for table in opened if table.columns.path is not None]
        if not serving:
            _raise_no_path(opened, collection.task)
    labelled = [table for table in serving if table.columns.label is not None]
    if serving and not labelled and find_task(collection.task).needs_labels:
        text = _no_label_column(
            next((table for table in serving if label_like(table.raw, table.columns)), serving[0]), collection.task
        )
        if is_only_source or not any("/" in file.path for file in listing.files if file.suffix in readable):
            raise DataError(text)
        collection.notes.append(Note("table_ignored", text + " Folders were taken as classes instead."))
        return []
    serving = labelled or serving
    if _are_of_a_corpus(serving, collection.task):
        return serving
    by_split = [table for table in serving if table.split is not None]
    if len({table.split for table in by_split}) > 1 and _are_parts(by_split):
        return by_split
    if len({_said_split(table.file) for table in serving} - {None}) == 1 and _are_parts(serving):
        return serving
    serving = sorted(serving, key=lambda table: -table.n_hits)
    if len(serving) > 1 and serving[0].n_hits == serving[1].n_hits:
        names = readable_names(table.file.path for table in serving)
        what = "name as many files each" if serving[0].n_hits else "hold texts"
        raise DataError(
            f"Several tables {what}: {names}. Give the path of the one to use. Tables of the same columns are all used where "
            "they lie in folders that are called like a split, as `train` or `test`."
        )
    return serving[:1]


def _are_parts(tables: Sequence[Used]) -> bool:
    """Whether each table says a split, and those of one split are of one kind and have the same columns.

    Where their names say it, names in one folder differ by numbers alone: `train_old` is another table than `train`.
    """
    of_split: dict[Split | None, list[Used]] = {}
    for table in tables:
        of_split.setdefault(_said_split(table.file), []).append(table)
    for parts in of_split.values():
        kinds = {(table.file.suffix, frozenset(table.raw.columns)) for table in parts}
        files = [table.file for table in parts if _split_in_name(table.file) is not None]
        names = {(file.folders, re.sub(r"\d+", "", file.name)) for file in files}
        if len(kinds) > 1 or len(names) > len({folders for folders, _ in names}):
            return False
    return None not in of_split


def _are_of_a_corpus(tables: Sequence[Used], task: str) -> bool:
    """Whether texts are learned from as they are: without labels, by a task that cuts files into blocks.

    Beside tables of texts others may name files of them.
    """
    are_alone = all(table.columns.label is None for table in tables)
    return are_alone and any(table.columns.text is not None for table in tables) and block_bytes(task) > 0


def _raise_no_path(opened: Sequence[Used], task: str) -> None:
    if opened:
        table = opened[0].raw
        raise DataError(
            f"No column of `{table.name}` names files that {task} reads. Its columns are: {', '.join(table.columns)}. "
            "Say which one holds the paths with --set data.path_column=NAME, and give the table beside its files."
        )


def _no_label_column(table: Used, task: str) -> str:
    like = label_like(table.raw, table.columns)
    example = f", for instance --set data.label_column={shlex.quote(like[0])}" if like else ""
    what = "names files" if table.columns.text is None else "holds texts"
    found = (
        f"`{table.raw.name}` {what}, but no column is named like a label. "
        f"Its columns are: {', '.join(table.raw.columns)}. Say which one with --set data.label_column=NAME{example}."
    )
    other = TASKS[task].unlabelled if task in TASKS and table.columns.text is not None else None
    return f"{found} Or learn from the texts without labels: --task {other}." if other else found
