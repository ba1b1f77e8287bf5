"""Checkpoints: everything a run needs to go on, and everything a model needs to answer, whole or not at all.

    checkpoints/step_000500/model.safetensors            the weights that are judged (averaged ones if averaging is on)
                            processor/  recipe.json      with these three a model answers
                            training_state.safetensors   raw weights if averaged, optimiser, running sums
                            training_state.json          step, seconds, best so far, patience
                            hashes.json                  SHA-256 of every file above
    checkpoints/last.txt, best.txt, branch.txt           names of step folders

A folder is written beside, synced and renamed. Kept are the last two, the best (also as the older of the two knew it)
and the branch. No file is a pickle.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ouvroir.errors import CheckpointError
from ouvroir.files import disk_errors, put_back, sync_folder, whole_folder, write_json, write_text
from ouvroir.hashes import HASHES, damages, hash_files
from ouvroir.progress import Progress
from ouvroir.recipe import Recipe
from ouvroir.training.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from ouvroir.run import Measurement
    from ouvroir.task import Processor, Task

N_KEPT = 2
_WEIGHTS, _STATE = "model.safetensors", "training_state.safetensors"
_PLACE = "training_state.json"
_SET_ASIDE = ("damaged_", "replaced_")
_STEP = re.compile(r"step_\d+")  # a copy that a person made beside it is no checkpoint


@dataclass
class Place:
    """How far a training is. `seconds` of training over all resumptions; `best_*` of the best validation so far.

    `stale` counts validations since the best; `is_complete` says that training ended by itself.
    """

    step: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_value: float | None = None
    best_loss: float | None = None
    stale: int = 0
    is_complete: bool = False


@dataclass(frozen=True)
class Saved:
    """One checkpoint read back: its place and tensors, `weights` being the raw ones."""

    folder: Path
    place: Place
    weights: dict[str, Tensor]
    average: dict[str, Tensor] | None
    state: dict[str, Tensor]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / "checkpoints"

    def save(
        self,
        place: Place,
        *,
        recipe: Recipe,
        processor: Processor,
        weights: Mapping[str, Tensor],
        average: Mapping[str, Tensor] | None,
        state: Mapping[str, Tensor],
        is_best: bool = False,
        is_branch: bool = False,
    ) -> Path:
        """Write the checkpoint of `place.step`, point to it, and drop those no longer needed. Raises DiskFull.

        `weights` and `average` are state dicts; `state` holds the optimiser's tensors and the running sums.
        """
        path = self.folder / f"step_{place.step:06d}"
        with disk_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
        with whole_folder(path) as temporary:
            write_tensors(temporary / _WEIGHTS, weights if average is None else average)
            raw = {} if average is None else {f"weights/{name}": tensor for name, tensor in weights.items()}
            write_tensors(temporary / _STATE, {**raw, **{f"state/{name}": tensor for name, tensor in state.items()}})
            write_text(temporary / "recipe.json", recipe.to_json())
            (temporary / "processor").mkdir()
            processor.save(temporary / "processor")
            write_json(temporary / _PLACE, {**asdict(place), "is_averaged": average is not None})
            write_json(temporary / HASHES, hash_files(temporary))
        write_text(self.folder / "last.txt", path.name + "\n")
        if is_best:
            write_text(self.folder / "best.txt", path.name + "\n")
        if is_branch:
            write_text(self.folder / "branch.txt", path.name + "\n")
        self._drop_old()
        return path

    def newest(self, progress: Progress) -> Saved | None:
        """The newest undamaged checkpoint, None when none was ever written. A damaged one is said and set aside.

        Raises CheckpointError when there are some and none can be read.
        """
        self._sweep()
        found = self._steps()
        for path in reversed(found):
            try:
                saved = read_checkpoint(path)
            except CheckpointError as error:
                progress.say(f"{error} The one before it is used.")
                continue
            for damaged in found[found.index(path) + 1 :]:
                _set_aside(damaged)
            self._repoint(saved.place)
            return saved
        if found:
            raise CheckpointError(
                f"None of the {len(found)} checkpoints in {self.folder} could be read. Start a new run with the same recipe: "
                f"`ouvroir train DATA --recipe {self.folder.parent / 'recipe.json'}`."
            )
        return None

    def best(self, measured: Sequence[Measurement], progress: Progress) -> Path:
        """The best checkpoint. When it is damaged, that is said, and the best of the intact ones takes its place.

        `measured` says which that is; the newest when none of them was validated. Raises CheckpointError when none is intact.
        """
        try:
            path = self.folder / (self.folder / "best.txt").read_text(encoding="utf-8").strip()
            check_hashes(path)
            return path
        except (OSError, ValueError) as problem:
            error = CheckpointError(f"Which checkpoint of {self.folder} is the best could not be read: {problem}.")
        except CheckpointError as problem:
            error = problem
            if path in self._steps():
                _set_aside(path)
        intact = [path for path in self._steps() if _is_intact(path)]
        if not intact:
            raise CheckpointError(f"{error} No other checkpoint is intact either. Train again with the same recipe.")
        chosen, why = _best_of(intact, measured)
        write_text(self.folder / "best.txt", chosen.name + "\n")
        progress.say(f"{error} {chosen.name} takes its place: {why}.")
        return chosen

    def drop_states(self) -> None:
        """Leave of each checkpoint what answers and what another training may start from: a finished run never goes on.

        What the optimiser remembers is dropped, the raw weights beside averaged ones, and what was set aside. Raises OSError,
        DiskFull.
        """
        for path in self.folder.glob("*_step_*"):
            if path.name.startswith(_SET_ASIDE):
                shutil.rmtree(path, ignore_errors=True)
        for path in filter(_is_intact, self._steps()):
            place = json.loads((path / _PLACE).read_text(encoding="utf-8"))
            with whole_folder(path) as temporary:
                changed = shutil.ignore_patterns(_STATE, _PLACE, HASHES)
                shutil.copytree(path, temporary, ignore=changed, copy_function=os.link, dirs_exist_ok=True)
                write_tensors(temporary / _STATE, {})
                write_json(temporary / _PLACE, {**place, "is_averaged": False, "is_complete": True})
                write_json(temporary / HASHES, hash_files(temporary))

    def branch(self, progress: Progress) -> Path:
        """The checkpoint to branch from. When it is damaged, that is said, and the newest intact one before it takes its place.

        Raises CheckpointError when there is none.
        """
        try:
            path = self.folder / (self.folder / "branch.txt").read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as problem:
            raise CheckpointError(
                f"Which checkpoint of {self.folder} to branch from could not be read: {problem}."
            ) from problem
        try:
            check_hashes(path)
            return path
        except CheckpointError as problem:
            error = problem
        older = [one for one in self._steps() if step_of(one) < step_of(path) and _is_intact(one)]
        if not older:
            raise CheckpointError(f"{error} Another model was to start from it, and no older one is intact.")
        write_text(self.folder / "branch.txt", older[-1].name + "\n")
        progress.say(f"{error} {older[-1].name}, the one before it, takes its place.")
        return older[-1]

    def go_back(self, step: int) -> None:
        """Set aside the checkpoints from `step` on, so that training goes on before it, or begins."""
        for path in self._steps():
            if step_of(path) >= step:
                _set_aside(path, "replaced")

    def processor(self) -> Path | None:
        """The folder of the processor in the newest checkpoint where it is intact; None when there is none."""
        for path in reversed(self._steps()):
            try:
                _require_unchanged(path, lambda name: name.startswith("processor/"))
            except CheckpointError:
                continue
            return path / "processor"
        return None

    def _steps(self) -> list[Path]:
        found = (path for path in self.folder.glob("step_*") if _STEP.fullmatch(path.name) and path.is_dir())
        return sorted(found, key=step_of)

    def _sweep(self) -> None:
        """Remove what a killed process left half done; what it was about to replace goes back to its place."""
        for path in self.folder.glob(".*.tmp"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        for path in self.folder.glob(".step_*.old"):
            put_back(self.folder / path.name.split(".")[1])

    def _repoint(self, place: Place) -> None:
        """Make the pointers agree with the checkpoint that training goes on from."""
        write_text(self.folder / "last.txt", f"step_{place.step:06d}\n")
        best = self.folder / f"step_{place.best_step:06d}"
        if best.is_dir():
            write_text(self.folder / "best.txt", best.name + "\n")

    def _drop_old(self) -> None:
        steps = self._steps()
        kept = {path.name for path in steps[-N_KEPT:]}
        for pointer in ("best.txt", "branch.txt"):
            if (self.folder / pointer).is_file():
                kept.add((self.folder / pointer).read_text(encoding="utf-8").strip())
        for path in steps[-N_KEPT:]:
            state = json.loads((path / _PLACE).read_text(encoding="utf-8"))
            kept.add(f"step_{state['best_step']:06d}")
        dropped = [path for path in steps if path.name not in kept]
        for path in dropped:
            shutil.rmtree(path, ignore_errors=True)
        if dropped:
            sync_folder(self.folder)


def step_of(folder: Path) -> int:
    """The step after which the checkpoint `folder` was written."""
    return int(folder.name.removeprefix("step_"))


def _is_intact(folder: Path) -> bool:
    try:
        check_hashes(folder)
    except CheckpointError:
        return False
    return True


def _best_of(folders: Sequence[Path], measured: Sequence[Measurement]) -> tuple[Path, str]:
    """Of checkpoints, oldest first, the best on validation by the metric that decides, and why; else the newest."""
    from ouvroir.evaluation.language import Language
    from ouvroir.evaluation.metrics import is_higher_better

    validated = [one for one in measured if one.split == "validation"]
    main = validated[0].name if validated else ""  # the deciding one comes first
    values = {f"step_{one.step:06d}": one.value for one in validated if one.name == main and math.isfinite(one.value)}
    judged = [folder for folder in folders if folder.name in values]
    if not judged:
        return folders[-1], "none of the intact ones was validated, and it is the newest"
    sign = 1 if is_higher_better(main) else -1
    chosen = max(judged, key=lambda folder: sign * values[folder.name])
    name = Language("en").known("metric", main)
    return chosen, f"of the intact ones it has the best {name} on validation, {values[chosen.name]:.4g}"


def _set_aside(folder: Path, why: str = "damaged") -> None:
    """Rename a checkpoint to `why`_step_..., so that it counts no more among those that are kept."""
    aside = folder.with_name(f"{why}_{folder.name}")
    with disk_errors(folder):
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)


def read_checkpoint(folder: Path) -> Saved:
    """Read one checkpoint after comparing every file with its hash. Raises CheckpointError."""
    check_hashes(folder)
    state = read_tensors(folder / _STATE)
    judged = read_tensors(folder / _WEIGHTS)
    try:
        place = json.loads((folder / _PLACE).read_text(encoding="utf-8"))
        is_averaged = place.pop("is_averaged")
        found = Place(**place)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"The training state of {folder} is damaged: {error}.") from error
    raw = {name.removeprefix("weights/"): tensor for name, tensor in state.items() if name.startswith("weights/")}
    return Saved(
        folder=folder,
        place=found,
        weights=raw if is_averaged else judged,
        average=judged if is_averaged else None,
        state={name.removeprefix("state/"): tensor for name, tensor in state.items() if name.startswith("state/")},
    )


def check_hashes(folder: Path) -> None:
    """Raise CheckpointError unless every file that hashes.json of `folder` lists is there and unchanged."""
    _require_unchanged(folder, lambda _: True)


def check_model(folder: Path) -> None:
    """As `check_hashes`, for those files of a checkpoint or bundle that answering needs."""
    _require_unchanged(folder, lambda name: name in (_WEIGHTS, "recipe.json") or name.startswith("processor/"))


def _require_unchanged(folder: Path, is_needed: Callable[[str], bool]) -> None:
    try:
        listed: dict[str, str] = json.loads((folder / HASHES).read_text(encoding="utf-8"))
        found = next(damages(folder, {name: one for name, one in listed.items() if is_needed(name)}), None)
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"The checkpoint {folder} is damaged: {error}.") from error
    if found is not None:
        name, is_there = found
        how = "is not as it was written" if is_there else "is missing"
        raise CheckpointError(f"The checkpoint {folder} is damaged: {name} {how}.")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The judged weights in a checkpoint or bundle. Raises CheckpointError."""
    return read_tensors(folder / _WEIGHTS)


