"""Cheap ways to classify texts, by counts of n-grams, rare ones weighing more; and to tell what comes next in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir.baselines import answers_from_scores, majority_baseline
from ouvroir.media.text.kneser_ney import KneserNey
from ouvroir.media.text.pieces import pieces_of, spread
from ouvroir.media.text.processor import N_BUCKETS
from ouvroir.task import Answers, Cheap, Split

if TYPE_CHECKING:
    from ouvroir.data.table import Ragged, Table
    from ouvroir.media.text.tokens import Tokenizer

MOST_ROWS = 20_000
ROWS_AT_ONCE = 1024
MOST_TURNED = 2_000  # texts whose products with each other are cheap to take apart
STRENGTHS = (1.0, 10.0, 100.0)  # inverse penalties of logistic regression that are tried
NEIGHBOURS = 5
MOST_COUNTED = 2_000_000  # pieces that n-grams are counted in
MOST_CHOSEN_BY = 400_000  # pieces of the validation rows that the length of n-grams is chosen by
NGRAMS = "n-grams (Kneser-Ney)"


def text_baselines(train: Table, test: Table, labels: tuple[str, ...]) -> list[Cheap]:
    """Most frequent class, logistic regression on weighted n-grams of words and characters, the most similar texts."""
    wanted, targets = train.targets["labels"].numpy(), test.targets["labels"].numpy()
    places = some_rows(len(train))
    seen = counts(train, places)
    rare = rarity(holding(train, places), len(places))
    known, asked = weighted(seen, rare), weighted(counts(test, np.arange(len(test))), rare)
    n_rows = len(places) if len(places) < len(train) else None
    found = [
        ("logistic regression on n-grams", _linear(known, wanted[places], asked, len(labels))),
        ("nearest neighbours on n-grams", _similar(known, wanted[places], asked, len(labels))),
    ]
    learned = [Cheap(name, answers_from_scores(scores, targets, labels), n_rows) for name, scores in found]
    return [majority_baseline(wanted, targets, labels), *learned]


def some_rows(n: int) -> np.ndarray:
    """Places of all of `n` rows, or of MOST_ROWS of them, in order."""
    places = np.arange(n)
    return places if n <= MOST_ROWS else np.sort(np.random.default_rng(0).permutation(n)[:MOST_ROWS])


def counts(table: Table, places: np.ndarray) -> Any:
    """(n, N_BUCKETS) sparse: how often each hashed n-gram occurs in the texts at `places`."""
    from scipy.sparse import csr_matrix, vstack

    found = []
    for start in range(0, len(places), ROWS_AT_ONCE):
        fields = table.slice(places[start : start + ROWS_AT_ONCE]).fields
        grams: Ragged = fields["grams"]  # type: ignore[assignment]
        often: Ragged = fields["gram_counts"]  # type: ignore[assignment]
        offsets, n = grams.offsets.numpy(), often.values.numpy().astype(np.float32)
        found.append(csr_matrix((n, grams.values.numpy(), offsets), shape=(len(offsets) - 1, N_BUCKETS)))
    return vstack(found).tocsr()


def holding(table: Table, places: np.ndarray) -> np.ndarray:
    """(N_BUCKETS,) int64: how many of the texts at `places` hold each n-gram."""
    found = np.zeros(N_BUCKETS, dtype=np.int64)
    for start in range(0, len(places), ROWS_AT_ONCE):
        grams: Ragged = table.slice(places[start : start + ROWS_AT_ONCE]).fields["grams"]  # type: ignore[assignment]
        found += np.bincount(grams.values.numpy(), minlength=N_BUCKETS)
    return found


def rarity(n_holding: np.ndarray, n_texts: int) -> np.ndarray:
    """(N_BUCKETS,) float32: 1 + log((1 + n) / (1 + n that hold it)) for n texts (Sparck Jones 1972, smoothed)."""
    found: np.ndarray = (1 + np.log((1 + n_texts) / (1 + n_holding))).astype(np.float32)
    return found


def weighted(seen: Any, rare: np.ndarray) -> Any:
    """Rows of length 1 with (1 + log count) · rarity."""
    from sklearn.preprocessing import normalize

    found = seen.copy()
    found.data = (1 + np.log(found.data)) * rare[found.indices]
    return normalize(found, copy=False)


def _linear(known: Any, wanted: np.ndarray, asked: Any, n_classes: int) -> np.ndarray:
    """(N, K) probabilities by logistic regression, with the penalty that answers every fifth train row best."""
    from ouvroir.baselines import answers_from_scores

    if len(wanted) <= MOST_TURNED:
        known, asked = turned(known, asked)
    held = np.arange(len(wanted)) % 5 == 4
    strength = STRENGTHS[1]
    if held.any():
        losses = {}
        for one in STRENGTHS:
            scores = _fit_linear(known[~held], wanted[~held], known[held], n_classes, one)
            losses[one] = answers_from_scores(scores, wanted[held], ()).loss.mean()
        strength = min(losses, key=lambda one: float(losses[one]))
    return _fit_linear(known, wanted, asked, n_classes, strength)


def turned(known: Any, asked: Any) -> tuple[np.ndarray, np.ndarray]:
    """(n, r) and (N, r): the sparse rows `known` and `asked` in the r directions that `known` spans, r at most n.

    A linear model under an L2 penalty has no weight outside of these, so it is the same model, found among n features and not
    N_BUCKETS of them (the representer theorem; Schölkopf 2001).
    """
    values, vectors = np.linalg.eigh((known @ known.T).toarray().astype(np.float64))
    is_there = values > 1e-9 * values[-1]
    lengths, directions = np.sqrt(values[is_there]), vectors[:, is_there]
    return directions * lengths, (asked @ known.T).toarray() @ directions / lengths


def _fit_linear(known: Any, wanted: np.ndarray, asked: Any, n_classes: int, strength: float) -> np.ndarray:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    def fit(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(np.unique(target)) < 2:
            return np.unique(target), np.ones((asked.shape[0], 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=strength, max_iter=200).fit(known, target)
        return model.classes_, model.predict_proba(asked)

    scores = np.zeros((asked.shape[0], n_classes))
    if wanted.ndim == 1:
        classes, found = fit(wanted)
        scores[:, classes] = found
        return scores
    for number in range(n_classes):
        classes, found = fit(wanted[:, number] > 0.5)
        scores[:, number] = found[:, list(classes).index(True)] if True in classes else 0.0
    return scores


def _similar(known: Any, wanted: np.ndarray, asked: Any, n_classes: int) -> np.ndarray:
    """(N, K): the classes of the NEIGHBOURS most similar train texts, by cosine, more similar ones counting more."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, known.shape[0]), metric="cosine", algorithm="brute").fit(
        known
    )
    distance, place = search.kneighbors(asked)
    vote = 1 / (distance + 1e-3)
    vote /= vote.sum(axis=1, keepdims=True)
    shares = wanted if wanted.ndim == 2 else np.eye(n_classes)[wanted]
    scores = np.einsum("nk,nkc->nc", vote, shares[place].astype(np.float64))
    uniform = 0.5 if wanted.ndim == 2 else 1 / n_classes
    found: np.ndarray = 0.98 * scores + 0.02 * uniform  # a vote of 5 is no certainty
    return found


