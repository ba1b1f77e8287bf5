"""Cheap ways to classify, which any model should beat, and labels that such ways contradict.

Plain functions that a task calls; none knows a medium. scikit-learn is imported by the functions that need it, so that
workers do not load it.

Axes: N rows of a table, M of these to learn from, C classes, D simple features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ouvroir.task import Answers, Cheap

BASELINE_ROWS = 5000  # cheap baselines learn from at most so many rows
BASELINE_WORK = 1e11  # rows x features x classes x iterations of one logistic regression: 5 to 10 s on one core
BASELINE_ITERATIONS = (20, 200)  # of the solver: as many as the work allows, between these
STRENGTHS = (0.01, 0.1, 1.0)  # inverse penalties of logistic regression that are tried
NEIGHBOURS = 5
MOST_FREQUENT = ("most frequent class", "most frequent labels")
"""Names of the baseline that looks at nothing, for rows of one label and of several."""


def answers_from_scores(scores: np.ndarray, targets: np.ndarray, labels: tuple[str, ...]) -> Answers:
    """Answers of a baseline: scores (N, C) probabilities; targets (N,) int64 or (N, C) of 0 and 1."""
    kept = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    if targets.ndim == 2:
        loss = -(targets * np.log(kept) + (1 - targets) * np.log1p(-kept)).mean(axis=1)
    else:
        loss = -np.log(kept[np.arange(len(targets)), targets])
    return Answers(
        index=np.arange(len(targets), dtype=np.int64),
        loss=loss,
        n_items=np.ones(len(targets), np.int64),
        scores=scores.astype(np.float32),
        targets=targets.astype(np.uint8) if targets.ndim == 2 else targets.astype(np.int64),
        labels=labels,
    )


def majority_baseline(train_targets: np.ndarray, test_targets: np.ndarray, labels: tuple[str, ...]) -> Cheap:
    """Answers every row with the most frequent class of the train rows; its scores are the shares of the classes there.

    Of classes equally frequent, the first in the order of `labels`. With several labels per row: as many of the most
    frequent labels as rows have on average, at least one (General-B; Metz et al. 2012, section 3), and all that are as
    frequent as the last of them, so that no order of names decides. Those are `Answers.answered`, and the scores stay the
    shares of the labels, under 0.5 as they may be.
    """
    answered = None
    if train_targets.ndim == 2:
        name, counts = MOST_FREQUENT[1], train_targets.sum(axis=0)
        shares = (counts + 0.5) / (len(train_targets) + 1)
        n_answered = min(len(labels), max(1, round(float(counts.sum()) / len(train_targets))))
        answered = np.repeat((counts >= np.sort(counts)[-n_answered])[None], len(test_targets), axis=0)
    else:
        name, counts = MOST_FREQUENT[0], np.bincount(train_targets, minlength=len(labels)) + 0.5
        shares = counts / counts.sum()
    scores = np.repeat(shares[None].astype(np.float32), len(test_targets), axis=0)
    return Cheap(name, replace(answers_from_scores(scores, test_targets, labels), answered=answered))


def cheap_baselines(
    train_targets: np.ndarray,
    features_of: Callable[[np.ndarray], np.ndarray],
    features: np.ndarray,
    targets: np.ndarray,
    labels: tuple[str, ...],
) -> list[Cheap]:
    """Most frequent class or labels, logistic regression, nearest neighbours; the last two learn from at most BASELINE_ROWS rows.

    `features_of`: places of train rows (M,) int64 to their simple features (M, D); `features` (N, D) of the test rows.
    """
    chosen = _some_rows(train_targets)
    known, wanted = features_of(chosen), train_targets[chosen]
    n_rows = len(chosen) if len(chosen) < len(train_targets) else None
    learned = [
        baseline(known, wanted, features, targets, labels) for baseline in (linear_baseline, neighbours_baseline)
    ]
    return [majority_baseline(train_targets, targets, labels), *(replace(one, n_rows=n_rows) for one in learned)]


def linear_baseline(
    known: np.ndarray, wanted: np.ndarray, asked: np.ndarray, targets: np.ndarray, labels: tuple[str, ...]
) -> Cheap:
    """Logistic regression on standardised features: of the train rows `known` (M, D), of the test rows `asked` (N, D)."""
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
    # one scale for all features after the first standardising keeps dim features from shouting: deviation has a floor
    deviation = np.maximum(deviation, 0.1 * deviation.max())
    known, asked = (known - mean) / deviation, (asked - mean) / deviation
    scores = _fit_linear(known, wanted, asked, len(labels), _best_strength(known, wanted))
    return Cheap("logistic regression on simple features", answers_from_scores(scores, targets, labels))


def neighbours_baseline(
    known: np.ndarray, wanted: np.ndarray, asked: np.ndarray, targets: np.ndarray, labels: tuple[str, ...]
) -> Cheap:
    """The NEIGHBOURS nearest of the train rows `known` (M, D) to each of `asked` (N, D), Euclidean, vote, nearer ones more."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(known)), algorithm="brute").fit(known)
    distance, place = search.kneighbors(asked)
    vote = 1 / (distance + 1e-6)
    vote /= vote.sum(axis=1, keepdims=True)
    scores = np.zeros((len(asked), len(labels)), np.float32)
    for near in range(place.shape[1]):  # one neighbour at a time: with many classes all at once fill the memory
        if wanted.ndim == 2:
            scores += vote[:, near, None] * wanted[place[:, near]]
        else:
            scores[np.arange(len(scores)), wanted[place[:, near]]] += vote[:, near]
    uniform = 0.5 if wanted.ndim == 2 else 1 / len(labels)
    scores = 0.98 * scores + 0.02 * uniform  # a vote of 5 is no certainty
    return Cheap("nearest neighbours on simple features", answers_from_scores(scores, targets, labels))


