"""Sound classification: sounds to one class, or to several labels.

Everything that training, evaluation and serving ask of this task; the network is in models.py, the random changes in
augment.py, the defaults in recipes.py. torch is imported by the methods that need it: workers call `inspect` only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ouvroir import classification as shared
from ouvroir.baselines import cheap_baselines
from ouvroir.media.audio import recipes
from ouvroir.media.audio.decode import is_silent
from ouvroir.media.audio.processor import AudioProcessor
from ouvroir.media.audio.sounds import Sounds
from ouvroir.task import Batch, Cheap, Example, Note, Prediction, Processor, Split, StepOutput
from ouvroir.windows import answers_of, first_windows, pieces_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.media.audio.models import AdvancedAudioModel
    from ouvroir.recipe import Recipe
    from ouvroir.rng import Rng

STATISTICS_ROWS = 1000  # train sounds that mean and deviation of each band are taken from
ROWS_AT_ONCE = 128
INPUTS = ("wave", "warp", "hidden")


class AudioClassification(shared.Classifier, Sounds):
    """Sounds to one class, or to several labels. See `ouvroir.task.Task`."""

    name: ClassVar[str] = recipes.TASK
    Options: ClassVar[type] = recipes.Options
    synthesiser: ClassVar[str | None] = "audio-generation"

    # --- data ---------------------------------------------------------------------------------------------------------

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these sounds."""
        del init_from  # no weights but our own
        return recipes.propose(manifest, preset)

    def reads_weights(self, init_from: str) -> bool:
        """None but our own."""
        del init_from
        return False

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> AudioProcessor:
        """Labels of the train rows; rate and window that sounds are stored with, as `earlier` has them."""
        assert earlier is None or isinstance(earlier, AudioProcessor)
        return recipes.make_processor(manifest, recipe, earlier)

    # --- model --------------------------------------------------------------------------------------------------------

    def network(self, recipe: Recipe) -> str:
        """As of `ouvroir.task.Task`."""
        seen = {"mel": "spectrograms", "mfcc": "cepstra", "raw": "the raw wave"}[recipe.options.inputs]
        return f"a residual network of convolutions over {seen}, with attention over time"

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights."""
        from ouvroir.media.audio.models import build

        assert isinstance(processor, AudioProcessor)
        return build(recipe, processor)

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """Mean and deviation of each band over train sounds, and class weights, where the recipe asks for them."""
        from ouvroir.media.audio.models import mel_of

        network = _network(model)
        shared.weigh_classes(network, table, recipe)
        mel = mel_of(network)
        if mel is None:
            return
        mel.measure(
            self.collate(first_windows(table, some))["wave"]
            for some in pieces_of(len(table), STATISTICS_ROWS, ROWS_AT_ONCE)
        )

    # --- training -----------------------------------------------------------------------------------------------------

    def tuning(self, recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
        """Gentler rates and smaller changes."""
        return recipes.tuning(recipe, manifest)

    def augments(self, recipe: Recipe) -> bool:
        """Whether training sounds are changed at all; not when only the head learns, unless the recipe insists."""
        from ouvroir.media.audio.augment import is_random

        return recipes.is_augmented(recipe) and is_random(recipe.options)

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """Change the waves when training; rows that were blended have a `partner` and a `share`. Nothing to do otherwise."""
        if not training or "features" in batch or not self.augments(recipe):
            return batch
        from ouvroir.media.audio.augment import augment

        return {**batch, **augment(batch["wave"], batch["heard"], recipe.options, rng)}

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """Cross-entropy (binary when multi-label). Smoothing, entropy, weights and dropout are for training only."""
        network = _network(model)
        masks = shared.head_masks(network, recipe, rng, training=training)
        if "features" in batch:
            logits = model(None, None, None, masks, batch["features"], shared.first_learning(network))
        else:
            logits = model(*(batch.get(name) for name in INPUTS), masks)
        targets = None
        if training and "partner" in batch:
            spread = shared.one_hot(batch["labels"], logits.shape[1])
            share = batch["share"][:, None]
            targets = share * spread + (1 - share) * spread[batch["partner"]]
        return shared.class_step(network, logits, batch, recipe, training=training, targets=targets)

    def features(self, model: nn.Module, batch: Batch, part: str) -> Tensor:
        """Output of all parts before `part`: (B, D) before the head, (B, C, H, W) before the others."""
        return _network(model).embed(batch["wave"], part=part)

    # --- judging and using --------------------------------------------------------------------------------------------

    def baselines(self, tables: Mapping[Split, Table], processor: Processor, recipe: Recipe) -> list[Cheap]:
        """Most frequent class; logistic regression and nearest neighbours on means and deviations of cepstra."""
        train, test = tables["train"], tables["test"]
        del recipe
        assert isinstance(processor, AudioProcessor)
        targets = test.targets["labels"].numpy()
        return cheap_baselines(
            train.targets["labels"].numpy(),
            lambda places: simple_features(train, places, processor.rate),
            simple_features(test, np.arange(len(test)), processor.rate),
            targets,
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
        """Answers for encoded sounds; one of several windows has the mean of their scores, and those of each with its time.

        For one that is silent, which admission refuses, there is none.
        """
        import torch

        del recipe
        assert isinstance(processor, AudioProcessor)
        waves = torch.from_numpy(np.concatenate([example["wave"] for example in examples]))
        model.eval()
        found = []
        with torch.inference_mode():
            for start in range(0, len(waves), ROWS_AT_ONCE):
                logits = model(waves[start : start + ROWS_AT_ONCE].to(device))
                found.append(shared.scores_of(logits, is_multi_label=processor.is_multi_label))
        answers = answers_of(
            np.concatenate(found),
            [example["begin"] for example in examples],
            processor.labels,
            seconds=processor.window / processor.rate,
            rate=processor.rate,
            threshold=threshold,
            is_multi_label=processor.is_multi_label,
        )
        unheard = Prediction(error="It is silent, so there is nothing to answer for.")
        pairs = zip(answers, examples, strict=True)
        return [unheard if is_silent(example["wave"]) else answer for answer, example in pairs]

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`wave`: (2, T) int16."""
        import torch

        assert isinstance(processor, AudioProcessor)
        times = torch.arange(2 * processor.window).view(2, -1)
        return {"wave": (8000 * torch.sin(times * 0.05 + times[:, :1])).to(torch.int16)}


