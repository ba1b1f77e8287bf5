"""What all tasks on sounds share: how sounds are opened, packed, cut into windows, put into batches and played."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ouvroir.errors import UsageError
from ouvroir.media import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from ouvroir.media.audio.decode import LOOKED_AT_HZ, cancels, decode, decoder, inspect_sound
from ouvroir.media.audio.encode import as_mp3, as_wav, spectrogram
from ouvroir.media.audio.french import FRENCH
from ouvroir.media.audio.processor import AudioProcessor
from ouvroir.source import Source, source_of
from ouvroir.task import Batch, Facts, Input, Items, Limits, Processor, Rendering
from ouvroir.windows import first_of, items_of

if TYPE_CHECKING:
    from ouvroir.data.table import Table, TableSlice

SHOWN_SECONDS = 10.0


class Sounds:
    """The part of a Task that is the same whatever is done with sounds."""

    suffixes: ClassVar[frozenset[str]] = AUDIO_SUFFIXES | VIDEO_SUFFIXES
    limits: ClassVar[Limits] = Limits(max_bytes=1024**3, max_seconds=120.0, max_memory_bytes=6 * 1024**3)
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

    def items(self, table: Table, processor: Processor, *, training: bool) -> Items:
        """One draw is one window of a sound."""
        del processor, training
        return items_of(table)

    def collate(self, rows: TableSlice) -> Batch:
        """`wave` (B, T) int16, the first window of what was cut out of each row; `heard` (B,); `labels`, `weight`, `index`."""
        return {
            "wave": first_of(rows.fields["wave"]),
            "heard": first_of(rows.fields["heard"]).long(),
            "weight": rows.weight,
            "index": rows.index,
            **rows.targets,
        }

    def as_source(self, given: Input) -> Source:
        """Paths, bytes, and (array, rate): whole numbers, or floats in [-1, 1]; of several channels the mean is heard, or the first
        where they cancel each other out.
        """
        if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray):
            return Source(root="", locator="", content=as_wav(_whole_numbers(given[0], int(given[1])), int(given[1])))
        if isinstance(given, Source | str | Path | bytes):
            return source_of(given)
        raise UsageError(f"A {type(given).__name__} is no sound. Give a path, bytes, or an array and its rate.")

    def sample(self, folder: Path) -> int:
        """Spoken digits as WAV files in class folders."""
        from ouvroir.media.audio.samples import write_digits

        return write_digits(folder)

    def render(self, source: Source, *, max_edge_px: int) -> Rendering:
        """The first seconds of the sound as MP3, and a picture of its spectrogram. Raises Refused."""
        limits = self.limits
        sound = decode(
            source.read(limits.max_bytes), source.name, limits, rate=LOOKED_AT_HZ, most_seconds=SHOWN_SECONDS
        )
        shown = spectrogram(sound.samples, sound.rate, width=2 * max_edge_px, height=max_edge_px // 2)
        return Rendering("audio/mpeg", as_mp3(sound.samples, sound.rate), shown)


def _whole_numbers(array: np.ndarray, rate: int) -> np.ndarray:
    """One channel as int16. Whole numbers are scaled by what they can hold, those without sign about their middle."""
    kind = array.dtype.kind
    if kind not in "iuf" or array.ndim not in (1, 2):
        raise UsageError(
            f"An array of {array.dtype} with {array.ndim} axes is no sound. Give whole numbers, or floats in [-1, 1], of one axis, "
            "or of two, samples and channels."
        )
    values = array.astype(np.float64)
    if kind == "u":
        values = values / (np.iinfo(array.dtype).max / 2 + 0.5) - 1
    elif kind == "i":
        values /= float(np.iinfo(array.dtype).max) + 1
    else:
        values *= 32767 / 32768
    if values.ndim == 2:
        channels = values.T if values.shape[1] < values.shape[0] else values
        mixed, first = _as_int16(channels.mean(axis=0)), _as_int16(channels[0])
        return first if cancels(mixed, first, rate) else mixed
    return _as_int16(values)


def _as_int16(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.clip(np.rint(values * 32768), -32768, 32767).astype(np.int16)
    return found
