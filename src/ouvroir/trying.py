"""What a process of a trial's crew does: train one way with one seed, and keep its answers to the items of the test.

`python -m ouvroir.trying` reads jobs from standard input: `{"folder": ..., "arm": ..., "seed": ...}`. An arm is a folder with a
recipe and a manifest; its answers with a seed are `FOLDER/ARM/seed_SSS/answers.safetensors`, and a job whose answers are
there is done. Weights are dropped with everything else, unless the job says `"keep": true`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ouvroir import workflow
from ouvroir.errors import CheckpointError, DeviceError, NonFiniteLoss, OuvroirError, TrainingError, Untried
from ouvroir.media import find_task
from ouvroir.progress import QUIET
from ouvroir.run import Run
from ouvroir.system import held_bytes
from ouvroir.training.crew import GOES_ON

if TYPE_CHECKING:
    from ouvroir.recipe import Recipe
    from ouvroir.training.course import Prepared

MODULE = "ouvroir.trying"
ANSWERS = "answers.safetensors"
PROCESSOR = "processor"
"""Of all arms: the classes and the stored size of the model that the trial is about."""
_LOOK_S = 1.0


@dataclass(frozen=True)
class _Loaded:
    recipe: Recipe
    data: Prepared


def place_of(folder: Path, arm: str, seed: int) -> Path:
    """The folder of one training of a trial."""
    return folder / arm / f"seed_{seed:03d}"


def is_done(folder: Path, arm: str, seed: int) -> bool:
    """Whether the answers of a training are there."""
    return (place_of(folder, arm, seed) / ANSWERS).is_file()


def load_arm(folder: Path, arm: str, *, workers: int | None = 1) -> tuple[Recipe, Prepared]:
    """The recipe of an arm and its data, packed."""
    from ouvroir.data.manifest import Manifest

    recipe = Run(folder / arm).recipe()
    task = find_task(recipe.task)
    manifest = Manifest.load(recipe.data.manifest, folder / arm / workflow.MANIFEST)
    processor = task.load_processor(folder / PROCESSOR)
    return recipe, workflow.prepare(task, manifest, recipe, processor=processor, workers=workers, progress=QUIET)


def try_one(
    folder: Path, arm: str, seed: int, known: dict[str, _Loaded], *, keep: bool = False, is_again: bool = False
) -> float:
    """Train and judge one way with one seed, or go on with it. Returns the seconds that it took.

    Raises TrainingError, and Untried where it would come to the same again.
    """
    from ouvroir.evaluation.evaluate import evaluate, save_answers
    from ouvroir.training.checkpoint import load_model

    start = time.perf_counter()
    if is_done(folder, arm, seed):
        return 0.0
    if arm not in known or known[arm].recipe != Run(folder / arm).recipe():  # begun anew, perhaps on other rows
        known[arm] = _Loaded(*load_arm(folder, arm))
    recipe, data = known[arm].recipe, known[arm].data
    task = find_task(recipe.task)
    place = place_of(folder, arm, seed)
    run = Run(folder / arm).child(place.name, recipe.replace("loop", seed=seed))
    try:
        with run.hold():
            fitted = workflow.loop_of(task)(task, run, data, device="cpu", progress=QUIET, resume=True)
            if fitted.stopped == "interrupted":  # by a signal to this process: half a training is judged by nobody
                raise TrainingError(f"The training of `{arm}` with seed {seed} was stopped by a signal. {GOES_ON}")
            model, processor, settled = load_model(task, run.checkpoint("best"))
            answers = evaluate(task, model, processor, settled, data.tables["test"])
            save_answers(place / ANSWERS, answers)
            if not keep:
                for name in ("checkpoints", "tensorboard"):
                    shutil.rmtree(place / name, ignore_errors=True)
    except NonFiniteLoss as error:
        raise Untried(f"The training of `{arm}` with seed {seed} diverged. {error}") from error
    except CheckpointError:  # what an earlier process left is damaged; it costs one training
        if is_again:
            raise
        shutil.rmtree(place / "checkpoints", ignore_errors=True)
        try_one(folder, arm, seed, known, keep=keep, is_again=True)
    return time.perf_counter() - start


def _end_with_parent() -> None:
    """A process whose parent was killed must not go on beside the one that goes on with the trial."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Do jobs until there are no more."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(2, 1)  # what anything prints goes to the log, and not among the answers
    _end_with_parent()
    of, known = Path(), dict[str, _Loaded]()
    for line in sys.stdin:
        job = json.loads(line)
        folder = Path(job["folder"])
        if folder != of:  # what another trial learned from is of no use to this one
            of, known = folder, {}
        try:
            seconds = try_one(folder, job["arm"], job["seed"], known, keep=job.get("keep", False))
            answer = {**job, "seconds": seconds, "held_bytes": held_bytes()}
        except OuvroirError as error:
            answer = {**job, "error": str(error), "is_final": isinstance(error, Untried | DeviceError)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
