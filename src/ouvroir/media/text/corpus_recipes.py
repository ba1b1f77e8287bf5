"""Options of text generation, and what is proposed for a corpus or for texts of classes: rates, lengths, sizes of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.constants import ALPHA, ZETA
from ouvroir.errors import DataError, UsageError
from ouvroir.making import train_classes
from ouvroir.media.text import tokens
from ouvroir.media.text.corpus import CorpusProcessor
from ouvroir.media.text.rewriting import words_alike
from ouvroir.media.text.texts import characters, read_texts, train_texts, usual_length
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Note, Row

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest

TASK = "text-generation"
LONGEST_WRITTEN = 400  # pieces, unless the recipe says otherwise
CONTEXTS = {"characters": 128, "bytes": 128, "bpe": 64}
"""Pieces of a corpus that are read at a time."""
LEAST_CHARACTERS = 500  # of a corpus
MOST_READ = 10_000_000  # characters, all passes together, unless one pass is more
LSTM_SIZES = {"tiny": (128, 1), "small": (384, 1), "base": (640, 2)}
"""Width and number of layers."""
DECODER_SIZES = {"tiny": (64, 2, 2), "small": (128, 4, 4), "base": (320, 4, 5)}
"""Width, layers and heads: about as many weights as an LSTM of the same name has."""

Share = Annotated[float, Setting(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that only text generation has."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    network: Literal["lstm", "transformer"] = setting(
        "lstm",
        "lstm: a state that goes on for ever; transformer: attention to the pieces before, as far as the context reaches.",
    )
    tokenizer: tokens.Kind = setting("bpe", "bpe: pieces of words, learned; characters: one by one; bytes: of UTF-8.")
    n_pieces: Annotated[int, Setting(ge=300, le=64_000)] | None = setting(
        None, "Size of the vocabulary: pieces of words or characters, with all single bytes; worked out from the texts."
    )
    context: Annotated[int, Setting(ge=8, le=8192)] | None = setting(
        None, "Pieces that are read at a time, each predicted from those before it; worked out from the texts."
    )
    max_pieces: Annotated[int, Setting(ge=8, le=8192)] | None = setting(
        None, "Pieces of the longest text that is made; worked out from the texts."
    )
    label_dropout: Share = setting(
        0.1, "Share of the texts that are learned from without their class, so that texts of no class can be made too."
    )
    dropout: Share = setting(
        0.3, "Dropout between the layers, the same at each piece of a text; a corpus without classes gets 0.1."
    )
    weight_drop: Share = setting(
        0.0, "Share of the weights from state to state of an LSTM that is left out at each step."
    )
    temperature: Annotated[float, Setting(gt=0)] = setting(
        1.0, "Below 1 the likely pieces are drawn more often than they occur."
    )
    top_p: Annotated[float, Setting(gt=0, le=1)] = setting(
        0.95, "Each piece is drawn from the most likely ones that together have this probability."
    )


def constants(options: Options) -> dict[str, str]:
    """The constants that act in such a model, and what each does there."""
    if options.network == "lstm":
        return {"phi": "Vectors of pieces are as wide as the state divided by φ².", "zeta": ZETA.use}
    return {
        "phi": "Feed-forward layers are 5/3 · φ times as wide as the vectors between them.",
        "pi": "Temperature of attention: logits are q·k/π, with queries and keys as they are.",
        "alpha": ALPHA.use,
        "zeta": ZETA.use,
    }


def propose(manifest: Manifest, preset: str, init_from: str) -> Recipe:
    """The recipe proposed for these texts."""
    has_classes = bool(train_classes(manifest))
    chosen = Recipe(
        task=TASK,
        data=manifest.data,
        model=recipes.Model(preset=preset, init_from=init_from),  # type: ignore[arg-type]
        options=Options(dropout=0.3 if has_classes else 0.1),
    )
    return suited(chosen, manifest)


def suited(recipe: Recipe, manifest: Manifest) -> Recipe:
    """Steps by the root of the number of texts that have classes; a corpus is read ten times, a long one less often."""
    options: Options = recipe.options
    rows, n_characters = train_texts(manifest)
    if train_classes(manifest):
        steps = float(np.clip(40 * len(rows) ** 0.5, 400, 8000))
        batch = 32
        found = recipe.replace("optim", lr=3e-3, weight_decay=0.01, max_grad_norm=1.0)
        return found.replace("loop", batch_size=batch, epochs=round(steps * batch / max(1, len(rows)), 1))
    passes = round(float(np.clip(MOST_READ / max(1, n_characters), 1, 10)), 1)
    if options.network == "transformer":
        found = recipe.replace("optim", name="muon", lr=1e-2, weight_decay=0.05, max_grad_norm=1.0, warmup=0.05)
    else:
        found = recipe.replace("optim", lr=1e-2, weight_decay=0.01, max_grad_norm=1.0, warmup=0.05)
    return found.replace("loop", batch_size=16, epochs=passes / 2)  # windows overlap by half


def notes_on(rows: Sequence[Row]) -> list[Note]:
    """That a corpus is too short to learn from, or in one piece, so that nothing of it can be held out."""
    if not rows or any(row.label for row in rows):
        return []
    n_characters = sum(characters(row) for row in rows if row.split == "train")
    if n_characters < LEAST_CHARACTERS:
        return [Note("short_corpus", too_short(n_characters), prevents=True)]
    if len({row.split for row in rows}) == 1:
        text = (
            f"All {n_characters:,} characters are in train, and nothing is held out: what a model learns of them cannot be "
            "measured. Add texts, or put some into folders called `validation` and `test`."
        )
        return [Note("nothing_held_out", text)]
    return []


def too_short(n_characters: int) -> str:
    """That a corpus of so many characters cannot be learned from."""
    return (
        f"Characters in the texts to learn from: {n_characters:,}. That is too little: at least {LEAST_CHARACTERS} are needed, and "
        "a language model needs thousands, better a million. Add texts."
    )


def make_processor(manifest: Manifest, recipe: Recipe, earlier: CorpusProcessor | None) -> CorpusProcessor:
    """Classes of the train rows, none where they have none; the tokenizer, that of `earlier` where there is one; lengths.

    Of texts with classes, words that are alike. Raises UsageError where another tokenizer is asked for than `earlier` has.
    """
    options: Options = recipe.options
    classes = train_classes(manifest)
    rows, n_characters = train_texts(manifest)
    alike = words_alike(read_texts(manifest, rows)) if classes else {}
    if not classes and n_characters < LEAST_CHARACTERS:
        raise DataError(too_short(n_characters))
    if earlier is not None:
        if options.tokenizer not in ("bpe", earlier.tokenizer.kind):
            raise UsageError(
                f"The model to start from knows texts as {earlier.tokenizer.kind}, and options.tokenizer asks for "
                f"{options.tokenizer}: its weights are of its own pieces. Leave options.tokenizer out, or train from nothing."
            )
        return replace(
            earlier,
            labels=classes,
            is_multi_label=manifest.is_multi_label,
            alike=alike,
            context=options.context or earlier.context,
            longest=options.max_pieces or earlier.longest,
        )
    n_pieces = options.n_pieces or n_pieces_of_corpus(n_characters)
    tokenizer = tokens.learn(options.tokenizer, read_texts(manifest, rows), n_characters, n_pieces)
    usual = usual_length(manifest, rows, tokenizer, most=LONGEST_WRITTEN)
    return CorpusProcessor(
        labels=classes,
        is_multi_label=manifest.is_multi_label,
        tokenizer=tokenizer,
        context=options.context or (usual if classes else CONTEXTS[tokenizer.kind]),
        longest=options.max_pieces or (usual if classes else LONGEST_WRITTEN),
        alike=alike,
    )


def n_pieces_of_corpus(n_characters: int) -> int:
    """Pieces of words to learn from a corpus to write like: twice the root of its characters, since each one is told in learning.

    Within the bounds of `tokens`, which learns one for every so many characters where texts are only read.
    """
    return int(np.clip(2 * n_characters**0.5, tokens.LEAST_PIECES, tokens.MOST_PIECES))
