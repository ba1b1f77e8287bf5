"""Running a model over the rows of a table, in order, and keeping its answers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir.errors import RunError
from ouvroir.files import readable_count, whole_file
from ouvroir.progress import QUIET, Progress
from ouvroir.source import block_of
from ouvroir.task import Answers

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ouvroir.data.loader import Sliced
    from ouvroir.data.table import Table
    from ouvroir.recipe import Recipe
    from ouvroir.task import Control, Items, Processor, Row, Task

_COLUMNS = ("index", "loss", "n_items", "scores", "targets", "answered", "n_bytes")
_LARGEST_BATCH = 256
_CPU_BATCH = 64


def evaluate(
    task: Task,
    model: nn.Module,
    processor: Processor,
    recipe: Recipe,
    table: Table,
    *,
    device: str = "cpu",
    batch_size: int | None = None,
    control: Control | None = None,
    progress: Progress = QUIET,
) -> Answers:
    """Answers of `model` to every item of `table`, in its order, on the CPU.

    The model is moved to `device`, judged without gradients in its evaluation mode and in the arithmetic of the recipe,
    and left in the mode it came in; its memory layout is its own. `batch_size` defaults to four training micro-batches, at
    most 256, on a CPU at most 64 unless one micro-batch is larger; it is halved when memory runs out. `control` takes something
    from the rows first.
    """
    import torch

    items = task.items(table, processor, training=False)
    place = torch.device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    size = batch_size or _usual_batch(recipe, place)
    found: list[Answers] = []
    with _judging(model, recipe, place), progress.bar("Evaluating", len(items.row)) as bar:
        start = 0
        while start < len(items.row):
            try:
                some = slice(start, start + size)
                found.append(_answer(task, model, processor, recipe, table, items, some, place, control))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size = max(1, size // 2)
                progress.say(f"Not enough memory on {place}: evaluating {readable_count(size, 'row')} at a time.")
                continue
            bar.advance(len(found[-1].index))
            start += size
    return join(found, labels=processor.labels)


def in_units(answers: Answers, rows: Sequence[Row]) -> Answers:
    """The answers to `rows` with blocks of one group, which lie side by side in a file, as one unit of an interval.

    So are groups that lie side by side, up to the cube root of the blocks of a stretch, rounded up, at a time: the blocks of a
    bootstrap that grow so have the smallest error (Hall, Horowitz and Jing 1995), and singles would count as independent.
    """
    from ouvroir.data.blocks import stretches
    from ouvroir.data.duplicates import Clusters

    asked = [rows[place] for place in answers.index.tolist()]
    clusters = Clusters(len(asked))
    clusters.join_equal(row.group if block_of(row.locator)[1] is not None else "" for row in asked)
    for stretch in stretches([row.locator for row in asked]):
        groups = [list(some) for _, some in groupby(stretch, key=clusters.find)]
        wanted = math.ceil(round(len(stretch) ** (1 / 3), 6))
        run: list[int] = []
        for group in groups:
            run = [*run, *group] if len(run) < wanted else group
            clusters.join(run[0], group[0])
    units = np.array([clusters.find(at) for at in range(len(asked))], dtype=np.int64)
    return replace(answers, units=units if len(np.unique(units)) < len(units) else None)


def _usual_batch(recipe: Recipe, place: torch.device) -> int:
    rows = recipe.loop.micro_batch or recipe.loop.batch_size
    return min(4 * rows, max(rows, _CPU_BATCH) if place.type == "cpu" else _LARGEST_BATCH, _LARGEST_BATCH)


@contextlib.contextmanager
def _judging(model: nn.Module, recipe: Recipe, place: torch.device) -> Iterator[None]:
    import torch

    from ouvroir.training.device import threads

    was_training = model.training
    model.to(place)
    model.eval()
    bf16 = recipe.loop.precision == "bf16"
    try:
        with (
            threads(
                recipe.loop.threads if place.type == "cpu" else 0
            ),  # more of them were found to wait for each other
            torch.inference_mode(),
            torch.autocast(place.type, dtype=torch.bfloat16, enabled=bf16),
        ):
            yield
    finally:
        model.train(was_training)


def _answer(
    task: Task,
    model: nn.Module,
    processor: Processor,
    recipe: Recipe,
    table: Table,
    items: Items,
    part: slice,
    place: torch.device,
    control: Control | None,
) -> Answers:
    import torch

    from ouvroir.data.loader import take
    from ouvroir.rng import Rng

    places = np.arange(len(items.row))[part]
    batch = _to(task.collate(take(table, items, places)), place)
    rng = Rng(recipe.loop.seed, 0, torch.arange(len(places), device=place) + part.start)
    batch = task.prepare(batch, recipe, rng=rng, training=False)
    if control is not None:
        batch = control.take(batch, rng)
    return task.answers(batch, task.step(model, batch, recipe, rng=rng, training=False), processor)


def _to(value: Any, place: torch.device) -> Any:
    """Tensors, and what holds them, on the device."""
    if isinstance(value, dict):
        return {name: _to(one, place) for name, one in value.items()}
    return value.to(place) if hasattr(value, "to") else value


def features_of(
    task: Task, model: nn.Module, recipe: Recipe, table: Sliced, places: np.ndarray, *, device: str = "cpu"
) -> np.ndarray:
    """(len(places), D) float32: what goes into the last part of the model, for the rows of `table` at `places`."""
    import torch

    from ouvroir.rng import Rng

    last = task.parts(model)[-1][0]
    found = []
    model.to(device).eval()
    with torch.inference_mode():
        for start in range(0, len(places), _LARGEST_BATCH):
            some = places[start : start + _LARGEST_BATCH]
            batch = _to(task.collate(table.slice(some)), torch.device(device))
            rng = Rng(recipe.loop.seed, 0, torch.arange(len(some), device=device))
            batch = task.prepare(batch, recipe, rng=rng, training=False)
            found.append(task.features(model, batch, last).float().flatten(1).cpu().numpy())
    return np.concatenate(found)


def join(parts: Sequence[Answers], *, labels: tuple[str, ...] = ()) -> Answers:
    """The answers of several batches as one; with no batch, no rows.

    Of a row that was seen in several windows, their mean; without scores, where each window tells another part of it, their sum.
    """
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return Answers(index=none, loss=none.astype(np.float64), n_items=none, labels=labels)
    columns = {name: [getattr(part, name) for part in parts] for name in _COLUMNS}
    whole: dict[str, Any] = {
        name: None if parts_[0] is None else np.concatenate(parts_) for name, parts_ in columns.items()
    }
    return _one_a_row(replace(parts[0], **whole))


def _one_a_row(answers: Answers) -> Answers:
    """Answers in which no row comes twice: of the windows of a row losses, counts and scores are averaged, in order of rows.

    Losses and counts without scores are added up.
    """
    if len(np.unique(answers.index)) == len(answers.index):
        return answers
    index, first, place = np.unique(answers.index, return_index=True, return_inverse=True)
    if answers.scores is None:
        loss, n_items = np.bincount(place, answers.loss), np.bincount(place, answers.n_items).astype(np.int64)
        n_bytes = None if answers.n_bytes is None else np.bincount(place, answers.n_bytes).astype(np.int64)
        return replace(answers, index=index, loss=loss, n_items=n_items, n_bytes=n_bytes)
    n_windows = np.bincount(place)

    def mean(column: np.ndarray) -> np.ndarray:
        total = np.zeros((len(index), *column.shape[1:]), dtype=np.float64)
        np.add.at(total, place, column)
        found: np.ndarray = total / n_windows.reshape(-1, *[1] * (column.ndim - 1))
        return found

    return replace(
        answers,
        index=index,
        loss=mean(answers.loss),
        n_items=np.maximum(1, mean(answers.n_items).round()).astype(np.int64),
        scores=None if answers.scores is None else mean(answers.scores).astype(np.float32),
        targets=None if answers.targets is None else answers.targets[first],
        answered=None,
    )


def save_answers(path: Path, answers: Answers) -> None:
    """Write answers as safetensors, the class names in its metadata; not their units, which follow from the rows.

    Whole or not at all; raises DiskFull.
    """
    import json

    from safetensors.numpy import save

    columns = {name: getattr(answers, name) for name in _COLUMNS if getattr(answers, name) is not None}
    contiguous = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    with whole_file(Path(path)) as file:
        file.write(save(contiguous, metadata={"labels": json.dumps(answers.labels)}))


def load_answers(path: Path) -> Answers:
    """Read what `save_answers` wrote. Raises RunError when the file is missing or damaged."""
    import json

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            labels = tuple(json.loads((file.metadata() or {}).get("labels", "[]")))
        return Answers(**columns, labels=labels)
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise RunError(
            f"The answers in {path} could not be read: {error}. Evaluate the run again: `ouvroir evaluate`."
        ) from error
