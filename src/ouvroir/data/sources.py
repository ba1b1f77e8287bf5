"""A folder, a table or a zip becomes candidates: what may be rows, with their labels and the splits the user made.

Nothing is opened here except tables. Each file or table row ends as one candidate or one refusal, so counts add up.
Reading class folders is in `folders.py`, reading tables in `tabular.py`.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

from ouvroir.data.blocks import block_bytes, cut
from ouvroir.data.candidates import Collection
from ouvroir.data.chosen_tables import hold_texts_alone, n_texts, suffixes_of_named_files
from ouvroir.data.folders import has_classes, read_folders
from ouvroir.data.labels import read_labelled_tables
from ouvroir.data.listing import (
    MADE,
    MADE_MARK,
    File,
    Listing,
    is_sequence,
    join_sequences,
    list_archive,
    list_folder,
    suffix_of,
)
from ouvroir.data.tabular import TABLE_SUFFIXES
from ouvroir.errors import DataError
from ouvroir.files import readable_names
from ouvroir.media import TASKS, advice_on, detect_task, find_task, readable_suffixes, sequences_of, suffixes_of
from ouvroir.recipe import Data
from ouvroir.task import Note, Refusal

_SHOWN = 3  # names in a sentence
_ENOUGH = 3  # files of another kind that may be what is meant
_LEAST_OF_SEQUENCE = 8  # numbered files of a folder that look like parts of one whole
_FEW = 0.1  # of the readable files in zips: so many beside them are no data
_LOOKED_AT = 200  # folders, and entries of each, when class folders are looked for above a folder
_DULL = {"hidden", "own_folder", "not_readable_here"}  # refusals that leave nothing to say but that nothing can be read

_OWN = {
    "run": (
        "is a run of Ouvroir, what a training left behind, and no data. Give the files that it learned from, or a folder in it "
        "that holds samples, such as `synthetic`."
    ),
    "model": (
        "is a model of Ouvroir, and no data. Give the files to learn from; what asks a model is `ouvroir predict` or `ouvroir "
        "generate`."
    ),
    "cache": (
        "is where Ouvroir keeps what it has worked out of data, and no data. Give the files to learn from, or let OUVROIR_HOME be "
        "another folder."
    ),
}


def read_source(source: str | Path, data: Data, *, task: str | None) -> Collection:
    """List what the user pointed at. `task` is told from the suffixes of the files when absent. Raises DataError."""
    path = existing_path(source)
    listing, tables, suffixes, texts = _list(path, task)
    chosen = (
        task
        or detect_task(suffixes, texts)
        or _raise_nothing_readable(path, listing, "any task", _readable_by_any(None))
    )
    readable = suffixes_of(chosen)
    join_sequences(listing, sequences_of(chosen), readable)
    if task is None:
        listing.notes += _perhaps_sequences(listing, chosen)
    if task is None:
        chosen = _without_labels(chosen, listing, tables, data)
        listing.notes += _perhaps_another(listing, tables, readable, data)
    _require_one_way(data, chosen)
    is_told = any(note.code == "sample_data" for note in listing.notes)
    if path.is_file() and (path.parent / MADE_MARK).is_file() and not is_told:
        listing.notes.append(Note("sample_data", MADE))
    collection = Collection(root=listing.root, task=chosen, refused=list(listing.refused), notes=list(listing.notes))
    is_only_source = path.is_file() and path.suffix.lower() in TABLE_SUFFIXES
    if not read_labelled_tables(collection, listing, tables, data, is_only_source=is_only_source):
        files = [file for file in listing.files if file.suffix in readable]
        read_folders(collection, files, data, needs_labels=find_task(chosen).needs_labels)
        collection.notes += _perhaps_unlabelled(collection, data, task)
        has_other_way = any(note.code == "label_proposed" for note in collection.notes)
        is_flat = path.is_dir() and bool(files) and not any("/" in file.locator for file in files)
        if is_flat and not collection.candidates and not has_other_way:
            collection.notes.append(_lone_folder(path, len(files), readable))
        for file in listing.files:
            if file.suffix not in readable:
                collection.refuse_kind(file.id, file.suffix)
        for column in filter(None, (data.path_column, data.text_column, data.label_column, data.group_column)):
            text = f"No table of labels was used, so the column `{column}` has no effect; folders are the classes."
            collection.notes.append(Note("column_unused", text))
    if not collection.candidates and all(refusal.code in _DULL for refusal in collection.refused):
        said = next((note.text for note in collection.notes if note.code == "table_ignored"), "")
        _raise_nothing_readable(path, listing, chosen, readable, said)
    if most_bytes := block_bytes(chosen):
        collection.candidates = cut(collection.root, collection.candidates, most_bytes)
    collection.make_ids_unique()
    return collection


def _without_labels(task: str, listing: Listing, tables: Sequence[File], data: Data) -> str:
    """The task itself, or the one for the same files without labels where they have none and it needs them."""
    other = TASKS[task].unlabelled
    return other if other and not _has_labels(listing, tables, task, data) else task


def _perhaps_another(listing: Listing, tables: Sequence[File], readable: frozenset[str], data: Data) -> list[Note]:
    """The note on files that are not of the kind most of them are, where they are enough to be meant."""
    counts = _count_suffixes(listing)
    others = Counter({suffix: n for suffix, n in counts.items() if suffix not in readable})
    found = detect_task(Counter({suffix: n for suffix, n in others.items() if suffix in _readable_by_any(None)}))
    n_files = sum(n for suffix, n in others.items() if found is not None and suffix in suffixes_of(found))
    if found is None or n_files < _ENOUGH:
        return []
    example = next(file.id for file in listing.files if file.suffix in suffixes_of(found) - readable)
    text = (
        f"Files of another kind than most, which are not read: {n_files:,}, such as `{example}`. To learn from these instead: "
        f"`--task {_without_labels(found, listing, tables, data)}`."
    )
    return [Note("other_kind", text)]


def _has_labels(listing: Listing, tables: Sequence[File], task: str, data: Data) -> bool:
    """Whether files lie in class folders, or tables or names of files tell labels."""
    if not data.labels:
        return False
    if data.label_pattern is not None or (tables and not hold_texts_alone(listing, tables, task, data)):
        return True
    readable = suffixes_of(task)
    return has_classes([file.folders for file in listing.files if file.suffix in readable], data.group_level)


def _perhaps_unlabelled(collection: Collection, data: Data, asked: str | None) -> list[Note]:
    """The note on folders most of which hold one file, unless a task was asked for: perhaps they are no classes."""
    if asked or not TASKS[collection.task].unlabelled or data.label_pattern or data.label_separator:
        return []
    counted = Counter(one.label for one in collection.candidates)
    single = [str(label) for label, n in counted.items() if n == 1]
    if 2 * len(single) <= len(counted):
        return []
    text = (
        f"Folders are taken for classes, and most hold one text: {readable_names(single, most=_SHOWN)}. If they are no classes, "
        "say so: the texts are then a corpus."
    )
    return [Note("classes_of_one", text, {"data.labels": "false"})]


def _require_one_way(data: Data, task: str) -> None:
    """Raises DataError where no labels are to be taken, and other settings or the task want some."""
    if data.labels:
        return
    for name in ("label_column", "label_pattern", "label_separator"):
        if (value := getattr(data, name)) is not None:
            raise DataError(
                f"data.labels=false takes no labels, and data.{name}={value} says where they are. Leave one of them out."
            )
    if find_task(task).needs_labels:
        raise DataError(
            f"data.labels=false takes no labels, and {task} learns from them. Leave it out, or name another --task."
        )


def _perhaps_sequences(listing: Listing, chosen: str) -> list[Note]:
    """The note on numbered files in folders inside class folders: another task would read each such folder as one row."""
    other = next((name for name in TASKS if sequences_of(name)), None)
    if other is None or sequences_of(chosen):
        return []
    folders: dict[str, list[str]] = {}
    for file in listing.files:
        if file.path.count("/") >= 2:
            folders.setdefault(file.path.rpartition("/")[0], []).append(file.name)
    found = [
        names
        for names in folders.values()
        if len(names) >= _LEAST_OF_SEQUENCE and is_sequence(names, sequences_of(other), frozenset())
    ]
    if len(found) < 2 or 2 * sum(map(len, found)) < len(listing.files):
        return []
    text = (
        f"Numbered files lie in {len(found)} folders inside other folders, as the parts of one recording do. If each folder is one "
        f"item, say so: `--task {other}`."
    )
    return [Note("sequences_proposed", text)]


def _lone_folder(path: Path, n_files: int, readable: frozenset[str]) -> Note:
    """The note on a folder whose files lie directly in it: probably one class of the folder above."""
    text = f"The {n_files:,} files lie directly in `{path.name}`, without a folder for each class, so none has a label."
    if n_files == 1:
        text = f"The only file lies directly in `{path.name}`, without a folder for each class, so it has no label."
    classes = _class_folders(path.parent, readable)
    if path.name in classes and len(classes) > 1:
        shown = ", ".join(f"`{name}`" for name in classes[:_SHOWN]) + (", …" if len(classes) > _SHOWN else "")
        text += (
            f" `{path.name}` looks like one class beside others ({shown}): give the folder that holds them, "
            f"`ouvroir check {shlex.quote(str(path.parent))}`."
        )
    else:
        text += " Sort them into folders inside it, one for each class, or give a table with a column of labels."
    return Note("lone_folder", text)


def _class_folders(above: Path, readable: frozenset[str]) -> list[str]:
    """Names of the folders directly in `above` that hold readable files, as far as a short look tells."""
    found = []
    with contextlib.suppress(OSError):
        for folder in islice(sorted(above.iterdir()), _LOOKED_AT):
            with contextlib.suppress(OSError):
                if not folder.name.startswith(".") and folder.is_dir():
                    with os.scandir(folder) as entries:
                        is_class = any(suffix_of(entry.name) in readable for entry in islice(entries, _LOOKED_AT))
                    found += [folder.name] * is_class
    return found


def existing_path(source: str | Path) -> Path:
    """The absolute path of what the user named. Raises DataError with names that are close."""
    path = Path(source).expanduser().absolute()
    try:
        if path.exists():
            return path
    except OSError as error:
        raise DataError(f"{path} could not be looked at: {error.strerror}. Change the permissions above it.") from error
    above = path.parent
    while not above.exists():
        above = above.parent
    wanted = path.relative_to(above).parts[0]
    try:
        close = difflib.get_close_matches(wanted, [entry.name for entry in above.iterdir()], n=3)
    except OSError:
        close = []
    hint = f"Close names in {above}: {', '.join(close)}." if close else f"{above} exists; `{wanted}` is not in it."
    raise DataError(f"There is nothing at {path}. {hint}")


def _list(path: Path, task: str | None) -> tuple[Listing, list[File], Counter[str], int]:
    """The files, those of them that may be tables of labels, how many there are of each suffix, and of texts in the tables."""
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".zip":
        listing = list_folder(path) if path.is_dir() else list_archive(path.parent, path.name)
        if listing.own:
            raise DataError(f"{path} {_OWN[listing.own]}")
        if path.is_dir():
            _open_archives(listing, task)
        tables = _tables_of(listing)
        return listing, tables, _count_suffixes(listing), 0 if task else n_texts(listing, tables)
    if suffix in TABLE_SUFFIXES:
        status = path.stat()
        table = File(path.name, path.name, status.st_size, status.st_mtime_ns)
        suffixes = suffixes_of_named_files(str(path.parent), table)
        if suffixes:  # its paths can be followed, so what else lies in its folder is no concern
            return Listing(str(path.parent), [table]), [table], suffixes, 0
        listing = list_folder(path.parent)
        if task is None and (texts := n_texts(listing, [table])):
            return Listing(str(path.parent), [table]), [table], Counter(), texts
        _open_archives(listing, task)
        return listing, [table], _count_suffixes(listing), 0
    if any(entry.block_bytes and suffix in entry.suffixes for entry in TASKS.values()):
        status = path.stat()
        file = File(path.name, path.name, status.st_size, status.st_mtime_ns)
        return Listing(str(path.parent), [file]), [], Counter([suffix]), 0
    raise DataError(
        f"{path} is one file. Give a folder with a folder per class, a zip of it, "
        f"or a table ({', '.join(sorted(TABLE_SUFFIXES))}) with a column of paths and one of labels."
    )


def _count_suffixes(listing: Listing) -> Counter[str]:
    """How many files there are of each suffix, without captions: such as are called as a file of another medium."""
    names = [file.path for file in listing.files]
    names += [refusal.id for refusal in listing.refused if refusal.code != "own_folder"]
    captions = frozenset().union(*(entry.suffixes for entry in TASKS.values() if entry.captions))
    others = _readable_by_any(None) - captions
    told = {_stems(name)[0] for name in names if suffix_of(name) in others}
    return Counter(
        suffix for name in names if (suffix := suffix_of(name)) not in captions or told.isdisjoint(_stems(name))
    )


def _stems(path: str) -> list[str]:
    """The name of a file without its suffix, and again without what may be a suffix: `1.fr` and `1` of `1.fr.txt`."""
    name = path.rsplit("/", 1)[-1].lower()
    found = [name.removesuffix(suffix_of(name))]
    while suffix := suffix_of(found[-1]):
        found.append(found[-1].removesuffix(suffix))
    return found


def _readable_by_any(task: str | None) -> frozenset[str]:
    return suffixes_of(task) if task else frozenset().union(*(entry.suffixes for entry in TASKS.values()))


def _open_archives(listing: Listing, task: str | None) -> None:
    """Put the entries of zips that lie directly in the folder in their place, unless readable files lie there too.

    A few of them directly in the folder, as a licence may be where texts are read, are no reason to leave the zips closed.
    """
    archives = [file for file in listing.files if file.suffix == ".zip" and "/" not in file.path]
    readable = _readable_by_any(task)
    loose = [file for file in listing.files if file.suffix in readable]
    if not archives or any("/" in file.path for file in loose):
        return
    opened: list[File] = []
    replaced: set[str] = set()
    n_refused = len(listing.refused)
    for archive in archives:
        prefix = "" if len(archives) == 1 else archive.path[: -len(".zip")] + "/"
        try:
            inside = list_archive(Path(listing.root), archive.locator, prefix=prefix)
        except DataError as error:
            listing.refused.append(Refusal(archive.path, "unreadable", str(error)))
        else:
            opened += inside.files
            listing.refused += inside.refused
        replaced.add(archive.path)
    if loose and len(loose) >= _FEW * sum(file.suffix in readable for file in opened):
        del listing.refused[n_refused:]
        return
    listing.files = sorted(
        [file for file in listing.files if file.path not in replaced] + opened, key=lambda file: file.path
    )


def _tables_of(listing: Listing) -> list[File]:
    """Tables that lie as high as any, and not deeper than two folders."""
    tables = [file for file in listing.files if file.suffix in TABLE_SUFFIXES]
    depth = min((file.path.count("/") for file in tables), default=0)
    return [file for file in tables if file.path.count("/") == depth <= 2]


def _raise_nothing_readable(
    path: Path, listing: Listing, reader: str, readable: frozenset[str], said: str = ""
) -> NoReturn:
    """`said`: what was found of a table."""
    n_found = len(listing.files) + len(listing.refused)
    if not n_found:
        raise DataError(
            f"{path} is empty. Put files into it, one folder for each class, or texts to learn to write from, and try again."
        )
    if all(refusal.code == "own_folder" for refusal in listing.refused) and not listing.files:
        raise DataError(f"{path} holds nothing but runs, models or the cache of Ouvroir. Give a folder of data.")
    counts = Counter(file.suffix or "without suffix" for file in listing.files).most_common(4)
    kinds = ", ".join(f"{n} {suffix}" for suffix, n in counts)
    refused = Counter(refusal.code for refusal in listing.refused).most_common(3)
    others = ", ".join([kinds] * bool(kinds) + [f"{n} {code}" for code, n in refused])
    some = ", ".join(readable_suffixes(readable)[:6])
    known = (advice_on(file.suffix, None if reader == "any task" else reader) for file in listing.files)
    advice = next(filter(None, known), "")
    rest = Counter(file.suffix for file in listing.files if file.suffix in readable)
    if reader == "any task" and (other := detect_task(rest)):
        example = TASKS[other].unlabelled or other
        raise DataError(
            f"{path} holds {n_found} files ({others}). Those that can be read are {rest.total()}, too few among the rest to be "
            f"sure that they are what you mean. If they are, name the task, for instance --task {example}. {advice}".rstrip()
        )
    none = f"The only file in {path} cannot" if n_found == 1 else f"None of the {n_found} files in {path} can"
    raise DataError(f"{none} be read by {reader} ({others}). It reads {some} and the like. {advice} {said}".rstrip())
