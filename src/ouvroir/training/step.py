"""One optimiser step: batches, gradients summed over micro-batches and processes, update, average.

Losses are summed and divided once by the weighted item count of the whole batch; the division, the clipping and the
update are one pass over the weights. Nothing here waits for the device or touches one row at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ouvroir.data.loader import take
from ouvroir.rng import Rng
from ouvroir.training.adapters import recompute_activations, set_training
from ouvroir.training.device import arithmetic, place, to_device
from ouvroir.training.distributed import Share, World
from ouvroir.training.optim import Average, coefficient, fill_gradients, make_optimizer, rate

if TYPE_CHECKING:
    import numpy as np

    from ouvroir.data.table import Table
    from ouvroir.recipe import Recipe
    from ouvroir.task import Batch, Items, StepOutput, Task
    from ouvroir.training.resident import ResidentTable


@dataclass(frozen=True)
class Feed:
    """Where batches come from: a task's items in a table, and the cached `features` (M, ...) of its items if any."""

    task: Task
    table: Table | ResidentTable
    items: Items
    features: Tensor | None = None

    def batch(self, places: np.ndarray, device: str) -> Batch:
        """The collated batch of the items at `places`, on the device."""
        batch = self.task.collate(take(self.table, self.items, places))
        if self.features is not None:
            batch["features"] = self.features[torch.from_numpy(places).to(self.features.device)]
        return to_device(batch, device)


@dataclass(frozen=True)
class Taken:
    """What one step told. `sums`: (2 K,) float32, K losses then K item counts, over all processes; `norm`: of the
    gradient before clipping; `per_row`: (places, losses (B,)) of this process's forward passes, to find culprits.
    """

    names: list[str]
    sums: Tensor
    norm: Tensor
    per_row: list[tuple[np.ndarray, Tensor]]


class Engine:
    """A model on its way: takes steps. Owns the optimiser and the averaged model."""

    def __init__(
        self, task: Task, model: nn.Module, recipe: Recipe, feed: Feed, *, device: str, world: World, share: Share
    ) -> None:
        self.task, self.recipe, self.feed = task, recipe, feed
        self.device, self.world, self.share = device, world, share
        self.model = place(model, recipe.loop, device)
        self.parts = task.parts(self.model)
        self.params = [param for param in self.model.parameters() if param.requires_grad]
        self.optimizer = make_optimizer(self.model, self.parts, recipe.optim)
        self.average = Average(self.model, recipe.optim.ema) if recipe.optim.ema else None
        if recipe.loop.activation_checkpointing:
            recompute_activations(self.parts)
        set_training(self.model, self.parts)
        self.pieces = share.pieces(recipe.loop.micro_batch or recipe.loop.batch_size)
        self._n_losses = 0
        self._moving = _moving_buffers(self.model)
        self._places: dict[tuple[int, int], Tensor] = {}
        self._forward: nn.Module = _Forward(task, self.model, recipe)
        if recipe.loop.exact:
            self.pieces = share.pieces(share.shard_size)
        elif world.size > 1:
            self._forward = nn.parallel.DistributedDataParallel(self._forward)

    def advance(self, step: int, places: np.ndarray) -> Taken:
        """Take `step` (from 0) on the items at `places`, (batch_size,), the same on every process."""
        for param in self.params:
            param.grad = None
        find = self._exact_gradients if self.recipe.loop.exact else self._gradients
        names, sums, per_row = find(step, places)
        grads = fill_gradients(self.params)
        # DistributedDataParallel leaves the mean over processes, so the sum is divided by that much less
        shared = 1 if self.recipe.loop.exact else self.world.size
        count = sums[len(names)] / shared if shared > 1 else sums[len(names)]
        factor, norm = coefficient(grads, count, self.recipe.optim.max_grad_norm)
        self.optimizer.step(rate(self.recipe.optim, step, self.recipe.loop.steps or 1), factor)
        if self.average is not None:
            self.average.follow(step)
        return Taken(names, sums, norm, per_row)

    def judged(self) -> nn.Module:
        """The model that is evaluated and kept."""
        if self.average is None:
            return self.model
        self.average.copy_counters()
        return self.average.model

    def state(self) -> dict[str, Tensor]:
        """What the optimiser remembers, live."""
        return {f"optimizer/{name}": tensor for name, tensor in self.optimizer.state().items()}

    def _batch(self, step: int, places: np.ndarray, first: int, last: int) -> tuple[Batch, Rng]:
        here = self._places.get((first, last))
        if here is None:
            here = self._places[first, last] = torch.arange(first, last, device=self.device)
        loop = self.recipe.loop
        rng = Rng(loop.seed, step, here, shard_size=self.share.shard_size, first=first)
        batch = self.feed.batch(places[first:last], self.device)
        return self.task.prepare(batch, self.recipe, rng=rng, training=True), rng

    def _run(self, step: int, places: np.ndarray, first: int, last: int) -> _Passed:
        """Forward pass of rows `first` to `last` of the global batch."""
        batch, rng = self._batch(step, places, first, last)
        seed_torch(rng.torch_seed(), self.device)
        with arithmetic(self.recipe.loop, self.device):
            output: StepOutput = self._forward(batch, rng)
        weight = batch["weight"]
        per_row = [loss.per_row.float() for loss in output.losses.values()]
        losses = [torch.dot(weight, rows) for rows in per_row]
        counts = [torch.dot(weight, loss.n_items.float()) for loss in output.losses.values()]
        self._n_losses = len(losses)
        rows = per_row[0] if len(per_row) == 1 else torch.stack(per_row).sum(0)
        sums = torch.stack([*losses, *counts]).detach()
        return _Passed(list(output.losses), losses, sums, (places[first:last], rows.detach()))

    def _gradients(self, step: int, places: np.ndarray) -> tuple[list[str], Tensor, list[tuple[np.ndarray, Tensor]]]:
        ratios = self._ratios(step, places)
        passed = []
        for number, (first, last) in enumerate(self.pieces, start=1):
            with self._no_sync(number < len(self.pieces)):
                one = self._run(step, places, first, last)
                one.backward(ratios)
            passed.append(one)
        total = passed[0].sums
        for one in passed[1:]:
            total = total + one.sums
        return passed[0].names, self.world.sum_(total), [one.per_row for one in passed]

    def _ratios(self, step: int, places: np.ndarray) -> Tensor | None:
        """Count of the first loss over the count of each, for a step in several pieces with several losses.

        These counts are known only after every piece has passed once, without gradients: the price of several losses
        that count different things. One piece, or one loss, needs none of it.
        """
        is_in_one = len(self.pieces) == 1 and self.world.size == 1
        if is_in_one or self._n_losses == 1:
            return None
        before = [buffer.clone() for buffer in self._moving]
        with torch.no_grad():
            counts = torch.stack([self._run(step, places, *piece).sums for piece in self.pieces]).sum(0)
        _restore(self._moving, before)
        n = len(counts) // 2
        counts = self.world.sum_(counts)
        return counts[n] / counts[n:].clamp_min(1e-12)

    def _no_sync(self, is_on: bool) -> Any:
        from contextlib import nullcontext

        if is_on and isinstance(self._forward, nn.parallel.DistributedDataParallel):
            return self._forward.no_sync()
        return nullcontext()

    def _exact_gradients(
        self, step: int, places: np.ndarray
    ) -> tuple[list[str], Tensor, list[tuple[np.ndarray, Tensor]]]:
        """Gradients per virtual shard, gathered from all processes and added up in the order of the shards.

        Addition of floats is not associative: only a fixed order gives the same bits on any number of processes. Norms
        that keep running statistics start each shard from the same ones, and the mean over the shards is kept.
        """
        before = [buffer.clone() for buffer in self._moving]
        ratios = self._ratios(step, places)
        shards: list[Tensor] = []
        passed: list[_Passed] = []
        for first, last in self.pieces:
            _restore(self._moving, before)
            for param in self.params:
                param.grad = None
            one = self._run(step, places, first, last)
            one.backward(ratios)
            passed.append(one)
            flat = [grad.reshape(-1) for grad in fill_gradients(self.params)]
            statistics = [buffer.reshape(-1) for buffer in self._moving if buffer.is_floating_point()]
            shards.append(torch.cat([*flat, one.sums, *statistics]))
        whole = self.world.gather_rows(torch.stack(shards))
        total = whole[0].clone()
        for shard in whole[1:]:
            total += shard
        n, n_sums = sum(param.numel() for param in self.params), len(passed[0].sums)
        self._deal_out(total, n_sums, len(whole))
        return passed[0].names, total[n : n + n_sums].clone(), [one.per_row for one in passed]

    @torch.no_grad()
    def _deal_out(self, total: Tensor, n_sums: int, n_shards: int) -> None:
        """Put the sums back where they belong: gradients, and means of running statistics."""
        start = 0
        for param in self.params:
            param.grad = torch.empty_like(param).copy_(total[start : start + param.numel()].view(param.shape))
            start += param.numel()
        start += n_sums
        for buffer in filter(Tensor.is_floating_point, self._moving):
            buffer.copy_(total[start : start + buffer.numel()].view(buffer.shape) / n_shards)
            start += buffer.numel()


