"""What text classification can be told (Options), and the recipe proposed for a set of texts, with its reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.classification import train_labels
from ouvroir.constants import ALPHA
from ouvroir.media.text import tokens
from ouvroir.media.text.processor import TextProcessor
from ouvroir.media.text.texts import characters, read_texts, train_texts, usual_length
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Note

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest

TASK = "text-classification"
FEW_TEXTS = 5000  # up to here the mean of n-grams mostly does as well
CHARACTERS_A_PIECE = 3.5  # about, of European languages
MOST_PIECES = 512  # of a text, unless the recipe says otherwise

Share = Annotated[float, Setting(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that only text classification has."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    network: Literal["blocks", "ngrams"] = setting(
        "blocks",
        "blocks: convolution and attention over pieces of words; ngrams: the mean of vectors of n-grams, far faster.",
    )
    n_pieces: Annotated[int, Setting(ge=300, le=64_000)] | None = setting(
        None, "Pieces of words that are learned; worked out from the texts."
    )
    max_pieces: Annotated[int, Setting(ge=8, le=8192)] | None = setting(
        None, "Pieces that are kept of a text, its beginning and its end; worked out from the texts."
    )
    augment: Literal["auto", "always", "never"] = setting(
        "auto", "Random changes in training; auto leaves them out when only the head learns, so the rest runs once."
    )
    piece_dropout: Share = setting(0.1, "Share of the pieces that are hidden, others each time.")
    label_smoothing: Share = setting(ALPHA.value, "Share of each target spread evenly; 1/137.")
    dropout: Share = setting(0.3, "Dropout before each layer of the head.")
    class_weights: Literal["equal", "balanced"] = setting(
        "equal", "balanced: rows of rare classes count more in the loss."
    )


def is_augmented(recipe: Recipe) -> bool:
    """Whether training texts are changed at all: see the setting `augment`."""
    options: Options = recipe.options
    return options.augment == "always" or (options.augment == "auto" and recipe.model.scope != "head")


def propose(manifest: Manifest, preset: str) -> tuple[Recipe, list[Note]]:
    """The recipe for these texts, and what was thought of in choosing it."""
    rows = [row for row in manifest.rows if row.split == "train"]
    n_characters = np.array([characters(row) for row in rows] or [0])
    notes = []
    if (n_characters > CHARACTERS_A_PIECE * MOST_PIECES).mean() > 0.02:
        notes.append(
            Note(
                "long_texts",
                f"Of longer texts the first and last pieces are read, {MOST_PIECES} in all. If what tells the classes apart "
                "stands in the middle, read more.",
                {"options.max_pieces": str(2 * MOST_PIECES)},
            )
        )
    if 0 < len(rows) < FEW_TEXTS:
        notes.append(
            Note(
                "few_texts",
                f"With {len(rows)} texts to learn from, n-grams alone often do as well as the order of the words beside them, and "
                "train in seconds.",
                {"options.network": "ngrams"},
            )
        )
    recipe = Recipe(
        task=TASK,
        data=manifest.data,
        model=recipes.Model(preset=preset),  # type: ignore[arg-type]
        options=Options(),
    )
    return scheduled(recipe, len(rows)), notes


def scheduled(recipe: Recipe, n_train: int) -> Recipe:
    """Batch, rates and length for so many texts: steps by the root of their number, and thrice as many for n-grams alone."""
    options: Options = recipe.options
    batch = 16 if n_train < 300 else 32 if n_train < 5000 else 64
    steps = float(np.clip(8 * n_train**0.5, 150, 4000))
    if options.network == "ngrams":
        found = recipe.replace("optim", lr=2e-3, weight_decay=1e-4)
        steps *= 3
    else:
        found = recipe.replace("optim", lr=2e-3, weight_decay=0.05, max_grad_norm=1.0)
    return found.replace("loop", batch_size=batch, epochs=round(steps * batch / max(1, n_train), 1))


def ngrams_alone(n_train: int) -> Recipe:
    """What is proposed for the network of n-grams alone, and so many texts."""
    return scheduled(Recipe(task="text-classification", options=Options(network="ngrams")), n_train)


def tuning(recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
    """A third of the rate, and less hidden."""
    if manifest is not None:
        proposed, _ = propose(manifest, recipe.model.preset)
        usual = scheduled(replace(recipe, optim=proposed.optim, loop=proposed.loop), len(manifest.positions("train")))
        recipe = replace(recipe, optim=usual.optim, loop=usual.loop)
    options: Options = recipe.options
    recipe = recipe.replace("optim", lr=recipe.optim.lr / 3, schedule="cosine", warmup=0.05)
    gentle = min(options.piece_dropout, Options().piece_dropout / 2)
    return replace(recipe, options=replace(options, piece_dropout=gentle))


def make_processor(manifest: Manifest, recipe: Recipe, earlier: TextProcessor | None) -> TextProcessor:
    """Labels of the train rows, pieces learned from them, or those of `earlier`."""
    options: Options = recipe.options
    labels = train_labels(manifest)
    if earlier is not None:
        return replace(earlier, labels=labels, is_multi_label=manifest.is_multi_label)
    rows, n_characters = train_texts(manifest)
    tokenizer = tokens.learn("bpe", read_texts(manifest, rows), n_characters, options.n_pieces, has_prefix=True)
    longest = options.max_pieces or usual_length(manifest, rows, tokenizer, most=MOST_PIECES)
    return TextProcessor(labels=labels, is_multi_label=manifest.is_multi_label, tokenizer=tokenizer, max_pieces=longest)
