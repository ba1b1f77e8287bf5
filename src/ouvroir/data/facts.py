"""What one look at each file told, kept so that unchanged files are not opened again.

One file per data root and task under `home()/facts`: columns of names, stamps, hashes, near-duplicate keys and details.
An entry holds as long as path, size and time of change stay the same, and the code and the decoder of the task too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect as python_inspect
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ouvroir import __version__
from ouvroir.data.arrays import data_named, map_arrays, write_arrays
from ouvroir.data.candidates import Candidate
from ouvroir.data.workers import Done, Job, Pool, n_workers
from ouvroir.errors import ManifestError
from ouvroir.files import home
from ouvroir.media import find_task
from ouvroir.progress import Progress
from ouvroir.task import Limits, Row

_NOT_KEPT = {"crashed", "too_slow", "unreadable", "missing"}  # may end differently the next time
_SAVE_SECONDS = 60.0  # between two savings while files are opened, so that an interruption costs little
_NO_HASH = "0" * 64

Meta = dict[str, Any]
"""`details` and `notes` of an admitted row, or `refused`: [code, sentence]."""


@dataclass
class Looked:
    """What is known of each candidate, in their order. `near`: (N, D) float32 with zero rows where there is no key."""

    sha256: list[str]
    meta: list[Meta]
    near: NearKeys
    n_opened: int


@dataclass
class NearKeys:
    """Keys of candidates, without copying those that are cached. `place[i]` is a row of `old`, or of `new` after it."""

    old: np.ndarray
    new: list[bytes]
    place: np.ndarray

    def rows(self, places: np.ndarray) -> np.ndarray:
        """(len(places), D) float32 keys of candidates; zeros where there is none. D is 0 when no row has one."""
        width = self.old.shape[1] if self.old.size else max((len(key) // 4 for key in self.new), default=0)
        result = np.zeros((len(places), width), dtype=np.float32)
        where = self.place[places]
        is_old = (where >= 0) & (where < len(self.old))
        if is_old.any() and self.old.shape[1] == width:
            result[is_old] = self.old[where[is_old]]
        for row in np.flatnonzero(where >= len(self.old)).tolist():
            key = np.frombuffer(self.new[int(where[row]) - len(self.old)], dtype="<f4")
            if len(key) == width:
                result[row] = key
        return result


def look(
    root: str,
    candidates: Sequence[Candidate],
    task: str,
    *,
    limits: Limits,
    workers: int | None,
    progress: Progress,
    fresh: bool,
) -> Looked:
    """Open every candidate that is not known yet, in worker processes, and keep what was seen."""
    cache = _Cache(_place(root, task, limits), root, fresh=fresh)
    names = [_name_of(candidate.locator, candidate.text) for candidate in candidates]
    places = [
        cache.find(name, candidate.size, candidate.stamp) for name, candidate in zip(names, candidates, strict=True)
    ]
    unknown = [row for row, place in enumerate(places) if place < 0]
    first_of: dict[str, int] = {}  # a file that several rows name is opened once
    to_open = [row for row in unknown if first_of.setdefault(names[row], row) == row]
    try:
        _open_all(cache, root, candidates, names, to_open, task, limits, workers, progress)
    finally:
        if to_open:
            cache.save(set(names))
    for row in unknown:
        places[row] = cache.place_of[names[row]]
    at = np.array(places, dtype=np.int64)
    return Looked(
        sha256=[cache.sha256[place] for place in places],
        meta=[cache.meta[place] for place in places],
        near=NearKeys(cache.near_old, cache.near_new, np.array(cache.near_place, dtype=np.int64)[at] if places else at),
        n_opened=len(to_open),
    )


def near_keys(root: str, rows: Sequence[Row], task: str, *, workers: int | None, progress: Progress) -> np.ndarray:
    """(len(rows), D) float32: near-duplicate keys of admitted rows; zeros for one that has none, or whose file is away.

    Those that admission kept of the same content are taken from there.
    """
    keys = _kept_keys(root, rows, task)
    left = [place for place, key in enumerate(keys) if not key]
    if left:
        jobs = [Job(rows[place].locator, rows[place].text) for place in left]
        n = n_workers(workers, len(jobs))
        with (
            progress.bar("Looking", len(jobs)) as bar,
            Pool({"job": "inspect", "task": task, "root": root}, find_task(task).limits, n) as pool,
        ):
            for done in pool.run(jobs):
                keys[left[done.place]] = b"" if done.refused else done.payload
                bar.advance()
    width = max((len(key) // 4 for key in keys), default=0)
    found = np.zeros((len(rows), width), dtype=np.float32)
    for place, key in enumerate(keys):
        if key:
            found[place] = np.frombuffer(key, dtype="<f4")
    return found


def _kept_keys(root: str, rows: Sequence[Row], task: str) -> list[bytes]:
    """The near-duplicate key of each row as admission saw it; b"" where it saw none of this content."""
    cache = _Cache(_place(root, task, find_task(task).limits), root, fresh=False)
    places = [cache.place_of.get(_name_of(row.locator, row.text), -1) for row in rows]
    known = [
        place >= 0 and cache.near_place[place] >= 0 and cache.sha256[place] == row.sha256
        for place, row in zip(places, rows, strict=True)
    ]
    return [
        cache.near_old[cache.near_place[place]].astype("<f4").tobytes() if is_known else b""
        for place, is_known in zip(places, known, strict=True)
    ]


def _name_of(locator: str, text: str | None) -> str:
    """What a row is called in the file of facts."""
    return locator or f"\1{_hash_text(text or '')}"


def _open_all(
    cache: _Cache,
    root: str,
    candidates: Sequence[Candidate],
    names: Sequence[str],
    to_open: Sequence[int],
    task: str,
    limits: Limits,
    workers: int | None,
    progress: Progress,
) -> None:
    if not to_open:
        return
    jobs = [Job(candidates[row].locator, candidates[row].text) for row in to_open]
    n = n_workers(workers, len(jobs))
    saved = time.monotonic()
    with (
        progress.bar("Checking", len(jobs)) as bar,
        Pool({"job": "inspect", "task": task, "root": root}, limits, n) as pool,
    ):
        for done in pool.run(jobs):
            row = to_open[done.place]
            cache.add(names[row], candidates[row].size, candidates[row].stamp, done)
            bar.advance()
            if time.monotonic() - saved > _SAVE_SECONDS:
                cache.save(set(names))
                saved = time.monotonic() + (time.monotonic() - saved - _SAVE_SECONDS)


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _place(root: str, task: str, limits: Limits) -> Path:
    parts = [root, task, __version__, find_task(task).decoder(), json.dumps(dataclasses.asdict(limits)), _code_of(task)]
    return home() / "facts" / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.safetensors"


def _code_of(task: str) -> str:
    """Hash of the source beside the task's own module: what was seen by other code is not trusted."""
    with contextlib.suppress(OSError, TypeError):
        path = Path(python_inspect.getfile(type(find_task(task))))
        beside = sorted(path.parent.glob("*.py")) if (path.parent / "__init__.py").exists() else [path]
        return hashlib.sha256(b"".join(file.read_bytes() for file in beside)).hexdigest()
    return ""


