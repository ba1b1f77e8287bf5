"""The effect of φ, π, 1/137 and −1/12 on language models: trainings in pairs, with each constant and with its ordinary value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks import harness
from benchmarks.harness import Options, Result
from benchmarks.language import CHARACTERS, split

STEPS = 600
CONSTANTS = {"lstm": ("phi", "zeta"), "transformer": ("phi", "pi", "alpha", "zeta")}
"""Those that act in each network."""


def measure(options: Options) -> Result:
    """Six seeds; four constants of one network, two of the other."""
    seeds = options.seeds_or(6)
    steps = 20 if options.is_quick else STEPS
    result = Result(
        name="language_constants",
        title="The constants in language models",
        about=(
            "Tiny Shakespeare by characters, the first 90 % to learn from, the last 10 % to judge by; preset tiny, "
            f"{steps:,} steps of 16 windows. Nats per character with the constant minus with its ordinary value, trainings of one "
            "seed in pairs: below 0 the constant is better. φ changes how many weights there are too."
        ),
        spread="95 % interval of the mean over seeds, by Student's t, of each by itself",
        seeds=seeds,
        settings={"steps": steps, "preset": "tiny", **CHARACTERS},
    )
    with harness.workplace() as folder:
        data = split(folder / "shakespeare")
        for network, names in CONSTANTS.items():
            usual = [nats(data, folder, network, seed, steps) for seed in seeds]
            for name in names:
                other = [
                    nats(data, folder, network, seed, steps, **{f"constants.{name}": "ordinary"}) for seed in seeds
                ]
                gaps = np.subtract(usual, other)
                error = stats.sem(gaps) * stats.t.ppf(0.975, len(seeds) - 1) if len(seeds) > 1 else np.inf
                mean = float(gaps.mean())
                result.add(
                    f"{network}, {name}",
                    mean,
                    "nats per character",
                    interval=(mean - error, mean + error),
                    n=len(seeds),
                )
    return result


def nats(data: Path, folder: Path, network: str, seed: int, steps: int, **settings: Any) -> float:
    """Of one training, on all of the validation text."""
    import ouvroir

    fixed = {"loop.steps": steps, "loop.seed": seed, "options.network": network, "loop.threads": 1}
    run = ouvroir.train(data, preset="tiny", settings={**CHARACTERS, **fixed, **settings}, runs=folder / "runs")
    found: float = (run.read_json("evaluation.json") or {})["validation"]["nats_per_character"]["value"]
    return found


if __name__ == "__main__":
    harness.run(measure)
