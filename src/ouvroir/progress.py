"""How long work tells of itself: `QUIET` by default; `SHOWN` prints lines; the command line draws."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

logger = logging.getLogger("ouvroir")
SECONDS_BETWEEN_LINES = 10.0


class Bar(Protocol):
    """One running piece of work."""

    def advance(self, n: int = 1, detail: str = "") -> None:
        """`n` more units are done; `detail` is a few words such as the current loss."""


class Progress(Protocol):
    """Where long work reports."""

    def say(self, text: str) -> None:
        """One sentence worth a person's attention: a choice that was made, a file that was refused."""

    def bar(self, title: str, total: int | None, *, start: int = 0) -> AbstractContextManager[Bar]:
        """A context manager that gives a Bar of `total` units, `start` of them done already."""


class _SilentBar:
    def advance(self, n: int = 1, detail: str = "") -> None:
        del n, detail


class Quiet:
    """Progress that goes to the log of the library, `logging.getLogger("ouvroir")`, and shows no bars."""

    def say(self, text: str) -> None:
        """Log at level INFO."""
        logger.info(text)

    @contextmanager
    def bar(self, title: str, total: int | None, *, start: int = 0) -> Iterator[Bar]:
        """Log the title at level DEBUG."""
        del total, start
        logger.debug(title)
        yield _SilentBar()


class LineBar:
    """Work that prints a line every ten seconds."""

    def __init__(self, say: Callable[[str], None], title: str, total: int | None, start: int) -> None:
        self._say, self._title, self._total, self._done = say, title, total, start
        self._last = time.monotonic()

    def advance(self, n: int = 1, detail: str = "") -> None:
        """Count, and print once in a while."""
        self._done += n
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            total = f"/{self._total}" if self._total else ""
            self._say(f"{self._title}: {self._done}{total} {detail}".rstrip())


class Shown:
    """Progress as lines on standard error, for scripts and notebooks."""

    def say(self, text: str) -> None:
        """Print a sentence."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    @contextmanager
    def bar(self, title: str, total: int | None, *, start: int = 0) -> Iterator[Bar]:
        """Print how far the work is, now and then."""
        yield LineBar(self.say, title, total, start)


QUIET = Quiet()
SHOWN = Shown()
