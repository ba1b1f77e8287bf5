"""The folder of made samples: ordinary files, and beside them a line for each that says where it came from.

`synthetic/` holds a folder for each class, or one for all where there are none, and rows.jsonl. A sample counts as long as its
file is as it was written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from ouvroir.errors import DataError
from ouvroir.files import disk_errors, each_line, make_folder, write_text
from ouvroir.hashes import hash_file
from ouvroir.task import Row

ROWS, MAKING = "rows.jsonl", "making.json"
NO_LABEL = "samples"  # the folder of samples that are of no class


@dataclass(frozen=True, slots=True)
class Sample:
    """One made sample. `id`: its path in the folder; `generator`: SHA-256 of the weights that made it; `number`: which of
    that seed and label it is; `parents`: ids of the real rows that it is a variation of, from `begin` on.
    """

    id: str
    label: str | None
    seed: int
    number: int
    sha256: str
    generator: str
    parents: tuple[str, ...] = ()
    begin: float = 0.0


def sample_row(folder: Path, sample: Sample, weight: float = 1.0) -> Row:
    """A made sample as a train row, marked as synthetic, in a manifest of any root."""
    return Row(
        id=f"synthetic:{folder.name}/{sample.id}",
        locator=str(folder / sample.id),
        sha256=sample.sha256,
        label=sample.label,
        origin="synthetic",
        weight=weight,
    )


class Samples:
    """The samples in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, label: str | None, labels: Sequence[str], seed: int, number: int, suffix: str) -> str:
        """The path in the folder of one sample. Names of classes that are no names of files are spelled otherwise."""
        name = NO_LABEL if label is None else _folders(tuple(labels))[label]
        return f"{name}/{seed}_{number:05d}{suffix}"

    @contextmanager
    def under_way(self, places: Iterable[str]) -> Iterator[None]:
        """While samples at these places, without suffix, are made or dropped, which is noted first.

        Where that was broken off, their files are neither missed nor strange, and the next time they are made or dropped what
        is left of them without a line goes.
        """
        mine = self._under_way() | set(places)
        make_folder(self.folder)
        write_text(self.folder / MAKING, json.dumps(sorted(mine), ensure_ascii=False))
        yield
        known = {sample.id for sample in self._noted()}
        for path in self._files():
            name = path.relative_to(self.folder).as_posix()
            if _stem(name) in mine and name not in known:
                path.unlink()
        os.sync()  # all of it is on disk, at once, before it counts as made
        (self.folder / MAKING).unlink()

    def _under_way(self) -> set[str]:
        path = self.folder / MAKING
        return set(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else set()

    def _files(self) -> list[Path]:
        return [path for path in self.folder.glob("*/*") if path.is_file() and not path.name.startswith(".")]

    def write(self, place: str, content: bytes) -> str:
        """Write one file, whole or not at all. Returns its SHA-256. Raises DiskFull, NotWritable."""
        path = self.folder / place
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        make_folder(path.parent)
        with disk_errors(path):
            try:
                temporary.write_bytes(content)
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return hashlib.sha256(content).hexdigest()

    def note(self, samples: Iterable[Sample]) -> None:
        """Add lines for samples; one that was there under the same id is replaced. Raises DiskFull."""
        known = {sample.id: sample for sample in self._noted()}
        known |= {sample.id: sample for sample in samples}
        lines = (json.dumps(asdict(known[name]), ensure_ascii=False) for name in sorted(known))
        write_text(self.folder / ROWS, "".join(f"{line}\n" for line in lines))

    def read(self) -> list[Sample]:
        """The samples, in the order of their ids. Raises DataError when a file was changed, or is gone, or one was added."""
        broken_off = self._under_way()
        noted = [one for one in self._noted() if _stem(one.id) not in broken_off or self._is_whole(one)]
        amiss: dict[str, list[str]] = {"gone": [], "changed": []}
        for sample in noted:
            path = self.folder / sample.id
            if not path.is_file():
                amiss["gone"].append(sample.id)
            elif hash_file(path) != sample.sha256:
                amiss["changed"].append(sample.id)
        known = {sample.id for sample in noted}
        names = (path.relative_to(self.folder).as_posix() for path in self._files())
        amiss["not ours"] = [name for name in names if name not in known and _stem(name) not in broken_off]
        if any(amiss.values()):
            raise DataError(self._told(amiss))
        return noted

    def _is_whole(self, sample: Sample) -> bool:
        path = self.folder / sample.id
        return path.is_file() and hash_file(path) == sample.sha256

    def forget(self, ids: Iterable[str]) -> None:
        """Drop the lines and files of some samples."""
        gone = set(ids)
        with self.under_way(_stem(name) for name in gone):
            for name in gone:
                (self.folder / name).unlink(missing_ok=True)
            kept = [sample for sample in self._noted() if sample.id not in gone]
            write_text(self.folder / ROWS, "".join(f"{json.dumps(asdict(one), ensure_ascii=False)}\n" for one in kept))

    def _noted(self) -> list[Sample]:
        path = self.folder / ROWS
        if not path.is_file():
            return []
        found: list[Sample] = []
        each_line(path, lambda line: found.append(Sample(**{**line, "parents": tuple(line["parents"])})))
        return found

    def _told(self, amiss: Mapping[str, Sequence[str]]) -> str:
        words = {
            "gone": "no longer there",
            "changed": "changed since they were made",
            "not ours": "not made by the generator",
        }
        found = [
            f"{len(names)} {'is' if len(names) == 1 else 'are'} {words[what]} (`{names[0]}`)"
            for what, names in amiss.items()
            if names
        ]
        return (
            f"The samples in {self.folder} are not as they were made: {'; '.join(found)}. Delete that folder: the command that "
            "made them, `ouvroir generate` or `ouvroir prove`, makes the same again."
        )


@lru_cache(maxsize=8)
def _folders(labels: tuple[str, ...]) -> dict[str, str]:
    """The folder of each class; with its number where its name is none for a folder, or another's differs by capitals only."""
    names = [re.sub(r"[^\w -]", "_", label).strip() or "_" for label in labels]
    counts = Counter(name.casefold() for name in names)
    return {
        # no name of a class by itself holds a dot
        label: f"{name}.{place}" if name != label or name == NO_LABEL or counts[name.casefold()] > 1 else name
        for place, (label, name) in enumerate(zip(labels, names, strict=True))
    }


def _stem(place: str) -> str:
    return place.rpartition(".")[0]
