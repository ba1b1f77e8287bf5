"""The effect of φ, π, 1/137 and −1/12, each against its ordinary value, on two data sets: `ouvroir prove --constants`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import datasets, harness
from benchmarks.harness import Options, Result

MINUTES = 10.0


def measure(options: Options) -> Result:
    """Digits at 15 per class, and clothes at 32 px."""
    import ouvroir

    result = Result(
        name="constants",
        title="The constants",
        about=(
            "`ouvroir prove --constants`: eight combinations, half of all sixteen, 8 seeds each, equal steps. The effect of a "
            "constant is the mean of the four ways that have it minus the mean of the four that do not; intervals over seeds "
            "and test items, 95 % for all four together."
        ),
        spread="95 % interval, corrected for four",
        seeds=list(range(8)),
        settings={"minutes": MINUTES},
    )
    with harness.workplace() as place:
        ouvroir.sample("image-classification", place / "digits")
        one(result, "digits, 15 per class", place / "digits", {"data.per_class": 15}, place, options)
        if not options.is_quick:
            clothes = datasets.write_clothing(place / "clothes32", px=32, n=3068)
            one(result, "clothes at 32 px", clothes, {"loop.minutes": 1.0, "data.test": 0.3}, place, options)
    return result


def one(result: Result, name: str, source: Path, settings: dict[str, Any], place: Path, options: Options) -> None:
    """One data set."""
    import ouvroir

    quick = {"loop.steps": 20} if options.is_quick else {}
    run = ouvroir.train(source, settings={**settings, **quick}, runs=place / "runs")
    seeds = 2 if options.is_quick else 8
    proof = ouvroir.prove(run.path, constants=True, seeds=seeds, minutes=None if options.is_quick else MINUTES)
    for constant, effect in proof.found["effects"].items():
        told = f"{name}, {constant}, {proof.found['steps']} steps: {effect['verdict']}"
        result.add(
            told,
            100 * effect["value"],
            "points",
            interval=(100 * effect["low"], 100 * effect["high"]),
            n=effect["n_items"],
        )


if __name__ == "__main__":
    harness.run(measure)
