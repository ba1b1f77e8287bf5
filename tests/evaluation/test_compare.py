from dataclasses import replace

import numpy as np
import pytest
from answers_made import from_decisions, only_loss, several, single

from ouvroir.errors import DataError
from ouvroir.evaluation.compare import compare, mcnemar
from ouvroir.evaluation.metrics import measure, score, take
from ouvroir.task import Answers


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (5, 0), (6, 0), (12, 3), (300, 260), (4000, 3000)])
def test_mcnemar_equals_scipy(fixed, broken):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    assert mcnemar(fixed, broken) == pytest.approx(expected, rel=1e-9)


def test_fixed_and_broken_are_the_rows_that_changed():
    first = from_decisions([0, 1, 0, 1, 0], [0, 0, 0, 0, 1], "ab")  # right: 0, 2
    second = from_decisions([0, 1, 0, 1, 0], [1, 1, 0, 1, 1], "ab")  # right: 1, 2, 3
    shift = np.array([10, 11, 12, 13, 14])
    found = compare(replace(first, index=shift), replace(second, index=shift))
    assert (found.fixed, found.broken) == ((11, 13), (10,))
    assert found.difference.value == pytest.approx(0.2)
    assert found.verdict == "same"
    assert found.sentence.startswith("No difference is shown on 5 items: B minus A is +20.0 points [")
    assert "would probably have been seen" in found.sentence
    assert found.sentence.endswith("B fixes 2 of them and breaks 1.")


def test_a_clear_gain_and_a_clear_loss_are_said():
    weak, strong = single(600, 5, seed=1, skill=1.0), single(600, 5, seed=2, skill=2.5)
    better, worse = compare(weak, strong), compare(strong, weak)
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert better.difference.low > 0
    assert better.p_value < 0.001
    assert better.difference.value == pytest.approx(score("accuracy", strong) - score("accuracy", weak))
    gain = 100 * better.difference.value
    assert better.sentence.startswith(f"B is better than A on 600 items by {gain:.1f} points [")
    assert worse.sentence.startswith(f"A is better than B on 600 items by {gain:.1f} points [")
    assert f"] (accuracy). B fixes {len(worse.fixed)} of them and breaks {len(worse.broken)}." in worse.sentence
    assert "-" not in worse.sentence
    assert better.as_dict()["n_fixed"] == len(better.fixed)


def test_identical_answers_do_not_prove_equality():
    answers = single(200)
    for metric in ("accuracy", "macro_f1"):
        found = compare(answers, answers, metric=metric)
        assert found.verdict == "same"
        assert found.difference.low < 0 < found.difference.high
        assert found.smallest >= 0.02


def test_the_interval_of_the_difference_holds_the_truth():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        kinds = rng.choice(3, size=150, p=[0.08, 0.05, 0.87])  # fixed, broken, both right
        zeros = np.zeros(150, int)
        found = compare(from_decisions(zeros, kinds == 0, "ab"), from_decisions(zeros, kinds == 1, "ab"), n_draws=100)
        held.append(found.difference.low <= 0.03 <= found.difference.high)
    assert 0.92 <= np.mean(held) <= 0.985


def test_paired_bootstrap_agrees_with_the_normal_approximation():
    a, b = single(800, 3, seed=1), single(800, 3, seed=2)
    found = compare(a, b, metric="nll")
    gaps = -np.log(b.scores[np.arange(800), b.targets]) + np.log(a.scores[np.arange(800), a.targets])
    half = 1.96 * gaps.std() / np.sqrt(800)
    assert found.difference.value == pytest.approx(gaps.mean(), abs=1e-5)
    assert (found.difference.high - found.difference.low) / 2 == pytest.approx(half, rel=0.06)


def test_less_is_better_for_losses():
    found = compare(only_loss(scale=1.0), only_loss(scale=0.8))
    assert found.metric == "loss"
    assert found.verdict == "better"
    assert found.p_value is None
    assert found.fixed == ()


def test_several_labels_compare_by_all_labels_right():
    found = compare(several(seed=1, noise=0.9), several(seed=2, noise=0.4))
    assert found.metric == "subset_accuracy"
    assert found.verdict == "better"
    assert compare(several(seed=1), several(seed=2), metric="macro_f1").metric == "macro_f1"


def test_order_and_order_of_classes_do_not_matter():
    a, b = single(100, 3, seed=1), single(100, 3, seed=2)
    usual = compare(a, b)
    shuffled = take(b, np.random.default_rng(0).permutation(100))
    turned = replace(
        shuffled, scores=shuffled.scores[:, ::-1].copy(), targets=2 - shuffled.targets, labels=b.labels[::-1]
    )
    assert compare(a, turned) == usual


def test_other_rows_and_other_labels_are_refused():
    with pytest.raises(DataError, match="not about the same rows"):
        compare(single(100), take(single(100), np.arange(50)))
    with pytest.raises(DataError, match="different labels"):
        compare(single(100), replace(single(100), targets=(single(100).targets + 1) % 4))
    with pytest.raises(DataError, match="Compare them by another metric"):
        compare(only_loss(), only_loss(), metric="accuracy")


def told(nats, n=1000, units=None):
    """Answers to texts of `n` characters each by a model that is surprised by `nats` of each."""
    n_items = np.full(len(nats), n)
    loss = np.asarray(nats) * n
    return Answers(
        np.arange(len(nats)), loss, n_items, n_bytes=n_items, units=None if units is None else np.array(units)
    )


def test_one_row_shows_no_difference():
    found = compare(told([1.5]), told([1.495]), metric="nats_per_character")
    assert found.verdict == "same"
    assert found.as_dict()["difference"] == {"value": pytest.approx(-0.005), "low": None, "high": None}
    assert found.as_dict()["smallest"] is None
    assert "gives no interval" in found.sentence
    assert measure(["nats_per_character"], told([1.5]))["nats_per_character"].as_dict()["low"] is None


def test_neighbours_count_as_one():
    """Ten blocks that are all better by the same amount prove much where they are apart, little where they are three runs."""
    rng = np.random.default_rng(0)
    gap = np.repeat([-0.01, -0.05, 0.01], 10) + 0.001 * rng.normal(size=30)
    first, second = np.full(30, 1.5), 1.5 + gap
    units = np.repeat([0, 1, 2], 10)
    assert compare(told(first), told(second)).verdict == "better"
    together = compare(told(first, units=units), told(second, units=units))
    assert together.verdict == "same"
    assert (together.n, together.n_units) == (30, 3)
    assert "on 30 blocks (counted as 3)" in together.sentence
    assert compare(told(first), told(second, units=units)) == together, "it is enough that one of them knows"
    own = measure(["loss"], told(second, units=units))["loss"]
    assert own.high - own.low > 3 * np.diff(list(measure(["loss"], told(second))["loss"].as_dict().values())[1:])[0]
