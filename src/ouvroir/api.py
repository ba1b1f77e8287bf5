"""The verbs of Ouvroir in Python. The command line and the HTTP API call these and nothing below.

Long work takes `progress`, where it tells of itself: silent by default, `ouvroir.SHOWN` prints lines. All raise
OuvroirError with a sentence. Heavy libraries load inside the functions that need them.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from ouvroir import workflow
from ouvroir.errors import DataError, OuvroirError, RunError, UsageError
from ouvroir.files import readable_names
from ouvroir.media import find_task
from ouvroir.options import Language, Training, Workplace
from ouvroir.progress import QUIET, Progress
from ouvroir.recipe import Data, Recipe, check_settings, read_data
from ouvroir.run import DEFAULT_ROOT, Run
from ouvroir.task import Row, Split

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.evaluation.compare import Comparison
    from ouvroir.exporting import ExportResult
    from ouvroir.forecast import Forecast
    from ouvroir.predictor import Predictor
    from ouvroir.task import Answers, Input, Prediction
    from ouvroir.workflow import Judgement


def check(
    source: str | Path,
    *,
    task: str | None = None,
    settings: Mapping[str, str] | None = None,
    workers: int | None = None,
    progress: Progress = QUIET,
) -> Manifest:
    """Account for every file of a folder, a table or a zip, and save the manifest.

    `settings` are `data.*` names, e.g. {"data.group_pattern": "^([a-z]+)_"}. Nothing of the user's is written.
    Raises DataError, RecipeError.
    """
    check_settings(settings or {}, sections=("data",))
    if task is not None:
        find_task(task, is_asked_for=True)
    return workflow.admit(source, task, read_data(settings or {}), workers=workers, progress=progress)


def train(
    source: str | Path,
    *,
    task: str | None = None,
    preset: str = "small",
    init_from: str = "scratch",
    minutes: float | None = None,
    recipe: Recipe | None = None,
    settings: Mapping[str, str] | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    language: Language | None = None,
    progress: Progress = QUIET,
) -> Run:
    """Train on a folder, judge the model on data it has not seen, and leave a run with a bundle and a report.

    `language`: of the report; English when None. The run remembers it.
    `init_from`: "scratch", a run, a bundle, a folder of pretrained weights or a hub name: fine-tuning is this setting.
    """
    from ouvroir.training.distributed import join, resolve_device

    training = Training(source, task, preset, init_from, minutes, recipe, settings or {})
    at = Workplace(Path(runs), device, workers, language, progress)

    def begin() -> Run:
        made, manifest = workflow.plan_training(training, at)
        run = Run.create(made, at.runs, name=Path(manifest.source).stem)
        run.keep_language(at.language)
        return workflow.keep_manifest(run, manifest)

    with join(resolve_device(device)) as world:
        run = workflow.once(world, begin)
        progress.say(f"The run is {run.path}. If it is stopped, `{run.way_on}` goes on.")
        return _to_the_end(run, at, resume=False)


def finetune(model: str | Path, source: str | Path, *, scope: str = "all", **others: Any) -> Run:
    """Train from an earlier model: `train(source, init_from=model)` with `scope` all, head, last:N or names of parts.

    Takes the other options of `train`.
    """
    settings = {**(others.pop("settings", None) or {}), "model.scope": scope}
    return train(source, init_from=str(model), settings=settings, **others)


def refine(
    source: str | Path,
    *,
    task: str | None = None,
    preset: str = "small",
    init_from: str = "scratch",
    minutes: float | None = None,
    settings: Mapping[str, str] | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    language: Language | None = None,
    progress: Progress = QUIET,
) -> Run:
    """The main job: check, pack, train, fine-tune, compare and report, resumable at any step with `resume`.

    `minutes` are for the training of both models together. It takes a while: `progress=ouvroir.SHOWN` prints how far it is.
    """
    from ouvroir.main_job import begin_refine, refine_run
    from ouvroir.training.distributed import join, resolve_device

    training = Training(source, task, preset, init_from, minutes, None, settings or {})
    at = Workplace(Path(runs), device, workers, language, progress)
    with join(resolve_device(device)) as world:
        return refine_run(workflow.once(world, lambda: begin_refine(training, at)), at)


def dry_run(verb: Literal["train", "refine"], training: Training, at: Workplace) -> Forecast:
    """What `verb` would do and how long it would take: all its checks, and two steps of each model. Leaves no run."""
    from ouvroir.forecast import forecast_refine, forecast_train

    return forecast_refine(training, at) if verb == "refine" else forecast_train(training, at)


def resume(
    run: str | Path,
    *,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    language: Language | None = None,
    progress: Progress = QUIET,
) -> Run:
    """Go on with a run that was stopped, to the same result. A run of `refine` goes on with the whole job.

    `last` is the newest run that was stopped or failed. A model that is part of a job goes on with the whole job.
    """
    from ouvroir.main_job import refine_run
    from ouvroir.training.distributed import join, resolve_device

    at = Workplace(Path(runs), device, workers, language, progress)
    with join(resolve_device(device)) as world:
        opened = workflow.once(world, lambda: _to_resume(run, at))
        return refine_run(opened, at) if opened.verb == "refine" else _to_the_end(opened, at, resume=True)


def _to_resume(run: str | Path, at: Workplace) -> Run:
    """The run to go on with: the whole one when a part of it is named. What was not named in full is said."""
    if str(run) == "last":
        last = Run.last_unfinished(at.runs)
        at.progress.say(f"`last` is the run {last.name}.")
        return last
    named = Run.open(run, at.runs)
    if named.whole.path != named.path:
        at.progress.say(f"{named.path} is a part of {named.whole.path}, and it is the whole of it that goes on.")
    return named.whole


def refit(
    run: str | Path,
    *,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = QUIET,
) -> Run:
    """Train again with a run's settled recipe on all the data, validation and test included, before shipping.

    As many passes over the data as before, so more steps. No unseen data are left to judge the result on: its card
    repeats the figures of `run` and says so, and the threshold that `run` proposes is kept.
    """
    from ouvroir.training.distributed import join, resolve_device

    at = Workplace(Path(runs), device, workers, progress=progress)
    earlier = at.run_of(run)
    with join(resolve_device(device)) as world:
        return _to_the_end(workflow.once(world, lambda: _begin_refit(earlier, at)), at, resume=False)


def _begin_refit(earlier: Run, at: Workplace) -> Run:
    """Make the run of a refit; that of a tuned model holds a run of what it branched from, to be trained again first."""
    from ouvroir.reporting import kept_model
    from ouvroir.training.adapters import start_of

    recipe = earlier.recipe()
    manifest = workflow.manifest_of(earlier, progress=at.progress)
    if recipe.loop.steps is None or not (earlier.bundle / "model.safetensors").is_file():
        raise RunError(f"{earlier.path} is not finished: `{earlier.way_on}` goes on with it.")
    n_train = len(manifest.positions("train"))
    everything = replace(manifest, rows=tuple(replace(row, split="train") for row in manifest.rows))
    everything.save()

    def scaled(steps: int) -> int:
        return max(1, round(steps * len(manifest.rows) / n_train))

    def on_everything(run: Run) -> Recipe:
        before = run.recipe()
        found = replace(before, data=replace(before.data, manifest=everything.fingerprint))
        steps = scaled(run.steps_taken or before.loop.steps or 1)
        return found.replace("loop", steps=steps, evaluate_every=None, patience=0, cache_features="auto")

    kept = kept_model(earlier)
    settled, branch = on_everything(kept), kept.branch
    first = None if branch is None else on_everything(branch.run)
    if branch is None:
        start_of(find_task(recipe.task), recipe.model.init_from)  # it may be gone since
    name = f"{Path(manifest.source).stem} refit"
    made = workflow.keep_manifest(Run.create(settled, at.runs, name=name), everything)
    judged = earlier.refit_of or str(earlier.path)  # the figures of a refit are those of a run before it
    made.write_json("refit.json", {"of": judged, "rows": len(manifest.rows), "before": n_train})
    if branch is not None and first is not None:  # what it branched from learns from everything too
        step, total = scaled(branch.step), scaled(branch.step + (kept.steps_taken or 1))
        first = first.replace("loop", branch_at=step / (first.loop.steps or 1))
        trunk = workflow.keep_manifest(made.child("base", first), everything)
        made.branch_from(trunk, step)
        settled = settled.replace("model", init_from=str(trunk.path / "checkpoints" / f"step_{step:06d}"))
        made.write_recipe(settled.replace("loop", steps=max(1, total - step)))
    return made


def _to_the_end(run: Run, at: Workplace, *, resume: bool) -> Run:
    """Train, judge, bundle and report a run that is not of the main job. A stopped run is returned as it is."""
    from ouvroir.reporting import write_report
    from ouvroir.training.distributed import is_main_process

    with workflow.failures_noted(run):
        trunk = run.path / "base"  # a refit of a tuned model trains again what that one branched from
        if (trunk / "recipe.json").is_file():
            fitted = workflow.train_run(Run(trunk), at, resume=True)
            if fitted.stopped == "interrupted":
                return run
        fitted = workflow.train_run(run, at, resume=resume)
        if fitted.stopped == "interrupted" or not is_main_process():
            return run
        with run.hold():
            run.set_status("running", "Judging the model and writing what is kept of it.")
            again = run.read_json("refit.json")
            if again is not None:  # nothing unseen is left to judge it on
                workflow.bundle_run(run, judged=Run(Path(again["of"])), progress=at.progress)
                workflow.drop_states(run, is_held=True)
                if trunk.is_dir():
                    workflow.drop_states(Run(trunk))
                figures = f"Nothing unseen is left to judge it on; {Path(again['of']).name} has the figures."
                run.set_status("finished", f"Trained on all {again['rows']} rows. {figures}")
                return run
            workflow.judge_run(run, at)
            workflow.bundle_run(run, progress=at.progress)
            write_report(run, language=at.language, progress=at.progress)
            workflow.drop_states(run, is_held=True)
            run.set_status("finished", f"Finished after {fitted.steps} steps.")
    return run


@dataclass(frozen=True)
class Evaluation:
    """A model on data: `judgement` on `split` rows; `left_out` counts rows with reasons why they were not judged.

    `unknown_labels` counts those whose label the model does not know, by that label.
    """

    judgement: Judgement
    ids: tuple[str, ...]
    left_out: dict[str, int]
    unknown_labels: dict[str, int]


def evaluate(
    model: str | Path,
    source: str | Path,
    *,
    split: Split | Literal["all"] | None = None,
    settings: Mapping[str, str] | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = QUIET,
) -> Evaluation:
    """Judge a run or bundle on labelled data.

    `split` None: the test split when the model was trained on this very data or the data brings one, else all rows. Rows
    that the model learned from are always left out, and counted. On the data of the training a row keeps the split that
    its content had then, and has the label that it has now; rows added or gone since are counted, and the added ones
    are judged when the data say that they are for this split, or with `split` "all".
    """
    from ouvroir.predictor import load as load_predictor
    from ouvroir.predictor import model_folder
    from ouvroir.training.distributed import resolve_device

    chosen = resolve_device(device)
    place = Workplace(Path(runs), progress=progress).place_of(str(model))
    predictor = load_predictor(place, device=chosen)
    data = _reading(source, predictor.recipe.data, settings or {})
    manifest = workflow.admit(source, predictor.recipe.task, data, workers=workers, progress=progress)
    folder, _ = model_folder(place)
    learned = workflow.learned_from(predictor.recipe, folder, progress=progress)
    if not learned.is_complete:
        progress.say(
            "Which rows the model learned from is not all known here (its data were changed or moved, or never were on this "
            "machine). Those cannot be left out: if some of these rows are among them, the figures flatter."
        )
    manifest, left_out, unknown_labels = _judgeable(manifest, predictor, split, learned.contents, folder)
    tables = workflow.prepare(
        predictor.task, manifest, predictor.recipe, processor=predictor.processor, workers=workers, progress=progress
    ).tables
    table = workflow.require_tables(tables, "test", "Evaluation")
    judgement = workflow.judge(
        predictor.task,
        predictor.model,
        predictor.processor,
        predictor.recipe,
        table,
        "test",
        device=chosen,
        progress=progress,
    )
    ids = tuple(table.rows[int(place)].id for place in judgement.answers.index)
    return Evaluation(judgement=judgement, ids=ids, left_out=left_out, unknown_labels=unknown_labels)


def _reading(source: str | Path, trained: Data, settings: Mapping[str, str]) -> Data:
    """How to read data to judge on: labels as in training, columns too when it is the same table; only their own splits."""
    check_settings(settings, sections=("data",))
    is_same = str(Path(source).expanduser().absolute()) == trained.source
    kept = ("label_separator", "label_column", "path_column") if is_same else ("label_separator",)
    data = Data(validation=0.0, test=0.0, **{name: getattr(trained, name) for name in kept})
    return workflow.with_data_settings(data, settings)


def _judgeable(
    manifest: Manifest, predictor: Predictor, split: Split | Literal["all"] | None, learned: Set[str], folder: Path
) -> tuple[Manifest, dict[str, int], dict[str, int]]:
    """The rows to judge on, all as test rows; how many were left out why, and with which labels that are unknown."""
    from ouvroir.data.manifest import label_names, unjudged

    rows = manifest.rows
    before: tuple[Row, ...] = ()
    if manifest.source == predictor.recipe.data.source and split != "all":
        before = _rows_of_training(predictor, folder)
    if split is None:
        split = "test" if any(row.split == "test" for row in before or rows) else "all"
    left_out: Counter[str] = Counter()
    if before and split != "all":
        # the split is that of the training, all else is what the data say now; new rows count when these name their split
        was = {row.sha256: row.split for row in before}
        now = {row.sha256 for row in rows}
        known = [row for row in rows if row.sha256 in was or row.split != "train"]
        left_out["added since training"] = len(rows) - len(known)
        left_out["gone since training"] = sum(row.split == split and row.sha256 not in now for row in before)
        rows = tuple(replace(row, split=was.get(row.sha256, row.split)) for row in known)
    wanted = [row for row in rows if split in ("all", row.split)]
    unknown: Counter[str] = Counter()
    left_out["another split"] = len(rows) - len(wanted)
    kept = []
    uncounted = unjudged(wanted)
    for place, row in enumerate(wanted):
        is_learned = split not in ("validation", "train") and row.sha256 in learned
        reason = "learned from" if is_learned else predictor.task.unjudged(row, predictor.processor)
        reason = reason or uncounted.get(place)
        if reason is None:
            kept.append(replace(row, split="test"))
        else:
            left_out[reason] += 1
            if not is_learned:
                unknown.update(name for name in label_names(row.label) if name not in predictor.labels)
    left_out = +left_out
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        labels = (
            f" The model does not know {readable_names(unknown)}; it knows {readable_names(predictor.labels)}."
            if unknown
            else ""
        )
        raise DataError(f"No row of {manifest.source} can be judged: {reasons or 'there are none'}.{labels}")
    return replace(manifest, rows=tuple(kept)), dict(left_out), dict(unknown.most_common())


def _rows_of_training(predictor: Predictor, folder: Path) -> tuple[Row, ...]:
    """The rows of the manifest that the model was trained with; none when it is not kept or was read from changed files."""
    try:
        before = workflow.manifest_again(predictor.recipe, QUIET, near=folder)
    except DataError:
        return ()
    return before.rows if before.fingerprint == predictor.recipe.data.manifest else ()


@dataclass(frozen=True)
class ModelComparison:
    """Two models on the same rows: the paired comparison, each one's metrics on them, and ids of items fixed and broken by B.

    `of`: each one's own evaluation, which says what was left out.
    """

    comparison: Comparison
    a: Judgement
    b: Judgement
    of: tuple[Evaluation, Evaluation]
    fixed: tuple[str, ...]
    broken: tuple[str, ...]


def compare(a: str | Path, b: str | Path, source: str | Path, **others: Any) -> ModelComparison:
    """Judge models A and B on the same unseen rows of labelled data, paired. Takes the options of `evaluate`."""
    from ouvroir.evaluation.compare import compare as compare_answers
    from ouvroir.evaluation.metrics import measure

    first, second = evaluate(a, source, **others), evaluate(b, source, **others)
    shared = sorted(set(first.ids) & set(second.ids))
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
    answers = [_aligned(one, shared) for one in (first, second)]
    comparison = compare_answers(*answers)
    judged = [
        replace(one.judgement, answers=found, metrics=measure(list(one.judgement.metrics), found))
        for one, found in zip((first, second), answers, strict=True)
    ]
    return ModelComparison(
        comparison=comparison,
        a=judged[0],
        b=judged[1],
        of=(first, second),
        fixed=tuple(shared[int(place)] for place in comparison.fixed),
        broken=tuple(shared[int(place)] for place in comparison.broken),
    )


def _aligned(one: Evaluation, ids: list[str]) -> Answers:
    """Answers of an evaluation for `ids` in that order, indexed by the place in `ids`."""
    import numpy as np

    from ouvroir.evaluation.metrics import take

    place = {name: at for at, name in enumerate(one.ids)}
    order = np.array([place[name] for name in ids], dtype=np.int64)
    return replace(take(one.judgement.answers, order), index=np.arange(len(ids), dtype=np.int64))


def load(model: str | Path, *, device: str | None = None) -> Predictor:
    """A Predictor from a run folder or a bundle: `load(run).predict(["a.png"])`."""
    from ouvroir.predictor import load as load_predictor

    return load_predictor(str(model), device=device)


def predict_files(
    model: str | Path,
    files: Iterable[str],
    *,
    output: Literal["table", "csv", "json", "jsonl"],
    to: TextIO,
    threshold: float | Literal["auto"] | None = None,
    runs: str | Path = DEFAULT_ROOT,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = QUIET,
) -> int:
    """Write answers for files, folders and `-` (standard input) to `to`, as they come. Returns how many failed.

    Files are opened in worker processes, so that one which crashes or blocks its decoder costs its own answer only.
    When the list of files itself breaks off half way, a JSON object is closed with `error` and `message`.
    """
    from ouvroir import predictor as found

    chosen = found.load(Workplace(Path(runs), progress=progress).place_of(str(model)), device=device)
    paths, inputs = itertools.tee(found.expand_inputs(files, chosen.recipe.task, stdin=sys.stdin.buffer))
    failed = 0

    def named() -> Iterator[tuple[str, Prediction]]:
        nonlocal failed
        answers = chosen.each((one for _, one in inputs), threshold=threshold, workers=workers)
        for (name, _), answer in zip(paths, answers, strict=True):
            failed += answer.error is not None
            yield name, answer

    lines = found.WRITERS[output](named(), chosen.labels)
    first = next(lines, "")  # what is wrong from the start is raised before anything is written
    to.write('{"predictions":\n' + first if output == "json" else first)
    try:
        for line in lines:
            to.write(line)
    except OuvroirError as error:
        if output != "json":
            raise
        told = json.dumps({"error": type(error).__name__, "message": str(error)}, ensure_ascii=False)
        to.write(f"\n],\n{told[1:]}\n")
        progress.say(f"ouvroir: {error}")
        return failed + 1
    to.write("}\n" if output == "json" else "")
    return failed


def predict(
    model: str | Path,
    inputs: Iterable[Input],
    *,
    device: str | None = None,
    threshold: float | Literal["auto"] | None = None,
    workers: int | None = 0,
) -> list[Prediction]:
    """Answers for files or things in memory, same length and order as `inputs`. `workers` as in `Predictor.predict`."""
    return load(model, device=device).predict(inputs, threshold=threshold, workers=workers)


def report(run: str | Path, *, runs: str | Path = DEFAULT_ROOT, language: Language | None = None) -> Path:
    """Render the report of a run again, in the language it has, or in another, which is remembered. Returns its path."""
    from ouvroir.reporting import render_again

    return render_again(Run.open(run, Path(runs)), language=language)


def export(
    model: str | Path,
    to: Literal["onnx", "pth", "hf"],
    folder: str | Path | None = None,
    *,
    runs: str | Path = DEFAULT_ROOT,
    progress: Progress = QUIET,
) -> ExportResult:
    """Write a model in another format, after replaying held-out items through it. Raises ExportError on any difference."""
    from ouvroir.exporting import export as export_model

    return export_model(Workplace(Path(runs), progress=progress).place_of(str(model)), to, folder, progress=progress)


def sample(task: str, folder: str | Path) -> int:
    """Write a small real data set for `task` into the new folder `folder`. Returns the number of files."""
    place = Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"`{folder}` is there already and not empty. Name a new folder.")
    return find_task(task, is_asked_for=True).sample(place)
