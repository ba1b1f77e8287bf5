"""Text generation: language models that write like a corpus, or like a class of texts, and texts rewritten.

The networks are in language.py and transformer.py, how they write in sampling.py. torch is imported by the methods that need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ouvroir.classification import adopt_by_name, strata
from ouvroir.errors import UsageError
from ouvroir.making import Maker, label_weights, left_out, train_classes, weights_of
from ouvroir.media.text import corpus_recipes, tokens
from ouvroir.media.text.baselines import ngram_answers
from ouvroir.media.text.corpus import CorpusProcessor, network_of, stride, windows
from ouvroir.media.text.exports import Exports
from ouvroir.media.text.passages import longest_shared
from ouvroir.media.text.pieces import pieces_of
from ouvroir.media.text.reading import as_learned, inspect_text, marked
from ouvroir.media.text.rewriting import blend, rewrite
from ouvroir.media.text.texts import Texts, padded
from ouvroir.recipe import Recipe, Value
from ouvroir.sampling import Sampling
from ouvroir.task import (
    Answers,
    Batch,
    Cheap,
    Example,
    Facts,
    Items,
    Limits,
    Loss,
    Made,
    Note,
    Processor,
    Row,
    Split,
    StepOutput,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Ragged, Table, TableSlice
    from ouvroir.media.text.language import LanguageModel
    from ouvroir.rng import Rng
    from ouvroir.source import Source

AT_ONCE = 64  # samples; always so many, so that a sample does not depend on how many are asked for
LEAST_WRITTEN = 3  # pieces of a text
CHANGED = 0.2  # share of the words that a rewriting which keeps nothing would change
VIEW_WIDTH = 512


class TextGeneration(Exports, Maker, Texts):
    """Texts in the manner of a corpus, or of a class, one piece after the other. See `ouvroir.task.Writer`."""

    name: ClassVar[str] = corpus_recipes.TASK
    Options: ClassVar[type] = corpus_recipes.Options
    draw: ClassVar[str] = "window"
    varies: ClassVar[bool] = True
    export_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {"pieces": {1: "n_pieces"}}

    # --- data ---------------------------------------------------------------------------------------------------------

    def inspect(self, source: Source, limits: Limits) -> Facts:
        """As for other tasks, with marks: blocks of a file that has grown begin elsewhere. Raises Refused."""
        return inspect_text(source, limits, of_corpus=True)

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these texts."""
        return corpus_recipes.propose(manifest, preset, init_from), []

    def suited(self, recipe: Recipe, manifest: Manifest) -> Recipe:
        """Rates by the network; steps by the texts that have classes, or passes by the length of a corpus."""
        return corpus_recipes.suited(recipe, manifest)

    def notes_on(self, rows: Sequence[Row]) -> list[Note]:
        """That a corpus is too short to learn from, or in one piece, so that nothing of it can be held out."""
        return corpus_recipes.notes_on(rows)

    def rivals(self, recipe: Recipe, manifest: Manifest) -> dict[str, dict[str, Value]]:
        """An LSTM and a Transformer, unless texts have classes: then the model is a generator for something else."""
        del recipe
        return {} if train_classes(manifest) else {name: {"options.network": name} for name in ("lstm", "transformer")}

    def augments(self, recipe: Recipe) -> bool:
        """Always: what is dropped is new at each step."""
        del recipe
        return True

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> CorpusProcessor:
        """Classes of the train rows, none where they have none; the tokenizer, that of `earlier` where there is one; lengths.

        Raises DataError where there is too little, UsageError where another tokenizer is asked for than `earlier` has.
        """
        assert earlier is None or isinstance(earlier, CorpusProcessor)
        return corpus_recipes.make_processor(manifest, recipe, earlier)

    def load_processor(self, folder: Path) -> CorpusProcessor:
        """Read what `CorpusProcessor.save` wrote."""
        return CorpusProcessor.load(folder)

    def worked_out(self, processor: Processor) -> dict[str, Value]:
        """The size of the vocabulary, the context, and the longest text that is made."""
        assert isinstance(processor, CorpusProcessor)
        return {
            "options.n_pieces": processor.tokenizer.n,
            "options.context": processor.context,
            "options.max_pieces": processor.longest,
        }

    def items(self, table: Table, processor: Processor, *, training: bool) -> Items:
        """One draw is one window of `context` pieces to tell, half of which it shares with the one before it.

        In training all of a window is told; in judging each piece once, by the window that shows most of what is before it. The
        stratum of a window is the class of its text, where texts have classes.
        """
        assert isinstance(processor, CorpusProcessor)
        found = windows(table.lengths("pieces").numpy(), processor.context, is_told_once=not training)
        if not processor.labels:
            return found
        return replace(found, stratum=strata(table.targets["labels"].numpy())[found.row])

    def collate(self, rows: TableSlice) -> Batch:
        """`pieces` (B, P + 1), 0 beyond `lengths` (B,); `lead` (B,), so many after the first are not told; int64.

        `is_full`: whether all rows are of full length and all of them is told.
        """
        import torch

        pieces, lengths = padded(rows.fields["pieces"])
        lead = torch.zeros_like(lengths) if rows.lead is None else rows.lead
        is_full = bool((lengths == pieces.shape[1]).all()) and not bool(lead.any())
        return {
            "pieces": pieces,
            "lengths": lengths,
            "lead": lead,
            "is_full": is_full,
            "weight": rows.weight,
            "index": rows.index,
            **rows.targets,
        }

    # --- model --------------------------------------------------------------------------------------------------------

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights."""
        assert isinstance(processor, CorpusProcessor)
        options: corpus_recipes.Options = recipe.options
        ratio, scale = recipe.constants.value("phi"), recipe.constants.value("alpha")
        assert ratio is not None, "phi has an ordinary value"
        assert scale is not None, "alpha has an ordinary value"
        shared: dict[str, Any] = {"sizes": processor.tokenizer.sizes(), "n_classes": len(processor.labels)}
        if options.network == "lstm":
            from ouvroir.media.text.language import TextLSTM

            width, n_layers = corpus_recipes.LSTM_SIZES[recipe.model.preset]
            return TextLSTM(**shared, width=width, n_layers=n_layers, ratio=ratio, weight_drop=options.weight_drop)
        from ouvroir.media.text.transformer import Decoder, Shape

        width, n_layers, n_heads = corpus_recipes.DECODER_SIZES[recipe.model.preset]
        shape = Shape(width, n_layers, n_heads, ratio)
        return Decoder(**shared, shape=shape, context=processor.context, scale=scale, pi=recipe.constants.value("pi"))

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; vectors of classes are matched by name."""
        per_class = {"reading.label.weight": 1, "writing.label.weight": 1}
        return adopt_by_name(network_of(model), processor.labels, weights, labels, per_class=per_class)

    def network(self, recipe: Recipe) -> str:
        """As of `ouvroir.task.Task`."""
        options: corpus_recipes.Options = recipe.options
        return "an LSTM" if options.network == "lstm" else "a Transformer"

    def constants(self, recipe: Recipe) -> Mapping[str, str]:
        """As of `ouvroir.task.Task`."""
        return corpus_recipes.constants(recipe.options)

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """reading, memory or layers, writing."""
        return network_of(model).parts()

    # --- training -----------------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """As it is: what is dropped is dropped in `step`."""
        del recipe, rng, training
        return batch

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """The surprise of each piece after those before it, in nats; a row counts as many items as characters are told in it.

        In training the entropy of what is thought to come, times ζ, is a loss beside it: CE − H/12.
        """
        options: corpus_recipes.Options = recipe.options
        network = network_of(model)
        labels = masks = None
        zeta = recipe.constants.value("zeta") if training else 0.0
        if network.n_classes:
            labels = weights_of(batch["labels"], network.n_classes)
            if training:
                labels = left_out(labels, options.label_dropout, rng)
        if training and options.dropout:
            widths = network.mask_widths()
            masks = {name: rng.keep_mask(name, (1, width), options.dropout) for name, width in widths.items()}
        told = network.losses(
            batch["pieces"],
            batch["lengths"],
            batch["lead"],
            labels,
            masks,
            is_full=batch["is_full"],
            with_entropy=bool(zeta),
        )
        losses = {"language": Loss(told.nats, told.n_characters)}
        if told.entropy is not None and zeta:
            losses["entropy"] = Loss(zeta * told.entropy, told.n_characters)
        return StepOutput(losses=losses, outputs=told.n_bytes)

    def answers(self, batch: Batch, output: StepOutput, processor: Processor) -> Answers:
        """The surprise of each window, its characters as items, and its bytes, on the CPU."""
        return replace(super().answers(batch, output, processor), n_bytes=output.outputs.cpu().numpy())

    def metrics_for(self, processor: Processor) -> tuple[str, ...]:
        """What does not depend on how texts are cut into pieces."""
        del processor
        return ("nats_per_character", "bits_per_byte")

    def baselines(self, tables: Mapping[Split, Table], processor: Processor, recipe: Recipe) -> list[Cheap]:
        """n-grams of the same pieces, smoothed as Kneser and Ney do, of the length that suits the validation rows."""
        del recipe
        assert isinstance(processor, CorpusProcessor)
        return [ngram_answers(tables, processor.tokenizer)]

    def sample(self, folder: Path) -> int:
        """A gazette from a small grammar, in English and in French: two files without labels."""
        from ouvroir.media.text.samples import write_gazette

        return write_gazette(folder)

    # --- using --------------------------------------------------------------------------------------------------------

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
        assert isinstance(processor, CorpusProcessor)
        label_weights(labels, processor.labels)  # which refuses a class that is not known
        if parents is not None:
            return _rewritten(processor, labels, parents, seed, (1 - begin) * CHANGED)
        options: corpus_recipes.Options = recipe.options
        how = Sampling(temperature=options.temperature, top_p=options.top_p, most=processor.longest)
        return _made(network_of(model).eval(), processor, how, labels, seed, device)

    def write(
        self,
        model: nn.Module,
        processor: Processor,
        recipe: Recipe,
        prompts: Sequence[str],
        *,
        how: Sampling,
        label: str | None,
        seed: int,
        device: str,
    ) -> Iterator[tuple[int, str]]:
        """As of `ouvroir.task.Writer`."""
        from ouvroir.media.text.writing import go_on

        del recipe
        assert isinstance(processor, CorpusProcessor)
        label_weights([label], processor.labels)
        wanted = [_prompt(prompt) for prompt in prompts]
        return go_on(network_of(model).eval(), processor, wanted, label, how, seed, device)

    def remarks(self, processor: Processor, recipe: Recipe, prompts: Sequence[str]) -> list[str]:
        """Of prompts that a Transformer reads the end of, and of those that end in a blank."""
        assert isinstance(processor, CorpusProcessor)
        options: corpus_recipes.Options = recipe.options
        wanted = [_prompt(prompt) for prompt in prompts]
        found = []
        if processor.tokenizer.kind == "bpe" and any(prompt.endswith(" ") for prompt in wanted):
            found.append(
                "A prompt ends in a blank, which most pieces of words begin with: what comes next may be odd. Leave it out."
            )
        longest = max((len(processor.tokenizer.encode(prompt)) for prompt in wanted), default=0)
        if options.network == "lstm" or longest < processor.context:
            return found
        return [
            *found,
            f"The Transformer looks back over {processor.context} pieces, and the prompt has {longest}: the window slides along "
            "it, and what lies further back is forgotten.",
        ]

    def window(self, processor: Processor) -> Mapping[str, int]:
        """As of `ouvroir.task.Writer`."""
        assert isinstance(processor, CorpusProcessor)
        return {"context": processor.context, "stride": stride(processor.context)}

    def habits(
        self, model: nn.Module, processor: Processor, recipe: Recipe, tables: Mapping[Split, Table], *, device: str
    ) -> dict[str, Any]:
        """As of `ouvroir.task.Writer`."""
        from ouvroir.media.text.writing import habits

        assert isinstance(processor, CorpusProcessor)
        options: corpus_recipes.Options = recipe.options
        how = Sampling(temperature=options.temperature, top_p=options.top_p)
        return habits(network_of(model).eval(), processor, how, tables, seed=recipe.loop.seed, device=device)

    def mix(
        self, processor: Processor, first: Sequence[Example], second: Sequence[Example], shares: Sequence[float]
    ) -> Iterator[Made]:
        """The beginning of one text and the end of another."""
        assert isinstance(processor, CorpusProcessor)
        for one, other, share in zip(first, second, shares, strict=True):
            begin, end = (processor.tokenizer.decode(example["pieces"]) for example in (one, other))
            yield _as_made(blend(begin, end, share), None)

    def views(self, rows: TableSlice) -> Tensor:
        """(B, 1, VIEW_WIDTH): pieces and runs of two and three of them, hashed with random signs, of length 1.

        A few words changed change few of them, so one view is enough.
        """
        import torch
        from torch.nn import functional

        field: Ragged = rows.fields["pieces"]  # type: ignore[assignment]
        values, row = field.values.long(), torch.repeat_interleave(torch.arange(len(rows)), field.lengths)
        runs, owners, run = [], [], torch.zeros_like(values)
        for length in range(3):  # runs that end at each piece, if they begin in the same row
            before = torch.cat([values.new_zeros(length), values[: len(values) - length]])
            run = run * 0x9E3779B1 + before + 1
            is_within = torch.cat([row.new_full((min(length, len(row)),), -1), row[: len(row) - length]]) == row
            runs.append(run[is_within])
            owners.append(row[is_within])
        mixed = (torch.cat(runs) * 0x9E3779B1) >> 7 & 0xFFFFFFFF
        signs = torch.where(mixed >> 31 > 0, 1.0, -1.0)
        found = torch.zeros(len(rows) * VIEW_WIDTH)
        found.index_add_(0, torch.cat(owners) * VIEW_WIDTH + (mixed >> 8) % VIEW_WIDTH, signs)
        return functional.normalize(found.view(len(rows), 1, VIEW_WIDTH), dim=2)

    def passages(self, asked: Table, known: Table, *, is_itself: bool) -> np.ndarray:
        """The share of each text that is its longest passage which stands in another one."""
        return longest_shared(_told(asked), _told(known), is_itself=is_itself)


