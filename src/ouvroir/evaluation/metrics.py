"""Metrics with 95 % intervals, computed from Answers. One entry in `METRICS` per name.

A metric is either a share of right rows (Wilson's interval) or a function of sums over rows (bootstrap, BCa; the
calibration error has an interval of its own). What takes answers apart by class or by confidence is in `breakdown`.

Axes: N rows, C classes, U kinds of rows, K sums, B bootstrap draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from ouvroir.errors import DataError, UsageError
from ouvroir.evaluation.intervals import N_DRAWS, Sums, around, bca, distance, wilson
from ouvroir.task import Answers

Array = np.ndarray
MULTI_LABEL_THRESHOLD = 0.5
N_CALIBRATION_BINS = 15
_TINY = 1e-7  # float32 probabilities below this are rounding


@dataclass(frozen=True)
class Metric:
    """A value with its 95 % interval, measured on `n` rows; `low` and `high` are infinite where these give none."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | None]:
        """`value`, `low` and `high` as plain numbers, None for no end: what `--json` and report.json hold."""
        low, high = (end if math.isfinite(end) else None for end in (self.low, self.high))
        return {"value": self.value, "low": low, "high": high}


def labelled(answers: Answers) -> Answers:
    """The answers to rows that have a label (a target below 0 says there is none); all of them when there is no target."""
    if answers.targets is None or answers.is_multi_label or not (answers.targets < 0).any():
        return answers
    return take(answers, np.flatnonzero(answers.targets >= 0))


def take(answers: Answers, places: Array) -> Answers:
    """The answers at `places` (M,) int64, in that order."""
    return Answers(
        index=answers.index[places],
        loss=answers.loss[places],
        n_items=answers.n_items[places],
        scores=None if answers.scores is None else answers.scores[places],
        targets=None if answers.targets is None else answers.targets[places],
        labels=answers.labels,
        answered=None if answers.answered is None else answers.answered[places],
        n_bytes=None if answers.n_bytes is None else answers.n_bytes[places],
        units=None if answers.units is None else answers.units[places],
    )


def n_units(answers: Answers) -> int:
    """How many rows there are, those of a unit counting as one."""
    return len(answers.index) if answers.units is None else len(np.unique(answers.units))


def is_classified(answers: Answers) -> bool:
    """Whether there are scores and targets to compare, so that an answer can be right or wrong."""
    return answers.scores is not None and answers.targets is not None and len(answers.index) > 0


def classified(answers: Answers) -> tuple[Array, Array]:
    """Scores (N, C) and targets ((N,) or (N, C)). Raises DataError when the answers have none."""
    if answers.scores is None or answers.targets is None:
        raise DataError("These answers hold no scores or no targets, so right and wrong cannot be counted.")
    return answers.scores, answers.targets


def decided(answers: Answers) -> Array:
    """What was answered: (N,) int64 classes, or (N, C) bool labels when multi-label."""
    scores, _ = classified(answers)
    if answers.answered is not None:
        return answers.answered
    return cast("Array", scores >= MULTI_LABEL_THRESHOLD if answers.is_multi_label else scores.argmax(1))


def is_right(answers: Answers) -> Array:
    """(N,) bool: the class is the target; with several labels, all of them are as they should be."""
    _, targets = classified(answers)
    same = decided(answers) == targets
    return cast("Array", same.all(1) if answers.is_multi_label else same)


# Functions of sums


def _divide(above: Array, below: Array) -> Array:
    """The quotient, NaN where `below` is 0."""
    return cast("Array", np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0))


def _mean_of_defined(values: Array) -> Array:
    """Mean over the last axis of what is not NaN; NaN when all is."""
    defined = ~np.isnan(values)
    return _divide(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))


