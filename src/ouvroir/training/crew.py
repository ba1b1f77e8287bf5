"""Trainings side by side: processes of one thread each, which take jobs one after another and keep what they loaded.

One process of one thread on each core does more trainings an hour than one process with as many threads, since small
networks do not divide well. Which process does which job changes nothing: a training is a function of its folder.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ouvroir.data.workers import import_path
from ouvroir.errors import TrainingError, Untried
from ouvroir.files import make_folder
from ouvroir.system import memory_bytes, usable_cores

_LIKELY_BYTES = 4_000_000_000
"""Of memory, that a process is taken to need until one has said what it did."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

GOES_ON = "The same command goes on from what is done."


class Crew:
    """Processes that run `module` and read jobs, one JSON line each; they answer each with a JSON line.

    They start with the first jobs and stay for the next ones, until `close` or the end of this process. There are `size` of
    them, by default one a core, and fewer where memory is short. `environment`: variables over those of this process.

    An answer with "error" ends the work, with "is_final" as what would happen again; "held_bytes" is the memory that its
    process has of its own. "hand" is added to each: the process that it came from.
    """

    def __init__(self, module: str, *, size: int | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.module = module
        self.size = size or usable_cores()
        self.environment = {
            **os.environ,
            **dict.fromkeys(_THREADS, "1"),
            "PYTHONPATH": os.pathsep.join(import_path()),
            **(environment or {}),
        }
        self._hands: list[subprocess.Popen[str]] = []
        self._peak = 0
        self._new: set[int] = set()  # pids of those that have not answered yet, and may not have taken all their memory
        self._log: Path | None = None

    def run(self, jobs: Sequence[Mapping[str, Any]], log: Path) -> Iterator[dict[str, Any]]:
        """The answers, in the order in which they come. `log`: a file that what the processes say is added to.

        Raises TrainingError with what a process said when it ended, and Untried where it would say so again; then, and when the
        caller leaves, all end.
        """
        waiting = deque(jobs)
        log = self._log = self._log if self._hands and self._log else log  # where those that run write
        is_done = False
        try:
            with selectors.DefaultSelector() as selector:
                for hand in self._hands:
                    self._set_to_work(hand, selector, waiting, log)
                self._grow(selector, waiting, log)
                left = len(jobs)
                while left:
                    for event, _ in selector.select():
                        answer = self._answer(event.data, log)
                        left -= 1
                        self._give(event.data, waiting, log)
                        self._grow(selector, waiting, log)
                        yield answer
            is_done = True
        finally:
            if not is_done:
                self.close()

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        while self._hands:
            self._end(self._hands.pop())

    def __del__(self) -> None:
        self.close()

    def _grow(self, selector: selectors.BaseSelector, waiting: deque[Mapping[str, Any]], log: Path) -> None:
        """Start as many more as there are jobs, cores and memory for, and one in any case."""
        free = memory_bytes()[1]
        each = self._peak or _LIKELY_BYTES
        room = self.size if free is None else free // each - len(self._new)
        most = min(self.size, max(1, len(self._hands) + room))
        while waiting and len(self._hands) < most:
            self._hands.append(self._start(log))
            self._new.add(self._hands[-1].pid)
            self._set_to_work(self._hands[-1], selector, waiting, log)

    def _set_to_work(
        self,
        hand: subprocess.Popen[str],
        selector: selectors.BaseSelector,
        waiting: deque[Mapping[str, Any]],
        log: Path,
    ) -> None:
        assert hand.stdout is not None
        selector.register(hand.stdout, selectors.EVENT_READ, hand)
        self._give(hand, waiting, log)

    def _start(self, log: Path) -> subprocess.Popen[str]:
        make_folder(log.parent)
        with open(log, "a", encoding="utf-8") as file:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", self.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                bufsize=1,
                env=self.environment,
                start_new_session=True,  # Ctrl-C is the parent's to hear
            )

    def _give(self, hand: subprocess.Popen[str], waiting: deque[Mapping[str, Any]], log: Path) -> None:
        if not waiting:
            return
        assert hand.stdin is not None
        try:
            hand.stdin.write(json.dumps(waiting.popleft()) + "\n")
        except BrokenPipeError:
            raise TrainingError(_last_words(hand, log)) from None

    def _answer(self, hand: subprocess.Popen[str], log: Path) -> dict[str, Any]:
        assert hand.stdout is not None
        line = hand.stdout.readline()  # each answer is one whole line, and none is written ahead of the next job
        answer: dict[str, Any] = json.loads(line) if line else {"error": _last_words(hand, log)}
        if "error" in answer:
            raise (Untried if answer.get("is_final") else TrainingError)(str(answer["error"]))
        self._peak = max(self._peak, answer.get("held_bytes", 0))
        self._new.discard(hand.pid)
        return {**answer, "hand": hand.pid}

    def _end(self, hand: subprocess.Popen[str]) -> None:
        if hand.poll() is None:
            hand.kill()
            hand.wait()
        for pipe in (hand.stdin, hand.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


def _last_words(hand: subprocess.Popen[str], log: Path) -> str:
    code = hand.wait()
    how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
    if -code == signal.SIGKILL:
        how += ", as the system does when memory runs out"
    return f"A process that trains {how}; what it said is in {log}. {GOES_ON}"
