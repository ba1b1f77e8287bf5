"""From a finished run to its report: gathers what the stages left behind and hands it to `evaluation.report`."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouvroir import judging, workflow
from ouvroir.errors import CheckpointError, DataError, ManifestError, OuvroirError, RunError, TrainingError
from ouvroir.evaluation.report_input import Controlled, KeptAt, Shown
from ouvroir.files import write_text
from ouvroir.media import find_task
from ouvroir.run import JOB, USUAL_STEPS, Measurement, Run
from ouvroir.source import Source
from ouvroir.task import Synthesiser, Writer
from ouvroir.writing import HABITS, MOMENTS

if TYPE_CHECKING:
    from ouvroir.assessing import Scored
    from ouvroir.baselines import Suspect
    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.evaluation.report import ReportInput, Synthesis, System
    from ouvroir.evaluation.report_input import Role
    from ouvroir.options import Language, Workplace
    from ouvroir.recipe import Recipe
    from ouvroir.task import Row, Split, Task
    from ouvroir.training.course import Prepared

SHOWN_EDGE_PX = 96
BEGINNINGS = {"en": "Once upon a time", "fr": "Il était une fois"}  # that a model which writes is shown to go on with
MOST_OF_A_CLASS = 8  # samples, of those that were kept and of those that were refused
LOST_SHARE, LOST_OF_LOSS, LEAST_LOST = 0.05, 0.05, 5
"""On validation data from the best step to the last: more than such a share of all rows and so many, or such a share of a loss,
is overfitting."""
MOST_ROWS_DOUBTED = 5000  # train rows that are looked through for wrong labels


def write_report(run: Run, at: Workplace) -> Path:
    """Judge, compare and write report.json and report.html of a finished run. Returns the page."""
    from ouvroir.evaluation.report import make_report
    from ouvroir.evaluation.samples import n_away

    with workflow.timed(run, "report_s"):
        report = make_report(_gather(run, at))
    run.write_json("report.json", report)
    if n := n_away(report):
        at.progress.say(
            f"Files that could not be read, so that the report does not show them: {n}. Once they are back, "
            f"`ouvroir report {shlex.quote(str(run.path))}` does."
        )
    run.keep_language(at.language)
    return render_again(run)


def render_again(run: Run, *, language: Language | None = None) -> Path:
    """Write report.html from report.json, in the language of the run or, this once, in another.

    Samples whose files were away are put into the report if they are back. Raises RunError when there is no report yet.
    """
    from ouvroir.evaluation.page import render
    from ouvroir.evaluation.samples import n_away, show_again

    report = run.read_json("report.json")
    if report is None and (of := run.refit_of) is not None:
        raise RunError(f"A refit learned from all the data, so there is none to report on. See `ouvroir report {of}`.")
    if report is None:
        raise RunError(f"{run.path} has no report yet. {run.what_now}")
    if n_away(report) and show_again(
        report, _shower_by_name(run), show_made=_show_made(run, find_task(run.recipe().task))
    ):
        run.write_json("report.json", report)
    page = run.path / "report.html"
    write_text(page, render(report, language or run.language))
    return page


def kept_model(run: Run) -> Run:
    """Of the trained models of a run, the one that its recipe and bundle are of; before that is chosen, the last."""
    models, recipe = run.models, run.recipe()
    return next((one for one in models if one.recipe() == recipe), models[-1] if models else run)


def _gather(run: Run, at: Workplace) -> ReportInput:
    from ouvroir.evaluation.report import ReportInput

    recipe = run.recipe()
    task = find_task(recipe.task)
    models, kept = run.models, kept_model(run)
    whole = workflow.manifest_of(models[0], progress=at.progress)
    real = tuple(row for row in whole.rows if row.origin == "real")  # samples are shown on their own
    manifest = whole if len(real) == len(whole.rows) else replace(whole, rows=real)
    checkpoint = kept.checkpoint("best")
    processor = task.load_processor(checkpoint / "processor")
    prepared = workflow.prepare(task, manifest, recipe, processor=processor, workers=None, progress=at.progress)
    train, test = prepared.tables["train"], prepared.tables.get("test")
    groups = _groups(recipe, test)
    are_apart = {row.group for row in train.rows}.isdisjoint({*groups} - {""})
    return ReportInput(
        name=run.name,
        task=recipe.task,
        path=str(run.path),
        created=time.strftime("%Y-%m-%d %H:%M"),
        metrics=task.metrics_for(processor),
        data=manifest.summary(),
        systems=[*_baselines(run, task, prepared), *_models(models, test)],
        kept=_name(kept, models),
        show_test=None if test is None else _shower(task, test),
        show_train=_shower(task, train),
        train_labels=[row.label for row in train.rows],
        mislabels=_doubted(kept, task, prepared),
        notes=[*(note.text for note in manifest.notes), *_not_compared(kept)],
        timings=timings_of(run),
        device=str((kept.read_json("environment.json") or {}).get("device", "cpu")),
        items_per_second=_speed(kept, recipe),
        n_parameters=_n_parameters(checkpoint),
        model_bytes=(checkpoint / "model.safetensors").stat().st_size,
        threshold=workflow.kept_threshold(run),
        settings=_settings(task, recipe, kept),
        settings_of=_settings_of(task, models),
        constants=task.constants(recipe),
        **_use_of_maker(run, task),
        french=task.french,
        environment=run.read_json("environment.json") or {},
        synthesis=_synthesis(run, task, manifest, at),
        writing=_writing(models) if isinstance(task, Writer) else {},
        window=task.window(processor) if isinstance(task, Writer) else None,
        controls=_controls(kept, task),
        groups=groups,
        at_random=_baselines_at_random(run, task, prepared) if groups and are_apart else (),
    )


def _not_compared(model: Run) -> list[str]:
    """Why a model that was fine-tuned is not compared with the one that it started from, where it is not."""
    noted = model.read_json(judging.NOT_COMPARED)
    return [] if noted is None else [noted["text"]]


def _settings(task: Task, recipe: Recipe, model: Run) -> list[tuple[str, str, str]]:
    """The settings of a trained model, with what its processor worked out; as they were asked for where its weights are gone."""
    try:
        processor = task.load_processor(model.checkpoint("best") / "processor")
    except OuvroirError:
        return recipe.settings()
    found = {name: json.dumps(value) for name, value in task.worked_out(processor).items()}
    return [(name, found.get(name, value), text) for name, value, text in recipe.settings()]


def _settings_of(task: Task, models: list[Run]) -> dict[str, dict[str, str]]:
    """The values of the settings of each of several models."""
    if len(models) < 2:
        return {}
    return {
        _name(model, models): {name: value for name, value, _ in _settings(task, model.recipe(), model)}
        for model in models
    }


def _writing(models: list[Run]) -> dict[str, dict[str, Any]]:
    """What models wrote while they were trained, and their habits."""
    return {
        _name(model, models): {
            "moments": [{**one, "step": one["step"] + model.steps_before} for one in model.read_json(MOMENTS) or []],
            "habits": model.read_json(HABITS) or {},
        }
        for model in models
    }


def _controls(kept: Run, task: Task) -> list[Controlled]:
    """The kept model's answers to the test from which something was taken, as far as they were kept."""
    from ouvroir.evaluation.evaluate import load_answers

    paths = [(one.text, judging.control_file(kept, one.name)) for one in task.controls]
    return [Controlled(text, load_answers(path)) for text, path in paths if path.is_file()]


