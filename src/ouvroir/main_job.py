"""The main job: check, pack, train, fine-tune, compare, report. Each stage leaves its mark, so any of them can resume.

From nothing, the base model trains for N steps. Its state after 70 % of them is kept, and the tuned model goes on from
there for the other 30 % with the task's fine-tuning recipe. Both have had N steps in all, so that more training does not
pass for a gain. From pretrained weights, the base is a model from nothing on the same data, the tuned one starts from
the weights, and minutes are shared equally.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ouvroir import workflow
from ouvroir.errors import UsageError
from ouvroir.media import find_task
from ouvroir.progress import QUIET, Progress
from ouvroir.run import Run

if TYPE_CHECKING:
    from ouvroir.recipe import Recipe
    from ouvroir.training.distributed import World

TRUNK = 0.7  # share of the steps before the tuned model leaves the base
TRUNK_COST = 2 - TRUNK  # steps of the whole job over steps of the base


def begin_refine(
    source: str | Path,
    *,
    task: str | None,
    preset: str,
    init_from: str,
    minutes: float | None,
    settings: Mapping[str, str] | None,
    runs: Path,
    workers: int | None,
    progress: Progress,
) -> Run:
    """Check the data, settle the recipe of the base and make the run's folder with the plan in refine.json."""
    settings = dict(settings or {})
    if "loop.minutes" in settings:
        raise UsageError("Two models share the time of refine: give it with --minutes, and not as loop.minutes.")
    pretrained = init_from != "scratch"
    if minutes is not None:
        settings["loop.minutes"] = str(minutes / (2 if pretrained else TRUNK_COST))
    if not pretrained:
        if given := [name for name in ("loop.branch_at", "loop.patience") if name in settings]:
            raise UsageError(
                f"refine sets {given[0]} itself, so that both models have equal numbers of steps. Leave it out, or use "
                "train and finetune."
            )
        # early stopping would give the two models different numbers of steps
        settings |= {"loop.branch_at": str(TRUNK), "loop.patience": "0"}
    recipe, manifest = workflow.plan_training(
        source, task=task, preset=preset, settings=settings, workers=workers, progress=progress
    )
    if pretrained:  # the tuned model comes last; what is amiss with its start must not wait until then
        of_data = find_task(recipe.task)
        workflow.propose_recipe(of_data, manifest, settings, preset=preset, init_from=init_from, progress=QUIET)
    run = workflow.keep_manifest(Run.create(recipe, runs, name=Path(manifest.source).stem), manifest)
    run.write_json("refine.json", {"init_from": init_from, "preset": preset, "settings": settings})
    progress.say(f"The run is {run.path}. If it is stopped, `ouvroir refine --resume {run.path}` goes on.")
    return run


def refine_run(run: Run, *, device: str, workers: int | None, language: Literal["en", "fr"], progress: Progress) -> Run:
    """Do what is left of the job in `run`. Under torchrun every process calls this, and the first one writes."""
    from ouvroir.training.distributed import join, resolve_device

    with join(resolve_device(device)) as world, workflow.failures_noted(run), _held(run, world):
        for name in ("base", "tuned"):
            child = workflow.once(world, lambda name=name: _child(run, name, progress))  # type: ignore[misc]
            if not _stage(child, world, device=device, workers=workers, progress=progress):
                workflow.once(world, lambda: _stopped(run))
                return run
        workflow.once(world, lambda: _conclude(run, language, progress))
    return run


@contextmanager
def _held(run: Run, world: World) -> Iterator[None]:
    with run.hold() if world.is_first else nullcontext():
        yield


def _child(run: Run, name: str, progress: Progress) -> Run:
    """The run of one of the two models, made when its turn comes."""
    path = run.path / name
    run.set_status("running", f"Training the {name} model.")
    if (path / "recipe.json").is_file():
        return Run(path)
    return run.child(name, run.recipe() if name == "base" else _tuned_recipe(run, progress=progress))


def _stage(child: Run, world: World, *, device: str, workers: int | None, progress: Progress) -> bool:
    """Train and judge one model of the job unless that is done. False when it was interrupted."""
    if workflow.once(world, lambda: _is_done(child)):
        progress.say(f"The {child.name} model is trained already.")
        return True
    progress.say(f"Training the {child.name} model.")
    fitted = workflow.train_run(child, device=device, workers=workers, progress=progress, resume=True)
    if fitted.stopped == "interrupted":
        return False

    def judge() -> None:
        workflow.judge_run(child, device=device, workers=workers, progress=progress)
        child.set_status("finished", f"Finished after {fitted.steps} steps.")

    workflow.once(world, judge)
    return True


def _is_done(child: Run) -> bool:
    return child.status()["state"] == "finished" and child.read_json("evaluation.json") is not None


def _conclude(run: Run, language: Literal["en", "fr"], progress: Progress) -> None:
    """Choose the model to keep on validation data, write its bundle and the report."""
    from ouvroir.reporting import write_report

    run.set_status("running", "Comparing and writing the report.")
    chosen, why = choose(Run(run.path / "base"), Run(run.path / "tuned"))
    progress.say(f"{why} The {chosen.name} model becomes final_model/.")
    run.write_recipe(chosen.recipe())
    run.write_json("evaluation.json", chosen.read_json("evaluation.json"))
    workflow.bundle_run(chosen, folder=run.bundle, progress=progress)
    write_report(run, language=language, progress=progress)
    run.set_status("finished", f"Done; the {chosen.name} model was kept.")


def choose(base: Run, tuned: Run) -> tuple[Run, str]:
    """The run whose main metric is better on validation rows, and why; the base on a tie, or when there are none."""
    from ouvroir.evaluation.metrics import is_higher_better

    found = [(run.read_json("evaluation.json") or {}).get("validation") or {} for run in (base, tuned)]
    if not all(found):
        return base, "There are no validation data to choose by."
    main = next(iter(found[0]))
    gain = found[1][main]["value"] - found[0][main]["value"]
    gain = gain if is_higher_better(main) else -gain
    if not gain:
        return base, f"Both models have the same {main} on validation data."
    chosen = tuned if gain > 0 else base
    return chosen, f"The {chosen.name} model has the better {main} on validation data."


def _stopped(run: Run) -> Run:
    run.set_status("stopped", f"Stopped; `ouvroir refine --resume {run.path}` goes on.")
    return run


def _tuned_recipe(run: Run, *, progress: Progress) -> Recipe:
    """The recipe of the tuned model, as the module says."""
    plan, base = run.read_json("refine.json"), Run(run.path / "base")
    recipe = base.recipe()
    task = find_task(recipe.task)
    if plan["init_from"] == "scratch":
        branch = base.checkpoint("branch")
        steps = recipe.loop.steps or 1
        tuned = task.tuning(recipe).replace("model", init_from=str(branch))
        return tuned.replace(
            "loop", steps=max(1, steps - int(branch.name.rsplit("_", 1)[-1])), branch_at=0.0, minutes=None
        )
    manifest = workflow.manifest_of(run, progress=progress)
    settings = {name: value for name, value in plan["settings"].items() if not name.startswith("data.")}
    return workflow.propose_recipe(
        task, manifest, settings, preset=plan["preset"], init_from=plan["init_from"], progress=progress
    )
