"""Self-evaluation: what the samples of a generator are worth, before any trial.

Two classifiers are trained, each on one half of the train rows; what they see in the other half and in the samples is
judged in synthesis/assessment.py. The scores lie beside the samples, refused ones with the reason in refused.jsonl.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir import trials, trying, workflow
from ouvroir.errors import CheckpointError, RunError, Untried, UsageError
from ouvroir.files import write_text
from ouvroir.ground import Ground
from ouvroir.media import find_task
from ouvroir.recipe import Recipe
from ouvroir.rng import key
from ouvroir.run import Run
from ouvroir.synthesis.samples import Sample, Samples, sample_row
from ouvroir.task import Row, Synthesiser
from ouvroir.trials import train_all
from ouvroir.windows import evenly

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.options import Workplace
    from ouvroir.synthesis.assessment import Assessment, Fold
    from ouvroir.synthesis.scores import Looked, Novelty

N_FOLDS = 2
FOLDER = "folds"
SCORES, REFUSED, SUMMARY = "scores.jsonl", "refused.jsonl", "assessment.json"
MOST_MEASURED = 2000  # train rows whose distance to the others is measured
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

    A function of the ids of groups and rows, not of their order. A group of several classes counts as one of the first of these.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        members[f"group {row.group}" if row.group else f"row {row.id}"].append(place)
    by_label: dict[str, list[str]] = defaultdict(list)
    for name in sorted(members, key=lambda name: key(name, "fold")):
        by_label[min(str(rows[place].label) for place in members[name])].append(name)
    folds = np.zeros(len(rows), dtype=np.int64)
    turn = 0  # goes on from class to class, so that classes of odd size do not all give more to the same half
    for label in sorted(by_label):
        for name in by_label[label]:
            folds[members[name]] = turn % N_FOLDS
            turn += 1
    return folds


def train_folds(ground: Ground, at: Workplace, steps: int) -> Path:
    """Train the classifiers that judge samples, unless they are there; each keeps its weights. Returns their folder.

    Raises Untried when there are too few train rows for two halves.
    """
    folder = ground.run.path / FOLDER
    rows = [row for row in ground.manifest.rows if row.split == "train" and row.origin == "real"]
    folds = folds_of(rows)
    if min(np.bincount(folds, minlength=N_FOLDS)) < 2 or any(
        len({str(row.label) for row, fold in zip(rows, folds, strict=True) if fold != out}) < 2
        for out in range(N_FOLDS)
    ):
        raise Untried(
            f"{len(rows)} train rows are too few to judge samples by: halves of them must both hold two classes. Add data."
        )
    recipe = _from_before(ground, {row.sha256 for row in rows}, at, ground.way(steps).recipe)
    made = {}
    for out in range(N_FOLDS):
        mine = tuple(
            replace(row, split="test" if fold == out else "train") for row, fold in zip(rows, folds, strict=True)
        )
        manifest = replace(ground.manifest, rows=mine, refused=(), notes=())
        made[f"fold_{out}"] = (replace(recipe, data=replace(recipe.data, manifest=manifest.fingerprint)), manifest)
    digest = hashlib.sha256("".join(trials.digest_of(*one) for one in made.values()).encode()).hexdigest()
    if (Run(folder).read_json("folds.json") or {}).get("digest") != digest:
        shutil.rmtree(folder, ignore_errors=True)
        for name, (one, manifest) in made.items():
            manifest.save(folder / name / workflow.MANIFEST)
            Run(folder / name).write_recipe(one)
        shutil.copytree(ground.base.checkpoint("best") / "processor", folder / trying.PROCESSOR)
        Run(folder).write_json("folds.json", {"digest": digest})
    for name in made:
        if trying.is_done(folder, name, 0) and not _is_whole(Run(trying.place_of(folder, name, 0))):
            shutil.rmtree(trying.place_of(folder, name, 0))  # it costs one training
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


def _is_whole(run: Run) -> bool:
    """Whether the weights of a classifier are there and undamaged."""
    from ouvroir.training.checkpoint import check_hashes

    try:
        check_hashes(run.checkpoint("best"))
    except (CheckpointError, RunError):
        return False
    return True


def _from_before(ground: Ground, rows: set[str], at: Workplace, recipe: Recipe) -> Recipe:
    """The recipe, from nothing where the model that it starts from learned any of these rows, or may have.

    A classifier that starts from what has seen all rows does not judge those that it was not given as one that never saw them.
    """
    from ouvroir.training.adapters import own_weights

    own = own_weights(recipe.model.init_from)
    if own is None:
        return recipe
    earlier = Recipe.from_json((own / "recipe.json").read_text(encoding="utf-8"))
    learned = workflow.learned_from(earlier, own, progress=at.progress)
    if learned.is_complete and not rows & learned.contents:
        return recipe
    usual, _ = find_task(recipe.task).recipe(ground.real, recipe.model.preset)
    return replace(recipe.replace("model", init_from="scratch", scope="all"), optim=usual.optim)


class Nearness:
    """How near samples come to the rows that their generator learned from, and which are copies of these.

    manifest: of the real rows. Worked out once for all samples of a generator, when it is first needed.
    """

    def __init__(self, manifest: Manifest, generator: Run, at: Workplace) -> None:
        self.manifest, self.generator, self.at = manifest, generator, at
        task = find_task(generator.recipe().task)
        assert isinstance(task, Synthesiser)
        self.task: Synthesiser = task
        self.processor = task.load_processor(generator.checkpoint("best") / "processor")

    @cached_property
    def _tables(self) -> dict[str, Table]:
        return _tables(self.task, self.manifest, self.generator, self.processor, self.at)

    @cached_property
    def novelty(self) -> Novelty:
        """Of the train rows: what is too near to one of them."""
        from ouvroir.synthesis.scores import Novelty

        train = self._tables["train"]
        some = evenly(len(train), MOST_MEASURED)
        return Novelty.of(_known(self.task, train), _views(self.task, train, some))

    @cached_property
    def _shared_usually(self) -> np.ndarray:
        """(n,) shares of train rows that are one passage of another."""
        train = self._tables["train"]
        some = evenly(len(train), MOST_MEASURED)
        few = train.subset(some)
        return self.task.passages(few, few, is_itself=True)

    def table_of(self, samples: Samples, found: Sequence[Sample]) -> Table:
        """Samples as the generator's processor encodes them."""
        return _table_of(self.task, samples, found, self.manifest, self.generator, self.processor, self.at)

    def look(self, samples: Samples, found: Sequence[Sample]) -> tuple[Looked, list[str], np.ndarray]:
        """How near samples come to train rows, the ids of these, and (M, V, D) what was looked at."""
        made = self.table_of(samples, found)
        asked = _views(self.task, made, np.arange(len(made)))
        train = self._tables["train"]
        shared = self.task.passages(made, train, is_itself=False)
        looked = self.novelty.look(asked).with_passages(shared, self._shared_usually)
        return looked, [train.rows[place].id for place in looked.place.tolist()], asked


