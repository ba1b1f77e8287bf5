"""What classification tasks of several media share: targets, losses, answers, cheap baselines, suspected wrong labels.

Plain functions that a task calls; none knows a medium. torch and scikit-learn are imported by the functions that need
them, so that workers do not load them.

Axes: B rows of a batch, N rows of a table, C classes, D simple features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ouvroir.errors import DataError
from ouvroir.files import readable_names
from ouvroir.task import Answers, Cheap, Loss, Prediction, Row

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.data.manifest import Manifest

SINGLE_LABEL_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")
MULTI_LABEL_METRICS = ("macro_f1", "micro_f1", "subset_accuracy", "nll")
MULTI_LABEL_THRESHOLD = 0.5

BASELINE_ROWS = 5000  # cheap baselines learn from at most so many rows
BASELINE_WORK = 1e11  # rows x features x classes x iterations of one logistic regression: 5 to 10 s on one core
BASELINE_ITERATIONS = (20, 200)  # of the solver: as many as the work allows, between these
STRENGTHS = (0.01, 0.1, 1.0)  # inverse penalties of logistic regression that are tried
NEIGHBOURS = 5


# --- labels -----------------------------------------------------------------------------------------------------------


def train_labels(manifest: Manifest) -> tuple[str, ...]:
    """The sorted class names of the TRAIN rows. Raises DataError when there are none, or one only."""
    names: set[str] = set()
    for row in manifest.rows:
        if row.split == "train" and row.label is not None:
            names.update([row.label] if isinstance(row.label, str) else row.label)
    if not names:
        raise DataError("No train row has a label. Give each class a folder of its own, or name the label column.")
    if len(names) < 2 and not manifest.is_multi_label:
        raise DataError(f"All train rows have the label `{names.pop()}`. Telling classes apart needs at least two.")
    return tuple(sorted(names))


def unjudged(row: Row, labels: tuple[str, ...]) -> str | None:
    """Why a row cannot be judged by a model of the classes `labels`: "no label", "unknown label", or None when it can."""
    if row.label is None:
        return "no label"
    names = (row.label,) if isinstance(row.label, str) else row.label
    return None if set(names) <= set(labels) else "unknown label"


def label_targets(rows: Sequence[Row], labels: tuple[str, ...], *, is_multi_label: bool) -> dict[str, np.ndarray]:
    """`labels`: (N,) int64, or (N, C) float32 of 0 and 1 when multi-label.

    Raises DataError for a row without a label or with one that is not among `labels`.
    """
    place = {label: number for number, label in enumerate(labels)}
    many = np.zeros((len(rows), len(labels)), np.float32)
    one = np.zeros(len(rows), np.int64)
    for number, row in enumerate(rows):
        names = (row.label,) if isinstance(row.label, str) else row.label
        if names is None or (len(names) != 1 and not is_multi_label):
            raise DataError(
                f"`{row.id}` has {'no label' if not names else 'several labels'}, so it cannot be scored here."
            )
        for name in names:
            if name not in place:
                known = ", ".join(labels[:10]) + (", …" if len(labels) > 10 else "")
                raise DataError(f"`{row.id}` has the label `{name}`, which the model does not know. It knows: {known}.")
            one[number] = place[name]
            many[number, place[name]] = 1
    return {"labels": many if is_multi_label else one}


def strata(targets: np.ndarray) -> np.ndarray:
    """(N,) int64 for balanced sampling: the class of each row, or its rarest label; rows without one share the last."""
    if targets.ndim == 1:
        return targets.astype(np.int64)
    counts = targets.sum(axis=0)
    cost = np.where(targets > 0, counts[None], np.inf)
    found: np.ndarray = np.where(targets.any(axis=1), cost.argmin(axis=1), targets.shape[1]).astype(np.int64)
    return found


def balanced_weights(targets: np.ndarray, n_classes: int) -> np.ndarray:
    """(C,) float32: N / (C · n_c) for each class, so that classes weigh alike and the mean over rows is 1.

    `targets` as `label_targets` gives. A class without a row gets 1.
    """
    counts = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=n_classes)
    present = counts > 0
    total = float(counts.sum())
    weights = np.ones(n_classes, np.float32)
    weights[present] = total / (present.sum() * counts[present])
    return weights


def adoption_sentences(
    labels: tuple[str, ...], earlier: tuple[str, ...], n_mapped: int, *, n_kept: int, n_lost: int
) -> list[str]:
    """What `Task.adopt` says: whether all arrays were kept, which classes were found by name, which are new.

    Those that are gone were named when the training was planned.
    """
    found = ["The weights of the earlier model are kept."]
    if n_lost:
        found = [
            f"{n_lost} of {n_kept + n_lost} arrays of weights do not fit this model and start anew; the rest is kept."
        ]
    new = [label for label in labels if label not in earlier]
    if n_mapped:
        found.append(f"{n_mapped} of {len(labels)} classes are mapped by name.")
    else:
        found.append("No class keeps its output: the last layer starts anew.")
    if new:
        found.append(f"New: {readable_names(new)}.")
    return found


# --- losses -----------------------------------------------------------------------------------------------------------


def one_hot(targets: Tensor, n_classes: int) -> Tensor:
    """(B, C) float32 from (B,) int64; targets that are (B, C) already stay as they are."""
    from torch.nn import functional

    return (functional.one_hot(targets, n_classes) if targets.ndim == 1 else targets).float()


def class_loss(
    logits_BC: Tensor,
    targets: Tensor,
    *,
    label_smoothing: float = 0.0,
    entropy: float = 0.0,
    class_weight: Tensor | None = None,
) -> Loss:
    """Cross-entropy of one label a row, plus `entropy` times the entropy of the prediction.

    targets: (B,) int64, or (B, C) float32 distributions (blended rows). `label_smoothing` s makes targets
    (1 - s)·t + s/C. `entropy` of -1/12 rewards unsure predictions (Pereyra 2017, arXiv 1701.06548, eq. 3).
    `class_weight` (C,) multiplies each row by its target's mean weight.
    """
    from torch import int64, ones_like
    from torch.nn import functional

    log_p = functional.log_softmax(logits_BC.float(), dim=1)
    spread = one_hot(targets, log_p.shape[1])
    weight = spread @ class_weight if class_weight is not None else None
    if label_smoothing:
        spread = spread * (1 - label_smoothing) + label_smoothing / log_p.shape[1]
    per_row = -(spread * log_p).sum(dim=1)
    if entropy:
        per_row = per_row - entropy * (log_p.exp() * log_p).sum(dim=1)
    if weight is not None:
        per_row = per_row * weight
    return Loss(per_row=per_row, n_items=ones_like(per_row, dtype=int64))


def label_set_loss(
    logits_BC: Tensor,
    targets_BC: Tensor,
    *,
    label_smoothing: float = 0.0,
    entropy: float = 0.0,
    class_weight: Tensor | None = None,
) -> Loss:
    """Mean over classes of the binary cross-entropy, for rows that may have several labels.

    targets_BC: (B, C) float32 in [0, 1]. `entropy` times the mean binary entropy is added. `class_weight` (C,) weighs
    the present labels of each class.
    """
    from torch import int64, ones_like
    from torch.nn import functional

    logits = logits_BC.float()
    targets = targets_BC.float()
    spread = targets * (1 - label_smoothing) + label_smoothing / 2
    per_class = functional.binary_cross_entropy_with_logits(logits, spread, reduction="none")
    if entropy:
        log_p, log_q = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        per_class = per_class - entropy * (log_p.exp() * log_p + log_q.exp() * log_q)
    if class_weight is not None:
        per_class = per_class * (1 + targets * (class_weight - 1))
    per_row = per_class.mean(dim=1)
    return Loss(per_row=per_row, n_items=ones_like(per_row, dtype=int64))


# --- answers ----------------------------------------------------------------------------------------------------------


def scores_of(logits_BC: Tensor, *, is_multi_label: bool) -> np.ndarray:
    """(B, C) float32 probabilities on the CPU: softmax, or sigmoid when multi-label."""
    logits = logits_BC.detach().float()
    scores: np.ndarray = (logits.sigmoid() if is_multi_label else logits.softmax(dim=1)).cpu().numpy()
    return scores


def class_answers(
    index: Tensor,
    logits_BC: Tensor,
    loss: Loss | None,
    targets: Tensor | None,
    labels: tuple[str, ...],
    *,
    is_multi_label: bool,
) -> Answers:
    """Answers of one batch. `targets`: (B,) int64, (B, C) when multi-label, or None, and then there is no loss (0)."""
    on_cpu = None if targets is None else targets.detach().cpu().numpy()
    if on_cpu is not None:
        on_cpu = (on_cpu > 0.5).astype(np.uint8) if is_multi_label else on_cpu.astype(np.int64)
    return Answers(
        index=index.detach().cpu().numpy().astype(np.int64),
        loss=np.zeros(len(index)) if loss is None else loss.per_row.detach().cpu().double().numpy(),
        n_items=np.ones(len(index), np.int64) if loss is None else loss.n_items.detach().cpu().numpy(),
        scores=scores_of(logits_BC, is_multi_label=is_multi_label),
        targets=on_cpu,
        labels=labels,
    )


def answers_from_scores(scores: np.ndarray, targets: np.ndarray, labels: tuple[str, ...]) -> Answers:
    """Answers of a baseline: scores (N, C) probabilities; targets (N,) int64 or (N, C) of 0 and 1."""
    kept = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    if targets.ndim == 2:
        loss = -(targets * np.log(kept) + (1 - targets) * np.log1p(-kept)).mean(axis=1)
    else:
        loss = -np.log(kept[np.arange(len(targets)), targets])
    return Answers(
        index=np.arange(len(targets), dtype=np.int64),
        loss=loss,
        n_items=np.ones(len(targets), np.int64),
        scores=scores.astype(np.float32),
        targets=targets.astype(np.uint8) if targets.ndim == 2 else targets.astype(np.int64),
        labels=labels,
    )


def predictions(
    scores: np.ndarray, labels: tuple[str, ...], *, threshold: float, is_multi_label: bool
) -> list[Prediction]:
    """One Prediction a row of scores (N, C), scores highest first.

    One label: None when the best score is under `threshold` ('none of these'). Several: those of at least `threshold`,
    or of 0.5 when it is 0; `label` joins them with '|' and is None when there are none.
    """
    found = []
    for row in scores:
        order = np.argsort(-row, kind="stable")
        named = {labels[place]: float(row[place]) for place in order}
        if is_multi_label:
            chosen = tuple(labels[place] for place in order if row[place] >= (threshold or MULTI_LABEL_THRESHOLD))
            found.append(Prediction(scores=named, label="|".join(chosen) or None, labels=chosen))
        else:
            best = order[0]
            found.append(Prediction(scores=named, label=labels[best] if row[best] >= threshold else None))
    return found


# --- cheap baselines --------------------------------------------------------------------------------------------------


def majority_baseline(train_targets: np.ndarray, test_targets: np.ndarray, labels: tuple[str, ...]) -> Cheap:
    """Answers every row with the most frequent class of the train rows; its scores are the shares of the classes there.

    Of classes equally frequent, the first in the order of `labels`. With several labels per row: as many of the most
    frequent labels as rows have on average, at least one (General-B; Metz et al. 2012, section 3), and all that are as
    frequent as the last of them, so that no order of names decides. Those are `Answers.answered`, and the scores stay the
    shares of the labels, under 0.5 as they may be.
    """
    answered = None
    if train_targets.ndim == 2:
        name, counts = "most frequent labels", train_targets.sum(axis=0)
        shares = (counts + 0.5) / (len(train_targets) + 1)
        n_answered = min(len(labels), max(1, round(float(counts.sum()) / len(train_targets))))
        answered = np.repeat((counts >= np.sort(counts)[-n_answered])[None], len(test_targets), axis=0)
    else:
        name, counts = "most frequent class", np.bincount(train_targets, minlength=len(labels)) + 0.5
        shares = counts / counts.sum()
    scores = np.repeat(shares[None].astype(np.float32), len(test_targets), axis=0)
    return Cheap(name, replace(answers_from_scores(scores, test_targets, labels), answered=answered))


def cheap_baselines(
    train_targets: np.ndarray,
    features_of: Callable[[np.ndarray], np.ndarray],
    features: np.ndarray,
    targets: np.ndarray,
    labels: tuple[str, ...],
) -> list[Cheap]:
    """Most frequent class or labels, logistic regression, nearest neighbours; the last two learn from at most BASELINE_ROWS rows.

    `features_of`: places of train rows (M,) int64 to their simple features (M, D); `features` (N, D) of the test rows.
    """
    chosen = _some_rows(train_targets)
    known, wanted = features_of(chosen), train_targets[chosen]
    n_rows = len(chosen) if len(chosen) < len(train_targets) else None
    learned = [
        baseline(known, wanted, features, targets, labels) for baseline in (linear_baseline, neighbours_baseline)
    ]
    return [majority_baseline(train_targets, targets, labels), *(replace(one, n_rows=n_rows) for one in learned)]


def linear_baseline(
    known: np.ndarray, wanted: np.ndarray, asked: np.ndarray, targets: np.ndarray, labels: tuple[str, ...]
) -> Cheap:
    """Logistic regression on standardised features: of the train rows `known` (M, D), of the test rows `asked` (N, D)."""
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
    # one scale for all features after the first standardising keeps dim features from shouting: deviation has a floor
    deviation = np.maximum(deviation, 0.1 * deviation.max())
    known, asked = (known - mean) / deviation, (asked - mean) / deviation
    scores = _fit_linear(known, wanted, asked, len(labels), _best_strength(known, wanted))
    return Cheap("logistic regression on simple features", answers_from_scores(scores, targets, labels))


def neighbours_baseline(
    known: np.ndarray, wanted: np.ndarray, asked: np.ndarray, targets: np.ndarray, labels: tuple[str, ...]
) -> Cheap:
    """The NEIGHBOURS nearest of the train rows `known` (M, D) to each of `asked` (N, D), Euclidean, vote, nearer ones more."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(known)), algorithm="brute").fit(known)
    distance, place = search.kneighbors(asked)
    vote = 1 / (distance + 1e-6)
    vote /= vote.sum(axis=1, keepdims=True)
    scores = np.zeros((len(asked), len(labels)), np.float32)
    for near in range(place.shape[1]):  # one neighbour at a time: with many classes all at once fill the memory
        if wanted.ndim == 2:
            scores += vote[:, near, None] * wanted[place[:, near]]
        else:
            scores[np.arange(len(scores)), wanted[place[:, near]]] += vote[:, near]
    uniform = 0.5 if wanted.ndim == 2 else 1 / len(labels)
    scores = 0.98 * scores + 0.02 * uniform  # a vote of 5 is no certainty
    return Cheap("nearest neighbours on simple features", answers_from_scores(scores, targets, labels))


