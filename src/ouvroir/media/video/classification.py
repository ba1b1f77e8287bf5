"""Video classification: videos to one class, or to several labels.

Everything that training, evaluation and serving ask of this task; the network is in models.py, the random changes in
augment.py, the defaults in recipes.py. torch is imported by the methods that need it: workers call `inspect` only.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ouvroir import classification as shared
from ouvroir.baselines import cheap_baselines
from ouvroir.media.video import recipes
from ouvroir.media.video.processor import VideoProcessor
from ouvroir.media.video.videos import Videos
from ouvroir.task import Batch, Cheap, Control, Example, Moment, Note, Prediction, Processor, Split, StepOutput
from ouvroir.windows import answers_of, first_of, first_windows, pieces_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.media.video.models import AdvancedVideoModel
    from ouvroir.recipe import Recipe
    from ouvroir.rng import Rng

STATISTICS_ROWS = 500  # train videos that mean and deviation of the levels are taken from
ROWS_AT_ONCE = 32
BASELINE_PX = 8  # edge of the copies that cheap baselines look at


def shuffled(batch: Batch, rng: Rng) -> Batch:
    """The batch with the frames of each clip in an order that is drawn."""
    frames = batch["frames"]
    order = rng.uniform("order", frames.shape[1:2]).argsort(dim=1)
    return {**batch, "frames": frames.take_along_dim(order[:, :, None, None, None], dim=1)}


def stilled(batch: Batch, rng: Rng) -> Batch:
    """The batch with the middle frame of each clip in place of all."""
    del rng
    frames = batch["frames"]
    middle = frames.shape[1] // 2
    return {**batch, "frames": frames[:, middle : middle + 1].expand_as(frames).contiguous()}


class VideoClassification(shared.Classifier, Videos):
    """Videos to one class, or to several labels. See `ouvroir.task.Task`."""

    name: ClassVar[str] = recipes.TASK
    Options: ClassVar[type] = recipes.Options
    synthesiser: ClassVar[str | None] = "video-generation"
    controls: ClassVar[tuple[Control, ...]] = (
        Control("shuffled", "Each video with its frames in another order", shuffled),
        Control("single", "One frame of each video, the middle one, for all of its time", stilled),
    )

    # --- data ---------------------------------------------------------------------------------------------------------

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these videos."""
        del init_from  # no weights but our own
        return recipes.propose(manifest, preset)

    def reads_weights(self, init_from: str) -> bool:
        """None but our own."""
        del init_from
        return False

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> VideoProcessor:
        """Labels of the train rows; sampling and size that videos are stored with, as `earlier` has them."""
        assert earlier is None or isinstance(earlier, VideoProcessor)
        return recipes.make_processor(manifest, recipe, earlier)

    # --- model --------------------------------------------------------------------------------------------------------

    def network(self, recipe: Recipe) -> str:
        """As of `ouvroir.task.Task`."""
        del recipe
        return "convolutions over space, then over time, with attention over time"

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights."""
        from ouvroir.media.video.models import build

        assert isinstance(processor, VideoProcessor)
        return build(recipe, processor)

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """Mean and deviation of the levels of each colour, and class weights, where the recipe asks for them."""
        network = _network(model)
        shared.weigh_classes(network, table, recipe)
        mean, std = level_statistics(table)
        network.spatial.mean.copy_(mean)
        network.spatial.std.copy_(std.clamp_min(1.0))

    # --- training -----------------------------------------------------------------------------------------------------

    def tuning(self, recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
        """Gentler rates and smaller changes."""
        return recipes.tuning(recipe, manifest)

    def augments(self, recipe: Recipe) -> bool:
        """Whether training videos are changed at all; not when only the head learns, unless the recipe insists."""
        from ouvroir.media.video.augment import is_random

        return recipes.is_augmented(recipe) and is_random(recipe.options)

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """Change the clips when training. Nothing to do otherwise."""
        if not training or "features" in batch or not self.augments(recipe):
            return batch
        from ouvroir.media.video.augment import augment

        return {**batch, "frames": augment(batch["frames"], recipe.options, rng)}

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """Cross-entropy (binary when multi-label). Smoothing, entropy, weights and dropout are for training only."""
        network = _network(model)
        masks = shared.head_masks(network, recipe, rng, training=training)
        if "features" in batch:
            logits = model(None, masks, batch["features"], shared.first_learning(network))
        else:
            logits = model(batch["frames"], masks)
        return shared.class_step(network, logits, batch, recipe, training=training)

    def features(self, model: nn.Module, batch: Batch, part: str) -> Tensor:
        """Output of all parts before `part`: (B, D) before the head, (B, C, T, H, W) before the others."""
        return _network(model).embed(batch["frames"], part)

    # --- judging and using --------------------------------------------------------------------------------------------

    def baselines(self, tables: Mapping[Split, Table], processor: Processor, recipe: Recipe) -> list[Cheap]:
        """Most frequent class; logistic regression and nearest neighbours on the mean picture and where it changes."""
        train, test = tables["train"], tables["test"]
        del recipe
        return cheap_baselines(
            train.targets["labels"].numpy(),
            lambda places: simple_features(train, places),
            simple_features(test, np.arange(len(test))),
            test.targets["labels"].numpy(),
            processor.labels,
        )

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
        """Answers for encoded videos; one of several clips has the mean of their scores, and those of each with its time."""
        import torch

        del recipe
        assert isinstance(processor, VideoProcessor)
        frames = torch.from_numpy(np.concatenate([example["frames"] for example in examples]))
        model.eval()
        found = []
        with torch.inference_mode():
            for start in range(0, len(frames), ROWS_AT_ONCE):
                logits = model(frames[start : start + ROWS_AT_ONCE].to(device))
                found.append(shared.scores_of(logits, is_multi_label=processor.is_multi_label))
        return answers_of(
            np.concatenate(found),
            [example["begin"] for example in examples],
            processor.labels,
            seconds=processor.n_frames / processor.fps,
            rate=processor.fps,
            threshold=threshold,
            is_multi_label=processor.is_multi_label,
        )

    def follow(self, address: str, processor: Processor, *, every_s: float) -> Generator[Moment, None, None]:
        """The newest clip of a webcam, an address, or a file played in its own time. See `ouvroir.task.Streamer`."""
        from ouvroir.media.video.stream import follow

        assert isinstance(processor, VideoProcessor)
        return follow(address, processor, every_s=every_s)

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`frames`: (2, T, H, W, 3) uint8."""
        import torch

        assert isinstance(processor, VideoProcessor)
        shape = (2, processor.n_frames, processor.storage_px, processor.storage_px, 3)
        return {"frames": torch.arange(int(np.prod(shape))).remainder(251).to(torch.uint8).view(shape)}


