"""The main job: check, pack, train, generate, assess, prove, fine-tune, compare, report. Each stage leaves its mark, so any
of them can resume.

From nothing, the base model trains for N steps. Its state after 70 % of them is kept, and the tuned model goes on from
there for the other 30 % with the task's fine-tuning recipe. Both have had N steps in all, so that more training does not
pass for a gain. From pretrained weights, the base is a model from nothing on the same data, the tuned one starts from
the weights, and minutes are shared equally.

Where a task has several ways to build a model of the data (`Task.rivals`) and nothing says which, these are trained instead, for as
many minutes each, and the one that is best on validation data is kept.

Between base and tuned, samples of a generator are made, judged and tried on the base model's recipe (proving.py). The tuned model
learns from them only if the trial admitted them, and otherwise from real data alone, which is said.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ouvroir import admitting, judging, planning, proving, workflow
from ouvroir.errors import CheckpointError, ManifestError, TrainingError, Untried, UsageError
from ouvroir.evaluation.proof import UNTRIED
from ouvroir.files import readable_count
from ouvroir.media import find_task
from ouvroir.options import does
from ouvroir.progress import QUIET, Progress
from ouvroir.recipe import Value
from ouvroir.run import JOB, Run
from ouvroir.trials import rows_digest

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.options import Training, Workplace
    from ouvroir.recipe import Recipe
    from ouvroir.training.distributed import World

TRUNK = 0.7  # share of the steps before the tuned model leaves the base
TRUNK_COST = 2 - TRUNK  # steps of the whole job over steps of the base
MODELS_SHARE = 0.35  # of the minutes, where synthetic data are tried too
LEAST_TRIAL_MINUTES = 4.0
TRIAL_COST = 10.0
"""A trial may take so many times what the base model took, where no minutes are given."""


@dataclass(frozen=True)
class Plan:
    """What the main job will train, on the rows of `manifest`.

    `tuned` is the recipe of the second model where it starts from pretrained weights; from nothing it is None, since it
    follows from the base once that has settled its steps. `init_from` and `settings` are the user's, the latter with what
    the job itself sets. `untried`: why synthetic data will not be tried, a sentence, where that is known before. `rivals`: the
    recipes of the models that are trained side by side, instead of base and tuned.
    """

    manifest: Manifest
    base: Recipe
    tuned: Recipe | None
    init_from: str
    settings: dict[str, Value]
    trial_minutes: float | None = None
    untried: str = ""
    rivals: Mapping[str, Recipe] = field(default_factory=dict)


def plan_refine(training: Training, at: Workplace, *, is_alone: bool = True) -> Plan:
    """Check the data and settle what can be settled before anything is made. Raises DataError, RecipeError, UsageError.

    `is_alone`: no other processes train with this one. Minutes that are too few for the generator are for the two models.
    """
    if "loop.minutes" in training.settings:
        raise UsageError("Two models share the time of refine: give it with --minutes, and not as loop.minutes.")
    init_from = at.place_of(training.start, does(training.task))
    is_pretrained = init_from != "scratch"
    settings = dict(training.settings)
    if not is_pretrained:
        if given := [name for name in ("loop.branch_at", "loop.patience") if name in settings]:
            raise UsageError(
                f"refine sets {given[0]} itself, so that both models have equal numbers of steps. Leave it out, or use "
                "train and finetune."
            )
        # early stopping would give the two models different numbers of steps
        settings |= {"loop.branch_at": str(TRUNK), "loop.patience": "0"}
    minutes = training.minutes and training.minutes / (2 if is_pretrained else TRUNK_COST)
    of_base = replace(training, init_from="scratch", minutes=minutes, settings=settings)
    # said outright, since without it the task may propose to start from weights
    from_nothing = {**settings, "model.init_from": "scratch"} if is_pretrained else settings
    base, manifest = planning.plan_training(replace(of_base, settings=from_nothing), at, tuned_from=init_from)
    if not is_pretrained and (rivals := _rivals(training, base, manifest)):
        return Plan(manifest, next(iter(rivals.values())), None, init_from, training.overrides, rivals=rivals)
    tuned = None
    if is_pretrained:  # it comes last; what is amiss with its start must not wait until then
        tuned, notes = planning.propose_recipe(
            find_task(base.task),
            manifest,
            of_base.overrides,
            preset=training.preset,
            init_from=init_from,
            progress=QUIET,
        )
        planning.say_all([note for note in notes if note not in manifest.notes], at.progress)
        manifest = planning.with_notes(manifest, notes)
    left, untried = None, ""
    may_try = training.synthetic and is_alone and not is_pretrained and not proving.obstacle(base.task, manifest)
    if may_try and training.minutes:
        untried = proving.too_short(manifest, training.minutes, at, share=1 - MODELS_SHARE)
        if not untried:
            base = base.replace("loop", minutes=(base.loop.minutes or 0) * MODELS_SHARE or None)
            left = training.minutes * (1 - MODELS_SHARE)
    return Plan(manifest, base, tuned, init_from, of_base.overrides, left, untried)


def _rivals(training: Training, base: Recipe, manifest: Manifest) -> dict[str, Recipe]:
    """The recipes of what is trained side by side; none where the task has none, or a person chose already."""
    task = find_task(base.task)
    ways = task.rivals(base, manifest)
    if any(name in training.settings for way in ways.values() for name in way):
        return {}
    minutes = training.minutes and training.minutes / len(ways) if ways else None
    found = {}
    for name, way in ways.items():
        settings = {**replace(training, minutes=minutes).overrides, **way}
        found[name], _ = planning.propose_recipe(
            task, manifest, settings, preset=training.preset, init_from="scratch", progress=QUIET
        )
    return found


def begin_refine(training: Training, at: Workplace, *, is_alone: bool = True) -> Run:
    """Plan the job and make the run's folder, with the plan in refine.json. `is_alone` as in `plan_refine`."""
    plan = plan_refine(training, at, is_alone=is_alone)
    run = Run.create(plan.base, at.runs, name=Path(plan.manifest.source).stem)
    run.keep_language(at.language)
    workflow.keep_manifest(run, plan.manifest)
    for name, recipe in plan.rivals.items():
        run.child(name, recipe)  # before the plan that names it: a process may be killed between the two
    run.write_json(
        JOB,
        {
            "init_from": plan.init_from,
            "preset": training.preset,
            "settings": plan.settings,
            "synthetic": training.synthetic,
            "trial_minutes": plan.trial_minutes,
            "rivals": list(plan.rivals),
        },
    )
    at.progress.say(f"The run is {run.path}. If it is stopped, `{run.way_on}` goes on.")
    if plan.untried:
        _left_out(run, plan.untried, at)
    return run


