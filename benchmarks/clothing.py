"""Photographs of clothes in their own splits, ten minutes from nothing, beside a plain loop with the same network.

The plain loop is what a practitioner writes: a DataLoader with PIL crops and mirroring, AdamW on a one-cycle schedule,
fp32, the same ten minutes of training.
"""

from __future__ import annotations

import math
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import datasets, harness, networks, plain
from benchmarks.harness import Options, Result, say

MINUTES = 10.0


def measure(options: Options) -> Result:
    """Ouvroir, then the plain loop, for every seed."""
    seeds = options.seeds_or(1)
    result = Result(
        name="clothing",
        title="Photographs of clothes",
        about=(
            "clothing10 as it is (train 3,068, validation 341, test 372): `ouvroir.train` with a budget of 10 minutes at "
            "the size its recipe proposes, beside the cheap baselines of the report and a plain loop: the same network, "
            "train size and batch, PIL crops and mirroring in a DataLoader (the better of 0 and 2 workers), AdamW and "
            "one-cycle by the clock, fp32, the same minutes and threads. Both take part in no choice by the test."
        ),
        spread="95 % interval",
        seeds=seeds,
        settings={"minutes": MINUTES},
    )
    with harness.workplace() as place:
        for seed in seeds:
            one_seed(result, place, seed, is_quick=options.is_quick)
    return result


def one_seed(result: Result, place: Path, seed: int, *, is_quick: bool) -> None:
    """Train both, judge both on the same test pictures."""
    from ouvroir import api
    from ouvroir.evaluation.compare import compare
    from ouvroir.evaluation.evaluate import load_answers
    from ouvroir.evaluation.metrics import measure as measure_answers
    from ouvroir.training.device import threads

    settings = {"loop.seed": str(seed)} | ({"loop.steps": "3", "model.preset": "tiny"} if is_quick else {})
    source = datasets.write_few_clothes(place / "few.zip") if is_quick else datasets.clothing_zip()
    start = time.perf_counter()
    run = api.train(source, minutes=None if is_quick else MINUTES, settings=settings, runs=place / "runs")
    total = time.perf_counter() - start
    answers = load_answers(run.path / "answers" / "test.safetensors")
    tables = _tables(run)
    if not seed:
        _report_baselines(result, run, tables)
    seconds = 6.0 if is_quick else 60 * MINUTES
    with threads(run.recipe().loop.threads):
        theirs, steps = plain_loop(run, tables, place, seconds=seconds, seed=seed)
    names = ["accuracy", "macro_f1"]
    sides = (("Ouvroir", answers, run.recipe().loop.steps), ("the plain loop", theirs, steps))
    for who, given, n_steps in sides:
        for name, metric in measure_answers(names, given).items():
            interval = (100 * metric.low, 100 * metric.high)
            what = f"{name.replace('_', ' ')} of {who}, seed {seed}, {n_steps} steps"
            result.add(what, 100 * metric.value, "%", interval=interval, n=metric.n)
    found = compare(theirs, answers).difference
    what = f"Ouvroir minus the plain loop, paired, seed {seed}"
    result.add(what, 100 * found.value, "points", interval=(100 * found.low, 100 * found.high), n=found.n)
    result.add(f"From the zip to the report, seed {seed}", total, "s")
    result.settings = {**result.settings, **_choices(run)}


def _choices(run: Any) -> dict[str, Any]:
    recipe = run.recipe()
    return {
        "stored at px": recipe.options.storage_px,
        "trained at px": recipe.options.train_px,
        "batch": recipe.loop.batch_size,
        "Ouvroir's arithmetic": f"{recipe.loop.precision} {recipe.loop.layout} {recipe.loop.threads} threads",
    }


def _tables(run: Any) -> Any:
    from ouvroir import workflow
    from ouvroir.media import find_task
    from ouvroir.progress import QUIET

    recipe = run.recipe()
    manifest = workflow.manifest_of(run)
    return workflow.prepare(find_task(recipe.task), manifest, recipe, workers=None, progress=QUIET).tables


def _report_baselines(result: Result, run: Any, tables: Any) -> None:
    from ouvroir.evaluation.metrics import measure as measure_answers
    from ouvroir.media import find_task
    from ouvroir.training.checkpoint import load_model

    task = find_task(run.recipe().task)
    processor = load_model(task, run.checkpoint("best"))[1]
    for cheap in task.baselines(tables, processor, run.recipe()):
        metric = measure_answers(["accuracy"], cheap.answers)["accuracy"]
        result.add(
            f"accuracy of {cheap.name}",
            100 * metric.value,
            "%",
            interval=(100 * metric.low, 100 * metric.high),
            n=metric.n,
        )


