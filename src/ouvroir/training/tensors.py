"""Tensors as safetensors, tied and strided ones included."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ouvroir.errors import CheckpointError


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors. Of names that share one tensor (tied weights) the first is written; the ties are noted.

    Raises OSError, as any writing does: the library's own error hides what the system said.
    """
    from safetensors.torch import save_file

    first: dict[tuple[Any, ...], str] = {}
    ties: dict[str, str] = {}
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        identity = (tensor.data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride())
        if tensor.numel() and identity in first:
            ties[name] = first[identity]
            continue
        first[identity] = name
        kept[name] = tensor.detach().cpu().contiguous()
    with errors_as_os():
        save_file(_unshared(kept), path, metadata={"ties": json.dumps(ties)})


@contextmanager
def errors_as_os() -> Iterator[None]:
    """Errors of safetensors while it writes as the OSError that they are."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        is_full = "No space left" in str(error) or f"os error {errno.ENOSPC}" in str(error)
        raise OSError(errno.ENOSPC if is_full else errno.EIO, str(error)) from error


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors that are different views of one storage, which the format refuses."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """What `write_tensors` wrote, ties included. Raises CheckpointError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            ties = json.loads((file.metadata() or {}).get("ties", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} could not be read: {error}.") from error
    return {**found, **{name: found[source] for name, source in ties.items()}}
