"""Picture classification with a foreign network, so that Ouvroir's loop trains the very module that its peers train.

Tasks are named `benchmarks.tasks:Mlp` in a recipe. torch loads inside the methods: worker processes import this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ouvroir.classification import class_loss
from ouvroir.media.image.classification import ImageClassification
from ouvroir.task import StepOutput

if TYPE_CHECKING:
    from torch import nn

    from ouvroir.data.table import Table
    from ouvroir.recipe import Recipe
    from ouvroir.rng import Rng
    from ouvroir.task import Batch, Processor


class _Foreign(ImageClassification):
    """Everything about pictures as it is; the network and the plain cross-entropy are the benchmark's."""

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """The middle of the range is what the peers normalise with, too."""

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """One part."""
        return [("network", model)]

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """Cross-entropy."""
        logits = model(batch["pixel_values"])
        return StepOutput(losses={"class": class_loss(logits, batch["labels"])}, outputs=logits)


class Mlp(_Foreign):
    """The multi-layer perceptron."""

    name: ClassVar[str] = "benchmarks.tasks:Mlp"

    def build_model(self, recipe: Recipe, processor: Processor) -> Any:
        """(B, 1, 28, 28) uint8 to logits."""
        from benchmarks.networks import FromPixels, mlp

        return FromPixels(mlp(len(processor.labels)))


class WideMlp(_Foreign):
    """The perceptron with four times the arithmetic."""

    name: ClassVar[str] = "benchmarks.tasks:WideMlp"

    def build_model(self, recipe: Recipe, processor: Processor) -> Any:
        """(B, 1, 28, 28) uint8 to logits."""
        from benchmarks.networks import FromPixels, wide_mlp

        return FromPixels(wide_mlp(len(processor.labels)))


class ResNet18(_Foreign):
    """ResNet-18 from nothing."""

    name: ClassVar[str] = "benchmarks.tasks:ResNet18"

    def build_model(self, recipe: Recipe, processor: Processor) -> Any:
        """(B, 3, H, W) uint8 to logits."""
        from benchmarks.networks import FromPixels, resnet18

        return FromPixels(resnet18(len(processor.labels)))
