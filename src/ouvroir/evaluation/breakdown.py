"""Answers taken apart: by class, by pair of classes, by confidence; and what a test set of a given size can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ouvroir.evaluation.intervals import wilson
from ouvroir.evaluation.metrics import Metric, classified, decided, decisions, labelled
from ouvroir.task import Answers

POWER = 0.8
N_CURVE_BINS = 10
# The fewest one-sided changes that an exact McNemar test calls significant are 6 (2 · 0.5**6 < .05), and 6 or more
# come 4 times in 5 when 7.9 are expected (Poisson).
_LEAST_EXPECTED = 7.9


@dataclass(frozen=True)
class ClassRow:
    """One class: how many rows have it, how many answers named it, and precision, recall and F1."""

    label: str
    support: int
    answered: int
    precision: Metric
    recall: Metric
    f1: float


@dataclass(frozen=True)
class ClassOutcome:
    """How the `n` rows of one class were answered: `n_right` of them right, and which other class most often, on how many.

    `taken_for` is None when all are right, and where a row may have several labels.
    """

    label: str
    n: int
    n_right: int
    taken_for: str | None = None
    n_taken_for: int = 0


@dataclass(frozen=True)
class CalibrationBin:
    """Decisions whose confidence lies in [start, end): how many, how sure on average, how many were right."""

    start: float
    end: float
    confidence: float
    right: Metric


def per_class(answers: Answers) -> list[ClassRow]:
    """One row per class, in the order of the labels. Precision and recall have Wilson's intervals."""
    answers = labelled(answers)
    _, targets = classified(answers)
    answered = decided(answers)
    if answers.is_multi_label:
        truth = targets > 0
        hits, support, named = (truth & answered).sum(0), truth.sum(0), answered.sum(0)
    else:
        n_classes = len(answers.labels)
        hits = np.bincount(targets[targets == answered], minlength=n_classes)
        support, named = np.bincount(targets, minlength=n_classes), np.bincount(answered, minlength=n_classes)
    return [
        ClassRow(
            label=label,
            support=int(n),
            answered=int(m),
            precision=_share(int(hit), int(m)),
            recall=_share(int(hit), int(n)),
            f1=2 * int(hit) / int(n + m) if n + m else math.nan,
        )
        for label, hit, n, m in zip(answers.labels, hits, support, named, strict=True)
    ]


def class_outcomes(answers: Answers) -> list[ClassOutcome]:
    """One entry per class that occurs in the truth, the one with the smallest share of right rows first."""
    answers = labelled(answers)
    _, targets = classified(answers)
    if answers.is_multi_label:
        truth = targets > 0
        n, right = truth.sum(0), (truth & decided(answers)).sum(0)
        wrong = np.zeros((len(answers.labels), 1), dtype=np.int64)
    else:
        wrong = confusion(answers)
        n, right = wrong.sum(1), wrong.diagonal().copy()
        np.fill_diagonal(wrong, 0)
    most, place = wrong.max(1), wrong.argmax(1)
    found = [
        ClassOutcome(
            label=label,
            n=int(n[number]),
            n_right=int(right[number]),
            taken_for=answers.labels[place[number]] if most[number] else None,
            n_taken_for=int(most[number]),
        )
        for number, label in enumerate(answers.labels)
        if n[number]
    ]
    return sorted(found, key=lambda one: (one.n_right / one.n, -one.n, one.label))


def weakest_classes(answers: Answers, *, most: int = 3) -> list[tuple[ClassOutcome, Metric, int]]:
    """The classes that are most surely weak: how each was answered, its recall, and on how many rows it was named wrongly.

    Those come first whose recall is low even at the upper end of its 95 % interval, so that a class of three items is not
    weak by chance; where a row may have several labels, those with the lowest F1. At most half of the classes, none that is
    always right.
    """
    outcomes = {one.label: one for one in class_outcomes(answers)}
    rows = [row for row in per_class(answers) if row.support]
    found = []
    for row in rows:
        one = outcomes[row.label]
        in_vain = row.answered - one.n_right
        if one.n_right < one.n or (answers.is_multi_label and in_vain):
            first = row.f1 if answers.is_multi_label else row.recall.high
            found.append(((first, row.recall.value, row.label), (one, row.recall, in_vain)))
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0])[: min(most, len(rows) // 2)]]


def _share(n_right: int, n: int) -> Metric:
    return Metric(n_right / n if n else math.nan, *wilson(n_right, n), n)


def confusion(answers: Answers) -> np.ndarray:
    """(C, C) int64: rows of class i that were answered j. Single-label only."""
    answers = labelled(answers)
    assert not answers.is_multi_label, "with several labels per row there is no single confusion matrix"
    _, targets = classified(answers)
    n_classes = len(answers.labels)
    flat = np.bincount(targets * n_classes + decided(answers), minlength=n_classes * n_classes)
    return flat.reshape(n_classes, n_classes).astype(np.int64)


def calibration(answers: Answers, *, n_bins: int = N_CURVE_BINS) -> list[CalibrationBin]:
    """The bins of equal width that hold decisions, lowest confidence first."""
    sure, right = decisions(labelled(answers))
    place = np.minimum((sure * n_bins).astype(np.int64), n_bins - 1)
    bins = []
    for bin_ in np.unique(place):
        inside = place == bin_
        bins.append(
            CalibrationBin(
                start=float(bin_) / n_bins,
                end=float(bin_ + 1) / n_bins,
                confidence=float(sure[inside].mean()),
                right=_share(int(right[inside].sum()), int(inside.sum())),
            )
        )
    return bins


def smallest_difference(n: int, *, disagreement: float) -> float:
    """The smallest true difference in shares of right rows that `n` rows show in 4 of 5 tests at the 5 % level.

    `disagreement`: share of rows on which exactly one of the two is right. Paired (McNemar): Connor 1987, equation 2,
    solved for the difference; never under 7.9 rows, because with fewer one-sided changes expected the exact test says
    yes less often. 1 when even that is out of reach.
    """
    if n == 0:
        return 1.0
    z_level, z_power = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(POWER)
    a, b, c = n + z_power**2, -2 * z_level * math.sqrt(n * disagreement), disagreement * (z_level**2 - z_power**2)
    root = (-b + math.sqrt(max(0.0, b * b - 4 * a * c))) / (2 * a)
    return min(1.0, max(root, _LEAST_EXPECTED / n))


def cautious_disagreement(first: float, second: float) -> float:
    """The most that two systems right on shares `first` and `second` can disagree: when their mistakes never coincide."""
    return min(1.0, (1 - first) + (1 - second), first + second)
