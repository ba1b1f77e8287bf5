"""How one video is opened: any container and codec, frames sampled by time, as small squares of colour.

FFmpeg decodes, through PyAV. Runs in worker processes; torch is not imported.

Axes: T frames, H and W height and width.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Any

import numpy as np

from ouvroir.containers import explain_unopened
from ouvroir.errors import MissingExtra, Refused
from ouvroir.media import IMAGE_SUFFIXES
from ouvroir.source import FOLDER, Source
from ouvroir.task import Facts, Limits

MOST_FPS = 10.0  # at which clips are stored
FOLDER_FPS = 10.0  # of frames that lie as pictures in a folder, which says nothing of their time
USUAL_FPS = 25.0  # of a file that says neither its rate nor the time of a frame
LOOKED_AT_PX = 16
MOST_SECONDS = 3600.0
LEAST_FRAMES = 2
STILL = 0.5  # mean change of a level, of 255, from one frame to the next, that is none
_FORMATS = tuple("PNG JPEG BMP GIF TIFF WEBP PPM TGA AVIF JPEG2000 PCX ICO".split())  # no decoder that starts a program
_TOPS = (1, 255, 4095, 65535)  # of numbers with a point, and the greatest values of 12 and 16 bits
_CUT = 0.9  # of the time that a file says it lasts
_KEY_TIMES, _KEY_PX = 8, 8
_NOISE = 3.0  # of 255: changes much smaller than this are what compression leaves, and no movement


@dataclass(frozen=True)
class Clip:
    """A decoded video. frames: (T, H, W, 3) uint8, `fps` a second; what the file says of itself; n_decoded frames in all."""

    frames: np.ndarray
    fps: float
    original_fps: float
    width: int
    height: int
    codec: str
    n_decoded: int
    seconds: float
    told_seconds: float | None


@cache
def _library() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra("Opening videos", "video") from error
    av.logging.set_level(None)
    return av


def decoder() -> str:
    """The version of FFmpeg's binding that decodes. Raises MissingExtra, before any file is opened in vain."""
    return f"av {_library().__version__}"


def decode(
    content: bytes,
    name: str,
    limits: Limits,
    *,
    fps: float,
    px: int,
    most_seconds: float = MOST_SECONDS,
    is_folder: bool = False,
) -> Clip:
    """Decode `fps` frames a second, each the one shown at that time, as squares of `px`; no more than `most_seconds`.

    `is_folder`: the content is that of a folder of pictures, which follow each other FOLDER_FPS a second. Raises Refused
    (`not_a_film`, `no_film`, `damaged`, `too_short`, `too_large`), MissingExtra.
    """
    if is_folder:
        return _pictures(content, name, limits, fps=fps, px=px, most_seconds=most_seconds)
    av = _library()
    try:
        with av.open(io.BytesIO(content), mode="r", metadata_errors="ignore") as container:
            if not container.streams.video:
                if container.streams.audio:
                    raise Refused("no_film", f"`{name}` holds sound without a picture.")
                raise Refused("no_film", f"`{name}` holds no video.")
            return _decoded(av, container, name, limits, fps, px, most_seconds)
    except Refused:
        raise
    except av.error.InvalidDataError as error:
        explain_unopened(content, name, "not_a_film")
        raise Refused("not_a_film", f"`{name}` is no video that can be read: {_told(error)}.") from error
    except (av.FFmpegError, ValueError, OverflowError, ArithmeticError, IndexError, MemoryError) as error:
        raise Refused("damaged", f"`{name}` could not be decoded: {_told(error)}.") from error


def _pictures(content: bytes, name: str, limits: Limits, *, fps: float, px: int, most_seconds: float) -> Clip:
    """Frames that lie in files of their own; only those that are looked at are opened."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [one for one in archive.namelist() if PurePath(one).suffix.lower() in IMAGE_SUFFIXES]
        if len(names) < LEAST_FRAMES:
            raise Refused("too_short", f"Frames in `{name}`: {len(names)}. A video has {LEAST_FRAMES} at least.")
        most = max(1, min(round(most_seconds * fps), limits.max_elements // (3 * px * px)))
        seconds = len(names) / FOLDER_FPS
        n = min(most, max(1, math.ceil(seconds * fps - 1e-6)))
        places = [min(len(names) - 1, int(place * FOLDER_FPS / fps + 1e-6)) for place in range(n)]
        opened = {
            place: _picture(archive.read(names[place]), f"{name}/{names[place]}", limits, px)
            for place in dict.fromkeys(places)
        }
    levels = _in_8_bits({place: values for place, (values, _) in opened.items()})
    frames = np.stack([levels[place] for place in places])
    width, height = opened[places[0]][1]
    return Clip(frames, fps, FOLDER_FPS, width, height, "pictures", len(names), seconds, None)


def _in_8_bits(opened: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Frames as (px, px, 3) uint8. Those of deeper values, (px, px), are scaled alike: by 12 bits if these hold them all, else 16.

    Numbers with a point reach to 1, or to 255.
    """
    highest = max((float(values.max()) for values in opened.values() if values.ndim == 2), default=0.0)
    is_whole = all((values % 1 == 0).all() for values in opened.values() if values.ndim == 2)
    top = next((top for top in _TOPS[2 if is_whole else 0 :] if highest <= top), highest)
    return {
        place: values
        if values.ndim == 3
        else np.repeat((values * (255 / top)).clip(0, 255).round().astype(np.uint8)[:, :, None], 3, axis=2)
        for place, values in opened.items()
    }


