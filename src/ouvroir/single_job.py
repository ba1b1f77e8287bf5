"""One training from its plan to its report: what `train`, `finetune`, `refit` and `resume` do, as main_job.py does `refine`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ouvroir import workflow
from ouvroir.errors import RunError
from ouvroir.media import find_task
from ouvroir.run import Run

if TYPE_CHECKING:
    from ouvroir.options import Workplace
    from ouvroir.recipe import Recipe


def to_resume(run: str | Path, at: Workplace) -> Run:
    """The run to go on with: the whole one when a part of it is named. What was not named in full is said."""
    if str(run) == "last":
        last = Run.last_unfinished(at.runs)
        at.progress.say(f"`last` is the run {last.name}.")
        return last
    named = Run.open(run, at.runs)
    if named.whole.path != named.path:
        at.progress.say(f"{named.path} is a part of {named.whole.path}, and it is the whole of it that goes on.")
    return named.whole


def begin_refit(earlier: Run, at: Workplace) -> Run:
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


def to_the_end(run: Run, at: Workplace, *, resume: bool) -> Run:
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
