"""Self-evaluation: what the samples of a generator are worth, before any trial.

Two classifiers are trained, each on one half of the train rows; what they see in the other half and in the samples is
judged in synthesis/assessment.py. The scores lie beside the samples, refused ones with the reason in refused.jsonl.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir import trying, workflow
from ouvroir.errors import DataError, UsageError
from ouvroir.files import write_text
from ouvroir.media import find_task
from ouvroir.rng import key
from ouvroir.run import Run
from ouvroir.synthesis.samples import Sample, Samples
from ouvroir.task import Row, Synthesiser
from ouvroir.trials import Ground, train_all

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.options import Workplace
    from ouvroir.synthesis.assessment import Assessment, Fold
    from ouvroir.synthesis.scores import Looked

N_FOLDS = 2
FOLDER = "folds"
SCORES, REFUSED, SUMMARY = "scores.jsonl", "refused.jsonl", "assessment.json"
_NOISE_ROWS = 64
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Scored:
    """One made sample with its scores. `reason`: why it is refused, '' when it is not; `nearest`: the train row nearest to it."""

    id: str
    label: str
    right: float
    likeness: float | None
    copy_ratio: float
    realism: float
    weight: float
    reason: str
    nearest: str


@dataclass(frozen=True)
class Assessed:
    """The samples in a folder, each with its scores in the same order, and the summary of the set."""

    folder: Path
    samples: tuple[Sample, ...]
    scored: tuple[Scored, ...]
    summary: dict[str, Any]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The samples that nothing speaks against, as rows to learn from."""
        kept = ((sample, one.weight) for sample, one in zip(self.samples, self.scored, strict=True) if not one.reason)
        return tuple(sample_row(self.folder, sample, weight) for sample, weight in kept)


def sample_row(folder: Path, sample: Sample, weight: float = 1.0) -> Row:
    """A made sample as a train row, marked as synthetic, in a manifest of any root."""
    return Row(
        id=f"synthetic:{folder.name}/{sample.id}",
        locator=str(folder / sample.id),
        sha256=sample.sha256,
        label=sample.label,
        origin="synthetic",
        weight=weight,
    )


def kept_rows(folder: Path) -> tuple[Row, ...]:
    """The samples of a folder that nothing spoke against when they were last judged, as rows to learn from."""
    samples = {sample.id: sample for sample in Samples(folder).read()}
    scored = scores_in(folder)
    return tuple(
        sample_row(folder, samples[one.id], one.weight) for one in scored if not one.reason and one.id in samples
    )


def scores_in(folder: Path) -> tuple[Scored, ...]:
    """What was written of the samples of a folder; nothing where they were not judged yet."""
    if not (folder / SCORES).is_file():
        return ()
    lines = (folder / SCORES).read_text(encoding="utf-8").splitlines()
    return tuple(Scored(**json.loads(line)) for line in lines)


