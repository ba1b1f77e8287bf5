"""final_model/: one model as a self-contained folder that answers, explains itself and can be checked anywhere.

    model.safetensors, processor/, recipe.json    all that answering needs
    config.json                                   task, labels, input, threshold, format version, metrics
    check_items.safetensors                       some encoded held-out rows with this model's answers; may be deleted
    learned.safetensors                           SHA-256 of the rows it learned from, marks of passages; may be deleted
    README.md, training_info.txt                  the model card; times, device and versions
    hashes.json                                   SHA-256 of every other file

A bundle is written whole or not at all, and never holds a path of the machine that made it.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouvroir import __version__
from ouvroir.card import Card, data_name, render_card
from ouvroir.errors import CheckpointError, DataError
from ouvroir.files import whole_folder, write_json, write_text
from ouvroir.hashes import HASHES, damages, hash_files
from ouvroir.media import find_task, readable_suffixes, suffixes_of
from ouvroir.recipe import Recipe
from ouvroir.run import Run
from ouvroir.task import SPLITS, Processor, Row, Task

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.replay import Replay

FORMAT_VERSION = 1
N_CHECK_ITEMS = 64
CONFIG = "config.json"
CHECK_ITEMS = "check_items.safetensors"
LEARNED = "learned.safetensors"
EDITABLE = frozenset({"README.md", "training_info.txt"})
DELETABLE = EDITABLE | {CHECK_ITEMS, LEARNED}
PACKAGES = ("ouvroir", "torch", "numpy", "safetensors", "pillow", "transformers")


@dataclass(frozen=True)
class Learned:
    """What a model learned from: SHA-256, as hex, of its train and validation rows and of those of all models it began as.

    Not `is_complete` when this could not be found out for one of them. `marks`: of their passages, as `ouvroir.data.marks` has
    them, where rows may be blocks of files; None elsewhere.
    """

    contents: frozenset[str]
    is_complete: bool = True
    marks: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)

    def knows(self, row: Row) -> bool:
        """Whether the model learned from this content, or from most of it."""
        from ouvroir.data.marks import is_among

        return row.sha256 in self.contents or (self.marks is not None and is_among(row, self.marks))

    def joined(self, other: Learned) -> Learned:
        """What either learned from."""
        from ouvroir.data.marks import together

        marks = [one.marks for one in (self, other) if one.marks is not None]
        is_complete = self.is_complete and other.is_complete
        return Learned(self.contents | other.contents, is_complete, together(marks) if marks else None)

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Learned:
        """Of the rows of a training. A passage that the test holds too is no sign that a text was learned from."""
        from ouvroir.data.marks import gathered

        seen = [row for row in rows if row.split != "test"]
        marks = gathered(seen, without=gathered(row for row in rows if row.split == "test"))
        return cls(frozenset(row.sha256 for row in seen), marks=marks if len(marks) else None)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files were found whole. `config` is all of config.json."""

    path: Path
    task: str
    labels: tuple[str, ...]
    threshold: float
    format_version: int
    made_with: str
    config: Mapping[str, Any]

    def open_model(self, *, device: str = "cpu") -> tuple[Task, nn.Module, Processor, Recipe]:
        """The task, the model in evaluation mode on `device`, its processor and recipe."""
        from ouvroir.training.checkpoint import load_model

        task = find_task(self.task)
        model, processor, recipe = load_model(task, self.path, device=device)
        return task, model, processor, recipe

    def check_items(self) -> Replay | None:
        """The held-out rows kept in the bundle, with this model's answers; None when they were deleted."""
        from ouvroir import replay

        path = self.path / CHECK_ITEMS
        return replay.load(path) if path.is_file() else None


