"""A whole trial, its trainings side by side on one thread each, beside the same trainings one after the other on two threads.

The plain script calls the same loop with the same recipes and seeds, as a person would who has no trial at hand.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import Options, Result, Spread

N_SEEDS = 6
LEAST = 1.6


def measure(options: Options) -> Result:
    """Digits, 15 per class: ordinary way, repetition and one arm, 6 seeds each; both sides by turns."""
    import ouvroir

    result = Result(
        name="trials",
        title="A trial beside a plain script",
        about=(
            "Three ways with 6 seeds each on scikit-learn's digits, 15 per class, the recipe that Ouvroir proposes. Ours: "
            "processes of one thread, from starting them to the verdict. The plain script: the same loop, recipes and seeds "
            "in one process, one training after the other on two threads, each judged."
        ),
        seeds=[0],
        settings={"seeds": N_SEEDS},
    )
    rounds, seeds = (1, 2) if options.is_quick else (3, N_SEEDS)
    with harness.workplace() as place:
        ouvroir.sample("image-classification", place / "digits")
        settings = {"data.per_class": 15, **({"loop.steps": 30} if options.is_quick else {})}
        run = ouvroir.train(place / "digits", settings=settings, runs=place / "runs")
        sides = {
            "the trial": lambda: trial_s(run.path, seeds),
            "the plain script": lambda: plain_s(run.path, place / "plain", seeds),
        }
        found = harness.alternate(sides, rounds)
    for name, values in found.items():
        result.add(f"{name}, {3 * seeds} trainings", Spread.of([value / 60 for value in values]), "minutes")
    result.add(
        "the plain script / the trial",
        harness.ratio(found["the plain script"], found["the trial"]),
        "times",
        at_least=LEAST,
    )
    return result


def _arms() -> list:
    from ouvroir.arms import settings_arm

    return [settings_arm({"options.label_smoothing": 0.1})]


def trial_s(path: Path, seeds: int) -> float:
    """Seconds of a whole trial."""
    from ouvroir import trials
    from ouvroir.arms import Design
    from ouvroir.ground import Ground
    from ouvroir.options import Workplace
    from ouvroir.run import Run

    run = Run(path)
    trials.forget(run, "bench")
    ground = Ground.of(run)
    start = time.perf_counter()
    try:
        trials.hold_trial(ground, Design.of(_arms()), Workplace(), name="bench", seeds=seeds)
        return time.perf_counter() - start
    finally:
        ground.crew.close()


def plain_s(path: Path, place: Path, seeds: int) -> float:
    """Seconds of the same trainings one after the other on two threads, with the arms that the trial left."""
    import shutil

    from ouvroir import trying
    from ouvroir.run import Run

    folder = path / "trial" / "bench"
    shutil.rmtree(place, ignore_errors=True)
    arms = sorted(one.parent.name for one in folder.glob("*/recipe.json"))
    for arm in arms:
        shutil.copytree(folder / arm, place / arm, ignore=shutil.ignore_patterns("seed_*"))
        recipe = Run(place / arm).recipe()
        Run(place / arm).write_recipe(replace(recipe, loop=replace(recipe.loop, threads=2)))
    shutil.copytree(folder / trying.PROCESSOR, place / trying.PROCESSOR)
    start = time.perf_counter()
    for arm in arms:
        known: dict = {}
        for seed in range(seeds):
            trying.try_one(place, arm, seed, known)
    return time.perf_counter() - start


if __name__ == "__main__":
    harness.run(measure)
