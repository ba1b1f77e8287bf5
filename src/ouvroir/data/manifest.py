"""Manifest: the rows of a data set with one outcome for each, its fingerprint, reading and writing.

A manifest is what admission writes and the only thing that packs, training and evaluation read. It is a JSON Lines
file that a person can open; how rows came to be admitted is in `admission.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from sys import intern
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from ouvroir.errors import DataError, ManifestError
from ouvroir.files import home, whole_file
from ouvroir.memory import collector_paused
from ouvroir.recipe import Data
from ouvroir.source import are_blocks, block_of
from ouvroir.task import SPLITS, Detail, Label, Note, Refusal, Row, Split

if TYPE_CHECKING:
    import numpy as np

_VERSION = 1
_PIECE = 2048  # rows read at a time
_SPLITS: dict[str, Split] = {name: name for name in SPLITS}
_ORIGINS: dict[str, Literal["real", "synthetic"]] = {"real": "real", "synthetic": "synthetic"}
_KEPT = "fingerprint", "labels", "is_multi_label", "row_word", "_unjudged"
_NONE: Mapping[str, str] = MappingProxyType({})
_DEFAULTS: dict[str, Any] = {
    "label": None,
    "text": None,
    "group": "",
    "origin": "real",
    "weight": 1.0,
    "details": {},
    "fields": {},
}


@dataclass(frozen=True)
class Manifest:
    """The rows of a data set. `root` is where locators start, `source` what the user pointed at, `data` how it was read.

    `check_s`: seconds that the check took, 0 for a manifest read from a file.
    """

    root: str
    source: str
    task: str
    rows: tuple[Row, ...]
    refused: tuple[Refusal, ...] = ()
    notes: tuple[Note, ...] = ()
    data: Data = dataclasses.field(default_factory=Data)
    check_s: float = dataclasses.field(default=0.0, compare=False)

    def copy(self, **changes: Any) -> Manifest:
        """A copy with other notes or times, and what was worked out from the rows, which takes a while with many of them."""
        assert changes.keys() <= {"notes", "check_s"}, "these do not enter what is kept of the rows"
        made = dataclasses.replace(self, **changes)
        made.__dict__.update({name: self.__dict__[name] for name in ("_lines", *_KEPT) if name in self.__dict__})
        return made

    @property
    def found(self) -> int:
        """How many rows or files were found: admitted plus refused."""
        return len(self.rows) + len(self.refused)

    @cached_property
    def row_word(self) -> Literal["row", "block"]:
        """What one of the rows is called: a block where most of them are blocks of files."""
        return "block" if are_blocks(row.locator for row in self.rows) else "row"

    @cached_property
    def _lines(self) -> list[str]:
        encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
        return [encode(_row_to_dict(row)) for row in self.rows]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, as hex, of the rows in the order of their ids. Notes, refusals and the root do not enter it."""
        return _hash_rows(self.rows, self._lines)

    def positions(self, split: Split) -> np.ndarray:
        """(n,) int64, places in `rows` of the rows of one split, ascending."""
        import numpy as np

        return np.fromiter((place for place, row in enumerate(self.rows) if row.split == split), dtype=np.int64)

    @cached_property
    def _unjudged(self) -> dict[int, str]:
        return unjudged(self.rows)

    def judged(self, split: Split) -> np.ndarray:
        """(n,) int64, places of the rows of one split that count when it is judged by: see `unjudged`."""
        import numpy as np

        places = self.positions(split)
        return places[[place not in self._unjudged for place in places.tolist()]] if len(places) else np.array(places)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """All class names, sorted."""
        return tuple(sorted({name for row in self.rows for name in label_names(row.label)}))

    @cached_property
    def is_multi_label(self) -> bool:
        """Whether a row may have several labels at once."""
        return any(isinstance(row.label, tuple) for row in self.rows)

    def counts(self) -> dict[str, dict[str, int]]:
        """Rows of each class in each split, e.g. `{"train": {"cat": 12}}`. Rows without a label count under the empty name."""
        counted: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        for row in self.rows:
            counted[row.split].update(label_names(row.label) or ("",))
        return {split: dict(sorted(counter.items())) for split, counter in counted.items()}

    def require_rows(self) -> None:
        """Raise DataError, with what to do, when nothing was admitted."""
        if not self.rows:
            if lone := next((note for note in self.notes if note.code == "lone_folder"), None):
                raise DataError(lone.text)
            n = self.found
            none = f"The only row in {self.source} cannot" if n == 1 else f"None of the {n} rows in {self.source} can"
            raise DataError(f"{none} be used{_reasons(self.refused)}.")

    def require_trainable(self, *, needs_labels: bool = True) -> None:
        """Raise DataError when nothing can be learned from these rows: none in train, fewer than two classes, or as a note says."""
        self.require_rows()
        for note in self.notes:
            if note.prevents:
                raise DataError(note.text)
        if not any(row.split == "train" for row in self.rows):
            raise DataError(
                f"All rows of {self.source} are for validation or test, so there is nothing to learn from. "
                "Add a `train` folder, or a table in which some rows say train."
            )
        if needs_labels and len(self.labels) < 2:
            name = f"one class, `{self.labels[0]}`" if self.labels else "no class at all"
            raise DataError(
                f"{self.source} has {name}; a classifier needs two or more to tell apart. "
                "Give each class a folder of its own, or give a table with a label column."
            )

        if needs_labels:
            self._require_testable_groups()

    def _require_testable_groups(self) -> None:
        """Raise DataError where rows were to be kept together by group, and half of the classes or more are in one group each."""
        if not (self.data.group_column or self.data.group_level or self.data.group_pattern):
            return
        if self.data.test == 0 and not any(row.split == "test" for row in self.rows):
            return
        groups: dict[str, set[str]] = {}
        tested: set[str] = set()
        for row in self.rows:
            for name in label_names(row.label):
                groups.setdefault(name, set()).add(row.group or row.id)
                if row.split == "test":
                    tested.add(name)
        alone = sorted(name for name, found in groups.items() if len(found) == 1 and name not in tested)
        if 2 * len(alone) < len(groups):
            return
        shown = ", ".join(f"`{name}` (`{next(iter(groups[name]))}`)" for name in alone[:3])
        more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
        raise DataError(
            f"{len(alone)} of {len(groups)} classes come from one group each: {shown}{more}. Kept together, they can be learned or "
            "tested and not both, so such a test would say nothing. Add rows of these classes from other groups. Or give no "
            "groups: the test then mixes them, and says how the model does on these very groups, not on new ones."
        )

    def save(self, path: Path | None = None) -> Path:
        """Write the manifest to `path`, by default under `home()/manifests/<fingerprint>`. Returns it; raises DiskFull."""
        path = path or _place(self.fingerprint)
        head = {
            "version": _VERSION,
            "root": self.root,
            "source": self.source,
            "task": self.task,
            "data": dataclasses.asdict(self.data),
            "admitted": len(self.rows),
            "refused": len(self.refused),
            "notes": [dataclasses.asdict(note) for note in self.notes],
        }
        encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
        refusals = [encode(dataclasses.asdict(refusal)) for refusal in self.refused]
        text = "\n".join([encode(head), *self._lines, *refusals]) + "\n"
        with whole_file(path) as file:
            file.write(text.encode("utf-8"))
        self.__dict__.pop("_lines", None)  # as large as the rows
        _remember(path, self)
        return path

    @classmethod
    @collector_paused()
    def load(cls, fingerprint: str, path: Path | None = None) -> Manifest:
        """Read a saved manifest and check that it is still what was saved. Raises ManifestError."""
        path = path or _place(fingerprint)
        if (known := _recall(path)) is not None and known.fingerprint == fingerprint:
            return known.copy(check_s=0.0)
        again = "`ouvroir check DATA` writes it again."
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
            head = json.loads(lines[0])
            n_rows, n_refused = int(head["admitted"]), int(head["refused"])
            del lines[0], lines[n_rows + n_refused :]
            rows = tuple(_read_rows(lines[:n_rows]))
            refused = tuple(Refusal(**json.loads(line)) for line in lines[n_rows:])
            manifest = cls(
                root=head["root"],
                source=head["source"],
                task=head["task"],
                rows=rows,
                refused=refused,
                notes=tuple(Note(**value) for value in head["notes"]),
                data=Data(**head["data"]),
            )
        except FileNotFoundError as error:
            raise ManifestError(f"There is no manifest {fingerprint} in {path.parent.parent}. {again}") from error
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ManifestError(f"The manifest {path} is damaged: {error}. {again}") from error
        is_whole = len(lines) == n_rows + n_refused and len(rows) == n_rows
        # of the lines only the hash is kept: they are as large as the rows
        found = _hash_rows(rows, lines[:n_rows]) if is_whole else ""
        manifest.__dict__["fingerprint"] = found
        if found != fingerprint:
            raise ManifestError(f"The manifest {path} was changed after it was written. {again}")
        _remember(path, manifest)
        return manifest

    def summary(self) -> dict[str, Any]:
        """What `check` answers: counts, refusals, classes per split, notes, fingerprint; plain JSON values."""
        splits = {split: sum(row.split == split for row in self.rows) for split in SPLITS}
        left_out = Counter(reason for place, reason in self._unjudged.items() if self.rows[place].split != "train")
        return {
            "source": self.source,
            "task": self.task,
            "found": self.found,
            "admitted": len(self.rows),
            "refused": len(self.refused),
            "refused_by_code": dict(Counter(refusal.code for refusal in self.refused).most_common()),
            "refusals": [dataclasses.asdict(refusal) for refusal in self.refused],
            "contents": len({row.sha256 for row in self.rows}),
            "blocks": sum(block_of(row.locator)[1] is not None for row in self.rows),
            "splits": splits,
            "judged": {split: len(self.judged(split)) for split in SPLITS[1:]},
            "unjudged": dict(left_out),
            "labels": list(self.labels),
            "counts": self.counts(),
            "is_multi_label": self.is_multi_label,
            "synthetic": sum(row.origin == "synthetic" for row in self.rows),
            "notes": [{"code": note.code, "text": note.text, "proposal": dict(note.proposal)} for note in self.notes],
            "fingerprint": self.fingerprint,
        }


