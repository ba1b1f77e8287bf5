"""What is kept of a model that writes, for its report: samples from a few moments of its training, and its habits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ouvroir.sampling import Sampling
from ouvroir.task import Writer

if TYPE_CHECKING:
    from torch import nn

    from ouvroir.recipe import Recipe
    from ouvroir.run import Run
    from ouvroir.task import Processor

MOMENTS, HABITS = "moments.json", "habits.json"
N_MOMENTS = 5  # of a training, at which samples are kept
TEMPERATURES = (0.5, 0.8, 1.0)
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


def is_moment(done: int, steps: int, before: int) -> bool:
    """Whether after `done` of `steps` samples are to be kept, where they were last looked at after `before`."""
    return done * N_MOMENTS // steps > before * N_MOMENTS // steps
