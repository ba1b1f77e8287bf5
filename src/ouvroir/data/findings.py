"""What a person should know of the labels and the splits before training: notes, with the setting that answers them."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ouvroir.data.manifest import Manifest, label_names
from ouvroir.data.splits import with_shares
from ouvroir.files import readable_count
from ouvroir.recipe import Data, data_settings
from ouvroir.source import name_of
from ouvroir.task import SPLITS, Note, Row, Split, options_of

TINY_CLASS_ROWS = 10
UNEVEN_RATIO = 3.0  # largest class to smallest, in train
_ACCENTS = re.compile("([a-z])[\u0300-\u036f]+")  # on Latin letters: in other scripts marks make other letters
_SHOWN = 5
_NUMBERED = (
    r"^(.+?)(?:[_\-. (]+|(?<!\d))\d+\)?\.[^.]+$"  # a number of its own after a name: `10.png` is no takes of `1`
)


def count_lines(summary: Mapping[str, Any]) -> list[str]:
    """`found = admitted + refused`; where they differ, how many contents the admitted have and how many rows are judged by.

    `summary` is that of the manifest.
    """
    n, n_contents, n_refused = summary["admitted"], summary["contents"], summary["refused"]
    lines = [f"{summary['found']:,} found = {n:,} admitted + {n_refused:,} refused"]
    if n_contents < n:
        lines.append(
            f"{n:,} admitted have {readable_count(n_contents, 'different content')}; each content is packed once"
        )
    if summary["unjudged"]:
        judged = " and ".join(f"{count:,} {split}" for split, count in summary["judged"].items())
        reasons = ", ".join(f"{count:,} ({reason})" for reason, count in summary["unjudged"].items())
        lines.append(f"judged: {judged} rows; left out: {reasons}")
    return lines


def in_short(manifest: Manifest) -> list[str]:
    """What a check found, in a few sentences to read before a training: counts that are explained, notes with proposals."""
    summary = manifest.summary()
    first, *others = count_lines(summary)
    if manifest.refused:
        codes = ", ".join(f"{count:,} {code}" for code, count in summary["refused_by_code"].items())
        asked = options_of(given_settings(manifest))
        command = " ".join(
            filter(None, ["ouvroir check", shlex.quote(manifest.source), f"--task {manifest.task}", asked])
        )
        first += f" ({codes}; `{command}` says why)"
    splits = ", ".join(f"{count:,} {split}" for split, count in summary["splits"].items())
    lines = [first, splits, *others]
    of_code: dict[str, list[Note]] = {}
    for note in manifest.notes:
        of_code.setdefault(note.code, []).append(note)
    for notes in of_code.values():
        more = f" ({len(notes) - 1} more of this kind.)" if len(notes) > 1 else ""
        lines.append(f"Note: {notes[0].text}{proposed(notes[0])}{more}")
    return lines


def given_settings(manifest: Manifest) -> dict[str, str]:
    """The settings in which data were read in another way than by default, as dotted names."""
    usual = with_shares(Data(), manifest.task, is_labelled=bool(manifest.labels))
    return data_settings(manifest.data, usual)


def proposed(note: Note) -> str:
    """What a note proposes, to stand behind its text; empty when it proposes nothing."""
    return f" To change that: {options_of(note.proposal)}" if note.proposal else ""


def label_notes(rows: Sequence[Row], *, has_class_weights: bool) -> list[Note]:
    """Notes on classes: `one_class`, `single_row`, `tiny_class`, `uneven_classes`, `label_variants`.

    `has_class_weights`: the task can weight classes, which is then what uneven ones are answered with.
    """
    total = Counter(name for row in rows for name in label_names(row.label))
    in_train = Counter(name for row in rows if row.split == "train" for name in label_names(row.label))
    notes = []
    if len(total) == 1:
        name = next(iter(total))
        notes.append(Note("one_class", f"There is one class, `{name}`. A classifier needs two or more to tell apart."))
    single = sorted(name for name, n in total.items() if n == 1)
    if single:
        text = f"One row only: {_some(single)}. It goes into train, so these classes cannot be tested."
        notes.append(Note("single_row", text))
    tiny = sorted(name for name, n in total.items() if 1 < n < TINY_CLASS_ROWS)
    if tiny:
        counts = {name: total[name] for name in tiny}
        text = f"Fewer than {TINY_CLASS_ROWS} rows: {_counted(counts)}. What is measured on them is uncertain."
        notes.append(Note("tiny_class", text))
    if not any(isinstance(row.label, tuple) for row in rows):
        notes += _uneven(in_train, "options.class_weights" if has_class_weights else "loop.sampling")
    return notes + _variants(total)


def _uneven(in_train: Mapping[str, int], setting: str) -> list[Note]:
    if len(in_train) < 2:
        return []
    largest = max(in_train, key=lambda name: (in_train[name], name))
    smallest = min(in_train, key=lambda name: (in_train[name], name))
    if in_train[largest] <= UNEVEN_RATIO * in_train[smallest]:
        return []
    text = (
        f"Classes are uneven: `{largest}` has {in_train[largest]} rows to learn from, `{smallest}` {in_train[smallest]}. "
        "If the rare ones matter as much, let them count as much."
    )
    return [Note("uneven_classes", text, {setting: "balanced"})]


def _variants(total: Mapping[str, int]) -> list[Note]:
    """Names that differ by case, blanks or accents only: probably one class; the user decides."""
    alike: dict[str, list[str]] = {}
    for name in total:
        bare = unicodedata.normalize("NFD", re.sub(r"[\s_-]+", "", name).casefold())
        alike.setdefault(_ACCENTS.sub(r"\1", bare), []).append(name)
    found = [sorted(names, key=lambda name: (-total[name], name)) for names in alike.values() if len(names) > 1]
    if not found:
        return []
    shown = "; ".join(
        " / ".join(f"`{name}` ({total[name]})" for name in names) + f" → `{names[0]}`"
        for names in sorted(found)[:_SHOWN]
    )
    text = (
        f"Labels that differ only by case, blanks or accents: {shown}. If each is one class, give its files one name."
    )
    return [Note("label_variants", text)]


def split_notes(rows: Sequence[Row], data: Data) -> list[Note]:
    """Notes on splits: `untested_class`, `per_class_short`, `no_test`, `no_validation`."""
    notes = []
    counted = {
        split: Counter(name for row in rows if row.split == split for name in label_names(row.label))
        for split in SPLITS
    }
    sizes = Counter(row.split for row in rows)
    shares: tuple[tuple[Split, float], ...] = (("test", data.test or 0.0), ("validation", data.validation or 0.0))
    for split, share in shares:
        if not sizes[split] and share > 0 and rows:
            text = f"No row could be set aside for {split}: there are too few rows or groups. Add some."
            notes.append(Note(f"no_{split}", text))
    held_out = set(counted["test"])
    total = Counter(name for row in rows for name in label_names(row.label))
    untested = sorted(name for name in total if name not in held_out and total[name] > 1)
    if untested and sizes["test"]:
        text = f"Not in the test split: {_some(untested)}. Their rows are few, or belong together in one group."
        notes.append(Note("untested_class", text))
    unlearned = sorted(held_out - set(counted["train"]))
    if unlearned and sizes["train"]:
        text = f"In the test split but not in train: {_some(unlearned)}. These cannot be learned; add rows of them to train."
        notes.append(Note("class_not_in_train", text))
    if data.per_class is not None:
        short = {name: counted["train"][name] for name in total if counted["train"][name] < data.per_class}
        if short:
            text = f"Fewer than {data.per_class} rows to learn from: {_counted(dict(sorted(short.items())))}."
            notes.append(Note("per_class_short", text))
    return notes


def propose_group_pattern(rows: Sequence[Row], data: Data) -> list[Note]:
    """A group pattern when file names look like `speaker_take.ext` or `name_12.ext`; never applied by itself."""
    if data.group_pattern or data.group_column or data.group_level or len(rows) < 8:
        return []
    names = [name_of(row.locator) for row in rows if row.locator]
    if not names:
        return []
    labels = [row.label if isinstance(row.label, str) else "" for row in rows if row.locator]
    for pattern in (*_token_patterns(names), _NUMBERED):
        found = list(map(re.compile(pattern).search, names))
        groups = [match.group(1) if match else "" for match in found]
        if _is_telling(groups, labels):
            sizes = Counter(filter(None, groups))
            text = (
                f"File names look as if {len(sizes)} groups had several files each ({_some(sorted(sizes))}). If files of "
                "one group are alike, as takes of one person are, keep them in one split."
            )
            return [Note("group_proposed", text, {"data.group_pattern": pattern})]
    return []


def say_mixed_groups(rows: Sequence[Row], notes: Sequence[Note]) -> list[Note]:
    """A note, `groups_mixed`, where the groups that a note proposes lie on both sides of the split: the test leaks then."""
    for note in notes:
        column, pattern = (note.proposal.get(f"data.group_{kind}") for kind in ("column", "pattern"))
        if note.code != "group_proposed" or not (column or pattern):
            continue
        groups = [row.fields.get(column, "") if column else _by_name(row, str(pattern)) for row in rows]
        learned = {group for group, row in zip(groups, rows, strict=True) if row.split == "train" and group}
        asked = [group for group, row in zip(groups, rows, strict=True) if row.split == "test"]
        n_known = sum(group in learned for group in asked)
        if asked and 2 * n_known >= len(asked):
            text = (
                f"{n_known} of {len(asked)} test rows have the same `{column}` as rows that are learned from. If that is where "
                "they come from, this split leaks: the test says how the model does on these very sources, not on new ones."
            )
            if not column:
                text = (
                    f"{n_known} of {len(asked)} test rows are, by their names, of groups that are learned from too. If these "
                    "groups are real, this split leaks: the test says how the model does on these very groups, not on new ones."
                )
            return [Note("groups_mixed", text)]
    return []


def _by_name(row: Row, pattern: str) -> str:
    found = re.search(pattern, name_of(row.locator))
    return found.group(1) if found else ""


def _token_patterns(names: Sequence[str]) -> list[str]:
    """Patterns for one token of names that all have the same number of tokens, words before numbers."""
    tokens = [re.split(r"[_-]", name.rsplit(".", 1)[0]) for name in names]
    n_tokens, n_alike = Counter(map(len, tokens)).most_common(1)[0]
    if n_tokens < 2 or n_alike < 0.9 * len(names):
        return []
    columns = [[row[place] for row in tokens if len(row) == n_tokens] for place in range(n_tokens)]
    worded = [place for place, column in enumerate(columns) if not all(token.isdigit() for token in column)]
    return [rf"^(?:[^_-]+[_-]){{{place}}}([^_-]+)" if place else r"^([^_-]+)" for place in worded]


def _is_telling(groups: Sequence[str], labels: Sequence[str]) -> bool:
    """Several groups in a class, several files in a group, and most files in one."""
    sizes = Counter(filter(None, groups))
    per_class = Counter(label for _, label in {pair for pair in zip(groups, labels, strict=True) if pair[0]})
    if len(sizes) < 3 or sum(sizes.values()) < 0.8 * len(groups) or not per_class:
        return False
    middle = sorted(sizes.values())[len(sizes) // 2]
    return middle >= 2 and min(per_class.values()) >= 3 and len(sizes) <= len(groups) / 2


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"`{name}`" for name in names[:_SHOWN]) + more


def _counted(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"`{name}` {n}" for name, n in list(counts.items())[:_SHOWN])
    return shown + (f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")
