"""ImageProcessor: the fixed work on one picture, the same in training and serving, saved in every checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from ouvroir.errors import RunError
from ouvroir.files import write_json
from ouvroir.media.image.decode import Aspect, Levels, decode, decoder, fit_to_square
from ouvroir.source import Source
from ouvroir.task import Example, Field, Limits

FILE_NAME = "image_processor.json"
ENCODING = 1  # raise when `encode` gives other bytes for the same settings


@dataclass(frozen=True, kw_only=True)
class ImageProcessor:
    """Decodes a picture and stores it as (storage_px, storage_px, n_channels) uint8.

    Height, width, channels is the order of channels-last tensors, so that a batch needs no rearranging. `labels` are the
    class names in the order of the model's outputs. `levels` are those of the train pictures, so that all pictures deeper
    than 8 bits are scaled alike; a kind of values that was not in train is scaled picture by picture. `backbone` describes
    a Hugging Face network (`config`, `image_mean`, `image_std`), so that a saved model can be built again without its
    pretrained weights; None for our own.
    """

    labels: tuple[str, ...] = ()
    is_multi_label: bool = False
    storage_px: int
    n_channels: int
    aspect: Aspect = "stretch"
    levels: Levels = field(default_factory=dict)
    backbone: Mapping[str, Any] | None = None

    def fields(self) -> dict[str, Field]:
        """`pixel_values`: (storage_px, storage_px, n_channels) uint8."""
        return {"pixel_values": Field("uint8", (self.storage_px, self.storage_px, self.n_channels))}

    def encode(self, source: Source, limits: Limits) -> Example:
        """Read, decode, make square. Raises Refused."""
        content = source.read(limits.max_bytes)
        picture = decode(content, source.name, limits, at_least_px=2 * self.storage_px, levels=self.levels)
        return {"pixel_values": fit_to_square(picture.image, self.storage_px, self.aspect, self.n_channels)}

    def to_answer(self) -> Self:
        """Itself: it is the same in learning and answering."""
        return self

    def storage_fingerprint(self) -> str:
        """A hash of the size, channels, aspect, levels and the decoder's version; labels do not change what is stored."""
        stored = {
            "encoding": ENCODING,
            "decoder": decoder(),
            "px": self.storage_px,
            "channels": self.n_channels,
            "aspect": self.aspect,
            "levels": dict(self.levels),
        }
        return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `image_processor.json` into `folder`."""
        write_json(folder / FILE_NAME, {"encoding": ENCODING, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> ImageProcessor:
        """Read what `save` wrote. Raises RunError."""
        path = folder / FILE_NAME
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            encoding = value.pop("encoding")
            levels = {kind: (float(low), float(high)) for kind, (low, high) in value.get("levels", {}).items()}
            found = cls(**{**value, "labels": tuple(value["labels"]), "levels": levels})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"The picture processor in `{folder}` could not be read: {error}.") from error
        if encoding != ENCODING:
            raise RunError(
                f"The model in `{folder.parent}` is of a version of Ouvroir that turns pictures into numbers in another way "
                f"({encoding} there, {ENCODING} here), so it would not see what it learned from. Use that version, or train again."
            )
        return found

    def with_labels(self, labels: tuple[str, ...]) -> ImageProcessor:
        """A copy for other classes; what is stored does not change."""
        return replace(self, labels=labels)
