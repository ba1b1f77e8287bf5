"""Pack: the encoded rows as memory-mapped arrays, made once and shared by all runs that encode alike.

A pack is a folder `home()/packs/<storage fingerprint>` of shards that are only ever added. Rows are found by the hash
of their content, so the same content is encoded once, and adding files later encodes these only. Rows are opened again
in worker processes, and their content must still have the hash it was admitted with.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ouvroir.data.arrays import NAMES_FILE, map_arrays
from ouvroir.data.shards import KEYS, ShardWriter, check_shard, fixed_row_bytes, offsets_name
from ouvroir.data.workers import Done, Job, encoders, n_workers
from ouvroir.errors import DataError, ManifestError
from ouvroir.files import disk_errors, home, make_folder, readable_count, require_space, write_text
from ouvroir.media import find_task
from ouvroir.progress import QUIET, Progress
from ouvroir.source import shown_locator
from ouvroir.system import try_lock, wait_for_lock
from ouvroir.task import Field, Limits, Processor, Row

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.data.manifest import Manifest

SHARD_BYTES = 256 * 1024**2  # what an interruption may cost, and what a shard is about as large as
_SAMPLE_ROWS = 12  # rows encoded to estimate time and size
_WORTH_MEASURING = 256  # fewer new rows than this are packed in a few seconds anyway
_USUAL_ROW_SECONDS = 0.005  # assumed for so few
_START_SECONDS = 0.5  # of the worker processes
_SHOWN = 3
_HASH = np.dtype("S32")  # which compares as bytes do; NumPy leaves out zeros at the end, in both


@dataclass(frozen=True)
class Ragged:
    """Rows of unequal length end to end. `values`: (sum of lengths, ...); row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: Tensor
    offsets: Tensor

    @property
    def lengths(self) -> Tensor:
        """(B,) int64."""
        return self.offsets[1:] - self.offsets[:-1]


@dataclass(frozen=True)
class PackPlan:
    """What packing will take. `n_new` contents to encode, `n_kept` encoded already; bytes to write; seconds, estimated."""

    n_new: int
    n_kept: int
    n_bytes: int
    seconds: float


class Pack:
    """Encoded rows, one for each row of a manifest and in its order. Nothing is in memory before it is taken."""

    def __init__(
        self,
        fields: Mapping[str, Field],
        shards: Sequence[Mapping[str, np.ndarray]],
        shard: np.ndarray,
        place: np.ndarray,
    ) -> None:
        self.fields = dict(fields)
        self._shards = [{name: torch.from_numpy(array) for name, array in arrays.items()} for arrays in shards]
        self._shard = torch.from_numpy(shard)
        self._place = torch.from_numpy(place)
        self._only = int(shard[0]) if len(shard) and (shard == shard[0]).all() else None

    @property
    def n_rows(self) -> int:
        """Rows of the manifest."""
        return len(self._place)

    def take(
        self, positions: Tensor, start: Tensor | None = None, length: Tensor | None = None
    ) -> dict[str, Tensor | Ragged]:
        """The rows at `positions` (B,) int64 as fresh tensors (B, ...); ragged fields flat, with offsets.

        `start` and `length`, (B,) int64, cut a window out of each row's ragged fields, as far as the row reaches.
        """
        places = self._place[positions]
        parts = self._parts(positions)
        found: dict[str, Tensor | Ragged] = {}
        for name, field in self.fields.items():
            if field.is_ragged:
                found[name] = self._take_ragged(name, places, parts, start, length)
            else:
                found[name] = self._take_fixed(name, places, parts)
        return found

    def lengths(self, name: str, positions: Tensor) -> Tensor:
        """(B,) int64: how many elements the ragged field `name` of each row at `positions` has; nothing else is read."""
        places = self._place[positions]
        found = torch.empty(len(places), dtype=torch.int64)
        for number, at in self._parts(positions):
            chosen = slice(None) if at is None else at
            offsets = self._shards[number][offsets_name(name)]
            found[chosen] = offsets[places[chosen] + 1] - offsets[places[chosen]]
        return found

    def _parts(self, positions: Tensor) -> list[tuple[int, Tensor | None]]:
        """Shards that hold some of the positions, and which of these; None stands for all."""
        if self._only is not None:
            return [(self._only, None)]
        shard = self._shard[positions]
        return [(int(number), torch.nonzero(shard == number).flatten()) for number in torch.unique(shard)]

    def _take_fixed(self, name: str, places: Tensor, parts: list[tuple[int, Tensor | None]]) -> Tensor:
        if len(parts) == 1:
            return self._shards[parts[0][0]][name].index_select(0, places)
        example = self._shards[0][name]
        result = torch.empty((len(places), *example.shape[1:]), dtype=example.dtype)
        for number, at in parts:
            assert at is not None
            result[at] = self._shards[number][name].index_select(0, places[at])
        return result

    def _take_ragged(
        self,
        name: str,
        places: Tensor,
        parts: list[tuple[int, Tensor | None]],
        start: Tensor | None,
        length: Tensor | None,
    ) -> Ragged:
        first = torch.empty(len(places), dtype=torch.int64)
        last = torch.empty(len(places), dtype=torch.int64)
        for number, at in parts:
            chosen = slice(None) if at is None else at
            offsets = self._shards[number][offsets_name(name)]
            first[chosen] = offsets[places[chosen]]
            last[chosen] = offsets[places[chosen] + 1]
        if start is not None:
            first = torch.minimum(first + start, last)
        if length is not None:
            last = torch.minimum(first + length, last)
        lengths = last - first
        offsets = torch.zeros(len(places) + 1, dtype=torch.int64)
        torch.cumsum(lengths, 0, out=offsets[1:])
        example = self._shards[0][name]
        values = torch.empty((int(offsets[-1]), *example.shape[1:]), dtype=example.dtype)
        for number, at in parts:
            chosen = slice(None) if at is None else at
            source = _ranges(first[chosen], lengths[chosen])
            piece = self._shards[number][name].index_select(0, source)
            if at is None:
                values = piece
            else:
                values[_ranges(offsets[:-1][at], lengths[at])] = piece
        return Ragged(values, offsets)


