"""`generate`: has the model of a run make new samples, as files that say of themselves that they are synthetic."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir import workflow
from ouvroir.errors import DataError, ManifestError, Untried, UsageError
from ouvroir.files import require_space
from ouvroir.hashes import hash_file
from ouvroir.making import unknown_class
from ouvroir.media import find_task
from ouvroir.progress import QUIET
from ouvroir.rng import key
from ouvroir.run import GENERATOR, Run
from ouvroir.synthesis.samples import Sample, Samples
from ouvroir.task import Synthesiser

if TYPE_CHECKING:
    from torch import nn

    from ouvroir.data.table import Table
    from ouvroir.options import Workplace
    from ouvroir.recipe import Recipe
    from ouvroir.synthesis.scores import Looked
    from ouvroir.task import Example, Label, Made, Processor

FOLDER, VARIED, MIXED, SHOWN = "synthetic", "varied", "mixed", "shown"
MOST_SHOWN, MOST_CLASSES_SHOWN, MOST_OF_A_CLASS_SHOWN = 24, 12, 4  # samples of a generator in its report
LEAST_LEARNED = 0.25  # of the steps that a generator is proposed
_LARGEST_B = 100_000  # of one sample: what is asked of the disk
_ALIKE = 8  # so many samples and more that are all the same show that a generator has collapsed


@dataclass(frozen=True)
class Generated:
    """What was made: the folder, the samples in it that this call made, and the seconds that making them took.

    `copies`: ids of those that are copies of items which the generator learned from; None where these are not there to compare.
    """

    folder: Path
    samples: tuple[Sample, ...]
    seconds: float
    copies: tuple[str, ...] | None = None

    @property
    def files(self) -> list[Path]:
        """The files, in the order in which they were made."""
        return [self.folder / sample.id for sample in self.samples]


def generator_of(run: Run) -> Run:
    """The run of the generator: the run itself, what it kept of several, or that of the job it belongs to. Raises UsageError."""
    for found in (run, Run(run.path / GENERATOR)):
        is_run = (found.path / "recipe.json").is_file()
        if is_run and isinstance(find_task(found.recipe().task), Synthesiser):
            return found.kept
    recipe = run.recipe()
    synthesiser = find_task(recipe.task).synthesiser
    if synthesiser is None:
        raise UsageError(f"Nothing can make samples for {recipe.task} yet.")
    raise UsageError(
        f"{run.path} has no generator. `ouvroir train {shlex.quote(recipe.data.source)} --task {synthesiser}` trains one; then "
        "`ouvroir generate last` has it make samples."
    )


def steps_of(generator: Run) -> tuple[int | None, int]:
    """The steps that a generator has or will have, None where that is not settled, and those that its task proposes here."""
    recipe = generator.recipe()
    manifest = replace(workflow.manifest_of(generator), task=recipe.task)
    usual, _ = find_task(recipe.task).recipe(manifest, recipe.model.preset)
    wanted = usual.loop.epochs * len(manifest.positions("train")) / usual.loop.batch_size
    return recipe.loop.steps, math.ceil(wanted)


def is_short(steps: int | None, wanted: int) -> bool:
    """Whether a generator had far fewer steps than its task proposes: what it makes then is noise."""
    return steps is not None and steps < LEAST_LEARNED * wanted


def said_short(steps: int, wanted: int) -> str:
    """A sentence on a generator that had far fewer steps than it needs."""
    return (
        f"The generator had {steps} of the {wanted} steps that it needs, and what it makes is hardly more than noise."
    )


def generate(run: Run, labels: Sequence[str] | None, count: int, seed: int, at: Workplace) -> Generated:
    """Make `count` samples of each of `labels`, by default of each class; of no class where there are none.

    Sample i of a class depends on the seed, i and the class only. Raises UsageError, TrainingError, DiskFull.
    """
    if count < 1:
        raise UsageError(f"--count is a whole number from 1 on, and not {count}.")
    of = generator_of(run)
    task, model, processor, recipe, device, weights = _loaded(of, at)
    unknown = [label for label in labels or () if label not in processor.labels]
    if unknown:
        raise unknown_class(unknown[0], processor.labels)
    _warn(of, at)
    asked: list[str | None] = list(labels or processor.labels) or [None]
    samples = Samples(of.path / FOLDER)
    require_space(samples.folder, min(count * len(asked) * _LARGEST_B, 10**9), "Making samples")
    made: list[Sample] = []
    start = time.perf_counter()
    places = (samples.place(label, processor.labels, seed, number, "") for label in asked for number in range(count))
    with (
        samples.under_way(places),
        workflow.timed(of, "generate_s"),
        at.progress.bar("Making samples", count * len(asked)) as bar,
    ):
        for label in asked:
            mine: list[Sample] = []
            found = task.make(model, processor, recipe, [label] * count, seed=seed, device=device)
            for number, one in enumerate(as_trained(found, model, recipe, device)):
                mine.append(_keep(samples, one, label, processor.labels, seed, number, weights))
                bar.advance()
            if len(mine) >= _ALIKE and len({sample.sha256 for sample in mine}) == 1:
                samples.forget(sample.id for sample in mine)
                of_class = f" of `{label}`" if label is not None else ""
                raise Untried(
                    f"All {count} samples{of_class} are the same: the generator of {of.path} has collapsed. {anew(of)}"
                )
            samples.note(mine)
            made += mine
    seconds = time.perf_counter() - start
    return Generated(samples.folder, tuple(made), seconds, _copies(of, samples, made, at))


def _loaded(of: Run, at: Workplace) -> tuple[Synthesiser, nn.Module, Processor, Recipe, str, str]:
    """Task, model, processor and recipe of a generator, the device that it is on, and the SHA-256 of its weights."""
    from ouvroir.training.checkpoint import load_model
    from ouvroir.training.distributed import resolve_device

    task, device, checkpoint = find_task(of.recipe().task), resolve_device(at.device), of.checkpoint("best")
    assert isinstance(task, Synthesiser)
    model, processor, recipe = load_model(task, checkpoint, device=device)
    return task, model, processor, recipe, device, hash_file(checkpoint / "model.safetensors")


def some_to_show(generator: Run, at: Workplace) -> dict[str, Any]:
    """Make a few samples of each of MOST_CLASSES_SHOWN classes at most into the folder `shown`.

    Plain values: `samples`, as of `assessing.Scored` as far as it is known (the train row that is nearest, whether it is a copy of
    it), and `n_classes`, how many there are. Raises DataError where the rows that were learned from are not there to compare,
    TrainingError, DiskFull.
    """
    task, model, processor, recipe, device, weights = _loaded(generator, at)
    classes: tuple[str | None, ...] = processor.labels[:MOST_CLASSES_SHOWN] or (None,)
    asked = [label for label in classes for _ in range(min(MOST_OF_A_CLASS_SHOWN, MOST_SHOWN // len(classes)))]
    samples = Samples(generator.path / SHOWN)
    places = [samples.place(label, processor.labels, 0, number, "") for number, label in enumerate(asked)]
    made: list[Sample] = []
    with (
        samples.under_way(places),
        workflow.timed(generator, "generate_s"),
        at.progress.bar("Making samples to show", len(asked)) as bar,
    ):
        found = task.make(model, processor, recipe, asked, seed=0, device=device)
        for number, one in enumerate(as_trained(found, model, recipe, device)):
            made.append(_keep(samples, one, asked[number], processor.labels, 0, number, weights))
            bar.advance()
        samples.note(made)
    looked, nearest = _look(generator, samples, made, at)
    values = zip(made, nearest, looked.ratio.tolist(), looked.is_copy.tolist(), strict=True)
    return {
        "n_classes": len(processor.labels),
        "samples": [
            {
                "id": sample.id,
                "label": sample.label,
                "nearest": near,
                "copy_ratio": round(ratio, 6),
                "reason": "copy" if is_copy else "",
            }
            for sample, near, ratio, is_copy in values
        ],
    }


def _look(of: Run, samples: Samples, made: Sequence[Sample], at: Workplace) -> tuple[Looked, list[str]]:
    """How near samples come to what was learned from, and the ids of these rows. Raises DataError where they cannot be had."""
    from ouvroir.assessing import Nearness

    manifest = workflow.manifest_of(of)
    real = replace(manifest, rows=tuple(row for row in manifest.rows if row.origin == "real"))
    looked, nearest, _ = Nearness(real, of, replace(at, progress=QUIET)).look(samples, made)
    return looked, nearest


def _copies(of: Run, samples: Samples, made: Sequence[Sample], at: Workplace) -> tuple[str, ...] | None:
    """The samples that refine and prove would refuse as copies of train rows; None where these cannot be had any more."""
    try:
        looked, _ = _look(of, samples, made, at)
    except DataError:
        return None
    return tuple(one.id for one, is_copy in zip(made, looked.is_copy.tolist(), strict=True) if is_copy)


def _warn(of: Run, at: Workplace) -> None:
    """Say so where the generator learned too little to be of use; its rows tell, where they are known."""
    try:
        steps, wanted = steps_of(of)
    except ManifestError:
        return
    if steps is not None and is_short(steps, wanted):
        at.progress.say(said_short(steps, wanted))


def anew(generator: Run) -> str:
    """How a generator that came to nothing is trained again."""
    if generator.whole.path == generator.path:
        return "Train it anew, longer, on more data or with a lower rate, e.g. --set optim.lr=5e-4."
    here, whole = shlex.quote(str(generator.path)), shlex.quote(str(generator.whole.path))
    return f"Delete {here}, and `ouvroir prove {whole} --minutes N` trains another one, longer with more minutes."


def as_trained(found: Iterator[Made], model: nn.Module, recipe: Recipe, device: str) -> Iterator[Made]:
    """What `model` makes, in the layout and with the threads that it was trained in, and in its arithmetic where the device has it.

    `found`: what `Synthesiser.make` gave, not begun yet.
    """
    from ouvroir.training.device import arithmetic, has_bf16, place, threads

    if not has_bf16(device):
        recipe = recipe.replace("loop", precision="fp32")
    place(model, recipe.loop, device)
    while True:
        with arithmetic(recipe.loop, device), threads(recipe.loop.threads):  # not while the caller works on what it got
            one = next(found, None)
        if one is None:
            return
        yield one


def vary(of: Run, table: Table, ids: Sequence[str], begins: Sequence[float], seed: int, at: Workplace) -> Samples:
    """Make a variation of each of some train rows from each of `begins` on, into the folder `varied` beside `synthetic`.

    `table`: the train rows as the generator's processor encodes them.
    """
    task, model, processor, recipe, device, weights = _loaded(of, at)
    samples = Samples(of.path / VARIED)
    require_space(samples.folder, min(len(ids) * len(begins) * _LARGEST_B, 10**9), "Making samples")
    place = {row.id: number for number, row in enumerate(table.rows)}
    parents = examples_of(table, [place[name] for name in ids])
    labels = [_only(table.rows[place[name]].label) for name in ids]
    made: list[Sample] = []
    places = (
        samples.place(label, processor.labels, seed + turn, number, "")
        for turn in range(len(begins))
        for number, label in enumerate(labels)
    )
    with (
        samples.under_way(places),
        workflow.timed(of, "generate_s"),
        at.progress.bar("Making variations", len(ids) * len(begins)) as bar,
    ):
        for turn, begin in enumerate(begins):
            found = task.make(
                model, processor, recipe, labels, seed=seed + turn, device=device, parents=parents, begin=begin
            )
            for number, one in enumerate(as_trained(found, model, recipe, device)):
                kept = _keep(samples, one, labels[number], processor.labels, seed + turn, number, weights)
                made.append(replace(kept, parents=(ids[number],), begin=begin))
                bar.advance()
        samples.note(made)
    return samples


def mixed(of: Run, table: Table, count: int, seed: int) -> Samples:
    """Make `count` mixtures of two train rows of a class, into the folder `mixed`: what a generator must be worth more than."""
    task = find_task(of.recipe().task)
    assert isinstance(task, Synthesiser)
    processor = task.load_processor(of.checkpoint("best") / "processor")
    rng = np.random.Generator(np.random.PCG64(key(seed, "mixture")))
    labels = np.array([_only(row.label) or "" for row in table.rows])
    first = rng.integers(0, len(table), count)
    second = np.array([rng.choice(np.flatnonzero(labels == labels[place])) for place in first.tolist()])
    shares = rng.uniform(0.5, 1.0, count)
    samples = Samples(of.path / MIXED)
    samples.forget(one.id for one in samples.read())
    pairs = examples_of(table, first.tolist()), examples_of(table, second.tolist())
    made = []
    places = (samples.place(labels[place], processor.labels, seed, n, "") for n, place in enumerate(first.tolist()))
    with samples.under_way(places):
        for number, one in enumerate(task.mix(processor, *pairs, shares.tolist())):
            kept = _keep(samples, one, labels[first[number]], processor.labels, seed, number, "")
            made.append(replace(kept, parents=(table.rows[first[number]].id, table.rows[second[number]].id)))
        samples.note(made)
    return samples


def examples_of(table: Table, places: Sequence[int]) -> list[Example]:
    """Some rows of a table as single encoded rows."""
    from ouvroir.data.table import Ragged

    rows = table.slice(np.array(places, dtype=np.int64))
    found: list[Example] = [{} for _ in places]
    for name, field in rows.fields.items():
        for number, example in enumerate(found):
            if isinstance(field, Ragged):
                start, end = field.offsets[number], field.offsets[number + 1]
                example[name] = field.values[start:end].numpy()
            else:
                example[name] = field[number].numpy()
    return found


def _only(label: Label) -> str | None:
    return label if isinstance(label, str) else None


def _keep(
    samples: Samples, one: Made, label: str | None, labels: Sequence[str], seed: int, number: int, weights: str
) -> Sample:
    place = samples.place(label, labels, seed, number, one.suffix)
    return Sample(place, label, seed, number, samples.write(place, one.content), weights)
