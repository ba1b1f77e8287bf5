"""Topics of French paragraphs: both networks beside TF-IDF with logistic regression, cross-validated by article.

Five folds; all paragraphs of an article are in one. Each text is answered by models that saw no paragraph of its article. Answers
are compared text by text, and intervals are over articles, which paragraphs are not independent within.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import datasets, harness
from benchmarks.harness import Options, Result

N_FOLDS = 5
N_DRAWS = 2000
SETTINGS = {"data.validation": 0.1}
MARGIN = -3.0  # points of macro F1 that a network may be behind the better of the simple ways


def rows() -> list[dict[str, str]]:
    """All 803 paragraphs with their label and article."""
    found = []
    for name in ("train.csv", "test.csv"):
        with (datasets.shared_data() / "piaf_topics_fr" / name).open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    return found


def folds_of(articles: list[str]) -> np.ndarray:
    """The fold of each paragraph, by a hash of its article."""
    order = sorted(set(articles), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return np.array([order.index(name) % N_FOLDS for name in articles])


def write_fold(path: Path, paragraphs: list[dict[str, str]], folds: np.ndarray, fold: int) -> Path:
    """A table whose split column makes one fold the test."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "article", "split"])
        for row, mine in zip(paragraphs, folds.tolist(), strict=True):
            writer.writerow([row["text"], row["label"], row["article"], "test" if mine == fold else "train"])
    return path


def macro_f1(said: np.ndarray, true: np.ndarray, n_classes: int) -> float:
    """Mean of the F1 of the classes that occur."""
    found = []
    for label in range(n_classes):
        right = float(((said == label) & (true == label)).sum())
        if (true == label).any():
            found.append(2 * right / max(1.0, float((said == label).sum() + (true == label).sum())))
    return 100 * float(np.mean(found))


def measure(options: Options) -> Result:
    """Macro F1 of each way, and of the networks less the better of the simple ones."""
    import ouvroir

    paragraphs = rows()
    articles = [row["article"] for row in paragraphs]
    labels = sorted({row["label"] for row in paragraphs})
    true = np.array([labels.index(row["label"]) for row in paragraphs])
    folds = folds_of(articles)
    result = Result(
        name="texts",
        title="Topics of French paragraphs",
        about=(
            "803 paragraphs of French Wikipedia in 7 topics (PIAF), 5 folds by article, all texts answered once. `ouvroir train` "
            "with the proposed recipe, for both networks; beside them TF-IDF of words and pairs of words with logistic regression "
            "(scikit-learn), and the n-grams of Ouvroir's own report with the same. Intervals: bootstrap over articles, paired."
        ),
        spread="95 % interval",
        seeds=[0],
        settings=SETTINGS,
    )
    said: dict[str, np.ndarray] = {}
    with harness.workplace() as place:
        for fold in range(N_FOLDS):
            table = write_fold(place / f"fold{fold}.csv", paragraphs, folds, fold)
            test = np.flatnonzero(folds == fold)
            for network in ("blocks", "ngrams"):
                settings: dict[str, Any] = {"data.group_column": "article", "options.network": network, **SETTINGS}
                quick = {"loop.steps": 3} if options.is_quick else {}
                run = ouvroir.train(table, settings={**settings, **quick}, runs=place / "runs")
                answers = ouvroir.predict(run.path, [paragraphs[at]["text"] for at in test.tolist()])
                mine = said.setdefault(network, np.zeros(len(true), dtype=np.int64))
                mine[test] = [labels.index(one.label or labels[0]) for one in answers]
            _simple(said, paragraphs, true, folds, fold)
    names = {
        "blocks": "n-grams and order",
        "ngrams": "n-grams alone",
        "words": "TF-IDF of words and pairs, logistic regression",
    }
    names["grams"] = "TF-IDF of words, pairs and letters, logistic regression"
    for kind, name in names.items():
        result.add(f"{name}: macro F1", macro_f1(said[kind], true, len(labels)), "points", n=len(true))
    best = max(("words", "grams"), key=lambda kind: macro_f1(said[kind], true, len(labels)))
    for kind in ("blocks", "ngrams"):
        low, high = _paired(said[kind], said[best], true, articles, len(labels))
        gap = macro_f1(said[kind], true, len(labels)) - macro_f1(said[best], true, len(labels))
        result.add(f"{names[kind]} less {names[best]}", gap, "points", interval=(low, high), n=len(true))
        if kind == "blocks":
            result.add("lower end of that", low, "points", at_least=MARGIN)
    return result


def _simple(
    said: dict[str, np.ndarray], paragraphs: list[dict[str, str]], true: np.ndarray, folds: np.ndarray, fold: int
) -> None:
    """Two ways of scikit-learn, each with the penalty that does best on an inner fold by article."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion, make_pipeline

    texts = np.array([row["text"] for row in paragraphs])
    train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    inner = folds == (fold + 1) % N_FOLDS

    def words() -> Any:
        return TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))

    def grams() -> Any:
        letters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(3, 5))
        return FeatureUnion([("words", words()), ("letters", letters)])

    for kind, features in (("words", words), ("grams", grams)):
        losses = {}
        for strength in (1.0, 10.0, 100.0):
            model = make_pipeline(features(), LogisticRegression(C=strength, max_iter=300))
            model.fit(texts[train[~inner[train]]], true[train[~inner[train]]])
            found = model.predict(texts[train[inner[train]]])
            losses[strength] = -macro_f1(found, true[train[inner[train]]], int(true.max()) + 1)
        model = make_pipeline(features(), LogisticRegression(C=min(losses, key=lambda one: losses[one]), max_iter=300))
        mine = said.setdefault(kind, np.zeros(len(true), dtype=np.int64))
        mine[test] = model.fit(texts[train], true[train]).predict(texts[test])


def _paired(one: np.ndarray, other: np.ndarray, true: np.ndarray, groups: list[str], n: int) -> tuple[float, float]:
    """95 % interval of the difference in macro F1, by drawing articles."""
    rng = np.random.default_rng(0)
    names = sorted(set(groups))
    places = [np.flatnonzero(np.array(groups) == name) for name in names]
    gaps = []
    for _ in range(N_DRAWS):
        drawn = np.concatenate([places[at] for at in rng.integers(0, len(names), len(names)).tolist()])
        gaps.append(macro_f1(one[drawn], true[drawn], n) - macro_f1(other[drawn], true[drawn], n))
    low, high = np.percentile(gaps, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    harness.run(measure)
