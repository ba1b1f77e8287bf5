"""`generate`: has the model of a run make new samples, as files that say of themselves that they are synthetic."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ouvroir import workflow
from ouvroir.errors import TrainingError, UsageError
from ouvroir.files import readable_names, require_space
from ouvroir.hashes import hash_file
from ouvroir.media import find_task
from ouvroir.run import Run
from ouvroir.synthesis.samples import Sample, Samples
from ouvroir.task import Synthesiser

if TYPE_CHECKING:
    from ouvroir.options import Workplace
    from ouvroir.task import Made

FOLDER = "synthetic"
_LARGEST_B = 100_000  # of one sample: what is asked of the disk
_ALIKE = 8  # so many samples and more that are all the same show that a generator has collapsed


@dataclass(frozen=True)
class Generated:
    """What was made: the folder, the samples in it that this call made, and the seconds that making them took."""

    folder: Path
    samples: tuple[Sample, ...]
    seconds: float

    @property
    def files(self) -> list[Path]:
        """The files, in the order in which they were made."""
        return [self.folder / sample.id for sample in self.samples]


def generator_of(run: Run) -> Run:
    """The run of the generator: the run itself, or that of the job which it belongs to. Raises UsageError."""
    for found in (run, Run(run.path / "generator")):
        is_run = (found.path / "recipe.json").is_file()
        if is_run and isinstance(find_task(found.recipe().task), Synthesiser):
            return found
    recipe = run.recipe()
    synthesiser = find_task(recipe.task).synthesiser
    if synthesiser is None:
        raise UsageError(f"Nothing can make samples for {recipe.task} yet.")
    raise UsageError(
        f"{run.path} has no generator. `ouvroir train {shlex.quote(recipe.data.source)} --task {synthesiser}` trains one; then "
        "`ouvroir generate last` has it make samples."
    )


def generate(run: Run, labels: Sequence[str] | None, count: int, seed: int, at: Workplace) -> Generated:
    """Make `count` samples of each of `labels`, by default of each class; of no class where there are none.

    Sample i of a class depends on the seed, i and the class only. Raises UsageError, TrainingError, DiskFull.
    """
    from ouvroir.training.checkpoint import load_model
    from ouvroir.training.distributed import resolve_device

    if count < 1:
        raise UsageError(f"--count is a whole number from 1 on, and not {count}.")
    of = generator_of(run)
    device = resolve_device(at.device)
    task = find_task(of.recipe().task)
    assert isinstance(task, Synthesiser)
    checkpoint = of.checkpoint("best")
    model, processor, recipe = load_model(task, checkpoint, device=device)
    unknown = [label for label in labels or () if label not in processor.labels]
    if unknown:
        raise UsageError(f"The generator knows no class `{unknown[0]}`. It knows {readable_names(processor.labels)}.")
    asked: list[str | None] = list(labels or processor.labels) or [None]
    samples = Samples(of.path / FOLDER)
    require_space(samples.folder, min(count * len(asked) * _LARGEST_B, 10**9), "Making samples")
    weights = hash_file(checkpoint / "model.safetensors")
    made: list[Sample] = []
    start = time.perf_counter()
    with workflow.timed(of, "generate_s"), at.progress.bar("Making samples", count * len(asked)) as bar:
        for label in asked:
            mine: list[Sample] = []
            for number, one in enumerate(
                task.make(model, processor, recipe, [label] * count, seed=seed, device=device)
            ):
                mine.append(_keep(samples, one, label, processor.labels, seed, number, weights))
                bar.advance()
            if len(mine) >= _ALIKE and len({sample.sha256 for sample in mine}) == 1:
                samples.forget(sample.id for sample in mine)
                of_class = f" of `{label}`" if label is not None else ""
                raise TrainingError(
                    f"All {count} samples{of_class} are the same: the generator of {of.path} has collapsed. Train it anew, longer "
                    "or with a lower rate, e.g. --set optim.lr=5e-4."
                )
            samples.note(mine)
            made += mine
    return Generated(samples.folder, tuple(made), time.perf_counter() - start)


def _keep(
    samples: Samples, one: Made, label: str | None, labels: Sequence[str], seed: int, number: int, weights: str
) -> Sample:
    place = samples.place(label, labels, seed, number, one.suffix)
    return Sample(place, label, seed, number, samples.write(place, one.content), weights)
