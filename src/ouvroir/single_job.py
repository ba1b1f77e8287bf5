"""One training from its plan to its report: what `train`, `finetune`, `refit` and `resume` do, as main_job.py does `refine`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouvroir import judging, workflow
from ouvroir.errors import RunError
from ouvroir.files import readable_count
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
        raise RunError(f"{earlier.path} is not finished. {earlier.what_now}")
    real = [row for row in manifest.rows if row.origin == "real"]  # samples add no steps
    n_train = sum(row.split == "train" for row in real)
    everything = replace(manifest, rows=tuple(replace(row, split="train") for row in manifest.rows))
    everything.save()

    def scaled(steps: int) -> int:
        return max(1, round(steps * len(real) / n_train))

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
    made.write_json("refit.json", {**_judged(earlier), "rows": len(manifest.rows), "before": n_train})
    if branch is not None and first is not None:  # what it branched from learns from everything too
        step, total = scaled(branch.step), scaled(branch.step + (kept.steps_taken or 1))
        if branch.run.recipe().data.manifest != kept.recipe().data.manifest:
            first = first.replace("loop", synthetic_share=0.0)  # it learned before samples were admitted
        first = first.replace("loop", branch_at=step / (first.loop.steps or 1))
        trunk = workflow.keep_manifest(made.child("base", first), everything)
        made.branch_from(trunk, step)
        settled = settled.replace("model", init_from=str(trunk.path / "checkpoints" / f"step_{step:06d}"))
        made.write_recipe(settled.replace("loop", steps=max(1, total - step)))
    return made


def _judged(earlier: Run) -> dict[str, Any]:
    """Of the run that is trained again, what its refit keeps: `of`, its name, `evaluation` and `threshold`.

    A copy, since runs are moved and deleted. The figures of a refit are those of a run before it.
    """
    again = earlier.read_json("refit.json")
    if again is not None:
        return {name: again[name] for name in ("of", "evaluation", "threshold")}
    return {
        "of": earlier.full_name,
        "evaluation": earlier.read_json("evaluation.json"),
        "threshold": workflow.kept_threshold(earlier),
    }


def to_the_end(run: Run, at: Workplace, *, resume: bool) -> Run:
    """Train, judge, bundle and report a run that is not of the main job. A stopped run is returned as it is."""
    from ouvroir.training.distributed import join, resolve_device

    with (
        workflow.failures_noted(run),
        join(resolve_device(at.device)) as world,
        workflow.held(run, world),
    ):
        trunk = Run(run.path / "base")  # a refit of a tuned model trains again what that one branched from
        if (trunk.path / "recipe.json").is_file():
            workflow.once(world, lambda: run.set_status("running", "Training what the model branches from."))
            if workflow.train_run(trunk, at, resume=True, to_branch=True).stopped == "interrupted":
                workflow.once(world, lambda: run.set_status("stopped", f"Stopped. {run.what_now}"))
                return run
        fitted = workflow.train_run(run, at, resume=resume, is_held=True)
        if fitted.stopped != "interrupted" and world.is_first:
            _conclude(run, at, fitted.steps)
    return run


def _conclude(run: Run, at: Workplace, steps: int) -> None:
    """Judge the model, write its bundle and report, and drop what only going on would need."""
    from ouvroir.reporting import write_report

    run.set_status("running", "Judging the model and writing what is kept of it.")
    again = run.read_json("refit.json")
    if again is None:
        judging.judge_run(run, at)
        workflow.bundle_run(run, progress=at.progress)
        judging.judge_start(run, at)
        write_report(run, at)
        sentence = f"Finished after {readable_count(steps, 'step')}."
    else:  # nothing unseen is left to judge it on
        workflow.bundle_run(run, refit=again, progress=at.progress)
        sentence = f"Trained on all {again['rows']} rows. Nothing unseen is left to judge it on; {again['of']} has the figures."
    workflow.drop_states(run, is_held=True)
    if (run.path / "base").is_dir():
        workflow.drop_states(Run(run.path / "base"))
    run.set_status("finished", sentence)