def _prompt(given: str) -> str:
    """A prompt as texts are read that are learned from. Raises UsageError."""
    try:
        given.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The prompt holds something at place {error.start + 1} that is no letter in UTF-8."
        ) from error
    return as_learned(given)


def _made(
    network: LanguageModel,
    processor: CorpusProcessor,
    how: Sampling,
    labels: Sequence[str | None],
    seed: int,
    device: str,
) -> Iterator[Made]:
    import torch

    from ouvroir.media.text.sampling import write
    from ouvroir.rng import Rng

    for start in range(0, len(labels), AT_ONCE):
        mine = labels[start : start + AT_ONCE]
        weights = None
        if network.n_classes:
            weights = torch.from_numpy(label_weights([*mine, *[None] * (AT_ONCE - len(mine))], processor.labels)).to(
                device
            )
        chances = Rng(seed, 0, torch.arange(start, start + AT_ONCE, device=device)).along("pieces", how.most)
        prompt = torch.full((AT_ONCE, 1), tokens.BEGIN, device=device)
        found = write(network, prompt, weights, chances, how, least=LEAST_WRITTEN)
        for numbers, label in zip(zip(*found, strict=True), mine, strict=False):
            yield _as_made(processor.tokenizer.decode(numbers), label)


def _rewritten(
    processor: CorpusProcessor, labels: Sequence[str | None], parents: Sequence[Example], seed: int, share: float
) -> Iterator[Made]:
    for number, (label, parent) in enumerate(zip(labels, parents, strict=True)):
        text = processor.tokenizer.decode(parent["pieces"])
        rng = np.random.Generator(np.random.PCG64([seed, number]))
        yield _as_made(rewrite(text, processor.alike, share, rng), label)


def _as_made(text: str, label: str | None) -> Made:
    """A text file that says of itself that it is synthetic; bytes that are no letter are left out."""
    readable = "".join(one for one in text if (one.isprintable() and one != "\ufffd") or one in "\n\t").strip()
    return Made(".txt", marked(readable or "…", label).encode("utf-8"))


def _told(table: Table) -> list[np.ndarray]:
    """The pieces of each text of a table, without what begins and ends it."""
    return [row[row > tokens.END] for row in pieces_of(table)]
