"""What is in a folder or a zip: every file once, in a stable order, before anything is opened.

Folders are walked without entering a loop of links; a zip is read in place and never unpacked. What cannot be a row
whatever the task (hidden, linked to nothing, locked, leading out of its archive) is refused here.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ouvroir.errors import DataError
from ouvroir.files import home, own_kind
from ouvroir.source import FOLDER, ZIP_SEPARATOR, folder_locator, shown_locator
from ouvroir.task import Note, Refusal

_SYSTEM_NAMES = {"thumbs.db", "desktop.ini", "__macosx", "ehthumbs.db", "icon\r"}
_ENCRYPTED = 0x1
MADE_MARK = ".made_by_ouvroir"
"""The name of a file that lies in folders which `ouvroir sample` made up."""
MADE = "This is a made-up sample that comes with Ouvroir, to try it on: results on it say nothing of real data."


@dataclass(frozen=True, slots=True)
class File:
    """One file. `locator` as in `Source`; `path` what its folders and name say, '/' between them; `stamp` changes with
    the content: the time of change in ns, or the CRC of an archive's entry.
    """

    locator: str
    path: str
    size: int
    stamp: int

    @property
    def id(self) -> str:
        """How it is called in manifests: its locator, less what says which files of a folder are meant."""
        return shown_locator(self.locator)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip(FOLDER).rsplit("/", 1)[-1]

    @property
    def suffix(self) -> str:
        """Lower-case suffix with its dot, or ''; FOLDER for a folder whose files are one row."""
        return suffix_of(self.path)

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of the folders above it."""
        return tuple(self.path.rstrip(FOLDER).split("/")[:-1])


@dataclass
class Listing:
    """All files under `root`. `refused` are those that can be no row at all; `own`: `run`, `model` or `cache` where `root` itself,
    or the top of an archive, is one of Ouvroir.
    """

    root: str
    files: list[File] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    own: str = ""


def suffix_of(path: str) -> str:
    """Lower-case suffix of a path with its dot, or ''; FOLDER for the path of a folder."""
    if path.endswith(FOLDER):
        return FOLDER
    name = path.rsplit("/", 1)[-1]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def list_folder(root: Path) -> Listing:
    """Every file under `root`, sorted by path. Follows links; a folder that was entered already is not entered again."""
    listing = Listing(root=str(root))
    above = _identity(root.stat())
    visited = {above}
    waiting = [("", os.fspath(root))]
    cache, named = _cache(), home().name
    while waiting:
        prefix, folder = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = list(found)
        except OSError as error:
            name = readable_name(prefix.rstrip("/")) or "."
            text = f"The folder `{name}` could not be opened: {error.strerror}. Change its permissions."
            listing.refused.append(Refusal(f"{name}/", "unreadable", text))
            continue
        own = own_kind({entry.name for entry in entries if _is_file(entry)})
        if own and prefix:
            listing.refused.append(_refuse_own(prefix.rstrip("/")))
            continue
        listing.own = own or listing.own
        for entry in entries:
            if cache is not None and _is_folder(entry, cache, named):
                listing.refused.append(_refuse_own(prefix + entry.name))
            else:
                _list_entry(entry, prefix, listing, waiting, visited)
    if above == cache:
        listing.own = "cache"
    listing.files.sort(key=lambda file: file.path)
    return listing


def _cache() -> tuple[int, int] | None:
    """What the folder of caches is known by, under whatever name; None where there is none."""
    try:
        return _identity(home().stat())
    except OSError:
        return None


def _is_folder(entry: os.DirEntry[str], identity: tuple[int, int], name: str) -> bool:
    """Whether an entry is that folder of that name, or a link to it. Few are looked at: most have another number."""
    try:
        if (
            not entry.is_symlink() and entry.inode() != identity[1] and entry.name != name
        ):  # one that is mounted has two
            return False
        return entry.is_dir() and _identity(entry.stat()) == identity
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads in a circle
        return False


