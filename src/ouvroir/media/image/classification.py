"""Image classification: pictures to one class, or to several labels.

Everything that training, evaluation and serving ask of this task; the network is in models.py, the random changes in
augment.py, the defaults in recipes.py. torch is imported by the methods that need it: workers call `inspect` only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ouvroir import classification as shared
from ouvroir.baselines import cheap_baselines
from ouvroir.media.image import recipes
from ouvroir.media.image.pictures import Pictures, pixels_of
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.source import Source
from ouvroir.task import Batch, Cheap, Example, Note, Prediction, Processor, Split, StepOutput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.media.image.models import ConceptualImageModel
    from ouvroir.recipe import Recipe
    from ouvroir.rng import Rng

STATISTICS_ROWS = 1000  # train pictures that mean and deviation are taken from
STATISTICS_PIECE = 50  # of them at a time
ROWS_AT_ONCE = 512
BASELINE_PX = 16  # edge of the copy that cheap baselines look at


class ImageClassification(shared.Classifier, Pictures):
    """Pictures to one class, or to several labels. See `ouvroir.task.Task`."""

    name: ClassVar[str] = recipes.TASK
    Options: ClassVar[type] = recipes.Options
    synthesiser: ClassVar[str | None] = "image-generation"
    hf_load: ClassVar[str] = (
        'pipeline = transformers.pipeline("image-classification", {place})\nprint(pipeline("a_file.png"))'
    )

    # --- data ---------------------------------------------------------------------------------------------------------

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these pictures; pretrained weights named by `init_from` ask for other settings."""
        return recipes.propose(manifest, preset, init_from)

    def reads_weights(self, init_from: str) -> bool:
        """ResNets in the Hugging Face form."""
        return recipes.is_pretrained(init_from)

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> ImageProcessor:
        """Labels of the train rows; size, channels and levels that pictures are stored with, as `earlier` has them."""
        assert earlier is None or isinstance(earlier, ImageProcessor)
        return recipes.make_processor(manifest, recipe, earlier)

    # --- model --------------------------------------------------------------------------------------------------------

    def network(self, recipe: Recipe) -> str:
        """As of `ouvroir.task.Task`."""
        if recipe.options.backbone == "compact":
            return "a residual network of convolutions, with attention over places"
        return "a ResNet of the transformers library"

    def constants(self, recipe: Recipe) -> Mapping[str, str]:
        """As of `ouvroir.task.Task`."""
        found = dict(super().constants(recipe))
        if recipe.options.backbone != "compact":  # which has no attention pooling and no scaled branches
            found = {name: use for name, use in found.items() if name not in ("pi", "alpha")}
        if recipe.options.head == "linear":
            del found["phi"]
        return found

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights; `prepare_model` reads pretrained ones."""
        from ouvroir.media.image.models import build

        assert isinstance(processor, ImageProcessor)
        return build(recipe, processor)

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """Mean and deviation of the train pictures, class weights, and pretrained weights where the recipe names them."""
        network = _network(model)
        options: recipes.Options = recipe.options
        shared.weigh_classes(network, table, recipe)
        if recipes.is_pretrained(recipe.model.init_from):
            from ouvroir.media.image.pretrained import load_backbone

            load_backbone(network, recipe.model.init_from)
        elif options.backbone == "compact":
            places = np.linspace(0, len(table) - 1, min(len(table), STATISTICS_ROWS)).astype(np.int64)
            mean, std = _level_statistics(table, np.unique(places))
            network.mean.copy_(mean)
            network.std.copy_(std.clamp_min(1.0))

    # --- training -----------------------------------------------------------------------------------------------------

    def tuning(self, recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
        """Gentler rates and pictures closer to those that will be judged (Touvron 2019, arXiv 1906.06423)."""
        return recipes.tuning(recipe, manifest)

    def augments(self, recipe: Recipe) -> bool:
        """Whether training pictures are changed at all; not when only the head learns, unless the recipe insists."""
        from ouvroir.media.image.augment import is_random

        options: recipes.Options = recipe.options
        is_resized = options.train_px not in (None, options.storage_px)
        return recipes.is_augmented(recipe) and (is_random(options) or is_resized)

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """Augment when training; how rows were blended becomes `mixed`. Nothing to do otherwise."""
        options: recipes.Options = recipe.options
        if not training or "features" in batch or not recipes.is_augmented(recipe):
            return batch
        from ouvroir.media.image.augment import augment

        pixels, mixed = augment(batch["pixel_values"], options, rng, edge_px=options.train_px)
        changed = {**batch, "pixel_values": pixels}
        if mixed is not None:
            changed["mixed"] = mixed
        return changed

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """Cross-entropy (binary when multi-label). Smoothing, entropy, weights and dropout are for training only."""
        network = _network(model)
        masks = shared.head_masks(network, recipe, rng, training=training)
        if "features" in batch:
            logits = model(None, masks, batch["features"], shared.first_learning(network))
        else:
            logits = model(batch["pixel_values"], masks)
        targets = None
        if training and "mixed" in batch:
            targets = batch["mixed"].targets(shared.one_hot(batch["labels"], logits.shape[1]))
        return shared.class_step(network, logits, batch, recipe, training=training, targets=targets)

    def features(self, model: nn.Module, batch: Batch, part: str) -> Tensor:
        """Output of all parts before `part`: (B, D) before the head, (B, C, H, W) before the others."""
        return _network(model).embed(batch["pixel_values"], part)

    # --- judging and using --------------------------------------------------------------------------------------------

    def baselines(self, tables: Mapping[Split, Table], processor: Processor, recipe: Recipe) -> list[Cheap]:
        """Most frequent class; logistic regression and nearest neighbours on a small copy of the picture."""
        train, test = tables["train"], tables["test"]
        del recipe

        def of_train(places: np.ndarray) -> np.ndarray:
            return simple_features(train, places)

        wanted, targets = train.targets["labels"].numpy(), test.targets["labels"].numpy()
        asked = simple_features(test, np.arange(len(test)))
        return cheap_baselines(wanted, of_train, asked, targets, processor.labels)

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
        """Answers for encoded pictures."""
        import torch

        del recipe  # pictures are judged as they are stored
        assert isinstance(processor, ImageProcessor)
        pixels = torch.from_numpy(np.stack([example["pixel_values"] for example in examples]))
        model.eval()
        with torch.inference_mode():
            logits = model(pixels.permute(0, 3, 1, 2).to(device))
            scores = shared.scores_of(logits, is_multi_label=processor.is_multi_label)
        return shared.predictions(
            scores, processor.labels, threshold=threshold, is_multi_label=processor.is_multi_label
        )

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`pixel_values`: (2, C, H, W) uint8."""
        import torch

        assert isinstance(processor, ImageProcessor)
        return {
            "pixel_values": torch.arange(2 * processor.n_channels * processor.storage_px**2)
            .remainder(256)
            .to(torch.uint8)
            .view(2, processor.n_channels, processor.storage_px, processor.storage_px)
        }

    def require_hf(self, model: nn.Module, processor: Processor) -> None:
        """Raise UsageError for what has no class in transformers."""
        from ouvroir.media.image.hf import require_expressible

        assert isinstance(processor, ImageProcessor)
        require_expressible(_network(model), processor)

    def to_hf(self, model: nn.Module, processor: Processor, recipe: Recipe, folder: Path) -> None:
        """Write the folder that transformers loads."""
        from ouvroir.media.image.hf import write_hf

        del recipe
        assert isinstance(processor, ImageProcessor)
        write_hf(_network(model), processor, folder)

    def from_hf(self, folder: Path, processor: Processor) -> Callable[[Batch], Tensor]:
        """Read what `to_hf` wrote: from a batch to logits (B, K)."""
        from ouvroir.media.image.hf import read_hf

        assert isinstance(processor, ImageProcessor)
        return read_hf(folder, processor)

    def check_hf(self, folder: Path, processor: Processor, sources: Sequence[Source]) -> None:
        """Compare the folder's own preprocessing with ours on files. Raises ExportError."""
        from ouvroir.media.image.hf import require_same_pictures

        assert isinstance(processor, ImageProcessor)
        require_same_pictures(folder, processor, sources)


