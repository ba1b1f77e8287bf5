"""Which rows belong together: same content, nearly the same content, same group; and what leaks between splits.

Rows that belong together form one group, which the splits keep whole. Medium-blind: what is near is told by vectors.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from ouvroir.data import duplicates
from ouvroir.data.arrays import data_named, map_arrays, write_arrays
from ouvroir.data.blocks import block_bytes, is_file
from ouvroir.data.candidates import Candidate
from ouvroir.data.duplicates import Clusters
from ouvroir.data.facts import NearKeys
from ouvroir.data.manifest import label_names
from ouvroir.data.marks import Places, gathered, is_among, share_among
from ouvroir.data.quotes import Quotes
from ouvroir.data.tabular import decode_text
from ouvroir.errors import DataError, ManifestError, Refused
from ouvroir.files import home
from ouvroir.media import find_task
from ouvroir.source import block_of, name_of, shown_locator
from ouvroir.task import SPLITS, Note, Refusal, Row, Split

_SHOWN = 3  # names in a sentence
_PART = 0.1  # of a block, that is no chance likeness
_MOST_NEW = 0.2  # share of new contents up to which only their pairs are looked for


@dataclass
class Relations:
    """`group[i]` of each row ('' when it belongs to nothing), near-duplicate pairs as places, and what is worth saying."""

    group: list[str]
    near: np.ndarray
    notes: list[Note] = field(default_factory=list)


def groups_of(candidates: Sequence[Candidate], pattern: str | None) -> tuple[list[str], list[Note]]:
    """The user's groups: from column or folder level, else from `pattern` on the file name. Raises DataError."""
    if pattern is None:
        return [candidate.group for candidate in candidates], []
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(f"The group pattern `{pattern}` is not a regular expression: {error}.") from error
    if not compiled.groups:
        raise DataError(f"The group pattern `{pattern}` has no group. Put ( ) around the part that names it.")
    groups = []
    for candidate in candidates:
        found = compiled.search(name_of(candidate.locator) if candidate.locator else candidate.id)
        groups.append((found.group(1) or "") if found else "")
    n_matched = sum(map(bool, groups))
    if not n_matched:
        raise DataError(
            f"The group pattern `{pattern}` matches none of {len(groups)} file names, such as "
            f"`{name_of(candidates[0].locator) or candidates[0].id}`."
            if candidates
            else f"There is nothing for `{pattern}` to match."
        )
    n_groups = len(set(filter(None, groups)))
    text = f"Files that the pattern `{pattern}` puts into groups: {n_matched} of {len(groups)}. Groups: {n_groups}."
    return groups, [Note("groups", text)]


def find_near(contents: Sequence[str], near: NearKeys, cache: Path, data_name: str, *, fresh: bool) -> np.ndarray:
    """(P, 2) int64 near-duplicate pairs of rows with different content; one row stands for each content.

    Pairs that were found before are read from `cache`, and only new contents are compared.
    """
    first_of: dict[str, int] = {}
    for place, content in enumerate(contents):
        if near.place[place] >= 0:
            first_of.setdefault(content, place)
    if not first_of:
        return np.empty((0, 2), dtype=np.int64)
    known, known_pairs = ([], np.empty((0, 2), dtype=np.int64)) if fresh else _load_near(cache)
    still = [content for content in known if content in first_of]
    new = sorted(first_of.keys() - set(still))
    if len(new) > _MOST_NEW * len(first_of):
        still, new, known_pairs = [], sorted(first_of), known_pairs[:0]
    ordered = still + new
    number = {content: place for place, content in enumerate(ordered)}
    old = [
        (number[known[a]], number[known[b]])
        for a, b in known_pairs.tolist()
        if known[a] in number and known[b] in number
    ]
    pairs = np.array(old, dtype=np.int64).reshape(-1, 2)
    rows = np.array([first_of[content] for content in ordered], dtype=np.int64)
    if new:
        found = duplicates.find_pairs(near.rows(rows), n_known=len(still))
        pairs = np.concatenate([pairs, found.places])
        _save_near(cache, ordered, pairs, data_name)
    return rows[pairs]


