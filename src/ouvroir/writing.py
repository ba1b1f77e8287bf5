"""What is kept of a model that writes, for its report: samples from a few moments of its training, and its habits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ouvroir.errors import CheckpointError
from ouvroir.sampling import Sampling
from ouvroir.task import Writer

if TYPE_CHECKING:
    from torch import nn

    from ouvroir.recipe import Recipe
    from ouvroir.run import Run
    from ouvroir.task import Processor

MOMENTS, HABITS = "moments.json", "habits.json"
N_MOMENTS = 5  # of a training, at which samples are kept
SHOWN_TEMPERATURE = 0.8
TEMPERATURES = (0.5, SHOWN_TEMPERATURE, 1.0)
MOMENT_PIECES = 160


def keep_moment(
    run: Run,
    task: Writer,
    model: nn.Module,
    processor: Processor,
    recipe: Recipe,
    *,
    step: int,
    seconds: float,
    device: str,
) -> None:
    """Add what the model writes after `step` steps, at each of TEMPERATURES, to the run, in the order of steps."""
    kept = [
        one for one in run.read_json(MOMENTS) or () if one["step"] != step
    ]  # it may come again after an interruption
    was_training = model.training
    model.eval()
    for temperature in TEMPERATURES:
        how = Sampling(temperature=temperature, most=MOMENT_PIECES)
        said = task.write(model, processor, recipe, [""], how=how, label=None, seed=0, device=device)
        text = "".join(part for _, part in said)
        kept.append({"step": step, "seconds": round(seconds, 3), "temperature": temperature, "text": text})
    model.train(was_training)
    run.write_json(MOMENTS, sorted(kept, key=lambda one: one["step"]))


def keep_moment_of_kept(
    run: Run, task: Writer, model: nn.Module, processor: Processor, recipe: Recipe, *, device: str
) -> None:
    """Add what the checkpoint that was kept writes, where its step was no moment."""
    step = _kept_step(run)
    if step is None or any(one["step"] == step for one in run.read_json(MOMENTS) or ()):
        return
    seconds = next((one.seconds for one in run.metrics() if one.step >= step), 0.0)
    keep_moment(run, task, model, processor, recipe, step=step, seconds=seconds, device=device)


def _kept_step(run: Run) -> int | None:
    """The step of the checkpoint that was kept; None where its weights are gone."""
    from ouvroir.training.checkpoint import step_of

    try:
        return step_of(run.checkpoint("best"))
    except CheckpointError:
        return None


def written_by(model: Run) -> dict[str, Any] | None:
    """How a trained model writes: `repetition` and `copied`, also of real text, and a `sample`; None where none is kept."""
    habits = model.read_json(HABITS)
    if not habits:
        return None
    moments = [one for one in model.read_json(MOMENTS) or () if one["temperature"] == SHOWN_TEMPERATURE]
    step = _kept_step(model)
    said = [one["text"] for one in moments if one["step"] == step] or [one["text"] for one in moments]
    told = {name: habits.get(name) for name in ("repetition", "repetition_real", "copied", "copied_real")}
    return {**told, "sample": said[-1] if said else None}


def is_moment(done: int, steps: int, before: int) -> bool:
    """Whether after `done` of `steps` samples are to be kept, where they were last looked at after `before`."""
    return done * N_MOMENTS // steps > before * N_MOMENTS // steps
