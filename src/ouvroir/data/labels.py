"""Label tables: their rows are joined to the files they name, and become candidates.

A table may lie beside or inside the folder or zip of its files, say paths from its own place or from anywhere above, or
only the names of files without their suffix. Every row has one outcome, and so has every file that no row names.
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

from ouvroir.data.blocks import block_length
from ouvroir.data.candidates import Candidate, Collection
from ouvroir.data.columns import (
    Columns,
    as_label,
    find_columns,
    find_text,
    head_in_doubt,
    is_label_by_name,
    label_like,
    most_name_files,
    other_texts,
    proposed_group_columns,
    proposed_separator,
    read_head_as_row,
    read_head_as_text,
    without_unlikely_label,
)
from ouvroir.data.file_finder import FileFinder
from ouvroir.data.folders import read_folders
from ouvroir.data.large_tables import Head, add_blocks, look_at
from ouvroir.data.listing import File, Listing, suffix_of
from ouvroir.data.tabular import TABLE_SUFFIXES, RawTable, open_table
from ouvroir.errors import DataError
from ouvroir.media import TASKS, find_task, suffixes_of
from ouvroir.recipe import Data
from ouvroir.records import SPLIT_NAMES, as_text, n_turns
from ouvroir.source import Source
from ouvroir.task import Note, Split

_SAID = 20  # tables of which it is said how each was read
_SAMPLE = 200  # rows looked at to tell where the files are


@dataclass(frozen=True)
class _Used:
    """A table that is used, its columns, and the split its name says. `head`: where only its first rows are in `raw`."""

    file: File
    raw: RawTable
    columns: Columns
    split: Split | None
    n_hits: int
    head: Head | None = None


@dataclass(frozen=True)
class _Reading:
    """How tables are opened: what lies beside them, how many bytes they have together, whether folders say splits."""

    listing: Listing
    finder: FileFinder
    n_bytes: int
    has_split_folders: bool
    task: str
    data: Data


def read_labelled_tables(
    collection: Collection, listing: Listing, tables: Sequence[File], data: Data, *, is_only_source: bool
) -> bool:
    """Make candidates from the tables that name files. False when none serves, so that folders must.

    `is_only_source`: the user named the table itself, so it must serve, and files it does not name are no concern.
    Raises DataError and MissingExtra.
    """
    if not tables:
        return False
    finder = FileFinder(listing, looks_outside=is_only_source)
    has_split_folders = len({_split_named(file.folders) for file in listing.files} - {None}) > 1
    n_bytes = sum(file.size for file in tables)
    reading = _Reading(listing, finder, n_bytes, has_split_folders, collection.task, data)
    opened: list[_Used] = []
    for file in tables:
        try:
            opened.append(_open(file, reading))
        except DataError as error:
            if is_only_source or (file is tables[-1] and not opened and _names_a_column(data)):
                raise
            collection.notes.append(Note("table_ignored", f"{error} The table was not used."))
    used = _choose(opened, listing, collection, is_only_source=is_only_source)
    if not used:
        return False
    is_corpus = not is_only_source and _are_of_a_corpus(used, collection.task) and data.label_pattern is None
    if is_corpus:
        used = [*used, *_below(collection, tables, reading)]
    for number, table in enumerate(used):
        collection.notes.extend(table.raw.notes)
        if number < _SAID:
            _say_columns(collection, table, data)
    if len(used) > _SAID:
        text = f"Tables that were read beside these: {len(used) - _SAID:,}, such as `{used[_SAID].file.path}`."
        collection.notes.append(Note("tables_used", text))
    named = _add_rows(collection, used, finder, data)
    if is_only_source:
        of_folder = set(listing.refused)
        collection.refused = [refusal for refusal in collection.refused if refusal not in of_folder]
    elif is_corpus:
        _add_files_beside(collection, listing, used, data)
    else:
        _refuse_unnamed(collection, listing, used, named)
    _unify_labels(collection)
    return True


def _below(collection: Collection, tables: Sequence[File], reading: _Reading) -> list[_Used]:
    """Tables of texts in folders below those of a corpus, parts of it as files there are, and without labels as these."""
    known = {file.locator for file in tables}
    below = [file for file in reading.listing.files if file.suffix in TABLE_SUFFIXES and file.locator not in known]
    n_bytes = sum(file.size for file in [*tables, *below])
    reading = replace(reading, n_bytes=n_bytes, data=replace(reading.data, labels=False, label_column=None))
    found = []
    for file in below:
        try:
            found.append(_open(file, reading))
        except DataError as error:
            collection.notes.append(Note("table_ignored", f"{error} The table was not used."))
    return [table for table in found if table.columns.text is not None]


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


def _open(file: File, reading: _Reading) -> _Used:
    """A table and its columns: whole, unless its first rows show that it is a large one to be read in blocks, or cannot serve."""
    finder, task, data = reading.finder, reading.task, reading.data
    readable = suffixes_of(task)

    def names_file(cell: str) -> bool:
        return any(found.suffix in readable for found in finder.find(cell, file))

    head = look_at(reading.listing.root, file, n_bytes=reading.n_bytes)
    raw, columns = head.raw, _find_columns(head.raw, names_file, task, data)
    is_head = not head.is_whole
    if _block_bytes(task):
        columns = without_unlikely_label(raw, columns, data.label_column)
    if is_head:
        is_head = columns.text is not None and columns.label is None
        is_head &= bool(_block_bytes(task)) or find_task(task).needs_labels
        if not is_head:
            raw = open_table(Source(reading.listing.root, file.locator))
            columns = _find_columns(raw, names_file, task, data)
    split = _split_named(re.split(r"[\W\d_]+", raw.name.lower().rsplit(".", 1)[0]))
    if split is None and reading.has_split_folders:
        split = _split_named(file.folders)
    n_hits = 0
    if columns.path is not None:
        n_hits = sum(names_file(as_text(cell)) for cell in raw.column(columns.path))
    return _Used(file, raw, columns, split, n_hits, head if is_head else None)


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


def _block_bytes(task: str) -> int:
    return TASKS[task].block_bytes if task in TASKS else 0


def _choose(opened: Sequence[_Used], listing: Listing, collection: Collection, *, is_only_source: bool) -> list[_Used]:
    """The tables to use: one, one for each split, or all of a corpus. The table that names most files wins."""
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
    if len({table.split for table in by_split}) > 1 and len({table.split for table in by_split}) == len(by_split):
        return by_split
    serving = sorted(serving, key=lambda table: -table.n_hits)
    if len(serving) > 1 and serving[0].n_hits == serving[1].n_hits:
        names = ", ".join(f"`{table.file.path}`" for table in serving)
        what = "name as many files each" if serving[0].n_hits else "hold texts"
        raise DataError(f"Several tables {what}: {names}. Give the path of the one to use.")
    return serving[:1]


def _are_of_a_corpus(tables: Sequence[_Used], task: str) -> bool:
    """Whether the tables hold texts that are learned from as they are: without labels, by a task that cuts files into blocks."""
    are_alone = all(table.columns.text is not None and table.columns.label is None for table in tables)
    return bool(tables) and are_alone and _block_bytes(task) > 0


def _raise_no_path(opened: Sequence[_Used], task: str) -> None:
    if opened:
        table = opened[0].raw
        raise DataError(
            f"No column of `{table.name}` names files that {task} reads. Its columns are: {', '.join(table.columns)}. "
            "Say which one holds the paths with --set data.path_column=NAME, and give the table beside its files."
        )


def _no_label_column(table: _Used, task: str) -> str:
    like = label_like(table.raw, table.columns)
    example = f", for instance --set data.label_column={shlex.quote(like[0])}" if like else ""
    what = "names files" if table.columns.text is None else "holds texts"
    found = (
        f"`{table.raw.name}` {what}, but no column is named like a label. "
        f"Its columns are: {', '.join(table.raw.columns)}. Say which one with --set data.label_column=NAME{example}."
    )
    other = TASKS[task].unlabelled if task in TASKS and table.columns.text is not None else None
    return f"{found} Or learn from the texts without labels: --task {other}." if other else found


def _say_columns(collection: Collection, table: _Used, data: Data) -> None:
    names = table.raw.columns
    places = {
        "paths": table.columns.path,
        "texts": table.columns.text,
        "labels": table.columns.label,
        "splits": table.columns.split,
        "groups": table.columns.group,
    }
    said = ", ".join(f"{what} from `{names[place]}`" for what, place in places.items() if place is not None)
    collection.notes.append(Note("table_used", f"`{table.raw.name}` was read: {said}."))
    if table.columns.label is not None and data.label_separator is None:
        separator = proposed_separator(table.raw.column(table.columns.label))
        if separator is not None:
            cells = map(as_text, table.raw.column(table.columns.label))
            example = next(cell for cell in cells if separator in cell.strip(separator))
            text = (
                f"Labels of `{table.raw.name}` look like lists, such as `{example}`. If a file may have several labels, say "
                f"what stands between them; otherwise `{example}` is one label."
            )
            collection.notes.append(Note("separator_proposed", text, {"data.label_separator": separator}))
    _say_doubt(collection, table, data)
    if (
        table.columns.text is not None
        and data.text_column is None
        and (others := other_texts(table.raw, table.columns))
    ):
        shown = ", ".join(f"`{name}`" for name in others[:3])
        text = f"One column of texts is read, and `{table.raw.name}` has others: {shown}."
        collection.notes.append(Note("texts_unread", text, {"data.text_column": others[0]}))
    _say_turns(collection, table)
    for name in proposed_group_columns(table.raw, table.columns) if data.group_column is None else ():
        text = (
            f"The column `{name}` of `{table.raw.name}` repeats. If its rows belong together, as all recordings of one "
            "person do, keep them in one split. Otherwise the test may look better than it is."
        )
        collection.notes.append(Note("group_proposed", text, {"data.group_column": name}))


def _say_doubt(collection: Collection, table: _Used, data: Data) -> None:
    """Of texts: which column was taken for labels by its values, or was not."""
    raw, columns = table.raw, table.columns
    if columns.text is None or not data.labels:
        return
    if columns.label is None and _block_bytes(collection.task):
        for name in label_like(raw, columns)[:1]:
            text = f"`{name}` of `{raw.name}` may hold labels. It is not used: the texts are a corpus. To tell them apart by it:"
            collection.notes.append(Note("labels_unused", text, {"data.label_column": name}))
    if _is_guessed(table, data):
        text = (
            f"`{raw.columns[columns.label or 0]}` of `{raw.name}` is taken for the labels since its values repeat. If they "
            "are none, say so: the texts are then a corpus."
        )
        asked = data.label_pattern is not None or data.label_separator is not None
        collection.notes.append(Note("label_guessed", text, {} if asked else {"data.labels": "false"}))


def _say_turns(collection: Collection, table: _Used) -> None:
    if table.columns.text is None:
        return
    n = n_silent = 0
    for cell in table.raw.column(table.columns.text):
        of_cell, silent = n_turns(cell)
        n, n_silent = n + of_cell, n_silent + silent
    if n_silent:
        where = f"the first rows of `{table.raw.name}`" if table.head else f"`{table.raw.name}`"
        text = f"Turns of conversations in which nothing is said are left out: {n_silent:,} of {n:,} in {where}."
        collection.notes.append(Note("turns_left_out", text))


def _is_guessed(table: _Used, data: Data) -> bool:
    """Whether the labels of texts are what is left over of the columns."""
    columns = table.columns
    is_told = columns.label is None or data.label_column is not None or is_label_by_name(table.raw, columns.label)
    return columns.text is not None and not is_told


def _add_rows(collection: Collection, used: Sequence[_Used], finder: FileFinder, data: Data) -> set[str]:
    """One outcome for each row of the tables. Returns the locators of the files that were named."""
    named: set[str] = set()
    taken: set[str] = set()
    readable = suffixes_of(collection.task)
    needs_labels = find_task(collection.task).needs_labels
    n_text = sum(table.head.text_bytes(table.columns.text or 0) for table in used if table.head is not None)
    length = block_length(n_text, _block_bytes(collection.task))
    for table in used:
        if table.head is not None:
            add_blocks(collection, table.file, table.head, table.columns, table.split, length)
            continue
        name = table.file.path
        for number, reason in table.raw.broken:
            collection.refuse(f"{name}#{number}", "malformed_row", f"Row {number} of `{name}` is left out: {reason}.")
        for number, cells in zip(table.raw.numbers, table.raw.values, strict=True):
            row = _read_row(table, f"{name}#{number}", cells, data)
            found = None
            if table.columns.text is None:
                found = _find_file(collection, cells[table.columns.path or 0], row.id, finder, table, row.split)
                if found is None:
                    continue
                named.add(found.locator)
                if found.suffix not in readable:
                    collection.refuse_kind(row.id, found.suffix)
                    continue
            elif not (row.text or "").strip():
                collection.refuse(row.id, "empty", f"Row {number} of `{name}` has no text.")
                continue
            if row.label is None and needs_labels:
                collection.refuse(row.id, "no_label", f"Row {number} of `{name}` has no label.")
                continue
            collection.candidates.append(row if found is None else _with_file(row, found, taken, data))
    return named


def _read_row(table: _Used, place: str, cells: Sequence[Any], data: Data) -> Candidate:
    """A candidate of what the cells say, before it is known where its file is."""
    columns, titles = table.columns, table.raw.columns
    meant = (columns.path, columns.text, columns.label, columns.split, columns.group)
    said = as_text(cells[columns.split]).strip().lower() if columns.split is not None else ""
    return Candidate(
        id=place,
        locator="",
        label=None if columns.label is None else as_label(cells[columns.label], data.label_separator),
        split=SPLIT_NAMES.get(said, table.split),
        text=as_text(cells[columns.text]) if columns.text is not None else None,
        group=as_text(cells[columns.group]) if columns.group is not None else "",
        fields={title: as_text(cells[at]) for at, title in enumerate(titles) if at not in meant},
    )


def _with_file(row: Candidate, file: File, taken: set[str], data: Data) -> Candidate:
    """The candidate with its file; it is called by the file's path unless another row has that name."""
    name = row.id if file.locator in taken else file.id
    taken.add(file.locator)
    group = row.group
    if not group and data.group_level is not None:
        group = _folder(file.path, data.group_level)
    return Candidate(name, file.locator, row.label, row.split, None, group, row.fields, file.size, file.stamp)


