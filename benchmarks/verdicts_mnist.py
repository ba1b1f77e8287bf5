"""Verdicts on synthetic MNIST digits: 10, 30 and 100 train pictures of each class, 2,000 test pictures."""

from __future__ import annotations

from benchmarks import datasets, harness, verdicts
from benchmarks.harness import Options, Result


def measure(options: Options) -> Result:
    """Three sizes, two kinds of generator."""
    result = verdicts.result_for(
        "verdicts_mnist",
        "Does synthetic data help? MNIST",
        "4,000 pictures of MNIST, the rest being validation and test.",
    )
    with harness.workplace() as place:
        source = datasets.write_mnist(place / "mnist", n_train=4000)
        cases = [
            verdicts.Case(f"{n} per class", source, {"data.per_class": n}, minutes=minutes)
            for n, minutes in ((10, 6.0), (30, 6.0), (100, 8.0))
        ]
        return verdicts.measure(result, cases, options)


if __name__ == "__main__":
    harness.run(measure)