def near_cache(root: str, task: str) -> Path:
    """Where the near-duplicate pairs of a data root are kept."""
    settings = (duplicates.MAX_DISTANCE, duplicates.RATIO, duplicates.NEIGHBOUR, duplicates.MIN_DISTANCE)
    name = hashlib.sha256(repr((root, task, find_task(task).decoder(), settings)).encode()).hexdigest()[:32]
    return home() / "facts" / f"{name}.near.safetensors"


def _load_near(path: Path) -> tuple[list[str], np.ndarray]:
    with contextlib.suppress(OSError, ManifestError, KeyError):
        arrays = map_arrays(path)
        text = arrays["contents"].tobytes().hex()
        return [text[start : start + 64] for start in range(0, len(text), 64)], np.array(arrays["pairs"])
    return [], np.empty((0, 2), dtype=np.int64)


def _save_near(path: Path, contents: Sequence[str], pairs: np.ndarray, data_name: str) -> None:
    packed = np.frombuffer(bytes.fromhex("".join(contents)), dtype=np.uint8)
    write_arrays(path, {"pairs": pairs.astype(np.int64), "contents": packed, **data_named(data_name)})


def relate(
    candidates: Sequence[Candidate], contents: Sequence[str], groups: Sequence[str], near: np.ndarray
) -> Relations:
    """Join rows of equal group, equal content and near content into groups, and say what was found."""
    notes = _say_same(candidates, contents)
    clusters = _join(contents, groups, near)
    members = Counter(map(clusters.find, range(len(candidates))))
    n_groups = len(set(filter(None, groups)))
    if n_groups > 2 and members and max(members.values()) > len(candidates) / 2:
        within = np.array(
            [groups[a] == groups[b] or not (groups[a] and groups[b]) for a, b in near.tolist()], dtype=bool
        )
        clusters = _join([""] * len(contents), groups, near[within] if len(near) else near)
        members = Counter(map(clusters.find, range(len(candidates))))
        text = (
            "Files of different groups are alike, so that keeping alike files together would put most rows into one group. "
            "The groups were kept apart; alike files may lie in different splits."
        )
        notes.append(Note("alike_across_groups", text))
    if len(near):
        notes += _say_near(candidates, near.tolist())
    return Relations(_name_groups(candidates, groups, clusters, members), near, notes)


def _join(contents: Sequence[str], groups: Sequence[str], near: np.ndarray) -> Clusters:
    clusters = Clusters(len(contents))
    clusters.join_equal(groups)
    clusters.join_equal(contents)
    clusters.join_all(near.tolist())
    return clusters


def _name_groups(
    candidates: Sequence[Candidate], groups: Sequence[str], clusters: Clusters, members: Counter[int]
) -> list[str]:
    """The user's name where there is one (several are joined), else the first row's id; '' for a row alone."""
    named: dict[int, set[str]] = {}
    for place, group in enumerate(groups):
        if group:
            named.setdefault(clusters.find(place), set()).add(group)
    names: dict[int, str] = {}
    taken = {group for group in groups if group}
    result = []
    for place in range(len(candidates)):
        leader = clusters.find(place)
        if leader not in names:
            given = sorted(named.get(leader, ()))
            name = " + ".join(given[:_SHOWN]) if given else candidates[leader].id if members[leader] > 1 else ""
            if len(given) > _SHOWN or (not given and name in taken):
                name = f"{name} ({candidates[leader].id})"
            names[leader] = name
        result.append(names[leader])
    return result


