"""What a run tells while it trains: metrics.jsonl always, TensorBoard beside it, written in rare batches."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ouvroir.files import disk_errors, each_line, write_text
from ouvroir.run import Measurement, Run

if TYPE_CHECKING:
    from collections.abc import Mapping

FLUSH_S = 5.0
"""Seconds between writings when nothing else asks for one."""


class Tracker:
    """Collects measurements and writes them now and then.

    Only process 0 has an `is_writer` tracker; the others drop what they are given.
    """

    def __init__(self, run: Run, *, is_writer: bool = True) -> None:
        self.run = run
        self.is_writer = is_writer
        self._waiting: list[Measurement] = []
        self._board: Any = None
        self._begun: int | None = None
        self._flushed_at = time.monotonic()

    def begin(self, step: int) -> None:
        """Forget what an earlier process wrote after `step`, from where training goes on; 0 forgets everything."""
        if not self.is_writer:
            return
        self._begun = step
        path = self.run.path / "metrics.jsonl"
        if not path.exists():
            return
        kept: list[Mapping[str, Any]] = []
        each_line(path, lambda line: kept.append(line) if line["step"] <= step and step else None)
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def add(self, step: int, split: str, values: Mapping[str, float], seconds: float) -> None:
        """Keep `values` by name, measured on `split` after `step` steps and `seconds` of training."""
        if self.is_writer:
            rounded = round(seconds, 3)
            self._waiting += [Measurement(step, split, name, value, rounded) for name, value in values.items()]

    def flush_now_and_then(self) -> None:
        """Write if nothing was written for a while."""
        if time.monotonic() - self._flushed_at > FLUSH_S:
            self.flush()

    def flush(self, *, sync: bool = False) -> None:
        """Write what waits; with `sync`, make metrics.jsonl survive a power cut. Raises DiskFull."""
        waiting, self._waiting = self._waiting, []
        self._flushed_at = time.monotonic()
        if waiting:
            self.run.append_metrics(waiting)
            with disk_errors(self.run.path):
                self._draw(waiting)
        if sync and self.is_writer:
            self._sync()

    def close(self) -> None:
        """Write the rest and close TensorBoard's file."""
        self.flush()
        if self._board is not None:
            self._board.close()
            self._board = None

    def _sync(self) -> None:
        path = self.run.path / "metrics.jsonl"
        if path.exists():
            with disk_errors(path), open(path, "rb") as file:
                os.fsync(file.fileno())

    def _draw(self, measurements: Sequence[Measurement]) -> None:
        """Give the measurements to TensorBoard, loaded only now: it would delay the first step."""
        if self._board is None:
            from torch.utils.tensorboard.writer import SummaryWriter

            folder = self.run.path / "tensorboard"
            self._board = SummaryWriter(str(folder), purge_step=self._begun or None, flush_secs=10)
        for one in measurements:
            self._board.add_scalar(f"{one.split}/{one.name}", one.value, one.step)
