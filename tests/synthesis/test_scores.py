"""Scores of made samples: copies are caught, genuine new samples pass, and what is too typical is refused as well."""

from __future__ import annotations

import numpy as np
import pytest

from ouvroir.synthesis import scores


def scans(n=None):
    """Real 8x8 scans in [0, 1], (N, 8, 8), and their digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images[:n] / 16, digits.target[:n]


def views(pictures):
    """(N, 9, 36): the middle of each picture, then what is seen one pixel off it in eight directions."""
    moves = [(1, 1), *((down, right) for down in range(3) for right in range(3) if (down, right) != (1, 1))]
    return np.stack([pictures[:, d : d + 6, r : r + 6].reshape(len(pictures), -1) for d, r in moves], axis=1)


def test_whitened_real_features_vary_alike_in_all_directions():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((4000, 6)) @ rng.standard_normal((6, 6)) + 3
    found = scores.Whitening.of(features)(features)
    assert np.abs(found.mean(axis=0)).max() < 1e-9
    spread = np.cov(found, rowvar=False)
    assert np.abs(spread - np.diag(np.diag(spread))).max() < 0.3
    usual = np.cov(features, rowvar=False)
    assert np.linalg.cond(spread) < np.linalg.cond(usual) / 3


def test_few_samples_of_many_features_are_whitened_too():
    features = np.random.default_rng(1).standard_normal((10, 50))
    assert np.isfinite(scores.Whitening.of(features)(features)).all()
    assert np.isfinite(scores.Whitening.of(np.ones((10, 3)))(np.ones((10, 3)))).all()


def test_likeness_leaves_a_sample_itself_out():
    features = np.eye(8)
    assert scores.likeness(features, features, is_itself=True).max() == pytest.approx(0)
    found = scores.likeness(features[[1, 0, 2]], features)  # each leaves out one in turn: two of them not themselves
    assert found == pytest.approx([0.2, 0.2, 0.0])
    assert np.isnan(scores.likeness(features[:1], features[:1], is_itself=True)).all()


def test_as_many_of_others_count_as_of_the_real_samples_themselves():
    rng = np.random.default_rng(8)
    known, others = rng.standard_normal((400, 7, 4)), rng.standard_normal((400, 7, 4))
    real = np.mean([scores.likeness(one, one, is_itself=True) for one in known])
    new = np.mean([scores.likeness(other, one) for one, other in zip(known, others, strict=True)])
    assert new == pytest.approx(real, abs=0.02)


def test_likeness_is_to_the_own_class():
    features = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    labels = np.array([0, 0, 1, 2])
    found = scores.by_class(features, labels, features, labels, is_itself=True)
    assert found[:2] == pytest.approx([1 / np.sqrt(1.01)] * 2)
    assert np.isnan(found[2:]).all()  # alone in their classes


def test_copies_and_moved_copies_are_caught_and_new_samples_pass():
    pictures, _ = scans()
    rng = np.random.default_rng(2)
    order = rng.permutation(len(pictures))
    learned, new = pictures[order[:400]], pictures[order[400:1200]]
    novelty = scores.Novelty.of(views(learned)[:, 0], views(learned))
    noisy = np.clip(learned + 0.01 * rng.standard_normal(learned.shape), 0, 1)
    moved = np.roll(learned, 1, axis=2)
    moved[:, :, 0] = learned[:, :, 0]
    assert novelty.look(views(learned)).is_copy.mean() == 1
    assert novelty.look(views(noisy)).is_copy.mean() >= 0.95
    assert novelty.look(views(moved)).is_copy.mean() >= 0.95
    assert novelty.look(views(new)).is_copy.mean() <= 0.05


def test_view_distances_are_the_least_over_the_views():
    rng = np.random.default_rng(3)
    asked, known = rng.random((7, 4, 5)), rng.random((9, 5))
    wanted = np.sort(np.linalg.norm(asked[:, :, None] - known[None, None], axis=3).min(axis=1), axis=1)
    distances, places = scores.view_distances(asked, known, 3)
    assert distances == pytest.approx(wanted[:, :3])
    assert np.linalg.norm(asked - known[places[:, 0]][:, None], axis=2).min(axis=1) == pytest.approx(wanted[:, 0])
    distances, places = scores.view_distances(asked, known[:1], 3)
    assert np.isinf(distances[:, 1:]).all()
    assert (places[:, 1:] == -1).all()


def standards(rng, n=400):
    right = rng.uniform(0.5, 1, n)
    alike = rng.normal(0.6, 0.05, n)
    return scores.Standards.of(right, alike, np.repeat([0, 1], n // 2), 3)


def test_a_tenth_of_real_samples_lies_outside_the_band_and_each_reason_is_given():
    rng = np.random.default_rng(4)
    found = standards(rng)
    n = 2000
    right, alike = rng.uniform(0.5, 1, n), rng.normal(0.6, 0.05, n)
    labels, never, always = rng.integers(0, 3, n), np.zeros(n, dtype=bool), np.ones(n, dtype=bool)
    told = scores.reasons(found.margins(right, alike, labels), held_out=never, copied=never, within=always)
    assert 0.80 < np.mean([reason == "" for reason in told]) < 0.90  # 5 % by the label, 5 % at each end of the band
    one = np.zeros(1, dtype=int)

    def why(right=0.9, alike=0.6, copied=False, within=True, held_out=False):
        margins = found.margins(np.array([right]), np.array([alike]), one)
        flags = {"held_out": np.array([held_out]), "copied": np.array([copied]), "within": np.array([within])}
        return scores.reasons(margins, **flags)[0]

    assert why() == ""
    assert why(right=0.1) == "label"
    assert why(alike=0.2) == "too_strange"
    assert why(alike=0.95) == "too_typical"
    assert why(copied=True, right=0.1) == "copy"
    assert why(within=False) == "off_manifold"
    assert why(held_out=True, copied=True) == "held_out"
    assert why(alike=np.nan) == ""  # alone in its class
    assert set(scores.REASONS) == {"held_out", "copy", "label", "too_strange", "too_typical", "off_manifold"}


def test_whitened_likeness_does_not_reward_the_mean_of_a_class_and_noise_is_too_strange():
    pictures, labels = scans()
    features = pictures.reshape(len(pictures), -1)
    means = np.stack([features[labels == digit].mean(axis=0) for digit in range(10)])
    noise = np.random.default_rng(5).random((10, 64))
    digits = np.arange(10)
    plain = scores.by_class(features, labels, features, labels, is_itself=True)
    assert scores.by_class(means, digits, features, labels).mean() > plain.mean() + 0.01  # the trap
    white = scores.Whitening.of(features)
    real = white(features)
    alike = scores.by_class(real, labels, real, labels, is_itself=True)
    assert scores.by_class(white(means), digits, real, labels).mean() <= alike.mean()
    found = scores.Standards.of(np.ones(len(real)), alike, labels, 10)
    strange = scores.by_class(white(noise), digits, real, labels)
    assert (found.margins(np.ones(10), strange, digits)["too_strange"] < 0).all()


def test_samples_far_from_all_real_ones_are_off_the_manifold():
    rng = np.random.default_rng(6)
    real, new = rng.standard_normal((300, 4)), rng.standard_normal((300, 4))
    assert scores.is_on_manifold(new, real).mean() > 0.8
    assert scores.is_on_manifold(new + 20, real).mean() == 0
    assert scores.is_on_manifold(new, real[:1]).all()  # nothing can be said


def test_weights_have_mean_one_and_favour_doubt():
    right, realism = np.array([0.5, 0.99, 0.5, 0.9]), np.array([0.5, 0.5, 0.1, 0.9])
    found = scores.weights(right, realism)
    assert found.mean() == pytest.approx(1)
    assert found[0] > found[1]
    assert found[0] > found[2]
    assert scores.weights(right, np.full(4, 0.5)).min() > 0


def test_realism_is_a_half_where_made_and_real_are_alike():
    rng = np.random.default_rng(7)
    real, made = rng.standard_normal((400, 5)), rng.standard_normal((400, 5))
    assert abs(scores.realism(real, made).mean() - 0.5) < 0.06
    assert scores.realism(real, made + 3).mean() < 0.1
    assert scores.realism(real[:1], made[:3]).tolist() == [0.5] * 3


def test_a_class_that_is_mostly_copied_or_wrong_is_refused_as_a_whole():
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    told = scores.with_whole_classes(["copy", "copy", "", "label", "", "", "label", "label"], labels)
    assert told == ["copy", "copy", "of_class", "label", "", "", "label", "label"]


def test_copies_are_found_where_train_rows_are_in_it_twice():
    rng = np.random.default_rng(9)
    one = rng.random((40, 1, 6))
    twice = np.concatenate([one, one])
    novelty = scores.Novelty.of(twice[:, 0], twice)
    assert novelty.look(one).is_copy.all()
    assert novelty.look(rng.random((40, 1, 6))).is_copy.mean() < 0.1


def test_a_long_passage_makes_a_copy_unless_real_ones_share_as_much():
    looked = scores.Looked(np.ones(4), np.zeros(4, dtype=np.int64), np.array([True, False, False, False]))
    shared = np.array([0.0, 0.4, 0.6, 0.9])
    rarely, often = np.full(100, 0.1), np.full(100, 0.8)
    assert looked.with_passages(shared, rarely).is_copy.tolist() == [True, False, True, True]
    assert looked.with_passages(shared, often).is_copy.tolist() == [True, False, False, True]
    assert looked.with_passages(np.zeros(4), np.zeros(0)).is_copy.tolist() == looked.is_copy.tolist()
