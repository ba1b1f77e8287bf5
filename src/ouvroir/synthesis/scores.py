"""What one made sample is worth, measured by what real samples are.

Limits are percentiles of what real samples score among themselves; two are not: the copy ratio, and most of a class. High
likeness is no aim: the mean of all pictures of a class is more like them than they are like each other, so what is too typical
is refused as what is too strange.

Axes: N real samples, M made ones, D width of the features, K classes, V views of one sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ouvroir.evaluation.sets import copy_ratio, nearest_others
from ouvroir.windows import evenly

NEIGHBOURS = 5
SHRINKAGE = 0.1
SAMPLES_A_DIRECTION = 8
CLASS_LEAST = 20
"""Classes with fewer real samples are measured by those of all classes together."""
LABEL_LOW, BAND_LOW, BAND_HIGH, MANIFOLD_HIGH, COPY_LOW = 5.0, 5.0, 95.0, 95.0, 1.0  # percentiles
COPY_RATIO = 1 / 3
LONGEST_PASSAGE = 1 / 2  # of a sample, that may stand in a known one as it is
MOST_COMPARED = 2000  # real samples, where each is compared with each
SAME = 1e-3  # so near is the same: distances are worked out to about that
LEAST_WEIGHT, MOST_WEIGHT = 1 / 3, 2.0
REASONS = ("held_out", "copy", "label", "too_strange", "too_typical", "off_manifold")
"""What speaks against a sample itself, the first that does being given."""
OF_CLASS, ELSEWHERE = "of_class", "elsewhere"
"""What speaks against it as one of a class, or of a set, that is refused as a whole."""


@dataclass(frozen=True)
class Whitening:
    """Features in which real samples vary alike in all directions, so that no single one decides likeness.

    Only the main directions are kept, one for eight samples at most: along the others the few samples that whitening is
    worked out from would be spread by it as no further sample is, and all further ones, real or made, would look strange.
    """

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Whitening:
        """From real features (N, D): their covariance, a tenth of it replaced by its mean (Ledoit and Wolf 2004)."""
        values = np.asarray(features, dtype=np.float64)
        mean = values.mean(axis=0)
        covariance = np.cov(values, rowvar=False, bias=True).reshape(values.shape[1], -1)
        typical = np.trace(covariance) / len(covariance)
        shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * max(typical, 1e-12) * np.eye(len(covariance))
        sizes, axes = np.linalg.eigh(shrunk)
        n_kept = int(np.clip(len(values) // SAMPLES_A_DIRECTION, 2, len(covariance)))
        return cls(mean, axes[:, -n_kept:] @ np.diag(sizes[-n_kept:] ** -0.5))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(n, d) whitened, d being at most D."""
        found: np.ndarray = (np.asarray(features, dtype=np.float64) - self.mean) @ self.matrix
        return found


def likeness(asked: np.ndarray, known: np.ndarray, *, is_itself: bool = False) -> np.ndarray:
    """(len(asked),) mean cosine to the 5 most alike of `known`, one of which is left out for each.

    With `is_itself` they are the same samples, and each leaves itself out; others leave out one in turn, so that both have
    as many to be like.
    """
    a, b = _unit(asked), _unit(known)
    cosines = a @ b.T
    places = np.arange(len(a))
    if len(b) > 1:
        cosines[places, places % len(b)] = -np.inf
    elif is_itself:
        return np.full(len(asked), np.nan)
    k = min(NEIGHBOURS, max(1, len(b) - 1))
    best: np.ndarray = np.partition(cosines, -k, axis=1)[:, -k:].mean(axis=1)
    return best


