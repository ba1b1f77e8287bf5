"""How threads wait for each other: a training by itself, and beside another one, with and without what Ouvroir asks of OpenMP.

GNU's OpenMP reads how often a thread looks before it sleeps when it is loaded, so each training is a process of its own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import Options, Result
from benchmarks.language import split
from benchmarks.language_speed import Ours
from ouvroir.starting import SPINS

USUAL = "300000"
"""What GNU's OpenMP does of its own accord (GOMP_SPINCOUNT in its manual)."""
ROUNDS, STEPS = 3, 60
TIMES_BESIDE = 2.0


def measure(options: Options) -> Result:
    """Both networks of a corpus, alone and beside a Transformer that is trained without end."""
    n_rounds, n_steps = (1, 10) if options.is_quick else (ROUNDS, STEPS)
    result = Result(
        name="waiting",
        title="Threads that wait",
        about=(
            f"Language models of the preset small, two threads, {n_steps} steps, in a process of its own: alone, and beside a "
            f"Transformer that is trained at the same time. A thread looks {SPINS} times before it sleeps, or {USUAL} times, as "
            "OpenMP does of its own accord; both trainings of a pair alike."
        ),
        spread="lowest and highest of the rounds",
        seeds=[0],
        settings={"rounds": n_rounds, "steps": n_steps},
    )
    with harness.workplace() as folder:
        data = split(folder / "shakespeare")
        for network in ("lstm", "transformer"):
            for is_beside in (False, True):
                found: dict[str, list[float]] = {SPINS: [], USUAL: []}
                for number in range(n_rounds):
                    for spins, rates in found.items():
                        place = folder / f"{network}-{number}-{spins}-{is_beside}"
                        rates.append(_timed(data, place, network, spins, n_steps, is_beside=is_beside))
                where = f"{network}, {'beside another training' if is_beside else 'alone'}"
                result.add(f"{where}: Ouvroir", statistics.median(found[SPINS]), "pieces/s", n=n_rounds)
                result.add(f"{where}: as usual", statistics.median(found[USUAL]), "pieces/s", n=n_rounds)
                least = TIMES_BESIDE if is_beside else 0.97
                result.add(f"{where}: ratio", harness.ratio(found[SPINS], found[USUAL]), "times", at_least=least)
    return result


def _timed(data: Path, folder: Path, network: str, spins: str, n_steps: int, *, is_beside: bool) -> float:
    """Pieces per second of one training; beside another one that ends with it."""
    others = [_started(data, folder / "other", "transformer", spins, 10**6)] if is_beside else []
    try:
        mine = _started(data, folder / "mine", network, spins, n_steps)
        told, _ = mine.communicate()
        return float(told.split()[-1])
    finally:
        for other in others:
            other.kill()
            other.wait()


def _started(data: Path, folder: Path, network: str, spins: str, n_steps: int) -> subprocess.Popen[str]:
    folder.mkdir(parents=True)
    words = [sys.executable, "-m", "benchmarks.waiting", str(data), str(folder), network, str(n_steps)]
    env = {**os.environ, "GOMP_SPINCOUNT": spins, "OUVROIR_HOME": str(folder / "home")}
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        print(Ours(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]).rate(int(sys.argv[4])))
    else:
        harness.run(measure)
