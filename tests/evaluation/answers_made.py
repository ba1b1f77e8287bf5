"""Answers made for tests: scores of a pretended model on pretended rows."""

import numpy as np

from ouvroir.task import Answers


def single(n=200, n_classes=4, *, seed=0, skill=2.0, labels=None):
    """Single-label answers; the targets depend on n and n_classes only, so that two of them can be compared."""
    targets = np.random.default_rng(99).integers(0, n_classes, n)
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), targets] += skill
    scores = np.exp(logits)
    scores = (scores / scores.sum(1, keepdims=True)).astype(np.float32)
    names = labels or tuple(f"class {k}" for k in range(n_classes))
    return from_scores(scores, targets, names)


def from_scores(scores, targets, labels):
    scores, targets = np.asarray(scores, dtype=np.float32), np.asarray(targets, dtype=np.int64)
    n = len(targets)
    loss = -np.log(np.maximum(scores[np.arange(n), targets], 1e-7)).astype(np.float64)
    return Answers(np.arange(n), loss, np.ones(n, np.int64), scores, targets, tuple(labels))


def from_decisions(targets, answered, labels):
    """Answers that name the class `answered` with certainty."""
    return from_scores(np.eye(len(labels))[np.asarray(answered, dtype=np.int64)], targets, labels)


def several(n=150, n_labels=5, *, seed=0, noise=0.5):
    """Multi-label answers."""
    targets = (np.random.default_rng(98).random((n, n_labels)) < 0.3).astype(np.uint8)
    rng = np.random.default_rng(seed)
    scores = np.clip(targets * 0.5 + rng.random((n, n_labels)) * noise * 1.2, 0, 1).astype(np.float32)
    names = tuple(f"label {k}" for k in range(n_labels))
    return Answers(np.arange(n), np.full(n, 0.7), np.ones(n, np.int64), scores, targets, names)


def only_loss(n=80, *, seed=0, scale=1.0):
    rng = np.random.default_rng(5)
    loss, n_items = rng.gamma(4, 10, n), rng.integers(10, 60, n)
    noise = np.random.default_rng(seed).normal(scale=0.5, size=n)
    return Answers(np.arange(n), loss * scale + noise, n_items)
