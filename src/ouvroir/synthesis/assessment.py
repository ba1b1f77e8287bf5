"""What made samples are worth, from what classifiers see in them and in real ones: each sample, and the set as a whole.

The classifiers are cross-fitted: each real sample is seen by one that did not learn from it, and a made sample that is a
variation of a real one too. Nothing here has seen a validation or test row but the answer whether a sample is one of them.

Axes: M made samples, N real ones of one fold, D features, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ouvroir.evaluation import sets
from ouvroir.synthesis import scores
from ouvroir.synthesis.scores import Looked, Standards, Whitening

LEAST_RECALL = 0.05  # of that of real samples
MOST_COMPARED = 1000  # samples a side, in the scores of sets


@dataclass(frozen=True)
class Fold:
    """What one classifier sees: real train rows that it did not learn from, all made samples, and noise.

    real and made: features (N, D) and (M, D); right: probability of the own class, (N,) and (M,); labels (N,) int64;
    noise: features of (B, D) rows whose content is shuffled, noise_labels: (B,) int64, the classes of these; may_judge: (M,)
    bool, those whose parents it has not seen; of_real: (M,) bool, those that have a parent in `real`.
    """

    real: np.ndarray
    real_right: np.ndarray
    real_labels: np.ndarray
    made: np.ndarray
    made_right: np.ndarray
    noise: np.ndarray
    noise_labels: np.ndarray
    may_judge: np.ndarray
    of_real: np.ndarray


@dataclass(frozen=True)
class Assessment:
    """Columns over the M samples, and `summary` of the set as plain JSON values."""

    right: np.ndarray
    likeness: np.ndarray
    realism: np.ndarray
    weight: np.ndarray
    reason: tuple[str, ...]
    summary: dict[str, Any]


def assess(
    folds: Sequence[Fold],
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    looked: Looked,
    real_ratio: float,
    held_out: np.ndarray,
) -> Assessment:
    """Judge M made samples with classes `labels`, (M,) int64. `looked`: how near they are to what was learned from;
    `real_ratio`: the copy ratio of real samples; `held_out`: (M,) bool, those that are a validation or test row.
    """
    views = [_seen(fold, labels, len(classes)) for fold in folds]
    judging = np.stack([fold.may_judge for fold in folds]).astype(np.float64)
    judging[:, judging.sum(axis=0) == 0] = 1.0  # parents in all folds: all judge, none better than another

    def mean(columns: Sequence[np.ndarray]) -> np.ndarray:
        found: np.ndarray = np.average(np.stack(columns).astype(np.float64), axis=0, weights=judging)
        return found

    margins = {name: mean([view.margins[name] for view in views]) for name in views[0].margins}
    within = mean([view.within for view in views]) >= 0.5
    alone = scores.reasons(margins, held_out=held_out, copied=looked.is_copy, within=within)
    reason = scores.with_whole_classes(alone, labels)
    whole = _set_scores(views[0], folds[0])
    if _is_elsewhere(whole):
        reason = [one or scores.ELSEWHERE for one in reason]
    right, alike = mean([fold.made_right for fold in folds]), _mean_where_known([view.alike for view in views], judging)
    realism = mean([view.realism for view in views])
    kept = np.array([not one for one in reason])
    weight = np.zeros(len(labels))
    if kept.any():
        weight[kept] = scores.weights(right[kept], realism[kept])
    summary = {
        "n_made": len(labels),
        "n_kept": int(kept.sum()),
        "refused": {name: reason.count(name) for name in (*scores.REASONS, scores.OF_CLASS, scores.ELSEWHERE)},
        "likeness": {
            "noise": _number(np.mean([view.noise for view in views])),
            "real": _number(np.nanmean(np.concatenate([view.real_alike for view in views]))),
            "made": _number(np.nanmean(alike)),
        },
        "set": {
            **whole,
            "copy_ratio": _number(np.median(looked.ratio)),
            "copy_ratio_real": _number(real_ratio),
        },
        **_over_folds([_made_for_real(fold, view, labels, classes) for fold, view in zip(folds, views, strict=True)]),
    }
    return Assessment(right, alike, realism, weight, tuple(reason), summary)


@dataclass(frozen=True)
class _View:
    """What one fold says of the made samples."""

    real: np.ndarray
    made: np.ndarray
    margins: dict[str, np.ndarray]
    alike: np.ndarray
    real_alike: np.ndarray
    within: np.ndarray
    realism: np.ndarray
    noise: float


def _seen(fold: Fold, labels: np.ndarray, n_classes: int) -> _View:
    whiten = Whitening.of(fold.real)
    real, made = whiten(fold.real), whiten(fold.made)
    real_alike = scores.by_class(real, fold.real_labels, real, fold.real_labels, is_itself=True)
    of_noise = scores.by_class(whiten(fold.noise), fold.noise_labels, real, fold.real_labels)
    noise = float(np.nanmean(of_noise)) if np.isfinite(of_noise).any() else math.nan
    alike = scores.by_class(made, labels, real, fold.real_labels)
    standards = Standards.of(fold.real_right, real_alike, fold.real_labels, n_classes)
    return _View(
        real=real,
        made=made,
        margins=standards.margins(fold.made_right, alike, labels),
        alike=alike,
        real_alike=real_alike,
        within=scores.is_on_manifold(made, real),
        realism=scores.realism(real, made),
        noise=noise,
    )


def _mean_where_known(columns: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    stacked = np.stack(columns)
    known = weights * np.isfinite(stacked)
    total = known.sum(axis=0)
    found: np.ndarray = np.divide(
        (np.nan_to_num(stacked) * known).sum(axis=0), total, out=np.full(stacked.shape[1], np.nan), where=total > 0
    )
    return found


def _set_scores(view: _View, fold: Fold) -> dict[str, Any]:
    """Equally many real and made samples beside each other, and two halves of the real ones as what can be reached.

    Variations of the real samples that they stand beside would be near these whatever they are worth: those of the other half of
    the train rows are taken, where there are any.
    """
    rng = np.random.default_rng(0)
    half = min(len(view.real) // 2, MOST_COMPARED)
    order = rng.permutation(len(view.real))
    real, others = view.real[order[:half]], view.real[order[half : 2 * half]]
    free = _free(view, fold)
    made = view.made[free[rng.permutation(len(free))[:half]]]
    n = min(half, len(made))
    nothing = {"precision": None, "recall": None, "density": None, "coverage": None}
    if n < sets.LEAST_SAMPLES:
        return {
            "n": n,
            **nothing,
            "kernel_distance": None,
            "kernel_distance_real": None,
            "told_apart": None,
            "real": nothing,
        }
    real, others, made = real[:n], others[:n], made[:n]
    apart = sets.told_apart(real, made)
    return {
        "n": n,
        **sets.shape_of(real, made).as_dict(),
        "kernel_distance": sets.kernel_distance(real, made),
        "kernel_distance_real": sets.kernel_distance(real, others),
        "told_apart": {"value": apart.value, "low": apart.low, "high": apart.high, "p_value": apart.p_value},
        "real": sets.shape_of(real, others).as_dict(),
    }


def _free(view: _View, fold: Fold) -> np.ndarray:
    """(n,) places of the made samples that are no variations of the fold's real ones; all, where these are too few."""
    free = np.flatnonzero(~fold.of_real)
    return free if len(free) >= sets.LEAST_SAMPLES else np.arange(len(view.made))


