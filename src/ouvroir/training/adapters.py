"""What of a model learns, and what it starts from: scopes, freezing, recomputed activations, earlier weights.

Fine-tuning is a setting here and not a second script: `model.scope` chooses parts, `model.init_from` names a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ouvroir.errors import CheckpointError, RecipeError, RunError
from ouvroir.run import Run

if TYPE_CHECKING:
    from ouvroir.task import Processor, Task

Parts = Sequence[tuple[str, nn.Module]]


def choose_parts(parts: Parts, scope: str) -> list[str]:
    """Names of the parts that learn under `scope`: all, head (the last), last:N, or names joined by commas.

    Raises RecipeError that lists the parts.
    """
    names = [name for name, _ in parts]
    if scope == "all":
        return names
    if scope == "head":
        return names[-1:]
    kind, _, number = scope.partition(":")
    if kind == "last" and number.isdigit() and 1 <= int(number) <= len(names):
        return names[-int(number) :]
    chosen = [name.strip() for name in scope.split(",")]
    if unknown := [name for name in chosen if name not in names]:
        raise RecipeError(
            f"model.scope names `{unknown[0]}`, which is no part of this model. Its parts are, input first: "
            f"{', '.join(names)}. Use all, head, last:1 to last:{len(names)}, or names of parts joined by commas."
        )
    return [name for name in names if name in chosen]


def freeze(parts: Parts, scope: str) -> str:
    """Let only the parts of `scope` learn. Returns a sentence with the numbers of parameters, empty when all learn."""
    chosen = set(choose_parts(parts, scope))
    for name, part in parts:
        if name not in chosen:
            part.requires_grad_(False)
    if len(chosen) == len(parts):
        return ""
    total = {id(param): param for _, part in parts for param in part.parameters()}.values()
    n_total = sum(param.numel() for param in total)
    n_learning = sum(param.numel() for param in total if param.requires_grad)
    learning = ", ".join(name for name, _ in parts if name in chosen)
    return f"Learning: {learning}, {n_learning:,} of {n_total:,} parameters ({100 * n_learning / n_total:.1f} %)."


def frozen_parts(parts: Parts) -> list[nn.Module]:
    """Parts that have parameters and of which none learns; they stay in evaluation mode."""
    found = []
    for _, part in parts:
        params = list(part.parameters())
        if params and not any(param.requires_grad for param in params):
            found.append(part)
    return found


def set_training(model: nn.Module, parts: Parts) -> None:
    """Training mode for what learns; frozen parts keep their norms and drop nothing out."""
    model.train()
    for part in frozen_parts(parts):
        part.eval()


def first_learning(parts: Parts) -> str | None:
    """The part before which everything is frozen, or None when the first part with parameters learns."""
    is_frozen_before = False
    for name, part in parts:
        params = list(part.parameters())
        if any(param.requires_grad for param in params):
            return name if is_frozen_before else None
        is_frozen_before = is_frozen_before or bool(params)
    return None


def recompute_activations(parts: Parts) -> None:
    """Make each part forget its activations and compute them again in the backward pass (Chen 2016, arXiv 1604.06174)."""
    for _, part in parts:
        if type(part).forward is not nn.Module.forward and not isinstance(part, nn.ModuleList | nn.ModuleDict):
            part.forward = _recomputed(part.forward)


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    from torch.utils.checkpoint import checkpoint

    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return run


def own_weights(source: str) -> Path | None:
    """The folder with model.safetensors, processor/ and recipe.json that Ouvroir wrote at `source`, or None.

    `source` is a bundle, a checkpoint or a run (its bundle, or else its best checkpoint). None for anything else, such
    as a hub name: the task knows those.
    """
    path = Path(source)
    if source == "scratch" or not (path / "recipe.json").is_file():
        return None
    if (path / "model.safetensors").is_file():
        return path
    run = Run.open(path)
    return run.bundle if (run.bundle / "model.safetensors").is_file() else run.checkpoint("best")


def start_of(task: Task, init_from: str) -> Path | None:
    """The folder of our own weights that a training starts from; None for "scratch" and for weights that the task reads.

    Raises RunError when there is nothing at `init_from` to start from: a training from nothing would pass for another.
    """
    own = own_weights(init_from)
    if own is None and init_from != "scratch" and not task.reads_weights(init_from):
        raise RunError(
            f"There is no model at `{init_from}` to start from: neither a run or final_model of Ouvroir, nor pretrained "
            f"weights that {task.name} reads (a folder with config.json and model.safetensors). If it was moved, move it "
            "back, or begin anew with --from and its new place. `ouvroir runs` lists the runs."
        )
    return own


def adopt_weights(task: Task, model: nn.Module, processor: Processor, folder: Path) -> list[str]:
    """Start `model` from the weights in `folder`; classes are mapped by name. Returns sentences.

    Raises CheckpointError when they are damaged, RunError when they are of another task.
    """
    from ouvroir.training.checkpoint import check_model, read_recipe, read_weights

    try:
        check_model(folder)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} No model can start from it: copy it again, or start from another one."
        ) from error
    earlier = read_recipe(folder)
    if earlier.task != task.name and earlier.task.rpartition(":")[2] != type(task).__name__:
        raise RunError(f"{folder} holds a model for {earlier.task}, which cannot start one for {task.name}.")
    labels = tuple(task.load_processor(folder / "processor").labels)
    return task.adopt(model, processor, read_weights(folder), labels)
