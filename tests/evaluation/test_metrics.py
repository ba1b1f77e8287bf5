"""Metrics against scikit-learn and hand-worked numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from answers_made import from_decisions, from_scores, only_loss, several, single
from sklearn import metrics as sk

from ouvroir.errors import DataError, UsageError
from ouvroir.evaluation.metrics import (
    METRICS,
    applies,
    is_higher_better,
    measure,
    score,
    threshold_for_none,
)


@pytest.mark.parametrize("n_classes", [2, 4, 9])
def test_single_label_metrics_equal_scikit_learn(n_classes):
    answers = single(300, n_classes, skill=1.0)
    answered, targets = answers.scores.argmax(1), answers.targets
    assert score("accuracy", answers) == pytest.approx(sk.accuracy_score(targets, answered))
    assert score("balanced_accuracy", answers) == pytest.approx(sk.balanced_accuracy_score(targets, answered))
    assert score("macro_f1", answers) == pytest.approx(sk.f1_score(targets, answered, average="macro"))
    assert score("micro_f1", answers) == pytest.approx(sk.f1_score(targets, answered, average="micro"))
    assert score("nll", answers) == pytest.approx(
        sk.log_loss(targets, answers.scores, labels=range(n_classes)), rel=1e-5
    )
    if n_classes > 5:
        expected = sk.top_k_accuracy_score(targets, answers.scores, k=5, labels=range(n_classes))
        assert score("top5", answers) == pytest.approx(expected)


def test_multi_label_metrics_equal_scikit_learn():
    answers = several()
    answered, targets = answers.scores >= 0.5, answers.targets
    assert score("subset_accuracy", answers) == pytest.approx(sk.accuracy_score(targets, answered))
    assert score("accuracy", answers) == score("subset_accuracy", answers)
    assert score("macro_f1", answers) == pytest.approx(sk.f1_score(targets, answered, average="macro"))
    assert score("micro_f1", answers) == pytest.approx(sk.f1_score(targets, answered, average="micro"))
    assert score("brier", answers) == pytest.approx(((answers.scores - targets) ** 2).mean(), rel=1e-5)


def test_macro_f1_counts_classes_that_occur():
    # class 2 neither occurs nor is answered; class 1 is answered and never occurs: neither counts
    answers = from_decisions([0, 0, 0, 3], [0, 0, 1, 3], "abcd")
    assert score("macro_f1", answers) == pytest.approx((0.8 + 1.0) / 2)
    assert score("balanced_accuracy", answers) == pytest.approx((2 / 3 + 1) / 2)


def test_brier_by_hand():
    answers = from_scores([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], [0, 1], "abc")
    assert score("brier", answers) == pytest.approx((0.09 + 0.04 + 0.01 + 0.01 + 0.81 + 0.64) / 2, rel=1e-5)


def test_calibration_error_by_hand():
    scores = [[0.9, 0.1]] * 4 + [[0.65, 0.35]] * 4
    answers = from_scores(scores, [0, 0, 0, 1, 0, 0, 1, 1], "ab")  # 0.9 said, 0.75 right; 0.65 said, 0.5 right
    assert score("ece", answers) == pytest.approx((0.15 + 0.15) / 2, abs=1e-6)


def test_loss_is_per_item_and_perplexity_its_exponential():
    answers = only_loss()
    expected = answers.loss.sum() / answers.n_items.sum()
    assert score("loss", answers) == pytest.approx(expected)
    assert score("nll", answers) == pytest.approx(expected)
    assert score("perplexity", answers) == pytest.approx(math.exp(expected))


def test_majority_scores_do_not_win_top5_by_ties():
    scores = np.full((100, 10), 0.05)
    scores[:, 0] = 0.55
    answers = from_scores(scores, np.arange(100) % 10, "abcdefghij")
    assert score("top5", answers) == pytest.approx(0.5)


def test_only_metrics_that_make_sense_are_measured():
    everything = list(METRICS)
    of_texts = {"nats_per_character", "bits_per_byte"}
    assert set(measure(everything, single(50, 3))) == set(METRICS) - {"top5", "subset_accuracy"} - of_texts
    assert "top5" in measure(everything, single(50, 6))
    assert set(measure(everything, several())) == set(METRICS) - {"top5"} - of_texts
    assert set(measure(everything, only_loss())) == {"loss", "nll", "perplexity"}
    told = replace(only_loss(), n_bytes=2 * only_loss().n_items)
    found = measure(["nats_per_character", "bits_per_byte"], told)
    assert found["bits_per_byte"].value == pytest.approx(found["nats_per_character"].value / np.log(2) / 2)


@pytest.mark.parametrize("answers", [single(300, 4, skill=1), several(), only_loss()], ids=["one", "several", "loss"])
def test_intervals_enclose_the_value(answers):
    for metric in measure(list(METRICS), answers).values():
        assert metric.low <= metric.value <= metric.high
        assert metric.low < metric.high
        assert metric.n == len(answers.index)
        assert set(metric.as_dict()) == {"value", "low", "high"}


@pytest.mark.parametrize("name", ["macro_f1", "micro_f1", "balanced_accuracy", "accuracy"])
def test_a_perfect_result_is_not_certain(name):
    answers = from_decisions([0, 1, 2] * 20, [0, 1, 2] * 20, "abc")
    metric = measure([name], answers)[name]
    assert metric.value == metric.high == 1
    assert 0.9 < metric.low < 0.96


def test_rows_without_a_label_are_left_out():
    answers = single(100, 3)
    targets = answers.targets.copy()
    targets[::4] = -1
    hidden = replace(answers, targets=targets)
    assert measure(["accuracy"], hidden)["accuracy"].n == 75
    kept = targets >= 0
    assert score("accuracy", hidden) == pytest.approx((answers.scores.argmax(1) == targets)[kept].mean())


def test_errors_are_sentences():
    with pytest.raises(UsageError, match=r"no metric `acuracy`.*`accuracy`"):
        measure(["acuracy"], single())
    with pytest.raises(DataError, match="no scores"):
        score("accuracy", only_loss())
    empty = replace(only_loss(), index=np.zeros(0, int), loss=np.zeros(0), n_items=np.zeros(0, int))
    assert measure(["accuracy", "nll"], empty) == {}
    with pytest.raises(DataError, match="no labelled row"):
        score("nll", empty)


def test_direction():
    assert is_higher_better("macro_f1")
    assert not is_higher_better("nll")
    assert not applies("top5", single(10, 3))


def test_threshold_keeps_the_share_of_right_answers_it_promises():
    answers = single(400, 5, skill=1.5)
    sure, right = answers.scores.max(1), answers.scores.argmax(1) == answers.targets
    threshold = threshold_for_none(answers, keep=0.95)
    assert (sure[right] >= threshold).mean() >= 0.95
    higher = np.nextafter(np.float32(threshold), np.float32(1))
    assert (sure[right] >= higher).mean() < 0.95
    assert threshold_for_none(several()) == 0.0
    assert threshold_for_none(from_decisions([0, 0], [1, 1], "ab")) == 0.0