def refine_run(run: Run, at: Workplace, *, synthetic: bool = True) -> Run:
    """Do what is left of the job in `run`; not `synthetic`, without trying synthetic data where that is not done yet.

    Under torchrun every process calls this, and the first one writes.
    """
    from ouvroir.training.distributed import join, resolve_device

    with join(resolve_device(at.device)) as world, workflow.failures_noted(run), workflow.held(run, world):
        if _all_stages(run, world, at, synthetic=synthetic):
            workflow.once(world, lambda: _conclude(run, at))
        else:
            workflow.once(world, lambda: _stopped(run))
    return run


def _all_stages(run: Run, world: World, at: Workplace, *, synthetic: bool) -> bool:
    """Base model, synthetic data, tuned model, each made when its turn comes. False when one was interrupted.

    The base comes twice when it has to be trained again up to where the tuned model is to leave it.
    """
    if run.read_json(JOB).get("rivals"):
        return all(_stage(model, world, at) for model in run.models)
    base = workflow.once(world, lambda: _base(run))
    if not _stage(base, world, at):
        return False
    if workflow.once(world, lambda: _has_gone_back(run, base, at.progress)) and not _stage(base, world, at):
        return False
    if not workflow.once(world, lambda: _try_synthetic(run, at, synthetic=synthetic, is_alone=world.size == 1)):
        return False
    return _stage(workflow.once(world, lambda: _tuned(run, at.progress)), world, at)


def usual_trial_minutes(base_s: float) -> float:
    """How long synthetic data are tried where no minutes were given, after a base model that took `base_s` seconds."""
    return max(LEAST_TRIAL_MINUTES, TRIAL_COST * base_s / 60)


