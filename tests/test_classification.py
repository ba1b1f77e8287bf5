"""What classification tasks share: targets, hand-worked losses, answers."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from ouvroir import classification as shared
from ouvroir.errors import DataError
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


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}, {"label_smoothing": 0.1, "entropy": -1 / 12}])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_class_numbers_and_distributions_of_one_class_cost_the_same(settings, is_weighted):
    logits, targets = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 3, 0])
    weight = torch.tensor([0.5, 1.0, 2.0, 0.25]) if is_weighted else None
    one = shared.class_loss(logits, targets, class_weight=weight, **settings).per_row
    other = shared.class_loss(logits, functional.one_hot(targets, 4).float(), class_weight=weight, **settings).per_row
    assert torch.allclose(one, other, atol=1e-6)
    usual = functional.cross_entropy(
        logits, targets, reduction="none", label_smoothing=settings.get("label_smoothing", 0.0)
    )
    if not is_weighted and "entropy" not in settings:
        assert torch.allclose(one, usual, atol=1e-6)


def test_of_a_model_without_classes_nothing_is_said_of_them():
    kept = "The weights of the earlier model are kept."
    assert shared.adoption_sentences((), (), 0, n_kept=3, n_lost=0) == [kept]
    assert shared.adoption_sentences((), ("a",), 0, n_kept=3, n_lost=0) == [kept]
    assert any("No class keeps" in one for one in shared.adoption_sentences(("b",), ("a",), 0, n_kept=3, n_lost=0))