class Door(Nearness):
    """What samples must pass that look at rows and not at features: are they copies of train rows, or rows held out?"""

    def __init__(self, ground: Ground, generator: Run, at: Workplace) -> None:
        super().__init__(ground.real, generator, at)
        self.ground = ground

    @cached_property
    def held_out(self) -> np.ndarray:
        """(n, D) validation and test rows, as seen by `Synthesiser.views`."""
        tables = [self._tables[split] for split in ("validation", "test") if split in self._tables]
        return np.concatenate([_known(self.task, table) for table in tables] or [self.novelty.known[:0]])

    @cached_property
    def held_out_keys(self) -> np.ndarray:
        """Near-duplicate keys of the validation and test rows."""
        from ouvroir.data.facts import near_keys

        manifest = self.manifest
        rows = [row for row in manifest.rows if row.split != "train"]
        found = near_keys(manifest.root, rows, manifest.task, workers=self.at.workers, progress=self.at.progress)
        if n_away := int((~found.any(axis=1)).sum()):
            self.at.progress.say(
                f"{n_away} validation and test rows could not be opened, or have no features; samples are compared with what is "
                "packed of them only."
            )
        return found

    def is_held_out(self, samples: Samples, found: Sequence[Sample], asked: np.ndarray) -> np.ndarray:
        """(M,) bool: the one look at validation and test rows, yes or no, never a score. asked: what `look` looked at."""
        from ouvroir.data.duplicates import is_duplicate
        from ouvroir.data.facts import near_keys
        from ouvroir.synthesis import scores

        told = np.zeros(len(found), dtype=bool)
        if not len(self.held_out):
            return told
        limit = max(self.novelty.least * scores.COPY_RATIO, scores.SAME)
        told |= scores.view_distances(asked, self.held_out, 1)[0][:, 0] <= limit
        theirs = self.held_out_keys
        rows = [replace(sample_row(samples.folder, one), locator=one.id) for one in found]
        name = self.manifest.task
        mine = near_keys(str(samples.folder), rows, name, workers=self.at.workers, progress=self.at.progress)
        told |= is_duplicate(mine, theirs)
        return told


