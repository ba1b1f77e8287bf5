"""Outputs of frozen parts, computed once: a head on a frozen backbone then trains on them 10 to 100 times faster.

Used when everything before the first learning part is frozen and the task changes nothing at random in training, so the
result is that of the slow way. The outputs lie in memory, or in a file of the run folder when they would take too much.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ouvroir.files import readable_size
from ouvroir.rng import Rng
from ouvroir.system import memory_bytes
from ouvroir.training.adapters import first_learning
from ouvroir.training.device import arithmetic
from ouvroir.training.step import Feed

if TYPE_CHECKING:
    from ouvroir.progress import Progress
    from ouvroir.recipe import Recipe
    from ouvroir.task import Answers, Batch, Processor

ROWS_AT_ONCE = 64
MEMORY_SHARE = 0.25
"""Share of the free memory that features may take before they go into a file."""


def can_cache(feed: Feed, model: nn.Module, recipe: Recipe) -> str | None:
    """The first learning part when the outputs of all parts before it may be cached, else None."""
    if feed.task.augments(recipe):
        return None
    return first_learning(feed.task.parts(model))


def cache_features(
    feed: Feed,
    model: nn.Module,
    part: str,
    recipe: Recipe,
    *,
    device: str,
    folder: Path,
    progress: Progress,
    training: bool = True,
) -> Feed:
    """The feed with the outputs of the parts before `part` for all its items. `model` is on the device.

    Returns the feed as it was, and says so, when neither memory nor disk can hold them.
    """
    n_items = len(feed.items.row)
    model.eval()
    rows: Tensor | None = None
    with progress.bar("Running the frozen parts once", n_items) as bar, torch.no_grad():
        for start in range(0, n_items, ROWS_AT_ONCE):
            places = np.arange(start, min(start + ROWS_AT_ONCE, n_items), dtype=np.int64)
            found = _features(feed, model, part, recipe, places, device, training=training)
            if rows is None:
                rows = _room(found, n_items, device, folder, progress)
                if rows is None:
                    return feed
            rows[start : start + len(places)] = found.to(rows.device)
            bar.advance(len(places))
    progress.say(f"The frozen parts were run once over {n_items} items; the rest trains on what they gave.")
    return Feed(feed.task, feed.table, feed.items, rows)


def answer_from_features(feed: Feed, model: nn.Module, recipe: Recipe, processor: Processor, device: str) -> Answers:
    """What evaluation would answer for all items of `feed`, from their cached features. Leaves the model's mode changed."""
    from ouvroir.evaluation.evaluate import join

    model.eval()
    found = []
    with torch.inference_mode(), arithmetic(recipe.loop, device):
        for start in range(0, len(feed.items.row), ROWS_AT_ONCE):
            places = np.arange(start, min(start + ROWS_AT_ONCE, len(feed.items.row)), dtype=np.int64)
            batch, rng = _prepared(feed, recipe, places, device, training=False)
            output = feed.task.step(model, batch, recipe, rng=rng, training=False)
            found.append(feed.task.answers(batch, output, processor))
    return join(found, labels=processor.labels)


def _prepared(feed: Feed, recipe: Recipe, places: np.ndarray, device: str, *, training: bool) -> tuple[Batch, Rng]:
    batch = feed.batch(places, device)
    rng = Rng(recipe.loop.seed, 0, torch.from_numpy(places).to(device), first=int(places[0]))
    return feed.task.prepare(batch, recipe, rng=rng, training=training), rng


def _features(
    feed: Feed, model: nn.Module, part: str, recipe: Recipe, places: np.ndarray, device: str, *, training: bool
) -> Tensor:
    batch, _ = _prepared(feed, recipe, places, device, training=training)
    with arithmetic(recipe.loop, device):
        return feed.task.features(model, batch, part)


def _room(sample: Tensor, n_items: int, device: str, folder: Path, progress: Progress) -> Tensor | None:
    """An empty (n_items, ...) tensor in memory, on the GPU or in a file; None when there is no room anywhere."""
    shape = (n_items, *sample.shape[1:])
    n_bytes = n_items * sample[0].numel() * sample.element_size()
    if n_bytes <= MEMORY_SHARE * free_memory(device):
        return torch.empty(shape, dtype=sample.dtype, device=sample.device)
    if n_bytes <= MEMORY_SHARE * free_memory("cpu"):
        return torch.empty(shape, dtype=sample.dtype)
    size = readable_size(n_bytes)
    if n_bytes > MEMORY_SHARE * shutil.disk_usage(folder).free:
        progress.say(
            f"The outputs of the frozen parts would take {size}, more than there is room for: they are not kept."
        )
        return None
    path = folder / f".features.{os.getpid()}"
    progress.say(f"The outputs of the frozen parts take {size}; they are kept in {path} while training lasts.")
    whole = torch.from_file(str(path), shared=True, size=n_bytes, dtype=torch.uint8)
    path.unlink()  # the mapping keeps the space until the process ends
    return whole.view(sample.dtype).view(shape)


def free_memory(device: str) -> int:
    """Free bytes of a GPU, or of the machine."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    total, free = memory_bytes()
    return (total or 0) // 2 if free is None else free
