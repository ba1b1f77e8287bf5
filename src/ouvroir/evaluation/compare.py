"""Two sets of answers to the same rows: the paired difference with its interval, McNemar's test, rows fixed and broken.

Pairing matters: two models that make the same mistakes can be told apart with far fewer rows than two that do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ouvroir.errors import DataError
from ouvroir.evaluation.breakdown import smallest_difference
from ouvroir.evaluation.intervals import N_DRAWS, around, bca
from ouvroir.evaluation.intervals import difference as paired
from ouvroir.evaluation.language import Language
from ouvroir.evaluation.metrics import (
    Metric,
    applies,
    counts_rows,
    is_classified,
    is_higher_better,
    is_percent,
    is_right,
    labelled,
    measure,
    n_units,
    sums_of,
    take,
)
from ouvroir.files import readable_count
from ouvroir.task import Answers

Verdict = Literal["better", "worse", "same"]
EQUAL_SIZES = 1.15  # of two numbers of parameters the larger by the smaller, up to which they are called equal
POWER_RATIO = 1.43  # (1.96 + 0.84) / 1.96: half-widths of a 95 % interval that are seen 4 times in 5


@dataclass(frozen=True)
class Comparison:
    """The second system against the first on the same `n` rows.

    difference: second minus first in the units of the metric. p_value: McNemar's exact two-sided p, None where right
    and wrong cannot be counted. fixed and broken: places (as in `Answers.index`) of rows that only the second, only the
    first gets right. smallest: the smallest difference this test could have seen, infinite where it could see none. verdict: of
    the second; `same` means that no difference is shown, not that there is none. n_units: rows, those of a unit being one.
    """

    metric: str
    n: int
    first: Metric
    second: Metric
    difference: Metric
    p_value: float | None
    fixed: tuple[int, ...]
    broken: tuple[int, ...]
    smallest: float
    verdict: Verdict
    n_units: int

    @property
    def sentence(self) -> str:
        """The verdict for a person, in English; the first system is called A, the second B."""
        return self.sentence_on("block" if self.n_units < self.n else "item")

    def sentence_on(self, kind: str) -> str:
        """The same, where rows are called so."""
        changed = ""
        if self.p_value is not None:
            changed = f" B fixes {len(self.fixed)} of them and breaks {len(self.broken)}."
        items = readable_count(self.n, kind)
        if self.n_units < self.n:
            items += f" (counted as {self.n_units:,})"
        if not math.isfinite(self.smallest):
            gap = f"{self.difference.value:+.3f} ({Language('en').known('metric', self.metric)})"
            return (
                f"No difference can be shown on {items}: B minus A is {gap}, and a single {kind} or run of neighbouring blocks "
                "gives no interval. Compare them on more data."
            )
        if self.verdict == "same":
            seen = f"{_size(self.metric, self.smallest)} or more would probably have been seen."
            gap = f"B minus A is {_amount(self.metric, self.difference)}"
            return f"No difference is shown on {items}: {gap}; {seen}{changed}"
        ahead, behind = ("B", "A") if self.verdict == "better" else ("A", "B")
        gap = _amount(self.metric, self.difference, turn=self.difference.value < 0, sign="")
        return f"{ahead} is better than {behind} on {items} by {gap}.{changed}"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "metric": self.metric,
            "n": self.n,
            "n_units": self.n_units,
            "first": self.first.as_dict(),
            "second": self.second.as_dict(),
            "difference": self.difference.as_dict(),
            "p_value": self.p_value,
            "n_fixed": len(self.fixed),
            "n_broken": len(self.broken),
            "smallest": self.smallest if math.isfinite(self.smallest) else None,
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


def _amount(name: str, difference: Metric, *, turn: bool = False, sign: str = "+") -> str:
    """A difference with its unit and interval; `turn` changes its sign."""
    ends = [difference.value, difference.low, difference.high]
    if turn:
        ends = [-difference.value, -difference.high, -difference.low]
    scale, digits = (100, 1) if is_percent(name) else (1, 3)
    value, low, high = (f"{end * scale:{sign}.{digits}f}" for end in ends)
    unit = " points" if is_percent(name) else ""
    return f"{value}{unit} [{low}, {high}] ({Language('en').known('metric', name)})"


def _size(name: str, value: float) -> str:
    return f"{value * 100:.1f} points" if is_percent(name) else f"{value:.3f}"


def compare(a: Answers, b: Answers, *, metric: str | None = None, n_draws: int = N_DRAWS, seed: int = 0) -> Comparison:
    """`b` against `a` on the rows both answered, which must be the same ones.

    `metric`: by default accuracy (subset accuracy when rows have several labels, loss when nothing can be right or
    wrong). The interval of the difference is a paired bootstrap over rows, or over their units, and Student's t of few.
    `better` and `worse` need an interval without 0 and, where rows are right or wrong and the metric counts them, an exact
    McNemar p under .05 too. Raises DataError when the rows or their targets differ, UsageError on an unknown metric.
    """
    a, b = aligned(a, b)
    units = b.units if a.units is None else a.units
    a, b = replace(a, units=units), replace(b, units=units)
    name = metric or _main_metric(a)
    both = [measure([name], one, n_draws=n_draws, seed=seed).get(name) for one in (a, b)]
    if both[0] is None or both[1] is None:
        raise DataError(f"`{name}` cannot be computed from these answers. Compare them by another metric, e.g. loss.")
    first, second = both[0], both[1]
    fixed = broken = np.zeros(len(a.index), dtype=bool)
    p_value = None
    if is_classified(a) and is_classified(b):
        right_a, right_b = is_right(a), is_right(b)
        fixed, broken = right_b & ~right_a, right_a & ~right_b
        p_value = mcnemar(int(fixed.sum()), int(broken.sum()))
    low = high = 0.0
    if not counts_rows(name):
        gaps = paired(sums_of(name, a), sums_of(name, b))
        low, high = (bca if is_percent(name) else around)(gaps, n_draws=n_draws, seed=seed)
        smallest = POWER_RATIO * (high - low) / 2
    if counts_rows(name) or (low == high and p_value is not None):  # rows that never differ prove no equality
        low, high = _row_interval(fixed, broken, n_draws, seed)
        smallest = smallest_difference(len(a.index), disagreement=float((fixed | broken).mean()))
    gap = second.value - first.value
    difference = Metric(gap, min(low, gap), max(high, gap), len(a.index))
    return Comparison(
        metric=name,
        n=len(a.index),
        first=first,
        second=second,
        difference=difference,
        p_value=p_value,
        fixed=tuple(int(place) for place in a.index[fixed]),
        broken=tuple(int(place) for place in a.index[broken]),
        smallest=smallest,
        verdict=_verdict(name, difference, p_value if counts_rows(name) else None),
        n_units=n_units(a),
    )


def _main_metric(answers: Answers) -> str:
    if not applies("accuracy", answers):
        return "loss"
    return "subset_accuracy" if answers.is_multi_label else "accuracy"


def _verdict(name: str, difference: Metric, p_value: float | None) -> Verdict:
    if difference.low <= 0 <= difference.high or (p_value is not None and p_value >= 0.05):
        return "same"
    return "better" if (difference.value > 0) == is_higher_better(name) else "worse"


def mcnemar(n_fixed: int, n_broken: int) -> float:
    """McNemar's exact two-sided p: twice the smaller binomial tail at one half, at most 1 (McNemar 1947)."""
    n, few = n_fixed + n_broken, min(n_fixed, n_broken)
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(few + 1)]
    tail = math.fsum(math.exp(value - n * math.log(2)) for value in logs)
    return min(1.0, 2 * tail)