def _unit(features: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    found: np.ndarray = features / np.maximum(length, 1e-12)
    return found


def by_class(
    asked: np.ndarray, asked_labels: np.ndarray, known: np.ndarray, known_labels: np.ndarray, *, is_itself: bool = False
) -> np.ndarray:
    """`likeness` of each sample to the known ones of its own class; NaN where the class has none."""
    found = np.full(len(asked), np.nan)
    for label in np.unique(asked_labels):
        mine, theirs = asked_labels == label, known_labels == label
        if theirs.sum() > is_itself:
            found[mine] = likeness(asked[mine], known[theirs], is_itself=is_itself)
    return found


def view_distances(asked: np.ndarray, known: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, k) distances to the `k` nearest of `known` (N, D), over all views of each sample, (M, V, D), and their places.

    Views are the sample moved a little: a copy that was moved is far from what it was copied from everywhere, and near in one
    of its views. Of one known sample only the nearest view counts. inf at place -1 where fewer are known.
    """
    m, views, width = asked.shape
    found = np.full((m, k), np.inf)
    places = np.full((m, k), -1, dtype=np.int64)
    if not len(known):
        return found, places
    step = max(1, 20_000_000 // (views * len(known)))
    across = np.ascontiguousarray(known.T, dtype=np.float64)
    squares = (across**2).sum(axis=0)
    for start in range(0, m, step):
        piece = asked[start : start + step].astype(np.float64).reshape(-1, width)
        distances = piece @ across
        distances *= -2
        distances += (piece**2).sum(axis=1)[:, None]
        distances += squares[None, :]
        distances = np.sqrt(np.maximum(distances, 0.0).reshape(-1, views, len(known)).min(axis=1))
        few = min(k, len(known))
        order = (
            np.argpartition(distances, few - 1, axis=1)[:, :few] if few < len(known) else np.argsort(distances, axis=1)
        )
        order = np.take_along_axis(order, np.argsort(np.take_along_axis(distances, order, axis=1), axis=1), axis=1)
        rows = slice(start, start + len(distances))
        found[rows, : order.shape[1]] = np.take_along_axis(distances, order, axis=1)
        places[rows, : order.shape[1]] = order
    return found, places


@dataclass(frozen=True)
class Novelty:
    """What is too near to a sample that was learned from.

    `least`: the distance below which it is a copy; `ratio`: the copy ratio that half of the real samples are below.
    """

    known: np.ndarray
    least: float
    ratio: float

    @classmethod
    def of(cls, known: np.ndarray, views: np.ndarray) -> Novelty:
        """From the real samples that were learned from, (N, D), and the views (n, V, D) of some of them, themselves first.

        What is among them twice counts once where distances are measured: it says nothing of how near real samples come.
        """
        distances, _ = view_distances(views, np.unique(known, axis=0), 3)  # each is nearest to itself
        others = distances[:, 1:]
        least = float(np.percentile(others[:, 0], COPY_LOW)) if np.isfinite(others[:, 0]).all() else 0.0
        return cls(known, least, float(np.median(copy_ratio(others))) if len(others) else 1.0)

    def look(self, views: np.ndarray) -> Looked:
        """How near samples come to what was learned from."""
        distances, places = view_distances(views, self.known, 2)
        ratio = copy_ratio(distances)
        near = distances[:, 0] <= max(self.least, SAME)  # 0 where train rows are in it twice
        return Looked(ratio, places[:, 0], near | (ratio < COPY_RATIO))


@dataclass(frozen=True)
class Looked:
    """(M,) each: copy ratio, place of the nearest known sample, whether it is a copy of that one.

    A copy is nearer than real samples are to each other, or three times nearer to one of them than to any other; or it has most
    of itself from one of them in a single passage.
    """

    ratio: np.ndarray
    place: np.ndarray
    is_copy: np.ndarray

    def with_passages(self, shared: np.ndarray, usual: np.ndarray) -> Looked:
        """Those of which more than half is one passage of a known sample are copies too, unless real samples share as much.

        shared: (M,) in [0, 1]; usual: what real samples share with each other.
        """
        most = max(LONGEST_PASSAGE, float(np.percentile(usual, 100 - COPY_LOW)) if len(usual) else 0.0)
        return replace(self, is_copy=self.is_copy | (shared > most))


@dataclass(frozen=True)
class Standards:
    """What real samples score among themselves: per class the least probability of its label and the band of likeness."""

    label: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, right: np.ndarray, alike: np.ndarray, labels: np.ndarray, n_classes: int) -> Standards:
        """From real samples: (N,) probability of the own label, (N,) likeness, (N,) classes."""

        def each(values: np.ndarray, percentile: float) -> np.ndarray:
            everywhere = float(np.nanpercentile(values, percentile))
            found = np.full(n_classes, everywhere)
            for label in range(n_classes):
                mine = values[(labels == label) & np.isfinite(values)]
                if len(mine) >= CLASS_LEAST:
                    found[label] = np.percentile(mine, percentile)
            return found

        return cls(each(right, LABEL_LOW), each(alike, BAND_LOW), each(alike, BAND_HIGH))

    def margins(self, right: np.ndarray, alike: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """By how much (M,) made samples keep each standard; below 0 where they do not. NaN, which says nothing, keeps it."""
        found = {
            "label": right - self.label[labels],
            "too_strange": alike - self.low[labels],
            "too_typical": self.high[labels] - alike,
        }
        return {name: np.nan_to_num(margin, nan=0.0) for name, margin in found.items()}


def is_on_manifold(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(M,) bool: as near to some real sample, by the distance of that one to its fifth neighbour, as real samples are.

    The limit is the 95th percentile of what real samples score, each left out in turn.
    """
    real = real[evenly(len(real), MOST_COMPARED)]
    k = min(NEIGHBOURS, len(real) - 2)
    if k < 1:
        return np.ones(len(made), dtype=bool)
    radius = np.maximum(nearest_others(real, k)[:, -1], 1e-12)
    scored = _least_ratio(made, real, radius)
    found: np.ndarray = scored <= np.percentile(_least_ratio(real, real, radius, is_itself=True), MANIFOLD_HIGH)
    return found


def _least_ratio(asked: np.ndarray, known: np.ndarray, radius: np.ndarray, *, is_itself: bool = False) -> np.ndarray:
    """(len(asked),) the least distance to a known sample over the radius of that one."""
    found = np.empty(len(asked))
    step = max(1, 20_000_000 // max(1, known.size))
    for start in range(0, len(asked), step):
        piece = asked[start : start + step]
        ratio = np.linalg.norm(piece[:, None, :] - known[None, :, :], axis=2) / radius[None, :]
        if is_itself:
            rows = np.arange(len(piece))
            ratio[rows, start + rows] = np.inf
        found[start : start + len(piece)] = ratio.min(axis=1)
    return found


def reasons(
    margins: Mapping[str, np.ndarray], *, held_out: np.ndarray, copied: np.ndarray, within: np.ndarray
) -> list[str]:
    """For each made sample the first of REASONS that speaks against it, or ''. `margins`: as `Standards.margins` gives."""
    against = {
        "held_out": held_out,
        "copy": copied,
        **{name: margin < 0 for name, margin in margins.items()},
        "off_manifold": ~within,
    }
    return [next((name for name in REASONS if against[name][place]), "") for place in range(len(copied))]


def with_whole_classes(reason: Sequence[str], labels: np.ndarray) -> list[str]:
    """The reasons, where a class of which most samples are copies, or bear the wrong label, is refused as a whole: OF_CLASS.

    A few of them always pass by chance, and where most are wrong nothing speaks for these.
    """
    found = list(reason)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        for name in ("copy", "label"):
            if sum(reason[place] == name for place in mine.tolist()) > len(mine) / 2:
                for place in mine.tolist():
                    found[place] = found[place] or OF_CLASS
    return found


def weights(right: np.ndarray, realism: np.ndarray) -> np.ndarray:
    """(M,) float64 of mean 1: p(1 - p)·σ(s), s being the realism in standard deviations.

    A sample whose label is beyond doubt teaches little; one that is told to be made counts less. Nothing is fitted to the data.
    Before they are scaled to mean 1, weights lie between a third of the mean and twice it: the
    probability is that of a classifier which learned from half of the rows, and its doubt may be its own fault.
    """
    doubt = np.clip(right * (1 - right), 1e-3, None)
    spread = realism.std()
    standard = (realism - realism.mean()) / spread if spread > 0 else np.zeros_like(realism)
    found = doubt / (1 + np.exp(-standard))
    found = np.clip(found / found.mean(), LEAST_WEIGHT, MOST_WEIGHT)
    scaled: np.ndarray = found / found.mean()
    return scaled


def realism(real: np.ndarray, made: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """(M,) probability of being real that a classifier gives each made sample which it did not learn from.

    Logistic regression on features, in two halves, real and made counting alike.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(seed)
    halves = [rng.permutation(len(one)) % 2 for one in (real, made)]
    found = np.full(len(made), 0.5)
    for half in (0, 1):
        learned = [one[side != half] for one, side in zip((real, made), halves, strict=True)]
        if min(map(len, learned)) < 2:
            continue
        answers = np.repeat([1, 0], [len(one) for one in learned])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"))
        model.fit(np.concatenate(learned), answers)
        asked = halves[1] == half
        if asked.any():
            found[asked] = model.predict_proba(made[asked])[:, 1]
    return found