def folds_of(rows: Sequence[Row]) -> np.ndarray:
    """(len(rows),) int64 in {0, 1}: halves of the rows in which each class is spread evenly and groups stay together.

    A function of the ids of groups and rows, not of their order.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        members[f"group {row.group}" if row.group else f"row {row.id}"].append(place)
    by_label: dict[str, list[str]] = defaultdict(list)
    for name in sorted(members, key=lambda name: key(name, "fold")):
        by_label[str(rows[members[name][0]].label)].append(name)
    folds = np.zeros(len(rows), dtype=np.int64)
    turn = 0  # goes on from class to class, so that classes of odd size do not all give more to the same half
    for label in sorted(by_label):
        for name in by_label[label]:
            folds[members[name]] = turn % N_FOLDS
            turn += 1
    return folds


def train_folds(ground: Ground, at: Workplace, steps: int) -> Path:
    """Train the classifiers that judge samples, unless they are there; each keeps its weights. Returns their folder.

    Raises DataError when there are too few train rows for two halves.
    """
    folder = ground.run.path / FOLDER
    rows = [row for row in ground.manifest.rows if row.split == "train" and row.origin == "real"]
    folds = folds_of(rows)
    if min(np.bincount(folds, minlength=N_FOLDS)) < 2 or any(
        len({str(row.label) for row, fold in zip(rows, folds, strict=True) if fold != out}) < 2
        for out in range(N_FOLDS)
    ):
        raise DataError(
            f"{len(rows)} train rows are too few to judge samples by: halves of them must both hold two classes. Add data."
        )
    recipe = ground.way(steps).recipe
    made = {}
    for out in range(N_FOLDS):
        mine = tuple(
            replace(row, split="test" if fold == out else "train") for row, fold in zip(rows, folds, strict=True)
        )
        manifest = replace(ground.manifest, rows=mine, refused=(), notes=())
        made[f"fold_{out}"] = (replace(recipe, data=replace(recipe.data, manifest=manifest.fingerprint)), manifest)
    digest = hashlib.sha256("".join(one.to_json() for one, _ in made.values()).encode()).hexdigest()
    if (Run(folder).read_json("folds.json") or {}).get("digest") != digest:
        shutil.rmtree(folder, ignore_errors=True)
        for name, (one, manifest) in made.items():
            manifest.save(folder / name / workflow.MANIFEST)
            Run(folder / name).write_recipe(one)
        shutil.copytree(ground.base.checkpoint("best") / "processor", folder / trying.PROCESSOR)
        Run(folder).write_json("folds.json", {"digest": digest})
    left = [(name, 0) for name in made if not trying.is_done(folder, name, 0)]
    if left:
        for name in made:
            trying.load_arm(folder, name, workers=at.workers)
        with (
            workflow.timed(ground.run, "assess_s"),
            at.progress.bar("Classifiers that judge samples", len(left)) as bar,
        ):
            train_all(ground, folder, left, bar, keep=True)
    return folder


def assess_samples(
    ground: Ground, generator: Run, samples: Samples, at: Workplace, *, folds: Path, use_kept: bool = True
) -> Assessed:
    """Score the samples in a folder and write the scores beside them. Done already for the same samples: read.

    Raises DataError when there are none or files are not as they were made; UsageError for rows of several labels.
    """
    from ouvroir.synthesis import scores
    from ouvroir.synthesis.assessment import assess
    from ouvroir.synthesis.scores import Novelty

    if ground.manifest.is_multi_label:
        raise UsageError(
            "Samples of rows with several labels at once cannot be judged yet; other arms can be tried on them."
        )
    found = samples.read()
    if not found:
        raise DataError(f"There are no samples in {samples.folder}. `ouvroir generate` makes some.")
    digest = _digest(found, folds)
    if use_kept and (kept := _kept(samples.folder, found, digest)) is not None:
        return kept
    with workflow.timed(ground.run, "assess_s"):
        task = find_task(generator.recipe().task)
        assert isinstance(task, Synthesiser)
        processor = task.load_processor(generator.checkpoint("best") / "processor")
        real = _tables(task, ground.manifest, generator, processor, at)
        made = _table_of(task, samples, found, ground.manifest, generator, processor, at)
        seen, asked = _views(task, real["train"]), _views(task, made)
        novelty = Novelty.of(seen)
        looked = novelty.look(asked)
        held_out = _is_held_out(
            ground,
            samples,
            found,
            [_views(task, real[s]) for s in ("validation", "test") if s in real],
            asked,
            novelty.least * scores.COPY_RATIO,
            at,
        )
        nearest = [real["train"].rows[place].id for place in looked.place.tolist()]
        views = [_fold(ground, folds, number, samples, found, at) for number in range(N_FOLDS)]
        labels = views[0][1]
        classes = views[0][2]
        judged = assess(
            [view[0] for view in views],
            labels,
            classes,
            looked=looked,
            real_ratio=novelty.ratio,
            held_out=held_out,
        )
        summary = {**judged.summary, "generator": _told(generator), "features": _features_told(ground)}
        return _write(samples.folder, found, judged, looked, nearest, summary, digest)


def slow_rows(folds: Path, share: float) -> list[str]:
    """Ids of the train rows that classifiers which did not learn from them find hardest: `share` of those of each fold."""
    found = []
    for number in range(N_FOLDS):
        right, _, ids = _own_probabilities(folds, number)
        order = np.argsort(right, kind="stable")[: max(1, round(share * len(right)))]
        found += [ids[place] for place in order.tolist()]
    return sorted(found)


def _own_probabilities(folds: Path, number: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(N,) probability of the own class of the rows left out of a fold, their classes, and their ids."""
    from ouvroir.data.manifest import Manifest
    from ouvroir.evaluation.evaluate import load_answers

    name = f"fold_{number}"
    answers = load_answers(trying.place_of(folds, name, 0) / trying.ANSWERS)
    recipe = Run(folds / name).recipe()
    manifest = Manifest.load(recipe.data.manifest, folds / name / workflow.MANIFEST)
    rows = [manifest.rows[place] for place in manifest.judged("test").tolist()]
    assert answers.scores is not None
    assert answers.targets is not None
    right = answers.scores[np.arange(len(answers.targets)), answers.targets]
    return right, answers.targets, [rows[place].id for place in answers.index.tolist()]


