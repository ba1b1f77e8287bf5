"""What classification tasks of several media share: targets, losses, answers; and `Classifier`, the wiring of these into a task.

None of it knows a medium. torch is imported by the functions that need it, so that workers do not load it.

Axes: B rows of a batch, N rows of a table, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from ouvroir.errors import DataError
from ouvroir.files import readable_names
from ouvroir.task import Answers, Batch, Loss, Prediction, Processor, Row, StepOutput
from ouvroir.usual import Usual

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.recipe import Recipe
    from ouvroir.rng import Rng

SINGLE_LABEL_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")
MULTI_LABEL_METRICS = ("macro_f1", "micro_f1", "subset_accuracy", "nll")
MULTI_LABEL_THRESHOLD = 0.5


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

    Those that are gone were named when the training was planned. Of a model without classes nothing is said of them.
    """
    found = ["The weights of the earlier model are kept."]
    if n_lost:
        found = [
            f"{n_lost} of {n_kept + n_lost} arrays of weights do not fit this model and start anew; the rest is kept."
        ]
    new = [label for label in labels if label not in earlier]
    if n_mapped:
        found.append(f"{n_mapped} of {len(labels)} classes are mapped by name.")
    elif labels:
        found.append("No class keeps its output: the last layer starts anew.")
    if new:
        found.append(f"New: {readable_names(new)}.")
    return found


def adopt_by_name(
    network: nn.Module,
    labels: tuple[str, ...],
    weights: Mapping[str, Tensor],
    earlier: tuple[str, ...],
    *,
    per_class: Mapping[str, int],
    own: Sequence[str] = (),
) -> list[str]:
    """Load the weights of a model of the classes `earlier` into one of `labels`, as far as shapes agree.

    `per_class`: arrays that have an axis of classes, and which; along it classes are found by name, and what lies beyond those of
    either side, as the place of no class, is copied too. `own`: arrays that stay as they are. Returns what `Task.adopt` does.
    """
    import torch

    mine = network.state_dict()
    apart = {*per_class, *own}
    kept = {
        name: value
        for name, value in weights.items()
        if name in mine and name not in apart and mine[name].shape == value.shape
    }
    lost = [name for name in mine if name not in kept and name not in apart]
    network.load_state_dict(kept, strict=False)
    places = [(number, earlier.index(label)) for number, label in enumerate(labels) if label in earlier]
    fit = all(
        name in mine and name in weights and _fits(mine[name], weights[name], axis, len(labels) - len(earlier))
        for name, axis in per_class.items()
    )
    with torch.no_grad():
        for name, axis in per_class.items() if fit else ():
            beyond = [(n, n - len(labels) + len(earlier)) for n in range(len(labels), mine[name].shape[axis])]
            for new, old in [*places, *beyond]:
                mine[name].select(axis, new).copy_(weights[name].select(axis, old))
    n_mapped = len(places) if fit else 0
    return adoption_sentences(labels, earlier, n_mapped, n_kept=len(kept), n_lost=len(lost))


def _fits(mine: Tensor, theirs: Tensor, axis: int, more: int) -> bool:
    """Whether two arrays differ in nothing but the number of classes, of which `mine` has so many more."""
    wanted = list(theirs.shape)
    wanted[axis] += more
    return list(mine.shape) == wanted


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
    if targets.ndim == 1:  # without distributions written out
        per_row = functional.nll_loss(log_p, targets, reduction="none")
        weight = None if class_weight is None else class_weight[targets]
    else:
        per_row = -(targets * log_p).sum(dim=1)
        weight = None if class_weight is None else (targets * class_weight).sum(dim=1)
    if label_smoothing:
        per_row = (1 - label_smoothing) * per_row - label_smoothing * log_p.mean(dim=1)
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


# --- a task -----------------------------------------------------------------------------------------------------------


class ClassProcessor(Processor, Protocol):
    """A processor that knows whether a row may have several labels."""

    is_multi_label: bool


