"""What all tasks on sounds share: how sounds are opened, packed, cut into windows, put into batches and played."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ouvroir import classification as shared
from ouvroir.errors import UsageError
from ouvroir.media import AUDIO_SUFFIXES
from ouvroir.media.audio.decode import LOOKED_AT_HZ, as_wav, decode, decoder, inspect_sound
from ouvroir.media.audio.french import FRENCH
from ouvroir.media.audio.processor import AudioProcessor
from ouvroir.task import Batch, Facts, Input, Items, Limits, Source, source_of

if TYPE_CHECKING:
    from ouvroir.data.table import Ragged, Table, TableSlice

SHOWN_SECONDS = 10.0
_ROWS_AT_ONCE = 4096


class Sounds:
    """The part of a Task that is the same whatever is done with sounds."""

    suffixes: ClassVar[frozenset[str]] = AUDIO_SUFFIXES
    reads_text: ClassVar[bool] = False
    loop: ClassVar[Literal["fit", "adversarial"]] = "fit"
    export_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {}
    french: ClassVar[Mapping[str, str]] = FRENCH

    def inspect(self, source: Source, limits: Limits) -> Facts:
        """Open one sound at admission. Raises Refused."""
        return inspect_sound(source, limits)

    def decoder(self) -> str:
        """FFmpeg, through PyAV."""
        return decoder()

    def load_processor(self, folder: Path) -> AudioProcessor:
        """Read what `AudioProcessor.save` wrote."""
        return AudioProcessor.load(folder)

    def items(self, table: Table, *, training: bool) -> Items:
        """One draw is one window of a sound; its stratum is its class, or its rarest label when multi-label."""
        del training
        n_windows = windows_of_rows(table)
        row = np.repeat(np.arange(len(table), dtype=np.int64), n_windows)
        start = np.arange(len(row), dtype=np.int64) - np.repeat(n_windows.cumsum() - n_windows, n_windows)
        labels = table.targets.get("labels")
        stratum = None if labels is None else shared.strata(labels.numpy())[row]
        return Items(row=row, start=start, length=np.ones(len(row), dtype=np.int64), stratum=stratum)

    def collate(self, rows: TableSlice) -> Batch:
        """`wave` (B, T) int16, the first window of what was cut out of each row; `heard` (B,); `labels`, `weight`, `index`."""
        wave: Ragged = rows.fields["wave"]  # type: ignore[assignment]
        heard: Ragged = rows.fields["heard"]  # type: ignore[assignment]
        return {
            "wave": wave.values[wave.offsets[:-1]],
            "heard": heard.values[heard.offsets[:-1]].long(),
            "weight": rows.weight,
            "index": rows.index,
            **rows.targets,
        }

    def as_source(self, given: Input) -> Source:
        """Paths, bytes, and (array, rate) of one channel: int16, or floats in [-1, 1]."""
        if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray):
            return Source(root="", locator="", content=as_wav(_whole_numbers(given[0]), int(given[1])))
        if isinstance(given, Source | str | Path | bytes):
            return source_of(given)
        raise UsageError(f"A {type(given).__name__} is no sound. Give a path, bytes, or an array and its rate.")

    def sample(self, folder: Path) -> int:
        """Spoken digits as WAV files in class folders."""
        from ouvroir.media.audio.samples import write_digits

        return write_digits(folder)

    def render(self, source: Source, *, max_edge_px: int) -> tuple[str, bytes]:
        """The first seconds of the sound as WAV. Raises Refused."""
        del max_edge_px
        limits = Limits()
        sound = decode(
            source.read(limits.max_bytes), source.name, limits, rate=LOOKED_AT_HZ, most_seconds=SHOWN_SECONDS
        )
        return "audio/wav", as_wav(sound.samples, sound.rate)


def _whole_numbers(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array.mean(axis=int(array.shape[1] < array.shape[0]))
    if array.dtype != np.int16:
        array = np.clip(np.rint(array.astype(np.float64) * 32767), -32768, 32767)
    return array.astype(np.int16)


def windows_of_rows(table: Table) -> np.ndarray:
    """(N,) int64: how many windows each row has."""
    found = [np.zeros(0, dtype=np.int64)]
    for first in range(0, len(table), _ROWS_AT_ONCE):
        field: Ragged = table.slice(np.arange(first, min(first + _ROWS_AT_ONCE, len(table)))).fields["heard"]  # type: ignore[assignment]
        found.append(field.lengths.numpy())
    return np.concatenate(found)


def pieces_of(n: int, most: int, at_once: int) -> Iterator[np.ndarray]:
    """Places of at most `most` of n rows, evenly spaced, a few at a time."""
    places = np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
    for start in range(0, len(places), at_once):
        yield places[start : start + at_once]