def _fold(
    ground: Ground, folds: Path, number: int, samples: Samples, found: Sequence[Sample], at: Workplace
) -> tuple[Fold, np.ndarray, tuple[str, ...]]:
    """What one classifier sees; the classes of the samples by number, and the names of all classes."""
    from ouvroir.evaluation.evaluate import evaluate, features_of
    from ouvroir.synthesis.assessment import Fold
    from ouvroir.training.checkpoint import load_model
    from ouvroir.training.distributed import resolve_device

    device = resolve_device(at.device)
    name = f"fold_{number}"
    task = find_task(ground.recipe.task)
    checkpoint = Run(trying.place_of(folds, name, 0)).checkpoint("best")
    model, processor, recipe = load_model(task, checkpoint, device=device)
    _, data = trying.load_arm(folds, name)
    real = data.tables["test"]
    right, targets, ids = _own_probabilities(folds, number)
    places = np.arange(len(real))
    made = _table_of(task, samples, found, ground.manifest, Run(folds / name), processor, at)
    answers = evaluate(task, model, processor, recipe, made, device=device)
    assert answers.scores is not None
    assert answers.targets is not None
    left_out = set(ids)
    noise = _Shuffled(real)
    return (
        Fold(
            real=features_of(task, model, recipe, real, places, device=device),
            real_right=right,
            real_labels=targets,
            made=features_of(task, model, recipe, made, np.arange(len(made)), device=device),
            made_right=answers.scores[np.arange(len(made)), answers.targets],
            noise=features_of(task, model, recipe, noise, np.arange(min(_NOISE_ROWS, len(real))), device=device),
            may_judge=np.array([set(sample.parents) <= left_out for sample in found]),
        ),
        answers.targets,
        processor.labels,
    )