def read_recipe(folder: Path) -> Recipe:
    """The recipe in a checkpoint or bundle. Raises CheckpointError."""
    try:
        return Recipe.from_json((folder / "recipe.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{folder} is no checkpoint and no bundle: {error}.") from error


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Copy weights into `model`, keeping its layout and device. Raises CheckpointError when they do not fit."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"The weights in {folder} do not fit the model of its recipe: {error}") from error


def load_model(task: Task, folder: Path, *, device: str = "cpu") -> tuple[nn.Module, Processor, Recipe]:
    """The model of a checkpoint or bundle, in evaluation mode on `device`, its processor and recipe.

    Raises CheckpointError when a file is missing or damaged, DeviceError when the device is not there.
    """
    from ouvroir.training.device import find_device, set_layout

    place = find_device(device)
    recipe = read_recipe(folder)
    processor = task.load_processor(folder / "processor")
    model = empty_model(task, processor, recipe)
    load_weights(model, read_weights(folder), folder)
    model.to(place)
    set_layout(model, recipe.loop.layout)
    return model.eval(), processor, recipe


def empty_model(task: Task, processor: Processor, recipe: Recipe) -> nn.Module:
    """A model whose weights will be loaded: built as from nothing, without a trace on torch's generator."""
    state = torch.get_rng_state()
    try:
        return task.build_model(recipe.replace("model", init_from="scratch"), processor)
    finally:
        torch.set_rng_state(state)


def copy_state(live: Mapping[str, Tensor], saved: Mapping[str, Tensor], folder: Path) -> None:
    """Copy `saved` tensors into the `live` ones of the same names. Raises CheckpointError when they differ in name."""
    if missing := [name for name in live if name not in saved]:
        raise CheckpointError(f"The training state in {folder} lacks {missing[0]}: was the recipe changed by hand?")
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(saved[name])
