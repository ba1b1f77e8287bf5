"""How one sound is opened: any container and codec, or the sound of a video, as one channel of whole numbers at one rate.

FFmpeg decodes, through PyAV. Runs in worker processes; torch is not imported.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from ouvroir.containers import explain_unopened, seconds_of_wave
from ouvroir.errors import MissingExtra, Refused
from ouvroir.source import Source
from ouvroir.task import Facts, Limits

LOOKED_AT_HZ = 16_000
"""Rate at which a sound is looked at when it is checked."""
USUAL_RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000)
LEAST_SECONDS = 0.02
MOST_SECONDS = 3600.0
BEGINNING_S = 60
_FAINT = (
    1000  # of a mixture that is louder at its loudest, 30 dB under the loudest there is, the channels are not looked at
)
_CANCELS = 32
SILENT = 10.0  # largest value of a sound that is none: 70 dB under the loudest there is
_CLIPPED = 0.005  # of the values at the limit: the microphone or the volume was too loud
_QUIET_SHARE = 0.9  # of the time
_CUT = 0.9  # of the time that a file says it lasts
KEY_BANDS, KEY_TIMES = 16, 16


@dataclass(frozen=True)
class Sound:
    """A decoded sound. samples: (n,) int16, one channel; `told_seconds`: how long its file says it is, where it does."""

    samples: np.ndarray
    rate: int
    original_rate: int
    n_channels: int
    codec: str
    told_seconds: float | None

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate


@cache
def _library() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra("Opening sounds", "audio") from error
    av.logging.set_level(None)
    return av


def decoder() -> str:
    """The version of FFmpeg's binding that decodes. Raises MissingExtra, before any file is opened in vain."""
    return f"av {_library().__version__}"


def decode(content: bytes, name: str, limits: Limits, *, rate: int, most_seconds: float = MOST_SECONDS) -> Sound:
    """Decode one channel, into which FFmpeg mixes all there are, at `rate` samples a second; no more than `most_seconds`.

    Where channels cancel each other out, as `cancels` tells, the first is taken. Raises Refused (`not_a_sound`, `no_sound`,
    `damaged`, `too_short`, `too_large`), MissingExtra.
    """
    sound = _opened(content, name, limits, rate, most_seconds, is_mixed=True)
    if sound.n_channels > 1 and _loudest(sound.samples[: BEGINNING_S * rate]) < _FAINT:
        first = _opened(content, name, limits, rate, most_seconds, is_mixed=False)
        sound = first if cancels(sound.samples, first.samples, rate) else sound
    told = seconds_of_wave(content)
    return sound if told is None else replace(sound, told_seconds=told)


def is_silent(samples: np.ndarray) -> bool:
    """Whether nothing can be heard in int16 samples."""
    return _loudest(samples) <= SILENT


def _loudest(samples: np.ndarray) -> int:
    return max(int(samples.max(initial=0)), -int(samples.min(initial=0)))


def cancels(mixed: np.ndarray, first: np.ndarray, rate: int) -> bool:
    """Whether the mixture of all channels is 30 dB fainter than the first of them: they were recorded in opposite phase.

    Told from the first minute, or from what there is of it.
    """
    n = BEGINNING_S * rate
    return _loudest(first[:n]) > max(SILENT, _CANCELS * _loudest(mixed[:n]))


