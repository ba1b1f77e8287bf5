"""Scores of sets: against definitions written out row by row, scikit-learn, and what is known of the distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import polynomial_kernel

from ouvroir.errors import DataError
from ouvroir.evaluation import sets


def two(seed, n=60, m=60, width=8, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, width)), rng.standard_normal((m, width)) + shift


@pytest.mark.parametrize("chunk", [4_000_000, 200])
def test_precision_recall_density_and_coverage_are_as_defined(chunk, monkeypatch):
    monkeypatch.setattr(sets, "_CHUNK", chunk)
    real, made = two(0, 50, 70, shift=0.6)
    k = 5
    across = pairwise_distances(real, made)
    radius = [np.sort(pairwise_distances(one), axis=1)[:, k] for one in (real, made)]  # itself comes first
    precision = np.mean([any(across[i, j] < radius[0][i] for i in range(50)) for j in range(70)])
    recall = np.mean([any(across[i, j] < radius[1][j] for j in range(70)) for i in range(50)])
    density = sum(across[i, j] < radius[0][i] for i in range(50) for j in range(70)) / (k * 70)
    coverage = np.mean([min(across[i]) < radius[0][i] for i in range(50)])
    found = sets.shape_of(real, made, k=k)
    assert found.as_dict() == pytest.approx(
        {"precision": precision, "recall": recall, "density": density, "coverage": coverage}
    )


def test_lost_modes_lower_recall_and_coverage_and_strays_lower_precision():
    real, _ = two(1, 200)
    alike, narrow, wide = two(2, 200)[0], 0.2 * two(3, 200)[0], 4 * two(4, 200)[0]
    as_it_should = sets.shape_of(real, alike)
    assert sets.shape_of(real, narrow).coverage < as_it_should.coverage - 0.3
    assert sets.shape_of(real, narrow).recall < as_it_should.recall - 0.3
    assert sets.shape_of(real, wide).precision < as_it_should.precision - 0.3


def test_the_kernel_distance_is_that_of_scikit_learn_and_zero_on_average():
    real, made = two(5, 40, 30, shift=0.5)
    options = {"degree": 3, "gamma": 1 / 8, "coef0": 1}
    among = [polynomial_kernel(one, **options) for one in (real, made)]
    wanted = sum((one.sum() - np.trace(one)) / (len(one) * (len(one) - 1)) for one in among)
    wanted -= 2 * polynomial_kernel(real, made, **options).mean()
    assert sets.kernel_distance(real, made) == pytest.approx(wanted)
    same = [sets.kernel_distance(*two(100 + seed, 100, 100)) for seed in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    assert sets.kernel_distance(*two(6, 100, 100, shift=1.0)) > 5 * np.std(same)


def test_the_kernel_distance_worked_by_hand(monkeypatch):
    monkeypatch.setattr(sets, "LEAST_SAMPLES", 2)
    # k(a, b) = (a b + 1)³: among 0 and 1 it is 1, among 1 and 2 it is 27, across 1, 1, 8, 27
    assert sets.kernel_distance(np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])) == pytest.approx(
        1 + 27 - 2 * 37 / 4
    )


def test_equal_distributions_are_not_told_apart_and_others_are():
    p_values = [sets.told_apart(*two(200 + seed, 120, 100)).p_value for seed in range(100)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.12
    found = sets.told_apart(*two(7, 200, 200, shift=0.8))
    assert found.low > 0.6
    assert found.p_value < 1e-6


def test_made_samples_of_the_wrong_class_show_in_that_class():
    rng = np.random.default_rng(8)
    centres = 4 * np.eye(3)
    labels = np.repeat([0, 1, 2], 50)
    real, made = (centres[labels] + rng.standard_normal((150, 3)) for _ in range(2))
    wrong = np.where(labels == 2, 1, labels)
    assert sets.made_for_real(made, labels, real, labels, 3).min() > 0.85
    found = sets.made_for_real(made, wrong, real, labels, 4)
    assert found[2] == 0
    assert np.isnan(found[3])
    with pytest.raises(DataError, match="all of one class"):
        sets.made_for_real(made, np.zeros(150, dtype=int), real, labels, 3)


def ratio(made, known):
    distances = np.sort(cdist(made, known), axis=1)[:, :2]
    return sets.copy_ratio(np.pad(distances, ((0, 0), (0, 2 - distances.shape[1])), constant_values=np.inf))


def test_copies_have_a_small_ratio():
    known, others = two(9, 100, 100)
    assert ratio(known + 1e-6, known).max() < 1e-4
    assert np.median(ratio(others, known)) > 0.8
    assert ratio(others, known[:1]).tolist() == [1.0] * 100
    assert ratio(known[:1], known[[0, 0, 1]]).tolist() == [1.0]  # it cannot be told which of two is copied


def test_a_sample_does_not_count_itself():
    known, _ = two(10, 30)
    assert sets.nearest_others(known, 1).min() > 0.1
    assert np.isinf(sets.nearest_others(known[:2], 3)[:, 1:]).all()


def test_too_few_samples_are_said():
    with pytest.raises(DataError, match="19 samples are too few"):
        sets.kernel_distance(*two(11, 19, 50))
