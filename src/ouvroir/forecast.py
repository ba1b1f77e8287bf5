"""What a training would do and how long it would take, tried with two real steps before anything is kept: `--dry-run`.

Packing is as planned, the rest as in estimate.py. Cheap baselines and the report are not among the figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ouvroir import planning, proving, workflow
from ouvroir.estimate import Estimate, estimate
from ouvroir.main_job import TRUNK, plan_refine, usual_trial_minutes
from ouvroir.media import find_task

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.data.pack import PackPlan
    from ouvroir.options import Training, Workplace
    from ouvroir.recipe import Recipe


@dataclass(frozen=True)
class Forecast:
    """What a job would do. `pack_bytes` and `pack_s` count what is not packed yet; `synthetic_s` is for all that trains
    in trying synthetic data, making and judging samples not counted; `total_s` is all but these and the report. `untried`:
    why synthetic data would not be tried, a sentence.
    """

    manifest: Manifest
    models: tuple[Estimate, ...]
    pack_bytes: int
    pack_s: float
    synthetic_s: float = 0.0
    untried: str = ""

    @property
    def total_s(self) -> float:
        """Seconds to pack, train and judge, and for the trainings that try synthetic data."""
        return self.pack_s + self.synthetic_s + sum(model.train_s + model.judge_s for model in self.models)


def forecast_train(training: Training, at: Workplace) -> Forecast:
    """What `train` would do. Raises what it would raise. Under torchrun every process calls this."""
    from ouvroir.training.distributed import join, resolve_device

    with join(resolve_device(at.device)) as world:
        recipe, manifest = workflow.once(world, lambda: planning.plan_training(training, at))
        packing = _packing(manifest, [recipe])
        return _forecast(manifest, packing, [estimate("trained", recipe, manifest, world, at)])


def forecast_refine(training: Training, at: Workplace) -> Forecast:
    """What the main job would do. Raises what it would raise. Under torchrun every process calls this."""
    from ouvroir.training.distributed import join, resolve_device

    with join(resolve_device(at.device)) as world:
        plan = workflow.once(world, lambda: plan_refine(training, at, is_alone=world.size == 1))
        if plan.rivals:
            recipes = list(plan.rivals.values())
            models = [estimate(name, recipe, plan.manifest, world, at) for name, recipe in plan.rivals.items()]
            return _forecast(plan.manifest, _packing(plan.manifest, recipes), models)
        packing = _packing(plan.manifest, [plan.base, *([plan.tuned] if plan.tuned else [])])
        base = estimate("base", plan.base, plan.manifest, world, at)
        if plan.tuned is not None:
            tuned = estimate("tuned", plan.tuned, plan.manifest, world, at)
        else:  # the same network, for the rest of the steps
            steps = max(1, base.steps - round(TRUNK * base.steps))
            recipe = find_task(plan.base.task).tuning(plan.base).replace("loop", branch_at=0.0, minutes=None)
            tuned = replace(base, name="tuned", recipe=recipe, steps=steps, train_s=base.train_s * steps / base.steps)
        found = _forecast(plan.manifest, packing, [base, tuned])
        may_try = training.synthetic and plan.tuned is None and world.size == 1
        untried = plan.untried or proving.obstacle(plan.base.task, plan.manifest)
        if untried or not may_try:
            return replace(found, untried=untried if may_try else "")
        return replace(found, synthetic_s=60 * (plan.trial_minutes or usual_trial_minutes(base.train_s)))


def _packing(manifest: Manifest, recipes: list[Recipe]) -> list[PackPlan]:
    """What is to be packed for the recipes, once for each way of encoding."""
    from ouvroir.data.pack import plan_pack

    task = find_task(manifest.task)
    processors = [workflow.fit_processor(task, manifest, recipe) for recipe in recipes]
    different = {processor.storage_fingerprint(): processor for processor in processors}
    return [plan_pack(manifest, processor) for processor in different.values()]


def _forecast(manifest: Manifest, packing: list[PackPlan], models: list[Estimate]) -> Forecast:
    return Forecast(manifest, tuple(models), sum(one.n_bytes for one in packing), sum(one.seconds for one in packing))
