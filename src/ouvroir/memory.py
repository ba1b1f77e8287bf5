"""Memory of this process: freed memory kept, or given back to the system, and Python's search for cycles put off."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_KEPT = 1 << 30  # bytes of a block
_MOST_KEPT = (1 << 31) - 1  # bytes at the end of the heap

_is_ours = False


def claim_process() -> None:
    """Say that this process does nothing but Ouvroir's work, so that libraries may be left out of searches for cycles."""
    global _is_ours  # noqa: PLW0603 - a fact about the process
    _is_ours = True


def settle_libraries() -> None:
    """Leave all objects there are out of later searches for cycles, in a process of ours: hardly one of them ever goes.

    In anybody else's process nothing is done: objects of theirs are among them.
    """
    if _is_ours:
        gc.freeze()


def give_back() -> None:
    """Free what is held in cycles only, and have the C library return freed memory to the system, where it can (glibc).

    It keeps hundreds of MB otherwise.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed() -> None:
    """Have the C library keep what is freed for what comes next, where it can (glibc); `give_back` returns it all the same.

    Else it maps the large blocks of each step anew, and the system clears them: an LSTM spent a fifth of its steps on that.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        library.mallopt(_TRIM_THRESHOLD, _MOST_KEPT)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """While many objects are made that all stay, such as rows or large libraries, do not look for cycles among them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
