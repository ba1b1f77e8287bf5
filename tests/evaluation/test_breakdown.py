import math
from dataclasses import replace

import numpy as np
import pytest
from answers_made import from_decisions, from_scores, several, single
from sklearn import metrics as sk

from ouvroir.evaluation.breakdown import (
    calibration,
    class_outcomes,
    confusion,
    per_class,
    smallest_difference,
    weakest_classes,
)
from ouvroir.evaluation.compare import mcnemar
from ouvroir.evaluation.intervals import wilson


def test_classes_equal_scikit_learn():
    answers = single(300, 4, skill=1)
    rows = per_class(answers)
    found = sk.precision_recall_fscore_support(answers.targets, answers.scores.argmax(1))
    for row, precision, recall, f1, support in zip(rows, *found, strict=True):
        assert (row.precision.value, row.recall.value, row.f1) == pytest.approx((precision, recall, f1))
        assert row.support == support == row.recall.n
        assert (row.recall.low, row.recall.high) == wilson(round(recall * support), support)
    matrix = sk.confusion_matrix(answers.targets, answers.scores.argmax(1))
    assert (confusion(answers) == matrix).all()


def test_classes_of_several_labels():
    answers = several()
    found = sk.precision_recall_fscore_support(answers.targets, answers.scores >= 0.5)
    rows = per_class(answers)
    assert [row.f1 for row in rows] == pytest.approx(list(found[2]))
    assert [row.support for row in rows] == list(found[3])


def test_how_each_class_was_answered_the_weakest_first():
    answers = from_decisions([0, 0, 0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 1, 1, 2, 0], "abcd")
    found = [
        (one.label, one.n, one.n_right, one.taken_for, one.n_taken_for, one.n_in_vain)
        for one in class_outcomes(answers)
    ]
    assert found == [("a", 4, 1, "b", 2, 1), ("c", 2, 1, "a", 1, 1), ("b", 2, 2, None, 0, 2)]  # d does not occur
    for one in class_outcomes(several()):
        row = next(row for row in per_class(several()) if row.label == one.label)
        assert (one.n, one.n_right / one.n, one.taken_for) == (row.support, pytest.approx(row.recall.value), None)
        assert (one.value, one.low, one.high) == (row.recall.value, row.recall.low, row.recall.high)
        assert one.n_in_vain == row.answered - one.n_right


def test_a_class_of_one_does_not_lead_the_weakest_by_chance():
    answers = from_decisions([0] + [1] * 30 + [2] * 10, [1] + [1] * 10 + [2] * 20 + [2] * 10, "abc")
    assert [one.label for one in class_outcomes(answers)] == ["b", "a", "c"]  # 0 of 1 may be chance, 10 of 30 is not
    assert weakest_classes(answers) == class_outcomes(answers)[:1]


def test_with_several_labels_a_class_that_is_always_named_is_weak():
    truth = np.array([[1, 1]] * 10 + [[0, 1]] * 30, np.uint8)
    scores = np.array(
        [[1, 1]] * 35 + [[1, 0]] * 5, np.float32
    )  # the first label is named always, rightly 10 times of 40
    answers = replace(several(), scores=scores, targets=truth, labels=("often", "mostly"), index=np.arange(40))
    assert [(one.label, one.n_right, one.n_in_vain) for one in class_outcomes(answers)] == [
        ("often", 10, 30),
        ("mostly", 35, 0),
    ]
    assert [one.label for one in weakest_classes(several())] == [one.label for one in class_outcomes(several())[:2]]


def test_a_class_that_never_occurs_has_no_recall():
    row = per_class(from_decisions([0, 0], [0, 0], "ab"))[1]
    assert math.isnan(row.recall.value)
    assert math.isnan(row.f1)
    assert row.support == row.answered == 0


def test_calibration_bins_by_hand():
    answers = from_scores([[0.92, 0.08]] * 3 + [[0.55, 0.45]] * 2, [0, 0, 1, 0, 1], "ab")
    low, high = calibration(answers, n_bins=10)
    assert (low.start, low.end, low.right.n, low.right.value) == (0.5, 0.6, 2, 0.5)
    assert (high.right.n, high.right.value) == (3, pytest.approx(2 / 3))
    assert high.confidence == pytest.approx(0.92)
    assert sum(one.right.n for one in calibration(several())) == 150 * 5


@pytest.mark.parametrize(("n", "disagreement"), [(400, 0.1), (1000, 0.05), (2000, 0.2)])
def test_the_smallest_difference_is_seen_in_four_of_five_tests(n, disagreement):
    gap = smallest_difference(n, disagreement=disagreement)
    rng = np.random.default_rng(0)
    odds = [(disagreement + gap) / 2, (disagreement - gap) / 2, 1 - disagreement]
    drawn = rng.multinomial(n, odds, size=800)
    seen = np.mean([mcnemar(int(fixed), int(broken)) < 0.05 for fixed, broken, _ in drawn])
    assert 0.70 <= seen <= 0.86  # the exact test is a little more cautious than the formula


@pytest.mark.parametrize(("n", "disagreement"), [(200, 0.0), (500, 0.005), (2000, 0.002)])
def test_models_that_hardly_ever_differ_need_as_many_changes_as_the_exact_test_does(n, disagreement):
    gap = smallest_difference(n, disagreement=disagreement)
    drawn = np.random.default_rng(0).binomial(n, gap, size=4000)  # all changes to one side
    assert 0.77 <= np.mean([mcnemar(int(fixed), 0) < 0.05 for fixed in drawn]) <= 0.83


def test_a_small_test_set_never_claims_to_see_everything():
    assert smallest_difference(50, disagreement=0.0) == 7.9 / 50
    assert smallest_difference(4, disagreement=0.5) == 1.0
    assert smallest_difference(0, disagreement=0.1) == 1.0