def ngram_answers(tables: Mapping[Split, Table], tokenizer: Tokenizer) -> Cheap:
    """How n-grams tell the test, counted in the train rows, evenly spaced ones of very many.

    Their length suits the validation, or a tenth of the train rows that was not counted for the choice.
    """
    train, test = tables["train"], tables["test"]
    places = spread(train.lengths("pieces").numpy(), MOST_COUNTED)
    known = list(pieces_of(train.subset(places)))
    if "validation" in tables:
        some = spread(tables["validation"].lengths("pieces").numpy(), MOST_CHOSEN_BY)
        model = KneserNey.best(known, list(pieces_of(tables["validation"].subset(some))), tokenizer.n)
    else:
        model = KneserNey.of(known, tokenizer.n, len(KneserNey.best(*_held_out(known), tokenizer.n).orders))
    sizes = tokenizer.sizes()
    sums, loss = np.zeros((len(test), 2), dtype=np.int64), np.zeros(len(test))
    for place, row in enumerate(pieces_of(test)):
        sums[place], loss[place] = sizes[:, row[1:]].sum(axis=1), model.nats(row)[1:].sum()
    index = np.arange(len(test), dtype=np.int64)
    answers = Answers(index=index, loss=loss, n_items=sums[:, 0], n_bytes=sums[:, 1])
    return Cheap(NGRAMS, answers, len(places) if len(places) < len(train) else None)


def _held_out(texts: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Texts to count, and about a tenth of them to choose by: what is told best where it was counted is the longest n-grams."""
    if len(texts) > 1:
        n = max(1, len(texts) // 10)
        return list(texts[:-n]), list(texts[-n:])
    end = 9 * len(texts[0]) // 10
    return [texts[0][:end]], [texts[0][end:]]