def _network(model: nn.Module) -> ConceptualImageModel:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.image.models import ConceptualImageModel

    inner = getattr(model, "module", model)
    assert isinstance(inner, ConceptualImageModel)
    return inner


def _level_statistics(table: Table, places: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and deviation (C,) of the levels of the rows at `places`, by sums of whole numbers, a few rows at a time."""
    import torch

    n, total, squares = 0, torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.int64)
    for start in range(0, len(places), STATISTICS_PIECE):
        pixels = pixels_of(table.slice(places[start : start + STATISTICS_PIECE])).flatten(0, 2)  # (N·H·W, C)
        n += len(pixels)
        total = total + pixels.sum(dim=0, dtype=torch.int64)
        squares = squares + pixels.int().square_().sum(dim=0, dtype=torch.int64)
    mean = total.double() / n
    return mean.float(), (squares.double() / n - mean**2).clamp_min(0).sqrt().float()


def simple_features(table: Table, places: np.ndarray) -> np.ndarray:
    """(N, D) float32: the pictures at `places` as a grey 16x16 copy, and 4x4 of each channel where there is colour."""
    found = []
    for start in range(0, len(places), ROWS_AT_ONCE):
        pixels = pixels_of(table.slice(places[start : start + ROWS_AT_ONCE])).float() / 255  # (B, H, W, C)
        found.append(_small_copy(pixels.permute(0, 3, 1, 2)))
    return np.concatenate(found)


def _small_copy(pixels: Tensor) -> np.ndarray:
    import torch
    from torch.nn import functional

    edge = min(BASELINE_PX, pixels.shape[-1])
    parts = [functional.interpolate(pixels.mean(dim=1, keepdim=True), size=edge, mode="area").flatten(1)]
    if pixels.shape[1] == 3:
        parts.append(functional.interpolate(pixels, size=4, mode="area").flatten(1))
    copy: np.ndarray = torch.cat(parts, dim=1).numpy()
    return copy
