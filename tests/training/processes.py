"""Training in processes of their own, to be killed or to train together. Forked from a server that has torch loaded."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_CONTEXT = multiprocessing.get_context("forkserver")


def _work(run_path: str, environment: dict[str, str], arguments: dict[str, Any]) -> None:
    os.environ.update(environment)
    sys.path.insert(0, str(HERE))
    import torch

    torch.set_num_threads(1)
    import toy

    from ouvroir.errors import OuvroirError
    from ouvroir.media import find_task
    from ouvroir.run import Run
    from ouvroir.workflow import loop_of

    run = Run(Path(run_path))
    task = find_task(run.recipe().task)
    try:
        loop_of(task)(task, run, toy.prepared(**arguments), device="cpu", resume=True)
    except OuvroirError as error:
        rank = environment.get("RANK", "0")
        (Path(run_path) / f"error_{rank}.txt").write_text(f"{type(error).__name__}: {error}")
        sys.exit(1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(run_path: Path, *, n: int = 1, **arguments: Any) -> list[BaseProcess]:
    """Start `n` processes that train the run together, going on where it was left."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")])
    _CONTEXT.set_forkserver_preload(
        ["ouvroir.training.loop", "ouvroir.training.adversarial", "ouvroir.evaluation.evaluate", "toy"]
    )
    shared = {"OUVROIR_HOME": os.environ["OUVROIR_HOME"], "OMP_NUM_THREADS": "1"}
    if n > 1:
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(n)}
        shared |= {"LOCAL_WORLD_SIZE": str(n)}
    started = []
    for rank in range(n):
        own = shared | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if n > 1 else {})
        process = _CONTEXT.Process(target=_work, args=(str(run_path), own, arguments))
        process.start()
        started.append(process)
    return started


def finish(processes: list[BaseProcess], timeout_s: float = 120) -> None:
    """Wait for processes that must end well."""
    for process in processes:
        process.join(timeout_s)
        if process.is_alive():
            process.kill()
            raise AssertionError("a training process did not end")
    assert [process.exitcode for process in processes] == [0] * len(processes)


def kill(processes: list[BaseProcess]) -> None:
    """kill -9."""
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
