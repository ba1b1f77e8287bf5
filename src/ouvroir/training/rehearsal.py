"""The memory rehearsal: two real steps on the largest items before step 1, and a ladder down when memory runs out.

The batch an optimiser step learns from stays the same on every rung; only its pieces shrink, then activations are
computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ouvroir.errors import TrainingError
from ouvroir.files import readable_count
from ouvroir.training.device import is_out_of_memory, release_memory

if TYPE_CHECKING:
    from ouvroir.progress import Progress
    from ouvroir.recipe import Recipe
    from ouvroir.task import Items
    from ouvroir.training.distributed import Share, World

N_STEPS = 2
"""The first step allocates the optimiser's memory late; the second one shows the peak."""


def rungs(recipe: Recipe, share: Share) -> Iterator[Recipe]:
    """The recipe with smaller and smaller memory: pieces halved down to one virtual shard, then recomputed activations."""
    rows = share.last - share.first
    micro = min(recipe.loop.micro_batch or rows, rows)
    if recipe.loop.exact:
        micro = share.shard_size
    recipe = recipe.replace("loop", micro_batch=micro)
    yield recipe
    while recipe.loop.micro_batch and recipe.loop.micro_batch > share.shard_size:
        n_shards = -(-recipe.loop.micro_batch // share.shard_size)
        recipe = recipe.replace("loop", micro_batch=(n_shards // 2) * share.shard_size)
        yield recipe
    if not recipe.loop.activation_checkpointing:
        yield recipe.replace("loop", activation_checkpointing=True)


def rehearse(
    recipe: Recipe, attempt: Callable[[Recipe], None], *, share: Share, world: World, device: str, progress: Progress
) -> Recipe:
    """The first rung on which `attempt` does not run out of memory on any process. Says every step down.

    Raises TrainingError when none will do.
    """
    for candidate in rungs(recipe, share):
        is_short = False
        try:
            attempt(candidate)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            is_short = True
        if not world.any(is_short):
            return candidate
        release_memory(device)
        progress.say(f"Not enough memory on {device} {_words(candidate)}; trying less.")
    raise TrainingError(
        f"One piece of {readable_count(share.shard_size, 'row')} does not fit into the memory of {device}, even with recomputed "
        "activations. "
        "Use a smaller model.preset, a larger loop.virtual_shards or smaller loop.batch_size, or model.scope=head."
    )


def _words(recipe: Recipe) -> str:
    recomputed = " and recomputed activations" if recipe.loop.activation_checkpointing else ""
    return f"with {readable_count(recipe.loop.micro_batch or 0, 'row')} at a time{recomputed}"


def largest_places(items: Items, sizes: np.ndarray | None, batch_size: int) -> np.ndarray:
    """(batch_size,) places of the largest items, repeated when there are fewer. `sizes`: (M,) or None for equal sizes."""
    order = np.arange(len(items.row)) if sizes is None else np.argsort(-sizes, kind="stable")
    return np.resize(order, batch_size).astype(np.int64)
