"""Image classification: pictures to one class, or to several labels.

Everything that training, evaluation and serving ask of this task; the network is in models.py, the random changes in
augment.py, the defaults in recipes.py. torch is imported by the methods that need it: workers call `inspect` only.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ouvroir import classification as shared
from ouvroir.errors import OuvroirError, Refused, UsageError
from ouvroir.media.image import recipes
from ouvroir.media.image.decode import decode, inspect_picture
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.task import (
    Answers,
    Batch,
    Cheap,
    Facts,
    Input,
    Items,
    Limits,
    Note,
    Prediction,
    Processor,
    Row,
    Source,
    StepOutput,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table, TableSlice
    from ouvroir.recipe import Recipe
    from ouvroir.rng import Rng


class ImageClassification:
    """Pictures to one class, or to several labels. See `ouvroir.task.Task`."""

    name: ClassVar[str] = recipes.TASK
    Options: ClassVar[type] = recipes.Options
    loop: ClassVar[Literal["fit", "adversarial"]] = "fit"
    synthesiser: ClassVar[str | None] = None
    metrics: ClassVar[tuple[str, ...]] = shared.SINGLE_LABEL_METRICS

    # --- data ---------------------------------------------------------------------------------------------------------

    def inspect(self, source: Source, limits: Limits) -> Facts:
        """Open one picture at admission. Raises Refused."""
        return inspect_picture(source, limits)

    def recipe(self, manifest: Manifest, preset: str, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these pictures; pretrained weights named by `init_from` ask for other settings."""
        return recipes.propose(manifest, preset, init_from)

    def fit_processor(self, manifest: Manifest, recipe: Recipe) -> ImageProcessor:
        """Labels of the train rows, the size and the channels that pictures are stored with."""
        return recipes.make_processor(manifest, recipe)

    def load_processor(self, folder: Path) -> ImageProcessor:
        """Read what `ImageProcessor.save` wrote."""
        return ImageProcessor.load(folder)

    def targets(self, rows: Sequence[Row], processor: Processor) -> dict[str, np.ndarray]:
        """`labels`: (N,) int64, or (N, C) float32 when multi-label."""
        assert isinstance(processor, ImageProcessor)
        return shared.label_targets(rows, processor.labels, is_multi_label=processor.is_multi_label)