def _hits_and_misses(answers: Answers) -> Callable[[Callable[[Array, Array, Array], Array]], Sums]:
    """Sums of true positives, false positives and false negatives per class, given what is made of them."""
    _, targets = classified(answers)
    n_classes = len(answers.labels)
    answered = decided(answers)

    def sums(finish: Callable[[Array, Array, Array], Array]) -> Sums:
        def finish_all(total: Array) -> Array:
            return finish(*np.split(total, 3, axis=1))

        if answers.is_multi_label:
            truth = targets.astype(bool)
            return Sums.of_rows(np.concatenate([truth & answered, answered & ~truth, truth & ~answered], 1), finish_all)

        def parts_of(kind: Array) -> Array:
            truth, answer = kind // n_classes, kind % n_classes
            rows, parts, right = np.arange(len(kind)), np.zeros((len(kind), 3, n_classes), dtype=bool), truth == answer
            parts[rows[right], 0, truth[right]] = True
            parts[rows[~right], 1, answer[~right]] = True
            parts[rows[~right], 2, truth[~right]] = True
            return parts.reshape(len(kind), -1)

        return Sums.of_kinds(targets * n_classes + answered, parts_of, finish_all)

    return sums


def _macro_f1(answers: Answers) -> Sums:
    def finish(tp: Array, fp: Array, fn: Array) -> Array:
        f1 = _divide(2 * tp, 2 * tp + fp + fn)
        return _mean_of_defined(np.where(tp + fn > 0, f1, np.nan))

    return _hits_and_misses(answers)(finish)


def _micro_f1(answers: Answers) -> Sums:
    def finish(tp: Array, fp: Array, fn: Array) -> Array:
        return _divide(2 * tp.sum(1), (2 * tp + fp + fn).sum(1))

    return _hits_and_misses(answers)(finish)


def _balanced_accuracy(answers: Answers) -> Sums:
    return _hits_and_misses(answers)(lambda tp, _, fn: _mean_of_defined(_divide(tp, tp + fn)))


def _ratio(parts: Array) -> Array:
    return _divide(parts[:, 0], parts[:, 1])


def _loss(answers: Answers) -> Sums:
    return Sums.of_rows(np.stack([answers.loss, answers.n_items], 1).astype(float), _ratio)


def _bits_per_byte(answers: Answers) -> Sums:
    assert answers.n_bytes is not None
    return Sums.of_rows(np.stack([answers.loss / np.log(2), answers.n_bytes], 1).astype(float), _ratio)


def _nll(answers: Answers) -> Sums:
    if not is_classified(answers):
        return _loss(answers)
    scores, targets = classified(answers)
    if answers.is_multi_label:
        right = np.where(targets > 0, scores, 1 - scores.astype(float))
        surprise = -np.log(np.clip(right, _TINY, 1)).mean(1)
    else:
        surprise = -np.log(np.clip(scores[np.arange(len(scores)), targets].astype(float), _TINY, 1))
    return Sums.of_rows(np.stack([surprise, np.ones(len(surprise))], 1), _ratio)


def _perplexity(answers: Answers) -> Sums:
    return replace(_nll(answers), finish=lambda total: cast("Array", np.exp(_ratio(total))))


def _brier(answers: Answers) -> Sums:
    scores, targets = classified(answers)
    truth = targets.astype(float) if answers.is_multi_label else np.eye(scores.shape[1])[targets]
    squared = ((scores - truth) ** 2).mean(1) if answers.is_multi_label else ((scores - truth) ** 2).sum(1)
    return Sums.of_rows(np.stack([squared, np.ones(len(squared))], 1), _ratio)


def decisions(answers: Answers) -> tuple[Array, Array]:
    """How sure each decision was, (M,) in [0, 1], and whether it was right, (M,) bool.

    A decision is a row's answer; with several labels, each label of each row: the score and whether it applies.
    """
    scores, targets = classified(answers)
    if answers.is_multi_label:
        return scores.reshape(-1).astype(float), targets.reshape(-1) > 0
    return scores.max(1).astype(float), is_right(answers)


def _gaps(answers: Answers) -> tuple[Array, Array]:
    """(N, bins) each: the decisions of a row in each bin of confidence, and how much they were righter than they said."""
    sure, right = decisions(answers)
    n_rows, bins = len(answers.index), N_CALIBRATION_BINS
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    row = np.arange(len(sure)) // (len(sure) // n_rows)
    flat, size = row * bins + place, n_rows * bins
    n_in = np.bincount(flat, minlength=size).reshape(n_rows, bins)
    return n_in, np.bincount(flat, weights=right - sure, minlength=size).reshape(n_rows, bins)


def _ece(answers: Answers) -> Sums:
    def finish(total: Array) -> Array:
        n, gap = np.split(total, 2, axis=1)
        return _divide(np.abs(gap).sum(1), n.sum(1))

    return Sums.of_rows(np.concatenate(_gaps(answers), axis=1), finish)


