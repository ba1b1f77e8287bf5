"""What generators of all media share: classes as conditions, and what a task that makes samples answers to most questions.

How samples are learned and made is each medium's own. torch is imported by the functions that need it.

Axes: B rows, K classes; place K is that of no class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ouvroir.constants import ALPHA
from ouvroir.errors import UsageError
from ouvroir.files import readable_names
from ouvroir.task import (
    NO_ANSWERS,
    Answers,
    Batch,
    Cheap,
    Example,
    Label,
    Note,
    Prediction,
    Processor,
    Row,
    Split,
    StepOutput,
)
from ouvroir.usual import Usual

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.recipe import Recipe
    from ouvroir.rng import Rng


_VIEW_EDGE = 16


class Maker(Usual, ABC):
    """The part of a Synthesiser that is the same whatever is made. A task adds its data, the net, its steps and `make`."""

    needs_labels: ClassVar[bool] = False
    synthesiser: ClassVar[str | None] = None

    @abstractmethod
    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these rows: the task's own."""

    def unjudged(self, row: Row, processor: Processor) -> str | None:
        """Every row can be judged: by how well what is made fits it."""
        del row, processor
        return None

    def reads_weights(self, init_from: str) -> bool:
        """None but our own."""
        del init_from
        return False

    def tuning(self, recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
        """A third of the rate, falling."""
        if manifest is not None:
            proposed, _ = self.recipe(manifest, recipe.model.preset)
            recipe = replace(recipe, optim=proposed.optim, loop=proposed.loop)
        return recipe.replace("optim", lr=recipe.optim.lr / 3, schedule="cosine", warmup=0.05)

    def targets(self, rows: Sequence[Row], processor: Processor) -> dict[str, np.ndarray]:
        """`labels`: (N,) int64, K for rows without a class that is known; (N, K + 1) float32 where a row has several."""
        place = {label: number for number, label in enumerate(processor.labels)}
        known = [[place[name] for name in names_of(row.label) if name in place] for row in rows]
        nothing = len(processor.labels)
        if not getattr(processor, "is_multi_label", False):
            return {"labels": np.array([places[0] if places else nothing for places in known], dtype=np.int64)}
        found = np.zeros((len(rows), nothing + 1), dtype=np.float32)
        for number, places in enumerate(known):
            found[number, places or [nothing]] = 1
        return {"labels": found}

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """Nothing: there is nothing to learn from data without gradients."""
        del model, table, recipe

    def features(self, model: nn.Module, batch: Batch, part: str) -> Tensor:
        """Never asked for: what is learned from is new at each step, so nothing is ever cached."""
        del model, batch
        raise AssertionError(part)

    def metrics_for(self, processor: Processor) -> tuple[str, ...]:
        """The loss on rows that were not learned from."""
        del processor
        return ("loss",)

    def answers(self, batch: Batch, output: StepOutput, processor: Processor) -> Answers:
        """The losses of the rows, on the CPU."""
        del processor
        (loss,) = output.losses.values()
        return Answers(
            index=batch["index"].cpu().numpy(),
            loss=loss.per_row.double().cpu().numpy(),
            n_items=loss.n_items.cpu().numpy(),
        )

    def baselines(self, tables: Mapping[Split, Table], processor: Processor, recipe: Recipe) -> list[Cheap]:
        """None."""
        del tables, processor, recipe
        return []

    def passages(self, asked: Table, known: Table, *, is_itself: bool) -> np.ndarray:
        """None: what is made has no passages."""
        del known, is_itself
        return np.zeros(len(asked))

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
        """Raises UsageError: it answers nothing."""
        del model, processor, recipe, examples, device, threshold
        raise UsageError(NO_ANSWERS)


class FlowMaker(Maker):
    """A Maker whose network follows a flow from noise to samples (`ouvroir.flow`)."""

    network_words: ClassVar[str]
    """What the network is, in words: what `network` answers."""

    def network(self, recipe: Recipe) -> str:
        """As of `ouvroir.task.Task`."""
        del recipe
        return self.network_words

    def constants(self, recipe: Recipe) -> Mapping[str, str]:
        """As of `ouvroir.task.Task`."""
        del recipe
        return {
            "phi": "Times of a batch are 1/φ apart on the way from noise to sample.",
            "pi": "Lowest frequency by which the time is told to the network.",
            "alpha": ALPHA.use,
        }


def names_of(label: Label) -> tuple[str, ...]:
    """The classes of a row: none, one or several."""
    return () if label is None else (label,) if isinstance(label, str) else label


def train_classes(manifest: Manifest) -> tuple[str, ...]:
    """The sorted class names of the train rows; none where they have none."""
    return tuple(sorted({name for row in manifest.rows if row.split == "train" for name in names_of(row.label)}))


def weights_of(labels: Tensor, n_classes: int) -> Tensor:
    """(B, K + 1) float32, from class numbers (B,) or as they are."""
    from torch.nn import functional

    if labels.ndim == 2:
        return labels
    return functional.one_hot(labels, n_classes + 1).float()


def left_out(labels: Tensor, share: float, rng: Rng) -> Tensor:
    """(B, K + 1): the weights of the classes, and for a random `share` of the rows that of no class instead."""
    import torch

    if not share:
        return labels
    nothing = torch.zeros_like(labels)
    nothing[:, -1] = 1
    return torch.where((rng.uniform("label") < share)[:, None], nothing, labels)


def unknown_class(label: str, labels: Sequence[str]) -> UsageError:
    """What is said where a class is asked for that a model was not taught."""
    if not labels:
        return UsageError(
            f"The model learned from data without classes, so it knows no class `{label}`. Leave --label out."
        )
    return UsageError(f"The generator knows no class `{label}`. It knows {readable_names(labels)}.")


def label_weights(asked: Sequence[str | None], labels: Sequence[str]) -> np.ndarray:
    """(B, K + 1) float32 of 0 and 1. Raises UsageError."""
    place = {label: number for number, label in enumerate(labels)}
    found = np.zeros((len(asked), len(labels) + 1), dtype=np.float32)
    for number, label in enumerate(asked):
        if label is not None and label not in place:
            raise unknown_class(label, labels)
        found[number, len(labels) if label is None else place[label]] = 1
    return found


def shifted_views(maps: Tensor) -> Tensor:
    """(B, V, D) float32: the inside of maps (B, C, H, W), made small, and what is seen one place off it each way.

    The small copy has at most 16 places along an edge; its border is left out, so that a copy which was moved by one shows exactly
    what its original shows in the middle.
    """
    import torch
    from torch.nn import functional

    edge = min(_VIEW_EDGE, maps.shape[-1])
    small = functional.interpolate(maps, size=edge, mode="area")
    moves = [(1, 1), *((down, right) for down in range(3) for right in range(3) if (down, right) != (1, 1))]
    inside = edge - 2
    found = [small[:, :, down : down + inside, right : right + inside].flatten(1) for down, right in moves]
    return torch.stack(found, dim=1)
