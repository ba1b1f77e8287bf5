"""The registry: task names to the class that carries them, and how to find a task for some files.

A plain dict. To add a task, add a line; `module:Class` names a task from anywhere, outside the package too.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ouvroir.errors import UsageError

if TYPE_CHECKING:
    from ouvroir.task import Task


@dataclass(frozen=True)
class Entry:
    """Where a task's class is, the suffixes of the files it reads, and a sentence about it."""

    target: str
    suffixes: frozenset[str]
    summary: str


_IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .gif .bmp .dib .tif .tiff .webp .ppm .pgm .pbm .pnm .ico .tga .avif .jp2 .psd .pcx".split()
)

TASKS: dict[str, Entry] = {
    "image-classification": Entry(
        target="ouvroir.media.image.classification:ImageClassification",
        suffixes=_IMAGE_SUFFIXES,
        summary="Pictures to one class, or to several labels.",
    ),
}


@cache
def find_task(name: str) -> Task:
    """The task called `name`, or at `module:Class`. Raises UsageError with a close spelling."""
    import difflib

    target = TASKS[name].target if name in TASKS else name
    module, _, attribute = target.partition(":")
    if not attribute:
        close = difflib.get_close_matches(name, TASKS, n=1)
        hint = (
            f"Did you mean `{close[0]}`?" if close else f"There are: {', '.join(TASKS)}; or name one as module:Class."
        )
        raise UsageError(f"There is no task `{name}`. {hint}")
    try:
        task: Task = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"The task `{name}` could not be loaded: {error}.") from error
    return task


def suffixes_of(task: str) -> frozenset[str]:
    """File suffixes (lower case, with the dot) that `task` reads; a task named `module:Class` says so as `suffixes`."""
    if task in TASKS:
        return TASKS[task].suffixes
    return frozenset(getattr(find_task(task), "suffixes", ()))


def detect_task(suffix_counts: Mapping[str, int]) -> str | None:
    """The task that reads most of the files, given counts of lower-case suffixes; None when no task reads any."""
    readable = {name: sum(suffix_counts.get(suffix, 0) for suffix in entry.suffixes) for name, entry in TASKS.items()}
    best = max(readable, key=lambda name: readable[name])
    return best if readable[best] else None
