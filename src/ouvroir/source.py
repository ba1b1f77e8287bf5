"""Where the content of one row is, and how it is read: a file, a file in an archive, a folder of numbered files, or bytes.

A locator says it in one line. Reading never goes past a limit, and what is amiss is a Refused with a code and a sentence.
"""

from __future__ import annotations

import codecs
import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

from ouvroir.errors import Refused, UsageError
from ouvroir.files import natural, readable_size
from ouvroir.records import UTF_16, Cells, mark_of, texts_of

ZIP_SEPARATOR = "::"
FOLDER = "/"
"""How the locator of a folder ends whose numbered files are one row together. Where the last part of it is suffixes alone,
`take1/.jpeg.jpg/`, only files that end so are meant. `.` is the top of an archive."""
_BLOCK = re.compile(r"(?s)(.*)@(\d+)\+(\d+)")
_RECORDS = re.compile(r"(?is)(.*\.(?:jsonl|ndjson|csv|tsv|parquet)@\d+\+\d+)\?(text=[\w%&=.~+-]*)")
_NEWLINES = {codecs.BOM_UTF16_LE: b"\n\0", codecs.BOM_UTF16_BE: b"\0\n"}
_BEGIN = 200  # bytes of a file that tell its encoding
_CHUNK = 1 << 20  # bytes that are skipped at a time
LONGEST_LINE = 2048
"""Bytes that are looked through for the end of a line at the border of a block. Blocks that are as long are never empty."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the content of one row is. Cheap, picklable, opened in worker processes.

    `locator` is a path relative to `root`, or `archive.zip::path/inside` (the archive relative to `root`), or empty for
    a row whose content is `text` or `content` itself. One that ends in `/` is a folder (see FOLDER), read as a zip of its files;
    one that ends in `@start+length` a block of a file (see `block_locator`), one that goes on after it texts of a table (see
    `records_locator`).
    """

    root: str
    locator: str
    text: str | None = None
    content: bytes | None = None

    @property
    def name(self) -> str:
        """The last part of the locator, for messages."""
        return name_of(self.locator) or "input"

    def is_there(self) -> bool:
        """Whether its file, or the archive that it is in, is where it was; nothing is opened."""
        if self.content is not None or self.text is not None:
            return True
        path, _, inside = _folder_of(block_of(self.locator)[0])[0].partition(ZIP_SEPARATOR)
        place = Path(self.root) / path
        return place.is_dir() if path.endswith(FOLDER) and not inside else place.is_file()

    def read(self, max_bytes: int) -> bytes:
        """The whole content; never reads past `max_bytes`.

        Raises Refused (`empty`, `too_large`, `missing`, `not_a_file`, `unreadable`).
        """
        if self.content is not None:
            return self.content
        if self.text is not None:
            return self.text.encode("utf-8")
        shown = shown_locator(self.locator)
        try:
            return self._read(max_bytes)
        except Refused:
            raise
        except FileNotFoundError as error:
            raise Refused("missing", f"`{shown}` is not there. Was it moved or deleted?") from error
        except IsADirectoryError as error:
            raise Refused("not_a_file", f"`{shown}` is a folder. Give the files in it.") from error
        except PermissionError as error:
            raise Refused("unreadable", f"`{shown}` may not be read by you. Change its permissions.") from error
        except (OSError, zipfile.BadZipFile, RuntimeError, KeyError, EOFError, NotImplementedError) as error:
            raise Refused("unreadable", f"`{shown}` could not be read: {error}.") from error
        except Exception as error:  # zlib.error has no public base class
            raise Refused("unreadable", f"`{shown}` could not be unpacked: {error}.") from error

    def _read(self, max_bytes: int) -> bytes:
        whole, block = block_of(self.locator)
        path, _, inside = self.locator.partition(ZIP_SEPARATOR)
        if inside and block is not None:
            try:
                return _opened_archive(Path(self.root) / path).read(inside, max_bytes)
            except Exception:
                _OPENED.key = None
                raise
        if inside:
            with closing(Archive(Path(self.root) / path)) as archive:
                return archive.read(inside, max_bytes)
        folder, suffixes = _folder_of(path)
        if folder.endswith(FOLDER):
            return _as_zip(_files_in(Path(self.root) / folder, suffixes), folder, max_bytes)
        place = Path(self.root) / whole
        cells = cells_of(self.locator)
        if block is not None and cells is not None and whole.lower().endswith(".parquet"):
            from ouvroir.row_groups import texts_of_rows

            return _checked_texts(texts_of_rows(place, *block, cells), self.locator, max_bytes)
        with open(place, "rb") as file:
            if block is not None:
                return _block_content(_Forward(file, seeks=True), self.locator, max_bytes)
            return _checked(file.read(max_bytes + 1), path, max_bytes)

    def is_last_block(self) -> bool:
        """Whether this block reaches the end of its file. Raises Refused where that is not there."""
        whole, block = block_of(self.locator)
        if block is None:
            return True
        if (cells := cells_of(self.locator)) is not None:
            return cells.is_last
        path, _, inside = whole.partition(ZIP_SEPARATOR)
        try:
            if inside:
                with zipfile.ZipFile(Path(self.root) / path) as archive:
                    size = archive.getinfo(inside).file_size
            else:
                size = (Path(self.root) / path).stat().st_size
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise Refused("unreadable", f"`{shown_locator(self.locator)}` could not be read: {error}.") from error
        return sum(block) >= size

    def stream(self, max_bytes: int) -> io.BytesIO:
        """The whole content as a seekable file. Raises as `read`."""
        return io.BytesIO(self.read(max_bytes))


