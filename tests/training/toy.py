"""A tiny task outside the package: points in a plane, two to ten classes. Everything the loop asks of a task, no more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ouvroir.recipe import Loop, Optim, Recipe
from ouvroir.source import Source
from ouvroir.task import Answers, Items, Loss, Row, StepOutput


@dataclass(frozen=True)
class Slice:
    index: Tensor
    fields: dict[str, Tensor]
    targets: dict[str, Tensor]
    weight: Tensor
    start: Any = None
    length: Any = None


class ToyTable:
    """A table in memory."""

    def __init__(self, points: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None) -> None:
        self.points = torch.from_numpy(points.astype(np.float32))
        self.targets = {"labels": torch.from_numpy(labels.astype(np.int64))}
        self.weight = torch.ones(len(points)) if weight is None else torch.from_numpy(weight.astype(np.float32))
        self.rows = [Row(id=f"row{i}", locator="", sha256=str(i), label=str(labels[i])) for i in range(len(points))]
        self.root = ""

    def __len__(self) -> int:
        return len(self.points)

    def slice(self, index: Any, start: Any = None, length: Any = None) -> Slice:
        place = torch.as_tensor(index)
        targets = {name: column[place] for name, column in self.targets.items()}
        return Slice(place, {"points": self.points[place]}, targets, self.weight[place], start, length)

    def subset(self, positions: Any) -> ToyTable:
        weight = self.weight[positions].numpy()
        return ToyTable(self.points[positions].numpy(), self.targets["labels"][positions].numpy(), weight)

    def source(self, i: int) -> Source:
        return self.rows[i].source(self.root)

    def ids(self, index: Any) -> list[str]:
        return [self.rows[int(i)].id for i in index]


@dataclass
class ToyProcessor:
    labels: tuple[str, ...]

    def save(self, folder: Path) -> None:
        (folder / "processor.json").write_text(json.dumps(self.labels))


@dataclass(frozen=True)
class Options:
    net: str = "mlp"
    width: int = 16
    dropout: float = 0.0
    noise: float = 0.0
    step_s: float = 0.0


class Net(nn.Module):
    """Body and head; `net` chooses layers that rows share nothing in, or ones that draw or mix."""

    def __init__(self, options: Options, n_classes: int) -> None:
        super().__init__()
        width = options.width
        norm = {"mlp": nn.Identity(), "batchnorm": nn.BatchNorm1d(width), "layernorm": nn.LayerNorm(width)}
        if options.net == "conv":
            self.body: nn.Module = nn.Sequential(
                nn.Unflatten(1, (1, 1, 2)),
                nn.Conv2d(1, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            )
        else:
            self.body = nn.Sequential(nn.Linear(2, width), norm[options.net], nn.ReLU(), nn.Dropout(options.dropout))
        self.middle = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, n_classes)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(self.middle(self.body(points)))


class ToyTask:
    name: ClassVar[str] = "toy:ToyTask"
    Options: ClassVar[type] = Options
    loop: ClassVar[str] = "fit"
    draw: ClassVar[str] = "row"
    synthesiser: ClassVar[str | None] = None
    french: ClassVar[Mapping[str, str]] = {}

    def metrics_for(self, processor: ToyProcessor) -> tuple[str, ...]:
        return ("accuracy",)

    def reads_weights(self, init_from: str) -> bool:
        return False

    def tuning(self, recipe: Recipe, manifest: Any = None) -> Recipe:
        return recipe

    def augments(self, recipe: Recipe) -> bool:
        return recipe.options.noise > 0

    def load_processor(self, folder: Path) -> ToyProcessor:
        return ToyProcessor(tuple(json.loads((folder / "processor.json").read_text())))

    def items(self, table: ToyTable, processor, *, training: bool) -> Items:
        return Items(row=np.arange(len(table)), stratum=table.targets["labels"].numpy())

    def prepare_model(self, model: nn.Module, table: ToyTable, recipe: Recipe) -> None:
        pass

    def build_model(self, recipe: Recipe, processor: ToyProcessor) -> nn.Module:
        return Net(recipe.options, len(processor.labels))

    def adopt(
        self, model: nn.Module, processor: ToyProcessor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        model.load_state_dict(dict(weights))
        return [f"Started from a model of {len(labels)} classes."]

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        return [("body", model.body), ("middle", model.middle), ("head", model.head)]

    def collate(self, rows: Slice) -> dict[str, Any]:
        return {"points": rows.fields["points"], "index": rows.index, "weight": rows.weight, **rows.targets}

    def prepare(self, batch: dict[str, Any], recipe: Recipe, *, rng: Any, training: bool) -> dict[str, Any]:
        if training and recipe.options.noise:
            return {**batch, "points": batch["points"] + recipe.options.noise * rng.normal("noise", (2,))}
        return batch

    def step(self, model: nn.Module, batch: dict[str, Any], recipe: Recipe, *, rng: Any, training: bool) -> StepOutput:
        if training and recipe.options.step_s:
            import time

            time.sleep(recipe.options.step_s)
        if "features" in batch:
            logits = model.head(
                model.middle(batch["features"]) if model.middle[0].weight.requires_grad else batch["features"]
            )
        else:
            logits = model(batch["points"])
        per_row = nn.functional.cross_entropy(logits, batch["labels"], reduction="none")
        return StepOutput({"loss": Loss(per_row, torch.ones_like(batch["labels"]))}, logits)

    def features(self, model: nn.Module, batch: dict[str, Any], part: str) -> Tensor:
        body = model.body(batch["points"])
        return body if part == "middle" else model.middle(body)

    def answers(self, batch: dict[str, Any], output: StepOutput, processor: ToyProcessor) -> Answers:
        loss = output.losses["loss"]
        return Answers(
            index=batch["index"].numpy(),
            loss=loss.per_row.double().numpy(),
            n_items=loss.n_items.numpy(),
            scores=output.outputs.float().softmax(1).numpy(),
            targets=batch["labels"].numpy(),
            labels=processor.labels,
        )


class TwoLossTask(ToyTask):
    """A second loss that counts something else: twice the items of the first on odd rows."""

    name: ClassVar[str] = "toy:TwoLossTask"

    def step(self, model: nn.Module, batch: dict[str, Any], recipe: Recipe, *, rng: Any, training: bool) -> StepOutput:
        output = super().step(model, batch, recipe, rng=rng, training=training)
        n_items = 1 + batch["index"] % 2
        penalty = Loss(output.outputs.square().sum(1) * n_items, n_items)
        return StepOutput({**output.losses, "penalty": penalty}, output.outputs)


class Rivals(nn.Module):
    """Points made from latent numbers and a class, and what tells them from those of the table."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(4 + n_classes, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
        self.teller = nn.Sequential(
            nn.Linear(2 + n_classes, 32),
            nn.LeakyReLU(),
            nn.Dropout(0.1),
            nn.Linear(32, 32),
            nn.LeakyReLU(),
            nn.Linear(32, 1),
        )