def _picture(content: bytes, name: str, limits: Limits, px: int) -> tuple[np.ndarray, tuple[int, int]]:
    """(px, px, 3) uint8 of one file, or (px, px) float32 where its values are deeper than 8 bits; and its width and height."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if 3 * image.width * image.height > limits.max_elements:
                raise Refused("too_large", f"`{name}` has {image.width} x {image.height} pixels. Make them smaller.")
            turned = ImageOps.exif_transpose(image)
            turned = turned.convert("F" if turned.mode.startswith("I") or turned.mode == "F" else "RGB")
            return np.nan_to_num(np.asarray(turned.resize((px, px), Image.Resampling.BOX))), turned.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Refused("damaged", f"`{name}` could not be decoded: {_told(error)}.") from error


def _told(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def _decoded(av: Any, container: Any, name: str, limits: Limits, fps: float, px: int, most_seconds: float) -> Clip:
    stream = container.streams.video[0]
    width, height = int(stream.codec_context.width), int(stream.codec_context.height)
    if 3 * width * height > limits.max_elements:
        raise Refused("too_large", f"`{name}` has frames of {width} x {height} pixels. Make them smaller.")
    stream.codec_context.thread_count = 1  # files are opened side by side
    rate = float(stream.average_rate or stream.guessed_rate or USUAL_FPS)
    told = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    if told is None and container.duration:
        told = container.duration / 1e6
    kept: list[np.ndarray] = []
    most = max(1, min(round(most_seconds * fps), limits.max_elements // (3 * px * px)))
    n_decoded, last, begun, before, is_turned = 0, 0.0, None, None, False
    for frame in _frames(av, container, stream):
        is_turned = bool(turns_of(frame) % 2)
        at = float(frame.time) if frame.time is not None else n_decoded / rate
        begun = at if begun is None else begun
        n_decoded += 1
        last = max(last, at - begun)
        if before is not None:  # was shown until now
            while len(kept) < most and len(kept) / fps < at - begun - 1e-6:
                kept.append(before if isinstance(before, np.ndarray) else (before := square(before, px)))
        if len(kept) >= most:
            before = None
            break
        before = frame
    while before is not None and len(kept) < most and len(kept) / fps < last + 1 / rate - 1e-6:
        kept.append(before if isinstance(before, np.ndarray) else (before := square(before, px)))
    if n_decoded < LEAST_FRAMES:
        raise Refused("too_short", f"Frames in `{name}`: {n_decoded}. A video has {LEAST_FRAMES} at least.")
    if is_turned:
        width, height = height, width
    seconds = last + 1 / rate
    codec = str(stream.codec_context.name)
    return Clip(np.stack(kept), fps, round(rate, 3), width, height, codec, n_decoded, seconds, told)


def _frames(av: Any, container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames. What comes before a damaged end is kept, unless nothing does."""
    is_begun = False
    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except av.FFmpegError:
            if not is_begun:
                raise
            return
        is_begun = True
        yield frame


def square(frame: Any, px: int) -> np.ndarray:
    """(px, px, 3) uint8, turned as the file says it was held."""
    small = frame.reformat(width=px, height=px, format="rgb24", interpolation="AREA").to_ndarray()
    turns = turns_of(frame)
    return np.ascontiguousarray(np.rot90(small, turns)) if turns else small


def turns_of(frame: Any) -> int:
    """Quarter turns, against the clock, that the file says a frame needs."""
    return round(float(getattr(frame, "rotation", 0) or 0) / 90) % 4


def inspect_video(source: Source, limits: Limits) -> Facts:
    """One look at a video. Raises Refused."""
    content = source.read(limits.max_bytes)
    is_folder = source.locator.endswith(FOLDER)
    clip = decode(content, source.name, limits, fps=MOST_FPS, px=LOOKED_AT_PX, is_folder=is_folder)
    return Facts(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        near_key=near_key(clip.frames),
        details={
            "seconds": round(clip.seconds, 3),
            "fps": clip.original_fps,
            "frames": clip.n_decoded,
            "width": clip.width,
            "height": clip.height,
            "codec": clip.codec,
        },
        notes=tuple(_oddities(source.name, clip)),
    )


def _oddities(name: str, clip: Clip) -> Iterator[str]:
    told = clip.told_seconds
    is_whole = len(clip.frames) < MOST_SECONDS * MOST_FPS
    if is_whole and told is not None and clip.seconds < _CUT * told:
        yield f"`{name}` ends after {clip.seconds:.1f} s, and says that it lasts {told:.1f} s. It was probably cut."
    levels = clip.frames.astype(np.int16)
    if len(levels) > 1 and np.abs(np.diff(levels, axis=0)).mean(axis=(1, 2, 3)).max() < STILL:
        yield f"`{name}` shows the same picture all the time."
    if not is_whole:
        yield f"`{name}` is longer than an hour; only the first hour is looked at."


def near_key(frames: np.ndarray) -> np.ndarray:
    """((_KEY_TIMES + 1) · _KEY_PX²,) float32: how the picture differs from its own mean at some times, and a little of that mean.

    Another scene of the same fixed camera has the same mean and another movement, so it is no near-duplicate.
    """
    grey = frames.astype(np.float32).mean(axis=3)
    places = np.linspace(0, len(grey) - 1, _KEY_TIMES).round().astype(np.int64)
    edge = grey.shape[1] // _KEY_PX
    small = grey[places].reshape(_KEY_TIMES, _KEY_PX, edge, _KEY_PX, edge).mean(axis=(2, 4))
    mean = small.mean(axis=0)
    moved = (small - mean).ravel()
    still = (mean - mean.mean()).ravel()
    moved = moved / np.sqrt((moved**2).sum() + moved.size * _NOISE**2)
    still = still / np.sqrt((still**2).sum() + still.size * _NOISE**2)
    found: np.ndarray = np.concatenate([0.95 * moved, 0.3 * still]).astype(np.float32)
    return found