def write_bundle(
    run: Run,
    checkpoint: Path,
    manifest: Manifest,
    *,
    folder: Path,
    judged: Mapping[str, Any] | None = None,
    learned: Learned | None = None,
    threshold: float = 0.0,
    limits: tuple[str, ...] = (),
) -> Bundle:
    """Make the bundle `folder` from a checkpoint of `run`, replacing what was there.

    `judged` is what another run's evaluation.json says, for the card to show, when the model is that one's, trained again
    on more rows. `learned` is kept beside the model, so that `evaluate` can leave these rows out anywhere. `threshold` is the
    proposed score under which to answer 'none of these', `limits` are sentences for the card. The model is read back from
    the new files and answers held-out rows, so a bundle that exists has been opened once.
    Raises CheckpointError, DiskFull.
    """
    from ouvroir.exporting import formats_of
    from ouvroir.training.checkpoint import load_model, read_recipe, step_of

    card = _facts(run, manifest, judged)
    card = dataclasses.replace(
        card, threshold=threshold, limits=limits, kept_step=run.steps_before + step_of(checkpoint)
    )
    with whole_folder(folder) as place:
        _copy_weights(checkpoint, place)
        recipe = portable(read_recipe(place))
        write_text(place / "recipe.json", recipe.to_json())
        task = find_task(recipe.task)
        model, processor, _ = load_model(task, place)
        items = _answer_check_items(task, model, processor, recipe, place, manifest)
        if learned is not None:
            _write_learned(place / LEARNED, learned)
        write_json(place / CONFIG, _config(processor, recipe, card))
        page = render_card(
            card,
            recipe,
            task,
            labels=tuple(processor.labels),
            made_with=__version__,
            size_bytes=(place / "model.safetensors").stat().st_size,
            files=frozenset(file.name for file in place.iterdir()),
            is_multi_label=getattr(processor, "is_multi_label", False),
            formats=formats_of(task, model, processor, recipe, items),
        )
        write_text(place / "README.md", page)
        write_text(place / "training_info.txt", _training_info(run, card, recipe))
        write_json(place / HASHES, hash_files(place))
    return load_bundle(folder)


def load_bundle(folder: str | Path) -> Bundle:
    """Read a bundle and verify its files. Raises CheckpointError naming what is missing, damaged or too new."""
    path = Path(folder).absolute()
    config = _read_object(path / CONFIG)
    version = config.get("format_version")
    if not isinstance(version, int) or not isinstance(config.get("task"), str):
        raise CheckpointError(f"{path / CONFIG} was not written by Ouvroir. Give a run or a final_model folder.")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} was made by Ouvroir {config.get('ouvroir', '')}, which is newer than this one ({__version__}). "
            "Update with: pip install --upgrade ouvroir"
        )
    verify(path)
    return Bundle(
        path=path,
        task=config["task"],
        labels=tuple(config.get("labels", ())),
        threshold=float(config.get("threshold", 0.0)),
        format_version=version,
        made_with=str(config.get("ouvroir", "")),
        config=config,
    )


def read_learned(folder: Path) -> Learned | None:
    """What the model of a bundle learned from; None when its file was deleted or `folder` is no bundle."""
    from ouvroir.data.arrays import map_arrays

    path = folder / LEARNED
    if not path.is_file():
        return None
    arrays = map_arrays(path)
    text = arrays["sha256"].tobytes().hex()
    return Learned(
        contents=frozenset(text[start : start + 64] for start in range(0, len(text), 64)),
        is_complete=bool(arrays["is_complete"][0]),
        marks=arrays.get("marks"),
    )


def _write_learned(path: Path, learned: Learned) -> None:
    """32 bytes a row, in the order of the hashes, which tells nothing of the rows; 4 a mark, of which there are mostly none."""
    import numpy as np

    from ouvroir.data.arrays import write_arrays

    packed = np.frombuffer(bytes.fromhex("".join(sorted(learned.contents))), dtype=np.uint8)
    arrays = {"sha256": packed.reshape(-1, 32), "is_complete": np.array([learned.is_complete])}
    write_arrays(path, arrays if learned.marks is None else {**arrays, "marks": learned.marks})


def is_bundle(folder: Path) -> bool:
    """Whether `folder` looks like a bundle."""
    return (folder / CONFIG).is_file() and (folder / "model.safetensors").is_file()


def verify(folder: Path) -> None:
    """Compare a bundle's files with its list of hashes. Raises CheckpointError naming the first that differs."""
    for name, is_there in damages(folder, _read_object(folder / HASHES)):
        if name in (EDITABLE if is_there else DELETABLE):
            continue
        if not is_there:
            raise CheckpointError(
                f"{folder / name} is missing. Copy the whole folder again, or make it anew from its run."
            )
        raise CheckpointError(
            f"{folder / name} is damaged or was changed. Copy the whole folder again from where it was made."
        )


def _copy_weights(checkpoint: Path, place: Path) -> None:
    from ouvroir.training.checkpoint import check_hashes

    check_hashes(checkpoint)
    for name in ("model.safetensors", "recipe.json"):
        if not (checkpoint / name).is_file():
            raise CheckpointError(f"{checkpoint} has no {name}, so no bundle can be made of it.")
        shutil.copyfile(checkpoint / name, place / name)
    shutil.copytree(checkpoint / "processor", place / "processor")


