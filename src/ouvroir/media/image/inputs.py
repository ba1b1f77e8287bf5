"""What a person hands in as a picture: a path, bytes, a PIL image or an array. All become a Source, as of a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ouvroir.errors import Refused, UsageError
from ouvroir.media.image.decode import kind_of_values, upright
from ouvroir.source import Source, source_of
from ouvroir.task import Input

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


def as_source(given: Input) -> Source:
    """What a person hands in as a Source. Raises UsageError for anything that is no picture, Refused for a bad array."""
    from PIL import Image

    if isinstance(given, Source | str | Path | bytes):
        return source_of(given)
    if isinstance(given, np.ndarray):
        given = _image_of(given)
    if isinstance(given, Image.Image):
        given, _ = upright(given, "input", [])
        file = io.BytesIO()
        if kind_of_values(given.mode):
            given.save(file, "TIFF")  # keeps 32 bits and floats
        else:
            (given if given.mode in _PNG_MODES else given.convert("RGB")).save(file, "PNG")
        return Source(root="", locator="", content=file.getvalue())
    raise UsageError(f"A {type(given).__name__} is not a picture. Give a path, bytes, a PIL image or a uint8 array.")


def _image_of(array: np.ndarray) -> Any:
    from PIL import Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        reason = f"An array of {array.dtype} and shape {array.shape} is not a picture; give uint8, (H, W) or (H, W, 3)."
        raise Refused("not_a_picture", reason)
    return Image.fromarray(array)
