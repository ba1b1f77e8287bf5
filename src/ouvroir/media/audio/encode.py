"""How waves become files: WAV, MP3 for pages, and pictures of their spectrograms."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

_BITS_A_SECOND = 32_000
_QUIETEST_DB = -60.0  # of the loudest place of a picture
_PAPER, _INK, _LIGHT = (246, 244, 238), (24, 54, 104), (232, 132, 62)


def as_mp3(samples: np.ndarray, rate: int) -> bytes:
    """Samples (n,) int16 of one channel as an MP3 file: a tenth of what they take as WAV, and played everywhere."""
    import av

    file = io.BytesIO()
    with av.open(file, mode="w", format="mp3") as container:
        stream: Any = container.add_stream("libmp3lame", rate=rate)
        stream.layout, stream.bit_rate = "mono", _BITS_A_SECOND
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate)
        for given in (frame, None):
            for done in resampler.resample(given):
                container.mux(stream.encode(done))
        container.mux(stream.encode())
    return file.getvalue()


def spectrogram(samples: np.ndarray, rate: int, *, width: int, height: int) -> bytes:
    """A PNG of how loud each frequency is at each time, low ones below, spaced as the ear does (mel)."""
    from PIL import Image

    size = 512
    padded = np.pad(samples.astype(np.float32), (size // 2, size))
    starts = np.linspace(0, max(1, len(samples)), 2 * width, endpoint=False).astype(np.int64)
    power = np.abs(np.fft.rfft(padded[starts[:, None] + np.arange(size)] * np.hanning(size), axis=1)) ** 2
    top = 2595 * np.log10(1 + rate / 2 / 700)
    hz = 700 * (10 ** (np.linspace(0, top, 2 * height) / 2595) - 1)
    at = hz / (rate / size)
    below = np.clip(at.astype(np.int64), 0, power.shape[1] - 2)
    share = (at - below).clip(0, 1)
    seen = power[:, below] * (1 - share) + power[:, below + 1] * share
    loud = 10 * np.log10(seen / max(float(seen.max()), 1.0) + 1e-9)
    level = ((loud - _QUIETEST_DB) / -_QUIETEST_DB).clip(0, 1).T[::-1]
    picture = Image.fromarray(np.uint8(255 * level)).resize((width, height), Image.Resampling.BOX)
    quantised = picture.point(lambda value: value // 8 * 8)  # half the bytes, and no eye sees it
    quantised.putpalette(_palette())
    file = io.BytesIO()
    quantised.save(file, "PNG", optimize=True)
    return file.getvalue()


def _palette() -> list[int]:
    """256 colours, paper for silence, ink, and light for what is loudest."""
    stops = np.array([_PAPER, _INK, _LIGHT], dtype=np.float64)
    place = np.linspace(0, 2, 256)
    found = np.stack([np.interp(place, [0, 1.3, 2], stops[:, colour]) for colour in range(3)], axis=1)
    return [int(value) for value in found.round().ravel()]


def as_wav(samples: np.ndarray, rate: int, facts: dict[str, str] | None = None) -> bytes:
    """A WAV file of 16 bits and one channel; `facts` become its INFO chunk (RIFF; Microsoft and IBM 1991).

    samples: (n,) int16. Keys of facts are the four letters of such chunks: ICMT for a comment, ISFT for software.
    """
    body = samples.astype("<i2").tobytes()
    chunks = [
        b"fmt " + _le(16, 4) + _le(1, 2) + _le(1, 2) + _le(rate, 4) + _le(2 * rate, 4) + _le(2, 2) + _le(16, 2),
        b"data" + _le(len(body), 4) + body + b"\0" * (len(body) % 2),
    ]
    if facts:
        told = b"".join(_info(name, text) for name, text in facts.items())
        chunks.insert(1, b"LIST" + _le(4 + len(told), 4) + b"INFO" + told)
    whole = b"WAVE" + b"".join(chunks)
    return b"RIFF" + _le(len(whole), 4) + whole


def _info(name: str, text: str) -> bytes:
    content = text.encode("utf-8") + b"\0"
    return name.encode("ascii") + _le(len(content), 4) + content + b"\0" * (len(content) % 2)


def _le(value: int, n_bytes: int) -> bytes:
    return value.to_bytes(n_bytes, "little")