def _ece_interval(answers: Answers, n_draws: int, seed: int) -> tuple[float, float]:
    n_in, gap_in = _gaps(answers)
    of_row = n_in.sum(1, keepdims=True)  # the same for every row
    return distance(gap_in / of_row, (n_in / of_row).mean(0), n_draws=n_draws, seed=seed)


# Shares of right rows


def _accuracy(answers: Answers) -> Array:
    return is_right(answers)


def _top5(answers: Answers) -> Array:
    scores, targets = classified(answers)
    own = scores[np.arange(len(scores)), targets][:, None]
    ahead = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < targets[:, None]))  # ties: first come
    return cast("Array", ahead.sum(1) < 5)


@dataclass(frozen=True)
class Kind:
    """How one metric is computed: `share` gives (N,) bool of right rows, `sums` anything else.

    `interval` of (answers, number of draws, seed) stands in for the bootstrap where that would not hold the truth.

    `needs`: `scores` when right and wrong must be known; `one` and `several` when only single- or multi-label makes
    sense; `many` when there must be more than five classes; `text` when what was told has characters and bytes.
    has_sentence: whether the report has a sentence of its own that tells this metric.
    """

    share: Callable[[Answers], Array] | None = None
    sums: Callable[[Answers], Sums] | None = None
    interval: Callable[[Answers, int, int], tuple[float, float]] | None = None
    is_higher_better: bool = True
    is_percent: bool = True
    needs: frozenset[str] = frozenset()
    has_sentence: bool = False


def _needs(*words: str) -> frozenset[str]:
    return frozenset(words)


METRICS: dict[str, Kind] = {
    "accuracy": Kind(share=_accuracy, needs=_needs("scores"), has_sentence=True),
    "subset_accuracy": Kind(share=_accuracy, needs=_needs("scores", "several"), has_sentence=True),
    "top5": Kind(share=_top5, needs=_needs("scores", "one", "many")),
    "balanced_accuracy": Kind(sums=_balanced_accuracy, needs=_needs("scores")),
    "macro_f1": Kind(sums=_macro_f1, needs=_needs("scores")),
    "micro_f1": Kind(sums=_micro_f1, needs=_needs("scores")),
    "nll": Kind(sums=_nll, is_higher_better=False, is_percent=False),
    "loss": Kind(sums=_loss, is_higher_better=False, is_percent=False),
    "perplexity": Kind(sums=_perplexity, is_higher_better=False, is_percent=False),
    "nats_per_character": Kind(
        sums=_loss, is_higher_better=False, is_percent=False, needs=_needs("text"), has_sentence=True
    ),
    "bits_per_byte": Kind(sums=_bits_per_byte, is_higher_better=False, is_percent=False, needs=_needs("text")),
    "brier": Kind(sums=_brier, is_higher_better=False, is_percent=False, needs=_needs("scores")),
    "ece": Kind(sums=_ece, interval=_ece_interval, is_higher_better=False, needs=_needs("scores")),
}
"""accuracy: share of right rows (all labels right when there are several; then also called subset_accuracy). top5: the
target is among the five highest. balanced_accuracy: mean recall of the classes that occur. macro_f1: mean F1 of the
classes that occur. micro_f1: F1 of all decisions together. nll: mean −log of the probability given to
the target, in nats (mean over labels when there are several; per item of the loss where there are no scores). loss: the
task's own loss per item. perplexity: exp of nll. nats_per_character and bits_per_byte: the surprise of a text by its
characters and by its bytes of UTF-8, whatever pieces it was told in. brier: mean squared distance between scores and
truth. ece: expected calibration error, 15 bins of equal width (Guo et al. 2017, equation 5); the fewer the rows, the more
noise adds to it, so its interval may lie below the value and end at it."""


def is_higher_better(name: str) -> bool:
    """Whether more of the metric is better. Raises UsageError on an unknown name."""
    return _kind(name).is_higher_better


def is_percent(name: str) -> bool:
    """Whether the metric is a share that people read as a percentage; a task's own losses are not."""
    return name in METRICS and METRICS[name].is_percent


def has_sentence(name: str) -> bool:
    """Whether the report has a sentence of its own that tells this metric, `verdict_NAME` of its words."""
    return name in METRICS and METRICS[name].has_sentence


