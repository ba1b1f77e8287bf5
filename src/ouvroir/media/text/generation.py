"""Text generation: new texts of a class by a small language model, and rewritten ones.

The network is in language.py. torch is imported by the methods that need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.classification import adopt_by_name
from ouvroir.making import Maker, label_weights, left_out, train_classes, weights_of
from ouvroir.media.text import tokens
from ouvroir.media.text.passages import longest_shared
from ouvroir.media.text.processor import TextProcessor
from ouvroir.media.text.reading import marked
from ouvroir.media.text.recipes import CHARACTERS_A_PIECE
from ouvroir.media.text.rewriting import blend, rewrite, words_alike
from ouvroir.media.text.texts import Texts, read_texts, train_texts, usual_length
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Batch, Example, Loss, Made, Note, Processor, StepOutput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Ragged, Table, TableSlice
    from ouvroir.media.text.language import TextMaker
    from ouvroir.rng import Rng

AT_ONCE = 64  # samples; always so many, so that a sample does not depend on how many are asked for
LEAST_WRITTEN = 3  # pieces of a text
LONGEST_WRITTEN = 400  # pieces, unless the recipe says otherwise
CHANGED = 0.2  # share of the words that a rewriting which keeps nothing would change
VIEW_WIDTH = 512
_ROWS_AT_ONCE = 1024

Share = Annotated[float, Setting(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that only text generation has."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    n_pieces: Annotated[int, Setting(ge=300, le=64_000)] | None = setting(
        None, "Pieces of words that are learned; worked out from the texts."
    )
    max_pieces: Annotated[int, Setting(ge=8, le=8192)] | None = setting(
        None, "Pieces of the longest text that is learned from and made; worked out from the texts."
    )
    label_dropout: Share = setting(
        0.1, "Share of the texts that are learned from without their class, so that texts of no class can be made too."
    )
    dropout: Share = setting(0.3, "Dropout before and after the memory, the same at each piece of a text.")
    temperature: Annotated[float, Setting(gt=0)] = setting(
        1.0, "Below 1 the likely pieces are drawn more often than they occur."
    )
    top_p: Annotated[float, Setting(gt=0, le=1)] = setting(
        0.95, "Each piece is drawn from the most likely ones that together have this probability."
    )


class TextGeneration(Maker, Texts):
    """Texts of a class, or of none, one piece after the other. See `ouvroir.task.Synthesiser`."""

    name: ClassVar[str] = "text-generation"
    Options: ClassVar[type] = Options
    varies: ClassVar[bool] = True

    # --- data ---------------------------------------------------------------------------------------------------------

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these texts."""
        rows = [row for row in manifest.rows if row.split == "train"]
        n_characters = np.array([int(row.details.get("characters", 0)) for row in rows] or [0])
        notes = []
        if (n_characters > 2 * CHARACTERS_A_PIECE * LONGEST_WRITTEN).mean() > 0.5:
            notes.append(
                Note(
                    "long_texts_made",
                    f"Texts of up to {LONGEST_WRITTEN} pieces, about {LONGEST_WRITTEN // 2} words, are made, from the beginnings "
                    "of the texts that there are. Longer ones take as much longer.",
                    {"options.max_pieces": str(2 * LONGEST_WRITTEN)},
                )
            )
        chosen = Recipe(
            task=self.name,
            data=manifest.data,
            model=recipes.Model(preset=preset, init_from=init_from),  # type: ignore[arg-type]
            options=Options(),
        )
        return self.scheduled(chosen, len(rows)), notes

    def scheduled(self, recipe: Recipe, n_train: int) -> Recipe:
        """Steps by the root of the number of texts."""
        steps = float(np.clip(40 * n_train**0.5, 400, 8000))
        batch = 32
        found = recipe.replace("optim", lr=3e-3, weight_decay=0.01, max_grad_norm=1.0)
        return found.replace("loop", batch_size=batch, epochs=round(steps * batch / max(1, n_train), 1))

    def augments(self, recipe: Recipe) -> bool:
        """Always: what is dropped is new at each step."""
        del recipe
        return True

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> TextProcessor:
        """Classes of the train rows, none where they have none; pieces, those of `earlier` where there is one; words alike."""
        assert earlier is None or isinstance(earlier, TextProcessor)
        options: Options = recipe.options
        classes = train_classes(manifest)
        rows, n_characters = train_texts(manifest)
        alike = words_alike(read_texts(manifest, rows))
        if earlier is not None:
            return replace(earlier, labels=classes, is_multi_label=manifest.is_multi_label, alike=alike)
        pieces = tokens.learn(read_texts(manifest, rows), n_characters, options.n_pieces)
        return TextProcessor(
            labels=classes,
            is_multi_label=manifest.is_multi_label,
            pieces=pieces,
            max_pieces=options.max_pieces or usual_length(manifest, rows, pieces, most=LONGEST_WRITTEN),
            keep="beginning",
            has_end=True,
            alike=alike,
        )

    # --- model --------------------------------------------------------------------------------------------------------

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights."""
        from ouvroir.media.text.language import WIDTHS, TextMaker

        assert isinstance(processor, TextProcessor)
        ratio = recipe.constants.value("phi")
        assert ratio is not None, "phi has an ordinary value"
        return TextMaker(
            n_pieces=tokens.count(processor.pieces),
            n_classes=len(processor.labels),
            width=WIDTHS[recipe.model.preset],
            ratio=ratio,
        )

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; vectors of classes are matched by name."""
        per_class = {"reading.label.weight": 1, "writing.label.weight": 1}
        return adopt_by_name(_network(model), processor.labels, weights, labels, per_class=per_class)

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """reading, memory, writing."""
        return _network(model).parts()

    # --- training -----------------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """As it is: what is dropped is dropped in `step`."""
        del recipe, rng, training
        return batch

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """The surprise of each piece after those before it, in nats; a text counts as many items as it has pieces."""
        options: Options = recipe.options
        network = _network(model)
        labels = weights_of(batch["labels"], network.n_classes)
        mask_in = mask_out = None
        if training:
            labels = left_out(labels, options.label_dropout, rng)
            if options.dropout:
                inner, width = network.reading.table.embedding_dim, network.memory.hidden_size
                mask_in = rng.keep_mask("in", (1, inner), options.dropout)
                mask_out = rng.keep_mask("out", (1, width), options.dropout)
        per_row = network.losses(batch["pieces"], batch["lengths"], labels, mask_in, mask_out)
        return StepOutput(losses={"language": Loss(per_row, batch["lengths"])}, outputs=per_row.detach())

    # --- using --------------------------------------------------------------------------------------------------------

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`pieces`: (2, 8) int64; `labels`: (2, K + 1)."""
        import torch

        assert isinstance(processor, TextProcessor)
        labels = torch.zeros(2, len(processor.labels) + 1)
        labels[:, -1] = 1
        return {"pieces": torch.arange(16).view(2, 8) + 4, "labels": labels}

    def make(
        self,
        model: nn.Module,
        processor: Processor,
        recipe: Recipe,
        labels: Sequence[str | None],
        *,
        seed: int,
        device: str,
        parents: Sequence[Example] | None = None,
        begin: float = 0.0,
    ) -> Iterator[Made]:
        """New texts as .txt files that say that they are synthetic; with `parents` these rewritten, the less the higher `begin`."""
        assert isinstance(processor, TextProcessor)
        label_weights(labels, processor.labels)  # which refuses a class that is not known
        if parents is not None:
            return _rewritten(processor, labels, parents, seed, (1 - begin) * CHANGED)
        return _written(_network(model).eval(), processor, recipe.options, labels, seed, device)

    def mix(
        self, processor: Processor, first: Sequence[Example], second: Sequence[Example], shares: Sequence[float]
    ) -> Iterator[Made]:
        """The beginning of one text and the end of another."""
        assert isinstance(processor, TextProcessor)
        for one, other, share in zip(first, second, shares, strict=True):
            begin, end = (tokens.decode(processor.pieces, example["pieces"].tolist()) for example in (one, other))
            yield _as_made(blend(begin, end, share), None)

    def views(self, rows: TableSlice) -> Tensor:
        """(B, 1, VIEW_WIDTH): the n-grams of each text, hashed once more with random signs, of length 1.

        A few words changed change few n-grams, so one view is enough.
        """
        import torch
        from torch.nn import functional

        field: Ragged = rows.fields["grams"]  # type: ignore[assignment]
        counts: Ragged = rows.fields["gram_counts"]  # type: ignore[assignment]
        mixed = (field.values.long() * 0x9E3779B1) & 0xFFFFFFFF
        signs = torch.where(mixed >> 31 > 0, 1.0, -1.0)
        row = torch.repeat_interleave(torch.arange(len(rows)), field.lengths)
        found = torch.zeros(len(rows) * VIEW_WIDTH)
        found.index_add_(0, row * VIEW_WIDTH + (mixed >> 8) % VIEW_WIDTH, signs * (1 + counts.values.float().log()))
        return functional.normalize(found.view(len(rows), 1, VIEW_WIDTH), dim=2)

    def passages(self, asked: Table, known: Table, *, is_itself: bool) -> np.ndarray:
        """The share of each text that is its longest passage which stands in another one."""
        return longest_shared(_pieces(asked), _pieces(known), is_itself=is_itself)


def _network(model: nn.Module) -> TextMaker:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.text.language import TextMaker

    inner = getattr(model, "module", model)
    assert isinstance(inner, TextMaker)
    return inner


def _written(
    network: TextMaker, processor: TextProcessor, options: Options, labels: Sequence[str | None], seed: int, device: str
) -> Iterator[Made]:
    import torch

    from ouvroir.media.text.language import write
    from ouvroir.rng import Rng

    for start in range(0, len(labels), AT_ONCE):
        mine = labels[start : start + AT_ONCE]
        weights = label_weights([*mine, *[None] * (AT_ONCE - len(mine))], processor.labels)
        rng = Rng(seed, 0, torch.arange(start, start + AT_ONCE, device=device))
        found = write(
            network,
            torch.from_numpy(weights).to(device),
            rng.along("pieces", processor.max_pieces),
            least=LEAST_WRITTEN,
            temperature=options.temperature,
            top_p=options.top_p,
        )
        for numbers, label in zip(found, mine, strict=False):
            yield _as_made(tokens.decode(processor.pieces, numbers), label)


def _rewritten(
    processor: TextProcessor, labels: Sequence[str | None], parents: Sequence[Example], seed: int, share: float
) -> Iterator[Made]:
    for number, (label, parent) in enumerate(zip(labels, parents, strict=True)):
        text = tokens.decode(processor.pieces, parent["pieces"].tolist())
        rng = np.random.Generator(np.random.PCG64([seed, number]))
        yield _as_made(rewrite(text, processor.alike, share, rng), label)


def _as_made(text: str, label: str | None) -> Made:
    """A text file that says of itself that it is synthetic; bytes that are no letter are left out."""
    readable = "".join(one for one in text if (one.isprintable() and one != "\ufffd") or one in "\n\t").strip()
    return Made(".txt", marked(readable or "…", label).encode("utf-8"))


def _pieces(table: Table) -> list[np.ndarray]:
    """The pieces of each text of a table, without what ends it."""
    found: list[np.ndarray] = []
    for start in range(0, len(table), _ROWS_AT_ONCE):
        field: Ragged = table.slice(np.arange(start, min(start + _ROWS_AT_ONCE, len(table)))).fields["pieces"]  # type: ignore[assignment]
        values, offsets = field.values.numpy(), field.offsets.tolist()
        rows = (values[first:last] for first, last in pairwise(offsets))
        found += [row[row > tokens.END] for row in rows]
    return found
