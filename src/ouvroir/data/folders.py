"""Class folders: which folder level says the class, and which the split.

`cats/1.png`, `train/cats/1.png`, `cats/train/1.png`, any of them inside further folders that hold everything. What lies
deeper than the class belongs to the class.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ouvroir.data.candidates import Candidate, Collection
from ouvroir.data.listing import File
from ouvroir.errors import DataError
from ouvroir.files import readable_names
from ouvroir.recipe import Data
from ouvroir.records import SPLIT_NAMES
from ouvroir.task import Note, Split

_LEAST_FILES, _LEAST_A_LABEL = 12, 4
"""Fewer files, and fewer of one label, are no reason to look for labels in names."""


@dataclass(frozen=True)
class Levels:
    """Folder levels, counted from 0 at the top: of the class, and of the split (None: the user made no splits)."""

    label: int
    split: int | None


def find_levels(folders: Sequence[tuple[str, ...]], group_level: int | None = None) -> Levels:
    """Which level is which. `folders`: the folder names above each file; `group_level` (from 1) is not the class."""
    top = 0
    while _is_wrapper(folders, top):
        top += 1
    if _is_split_level(folders, top):
        return Levels(label=_next_level(top, group_level), split=top)
    label = _next_level(top - 1, group_level)
    below = [parts[label + 1] for parts in folders if len(parts) > label + 1]
    if below and len(below) == sum(len(parts) > label for parts in folders) and _are_splits(below):
        return Levels(label=label, split=label + 1)
    return Levels(label=label, split=None)


def _next_level(level: int, group_level: int | None) -> int:
    return level + 2 if group_level == level + 2 else level + 1


def _is_wrapper(folders: Sequence[tuple[str, ...]], level: int) -> bool:
    """One folder that holds everything, and further folders in it; a folder named like a split is none."""
    names = {parts[level] if len(parts) > level else None for parts in folders}
    name = next(iter(names), None)
    return (
        len(names) == 1
        and name is not None
        and name.lower() not in SPLIT_NAMES
        and (all(len(parts) > level + 1 for parts in folders) or _are_several_splits(_names_at(folders, level + 1)))
    )


def _is_split_level(folders: Sequence[tuple[str, ...]], level: int) -> bool:
    above_others = {parts[level] for parts in folders if len(parts) > level + 1}
    return bool(above_others and _are_splits(above_others)) or _are_several_splits(_names_at(folders, level))


def _split_level(folders: Sequence[tuple[str, ...]]) -> int | None:
    """The level of folders that are called like splits: two of them, whatever lies beside; or all files lie in such ones.

    Where folders above tell files apart, all that are in folders lie in such ones.
    """
    is_forked = False
    for level in range(max(map(len, folders), default=0)):
        names, n_inside = _names_at(folders, level), sum(len(parts) > level for parts in folders)
        is_whole = _are_splits(names) and n_inside == sum(map(bool, folders))
        if _are_several_splits(names) and (is_whole or not is_forked):
            return level
        if is_whole and n_inside == len(folders):
            return level
        is_forked = is_forked or len(names) > 1
    return None


def _names_at(folders: Sequence[tuple[str, ...]], level: int) -> set[str]:
    return {parts[level] for parts in folders if len(parts) > level}


def _are_splits(names: set[str] | list[str]) -> bool:
    return all(name.lower() in SPLIT_NAMES for name in names)


def _are_several_splits(names: set[str]) -> bool:
    return len({SPLIT_NAMES.get(name.lower()) for name in names} - {None}) > 1


def has_classes(folders: Sequence[tuple[str, ...]], group_level: int | None = None) -> bool:
    """Whether files lie in folders that tell them apart, and not in those of splits alone."""
    folders = [parts for parts in folders if parts] or folders
    levels = find_levels(folders, group_level)
    if levels.split is not None and levels.split < levels.label:  # what lies beside those of splits is not read
        folders = [parts for parts in folders if _split_of(parts, levels.split)]
    names = _names_at(folders, levels.label)
    return len(names) > 1 and not _are_splits(names)


def _split_of(parts: tuple[str, ...], level: int) -> Split | None:
    return SPLIT_NAMES.get(parts[level].lower()) if len(parts) > level else None


def _without_classes(folders: Sequence[tuple[str, ...]], others: Sequence[tuple[str, ...]]) -> Levels:
    """The levels where nothing is a class: that of splits, if there is one. `others`: folders of files that are read otherwise."""
    return Levels(label=len(max(folders, key=len, default=())) + 1, split=_split_level([*folders, *others]))


def _named_splits(files: Sequence[File], *, has_others: bool) -> dict[str, Split]:
    """The splits of files that are called like one, by locator: where several splits are named, or there are other data too."""
    named = {file.locator: SPLIT_NAMES.get(file.name.rsplit(".", 1)[0].lower()) for file in files}
    found = {locator: split for locator, split in named.items() if split is not None}
    return found if has_others or len(set(found.values())) > 1 else {}


def read_folders(
    collection: Collection, files: list[File], data: Data, *, needs_labels: bool, others: Sequence[File] = ()
) -> None:
    """Add each readable file as a candidate whose label is its folder, or refuse it (`no_label`, `no_split`).

    `others`: tables whose rows stand beside them.
    """
    named: dict[str, Split] = {}
    folders = [file.folders for file in files]
    levels = find_levels([parts for parts in folders if parts] or folders, data.group_level)
    if not data.labels or (not needs_labels and not has_classes(folders, data.group_level)):
        levels = _without_classes(folders, [file.folders for file in others])
        is_split = levels.split is not None
        named = _named_splits([file for file in files if not file.folders], has_others=bool(others) or is_split)
        _say_splits(collection, files, named, levels.split)
    pattern = None if data.label_pattern is None else _compiled(data.label_pattern)
    if pattern is not None:  # folders are no classes, and may be splits however deep they lie
        levels = Levels(label=len(max(folders, key=len, default=())), split=_split_level(folders))
    for file, parts in zip(files, folders, strict=True):
        split = named.get(file.locator)
        if levels.split is not None and len(parts) > levels.split:
            split = _split_of(parts, levels.split)
        label = parts[levels.label] if len(parts) > levels.label else None
        if pattern is not None:
            found = pattern.search(file.name)
            label = (found.group(1) or None) if found else None
        if levels.split is not None and split is None and levels.split < levels.label:
            text = f"`{file.id}` lies outside of the train, validation and test folders. Move it into one."
            collection.refuse(file.id, "no_split", text)
        elif label is None and needs_labels:
            text = f"`{file.id}` lies in no class folder, so it has no label. Move it into the folder of its class."
            if pattern is not None:
                text = f"The label pattern finds no label in the name of `{file.id}`. Rename it, or widen the pattern."
            collection.refuse(file.id, "no_label", text)
        else:
            group = _group_of(parts, data.group_level)
            collection.candidates.append(
                Candidate(file.id, file.locator, label, split, None, group, {}, file.size, file.stamp)
            )
    if pattern is None:
        _say_nested(collection, folders, levels, data)
    if needs_labels and pattern is None and files:
        _say_labels_in_names(collection, files)


def _say_splits(collection: Collection, files: Sequence[File], named: Mapping[str, Split], level: int | None) -> None:
    """A note on the folders that were taken as splits, less those that one on tables has named; or where only some files were."""
    if level is not None:
        told = "".join(note.text for note in collection.notes if note.code == "splits_by_folder")
        names = dict.fromkeys("/".join(one.folders[: level + 1]) for one in files if _split_of(one.folders, level))
        if new := [name for name in names if f"`{name}`" not in told]:
            text = f"Taken as splits by their folders: {readable_names(new, most=6)}."
            collection.notes.append(Note("splits_by_folder", text))
    elif 0 < len(named) < len(files):
        shown = ", ".join(f"`{file.id}`" for file in files if file.locator in named)
        text = f"Taken as splits by their names: {shown}. All other files are to learn from."
        collection.notes.append(Note("splits_by_name", text))


def splits_by_folders(collection: Collection, files: Sequence[File], around: Sequence[File]) -> dict[str, Split]:
    """The splits that folders say of files that a table names, by locator, and notes on these folders.

    `around`: all files that are read, whose folders must say several splits. The first level that does is taken, whatever lies
    beside: a table keeps what it names outside, where `read_folders` refuses it, so that `_split_level` must be surer.
    """
    folders = [file.folders for file in around]
    levels = range(max(map(len, folders), default=0))
    level = next((level for level in levels if _are_several_splits(_names_at(folders, level))), None)
    if not files or level is None:
        return {}
    found = {file.locator: split for file in files if (split := _split_of(file.folders, level)) is not None}
    _say_splits(collection, files, {}, level)
    if outside := {file.locator: file.id for file in files if file.locator not in found}:
        example = next(iter(outside.values()))
        text = (
            "Files that a table names outside of the folders of splits, which are to learn from: "
            f"{len(outside):,}, such as `{example}`."
        )
        collection.notes.append(Note("outside_of_splits", text))
    return found


def _compiled(pattern: str) -> re.Pattern[str]:
    """Raises DataError."""
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise DataError(f"The label pattern `{pattern}` is not a regular expression: {error}.") from error
    if not found.groups:
        raise DataError(f"The label pattern `{pattern}` has no group. Put ( ) around the part that is the label.")
    return found


def _say_labels_in_names(collection: Collection, files: list[File]) -> None:
    """`3_ann_07.wav`, `3_bob_02.wav`, `4_ann_01.wav`: names may hold the label where folders hold none, or one for all."""
    labels = {candidate.label for candidate in collection.candidates}
    if len(labels) > 1 or len(files) < _LEAST_FILES:
        return
    tokens = [re.split(r"[_-]", file.name.rsplit(".", 1)[0]) for file in files]
    n_tokens, n_alike = Counter(map(len, tokens)).most_common(1)[0]
    if n_tokens < 2 or n_alike < 0.9 * len(files):
        return
    for place in range(n_tokens):
        found = Counter(row[place] for row in tokens if len(row) == n_tokens)
        if 2 <= len(found) <= len(files) / _LEAST_A_LABEL:
            pattern = rf"^(?:[^_-]+[_-]){{{place}}}([^_-]+)" if place else r"^([^_-]+)"
            text = (
                f"Folders tell no classes apart, and names look as if they held them: in `{files[0].name}` it may be "
                f"`{tokens[0][place]}`, of {len(found)} in all ({_some(set(found))}). If so, read it there."
            )
            collection.notes.append(Note("label_proposed", text, {"data.label_pattern": pattern}))
            return


def _group_of(parts: tuple[str, ...], group_level: int | None) -> str:
    return parts[group_level - 1] if group_level is not None and len(parts) >= group_level else ""


def _say_nested(collection: Collection, folders: list[tuple[str, ...]], levels: Levels, data: Data) -> None:
    """`ann/cat`, `ann/dog`, `bob/cat`: the class may be the lower level; only a person can know."""
    level = levels.label
    pairs = Counter(parts[level : level + 2] for parts in folders if len(parts) > level + 1)
    upper = {pair[0] for pair in pairs}
    lower = {pair[1] for pair in pairs}
    if data.group_level is None and levels.split is None and len(upper) > 1 and len(pairs) > len(lower):
        text = (
            f"Classes were read from folder level {level + 1} ({_some(upper)}); the folders below ({_some(lower)}) repeat. "
            "If those are the classes and the upper ones persons or sources, say that the upper level is one of groups."
        )
        collection.notes.append(Note("nested_folders", text, {"data.group_level": str(level + 1)}))


def _some(names: set[str]) -> str:
    shown = sorted(names)[:3]
    return ", ".join(shown) + (", …" if len(names) > 3 else "")
