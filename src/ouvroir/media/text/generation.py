"""Text generation: language models that write like a corpus, or like a class of texts, and texts rewritten.

The networks are in language.py and transformer.py, how they write in sampling.py. torch is imported by the methods that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.classification import adopt_by_name, strata
from ouvroir.errors import DataError, UsageError
from ouvroir.making import Maker, label_weights, left_out, train_classes, weights_of
from ouvroir.media.text import tokens
from ouvroir.media.text.baselines import ngram_answers, pieces_of
from ouvroir.media.text.corpus import CorpusProcessor, stride, windows
from ouvroir.media.text.passages import longest_shared
from ouvroir.media.text.reading import as_learned, inspect_text, marked
from ouvroir.media.text.rewriting import blend, rewrite, words_alike
from ouvroir.media.text.texts import Texts, characters, padded, read_texts, train_texts, usual_length
from ouvroir.recipe import Recipe, Value, setting
from ouvroir.sampling import Sampling
from ouvroir.task import (
    Answers,
    Batch,
    Carried,
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
LONGEST_WRITTEN = 400  # pieces, unless the recipe says otherwise
CONTEXTS = {"characters": 128, "bytes": 128, "bpe": 64}
"""Pieces of a corpus that are told at a time."""
LEAST_CHARACTERS = 500  # of a corpus
MOST_READ = 10_000_000  # characters, all passes together, unless one pass is more
CHANGED = 0.2  # share of the words that a rewriting which keeps nothing would change
VIEW_WIDTH = 512
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
        None, "Pieces of words that are learned; worked out from the texts."
    )
    context: Annotated[int, Setting(ge=8, le=8192)] | None = setting(
        None, "Pieces that are told at a time, each from those before it; worked out from the texts."
    )
    max_pieces: Annotated[int, Setting(ge=8, le=8192)] | None = setting(
        None, "Pieces of the longest text that is made; worked out from the texts."
    )
    label_dropout: Share = setting(
        0.1, "Share of the texts that are learned from without their class, so that texts of no class can be made too."
    )
    dropout: Share = setting(0.3, "Dropout between the layers, the same at each piece of a text.")
    weight_drop: Share = setting(
        0.0, "Share of the weights from state to state of an LSTM that is left out at each step."
    )
    temperature: Annotated[float, Setting(gt=0)] = setting(
        1.0, "Below 1 the likely pieces are drawn more often than they occur."
    )
    top_p: Annotated[float, Setting(gt=0, le=1)] = setting(
        0.95, "Each piece is drawn from the most likely ones that together have this probability."
    )


class TextGeneration(Maker, Texts):
    """Texts in the manner of a corpus, or of a class, one piece after the other. See `ouvroir.task.Writer`."""

    name: ClassVar[str] = "text-generation"
    Options: ClassVar[type] = Options
    varies: ClassVar[bool] = True
    export_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {"pieces": {1: "n_pieces"}}

    # --- data ---------------------------------------------------------------------------------------------------------

    def inspect(self, source: Source, limits: Limits) -> Facts:
        """As for other tasks, with marks: blocks of a file that has grown begin elsewhere. Raises Refused."""
        return inspect_text(source, limits, of_corpus=True)

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these texts."""
        has_classes = bool(train_classes(manifest))
        chosen = Recipe(
            task=self.name,
            data=manifest.data,
            model=recipes.Model(preset=preset, init_from=init_from),  # type: ignore[arg-type]
            options=Options(dropout=0.3 if has_classes else 0.1),
        )
        return self.suited(chosen, manifest), []

    def notes_on(self, rows: Sequence[Row]) -> list[Note]:
        """That a corpus is too short to learn from, or in one piece, so that nothing of it can be held out."""
        if not rows or any(row.label for row in rows):
            return []
        n_characters = sum(characters(row) for row in rows if row.split == "train")
        if n_characters < LEAST_CHARACTERS:
            return [Note("short_corpus", too_short(n_characters))]
        if len({row.split for row in rows}) == 1:
            text = (
                f"All {n_characters:,} characters are in train, and nothing is held out: what a model learns of them cannot be "
                "measured. Add texts, or put some into folders called `validation` and `test`."
            )
            return [Note("nothing_held_out", text)]
        return []

    def rivals(self, recipe: Recipe, manifest: Manifest) -> dict[str, dict[str, Value]]:
        """An LSTM and a Transformer, unless texts have classes: then the model is a generator for something else."""
        del recipe
        return {} if train_classes(manifest) else {name: {"options.network": name} for name in ("lstm", "transformer")}

    def suited(self, recipe: Recipe, manifest: Manifest) -> Recipe:
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

    def augments(self, recipe: Recipe) -> bool:
        """Always: what is dropped is new at each step."""
        del recipe
        return True

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> CorpusProcessor:
        """Classes of the train rows, none where they have none; the tokenizer, that of `earlier` where there is one; lengths.

        Of texts with classes, words that are alike. Raises UsageError where another tokenizer is asked for than `earlier` has.
        """
        assert earlier is None or isinstance(earlier, CorpusProcessor)
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

    def load_processor(self, folder: Path) -> CorpusProcessor:
        """Read what `CorpusProcessor.save` wrote."""
        return CorpusProcessor.load(folder)

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
        options: Options = recipe.options
        ratio, scale = recipe.constants.value("phi"), recipe.constants.value("alpha")
        assert ratio is not None, "phi has an ordinary value"
        assert scale is not None, "alpha has an ordinary value"
        shared: dict[str, Any] = {"sizes": processor.tokenizer.sizes(), "n_classes": len(processor.labels)}
        if options.network == "lstm":
            from ouvroir.media.text.language import TextLSTM

            width, n_layers = LSTM_SIZES[recipe.model.preset]
            return TextLSTM(**shared, width=width, n_layers=n_layers, ratio=ratio, weight_drop=options.weight_drop)
        from ouvroir.media.text.transformer import Decoder, Shape

        width, n_layers, n_heads = DECODER_SIZES[recipe.model.preset]
        shape = Shape(width, n_layers, n_heads, ratio)
        return Decoder(**shared, shape=shape, context=processor.context, scale=scale, pi=recipe.constants.value("pi"))

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; vectors of classes are matched by name."""
        per_class = {"reading.label.weight": 1, "writing.label.weight": 1}
        return adopt_by_name(_network(model), processor.labels, weights, labels, per_class=per_class)

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """reading, memory or layers, writing."""
        return _network(model).parts()

    # --- training -----------------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """As it is: what is dropped is dropped in `step`."""
        del recipe, rng, training
        return batch

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """The surprise of each piece after those before it, in nats; a row counts as many items as characters are told in it.

        In training the entropy of what is thought to come, times ζ, is a loss beside it: CE − H/12.
        """
        options: Options = recipe.options
        network = _network(model)
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

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`pieces`: (2, 8) int64; with classes `labels`: (2, K + 1)."""
        import torch

        assert isinstance(processor, CorpusProcessor)
        found = {"pieces": torch.arange(16).view(2, 8) + tokens.FIRST_BYTE}
        if processor.labels:
            found["labels"] = torch.zeros(2, len(processor.labels) + 1)
            found["labels"][:, -1] = 1
        return found

    def export_questions(self, processor: Processor, rows: TableSlice) -> Iterator[Batch]:
        """As of `ouvroir.task.Writer`: windows of `context` pieces, `pieces` (B, P) and with classes `labels` (B, K + 1)."""
        from ouvroir.media.text.carrying import questions

        assert isinstance(processor, CorpusProcessor)
        return questions(rows, _windows_of(rows, processor), len(processor.labels))

    def export_facts(self, processor: Processor) -> dict[str, Any]:
        """As of `ouvroir.task.Writer`."""
        from ouvroir.media.text.carrying import facts

        assert isinstance(processor, CorpusProcessor)
        return facts(processor)

    def require_hf(self, model: nn.Module, processor: Processor) -> None:
        """Raise UsageError for what is no Llama."""
        from ouvroir.media.text.carrying import require_llama

        del processor
        require_llama(_network(model), "transformers")

    def to_hf(self, model: nn.Module, processor: Processor, recipe: Recipe, folder: Path) -> None:
        """Write the folder that transformers loads, with its tokenizer."""
        from ouvroir.media.text.carrying import require_llama, write_hf

        del recipe
        assert isinstance(processor, CorpusProcessor)
        write_hf(require_llama(_network(model), "transformers"), processor, folder)

    def from_hf(self, folder: Path, processor: Processor) -> Callable[[Batch], Tensor]:
        """Read what `to_hf` wrote: from `pieces` (B, P) to logits (B, P, V)."""
        from ouvroir.media.text.carrying import read_hf

        del processor
        return read_hf(folder)

    def check_hf(self, folder: Path, processor: Processor, sources: Sequence[Source]) -> None:
        """Compare the folder's own tokenizer with ours on files and on texts that are hard. Raises ExportError."""
        from ouvroir.media.text.carrying import require_same_pieces

        assert isinstance(processor, CorpusProcessor)
        require_same_pieces(folder, processor, sources)

    def require_gguf(self, model: nn.Module, processor: Processor) -> None:
        """Raise UsageError for what llama.cpp has no architecture or no tokenizer for."""
        from ouvroir.media.text.llama import require_gguf

        assert isinstance(processor, CorpusProcessor)
        require_gguf(_network(model), processor)

    def to_gguf(self, model: nn.Module, processor: Processor, folder: Path) -> None:
        """Write the files that llama.cpp loads, one for each precision."""
        from ouvroir.media.text.llama import require_gguf, write_gguf

        assert isinstance(processor, CorpusProcessor)
        write_gguf(require_gguf(_network(model), processor), processor, folder)

    def check_gguf(
        self, model: nn.Module, processor: Processor, folder: Path, rows: TableSlice, tolerance: float
    ) -> Carried:
        """Ask llama.cpp what the model is asked: pieces of texts, what comes next, what is written. Raises ExportError."""
        from ouvroir.media.text.llama import check_gguf, require_gguf

        assert isinstance(processor, CorpusProcessor)
        network = require_gguf(_network(model).eval(), processor)
        return check_gguf(network, processor, folder, rows, _windows_of(rows, processor), tolerance)

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
        options: Options = recipe.options
        how = Sampling(temperature=options.temperature, top_p=options.top_p, most=processor.longest)
        return _made(_network(model).eval(), processor, how, labels, seed, device)

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
        return go_on(_network(model).eval(), processor, wanted, label, how, seed, device)

    def remarks(self, processor: Processor, recipe: Recipe, prompts: Sequence[str]) -> list[str]:
        """Of prompts that a Transformer reads the end of, and of those that end in a blank."""
        assert isinstance(processor, CorpusProcessor)
        options: Options = recipe.options
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
        options: Options = recipe.options
        how = Sampling(temperature=options.temperature, top_p=options.top_p)
        return habits(_network(model).eval(), processor, how, tables, seed=recipe.loop.seed, device=device)

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


def n_pieces_of_corpus(n_characters: int) -> int:
    """Pieces of words to learn from a corpus to write like: twice the root of its characters, since each one is told in learning.

    Within the bounds of `tokens`, which learns one for every so many characters where texts are only read.
    """
    return int(np.clip(2 * n_characters**0.5, tokens.LEAST_PIECES, tokens.MOST_PIECES))


def _windows_of(rows: TableSlice, processor: CorpusProcessor) -> Items:
    field: Ragged = rows.fields["pieces"]  # type: ignore[assignment]
    return windows(field.lengths.numpy(), processor.context, is_told_once=False)


def too_short(n_characters: int) -> str:
    """That a corpus of so many characters cannot be learned from."""
    return (
        f"Characters in the texts to learn from: {n_characters:,}. That is too little: at least {LEAST_CHARACTERS} are needed, and "
        "a language model needs thousands, better a million. Add texts."
    )


def _network(model: nn.Module) -> LanguageModel:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.text.language import LanguageModel

    inner = getattr(model, "module", model)
    assert isinstance(inner, LanguageModel)
    return inner


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