def assess_samples(door: Door, samples: Samples, found: Sequence[Sample], at: Workplace, *, folds: Path) -> Assessed:
    """Score some samples of a folder and write the scores beside them. Done already for the same samples: read.

    Raises DataError when there are none, UsageError for rows of several labels.
    """
    from ouvroir.synthesis.assessment import assess

    ground = door.ground
    if ground.manifest.is_multi_label:
        raise UsageError(
            "Samples of rows with several labels at once cannot be judged yet; other arms can be tried on them."
        )
    if not found:
        raise Untried(f"There are no samples in {samples.folder}. `ouvroir generate` makes some.")
    digest = _digest(found, folds)
    if (kept := _kept(samples.folder, found, digest)) is not None:
        return kept
    with workflow.timed(ground.run, "assess_s"):
        looked, nearest, asked = door.look(samples, found)
        views = [_fold(ground, folds, number, samples, found, at) for number in range(N_FOLDS)]
        judged = assess(
            [view[0] for view in views],
            views[0][1],
            views[0][2],
            looked=looked,
            real_ratio=door.novelty.ratio,
            held_out=door.is_held_out(samples, found, asked),
        )
        summary = {**judged.summary, "generator": _told(door.generator), "features": _features_told(folds)}
        return _write(samples.folder, found, judged, looked, nearest, summary, digest)


def slow_rows(folds: Path, share: float, most: int) -> list[str]:
    """Ids of the train rows that classifiers which did not learn from them find hardest: `share` of those of each fold, and
    `most` of both folds.

    Rows whose label is probably wrong are hard too, and are left out: variations of them would teach the mistake.
    """
    from ouvroir.baselines import mislabels

    found = []
    for number in range(N_FOLDS):
        scores, targets, ids = _left_out(folds, number)
        right = scores[np.arange(len(targets)), targets]
        order = np.argsort(right, kind="stable")
        order = order[~mislabels(scores, targets)[order]]
        n = min(max(1, round(share * len(right))), -(-most // N_FOLDS))
        found += [ids[place] for place in order[:n].tolist()]
    return sorted(found)


def _left_out(folds: Path, number: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(N, K) probabilities of the rows left out of a fold, their classes, and their ids."""
    from ouvroir.data.manifest import Manifest
    from ouvroir.evaluation.evaluate import load_answers

    name = f"fold_{number}"
    answers = load_answers(trying.place_of(folds, name, 0) / trying.ANSWERS)
    recipe = Run(folds / name).recipe()
    manifest = Manifest.load(recipe.data.manifest, folds / name / workflow.MANIFEST)
    rows = [manifest.rows[place] for place in manifest.judged("test").tolist()]
    assert answers.scores is not None
    assert answers.targets is not None
    return answers.scores, answers.targets, [rows[place].id for place in answers.index.tolist()]


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
    scores, targets, ids = _left_out(folds, number)
    right = scores[np.arange(len(targets)), targets]
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
            noise_labels=targets[: min(_NOISE_ROWS, len(real))],
            may_judge=np.array([set(sample.parents) <= left_out for sample in found]),
            of_real=np.array([bool(left_out.intersection(sample.parents)) for sample in found]),
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


def _known(task: Synthesiser, table: Table) -> np.ndarray:
    """(N, D) float32: the first view of each row, the row itself."""
    return np.concatenate([piece[:, 0] for piece in _pieces(task, table, np.arange(len(table)))])


def _views(task: Synthesiser, table: Table, places: np.ndarray) -> np.ndarray:
    """(n, V, D) float32 views of some rows."""
    return np.concatenate(list(_pieces(task, table, places)))


def _pieces(task: Synthesiser, table: Table, places: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(places), _ROWS_AT_ONCE):
        yield task.views(table.slice(places[start : start + _ROWS_AT_ONCE])).numpy()


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


def _features_told(folds: Path) -> str:
    start = Run(folds / "fold_0").recipe().model.init_from
    if start == "scratch":
        return "Classifiers of the same kind as the model, each trained on the other half of the train rows."
    return (
        "Classifiers that start from the same weights as the model, each trained on the other half of the train rows."
    )


def _digest(found: Sequence[Sample], folds: Path) -> str:
    parts = [f"{sample.id} {sample.sha256} {sample.label} {' '.join(sample.parents)}" for sample in found]
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
