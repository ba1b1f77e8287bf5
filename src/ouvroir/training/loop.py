"""The training loop: from a recipe and prepared tables to checkpoints of a trained model.

One loop for every task that has one optimiser. It knows a Task, a Recipe and a Run and nothing of the medium. The course of
events is in course.py, what a step does in step.py, how long training lasts in plan.py; here it is settled what is trained on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from ouvroir.errors import RecipeError, TrainingError
from ouvroir.files import readable_count, readable_duration
from ouvroir.progress import QUIET, Progress
from ouvroir.training import plan
from ouvroir.training.course import Course, Fitted, Prepared, failures_noted
from ouvroir.training.device import threads
from ouvroir.training.distributed import Share, World, join, resolve_device, share
from ouvroir.training.features import cache_features, can_cache
from ouvroir.training.resident import item_sizes
from ouvroir.training.step import Engine, Feed

if TYPE_CHECKING:
    from ouvroir.run import Run
    from ouvroir.task import Task

_CROWDED = 3.0  # times what a step took at its fastest: other programs are in the way


def fit(
    task: Task,
    run: Run,
    data: Prepared,
    *,
    device: str = "auto",
    progress: Progress = QUIET,
    resume: bool = False,
    to_branch: bool = False,
) -> Fitted:
    """Train the model of the run's recipe on `data`, leaving checkpoints and metrics.jsonl in the run.

    What the recipe leaves open (steps, arithmetic, memory) is settled first and written to recipe.json. With `resume`
    training goes on from the newest undamaged checkpoint to the same weights as without the interruption, to the bit on
    a CPU; without one it begins. Ctrl-C finishes the step, saves and returns with `stopped` "interrupted"; before the
    first step it returns at once. Under torchrun every process calls this, and the first one writes. The caller sees to it
    that no other process works on the run (`workflow.held`), and says when it is finished: a model is not before it is judged.

    `to_branch`: end at the checkpoint that another model branches from, half way along the schedule, since no more is needed.

    Raises RecipeError, DeviceError, DataError, NonFiniteLoss, DiskFull, CheckpointError; checkpoints written before are
    intact.
    """
    place = resolve_device(device)
    with join(place) as world, failures_noted(run, world):
        job = _Job(task, run, data, place, world, progress if world.is_first else QUIET, began=time.monotonic())
        return job.train(resume=resume, to_branch=to_branch)


class _Job(Course):
    """One call of `fit`."""

    def __init__(
        self, task: Task, run: Run, data: Prepared, device: str, world: World, progress: Progress, began: float
    ) -> None:
        super().__init__(task, run, data, device, world, progress, began)
        self.share: Share = share(self.recipe.loop, world)

    def _engine(self, model: nn.Module, feed: Feed) -> Engine:
        return Engine(self.task, model, self.recipe, feed, device=self.device, world=self.world, share=self.share)

    def _told(self, losses: Mapping[str, float]) -> str:
        return f"loss {next(iter(losses.values())):.4f}"

    def _logged(self, losses: Mapping[str, float]) -> dict[str, float]:
        return {**losses, "loss": sum(losses.values())} if len(losses) > 1 else dict(losses)

    def _settle(self, model: nn.Module, feed: Feed) -> Feed:
        is_resolved = plan.is_resolved(self.recipe.loop)
        sizes = None if is_resolved else item_sizes(self.table, feed.items)
        ground = plan.Ground(self.run, model, feed, self.share, self.world, self.device, self.progress, sizes)
        step_s, is_known = 0.0, False
        had_choice = not self.recipe.loop.threads and self.device == "cpu" and self.world.size == 1
        if not is_resolved:
            self.recipe, step_s, is_known = plan.settle_arithmetic(self.recipe, ground)
        feed = self._with_features(feed, model)
        if not is_resolved:
            ground = replace(ground, feed=feed)
            rough_s = step_s
            step_s = self._measured(ground, rough_s, is_known=is_known, is_cached=feed.features is not None)
            if had_choice and step_s > _CROWDED * rough_s > 0:
                step_s = self._with_one_thread(ground, step_s, most=self._most_measured())
            self._settle_length(ground, step_s, is_of_now=not is_known or step_s != rough_s)
        elif self.world.is_first and self.recipe != self.run.recipe():
            self.run.write_recipe(self.recipe)
        return feed

    def _with_features(self, feed: Feed, model: nn.Module) -> Feed:
        """The feed with what frozen parts give, if the recipe wants it or leaves it open; then the answer is settled.

        A run that goes on does as it did before: whether steps run through the frozen parts changes the last bits.
        """
        wanted = self.recipe.loop.cache_features
        part = can_cache(feed, model, self.recipe) if wanted else None
        if wanted is True and part is None:
            raise RecipeError(
                "loop.cache_features is on, but nothing can be kept: no first part is frozen (model.scope), or rows "
                "are changed at random in training. Leave it at auto."
            )
        found = feed if part is None else self._cached(feed, model, part)
        is_cached = found.features is not None
        if wanted is True and not is_cached:
            raise TrainingError(
                "There is no room in memory or on disk for the outputs of the frozen parts, which this run trains on. Free "
                f"some near {self.run.path} and go on, or start a new run with loop.cache_features=false."
            )
        self.recipe = self.recipe.replace("loop", cache_features=is_cached)
        return found

    def _cached(self, feed: Feed, model: nn.Module, part: str) -> Feed:
        """The feed with what the frozen parts give, or as it was when any process lacks the room.

        The same for the validation table, which is judged again and again.
        """

        def run_once(one: Feed, *, training: bool) -> Feed:
            return cache_features(
                one,
                model,
                part,
                self.recipe,
                device=self.device,
                folder=self.run.path,
                progress=self.progress,
                training=training,
            )

        with threads(self.recipe.loop.threads):
            model.to(self.device)
            found = run_once(feed, training=True)
            has_room, judge = found.features is not None, self.judge
            if judge is not None and has_room and self.world.is_first:
                judged = run_once(
                    Feed(self.task, judge.table, self.task.items(judge.table, self.processor, training=False)),
                    training=False,
                )
                has_room, judge = judged.features is not None, replace(judge, feed=judged)
            model.to("cpu")
        if self.world.any(not has_room):
            return feed
        self.judge = judge
        return found

    def _measured(self, ground: plan.Ground, rough_s: float, *, is_known: bool, is_cached: bool) -> float:
        """Seconds of one step: measured where a time budget rests on it or cached features made steps faster.

        Otherwise what an earlier start found serves to plan by, though the machine may have been busier then.
        """
        most = self._most_measured()
        if not most and not is_cached:
            return rough_s
        longest = plan.MEASURE_KNOWN_S if is_known or not most else plan.MEASURE_S
        return plan.measure_step(self.recipe, ground, min(longest, most or longest), most=most)

    def _most_measured(self) -> float:
        """Seconds that may be spent on measuring, a twentieth of a time budget; 0 where there is none."""
        loop = self.recipe.loop
        return min(plan.MEASURE_MOST_S, 60 * loop.minutes / 20) if loop.steps is None and loop.minutes else 0.0

    def _with_one_thread(self, ground: plan.Ground, step_s: float, *, most: float) -> float:
        """Seconds of a step, with one thread where that is faster: on a crowded machine threads wait for each other."""
        if (n_threads := self.recipe.loop.threads) == 1:
            return step_s
        alone = self.recipe.replace("loop", threads=1)
        alone_s = plan.measure_step(alone, ground, plan.MEASURE_KNOWN_S, most=most)
        if alone_s >= step_s:
            return step_s
        self.recipe = alone
        self.progress.say(
            f"One thread instead of {n_threads}: other programs use this machine, and a step takes {1000 * alone_s:.3g} ms with it "
            f"instead of {1000 * step_s:.3g}."
        )
        return alone_s

    def _settle_length(self, ground: plan.Ground, step_s: float, *, is_of_now: bool) -> None:
        resolved = plan.settle_length(
            self.recipe,
            n_items=self._n_real(ground.feed),
            n_validation=0 if self.judge is None else self.judge.n_items,
            step_s=step_s,
            spent_s=time.monotonic() - self.began,
            n_bytes=plan.checkpoint_bytes(ground.model, self.recipe),
        )
        self.recipe = self.world.tell(resolved)
        if self.world.is_first:
            self.run.write_recipe(self.recipe)
        loop = self.recipe.loop
        about = f", {readable_duration(loop.steps * step_s)}" if loop.steps and step_s and is_of_now else ""
        steps = f"{readable_count(loop.steps or 0, 'step')} of {readable_count(loop.batch_size, self.task.draw)}"
        self.progress.say(f"Training for {steps}{about}.")
        self._tell_if_short(ground.feed)