def _row_interval(fixed: np.ndarray, broken: np.ndarray, n_draws: int, seed: int) -> tuple[float, float]:
    """Bootstrap of (fixed − broken) / n over rows, one row added to each of fixed and broken before drawing.

    Without them, models that differ on no row would get the interval [0, 0], which claims to know that they are equal.
    The two rows are the correction of Bonett and Price 2012, equation 5.
    """
    n, n_fixed, n_broken = len(fixed), int(fixed.sum()), int(broken.sum())
    odds = np.array([n_fixed + 1, n_broken + 1, n - n_fixed - n_broken], dtype=float) / (n + 2)
    drawn = np.random.default_rng(seed).multinomial(n + 2, odds, size=max(n_draws, 10_000))
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / (n + 2), [0.025, 0.975])
    return float(low), float(high)


def aligned(a: Answers, b: Answers) -> tuple[Answers, Answers]:
    """Both answers on the same labelled rows in the same order, with the same classes. Raises DataError.

    Classes are matched by name; a class that one system does not know gets the score 0 there.
    """
    a, b = _in_order(labelled(a)), _in_order(labelled(b))
    if not np.array_equal(a.index, b.index):
        raise DataError(
            f"The two sets of answers are not about the same rows ({len(a.index)} and {len(b.index)} labelled rows), "
            "so they cannot be compared. Evaluate both models on the same data and split."
        )
    if a.labels != b.labels and a.labels and b.labels:
        labels = tuple(dict.fromkeys((*a.labels, *b.labels)))
        a, b = _with_labels(a, labels), _with_labels(b, labels)
    if a.targets is not None and b.targets is not None and not np.array_equal(a.targets, b.targets):
        raise DataError(
            "The two sets of answers were judged against different labels for the same rows, so they cannot be "
            "compared. Was the data relabelled in between? Evaluate both models again."
        )
    return a, b


def _in_order(answers: Answers) -> Answers:
    order = np.argsort(answers.index, kind="stable")
    return answers if np.array_equal(order, np.arange(len(order))) else take(answers, order)


def _with_labels(answers: Answers, labels: tuple[str, ...]) -> Answers:
    place = np.array([labels.index(label) for label in answers.labels])
    changes: dict[str, Any] = {"labels": labels}
    if answers.scores is not None:
        changes["scores"] = np.zeros((len(answers.index), len(labels)), dtype=answers.scores.dtype)
        changes["scores"][:, place] = answers.scores
    if answers.targets is not None and answers.is_multi_label:
        changes["targets"] = np.zeros((len(answers.index), len(labels)), dtype=answers.targets.dtype)
        changes["targets"][:, place] = answers.targets
    elif answers.targets is not None:
        changes["targets"] = place[answers.targets]
    return replace(answers, **changes)
