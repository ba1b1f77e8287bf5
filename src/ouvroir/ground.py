"""What a trial stands on: a trained model, whose recipe is the ordinary way, its data, and processes that train others like it."""

from __future__ import annotations

import math
import os
import shlex
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ouvroir import trying, workflow
from ouvroir.arms import Way
from ouvroir.errors import RunError, Untried
from ouvroir.evaluation import trial
from ouvroir.media import TASKS, TRUSTED_VARIABLE
from ouvroir.run import Run
from ouvroir.training.crew import Crew

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.recipe import Recipe

LEAST_ITEMS = 50
WORTH_SEEING = 0.02
_MOST_SET_ASIDE = 0.4  # of the rows, for the test: with more, too little is left to learn from
_USUAL_DISAGREEMENT = (
    0.08  # two trainings of one way differ on about so many items where a tenth of them is answered wrongly
)


@dataclass(frozen=True)
class Ground:
    """What a trial stands on: the trained model whose recipe is the ordinary way, and the data it was trained on.

    crew: the processes that train, to be closed. split: what is judged by; `validation` for a choice that comes before the
    trial, which never looks at the test.
    """

    run: Run
    base: Run
    manifest: Manifest
    crew: Crew = field(repr=False, compare=False)
    split: Literal["validation", "test"] = "test"

    @classmethod
    def of(cls, run: Run) -> Ground:
        """From a run: the base model of a job, else the run itself. Raises ManifestError, RunError."""
        if run.whole.path != run.path:
            raise RunError(f"{run.path} is a part of a job: `ouvroir prove {shlex.quote(str(run.whole.path))}`.")
        base = next(iter(run.models), run)
        if not (base.path / "recipe.json").is_file() or not base.metrics() or not base.recipe().loop.steps:
            raise RunError(
                f"{run.path} has no trained model whose recipe could be tried. `{run.way_on}` goes on with it."
            )
        return cls(run, base, workflow.manifest_of(base), _crew_for(base.recipe().task))

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the ordinary way, as it was settled."""
        return self.base.recipe()

    @cached_property
    def real(self) -> Manifest:
        """The rows without synthetic ones: what a generator learns from, whatever the model has."""
        rows = tuple(row for row in self.manifest.rows if row.origin == "real")
        return self.manifest if len(rows) == len(self.manifest.rows) else replace(self.manifest, rows=rows)

    @property
    def steps(self) -> int:
        """Optimiser steps of the ordinary way."""
        return self.recipe.loop.steps or 1

    @property
    def n_items(self) -> int:
        """Items that are judged by; those of a group count as one."""
        return n_independent(self.manifest, self.split)

    def require_items(self) -> None:
        """Raise Untried, with how many would be needed, when no verdict can come of so few."""
        if sentence := too_few(self.manifest, self.split):
            raise Untried(sentence)

    def way(self, steps: int) -> Way:
        """The ordinary way: on one thread, with one validation at the end, so that the last weights are judged in all arms.

        In single precision where the model was trained in another one that this processor lacks.
        """
        from ouvroir.training.device import has_bf16

        precision = self.recipe.loop.precision if has_bf16("cpu") else "fp32"
        recipe = self.recipe.replace(
            "loop",
            steps=steps,
            minutes=None,
            threads=1,
            precision=precision,
            branch_at=0.0,
            patience=0,
            evaluate_every=steps,
            save_every=steps,
            cache_features=False,
        )
        return Way(recipe)

    def rows_of(self, way: Way) -> Manifest:
        """The manifest of one arm: the train rows, what is added to them, and as test what is judged by."""
        judged = set(self.manifest.judged(self.split).tolist())
        rows = [
            replace(row, split="test") if row.split == self.split else row
            for place, row in enumerate(self.manifest.rows)
            if row.split == "train" or place in judged
        ]
        return replace(
            self.manifest, rows=tuple(sorted((*rows, *way.extra), key=lambda row: row.id)), refused=(), notes=()
        )


def n_independent(manifest: Manifest, split: Literal["validation", "test"]) -> int:
    """The items of a split that are judged; those of one group, such as takes of one person, count as one."""
    rows = [manifest.rows[place] for place in manifest.judged(split).tolist()]
    return len({row.group or f"\n{row.id}" for row in rows})


def too_few(manifest: Manifest, split: Literal["validation", "test"] = "test") -> str:
    """A sentence where no verdict can come of so few items, with how many it takes; '' where it can."""
    n_items = n_independent(manifest, split)
    if n_items >= LEAST_ITEMS:
        return ""
    needed = trial.least_items(WORTH_SEEING, _USUAL_DISAGREEMENT)
    n_all = len({row.group or f"\n{row.id}" for row in manifest.rows if row.origin == "real"})
    in_all = 10 * math.ceil(LEAST_ITEMS * n_all / max(1, n_items) / 10)
    way_on = f"Add data: with {in_all} independent items in all, split as these are, a trial can begin."
    if _MOST_SET_ASIDE * n_all >= LEAST_ITEMS:
        way_on = f"Add data, or train again with more of them set aside: --set data.{split}={_MOST_SET_ASIDE:g}."
    return (
        f"Independent items in the {split} split: {n_items}. On fewer than {LEAST_ITEMS} no difference that matters can be "
        f"told from chance; to see a gain of {100 * WORTH_SEEING:.0f} points takes about {round(needed, -2)}. {way_on}"
    )


def _crew_for(task: str) -> Crew:
    """Processes that do the jobs of `trying`, and may load the task."""
    trusted = [name for name in os.environ.get(TRUSTED_VARIABLE, "").split(",") if name]
    if task not in TASKS and task not in trusted:  # its code runs here already
        trusted.append(task)
    return Crew(trying.MODULE, environment={TRUSTED_VARIABLE: ",".join(trusted)})
