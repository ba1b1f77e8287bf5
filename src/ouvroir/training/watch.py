"""Looking out for a loss that is no longer a number, without making the device wait for the clock of every step."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ouvroir.errors import NonFiniteLoss
from ouvroir.source import shown_locator

if TYPE_CHECKING:
    from ouvroir.training.distributed import World
    from ouvroir.training.step import Feed, Taken

N_KEPT = 3
"""A loss that is not finite is noticed within so many steps."""
N_NAMED = 10
"""Rows named in the message; the error carries them all."""


class Watch:
    """Sees the sums of every step. On a CPU they are read at once; on a GPU two steps later, when they have long arrived."""

    def __init__(self, feed: Feed, *, device: str, world: World, lr: float) -> None:
        self.feed, self.device, self.world, self.lr = feed, device, world, lr
        self._recent: deque[tuple[int, Taken]] = deque(maxlen=N_KEPT)
        self._arriving: deque[tuple[Tensor, torch.cuda.Event]] = deque()

    def look(self, step: int, taken: Taken, *, last_saved: int) -> None:
        """Take in `step` (from 0). Raises NonFiniteLoss on every process at the same step."""
        self._recent.append((step, taken))
        value = taken.sums.sum() + taken.norm
        if self.device == "cpu":
            is_bad = not math.isfinite(value.item())
        elif self.device.startswith("cuda"):
            is_bad = self._has_arrived_bad(value)
        else:
            is_bad = step % N_KEPT == N_KEPT - 1 and not math.isfinite(value.item())
        if is_bad:
            self._raise(last_saved)

    def _has_arrived_bad(self, value: Tensor) -> bool:
        here = torch.empty((), pin_memory=True).copy_(value, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._arriving.append((here, event))
        if len(self._arriving) < N_KEPT:
            return False
        oldest, arrived = self._arriving.popleft()
        arrived.synchronize()
        return not math.isfinite(oldest.item())

    def require_finite(self, tensors: list[Tensor], *, last_saved: int) -> None:
        """Raise NonFiniteLoss when weights that are about to be kept are not finite."""
        total = torch.stack(torch._foreach_norm(tensors)).sum()
        if not math.isfinite(total.item()):
            self._raise(last_saved)

    def _raise(self, last_saved: int) -> None:
        step, ids = self._culprits()
        ids = sorted({one for found in self.world.gather(ids) for one in found})
        kept = (
            f"The last good checkpoint (step {last_saved}) is kept." if last_saved else "No checkpoint was written yet."
        )
        names = list(dict.fromkeys(map(shown_locator, ids)))
        named = ", ".join(names[:N_NAMED]) + (f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else "")
        raise NonFiniteLoss(
            f"The loss became NaN or infinite at step {step + 1}. {kept} Rows concerned: {named}. "
            f"Look at these rows, or lower optim.lr (it is {self.lr:g}).",
            ids,
        )

    def _culprits(self) -> tuple[int, list[str]]:
        """The earliest step with rows whose own loss is not finite, and their ids.

        When no single row is to blame: the last step and all rows of its batch.
        """
        for step, taken in self._recent:
            bad = [places[~torch.isfinite(losses).cpu().numpy()] for places, losses in taken.per_row]
            places = np.concatenate(bad)
            if self.world.any(len(places) > 0):
                return step, self._ids(places)
        step, taken = self._recent[-1]
        return step, self._ids(np.concatenate([places for places, _ in taken.per_row]))

    def _ids(self, places: np.ndarray) -> list[str]:
        return list(self.feed.table.ids(self.feed.items.row[places]))