def block_locator(file: str, start: int, length: int) -> str:
    """The locator of a block of the file at the locator `file`: from the first line that begins at byte `start` or later to the
    first that begins `length` bytes later or later. So blocks that lie end to end hold each line once, and no line is cut, unless
    it is very long: then between two letters of UTF-8 or UTF-16. A block of UTF-16 begins with the mark of it.
    """
    return f"{file}@{start}+{length}"


def records_locator(file: str, start: int, length: int, cells: Cells) -> str:
    """The locator of the texts of some records of the table at the locator `file`, joined by newlines.

    The records are those from byte `start` to the one `length` bytes later, in Parquet the rows `start` to `start + length`.
    """
    return f"{block_locator(file, start, length)}?{cells.written()}"


def cells_of(locator: str) -> Cells | None:
    """What is read of the records of a block; None for what is no locator of records."""
    found = _RECORDS.fullmatch(locator)
    return Cells.read(found[2]) if found else None


def block_of(locator: str) -> tuple[str, tuple[int, int] | None]:
    """The locator of the file, and start and length of the block of it that is meant; None for all of it."""
    found = _BLOCK.fullmatch(_without_cells(locator))
    return (found[1], (int(found[2]), int(found[3]))) if found else (locator, None)


def are_blocks(locators: Iterable[str]) -> bool:
    """Whether most of some rows are blocks of files."""
    found = [block_of(locator)[1] is not None for locator in locators]
    return 2 * sum(found) > len(found)


def _without_cells(locator: str) -> str:
    found = _RECORDS.fullmatch(locator)
    return found[1] if found else locator


class _Forward:
    """An open file that is read from the front to the back, as one in an archive has to be: what was read last is kept.

    seeks: it need not be, so what is not wanted is not read. mark: that of UTF-16, b'' for another file.
    """

    def __init__(self, file: IO[bytes], *, seeks: bool = False) -> None:
        self._file, self._at, self._kept, self._seeks = file, 0, b"", seeks
        mark = mark_of(self.read(0, _BEGIN))
        self.mark = mark if mark in UTF_16 else b""

    def read(self, start: int, n: int) -> bytes:
        """Give n bytes from byte `start` on, or as many as there are."""
        if start < self._at - len(self._kept):
            self._file.seek(0)
            self._at, self._kept = 0, b""
        if self._seeks and self._at < start:
            self._file.seek(start)
            self._at, self._kept = start, b""
        while self._at < start:
            self._kept = self._file.read(min(_CHUNK, start - self._at))
            self._at += len(self._kept)
            if not self._kept:
                return b""
        have = self._kept[start - self._at + len(self._kept) :]
        more = self._file.read(max(0, n - len(have)))
        self._at += len(more)
        self._kept = have + more
        return self._kept[:n]


