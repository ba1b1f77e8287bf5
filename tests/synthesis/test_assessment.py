"""Samples judged by what two classifiers see: sound ones are kept, and a set that lies elsewhere is refused as a whole."""

import numpy as np
import pytest

from ouvroir.synthesis.assessment import Fold, assess
from ouvroir.synthesis.scores import Looked

CENTRES = np.array([[3.0, 0, 0, 0], [0, 3.0, 0, 0]])
N, M = 120, 80  # real rows of a fold, made samples


def rows(rng, labels, away=0.0):
    return CENTRES[labels] + away + rng.standard_normal((len(labels), 4))


def fold(rng, made, labels):
    known = np.arange(N) % 2
    real = rows(rng, known)
    noise = rng.permuted(real, axis=1)[:20]
    return Fold(
        real=real,
        real_right=rng.uniform(0.8, 1, N),
        real_labels=known,
        made=made,
        made_right=np.full(M, 0.95),
        noise=noise,
        noise_labels=known[:20],
        may_judge=np.ones(M, dtype=bool),
        of_real=np.zeros(M, dtype=bool),
    )


def judged(away=0.0, copied=(), made=None):
    rng = np.random.default_rng(3)
    labels = np.arange(M) % 2
    made = rows(rng, labels, away) if made is None else made
    looked = Looked(np.full(M, 0.8), np.zeros(M, dtype=np.int64), np.isin(np.arange(M), copied))
    folds = [fold(rng, made, labels) for _ in range(2)]
    return assess(folds, labels, ("cat", "dog"), looked=looked, real_ratio=0.8, held_out=np.zeros(M, dtype=bool))


def test_samples_like_the_real_ones_are_kept():
    found = judged()
    assert found.summary["n_kept"] == sum(not one for one in found.reason) > 0.75 * M
    assert sum(found.summary["refused"].values()) == M - found.summary["n_kept"]
    assert found.weight[[not one for one in found.reason]].mean() == pytest.approx(1)
    assert found.summary["likeness"]["noise"] < found.summary["likeness"]["real"]


def test_a_set_that_lies_elsewhere_is_refused_as_a_whole_and_so_is_a_class_of_copies():
    elsewhere = judged(away=30.0)
    assert elsewhere.summary["n_kept"] == 0
    assert set(elsewhere.reason) <= {"too_strange", "off_manifold", "elsewhere"}
    one_point = CENTRES[np.arange(M) % 2] + [1, 1, 0.8, -0.8] + 0.02 * np.random.default_rng(0).standard_normal((M, 4))
    assert set(judged(made=one_point).reason) == {"elsewhere"}  # each by itself would do
    copies = judged(copied=range(0, M, 2))  # all of the first class
    kept = [one == "" for one in copies.reason]
    assert not any(kept[0::2])
    assert any(kept[1::2])
    mostly = judged(copied=range(0, M - 20, 2))
    assert set(mostly.reason[0::2]) >= {"copy", "of_class"}
    assert not any(one == "" for one in mostly.reason[0::2])
