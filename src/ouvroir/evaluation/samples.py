"""Samples inside a report: one row as a person sees or hears it, kept small enough that the whole file stays light."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable
from typing import Any

from ouvroir.errors import OuvroirError

logger = logging.getLogger("ouvroir")

Shown = tuple[str, str, bytes]
"""A row for a person: its name, the MIME type of what shows it, and the bytes."""

MAX_ALL_BYTES = 2_200_000  # of all samples of a report, as they stand in the file
MAX_ONE_BYTES = 150_000
MAX_TEXT = 600  # characters
_MIME = re.compile(r"[a-z]+/[a-z0-9.+-]+")


class Shelf:
    """Turns rows into JSON values and stops taking content when the report would grow too large."""

    def __init__(self, max_bytes: int = MAX_ALL_BYTES) -> None:
        self._left = max_bytes

    def show(self, show: Callable[[int], Shown] | None, place: int) -> dict[str, Any]:
        """`name` and either `text`, or `mime` and `data` (base64), or neither when there is nothing to show."""
        if show is None:
            return {"name": f"#{place}"}
        try:
            name, mime, content = show(place)
        except (OuvroirError, OSError) as error:
            logger.info("Row %d is not shown in the report: %s", place, error)
            return {"name": f"#{place}"}
        return {"name": name, **self._content(mime, content)}

    def _content(self, mime: str, content: bytes) -> dict[str, str]:
        family = mime.partition(";")[0].strip().lower()
        if family.startswith("text/"):
            text = content.decode("utf-8", errors="replace")
            value = {"text": text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"}
            cost = len(value["text"].encode("utf-8"))
        else:
            if not _MIME.fullmatch(family) or len(content) > MAX_ONE_BYTES:
                return {}
            value = {"mime": family, "data": base64.b64encode(content).decode("ascii")}
            cost = len(value["data"])
        if cost > self._left:
            return {}
        self._left -= cost
        return value