class ContestTask(ToyTask):
    """Two parts that learn against each other. Judged by how far made points are from those of their row."""

    name: ClassVar[str] = "toy:ContestTask"
    loop: ClassVar[str] = "adversarial"

    def metrics_for(self, processor: ToyProcessor) -> tuple[str, ...]:
        return ("loss",)

    def build_model(self, recipe: Recipe, processor: ToyProcessor) -> nn.Module:
        return Rivals(len(processor.labels))

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        return [("maker", model.maker), ("teller", model.teller)]

    def step(self, model: nn.Module, batch: dict[str, Any], recipe: Recipe, *, rng: Any, training: bool) -> StepOutput:
        if training and recipe.options.step_s:
            import time

            time.sleep(recipe.options.step_s)
        labels = nn.functional.one_hot(batch["labels"], model.maker[0].in_features - 4).float()
        made = model.maker(torch.cat([rng.normal("latents", (4,)), labels], 1))
        one = torch.ones_like(batch["labels"])
        if not training:
            return StepOutput({"loss": Loss((made - batch["points"]).norm(dim=1), one)}, made)
        of_real = model.teller(torch.cat([batch["points"], labels], 1))[:, 0]
        of_made = model.teller(torch.cat([made, labels], 1))[:, 0]
        told = nn.functional.relu(1 - of_real) + nn.functional.relu(1 + of_made)
        return StepOutput({"maker": Loss(-of_made, one), "teller": Loss(told, one)}, made)

    def answers(self, batch: dict[str, Any], output: StepOutput, processor: ToyProcessor) -> Answers:
        loss = output.losses["loss"]
        return Answers(index=batch["index"].numpy(), loss=loss.per_row.double().numpy(), n_items=loss.n_items.numpy())


def blobs(n: int, *, n_classes: int = 3, seed: int = 0, spread: float = 0.5) -> ToyTable:
    """Points around the corners of a polygon."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    angle = 2 * np.pi * labels / n_classes
    return ToyTable(np.stack([np.cos(angle), np.sin(angle)], 1) + spread * rng.normal(size=(n, 2)), labels)


def prepared(n: int = 96, *, n_classes: int = 3, validation: int = 48) -> Any:
    from ouvroir.training.course import Prepared

    tables = {"train": blobs(n, n_classes=n_classes)}
    if validation:
        tables["validation"] = blobs(validation, n_classes=n_classes, seed=1)
    return Prepared(processor=ToyProcessor(tuple(str(c) for c in range(n_classes))), tables=tables)


_SETTLED = {
    "steps": 30,
    "batch_size": 16,
    "micro_batch": 16,
    "precision": "fp32",
    "layout": "contiguous",
    "threads": 1,
    "evaluate_every": 10,
    "save_every": 10,
}


def recipe(*, task: str = "toy:ToyTask", options: Options | None = None, optim: Any = None, **loop: Any) -> Recipe:
    """A recipe with nothing left to measure."""
    return Recipe(
        task=task,
        options=options or Options(),
        optim=Optim(**{"lr": 0.01, **(optim or {})}),
        loop=Loop(**{**_SETTLED, **loop}),
    )


@dataclass
class Told:
    """A Progress that keeps what it is told."""

    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def bar(self, title: str, total: int | None, *, start: int = 0) -> Any:
        from ouvroir.progress import QUIET

        return QUIET.bar(title, total, start=start)

    def has(self, *words: str) -> bool:
        return any(all(word in text for word in words) for text in self.said)


def sha256_of(folder: Path) -> str:
    """Of the weights in a checkpoint, by value."""
    import hashlib

    from ouvroir.training.checkpoint import read_weights

    weights: Sequence[tuple[str, Tensor]] = sorted(read_weights(folder).items())
    digest = hashlib.sha256()
    for name, tensor in weights:
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
