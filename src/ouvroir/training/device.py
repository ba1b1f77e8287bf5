"""Where and in which arithmetic the work is done: finding a device, threads, precision, memory layout, transfers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ouvroir.errors import DeviceError
from ouvroir.memory import give_back, keep_freed
from ouvroir.recipe import Loop
from ouvroir.task import Batch


def find_device(name: str, *, local_rank: int = 0) -> str:
    """The device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. Raises DeviceError when it is not there.

    Under torchrun `auto` and `cuda` give each process of a machine its own GPU.
    """
    kind, _, number = name.partition(":")
    if kind not in {"auto", "cpu", "cuda", "mps"} or (number and (kind != "cuda" or not number.isdigit())):
        raise DeviceError(f"There is no kind of device called `{name}`. There are: auto, cpu, cuda, cuda:N and mps.")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cuda":
        return _cuda(number, local_rank)
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("The device `mps` is not available here: it needs macOS on Apple silicon. Use --device cpu.")
    return kind


def _cuda(number: str, local_rank: int) -> str:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise DeviceError(
            "No CUDA device is available: there is no GPU, no driver, or this torch was built without CUDA. "
            "Use --device cpu; `ouvroir doctor` says more."
        )
    index = int(number) if number else local_rank
    if index >= count:
        raise DeviceError(f"There is no device `cuda:{index}`: this machine has {count}, numbered from 0.")
    return f"cuda:{index}"


def has_bf16(device: str) -> bool:
    """Whether the device can calculate in bfloat16."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "mps":
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))
    # the operator is there only where torch was built with the library
    is_there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_there and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def require_precision(loop: Loop, device: str) -> None:
    """Raise DeviceError when the recipe asks for an arithmetic that the device lacks."""
    if loop.precision == "bf16" and not has_bf16(device):
        raise DeviceError(
            f"loop.precision is bf16, which the device `{device}` cannot calculate in. "
            "Use --set loop.precision=fp32, or auto to let a short measurement choose."
        )


def arithmetic(loop: Loop, device: str) -> AbstractContextManager[Any]:
    """The context in which forward passes run: autocast to bfloat16, or nothing."""
    if loop.precision != "bf16":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def set_layout(model: nn.Module, layout: str) -> None:
    """Store 4-D and 5-D weights channels last, or as they come. Values do not change."""
    if layout != "channels_last":
        return
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.ndim in formats:
            tensor.data = tensor.data.contiguous(memory_format=formats[tensor.ndim])


def place(model: nn.Module, loop: Loop, device: str) -> nn.Module:
    """Move `model` to the device in the layout of the recipe, in place."""
    model.to(device)
    set_layout(model, loop.layout)
    return model


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Calculate with `n` threads inside the block, 0 leaves the number as it is; and from then on in memory that is kept."""
    keep_freed()
    before = torch.get_num_threads()
    if n and n != before:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def to_device(batch: Batch, device: str) -> Batch:
    """The tensors of a batch on the device; pinned and without waiting for a GPU."""
    if device == "cpu":
        return batch
    is_cuda = device.startswith("cuda")
    moved: Batch = {}
    for name, value in batch.items():
        if not isinstance(value, Tensor) or value.device.type != "cpu":
            moved[name] = value
            continue
        moved[name] = (value.pin_memory() if is_cuda else value).to(device, non_blocking=is_cuda)
    return moved


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given, so that a clock can be read."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        part in words for part in ("not enough memory", "out of memory", "can't allocate memory")
    )


def release_memory(device: str) -> None:
    """Give back what trials left: objects in cycles, and memory that allocators keep for themselves."""
    give_back()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
