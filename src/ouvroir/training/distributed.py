"""Several processes as one: joining under torchrun, slices of the global batch, sums and words passed around.

One process is the same thing as many with `World()`. Process 0 writes; the others compute and wait.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from ouvroir.errors import RecipeError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ouvroir.recipe import Loop

T = TypeVar("T")
PATIENCE = timedelta(hours=6)
"""How long a process waits for the others: process 0 validates and writes while they wait."""


@dataclass(frozen=True)
class World:
    """The processes that train together. `rank` counts from 0, `local_rank` on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Whether this process writes and decides."""
        return self.rank == 0

    def sum_(self, values: Tensor) -> Tensor:
        """Add up `values` over the processes, in place."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(values)
        return values

    def gather(self, value: T) -> list[T]:
        """`value` of every process, in order of rank."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        found: list[T] = [value] * self.size
        dist.all_gather_object(found, value)
        return found

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Stack `rows` (n, P) of every process to (size * n, P), in order of rank."""
        if self.size == 1:
            return rows
        import torch
        import torch.distributed as dist

        whole = torch.empty(self.size * rows.shape[0], rows.shape[1], dtype=rows.dtype, device=rows.device)
        dist.all_gather(list(whole.chunk(self.size)), rows.contiguous())
        return whole

    def tell(self, value: T) -> T:
        """What process 0 says; the `value` of the others is ignored."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value if self.is_first else None]
        dist.broadcast_object_list(box, src=0, device=None if self.device == "cpu" else _torch_device(self.device))
        told: T = box[0]  # type: ignore[assignment]
        return told

    def any(self, flag: bool) -> bool:
        """Whether any process says yes."""
        return flag if self.size == 1 else any(self.gather(flag))


def _torch_device(name: str) -> torch.device:
    import torch

    return torch.device(name)


def is_main_process() -> bool:
    """Whether this process writes: the only one, or rank 0 under torchrun."""
    return int(os.environ.get("RANK", "0")) == 0


def resolve_device(name: str) -> str:
    """The device of this process for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. Raises DeviceError."""
    from ouvroir.training.device import find_device

    return find_device(name, local_rank=int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def join(device: str) -> Iterator[World]:
    """Become part of the world that torchrun describes in the environment, with gloo on a CPU and nccl on a GPU.

    A process group that exists already is used and left as it is. A GPU becomes the current one: events and words passed
    around go by the current device, which is otherwise the first for every process.
    """
    if device.startswith("cuda"):
        import torch

        torch.cuda.set_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device)
        return
    import torch.distributed as dist

    world = World(
        rank=int(os.environ["RANK"]),
        size=size,
        local_rank=int(os.environ.get("LOCAL_RANK", os.environ["RANK"])),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", size)),
        device=device,
    )
    is_ours = not dist.is_initialized()
    if is_ours:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    try:
        yield world
    finally:
        if is_ours:
            dist.destroy_process_group()


@dataclass(frozen=True)
class Share:
    """The rows of a global batch that one process takes: `first` to `last`, in pieces of `micro_batch` rows at most."""

    first: int
    last: int
    shard_size: int

    def pieces(self, micro_batch: int) -> list[tuple[int, int]]:
        """Borders of the forward passes, whole virtual shards each: [(first, last), ...]."""
        step = max(self.shard_size, micro_batch // self.shard_size * self.shard_size)
        return [(start, min(start + step, self.last)) for start in range(self.first, self.last, step)]


def share(loop: Loop, world: World) -> Share:
    """What `world.rank` takes of each batch. Raises RecipeError when the batch cannot be shared out so."""
    if loop.virtual_shards % world.size:
        raise RecipeError(
            f"loop.virtual_shards is {loop.virtual_shards}, which {world.size} processes do not divide. "
            f"Use a multiple, such as --set loop.virtual_shards={world.size * max(1, loop.virtual_shards // world.size)}."
        )
    if loop.exact and loop.batch_size % loop.virtual_shards:
        raise RecipeError(
            f"With loop.exact, loop.batch_size must be a multiple of loop.virtual_shards, and {loop.batch_size} is not "
            f"one of {loop.virtual_shards}. Try --set loop.batch_size={_next_multiple(loop.batch_size, loop.virtual_shards)}."
        )
    size = -(-loop.batch_size // loop.virtual_shards)
    rows = loop.virtual_shards // world.size * size
    first = min(loop.batch_size, world.rank * rows)
    last = min(loop.batch_size, first + rows)
    if (world.size - 1) * rows >= loop.batch_size:
        raise RecipeError(
            f"loop.batch_size is {loop.batch_size}, too few rows to share among {world.size} processes in "
            f"{loop.virtual_shards} pieces. Use at least --set loop.batch_size={loop.virtual_shards}."
        )
    return Share(first=first, last=last, shard_size=size)


def _next_multiple(value: int, of: int) -> int:
    return -(-value // of) * of
