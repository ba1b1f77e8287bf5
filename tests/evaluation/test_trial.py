"""The statistics of a trial: they agree with what is worked out by hand and by other programs, and they do not lie."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import stored_answers
from scipy import stats

from ouvroir.errors import DataError
from ouvroir.evaluation import trial


def drawn(rng, k, n, *, gain=0.0, seeds=0.004, items=0.15, rest=0.2):
    """Differences of a two-way random model."""
    return (
        gain
        + seeds * rng.standard_normal((k, 1))
        + items * rng.standard_normal((1, n))
        + rest * rng.standard_normal((k, n))
    )


def test_the_interval_is_that_of_the_analysis_of_variance():
    table = np.array([[1.0, 0.0, 2.0], [3.0, 1.0, 5.0]])
    # by hand: means of seeds 1, 3, of items 2, .5, 3.5; MS 6, 4.5, .5, so that the variance is (6 + 4.5 - .5) / 6
    found = trial.two_way(table)
    assert found.value == 2.0
    assert found.standard_error == pytest.approx(np.sqrt(10 / 6))
    assert found.degrees == pytest.approx(100 / (36 / 1 + 4.5**2 / 2 + 0.25 / 2))
    half = stats.t.ppf(0.975, found.degrees) * found.standard_error
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert found.p_value == pytest.approx(2 * stats.t.sf(2 / found.standard_error, found.degrees))


def test_where_items_do_not_matter_it_is_the_paired_t_test_over_seeds():
    seeds = np.array([0.01, 0.03, 0.02, -0.01, 0.04, 0.015])
    found = trial.two_way(np.tile(seeds[:, None], (1, 50)))
    usual = stats.ttest_1samp(seeds, 0.0)
    assert found.p_value == pytest.approx(usual.pvalue)
    low, high = usual.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("k", "n", "seeds", "items", "rest"),
    [(6, 180, 0.004, 0.15, 0.2), (6, 400, 0.02, 0.05, 0.2), (10, 941, 0.0, 0.2, 0.1), (10, 400, 0.003, 0.0, 0.25)],
)
def test_the_interval_covers_the_truth(k, n, seeds, items, rest):
    rng = np.random.default_rng(k * n)
    hits = 0
    for _ in range(600):
        found = trial.two_way(drawn(rng, k, n, gain=0.01, seeds=seeds, items=items, rest=rest))
        hits += found.low <= 0.01 <= found.high
    assert 0.92 <= hits / 600 <= 0.99


def many_trials(one, other, *, k, n_items, n_trials, seed):
    """Trials drawn from stored answers: seeds and items with replacement, as if from all that there are."""
    rng = np.random.default_rng(seed)
    for _ in range(n_trials):
        items = rng.integers(0, one.shape[1], n_items)
        mine, theirs = (table[rng.integers(0, len(table), k)][:, items] for table in (one, other))
        yield mine - theirs


@pytest.mark.parametrize(("k", "n_items"), [(6, 400), (10, 941)])
def test_on_stored_answers_intervals_cover_the_true_difference_and_no_effect_is_hardly_ever_admitted(k, n_items):
    """2,000 trials each; the true difference is that of all stored seeds and items."""
    tables = stored_answers.load()
    truth = tables["plain"].mean() - tables["ordinary"].mean()
    drawn_trials = many_trials(tables["plain"], tables["ordinary"], k=k, n_items=n_items, n_trials=2000, seed=1)
    found = [trial.two_way(one) for one in drawn_trials]
    assert 0.93 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.97
    nothing = many_trials(tables["ordinary"], tables["ordinary"], k=k, n_items=n_items, n_trials=2000, seed=2)
    again = many_trials(tables["ordinary"], tables["ordinary"], k=k, n_items=n_items, n_trials=2000, seed=3)
    judged = [trial.judge(one, same=same) for one, same in zip(nothing, again, strict=True)]
    assert 0.93 <= np.mean([one.gain.low <= 0 <= one.gain.high for one in judged]) <= 0.97
    assert np.mean([one.verdict == "admitted" for one in judged]) <= 0.025


def test_items_of_a_group_count_as_one():
    rng = np.random.default_rng(11)
    of_groups = drawn(rng, 6, 50)
    groups = np.repeat(np.arange(50), 4)
    table = np.repeat(of_groups, 4, axis=1)
    found, alone = trial.two_way(table, groups=groups), trial.two_way(of_groups)
    assert (found.value, found.low, found.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert found.n_items == 200
    assert trial.two_way(table).high < found.high
    uneven = np.array([0, 0, 0, 1, 2])
    five = drawn(rng, 6, 5)
    assert trial.two_way(five, groups=uneven).value == pytest.approx(five.mean())


def test_equal_differences_have_no_width():
    found = trial.two_way(np.full((6, 20), 0.25))
    assert (found.low, found.value, found.high, found.p_value) == (0.25, 0.25, 0.25, 0.0)
    assert trial.two_way(np.zeros((6, 20))).p_value == 1.0


def test_one_seed_or_one_item_is_no_trial():
    for shape in ((1, 10), (10, 1)):
        with pytest.raises(DataError, match="two seeds and two items"):
            trial.two_way(np.zeros(shape))


def test_sign_flips_are_those_of_the_exact_test():
    values = np.array([0.3, -0.1, 0.2, 0.4, 0.1, 0.25])
    usual = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert trial.sign_flip(values) == pytest.approx(usual.pvalue)
    assert trial.sign_flip(np.ones(6)) == 2 / 2**6
    assert trial.sign_flip(np.ones(5)) > trial.SIGNIFICANT  # which is why there are six seeds
    assert trial.sign_flip(np.zeros(6)) == 1.0
    many = np.random.default_rng(0).normal(0.2, 1, 30)
    assert trial.sign_flip(many) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.03)


@pytest.mark.parametrize("k", [2, 3, 11, 16])
def test_sign_flips_by_halves_are_those_of_the_whole(k):
    values = np.random.default_rng(k).integers(-3, 6, k) / 8  # with ties, and exact in floating point
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=k)))
    assert trial.sign_flip(values) == (np.abs(signs @ values) >= abs(values.sum())).mean()


def test_the_fewest_seeds_that_are_named_can_agree():
    for n_tried in (1, 4, 2**10, 2**20):
        k = trial.least_seeds(n_tried)
        assert (
            n_tried * trial.sign_flip(np.full(k, 0.02))
            < trial.SIGNIFICANT
            <= n_tried * trial.sign_flip(np.full(k - 1, 0.02))
        )
    beyond = trial.sign_flip(np.full(41, 0.02))  # drawn at random, the observed one counted
    assert beyond == 1 / (2**20 + 1)
    mixed = np.random.default_rng(1).normal(0.1, 1, 60)
    assert trial.sign_flip(mixed) == pytest.approx(stats.ttest_1samp(mixed, 0).pvalue, abs=0.03)


def test_holm_is_holm():
    assert trial.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert trial.holm([0.9, 0.8]) == [1.0, 1.0]
    assert trial.holm([]) == []
    for given in itertools.permutations([0.2, 0.01, 0.04]):
        assert sorted(trial.holm(given)) == pytest.approx([0.03, 0.08, 0.2])


@pytest.mark.parametrize(("gain", "verdict"), [(0.03, "admitted"), (-0.03, "harmful"), (0.0, "rejected")])
def test_verdicts(gain, verdict):
    rng = np.random.default_rng(3)
    table = drawn(rng, 8, 900, gain=gain, seeds=0.001, items=0.05, rest=0.1)
    table += gain - table.mean()
    assert trial.judge(table).verdict == verdict
    assert trial.judge(table[:5]).verdict == ("rejected" if gain > 0 else verdict)  # never admitted under six seeds


def test_a_gain_that_is_sure_but_too_small_is_rejected():
    table = np.random.default_rng(0).normal(0.002, 0.001, (8, 900))
    found = trial.judge(table)
    assert found.gain.low > 0
    assert found.verdict == "rejected"


def test_a_class_that_loses_stands_in_the_way():
    rng = np.random.default_rng(1)
    targets = np.repeat([0, 1, 2], [300, 300, 20])
    table = drawn(rng, 8, 620, gain=0.05, seeds=0.001, items=0.02, rest=0.05)
    table[:, targets == 1] -= 0.09
    table[:, targets == 2] -= 0.9  # too few to be judged each on its own
    found = trial.judge(table + 0.08, targets=targets, labels=("a", "b", "c"))
    assert found.by_class["b"].value > -trial.CLASS_LOSS
    assert found.losers == ()
    found = trial.judge(table, targets=targets, labels=("a", "b", "c"))
    assert found.losers == ("b",)
    assert set(found.by_class) == {"a", "b"}
    assert found.verdict != "admitted"


def test_a_class_that_lies_in_one_group_is_not_judged_on_its_own():
    rng = np.random.default_rng(4)
    targets = np.repeat([0, 1], [60, 240])
    groups = np.concatenate([np.zeros(60), 1 + np.arange(240) // 4]).astype(np.int64)
    table = drawn(rng, 8, 300, gain=0.05, seeds=0.001, items=0.02, rest=0.05)
    found = trial.judge(table, targets=targets, labels=("one", "many"), groups=groups)
    assert set(found.by_class) == {"many"}


def test_several_looks_take_more_seeds():
    assert [trial.least_seeds(n) for n in (1, 2, 4, 20)] == [6, 7, 8, 10]
    rng = np.random.default_rng(5)
    table = drawn(rng, 8, 900, gain=0.05, seeds=0.001, items=0.05, rest=0.1)
    assert [trial.judge(table[:k], n_tried=2).verdict for k in (6, 7)] == ["rejected", "admitted"]
    found = trial.judge(table[:6], n_tried=2)
    assert (found.level, found.least_seeds) == (0.975, 7)
    assert found.gain.low > 0


def test_harm_of_the_size_of_what_showed_itself_to_be_chance_is_not_believed():
    rng = np.random.default_rng(6)
    noise = drawn(rng, 8, 900, gain=0.0, seeds=0.001, items=0.05, rest=0.1)
    noise -= noise.mean()
    for side in (1, -1):
        assert trial.judge(noise - 0.03, same=noise + side * 0.05).verdict == "unreliable"
        assert trial.judge(noise - 0.2, same=noise + side * 0.05).verdict == "harmful"


def test_when_the_ordinary_way_differs_from_itself_nothing_is_believed():
    rng = np.random.default_rng(2)
    good = drawn(rng, 8, 900, gain=0.05, seeds=0.001, items=0.05, rest=0.1)
    noise = drawn(rng, 8, 900, gain=0.0, seeds=0.001, items=0.05, rest=0.1)
    assert trial.judge(good, same=noise - noise.mean()).verdict == "admitted"
    assert trial.judge(good, same=noise - noise.mean() + 0.05).verdict == "unreliable"
    assert trial.judge(noise - noise.mean(), same=noise - noise.mean() + 0.05).verdict == "rejected"


def test_several_ways_at_once_are_judged_more_strictly():
    table = drawn(np.random.default_rng(5), 10, 900, seeds=0.002, items=0.05, rest=0.1)
    one, four = trial.judge(table), trial.judge(table, n_tried=4)
    assert four.gain.low < one.gain.low < one.gain.high < four.gain.high
    assert four.flip_p == min(1.0, 4 * one.flip_p)


def test_a_hopeless_trial_ends_early_and_a_hopeful_one_does_not():
    rng = np.random.default_rng(4)
    bad = drawn(rng, 4, 900, gain=-0.05, seeds=0.001, items=0.02, rest=0.05)
    assert trial.is_futile(bad)
    assert not trial.is_futile(bad[:3])
    assert not trial.is_futile(drawn(rng, 4, 900, gain=0.01, seeds=0.001, items=0.02, rest=0.05))


def test_the_items_that_are_needed_show_the_effect():
    n = trial.least_items(0.02, 0.05)
    rng = np.random.default_rng(6)
    seen = 0
    for _ in range(400):
        items = rng.choice([-1.0, 0.0, 1.0], p=[0.015, 0.95, 0.035], size=(1, n))  # all seeds agree
        seen += trial.two_way(np.repeat(items, 6, axis=0) + 1e-9 * rng.standard_normal((6, n))).low > 0
    assert 0.7 <= seen / 400 <= 0.9