def _ranges(first: Tensor, lengths: Tensor) -> Tensor:
    """The whole numbers first[i] ... first[i] + lengths[i] - 1 of all i, end to end."""
    before = lengths.cumsum(0) - lengths
    total = int(lengths.sum())
    return torch.repeat_interleave(first - before, lengths, output_size=total) + torch.arange(total)


def plan_pack(
    manifest: Manifest,
    processor: Processor,
    *,
    packs: Path | None = None,
    limits: Limits | None = None,
    workers: int | None = None,
) -> PackPlan:
    """What `build_pack` would write, and about how long it would take, from encoding a few rows."""
    fields = processor.fields()
    new = _Index(_open_shards(_folder(processor, packs), fields)).new(manifest.rows)
    n_kept = len({row.sha256 for row in manifest.rows}) - len(new)
    if not new:
        return PackPlan(0, n_kept, 0, 0.0)
    row_bytes, row_seconds = float(fixed_row_bytes(fields)), _USUAL_ROW_SECONDS
    if len(new) >= _WORTH_MEASURING or any(field.is_ragged for field in fields.values()):
        sample = new[:: max(1, len(new) // _SAMPLE_ROWS)][:_SAMPLE_ROWS]
        row_bytes, row_seconds = _measure(
            manifest, processor, sample, limits or find_task(manifest.task).limits, row_bytes
        )
    n = n_workers(workers, len(new))
    return PackPlan(len(new), n_kept, round(row_bytes * len(new)), _START_SECONDS + row_seconds * len(new) / n)


def _measure(
    manifest: Manifest, processor: Processor, sample: Sequence[Row], limits: Limits, fixed_bytes: float
) -> tuple[float, float]:
    """Bytes and seconds of one row, by encoding some; rows that fail are left to packing itself to tell."""
    ragged = {name for name, field in processor.fields().items() if field.is_ragged}
    n_bytes: list[int] = []
    with encoders(manifest.task, processor, limits, 1, root=manifest.root) as pool:
        began = time.perf_counter()
        for number, done in enumerate(pool.run(_jobs(sample))):
            if number == 0:  # the workers have only started
                began = time.perf_counter()
            if done.refused is None:
                example = done.example()
                n_bytes.append(sum(example[name].nbytes for name in ragged))
        seconds = time.perf_counter() - began
    mean = sum(n_bytes) / len(n_bytes) if n_bytes else 0.0
    return fixed_bytes + mean, max(seconds, 1e-4) / max(1, len(sample) - 1)


def build_pack(
    manifest: Manifest,
    processor: Processor,
    *,
    packs: Path | None = None,
    limits: Limits | None = None,
    workers: int | None = None,
    progress: Progress = QUIET,
) -> Pack:
    """Encode what is not encoded yet, in worker processes, and open the pack of `manifest`, by default one of the cache.

    `packs`: the folder of packs, for rows that are not to stay.
    Raises DiskFull, leaving whole shards only, and DataError naming a file that is no longer what was admitted.
    """
    fields = processor.fields()
    folder = _folder(processor, packs)
    shards = _open_shards(folder, fields)
    index = _Index(shards)
    if index.new(manifest.rows):
        with _hold(folder, progress):
            _sweep(folder, fields, progress)
            shards = _open_shards(folder, fields)  # another process may have been at it while we waited
            index = _Index(shards)
            new = index.new(manifest.rows)
            if new:
                _encode(manifest, processor, new, folder, limits or find_task(manifest.task).limits, workers, progress)
                _note_data(folder, Path(manifest.source).name)
                shards = _open_shards(folder, fields)
                index = _Index(shards)
    return _pack_of(manifest.rows, fields, shards, index)


def open_pack(rows: Sequence[Row], processor: Processor) -> Pack:
    """The pack of some rows that are encoded already; no file of theirs is opened. Raises DataError when one is not."""
    fields = processor.fields()
    shards = _open_shards(_folder(processor, None), fields)
    return _pack_of(rows, fields, shards, _Index(shards))


def _pack_of(
    rows: Sequence[Row], fields: Mapping[str, Field], shards: Mapping[Path, Mapping[str, np.ndarray]], index: _Index
) -> Pack:
    where = index.find(rows)
    if len(away := np.nonzero(where[:, 0] < 0)[0]):
        raise DataError(
            f"Rows that are not packed: {len(away)} of {len(rows)}, `{shown_locator(rows[int(away[0])].id)}` among them. Once "
            "their files are where they were, the same command packs them."
        )
    return Pack(fields, list(shards.values()), where[:, 0].copy(), where[:, 1].copy())


def _folder(processor: Processor, packs: Path | None) -> Path:
    return (packs or home() / "packs") / processor.storage_fingerprint()


def _note_data(folder: Path, name: str) -> None:
    """Add the name of data to those whose rows this pack holds: `ouvroir cache` shows them."""
    path = folder / NAMES_FILE
    names = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if name and name not in names:
        write_text(path, "\n".join([*names, name]) + "\n")


def _open_shards(folder: Path, fields: Mapping[str, Field]) -> dict[Path, dict[str, np.ndarray]]:
    """The undamaged shards of a pack, oldest first."""
    found: dict[Path, dict[str, np.ndarray]] = {}
    for path in sorted(folder.glob("shard_*.safetensors")):
        try:
            arrays = map_arrays(path)
            check_shard(arrays, fields, path)
        except (ManifestError, OSError):
            continue
        found[path] = arrays
    return found


class _Index:
    """Where contents are packed: their hashes in order, with shard and place of each; the oldest of several."""

    def __init__(self, shards: Mapping[Path, Mapping[str, np.ndarray]]) -> None:
        keys = [arrays[KEYS].reshape(-1).view(_HASH) for arrays in shards.values()]
        shard = np.repeat(np.arange(len(keys)), [len(one) for one in keys])
        place = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(one)) for one in keys)])
        everything = np.concatenate([np.zeros(0, _HASH), *keys])
        order = np.argsort(everything, kind="stable")
        self._keys, self._where = everything[order], np.stack([shard[order], place[order]], axis=1)

    def find(self, rows: Sequence[Row]) -> np.ndarray:
        """(len(rows), 2) int64: number of the shard and place in it; -1 for what is not packed."""
        try:
            hashes = bytes.fromhex("".join(row.sha256 for row in rows))
        except ValueError:
            hashes = b""
        if wrong := next(
            (row for row in rows if len(row.sha256) != 2 * _HASH.itemsize), None if hashes or not rows else rows[0]
        ):
            named = shown_locator(wrong.id)
            raise DataError(f"`{named}` has no SHA-256 of its content but `{wrong.sha256}`. Check the data again.")
        wanted = np.frombuffer(hashes, _HASH)
        found = np.full((len(wanted), 2), -1, dtype=np.int64)
        at = np.searchsorted(self._keys, wanted)
        known = at < len(self._keys)
        known[known] = self._keys[at[known]] == wanted[known]
        found[known] = self._where[at[known]]
        return found

    def new(self, rows: Sequence[Row]) -> list[Row]:
        """One row for each content that is not packed."""
        first: dict[str, Row] = {}
        for place in np.nonzero(self.find(rows)[:, 0] < 0)[0].tolist():
            first.setdefault(rows[place].sha256, rows[place])
        return list(first.values())


