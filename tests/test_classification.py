"""What classification tasks share: hand-worked losses, answers, baselines, suspected wrong labels."""

import math

import numpy as np
import pytest
import torch

from ouvroir import classification as shared
from ouvroir.errors import DataError
from ouvroir.evaluation.metrics import decided, score, take
from ouvroir.task import Row

LABELS = ("a", "b", "c")


def row(label, number=0):
    return Row(id=f"row {number}", locator="", sha256="", label=label)


# --- labels -----------------------------------------------------------------------------------------------------------


def test_targets_of_one_label():
    found = shared.label_targets([row("b"), row("a")], LABELS, is_multi_label=False)["labels"]
    assert found.dtype == np.int64
    assert found.tolist() == [1, 0]


def test_targets_of_several_labels():
    rows = [row(("a", "c")), row(()), row("b")]
    found = shared.label_targets(rows, LABELS, is_multi_label=True)["labels"]
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("label", "words"), [("d", "does not know"), (None, "no label"), (("a", "b"), "several labels"), ((), "no label")]
)
def test_targets_that_cannot_be(label, words):
    with pytest.raises(DataError, match=words):
        shared.label_targets([row(label)], LABELS, is_multi_label=False)


def test_balanced_weights_hand_worked():
    weights = shared.balanced_weights(np.array([0, 0, 0, 1]), 3)
    assert weights.tolist() == pytest.approx([4 / 6, 2, 1])  # N / (C · n): two classes are present
    targets = np.array([0, 0, 0, 1])
    assert weights[targets].mean() == pytest.approx(1)


def test_strata_take_the_rarest_label():
    targets = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]])
    assert shared.strata(targets).tolist() == [1, 0, 3, 2]
    assert shared.strata(np.array([2, 0])).tolist() == [2, 0]


# --- losses -----------------------------------------------------------------------------------------------------------


def test_plain_loss_is_torch_cross_entropy():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 3, 0, 1])
    loss = shared.class_loss(logits, targets)
    assert torch.allclose(loss.per_row, torch.nn.functional.cross_entropy(logits, targets, reduction="none"))
    assert loss.n_items.tolist() == [1] * 6


def test_smoothing_is_that_of_torch():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 3, 0])
    want = torch.nn.functional.cross_entropy(logits, targets, reduction="none", label_smoothing=0.1)
    assert torch.allclose(shared.class_loss(logits, targets, label_smoothing=0.1).per_row, want)


def test_soft_targets_hand_worked():
    """p = (1/2, 1/4, 1/4); target (3/4, 1/4, 0): loss = 3/4·ln 2 + 1/4·ln 4 = 5/4·ln 2."""
    logits = torch.tensor([[math.log(2.0), 0.0, 0.0]])
    loss = shared.class_loss(logits, torch.tensor([[0.75, 0.25, 0.0]]))
    assert loss.per_row.item() == pytest.approx(1.25 * math.log(2))


def test_entropy_term_hand_worked():
    """p uniform over 4: H = ln 4, so the penalised loss is ln 4 − ln 4 / 12."""
    loss = shared.class_loss(torch.zeros(1, 4), torch.tensor([2]), entropy=-1 / 12)
    assert loss.per_row.item() == pytest.approx(math.log(4) * 11 / 12)


def test_class_weights_multiply_rows():
    logits = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 1])
    plain, weighed = (
        shared.class_loss(logits, targets, class_weight=weight).per_row for weight in (None, torch.tensor([0.5, 2.0]))
    )
    assert torch.allclose(weighed, plain * torch.tensor([0.5, 2.0, 2.0]))
    blended = shared.class_loss(logits[:1], torch.tensor([[0.5, 0.5]]), class_weight=torch.tensor([0.5, 2.0]))
    alone = shared.class_loss(logits[:1], torch.tensor([[0.5, 0.5]]))
    assert blended.per_row.item() == pytest.approx(alone.per_row.item() * 1.25)


def test_label_set_loss_is_torch_binary_cross_entropy():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    want = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
    assert torch.allclose(shared.label_set_loss(logits, targets).per_row, want)


def test_label_set_entropy_hand_worked():
    loss = shared.label_set_loss(torch.zeros(1, 3), torch.ones(1, 3), entropy=-1 / 12)
    assert loss.per_row.item() == pytest.approx(math.log(2) * 11 / 12)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_predictions_of_one_label_and_none_of_these():
    scores = np.array([[0.2, 0.7, 0.1], [0.4, 0.35, 0.25]], np.float32)
    sure, unsure = shared.predictions(scores, LABELS, threshold=0.5, is_multi_label=False)
    assert sure.label == "b"
    assert list(sure.scores) == ["b", "a", "c"]
    assert unsure.label is None
    assert shared.predictions(scores, LABELS, threshold=0, is_multi_label=False)[1].label == "a"


def test_predictions_of_several_labels():
    scores = np.array([[0.9, 0.2, 0.6], [0.1, 0.2, 0.3]], np.float32)
    two, none = shared.predictions(scores, LABELS, threshold=0, is_multi_label=True)
    assert two.labels == ("a", "c")
    assert two.label == "a|c"
    assert none.labels == ()
    assert none.label is None
    assert shared.predictions(scores, LABELS, threshold=0.25, is_multi_label=True)[1].labels == ("c",)


