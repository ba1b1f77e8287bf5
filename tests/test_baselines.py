"""Cheap baselines and suspected wrong labels, hand-worked or on clouds of points."""

import math

import numpy as np
import pytest

from ouvroir import baselines
from ouvroir.evaluation.metrics import decided, score, take

LABELS = ("a", "b", "c")


@pytest.fixture
def clouds():
    """Three clouds in 8 dimensions: features and classes of 240 train and 60 test rows."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 8)) * 3
    targets = rng.integers(0, 3, 300)
    features = (centres[targets] + rng.normal(size=(300, 8))).astype(np.float32)
    return features[:240], targets[:240], features[240:], targets[240:]


def accuracy(cheap):
    return float((cheap.answers.scores.argmax(axis=1) == cheap.answers.targets).mean())


def test_majority_gives_the_shares():
    cheap = baselines.majority_baseline(np.array([0, 0, 0, 1]), np.array([0, 1, 2]), LABELS)
    assert cheap.answers.scores[0].argmax() == 0
    assert cheap.answers.scores.sum(axis=1) == pytest.approx([1, 1, 1])
    assert np.isfinite(cheap.answers.loss).all()


@pytest.mark.parametrize("baseline", [baselines.linear_baseline, baselines.neighbours_baseline])
def test_baselines_learn(baseline, clouds):
    cheap = baseline(*clouds, LABELS)
    assert accuracy(cheap) > 0.85
    assert cheap.answers.scores.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-5)
    assert np.isfinite(cheap.answers.loss).all()


def test_baselines_take_features_that_never_vary(clouds):
    features, targets, asked, wanted = clouds
    features, asked = (
        np.concatenate([part, np.zeros((len(part), 2), np.float32)], axis=1) for part in (features, asked)
    )
    assert accuracy(baselines.linear_baseline(features, targets, asked, wanted, LABELS)) > 0.85


def test_baselines_with_a_class_that_train_lacks(clouds):
    features, targets, asked, wanted = clouds
    known = targets != 2
    for baseline in (baselines.linear_baseline, baselines.neighbours_baseline):
        cheap = baseline(features[known], targets[known], asked, wanted, LABELS)
        assert np.isfinite(cheap.answers.loss).all()


def test_baselines_of_several_labels(clouds):
    features, targets, asked, wanted = clouds
    many, more = (np.stack([part == 0, part != 0, part > 5], axis=1).astype(np.float32) for part in (targets, wanted))
    for baseline in (baselines.linear_baseline, baselines.neighbours_baseline):
        cheap = baseline(features, many, asked, more, LABELS)
        assert ((cheap.answers.scores > 0.5) == more).mean() > 0.9


@pytest.mark.parametrize(
    ("train", "answered"),
    [
        (
            [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]],
            [True, False, False],
        ),  # none reaches half of the rows
        ([[1, 1, 0], [1, 1, 0], [1, 0, 1]], [True, True, False]),  # two labels a row
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [True, True, True]),  # all alike: no order of names decides
        ([[0, 0, 0], [0, 0, 0], [0, 1, 0]], [False, True, False]),
    ],
)
def test_the_trivial_answer_of_several_labels_is_the_most_frequent_ones(train, answered):
    cheap = baselines.majority_baseline(np.array(train, np.float32), np.array([[1, 0, 1]], np.float32), LABELS)
    assert cheap.name == "most frequent labels"
    assert cheap.answers.is_multi_label
    assert decided(cheap.answers)[0].tolist() == answered
    assert np.isfinite(cheap.answers.loss).all()


def test_the_trivial_answer_of_several_labels_has_the_shares_as_scores():
    """Shares 6.5/11 and 2.5/11; the test row has the first label only: nll = -(ln(6.5/11) + ln(8.5/11)) / 2."""
    train = np.array([[1, 0]] * 5 + [[1, 1]] + [[0, 1]] + [[0, 0]] * 3, np.float32)
    cheap = baselines.majority_baseline(train, np.array([[1, 0]], np.float32), LABELS[:2])
    assert cheap.answers.scores[0] == pytest.approx([6.5 / 11, 2.5 / 11])
    want = -(math.log(6.5 / 11) + math.log(8.5 / 11)) / 2
    assert score("nll", cheap.answers) == pytest.approx(want)
    assert cheap.answers.loss[0] == pytest.approx(want)
    rare = baselines.majority_baseline(np.eye(4, dtype=np.float32)[[0, 0, 1, 2, 3]], np.eye(4)[:1], (*LABELS, "d"))
    assert rare.answers.scores[0, 0] == pytest.approx(2.5 / 6)  # answered, and its score says how sure that is
    assert decided(rare.answers)[0].tolist() == [True, False, False, False]
    assert decided(take(rare.answers, np.array([0, 0]))).tolist() == [[True, False, False, False]] * 2


def test_baselines_look_at_a_bounded_number_of_rows_and_say_so():
    targets = np.repeat([0, 1, 2], [9000, 900, 100])
    features = targets[:, None] + np.random.default_rng(0).normal(size=(10_000, 2)).astype(np.float32)
    asked = []

    def features_of(places):
        asked.append(places)
        return features[places]

    found = baselines.cheap_baselines(targets, features_of, features[::100], targets[::100], LABELS)
    assert [len(places) for places in asked] == [baselines.BASELINE_ROWS]
    assert np.bincount(targets[asked[0]]).tolist() == pytest.approx([4500, 450, 50], abs=2)
    assert [one.n_rows for one in found] == [None, baselines.BASELINE_ROWS, baselines.BASELINE_ROWS]


def test_baselines_that_learn_from_all_rows_do_not_speak_of_rows(clouds):
    features, targets, asked, wanted = clouds
    found = baselines.cheap_baselines(targets, lambda places: features[places], asked, wanted, LABELS)
    assert [one.n_rows for one in found] == [None, None, None]


def test_many_classes_do_not_make_baselines_slow():
    assert baselines._iterations(5000 * 304, 10) == 200
    assert baselines._iterations(5000 * 304, 1000) * 5000 * 304 * 1000 <= baselines.BASELINE_WORK
    assert baselines._iterations(5000 * 304, 100_000) == 20


# --- labels that may be wrong -----------------------------------------------------------------------------------------


def test_suspected_mislabels_are_found(clouds):
    features, targets, _, _ = clouds
    rng = np.random.default_rng(1)
    swapped = rng.choice(len(targets), 12, replace=False)
    given = targets.copy()
    given[swapped] = (given[swapped] + 1) % 3
    scores = baselines.out_of_fold_scores(features, given, 3)
    found = baselines.suspected_mislabels(scores, given, LABELS)
    places = {suspect.place for suspect in found}
    assert len(places & set(swapped.tolist())) >= 7
    assert len(places - set(swapped.tolist())) <= 6
    assert {one.place for one in found[:6]} <= set(swapped.tolist())
    first = found[0]
    assert first.given == LABELS[given[first.place]]
    assert first.suggested == LABELS[targets[first.place]]


def test_clean_labels_raise_little_suspicion():
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1], 50)
    features = rng.normal(size=(100, 4)) + 8 * targets[:, None]
    assert baselines.suspected_mislabels(baselines.out_of_fold_scores(features, targets, 2), targets, ("a", "b")) == []


def test_out_of_fold_scores_never_see_the_row():
    """With random labels, out-of-fold confidence in the given label is no better than chance."""
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(200, 60)), rng.integers(0, 2, 200)
    scores = baselines.out_of_fold_scores(features, targets, 2)
    assert scores.sum(axis=1) == pytest.approx(np.ones(200))
    assert 0.38 < (scores.argmax(axis=1) == targets).mean() < 0.62