@contextmanager
def _hold(folder: Path, progress: Progress) -> Iterator[None]:
    """Be the one process that adds to this pack; wait for another one. Freed by the kernel when a process is killed."""
    make_folder(folder)
    with disk_errors(folder):
        file = open(folder / ".lock", "a+b")  # noqa: SIM115 - closed below
    with file:
        if not try_lock(file):
            progress.say("Another process is packing the same kind of data; waiting for it.")
            wait_for_lock(file)
        yield


def _sweep(folder: Path, fields: Mapping[str, Field], progress: Progress) -> None:
    """Remove what an interruption or a damage left, while nobody else writes."""
    for path in folder.glob(".shard_*.tmp"):
        path.unlink(missing_ok=True)
    good = _open_shards(folder, fields)
    for path in folder.glob("shard_*.safetensors"):
        if path not in good:
            progress.say(f"{path} is damaged; what it held is encoded again.")
            path.unlink(missing_ok=True)


def _jobs(rows: Iterable[Row]) -> list[Job]:
    return [Job(row.locator, row.text, row.sha256) for row in rows]


def _encode(
    manifest: Manifest,
    processor: Processor,
    new: Sequence[Row],
    folder: Path,
    limits: Limits,
    workers: int | None,
    progress: Progress,
) -> None:
    """Encode rows into as many shards as they need. What fails is told at the end, when the rest is safe."""
    fields = processor.fields()
    failed: list[tuple[Row, str, str]] = []
    n = n_workers(workers, len(new))
    with (
        progress.bar("Packing", len(new)) as bar,
        encoders(manifest.task, processor, limits, n, root=manifest.root) as pool,
    ):
        answers = pool.run(_jobs(new))
        first = list(islice(answers, _SAMPLE_ROWS))
        row_bytes = _mean_bytes(first, fields)
        require_space(
            folder,
            round(row_bytes * len(new)) + SHARD_BYTES // 64,
            f"Packing {readable_count(len(new), manifest.row_word)}",
        )
        per_shard = max(1, int(SHARD_BYTES / row_bytes))
        stream = chain(first, answers)
        for start in range(0, len(new), per_shard):
            rows = new[start : start + per_shard]
            with ShardWriter(_next_name(folder), fields, len(rows)) as writer:
                for row, done in zip(rows, stream):  # noqa: B905 - the stream goes on into the next shard
                    if done.refused is None:
                        writer.add(bytes.fromhex(row.sha256), done.example())
                    else:
                        failed.append((row, *done.refused))
                    bar.advance()
    if failed:
        _raise_failed(failed, manifest)


