"""Verdicts on synthetic digits: scikit-learn's 1,797 scans at 5, 10, 20 and 40 train pictures of each class."""

from __future__ import annotations

from benchmarks import harness, verdicts
from benchmarks.harness import Options, Result


def measure(options: Options) -> Result:
    """Four sizes, two kinds of generator."""
    import ouvroir

    result = verdicts.result_for(
        "verdicts_digits",
        "Does synthetic data help? Digits",
        "Scikit-learn's digits, the rest being validation and test.",
    )
    with harness.workplace() as place:
        ouvroir.sample("image-classification", place / "digits")
        cases = [
            verdicts.Case(f"{n} per class", place / "digits", {"data.per_class": n}, minutes=minutes)
            for n, minutes in ((5, 5.0), (10, 5.0), (20, 5.0), (40, 8.0))
        ]
        return verdicts.measure(result, cases, options)


if __name__ == "__main__":
    harness.run(measure)
