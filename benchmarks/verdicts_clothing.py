"""Verdicts on synthetic clothes: clothing10 squeezed to 32 px, trainings of about a minute on one thread, 6 seeds."""

from __future__ import annotations

from benchmarks import datasets, harness, verdicts
from benchmarks.harness import Options, Result


def measure(options: Options) -> Result:
    """One size, two kinds of generator."""
    result = verdicts.result_for(
        "verdicts_clothing",
        "Does synthetic data help? Clothes",
        "3,068 clothes at 32 px in ten classes, a third being test.",
    )
    with harness.workplace() as place:
        source = datasets.write_clothing(place / "clothes32", px=32, n=3068)
        case = verdicts.Case("all", source, {"loop.minutes": 0.5, "data.test": 0.3}, minutes=16.0)
        return verdicts.measure(result, [case], options)


if __name__ == "__main__":
    harness.run(measure)
