"""Ctrl-C and a request to end: at once while nothing would be lost, later the step is finished and saved first."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """While entered, SIGINT and SIGTERM raise KeyboardInterrupt, as Ctrl-C did before, until `waits` is set.

    From then on the first one sets `is_asked`, and a second one raises. Only in the main thread.
    """

    def __init__(self) -> None:
        self.waits = False
        self.is_asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.waits and not self.is_asked:
            self.is_asked = True
            return
        before = self._before[signal.SIGINT]
        if callable(before):
            before(number, frame)
        raise KeyboardInterrupt