def _say_same(candidates: Sequence[Candidate], contents: Sequence[str]) -> list[Note]:
    """A note on rows with the same content: `duplicates`."""
    places: dict[str, list[int]] = {}
    counted = Counter(contents)
    for place, content in enumerate(contents):
        if counted[content] > 1:
            places.setdefault(content, []).append(place)
    if not places:
        return []
    first = next(iter(places.values()))
    n_repeated = sum(len(same) - 1 for same in places.values())
    example = f"`{_named(candidates[first[1]])}` that of `{_named(candidates[first[0]])}`"
    count = "1 file repeats" if n_repeated == 1 else f"{n_repeated} files repeat"
    if not all(map(is_file, candidates)):
        count = "1 row repeats" if n_repeated == 1 else f"{n_repeated} rows repeat"
    text = (
        f"{count} the content of another, e.g. {example}. They are kept in one split; in validation and test each content "
        "is judged once."
    )
    return [Note("duplicates", text)]


def say_conflicts(rows: Sequence[Row]) -> list[Note]:
    """A note on contents of these rows, split already, that have several labels: `conflicting_labels`."""
    counted = Counter(row.sha256 for row in rows)
    labelled: dict[str, dict[frozenset[str], Row]] = {}
    for row in rows:
        if counted[row.sha256] > 1 and row.label is not None:
            labelled.setdefault(row.sha256, {}).setdefault(_label_set(row), row)
    conflicts = [list(rows_.values()) for rows_ in labelled.values() if len(rows_) > 1]
    if not conflicts:
        return []
    shown = "; ".join(
        " and ".join(f"`{_named(row)}` ({_label_text(row)})" for row in same[:_SHOWN]) for same in conflicts[:_SHOWN]
    )
    count = "1 content has" if len(conflicts) == 1 else f"{len(conflicts)} contents have"
    text = f"{count} copies under different labels: {shown}."
    n_learned = sum(same[0].split == "train" for same in conflicts)
    n_held = len(conflicts) - n_learned
    if n_held:
        text += f" Those in validation and test ({n_held}) are not judged by, since no answer to them can be right."
    if n_learned:
        text += f" Those in train ({n_learned}) are learned from under each of their labels."
    text += " Decide which label is right and delete the other copies."
    return [Note("conflicting_labels", text)]


def _label_set(one: Candidate | Row) -> frozenset[str]:
    return frozenset(label_names(one.label))


def _say_near(candidates: Sequence[Candidate], near: Sequence[Sequence[int]]) -> list[Note]:
    """Notes on nearly equal rows: `near_duplicates`, and `near_conflicts` when their labels differ."""
    n_alike = len({place for pair in near for place in pair})
    example = f"`{_named(candidates[near[0][0]])}` and `{_named(candidates[near[0][1]])}`"
    text = f"{n_alike} files are nearly the same as another one, e.g. {example}. They are kept in one split."
    if not all(map(is_file, candidates)):
        text = f"{n_alike} rows are nearly the same as another one, e.g. {example}. They are kept in one split."
    notes = [Note("near_duplicates", text)]
    conflicts = [pair for pair in near if _label_set(candidates[pair[0]]) != _label_set(candidates[pair[1]])]
    if conflicts:
        shown = "; ".join(
            " and ".join(f"`{_named(candidates[place])}` ({_label_text(candidates[place])})" for place in pair)
            for pair in conflicts[:_SHOWN]
        )
        count = "1 pair" if len(conflicts) == 1 else f"{len(conflicts)} pairs"
        text = f"{count} of nearly the same files with different labels: {shown}. Look which label is right."
        notes.append(Note("near_conflicts", text))
    return notes


def _named(one: Candidate | Row) -> str:
    """What a sentence calls a row: its file, of which it may be a block."""
    return shown_locator(one.id)


def _shown(rows: Iterable[Candidate | Row]) -> str:
    """The first few names of rows; a file of which several are blocks is named once."""
    names = dict.fromkeys(map(_named, rows))
    return ", ".join(f"`{name}`" for name in islice(names, _SHOWN))


def _label_text(one: Candidate | Row) -> str:
    return ", ".join(one.label) if isinstance(one.label, tuple) else str(one.label)


