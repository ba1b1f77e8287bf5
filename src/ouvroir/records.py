"""Records of a table of texts, read one after the other from its bytes: JSON Lines, and CSV with any delimiter.

Of a large table blocks of consecutive records are rows; `Cells` says what is read of them.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import struct
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from ouvroir.files import readable_size

if TYPE_CHECKING:
    from ouvroir.task import Split

UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
UTF_32 = {codecs.BOM_UTF32_LE: "utf-32-le", codecs.BOM_UTF32_BE: "utf-32-be"}
"""Marks that files may begin with, and what they are then decoded by."""
_HIGHEST_LETTER = 0x3FFFF  # of the planes in which letters are; read in fours, texts of UTF-16 are full of higher ones
_BLANKS = {9, 10, 13}  # below the letters
_MOST = 0.8  # of what is read in fours, letters
LONGEST_RECORD = 16_000_000
"""Bytes of a record where a table is read as a stream; a longer one is told and left out."""
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "entraînement": "train",
    "entrainement": "train",
    "apprentissage": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_WHO = ("role", "from", "speaker", "author", "name", "user")
_WHAT = ("content", "value", "text", "message", "utterance")
_OF_SILENT = {"role", "from", "tool_calls", "tool_call_id", "function_call"}  # what a turn without words may have
_CHUNK = 1 << 20
_NEVER_CLOSED = "it opens a quote that is never closed"


@dataclass(frozen=True, slots=True)
class Cells:
    """What is read of the records of a block: the column `text`, and only where the column `split` says the split `of`.

    Columns are names, and places in CSV, which is of `width` columns and has `delimiter` between them. `of` is '' for what names
    no split. is_last: whether no block comes after this one.
    """

    text: str
    split: str = ""
    of: str = ""
    delimiter: str = ""
    width: int = 0
    is_last: bool = False

    def written(self) -> str:
        """As a part of a locator, without `/`, `:` and `@`."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        said = {
            name: int(value) if value is True else value for name, value in values.items() if value or name == "text"
        }
        return urlencode(said, errors="surrogatepass")

    @classmethod
    def read(cls, written: str) -> Cells:
        """What `written` wrote."""
        values: dict[str, Any] = dict(parse_qsl(written, keep_blank_values=True, errors="surrogatepass"))
        return cls(**{**values, "width": int(values.get("width", 0)), "is_last": "is_last" in values})

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return [self.text, self.split] if self.split else [self.text]

    def texts(self, rows: Iterable[Sequence[Any]]) -> Iterator[str]:
        """The texts of rows of `columns`; those without one, or of another split, are left out."""
        for row in rows:
            if not self.split or (split_of(row[1]) or "") == self.of:
                text = as_text(row[0])
                if text.strip():
                    yield text


class Record(NamedTuple):
    """What stands from byte `start` to byte `end`, from line `number` on, counted from 1. `row`: cells of the columns asked for.

    Where it is no record, `reason` says why. is_torn: in a block the lines around it could not be told from it.
    """

    number: int
    start: int
    end: int
    row: Sequence[Any] = ()
    reason: str = ""
    is_torn: bool = False


def split_of(cell: Any) -> Split | None:
    """The split that a cell names, or None."""
    return SPLIT_NAMES.get(as_text(cell).strip().lower())


def conversation(cell: Any) -> str | None:
    """Turns as chat logs hold them, a list of objects, as text: a line for each, who and what was said. None when it is none.

    Turns in which nothing is said, as where a tool is called, are left out; where there is no turn, nothing is said.
    """
    if not isinstance(cell, list) or not all(isinstance(turn, dict) for turn in cell):
        return None
    if not any(name in turn for turn in cell for name in _WHAT) and not all(turn.keys() <= _OF_SILENT for turn in cell):
        return None
    lines = []
    for turn in cell:
        if said := _said(turn):
            who = next((turn[name] for name in _WHO if isinstance(turn.get(name), str)), "")
            lines.append(f"{who}: {said}" if who else said)
    return "\n".join(lines)


def n_turns(cell: Any) -> tuple[int, int]:
    """How many turns a conversation has, and in how many of them nothing is said; 0 where a cell is none."""
    if conversation(cell) is None:
        return 0, 0
    return len(cell), sum(not _said(turn) for turn in cell)


def _said(turn: Mapping[str, Any]) -> str:
    """What is said in a turn: a text, or a list of parts, of which those count that have one."""
    content = next((turn[name] for name in _WHAT if turn.get(name) is not None), "")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def as_text(cell: Any) -> str:
    """One cell as text; whole numbers lose their '.0', what is absent becomes ''. A conversation has a line for each turn."""
    if isinstance(cell, list) and (told := conversation(cell)) is not None:
        cell = told
    if cell is None:
        return ""
    if isinstance(cell, float):
        if cell != cell:  # noqa: PLR0124 - NaN, what Parquet holds for absent numbers
            return ""
        return str(int(cell)) if cell.is_integer() else str(cell)
    text = cell if isinstance(cell, str) else str(cell)
    # half a character, as JSON can write it, has no place in a file
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