def _is_elsewhere(whole: dict[str, Any]) -> bool:
    """Whether hardly any real sample has a made one about it: the set lies elsewhere, as pure noise does, or in one point."""
    real = whole["real"]["recall"]
    return real is not None and whole["recall"] < LEAST_RECALL * real


def _made_for_real(
    fold: Fold, view: _View, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Per class, what a simple classifier that learned from made samples gets right of real ones; and from real ones."""
    rng = np.random.default_rng(0)
    is_asked = rng.permutation(len(view.real)) % 2 == 0
    asked, asked_labels = view.real[is_asked], fold.real_labels[is_asked]
    learned, learned_labels = view.real[~is_asked], fold.real_labels[~is_asked]
    free = _free(view, fold)
    some = free[rng.permutation(len(free))[: max(len(learned), 2 * len(classes))]]
    found: dict[str, dict[str, float | None]] = {}
    for name, features, known in (
        ("made_for_real", view.made[some], labels[some]),
        ("real_for_real", learned, learned_labels),
    ):
        if len(np.unique(known)) < 2 or not len(asked):
            found[name] = dict.fromkeys(classes)
            continue
        shares = sets.made_for_real(features, known, asked, asked_labels, len(classes))
        found[name] = {label: _number(share) for label, share in zip(classes, shares, strict=True)}
    return found


def _over_folds(found: Sequence[dict[str, dict[str, float | None]]]) -> dict[str, Any]:
    """The mean over the folds that know a figure."""

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    return {name: {label: mean([one[name][label] for one in found]) for label in found[0][name]} for name in found[0]}


def _number(value: float | np.floating[Any]) -> float | None:
    return float(value) if math.isfinite(value) else None