def _block(file: _Forward, start: int, length: int) -> bytes:
    before = min(start, len(file.mark) or 1)
    some = file.read(start - before, before + length + LONGEST_LINE)
    border = partial(_border_of_utf16, mark=file.mark) if file.mark else _border
    content = some[border(some, before) : border(some, before + length)]
    return file.mark + content.removeprefix(file.mark) if content else b""


def _block_content(file: _Forward, locator: str, max_bytes: int) -> bytes:
    """Of the file that the block at `locator` is of: its lines, or the texts of its records."""
    whole, block = block_of(locator)
    assert block is not None
    if (cells := cells_of(locator)) is None:
        return _checked(_block(file, *block), shown_locator(locator), max_bytes)
    start, length = block
    texts = texts_of(whole, file.read(start, min(length, max_bytes)), cells, begins=start == 0)
    return _checked_texts(texts, locator, max_bytes)


def _checked_texts(texts: bytes, locator: str, max_bytes: int) -> bytes:
    if not texts:  # there was one when the block was made
        raise Refused("changed", f"`{shown_locator(locator)}` has changed since it was checked.")
    return _checked(texts, shown_locator(locator), max_bytes)


def _border(some: bytes, at: int) -> int:
    """Where in `some` the first line begins at place `at` or later; where none does soon, the first letter."""
    if not at:
        return 0
    end = some.find(b"\n", at - 1, at - 1 + LONGEST_LINE)
    if end >= 0:
        return end + 1
    return next((place for place in range(at, min(at + 4, len(some))) if some[place] & 0xC0 != 0x80), at)


def _border_of_utf16(some: bytes, at: int, *, mark: bytes) -> int:
    """The same of UTF-16: two bytes a letter, or four, in the order that `mark` says."""
    if not at:
        return 0
    is_little = mark == codecs.BOM_UTF16_LE
    end = some.find(_NEWLINES[mark], at - 2, at - 2 + LONGEST_LINE)
    while end % 2 and end >= 0:  # the second byte of a letter, and the first of the next
        end = some.find(_NEWLINES[mark], end + 1, at - 2 + LONGEST_LINE)
    if end >= 0:
        return end + 2
    is_within = some[at + is_little : at + is_little + 1]  # of four bytes
    return at + 2 if is_within and is_within[0] & 0xFC == 0xDC else at


def folder_locator(file: str, suffixes: Iterable[str]) -> str:
    """The locator of the folder that the file at the locator `file` is in, of whose files those of `suffixes` are one row."""
    archive, _, inside = file.rpartition(ZIP_SEPARATOR)
    folder = (inside.rpartition("/")[0] or ".") if archive else file.rpartition("/")[0]
    return (archive + ZIP_SEPARATOR if archive else "") + folder + FOLDER + "".join(sorted(set(suffixes))) + FOLDER


def _folder_of(locator: str) -> tuple[str, tuple[str, ...]]:
    """A locator without the suffixes that say which files of a folder are meant, and these, ('',) for all."""
    if locator.endswith(FOLDER):
        folder, _, last = locator[: -len(FOLDER)].rpartition(FOLDER)
        if folder and last.startswith("."):
            return folder + FOLDER, tuple(f".{one}" for one in last.split(".")[1:])
    return locator, ("",)


def shown_locator(locator: str) -> str:
    """A locator, or the id of a row, as a person reads it: without which block of a file or which files of a folder are meant."""
    return _folder_of(block_of(locator)[0])[0]


def name_of(locator: str) -> str:
    """The last part of a locator that is a name, in an archive or not."""
    return shown_locator(locator).replace(ZIP_SEPARATOR, "/").removesuffix("/./").rstrip(FOLDER).rsplit("/", 1)[-1]