def _folder(path: str, level: int) -> str:
    parts = path.split("/")[:-1]
    return parts[level - 1] if len(parts) >= level else ""


def _find_file(
    collection: Collection, cell: Any, place: str, finder: FileFinder, table: _Used, split: Split | None
) -> File | None:
    path = as_text(cell).strip()
    if not path:
        collection.refuse(place, "no_path", f"`{place}` names no file.")
        return None
    found = finder.find(path, table.file, split=split)
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(f"`{file.path}`" for file in found[:3])
        collection.refuse(
            place, "ambiguous", f"`{place}` names `{path}`, which may be {several}. Write the whole path."
        )
    else:
        text = f"`{place}` names `{path}`, which is not there. Add the file or drop the row."
        if alike := finder.find_in_other_case(path):
            text = (
                f"`{place}` names `{path}`, which is not there; `{alike.path}` is. Write capitals as the file has them."
            )
        collection.refuse(place, "missing", text)
    return None


def _unify_labels(collection: Collection) -> None:
    """When one row has a list of labels, every row has one."""
    if not any(isinstance(candidate.label, tuple) for candidate in collection.candidates):
        return
    collection.candidates = [
        candidate
        if isinstance(candidate.label, tuple)
        else replace(candidate, label=(candidate.label,) if isinstance(candidate.label, str) else ())
        for candidate in collection.candidates
    ]