# --- the plain loop ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CropAndMirror:
    """RandomResizedCrop and RandomHorizontalFlip in PIL: at least `least` of the area, sides in ratio 3:4 to 4:3."""

    px: int
    least: float

    def __call__(self, picture: Image.Image) -> Image.Image:
        width, height = picture.size
        for _ in range(10):
            area = width * height * (self.least + (1 - self.least) * float(torch.rand(())))
            ratio = math.exp((2 * float(torch.rand(())) - 1) * math.log(4 / 3))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if w <= width and h <= height:
                break
        else:
            w, h = width, height
        left = int(torch.randint(width - w + 1, ()))
        top = int(torch.randint(height - h + 1, ()))
        cut = picture.resize((self.px, self.px), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
        return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if float(torch.rand(())) < 0.5 else cut


def plain_loop(run: Any, tables: Any, place: Path, *, seconds: float, seed: int) -> tuple[Any, int]:
    """Train for `seconds` and answer on the test. Returns Answers and the number of steps."""
    from ouvroir.media import find_task
    from ouvroir.training.checkpoint import load_model

    recipe = run.recipe()
    task = find_task(recipe.task)
    processor = load_model(task, run.checkpoint("best"))[1]
    px = recipe.options.train_px or recipe.options.storage_px
    files = _extracted(tables, place)
    train = _pictures(files["train"], tables["train"], px, CropAndMirror(px, recipe.options.crop))
    model: Any = task.build_model(recipe, processor)
    n_workers = max(
        (0, 2), key=lambda n: _trial(networks.Compact(model), train, recipe.loop.batch_size, n, seconds / 60)
    )
    torch.manual_seed(seed)
    model = task.build_model(recipe, processor)
    network = networks.Compact(model)
    steps = _train_by_the_clock(network, train, recipe, n_workers, seconds)
    say(f"  the plain loop took {steps} steps with {n_workers} workers")
    test = _pictures(files["test"], tables["test"], px, None)
    return _answers(network, test, processor.labels), steps


def _train_by_the_clock(
    network: nn.Module, train: plain.PilPictures, recipe: Any, n_workers: int, seconds: float
) -> int:
    """One-cycle: up for a fifth of the time, then down to nothing along a cosine, with the recipe's rate and decay."""
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.optim.lr, weight_decay=recipe.optim.weight_decay, fused=True
    )
    network.train()
    batches = plain.endlessly(plain.loader(train, recipe.loop.batch_size, n_workers))
    start, steps = time.perf_counter(), 0
    while (share := (time.perf_counter() - start) / seconds) < 1:
        rise = share / 0.2 if share < 0.2 else 0.5 + 0.5 * math.cos(math.pi * (share - 0.2) / 0.8)
        for group in optimizer.param_groups:
            group["lr"] = recipe.optim.lr * max(rise, 1e-3)
        pictures, labels = next(batches)
        optimizer.zero_grad()
        functional.cross_entropy(network(pictures), labels).backward()
        optimizer.step()
        steps += 1
    return steps


def _trial(network: nn.Module, train: plain.PilPictures, batch_size: int, n_workers: int, seconds: float) -> float:
    """Samples per second of the plain loop with so many workers."""
    steps = harness.Steps(2)
    n = 12 if seconds > 1 else 4
    plain.train_plainly(network, train, batch_size, n_workers, n, steps)
    return steps.rate(batch_size)


def _extracted(tables: Any, place: Path) -> dict[str, list[Path]]:
    """The files of train and test, in the order of the tables, taken out of the archive."""
    folder = place / "clothes"
    if not folder.exists():
        root, _, _ = tables["train"].source(0).locator.partition("::")
        with zipfile.ZipFile(Path(tables["train"].root) / root) as archive:
            archive.extractall(folder)
    return {
        split: [folder / tables[split].source(row).locator.partition("::")[2] for row in range(len(tables[split]))]
        for split in ("train", "test")
    }


def _pictures(files: list[Path], table: Any, px: int, augment: CropAndMirror | None) -> plain.PilPictures:
    return plain.PilPictures(files, table.targets["labels"].numpy(), px=px, mode="RGB", augment=augment)


@torch.no_grad()
def _answers(network: nn.Module, test: plain.PilPictures, labels: tuple[str, ...]) -> Any:
    from ouvroir.task import Answers

    network.eval()
    pictures, targets = plain.in_memory(test)
    logits: Tensor = torch.cat([network(piece) for piece in pictures.split(64)])
    return Answers(
        index=np.arange(len(test), dtype=np.int64),
        loss=functional.cross_entropy(logits, targets, reduction="none").double().numpy(),
        n_items=np.ones(len(test), np.int64),
        scores=logits.softmax(dim=1).numpy(),
        targets=targets.numpy(),
        labels=labels,
    )


if __name__ == "__main__":
    harness.run(measure)
