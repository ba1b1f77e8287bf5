"""How long work tells of itself. Library code calls these; only the command line turns them into printing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

logger = logging.getLogger("ouvroir")


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


QUIET = Quiet()
