"""Answers taken apart: by class, by pair of classes, by confidence; and what a test set of a given size can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ouvroir.evaluation.intervals import wilson
from ouvroir.evaluation.metrics import Metric, classified, decided, decisions, is_right, labelled
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
    """How the `n` rows of one class were answered: `n_right` of them right, a share of `value` with its interval.

    `taken_for` is the other class that was answered most often, on `n_taken_for` of them; None when all are right, and
    where a row may have several labels. `n_in_vain` answers name the class and are wrong.
    """

    label: str
    n: int
    n_right: int
    value: float
    low: float
    high: float
    taken_for: str | None
    n_taken_for: int
    n_in_vain: int


@dataclass(frozen=True)
class CalibrationBin:
    """Decisions whose confidence lies in [start, end): how many, how sure on average, how many were right."""

    start: float
    end: float
    confidence: float
    right: Metric


@dataclass(frozen=True)
class GroupOutcome:
    """How the `n` rows of one group were answered: a share of `right` of them as they should be.

    given and answer: the confusion that came most often, `n_taken` times; None when all are right, and with several labels a row.
    """

    group: str
    n: int
    right: Metric
    given: str | None
    answer: str | None
    n_taken: int


def by_group(answers: Answers, groups: np.ndarray, *, least: int = 5, most: int = 60) -> list[GroupOutcome]:
    """The largest groups (N,) of at least `least` rows, at most `most` of them, the worst first. '' is no group."""
    names, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    right = is_right(answers)
    large = [int(one) for one in np.argsort(-counts, kind="stable") if counts[one] >= least and names[one]][:most]
    found = [_group_outcome(answers, str(names[one]), np.flatnonzero(place == one), right) for one in large]
    return sorted(found, key=lambda one: (one.right.value, one.group))


def _group_outcome(answers: Answers, name: str, rows: np.ndarray, right: np.ndarray) -> GroupOutcome:
    n_right = int(right[rows].sum())
    given = answer = None
    n_taken = 0
    if n_right < len(rows) and not answers.is_multi_label:
        _, targets = classified(answers)
        wrong = rows[~right[rows]]
        pairs, counts = np.unique(np.stack([targets[wrong], decided(answers)[wrong]]), axis=1, return_counts=True)
        best = int(counts.argmax())
        given, answer = (answers.labels[int(one)] for one in pairs[:, best])
        n_taken = int(counts[best])
    return GroupOutcome(name, len(rows), _share(n_right, len(rows)), given, answer, n_taken)


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
    """One entry per class that occurs in the truth, those first that are most surely weak.

    That is by the upper end of the 95 % interval of the share right, so that a class of three items is not weak by chance.
    Where a row may have several labels, a class that is always named would be always right: there the share is that of the
    right rows among those that have the label or were given it, which orders classes as F1 does.
    """
    answers = labelled(answers)
    if answers.is_multi_label:
        wrong = np.zeros((len(answers.labels), 1), dtype=np.int64)
    else:
        wrong = confusion(answers)
        np.fill_diagonal(wrong, 0)
    most, place = wrong.max(1), wrong.argmax(1)
    found = []
    for number, row in enumerate(per_class(answers)):
        if not row.support:
            continue
        n_right = round(row.recall.value * row.support)
        outcome = ClassOutcome(
            label=row.label,
            n=row.support,
            n_right=n_right,
            value=row.recall.value,
            low=row.recall.low,
            high=row.recall.high,
            taken_for=answers.labels[place[number]] if most[number] else None,
            n_taken_for=int(most[number]),
            n_in_vain=row.answered - n_right,
        )
        n_judged = row.support + outcome.n_in_vain if answers.is_multi_label else row.support
        found.append(((wilson(n_right, n_judged)[1], n_right / n_judged, row.label), outcome))
    return [outcome for _, outcome in sorted(found, key=lambda pair: pair[0])]


def weakest_classes(answers: Answers, *, most: int = 3) -> list[ClassOutcome]:
    """The first of `class_outcomes`: at most half of the classes, none that is always right."""
    found = class_outcomes(answers)
    weak = [one for one in found if one.n_right < one.n or (answers.is_multi_label and one.n_in_vain)]
    return weak[: min(most, len(found) // 2)]


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
