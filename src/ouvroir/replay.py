"""Replaying rows through a model: the proof that a copied or exported model is the trained one.

Some rows the model was not trained on are kept in encoded form beside the answers it gave. Whoever has the bundle can
then ask any copy the same questions, also where the data are gone. Knows no file format of models and no medium.

Axes: N rows that are replayed, C classes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir.errors import CheckpointError, DataError, ExportError, Refused
from ouvroir.files import whole_file
from ouvroir.media import find_task
from ouvroir.source import Source, shown_locator
from ouvroir.task import SPLITS, Answers, Batch, Processor, Row, Split, StepOutput, Task, Writer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Ragged, TableSlice
    from ouvroir.recipe import Recipe

BATCH_SIZE = 32
N_SHOWN = 5  # rows that a message names
FORMAT = "1"


@dataclass(frozen=True)
class Replay:
    """Encoded rows and, where known, the probabilities that the trained model gave for them, (N, C) float32.

    `ids` name the rows in messages; `kind` says in words what rows these are; `sources` are their files, none for rows
    that were kept in encoded form only.
    """

    ids: tuple[str, ...]
    rows: TableSlice
    kind: str
    scores: np.ndarray | None = None
    sources: tuple[Source, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


Forward = Callable[[Batch], Any]
"""From a prepared batch to what `StepOutput.outputs` holds."""


def from_manifest(task: Task, processor: Processor, manifest: Manifest, n_items: int) -> Replay:
    """Read and encode at most `n_items` rows again from their files: test rows, else validation rows, else train rows.

    Rows that can no longer be read are left out. Raises DataError when none is left.
    """
    split, positions = _held_out(manifest, n_items)
    rows, examples = [], []
    for place in positions.tolist():
        row = manifest.rows[place]
        try:
            examples.append(processor.encode(row.source(manifest.root), find_task(manifest.task).limits))
        except Refused:
            continue
        rows.append(row)
    if not rows:
        raise DataError(f"None of the {split} rows in {manifest.root} can be read any more.")
    fields = {
        name: _column([example[name] for example in examples], field.is_ragged)
        for name, field in processor.fields().items()
    }
    found = _replay(task, processor, rows, fields, split)
    return replace(found, sources=tuple(row.source(manifest.root) for row in rows))


def from_pack(task: Task, processor: Processor, manifest: Manifest, n_items: int) -> Replay:
    """The rows that `from_manifest` takes, as they are packed: for when their files are away.

    Raises DataError when the pack does not hold them all.
    """
    import torch

    from ouvroir.data.pack import open_pack

    split, positions = _held_out(manifest, n_items)
    rows = [manifest.rows[place] for place in positions.tolist()]
    fields = open_pack(rows, processor).take(torch.arange(len(rows)))
    return _replay(task, processor, rows, fields, split)


def _held_out(manifest: Manifest, n_items: int) -> tuple[Split, np.ndarray]:
    """A split to take rows of, the most held-out one, and places in the manifest of at most `n_items` of them."""
    split = next(split for split in reversed(SPLITS) if len(manifest.positions(split)))
    positions = manifest.positions(split)
    return split, positions[spread(len(positions), n_items)]


def _replay(
    task: Task, processor: Processor, rows: list[Row], fields: dict[str, Tensor | Ragged], split: Split
) -> Replay:
    import torch

    from ouvroir.data.table import TableSlice

    encoded = TableSlice(
        index=torch.arange(len(rows)),
        fields=fields,
        targets={name: torch.from_numpy(column) for name, column in task.targets(rows, processor).items()},
        weight=torch.ones(len(rows)),
        start=None,
        length=None,
    )
    kind = "held-out rows" if split != "train" else "train rows (nothing was held out)"
    return Replay(ids=tuple(row.id for row in rows), rows=encoded, kind=kind)


def answer(
    task: Task, model: nn.Module, processor: Processor, recipe: Recipe, items: Replay, *, forward: Forward | None = None
) -> Answers:
    """What `model` answers on the rows, on the CPU in single precision.

    With `forward`, its outputs take the place of the model's before the task turns them into answers: that is how an
    exported file is asked. Raises what `forward` raises.
    """
    found = [answers for _, answers in each_answer(task, model, processor, recipe, items, forward=forward)]
    first = found[0]
    scores = None if first.scores is None else np.concatenate([one.scores for one in found if one.scores is not None])
    return replace(
        first,
        index=np.concatenate([one.index for one in found]),
        loss=np.concatenate([one.loss for one in found]),
        n_items=np.concatenate([one.n_items for one in found]),
        scores=scores,
        targets=None
        if first.targets is None
        else np.concatenate([one.targets for one in found if one.targets is not None]),
    )


def each_answer(
    task: Task, model: nn.Module, processor: Processor, recipe: Recipe, items: Replay, *, forward: Forward | None = None
) -> Iterator[tuple[StepOutput, Answers]]:
    """The output of one step and its answers, batch by batch."""
    import torch

    model.eval()
    with torch.inference_mode():
        for batch, rng in _batches(task, recipe, items):
            output = task.step(model, batch, recipe, rng=rng, training=False)
            if forward is not None:
                output = StepOutput(losses=output.losses, outputs=forward(batch))
            yield output, task.answers(batch, output, processor)


def _batches(task: Task, recipe: Recipe, items: Replay) -> Iterator[tuple[Batch, Any]]:
    import torch

    from ouvroir.rng import Rng

    # one row alone first: a copy that only works for the batch it was made with is found out
    for start, end in itertools.pairwise([0, *range(1, len(items), BATCH_SIZE), len(items)]):
        places = torch.arange(start, end)
        rng = Rng(recipe.loop.seed, 0, places)
        yield task.prepare(task.collate(select(items.rows, places)), recipe, rng=rng, training=False), rng


def select(rows: TableSlice, places: Tensor) -> TableSlice:
    """The rows of a slice at `places`, (B,) int64."""
    return replace(
        rows,
        index=rows.index[places],
        fields={name: _select_field(column, places) for name, column in rows.fields.items()},
        targets={name: column[places] for name, column in rows.targets.items()},
        weight=rows.weight[places],
        start=None if rows.start is None else rows.start[places],
        length=None if rows.length is None else rows.length[places],
    )


def require_same(
    found: np.ndarray | None, wanted: np.ndarray | None, items: Replay, tolerance: float, who: str
) -> float:
    """The largest difference of a probability between two (N, C) arrays of answers to the same rows.

    Raises ExportError naming the rows with another label or a difference above `tolerance`; `who` gave `found`.
    """
    assert wanted is not None
    if found is None or found.shape != wanted.shape:
        raise ExportError(f"{who} gives answers of another shape than the model.")
    differences = np.abs(found.astype(np.float64) - wanted).max(axis=1)
    is_off = ~(differences <= tolerance)  # also where it is not a number
    is_flipped = found.argmax(axis=1) != wanted.argmax(axis=1)
    if not np.allclose(wanted.sum(axis=1), 1, atol=1e-3):  # several labels at once: each has its own yes or no
        is_flipped = ((found >= 0.5) != (wanted >= 0.5)).any(axis=1)
    bad = np.flatnonzero(is_off | is_flipped)
    if len(bad):
        shown = "; ".join(
            f"`{shown_locator(items.ids[place])}`"
            + (" (another label" if is_flipped[place] else " (the same label")
            + f", {differences[place]:.2g} off)"
            for place in bad[:N_SHOWN]
        )
        more = f"; and {len(bad) - N_SHOWN} more" if len(bad) > N_SHOWN else ""
        raise ExportError(
            f"{who} does not answer as the trained model did: of {len(wanted)} {items.kind}, {int(is_flipped.sum())} get another "
            f"label and {int(is_off.sum())} a probability more than {tolerance:g} off: {shown}{more}."
        )
    return float(differences.max())


def require_same_next(
    task: Writer, model: nn.Module, processor: Processor, items: Replay, forward: Forward, tolerance: float, who: str
) -> tuple[int, float]:
    """How many questions made of the rows were asked, and the largest difference of a probability of what comes next.

    Raises ExportError when `who`, asked through `forward`, gives one that is more than `tolerance` off.
    """
    import torch

    n_asked, worst = 0, 0.0
    model.eval()
    with torch.inference_mode():
        for batch in task.export_questions(processor, items.rows):
            wanted, found = model(**batch), forward(batch)
            if found.shape != wanted.shape:
                raise ExportError(f"{who} gives answers of another shape than the model.")
            differences = (found.double().softmax(-1) - wanted.double().softmax(-1)).abs().flatten(1).amax(dim=1)
            is_off = ~(differences <= tolerance)  # also where it is not a number
            if is_off.any():
                raise ExportError(
                    f"{who} does not answer as the trained model did: of {len(wanted)} windows of {items.kind}, "
                    f"{int(is_off.sum())} get a probability more than {tolerance:g} off, up to {float(differences.max()):.2g}."
                )
            n_asked += len(wanted)
            worst = max(worst, float(differences.max()))
    return n_asked, worst


def save(path: Path, items: Replay) -> None:
    """Write rows and scores as one safetensors file, whole or not at all."""
    import torch
    from safetensors.torch import save as as_bytes

    columns: dict[str, Tensor] = {"index": items.rows.index, "weight": items.rows.weight}
    for name, field in items.rows.fields.items():
        if isinstance(field, torch.Tensor):
            columns[f"field.{name}"] = field
        else:
            columns[f"values.{name}"], columns[f"offsets.{name}"] = field.values, field.offsets
    columns |= {f"target.{name}": column for name, column in items.rows.targets.items()}
    for name, window in (("start", items.rows.start), ("length", items.rows.length)):
        if window is not None:
            columns[name] = window
    if items.scores is not None:
        columns["scores"] = torch.from_numpy(np.ascontiguousarray(items.scores, dtype=np.float32))
    metadata = {"format": FORMAT, "ids": json.dumps(items.ids), "kind": items.kind}
    with whole_file(path) as file:
        file.write(as_bytes({name: column.contiguous() for name, column in columns.items()}, metadata=metadata))


def load(path: Path) -> Replay:
    """Read what `save` wrote. Raises CheckpointError when the file is damaged."""
    from safetensors import SafetensorError, safe_open

    from ouvroir.data.table import Ragged, TableSlice

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a mapping
        ids = tuple(json.loads(metadata["ids"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}. Delete it; the rest of the bundle works without."
        ) from error
    fields: dict[str, Tensor | Ragged] = {}
    for name, column in columns.items():
        section, _, leaf = name.partition(".")
        if section == "field":
            fields[leaf] = column
        elif section == "values":
            fields[leaf] = Ragged(column, columns[f"offsets.{leaf}"])
    rows = TableSlice(
        index=columns["index"],
        fields=fields,
        targets={name[7:]: column for name, column in columns.items() if name.startswith("target.")},
        weight=columns["weight"],
        start=columns.get("start"),
        length=columns.get("length"),
    )
    scores = columns["scores"].numpy() if "scores" in columns else None
    return Replay(ids=ids, rows=rows, kind=metadata["kind"], scores=scores)


def spread(n_rows: int, n_items: int) -> np.ndarray:
    """At most `n_items` places of `n_rows`, (N,) int64, evenly apart and always the same."""
    n_items = min(n_rows, n_items)
    return (np.arange(n_items, dtype=np.int64) * n_rows) // max(1, n_items)


def _column(arrays: list[np.ndarray], is_ragged: bool) -> Tensor | Ragged:
    import torch

    from ouvroir.data.table import Ragged

    if not is_ragged:
        return torch.from_numpy(np.stack(arrays))
    offsets = np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)
    return Ragged(torch.from_numpy(np.concatenate(arrays)), torch.from_numpy(offsets))


def _select_field(column: Tensor | Ragged, places: Tensor) -> Tensor | Ragged:
    import torch

    from ouvroir.data.table import Ragged

    if isinstance(column, torch.Tensor):
        return column[places]
    pieces = [column.values[int(column.offsets[place]) : int(column.offsets[place + 1])] for place in places]
    lengths = torch.tensor([0, *(len(piece) for piece in pieces)], dtype=column.offsets.dtype)
    return Ragged(torch.cat(pieces), lengths.cumsum(0))
