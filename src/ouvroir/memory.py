"""Memory of this process: freed memory given back to the system, and Python's search for cycles put off."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator


def give_back() -> None:
    """Have the C library return freed memory to the system, where it can (glibc): it keeps hundreds of MB otherwise."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """While many objects are made that all stay, such as rows or large libraries, do not look for cycles among them.

    Looking takes a third of the time of a check and an eighth of importing torch.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
