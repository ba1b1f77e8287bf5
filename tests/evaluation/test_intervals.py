"""Intervals against scipy, and how often they hold the truth."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from answers_made import from_decisions, from_scores, several

from ouvroir.evaluation import intervals
from ouvroir.evaluation.intervals import Sums, bca, percentile, wilson
from ouvroir.evaluation.metrics import N_CALIBRATION_BINS, measure, sums_of
from ouvroir.task import Answers


def mean_of(values, **_):
    values = np.asarray(values, dtype=float)
    parts = np.stack([values, np.ones(len(values))], 1)
    return Sums.of_rows(parts, lambda total: total[:, 0] / total[:, 1])


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (3, 7), (88, 100), (941, 1000)])
def test_wilson_equals_scipy(right, n):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_knows_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


def test_bca_equals_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(3).gamma(1.5, size=60)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=60_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    found = bca(mean_of(values), n_draws=60_000, seed=2)
    assert found == pytest.approx((expected.low, expected.high), abs=0.012)


def test_alike_rows_drawn_together_give_the_same_interval_as_row_by_row():
    values = np.random.default_rng(0).integers(0, 3, 120)
    grouped = Sums.of_kinds(
        values, lambda kinds: np.stack([kinds, np.ones(len(kinds))], 1).astype(float), mean_of([0]).finish
    )
    assert grouped.value() == pytest.approx(values.mean())
    assert percentile(grouped, n_draws=20_000) == pytest.approx(percentile(mean_of(values), n_draws=20_000), abs=0.02)


def test_many_kinds_are_drawn_row_by_row(monkeypatch):
    values = np.random.default_rng(0).normal(size=300)
    usual = bca(mean_of(values), n_draws=8000)
    monkeypatch.setattr(intervals, "_FEW_KINDS", 10)
    monkeypatch.setattr(intervals, "_CHUNK", 300 * 64)
    assert bca(mean_of(values), n_draws=8000) == pytest.approx(usual, abs=0.02)


def test_a_seed_repeats_and_constant_values_have_no_width():
    sums = mean_of(np.arange(50.0))
    assert bca(sums, seed=4) == bca(sums, seed=4) != bca(sums, seed=5)
    assert bca(mean_of(np.full(9, 2.5))) == (2.5, 2.5)


def test_a_hundred_thousand_rows_are_normal():
    values = np.random.default_rng(0).exponential(size=100_000)
    low, high = bca(mean_of(values), n_draws=200)
    expected = 1.96 * values.std() / np.sqrt(len(values))
    assert (high - low) / 2 == pytest.approx(expected, rel=0.2)


def test_parts_that_count_or_not_give_the_same_numbers_in_blocks(monkeypatch):
    sums = sums_of("macro_f1", several(90, 7))
    whole = replace(sums, parts=sums.parts.astype(float))
    usual = (sums.value(), bca(sums), sums.draws(300, 5), sums.without_one())
    monkeypatch.setattr(intervals, "_CHUNK", 40)  # one row at a time
    in_blocks = (sums.value(), bca(sums), sums.draws(300, 5), sums.without_one())
    for found, again, expected in zip(
        usual, in_blocks, (whole.value(), bca(whole), whole.draws(300, 5), whole.without_one()), strict=True
    ):
        assert np.array_equal(found, expected)
        assert np.array_equal(again, expected)


@pytest.mark.parametrize("kind", ["several", "one"])
def test_many_classes_do_not_fill_the_memory(kind):
    rng = np.random.default_rng(0)
    answers = several(6000, 500) if kind == "several" else from_decisions(*rng.integers(0, 500, (2, 6000)), range(500))
    tracemalloc.start()
    bca(sums_of("macro_f1", answers), n_draws=20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 140e6


# Coverage: an interval that says 95 % holds the truth in 93 to 97 % of simulated test sets

SHARES = [(60, 0.90), (100, 0.95), (250, 0.98), (400, 0.75), (1000, 0.995), (2000, 0.94)]
# classes, rows, error rate, how uneven: at least 5 expected errors in each
MATRICES = [(2, 60, 0.1, 1.0), (3, 200, 0.05, 0.7), (5, 120, 0.2, 0.7), (10, 300, 0.1, 0.8), (10, 540, 0.06, 1.0)]


def wilson_coverage(n, truth):
    """Exact: summed over every outcome."""
    stats = pytest.importorskip("scipy.stats")
    outcomes = np.arange(n + 1)
    held = [low <= truth <= high for low, high in (wilson(int(k), n) for k in outcomes)]
    return float(stats.binom.pmf(outcomes, n, truth)[held].sum())


@pytest.mark.parametrize(("n", "truth"), SHARES)
def test_wilson_holds_the_truth_as_often_as_it_says(n, truth):
    assert n * (1 - truth) >= 5 - 1e-9
    # a discrete outcome makes exact coverage jump with the truth: the mean over nearby truths is what a user meets
    nearby = np.linspace(truth - 0.3 * (1 - truth), truth + 0.2 * (1 - truth) * (n * (1 - truth) > 6), 25)
    assert 0.93 <= np.mean([wilson_coverage(n, one) for one in nearby]) <= 0.97


def f1_coverage(n_classes, n, error, evenness, *, repeats, n_draws, seed):
    rng = np.random.default_rng(seed)
    prior = evenness ** np.arange(n_classes)
    prior /= prior.sum()
    matrix = np.full((n_classes, n_classes), error / (n_classes - 1))
    np.fill_diagonal(matrix, 1 - error)
    joint = prior[:, None] * matrix
    hits = np.diag(joint)
    truth = float(np.mean(2 * hits / (joint.sum(0) + joint.sum(1))))
    labels = [str(k) for k in range(n_classes)]
    held = 0
    for repeat in range(repeats):
        cells = rng.choice(n_classes**2, size=n, p=joint.ravel())
        sums = sums_of("macro_f1", from_decisions(cells // n_classes, cells % n_classes, labels))
        low, high = bca(sums, n_draws=n_draws, seed=repeat)
        held += low <= truth <= high
    return held / repeats


def test_bootstrap_of_f1_holds_the_truth_about_as_often_as_it_says():
    # 400 simulated test sets: the share found lies within 2.7 points of its expectation in 99 % of trials
    assert 0.92 <= f1_coverage(5, 120, 0.2, 0.7, repeats=400, n_draws=600, seed=1) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("case", MATRICES, ids=str)
def test_bootstrap_of_f1_holds_the_truth_in_93_to_97_percent(case):
    n_classes, n, error, evenness = case
    assert n * error >= 5
    assert 0.93 <= f1_coverage(n_classes, n, error, evenness, repeats=3000, n_draws=1000, seed=7) <= 0.97


# how sure a pretended model is, (M,), and how often it is right when it is so sure
CONFIDENT = {"sure": lambda rng, n: 0.3 + 0.7 * rng.beta(8, 1, n), "less sure": lambda rng, n: rng.uniform(0.3, 1, n)}
RIGHT = {
    "calibrated": lambda sure: sure,
    "over-confident": lambda sure: 0.88 * sure,
    "over-confident where sure": lambda sure: np.where(sure < 0.8, sure, sure - 0.08),
    "both ways": lambda sure: np.clip(sure + np.where(sure < 0.65, 0.08, -0.08), 0, 1),
}


def ece_truth(draw, how_right):
    sure = draw(np.random.default_rng(1), 2_000_000)
    place = np.minimum((sure * N_CALIBRATION_BINS).astype(int), N_CALIBRATION_BINS - 1)
    return np.abs(np.bincount(place, weights=how_right(sure) - sure)).sum() / len(sure)


def ece_coverage(draw, how_right, n, *, repeats, n_labels=1):
    """How often the interval holds the calibration error of a model whose answers are right as often as `how_right` says."""
    truth, rng, held = ece_truth(draw, how_right), np.random.default_rng(3), 0
    for repeat in range(repeats):
        sure = draw(rng, n * n_labels)
        right = rng.random(len(sure)) < how_right(sure)
        if n_labels == 1:  # class 0 is answered with certainty `sure`, the nine others share the rest
            scores = np.concatenate([sure[:, None], np.repeat((1 - sure)[:, None] / 9, 9, axis=1)], axis=1)
            answers = from_scores(scores, np.where(right, 0, 1), range(10))
        else:
            targets = right.reshape(n, n_labels).astype(np.uint8)
            labels = tuple(map(str, range(n_labels)))
            scores = sure.reshape(n, n_labels).astype(np.float32)
            answers = Answers(np.arange(n), np.zeros(n), np.ones(n, np.int64), scores, targets, labels)
        metric = measure(["ece"], answers, n_draws=400, seed=repeat)["ece"]
        held += metric.low <= truth <= metric.high
    return held / repeats


@pytest.mark.parametrize("kind", ["calibrated", "over-confident where sure"])
def test_interval_of_the_calibration_error_holds_the_truth_about_as_often_as_it_says(kind):
    # noise alone makes the error of a calibrated model 0.08 here: a bootstrap never holds the truth
    assert ece_coverage(CONFIDENT["less sure"], RIGHT[kind], 200, repeats=60) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 1000])
@pytest.mark.parametrize("sure", CONFIDENT)
@pytest.mark.parametrize("kind", RIGHT)
def test_interval_of_the_calibration_error_holds_the_truth_in_91_to_99_percent(kind, sure, n):
    assert 0.91 <= ece_coverage(CONFIDENT[sure], RIGHT[kind], n, repeats=1000) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("kind", RIGHT)
def test_interval_of_the_calibration_error_of_several_labels(kind):
    assert 0.91 <= ece_coverage(CONFIDENT["less sure"], RIGHT[kind], 300, repeats=400, n_labels=4) <= 0.99


def test_interval_of_distances_knows_nothing_of_one_row_and_is_certain_without_noise():
    assert intervals.distance(np.ones((1, 3)), np.ones(3)) == (0.0, 1.0)
    assert intervals.distance(np.full((9, 2), [0.25, 0.0]), np.ones(2)) == (0.25, 0.25)


# Few rows, and rows that are alike


def runs(n_runs, each, seed, level=1.5, spread=0.2):
    """Parts (N, 2) of blocks, and the run that each is in: blocks of a run have nearly one level."""
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(n_runs), each)
    nats = (level + spread * rng.normal(size=n_runs))[units] + 0.01 * rng.normal(size=len(units))
    n = rng.integers(1000, 2000, len(units)).astype(float)
    return np.stack([nats * n, n], 1), units


def ratio_of(parts):
    return Sums.of_rows(parts, lambda total: total[:, 0] / total[:, 1])


def test_one_row_has_no_interval():
    assert intervals.around(ratio_of(np.array([[15.0, 10.0]]))) == (-np.inf, np.inf)


@pytest.mark.parametrize("n_runs", [2, 4, 8])
def test_the_interval_of_few_rows_holds_the_truth(n_runs):
    held = []
    for seed in range(400):
        parts, units = runs(n_runs, 3, seed)
        low, high = intervals.around(ratio_of(parts).together(units))
        held.append(low <= 1.5 <= high)
    assert 0.92 <= np.mean(held) <= 0.98


def test_rows_of_a_unit_are_drawn_together():
    parts, units = runs(40, 10, 0)
    alone, together = ratio_of(parts), ratio_of(parts).together(units)
    assert together.value() == pytest.approx(alone.value())
    assert len(together.parts) == 40
    width = [high - low for low, high in map(intervals.around, (alone, together))]
    assert width[1] > 2 * width[0]
    alike = Sums.of_kinds(np.array([1, 0, 1, 1]), lambda kinds: np.stack([kinds, np.ones(2)], 1), alone.finish)
    assert alike.together(np.array([5, 5, 5, 2])).parts.tolist() == [[1, 1], [2, 3]]
