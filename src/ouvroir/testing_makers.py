"""The contract of tasks that make samples, and of those whose parts learn against each other: what `testing` asks of these."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir.errors import UsageError
from ouvroir.source import Source
from ouvroir.task import Limits, Synthesiser, Task

if TYPE_CHECKING:
    from torch import nn

    from ouvroir.data.table import Table
    from ouvroir.recipe import Recipe
    from ouvroir.rng import Rng
    from ouvroir.task import Batch, Processor

CONTEST_STEPS = 100


def check_samples(task: Synthesiser, model: nn.Module, processor: Processor, recipe: Recipe, train: Table) -> None:
    """What a generator makes is a function of seed, place and class, and can be opened by the task."""

    def made(labels: Sequence[str | None], seed: int = 0, **given: Any) -> list[bytes]:
        found = task.make(model, processor, recipe, labels, seed=seed, device="cpu", **given)
        return [one.content for one in found]

    labels: list[str | None] = [*processor.labels[:2], None]
    found = made(labels)
    assert len(found) == len(labels), "One sample for each label."
    assert made(labels) == found, "The same seed gives other samples."
    assert made(labels[:1]) == found[:1], "A sample depends on how many are asked for."
    assert made(labels, seed=1) != found, "Another seed gives the same samples."
    for content in found:
        task.inspect(Source("", "", content=content), Limits())
    with contextlib.suppress(UsageError):  # which says so where a generator makes no variations
        parent = processor.encode(train.source(0), Limits())
        assert len(made(labels[:1], parents=[parent], begin=0.5)) == 1, "A variation of a row is one sample."
    with contextlib.suppress(UsageError):
        made(["no such class"])
        raise AssertionError("A class that is not known raises UsageError.")
    views = task.views(train.slice(np.arange(2)))
    assert views.ndim == 3, "views() gives (B, V, D)."
    assert len(views) == 2, "views() gives (B, V, D)."


def check_contest(task: Task, model: nn.Module, batch: Batch, recipe: Recipe, rng: Callable[[], Rng]) -> None:
    """Each loss of `step` teaches the part of its name, and what is judged gets better by it. Leaves `model` taught."""
    import torch

    def judged() -> float:
        model.eval()
        with torch.no_grad():
            losses = task.step(model, batch, recipe, rng=rng(), training=False).losses
        model.train()
        return float(torch.stack([loss.per_row.mean() for loss in losses.values()]).sum())

    parts = dict(task.parts(model))
    sides = {name: list(part.parameters()) for name, part in parts.items()}
    optimizers = [torch.optim.Adam(params, lr=2e-3, betas=(0.0, 0.99)) for params in sides.values()]
    before, found = judged(), []
    for number in range(CONTEST_STEPS):
        losses = task.step(model, batch, recipe, rng=rng(), training=True).losses
        assert set(losses) == set(sides), "Each part has a loss of its name."
        gradients = [
            torch.autograd.grad(losses[name].per_row.mean(), params, retain_graph=True)
            for name, params in sides.items()
        ]
        for optimizer, params, grads in zip(optimizers, sides.values(), gradients, strict=True):
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad
            optimizer.step()
        if number >= CONTEST_STEPS // 2:  # a contest goes up and down, so the mean of its second half counts
            found.append(judged())
    after = sum(found) / len(found)
    assert after < 0.93 * before, f"Eight rows are not learned: {before:.3f} became {after:.3f} on average."
