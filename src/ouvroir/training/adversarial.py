"""The loop for two parts that learn against each other: each has its own loss and its own optimiser.

A sibling of loop.py, for tasks whose `loop` is "adversarial". Their `step` gives in training one loss for each part of the
model, under the part's name; all losses come from one forward pass, each loss moves its own part only, and all parts move at
once. Checkpoints, measurements, validation, plan and interruption are those of the main loop. One process, whole batches.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ouvroir.data.loader import Sampler
from ouvroir.errors import DataError, RecipeError, TrainingError
from ouvroir.files import readable_duration
from ouvroir.progress import QUIET, Bar, Progress
from ouvroir.rng import Rng, key
from ouvroir.training import plan
from ouvroir.training.adapters import adopt_weights, start_of
from ouvroir.training.checkpoint import Checkpoints, Place, Saved, copy_state, empty_model, load_weights
from ouvroir.training.device import arithmetic, place, require_precision, synchronise, threads
from ouvroir.training.distributed import World, join, resolve_device, share
from ouvroir.training.interrupt import Interrupt
from ouvroir.training.judging import Judge, take_if_better
from ouvroir.training.loop import LOGS_PER_RUN, MOST_STEPS_PER_LOG, Fitted, Prepared, failures_noted
from ouvroir.training.optim import Average, Optimizer, coefficient, fill_gradients, make_optimizer, rate
from ouvroir.training.resident import item_sizes, make_resident
from ouvroir.training.step import Feed, Taken, seed_torch
from ouvroir.training.tracking import Tracker
from ouvroir.training.watch import Watch

if TYPE_CHECKING:
    from ouvroir.recipe import Loop, Recipe
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
        return _Job(task, run, data, where, progress, began=time.monotonic()).train(resume=resume, to_branch=to_branch)


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
        parts = task.parts(self.model)
        self.sides = [
            Side(name, list(part.parameters()), make_optimizer(part, parts, recipe.optim)) for name, part in parts
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
        """What the optimisers remember, live, as `Optimizer.state`."""
        return {
            f"optimizer/{side.name}/{name}": tensor
            for side in self.sides
            for name, tensor in side.optimizer.state().items()
        }


class _Job:
    """One call of `contest`: what its steps share."""

    def __init__(self, task: Task, run: Run, data: Prepared, device: str, progress: Progress, *, began: float) -> None:
        self.task, self.run, self.device, self.progress, self.began = task, run, device, progress, began
        self.recipe, self.processor = run.recipe(), data.processor
        require_precision(self.recipe.loop, device)
        if "train" not in data.tables:
            raise DataError("There are no train rows, so nothing can be learned. Look at the splits of the data.")
        self.table = data.tables["train"]
        table = data.tables.get("validation")
        self.judge = None if table is None else Judge(task, data.processor, table, device)
        self.checkpoints = Checkpoints(run.path)
        self.tracker = Tracker(run)
        self.place = Place()
        self.last_saved = 0

    def train(self, *, resume: bool, to_branch: bool) -> Fitted:
        saved = self.checkpoints.newest(self.progress) if resume else None
        if saved is not None and saved.place.is_complete:
            self.place = saved.place
            return self._fitted("finished" if saved.place.step == self.recipe.loop.steps else "early")
        if not resume and any(self.checkpoints.folder.glob("step_*")):
            raise TrainingError(f"{self.run.path} has been trained already. `{self.run.way_on}` goes on with it.")
        self.run.set_status("running", "Training.")
        with Interrupt() as interrupt:
            try:
                model, feed = self._model(saved), self._feed()
                self._settle(model, feed)
            except KeyboardInterrupt:
                return self._left_early(saved)
            interrupt.waits = True
            with threads(self.recipe.loop.threads):
                self.engine = Contest(self.task, model, self.recipe, feed, device=self.device)
                self._begin(feed, saved)
                try:
                    return self._steps(interrupt, to_branch=to_branch)
                finally:
                    self.tracker.close()

    # --- before the first step ----------------------------------------------------------------------------------------

    def _model(self, saved: Saved | None) -> nn.Module:
        """The model on the CPU: the saved one, or a new one, started from an earlier one where the recipe says so."""
        if saved is not None:
            model = empty_model(self.task, self.processor, self.recipe)
            load_weights(model, saved.weights, saved.folder)
            return model
        earlier = start_of(self.task, self.recipe.model.init_from)
        torch.manual_seed(key(self.recipe.loop.seed, "model") >> 1)
        model = self.task.build_model(self.recipe, self.processor)
        self.task.prepare_model(model, self.table, self.recipe)
        for sentence in [] if earlier is None else adopt_weights(self.task, model, self.processor, earlier):
            self.progress.say(sentence)
        return model

    def _feed(self) -> Feed:
        items = self.task.items(self.table, training=True)
        table = self.table if self.device == "cpu" else make_resident(self.table, items, self.device)
        return Feed(self.task, table, items)

    def _settle(self, model: nn.Module, feed: Feed) -> None:
        """Resolve the recipe where it is not, and write it. Arithmetic is measured on the main loop's steps, which cost as much."""
        if plan.is_resolved(self.recipe.loop):
            return
        world, loop = World(device=self.device), self.recipe.loop
        sizes = item_sizes(self.table, feed.items)
        ground = plan.Ground(self.run, model, feed, share(loop, world), world, self.device, self.progress, sizes)
        self.recipe, _, _ = plan.settle_arithmetic(self.recipe, ground)
        require_plain(self.recipe, world)
        step_s, judge_s = self._measured(ground)
        settled = plan.settle_length(
            self.recipe,
            n_items=len(feed.items.row),
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
        self.progress.say(f"Training for {settled.loop.steps} steps of {loop.batch_size} rows, {about}.")

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

    def _begin(self, feed: Feed, saved: Saved | None) -> None:
        """Everything that changes from step to step, new or as it was saved."""
        loop: Loop = self.recipe.loop
        self.steps = loop.steps or 1
        self.sampler = Sampler(
            feed.items,
            seed=loop.seed,
            batch_size=loop.batch_size,
            sampling=loop.sampling,
            synthetic=np.array([row.origin == "synthetic" for row in feed.table.rows])[feed.items.row],
            share=loop.synthetic_share,
            steps=self.steps,
        )
        self.watch = Watch(feed, device=self.device, world=World(device=self.device), lr=self.recipe.optim.lr)
        self.log_every = max(1, min(MOST_STEPS_PER_LOG, self.steps // LOGS_PER_RUN))
        self.sums = torch.zeros(2 * len(self.engine.sides), device=self.device)
        self.norm = torch.zeros((), device=self.device)
        if saved is not None:
            self.place = saved.place
            self.last_saved = saved.place.step
            if self.engine.average is not None and saved.average is not None:
                load_weights(self.engine.average.model, saved.average, saved.folder)
            copy_state(self._state(), saved.state, saved.folder)
            self.progress.say(f"Going on from step {self.place.step} of {self.steps}.")
        self.seconds_before = self.place.seconds
        self.tracker.begin(self.place.step)

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _steps(self, interrupt: Interrupt, *, to_branch: bool) -> Fitted:
        self.started = self._moved_at = time.monotonic()
        self._moved = self.place.step
        loop, steps = self.recipe.loop, self.steps
        branch = round(loop.branch_at * steps)
        end = branch if to_branch and branch else steps
        with self.progress.bar("Training", end, start=self.place.step) as bar:
            for step in range(self.place.step, end):
                taken = self.engine.advance(step, self.sampler.draw(step))
                self.watch.look(step, taken, last_saved=self.last_saved)
                self.sums.add_(taken.sums)
                self.norm.add_(taken.norm)
                done = self.place.step = step + 1
                is_last = done == end
                if done % self.log_every == 0 or is_last:
                    self._log(taken.names, bar)
                is_better = (done % (loop.evaluate_every or steps) == 0 or is_last) and self._validate()
                is_early = bool(loop.patience) and self.place.stale >= loop.patience
                is_asked, is_due = interrupt.is_asked, done % (loop.save_every or steps) == 0
                if is_better or is_last or is_early or is_asked or done == branch or is_due:
                    self.place.is_complete = is_last or is_early
                    self._save(is_best=is_better or self.judge is None, is_branch=done == branch)
                if is_last or is_early or is_asked:
                    return self._end(is_last=is_last, is_early=is_early)
        raise AssertionError("the last step returns")

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _log(self, names: list[str], bar: Bar) -> None:
        """Mean losses and norm since the last time."""
        n = len(names)
        sums = self.sums.tolist()
        values = {name: sums[k] / max(sums[n + k], 1e-12) for k, name in enumerate(names)}
        told = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        done = self.place.step
        values["grad_norm"] = self.norm.item() / (done - (done - 1) // self.log_every * self.log_every)
        values["lr"] = rate(self.recipe.optim, done - 1, self.steps)
        self.tracker.add(done, "train", values, self._seconds())
        self.tracker.flush_now_and_then()
        self.sums.zero_()
        self.norm.zero_()
        now = time.monotonic()
        moved, self._moved = done - self._moved, done
        rows_s = moved * self.recipe.loop.batch_size / max(now - self._moved_at, 1e-9)
        self._moved_at = now
        bar.advance(moved, f"{told}, {rows_s:,.0f} rows/s")

    def _validate(self) -> bool:
        """Judge the model on the validation table. Returns whether it is the best so far."""
        if self.judge is None:
            return False
        values = self.judge.measure(self.engine.judged(), self.recipe)
        self.engine.model.train()
        self.tracker.add(self.place.step, "validation", values, self._seconds())
        return take_if_better(self.place, values)

    # --- saving and ending --------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Tensor]:
        """Everything beside the weights that goes on changing, live."""
        return {**self.engine.state(), "running/sums": self.sums, "running/norm": self.norm}

    def _save(self, *, is_best: bool, is_branch: bool) -> None:
        """Write a checkpoint, the measurements so far before it: what is resumed is never ahead of what is told."""
        learned = [param.detach() for param in self.engine.model.parameters()]
        self.watch.require_finite(learned, last_saved=self.last_saved)
        self.place.seconds = self._seconds()
        if self.judge is None:
            self.place.best_step = self.place.step
        self.last_saved = self.place.step
        self.tracker.flush(sync=True)
        self.checkpoints.save(
            self.place,
            recipe=self.recipe,
            processor=self.processor,
            weights=self.engine.model.state_dict(),
            average=None if self.engine.average is None else self.engine.judged().state_dict(),
            state=self._state(),
            is_best=is_best,
            is_branch=is_branch,
        )

    def _end(self, *, is_last: bool, is_early: bool) -> Fitted:
        done = self.place.step
        if not (is_last or is_early):
            sentence = f"Stopped after step {done} of {self.steps}. `{self.run.way_on}` goes on to the same result."
            self.progress.say(sentence)
            self.run.set_status("stopped", sentence)
            return self._fitted("interrupted")
        if not is_last:
            self.progress.say(f"Stopped early at step {done}: no gain on validation since step {self.place.best_step}.")
        self.run.set_status("running", f"Trained for {done} steps.")
        return self._fitted("finished" if is_last else "early")

    def _left_early(self, saved: Saved | None) -> Fitted:
        """Interrupted before the first step of this call: nothing is lost, since nothing was learned."""
        if saved is not None:
            self.place = saved.place
        goes_on = "begins" if saved is None else f"goes on from step {saved.place.step}"
        sentence = f"Stopped before training began. `{self.run.way_on}` {goes_on}."
        self.progress.say(sentence)
        self.run.set_status("stopped", sentence)
        return self._fitted("interrupted")

    def _fitted(self, stopped: Literal["finished", "early", "interrupted"]) -> Fitted:
        now = self.place
        return Fitted(self.recipe, now.step, now.seconds, now.best_step, stopped)
