"""The one door: every file is opened once under limits, and each row is admitted or refused with a reason.

The steps, each in its own module: list (`sources`), open in worker processes or remember (`facts`), relate rows
(`relations`), split (`splits`), say what a person should know (`findings`). Source files are only ever read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ouvroir.data import facts, findings, relations, splits
from ouvroir.data.arrays import data_named, map_arrays, write_arrays
from ouvroir.data.blocks import counted, is_file, longest_run
from ouvroir.data.candidates import Candidate, Collection
from ouvroir.data.manifest import Manifest, SharedValues, label_names
from ouvroir.data.sources import read_source
from ouvroir.errors import ManifestError
from ouvroir.files import home, natural, readable_count
from ouvroir.media import find_task
from ouvroir.memory import collector_paused, give_back
from ouvroir.progress import QUIET, Progress
from ouvroir.recipe import Data
from ouvroir.source import are_blocks, block_of
from ouvroir.task import SPLITS, Limits, Note, Refusal, Row

_NAMES_SHOWN = 3  # in a sentence
_NOTES_SHOWN = 10  # oddities of single files
_ALL = "/"  # no file is called so
_LEAST_HELD_OUT = 0.8  # groups of blocks of a file in a split: with fewer it may as well be in none
_END_OF_CLAUSE = re.compile("[;,.] ")


def admit(
    source: str | Path,
    *,
    task: str | None = None,
    data: Data | None = None,
    limits: Limits | None = None,
    workers: int | None = None,
    progress: Progress = QUIET,
    fresh: bool = False,
) -> Manifest:
    """Account for every file of `source`: each is admitted or refused, and what is admitted is split.

    Files whose path, size and time of change are as before are not opened again, unless `fresh`. Rows keep the split
    they had when files are added later. Raises DataError when there is nothing to look at.
    """
    with collector_paused():
        manifest = _admit(source, task, data or Data(), limits, workers, progress, fresh=fresh)
    give_back()
    return manifest


def _admit(
    source: str | Path,
    task: str | None,
    data: Data,
    limits: Limits | None,
    workers: int | None,
    progress: Progress,
    *,
    fresh: bool,
) -> Manifest:
    collection = read_source(source, data, task=task)
    data = splits.with_shares(data, collection.task, is_labelled=any(one.label for one in collection.candidates))
    path = str(Path(source).expanduser().absolute())
    kind = "block" if are_blocks(one.locator for one in collection.candidates) else "row"
    kind = "file" if all(map(is_file, collection.candidates)) else kind
    progress.say(f"{readable_count(collection.found, kind)} found in {path}, {len(collection.candidates):,} to check.")
    looked = facts.look(
        collection.root,
        collection.candidates,
        collection.task,
        limits=limits or find_task(collection.task).limits,
        workers=workers,
        progress=progress,
        fresh=fresh,
    )
    rows, notes = _relate_and_split(collection, looked, path, data, fresh=fresh)
    notes = [*collection.notes, *_say_beside(collection, rows), *_say_blocks(collection, rows), *notes]
    options = dataclasses.fields(find_task(collection.task).Options)
    has_weights = any(option.name == "class_weights" for option in options)
    notes += (
        findings.label_notes(rows, has_class_weights=has_weights)
        + findings.split_notes(rows, data)
        + findings.propose_group_pattern([row for row in rows if block_of(row.locator)[1] is None], data)
    )
    notes += findings.say_mixed_groups(rows, notes) + find_task(collection.task).notes_on(rows)
    if not rows and not any(note.code == "lone_folder" for note in notes):  # which has said it
        first = collection.refused[0].reason
        text = f"Nothing of what was found ({len(collection.refused)} in all) can be used. The first: {first}"
        notes.append(Note("nothing_admitted", text))
    return Manifest(
        root=collection.root,
        source=path,
        task=collection.task,
        rows=tuple(sorted(rows, key=lambda row: row.id)),
        refused=tuple(sorted(collection.refused, key=lambda refusal: natural(refusal.id))),
        notes=tuple(notes),
        data=dataclasses.replace(data, source=path),
    )


def _relate_and_split(
    collection: Collection, looked: facts.Looked, source: str, data: Data, *, fresh: bool
) -> tuple[list[Row], list[Note]]:
    """The admitted rows, each in its group and its split, and notes, what the workers said of them among these.

    What they refused is moved to the refusals, and so are rows whose content lies in a more held-out split too.
    """
    admitted = _take_out_refused(collection, looked)
    candidates, contents = _gather(collection.candidates, looked, admitted)
    own = [SPLITS.index(candidate.split or "train") for candidate in candidates]
    leaks, leak_notes = relations.find_leaks(candidates, contents, own)
    collection.refused.extend(leaks.values())
    if leaks:
        admitted = [row for place, row in enumerate(admitted) if place not in leaks]
        candidates, contents = _gather(collection.candidates, looked, admitted)
    groups, group_notes = relations.groups_of(candidates, data.group_pattern)
    looked.near.place = looked.near.place[np.array(admitted, dtype=np.int64)]
    near_place = relations.near_cache(collection.root, collection.task)
    near = relations.find_near(contents, looked.near, near_place, Path(collection.root).name, fresh=fresh)
    related = relations.relate(candidates, contents, groups, near)
    memory = _earlier_place(collection, source, data)
    strata = _strata(candidates, related.group, data)
    codes = _split(candidates, contents, related.group, strata, data, memory, Path(source).name)
    # files of groups that had to be kept apart may be the same to the byte
    torn, torn_notes = relations.find_leaks(candidates, contents, codes)
    collection.refused.extend(torn.values())
    meta = [looked.meta[row] for row in admitted]
    shared = SharedValues()
    rows = [
        Row(
            candidate.id,
            candidate.locator,
            contents[place],
            candidate.label,
            candidate.text,
            related.group[place],
            SPLITS[codes[place]],
            "real",
            1.0,
            shared(meta[place].get("details", {})),
            candidate.fields,
        )
        for place, candidate in enumerate(candidates)
        if place not in torn
    ]
    retold, retold_notes = relations.find_retold(rows)
    rows = _without(rows, retold)
    quoted, quoted_notes = relations.find_quoted(rows, collection.root, collection.task)
    rows = _without(rows, quoted)
    collection.refused += [*retold, *quoted]
    notes = [
        *leak_notes,
        *torn_notes,
        *retold_notes,
        *quoted_notes,
        *group_notes,
        *related.notes,
        *relations.say_conflicts(rows),
    ]
    return rows, notes + relations.say_straddling(candidates, related, groups) + _content_notes(candidates, meta)


def _without(rows: list[Row], refused: Sequence[Refusal]) -> list[Row]:
    left_out = {refusal.id for refusal in refused}
    return [row for row in rows if row.id not in left_out] if left_out else rows


def _say_beside(collection: Collection, rows: Sequence[Row]) -> list[Note]:
    """The note on files beside the tables of a corpus that are rows."""
    files = {block_of(row.locator)[0]: block_of(row.id)[0] for row in rows if row.locator}
    names = [files[locator] for locator in collection.beside if locator in files]
    if not names:
        return []
    shown = ", ".join(f"`{name}`" for name in names[:_NAMES_SHOWN])
    text = (
        f"Files beside the tables that are taken for texts too: {len(names):,}, such as {shown}. "
        "Move away what is no text to learn from."
    )
    if n_in_folders := sum(in_folder for locator, in_folder in collection.beside.items() if locator in files):
        text += (
            f" Folders are not taken as classes, though {n_in_folders:,} of them lie in some, since the texts of the tables have "
            "none."
        )
    return [Note("files_beside_tables", text)]


def _say_blocks(collection: Collection, rows: Sequence[Row]) -> list[Note]:
    """The note on files that were cut into blocks, as far as these are rows."""
    taken = {row.id for row in rows}
    admitted = [one for one in collection.candidates if one.id in taken]
    n_files, n_blocks = counted(admitted)
    if n_blocks <= n_files:
        return []
    text = f"Long files are cut at the ends of lines. Files: {n_files:,}; blocks: {n_blocks:,}, each a row."
    if (run := longest_run(admitted)) > 1:
        text += (
            f" Blocks that lie side by side stay in one split, up to {run:,} at a time, so that few passages are on both "
            "sides of a border."
        )
    return [Note("in_blocks", text)]


def _take_out_refused(collection: Collection, looked: facts.Looked) -> list[int]:
    """Move what the workers refused to the refusals; the places of the candidates that are admitted.

    A file of which all blocks are refused for one reason is refused once.
    """
    admitted: list[int] = []
    refused: dict[str, list[Refusal]] = {}
    n_blocks: Counter[str] = Counter()
    for place, (candidate, meta) in enumerate(zip(collection.candidates, looked.meta, strict=True)):
        file, block = block_of(candidate.id)
        name = candidate.id if block is None else file
        n_blocks[name] += 1
        if "refused" in meta:
            code, reason = meta["refused"]
            refused.setdefault(name, []).append(Refusal(candidate.id, code, reason))
        else:
            admitted.append(place)
    for name, found in refused.items():
        is_whole = len(found) == n_blocks[name] and len({(one.code, one.reason) for one in found}) == 1
        collection.refused += [dataclasses.replace(found[0], id=name)] if is_whole else found
    return admitted


def _gather(
    candidates: Sequence[Candidate], looked: facts.Looked, places: Sequence[int]
) -> tuple[list[Candidate], list[str]]:
    return [candidates[place] for place in places], [looked.sha256[place] for place in places]


def _content_notes(candidates: Sequence[Candidate], meta: Sequence[facts.Meta]) -> list[Note]:
    """What the workers said. Of what they said of blocks of one file, sentences that begin alike are one: the longest says most."""
    found: dict[tuple[str, ...], str] = {}
    for candidate, entry in zip(candidates, meta, strict=True):
        file, block = block_of(candidate.locator)
        for text in entry.get("notes", ()):
            key = (candidate.id, text) if block is None else (file, _END_OF_CLAUSE.split(text, maxsplit=1)[0])
            found[key] = max(found.get(key, ""), text, key=len)
    said = list(found.values())
    notes = [Note("odd_file", text) for text in said[:_NOTES_SHOWN]]
    if (n_more := len(said) - _NOTES_SHOWN) > 0:
        text = f"{n_more} more files have oddities of this kind."
        notes.append(Note("odd_file", "1 more file has an oddity of this kind." if n_more == 1 else text))
    return notes


def _split(
    candidates: Sequence[Candidate],
    contents: Sequence[str],
    groups: Sequence[str],
    strata: Sequence[tuple[str, ...]],
    data: Data,
    memory: Path,
    data_name: str,
) -> list[int]:
    """Split codes. The user's own splits stay; what they lack is taken from their train rows, of each of `strata` its share."""
    codes = [SPLITS.index(candidate.split or "train") for candidate in candidates]
    given = {candidate.split for candidate in candidates}
    wanted = splits.Wanted(
        validation=0.0 if "validation" in given else data.validation or 0.0,
        test=0.0 if "test" in given else data.test or 0.0,
        per_class=data.per_class,
        seed=data.seed,
    )
    pool = [place for place, code in enumerate(codes) if code == splits.TRAIN]
    if not pool or (wanted.validation == wanted.test == 0 and wanted.per_class is None):
        return codes
    before = _remember(memory)
    own = {SPLITS.index(split) for split in given if split and split != "train"}
    assigned = splits.assign(
        [strata[place] for place in pool],
        [groups[place] for place in pool],
        [contents[place] for place in pool],
        _earlier([before.get(contents[place], splits.UNKNOWN) for place in pool], own, wanted),
        wanted,
    ).tolist()
    now: dict[str, int] = {}
    for place, code in zip(pool, assigned, strict=True):
        if before.get(contents[place]) in own:
            continue  # drawn for a split that the data have now: for it again should they lose it
        # content that groups kept apart hold in several splits has no split of its own to be remembered
        now[contents[place]] = code if now.get(contents[place], code) == code else splits.UNKNOWN
    if any(before.get(content) != code for content, code in now.items()):
        _keep(memory, {**before, **now}, data_name)
    for place, code in zip(pool, assigned, strict=True):
        codes[place] = code
    return codes