def test_answers_of_a_batch():
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    loss = shared.class_loss(logits, torch.tensor([0, 1]))
    answers = shared.class_answers(
        torch.tensor([5, 9]), logits, loss, torch.tensor([0, 1]), ("a", "b"), is_multi_label=False
    )
    assert answers.index.tolist() == [5, 9]
    assert answers.scores.sum(axis=1) == pytest.approx([1, 1])
    assert answers.loss[0] == pytest.approx(math.log(2))
    assert answers.targets.dtype == np.int64


def test_answers_of_several_labels():
    targets = torch.tensor([[1.0, 0.0]])
    logits = torch.zeros(1, 2)
    loss = shared.label_set_loss(logits, targets)
    answers = shared.class_answers(torch.tensor([0]), logits, loss, targets, ("a", "b"), is_multi_label=True)
    assert answers.is_multi_label
    assert answers.targets.dtype == np.uint8
    assert answers.scores.tolist() == [[0.5, 0.5]]


# --- baselines --------------------------------------------------------------------------------------------------------


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
    cheap = shared.majority_baseline(np.array([0, 0, 0, 1]), np.array([0, 1, 2]), LABELS)
    assert cheap.answers.scores[0].argmax() == 0
    assert cheap.answers.scores.sum(axis=1) == pytest.approx([1, 1, 1])
    assert np.isfinite(cheap.answers.loss).all()


@pytest.mark.parametrize("baseline", [shared.linear_baseline, shared.neighbours_baseline])
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
    assert accuracy(shared.linear_baseline(features, targets, asked, wanted, LABELS)) > 0.85


def test_baselines_with_a_class_that_train_lacks(clouds):
    features, targets, asked, wanted = clouds
    known = targets != 2
    for baseline in (shared.linear_baseline, shared.neighbours_baseline):
        cheap = baseline(features[known], targets[known], asked, wanted, LABELS)
        assert np.isfinite(cheap.answers.loss).all()


def test_baselines_of_several_labels(clouds):
    features, targets, asked, wanted = clouds
    many, more = (np.stack([part == 0, part != 0, part > 5], axis=1).astype(np.float32) for part in (targets, wanted))
    for baseline in (shared.linear_baseline, shared.neighbours_baseline):
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
    cheap = shared.majority_baseline(np.array(train, np.float32), np.array([[1, 0, 1]], np.float32), LABELS)
    assert cheap.name == "most frequent labels"
    assert cheap.answers.is_multi_label
    assert decided(cheap.answers)[0].tolist() == answered
    assert np.isfinite(cheap.answers.loss).all()


def test_the_trivial_answer_of_several_labels_has_the_shares_as_scores():
    """Shares 6.5/11 and 2.5/11; the test row has the first label only: nll = -(ln(6.5/11) + ln(8.5/11)) / 2."""
    train = np.array([[1, 0]] * 5 + [[1, 1]] + [[0, 1]] + [[0, 0]] * 3, np.float32)
    cheap = shared.majority_baseline(train, np.array([[1, 0]], np.float32), LABELS[:2])
    assert cheap.answers.scores[0] == pytest.approx([6.5 / 11, 2.5 / 11])
    want = -(math.log(6.5 / 11) + math.log(8.5 / 11)) / 2
    assert score("nll", cheap.answers) == pytest.approx(want)
    assert cheap.answers.loss[0] == pytest.approx(want)
    rare = shared.majority_baseline(np.eye(4, dtype=np.float32)[[0, 0, 1, 2, 3]], np.eye(4)[:1], (*LABELS, "d"))
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

    found = shared.cheap_baselines(targets, features_of, features[::100], targets[::100], LABELS)
    assert [len(places) for places in asked] == [shared.BASELINE_ROWS]
    assert np.bincount(targets[asked[0]]).tolist() == pytest.approx([4500, 450, 50], abs=2)
    assert [one.n_rows for one in found] == [None, shared.BASELINE_ROWS, shared.BASELINE_ROWS]


def test_baselines_that_learn_from_all_rows_do_not_speak_of_rows(clouds):
    features, targets, asked, wanted = clouds
    found = shared.cheap_baselines(targets, lambda places: features[places], asked, wanted, LABELS)
    assert [one.n_rows for one in found] == [None, None, None]


def test_many_classes_do_not_make_baselines_slow():
    assert shared._iterations(5000 * 304, 10) == 200
    assert shared._iterations(5000 * 304, 1000) * 5000 * 304 * 1000 <= shared.BASELINE_WORK
    assert shared._iterations(5000 * 304, 100_000) == 20


# --- labels that may be wrong -----------------------------------------------------------------------------------------


def test_suspected_mislabels_are_found(clouds):
    features, targets, _, _ = clouds
    rng = np.random.default_rng(1)
    swapped = rng.choice(len(targets), 12, replace=False)
    given = targets.copy()
    given[swapped] = (given[swapped] + 1) % 3
    scores = shared.out_of_fold_scores(features, given, 3)
    found = shared.suspected_mislabels(scores, given, LABELS)
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
    assert shared.suspected_mislabels(shared.out_of_fold_scores(features, targets, 2), targets, ("a", "b")) == []


def test_out_of_fold_scores_never_see_the_row():
    """With random labels, out-of-fold confidence in the given label is no better than chance."""
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(200, 60)), rng.integers(0, 2, 200)
    scores = shared.out_of_fold_scores(features, targets, 2)
    assert scores.sum(axis=1) == pytest.approx(np.ones(200))
    assert 0.38 < (scores.argmax(axis=1) == targets).mean() < 0.62
