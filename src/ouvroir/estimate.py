"""How long a training would take, by two real steps on a few rows in a run that is thrown away.

The figures are those of a quiet machine: each step as the faster of the two, each judged row as in one pass over the rows of
these steps.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ouvroir import workflow
from ouvroir.media import find_task
from ouvroir.run import Run
from ouvroir.task import SPLITS, Label, Row

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.options import Workplace
    from ouvroir.recipe import Recipe
    from ouvroir.training.distributed import World

N_STEPS = 2
_PACKS = "packs"  # in the run that is thrown away


@dataclass(frozen=True)
class Estimate:
    """One model that would be trained. `steps` and `train_s` are its own; `judge_s` is for validation and test at the end."""

    name: str
    recipe: Recipe
    n_parameters: int
    steps: int
    train_s: float
    judge_s: float


def estimate(name: str, recipe: Recipe, manifest: Manifest, world: World, at: Workplace) -> Estimate:
    """Take two steps on a few rows in a run that is thrown away, and work out how long the whole training takes."""
    at.progress.say(f"Trying {N_STEPS} steps{'' if name == 'trained' else f' of the {name} model'} on a few rows.")
    few = _few_rows(manifest, N_STEPS * recipe.loop.batch_size)
    short = recipe.replace(
        "loop", steps=N_STEPS, save_every=N_STEPS, evaluate_every=N_STEPS, branch_at=0.0, minutes=None
    )
    short = replace(short, data=replace(short.data, manifest=few.fingerprint))
    task = find_task(
        recipe.task
    )  # the model is as large as the one that will be trained: of all rows, as its vocabulary
    workflow.use_processor(task, few, short, workflow.fit_processor(task, manifest, recipe))
    with tempfile.TemporaryDirectory(prefix="ouvroir-") as folder:  # that of the first process serves all
        run = workflow.once(world, lambda: workflow.keep_manifest(Run.create(short, Path(folder)), few))
        workflow.train_run(run, at, packs=run.path / _PACKS)
        return workflow.once(world, lambda: _measured(name, recipe, manifest, few, run, at))


def _measured(name: str, recipe: Recipe, manifest: Manifest, few: Manifest, run: Run, at: Workplace) -> Estimate:
    """What `recipe` will come to on the rows of `manifest`, from the run in which it was tried on `few` of them."""
    from ouvroir.evaluation.evaluate import evaluate
    from ouvroir.training.adapters import freeze
    from ouvroir.training.checkpoint import load_model
    from ouvroir.training.distributed import resolve_device
    from ouvroir.training.features import can_cache
    from ouvroir.training.plan import checkpoint_bytes, settle_length
    from ouvroir.training.step import Feed

    device, task = resolve_device(at.device), find_task(recipe.task)
    model, processor, tried = load_model(task, run.checkpoint("best"), device=device)
    packs = run.path / _PACKS
    tables = workflow.prepare(
        task, few, tried, processor=processor, packs=packs, workers=at.workers, progress=at.progress
    ).tables
    table = tables["train"]
    start = time.perf_counter()
    evaluate(task, model, processor, tried, table, device=device, progress=at.progress)
    row_s = (time.perf_counter() - start) / len(table)
    step_s = _step_seconds(run)
    items = task.items(table, processor, training=True)
    n_train, n_validation, n_test = len(manifest.positions("train")), *(len(manifest.judged(s)) for s in SPLITS[1:])
    judged = task.items(table, processor, training=False)
    settled = settle_length(
        recipe,
        n_items=round(len(items.row) / len(table) * n_train),
        n_validation=round(len(judged.row) / len(table) * n_validation),
        step_s=step_s,
        spent_s=0.0,
        n_bytes=checkpoint_bytes(model, recipe),
    ).loop
    steps = settled.steps or 1
    n_validations = math.ceil(steps / (settled.evaluate_every or steps))
    train_s = steps * step_s + n_validations * n_validation * row_s
    freeze(task.parts(model), recipe.model.scope)
    if can_cache(Feed(task, table, items), model, recipe):  # frozen parts run once over all rows, whose steps are short
        train_s = steps * step_s + (n_train + n_validation) * row_s
    return Estimate(
        name,
        recipe,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=steps,
        train_s=train_s,
        judge_s=(n_validation + n_test) * row_s,
    )


def _few_rows(manifest: Manifest, n_rows: int) -> Manifest:
    """A manifest of about `n_rows` train rows, every class among them."""
    chosen: list[Row] = []
    seen: set[Label] = set()
    for row in manifest.rows:
        if row.split == "train" and (row.label not in seen or len(chosen) < n_rows):
            seen.add(row.label)
            chosen.append(row)
    return replace(manifest, rows=tuple(chosen))


def _step_seconds(run: Run) -> float:
    """Seconds of one step: of the two, the faster one, since the first also warms up."""
    seconds = sorted({one.seconds for one in run.metrics()})
    return min(after - before for before, after in zip([0.0, *seconds], seconds, strict=False))