class Archive:
    """An open zip, from which files and folders of numbered files are read without looking through all of it each time."""

    def __init__(self, place: Path) -> None:
        self._zip = zipfile.ZipFile(place)
        self._place = place
        self._member: tuple[str, _Forward] | None = None

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        """The names directly in each folder, without it, in the order of their numbers."""
        found: dict[str, list[str]] = {}
        for name in self._zip.namelist():
            folder, slash, last = name.rpartition("/")
            if last:
                found.setdefault(folder + slash, []).append(last)
        return {folder: sorted(names, key=natural) for folder, names in found.items()}

    def read(self, inside: str, max_bytes: int) -> bytes:
        """What a locator names after `::`: a file, or a folder as a zip of its files. Raises Refused, and what zipfile raises."""
        shown, suffixes = _folder_of(inside)
        if not shown.endswith(FOLDER):
            member, block = block_of(inside)
            if block is not None:
                return _block_content(self._opened(member), f"{self._place.name}{ZIP_SEPARATOR}{inside}", max_bytes)
            name = f"{self._place.name}{ZIP_SEPARATOR}{member}"
            with self._zip.open(member) as file:
                return _checked(file.read(max_bytes + 1), name, max_bytes)
        folder = "" if shown == f".{FOLDER}" else shown
        names = (name for name in self._folders.get(folder, ()) if _is_meant(name, suffixes))
        members = ((name, partial(self._zip.open, folder + name)) for name in names)
        return _as_zip(members, f"{self._place.name}{ZIP_SEPARATOR}{shown}", max_bytes)

    def _opened(self, member: str) -> _Forward:
        """A member, opened before where it was the last of which a block was read."""
        if self._member is None or self._member[0] != member:
            self._member = member, _Forward(self._zip.open(member))
        return self._member[1]

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


class _Opened(threading.local):
    """The archive that a thread read a block of last: the next block is read on from there."""

    key: tuple[Path, int, int] | None = None
    archive: Archive | None = None


_OPENED = _Opened()


def _opened_archive(place: Path) -> Archive:
    status = place.stat()
    key = place, status.st_size, status.st_mtime_ns
    if _OPENED.archive is None or _OPENED.key != key:
        if _OPENED.archive is not None:
            _OPENED.archive.close()
        _OPENED.archive, _OPENED.key = None, None
        _OPENED.archive, _OPENED.key = Archive(place), key
    return _OPENED.archive


def _checked(data: bytes, name: str, max_bytes: int) -> bytes:
    if not data:
        raise Refused("empty", f"`{name}` is 0 bytes long.")
    if len(data) > max_bytes:
        raise Refused("too_large", _too_large(name, max_bytes))
    return data


def _too_large(name: str, max_bytes: int) -> str:
    return f"`{name}` is larger than {readable_size(max_bytes)}, the most that one item may have. Cut it, or make it smaller."


def _is_meant(name: str, suffixes: tuple[str, ...]) -> bool:
    return not name.startswith(".") and name.lower().endswith(suffixes)


def _files_in(place: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Names of the files directly in a folder, and what reads each; hidden ones apart."""
    for path in sorted(place.iterdir(), key=lambda one: natural(one.name)):
        if path.is_file() and _is_meant(path.name, suffixes):
            yield path.name, partial(_opened, path)


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _as_zip(members: Iterator[tuple[str, Callable[[], IO[bytes]]]], locator: str, max_bytes: int) -> bytes:
    """The files as one zip, the same bytes for the same files. Raises Refused (`empty`, `too_large`)."""
    file = io.BytesIO()
    n_files = 0
    with zipfile.ZipFile(file, "w") as archive:
        for name, read in members:
            with read() as member:
                content = member.read(max(0, max_bytes - file.tell()) + 1)
            n_files += 1
            if file.tell() + len(content) > max_bytes:
                raise Refused("too_large", _too_large(locator, max_bytes))
            archive.writestr(zipfile.ZipInfo(name), content)
    if not n_files:
        raise Refused("empty", f"`{locator}` holds no files.")
    return file.getvalue()


def source_of(given: Any) -> Source:
    """A path, bytes or a Source as a Source; nothing is opened. Raises UsageError for anything else."""
    if isinstance(given, Source):
        return given
    if isinstance(given, str | Path):
        path = Path(given).absolute()
        return Source(root=str(path.parent), locator=path.name)
    if isinstance(given, bytes):
        return Source(root="", locator="", content=given)
    raise UsageError(f"A {type(given).__name__} cannot be read. Give a path or bytes.")
