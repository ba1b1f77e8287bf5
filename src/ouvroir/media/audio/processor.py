"""AudioProcessor: the fixed work on one sound, the same in training and serving, saved in every checkpoint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from ouvroir.errors import RunError
from ouvroir.files import write_json
from ouvroir.media.audio.decode import MOST_SECONDS, decode, decoder
from ouvroir.source import Source
from ouvroir.task import Example, Field, Limits
from ouvroir.windows import starts_of

FILE_NAME = "audio_processor.json"
ENCODING = 2  # raise when `encode` gives other numbers for the same settings


@dataclass(frozen=True, kw_only=True)
class AudioProcessor:
    """Decodes a sound, at `rate` samples a second, and stores it as windows of `window` samples, `most_seconds` of it at most.

    Longer sounds are heard window after window, shorter ones in the middle of silence. `labels` are the class names in the order
    of the model's outputs.
    """

    labels: tuple[str, ...] = ()
    is_multi_label: bool = False
    rate: int
    window: int
    most_seconds: float

    def fields(self) -> dict[str, Field]:
        """`wave`: (windows, window) int16; `begin` and `heard`: (windows,) int32, the place in the sound and how much is sound."""
        return {
            "wave": Field("int16", (None, self.window)),
            "begin": Field("int32", (None,)),
            "heard": Field("int32", (None,)),
        }

    def encode(self, source: Source, limits: Limits) -> Example:
        """Read, decode, resample, cut. Raises Refused."""
        content = source.read(limits.max_bytes)
        sound = decode(content, source.name, limits, rate=self.rate, most_seconds=self.most_seconds)
        return in_windows(sound.samples, self.window)

    def to_answer(self) -> Self:
        """The same for all of a long one, up to an hour."""
        return replace(self, most_seconds=max(self.most_seconds, MOST_SECONDS))

    def storage_fingerprint(self) -> str:
        """A hash of the rate, the window, the length and the decoder's version; labels do not change what is stored."""
        stored = [ENCODING, decoder(), self.rate, self.window, self.most_seconds]
        return hashlib.sha256(json.dumps(stored).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `audio_processor.json` into `folder`."""
        write_json(folder / FILE_NAME, {"encoding": ENCODING, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> AudioProcessor:
        """Read what `save` wrote. Raises RunError."""
        try:
            value = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            encoding = value.pop("encoding")
            found = cls(**{**value, "labels": tuple(value["labels"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"The sound processor in `{folder}` could not be read: {error}.") from error
        if encoding != ENCODING:
            raise RunError(
                f"The model in `{folder.parent}` is of a version of Ouvroir that turns sounds into numbers in another way "
                f"({encoding} there, {ENCODING} here), so it would not hear what it learned from. Use that version, or train again."
            )
        return found

    def with_labels(self, labels: tuple[str, ...]) -> AudioProcessor:
        """A copy for other classes; what is stored does not change."""
        return replace(self, labels=labels)


def in_windows(samples: np.ndarray, window: int) -> Example:
    """(n,) int16 as windows, one after the other, the last one ending with the sound; a shorter one in the middle of silence."""
    n = len(samples)
    if n <= window:
        before = (window - n) // 2
        wave = np.pad(samples, (before, window - n - before))[None]
        return {"wave": wave, "begin": np.zeros(1, dtype=np.int32), "heard": np.array([n], dtype=np.int32)}
    starts = starts_of(n, window)
    wave = np.stack([samples[start : start + window] for start in starts.tolist()])
    return {"wave": wave, "begin": starts, "heard": np.full(len(starts), window, dtype=np.int32)}