def _some_rows(targets: np.ndarray, n_rows: int = BASELINE_ROWS) -> np.ndarray:
    """Places of at most `n_rows` rows, evenly spaced over the rows sorted by class, so that every class keeps its share."""
    if len(targets) <= n_rows:
        return np.arange(len(targets))
    order = np.argsort(targets if targets.ndim == 1 else targets.argmax(axis=1), kind="stable")
    chosen: np.ndarray = np.sort(order[np.linspace(0, len(order) - 1, n_rows).astype(np.int64)])
    return chosen


def _iterations(n_numbers: int, n_classes: int) -> int:
    """Of the solver for `n_numbers` features in all rows together, within BASELINE_WORK.

    Stopping early cost nothing where it was tried: 1,000 classes of 5 rows and 304 features were answered as well after
    65 iterations as after 200, and principal components in the same time lost half of the right answers.
    """
    least, most = BASELINE_ITERATIONS
    return min(most, max(least, int(BASELINE_WORK / (n_numbers * n_classes))))


def _best_strength(known: np.ndarray, wanted: np.ndarray) -> float:
    """The inverse penalty among STRENGTHS that answers every fifth train row best when learned from the others."""
    held = np.arange(len(wanted)) % 5 == 4
    if not held.any():
        return STRENGTHS[1]
    n_classes = wanted.shape[1] if wanted.ndim == 2 else int(wanted.max()) + 1
    tried = {
        strength: answers_from_scores(
            _fit_linear(known[~held], wanted[~held], known[held], n_classes, strength), wanted[held], ()
        ).loss.mean()
        for strength in STRENGTHS
    }
    return min(tried, key=lambda strength: float(tried[strength]))


def _fit_linear(
    known: np.ndarray, wanted: np.ndarray, asked: np.ndarray, n_classes: int, strength: float = 0.1
) -> np.ndarray:
    """(N, C) probabilities by logistic regression; classes without a train row get 0, constant labels their share."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    iterations = _iterations(known.size, n_classes)

    def fit(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(np.unique(target)) < 2:
            return np.unique(target), np.ones((len(asked), 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is the time bound
            model = LogisticRegression(C=strength, max_iter=iterations).fit(known, target)
        return model.classes_, model.predict_proba(asked)

    scores = np.zeros((len(asked), n_classes))
    if wanted.ndim == 2:
        for number in range(n_classes):
            classes, found = fit(wanted[:, number] > 0.5)
            scores[:, number] = found[:, list(classes).index(True)] if True in classes else 0.0
    else:
        classes, found = fit(wanted)
        scores[:, classes] = found
    return scores


# --- labels that may be wrong -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Suspect:
    """A row whose label may be wrong: its place, the label it has, the one that the others suggest, and how sure (0 to 1).

    `split`: the rows that `place` counts in; in a report they are those that `show_test` or `show_train` shows.
    """

    place: int
    given: str
    suggested: str
    confidence: float
    split: Literal["train", "test"] = "test"


def out_of_fold_scores(
    features: np.ndarray, targets: np.ndarray, n_classes: int, *, folds: int = 5, seed: int = 0
) -> np.ndarray:
    """(N, C): probabilities of each row by a logistic regression that did not see it. targets: (N,) int64."""
    order = np.random.default_rng(seed).permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]  # dealt class by class, so that folds are stratified
    fold = np.empty(len(targets), np.int64)
    fold[order] = np.arange(len(targets)) % folds
    scores = np.zeros((len(targets), n_classes))
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    for number in range(folds):
        held = fold == number
        if held.any() and not held.all():
            scores[held] = _fit_linear(scaled[~held], targets[~held], scaled[held], n_classes)
    return scores


def mislabels(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(N,) bool: rows that others' labels contradict (confident learning; Northcutt 2021, arXiv 1911.00068, 3.1).

    scores: (N, C) probabilities by models that did NOT learn from the row (`out_of_fold_scores`, or held-out answers);
    targets: (N,) int64. A row is suspect when it reaches, for another class, the mean confidence of that class's own
    rows, and that class is also its most probable one.
    """
    n_classes = scores.shape[1]
    own = scores[np.arange(len(targets)), targets]
    usual = np.array([own[targets == c].mean() if (targets == c).any() else np.inf for c in range(n_classes)])
    best = scores.argmax(axis=1)
    found: np.ndarray = (scores[np.arange(len(targets)), best] >= usual[best]) & (best != targets)
    return found


def suspected_mislabels(
    scores: np.ndarray, targets: np.ndarray, labels: tuple[str, ...], *, most: int = 100
) -> list[Suspect]:
    """The rows that `mislabels` finds, most doubtful first."""
    own = scores[np.arange(len(targets)), targets]
    candidate = scores.argmax(axis=1)
    is_suspect = mislabels(scores, targets)
    margin = scores[np.arange(len(targets)), candidate] - own
    places = np.flatnonzero(is_suspect)
    places = places[np.argsort(-margin[places], kind="stable")][:most]
    return [
        Suspect(int(place), labels[targets[place]], labels[candidate[place]], float(scores[place, candidate[place]]))
        for place in places
    ]