def _add_files_beside(collection: Collection, listing: Listing, used: Sequence[_Used], data: Data) -> None:
    """Files beside the tables of a corpus are parts of it: a candidate each, without a label, as the texts of the tables are."""
    readable, taken = suffixes_of(collection.task), {table.file.locator for table in used}
    files = [file for file in listing.files if file.locator not in taken]
    n_candidates, n_notes = len(collection.candidates), len(collection.notes)
    texts = [file for file in files if file.suffix in readable]
    read_folders(collection, texts, data, needs_labels=False, has_others=True)
    added = collection.candidates[n_candidates:]
    n_labelled = sum(one.label is not None for one in added)
    if n_labelled:
        collection.candidates[n_candidates:] = [replace(one, label=None) for one in added]
        del collection.notes[n_notes:]  # on what classes were read from
    for file in files:
        if file.suffix in TABLE_SUFFIXES:
            text = f"`{file.id}` is a table without a column of texts, so it is not read."
            collection.refuse(file.id, "not_readable_here", text)
        elif file.suffix not in readable:
            collection.refuse_kind(file.id, file.suffix)
    texts_added = [one.id for one in added if one.size]
    if texts_added:
        shown = ", ".join(f"`{name}`" for name in texts_added[:3])
        text = (
            f"Files beside the tables that are taken for texts too: {len(texts_added):,}, such as {shown}. "
            "Move away what is no text to learn from."
        )
        if n_labelled:
            text += (
                f" Folders are not taken as classes, though {n_labelled:,} of them lie in some, since the texts of the tables have "
                "none."
            )
        collection.notes.append(Note("files_beside_tables", text))


def _refuse_unnamed(collection: Collection, listing: Listing, used: Sequence[_Used], named: set[str]) -> None:
    readable, taken = suffixes_of(collection.task), named | {table.file.locator for table in used}
    tables = ", ".join(f"`{table.file.path}`" for table in used)
    holds = next((table.file.path for table in used if table.columns.text is not None), None)
    for file in listing.files:
        if file.locator in taken:
            continue
        if file.suffix in TABLE_SUFFIXES:
            text = f"`{file.id}` is another table, and rows are read from {tables}. Give its path to use it."
            collection.refuse(file.id, "not_in_table", text)
            continue
        if file.suffix not in readable:
            collection.refuse_kind(file.id, file.suffix)
            continue
        text = f"`{file.id}` is named by no row of the table. Add a row for it, or leave it."
        if holds is not None:
            text = f"`{file.id}` is not read: the texts are those of `{holds}`. Make it a row there, or move the table away."
            if TASKS[collection.task].unlabelled or not find_task(collection.task).needs_labels:
                text += " To learn from all texts without labels: --set data.labels=false."
        collection.refuse(file.id, "not_in_table", text)