def label_names(label: Label) -> tuple[str, ...]:
    """The class names in a label: none, one or several."""
    if label is None:
        return ()
    return (label,) if isinstance(label, str) else label


def unjudged(rows: Sequence[Row]) -> dict[int, str]:
    """Places of rows that are not judged by, with the reason: `repeated` or `contradictory labels`.

    A content that lies there several times is one fact and counts once; to one with several labels no answer can be right.
    """
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.sha256, []).append(place)
    found: dict[int, str] = {}
    for same in places.values():
        if len(same) == 1:
            continue
        labelled = [place for place in same if rows[place].label is not None]
        if len({frozenset(label_names(rows[place].label)) for place in labelled}) > 1:
            found |= dict.fromkeys(same, "contradictory labels")
        else:
            judged = (labelled or same)[0]
            found |= {place: "repeated" for place in same if place != judged}
    return found


def _row_to_dict(row: Row) -> dict[str, Any]:
    value: dict[str, Any] = {"id": row.id}
    if row.locator != row.id:
        value["locator"] = row.locator
    value["sha256"] = row.sha256
    value["split"] = row.split
    for name, default in _DEFAULTS.items():
        given = getattr(row, name)
        if given != default:
            value[name] = dict(given) if isinstance(given, Mapping) else given
    return value