@dataclass(frozen=True)
class _Passed:
    """One forward pass: K losses with their graph, (2 K,) sums without, and (places, losses) per row."""

    names: list[str]
    losses: list[Tensor]
    sums: Tensor
    per_row: tuple[np.ndarray, Tensor]

    def backward(self, ratios: Tensor | None) -> None:
        """Add to the gradients those of the losses, each brought to the count of the first."""
        if len(self.losses) == 1:
            self.losses[0].backward()  # type: ignore[no-untyped-call]
            return
        if ratios is None:
            counts = self.sums[len(self.losses) :]
            ratios = counts[0] / counts.clamp_min(1e-12)
        torch.dot(torch.stack(self.losses), ratios).backward()  # type: ignore[no-untyped-call]


class _Forward(nn.Module):
    """The task's step as a module, so that DistributedDataParallel can wrap whatever of the model it calls."""

    def __init__(self, task: Task, model: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.task, self.model, self.recipe = task, model, recipe

    def forward(self, batch: Batch, rng: Rng) -> StepOutput:
        return self.task.step(self.model, batch, self.recipe, rng=rng, training=True)


def _moving_buffers(model: nn.Module) -> list[Tensor]:
    """Running statistics that training changes, and their counters."""
    found = []
    for module in model.modules():
        if module.training and getattr(module, "track_running_stats", False):
            found += list(module.buffers(recurse=False))
    return found


@torch.no_grad()
def _restore(buffers: list[Tensor], values: list[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)


def seed_torch(seed: int, device: str) -> None:
    """Seed torch's own generator, which modules such as nn.Dropout draw from; a microsecond on a CPU."""
    torch.default_generator.manual_seed(seed)
    if device.startswith("cuda"):
        torch.cuda.default_generators[torch.device(device).index or 0].manual_seed(seed)
    elif device == "mps":
        torch.mps.manual_seed(seed)