def _refuse_own(path: str) -> Refusal:
    name = readable_name(path)
    return Refusal(
        name, "own_folder", f"`{name}` is a run, a model or the cache of Ouvroir, so what it holds is no data."
    )


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _list_entry(
    entry: os.DirEntry[str],
    prefix: str,
    listing: Listing,
    waiting: list[tuple[str, str]],
    visited: set[tuple[int, int]],
) -> None:
    path = prefix + entry.name
    if entry.name == MADE_MARK:
        listing.notes.append(Note("sample_data", MADE))
        return
    try:
        if entry.is_dir():
            if entry.is_symlink():
                identity = _identity(entry.stat())
                if identity in visited or _is_above(entry.path, listing.root):
                    text = f"`{readable_name(path)}` is a link to a folder that is listed already; it was not entered again."
                    listing.notes.append(Note("linked_twice", text))
                    return
                visited.add(identity)
            waiting.append((path + "/", entry.path))
            return
        status = entry.stat()
    except OSError as error:
        reason = "is a link that leads nowhere" if entry.is_symlink() else f"could not be looked at: {error.strerror}"
        listing.refused.append(Refusal(readable_name(path), "missing", f"`{readable_name(path)}` {reason}."))
        return
    refusal = _refuse_by_name(path)
    if refusal is None and not stat.S_ISREG(status.st_mode):
        refusal = Refusal(path, "not_a_file", f"`{path}` is a pipe, a socket or a device, not a file.")
    if refusal is not None:
        listing.refused.append(refusal)
        return
    listing.files.append(File(path, path, status.st_size, status.st_mtime_ns))


def _is_above(link: str, root: str) -> bool:
    """Whether a linked folder is inside the tree that is walked anyway, or holds it."""
    real, tree = os.path.realpath(link), os.path.realpath(root)
    return real == tree or real.startswith(tree + os.sep) or tree.startswith(real.rstrip(os.sep) + os.sep)


def mark_as_made(folder: Path) -> None:
    """Leave the file in a sample that was made up, by which reports know it."""
    (folder / MADE_MARK).write_text(f"{MADE}\n", encoding="utf-8")