class _Cache:
    """The columns of one facts file, in memory."""

    def __init__(self, path: Path, root: str, *, fresh: bool) -> None:
        self.path, self.root = path, root
        self.names: list[str] = []
        self.stamps: list[tuple[int, int]] = []
        self.sha256: list[str] = []
        self.meta: list[Meta] = []
        self.near_place: list[int] = []
        self.near_old = np.zeros((0, 0), dtype=np.float32)
        self.near_new: list[bytes] = []
        if not fresh:
            with contextlib.suppress(OSError, ManifestError, ValueError, KeyError):
                self._load()
        self.place_of = {name: place for place, name in enumerate(self.names)}

    def _load(self) -> None:
        arrays = map_arrays(self.path)
        text = arrays["names"].tobytes().decode("utf-8")
        hashes = arrays["sha256"].tobytes().hex()
        meta = json.loads(arrays["meta"].tobytes())
        names = text.split("\0") if len(arrays["stamps"]) else []
        if not len(names) == len(arrays["stamps"]) == len(meta) == len(arrays["near_place"]):
            raise ValueError("columns differ in length")
        self.names, self.meta = names, meta
        self.stamps = [(size, stamp) for size, stamp in arrays["stamps"].tolist()]
        self.sha256 = [hashes[start : start + 64] for start in range(0, len(hashes), 64)]
        self.near_place = arrays["near_place"].tolist()
        self.near_old = arrays["near"]

    def find(self, name: str, size: int, stamp: int) -> int:
        """The place of an entry that still holds, or -1."""
        place = self.place_of.get(name, -1)
        return place if place >= 0 and self.stamps[place] == (size, stamp) else -1

    def add(self, name: str, size: int, stamp: int, done: Done) -> None:
        """Take in one answer of a worker."""
        place = self.place_of.setdefault(name, len(self.names))
        if place == len(self.names):
            self.names.append(name)
            self.stamps.append((0, 0))
            self.sha256.append(_NO_HASH)
            self.meta.append({})
            self.near_place.append(-1)
        self.stamps[place] = (size, stamp)
        self.near_place[place] = -1
        if done.refused is not None:
            self.sha256[place] = _NO_HASH
            self.meta[place] = {"refused": list(done.refused)}
            return
        self.sha256[place] = str(done.header["sha256"])
        self.meta[place] = {name: value for name in ("details", "notes") if (value := done.header[name])}
        if done.payload:
            self.near_place[place] = len(self.near_old) + len(self.near_new)
            self.near_new.append(done.payload)

    def save(self, current: set[str]) -> None:
        """Write the file. Entries of files that are gone are dropped once they are as many as those that are there."""
        lasting = [place for place, meta in enumerate(self.meta) if meta.get("refused", ("",))[0] not in _NOT_KEPT]
        if len(lasting) > 2 * len(current):
            lasting = [place for place in lasting if self.names[place] in current]
        keys = NearKeys(self.near_old, self.near_new, np.array(self.near_place, dtype=np.int64))
        places = np.array(lasting, dtype=np.int64)
        has_key = keys.place[places] >= 0 if lasting else np.zeros(0, dtype=bool)
        near_place = np.where(has_key, np.cumsum(has_key) - 1, -1)
        write_arrays(
            self.path,
            {
                "near": keys.rows(places[has_key]),
                "near_place": near_place.astype(np.int64),
                "stamps": np.array([self.stamps[place] for place in lasting], dtype=np.int64).reshape(-1, 2),
                "sha256": np.frombuffer(
                    bytes.fromhex("".join(self.sha256[place] for place in lasting)), dtype=np.uint8
                ),
                **data_named(Path(self.root).name),
                "names": _bytes("\0".join(self.names[place] for place in lasting)),
                "meta": _bytes(json.dumps([self.meta[place] for place in lasting], separators=(",", ":"))),
            },
        )


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