def counts_rows(name: str) -> bool:
    """Whether the metric is a share of right rows, so that McNemar's test speaks of it."""
    return name in ("accuracy", "subset_accuracy")


def _kind(name: str) -> Kind:
    import difflib

    if name in METRICS:
        return METRICS[name]
    close = difflib.get_close_matches(name, METRICS, n=1)
    hint = f"Did you mean `{close[0]}`?" if close else f"There are: {', '.join(METRICS)}."
    raise UsageError(f"There is no metric `{name}`. {hint}")


def applies(name: str, answers: Answers) -> bool:
    """Whether the metric has a meaning for these answers: scores are there, enough classes, one label or several."""
    needs = _kind(name).needs
    return len(answers.index) > 0 and not (
        ("scores" in needs and not is_classified(answers))
        or ("one" in needs and answers.is_multi_label)
        or ("several" in needs and not answers.is_multi_label)
        or ("many" in needs and len(answers.labels) <= 5)
        or ("text" in needs and answers.n_bytes is None)
    )


def sums_of(name: str, answers: Answers) -> Sums:
    """The metric as a function of sums over the rows of `answers`, or over their units: what a bootstrap resamples."""
    return _sums_of(name, answers).together(answers.units)


def _sums_of(name: str, answers: Answers) -> Sums:
    kind = _kind(name)
    if kind.share is not None:
        right = kind.share(answers)
        return Sums.of_kinds(right.astype(np.int64), lambda u: np.stack([u, np.ones(len(u))], 1).astype(float), _ratio)
    assert kind.sums is not None
    return kind.sums(answers)


def score(name: str, answers: Answers) -> float:
    """The value of one metric without its interval: cheap enough for every validation of a training."""
    answers = labelled(answers)
    if not applies(name, answers):
        raise DataError(f"`{name}` cannot be computed from these answers: {_missing(name, answers)}.")
    return sums_of(name, answers).value()


def measure(names: Sequence[str], answers: Answers, *, n_draws: int = N_DRAWS, seed: int = 0) -> dict[str, Metric]:
    """Each metric of `names` that has a meaning for `answers`, with its 95 % interval.

    Rows without a label are left out. Names that do not apply (top5 of three classes) are left out; an unknown name
    raises UsageError. Intervals: Wilson for shares of right rows, an inverted test for ece, otherwise BCa bootstrap with
    `n_draws` draws, or Student's t of very few rows. Rows of one unit count as one.
    """
    answers = labelled(answers)
    return {name: _measure(name, answers, n_draws, seed) for name in names if applies(name, answers)}


def _measure(name: str, answers: Answers, n_draws: int, seed: int) -> Metric:
    kind, n = METRICS[name], len(answers.index)
    if kind.share is not None and answers.units is None:
        n_right = int(kind.share(answers).sum())
        return Metric(n_right / n, *wilson(n_right, n), n)
    sums = sums_of(name, answers)
    value = sums.value()
    if kind.interval is not None:
        low, high = kind.interval(answers, n_draws, seed)
    else:
        low, high = (bca if kind.is_percent else around)(sums, n_draws=n_draws, seed=seed)
    if low == high and kind.is_percent and 0 <= value <= 1:  # every draw alike, as when all are right: no certainty
        n_drawn = n_units(answers)
        low, high = wilson(value * n_drawn, n_drawn)
    return Metric(value, min(low, value), max(high, value), n)


def _missing(name: str, answers: Answers) -> str:
    if not len(answers.index):
        return "there is no labelled row"
    if not is_classified(answers):
        return "there are no scores or no targets"
    return "it needs more than five classes" if name == "top5" else "it is meant for another kind of labels"


def threshold_for_none(answers: Answers, *, keep: float = 0.95) -> float:
    """The score under which the answer is 'none of these', chosen on VALIDATION answers.

    The largest threshold at which at least `keep` of the right answers still get through, so the price in right
    answers lost is known and small. 0 (never) when no answer is right or when a row may have several labels.
    """
    answers = labelled(answers)
    if not is_classified(answers) or answers.is_multi_label:
        return 0.0
    scores, _ = classified(answers)
    sure = np.sort(scores.max(1)[is_right(answers)])
    return float(sure[int(np.floor((1 - keep) * len(sure) + 1e-9))]) if len(sure) else 0.0
