"""The statistics of a paired trial: is one way to train better than another, on items that neither learned from?

Each way is trained with K seeds and judged on the same N items. What is judged is the (K, N) table of differences, the
second way minus the first, seed by seed and item by item. Chance enters twice, by the seed and by which items happen to be
in the test; an interval over seeds alone is too narrow for the next items, one over items alone for the next seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ouvroir.errors import DataError
from ouvroir.evaluation.compare import POWER_RATIO
from ouvroir.evaluation.intervals import Z

Verdict = Literal["admitted", "rejected", "harmful", "unreliable"]

LEVEL = 0.95
LEAST_SEEDS = 6
"""With 5, the sign-flip test cannot give less than 2/2⁵ = .0625, two-sided."""
LEAST_GAIN = 0.003
"""A smaller gain is not worth the trouble, whatever its interval."""
SIGNIFICANT = 0.05
CLASS_LOSS = 0.02
CLASS_ITEMS = 50
"""Classes with fewer items are not judged each on its own."""
FUTILE_SEEDS = 4
FUTILE_LEVEL = 0.99
_EXACT_SEEDS = 40  # up to here all 2^K sign changes are counted, in two halves of at most 2^20
_N_FLIPS, _FLIPS_AT_ONCE = 2**20, 2**16
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean difference with its two-sided interval. `smallest`: the smallest effect that would probably have been seen.

    `p_value`: of Student's t against no difference, two-sided.
    """

    value: float
    low: float
    high: float
    p_value: float
    standard_error: float
    degrees: float
    n_seeds: int
    n_items: int

    @property
    def smallest(self) -> float:
        """The effect that a trial of this width shows in 4 of 5 cases."""
        return POWER_RATIO * (self.high - self.low) / 2

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "p_value": self.p_value,
            "smallest": self.smallest
            or None,  # no width says that all answered alike, and nothing of what would have been seen
            "n_seeds": self.n_seeds,
            "n_items": self.n_items,
        }


@dataclass(frozen=True)
class Finding:
    """What a trial came to. `flip_p`: of the sign-flip test; `losers`: classes shown to lose over 2 points; `level`: of the
    interval of `gain`; `least_seeds`: fewer can admit nothing.
    """

    verdict: Verdict
    gain: Estimate
    flip_p: float
    same: Estimate | None = None
    losers: tuple[str, ...] = ()
    by_class: Mapping[str, Estimate] | None = None
    level: float = LEVEL
    least_seeds: int = LEAST_SEEDS


def two_way(differences: np.ndarray, *, groups: np.ndarray | None = None, level: float = LEVEL) -> Estimate:
    """The mean of a (K, N) table with an interval that holds for other seeds and other items. Raises DataError under 2 of each.

    A difference is taken as the sum of a mean, a part of its seed, a part of its item and a rest. The variance of the mean
    is then (MS_seeds + MS_items - MS_rest) / (K N), where MS are the mean squares of a two-way analysis of variance
    without repetition; its degrees of freedom are Satterthwaite's (1946). It is never taken to be less than what seeds or
    items alone give: the subtraction may overshoot by chance.

    groups: (N,) int64, items that belong together, such as takes of one person. What is drawn by chance is then a group, and
    its items count as one, each group by its size.
    """
    from scipy.special import stdtr, stdtrit

    table = np.asarray(differences, dtype=np.float64)
    n_items = table.shape[1]
    if groups is not None:
        table = _by_group(table, groups)
    k, n = table.shape
    if k < 2 or n < 2:
        raise DataError(f"A trial needs two seeds and two items at least; it has {k} and {n}.")
    mean = float(table.mean())
    seeds, items = table.mean(axis=1), table.mean(axis=0)
    rest = table - seeds[:, None] - items[None, :] + mean
    squares = {
        "seeds": (n * float(((seeds - mean) ** 2).sum()) / (k - 1), k - 1),
        "items": (k * float(((items - mean) ** 2).sum()) / (n - 1), n - 1),
        "rest": (float((rest**2).sum()) / ((k - 1) * (n - 1)), (k - 1) * (n - 1)),
    }
    whole = squares["seeds"][0] + squares["items"][0] - squares["rest"][0]
    floor, floor_degrees = max(squares["seeds"], squares["items"])
    if whole > floor:
        spread = sum(square**2 / degrees for square, degrees in squares.values())
        degrees = whole**2 / spread
    else:
        whole, degrees = floor, float(floor_degrees)
    error = math.sqrt(whole / (k * n))
    if error < _ROUNDING:  # all differences are equal
        p_value = 1.0 if abs(mean) < _ROUNDING else 0.0
        return Estimate(mean, mean, mean, p_value, 0.0, degrees, k, n_items)
    half = float(stdtrit(degrees, (1 + level) / 2)) * error
    p_value = 2 * float(stdtr(degrees, -abs(mean) / error))
    return Estimate(mean, mean - half, mean + half, p_value, error, degrees, k, n_items)