def _some_rows(targets: np.ndarray, n_rows: int = BASELINE_ROWS) -> np.ndarray:
    """Places of at most `n_rows` rows, evenly spaced over the rows sorted by class, so that every class keeps its share."""
    if len(targets) <= n_rows:
        return np.arange(len(targets))
    order = np.argsort(targets if targets.ndim == 1 else targets.argmax(axis=1), kind="stable")
    chosen: np.ndarray = np.sort(order[np.linspace(0, len(order) - 1, n_rows).astype(np.int64)])
    return chosen


def _iterations(n_numbers: int, n_classes: int) -> int:
    """Of the solver for `n_numbers` features in all rows together, within BASELINE_WORK.

    Stopping early cost nothing where it was tried: 1,000 classes of 5 rows and 304 features were answered as well after
    65 iterations as after 200, and principal components in the same time lost half of the right answers.
    """
    least, most = BASELINE_ITERATIONS
    return min(most, max(least, int(BASELINE_WORK / (n_numbers * n_classes))))


def _best_strength(known: np.ndarray, wanted: np.ndarray) -> float:
    """The inverse penalty among STRENGTHS that answers every fifth train row best when learnt from the others."""
    held = np.arange(len(wanted)) % 5 == 4
    if not held.any():
        return STRENGTHS[1]
    n_classes = wanted.shape[1] if wanted.ndim == 2 else int(wanted.max()) + 1
    tried = {
        strength: answers_from_scores(
            _fit_linear(known[~held], wanted[~held], known[held], n_classes, strength), wanted[held], ()
        ).loss.mean()
        for strength in STRENGTHS
    }
    return min(tried, key=lambda strength: float(tried[strength]))