def _read_rows(lines: Sequence[str]) -> Iterator[Row]:
    """The rows of some lines, read a piece at a time."""
    shared = SharedValues()
    for start in range(0, len(lines), _PIECE):
        for value in json.loads("[" + ",".join(lines[start : start + _PIECE]) + "]"):
            yield _row_from_dict(value, shared)


class SharedValues:
    """Makes details of rows, of which there may be very many, share the names and values that come again and again."""

    def __init__(self) -> None:
        self._floats: dict[float, float] = {}

    def __call__(self, details: Mapping[str, Detail]) -> dict[str, Detail]:
        """The same names and values."""
        return {intern(name): self._shared(value) for name, value in details.items()}

    def _shared(self, value: Detail) -> Detail:
        if isinstance(value, str):
            return intern(value)
        if isinstance(value, float) and value:  # 0 and -0 are equal and not the same
            return self._floats.setdefault(value, value)
        return value


def _row_from_dict(value: dict[str, Any], shared: SharedValues) -> Row:
    label = value.get("label")
    return Row(
        value["id"],
        value.get("locator", value["id"]),
        value["sha256"],
        tuple(map(intern, label)) if isinstance(label, list) else label and intern(label),
        value.get("text"),
        value.get("group", ""),
        _SPLITS[value["split"]],
        _ORIGINS[value.get("origin", "real")],
        value.get("weight", 1.0),
        shared(value.get("details", _NONE)),
        value.get("fields", _NONE),
    )


def _hash_rows(rows: Sequence[Row], lines: Sequence[str]) -> str:
    order = sorted(range(len(rows)), key=lambda place: rows[place].id)
    return hashlib.sha256("\n".join(lines[place] for place in order).encode("utf-8")).hexdigest()


_latest: list[tuple[Path, tuple[int, int, int], weakref.ref[Manifest]]] = []  # none or one
"""The manifest that was written or read last, its file and that file's stamp: one job asks for it again and again.

It is kept by whoever works with it; once nobody does, it is read again.
"""


def _remember(path: Path, manifest: Manifest) -> None:
    with contextlib.suppress(OSError):  # removed since
        _latest[:] = [(path, _stamp(path), weakref.ref(manifest))]


def _recall(path: Path) -> Manifest | None:
    """The manifest in a file that is as it was when it was written or read."""
    with contextlib.suppress(OSError):
        for known, stamp, kept in _latest:
            if known == path and stamp == _stamp(path):
                return kept()
    return None


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _place(fingerprint: str) -> Path:
    return home() / "manifests" / fingerprint / "manifest.jsonl"


def _reasons(refused: Sequence[Refusal]) -> str:
    if not refused:
        return ""
    counted = Counter(refusal.code for refusal in refused).most_common(3)
    codes = ", ".join(f"{n} {code}" for code, n in counted)
    return f" ({codes}). The first one: {refused[0].reason.rstrip('.')}"