class ClassNetwork(Protocol):
    """What `Classifier` asks of a network, which is an `nn.Module` too.

    head: its `reset()` draws what answers anew, `widths` are those of dropout before each of its layers; class_weight: (C,) buffer;
    per_class: arrays with an axis of classes, and which.
    """

    head: Any
    class_weight: Tensor
    per_class: ClassVar[Mapping[str, int]]

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""


class Classifier(Usual):
    """The part of a classification task that is the same in all media.

    The options of the task have `dropout`, `label_smoothing` and `class_weights`; its processor is a ClassProcessor, and its
    network a ClassNetwork.
    """

    needs_labels: ClassVar[bool] = True

    def unjudged(self, row: Row, processor: Processor) -> str | None:
        """Rows without a label, and with one that the model does not know."""
        return unjudged(row, processor.labels)

    def targets(self, rows: Sequence[Row], processor: ClassProcessor) -> dict[str, np.ndarray]:
        """`labels`: (N,) int64, or (N, C) float32 when multi-label."""
        return label_targets(rows, processor.labels, is_multi_label=processor.is_multi_label)

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; outputs are matched by class name, new classes start small."""
        network = unwrapped(model)
        network.head.reset()
        return adopt_by_name(
            network, processor.labels, weights, labels, per_class=network.per_class, own=("class_weight",)
        )

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """Those of the network, the head last."""
        found: list[tuple[str, nn.Module]] = unwrapped(model).parts()
        return found

    def metrics_for(self, processor: ClassProcessor) -> tuple[str, ...]:
        """Accuracy first, or macro F1 first when multi-label."""
        return MULTI_LABEL_METRICS if processor.is_multi_label else SINGLE_LABEL_METRICS

    def answers(self, batch: Batch, output: StepOutput, processor: ClassProcessor) -> Answers:
        """Probabilities, losses and targets of the rows, on the CPU."""
        return class_answers(
            batch["index"],
            output.outputs,
            output.losses.get("class"),
            batch.get("labels"),
            processor.labels,
            is_multi_label=processor.is_multi_label,
        )


def unwrapped(model: nn.Module) -> Any:
    """The network itself, a ClassNetwork, out of a wrapper for several processes."""
    return getattr(model, "module", model)


def weigh_classes(network: ClassNetwork, table: Table, recipe: Recipe) -> None:
    """Set the weights of the classes from the train rows, where the recipe asks for them."""
    import torch

    if recipe.options.class_weights == "balanced" and "labels" in table.targets:
        weights = balanced_weights(table.targets["labels"].numpy(), len(network.class_weight))
        network.class_weight.copy_(torch.from_numpy(weights))


def head_masks(network: ClassNetwork, recipe: Recipe, rng: Rng, *, training: bool) -> list[Tensor]:
    """Masks (B, width) for dropout before each layer of the head; none where nothing is dropped."""
    drop = recipe.options.dropout
    if not training or not drop:
        return []
    return [rng.keep_mask(f"dropout{number}", (width,), drop) for number, width in enumerate(network.head.widths)]


def first_learning(network: ClassNetwork) -> str:
    """The part that cached features go into: everything before it is frozen."""
    for name, part in network.parts():
        if any(param.requires_grad for param in part.parameters()):
            return name
    return network.parts()[-1][0]


def class_step(
    network: ClassNetwork,
    logits: Tensor,
    batch: Batch,
    recipe: Recipe,
    *,
    training: bool,
    targets: Tensor | None = None,
) -> StepOutput:
    """Cross-entropy of logits (B, C), binary where `labels` are (B, C). `targets`: (B, C) in their place, of blended rows.

    Smoothing, entropy and weights of classes are for training only. A batch without `labels` has no loss.
    """
    if "labels" not in batch:
        return StepOutput(losses={}, outputs=logits)
    loss = label_set_loss if batch["labels"].ndim == 2 else class_loss
    extra: dict[str, Any] = {}
    if training:
        extra = {"label_smoothing": recipe.options.label_smoothing, "entropy": recipe.constants.value("zeta") or 0.0}
        if recipe.options.class_weights == "balanced":
            extra["class_weight"] = network.class_weight
    wanted = batch["labels"] if targets is None else targets
    return StepOutput(losses={"class": loss(logits, wanted, **extra)}, outputs=logits)
