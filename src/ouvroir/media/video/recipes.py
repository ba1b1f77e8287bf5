"""What video classification can be told (Options), and the recipe proposed for a set of videos, with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.classification import train_labels
from ouvroir.constants import ALPHA
from ouvroir.media.video.decode import MOST_FPS
from ouvroir.media.video.processor import VideoProcessor
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Note, Row

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest

TASK = "video-classification"
LEAST_FRAMES, MOST_FRAMES = 4, 16  # of a clip
LEAST_FPS = 4.0
USUAL_PX = 48
MOST_SECONDS = 60.0  # of one video that are learned from

Share = Annotated[float, Setting(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that only video classification has."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    fps: Annotated[float, Setting(gt=0, le=MOST_FPS)] | None = setting(
        None, "Frames a second at which videos are stored; worked out from the data, at most 10."
    )
    n_frames: Annotated[int, Setting(ge=2, le=64)] | None = setting(
        None, "Frames that are seen at a time; worked out from the data. Longer videos are seen clip after clip."
    )
    storage_px: Annotated[int, Setting(ge=16, le=224)] = setting(
        USUAL_PX, "Edge of the squares that frames are stored as."
    )
    most_s: Annotated[float, Setting(gt=0, le=3600)] = setting(
        MOST_SECONDS,
        "Seconds of a video, from its beginning, that are learned from and judged by; answers are for all of it.",
    )
    motion: bool = setting(
        True, "Lay beside what is seen which way each place moves from frame to frame, worked out and not learned."
    )
    augment: Literal["auto", "always", "never"] = setting(
        "auto", "Random changes in training; auto leaves them out when only the head learns, so the rest runs once."
    )
    flip: bool = setting(False, "Mirror half of the videos in training; not where a direction is what is learned.")
    shift: Share = setting(0.1, "Pictures are moved by up to this share of their edge.")
    zoom: Share = setting(0.1, "Pictures are made larger or smaller by up to this ratio.")
    light: Share = setting(
        0.2, "Pictures are made brighter or darker, and of more or less contrast, by up to this share."
    )
    speed: Share = setting(0.1, "Clips are played faster or slower, and begun earlier or later, by up to this ratio.")
    label_smoothing: Share = setting(ALPHA.value, "Share of each target spread evenly; 1/137.")
    dropout: Share = setting(0.2, "Dropout before each layer of the head.")
    class_weights: Literal["equal", "balanced"] = setting(
        "equal", "balanced: rows of rare classes count more in the loss."
    )


@dataclass(frozen=True)
class Look:
    """What the facts of the rows say of videos: (N,) of the train rows."""

    seconds: np.ndarray
    fps: np.ndarray
    n_train: int


def look_at(rows: Sequence[Row]) -> Look:
    """Look at what admission noted of the train rows."""
    mine = [row for row in rows if row.split == "train"]
    seconds = np.array([float(row.details.get("seconds", 1.0)) for row in mine] or [1.0])
    fps = np.array([float(row.details.get("fps", MOST_FPS)) for row in mine] or [MOST_FPS])
    return Look(seconds, fps, len(mine))


def sampling(look: Look, most_frames: int = MOST_FRAMES) -> tuple[float, int]:
    """(frames a second, frames of a clip): nearly all of a video in one clip where that is possible at LEAST_FPS or more."""
    seconds = float(np.percentile(look.seconds, 90))
    most = float(np.clip(np.median(look.fps), 1.0, MOST_FPS))
    fps = round(float(np.clip(most_frames / seconds, min(LEAST_FPS, most), most)), 2)
    return fps, int(np.clip(round(seconds * fps), LEAST_FRAMES, most_frames))


def is_augmented(recipe: Recipe) -> bool:
    """Whether training videos are changed at all: see the setting `augment`."""
    options: Options = recipe.options
    return options.augment == "always" or (options.augment == "auto" and recipe.model.scope != "head")


def propose(manifest: Manifest, preset: str) -> tuple[Recipe, list[Note]]:
    """The recipe for these videos, and what was thought of in choosing it."""
    look = look_at(manifest.rows)
    fps, n_frames = sampling(look)
    notes = []
    if n := int((look.seconds > MOST_SECONDS).sum()):
        notes.append(
            Note(
                "beginnings_only",
                f"Videos longer than {MOST_SECONDS:g} s: {n}. What comes later in them is not learned from, and not judged by.",
                {"options.most_s": f"{min(3600.0, 10 * MOST_SECONDS):g}"},
            )
        )
    if (look.seconds > 1.1 * n_frames / fps).mean() > 0.05:
        notes.append(
            Note(
                "long_videos",
                f"Longer videos are seen in clips of {n_frames / fps:.1f} s, each of which learns the label of the whole. If a "
                "label is about a short moment of a long video, cut the moment out first.",
                {"options.fps": f"{max(1.0, fps / 2):g}"},
            )
        )
    recipe = Recipe(
        task=TASK,
        data=manifest.data,
        model=recipes.Model(preset=preset),  # type: ignore[arg-type]
        options=Options(fps=fps, n_frames=n_frames),
    )
    return scheduled(recipe, look.n_train), notes


def scheduled(recipe: Recipe, n_train: int) -> Recipe:
    """Batch, rates and length for so many videos."""
    batch = 8 if n_train < 100 else 16 if n_train < 2000 else 32
    steps = float(np.clip(40 * n_train**0.5, 300, 4000))
    found = recipe.replace("optim", lr=2e-3, weight_decay=0.05, max_grad_norm=5.0, ema=0.99)
    return found.replace("loop", batch_size=batch, epochs=round(steps * batch / max(1, n_train), 1))


def tuning(recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
    """A quarter of the rate, falling, and changes half as wide."""
    if manifest is not None:
        proposed, _ = propose(manifest, recipe.model.preset)
        recipe = replace(recipe, optim=proposed.optim, loop=proposed.loop)
    options: Options = recipe.options
    usual = Options()
    gentle = {
        name: min(getattr(options, name), getattr(usual, name) / 2) for name in ("shift", "zoom", "light", "speed")
    }
    recipe = recipe.replace("optim", lr=recipe.optim.lr / 4, schedule="cosine", warmup=0.05)
    return replace(recipe, options=replace(options, **gentle))


def make_processor(manifest: Manifest, recipe: Recipe, earlier: VideoProcessor | None) -> VideoProcessor:
    """Labels of the train rows; sampling and size as the recipe says, or those of `earlier`."""
    options: Options = recipe.options
    labels = train_labels(manifest)
    if earlier is not None:
        return replace(earlier, labels=labels, is_multi_label=manifest.is_multi_label)
    fps, n_frames = sampling(look_at(manifest.rows))
    return VideoProcessor(
        labels=labels,
        is_multi_label=manifest.is_multi_label,
        fps=options.fps or fps,
        n_frames=options.n_frames or n_frames,
        storage_px=options.storage_px,
        most_seconds=options.most_s,
    )
