"""A few processes that open files, so that a decoder's crash or endless loop costs one row and not the run.

Protocol, on pipes: frames of a length-prefixed JSON header and a raw payload (see `_worker.FRAME`); no pickle, and no
`multiprocessing`, so a user's script needs no `if __name__ == "__main__"`. The first frame is the set-up; then every
row asked gets one answer, in order. A few rows are under way per worker; the oldest unanswered one is the one being
worked on, so it is the one that is lost when the process ends or the row's time is over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import selectors
import shlex
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ouvroir.data._worker import FRAME
from ouvroir.errors import DataError
from ouvroir.source import shown_locator
from ouvroir.system import require_system, usable_cores
from ouvroir.task import Example, Limits, Processor

_UNDER_WAY = 8  # rows sent ahead to one worker
_AHEAD = 64  # rows per worker by which answers may run ahead of the oldest that is awaited
_BYTES_UNDER_WAY = 32 * 1024  # of requests; a pipe holds 64 KiB, and a full one would have both sides wait for ever
_BYTES_AHEAD = 64 * 1024**2  # of answers that wait for an earlier one; also of requests that wait for an answer
_ROWS_PER_WORKER = 64  # fewer rows than this are not worth another process
_MAX_WORKERS = 16
_CHUNK_BYTES = 1 << 20
_START_SECONDS = 60.0
_COMMAND = (sys.executable, "-P", "-m", "ouvroir.data._worker")  # -P: a `zipfile.py` among the user's files is data


@dataclass(frozen=True, slots=True)
class Job:
    """One row to open: where it is, its text or content if it has one, and the hash its content must have, if any.

    `root`: where the locator starts when that is not the root of the pool.
    """

    locator: str
    text: str | None = None
    sha256: str = ""
    root: str | None = None
    content: bytes | None = None

    @property
    def header(self) -> dict[str, Any]:
        """The JSON header that asks for it."""
        return {
            "locator": self.locator,
            "text": self.text,
            "sha256": self.sha256,
            "root": self.root,
            "has_content": self.content is not None,
        }

    @property
    def n_bytes(self) -> int:
        """An upper bound of the bytes of the request."""
        return 250 + 6 * (len(self.locator) + len(self.text or "") + len(self.root or "")) + len(self.content or b"")


@dataclass(frozen=True, slots=True)
class Done:
    """The answer to one job: its place in the sequence, the JSON header, the payload."""

    place: int
    header: Mapping[str, Any]
    payload: bytes

    @property
    def refused(self) -> tuple[str, str] | None:
        """Code and sentence, when the row was refused."""
        refused = self.header.get("refused")
        return None if refused is None else (refused[0], refused[1])

    def example(self) -> Example:
        """The arrays of an encoded row, over the bytes of the payload."""
        example: Example = {}
        start = 0
        for name, (dtype, shape) in self.header["arrays"].items():
            count = int(np.prod(shape, dtype=np.int64))
            example[name] = np.frombuffer(self.payload, dtype=dtype, count=count, offset=start).reshape(shape)
            start += example[name].nbytes
        return example


def n_workers(wanted: int | None, n_rows: int | None = None) -> int:
    """How many processes to use: what was asked, else one per processor core; no more than the rows, if known, are worth."""
    most = wanted if wanted is not None else min(usable_cores(), _MAX_WORKERS)
    return max(1, most if n_rows is None else min(most, -(-n_rows // _ROWS_PER_WORKER)))


def import_path() -> list[str]:
    """Where a worker finds modules: where this process does, but the current folder, where data may lie, comes last."""
    named = [path for path in sys.path if path]
    return named if len(named) == len(sys.path) else [*named, os.getcwd()]  # noqa: PTH109


class _Worker:
    """One process, the jobs it was sent and the bytes it has answered so far."""

    def __init__(self, setup: bytes) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(import_path())
        self.process = subprocess.Popen(
            [*_COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent, which ends us
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.input, self.output = self.process.stdin, self.process.stdout
        os.set_blocking(self.output.fileno(), False)
        self.is_ready = False
        self.under_way: deque[int] = deque()
        self.n_bytes_under_way = 0
        self.answered = bytearray()
        self.since = time.monotonic()
        self._write(setup)

    def _write(self, header: bytes, payload: bytes = b"") -> None:
        with contextlib.suppress(BrokenPipeError):  # its end is noticed when reading
            self.input.write(FRAME.pack(len(header), len(payload)) + header)
            self.input.write(payload)
            self.input.flush()

    def send(self, place: int, job: Job) -> None:
        """Ask for one row."""
        if not self.under_way:
            self.since = time.monotonic()
            self.n_bytes_under_way = 0
        self.under_way.append(place)
        self.n_bytes_under_way += job.n_bytes
        self._write(json.dumps(job.header).encode(), job.content or b"")

    def takes(self, job: Job) -> bool:
        """Whether one more row may be sent ahead."""
        if not self.under_way:
            return True
        return len(self.under_way) < _UNDER_WAY and self.n_bytes_under_way + job.n_bytes < _BYTES_UNDER_WAY

    def receive(self) -> tuple[list[Done], bool]:
        """Whole answers that have arrived, and whether the process is still there."""
        is_alive = True
        while True:
            try:
                chunk = os.read(self.output.fileno(), _CHUNK_BYTES)
            except BlockingIOError:
                break
            if not chunk:
                is_alive = False
                break
            self.answered += chunk
            self.since = time.monotonic()
            if len(self.answered) > _CHUNK_BYTES:
                break
        return self._parse(), is_alive

    def _parse(self) -> list[Done]:
        done = []
        start = 0
        while len(self.answered) - start >= FRAME.size:
            n_header, n_payload = FRAME.unpack_from(self.answered, start)
            end = start + FRAME.size + n_header + n_payload
            if len(self.answered) < end:
                break
            body = start + FRAME.size
            header = json.loads(self.answered[body : body + n_header])
            if self.is_ready:
                done.append(Done(self.under_way.popleft(), header, bytes(self.answered[body + n_header : end])))
            self.is_ready = True
            start = end
        del self.answered[:start]
        return done

    def stop(self, *, has_ended: bool = False) -> int:
        """End the process; its exit status, negative for a signal, 0 if it had to be ended by us."""
        status: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self.process.wait(timeout=1.0 if has_ended else 0.0)
        self.process.kill()
        for pipe in (self.input, self.output):
            with contextlib.suppress(OSError):
                pipe.close()
        self.process.wait()
        return status or 0


class _Queue:
    """Jobs that were taken and not answered yet, by their place, and the places that wait for a worker.

    `n_contents` of them bring their content; the requests of all of them take `n_bytes`.
    """

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.waiting: deque[int] = deque()
        self.n_taken = 0
        self.n_contents = 0
        self.n_bytes = 0

    def take(self, coming: Iterator[Job], until: int, n_contents: int) -> None:
        """Take jobs up to the place `until`, or as many as there are.

        Of those that bring their content no more than `n_contents` are held, and few when they are large; but always one.
        """
        while self.n_taken < until and self.n_contents < n_contents and self.n_bytes < _BYTES_AHEAD:
            job = next(coming, None)
            if job is None:
                return
            self.jobs[self.n_taken] = job
            self.waiting.append(self.n_taken)
            self.n_taken += 1
            self._count(job, 1)

    def drop(self, place: int) -> None:
        """Forget a job that is answered."""
        self._count(self.jobs.pop(place), -1)

    def _count(self, job: Job, sign: int) -> None:
        self.n_contents += sign * (job.content is not None)
        self.n_bytes += sign * job.n_bytes


class Pool:
    """At most `n` worker processes for one kind of work on one data set. Use as a context manager.

    The first one starts at once, the others when there is work for them. They stay for the next `run`.

    `setup`: `job` (`inspect` or `encode`), `task`, `root` and, to encode, `processor`, the folder it was saved to.
    """

    def __init__(self, setup: Mapping[str, str], limits: Limits, n: int) -> None:
        self._limits = limits
        content = {**setup, "limits": dataclasses.asdict(limits), "parent": os.getpid()}
        self._setup = json.dumps(content).encode()
        self._n = n
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._n_failed_starts = 0

    def __enter__(self) -> Pool:
        require_system()
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in list(self._workers):
            self._stop(worker)
        self._selector.close()

    def _start(self) -> None:
        worker = _Worker(self._setup)
        self._workers.append(worker)
        self._selector.register(worker.output, selectors.EVENT_READ, worker)

    def _stop(self, worker: _Worker, *, has_ended: bool = False) -> int:
        self._selector.unregister(worker.output)
        self._workers.remove(worker)
        return worker.stop(has_ended=has_ended)

    def run(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """The answers to all jobs, in their order. A row that ends or blocks its process is refused: `crashed`, `too_slow`.

        Jobs are taken as there is room for them, so there may be any number; those that bring their content only as a worker
        can have them.
        """
        coming = iter(jobs)
        queue = _Queue()
        early: dict[int, Done] = {}
        following = 0
        while True:
            n_ahead = _AHEAD * self._n if sum(len(done.payload) for done in early.values()) < _BYTES_AHEAD else 1
            queue.take(coming, following + n_ahead, _UNDER_WAY * len(self._workers))
            if following == queue.n_taken:
                return
            while len(self._workers) < min(self._n, -(-queue.n_taken // _ROWS_PER_WORKER)):
                self._start()
            self._send(queue, following + n_ahead)
            for done in self._collect(queue):
                early[done.place] = done
                queue.drop(done.place)
            while following in early:
                yield early.pop(following)
                following += 1

    def _send(self, queue: _Queue, before: int) -> None:
        for worker in self._workers:
            while queue.waiting and queue.waiting[0] < before and worker.takes(queue.jobs[queue.waiting[0]]):
                place = queue.waiting.popleft()
                worker.send(place, queue.jobs[place])

    def _collect(self, queue: _Queue) -> list[Done]:
        """Wait for answers; replace workers that have ended or hang."""
        found: list[Done] = []
        for key, _ in self._selector.select(timeout=0.2):
            worker: _Worker = key.data
            done, is_alive = worker.receive()
            found += done
            if not is_alive:
                found += self._replace(worker, queue, is_late=False)
        now = time.monotonic()
        for worker in list(self._workers):
            allowed = self._limits.max_seconds if worker.is_ready else _START_SECONDS
            if (worker.under_way or not worker.is_ready) and now - worker.since > allowed:
                found += self._replace(worker, queue, is_late=True)
        return found

    def _replace(self, worker: _Worker, queue: _Queue, *, is_late: bool) -> list[Done]:
        was_ready, lost = worker.is_ready, list(worker.under_way)
        status = self._stop(worker, has_ended=not is_late)
        if not was_ready:
            self._n_failed_starts += 1
            if self._n_failed_starts > 2:
                raise DataError(
                    "The processes that open files do not start. `ouvroir doctor` looks for the cause; "
                    f"run `{shlex.join(_COMMAND)} < {os.devnull}` to see its message."
                )
            first, again = None, lost
        else:
            first, again = (lost[0] if lost else None), lost[1:]
        queue.waiting.extendleft(reversed(again))
        self._start()
        if first is None:
            return []
        return [Done(first, {"refused": self._reason(queue.jobs[first], status, is_late=is_late)}, b"")]

    def _reason(self, job: Job, status: int, *, is_late: bool) -> list[str]:
        name = shown_locator(job.locator) or "input"
        if is_late:
            return [
                "too_slow",
                f"`{name}` took longer than {self._limits.max_seconds:g} s to open, so it was left out.",
            ]
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return [
            "crashed",
            f"`{name}` made its decoder crash ({how}), so it was left out. The file is probably damaged.",
        ]


@contextlib.contextmanager
def encoders(task: str, processor: Processor, limits: Limits, n: int, *, root: str) -> Iterator[Pool]:
    """A pool of at most `n` processes that encode rows as `processor` does; `Done.example` is what each gives."""
    with tempfile.TemporaryDirectory(prefix="ouvroir-") as saved:
        processor.save(Path(saved))
        with Pool({"job": "encode", "task": task, "root": root, "processor": saved}, limits, n) as pool:
            yield pool