def _mean_bytes(done: Sequence[Done], fields: Mapping[str, Field]) -> float:
    ragged = [name for name, field in fields.items() if field.is_ragged]
    sizes = [sum(one.example()[name].nbytes for name in ragged) for one in done if one.refused is None]
    return fixed_row_bytes(fields) + (sum(sizes) / len(sizes) if sizes else 0.0)


def _next_name(folder: Path) -> Path:
    numbers = [int(path.stem.removeprefix("shard_")) for path in folder.glob("shard_*.safetensors")]
    return folder / f"shard_{max(numbers, default=0) + 1:06d}.safetensors"


def _raise_failed(failed: Sequence[tuple[Row, str, str]], manifest: Manifest) -> None:
    row, code, reason = failed[0]
    others = ", ".join(f"`{shown_locator(other.id)}`" for other, _, _ in failed[1 : 1 + _SHOWN])
    more = f" The same goes for {others}" if others else ""
    more += f" and {len(failed) - 1 - _SHOWN} more" if len(failed) > 1 + _SHOWN else ""
    if code in ("changed", "missing"):
        advice = f"Run `ouvroir check {manifest.source}` to account for the files as they are now, then train again."
    else:
        advice = (
            f"`{shown_locator(row.id)}` could be opened when it was checked. Take it out of the data, or repair it, and check "
            "again."
        )
    ended = reason if reason.endswith((".", "?")) else f"{reason}."
    raise DataError(f"{ended}{more}{'.' if more else ''} {advice}")