class _Shuffled:
    """Rows of a table whose content is shuffled, element by element over all rows: what pure noise looks like here."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def slice(self, index: Any, start: Any = None, length: Any = None) -> Any:
        """As `Table.slice`."""
        import torch

        from ouvroir.data.table import Ragged

        rows = self.table.slice(index, start, length)
        generator = torch.Generator().manual_seed(0)

        def shuffled(values: torch.Tensor) -> torch.Tensor:
            order = torch.randperm(values.numel(), generator=generator)
            return values.flatten()[order].view(values.shape)

        fields = {
            name: Ragged(shuffled(one.values), one.offsets) if isinstance(one, Ragged) else shuffled(one)
            for name, one in rows.fields.items()
        }
        return replace(rows, fields=fields)


def _tables(task: Any, manifest: Manifest, run: Run, processor: Any, at: Workplace) -> dict[str, Table]:
    found = workflow.prepare(
        task, manifest, run.recipe(), processor=processor, workers=at.workers, progress=at.progress
    ).tables
    return {str(split): table for split, table in found.items()}


def _table_of(
    task: Any, samples: Samples, found: Sequence[Sample], manifest: Manifest, run: Run, processor: Any, at: Workplace
) -> Table:
    """The samples as a table, in their order."""
    rows = tuple(sample_row(samples.folder, sample) for sample in found)
    return _tables(task, replace(manifest, rows=rows, refused=(), notes=()), run, processor, at)["train"]


def _views(task: Synthesiser, table: Table) -> np.ndarray:
    pieces = [
        task.views(table.slice(np.arange(start, min(start + _ROWS_AT_ONCE, len(table))))).numpy()
        for start in range(0, len(table), _ROWS_AT_ONCE)
    ]
    return np.concatenate(pieces)


def _is_held_out(
    ground: Ground,
    samples: Samples,
    found: Sequence[Sample],
    held_out: Sequence[np.ndarray],
    asked: np.ndarray,
    least: float,
    at: Workplace,
) -> np.ndarray:
    """(M,) bool: samples that are a validation or test row, or nearly. The one look at these rows: yes or no, never a score."""
    from ouvroir.data.duplicates import find_pairs
    from ouvroir.data.facts import near_keys
    from ouvroir.synthesis.scores import view_distances

    told = np.zeros(len(found), dtype=bool)
    for views in held_out:
        told |= view_distances(asked, views[:, 0], 1)[0][:, 0] < least
    rows = [row for row in ground.manifest.rows if row.split != "train"]
    if not rows:
        return told
    name = ground.manifest.task
    theirs = near_keys(ground.manifest.root, rows, name, workers=at.workers, progress=at.progress)
    mine = near_keys(
        str(samples.folder),
        [replace(sample_row(samples.folder, one), locator=one.id) for one in found],
        name,
        workers=at.workers,
        progress=at.progress,
    )
    if theirs.shape[1] != mine.shape[1]:  # one side has no keys at all
        return told
    pairs = find_pairs(np.concatenate([theirs, mine]), n_known=len(theirs)).places
    is_across = (pairs[:, 0] < len(rows)) & (pairs[:, 1] >= len(rows))
    told[pairs[is_across, 1] - len(rows)] = True
    return told


def _told(generator: Run) -> dict[str, Any]:
    """What the report says of the generator."""
    recipe, metrics = generator.recipe(), generator.metrics()

    def last(split: str) -> float | None:
        values = [one.value for one in metrics if one.split == split and one.name == "loss"]
        return values[-1] if values else None

    return {
        "task": recipe.task,
        "steps": recipe.loop.steps,
        "seconds": max((one.seconds for one in metrics), default=0.0),
        "loss_train": last("train"),
        "loss_held_out": last("validation"),
        "seed": recipe.loop.seed,
    }


def _features_told(ground: Ground) -> str:
    start = ground.recipe.model.init_from
    if start == "scratch":
        return "Classifiers of the same kind as the model, each trained on the other half of the train rows."
    return (
        "Classifiers that start from the same weights as the model, each trained on the other half of the train rows."
    )


def _digest(found: Sequence[Sample], folds: Path) -> str:
    parts = [f"{sample.id} {sample.sha256}" for sample in found]
    return hashlib.sha256("\n".join([(folds / "folds.json").read_text(encoding="utf-8"), *parts]).encode()).hexdigest()


def _write(
    folder: Path,
    found: Sequence[Sample],
    judged: Assessment,
    looked: Looked,
    nearest: Sequence[str],
    summary: dict[str, Any],
    digest: str,
) -> Assessed:
    scored = tuple(
        Scored(
            id=sample.id,
            label=sample.label or "",
            right=round(float(judged.right[place]), 6),
            likeness=None if np.isnan(judged.likeness[place]) else round(float(judged.likeness[place]), 6),
            copy_ratio=round(float(looked.ratio[place]), 6),
            realism=round(float(judged.realism[place]), 6),
            weight=round(float(judged.weight[place]), 6),
            reason=judged.reason[place],
            nearest=nearest[place],
        )
        for place, sample in enumerate(found)
    )
    for name, some in ((SCORES, scored), (REFUSED, [one for one in scored if one.reason])):
        write_text(folder / name, "".join(json.dumps(vars(one), ensure_ascii=False) + "\n" for one in some))
    Run(folder).write_json(SUMMARY, {**summary, "digest": digest})
    return Assessed(folder, tuple(found), scored, summary)


def _kept(folder: Path, found: Sequence[Sample], digest: str) -> Assessed | None:
    """What was written for the same samples by the same classifiers."""
    summary = Run(folder).read_json(SUMMARY)
    scored = scores_in(folder)
    if summary is None or summary.pop("digest", "") != digest or len(scored) != len(found):
        return None
    return Assessed(folder, tuple(found), scored, summary)