def _answer_check_items(
    task: Task, model: nn.Module, processor: Processor, recipe: Recipe, place: Path, manifest: Manifest
) -> Replay | None:
    """Keep some rows with the answers of the copied model beside it, and give them; None where there are none at hand."""
    from ouvroir import replay

    try:
        items = replay.from_manifest(task, processor, manifest, N_CHECK_ITEMS)
    except DataError:  # the files are away
        try:
            items = replay.from_pack(task, processor, manifest, N_CHECK_ITEMS)
        except DataError:  # and so is the pack: the model is still worth keeping
            return None
    items = dataclasses.replace(items, scores=_scores(task, model, processor, recipe, items))
    replay.save(place / CHECK_ITEMS, items)
    return items


def _scores(task: Task, model: nn.Module, processor: Processor, recipe: Recipe, items: Replay) -> np.ndarray | None:
    """The probabilities that the model gives for the rows; None, after the first row, where it gives none."""
    from ouvroir import replay

    alone = next(replay.each_answer(task, model, processor, recipe, items))[1]
    return None if alone.scores is None else replay.answer(task, model, processor, recipe, items).scores


def _facts(run: Run, manifest: Manifest, judged: Mapping[str, Any] | None) -> Card:
    """The card's fields from what the run's folder says."""
    evaluation = (run.read_json("evaluation.json") if judged is None else judged) or {}
    judged_on = next((split for split in ("test", "validation") if evaluation.get(split)), "test")
    measurements = run.metrics()
    environment = run.read_json("environment.json") or {}
    return Card(
        data=data_name(manifest.source),
        fingerprint=manifest.fingerprint,
        row=manifest.row_word,
        splits={split: len(manifest.positions(split)) for split in SPLITS},
        refused=len(manifest.refused),
        metrics=evaluation.get(judged_on) or {},
        judged_on=judged_on,
        steps=run.steps_in_all,
        seconds=measurements[-1].seconds if measurements else None,
        device=str(environment.get("device", "")),
        started=_time(float(environment["created"])) if "created" in environment else "",
        finished=_time(time.time()),
        refit=judged is not None,
    )


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))


def portable(recipe: Recipe) -> Recipe:
    """The recipe without paths of this machine: only the last part of a path says what the data were called."""
    recipe = recipe.replace("data", source=data_name(recipe.data.source) if recipe.data.source else "")
    start = recipe.model.init_from
    return recipe.replace("model", init_from=data_name(start)) if Path(start).is_absolute() else recipe


def _config(processor: Processor, recipe: Recipe, card: Card) -> dict[str, Any]:
    encoded = {name: {"dtype": field.dtype, "shape": list(field.shape)} for name, field in processor.fields().items()}
    return {
        "format_version": FORMAT_VERSION,
        "ouvroir": __version__,
        "task": recipe.task,
        "labels": list(processor.labels),
        "threshold": card.threshold,
        "input": {"suffixes": readable_suffixes(suffixes_of(recipe.task)), "encoded": encoded},
        "preset": recipe.model.preset,
        "data": {"name": card.data, "fingerprint": card.fingerprint, "rows": dict(card.splits)},
        "judged_on": card.judged_on if card.metrics else None,
        "refit": card.refit,
        "metrics": {name: dict(metric) for name, metric in card.metrics.items()},
    }


def _training_info(run: Run, card: Card, recipe: Recipe) -> str:
    facts = {
        "run": run.full_name,
        "task": recipe.task,
        "started": card.started,
        "finished": card.finished,
        "steps": card.steps,
        "seconds": None if card.seconds is None else round(card.seconds, 1),
        "device": card.device,
        "precision": recipe.loop.precision,
        "layout": recipe.loop.layout,
        "threads": recipe.loop.threads,
        "batch size": recipe.loop.batch_size,
        "seed": recipe.loop.seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_versions(),
    }
    known = {name: value for name, value in facts.items() if value not in (None, "")}
    return "".join(f"{name}: {value}\n" for name, value in known.items())


def _versions() -> dict[str, str]:
    found = {"ouvroir": __version__}
    for name in PACKAGES[1:]:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent} is not a bundle: it has no {path.name}. Give a run or a final_model folder."
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}. Copy the whole folder again from where it was made."
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: it holds no JSON object. Copy the whole folder again.")
    return value