def _opened(content: bytes, name: str, limits: Limits, rate: int, most_seconds: float, *, is_mixed: bool) -> Sound:
    av = _library()
    try:
        with av.open(io.BytesIO(content), mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                if container.streams.video:
                    raise Refused("no_sound", f"`{name}` holds a video without sound.")
                raise Refused("no_sound", f"`{name}` holds no sound.")
            return _decoded(av, container, name, limits, rate, most_seconds, is_mixed=is_mixed)
    except Refused:
        raise
    except av.error.InvalidDataError as error:
        explain_unopened(content, name, "not_a_sound")
        raise Refused("not_a_sound", f"`{name}` is no sound that can be read: {_told(error)}.") from error
    except (av.FFmpegError, ValueError, OverflowError, ArithmeticError, IndexError) as error:
        raise Refused("damaged", f"`{name}` could not be decoded: {_told(error)}.") from error


def _told(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def _decoded(
    av: Any, container: Any, name: str, limits: Limits, rate: int, most_seconds: float, *, is_mixed: bool
) -> Sound:
    stream = container.streams.audio[0]
    if not stream.rate or not stream.channels:
        raise Refused("damaged", f"`{name}` says that it has {stream.rate or 0} samples a second. Save it again.")
    told = _told_seconds(stream, container)
    most = min(limits.max_elements, int(most_seconds * rate))
    parts: list[np.ndarray] = []
    n = 0
    for part in _parts(av, container, stream, rate, is_mixed=is_mixed):
        parts.append(part)
        n += len(part)
        if n > limits.max_elements:
            raise Refused("too_large", f"`{name}` has more than {limits.max_elements:,} samples. Cut it into pieces.")
        if n >= most:
            break
    samples = np.concatenate([*parts, np.zeros(0, dtype=np.int16)])[:most]
    if len(samples) < LEAST_SECONDS * rate:
        raise Refused(
            "too_short",
            f"`{name}` lasts {1000 * len(samples) / rate:.0f} ms, and a sound {1000 * LEAST_SECONDS:.0f} ms at least.",
        )
    return Sound(samples, rate, int(stream.rate), int(stream.channels), str(stream.codec_context.name), told)


def _told_seconds(stream: Any, container: Any) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _parts(av: Any, container: Any, stream: Any, rate: int, *, is_mixed: bool) -> Iterator[np.ndarray]:
    """Pieces of the sound, resampled, of all channels or of the first.

    What comes before a damaged end is kept, unless nothing does.
    """
    resampler = av.AudioResampler(format="s16p", layout="mono" if is_mixed else None, rate=rate)
    is_begun = False
    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames, None)
        except av.FFmpegError:
            if not is_begun:
                raise
            frame = None
        for done in resampler.resample(frame):
            is_begun = True
            yield done.to_ndarray()[0]
        if frame is None:
            return


def inspect_sound(source: Source, limits: Limits) -> Facts:
    """One look at a sound. Raises Refused, `silent` among the codes."""
    content = source.read(limits.max_bytes)
    sound = decode(content, source.name, limits, rate=LOOKED_AT_HZ)
    level = np.abs(sound.samples.astype(np.int32))
    if level.max() <= SILENT:
        raise Refused("silent", f"`{source.name}` is silent for all of its {sound.seconds:.1f} s.")
    return Facts(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        near_key=near_key(sound.samples),
        details={
            "seconds": round(sound.seconds, 3),
            "rate": sound.original_rate,
            "channels": sound.n_channels,
            "codec": sound.codec,
        },
        notes=tuple(_oddities(source.name, sound, level)),
    )


def _oddities(name: str, sound: Sound, level: np.ndarray) -> Iterator[str]:
    told = sound.told_seconds
    if told is not None and sound.seconds < _CUT * min(told, MOST_SECONDS):
        yield f"`{name}` ends after {sound.seconds:.1f} s, and says that it lasts {told:.1f} s. It was probably cut."
    if (level >= 32_767).mean() > _CLIPPED:
        yield f"`{name}` is clipped: it was recorded too loud, and its peaks are flat."
    n = max(1, sound.rate // 10)
    frames = level[: len(level) // n * n].reshape(-1, n)
    if len(frames) > 1 and (frames.max(axis=1) <= SILENT).mean() > _QUIET_SHARE:
        yield f"`{name}` is silent for most of its {sound.seconds:.1f} s."
    if sound.seconds >= MOST_SECONDS:
        yield f"`{name}` is longer than an hour; only the first hour is looked at."


def near_key(samples: np.ndarray) -> np.ndarray:
    """(bands · KEY_TIMES,) float32, at most KEY_BANDS: how loud each band is in each part of the sound, in dB about the means.

    Loudness, format and small noise change it little; another recording of the same word changes it much.
    """
    size = 512
    padded = np.pad(samples.astype(np.float32), (0, max(0, size * KEY_TIMES - len(samples))))
    starts = np.linspace(0, len(padded) - size, 8 * KEY_TIMES).astype(np.int64)
    frames = padded[starts[:, None] + np.arange(size)] * np.hanning(size).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2  # (times, bins)
    edges = np.unique(np.geomspace(2, power.shape[1], KEY_BANDS + 1).astype(np.int64))
    bands = np.add.reduceat(power, edges[:-1], axis=1)
    bands = bands.reshape(KEY_TIMES, 8, -1).mean(axis=1)
    loud = 10 * np.log10(bands + 1e-5 * bands.max() + 1e-3)
    centred = loud - loud.mean(axis=0, keepdims=True) - loud.mean(axis=1, keepdims=True) + loud.mean()
    found: np.ndarray = centred.astype(np.float32).ravel()
    return found


def usual_rate(rates: Mapping[int, int], most: int) -> int:
    """The rate to store sounds at, of those usual: the least that is no lower than the highest which a tenth of them have."""
    total = sum(rates.values())
    wanted = max((rate for rate, n in rates.items() if n >= total / 10), default=most)
    return min((rate for rate in USUAL_RATES if wanted <= rate <= most), default=most)