def _try_synthetic(run: Run, at: Workplace, *, synthetic: bool, is_alone: bool) -> bool:
    """Try synthetic data unless that is done, or not to be done; what came of it is in the run. False when interrupted."""
    plan = run.read_json(JOB)
    if not plan.get("synthetic") or run.read_json(admitting.OUTCOME) is not None or _has_begun(run.path / "tuned"):
        return True
    if find_task(run.recipe().task).synthesiser is None:
        return True
    later = f"`ouvroir prove {shlex.quote(str(run.path))}`"
    if plan["init_from"] != "scratch":
        return _left_out(
            run, f"The tuned model starts from pretrained weights; {later} tries them with the base model.", at
        )
    if not synthetic:
        return _left_out(run, "The job went on without them, as was asked for.", at)
    if not is_alone:
        return _left_out(run, f"Several processes trained here; {later} tries them in one.", at)
    run.set_status("running", "Trying synthetic data.")
    seconds = max((one.seconds for one in Run(run.path / "base").metrics()), default=0.0)
    minutes = plan["trial_minutes"] or usual_trial_minutes(seconds)
    try:
        proving.prove_synthetic(run, at, proving.Wishes(minutes=minutes))
    except Untried as error:
        return _left_out(run, str(error), at)
    except TrainingError as error:
        way_round = f"ouvroir refine --resume {shlex.quote(str(run.path))} --no-synthetic"
        raise TrainingError(f"{error} `{way_round}` goes on without trying synthetic data.") from error
    except KeyboardInterrupt:
        return False
    return True


def _left_out(run: Run, reason: str, at: Workplace) -> bool:
    """Say that synthetic data were not tried, and note it where that is not done yet. Returns True."""
    if run.read_json(admitting.OUTCOME) is None:
        admitting.leave_out(run, reason)
    at.progress.say(f"{UNTRIED} {reason}")
    return True


def _base(run: Run) -> Run:
    run.set_status("running", "Training the base model.")
    return run.child("base", run.recipe())


def _has_gone_back(run: Run, base: Run, progress: Progress) -> bool:
    """Whether no checkpoint is left for the tuned model to start from, so that the base now stands before that place."""
    from ouvroir.training.checkpoint import Checkpoints

    if run.read_json(JOB)["init_from"] != "scratch" or _has_begun(run.path / "tuned"):
        return False
    checkpoints, loop = Checkpoints(base.path), base.recipe().loop
    try:
        checkpoints.branch(progress)
    except CheckpointError as error:
        step = round(loop.branch_at * (loop.steps or 1))
        progress.say(f"{error} So the base model is trained again up to step {step} and from there.")
        base.set_status("stopped", f"To be trained again up to step {step}.")
        checkpoints.go_back(step)
        return True
    return False


def _has_begun(tuned: Path) -> bool:
    return (tuned / "checkpoints" / "last.txt").is_file()


def _tuned(run: Run, progress: Progress) -> Run:
    """The run of the tuned model; planned again while it has not begun and what it was to start from is not as it was."""
    run.set_status("running", "Training the tuned model.")
    tuned = Run(run.path / "tuned")
    if (tuned.path / "recipe.json").is_file() and (_has_begun(tuned.path) or _can_begin(run, tuned)):
        return tuned
    return _plan_tuned(run, progress)


def _can_begin(run: Run, tuned: Run) -> bool:
    """Whether the checkpoint of the base that the tuned model is to start from is noted, intact and in its place,
    and what was admitted is what the plan learns from.
    """
    from ouvroir.training.checkpoint import check_hashes

    if run.read_json(JOB)["init_from"] != "scratch":
        return True
    branch = tuned.branch
    if branch is None:
        return False
    try:
        checkpoint = branch.run.checkpoint(branch.step)
        check_hashes(checkpoint)
    except CheckpointError:
        return False
    recipe, found = tuned.recipe(), admitting.admitted(run)
    try:
        manifest = workflow.manifest_of(tuned)
    except ManifestError:  # planned anew by a process that was killed between the two files
        return False
    made = tuple(row for row in manifest.rows if row.origin == "synthetic")
    is_share = not found.rows or recipe.loop.synthetic_share == found.share
    return is_share and rows_digest(made) == rows_digest(found.rows) and str(checkpoint) == recipe.model.init_from


def _stage(child: Run, world: World, at: Workplace) -> bool:
    """Train and judge one model of the job unless that is done. False when it was interrupted."""
    if workflow.once(world, lambda: _is_done(child)):
        at.progress.say(f"The {child.name} model is trained already.")
        return True
    workflow.once(world, lambda: child.whole.set_status("running", f"Training the {child.name} model."))
    at.progress.say(f"Training the {child.name} model.")
    fitted = workflow.train_run(child, at, resume=True)
    if fitted.stopped == "interrupted":
        return False

    def judge() -> None:
        judging.judge_run(child, at)
        child.set_status("finished", f"Finished after {readable_count(fitted.steps, 'step')}.")

    workflow.once(world, judge)
    return True