def readable_name(path: str) -> str:
    """`path` fit for JSON: bytes that are no UTF-8 are shown as escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _refuse_by_name(path: str) -> Refusal | None:
    name = readable_name(path)
    if any(part.startswith(".") or part.lower() in _SYSTEM_NAMES for part in path.split("/")):
        return Refusal(name, "hidden", f"`{name}` is hidden or belongs to the system.")
    if name != path or ZIP_SEPARATOR in path:
        why = "is not UTF-8" if name != path else f"contains `{ZIP_SEPARATOR}`"
        return Refusal(name, "unusable_name", f"The name of `{name}` {why}. Rename the file.")
    return None


def list_archive(root: Path, archive: str, *, prefix: str = "") -> Listing:
    """Every entry of the zip `archive` (a path relative to `root`), sorted; paths start with `prefix`.

    Entries with absolute or `../` paths are refused with `unsafe_path`, runs and models of Ouvroir as in a folder. Raises DataError
    when the zip cannot be read.
    """
    listing = Listing(root=str(root))
    try:
        with zipfile.ZipFile(root / archive) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"`{root / archive}` cannot be opened as a zip: {error}. Download or pack it again.") from error
    own = _own_in([entry.filename for entry in entries])
    listing.own = own.get("", "")
    told: set[str] = set()
    last = {entry.filename: place for place, entry in enumerate(entries)}
    for place, entry in enumerate(entries):
        if entry.is_dir():
            continue
        if (within := _folder_above(entry.filename, own)) is not None:
            if within not in told:
                listing.refused.append(_refuse_own(f"{archive}{ZIP_SEPARATOR}{within}" if within else archive))
            told.add(within)
            continue
        if entry.filename.rpartition("/")[2] == MADE_MARK:
            listing.notes.append(Note("sample_data", MADE))
            continue
        locator = f"{archive}{ZIP_SEPARATOR}{entry.filename}"
        refusal = _refuse_entry(entry, readable_name(locator))
        if refusal is None and last[entry.filename] != place:
            again = f"{readable_name(locator)}#{place + 1}"
            refusal = Refusal(
                again, "repeated_entry", f"`{again}` is in the zip again under the same name; the last one counts."
            )
        if refusal is not None:
            listing.refused.append(refusal)
            continue
        listing.files.append(File(locator, prefix + entry.filename, entry.file_size, entry.CRC))
    listing.files.sort(key=lambda file: file.path)
    return listing


def _own_in(names: Sequence[str]) -> dict[str, str]:
    """The folders of an archive that are runs or models of Ouvroir, each before those in it, and which they are."""
    by_folder: dict[str, set[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        by_folder.setdefault(folder, set()).add(last)
    return {folder: kind for folder, inside in sorted(by_folder.items()) if (kind := own_kind(inside))}


def _folder_above(name: str, folders: Iterable[str]) -> str | None:
    """The first of the folders that an entry of an archive lies in, or None."""
    return next((folder for folder in folders if not folder or name.startswith(f"{folder}/")), None)


def _refuse_entry(entry: zipfile.ZipInfo, locator: str) -> Refusal | None:
    parts = entry.filename.replace("\\", "/").split("/")
    if entry.filename.startswith(("/", "\\")) or ".." in parts or parts[0].endswith(":") or "\\" in entry.filename:
        return Refusal(locator, "unsafe_path", f"`{locator}` leads out of its archive, so it is not opened.")
    if entry.flag_bits & _ENCRYPTED:
        return Refusal(
            locator, "encrypted", f"`{locator}` is encrypted. Unpack it with its password and give the folder."
        )
    if suffix_of(entry.filename) == ".zip":
        return Refusal(locator, "nested_archive", f"`{locator}` is a zip inside a zip. Unpack it and give the folder.")
    refusal = _refuse_by_name(entry.filename)
    return refusal if refusal is None else Refusal(locator, refusal.code, refusal.reason)


def join_sequences(listing: Listing, suffixes: frozenset[str], readable: frozenset[str]) -> None:
    """Put one entry, a folder, in place of the files of each folder whose names all end in numbers: frames of a clip.

    Only files of `suffixes` are joined, no folder of fewer than two, and none beside files that are `readable` alone. What is
    joined is said in a note.
    """
    by_folder: dict[str, list[File]] = {}
    for file in listing.files:
        if file.suffix in suffixes | readable and "/" in file.path:
            by_folder.setdefault(file.path.rsplit("/", 1)[0], []).append(file)
    joined = {
        folder: files
        for folder, files in by_folder.items()
        if is_sequence([file.name for file in files], suffixes, readable)
    }
    if not joined:
        return
    gone = {file.path for files in joined.values() for file in files}
    made = [_joined(folder, files) for folder, files in joined.items()]
    listing.files = sorted(
        [*(file for file in listing.files if file.path not in gone), *made], key=lambda file: file.path
    )
    text = f"Numbered files: {len(gone)}, in folders: {len(joined)}. Each of these folders was read as one row."
    listing.notes.append(Note("sequences", text))


def is_sequence(names: Sequence[str], suffixes: frozenset[str], readable: frozenset[str]) -> bool:
    """Whether the files of `suffixes` among those of one folder are two or more, all have names that end in numbers, and none of
    the others is `readable` alone.
    """
    if any(suffix_of(name) in readable for name in names):
        return False
    stems = [name.rsplit(".", 1)[0] for name in names if suffix_of(name) in suffixes]
    return len(stems) > 1 and all(stem[-1:].isdigit() for stem in stems)


def _joined(folder: str, files: list[File]) -> File:
    stamps = sorted((file.path, file.size, file.stamp) for file in files)
    stamp = int.from_bytes(hashlib.sha256(repr(stamps).encode("utf-8", "surrogatepass")).digest()[:7], "big")
    locator = folder_locator(files[0].locator, {file.suffix for file in files})
    return File(locator, folder + FOLDER, sum(file.size for file in files), stamp)
