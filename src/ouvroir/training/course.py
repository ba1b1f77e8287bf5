"""The course of a training: begin or go on, step, log, validate, save, stop. Both loops, loop.py and adversarial.py, are it.

What a loop adds is how its recipe is settled and the engine that takes its steps.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ouvroir.data.loader import Sampler
from ouvroir.errors import DataError, OuvroirError, TrainingError
from ouvroir.files import readable_count
from ouvroir.progress import Bar, Progress
from ouvroir.rng import key
from ouvroir.run import USUAL_STEPS
from ouvroir.task import Writer
from ouvroir.training.adapters import adopt_weights, freeze, set_training, start_of
from ouvroir.training.checkpoint import Checkpoints, Place, Saved, copy_state, empty_model, load_weights
from ouvroir.training.device import require_precision, threads
from ouvroir.training.distributed import World
from ouvroir.training.interrupt import Interrupt
from ouvroir.training.judging import Judge, take_if_better
from ouvroir.training.optim import Average, rate
from ouvroir.training.resident import make_resident
from ouvroir.training.step import Feed, Taken
from ouvroir.training.tracking import Tracker
from ouvroir.training.watch import Watch
from ouvroir.writing import is_moment, keep_moment

if TYPE_CHECKING:
    from ouvroir.data.table import Table
    from ouvroir.recipe import Recipe
    from ouvroir.run import Run
    from ouvroir.task import Processor, Split, Task
    from ouvroir.training.adapters import Parts

FEW_STEPS = 0.25  # of those that the task proposes
LOGS_PER_RUN = 100
MOST_STEPS_PER_LOG = 50


@dataclass(frozen=True)
class Prepared:
    """Data ready to train on: the processor fitted on the train rows, and a table for each split that has rows."""

    processor: Processor
    tables: Mapping[Split, Table]


@dataclass(frozen=True)
class Fitted:
    """How training ended. `seconds` of training over all resumptions; `best_step` is that of the checkpoint to keep."""

    recipe: Recipe
    steps: int
    seconds: float
    best_step: int
    stopped: Literal["finished", "early", "interrupted"]


@contextmanager
def failures_noted(run: Run, world: World) -> Iterator[None]:
    """Leave a true status behind when training fails."""
    try:
        yield
    except OuvroirError as error:
        if world.is_first:
            _note_quietly(run, str(error))
        raise


def _note_quietly(run: Run, sentence: str) -> None:
    """The status cannot be written when the disk is full; the error itself matters more."""
    try:
        run.set_status("failed", sentence)
    except (OuvroirError, OSError):
        return


class Mover(Protocol):
    """What takes the steps: a model on its way with its optimisers, and its averaged weights where it keeps some."""

    @property
    def model(self) -> nn.Module:
        """As it is now."""

    @property
    def parts(self) -> Parts:
        """Of the model."""

    @property
    def params(self) -> Sequence[Tensor]:
        """What learns."""

    @property
    def average(self) -> Average | None:
        """The averaged weights, where they are kept."""

    def advance(self, step: int, places: np.ndarray) -> Taken:
        """Take `step` (from 0) on the items at `places`, (batch_size,)."""

    def judged(self) -> nn.Module:
        """The model that is evaluated and kept."""

    def state(self) -> dict[str, Tensor]:
        """What the optimisers remember, live."""


class Course(ABC):
    """One call of a loop: what its steps share."""

    engine: Mover

    def __init__(
        self, task: Task, run: Run, data: Prepared, device: str, world: World, progress: Progress, began: float
    ) -> None:
        self.task, self.run, self.data = task, run, data
        self.device, self.world, self.progress, self.began = device, world, progress, began
        self.recipe = world.tell(run.recipe())
        require_precision(self.recipe.loop, device)
        if "train" not in data.tables:
            raise DataError("There are no train rows, so nothing can be learned. Look at the splits of the data.")
        self.table = data.tables["train"]
        table = data.tables.get("validation")
        self.judge = None if table is None else Judge(task, data.processor, table, device)
        self.processor = data.processor
        self.checkpoints = Checkpoints(run.path)
        self.tracker = Tracker(run, is_writer=world.is_first)
        self.place = Place()
        self.last_saved = 0

    def train(self, *, resume: bool, to_branch: bool) -> Fitted:
        """Train to the end, to the checkpoint that another model branches from, or until Ctrl-C."""
        saved = self.world.tell(self.checkpoints.newest(self.progress) if resume and self.world.is_first else None)
        if saved is not None and saved.place.is_complete:
            self.place = saved.place
            return self._fitted("finished" if saved.place.step == self.recipe.loop.steps else "early")
        if saved is None and not resume and self.world.is_first:
            self._require_unused()
        if self.world.is_first:
            self.run.set_status("running", "Training.")
        with Interrupt() as interrupt:
            try:
                model = self._model(saved)
                feed = self._settle(model, self._feed())
            except KeyboardInterrupt:
                if self.world.size > 1:  # the others wait for this one
                    raise
                return self._left_early(saved)
            interrupt.waits = True
            with threads(self.recipe.loop.threads):
                self.engine = self._engine(model, feed)
                self._begin(feed, saved)
                try:
                    return self._steps(interrupt, to_branch=to_branch)
                finally:
                    self.tracker.close()

    def _require_unused(self) -> None:
        if any(self.checkpoints.folder.glob("step_*")):
            raise TrainingError(f"{self.run.path} has been trained already. `{self.run.way_on}` goes on with it.")

    # --- before the first step ----------------------------------------------------------------------------------------

    @abstractmethod
    def _settle(self, model: nn.Module, feed: Feed) -> Feed:
        """Resolve the recipe where it is not, and write it. Returns the feed to train on."""

    @abstractmethod
    def _engine(self, model: nn.Module, feed: Feed) -> Mover:
        """What takes the steps of the settled recipe."""

    @abstractmethod
    def _told(self, losses: Mapping[str, float]) -> str:
        """The mean losses by name, for the progress bar."""

    def _logged(self, losses: Mapping[str, float]) -> dict[str, float]:
        """What is noted of the mean losses."""
        return dict(losses)

    def _model(self, saved: Saved | None) -> nn.Module:
        """The model on the CPU: the saved one, or a new one, started from an earlier one where the recipe says so."""
        if saved is not None:
            model = empty_model(self.task, self.processor, self.recipe)
            load_weights(model, saved.weights, saved.folder)
            freeze(self.task.parts(model), self.recipe.model.scope)
            return model
        earlier = start_of(self.task, self.recipe.model.init_from)
        torch.manual_seed(key(self.recipe.loop.seed, "model") >> 1)
        model = self.task.build_model(self.recipe, self.processor)
        self.task.prepare_model(model, self.table, self.recipe)
        if earlier is not None:  # after preparing: earlier layers go with the normalisation they learned under
            for sentence in adopt_weights(self.task, model, self.processor, earlier):
                self.progress.say(sentence)
        sentence = freeze(self.task.parts(model), self.recipe.model.scope)
        if sentence:
            self.progress.say(sentence)
        return model

    def _feed(self) -> Feed:
        """The train items; their rows on the GPU where there is one and they fit."""
        items = self.task.items(self.table, self.processor, training=True)
        is_on_cpu = self.device == "cpu"
        return Feed(self.task, self.table if is_on_cpu else make_resident(self.table, items, self.device), items)

    def _begin(self, feed: Feed, saved: Saved | None) -> None:
        """Everything that changes from step to step, new or as it was saved."""
        loop = self.recipe.loop
        self.sampler = Sampler(
            feed.items,
            seed=loop.seed,
            batch_size=loop.batch_size,
            sampling=loop.sampling,
            synthetic=np.array([row.origin == "synthetic" for row in feed.table.rows])[feed.items.row],
            share=loop.synthetic_share,
            steps=loop.steps or 1,
        )
        self.watch = Watch(feed, device=self.device, world=self.world, lr=self.recipe.optim.lr)
        self.steps = loop.steps or 1
        self.log_every = max(1, min(MOST_STEPS_PER_LOG, self.steps // LOGS_PER_RUN))
        self.sums: Tensor | None = None
        self.norm = torch.zeros((), device=self.device)
        if saved is not None:
            self.place = saved.place
            self.last_saved = saved.place.step
            if self.engine.average is not None and saved.average is not None:
                load_weights(self.engine.average.model, saved.average, saved.folder)
            copy_state(self.engine.state(), saved.state, saved.folder)
            self.sums = saved.state["running/sums"].to(self.device) if "running/sums" in saved.state else None
            self.norm.copy_(saved.state["running/norm"])
            self.progress.say(f"Going on from step {self.place.step} of {self.steps}.")
        self.seconds_before = self.place.seconds
        self._moment_at = self.place.step
        self.tracker.begin(self.place.step)

    def _n_real(self, feed: Feed) -> int:
        """Items of real rows: synthetic ones make up a share of each batch, and add no steps."""
        is_real = np.array([row.origin == "real" for row in feed.table.rows])
        return max(1, int(is_real[feed.items.row].sum()))

    def _tell_if_short(self, feed: Feed) -> None:
        """Say so where the minutes leave far fewer steps than the task proposes, and note it for the report."""
        loop = self.recipe.loop
        usual = math.ceil(loop.epochs * self._n_real(feed) / loop.batch_size)
        if loop.minutes is None or loop.steps is None or loop.steps >= FEW_STEPS * usual or not self.world.is_first:
            return
        can_be_smaller = self.recipe.model.preset != "tiny" and self.recipe.model.init_from == "scratch"
        self.run.write_json(USUAL_STEPS, {"steps": usual, "can_be_smaller": can_be_smaller})
        self.progress.say(
            f"That is few: {usual} steps are usual for these data. A model that had a small part of them may know little yet; give "
            f"more minutes{', or train a smaller model with --preset tiny' if can_be_smaller else ''}."
        )

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _steps(self, interrupt: Interrupt, *, to_branch: bool) -> Fitted:
        self.started = time.monotonic()
        engine, draw, watch, steps = self.engine, self.sampler.draw, self.watch, self.steps
        loop = self.recipe.loop
        evaluate_every, save_every = loop.evaluate_every or steps, loop.save_every or steps
        branch = round(loop.branch_at * steps)
        end = branch if to_branch and branch else steps
        with self.progress.bar("Training", end, start=self.place.step) as bar:
            self._drawn, self._drawn_at = self.place.step, self.started
            for step in range(self.place.step, end):
                taken = engine.advance(step, draw(step))
                watch.look(step, taken, last_saved=self.last_saved)
                self._add(taken)
                done = self.place.step = step + 1
                is_last = done == end
                if done % self.log_every == 0 or is_last:
                    self._log(taken.names, bar)
                is_better = (done % evaluate_every == 0 or is_last) and self._validate()
                is_early = bool(loop.patience) and self.place.stale >= loop.patience
                is_asked = self._is_asked(interrupt, done)
                if is_better or is_last or is_early or is_asked or done == branch or done % save_every == 0:
                    self.place.is_complete = is_last or is_early
                    self._save(is_best=is_better or self.judge is None, is_branch=done == branch)
                if is_last or is_early or is_asked:
                    return self._end(is_last=is_last, is_early=is_early)
        raise AssertionError("the last step returns")

    def _is_asked(self, interrupt: Interrupt, done: int) -> bool:
        """Whether to stop; several processes agree on it only now and then, since each agreement costs a message."""
        if self.world.size == 1:
            return interrupt.is_asked
        return done % self.log_every == 0 and self.world.any(interrupt.is_asked)

    def _add(self, taken: Taken) -> None:
        self.sums = taken.sums.clone() if self.sums is None else self.sums.add_(taken.sums)
        self.norm.add_(taken.norm)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _log(self, names: list[str], bar: Bar) -> None:
        """Mean losses and norm since the last time; the only place in the loop that waits for the device."""
        assert self.sums is not None
        n = len(names)
        sums = self.sums.tolist()
        losses = {name: sums[k] / max(sums[n + k], 1e-12) for k, name in enumerate(names)}
        values = self._logged(losses)
        since = self.place.step - (self.place.step - 1) // self.log_every * self.log_every
        values["grad_norm"] = self.norm.item() / since
        if isinstance(self.task, Writer):
            values["items"] = sums[n] / since  # characters of a step: they differ from row to row
        values["lr"] = rate(self.recipe.optim, self.place.step - 1, self.steps)
        self.tracker.add(self.place.step, "train", values, self._seconds())
        self.tracker.flush_now_and_then()
        self.sums = None
        self.norm.zero_()
        now = time.monotonic()
        moved = self.place.step - self._drawn
        rows_s = moved * self.recipe.loop.batch_size / max(now - self._drawn_at, 1e-9)
        self._drawn, self._drawn_at = self.place.step, now
        bar.advance(moved, f"{self._told(losses)}, {rows_s:,.0f} {self.task.draw}s/s")

    def _validate(self) -> bool:
        """Judge the model on the validation table. Returns whether it is the best so far; processes agree."""
        if self.judge is None:
            return False
        values = self.world.tell(self._judged() if self.world.is_first else None)
        assert values is not None
        self.tracker.add(self.place.step, "validation", values, self._seconds())
        self._keep_moment()
        return take_if_better(self.place, values)

    def _keep_moment(self) -> None:
        """Keep what a model that writes writes now, at a few moments of its training."""
        step, before = self.place.step, self._moment_at
        self._moment_at = step
        if not isinstance(self.task, Writer) or not self.world.is_first or not is_moment(step, self.steps, before):
            return
        keep_moment(
            self.run,
            self.task,
            self.engine.judged(),
            self.processor,
            self.recipe,
            step=step,
            seconds=self._seconds(),
            device=self.device,
        )
        set_training(self.engine.model, self.engine.parts)

    def _judged(self) -> dict[str, float]:
        assert self.judge is not None
        values = self.judge.measure(self.engine.judged(), self.recipe)
        set_training(self.engine.model, self.engine.parts)
        return values

    # --- saving and ending --------------------------------------------------------------------------------------------

    def _save(self, *, is_best: bool, is_branch: bool) -> None:
        """Write a checkpoint, the measurements so far before it: what is resumed is never ahead of what is told."""
        self.watch.require_finite([param.detach() for param in self.engine.params], last_saved=self.last_saved)
        self.place.seconds = self._seconds()
        if self.judge is None:
            self.place.best_step = self.place.step
        self.last_saved = self.place.step
        if not self.world.is_first:
            return
        self.tracker.flush(sync=True)
        running = {"running/norm": self.norm} | ({} if self.sums is None else {"running/sums": self.sums})
        average = self.engine.average
        self.checkpoints.save(
            self.place,
            recipe=self.recipe,
            processor=self.processor,
            weights=self.engine.model.state_dict(),
            average=None if average is None else self.engine.judged().state_dict(),
            state={**self.engine.state(), **running},
            is_best=is_best,
            is_branch=is_branch,
        )

    def _end(self, *, is_last: bool, is_early: bool) -> Fitted:
        done = self.place.step
        if not (is_last or is_early):
            sentence = f"Stopped after step {done} of {self.steps}. `{self.run.way_on}` goes on to the same result."
            self.progress.say(sentence)
            if self.world.is_first:
                self.run.set_status("stopped", sentence)
            return self._fitted("interrupted")
        if not is_last:
            self.progress.say(f"Stopped early at step {done}: no gain on validation since step {self.place.best_step}.")
        if self.world.is_first:
            self.run.set_status("running", f"Trained for {readable_count(done, 'step')}.")
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
        place = self.place
        return Fitted(self.recipe, place.step, place.seconds, place.best_step, stopped)
