"""Text classification: texts to one class, or to several labels.

Everything that training, evaluation and serving ask of this task; the networks are in models.py, the defaults in recipes.py.
torch is imported by the methods that need it: workers call `inspect` and the processor only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ouvroir import classification as shared
from ouvroir.media.text import recipes
from ouvroir.media.text.baselines import ROWS_AT_ONCE, holding, rarity, some_rows, text_baselines
from ouvroir.media.text.processor import TextProcessor
from ouvroir.media.text.texts import Texts, batch_of
from ouvroir.task import Batch, Cheap, Example, Note, Prediction, Processor, Split, StepOutput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.media.text.models import CustomTextModel, NgramModel
    from ouvroir.recipe import Recipe, Value
    from ouvroir.rng import Rng


INPUTS = ("pieces", "lengths", "grams", "gram_counts")


class TextClassification(shared.Classifier, Texts):
    """Texts to one class, or to several labels. See `ouvroir.task.Task`."""

    name: ClassVar[str] = recipes.TASK
    Options: ClassVar[type] = recipes.Options
    synthesiser: ClassVar[str | None] = "text-generation"

    # --- data ---------------------------------------------------------------------------------------------------------

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these texts."""
        del init_from  # no weights but our own
        return recipes.propose(manifest, preset)

    def suited(self, recipe: Recipe, manifest: Manifest) -> Recipe:
        """Rates and length for the network that was chosen, and so many texts."""
        return recipes.scheduled(recipe, len(manifest.positions("train")))

    def reads_weights(self, init_from: str) -> bool:
        """None but our own."""
        del init_from
        return False

    def load_processor(self, folder: Path) -> TextProcessor:
        """Read what `TextProcessor.save` wrote."""
        return TextProcessor.load(folder)

    def worked_out(self, processor: Processor) -> dict[str, Value]:
        """How many pieces there are, and how many are kept of a text."""
        assert isinstance(processor, TextProcessor)
        return {"options.n_pieces": processor.tokenizer.n, "options.max_pieces": processor.max_pieces}

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> TextProcessor:
        """Labels of the train rows; pieces of words learned from them, or those of `earlier`."""
        assert earlier is None or isinstance(earlier, TextProcessor)
        return recipes.make_processor(manifest, recipe, earlier)

    # --- model --------------------------------------------------------------------------------------------------------

    def network(self, recipe: Recipe) -> str:
        """As of `ouvroir.task.Task`."""
        if recipe.options.network == "ngrams":
            return "a network of n-grams alone"
        return "convolution and attention over pieces of words, beside n-grams"

    def constants(self, recipe: Recipe) -> Mapping[str, str]:
        """As of `ouvroir.task.Task`."""
        found = super().constants(recipe)
        return {"zeta": found["zeta"]} if recipe.options.network == "ngrams" else found

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights."""
        from ouvroir.media.text.models import build

        assert isinstance(processor, TextProcessor)
        return build(recipe, processor)

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """How rare each n-gram is in the train rows, and class weights, where the recipe asks for them."""
        import torch

        network = _network(model)
        network.grams.rarity.copy_(torch.from_numpy(rarity(holding(table, np.arange(len(table))), len(table))))
        shared.weigh_classes(network, table, recipe)

    # --- training -----------------------------------------------------------------------------------------------------

    def tuning(self, recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
        """Gentler rates, and less hidden."""
        return recipes.tuning(recipe, manifest)

    def augments(self, recipe: Recipe) -> bool:
        """Whether the outputs of frozen parts change from step to step, or from text to text in their size.

        Only the head sees as many numbers of each text, so features are cached before it alone.
        """
        return recipe.model.scope != "head" or self._hides(recipe)

    def _hides(self, recipe: Recipe) -> bool:
        options: recipes.Options = recipe.options
        return recipes.is_augmented(recipe) and options.piece_dropout > 0

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """Hide some pieces and n-grams, in training."""
        if not training or "features" in batch or not self._hides(recipe):
            return batch
        from ouvroir.media.text import tokens

        options: recipes.Options = recipe.options
        pieces, grams = batch["pieces"], batch["grams"]
        is_hidden = _some(rng, "pieces", pieces, options.piece_dropout)
        is_without = _some(rng, "grams", grams, options.piece_dropout)
        return {
            **batch,
            "pieces": pieces.masked_fill(is_hidden, tokens.UNKNOWN),
            "grams": grams.masked_fill(is_without, tokens.NOTHING),
        }

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """Cross-entropy (binary when multi-label). Smoothing, entropy, weights and dropout are for training only."""
        network = _network(model)
        masks = shared.head_masks(network, recipe, rng, training=training)
        logits = model(*_inputs(batch), masks, batch.get("features"), *_since(network, batch))
        return shared.class_step(network, logits, batch, recipe, training=training)

    def features(self, model: nn.Module, batch: Batch, part: str) -> Tensor:
        """Output of all parts before `part`: (B, D + G) before the head, (B, P, D) before the first ones."""
        network = _network(model)
        pieces, lengths, grams, often = _inputs(batch)
        found: Tensor = network.embed(pieces, lengths, grams, often, part)
        return found

    # --- judging and using --------------------------------------------------------------------------------------------

    def baselines(self, tables: Mapping[Split, Table], processor: Processor, recipe: Recipe) -> list[Cheap]:
        """Most frequent class; logistic regression on weighted n-grams; nearest texts by these; the network of n-grams alone,
        unless the model is one.
        """
        train, test = tables["train"], tables["test"]
        found = text_baselines(train, test, processor.labels)
        options: recipes.Options = recipe.options
        return found if options.network == "ngrams" else [*found, self._ngrams_alone(train, test, processor)]

    def _ngrams_alone(self, train: Table, test: Table, processor: Processor) -> Cheap:
        """What `options.network=ngrams` learns in seconds, with the steps that are proposed for so many texts."""
        import torch

        from ouvroir.baselines import answers_from_scores
        from ouvroir.rng import Rng

        places = some_rows(len(train))
        known = train if len(places) == len(train) else train.subset(places)
        recipe = recipes.ngrams_alone(len(known))
        batch = recipe.loop.batch_size
        n_steps = max(1, round(recipe.loop.epochs * len(known) / batch))
        order = np.concatenate(
            [np.random.default_rng(epoch).permutation(len(known)) for epoch in range(1 + n_steps * batch // len(known))]
        )
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            model = self.build_model(recipe, processor).train()
        self.prepare_model(model, known, recipe)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=recipe.optim.lr, weight_decay=recipe.optim.weight_decay, fused=True
        )
        for step in range(n_steps):
            mine = torch.from_numpy(order[step * batch : (step + 1) * batch])
            rng = Rng(0, step, mine)
            inputs = self.prepare(self.collate(known.slice(mine)), recipe, rng=rng, training=True)
            out = self.step(model, inputs, recipe, rng=rng, training=True)
            loss = torch.stack([one.per_row.mean() for one in out.losses.values()]).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.param_groups[0]["lr"] = recipe.optim.lr * (1 - step / n_steps)
            optimizer.step()
        model.eval()
        asked = [test.slice(places) for places in torch.split(torch.arange(len(test)), ROWS_AT_ONCE)]
        is_multi_label = known.targets["labels"].ndim == 2
        with torch.inference_mode():
            logits = torch.cat([model(*_inputs(self.collate(rows))) for rows in asked])
            scores = shared.scores_of(logits, is_multi_label=is_multi_label)
        answers = answers_from_scores(scores, test.targets["labels"].numpy(), processor.labels)
        return Cheap("n-gram network", answers, len(known) if len(known) < len(train) else None)

    def predict(
        self,
        model: nn.Module,
        processor: Processor,
        recipe: Recipe,
        examples: Sequence[Example],
        *,
        device: str,
        threshold: float,
    ) -> list[Prediction]:
        """Answers for encoded texts."""
        import torch

        del recipe
        assert isinstance(processor, TextProcessor)
        batch = batch_of(examples)
        model.eval()
        with torch.inference_mode():
            logits = model(*(one.to(device) for one in _inputs(batch)))
            scores = shared.scores_of(logits, is_multi_label=processor.is_multi_label)
        return shared.predictions(
            scores, processor.labels, threshold=threshold, is_multi_label=processor.is_multi_label
        )

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`pieces`: (2, P) int64, `lengths`: (2,); `grams` and `gram_counts`: (2, N) int64."""
        import torch

        assert isinstance(processor, TextProcessor)
        n = min(16, processor.max_pieces)
        return {
            "pieces": torch.arange(2 * n).view(2, n) % 100 + 4,
            "lengths": torch.tensor([n, n // 2]),
            "grams": torch.arange(2 * n).view(2, n) + 1,
            "gram_counts": torch.ones(2, n, dtype=torch.int64),
        }


def _network(model: nn.Module) -> CustomTextModel | NgramModel:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.text.models import CustomTextModel, NgramModel

    inner = getattr(model, "module", model)
    assert isinstance(inner, CustomTextModel | NgramModel)
    return inner


def _some(rng: Rng, name: str, numbers: Tensor, share: float) -> Tensor:
    """(B, P) bool: a random `share` of the places that hold something, the same for a row however long its batch is."""
    return (rng.along(name, numbers.shape[1]) < share) & (numbers != 0)


def _inputs(batch: Batch) -> tuple[Tensor, ...]:
    """What the networks read of a batch, in the order of their arguments."""
    return tuple(batch[name] for name in INPUTS)


def _since(network: CustomTextModel | NgramModel, batch: Batch) -> tuple[str, ...]:
    """The part that cached features go into, where there are any: everything before it is frozen."""
    if "features" not in batch:
        return ()
    return (shared.first_learning(network),)
