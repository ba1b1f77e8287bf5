"""A model judged: its answers to the rows of a split and what they are worth, of a run those of the model it started from too."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ouvroir import workflow
from ouvroir.errors import OuvroirError
from ouvroir.media import find_task
from ouvroir.progress import QUIET, Progress
from ouvroir.recipe import Recipe
from ouvroir.run import Run
from ouvroir.task import SPLITS, Note, Row, Task, Writer, options_of
from ouvroir.writing import HABITS, keep_moment_of_kept

if TYPE_CHECKING:
    from torch import nn

    from ouvroir.bundle import Learned
    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.evaluation.metrics import Metric
    from ouvroir.options import Workplace
    from ouvroir.task import Answers, Processor

START, NOT_COMPARED = "answers/start.safetensors", "answers/start.json"
"""In the run of a model that was fine-tuned: answers to its test of the model that it started from; or why there are none."""


@dataclass(frozen=True)
class Judgement:
    """What a model answered on one split, and what that is worth."""

    split: str
    answers: Answers
    metrics: dict[str, Metric]


def judge(
    task: Task,
    model: nn.Module,
    processor: Processor,
    recipe: Recipe,
    table: Table,
    split: str,
    *,
    device: str,
    progress: Progress,
) -> Judgement:
    """Answers and metrics of a model on one table."""
    from ouvroir.evaluation.evaluate import evaluate, in_units
    from ouvroir.evaluation.metrics import measure

    answers = evaluate(task, model, processor, recipe, table, device=device, progress=progress)
    answers = in_units(answers, table.rows)
    return Judgement(split=split, answers=answers, metrics=measure(task.metrics_for(processor), answers))


def judge_run(run: Run, at: Workplace) -> dict[str, Judgement]:
    """Answers of the run's best checkpoint on validation and test, kept in `answers/`, metrics in `evaluation.json`."""
    from ouvroir.evaluation.evaluate import evaluate, save_answers
    from ouvroir.training.checkpoint import load_model
    from ouvroir.training.device import threads
    from ouvroir.training.distributed import resolve_device

    device, progress = resolve_device(at.device), at.progress
    task = find_task(run.recipe().task)
    model, processor, recipe = load_model(task, run.checkpoint("best"), device=device)
    manifest = workflow.manifest_of(run, progress=progress)
    tables = workflow.prepare(task, manifest, recipe, processor=processor, workers=at.workers, progress=progress).tables
    found: dict[str, Judgement] = {}
    with workflow.timed(run, "evaluate_s"):
        for split in SPLITS[1:]:
            if split in tables:
                found[split] = judge(
                    task, model, processor, recipe, tables[split], split, device=device, progress=progress
                )
                save_answers(run.path / "answers" / f"{split}.safetensors", found[split].answers)
        for control in task.controls if "test" in tables else ():
            progress.say(f"The test once more: {control.text[0].lower()}{control.text[1:]}.")
            answers = evaluate(
                task, model, processor, recipe, tables["test"], device=device, control=control, progress=progress
            )
            save_answers(control_file(run, control.name), answers)
    if isinstance(task, Writer) and "train" in tables:
        with workflow.timed(run, "evaluate_s"), threads(recipe.loop.threads):
            keep_moment_of_kept(run, task, model, processor, recipe, device=device)
            run.write_json(HABITS, task.habits(model, processor, recipe, tables, device=device))
    run.write_json(
        "evaluation.json",
        {
            split: {name: {**metric.as_dict(), "n": metric.n} for name, metric in one.metrics.items()}
            for split, one in found.items()
        },
    )
    return found


def judge_start(run: Run, at: Workplace) -> None:
    """Keep, beside the run's answers to the test, those of the model of ours that its training started from, to be compared.

    Where that one cannot be asked the same, it is kept and said why, and what to type instead.
    """
    from ouvroir.evaluation.evaluate import save_answers
    from ouvroir.training.adapters import start_of
    from ouvroir.training.checkpoint import load_model
    from ouvroir.training.distributed import resolve_device

    recipe = run.recipe()
    task = find_task(recipe.task)
    if (run.path / START).is_file():
        return
    try:
        folder = start_of(task, recipe.model.init_from)
        if folder is None:
            return
        device = resolve_device(at.device)
        model, processor, earlier = load_model(task, folder, device=device)
        known = workflow.learned_from(earlier, folder, progress=QUIET)
        earlier = earlier.replace("loop", seed=recipe.loop.seed)  # what is drawn in judging is the same for both
        manifest = workflow.manifest_of(run, progress=at.progress)
        rows = tuple(manifest.rows[place] for place in manifest.judged("test").tolist())
        if not rows:
            return
        if note := _why_not(run, processor, manifest, rows, known):
            run.write_json(NOT_COMPARED, {"text": note.text})
            at.progress.say(note.text)
            return
        at.progress.say("Judging the model that this one started from on the same test.")
        with workflow.timed(run, "evaluate_s"):
            alone = replace(manifest, rows=rows)
            tables = workflow.prepare(
                task, alone, earlier, processor=processor, workers=at.workers, progress=at.progress
            ).tables
            found = judge(task, model, processor, earlier, tables["test"], "test", device=device, progress=at.progress)
            save_answers(run.path / START, found.answers)
            (run.path / NOT_COMPARED).unlink(missing_ok=True)  # said before the run was stopped
    # a RuntimeError is PyTorch's, as where memory does not do; the tuned model is none the worse
    except (OuvroirError, RuntimeError) as error:
        note = Note(
            "start_not_compared", f"The model that this one started from was not judged on the same test. {error}"
        )
        run.write_json(NOT_COMPARED, {"text": note.text})
        at.progress.say(note.text)


def _why_not(run: Run, processor: Processor, manifest: Manifest, rows: Sequence[Row], learned: Learned) -> Note | None:
    """Why a model with this processor, which learned from these, cannot be judged by all of the rows, and what can be done."""
    from ouvroir.data.findings import given_settings
    from ouvroir.data.manifest import label_names

    recipe = run.recipe()
    task, known = find_task(recipe.task), set(processor.labels)
    can_be_compared = True
    if getattr(processor, "is_multi_label", manifest.is_multi_label) != manifest.is_multi_label:
        text = (
            "This model is not compared with the one that it started from: one of them gives a label for each row, and the other "
            "several."
        )
        can_be_compared = False
    elif any(learned.knows(row) for row in rows):
        text = "This model is not compared here with the one that it started from: that one learned from some of the test rows."
    elif not learned.is_complete:
        text = "This model is not compared here with the one that it started from: it is not known what that one learned from."
    elif any(task.unjudged(row, processor) or not known.issuperset(label_names(row.label)) for row in rows):
        text = "This model is not compared here with the one that it started from: that one does not know all labels of the test."
    else:
        return None
    if can_be_compared:
        models = shlex.join([recipe.model.init_from, str(run.path), manifest.source])
        call = f"ouvroir compare {models} {options_of(given_settings(manifest))}".rstrip()
        text += f" On what neither learned from, and both know the labels of, `{call}` compares them."
    return Note("start_not_compared", text)


def control_file(run: Run, name: str) -> Path:
    """Where the answers to the test are from which what the control `name` says was taken."""
    return run.path / "answers" / f"control_{name}.safetensors"