def _groups(recipe: Recipe, test: Table | None) -> list[str]:
    """The groups of the test rows, where a person said what they are."""
    data = recipe.data
    if test is None or not (data.group_column or data.group_level or data.group_pattern):
        return []
    return [row.group for row in test.rows]


def _synthesis(run: Run, task: Task, manifest: Manifest, at: Workplace) -> Synthesis | None:
    """What was made, judged and tried in the run; None where nothing was. Of a generator, a few samples."""
    from ouvroir import admitting, assessing, trials
    from ouvroir.evaluation.report import Synthesis

    rows = {row.id: row for row in manifest.rows if row.split == "train"}

    def show_real(name: str) -> Shown:
        return _shown(task, rows[name], manifest.root) if name in rows else Shown(name)

    if isinstance(task, Synthesiser):
        from ouvroir.generating import some_to_show

        if isinstance(task, Writer) and not any(row.label for row in manifest.rows):
            return None  # what such a model writes is shown on its own

        try:
            made = some_to_show(run, at)
        except (DataError, TrainingError) as error:
            at.progress.say(f"The report shows no samples. {error}")
            return None
        return Synthesis(assessment=made, show=_show_made(run, task), show_real=show_real)
    noted, folder = run.read_json(admitting.OUTCOME) or {}, admitting.folder_of(run)
    assessment = Run(folder).read_json(assessing.SUMMARY)
    results = sorted((run.path / trials.FOLDER).glob(f"*/{trials.RESULT}"))
    found = {path.parent.name: Run(path.parent).read_json(trials.RESULT) for path in results}
    if not noted and assessment is None and not found:
        return None
    if assessment is not None:
        assessment["samples"] = _some_of_each(assessing.scores_in(folder))
    return Synthesis(
        assessment=assessment,
        trials=found,
        show=_show_made(run, task),
        show_real=show_real,
        said=noted.get("said", ()),
    )


