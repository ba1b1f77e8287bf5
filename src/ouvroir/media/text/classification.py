"""Text classification: texts to one class, or to several labels.

Everything that training, evaluation and serving ask of this task; the networks are in models.py, the defaults in recipes.py.
torch is imported by the methods that need it: workers call `inspect` and the processor only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ouvroir import classification as shared
from ouvroir.media.text import recipes
from ouvroir.media.text.baselines import text_baselines
from ouvroir.media.text.processor import TextProcessor
from ouvroir.media.text.texts import Texts
from ouvroir.task import Answers, Batch, Cheap, Example, Note, Prediction, Processor, Row, StepOutput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.media.text.models import CustomTextModel, NgramModel
    from ouvroir.recipe import Recipe
    from ouvroir.rng import Rng


class TextClassification(Texts):
    """Texts to one class, or to several labels. See `ouvroir.task.Task`."""

    name: ClassVar[str] = recipes.TASK
    Options: ClassVar[type] = recipes.Options
    needs_labels: ClassVar[bool] = True
    synthesiser: ClassVar[str | None] = None

    # --- data ---------------------------------------------------------------------------------------------------------

    def unjudged(self, row: Row, processor: Processor) -> str | None:
        """Rows without a label, and with one that the model does not know."""
        return shared.unjudged(row, processor.labels)

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these texts."""
        del init_from  # no weights but our own
        return recipes.propose(manifest, preset)

    def reads_weights(self, init_from: str) -> bool:
        """None but our own."""
        del init_from
        return False

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> TextProcessor:
        """Labels of the train rows; pieces of words learned from them, or those of `earlier`."""
        assert earlier is None or isinstance(earlier, TextProcessor)
        return recipes.make_processor(manifest, recipe, earlier)

    def targets(self, rows: Sequence[Row], processor: Processor) -> dict[str, np.ndarray]:
        """`labels`: (N,) int64, or (N, C) float32 when multi-label."""
        assert isinstance(processor, TextProcessor)
        return shared.label_targets(rows, processor.labels, is_multi_label=processor.is_multi_label)

    # --- model --------------------------------------------------------------------------------------------------------

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights."""
        from ouvroir.media.text.models import build

        assert isinstance(processor, TextProcessor)
        return build(recipe, processor)

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """Class weights, where the recipe asks for them."""
        import torch

        network = _network(model)
        options: recipes.Options = recipe.options
        if options.class_weights == "balanced" and "labels" in table.targets:
            weights = shared.balanced_weights(table.targets["labels"].numpy(), len(network.class_weight))
            network.class_weight.copy_(torch.from_numpy(weights))

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; outputs are matched by class name, new classes start small."""
        return shared.adopt_by_name(_network(model), processor.labels, weights, labels)

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """embedding, block1 to the last, pool, head; or table, head."""
        return _network(model).parts()

    # --- training -----------------------------------------------------------------------------------------------------

    def tuning(self, recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
        """Gentler rates, and less hidden."""
        return recipes.tuning(recipe, manifest)

    def augments(self, recipe: Recipe) -> bool:
        """Whether pieces are hidden in training; not when only the head learns, unless the recipe insists."""
        options: recipes.Options = recipe.options
        return recipes.is_augmented(recipe) and options.piece_dropout > 0

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """Hide some pieces, and n-grams, when training."""
        options: recipes.Options = recipe.options
        if not training or "features" in batch or not self.augments(recipe):
            return batch
        from ouvroir.media.text import tokens

        name, stand_in = ("grams", 0) if options.network == "ngrams" else ("pieces", tokens.UNKNOWN)
        numbers = batch[name]
        is_hidden = rng.uniform("pieces", tuple(numbers.shape[1:])) < options.piece_dropout
        is_hidden &= numbers != 0
        if name == "grams":
            is_hidden[:, 0] = False  # a text of nothing has no mean
        return {**batch, name: numbers.masked_fill(is_hidden, stand_in)}

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """Cross-entropy (binary when multi-label). Smoothing, entropy, weights and dropout are for training only."""
        options: recipes.Options = recipe.options
        network = _network(model)
        masks = []
        if training and options.dropout:
            masks = [
                rng.keep_mask(f"dropout{number}", (width,), options.dropout)
                for number, width in enumerate(network.head.widths)
            ]
        logits = model(*_inputs(network, batch), masks, batch.get("features"), *_since(network, batch))
        if "labels" not in batch:
            return StepOutput(losses={}, outputs=logits)
        loss = shared.label_set_loss if batch["labels"].ndim == 2 else shared.class_loss
        extra: dict[str, Any] = {}
        if training:
            extra = {"label_smoothing": options.label_smoothing, "entropy": recipe.constants.value("zeta") or 0.0}
            if options.class_weights == "balanced":
                extra["class_weight"] = network.class_weight
        return StepOutput(losses={"class": loss(logits, batch["labels"], **extra)}, outputs=logits)

    def features(self, model: nn.Module, batch: Batch, part: str) -> Tensor:
        """Output of all parts before `part`: (B, D) before the head, (B, P, D) before the others."""
        network = _network(model)
        found: Tensor = network.embed(*_inputs(network, batch), part)
        return found

    # --- judging and using --------------------------------------------------------------------------------------------

    def metrics_for(self, processor: Processor) -> tuple[str, ...]:
        """Accuracy first, or macro F1 first when multi-label."""
        assert isinstance(processor, TextProcessor)
        return shared.MULTI_LABEL_METRICS if processor.is_multi_label else shared.SINGLE_LABEL_METRICS

    def answers(self, batch: Batch, output: StepOutput, processor: Processor) -> Answers:
        """Probabilities, losses and targets of the rows, on the CPU."""
        assert isinstance(processor, TextProcessor)
        return shared.class_answers(
            batch["index"],
            output.outputs,
            output.losses.get("class"),
            batch.get("labels"),
            processor.labels,
            is_multi_label=processor.is_multi_label,
        )

    def baselines(self, train: Table, test: Table, processor: Processor) -> list[Cheap]:
        """Most frequent class; logistic regression on weighted n-grams; nearest texts by these."""
        return text_baselines(train, test, processor.labels)

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
        batch = _batch_of(examples)
        model.eval()
        network = _network(model)
        with torch.inference_mode():
            logits = model(*(one.to(device) for one in _inputs(network, batch)))
            scores = shared.scores_of(logits, is_multi_label=processor.is_multi_label)
        return shared.predictions(
            scores, processor.labels, threshold=threshold, is_multi_label=processor.is_multi_label
        )

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`pieces`: (2, P) int64 and `lengths`: (2,) int64; or `grams`: (2, n) int64."""
        import torch

        assert isinstance(processor, TextProcessor)
        n = min(16, processor.max_pieces)
        return {"pieces": torch.arange(2 * n).view(2, n) % 100 + 4, "lengths": torch.tensor([n, n // 2])}


def _network(model: nn.Module) -> CustomTextModel | NgramModel:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.text.models import CustomTextModel, NgramModel

    inner = getattr(model, "module", model)
    assert isinstance(inner, CustomTextModel | NgramModel)
    return inner


def _inputs(network: CustomTextModel | NgramModel, batch: Batch) -> tuple[Tensor, ...]:
    """What the network reads of a batch, in the order of its arguments."""
    from ouvroir.media.text.models import NgramModel

    return (batch["grams"],) if isinstance(network, NgramModel) else (batch["pieces"], batch["lengths"])


def _since(network: CustomTextModel | NgramModel, batch: Batch) -> tuple[str, ...]:
    """The part that cached features go into, where there are any: everything before it is frozen."""
    if "features" not in batch or len(_inputs(network, batch)) == 1:
        return ()
    for name, part in network.parts():
        if any(param.requires_grad for param in part.parameters()):
            return (name,)
    return (network.parts()[-1][0],)


def _batch_of(examples: Sequence[Example]) -> Batch:
    import torch

    from ouvroir.data.table import Ragged
    from ouvroir.media.text.texts import padded

    found: Batch = {}
    for name in ("pieces", "grams"):
        lengths = torch.tensor([0, *(len(one[name]) for one in examples)])
        values = torch.from_numpy(np.concatenate([one[name] for one in examples]))
        found[name], found["lengths" if name == "pieces" else "n_grams"] = padded(Ragged(values, lengths.cumsum(0)))
    return found
