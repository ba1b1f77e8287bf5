"""Large tables of texts: gone through once, as a stream, and cut into blocks of consecutive records, each a row.

Columns are told from the first rows. What a block holds is read again where it is needed, by its locator.
"""

from __future__ import annotations

import codecs
import hashlib
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from ouvroir.data.blocks import RUNS_WANTED
from ouvroir.data.candidates import Candidate, Collection
from ouvroir.data.columns import Columns
from ouvroir.data.duplicates import Clusters
from ouvroir.data.listing import File
from ouvroir.data.tabular import RawTable, find_delimiter, notes_on_encoding, open_table, read_table
from ouvroir.errors import DataError
from ouvroir.files import readable_size
from ouvroir.records import (
    LONGEST_RECORD,
    Cells,
    Decoder,
    Record,
    as_text,
    csv_rows,
    encoding_of,
    is_json,
    json_records,
    mark_of,
    split_of,
)
from ouvroir.row_groups import RowGroups
from ouvroir.source import ZIP_SEPARATOR, Source, records_locator
from ouvroir.task import Note, Split

LARGE_TABLE_BYTES = 32_000_000
"""A table of texts of more bytes is not read whole where it may be read in blocks."""
REFUSALS_LISTED = 1000  # records of a table that are told one by one
_HEAD_BYTES = 500_000  # and more where no record ends within them
_HEAD_ROWS = 1000
_MOST_SPAN = 16  # bytes of a file to a byte of a block: other columns may be longer than the texts
_LEAST_OF_GROUPS = 8  # blocks of which half may hang together
_BROKEN = (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass
class Head:
    """The first rows of a table, or all: is_whole. `n_rows`: about how many there are; `delimiter`: of CSV."""

    raw: RawTable
    n_rows: int
    delimiter: str = ""
    is_whole: bool = False

    def text_bytes(self, place: int) -> int:
        """About how many bytes all texts of a column have."""
        known = [len(as_text(cell)) for cell in self.raw.column(place)]
        return self.n_rows * sum(known) // max(1, len(known))


def is_large(file: File) -> bool:
    """Whether a table is not to be read whole without need."""
    return file.size > LARGE_TABLE_BYTES


def look_at(root: str, file: File, *, n_bytes: int = 0) -> Head:
    """The first rows of a large table, a smaller one whole. Raises DataError and MissingExtra.

    `n_bytes`: of all tables that belong together, which are large where they are large together.
    """
    if not is_large(file):
        with suppress(DataError):  # what is not read in blocks is small enough to be read whole
            if n_bytes > LARGE_TABLE_BYTES:
                return _beginning(root, file)
        raw = open_table(Source(root, file.locator), name=file.path)
        return Head(raw, len(raw.values), is_whole=True)
    return _beginning(root, file)


def _beginning(root: str, file: File) -> Head:
    try:
        return _parquet_head(root, file) if _is_parquet(file) else _head(root, file)
    except _BROKEN as error:
        raise DataError(f"`{file.path}` could not be read: {error}.") from error


def columns_of(path: Path) -> list[str]:
    """The names of the columns of a table on the disk. Raises DataError and MissingExtra."""
    status = path.stat()
    return look_at(str(path.parent), File(path.name, path.name, status.st_size, status.st_mtime_ns)).raw.columns


def _is_parquet(file: File) -> bool:
    return file.suffix == ".parquet"


def _parquet_head(root: str, file: File) -> Head:
    table = _row_groups(root, file)
    rows, n_bytes = [], 0
    for row in table.rows(0, _HEAD_ROWS):
        rows.append(row)
        n_bytes += sum(len(as_text(cell)) for cell in row)
        if n_bytes > _HEAD_BYTES:
            break
    return Head(RawTable(file.path, table.names, rows, list(range(1, len(rows) + 1))), table.n_rows)


def _row_groups(root: str, file: File, columns: Sequence[str] | None = None) -> RowGroups:
    if ZIP_SEPARATOR in file.locator:
        raise DataError(
            f"`{file.path}` is a Parquet file of {readable_size(file.size)} in a zip, and so large a one is not read there. "
            "Unpack the zip."
        )
    return RowGroups(Path(root) / file.locator, columns)


def _head(root: str, file: File) -> Head:
    """Of JSON Lines and CSV: the records that end in the first bytes, or the first one."""
    with _opened(root, file) as stream:
        data = stream.read(_HEAD_BYTES)
        if mark := mark_of(data):
            raise DataError(
                f"`{file.path}` is in {encoding_of(mark)}, and so large a table is read in UTF-8 alone. Save it as UTF-8."
            )
        while not (lines := data.rfind(b"\n") + 1 or data.rfind(b"\r") + 1):
            more = stream.read(_HEAD_BYTES)
            if not more or len(data) > LONGEST_RECORD:
                break
            data += more
    data = data[: lines or None]
    raw = read_table(file.path, data)
    cut_off = min((number for number, reason in raw.broken if "quote" in reason), default=None)
    if cut_off is not None:  # by the end of what was read
        n = sum(number < cut_off for number in raw.numbers)
        del raw.values[n:], raw.numbers[n:]
    raw.broken, raw.notes = [], []
    n_rows = len(raw.values) * file.size // max(1, len(data))
    if is_json(file.path):
        return Head(raw, n_rows)
    text = Decoder().decode(data.removeprefix(codecs.BOM_UTF8))
    return Head(raw, n_rows, find_delimiter(file.path, text.splitlines()[:20] or [""])[0])


@contextmanager
def _opened(root: str, file: File) -> Iterator[IO[bytes]]:
    path, _, inside = file.locator.partition(ZIP_SEPARATOR)
    if inside:
        with zipfile.ZipFile(Path(root) / path) as archive, archive.open(inside) as member:
            yield member
    else:
        with (Path(root) / path).open("rb") as stream:
            yield stream


@dataclass
class _Blocks:
    """Blocks that are found while the records pass: of each where it starts, how long it is, and the bytes of text of each split.

    Where groups are told, a block ends with one of them; one that is longer than a block is cut.
    """

    length: int
    starts: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    splits: list[dict[Split | None, int]] = field(default_factory=list)
    group_of: array[int] = field(default_factory=lambda: array("q"))  # hashes of groups, and blocks in which they are
    group_in: array[int] = field(default_factory=lambda: array("q"))
    _start: int = 0
    _end: int = 0
    _n_bytes: Counter[Split | None] = field(default_factory=Counter)
    _total: int = 0
    _group: str = ""
    _is_rest: bool = False  # whether the block begins within a group

    def add(self, record: Record, n_bytes: int, split: Split | None, group: str) -> None:
        """Take in a record whose text has so many bytes."""
        is_within = bool(group) and group == self._group
        span = record.end - self._start if self._total else 0
        is_full = self._total >= self.length or span > _MOST_SPAN * self.length
        is_twice = self._total >= 2 * self.length or span > 2 * _MOST_SPAN * self.length
        ends = is_twice if is_within else is_full or self._is_rest or n_bytes >= self.length
        if ends:
            self.end()
            self._is_rest = is_within
        if not self._total:
            self._start = record.start
        if group and (group != self._group or not self._total):
            digest = hashlib.blake2b(group.encode("utf-8"), digest_size=8).digest()
            self.group_of.append(int.from_bytes(digest, "little", signed=True))
            self.group_in.append(len(self.starts))
        self._end, self._group = record.end, group
        self._total += n_bytes
        self._n_bytes[split] += n_bytes

    def end(self) -> None:
        """End the block that is under way."""
        if self._total:
            self.starts.append(self._start)
            self.lengths.append(self._end - self._start)
            self.splits.append(dict(self._n_bytes))
            self._n_bytes.clear()
            self._total, self._is_rest = 0, False

    def firsts(self) -> list[int]:
        """Of each block the first of those that it hangs together with by groups: itself, where it has none."""
        clusters = Clusters(len(self.starts))
        groups, blocks = np.array(self.group_of, dtype=np.int64), np.array(self.group_in, dtype=np.int64)
        order = np.argsort(groups, kind="stable")
        same = np.flatnonzero(groups[order][1:] == groups[order][:-1])
        clusters.join_all(np.stack([blocks[order][same], blocks[order][same + 1]], axis=1).tolist())
        first: dict[int, int] = {}
        return [first.setdefault(clusters.find(block), block) for block in range(len(self.starts))]


def add_blocks(
    collection: Collection, file: File, head: Head, columns: Columns, split: Split | None, length: int
) -> None:
    """Make candidates of the blocks of a table, and refusals of the records that have no text. Raises DataError, MissingExtra.

    `split`: that of records which name none; `length`: bytes of text that a block has, about.
    """
    assert columns.text is not None
    blocks, left_out, n_records = _Blocks(length), Counter[str](), 0
    decoder = Decoder()
    places = [place for place in (columns.text, columns.split, columns.group) if place is not None]
    for record in _records(collection.root, file, head, places, decoder):
        if record.is_torn:
            blocks.end()
        cells = iter(record.row)
        text = "" if record.reason else as_text(next(cells))
        if record.reason or not text.strip():
            left_out["malformed" if record.reason else "empty"] += 1
            if left_out.total() <= REFUSALS_LISTED:
                _refuse(collection, file, record)
            continue
        said = split_of(next(cells)) if columns.split is not None else None
        group = as_text(next(cells)) if columns.group is not None else ""
        blocks.add(record, len(text.encode("utf-8")), said, group)
        n_records += 1
    blocks.end()
    collection.notes += notes_on_encoding(file.path, decoder.encoding(), has_nulls=decoder.has_nulls)
    collection.notes += _notes(file, n_records, len(blocks.starts), left_out)
    collection.candidates += _candidates(file, head, columns, split, blocks)


def _records(root: str, file: File, head: Head, places: Sequence[int], decoder: Decoder) -> Iterator[Record]:
    raw = head.raw
    names = [raw.columns[place] for place in places]
    try:
        if _is_parquet(file):
            table = _row_groups(root, file, names)
            for number, row in enumerate(table.rows(0, table.n_rows)):
                yield Record(number + 1, number, number + 1, row)
            return
        with _opened(root, file) as stream:
            if is_json(file.path):
                yield from json_records(stream, names, decoder, begins=True)
                return
            first = min(raw.numbers, default=1) if raw.head is None else raw.head[0] + 1
            cells = Cells("", delimiter=head.delimiter, width=len(raw.columns))
            wanted = [str(place) for place in places]
            for record in csv_rows(stream, cells, wanted, decoder, begins=True, is_part=False):
                if record.number >= first:
                    yield record
    except _BROKEN as error:
        raise DataError(f"`{file.path}` could not be read to its end: {error}. Is it whole?") from error


def _refuse(collection: Collection, file: File, record: Record) -> None:
    name, number = file.path, record.number
    if record.reason:
        text = f"Row {number} of `{name}` is left out: {record.reason}."
        collection.refuse(f"{name}#{number}", "malformed_row", text)
    else:
        collection.refuse(f"{name}#{number}", "empty", f"Row {number} of `{name}` has no text.")


def _notes(file: File, n_records: int, n_blocks: int, left_out: Counter[str]) -> list[Note]:
    text = (
        f"Tables that have more than {readable_size(LARGE_TABLE_BYTES)} together are read a block at a time, as they are needed: "
        f"the {n_records:,} records with a text of `{file.path}` are {n_blocks:,} blocks, each a row."
    )
    notes = [Note("table_in_blocks", text)]
    if left_out:
        text = (
            f"Records of `{file.path}` that are left out: {left_out.total():,}. Not readable: {left_out['malformed']:,}, without a "
            f"text: {left_out['empty']:,}."
        )
        if left_out.total() > REFUSALS_LISTED:
            text += f" The first {REFUSALS_LISTED:,} are listed one by one."
        notes.append(Note("records_left_out", text))
    return notes


def _candidates(file: File, head: Head, columns: Columns, split: Split | None, blocks: _Blocks) -> Iterator[Candidate]:
    n = len(blocks.starts)
    firsts = blocks.firsts()
    if columns.group is not None and columns.split is None and split is None and n >= _LEAST_OF_GROUPS:
        _require_apart(file, head.raw.columns[columns.group], firsts)
    run = max(1, n // RUNS_WANTED)
    width = len(str(blocks.starts[-1])) if n else 0
    for number, (start, length) in enumerate(zip(blocks.starts, blocks.lengths, strict=True)):
        there = blocks.splits[number]
        for said in there:
            cells = _cells(head, columns, said, is_last=number == n - 1)
            locator = records_locator(file.locator, start, length, cells)
            place = f"{file.id}@{start:0{width}}+{length}"  # in the order of the table, as rows are
            own = said or split
            yield Candidate(
                id=place if len(there) == 1 else f"{place} {said or '-'}",
                locator=locator,
                split=own,
                group=" ".join(filter(None, (file.id, own, str(firsts[number] // run + 1)))),
                size=there[said],
                stamp=file.stamp,
            )


def _cells(head: Head, columns: Columns, split: Split | None, *, is_last: bool) -> Cells:
    """What is read of the records of a block; by places in CSV, where names say nothing."""
    assert columns.text is not None
    names, is_csv = head.raw.columns, bool(head.delimiter)
    text, told = (
        "" if place is None else str(place) if is_csv else names[place] for place in (columns.text, columns.split)
    )
    return Cells(text, told, split or "", head.delimiter, len(names) if is_csv else 0, is_last)


def _require_apart(file: File, column: str, firsts: Sequence[int]) -> None:
    """Raise DataError where most blocks hang together, so that none of them can be set aside."""
    _, most = Counter(firsts).most_common(1)[0]
    if 2 * most > len(firsts):
        raise DataError(
            f"Most of `{file.path}` hangs together by its column `{column}`, whose groups are not to be torn apart, so nothing can "
            f"be set aside to judge by. In so large a table the rows of a group have to stand one after the other: sort it by "
            f"`{column}`. Or name another column with --group-column; a column that is no group should not be called `{column}`."
        )
