"""What all tasks on sounds share: how sounds are opened, packed, cut into windows, put into batches and played."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ouvroir.errors import UsageError
from ouvroir.media import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from ouvroir.media.audio.decode import LOOKED_AT_HZ, decode, decoder, inspect_sound
from ouvroir.media.audio.encode import as_mp3, as_wav, spectrogram
from ouvroir.media.audio.french import FRENCH
from ouvroir.media.audio.processor import AudioProcessor
from ouvroir.source import Source, source_of
from ouvroir.task import Batch, Facts, Input, Items, Limits, Rendering
from ouvroir.windows import first_of, items_of

if TYPE_CHECKING:
    from ouvroir.data.table import Table, TableSlice

SHOWN_SECONDS = 10.0


class Sounds:
    """The part of a Task that is the same whatever is done with sounds."""

    suffixes: ClassVar[frozenset[str]] = AUDIO_SUFFIXES | VIDEO_SUFFIXES
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
        """One draw is one window of a sound."""
        del training
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

    def render(self, source: Source, *, max_edge_px: int) -> Rendering:
        """The first seconds of the sound as MP3, and a picture of its spectrogram. Raises Refused."""
        limits = Limits()
        sound = decode(
            source.read(limits.max_bytes), source.name, limits, rate=LOOKED_AT_HZ, most_seconds=SHOWN_SECONDS
        )
        shown = spectrogram(sound.samples, sound.rate, width=2 * max_edge_px, height=max_edge_px // 2)
        return Rendering("audio/mpeg", as_mp3(sound.samples, sound.rate), shown)


def _whole_numbers(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array.mean(axis=int(array.shape[1] < array.shape[0]))
    if array.dtype != np.int16:
        array = np.clip(np.rint(array.astype(np.float64) * 32767), -32768, 32767)
    return array.astype(np.int16)