def _network(model: nn.Module) -> AdvancedAudioModel:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.audio.models import AdvancedAudioModel

    inner = getattr(model, "module", model)
    assert isinstance(inner, AdvancedAudioModel)
    return inner


def simple_features(table: Table, places: np.ndarray, rate: int) -> np.ndarray:
    """(N, 4 · N_CEPSTRA) float32: means and deviations of cepstra and of their changes over the loud part of each sound."""
    import torch

    from ouvroir.media.audio.spectra import LogMel, cosines, usual_bands

    mel, turn = LogMel(rate, usual_bands(rate)), cosines(usual_bands(rate))
    task, found = Sounds(), []
    for start in range(0, len(places), ROWS_AT_ONCE):
        wave = task.collate(first_windows(table, places[start : start + ROWS_AT_ONCE]))["wave"]
        with torch.no_grad():
            levels = mel.levels(wave)
            loud = levels.logsumexp(dim=1)
            is_loud = (loud >= loud.quantile(0.3, dim=1, keepdim=True)).float()[:, None]
            cepstra = turn @ levels
            change = torch.diff(cepstra, dim=2, prepend=cepstra[:, :, :1])
            for_each = torch.cat([cepstra, change], dim=1)
            n = is_loud.sum(dim=2)
            mean = (for_each * is_loud).sum(dim=2) / n
            spread = (((for_each - mean[:, :, None]) ** 2 * is_loud).sum(dim=2) / n).sqrt()
            found.append(torch.cat([mean, spread], dim=1).numpy())
    return np.concatenate(found)
