"""Trainings side by side: processes of one thread each, which take jobs one after another and keep what they loaded.

One process of one thread on each core does more trainings an hour than one process with as many threads, since small
networks do not divide well. Which process does which job changes nothing: a training is a function of its folder.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ouvroir.data.workers import import_path
from ouvroir.errors import TrainingError
from ouvroir.files import make_folder
from ouvroir.system import usable_cores

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LOG = "crew.log"


class Crew:
    """Processes that run `module` with a folder and read jobs, one JSON line each; they answer each with a JSON line.

    `environment`: variables over those of this process.
    """

    def __init__(
        self, module: str, folder: Path, *, size: int | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.module, self.folder = module, folder
        self.size = size or usable_cores()
        self.environment = {
            **os.environ,
            **dict.fromkeys(_THREADS, "1"),
            "PYTHONPATH": os.pathsep.join(import_path()),
            **(environment or {}),
        }

    def run(self, jobs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The answers, in the order in which they come. Raises TrainingError with what a process said when it ended."""
        waiting = deque(jobs)
        hands = [self._start() for _ in range(min(self.size, len(waiting)))]
        try:
            with selectors.DefaultSelector() as selector:
                for hand in hands:
                    assert hand.stdout is not None
                    selector.register(hand.stdout, selectors.EVENT_READ, hand)
                    self._give(hand, waiting)
                left = len(jobs)
                while left:
                    for event, _ in selector.select():
                        answer = self._answer(event.data)
                        left -= 1
                        yield answer
                        self._give(event.data, waiting)
        finally:
            for hand in hands:
                self._end(hand)

    def _start(self) -> subprocess.Popen[str]:
        make_folder(self.folder)
        with open(self.folder / _LOG, "a", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", self.module, str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                env=self.environment,
                start_new_session=True,  # Ctrl-C is the parent's to hear
            )

    def _give(self, hand: subprocess.Popen[str], waiting: deque[Mapping[str, Any]]) -> None:
        if not waiting:
            return
        assert hand.stdin is not None
        try:
            hand.stdin.write(json.dumps(waiting.popleft()) + "\n")
        except BrokenPipeError:
            raise TrainingError(self._last_words(hand)) from None

    def _answer(self, hand: subprocess.Popen[str]) -> dict[str, Any]:
        assert hand.stdout is not None
        line = hand.stdout.readline()  # each answer is one whole line, and none is written ahead of the next job
        answer: dict[str, Any] = json.loads(line) if line else {"error": self._last_words(hand)}
        if "error" in answer:
            raise TrainingError(str(answer["error"]))
        return answer

    def _last_words(self, hand: subprocess.Popen[str]) -> str:
        code = hand.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        return f"A process that trains {how}; what it said is in {self.folder / _LOG}. The same command goes on from what is done."

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
