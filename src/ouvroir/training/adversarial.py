"""The loop for two parts that learn against each other: each has its own loss and its own optimiser.

A sibling of loop.py, for tasks whose `loop` is "adversarial". Their `step` gives in training one loss for each part of the
model, under the part's name; all losses come from one forward pass, each loss moves its own part only, and all parts move at
once. Checkpoints, measurements, validation, plan and interruption are those of the main loop. One process, whole batches.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ouvroir.errors import RecipeError
from ouvroir.files import readable_count, readable_duration
from ouvroir.progress import QUIET, Progress
from ouvroir.rng import Rng
from ouvroir.training import plan
from ouvroir.training.course import Course, Fitted, Prepared, failures_noted
from ouvroir.training.device import arithmetic, place, synchronise, threads
from ouvroir.training.distributed import World, join, resolve_device, share
from ouvroir.training.optim import Average, Optimizer, coefficient, fill_gradients, make_optimizer, rate
from ouvroir.training.resident import item_sizes
from ouvroir.training.step import Feed, Taken, seed_torch

if TYPE_CHECKING:
    from ouvroir.recipe import Recipe
    from ouvroir.run import Run
    from ouvroir.task import Task

JUDGED_ROWS = 256
"""Validation rows on which it is measured how long judging takes."""


def contest(
    task: Task,
    run: Run,
    data: Prepared,
    *,
    device: str = "auto",
    progress: Progress = QUIET,
    resume: bool = False,
    to_branch: bool = False,
) -> Fitted:
    """Train the model of the run's recipe on `data`, as `loop.fit` does and with the same promises.

    Raises RecipeError for what only the main loop does (`require_plain`), and what `loop.fit` raises.
    """
    where = resolve_device(device)
    with join(where) as world, failures_noted(run, world):
        require_plain(run.recipe(), world)
        return _Job(task, run, data, where, world, progress, time.monotonic()).train(resume=resume, to_branch=to_branch)


def require_plain(recipe: Recipe, world: World) -> None:
    """Raise RecipeError when a recipe asks for what this loop does not do."""
    loop, task = recipe.loop, recipe.task
    if world.size > 1:
        raise RecipeError(
            f"{task} is trained by one process, and here are {world.size}. Start it without torchrun: `ouvroir train`."
        )
    if loop.exact:
        raise RecipeError(
            f"loop.exact is for several processes, and {task} is trained by one. Leave it out: on a CPU the same recipe "
            "gives the same weights anyway."
        )
    if recipe.model.scope != "all":
        raise RecipeError(f"model.scope is {recipe.model.scope}, and in {task} all parts learn. Leave it at all.")
    if loop.activation_checkpointing or (loop.micro_batch or loop.batch_size) < loop.batch_size:
        raise RecipeError(
            f"{task} takes each batch whole, and not in pieces of loop.micro_batch={loop.micro_batch} or with recomputed "
            "activations. Use a smaller loop.batch_size."
        )


@dataclass(frozen=True)
class Side:
    """A part of the model with the parameters that its loss moves and the optimiser that moves them."""

    name: str
    params: list[Tensor]
    optimizer: Optimizer


class Contest:
    """A model on its way, as `step.Engine` is: takes steps, owns the optimisers and the averaged model."""

    def __init__(self, task: Task, model: nn.Module, recipe: Recipe, feed: Feed, *, device: str) -> None:
        self.task, self.recipe, self.feed, self.device = task, recipe, feed, device
        self.model = place(model, recipe.loop, device).train()
        self.parts = task.parts(self.model)
        self.params = list(self.model.parameters())
        self.sides = [
            Side(name, list(part.parameters()), make_optimizer(part, self.parts, recipe.optim))
            for name, part in self.parts
        ]
        self.average = Average(self.model, recipe.optim.ema) if recipe.optim.ema else None
        self._share = share(recipe.loop, World(device=device))
        self._places = torch.arange(recipe.loop.batch_size, device=device)

    def advance(self, step: int, places: np.ndarray) -> Taken:
        """Take `step` (from 0) on the items at `places`, (batch_size,). No part moves before all gradients are known."""
        loop, optim = self.recipe.loop, self.recipe.optim
        rng = Rng(loop.seed, step, self._places, shard_size=self._share.shard_size, first=0)
        batch = self.task.prepare(self.feed.batch(places, self.device), self.recipe, rng=rng, training=True)
        seed_torch(rng.torch_seed(), self.device)
        with arithmetic(loop, self.device):
            losses = self.task.step(self.model, batch, self.recipe, rng=rng, training=True).losses
        assert set(losses) == {side.name for side in self.sides}, "Each part has a loss of its name."
        weight, sums, counts, norms = batch["weight"], [], [], []
        per_row = torch.stack([losses[side.name].per_row.float() for side in self.sides])
        for number, side in enumerate(self.sides):
            total = torch.dot(weight, per_row[number])
            is_last = number + 1 == len(self.sides)
            found = torch.autograd.grad(total, side.params, retain_graph=not is_last, allow_unused=True)
            for param, grad in zip(side.params, found, strict=True):
                param.grad = grad
            sums.append(total.detach())
            counts.append(torch.dot(weight, losses[side.name].n_items.float()))
        lr = rate(optim, step, loop.steps or 1)
        for side, count in zip(self.sides, counts, strict=True):
            factor, norm = coefficient(fill_gradients(side.params), count, optim.max_grad_norm)
            side.optimizer.step(lr, factor)
            norms.append(norm)
        if self.average is not None:
            self.average.follow(step)
        rows = [(places, per_row.detach().sum(0))]
        return Taken([side.name for side in self.sides], torch.stack([*sums, *counts]), torch.stack(norms).sum(), rows)

    def judged(self) -> nn.Module:
        """The model that is evaluated and kept."""
        if self.average is None:
            return self.model
        self.average.copy_counters()
        return self.average.model

    def state(self) -> dict[str, Tensor]:
        """What the optimisers remember, live."""
        return {
            f"optimizer/{side.name}/{name}": tensor
            for side in self.sides
            for name, tensor in side.optimizer.state().items()
        }


class _Job(Course):
    """One call of `contest`."""

    def _engine(self, model: nn.Module, feed: Feed) -> Contest:
        return Contest(self.task, model, self.recipe, feed, device=self.device)

    def _told(self, losses: Mapping[str, float]) -> str:
        return ", ".join(f"{name} {value:.3f}" for name, value in losses.items())

    def _settle(self, model: nn.Module, feed: Feed) -> Feed:
        if plan.is_resolved(self.recipe.loop):
            return feed
        world, loop = self.world, self.recipe.loop
        sizes = item_sizes(self.table, feed.items)
        ground = plan.Ground(self.run, model, feed, share(loop, world), world, self.device, self.progress, sizes)
        self.recipe, _, _ = plan.settle_arithmetic(self.recipe, ground)  # on the main loop's steps, which cost as much
        require_plain(self.recipe, world)
        step_s, judge_s = self._measured(ground)
        settled = plan.settle_length(
            self.recipe,
            n_items=self._n_real(feed),
            n_validation=round(
                3 * judge_s / step_s * loop.batch_size
            ),  # there a row is taken to cost a third of a step's
            step_s=step_s,
            spent_s=time.monotonic() - self.began,
            n_bytes=plan.checkpoint_bytes(model, self.recipe),
        )
        self.recipe = settled.replace("loop", cache_features=False)
        self.run.write_recipe(self.recipe)
        about = readable_duration((settled.loop.steps or 1) * step_s)
        steps = (
            f"{readable_count(settled.loop.steps or 0, 'step')} of {readable_count(loop.batch_size, self.task.draw)}"
        )
        self.progress.say(f"Training for {steps}, {about}.")
        self._tell_if_short(feed)
        return feed

    def _measured(self, ground: plan.Ground) -> tuple[float, float]:
        """Seconds of one step and of one validation, measured on a copy of the model."""
        loop = self.recipe.loop
        has_budget = loop.steps is None and loop.minutes is not None
        longest = min(plan.MEASURE_S, 3 * loop.minutes) if has_budget and loop.minutes else plan.MEASURE_KNOWN_S
        with threads(loop.threads):
            engine = Contest(self.task, copy.deepcopy(ground.model), self.recipe, ground.feed, device=self.device)
            places = ground.places(loop.batch_size)
            engine.advance(0, places)
            synchronise(self.device)
            start, n = time.perf_counter(), 0
            while n == 0 or time.perf_counter() - start < longest:
                engine.advance(n, places)
                synchronise(self.device)
                n += 1
            step_s = (time.perf_counter() - start) / n
            if self.judge is None:
                return step_s, 0.0
            n_rows = len(self.judge.table)
            few = replace(self.judge, table=self.judge.table.subset(np.arange(min(n_rows, JUDGED_ROWS))))
            start = time.perf_counter()
            few.measure(engine.judged(), self.recipe)
            return step_s, (time.perf_counter() - start) * n_rows / len(few.table)