def find_leaks(
    candidates: Sequence[Candidate], contents: Sequence[str], codes: Sequence[int]
) -> tuple[dict[int, Refusal], list[Note]]:
    """Rows whose content lies in a more held-out split too: they are refused. `codes` are places in SPLITS.

    A test that holds what was trained on says nothing, and the test stays as it is, so the train side goes.
    """
    most: dict[str, int] = {}
    keeper: dict[str, int] = {}
    for place, content in enumerate(contents):
        if codes[place] > most.get(content, -1):
            most[content], keeper[content] = codes[place], place
    refused: dict[int, Refusal] = {}
    n_other_label = 0
    for place, content in enumerate(contents):
        if codes[place] < most[content]:
            other = _named(candidates[keeper[content]])
            split = SPLITS[most[content]]
            text = f"`{_named(candidates[place])}` has the same content as `{other}` of the {split} split, so it is not trained on."
            if SPLITS[codes[place]] == "validation":
                text = f"`{_named(candidates[place])}` has the same content as `{other}` of the test split, so it is left out."
            if _label_set(candidates[place]) != _label_set(candidates[keeper[content]]):
                mine, others = _label_text(candidates[place]), _label_text(candidates[keeper[content]])
                text += f" The label here is {mine}, and {others} there: look which one is right."
                n_other_label += 1
            refused[place] = Refusal(candidates[place].id, "leak", text)
    if not refused:
        return {}, []
    shown = _shown(candidates[place] for place in refused)
    text = (
        f"Rows that lie both in a split to learn from and in one to judge by: {len(refused)} ({shown}). "
        "The copies to learn from were refused."
    )
    if n_other_label:
        text += (
            f" Of these, {n_other_label} had another label there; the result is by the label of the copy that was kept."
        )
    return refused, [Note("leak", text)]


def find_retold(rows: Sequence[Row]) -> tuple[list[Refusal], list[Note]]:
    """Blocks of which most stands in a more held-out split too, cut at other places: they are refused, as by `find_leaks`.

    So are those that hold part of a block there of which most would be learned, though none of them holds most of it. Where that
    is half of a split, as in a file of lines that come again and again, it is said and they stay.
    """
    refused: list[Refusal] = []
    notes: list[Note] = []
    if not any(block_of(row.locator)[1] for row in rows):
        return refused, notes
    places = Places(rows)
    for number, split in enumerate(SPLITS[:-1]):
        mine = [row for row in rows if row.split == split]
        held_out = [row for row in rows if row.split in SPLITS[number + 1 :] and block_of(row.locator)[1]]
        there = {row.id: places.held_out_of(row) for row in mine if block_of(row.locator)[1]}
        retold = [row for row in mine if there.get(row.id)]
        told = f"Blocks of which most stands in a more held-out split too: {len(retold)}"
        shown = _shown(retold)
        if 2 * len(retold) > len(mine):
            text = (
                f"{told} ({shown}). They stay, since they are most of the {split} split: the texts repeat themselves, and figures "
                "flatter."
            )
            notes.append(Note("repeats_itself", text))
            continue
        if retold:
            text = (
                f"{told} ({shown}), as in two editions of one book. They are left out, since what is held out must be new to the "
                "model."
            )
            notes.append(Note("leak", text))
        refused += [
            Refusal(
                row.id, "leak", f"Most of `{_named(row)}` stands in the {there[row.id]} split too, so it is left out."
            )
            for row in retold
        ]
        torn, torn_notes = _find_torn([row for row in mine if not there.get(row.id)], held_out, len(retold))
        refused += torn
        notes += torn_notes
    return refused, notes


def _find_torn(rows: Sequence[Row], held_out: Sequence[Row], n_retold: int) -> tuple[list[Refusal], list[Note]]:
    """Blocks of a split that hold part of one of `held_out` of which most would be learned, less those found before, `n_retold`."""
    left = gathered(rows)
    torn = gathered(row for row in held_out if is_among(row, left))
    parts = [row for row in rows if block_of(row.locator)[1] and share_among(row, torn) > _PART]
    if not parts:
        return [], []
    part = f"Blocks that hold part of a held-out one of which most would be learned: {len(parts)} ({_shown(parts)})."
    if 2 * (n_retold + len(parts)) > n_retold + len(rows):
        text = f"{part} They stay, since they are many: the texts repeat themselves, and figures flatter."
        return [], [Note("repeats_itself", text)]
    refused = [
        Refusal(row.id, "leak", f"`{_named(row)}` holds part of a held-out block, so it is left out.") for row in parts
    ]
    return refused, [Note("leak", f"{part} They are left out.")]


