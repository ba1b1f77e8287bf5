"""Which tables of what a person pointed at are read, which column of each is which, and which split each is of.

They are one, one or several for each split, or all of a corpus. Their rows become candidates in `labels.py`.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, NoReturn

from ouvroir.data.blocks import block_bytes
from ouvroir.data.candidates import Collection
from ouvroir.data.columns import (
    NoSuchColumn,
    find_text,
    label_like,
    most_name_files,
    without_unlikely_label,
)
from ouvroir.data.file_finder import FileFinder
from ouvroir.data.large_tables import look_at
from ouvroir.data.listing import File, Listing, suffix_of
from ouvroir.data.opened_tables import Reading, Used, columns_in, of_use, open_in, said_split, serves
from ouvroir.data.tabular import TABLE_SUFFIXES
from ouvroir.errors import DataError
from ouvroir.files import readable_names
from ouvroir.media import TASKS, find_task, suffixes_of
from ouvroir.recipe import Data
from ouvroir.task import Note, Split

_SERIES = re.compile(r"-\d{5}-of-(\d{5})(-[0-9a-f]+)?(?=\.\w+$)")  # parts of one table, as the Hub names them
_NO_ROWS = "`{}` neither holds texts nor names files that {} reads."
_SAMPLE = 200  # rows looked at to tell where the files are


@dataclass(frozen=True)
class Chosen:
    """The tables to read, none where folders serve; is_corpus: they and the files beside them are texts without labels.

    `left_out`: by its locator, why a table is not read, where that is told.
    """

    tables: list[Used]
    is_corpus: bool = False
    left_out: dict[str, str] = field(default_factory=dict)


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
    told = [(file, said) for file in listing.files if (said := said_split(file)) is not None]
    splits = {said.split for file, said in told if said.by_folder or file.suffix in TABLE_SUFFIXES}
    reading = Reading(listing, finder, sum(file.size for file in tables), len(splits) > 1, collection, data)
    opened = [table for file in tables if (table := reading.open(file)) is not None]
    if is_only_source and reading.failed:
        raise next(iter(reading.failed.values()))
    used: list[Used] = []
    if not is_only_source and not _are_of_a_corpus(of_use(opened, collection.task), collection.task):
        used = _of_splits(opened, reading)
    if not used:
        if not any(serves(table) for table in opened):
            opened = list(reading.opened.values())
        if reading.failed and not opened and _names_a_column(data):
            _raise_failed(list(reading.failed.values()))
        used = _choose(opened, listing, collection, is_only_source=is_only_source)
    is_corpus = not is_only_source and _are_of_a_corpus(used, collection.task) and data.label_pattern is None
    again = {name for name, reason in reading.failed.items() if is_corpus and isinstance(reason, NoSuchColumn)}
    files = {file.locator: file for file in listing.files}
    for name, reason in reading.failed.items():
        if name not in again and name not in reading.left_out:
            reading.leave_out(files[name], str(reason))
    if is_corpus:
        known = {file.locator: file for file in [*tables, *(table.file for table in used)] if file.locator not in again}
        used = [*used, *_rest_of_corpus(list(known.values()), reading)]
    elif used and not is_only_source:
        _say_unused(used, reading)
    _say_splits(collection, used)
    return Chosen(used, is_corpus, reading.left_out)


def _raise_failed(errors: Sequence[DataError]) -> None:
    if len(errors) > 1 and all(isinstance(error, NoSuchColumn) for error in errors):
        raise DataError(f"{errors[0]} No other table beside it has it either.")
    raise errors[-1]


def _rest_of_corpus(known: Sequence[File], reading: Reading) -> list[Used]:
    """Tables of texts beside and below those of a corpus: parts of it as files there are, and without labels as these.

    They may lack a column that was named, and are read as if none had been.
    """
    rest = [file for file in reading.others(known) if file.locator not in reading.left_out]
    n_bytes = sum(file.size for file in [*known, *rest])
    reading = replace(reading, n_bytes=n_bytes, data=replace(reading.data, labels=False, label_column=None))
    found: list[Used] = []
    lacking: dict[str, list[str]] = {}
    for file in rest:
        try:
            table, lacks = _open_as_usual(file, reading)
        except DataError as error:
            reading.leave_out(file, str(error))
            continue
        if table.columns.text is not None:
            found.append(table)
            for column in lacks:
                lacking.setdefault(column, []).append(file.path)
    for column, names in lacking.items():
        text = (
            f"Tables without the column `{column}` that was named are read as usual: {readable_names(names, most=3)}."
        )
        reading.collection.notes.append(Note("column_lacking", text))
    return found


def _open_as_usual(file: File, reading: Reading) -> tuple[Used, list[str]]:
    """A table, and the columns that were named and that it lacks."""
    lacks: list[str] = []
    while True:
        try:
            return open_in(file, reading), lacks
        except NoSuchColumn as error:
            lacks.append(error.column)
            without: dict[str, Any] = {error.setting: None}
            reading = replace(reading, data=replace(reading.data, **without))


def _of_splits(top: Sequence[Used], reading: Reading) -> list[Used]:
    """The tables of one folder whose names, or whose folders in it, say splits; none where there are none that serve.

    Folders with tables to learn from go first, then higher ones, then those of several splits. A table that says no split and
    serves gives way to none but several splits, beside it or where more rows name files.
    """
    by_parent: dict[str, dict[Split, list[File]]] = {}
    for file in reading.others(()):
        if (said := said_split(file)) is not None:
            by_parent.setdefault(said.parent, {}).setdefault(said.split, []).append(file)
    if alone := [table for table in of_use(top, reading.task) if said_split(table.file) is None]:
        beside = {"/".join(table.file.folders) for table in alone}
        most = max(table.n_hits for table in alone)
        by_parent = {
            name: parts
            for name, parts in by_parent.items()
            if len(parts) > 1 and (name in beside or 0 < most < _n_hits(parts, reading))
        }
    told = [file for parts in by_parent.values() for files in parts.values() for file in files]
    reading = replace(reading, n_bytes=sum(file.size for file in told))
    ranked: dict[tuple[bool, int, bool], list[str]] = {}
    for name, parts in by_parent.items():
        depth = name.count("/") + bool(name)
        ranked.setdefault(("train" not in parts, depth, len(parts) == 1), []).append(name)
    for _, names in sorted(ranked.items()):
        serving = [name for name in names if any(_open_serving(chain(*by_parent[name].values()), reading))]
        if len(serving) > 1:
            raise DataError(
                f"Several folders hold tables that say splits: {readable_names(serving, most=6)}. Give the path of the one to use."
            )
        if serving:
            return _of_folder(by_parent[serving[0]], reading)
    return []


def _n_hits(parts: dict[Split, list[File]], reading: Reading) -> int:
    return sum(table.n_hits for table in _open_serving(chain(*parts.values()), reading))


def _open_serving(files: Iterable[File], reading: Reading) -> Iterator[Used]:
    return (table for file in files if (table := reading.open(file)) is not None and serves(table))


def _of_folder(by_split: dict[Split, list[File]], reading: Reading) -> list[Used]:
    """The tables of each split: those whose names say it, or else those in the folder that does. Raises DataError.

    None where the task needs labels and no table has some, and where one split alone is said by names that do not belong together.
    """
    serving: dict[Split, list[Used]] = {}
    for split, files in by_split.items():
        in_folder = [file for file in files if (said := said_split(file)) is not None and said.by_folder]
        named = [file for file in files if file not in in_folder]
        serving[split] = list(_open_serving(named, reading)) or list(_open_serving(in_folder, reading))
    fit = of_use([table for tables in serving.values() for table in tables], reading.task)
    if not fit:
        return []
    kinds = Counter(map(_kind, fit))
    labelled = {table.file.locator for table in fit}
    used: list[Used] = []
    for split, files in by_split.items():
        parts = [table for table in serving[split] if table.file.locator in labelled]
        if not parts and (split == "train" or not serving[split]):
            _raise_unusable(split, files, reading)
        kept, reason = _alike(parts, kinds)
        if reason and len(by_split) == 1:
            return []
        if reason:
            names = readable_names([table.file.path for table in kept], most=6)
            raise DataError(
                f"Several tables say the split `{split}`: {names}. {reason} Give the path of the one to use, or move away what is "
                "not to be used. Tables of the same columns are all used where they lie in folders that are called like a split, "
                f"as `{split}`, or are called as a series, as `{split}-00000-of-00002.csv`."
            )
        for table in serving[split]:
            if table.file.locator not in labelled:
                what = "." if parts else f", so it is no {split} split."
                reading.leave_out(table.file, f"`{table.file.path}` has no column of labels{what}")
            elif not any(table is one for one in kept):
                reading.leave_out(table.file, _difference(table, kept[0]))
        used += kept
    _say_idle([file for files in by_split.values() for file in files], reading)
    return used


def _alike(tables: Sequence[Used], kinds: Counter[Hashable]) -> tuple[list[Used], str]:
    """Those of one split that are of the most frequent of the kinds, and why they cannot be put together, or ''."""
    most = max((kinds[_kind(table)] for table in tables), default=0)
    kept = [table for table in tables if kinds[_kind(table)] == most]
    for table in kept[1:]:
        if _kind(table) != _kind(kept[0]):
            return kept, _difference(table, kept[0])
    said = [said_split(table.file) for table in kept]
    are_named = any(one is not None and not one.by_folder for one in said)
    series = {_SERIES.sub(r"-\1", table.file.name) for table in kept}
    is_series = len(series) == 1 and _SERIES.search(kept[0].file.name) is not None
    if len(kept) > 1 and are_named and not is_series:
        return kept, "By their names they are not parts of one series."
    return kept, ""


def _kind(table: Used) -> Hashable:
    return table.file.suffix, frozenset(table.raw.columns)


def _difference(table: Used, other: Used) -> str:
    """Why two tables are not of one kind."""
    names = f"`{table.file.path}`", f"`{other.file.path}`"
    if lacking := [column for column in other.raw.columns if column not in table.raw.columns]:
        return f"{names[0]} lacks the column `{lacking[0]}` that {names[1]} has."
    if more := [column for column in table.raw.columns if column not in other.raw.columns]:
        return f"{names[0]} has a column `{more[0]}` that {names[1]} lacks."
    return f"{names[0]} is a file of another kind than {names[1]}, and may hold the same rows."


def _raise_unusable(split: Split, files: Sequence[File], reading: Reading) -> NoReturn:
    file = files[0]
    table = reading.open(file)
    if table is None:
        reason = str(reading.failed[file.locator])
    elif serves(table):
        reason = _no_label_column(table, reading.task)
    else:
        reason = _NO_ROWS.format(file.path, reading.task)
    raise DataError(
        f"No table of the split `{split}` can be used. {reason} Mend it or move it away. To have what is lacking drawn from "
        "the rows of one table, give the path of that table."
    )


def _say_idle(files: Sequence[File], reading: Reading) -> None:
    """A note on tables that say a split and hold nothing to read."""
    idle = [file for file in files if file.locator in reading.opened and not serves(reading.opened[file.locator])]
    for file in idle:
        reading.left_out[file.locator] = f"{_NO_ROWS.format(file.path, reading.task)} The table was not used."
    if idle:
        names = readable_names([file.path for file in idle], most=3)
        text = f"Tables that neither hold texts nor name files that {reading.task} reads are not used: {names}."
        reading.collection.notes.append(Note("table_ignored", text))


def _say_unused(used: Sequence[Used], reading: Reading) -> None:
    """A note on tables that say a split and of which nothing was said."""
    rest = reading.others(table.file for table in used)
    names = [file.path for file in rest if file.locator not in reading.left_out and said_split(file) is not None]
    if names:
        text = (
            f"Other tables are called like a split, or lie in a folder that is, and are not used: {readable_names(names, most=6)}. "
            "Tables of splits are used together where they, or their folders that are called so, lie in one folder."
        )
        reading.collection.notes.append(Note("table_ignored", text))


def _say_splits(collection: Collection, used: Sequence[Used]) -> None:
    """A note on the folders, and tables beside them or in a series, that were taken as splits."""
    told = [said for table in used if table.split is not None and (said := said_split(table.file)) is not None]
    by = {said.by_folder for said in told}
    if True not in by and len(told) == len({said.split for said in told}):
        return
    names = readable_names([said.place for said in told], most=6)
    text = f"Taken as splits by their folders: {names}."
    if by == {False}:
        text = f"Taken as splits by their names: {names}."
    elif False in by:
        text = f"Taken as splits by their folders and names: {names}."
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
            columns = columns_in(raw, partial(_is_found, finder, table), task, data)
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


def _choose(opened: Sequence[Used], listing: Listing, collection: Collection, *, is_only_source: bool) -> list[Used]:
    """The tables to use: one, or all of a corpus. Of others the table that names most files wins."""
    readable = suffixes_of(collection.task)
    loose = sum(file.suffix in readable for file in listing.files)
    serving = [table for table in opened if serves(table)]
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
    serving = sorted(serving, key=lambda table: -table.n_hits)
    if len(serving) > 1 and serving[0].n_hits == serving[1].n_hits:
        names = readable_names(table.file.path for table in serving)
        what = "name as many files each" if serving[0].n_hits else "hold texts"
        raise DataError(
            f"Several tables {what}: {names}. Give the path of the one to use. Tables of the same columns are all used where "
            "they lie in folders that are called like a split, as `train` or `test`."
        )
    return serving[:1]


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
