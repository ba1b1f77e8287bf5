"""What is kept of a model that writes, for its report: samples from a few moments of its training, and its habits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    """Add what the model writes after `step` steps, at each of TEMPERATURES, to the run."""
    kept = [
        one for one in run.read_json(MOMENTS) or () if one["step"] < step
    ]  # a step may come again after an interruption
    was_training = model.training
    model.eval()
    for temperature in TEMPERATURES:
        how = Sampling(temperature=temperature, most=MOMENT_PIECES)
        said = task.write(model, processor, recipe, [""], how=how, label=None, seed=0, device=device)
        text = "".join(part for _, part in said)
        kept.append({"step": step, "seconds": round(seconds, 3), "temperature": temperature, "text": text})
    model.train(was_training)
    run.write_json(MOMENTS, kept)


def written_by(model: Run) -> dict[str, Any] | None:
    """How a trained model writes: `repetition` and `copied`, also of real text, and its last `sample`; None where none is kept."""
    habits = model.read_json(HABITS)
    if not habits:
        return None
    said = [one["text"] for one in model.read_json(MOMENTS) or () if one["temperature"] == SHOWN_TEMPERATURE]
    told = {name: habits.get(name) for name in ("repetition", "repetition_real", "copied", "copied_real")}
    return {**told, "sample": said[-1] if said else None}


def is_moment(done: int, steps: int, before: int) -> bool:
    """Whether after `done` of `steps` samples are to be kept, where they were last looked at after `before`."""
    return done * N_MOMENTS // steps > before * N_MOMENTS // steps