def _fit_linear(
    known: np.ndarray, wanted: np.ndarray, asked: np.ndarray, n_classes: int, strength: float = 0.1
) -> np.ndarray:
    """(N, C) probabilities by logistic regression; classes without a train row get 0, constant labels their share."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    iterations = _iterations(known.size, n_classes)

    def fit(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(np.unique(target)) < 2:
            return np.unique(target), np.ones((len(asked), 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is the time bound
            model = LogisticRegression(C=strength, max_iter=iterations).fit(known, target)
        return model.classes_, model.predict_proba(asked)

    scores = np.zeros((len(asked), n_classes))
    if wanted.ndim == 2:
        for number in range(n_classes):
            classes, found = fit(wanted[:, number] > 0.5)
            scores[:, number] = found[:, list(classes).index(True)] if True in classes else 0.0
    else:
        classes, found = fit(wanted)
        scores[:, classes] = found
    return scores


# --- labels that may be wrong -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Suspect:
    """A row whose label may be wrong: its place, the label it has, the one that the others suggest, and how sure (0 to 1)."""

    place: int
    given: str
    suggested: str
    confidence: float


def out_of_fold_scores(
    features: np.ndarray, targets: np.ndarray, n_classes: int, *, folds: int = 5, seed: int = 0
) -> np.ndarray:
    """(N, C): probabilities of each row by a logistic regression that did not see it. targets: (N,) int64."""
    order = np.random.default_rng(seed).permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]  # dealt class by class, so that folds are stratified
    fold = np.empty(len(targets), np.int64)
    fold[order] = np.arange(len(targets)) % folds
    scores = np.zeros((len(targets), n_classes))
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    for number in range(folds):
        held = fold == number
        if held.any() and not held.all():
            scores[held] = _fit_linear(scaled[~held], targets[~held], scaled[held], n_classes)
    return scores


def suspected_mislabels(
    scores: np.ndarray, targets: np.ndarray, labels: tuple[str, ...], *, most: int = 100
) -> list[Suspect]:
    """Rows that others' labels contradict, most doubtful first (confident learning; Northcutt 2021, arXiv 1911.00068, 3.1).

    scores: (N, C) probabilities by models that did NOT learn from the row (`out_of_fold_scores`, or held-out answers);
    targets: (N,) int64. A row is suspect when it reaches, for another class, the mean confidence of that class's own
    rows, and that class is also its most probable one.
    """
    n_classes = len(labels)
    own = scores[np.arange(len(targets)), targets]
    usual = np.array([own[targets == c].mean() if (targets == c).any() else np.inf for c in range(n_classes)])
    confident = scores >= usual[None]
    candidate = np.where(confident, scores, -1).argmax(axis=1)
    best = scores.argmax(axis=1)
    is_suspect = confident.any(axis=1) & (candidate != targets) & (best == candidate)
    margin = scores[np.arange(len(targets)), candidate] - own
    places = np.flatnonzero(is_suspect)
    places = places[np.argsort(-margin[places], kind="stable")][:most]
    return [
        Suspect(int(place), labels[targets[place]], labels[candidate[place]], float(scores[place, candidate[place]]))
        for place in places
    ]
