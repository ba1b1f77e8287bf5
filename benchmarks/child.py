"""What packing.py measures from outside: a process that prepares and trains, and tells seconds on standard output.

`python -m benchmarks.child DATA RUNS STEPS [NAME=VALUE ...]`: check, pack and train STEPS steps in this one process.
Prints one JSON object when the first step has ended, and one at the end: seconds since just before `import ouvroir`.
"""

import json
import sys
import time
from contextlib import contextmanager


class FirstStep:
    """Ouvroir's Progress: prints the seconds at which training first moved."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.is_told = False

    def say(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def bar(self, title: str, total: int | None, *, start: int = 0):
        yield self if title == "Training" else _NoBar()

    def advance(self, n: int = 1, detail: str = "") -> None:
        if not self.is_told:
            self.is_told = True
            tell("first_step_s", time.perf_counter() - self.start)


class _NoBar:
    def advance(self, n: int = 1, detail: str = "") -> None:
        """Nothing."""


def tell(name: str, seconds: float) -> None:
    """One JSON object on standard output."""
    print(json.dumps({name: seconds}), flush=True)


def main(data: str, runs: str, steps: str, *settings: str) -> None:
    """Everything from the files to `steps` steps; no report."""
    start = time.perf_counter()
    from ouvroir import planning, workflow
    from ouvroir.memory import claim_process
    from ouvroir.options import Training, Workplace
    from ouvroir.run import Run

    claim_process()  # as the command does
    progress = FirstStep(start)
    pairs = dict(pair.split("=", 1) for pair in settings)
    at = Workplace(device="cpu", progress=progress)
    recipe, manifest = planning.plan_training(Training(data, settings={**pairs, "loop.steps": steps}), at)
    tell("checked_s", time.perf_counter() - start)
    run = workflow.keep_manifest(Run.create(recipe, runs), manifest)
    workflow.train_run(run, at)
    tell("end_s", time.perf_counter() - start)


if __name__ == "__main__":
    main(*sys.argv[1:])
