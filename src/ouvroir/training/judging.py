"""Validation while training: metrics of the model as it is, and which checkpoint is the best so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ouvroir.training.checkpoint import Place
from ouvroir.training.features import answer_from_features

if TYPE_CHECKING:
    from torch import nn

    from ouvroir.data.table import Table
    from ouvroir.recipe import Recipe
    from ouvroir.task import Processor, Task
    from ouvroir.training.step import Feed


@dataclass(frozen=True)
class Judge:
    """Judges models on `table`; from the cached features in `feed` where the frozen parts were run once."""

    task: Task
    processor: Processor
    table: Table
    device: str
    feed: Feed | None = None

    @property
    def n_items(self) -> int:
        """How many items are answered for each time: as many as rows, or more where a row is seen in windows."""
        return len(self.task.items(self.table, self.processor, training=False).row)

    def measure(self, model: nn.Module, recipe: Recipe) -> dict[str, float]:
        """Metrics of `model`, the deciding one first, and the loss per item. May leave the model in another mode."""
        from ouvroir.evaluation.evaluate import evaluate
        from ouvroir.evaluation.metrics import applies, score

        if self.feed is not None:
            answers = answer_from_features(self.feed, model, recipe, self.processor, self.device)
        else:
            answers = evaluate(self.task, model, self.processor, recipe, self.table, device=self.device)
        names = [name for name in self.task.metrics_for(self.processor) if applies(name, answers)]
        values = {name: score(name, answers) for name in names}
        return {**values, "loss": float(answers.loss.sum() / max(1, answers.n_items.sum()))}


def take_if_better(place: Place, values: Mapping[str, float]) -> bool:
    """Note in `place` whether `values`, measured at its step, are the best so far; of equal metrics the lower loss wins.

    The first of `values` decides. Returns whether they are.
    """
    from ouvroir.evaluation.metrics import is_higher_better

    name, value = next(iter(values.items()))
    loss = values["loss"]
    sign = 1 if is_higher_better(name) else -1
    is_better = math.isfinite(value) and math.isfinite(loss)
    if is_better and place.best_value is not None and place.best_loss is not None:
        is_better = (sign * value, -loss) > (sign * place.best_value, -place.best_loss)
    if not is_better:
        place.stale += 1
        return False
    place.best_step, place.best_value, place.best_loss, place.stale = place.step, value, loss, 0
    return True
