"""Memory of checking, packing and training on more than 4 GB of sounds and of videos, made for it."""

from __future__ import annotations

import io
import shutil
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Options, Result
from benchmarks.media import size_of
from benchmarks.packing import FEW, Peak, child_of, told_by

N_SOUNDS, SOUND_S = 4_500, 30.0  # of 0.96 MB each
N_FILMS, FILM_FRAMES = 400, 40  # of 12 MB each
MEMORY_STEPS = 30


def measure(options: Options) -> Result:
    """Sounds, then videos."""
    result = Result(
        name="memory",
        title="Memory on large sets of sounds and videos",
        about=(
            "Recordings of half a minute at 16 kHz; videos of 4 s, 640 x 480, as a camera's motion JPEG. Anonymous memory "
            "(RssAnon), summed over all processes, looked at every 50 ms, while checking, packing and "
            f"{MEMORY_STEPS} steps."
        ),
        settings={"steps": MEMORY_STEPS},
    )
    with harness.workplace() as folder:
        for what, write, n in (("sounds", write_sounds, N_SOUNDS), ("videos", write_films, N_FILMS)):
            memory(result, what, write, 6 if options.is_quick else n, folder)
    return result


def write_sounds(folder: Path, n: int) -> Path:
    """Recordings of half a minute at 16 kHz, each of its own noise and tone."""
    times = np.arange(round(SOUND_S * 16_000)) / 16_000
    noise = np.random.default_rng(0).normal(0, 800, 2 * len(times))
    for number in range(n):
        label = ("low", "high")[number % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        begin = rng.integers(len(times))
        tone = 6000 * np.sin(2 * np.pi * (rng.uniform(200, 300) + 900 * (number % 2)) * times)
        with wave.open(str(folder / label / f"{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes((tone + noise[begin : begin + len(times)]).astype("<i2").tobytes())
    return folder


def write_films(folder: Path, n: int) -> Path:
    """Videos of 4 s as a camera's motion JPEG: noise, which no coder makes small, that drifts one way or the other."""
    import av

    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    for number in range(n):
        label = ("left", "right")[number % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        with av.open(file, mode="w", format="avi") as container:
            stream: Any = container.add_stream("mjpeg", rate=10, options={"qmin": "2", "qmax": "2"})
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
            shown = np.roll(noise, 37 * number, axis=(0, 1)[number % 2])
            for place in range(FILM_FRAMES):
                moved = np.roll(shown, (1 if label == "right" else -1) * 8 * place, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
            container.mux(stream.encode())
        (folder / label / f"{number}.avi").write_bytes(file.getvalue())
    return folder


def memory(result: Result, what: str, write: Callable[[Path, int], Path], n: int, folder: Path) -> None:
    """Peak anonymous memory of everything that check, pack and training start, on more than 4 GB."""
    data = write(folder / f"many {what}", n)
    n_bytes = size_of(data)
    child = child_of(data, folder, MEMORY_STEPS, *FEW)
    peak = Peak(child.pid)
    told = told_by(child)
    found = peak.stop()
    title = f"{n:,} {what} of {n_bytes / 1e9:.1f} GB"
    result.add(f"{title}: checked, packed and the first step done after", told["first_step_s"], "s")
    result.add(f"{title}: checked and packed", n_bytes / told["first_step_s"] / 1e6, "MB/s")
    result.add(f"{title}: peak anonymous memory, all processes", found.highest / 1e6, "MB", at_most=2000)
    shutil.rmtree(data)


if __name__ == "__main__":
    harness.run(measure)
