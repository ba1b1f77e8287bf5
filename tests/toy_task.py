"""A task that the package does not know: a line of numbers in a .txt file to a class.

It is here to prove that a task can be added from outside. Rows are ragged (any number of numbers), the batch holds four
simple facts about each row, and the network is two layers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import ConfigDict

from ouvroir import classification as shared
from ouvroir.baselines import linear_baseline, majority_baseline
from ouvroir.errors import Refused
from ouvroir.recipe import Recipe, setting
from ouvroir.source import Source, source_of
from ouvroir.task import Facts, Field, Items, Limits, Note, Rendering, StepOutput

NAME = "toy_task:Numbers"
CLASSES = {"small": (0.0, 1.0), "large": (4.0, 1.0), "wide": (0.0, 6.0)}  # mean and deviation of each


def write_data(folder: Path, n_per_class: int, seed: int = 0) -> Path:
    """Class folders of one-line files, all different."""
    rng = np.random.default_rng(seed)
    for label, (mean, deviation) in CLASSES.items():
        (folder / label).mkdir(parents=True)
        for number in range(n_per_class):
            values = rng.normal(mean, deviation, size=rng.integers(5, 30))
            (folder / label / f"{number:03d}.txt").write_text(" ".join(f"{value:.4f}" for value in values))
    return folder


def numbers_in(source: Source, limits: Limits) -> np.ndarray:
    try:
        values = np.array(source.read(limits.max_bytes).decode("utf-8").split(), dtype=np.float32)
    except ValueError as error:
        raise Refused("not_numbers", f"`{source.name}` holds something that is no number: {error}.") from error
    if not len(values):
        raise Refused("empty", f"`{source.name}` holds no numbers.")
    return values


@dataclass(frozen=True, kw_only=True)
class NumberOptions:
    __pydantic_config__ = ConfigDict(extra="forbid")

    width: int = setting(16, "Width of the hidden layer.")


@dataclass(frozen=True)
class NumberProcessor:
    labels: tuple[str, ...]

    def fields(self) -> dict[str, Field]:
        return {"values": Field("float32", (None,))}

    def encode(self, source: Source, limits: Limits) -> dict[str, np.ndarray]:
        return {"values": numbers_in(source, limits)}

    def to_answer(self) -> Self:
        return self

    def storage_fingerprint(self) -> str:
        return "numbers-1"

    def save(self, folder: Path) -> None:
        (folder / "processor.json").write_text(json.dumps({"labels": self.labels}))


class Numbers:
    """See `ouvroir.task.Task`."""

    name: ClassVar[str] = NAME
    Options: ClassVar[type] = NumberOptions
    loop: ClassVar[str] = "fit"
    draw: ClassVar[str] = "row"
    synthesiser: ClassVar[str | None] = None
    export_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {}
    controls: ClassVar[tuple] = ()
    french: ClassVar[Mapping[str, str]] = {}
    suffixes: ClassVar[frozenset[str]] = frozenset({".txt"})
    limits: ClassVar[Limits] = Limits()
    reads_text: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True

    def network(self, recipe):
        return "a hidden layer"

    def constants(self, recipe):
        return {}

    def metrics_for(self, processor):
        return shared.SINGLE_LABEL_METRICS

    def inspect(self, source, limits):
        values = numbers_in(source, limits)
        content = source.read(limits.max_bytes)
        return Facts(
            sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content), details={"numbers": len(values)}
        )

    def decoder(self):
        return ""

    def unjudged(self, row, processor):
        return shared.unjudged(row, processor.labels)

    def recipe(self, manifest, preset, *, init_from="scratch"):
        recipe = Recipe(task=NAME, data=manifest.data, options=NumberOptions())
        recipe = recipe.replace("model", preset=preset, init_from=init_from)
        recipe = recipe.replace("loop", batch_size=16, epochs=20.0, precision="fp32", layout="contiguous", threads=1)
        recipe = recipe.replace("optim", lr=0.02)
        return recipe, [Note("toy", "Two layers are enough for numbers.")]

    def notes_on(self, rows):
        return []

    def suited(self, recipe, manifest):
        return recipe

    def rivals(self, recipe, manifest):
        return {}

    def reads_weights(self, init_from):
        return False

    def tuning(self, recipe, manifest=None):
        usual = recipe if manifest is None else self.recipe(manifest, recipe.model.preset)[0]
        return recipe.replace("optim", lr=usual.optim.lr / 4)

    def augments(self, recipe):
        return False

    def fit_processor(self, manifest, recipe, *, earlier=None):
        return NumberProcessor(shared.train_labels(manifest))

    def load_processor(self, folder):
        return NumberProcessor(tuple(json.loads((folder / "processor.json").read_text())["labels"]))

    def worked_out(self, processor):
        return {}

    def targets(self, rows, processor):
        return shared.label_targets(rows, processor.labels, is_multi_label=False)

    def items(self, table, processor, *, training):
        labels = table.targets.get("labels")
        stratum = None if labels is None else shared.strata(labels.numpy())
        return Items(row=np.arange(len(table), dtype=np.int64), stratum=stratum)

    def build_model(self, recipe, processor):
        from torch import nn

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                import torch

                self.register_buffer("mean", torch.zeros(4))
                self.register_buffer("std", torch.ones(4))
                self.body = nn.Linear(4, recipe.options.width)
                self.head = nn.Linear(recipe.options.width, len(processor.labels))

            def embed(self, facts):
                return self.body((facts - self.mean) / self.std).tanh()

            def forward(self, facts):
                return self.head(self.embed(facts))

        return Network()

    def prepare_model(self, model, table, recipe):
        facts = facts_of(table.slice(np.arange(len(table))).fields["values"])
        model.mean.copy_(facts.mean(dim=0))
        model.std.copy_(facts.std(dim=0).clamp_min(1e-3))

    def adopt(self, model, processor, weights, labels):
        own = model.state_dict()
        fit = labels == processor.labels
        kept = {name: value for name, value in weights.items() if fit or not name.startswith("head.")}
        kept = {name: value for name, value in kept.items() if own[name].shape == value.shape}
        model.load_state_dict(kept, strict=False)
        return shared.adoption_sentences(
            processor.labels, labels, len(labels) if fit else 0, n_kept=len(kept), n_lost=len(own) - len(kept)
        )

    def parts(self, model):
        return [("body", model.body), ("head", model.head)]

    def collate(self, rows):
        return {"facts": facts_of(rows.fields["values"]), "weight": rows.weight, "index": rows.index, **rows.targets}

    def prepare(self, batch, recipe, *, rng, training):
        return batch

    def step(self, model, batch, recipe, *, rng, training):
        network = getattr(model, "module", model)
        logits = network.head(batch["features"]) if "features" in batch else model(batch["facts"])
        losses = {"class": shared.class_loss(logits, batch["labels"])} if "labels" in batch else {}
        return StepOutput(losses=losses, outputs=logits)

    def features(self, model, batch, part):
        return getattr(model, "module", model).embed(batch["facts"])

    def answers(self, batch, output, processor):
        return shared.class_answers(
            batch["index"],
            output.outputs,
            output.losses.get("class"),
            batch.get("labels"),
            processor.labels,
            is_multi_label=False,
        )

    def baselines(self, tables, processor, recipe):
        train, test = tables["train"], tables["test"]
        known, asked = (
            facts_of(table.slice(np.arange(len(table))).fields["values"]).numpy() for table in (train, test)
        )
        wanted, targets = train.targets["labels"].numpy(), test.targets["labels"].numpy()
        return [
            majority_baseline(wanted, targets, processor.labels),
            linear_baseline(known, wanted, asked, targets, processor.labels),
        ]

    def as_source(self, given):
        return source_of(given)

    def predict(self, model, processor, recipe, examples, *, device, threshold):
        import torch

        facts = torch.stack([facts_of_one(torch.from_numpy(one["values"])) for one in examples]).to(device)
        with torch.inference_mode():
            scores = shared.scores_of(model(facts), is_multi_label=False)
        return shared.predictions(scores, processor.labels, threshold=threshold, is_multi_label=False)

    def export_inputs(self, processor):
        import torch

        return {"facts": torch.zeros(2, 4)}

    def sample(self, folder):
        write_data(folder, 10)
        return 30

    def render(self, source, *, max_edge_px):
        return Rendering("text/plain", source.read(10_000))


def facts_of_one(values):
    import torch

    return torch.stack([values.mean(), values.pow(2).mean().sqrt(), values.abs().amax(), values.amin()])


def facts_of(ragged):
    """(B, 4) float32 of flat values with offsets, without a loop over rows."""
    import torch

    n_rows = len(ragged.offsets) - 1
    lengths = ragged.offsets.diff()
    row = torch.repeat_interleave(torch.arange(n_rows), lengths)
    values = ragged.values.float()
    mean = torch.zeros(n_rows).index_add_(0, row, values) / lengths
    power = (torch.zeros(n_rows).index_add_(0, row, values.pow(2)) / lengths).sqrt()
    largest = torch.zeros(n_rows).scatter_reduce_(0, row, values.abs(), "amax")
    least = torch.full((n_rows,), math.inf).scatter_reduce_(0, row, values, "amin")
    return torch.stack([mean, power, largest, least], dim=1)
