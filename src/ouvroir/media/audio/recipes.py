"""What sound classification can be told (Options), and the recipe proposed for a set of sounds, with its reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.classification import train_labels
from ouvroir.constants import ALPHA
from ouvroir.media.audio.decode import usual_rate
from ouvroir.media.audio.processor import AudioProcessor
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Note, Row

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest

TASK = "audio-classification"
HIGHEST_HZ = 16_000  # what is said of a sound above 8 kHz rarely tells classes apart
LEAST_WINDOW_S, MOST_WINDOW_S = 0.25, 4.0
MOST_SECONDS = 60.0  # of one recording that is learned from

Share = Annotated[float, Setting(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that only sound classification has."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    inputs: Literal["mel", "mfcc", "raw"] = setting(
        "mel",
        "What the network sees: log-mel spectrograms, cepstra of these, or the raw wave through filters that it learns.",
    )
    rate: Annotated[int, Setting(ge=4000, le=48_000)] | None = setting(
        None, "Samples a second at which sounds are stored; worked out from the data, at most 16000."
    )
    window_s: Annotated[float, Setting(ge=0.1, le=30)] | None = setting(
        None, "Seconds that are heard at a time; worked out from the data. Longer sounds are heard window after window."
    )
    most_s: Annotated[float, Setting(gt=0, le=3600)] = setting(
        MOST_SECONDS,
        "Seconds of a sound, from its beginning, that are learned from and judged by; answers are for all of it.",
    )
    augment: Literal["auto", "always", "never"] = setting(
        "auto", "Random changes in training; auto leaves them out when only the head learns, so the rest runs once."
    )
    shift: Share = setting(
        0.1, "Sounds come earlier or later by up to this share of them, and by all of the silence about them."
    )
    speed: Annotated[float, Setting(ge=0, lt=0.5)] = setting(
        0.1, "Sounds are played faster or slower by up to this ratio, and are higher or lower with it."
    )
    warp: Share = setting(0.8, "Share of the sounds whose frequencies are moved, as by longer and shorter throats.")
    noise: Share = setting(0.5, "Share of the sounds that noise is put under.")
    hide: Share = setting(0.8, "Share of the spectrograms of which a run of bands and one of frames is hidden.")
    mixup: Share = setting(0.0, "Share of batches' rows blended with another row, its label too.")
    label_smoothing: Annotated[float, Setting(ge=0, lt=1)] = setting(
        ALPHA.value, "Share of each target spread evenly; 1/137."
    )
    dropout: Annotated[float, Setting(ge=0, lt=1)] = setting(0.2, "Dropout before each layer of the head.")
    class_weights: Literal["equal", "balanced"] = setting(
        "equal", "balanced: rows of rare classes count more in the loss."
    )


@dataclass(frozen=True)
class Look:
    """What the facts of the rows say of sounds. `seconds`: (N,) of the train rows."""

    seconds: np.ndarray
    rates: Counter[int]
    n_train: int


def look_at(rows: Sequence[Row]) -> Look:
    """Look at what admission noted of the train rows."""
    mine = [row for row in rows if row.split == "train"]
    seconds = np.array([float(row.details.get("seconds", 1.0)) for row in mine] or [1.0])
    return Look(seconds, Counter(int(row.details.get("rate", HIGHEST_HZ)) for row in mine), len(mine))


def window_seconds(look: Look) -> float:
    """What nearly all sounds fit into, as far as one window may reach."""
    wanted = float(np.percentile(look.seconds, 98))
    return round(float(np.clip(wanted, LEAST_WINDOW_S, MOST_WINDOW_S)), 2)


def is_augmented(recipe: Recipe) -> bool:
    """Whether training sounds are changed at all: see the setting `augment`."""
    options: Options = recipe.options
    return options.augment == "always" or (options.augment == "auto" and recipe.model.scope != "head")


def propose(manifest: Manifest, preset: str) -> tuple[Recipe, list[Note]]:
    """The recipe for these sounds, and what was thought of in choosing it."""
    look = look_at(manifest.rows)
    rate, window = usual_rate(look.rates, HIGHEST_HZ), window_seconds(look)
    notes = []
    if n := int((look.seconds > MOST_SECONDS).sum()):
        notes.append(
            Note(
                "beginnings_only",
                f"Sounds longer than {MOST_SECONDS:g} s: {n}. What comes later in them is not learned from, and not judged by.",
                {"options.most_s": f"{min(3600.0, 10 * MOST_SECONDS):g}"},
            )
        )
    if len(look.rates) > 1:
        notes.append(
            Note(
                "rates_differ",
                f"Sounds have {len(look.rates)} different rates; all are stored at {rate} samples a second.",
            )
        )
    if (look.seconds > window).mean() > 0.05:
        notes.append(
            Note(
                "long_sounds",
                f"Longer sounds are heard in windows of {window:g} s, each of which learns the label of the whole. If a label is "
                "about a short moment of a long recording, cut the moment out first.",
                {"options.window_s": f"{min(30.0, 2 * window):g}"},
            )
        )
    recipe = Recipe(
        task=TASK,
        data=manifest.data,
        model=recipes.Model(preset=preset),  # type: ignore[arg-type]
        options=Options(rate=rate, window_s=window),
    )
    return scheduled(recipe, look.n_train), notes


def scheduled(recipe: Recipe, n_train: int) -> Recipe:
    """Batch, rates and length for so many sounds."""
    batch = 16 if n_train < 400 else 32 if n_train < 2000 else 64
    steps = float(np.clip(60 * n_train**0.5, 400, 6000))
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
        name: min(getattr(options, name), getattr(usual, name) / 2) for name in ("speed", "warp", "noise", "hide")
    }
    recipe = recipe.replace("optim", lr=recipe.optim.lr / 4, schedule="cosine", warmup=0.05)
    return replace(recipe, options=replace(options, **gentle))


def make_processor(manifest: Manifest, recipe: Recipe, earlier: AudioProcessor | None) -> AudioProcessor:
    """Labels of the train rows; rate and window as the recipe says, or those of `earlier`."""
    options: Options = recipe.options
    labels = train_labels(manifest)
    if earlier is not None:
        return replace(earlier, labels=labels, is_multi_label=manifest.is_multi_label)
    look = look_at(manifest.rows)
    rate = options.rate or usual_rate(look.rates, HIGHEST_HZ)
    return AudioProcessor(
        labels=labels,
        is_multi_label=manifest.is_multi_label,
        rate=rate,
        window=round((options.window_s or window_seconds(look)) * rate),
        most_seconds=options.most_s,
    )
