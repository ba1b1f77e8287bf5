"""95 % intervals: Wilson's for proportions, an inverted test for sums of distances, a bootstrap over rows for the rest.

Every metric is a function of sums over rows, so a bootstrap draw is a vector of counts times a matrix, and rows that
are alike are drawn together. No loop over rows, no global random numbers: the seed is an argument.

Axes: U kinds of rows, K sums, B draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

Array = np.ndarray
LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)  # 1.96
N_DRAWS = 2000
_CHUNK = 4_000_000  # numbers held at once while drawing and adding up
_EXACT_IN_FLOAT32 = 2**24  # whole numbers below this
_FEW_DRAWN = 30  # fewer are too few for a bootstrap
_FEW_KINDS = 2048  # up to here numpy's multinomial is quicker than drawing rows one by one


def wilson(n_right: float, n: int) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927). [0, 1] when `n` is 0.

    Chosen over the exact binomial interval, whose coverage is well above 95 % on small test sets (Agresti and Coull
    1998).
    """
    if n == 0:
        return 0.0, 1.0
    share = n_right / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


@dataclass(frozen=True)
class Sums:
    """A metric as a function of sums over rows.

    kinds: (N,) int64, which of the U kinds each row is; parts: (U, K), what one row of each kind adds to the sums,
    float64 or, where a row counts or does not, bool; finish: sums (B, K) to values (B,), NaN where a value is not defined.
    """

    kinds: Array
    parts: Array
    finish: Callable[[Array], Array]

    @classmethod
    def of_rows(cls, parts: Array, finish: Callable[[Array], Array]) -> Sums:
        """Every row is a kind of its own; `parts` is (N, K)."""
        return cls(np.arange(len(parts)), parts, finish)

    @classmethod
    def of_kinds(cls, kinds: Array, parts_of: Callable[[Array], Array], finish: Callable[[Array], Array]) -> Sums:
        """Rows with equal `kinds` (N,) int64 are alike; `parts_of` gives the (U, K) parts of the kinds that occur."""
        found, place = np.unique(kinds, return_inverse=True)
        return cls(place, parts_of(found), finish)

    @cached_property
    def counts(self) -> Array:
        """(U,) float64: rows of each kind."""
        return np.bincount(self.kinds, minlength=len(self.parts)).astype(np.float64)

    def value(self) -> float:
        """The metric on the rows as they are."""
        return float(self.finish(self._totals(self.counts[None, :]))[0])

    def draws(self, n_draws: int, seed: int) -> Array:
        """(n_draws,) values on rows drawn with replacement."""
        found = [self.finish(self._totals(counts)) for counts in _drawn(self.counts, n_draws, seed)]
        return np.concatenate(found)

    def without_one(self) -> Array:
        """(U,) values when one row of each kind is left out (the jackknife)."""
        total = self._totals(self.counts[None, :])
        return np.concatenate([self.finish(total - self.parts[few]) for few in self._blocks()])

    def together(self, units: Array | None) -> Sums:
        """The same with rows of one unit (N,) int64 drawn together, as what is alike in them is drawn once; None: each alone."""
        if units is None:
            return self
        _, place = np.unique(units, return_inverse=True)
        parts = np.zeros((int(place.max(initial=-1)) + 1, self.parts.shape[1]))
        np.add.at(parts, place, self.parts[self.kinds])
        return Sums.of_rows(parts, self.finish)

    def _totals(self, counts: Array) -> Array:
        """(B, K) float64 sums for `counts` (B, U); bool parts become numbers a block at a time, or they fill the memory."""
        if self.parts.dtype != bool:
            return np.asarray(counts @ self.parts)
        kind = np.float32 if counts[0].sum() < _EXACT_IN_FLOAT32 else np.float64
        total = np.zeros((len(counts), self.parts.shape[1]))
        for few in self._blocks():
            total += counts[:, few].astype(kind) @ self.parts[few].astype(kind)
        return total

    def _blocks(self) -> list[slice]:
        size = max(1, _CHUNK // max(1, self.parts.shape[1]))
        return [slice(start, start + size) for start in range(0, len(self.parts), size)]


def difference(first: Sums, second: Sums) -> Sums:
    """Second minus first on the same rows in the same order: a row is drawn for both together."""
    width, n_second = first.parts.shape[1], len(second.parts)

    def parts_of(kinds: Array) -> Array:
        return np.concatenate([first.parts[kinds // n_second], second.parts[kinds % n_second]], axis=1)

    def finish(total: Array) -> Array:
        return np.asarray(second.finish(total[:, width:]) - first.finish(total[:, :width]))

    return Sums.of_kinds(first.kinds * n_second + second.kinds, parts_of, finish)


def _drawn(counts: Array, n_draws: int, seed: int) -> Iterator[Array]:
    """Counts (b, U) float64 of each kind in resampled sets of the same size, in chunks that fit in memory."""
    rng = np.random.default_rng(seed)
    n, kinds = int(counts.sum()), len(counts)
    chunk = max(1, min(n_draws, _CHUNK // max(kinds, 1)))
    kind_of_row = np.repeat(np.arange(kinds), counts.astype(np.int64)) if kinds > _FEW_KINDS else None
    for start in range(0, n_draws, chunk):
        size = min(chunk, n_draws - start)
        if kind_of_row is None:
            yield rng.multinomial(n, counts / n, size=size).astype(np.float64)
            continue
        drawn = np.empty((size, kinds))
        for row in range(size):
            drawn[row] = np.bincount(kind_of_row[rng.integers(0, n, n)], minlength=kinds)
        yield drawn


def around(sums: Sums, *, n_draws: int = N_DRAWS, seed: int = 0) -> tuple[float, float]:
    """The interval of what may be any number: BCa; of few rows Student's t with the jackknife's deviation; of one, without ends.

    On simulated tests of 2, 4, 8 and 20 rows BCa held the truth in 52, 75, 88 and 89 %, t in 95, 93, 96 and 92 % (docs/decisions).
    """
    n = float(sums.counts.sum())
    if n < 2:
        return -math.inf, math.inf
    if n >= _FEW_DRAWN:
        return bca(sums, n_draws=n_draws, seed=seed)
    from scipy.special import stdtrit

    weights, gap = _influence(sums)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * math.sqrt((n - 1) / n * float(weights @ gap**2))
    return sums.value() - half, sums.value() + half


def percentile(sums: Sums, *, n_draws: int = N_DRAWS, seed: int = 0) -> tuple[float, float]:
    """The plain percentile interval (Efron and Tibshirani 1993, chapter 13)."""
    low, high = np.nanquantile(sums.draws(n_draws, seed), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bca(sums: Sums, *, n_draws: int = N_DRAWS, seed: int = 0) -> tuple[float, float]:
    """The bias-corrected and accelerated interval (Efron 1987; Efron and Tibshirani 1993, equations 14.9 to 14.15).

    Chosen for F1 after a trial on 12 simulated kinds of test sets of 60 to 1,000 rows with at least 5 expected errors
    (400 sets each, 2 to 30 classes): it held the truth in 95.5 to 97.2 % of them, the percentile interval in 88 to
    95.5 % and the basic one in 86 to 96 % (docs/decisions).
    """
    value, draws = sums.value(), sums.draws(n_draws, seed)
    draws = np.sort(draws[~np.isnan(draws)])
    if len(draws) == 0 or draws[0] == draws[-1]:
        return value, value
    below = (np.searchsorted(draws, value, "left") + np.searchsorted(draws, value, "right")) / 2 / len(draws)
    normal = NormalDist()
    bias = normal.inv_cdf(min(max(below, 1 / len(draws)), 1 - 1 / len(draws)))
    speed = _acceleration(sums)
    ends = []
    for z in (-Z, Z):
        moved = bias + (bias + z) / (1 - speed * (bias + z))
        ends.append(float(np.quantile(draws, normal.cdf(moved))))
    return ends[0], ends[1]


def _acceleration(sums: Sums) -> float:
    weights, gap = _influence(sums)
    spread = float(weights @ gap**2)
    return float(weights @ gap**3) / (6 * spread**1.5) if spread > 0 else 0.0


def _influence(sums: Sums) -> tuple[Array, Array]:
    """(U,) rows of each kind, and (U,) by how much the value is smaller than usual without one of them (the jackknife)."""
    left_out = sums.without_one()
    weights = np.where(np.isnan(left_out), 0.0, sums.counts)
    left_out = np.nan_to_num(left_out)
    return weights, float(weights @ left_out) / max(weights.sum(), 1.0) - left_out


def distance(parts: Array, shares: Array, *, n_draws: int = N_DRAWS, seed: int = 0) -> tuple[float, float]:
    """The interval of Σ |E part|, the sum of the sizes of the means of the columns of `parts` (N, K).

    The sum of the sizes of the sample's means is too large, since noise has no sign, and a bootstrap of it is too large
    twice over. So each truth is asked whether it would give the sum that was found (in 2.5 % of draws on either side at
    least), the means being normal with the covariance of the rows. A truth of size t is not one point; two shapes stand
    for all of them, and the interval holds what either allows: few columns are off (the means found, drawn towards 0 by
    an equal amount), and all are off in one direction by `shares` (K,), the least and the most noise that could be.
    """
    if len(parts) < 2:
        return 0.0, 1.0
    means = parts.mean(0)
    found = float(np.abs(means).sum())
    scale, axes = np.linalg.eigh(np.cov(parts, rowvar=False) / len(parts))
    if scale[-1] <= 0:
        return found, found
    noise = np.random.default_rng(seed).normal(size=(n_draws, len(scale))) @ (axes * np.sqrt(scale.clip(0))).T
    side = 1.0 if means.sum() >= 0 else -1.0

    def few(size: float) -> Array:
        return _towards_zero(means, size)

    def alike(size: float) -> Array:
        return size * side * shares

    most = found + 10 * math.sqrt(float(scale.clip(0).sum()))
    ends = [*_allowed(few, noise, found, most), *_allowed(alike, noise, found, most)]
    return min(ends), max(ends)


def _allowed(shape: Callable[[float], Array], noise: Array, found: float, most: float) -> tuple[float, float]:
    """The least and the largest size at which `shape` of it and `noise` (B, K) give a sum like `found`."""
    tail = (1 - LEVEL) / 2

    def is_too_small(size: float) -> bool:
        return bool((np.abs(shape(size) + noise).sum(1) >= found).mean() < tail)

    def is_not_too_large(size: float) -> bool:
        return bool((np.abs(shape(size) + noise).sum(1) <= found).mean() >= tail)

    return _last_true(is_too_small, most), _last_true(is_not_too_large, most)


def _last_true(holds: Callable[[float], bool], most: float) -> float:
    """Where `holds`, which is true up to some size from 0 to `most`, ends; 0 when it never begins."""
    if not holds(0.0):
        return 0.0
    low, high = 0.0, most
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _towards_zero(means: Array, size: float) -> Array:
    """`means` (K,), each drawn towards 0 by the same amount, so that the sum of their sizes is `size`; or all made larger."""
    sizes = np.abs(means)
    if size >= sizes.sum():
        return np.asarray(means * (size / sizes.sum())) if sizes.sum() else means
    largest = np.sort(sizes)[::-1]
    amounts = (np.cumsum(largest) - size) / np.arange(1, len(sizes) + 1)
    amount = amounts[np.flatnonzero(largest > amounts)[-1]] if size > 0 else largest[0]
    return np.asarray(np.sign(means) * (sizes - amount).clip(0))
