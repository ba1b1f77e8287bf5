"""Two sets of samples beside each other, real and made: how alike they are, and what one has that the other lacks.

All of them look at features, (N, D) arrays, whatever the samples are. None of them says whether made samples help in
training; only a trial does (`trial.py`). Fréchet's distance is not among them: on the few hundred samples that people have
it measures their number (on two samples of one Gaussian in 64 dimensions: far from 0 at 100, and nearer the more there are).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from ouvroir.errors import DataError
from ouvroir.evaluation.intervals import wilson

NEIGHBOURS = 5
LEAST_SAMPLES = 20
_CHUNK = 4_000_000  # distances held at once


def nearest_others(samples: np.ndarray, k: int) -> np.ndarray:
    """(N, k) distances of each sample to its `k` nearest others, ascending; inf where there are fewer."""
    found = np.full((len(samples), k), np.inf)
    for start, distances in _distances(samples, samples):
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf
        best = np.sort(np.partition(distances, min(k, distances.shape[1]) - 1, axis=1)[:, :k], axis=1)
        found[start : start + len(best), : best.shape[1]] = best
    return found


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Pieces of the (len(a), len(b)) Euclidean distances: the first row of each, and the piece."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    centre = b.mean(axis=0)  # near 0 little is lost in the subtraction below
    a, b = a - centre, b - centre
    squares = (b**2).sum(axis=1)
    step = max(1, _CHUNK // max(1, len(b)))
    for start in range(0, len(a), step):
        piece = a[start : start + step]
        found = (piece**2).sum(axis=1)[:, None] + squares[None, :] - 2 * piece @ b.T
        yield start, np.sqrt(np.maximum(found, 0.0))


@dataclass(frozen=True)
class Shape:
    """Of made samples: precision and density say how many lie among the real ones, recall and coverage how many of the
    real ones have made ones about them.
    """

    precision: float
    recall: float
    density: float
    coverage: float

    def as_dict(self) -> dict[str, float]:
        """Plain JSON values."""
        return asdict(self)


def shape_of(real: np.ndarray, made: np.ndarray, *, k: int = NEIGHBOURS) -> Shape:
    """Precision and recall (Kynkäänniemi 2019, arXiv 1904.06991), density and coverage (Naeem 2020, arXiv 2002.09797).

    A sample's ball reaches to its k-th nearest neighbour of its own set. Sets should be equally large. Raises DataError.
    """
    _require(real, made)
    real_radius, made_radius = (nearest_others(one, k)[:, -1] for one in (real, made))
    within = np.zeros(len(made))
    recalled, covered = np.zeros(len(real), dtype=bool), np.zeros(len(real), dtype=bool)
    for start, distances in _distances(real, made):
        rows = slice(start, start + len(distances))
        inside = distances < real_radius[rows, None]
        within += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
        recalled[rows] = (distances < made_radius[None, :]).any(axis=1)
    return Shape(
        precision=float((within > 0).mean()),
        recall=float(recalled.mean()),
        density=float(within.mean() / k),
        coverage=float(covered.mean()),
    )


def kernel_distance(real: np.ndarray, made: np.ndarray) -> float:
    """The squared maximum mean discrepancy of the kernel (x·y / D + 1)³, unbiased: of two samples of one distribution it is
    0 on average, so that it can be negative (Bińkowski 2018, arXiv 1801.01401). Raises DataError.
    """
    _require(real, made)
    width = real.shape[1]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product: np.ndarray = (np.asarray(a, np.float64) @ np.asarray(b, np.float64).T / width + 1) ** 3
        return product

    def among(one: np.ndarray) -> float:
        products = kernel(one, one)
        return float((products.sum() - np.trace(products)) / (len(one) * (len(one) - 1)))

    return among(real) + among(made) - 2 * float(kernel(real, made).mean())


@dataclass(frozen=True)
class ToldApart:
    """How well a classifier tells real from made: the share that it gets right, 1/2 where it cannot, and the interval."""

    value: float
    low: float
    high: float
    p_value: float


def told_apart(real: np.ndarray, made: np.ndarray, *, seed: int = 0) -> ToldApart:
    """A two-sample test by classifier (Lopez-Paz and Oquab 2017, arXiv 1610.06545): logistic regression on one half of
    equally many of each, asked about the other half; exact binomial p against guessing. Raises DataError.
    """
    from scipy.special import bdtrc
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _require(real, made)
    rng = np.random.default_rng(seed)
    n = min(len(real), len(made)) // 2 * 2
    sides = [one[rng.permutation(len(one))[:n]] for one in (real, made)]
    half = n // 2
    learned = np.concatenate([one[:half] for one in sides])
    asked = np.concatenate([one[half:] for one in sides])
    answers = np.repeat([0, 1], half)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(learned, answers)
    n_right = int((model.predict(asked) == answers).sum())
    low, high = wilson(n_right, n)
    return ToldApart(n_right / n, low, high, float(bdtrc(n_right - 1, n, 0.5)) if n_right else 1.0)


def made_for_real(
    made: np.ndarray, made_labels: np.ndarray, real: np.ndarray, real_labels: np.ndarray, n_classes: int
) -> np.ndarray:
    """(n_classes,) share of the real samples of each class that logistic regression gets right having seen made ones only;
    NaN for classes without real ones. Trained on synthetic, tested on real: it shows classes that were made wrongly.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(made_labels)) < 2:
        raise DataError("The samples are all of one class, so nothing can learn from them to tell classes apart.")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(made, made_labels)
    right = model.predict(real) == real_labels
    counts = np.bincount(real_labels, minlength=n_classes).astype(np.float64)
    counts[counts == 0] = np.nan
    share: np.ndarray = np.bincount(real_labels, weights=right, minlength=n_classes) / counts
    return share


def copy_ratio(distances: np.ndarray) -> np.ndarray:
    """(M,) nearest over second-nearest distance to the samples learned from, from (M, 2): near 0 for a copy, usually near 1.

    1 where there are not two of them, or where both are at no distance: it cannot be told then which of them was copied.
    """
    near, next_to = distances[:, 0], distances[:, 1]
    is_told = np.isfinite(next_to) & (next_to > 0)
    found: np.ndarray = np.divide(near, next_to, out=np.ones(len(near)), where=is_told)
    return found


def _require(real: np.ndarray, made: np.ndarray) -> None:
    fewest = min(len(real), len(made))
    if fewest < LEAST_SAMPLES:
        raise DataError(
            f"{fewest} samples are too few to compare two sets by; {LEAST_SAMPLES} of each are needed, 100 are better."
        )