@dataclass
class Decoder:
    """Lines to text: UTF-8; Windows-1252 where a line is no UTF-8, or where a few places of it are not.

    Files that were put together hold both. `kinds`: the encodings that were met beside ASCII.
    """

    kinds: set[str] = field(default_factory=set)
    has_nulls: bool = False

    def decode(self, line: bytes) -> str:
        """One line, without the zero bytes in it."""
        try:
            text = line.decode("utf-8")
            if not line.isascii():
                self.kinds.add("UTF-8")
        except UnicodeDecodeError:
            text = self._decode_mixed(line)
        if "\0" in text:
            self.has_nulls = True
            text = text.replace("\0", "")
        return text

    def _decode_mixed(self, line: bytes) -> str:
        text = line.decode("utf-8", errors="surrogateescape")
        wrong = [one for one in text if "\udc80" <= one <= "\udcff"]
        n_accents = sum(not one.isascii() for one in text) - len(wrong)
        if n_accents <= len(wrong):
            text, kind = _western(line)
            self.kinds.add(kind)
            return text
        places = {one: _western(bytes([ord(one) - 0xDC00])) for one in set(wrong)}
        self.kinds |= {"UTF-8", *(kind for _, kind in places.values())}
        return "".join(places[one][0] if one in places else one for one in text)

    def encoding(self) -> str:
        """What was met, for a sentence; 'UTF-8' where nothing else was."""
        names = sorted(self.kinds) or ["UTF-8"]
        return " and ".join(names) + (", place by place" if len(names) > 1 else "")