def _some_of_each(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Of each class a few of the samples that were kept and a few that were refused, as plain values."""
    counts: Counter[tuple[str, bool]] = Counter()
    found = []
    for one in scored:
        group = one.label, bool(one.reason)
        counts[group] += 1
        if counts[group] <= MOST_OF_A_CLASS:
            found.append(dict(vars(one)))
    return found


def _show_made(run: Run, task: Task) -> Callable[[str], Shown]:
    """What shows a made sample of the run by its id."""
    from ouvroir.admitting import folder_of
    from ouvroir.generating import SHOWN

    folder = run.path / SHOWN if isinstance(task, Synthesiser) else folder_of(run)

    def show(name: str) -> Shown:
        try:
            return Shown(name, *task.render(Source(str(folder), name), max_edge_px=SHOWN_EDGE_PX))
        except (OuvroirError, OSError):
            return Shown(name)

    return show


def tell_of_trials(run: Run, at: Workplace) -> None:
    """Write the report of a run again, where it has one, with what was tried since."""
    if run.read_json("report.json") is not None:
        write_report(run, at)


def _name(model: Run, models: list[Run]) -> str:
    return model.name if len(models) > 1 else "trained"


def _baselines(run: Run, task: Task, prepared: Prepared) -> list[System]:
    from ouvroir.evaluation.evaluate import in_units
    from ouvroir.evaluation.report import System
    from ouvroir.training.device import threads

    if "test" not in prepared.tables:
        return []
    with workflow.timed(run, "baselines_s"), threads(1):  # more of them only wait for each other on small matrices
        tables = prepared.tables
        found = task.baselines(tables, prepared.processor, run.recipe())
    rows = tables["test"].rows
    return [
        System(name=one.name, role="baseline", answers=in_units(one.answers, rows), n_rows=one.n_rows) for one in found
    ]


def _baselines_at_random(run: Run, task: Task, prepared: Prepared) -> list[System]:
    """The cheap ways once more, train and test rows being dealt out without regard to groups."""
    import numpy as np

    train, test = prepared.tables["train"], prepared.tables["test"]
    order = np.random.default_rng(0).permutation(len(train) + len(test))
    both = train.joined(test)
    tables: dict[Split, Table] = {"train": both.subset(order[len(test) :]), "test": both.subset(order[: len(test)])}
    return _baselines(run, task, replace(prepared, tables=tables))


def _use_of_maker(run: Run, task: Task) -> dict[str, Any]:
    """How what makes samples is used, in place of what answers."""
    if not isinstance(task, Synthesiser):
        return {}
    place = shlex.quote(str(run.path))
    if isinstance(task, Writer):
        model = str(run.bundle)
        lines = {
            language: f"import ouvroir\n\nmodel = ouvroir.load({model!r})\nprint(model.write({begin!r}))"
            for language, begin in BEGINNINGS.items()
        }
        return {
            "commands": [
                ("use_write", f"ouvroir generate {place} --prompt TEXT"),
                ("use_samples", f"ouvroir generate {place} --count 100"),
                ("use_report", f"ouvroir report {place} --language"),
            ],
            "python": lines["en"],
            "python_french": lines["fr"],
        }
    return {
        "commands": [
            ("use_generate", f"ouvroir generate {shlex.quote(str(run.path))} --count 100"),
            ("use_report", f"ouvroir report {shlex.quote(str(run.path))} --language"),
        ],
        "python": f"import ouvroir\n\nmade = ouvroir.generate({str(run.path)!r}, count=100)\nprint(made.folder, made.copies)",
    }


def _models(models: list[Run], test: Table | None) -> list[System]:
    from ouvroir.evaluation.evaluate import in_units, load_answers
    from ouvroir.evaluation.report import System

    found = []
    for model in models:
        metrics, before = model.metrics(), model.steps_before
        usual = _usual_steps(model)
        path = model.path / "answers" / "test.safetensors"
        found.append(
            System(
                name=_name(model, models),
                role=_role(model),
                answers=in_units(load_answers(path), test.rows) if test is not None and path.is_file() else None,
                curves=[_later(one, before) for one in metrics],
                steps=before + (metrics[-1].step if metrics else 0),
                seconds=max((one.seconds for one in metrics), default=0.0),
                n_parameters=_size_of(model),
                usual_steps=usual.get("steps"),
                can_be_smaller=usual.get("can_be_smaller", False),
                kept_at=_kept_at(model, before),
            )
        )
    start = models[0].path / judging.START
    if len(models) == 1 and test is not None and start.is_file():
        answers = in_units(load_answers(start), test.rows)
        return [System(name="start", role="base", answers=answers, is_start=True), replace(found[0], role="tuned")]
    return found


def _kept_at(model: Run, before: int) -> KeptAt | None:
    """Where the checkpoint of a model comes from, `before` steps on; None where it was not validated, or its weights are gone."""
    from ouvroir.evaluation.metrics import is_higher_better, is_percent
    from ouvroir.training.checkpoint import step_of

    validated = [one for one in model.metrics() if one.split == "validation"]
    measured = [one for one in validated if one.name == validated[0].name]  # the deciding one comes first
    try:
        step = step_of(model.checkpoint("best"))
    except (CheckpointError, OSError):
        return None
    value = next((one.value for one in measured if one.step == step), None)
    if value is None:
        return None
    main, end = measured[-1].name, measured[-1]
    lost = (value - end.value) * (1 if is_higher_better(main) else -1)
    n = (model.read_json("evaluation.json") or {}).get("validation", {}).get(main, {}).get("n") or 1
    most_by_chance = max(LOST_SHARE, LEAST_LOST / n) if is_percent(main) else LOST_OF_LOSS * abs(value)
    return KeptAt(
        step=before + step,
        steps=before + end.step,
        metric=main,
        value=value,
        last=end.value,
        is_overfit=lost > most_by_chance,
        n_validations=len(measured),
    )


def _usual_steps(model: Run) -> dict[str, Any]:
    """What was noted where it had few steps; where it branched from another model, these are its steps too."""
    found: dict[str, Any] | None = model.read_json(USUAL_STEPS)
    if found is None and (branch := model.branch) is not None:
        found = branch.run.read_json(USUAL_STEPS)
    return found or {}


def _role(model: Run) -> Role:
    if model.name in (model.whole.read_json(JOB) or {}).get("rivals", ()):
        return "rival"
    return "tuned" if model.name == "tuned" else "base"


def _later(one: Measurement, steps: int) -> Measurement:
    return replace(one, step=one.step + steps) if steps else one


def _shower(task: Task, table: Table) -> Callable[[int], Shown]:
    return lambda place: _shown(task, table.rows[place], table.root)


def _shower_by_name(run: Run) -> Callable[[str], Shown] | None:
    """What shows a row of the run by its id; None when it is not known any more which rows there were."""
    recipe = run.recipe()
    try:
        manifest = workflow.kept_manifest(recipe, near=run.path)
    except ManifestError:
        return None
    task, rows = find_task(recipe.task), {row.id: row for row in manifest.rows}
    return lambda name: _shown(task, rows[name], manifest.root) if name in rows else Shown(name)


def _shown(task: Task, row: Row, root: str) -> Shown:
    try:
        return Shown(row.id, *task.render(row.source(root), max_edge_px=SHOWN_EDGE_PX))
    except (OuvroirError, OSError):  # moved, or taken away
        return Shown(row.id)


def _doubted(model: Run, task: Task, prepared: Prepared) -> list[Suspect]:
    """Rows whose label the others contradict: held-out answers on the test, out-of-fold answers on the train rows."""
    from ouvroir.baselines import out_of_fold_scores, suspected_mislabels
    from ouvroir.evaluation.evaluate import features_of, load_answers
    from ouvroir.training.checkpoint import load_model
    from ouvroir.windows import evenly

    path, labels = model.path / "answers" / "test.safetensors", prepared.processor.labels
    found: list[Suspect] = []
    if isinstance(task, Synthesiser):  # which answers with no label
        return found
    if path.is_file():
        answers = load_answers(path)
        if answers.scores is None or answers.targets is None or answers.is_multi_label:
            return []
        doubted = suspected_mislabels(answers.scores, answers.targets, labels)
        found += [replace(one, place=int(answers.index[one.place])) for one in doubted]
    train = prepared.tables["train"]
    targets = train.targets.get("labels")
    if targets is None or targets.ndim != 1 or len(train) < 10 * len(labels):
        return found
    network, _, recipe = load_model(task, model.checkpoint("best"))
    places = evenly(len(train), MOST_ROWS_DOUBTED)
    features = features_of(task, network, recipe, train, places)
    known = targets.numpy()[places]
    doubted = suspected_mislabels(out_of_fold_scores(features, known, len(labels)), known, labels)
    found += [replace(one, place=int(places[one.place]), split="train") for one in doubted]
    return sorted(found, key=lambda one: -one.confidence)


def timings_of(run: Run) -> dict[str, float]:
    """Seconds by stage over the run and the models in it: check, pack, train, evaluate, bundle, baselines, report."""
    models = run.models
    total: dict[str, float] = {}
    generator = Run(run.path / "generator")
    for one in {item.path: item for item in (run, *models, generator)}.values():
        for name, seconds in (one.read_json("timings.json") or {}).items():
            total[name.removesuffix("_s")] = total.get(name.removesuffix("_s"), 0.0) + float(seconds)
    if generator.path.is_dir():
        total["generator"] = max((one.seconds for one in generator.metrics()), default=0.0)
    total["train"] = sum(max((one.seconds for one in model.metrics()), default=0.0) for model in models)
    return total


def _speed(model: Run, recipe: Recipe) -> float | None:
    metrics = model.metrics()
    if not metrics or metrics[-1].seconds <= 0:
        return None
    return metrics[-1].step * recipe.loop.batch_size / metrics[-1].seconds


def _size_of(model: Run) -> int | None:
    """The parameters of a model; None where its weights are gone."""
    try:
        return _n_parameters(model.checkpoint("best"))
    except (CheckpointError, OSError):
        return None


def _n_parameters(checkpoint: Path) -> int:
    import math

    from safetensors import safe_open

    with safe_open(checkpoint / "model.safetensors", framework="np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - not a dict