def find_quoted(rows: Sequence[Row], root: str, task: str) -> tuple[list[Refusal], list[Note]]:
    """Rows of tables that stand word for word in a more held-out text of a corpus: they are refused, as by `find_retold`.

    A turn of a conversation does, where the whole of it is held out. Contents are read one by one.
    """
    refused: list[Refusal] = []
    notes: list[Note] = []
    if not block_bytes(task):
        return refused, notes
    asked = {place: row.text for place, row in enumerate(rows) if row.text is not None}
    found: dict[int, tuple[Split, Row]] = {}
    for split in reversed(SPLITS[1:]):
        below = SPLITS[: SPLITS.index(split)]
        quotes = Quotes((at, text) for at, text in asked.items() if rows[at].split in below and at not in found)
        for place, row in enumerate(rows):
            if quotes and row.split == split and place not in found:
                found |= dict.fromkeys(quotes.found_in(_text_of(row, root, task)), (split, row))
    for split in SPLITS[:-1]:
        mine = [place for place in sorted(found) if rows[place].split == split]
        if not mine:
            continue
        told = f"Rows of the {split} split that stand word for word in a more held-out text: {len(mine)}"
        shown = _shown(rows[place] for place in mine)
        if 2 * len(mine) > sum(row.split == split for row in rows):
            text = (
                f"{told} ({shown}). They stay, since they are most of that split: what is held out is mostly known, and figures "
                "flatter."
            )
            notes.append(Note("repeats_itself", text))
            continue
        text = (
            f"{told} ({shown}), as a turn does in a conversation. They are left out, since what is held out must be new to the "
            "model."
        )
        notes.append(Note("leak", text))
        for place in mine:
            above, row = found[place]
            text = f"`{_named(rows[place])}` stands word for word in `{_named(row)}` of the {above} split, so it is left out."
            refused.append(Refusal(rows[place].id, "leak", text))
    return refused, notes


def _text_of(row: Row, root: str, task: str) -> str:
    """The text of a row; none where it can no longer be read, which is told when it is needed."""
    if row.text is not None:
        return row.text
    try:
        return decode_text(row.id, row.source(root).read(find_task(task).limits.max_bytes))[0]
    except Refused:
        return ""


def say_straddling(candidates: Sequence[Candidate], relations: Relations, groups: Sequence[str]) -> list[Note]:
    """Notes on what the user's own splits tear apart: near-duplicates (`near_leak`) and groups (`group_leak`)."""
    if not any(candidate.split for candidate in candidates):
        return []
    split = [candidate.split or "train" for candidate in candidates]
    notes = []
    torn = [(a, b) for a, b in relations.near.tolist() if split[a] != split[b]]
    if torn:
        a, b = torn[0]
        text = (
            f"Pairs of nearly the same files in different splits of yours: {len(torn)}, e.g. `{_named(candidates[a])}` and "
            f"`{_named(candidates[b])}`. The result on them may look better than it is."
        )
        notes.append(Note("near_leak", text))
    where: dict[str, set[str]] = {}
    for place, group in enumerate(groups):
        if group:
            where.setdefault(group, set()).add(split[place])
    both = sorted(group for group, splits in where.items() if len(splits) > 1)
    if both:
        text = (
            f"Groups that lie in several splits of yours: {len(both)} ({', '.join(both[:_SHOWN])}). Your splits were kept as they "
            "are, so the test says how the model does on groups that it knows, not on new ones."
        )
        notes.append(Note("group_leak", text))
    return notes