def _network(model: nn.Module) -> AdvancedVideoModel:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.video.models import AdvancedVideoModel

    inner = getattr(model, "module", model)
    assert isinstance(inner, AdvancedVideoModel)
    return inner


def level_statistics(table: Table) -> tuple[Tensor, Tensor]:
    """Mean and deviation (3,) of the levels of each colour in train clips, by sums of whole numbers."""
    import torch

    n, total, squares = 0, torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    for places in pieces_of(len(table), STATISTICS_ROWS, ROWS_AT_ONCE):
        levels = first_of(first_windows(table, places).fields["frames"]).flatten(0, 3).int()
        n += len(levels)
        total += levels.sum(dim=0, dtype=torch.int64)
        squares += levels.square().sum(dim=0, dtype=torch.int64)
    mean = total.double() / n
    return mean.float(), (squares.double() / n - mean**2).clamp_min(0).sqrt().float()


def simple_features(table: Table, places: np.ndarray) -> np.ndarray:
    """(N, D) float32: small grey copies of the mean frame, of how much each place changes, and of how the second half differs."""
    from torch.nn import functional

    found = []
    for start in range(0, len(places), ROWS_AT_ONCE):
        frames = (
            first_of(first_windows(table, places[start : start + ROWS_AT_ONCE]).fields["frames"]).float().mean(dim=4)
            / 255
        )
        small = functional.interpolate(frames, size=BASELINE_PX, mode="area")  # (B, T, h, w)
        half = small.shape[1] // 2
        change = small.diff(dim=1).abs().mean(dim=1)
        turn = small[:, half:].mean(dim=1) - small[:, :half].mean(dim=1)
        found.append(np.concatenate([part.flatten(1).numpy() for part in (small.mean(dim=1), change, turn)], axis=1))
    return np.concatenate(found)