def mark_of(begin: bytes) -> bytes:
    """The mark, of UTF_32 or UTF_16, that a file which begins so has or lacks; b'' for what is neither.

    Without it: UTF-32 where nearly all fours of bytes are letters, UTF-16 where zeros are at nearly every other byte alone.
    """
    for mark in (*UTF_32, *UTF_16):  # that of UTF-32 begins with one of UTF-16
        if begin.startswith(mark):
            return mark
    head = begin[:200]
    if len(head) < 4:
        return b""
    for mark, order in zip(UTF_32, "<>", strict=True):
        if _is_utf_32([one for (one,) in struct.iter_unpack(f"{order}I", head[: len(head) // 4 * 4])]):
            return mark
    low, high = head[::2].count(0), head[1::2].count(0)
    if abs(high - low) <= len(head) * 0.35:
        return b""
    return codecs.BOM_UTF16_LE if high > low else codecs.BOM_UTF16_BE


def _is_utf_32(numbers: Sequence[int]) -> bool:
    """Whether these can all be characters, and most are letters or blanks: zeros and rare planes may be among them."""
    if any(one > sys.maxunicode or 0xD800 <= one < 0xE000 for one in numbers):
        return False
    n_letters = sum(one in _BLANKS or 32 <= one <= _HIGHEST_LETTER for one in numbers)
    return n_letters >= len(numbers) * _MOST


def encoding_of(mark: bytes) -> str:
    """UTF-16 or UTF-32, for a sentence."""
    return "UTF-32" if mark in UTF_32 else "UTF-16"


def _western(data: bytes) -> tuple[str, str]:
    try:
        return data.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "Latin-1"


def read_json(line: str) -> dict[str, Any] | str:
    """The object on a line of JSON Lines, or why there is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON: {error}"
    return value if isinstance(value, dict) else 'it is not a JSON object such as {"file": "a.png", "label": "cat"}'


class _TooLong(Exception):
    """A record of CSV that goes on for more than is read."""


def csv_records(
    lines: Iterable[str | None], delimiter: str, *, most: int | None = None, is_part: bool = False
) -> Iterator[tuple[int, list[str] | str]]:
    """For each record of CSV the number of its lines and its cells, [] for an empty line; or 1 and why a line is no record.

    Each of `lines` has its end; None is one of more than `most` characters, and no record goes on for more. After a quote that
    never closes the next line is the next record. is_part: more lines come after these, so they may end within quotes.
    """
    csv.field_size_limit(2**31 - 1)
    coming, waiting = iter(lines), deque[str | None]()
    taken: list[str | None] = []

    def feed() -> Iterator[str]:
        n = 0
        while waiting or _takes_one(coming, waiting):
            line = waiting.popleft()
            n = len(line or "") + (n if taken else 0)
            taken.append(line)
            if line is None or (most is not None and n > most):
                raise _TooLong
            yield line

    while True:
        try:
            for cells in csv.reader(feed(), delimiter=delimiter, skipinitialspace=delimiter != "\t"):
                is_odd = len(taken) > 1 and not is_part and "".join(filter(None, taken)).count('"') % 2
                if is_odd and not waiting and not _takes_one(coming, waiting):
                    reason = _NEVER_CLOSED
                    break
                yield len(taken), cells
                taken.clear()
            else:
                return
        except csv.Error as error:
            reason = f"it could not be read as CSV: {error}"
        except _TooLong:
            limit = readable_size(most or 0)
            reason = f"{_NEVER_CLOSED} within {limit}" if len(taken) > 1 else f"it is longer than {limit}"
        waiting.extendleft(reversed(taken[1:]))
        taken.clear()
        yield 1, reason


def _takes_one(coming: Iterator[str | None], waiting: deque[str | None]) -> bool:
    """Whether there was one more line to put to those that wait."""
    for line in coming:
        waiting.append(line)
        return True
    return False


def fitted(cells: list[str], width: int) -> list[str] | str:
    """The cells of a record of CSV as those of a row of `width` columns, or why they are none."""
    if len(cells) > width and any(cell.strip() for cell in cells[width:]):
        return f"it has {len(cells)} cells and the first line names {width} columns"
    if width > 1 and not any(cell.strip() for cell in cells):
        return "all its cells are empty"
    return cells[:width] + [""] * (width - len(cells))


def lines_of(file: IO[bytes], *, returns: bool = False) -> Iterator[tuple[bytes | None, int]]:
    """The lines of a file with what ends them, and where in it each ends; None is one longer than LONGEST_RECORD.

    returns: a carriage return alone ends a line too.
    """
    at, rest, is_long = 0, b"", False
    while piece := file.readline(_CHUNK):
        rest = rest + piece if rest else piece
        parts = [rest]
        if returns and b"\r" in rest:
            parts = rest.splitlines(keepends=True)
        rest = b"" if parts[-1].endswith(b"\n") else parts.pop()
        for line in parts:
            at += len(line)
            yield (None if is_long or len(line) > LONGEST_RECORD else line), at
            is_long = False
        if len(rest) > LONGEST_RECORD:
            at, rest, is_long = at + len(rest), b"", True
    if rest or is_long:
        yield (None if is_long else rest), at + len(rest)


def json_records(file: IO[bytes], columns: Sequence[str], decoder: Decoder, *, begins: bool) -> Iterator[Record]:
    """The records of JSON Lines; `begins`: whether the file is at its first byte, where a mark may stand."""
    start = 0
    for number, (line, end) in enumerate(lines_of(file), start=1):
        if line is None:
            reason = f"it is longer than {readable_size(LONGEST_RECORD)}"
            yield Record(number, start, end, reason=reason, is_torn=True)
        else:
            text = decoder.decode(line.removeprefix(codecs.BOM_UTF8) if begins and number == 1 else line)
            if text.strip():
                value = read_json(text)
                if isinstance(value, str):
                    yield Record(number, start, end, reason=value)
                else:
                    yield Record(number, start, end, [value.get(name) for name in columns])
        start = end


def csv_rows(
    file: IO[bytes], cells: Cells, columns: Sequence[str], decoder: Decoder, *, begins: bool, is_part: bool
) -> Iterator[Record]:
    """The records of CSV, that of the names of columns among them; `columns` are places, `begins` and `is_part` as above."""
    ends: deque[int] = deque()
    places = [int(one) for one in columns]

    def decoded() -> Iterator[str | None]:
        line: bytes | None = None
        end, is_first = 0, begins
        for line, end in lines_of(file, returns=True):
            ends.append(end)
            if line is not None:
                text = decoder.decode(line.removeprefix(codecs.BOM_UTF8) if is_first else line)
                yield text.rstrip("\r\n") + "\n"
            else:
                yield None
            is_first = False
        if line is not None and line.endswith((b"\r", b"\n")) and not is_part:
            ends.append(end)
            yield "\n"

    number, start = 1, 0
    for n_lines, found in csv_records(decoded(), cells.delimiter, most=LONGEST_RECORD, is_part=is_part):
        for _ in range(n_lines):
            end = ends.popleft()
        if isinstance(found, str):
            yield Record(number, start, end, reason=found, is_torn=True)
        elif found:
            row = fitted(found, cells.width)
            if isinstance(row, str):
                yield Record(number, start, end, reason=row)
            else:
                yield Record(number, start, end, [row[place] for place in places])
        number, start = number + n_lines, end


def is_json(name: str) -> bool:
    """Whether the table of this name is JSON Lines."""
    return name.lower().endswith((".jsonl", ".ndjson"))


def texts_of(name: str, data: bytes, cells: Cells, *, begins: bool) -> bytes:
    """The texts of a block of the table `name` in UTF-8, joined by newlines; `data` are whole records."""
    file, decoder = io.BytesIO(data), Decoder()
    if is_json(name):
        found = json_records(file, cells.columns, decoder, begins=begins)
    else:
        found = csv_rows(file, cells, cells.columns, decoder, begins=begins, is_part=True)
    return "\n".join(cells.texts(record.row for record in found if not record.reason)).encode("utf-8")