def _is_done(child: Run) -> bool:
    """Whether the model is trained and judged; not when the checkpoint that was judged is damaged."""
    from ouvroir.training.checkpoint import check_hashes

    if child.status()["state"] != "finished" or child.read_json("evaluation.json") is None:
        return False
    try:
        check_hashes(child.checkpoint("best"))
    except CheckpointError:
        return False
    return True


def _conclude(run: Run, at: Workplace) -> None:
    """Choose the model to keep on validation data, write its bundle and the report."""
    from ouvroir.reporting import write_report

    run.set_status("running", "Comparing and writing the report.")
    chosen, why = choose(run.models)
    at.progress.say(f"{why} The {chosen.name} model becomes final_model/.")
    base = run.models[0]
    if chosen.recipe().data.manifest != base.recipe().data.manifest:  # it learned from samples too
        workflow.keep_manifest(base, workflow.manifest_of(base))
        workflow.keep_manifest(run, workflow.manifest_of(chosen))
    run.write_recipe(chosen.recipe())
    run.write_json("evaluation.json", chosen.read_json("evaluation.json"))
    workflow.bundle_run(chosen, folder=run.bundle, progress=at.progress)
    write_report(run, at)
    for model in run.models:
        workflow.drop_states(model)
    run.set_status("finished", f"Done; the {chosen.name} model was kept.")


def choose(models: Sequence[Run]) -> tuple[Run, str]:
    """The run whose main metric is best on validation rows, and why; the first on a tie, or when there are none."""
    from ouvroir.evaluation.language import Language
    from ouvroir.evaluation.metrics import is_higher_better

    found = [(run.read_json("evaluation.json") or {}).get("validation") or {} for run in models]
    if not all(found):
        return models[0], "There are no validation data to choose by."
    main = next(iter(found[0]))
    name = Language("en").known("metric", main)
    sign = 1 if is_higher_better(main) else -1
    values = [sign * one[main]["value"] for one in found]
    if max(values) == min(values):
        all_of = "Both" if len(models) == 2 else "All"
        return models[0], f"{all_of} models have the same {name} on validation data."
    chosen = models[values.index(max(values))]
    return (
        chosen,
        f"The {chosen.name} model has the {'better' if len(models) == 2 else 'best'} {name} on validation data.",
    )


def _stopped(run: Run) -> Run:
    run.set_status("stopped", f"Stopped. {run.what_now}")
    return run


def _plan_tuned(run: Run, progress: Progress) -> Run:
    """Make the run of the tuned model, as the module says."""
    from ouvroir.training.checkpoint import Checkpoints

    plan, base = run.read_json(JOB), Run(run.path / "base")
    recipe = base.recipe()
    task = find_task(recipe.task)
    if plan["init_from"] == "scratch":
        branch = Checkpoints(base.path).branch(progress)
        step = int(branch.name.rsplit("_", 1)[-1])
        tuned = task.tuning(recipe).replace("model", init_from=str(branch))
        left = max(1, (recipe.loop.steps or 1) - step)
        tuned = tuned.replace("loop", steps=left, branch_at=0.0, minutes=None, cache_features="auto")
        found = admitting.admitted(run)
        manifest = None
        if found.rows:
            manifest = admitting.with_rows(workflow.manifest_of(base, progress=progress), found.rows)
            tuned = replace(tuned, data=replace(tuned.data, manifest=manifest.fingerprint))
            tuned = tuned.replace("loop", synthetic_share=found.share)
        child = run.child("tuned", tuned)
        if manifest is not None:
            workflow.keep_manifest(child, manifest)
        child.branch_from(base, step)
    else:
        manifest = workflow.manifest_of(run, progress=progress)
        settings = {name: value for name, value in plan["settings"].items() if not name.startswith("data.")}
        tuned, _ = planning.propose_recipe(
            task, manifest, settings, preset=plan["preset"], init_from=plan["init_from"], progress=progress
        )
        child = run.child("tuned", tuned)
    child.write_recipe(tuned)
    return child
