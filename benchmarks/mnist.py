"""MNIST, 8,000 digits to learn from and 2,000 to be judged on: accuracy after three minutes, and time to 99 %.

Beside it PyTorch's own MNIST example: its network, optimiser, schedule, batch size and number of epochs.
"""

from __future__ import annotations

import os
import shutil
import statistics
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from benchmarks import datasets, harness, networks, plain
from benchmarks.harness import Options, Result, say

MINUTES = 3.0
RACE_MINUTES = 0.75  # the budget of the run that is to reach 99 % soon
TARGET = 0.99
LOOK_EVERY = 50  # steps of 64 between two looks at the test digits, on both sides
VALIDATION = 0.05  # of the 8,000; chooses Ouvroir's checkpoint, never the test
EPOCHS = 14  # as in the example


@dataclass(frozen=True)
class Point:
    """Test accuracy after so many seconds of training."""

    seconds: float
    accuracy: float


def measure(options: Options) -> Result:
    """Both sides by turns, for every seed."""
    seeds = options.seeds_or(3)
    result = Result(
        name="mnist",
        title="MNIST digits",
        about=(
            "`ouvroir.train` on PNG files with a time budget, one run of 3 minutes and one of 45 seconds for each seed, "
            "beside PyTorch's MNIST example (two convolutions, Adadelta, batch 64, 14 epochs; pictures in memory, "
            "through PIL, the better of 0 and 2 workers) on the same digits. Every 50 steps of 64 the benchmark looks "
            "at the test digits on both sides, off the clock; no choice is made by that."
        ),
        spread="lowest and highest of the seeds, or 95 % interval",
        seeds=seeds,
        settings={"train": datasets.MNIST_TRAIN, "test": 2000, "of train kept for validation": VALIDATION},
    )
    with harness.workplace() as place:
        n_train, n_test = (600, 200) if options.is_quick else (datasets.MNIST_TRAIN, 2000)
        folder = datasets.write_mnist(place / "digits", n_train=n_train, n_test=n_test)
        finals, races, tutorials = [], [], []
        for seed in seeds:
            finals.append(ours(folder, place, seed, MINUTES, is_quick=options.is_quick))
            races.append(ours(folder, place, seed, RACE_MINUTES, is_quick=options.is_quick))
            tutorials.append(tutorial(n_train, n_test, seed, is_quick=options.is_quick))
    _report(result, finals, races, tutorials)
    return result


@dataclass(frozen=True)
class Trained:
    """One training: its curve on the test digits, and accuracy with interval and seconds of what it ended with."""

    curve: list[Point]
    accuracy: float
    interval: tuple[float, float]
    seconds: float

    @property
    def reached(self) -> float | None:
        """Seconds to the first look that saw the target."""
        return next((point.seconds for point in self.curve if point.accuracy >= TARGET), None)


def ours(folder: Path, place: Path, seed: int, minutes: float, *, is_quick: bool) -> Trained:
    """Train with the budget; afterwards look at the test with every checkpoint that was kept aside."""
    from ouvroir import api

    settings = {
        "loop.seed": str(seed),
        "data.validation": str(VALIDATION),
        "loop.evaluate_every": str(LOOK_EVERY),
        "loop.save_every": str(LOOK_EVERY),
    }
    if is_quick:
        settings |= {"loop.steps": "20", "loop.evaluate_every": "10", "loop.save_every": "10"}
    runs = place / f"runs_{seed}_{minutes}"
    with kept_aside(runs, place / f"kept_{seed}_{minutes}") as kept:
        run = api.train(folder, minutes=None if is_quick else minutes, settings=settings, runs=runs)
    found = run.read_json("evaluation.json")["test"]["accuracy"]
    seconds = max(one.seconds for one in run.metrics())
    curve = look(run, sorted(kept.iterdir()))
    say(f"  seed {seed}, {minutes:g} min: {found['value']:.4f} after {seconds:.0f} s of training, {len(curve)} looks")
    shutil.rmtree(runs)
    return Trained(curve, found["value"], (found["low"], found["high"]), seconds)


@contextmanager
def kept_aside(runs: Path, kept: Path):  # -> Iterator[Path]
    """While the block runs, give every checkpoint that appears in `runs` a second name in `kept`: links, no copies."""
    kept.mkdir(parents=True)
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.1):
            link()

    def link() -> None:
        for step in runs.glob("*/checkpoints/step_*"):
            if not (kept / step.name).exists():
                try:
                    shutil.copytree(step, kept / f".{step.name}", copy_function=os.link)
                    (kept / f".{step.name}").rename(kept / step.name)
                except (OSError, shutil.Error):  # pruned in the middle of it
                    shutil.rmtree(kept / f".{step.name}", ignore_errors=True)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield kept
    finally:
        is_over.set()
        watcher.join()
        link()


def look(run, checkpoints: list[Path]) -> list[Point]:
    """Test accuracy of every checkpoint, with the seconds of training that the run noted at its step."""
    from ouvroir import judging, workflow
    from ouvroir.media import find_task
    from ouvroir.progress import QUIET
    from ouvroir.training.checkpoint import load_model

    task = find_task(run.recipe().task)
    manifest = workflow.manifest_of(run)
    noted = sorted((one.step, one.seconds) for one in run.metrics())
    points = []
    for checkpoint in checkpoints:
        model, processor, recipe = load_model(task, checkpoint)
        tables = workflow.prepare(task, manifest, recipe, processor=processor, workers=None, progress=QUIET).tables
        judged = judging.judge(task, model, processor, recipe, tables["test"], "test", device="cpu", progress=QUIET)
        step = int(checkpoint.name.partition("_")[2])
        seconds = max((seconds for at, seconds in noted if at <= step), default=0.0)
        points.append(Point(seconds, judged.metrics["accuracy"].value))
    return points


