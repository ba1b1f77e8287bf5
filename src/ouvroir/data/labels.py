"""Label tables: their rows are joined to the files they name, and become candidates.

A table may lie beside or inside the folder or zip of its files, say paths from its own place or from anywhere above, or
only the names of files without their suffix. Every row has one outcome, and so has every file that no row names. Which
tables are read is told in `chosen_tables.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ouvroir.data.blocks import block_bytes, block_length
from ouvroir.data.candidates import Candidate, Collection
from ouvroir.data.chosen_tables import Chosen, choose_tables
from ouvroir.data.columns import (
    as_label,
    is_label_by_name,
    label_like,
    other_texts,
    proposed_group_columns,
    proposed_separator,
)
from ouvroir.data.file_finder import FileFinder
from ouvroir.data.folders import read_folders, splits_by_folders
from ouvroir.data.large_tables import add_blocks
from ouvroir.data.listing import File, Listing
from ouvroir.data.opened_tables import Used
from ouvroir.data.tabular import TABLE_SUFFIXES
from ouvroir.files import readable_names
from ouvroir.media import TASKS, find_task, suffixes_of
from ouvroir.recipe import Data
from ouvroir.records import SPLIT_NAMES, as_text, n_turns
from ouvroir.task import Note, Split

_SAID = 20  # tables of which it is said how each was read


def read_labelled_tables(
    collection: Collection, listing: Listing, tables: Sequence[File], data: Data, *, is_only_source: bool
) -> bool:
    """Make candidates from the tables that name files or hold texts. False when none serves, so that folders must.

    `is_only_source`: the user named the table itself, so it must serve, and files it does not name are no concern.
    Raises DataError and MissingExtra.
    """
    if not tables:
        return False
    finder = FileFinder(listing, looks_outside=is_only_source)
    chosen = choose_tables(collection, listing, tables, data, finder, is_only_source=is_only_source)
    used = chosen.tables
    if not used:
        return False
    for number, table in enumerate(used):
        collection.notes.extend(table.raw.notes)
        if number < _SAID:
            _say_columns(collection, table, data)
    if len(used) > _SAID:
        text = f"Tables that were read beside these: {len(used) - _SAID:,}, such as `{used[_SAID].file.path}`."
        collection.notes.append(Note("tables_used", text))
    files, unsaid = _add_rows(collection, used, finder, data)
    named = set(files)
    _keep_to_folders(collection, unsaid, [*files.values(), *(listing.files if chosen.is_corpus else ())])
    if is_only_source:
        of_folder = set(listing.refused)
        collection.refused = [refusal for refusal in collection.refused if refusal not in of_folder]
    elif chosen.is_corpus:
        _add_files_beside(collection, listing, chosen, named, data)
    else:
        _refuse_unnamed(collection, listing, chosen, named)
    _unify_labels(collection)
    return True


def _say_columns(collection: Collection, table: Used, data: Data) -> None:
    names = table.raw.columns
    places = {
        "paths": table.columns.path,
        "texts": table.columns.text,
        "labels": table.columns.label,
        "splits": table.columns.split,
        "groups": table.columns.group,
    }
    said = ", ".join(f"{what} from `{names[place]}`" for what, place in places.items() if place is not None)
    collection.notes.append(Note("table_used", f"`{table.file.path}` was read: {said}."))
    if table.columns.label is not None and data.label_separator is None:
        separator = proposed_separator(table.raw.column(table.columns.label))
        if separator is not None:
            cells = map(as_text, table.raw.column(table.columns.label))
            example = next(cell for cell in cells if separator in cell.strip(separator))
            text = (
                f"Labels of `{table.file.path}` look like lists, such as `{example}`. If a file may have several labels, say "
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
        text = f"One column of texts is read, and `{table.file.path}` has others: {shown}."
        collection.notes.append(Note("texts_unread", text, {"data.text_column": others[0]}))
    _say_turns(collection, table)
    for name in proposed_group_columns(table.raw, table.columns) if data.group_column is None else ():
        text = (
            f"The column `{name}` of `{table.file.path}` repeats. If its rows belong together, as all recordings of one "
            "person do, keep them in one split. Otherwise the test may look better than it is."
        )
        collection.notes.append(Note("group_proposed", text, {"data.group_column": name}))


def _say_doubt(collection: Collection, table: Used, data: Data) -> None:
    """Of texts: which column was taken for labels by its values, or was not."""
    raw, columns = table.raw, table.columns
    if columns.text is None or not data.labels:
        return
    if columns.label is None and block_bytes(collection.task):
        for name in label_like(raw, columns)[:1]:
            text = (
                f"`{name}` of `{table.file.path}` may hold labels. It is not used: the texts are a corpus. If they are to be told "
                "apart by it, say so."
            )
            collection.notes.append(Note("labels_unused", text, {"data.label_column": name}))
    if _is_guessed(table, data):
        text = (
            f"`{raw.columns[columns.label or 0]}` of `{table.file.path}` is taken for the labels since its values repeat. If they "
            "are none, say so: the texts are then a corpus."
        )
        asked = data.label_pattern is not None or data.label_separator is not None
        collection.notes.append(Note("label_guessed", text, {} if asked else {"data.labels": "false"}))


def _say_turns(collection: Collection, table: Used) -> None:
    if table.columns.text is None:
        return
    n = n_silent = 0
    for cell in table.raw.column(table.columns.text):
        of_cell, silent = n_turns(cell)
        n, n_silent = n + of_cell, n_silent + silent
    if n_silent:
        where = f"the first rows of `{table.file.path}`" if table.head else f"`{table.file.path}`"
        text = f"Turns of conversations in which nothing is said are left out: {n_silent:,} of {n:,} in {where}."
        collection.notes.append(Note("turns_left_out", text))


def _is_guessed(table: Used, data: Data) -> bool:
    """Whether the labels of texts are what is left over of the columns."""
    columns = table.columns
    is_told = columns.label is None or data.label_column is not None or is_label_by_name(table.raw, columns.label)
    return columns.text is not None and not is_told


def _add_rows(
    collection: Collection, used: Sequence[Used], finder: FileFinder, data: Data
) -> tuple[dict[str, File], dict[int, File]]:
    """One outcome for each row of the tables. Returns the files that were named, by locator, and those of candidates of which no
    table says a split, by place.
    """
    named: dict[str, File] = {}
    taken: set[str] = set()
    unsaid: dict[int, File] = {}
    readable = suffixes_of(collection.task)
    needs_labels = find_task(collection.task).needs_labels
    n_text = sum(table.head.text_bytes(table.columns.text or 0) for table in used if table.head is not None)
    length = block_length(n_text, block_bytes(collection.task))
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
                named[found.locator] = found
                if found.suffix not in readable:
                    collection.refuse_kind(row.id, found.suffix)
                    continue
            elif not (row.text or "").strip():
                collection.refuse(row.id, "empty", f"Row {number} of `{name}` has no text.")
                continue
            if row.label is None and needs_labels:
                collection.refuse(row.id, "no_label", f"Row {number} of `{name}` has no label.")
                continue
            if found is not None and row.split is None:
                unsaid[len(collection.candidates)] = found
            collection.candidates.append(row if found is None else _with_file(row, found, taken, data))
    return named, unsaid


def _keep_to_folders(collection: Collection, unsaid: Mapping[int, File], around: Sequence[File]) -> None:
    """Put the candidates at the places of `unsaid` into the splits that the folders of these files and of those `around` say."""
    readable = suffixes_of(collection.task)
    around = [file for file in around if file.suffix in readable]
    splits = splits_by_folders(collection, [*unsaid.values()], around)
    for at, file in unsaid.items() if splits else ():
        collection.candidates[at] = replace(collection.candidates[at], split=splits.get(file.locator))


def _read_row(table: Used, place: str, cells: Sequence[Any], data: Data) -> Candidate:
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
    collection: Collection, cell: Any, place: str, finder: FileFinder, table: Used, split: Split | None
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


def _add_files_beside(collection: Collection, listing: Listing, chosen: Chosen, named: set[str], data: Data) -> None:
    """Files beside the tables of a corpus are parts of it: a candidate each, without a label, as the texts of the tables are.

    `named`: those that are candidates already, since a row names them.
    """
    readable, taken = suffixes_of(collection.task), named | {table.file.locator for table in chosen.tables}
    files = [file for file in listing.files if file.locator not in taken]
    n_candidates, n_notes = len(collection.candidates), len(collection.notes)
    texts = [file for file in files if file.suffix in readable]
    others = [file for file in listing.files if file.locator in taken]
    read_folders(collection, texts, data, needs_labels=False, others=others)
    added = collection.candidates[n_candidates:]
    collection.beside = {one.locator: one.label is not None for one in added}
    if any(collection.beside.values()):
        collection.candidates[n_candidates:] = [replace(one, label=None) for one in added]
        del collection.notes[n_notes:]  # on what classes were read from
    for file in files:
        if file.suffix in TABLE_SUFFIXES:
            text = f"`{file.id}` is a table without a column of texts, so it is not read."
            collection.refuse(file.id, "not_readable_here", chosen.left_out.get(file.locator, text))
        elif file.suffix not in readable:
            collection.refuse_kind(file.id, file.suffix)


def _refuse_unnamed(collection: Collection, listing: Listing, chosen: Chosen, named: set[str]) -> None:
    readable, taken = suffixes_of(collection.task), named | {table.file.locator for table in chosen.tables}
    tables = readable_names([table.file.path for table in chosen.tables], most=3)
    holds = next((table.file.path for table in chosen.tables if table.columns.text is not None), None)
    for file in listing.files:
        if file.locator in taken:
            continue
        if file.suffix in TABLE_SUFFIXES:
            text = f"`{file.id}` is another table, and rows are read from {tables}. Give its path to use it."
            collection.refuse(file.id, "not_in_table", chosen.left_out.get(file.locator, text))
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
