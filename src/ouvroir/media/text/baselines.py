"""Cheap ways to classify texts: counts of n-grams, rare ones weighing more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir.baselines import answers_from_scores, majority_baseline
from ouvroir.media.text.processor import N_BUCKETS
from ouvroir.task import Cheap

if TYPE_CHECKING:
    from ouvroir.data.table import Table

MOST_ROWS = 20_000
ROWS_AT_ONCE = 1024
STRENGTHS = (1.0, 10.0)


def text_baselines(train: Table, test: Table, labels: tuple[str, ...]) -> list[Cheap]:
    """Most frequent class, logistic regression on weighted n-grams of words and characters, the five most similar texts."""
    wanted, targets = train.targets["labels"].numpy(), test.targets["labels"].numpy()
    found = [majority_baseline(wanted, targets, labels)]
    places = np.arange(len(train))
    if len(places) > MOST_ROWS:
        places = np.sort(np.random.default_rng(0).permutation(len(places))[:MOST_ROWS])
    known, asked = weighted(counts(train, places), counts(test, np.arange(len(test))))
    n_rows = len(places) if len(places) < len(train) else None
    found += [Cheap(one.name, one.answers, n_rows) for one in _learned(known, wanted[places], asked, targets, labels)]
    return found


def counts(table: Table, places: np.ndarray) -> Any:
    """(n, N_BUCKETS) sparse: how often each hashed n-gram occurs in the texts at `places`."""
    from scipy.sparse import csr_matrix, vstack

    found = []
    for start in range(0, len(places), ROWS_AT_ONCE):
        field = table.slice(places[start : start + ROWS_AT_ONCE]).fields["grams"]
        values, offsets = field.values.numpy(), field.offsets.numpy()
        shape = (len(offsets) - 1, N_BUCKETS)
        found.append(csr_matrix((np.ones(len(values), np.float32), values, offsets), shape=shape))
    whole = vstack(found).tocsr()
    whole.sum_duplicates()
    return whole


def weighted(known: Any, asked: Any) -> tuple[Any, Any]:
    """Both with 1 + log of the counts times the log of how rare an n-gram is in `known`, rows of unit length."""
    from sklearn.feature_extraction.text import TfidfTransformer

    transform = TfidfTransformer(sublinear_tf=True).fit(known)
    return transform.transform(known), transform.transform(asked)


def _learned(known: Any, wanted: np.ndarray, asked: Any, targets: np.ndarray, labels: tuple[str, ...]) -> list[Cheap]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.neighbors import KNeighborsClassifier

    is_many = wanted.ndim == 2
    n_classes = len(labels)
    linear: Any = LogisticRegression(C=10.0, max_iter=300)
    near: Any = KNeighborsClassifier(n_neighbors=min(5, known.shape[0]), metric="cosine", weights="distance")
    found = []
    for name, model in (("logistic regression on n-grams", linear), ("most similar texts", near)):
        learner = OneVsRestClassifier(model) if is_many else model
        learner.fit(known, wanted)
        given = learner.predict_proba(asked)
        scores = np.full((asked.shape[0], n_classes), 0.0 if is_many else 1e-6, dtype=np.float64)
        scores[:, learner.classes_] = given
        if not is_many:
            scores /= scores.sum(axis=1, keepdims=True)
        found.append(Cheap(name, answers_from_scores(scores, targets, labels)))
    return found