class Digits(Dataset):
    """Pictures in memory, each made a PIL picture, a tensor and normalised when asked for."""

    def __init__(self, pictures: np.ndarray, digits: np.ndarray) -> None:
        self.pictures, self.digits = pictures, digits

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """(1, 28, 28) float32 and the digit."""
        picture = Image.fromarray(self.pictures[place])
        pixels = np.asarray(picture, dtype=np.float32) / 255
        return torch.from_numpy((pixels - 0.1307) / 0.3081)[None], int(self.digits[place])


def tutorial(n_train: int, n_test: int, seed: int, *, is_quick: bool) -> Trained:
    """PyTorch's MNIST example; looks at the test digits stop its clock."""
    pictures, digits = datasets.mnist()
    train, test = Digits(pictures[:n_train], digits[:n_train]), Digits(pictures[-n_test:], digits[-n_test:])
    asked = torch.stack([test[place][0] for place in range(n_test)])
    wanted = torch.from_numpy(test.digits)
    n_workers = _best_workers(train, is_quick=is_quick)
    torch.manual_seed(seed)
    network = networks.TutorialCnn()
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    curve: list[Point] = []
    seconds, step = 0.0, 0
    batches = plain.loader(train, 64, n_workers)
    start = time.perf_counter()
    for _ in range(1 if is_quick else EPOCHS):
        for batch in batches:
            _tutorial_step(network, optimizer, *batch)
            step += 1
            if step % (4 if is_quick else LOOK_EVERY) == 0:
                seconds += time.perf_counter() - start
                curve.append(Point(seconds, float(_accuracy(network, asked, wanted).mean())))
                start = time.perf_counter()
        schedule.step()
    seconds += time.perf_counter() - start
    right = _accuracy(network, asked, wanted)
    low, high = _wilson(right)
    say(f"  seed {seed}, tutorial: {right.mean():.4f} after {seconds:.0f} s ({n_workers} workers)")
    return Trained(curve, float(right.mean()), (low, high), seconds)


def _tutorial_step(network: nn.Module, optimizer: torch.optim.Optimizer, pictures: Tensor, digits: Tensor) -> None:
    network.train()
    optimizer.zero_grad()
    functional.nll_loss(network(pictures), digits).backward()
    optimizer.step()


def _best_workers(train: Digits, *, is_quick: bool) -> int:
    if is_quick:
        return 0

    def seconds(n_workers: int) -> float:
        network = networks.TutorialCnn()
        optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
        start = 0.0
        for number, batch in enumerate(plain.loader(train, 64, n_workers)):
            if number == 5:
                start = time.perf_counter()
            _tutorial_step(network, optimizer, *batch)
            if number == 45:
                break
        return time.perf_counter() - start

    return min((0, 2), key=seconds)


@torch.no_grad()
def _accuracy(network: nn.Module, asked: Tensor, wanted: Tensor) -> np.ndarray:
    network.eval()
    return torch.cat([network(piece).argmax(dim=1) for piece in asked.split(500)]).eq(wanted).numpy()


def _wilson(right: np.ndarray) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    n, share, z = len(right), float(right.mean()), 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return middle - half, middle + half


def _report(result: Result, finals: list[Trained], races: list[Trained], tutorials: list[Trained]) -> None:
    percent = [100 * one.accuracy for one in finals]
    result.add(
        "Accuracy after 3 minutes, mean of the seeds", statistics.mean(percent), "%",
        interval=(min(percent), max(percent)), n=len(percent), at_least=99.2,
    )  # fmt: skip
    for seed, one in zip(result.seeds, finals, strict=True):
        interval = (100 * one.interval[0], 100 * one.interval[1])
        result.add(f"Accuracy after 3 minutes, seed {seed}, 95 % interval", 100 * one.accuracy, "%", interval=interval)
    seconds = harness.Spread.of([one.seconds for one in finals])
    result.add("Seconds of training", seconds, "s", at_most=60 * MINUTES * 1.02)
    for name, sides in (("45-second runs", races), ("3-minute runs", finals), ("the tutorial", tutorials)):
        _report_reached(result, name, sides)
    percent = [100 * one.accuracy for one in tutorials]
    result.add(
        "Accuracy of the tutorial after its 14 epochs, mean", statistics.mean(percent), "%",
        interval=(min(percent), max(percent)), n=len(percent),
    )  # fmt: skip
    result.add("Seconds of the tutorial's 14 epochs", harness.Spread.of([one.seconds for one in tutorials]), "s")
    highest = harness.Spread.of([100 * max((p.accuracy for p in one.curve), default=0.0) for one in tutorials])
    result.add("Highest accuracy the tutorial saw on the way", highest, "%")
    mine = [one.reached for one in races]
    theirs = [one.reached for one in tutorials]
    if all(mine) and all(theirs):
        result.add("Time to 99 %: the tutorial / Ouvroir (45-second runs)", harness.ratio(theirs, mine), "times")


def _report_reached(result: Result, name: str, sides: list[Trained]) -> None:
    reached = [one.reached for one in sides if one.reached is not None]
    missed = len(sides) - len(reached)
    what = f"Seconds to 99 % on the test, {name}" + (f" ({missed} of {len(sides)} never)" if missed else "")
    result.add(what, harness.Spread.of(reached) if reached else None, "s")


if __name__ == "__main__":
    harness.run(measure)