def _earlier(known: Sequence[int], own: set[int], wanted: splits.Wanted) -> list[int]:
    """The codes that rows keep, of those they are `known` by. `own`: splits that by now come with the data.

    What was drawn for these is learned from, as the user says. A split that is wanted and has no row is drawn from all of train.
    """
    shares = {splits.VALIDATION: wanted.validation, splits.TEST: wanted.test}
    is_drawn_anew = any(share and code not in known for code, share in shares.items())
    is_exact = wanted.per_class is not None
    if is_drawn_anew and is_exact:  # all that is over would lie in the other split
        return [splits.UNKNOWN] * len(known)
    instead = dict.fromkeys(own, splits.UNKNOWN if is_drawn_anew or is_exact else splits.TRAIN)
    if is_drawn_anew:
        instead[splits.TRAIN] = splits.UNKNOWN
    return [instead.get(code, code) for code in known]


def _strata(candidates: Sequence[Candidate], groups: Sequence[str], data: Data) -> list[tuple[str, ...]]:
    """What each row is shared out by: its labels; without any, the file that it is a block of, where all splits can have some.

    Of three novels, a test would else come from one. Files that are too short for that go with the longest one.
    """
    labels = [label_names(candidate.label) for candidate in candidates]
    if any(labels) or data.per_class is not None:
        return labels
    files = [file if block is not None else "" for file, block in (block_of(one.locator) for one in candidates)]
    grouped = {(file, group or place) for place, (file, group) in enumerate(zip(files, groups, strict=True))}
    n_groups = Counter(file for file, _ in grouped)
    smallest = min((share for share in (data.validation, data.test) if share), default=1.0)
    long = {file for file, n in n_groups.items() if file and n * smallest >= _LEAST_HELD_OUT}
    longest = max(sorted(long), key=lambda file: n_groups[file], default="")
    # and by what there is in all: shares of each file are rounded to whole groups, all of them perhaps in one direction
    return [(file if file in long else longest, _ALL) for file in files] if long else labels


def _earlier_place(collection: Collection, source: str, data: Data) -> Path:
    """Where the splits of this source, made with these settings, are remembered."""
    settings = dataclasses.replace(data, source=source, manifest="")
    name = hashlib.sha256(repr((collection.task, settings)).encode()).hexdigest()[:32]
    return home() / "splits" / f"{name}.safetensors"


def _remember(path: Path) -> dict[str, int]:
    with contextlib.suppress(OSError, ManifestError, KeyError):
        arrays = map_arrays(path)
        text = arrays["contents"].tobytes().hex()
        codes = arrays["codes"].tolist()
        return {text[64 * place : 64 * place + 64]: code for place, code in enumerate(codes)}
    return {}


def _keep(path: Path, assigned: dict[str, int], data_name: str) -> None:
    packed = np.frombuffer(bytes.fromhex("".join(assigned)), dtype=np.uint8)
    codes = np.array(list(assigned.values()), dtype=np.int8)
    write_arrays(path, {"codes": codes, "contents": packed, **data_named(data_name)})
