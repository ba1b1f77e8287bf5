"""Resolving a recipe before step 1: arithmetic, memory, and the numbers of steps that time or epochs come to.

Everything found here is written into the recipe; from there on training is a function of the recipe alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from ouvroir.recipe import Loop, Recipe
from ouvroir.training.device import release_memory, synchronise, threads
from ouvroir.training.distributed import Share, World
from ouvroir.training.probe import engine_maker, probe, recall, remember, signature
from ouvroir.training.rehearsal import N_STEPS, largest_places, rehearse
from ouvroir.training.step import Engine, Feed

if TYPE_CHECKING:
    from ouvroir.progress import Progress
    from ouvroir.run import Run

N_VALIDATIONS = (20, 10, 5, 2, 1)
EVALUATION_SHARE = 0.15
"""As many validations as take no more than this share of the time."""
SAVE_S = 30.0
"""Seconds of training between checkpoints."""
SAVE_SHARE = 0.02
SAVE_BYTES_PER_S = 100e6
SAVE_LEAST_S = 0.05
"""What even a small checkpoint takes: files that are synced to the disk."""
MEASURE_S = 2.0
"""Seconds of real steps that a time budget is turned into steps with."""
MEASURE_KNOWN_S = 0.5
"""The same when an earlier start has measured the rest, so that this one is quick."""
MEASURE_MOST_S = 10.0
"""The most that is measured where steps take now longer and now shorter."""
MORE_S = 0.5  # at a time
PARTS, UNSTEADY = 4, 1.2
"""Steps are unsteady where those of one part of the time take so many times as long as those of another."""
CAUTION = 0.95
"""Share of a time budget that is planned: the rest is for starting and for a busy machine."""


def is_resolved(loop: Loop) -> bool:
    """Whether nothing is left to find out, as in every run that has begun."""
    numbers = (loop.steps, loop.evaluate_every, loop.save_every, loop.micro_batch, loop.threads)
    return all(numbers) and "auto" not in (loop.precision, loop.layout)


@dataclass(frozen=True)
class Ground:
    """What the plan is made on. `model` is on the CPU and stays as it is; `sizes` (M,) tell which items are the largest."""

    run: Run
    model: nn.Module
    feed: Feed
    share: Share
    world: World
    device: str
    progress: Progress
    sizes: np.ndarray | None = None

    def places(self, batch_size: int) -> np.ndarray:
        """(batch_size,) places for measurements, spread over the items."""
        return np.linspace(0, len(self.feed.items.row) - 1, batch_size).astype(np.int64)


def settle_arithmetic(recipe: Recipe, ground: Ground) -> tuple[Recipe, float, bool]:
    """The recipe with precision, layout, threads and micro-batch settled.

    Also a rough time of one step in seconds, and whether all this was known from an earlier start.
    Process 0 measures; all processes rehearse together, since memory may run out on any one of them.
    """
    world = ground.world
    largest = 0 if ground.sizes is None else int(ground.sizes.max())
    key = signature(ground.model, recipe, ground.feed, ground.device, world, largest=largest)
    known = world.tell(recall(key))
    if known is not None and ground.device == "cpu":
        return known.applied(recipe), known.step_s, True
    make = engine_maker(ground.feed.task, ground.model, ground.feed, ground.device)
    places = ground.places(recipe.loop.batch_size)
    found = known
    if found is None:
        if world.is_first:
            found = probe(
                recipe,
                ground.model,
                make,
                places,
                share=ground.share,
                device=ground.device,
                world=world,
                progress=ground.progress,
            )
        found = world.tell(found)
    assert found is not None
    recipe = recipe.replace("loop", precision=found.precision, layout=found.layout, threads=found.threads)
    recipe, step_s = _rehearsed(recipe, ground, make)
    found = replace(
        found,
        micro_batch=recipe.loop.micro_batch,
        activation_checkpointing=recipe.loop.activation_checkpointing,
        step_s=world.tell(step_s),
    )
    if world.is_first:
        remember(key, found)
        ground.run.write_json("probe.json", asdict(found))
    release_memory(ground.device)
    return recipe, found.step_s, known is not None


def _rehearsed(recipe: Recipe, ground: Ground, make: Callable[[Recipe, World, Share], Engine]) -> tuple[Recipe, float]:
    places = largest_places(ground.feed.items, ground.sizes, recipe.loop.batch_size)
    taken_s = [0.0]

    def attempt(candidate: Recipe) -> None:
        with threads(candidate.loop.threads):
            engine = make(candidate, World(device=ground.device), ground.share)
            for step in range(N_STEPS):
                synchronise(ground.device)
                start = time.perf_counter()
                engine.advance(step, places)
                synchronise(ground.device)
                taken_s[0] = time.perf_counter() - start

    found = rehearse(
        recipe, attempt, share=ground.share, world=ground.world, device=ground.device, progress=ground.progress
    )
    return found, taken_s[0]


def settle_length(
    recipe: Recipe, *, n_items: int, n_validation: int, step_s: float, spent_s: float, n_bytes: int
) -> Recipe:
    """The recipe with its numbers of steps: in all, between validations, between checkpoints.

    `step_s`: seconds of one step; `spent_s`: of the budget already used; `n_bytes`: of one checkpoint. What the recipe
    says already stays.
    """
    loop = recipe.loop
    # a forward pass without gradients costs about a third of a step
    validation_s = step_s / 3 * n_validation / loop.batch_size
    steps = loop.steps
    if steps is None and loop.minutes is not None:
        budget = max(0.0, CAUTION * 60 * loop.minutes - spent_s)
        per_step = step_s
        if loop.evaluate_every:
            per_step += validation_s / loop.evaluate_every
        else:
            budget -= _n_validations(budget, validation_s) * validation_s
        if loop.save_every:
            per_step += (SAVE_LEAST_S + n_bytes / SAVE_BYTES_PER_S) / loop.save_every
        elif n_bytes / SAVE_BYTES_PER_S > SAVE_SHARE * SAVE_S:
            budget *= 1 - SAVE_SHARE
        steps = max(1, int(budget / per_step))
    elif steps is None:
        steps = max(1, math.ceil(loop.epochs * n_items / loop.batch_size))
    evaluate_every = loop.evaluate_every or math.ceil(steps / _n_validations(steps * step_s, validation_s))
    save_s = max(SAVE_S, n_bytes / SAVE_BYTES_PER_S / SAVE_SHARE)
    save_every = loop.save_every or min(steps, max(1, round(save_s / max(step_s, 1e-6))))
    return recipe.replace("loop", steps=steps, evaluate_every=evaluate_every, save_every=save_every)


def _n_validations(seconds: float, validation_s: float) -> int:
    """The most validations of the series that stay within their share of `seconds`."""
    return next((n for n in N_VALIDATIONS if n * validation_s <= EVALUATION_SHARE * seconds), 1)


def measure_step(recipe: Recipe, ground: Ground, seconds: float = MEASURE_S, *, most: float = 0.0) -> float:
    """Seconds of one real step with all processes, measured on a copy of the model over about `seconds`.

    One process goes on for up to `most` seconds while its steps take now longer and now shorter: the machine does other things too.
    """
    make = engine_maker(ground.feed.task, ground.model, ground.feed, ground.device)
    places = ground.places(recipe.loop.batch_size)
    with threads(recipe.loop.threads):
        engine = make(recipe.replace("loop", steps=recipe.loop.steps or 1), ground.world, ground.share)
        for step in range(2):
            engine.advance(step, places)
        synchronise(ground.device)
        start, n = time.perf_counter(), 0
        ends: list[float] = []
        wanted = seconds
        goes_on = True
        while goes_on:
            engine.advance(n + 2, places)
            n += 1
            if n & (n - 1) == 0 or ground.world.size == 1:  # processes agree after 1, 2, 4, 8, ... steps
                synchronise(ground.device)
                ends.append(time.perf_counter() - start)
                if ends[-1] >= wanted and wanted < most and ground.world.size == 1 and not is_steady(ends):
                    wanted = min(most, wanted + MORE_S)
                goes_on = ground.world.tell(ends[-1] < wanted)
        synchronise(ground.device)
        return ground.world.tell((time.perf_counter() - start) / n)


def is_steady(ends: Sequence[float]) -> bool:
    """Whether steps that ended at `ends`, in seconds, took about as long in each of PARTS parts of the time."""
    parts = np.array_split(np.diff(ends, prepend=0.0), PARTS)
    means = [float(part.mean()) for part in parts if len(part)]
    return len(means) == PARTS and max(means) < UNSTEADY * min(means)


def checkpoint_bytes(model: nn.Module, recipe: Recipe) -> int:
    """About the size of one checkpoint: weights, averages, and two numbers of the optimiser per weight that learns."""
    whole: int = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    learning = sum(4 * param.numel() for param in model.parameters() if param.requires_grad)
    return whole * (2 if recipe.optim.ema else 1) + 2 * learning
