"""Moving shapes to try things on: what moves how is the class, so that one frame is not enough.

They exist for trying and for tests; results on them say nothing of real videos. Colours, sizes, backgrounds and places differ from
one scene to the next and tell nothing of the class.

Axes: T frames, H and W height and width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ouvroir.data.listing import mark_as_made
from ouvroir.media.video.encode import as_mp4

FPS, SECONDS = 10, 2.0
WIDTH, HEIGHT = 80, 64
N_CLIPS = 60  # of each move: as many as a trial of synthetic data needs in the test
MOVES = ("drifts_left", "drifts_right", "pulses_fast", "pulses_slowly", "sways")


def clip_of(move: str, scene: int, take: int, *, seed: int = 0) -> np.ndarray:
    """(T, H, W, 3) uint8: a shape of `scene` that makes `move`, a little different each take."""
    look = np.random.Generator(np.random.PCG64([seed, scene]))
    rng = np.random.Generator(np.random.PCG64([seed, scene, take, MOVES.index(move) + 1]))
    times = np.arange(round(FPS * SECONDS)) / FPS
    ground, colour = _colours(look)
    is_round, size = bool(look.integers(2)), look.uniform(7, 11)
    middle, height = rng.uniform(0.35, 0.65) * WIDTH, rng.uniform(0.3, 0.7) * HEIGHT
    across, radius = np.full(len(times), middle), np.full(len(times), size)
    if move.startswith("drifts"):
        speed = rng.uniform(14, 24) * (-1 if move == "drifts_left" else 1)
        across = middle + speed * (times - SECONDS / 2)
    elif move.startswith("pulses"):
        hertz = rng.uniform(1.6, 2.2) if move == "pulses_fast" else rng.uniform(0.5, 0.75)
        radius = size * (1 + 0.45 * np.sin(2 * np.pi * (hertz * times + rng.uniform())))
    else:
        hertz = rng.uniform(0.8, 1.2)
        across = middle + 14 * np.sin(2 * np.pi * (hertz * times + rng.uniform()))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    far = [np.abs(x - at) ** (2 if is_round else 8) + np.abs(y - height) ** (2 if is_round else 8) for at in across]
    away = np.stack([one ** (1 / (2 if is_round else 8)) for one in far]) - radius[:, None, None]
    cover = np.clip(0.5 - away, 0, 1)[..., None]
    picture = cover * colour + (1 - cover) * ground
    picture = picture + rng.normal(0, 3, picture.shape)
    found: np.ndarray = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return found


def _colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Background (H, W, 3), a soft gradient, and a colour (3,) that is well apart from it."""
    first, second = rng.uniform(20, 235, 3), rng.uniform(20, 235, 3)
    ramp = np.linspace(0, 1, WIDTH)[None, :, None] * np.ones((HEIGHT, 1, 1))
    ground = first * (1 - ramp) + (0.5 * first + 0.5 * second) * ramp
    mean = ground.mean(axis=(0, 1))
    return ground, np.where(mean > 128, mean - rng.uniform(80, 120, 3), mean + rng.uniform(80, 120, 3))


def write_shapes(folder: Path, *, n_clips: int = N_CLIPS) -> int:
    """Write `n_clips` of each move, each in a scene of its own, as folder/move/scene000.mp4. Returns the number of files."""
    for place, move in enumerate(MOVES):
        (folder / move).mkdir(parents=True, exist_ok=True)
        for number in range(n_clips):
            scene = number * len(MOVES) + place
            (folder / move / f"scene{scene:03d}.mp4").write_bytes(as_mp4(clip_of(move, scene, 0), FPS))
    mark_as_made(folder)
    return n_clips * len(MOVES)
