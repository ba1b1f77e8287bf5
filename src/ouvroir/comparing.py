"""Models judged on labelled data that a person brings: one alone, or two on the same rows, paired."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ouvroir import judging, unseen, workflow
from ouvroir.errors import DataError, OuvroirError, UsageError
from ouvroir.files import readable_names
from ouvroir.options import Workplace, answers
from ouvroir.recipe import Recipe, Value, data_settings
from ouvroir.run import Run
from ouvroir.task import Row, Split

if TYPE_CHECKING:
    from ouvroir.bundle import Learned
    from ouvroir.data.manifest import Manifest
    from ouvroir.evaluation.compare import Comparison
    from ouvroir.judging import Judgement
    from ouvroir.predictor import Predictor

_MOST_STARTS = 100  # models that one was started from, each from the one before


@dataclass(frozen=True)
class Evaluation:
    """A model of `task` on data: `judgement` on `split` rows; `left_out` counts rows with reasons why they were not judged.

    `unknown_labels` counts those whose label the model does not know, by that label. `learned` are ids of judged rows that
    the model learned from or was chosen by: where there are any, the figures flatter. `settings` have the data read for a
    training as they were read here. `n_parameters` and `seconds`: the size of the model, and how long it was trained, where known.
    `writing`: how a model that writes does so, as of `ouvroir.writing.written_by`.
    """

    task: str
    judgement: Judgement
    ids: tuple[str, ...]
    left_out: dict[str, int]
    unknown_labels: dict[str, int]
    learned: frozenset[str]
    settings: dict[str, str]
    n_parameters: int
    seconds: float | None
    writing: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ModelComparison:
    """Two models on the same rows: the paired comparison, each one's metrics on them, and ids of items fixed and broken by B.

    `of`: each one's evaluation on these rows, which says what was left out, what it learned from and how it writes. `kinship`:
    that both are one model, or that one was started from the other, as a sentence; empty where that is not known.
    """

    comparison: Comparison
    a: Judgement
    b: Judgement
    of: tuple[Evaluation, Evaluation]
    fixed: tuple[str, ...]
    broken: tuple[str, ...]
    kinship: str = ""

    @property
    def sizes(self) -> str:
        """Which has more parameters, and how many times as many, as a sentence; empty where they have about as many."""
        from ouvroir.evaluation.compare import EQUAL_SIZES

        sizes = [one.n_parameters for one in self.of]
        factor = max(sizes) / min(sizes)
        if factor < 1.005:
            return ""
        said = f"{'B' if sizes[1] > sizes[0] else 'A'} has {factor:.2f} times as many parameters."
        return f"Not at equal parameters: {said}" if factor > EQUAL_SIZES else said


@dataclass(frozen=True)
class Asked:
    """A model that is asked about data, the rows that it may be judged on, all as test rows, and what was left out of them."""

    predictor: Predictor
    folder: Path
    run: Run | None
    manifest: Manifest
    left_out: dict[str, int]
    unknown_labels: dict[str, int]
    learned: Learned
    settings: dict[str, str]


def ask(
    model: str | Path,
    source: str | Path,
    split: Split | Literal["all"] | None,
    settings: Mapping[str, Value],
    at: Workplace,
) -> Asked:
    """Open a run or bundle and read the data for it. Raises what reading them does, DataError where no row can be judged."""
    from ouvroir.predictor import load, model_folder
    from ouvroir.training.distributed import resolve_device

    at.require_order(str(model), str(source))
    place = at.place_of(str(model), answers)
    predictor = load(place, device=resolve_device(at.device))
    data = unseen.reading(source, predictor.recipe.data, settings)
    if (pattern := predictor.recipe.data.label_pattern) and data.label_pattern is None:
        at.progress.say(
            "The model learned labels that were read from the names of files, and here they are read from folders or a table. "
            f"If these are named alike, add --set {shlex.quote(f'data.label_pattern={pattern}')}."
        )
    manifest = workflow.admit(source, predictor.recipe.task, data, workers=at.workers, progress=at.progress)
    folder, run = model_folder(place)
    learned = workflow.learned_from(predictor.recipe, folder, progress=at.progress)
    if not learned.is_complete:
        at.progress.say(
            "Which rows the model learned from is not all known here (its data were changed or moved, or never were on this "
            "machine). Those cannot be left out: if some of these rows are among them, the figures flatter."
        )
    manifest, left_out, unknown_labels = unseen.judgeable(manifest, predictor, split, learned, folder)
    return Asked(predictor, folder, run, manifest, left_out, unknown_labels, learned, data_settings(data, unseen.USUAL))


def answer(asked: Asked, at: Workplace, *, seed: int | None = None) -> Evaluation:
    """Judge the model on the rows. `seed`: of what is drawn in judging, else that of its recipe."""
    from ouvroir.reporting import kept_model
    from ouvroir.writing import written_by

    one = asked.predictor
    recipe = one.recipe if seed is None else one.recipe.replace("loop", seed=seed)
    tables = workflow.prepare(
        one.task, asked.manifest, recipe, processor=one.processor, workers=at.workers, progress=at.progress
    ).tables
    table = workflow.require_tables(tables, "test", "Evaluation")
    judgement = judging.judge(
        one.task, one.model, one.processor, recipe, table, "test", device=one.device, progress=at.progress
    )
    judged = [table.rows[int(place)] for place in judgement.answers.index]
    trained = asked.run and kept_model(asked.run)
    return Evaluation(
        task=recipe.task,
        judgement=judgement,
        ids=tuple(row.id for row in judged),
        left_out=asked.left_out,
        unknown_labels=asked.unknown_labels,
        learned=frozenset(row.id for row in judged if asked.learned.knows(row)),
        settings=asked.settings,
        n_parameters=sum(param.numel() for param in one.model.parameters()),
        seconds=max((one.seconds for one in trained.metrics()), default=None) if trained else None,
        writing=written_by(trained) if trained else None,
    )


def answer_both(first: Asked, second: Asked, at: Workplace) -> ModelComparison:
    """Judge two models on the rows that both may be judged on, with the same draws.

    Raises DataError when there are none or they read them otherwise, UsageError when one gives a label and the other several.
    """
    from ouvroir.evaluation.compare import compare

    theirs = {row.id: row for row in second.manifest.rows}
    both = [(row, theirs[row.id]) for row in first.manifest.rows if row.id in theirs]
    if any(row.sha256 != other.sha256 for row, other in both):
        raise DataError(
            f"Each model reads its own column or part of {first.manifest.source}, as it was trained to, so they cannot be compared "
            "on it. Say which column both are to read: --split all --set data.text_column=NAME."
        )
    require_same_kind_of_labels(first, second)
    shared = [row for row, _ in both]
    if not shared:
        unknown = "".join(
            f" {name} does not know the labels {readable_names(one.unknown_labels)}."
            for name, one in (("A", first), ("B", second))
            if one.unknown_labels
        )
        raise DataError(
            f"There is no row that both models can be judged on and neither learned from.{unknown} "
            "Compare them on other data."
        )
    seed = first.predictor.recipe.loop.seed
    one = answer(_with_rows(first, shared), at, seed=seed)
    other = answer(_with_rows(second, [theirs[row.id] for row in shared]), at, seed=seed)
    a, b = one.judgement, other.judgement
    found = compare(a.answers, b.answers, metric=next(iter(a.metrics)) if a.answers.scores is None else None)
    name_of = dict(zip(a.answers.index.tolist(), one.ids, strict=True))
    return ModelComparison(
        comparison=found,
        a=a,
        b=b,
        of=(one, other),
        fixed=tuple(name_of[place] for place in found.fixed),
        broken=tuple(name_of[place] for place in found.broken),
        kinship=kinship(first, second),
    )


def require_same_kind_of_labels(first: Asked, second: Asked) -> None:
    """Raise UsageError where one model gives a label for each row, and the other several: nothing measures both."""
    several = [getattr(one.predictor.processor, "is_multi_label", False) for one in (first, second)]
    if several[0] != several[1]:
        names = ("A gives a label", "B several") if several[1] else ("B gives a label", "A several")
        raise UsageError(
            f"{names[0]} for each item and {names[1]}, so no measure is for both and they cannot be compared."
        )


def _with_rows(asked: Asked, rows: Sequence[Row]) -> Asked:
    return replace(asked, manifest=replace(asked.manifest, rows=tuple(rows)))


def kinship(first: Asked, second: Asked) -> str:
    """That A and B have the same weights, or that one was started from the other, as far as that is known."""
    a, b = _weights_in(first.folder), _weights_in(second.folder)
    if a == b:
        return "A and B are the same model: their weights are the same."
    if a in _starts(second):
        return "B was started from A, so it has learned from the data of A too."
    if b in _starts(first):
        return "A was started from B, so it has learned from the data of B too."
    if a == _trunk(second):
        return "B went on from an earlier step of the training of A."
    if b == _trunk(first):
        return "A went on from an earlier step of the training of B."
    return ""


def _starts(asked: Asked) -> Iterator[str]:
    """SHA-256 of the weights that a model was started from, and these from, as far back as they are still there."""
    from ouvroir.training.adapters import start_of

    with suppress(OuvroirError, OSError):
        recipe = asked.run.recipe() if asked.run is not None else asked.predictor.recipe
        for _ in range(_MOST_STARTS):
            folder = start_of(asked.predictor.task, recipe.model.init_from)
            if folder is None:
                return
            yield _weights_in(folder)
            recipe = Recipe.from_json((folder / "recipe.json").read_text(encoding="utf-8"))


def _trunk(asked: Asked) -> str:
    """SHA-256 of the weights of the run that the training of a model branched from; empty where it did not."""
    from ouvroir.reporting import kept_model

    with suppress(OuvroirError, OSError):
        if asked.run is not None and (branch := kept_model(asked.run).branch) is not None:
            return _weights_in(branch.run.checkpoint("best"))
    return ""


def _weights_in(folder: Path) -> str:
    from ouvroir.hashes import hash_file

    return hash_file(folder / "model.safetensors")


def require_one_task(a: str | Path, b: str | Path, at: Workplace) -> None:
    """Raise UsageError for two models that do different things."""
    from ouvroir.predictor import model_folder
    from ouvroir.training.checkpoint import read_recipe

    first, second = (read_recipe(model_folder(one, runs=at.runs)[0]).task for one in (a, b))
    if first != second:
        raise UsageError(f"{a} does {first} and {b} {second}: no data are for both, so they cannot be compared.")
