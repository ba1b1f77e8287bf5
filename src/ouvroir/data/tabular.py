"""Tables: CSV, TSV, JSON Lines and Parquet become columns of values. Which column is which: see `columns`."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ouvroir.errors import DataError, MissingExtra, Refused
from ouvroir.records import (
    UTF_16,
    UTF_32,
    Decoder,
    csv_records,
    encoding_of,
    fitted,
    is_json,
    mark_of,
    read_json,
)
from ouvroir.source import Source
from ouvroir.task import Note

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
MAX_TABLE_BYTES = 4 * 1024**3
_SEPARATOR_LINE = re.compile(
    r'"?sep=([,;\t|])"?[,;\t|]*', re.IGNORECASE
)  # what spreadsheets put above the names of columns


@dataclass
class RawTable:
    """A table as read. `values[r][c]` is the cell of row r and column c; `numbers[r]` the row's place in the file,
    counted from 1 as an editor shows it; `broken` the numbers and reasons of rows that are none. `head`: the number of the
    line that the names of columns were read from and its cells, None where a table has no such line.
    """

    name: str
    columns: list[str]
    values: list[Sequence[Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    head: tuple[int, list[str]] | None = None

    def column(self, place: int) -> Iterator[Any]:
        """The cells of one column."""
        return (row[place] for row in self.values)


def read_table(name: str, data: bytes) -> RawTable:
    """Read a table from its bytes; the suffix of `name` says its form. Raises DataError and MissingExtra."""
    if name.lower().endswith(".parquet"):
        return _read_parquet(name, data)
    text, notes = decode_text(name, data)
    table = _read_json_lines(name, text) if is_json(name) else _read_csv(name, text)
    table.notes.extend(notes)
    return table


def open_table(source: Source, *, name: str = "") -> RawTable:
    """Read a table, on the disk or in an archive; `name` is what messages call it. Raises DataError and MissingExtra."""
    try:
        return read_table(name or source.name, source.read(MAX_TABLE_BYTES))
    except Refused as error:
        raise DataError(error.reason) from error


def decode_text(name: str, data: bytes) -> tuple[str, list[Note]]:
    """Text of a file in UTF-8 with or without mark, UTF-16, UTF-32 or a Western 8-bit encoding; what was found is said."""
    has_nulls = False
    if mark := mark_of(data):
        order = {**UTF_16, **UTF_32}[mark]
        text, encoding = data.removeprefix(mark).decode(order, errors="replace"), encoding_of(mark)
    else:
        try:
            text, encoding = data.decode("utf-8-sig"), "UTF-8"
        except UnicodeDecodeError:
            decoder = Decoder()
            lines = data.removeprefix(codecs.BOM_UTF8).split(b"\n")
            text, encoding = "\n".join(map(decoder.decode, lines)), decoder.encoding()
            has_nulls = decoder.has_nulls
    if "\0" in text:
        text, has_nulls = text.replace("\0", ""), True
    return text, notes_on_encoding(name, encoding, has_nulls=has_nulls)


def notes_on_encoding(name: str, encoding: str, *, has_nulls: bool) -> list[Note]:
    """What to say of a file that was read in `encoding`, and of the zero bytes that were left out of it."""
    notes = []
    if encoding != "UTF-8":
        said = (
            f"`{name}` is not UTF-8; it was read as {encoding}. Look at a place with accents to see that it is right."
        )
        notes.append(Note("encoding", said))
    if has_nulls:
        notes.append(
            Note("null_bytes", f"`{name}` holds zero bytes, which were left out. Was it cut while being copied?")
        )
    return notes


def _read_csv(name: str, text: str) -> RawTable:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    delimiter, number = find_delimiter(name, lines)
    table = RawTable(name, [])
    for n_lines, cells in csv_records((f"{line}\n" for line in lines[number - 1 :]), delimiter):
        if isinstance(cells, str):
            table.broken.append((number, cells))
        elif cells and table.columns:
            row = fitted(cells, len(table.columns))
            if isinstance(row, str):
                table.broken.append((number, row))
            else:
                table.values.append(row)
                table.numbers.append(number)
        elif any(cell.strip() for cell in cells):
            table.columns = unique_names([cell.strip() for cell in cells])
            table.head = number, cells
        number += n_lines
    if not table.columns:
        raise DataError(f"The table `{name}` is empty. It needs a first line with the names of its columns.")
    return table


def find_delimiter(name: str, lines: Sequence[str]) -> tuple[str, int]:
    """What stands between the cells, and the number of the line on which the table begins.

    It is what the first line holds most often; where that has a single column, what the next lines say.
    """
    if said := _SEPARATOR_LINE.fullmatch(lines[0]):
        return said[1], 2
    if name.lower().endswith(".tsv"):
        return "\t", 1
    kinds, head = ",;\t|", lines[0]
    if any(kind in head for kind in kinds):
        return max(kinds, key=head.count), 1
    return max(kinds, key="".join(lines[:20]).count), 1


def unique_names(names: list[str]) -> list[str]:
    """Names of columns, each another: empty ones by their place, repeated ones with a number."""
    seen: dict[str, int] = {}
    found = []
    for place, name in enumerate(names):
        base = name or f"column {place + 1}"
        seen[base] = seen.get(base, 0) + 1
        found.append(base if seen[base] == 1 else f"{base} {seen[base]}")
    return found


def _read_json_lines(name: str, text: str) -> RawTable:
    table = RawTable(name, [])
    rows: list[dict[str, Any]] = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        value = read_json(line)
        if isinstance(value, str):
            table.broken.append((number, value))
            continue
        columns.update(dict.fromkeys(value))
        rows.append(value)
        table.numbers.append(number)
    if not rows:
        raise DataError(f"The table `{name}` has no readable row. Each line must be one JSON object.")
    table.columns = list(columns)
    table.values = [[row.get(column) for column in table.columns] for row in rows]
    return table


def _read_parquet(name: str, data: bytes) -> RawTable:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra(f"Reading `{name}`", "table") from error
    try:
        read = pyarrow.parquet.read_table(io.BytesIO(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"`{name}` could not be read as Parquet: {error}. Write it again.") from error
    columns = [column.to_pylist() for column in read.columns]
    return RawTable(name, list(read.column_names), list(zip(*columns, strict=True)), list(range(1, read.num_rows + 1)))