def _by_group(table: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(K, G): the sum over each group, so scaled that the mean over the groups is the mean over the items."""
    _, places = np.unique(groups, return_inverse=True)
    n_groups = int(places.max()) + 1
    sums = np.zeros((len(table), n_groups))
    np.add.at(sums.T, places, table.T)
    found: np.ndarray = sums * (n_groups / table.shape[1])
    return found


def sign_flip(means: np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p of no difference, from (K,) mean differences of paired seeds: each might as well have had the other sign.

    All 2^K changes of signs are counted up to 40 seeds, 2^20 random ones beyond (Fisher 1935; the observed one counted).
    """
    values = np.asarray(means, dtype=np.float64)
    k = len(values)
    least = abs(float(values.sum())) - _ROUNDING * max(1.0, float(np.abs(values).sum()))
    if least <= 0:
        return 1.0
    if (
        k <= _EXACT_SEEDS
    ):  # a sum is one of the first half and one of the second: these are looked up, and not all listed
        first, second = _signed_sums(values[: k // 2]), np.sort(_signed_sums(values[k // 2 :]))
        n_above = len(second) * len(first) - int(np.searchsorted(second, least - first, side="left").sum())
        return math.ldexp(n_above, 1 - k)  # those below are as many: each is one above with all signs changed
    rng, n_far = np.random.default_rng(seed), 1
    for _ in range(_N_FLIPS // _FLIPS_AT_ONCE):
        signs = rng.integers(0, 2, (_FLIPS_AT_ONCE, k)) * 2.0 - 1.0
        n_far += int((np.abs(signs @ values) >= least).sum())
    return n_far / (_N_FLIPS + 1)


def _signed_sums(values: np.ndarray) -> np.ndarray:
    """(2^K,): the sums of (K,) values under all changes of their signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for being several (Holm 1979), in the order given; each is at least what it was, at most 1."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def class_losers(
    differences: np.ndarray, targets: np.ndarray, labels: Sequence[str], groups: np.ndarray | None = None
) -> tuple[list[str], dict[str, Estimate]]:
    """Classes shown to lose, and by over 2 points; and the estimate of each class with 50 items or more.

    `targets`: (N,) int64. The p values are Holm's over the classes judged. Items of a group
    count as one.
    """
    judged: dict[str, Estimate] = {}
    for number, label in enumerate(labels):
        mine = targets == number
        n = mine.sum() if groups is None else len(np.unique(groups[mine]))
        if n >= CLASS_ITEMS:
            judged[label] = two_way(differences[:, mine], groups=None if groups is None else groups[mine])
    p_values = holm([one.p_value for one in judged.values()])
    losers = [
        label
        for (label, one), p_value in zip(judged.items(), p_values, strict=True)
        if one.value < -CLASS_LOSS and p_value < SIGNIFICANT
    ]
    return losers, judged


def is_futile(differences: np.ndarray, groups: np.ndarray | None = None) -> bool:
    """Whether, with 4 seeds or more, a gain worth having is out of reach: the 99 % upper bound is below 0.3 points."""
    return (
        len(differences) >= FUTILE_SEEDS and two_way(differences, groups=groups, level=FUTILE_LEVEL).high < LEAST_GAIN
    )


def least_seeds(n_tried: int = 1) -> int:
    """The fewest seeds with which the sign-flip test can agree: 6 for one way, more where several were tried."""
    k = LEAST_SEEDS
    while 2 * n_tried / 2**k >= SIGNIFICANT:
        k += 1
    return k


def judge(
    differences: np.ndarray,
    *,
    same: np.ndarray | None = None,
    targets: np.ndarray | None = None,
    labels: Sequence[str] = (),
    groups: np.ndarray | None = None,
    n_tried: int = 1,
) -> Finding:
    """The verdict on a (K, N) table of differences between a new way and the ordinary one.

    same: (K, N) differences between the ordinary way and itself with other seeds, where it was tried; `n_tried`: how many
    ways were tried side by side, for Holm's correction in its first and strictest step.

    harmful: the interval is below 0. admitted: it is above 0, the sign-flip test agrees, the gain is 0.3 points or more, no
    class is shown to lose over 2 points, and there were `least_seeds`. unreliable: it would be admitted, but the ordinary way
    seems to differ from itself, by however little; or found harmful, by no more than that. rejected: everything else.
    """
    level = 1 - (1 - LEVEL) / n_tried
    gain = two_way(differences, groups=groups, level=level)
    flip_p = min(1.0, sign_flip(differences.mean(axis=1)) * n_tried)
    repeated = None if same is None else two_way(same, groups=groups)
    losers, by_class = ([], {}) if targets is None else class_losers(differences, targets, labels, groups)
    verdict: Verdict = "rejected"
    if gain.high < 0:
        verdict = "harmful"
    elif gain.low > 0 and flip_p < SIGNIFICANT and gain.value >= LEAST_GAIN and not losers:
        verdict = "admitted"  # the sign-flip test cannot agree with fewer than `least_seeds`
    if repeated is not None and not repeated.low <= 0 <= repeated.high:
        as_much = max(abs(repeated.low), abs(repeated.high))  # that chance showed itself to be
        is_beyond = verdict == "harmful" and gain.high < -as_much
        if verdict != "rejected" and not is_beyond:
            verdict = "unreliable"
    return Finding(verdict, gain, flip_p, repeated, tuple(losers), by_class, level, least_seeds(n_tried))


def least_items(effect: float, disagreement: float) -> int:
    """Items a test needs so that a difference of `effect` is seen 4 times in 5, however many seeds.

    `disagreement`: the share of items on which two models trained alike answer differently, one of them rightly.
    """
    z = Z * POWER_RATIO
    return math.ceil(disagreement * (z / effect) ** 2)
