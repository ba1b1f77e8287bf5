"""VideoProcessor: the fixed work on one video, the same in training and serving, saved in every checkpoint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from ouvroir.errors import RunError
from ouvroir.files import write_json
from ouvroir.media.video.decode import MOST_SECONDS, decode, decoder
from ouvroir.source import FOLDER, Source
from ouvroir.task import Example, Field, Limits
from ouvroir.windows import starts_of

FILE_NAME = "video_processor.json"
ENCODING = 1  # raise when `encode` gives other numbers for the same settings


@dataclass(frozen=True, kw_only=True)
class VideoProcessor:
    """Decodes a video, `fps` frames a second as squares of `storage_px`, and stores it as clips of `n_frames`, `most_seconds` of
    it at most.

    Longer videos are seen clip after clip; the last frame of shorter ones stays until the end. `labels` are the class names in
    the order of the model's outputs.
    """

    labels: tuple[str, ...] = ()
    is_multi_label: bool = False
    fps: float
    n_frames: int
    storage_px: int
    most_seconds: float

    def fields(self) -> dict[str, Field]:
        """`frames`: (clips, n_frames, px, px, 3) uint8; `begin`: (clips,) int32, the frame of the video where each begins."""
        shape = (None, self.n_frames, self.storage_px, self.storage_px, 3)
        return {"frames": Field("uint8", shape), "begin": Field("int32", (None,))}

    def encode(self, source: Source, limits: Limits) -> Example:
        """Read, decode, sample, cut. Raises Refused."""
        content = source.read(limits.max_bytes)
        clip = decode(
            content,
            source.name,
            limits,
            fps=self.fps,
            px=self.storage_px,
            most_seconds=self.most_seconds,
            is_folder=source.locator.endswith(FOLDER),
        )
        return in_clips(clip.frames, self.n_frames)

    def to_answer(self) -> Self:
        """The same for all of a long one, up to an hour."""
        return replace(self, most_seconds=max(self.most_seconds, MOST_SECONDS))

    def storage_fingerprint(self) -> str:
        """A hash of what is stored and of the decoder's version; labels do not change it."""
        stored = [ENCODING, decoder(), self.fps, self.n_frames, self.storage_px, self.most_seconds]
        return hashlib.sha256(json.dumps(stored).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `video_processor.json` into `folder`."""
        write_json(folder / FILE_NAME, {"encoding": ENCODING, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> VideoProcessor:
        """Read what `save` wrote. Raises RunError."""
        try:
            value = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            encoding = value.pop("encoding")
            found = cls(**{**value, "labels": tuple(value["labels"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"The video processor in `{folder}` could not be read: {error}.") from error
        if encoding != ENCODING:
            raise RunError(
                f"The model in `{folder.parent}` is of a version of Ouvroir that turns videos into numbers in another way "
                f"({encoding} there, {ENCODING} here), so it would not see what it learned from. Use that version, or train again."
            )
        return found

    def with_labels(self, labels: tuple[str, ...]) -> VideoProcessor:
        """A copy for other classes; what is stored does not change."""
        return replace(self, labels=labels)


def in_clips(frames: np.ndarray, n_frames: int) -> Example:
    """(T, H, W, 3) uint8 as clips of `n_frames`, one after the other, the last one ending with the video; the last frame of a
    shorter one stays.
    """
    n = len(frames)
    if n < n_frames:
        frames = np.concatenate([frames, np.repeat(frames[-1:], n_frames - n, axis=0)])
    starts = starts_of(len(frames), n_frames)
    return {"frames": np.stack([frames[start : start + n_frames] for start in starts.tolist()]), "begin": starts}
