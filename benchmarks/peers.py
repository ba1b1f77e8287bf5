"""Samples per second of Ouvroir's loop beside DataLoader + PIL, Lightning and the Trainer of transformers.

The same network, data, optimiser, batch size and number of threads; the probe's choice of arithmetic and layout against
the peers' fp32 where the network is convolutional, fp32 on both sides for the MLP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks import datasets, harness, networks, plain
from benchmarks.harness import Result, Steps
from ouvroir.progress import QUIET
from ouvroir.training.device import arithmetic
from ouvroir.training.device import place as placed
from ouvroir.training.device import threads as with_threads
from ouvroir.training.optim import make_optimizer

ROUNDS = 3
SECONDS = 5.0  # of one measurement
PEERS = ("DataLoader + PIL", "Lightning", "transformers Trainer")
TRAIN = {
    "DataLoader + PIL": plain.train_plainly,
    "Lightning": plain.train_with_lightning,
    "transformers Trainer": plain.train_with_trainer,
}
WORKERS = (0, 2)
CEILING = "bare steps"


@dataclass(frozen=True)
class Case:
    """One network on one set of pictures, for Ouvroir as a task and for the peers from `make` (None: the task's own).

    `loop`: what Ouvroir is told of arithmetic; the rest its probe finds. `least`: batch size to the least ratio to each
    peer, or None where no goal is set.
    """

    name: str
    task: str
    make: Callable[[], nn.Module] | None
    mode: str
    px: int
    loop: dict[str, Any]
    least: dict[int, tuple[float, float, float] | None]
    warmup: int = 20
    seconds: float = SECONDS
    rounds: int = ROUNDS
    trial: int = 10  # steps that the numbers of workers are compared on


class Ours:
    """Ouvroir's loop on a real pack of the folder."""

    def __init__(self, case: Case, folder: Path, place: Path) -> None:
        from ouvroir import api, workflow
        from ouvroir.media import find_task
        from ouvroir.recipe import Loop, Model, Optim, Recipe

        self.case, self.place = case, place
        self.task = find_task(case.task, is_asked_for=True)
        manifest = api.check(folder, task=case.task)
        options = self.task.Options(
            storage_px=case.px,
            train_px=case.px,
            colour="grey" if case.mode == "L" else "rgb",
            label_smoothing=0.0,
            dropout=0.0,
        )
        recipe = Recipe(
            task=case.task,
            data=replace(manifest.data, source=manifest.source, manifest=manifest.fingerprint),
            model=Model(preset="small"),
            optim=Optim(lr=plain.LR, weight_decay=plain.WEIGHT_DECAY, schedule="constant", max_grad_norm=0.0, ema=0.0),
            loop=Loop(**case.loop),
            options=options,
        )
        self.recipe = recipe.with_overrides({"constants.zeta": "ordinary"})
        self.prepared = workflow.prepare(self.task, manifest, self.recipe, workers=None, progress=QUIET)

    def network(self) -> nn.Module:
        """The same network for the peers: the case's own, or the task's."""
        if self.case.make is not None:
            return self.case.make()
        model: Any = self.task.build_model(self.recipe, self.prepared.processor)
        return networks.Compact(model)

    def rate(self, batch_size: int, n_steps: int) -> float:
        """Samples per second over the steps after the warm-up, seen from outside. Keeps what the probe chose."""
        from ouvroir.run import Run
        from ouvroir.training.loop import fit

        recipe = self.recipe.replace(
            "loop", steps=n_steps, batch_size=batch_size, evaluate_every=n_steps, save_every=n_steps
        )
        run = Run.create(recipe, self.place / "runs")
        steps = Steps(self.case.warmup)
        fit(self.task, run, self.prepared, device="cpu", progress=harness.StepProgress(steps, "train"))
        chosen = run.recipe().loop
        self.recipe = self.recipe.replace(
            "loop", precision=chosen.precision, layout=chosen.layout, threads=chosen.threads
        )
        return steps.rate(batch_size)

    def ceiling(self, batch_size: int, n_steps: int) -> float:
        """Samples per second where a step is nothing but forward, backward and AdamW on one batch that is ready."""
        table = self.prepared.tables["train"]
        batch = self.task.collate(table.slice(torch.arange(batch_size) % len(table)))
        with with_threads(self.recipe.loop.threads):
            torch.manual_seed(0)
            model = placed(self.task.build_model(self.recipe, self.prepared.processor), self.recipe.loop, "cpu")
            optimizer = make_optimizer(model.train(), self.task.parts(model), self.recipe.optim)
            steps = Steps(self.case.warmup)
            for _ in range(n_steps):
                with arithmetic(self.recipe.loop, "cpu"):
                    loss = functional.cross_entropy(model(batch["pixel_values"]), batch["labels"])
                for param in model.parameters():
                    param.grad = None
                loss.backward()
                optimizer.step(plain.LR, None)
                steps.tick()
        return steps.rate(batch_size)


def measure(options: harness.Options) -> Result:
    """All cases, each against its peers by turns."""
    result = Result(
        name="peers",
        title="The loop beside its peers",
        about=(
            "Samples per second in training, the start not counted. DataLoader + PIL opens PNG or JPEG files one at a "
            "time; Lightning (barebones) and the Trainer (no logging, no checkpoints) get the pictures as one float "
            "tensor in memory, which is kind to them. The MLP is that of Lightning's MNIST tutorial (784-64-64-10), the "
            "wide MLP (784-256-128-10) shows how the difference shrinks where arithmetic takes more of the time; both "
            "run in fp32 on one thread on all sides. The convolutional networks run with what Ouvroir's probe chose "
            "against fp32 with the same number of threads. Everyone uses fused AdamW without clipping. Bare steps are forward, "
            "backward and AdamW on one batch that is ready, in Ouvroir's arithmetic, and nothing else: their ratio to a "
            "peer is about the most that a loop around this network can reach. A peer gets the "
            "better of 0 and 2 worker processes; with workers it takes more cores than Ouvroir, so that the ratio "
            "without workers is told, too."
        ),
        seeds=[0],
        settings={"rounds": 1 if options.is_quick else ROUNDS, "warm-up": "not counted"},
    )
    with harness.workplace() as place:
        for case, folder in cases(place, is_quick=options.is_quick):
            compare(result, case, folder, place, is_quick=options.is_quick)
    return result


def cases(place: Path, *, is_quick: bool) -> list[tuple[Case, Path]]:
    """The networks with their pictures, written as files."""
    fp32 = {"precision": "fp32", "layout": "contiguous", "threads": 1}
    large_px, large_batch = (64, 8) if is_quick else (224, 32)
    mnist = datasets.write_mnist(place / "mnist", n_train=800 if is_quick else datasets.MNIST_TRAIN)
    small = datasets.write_clothing(place / "clothes32", px=32, n=200 if is_quick else 3000)
    large = datasets.write_clothing(place / "clothes224", px=large_px, n=60 if is_quick else 500, suffix="jpg")
    narrow = Case("MLP", "benchmarks.tasks:Mlp", networks.mlp, "L", 28, fp32, {64: (6, 2, 2.5), 256: (6, 1.5, 2)})
    wide = Case(
        "wide MLP", "benchmarks.tasks:WideMlp", networks.wide_mlp, "L", 28, fp32, {64: (6, 2, 2.5), 256: (6, 1.5, 2)}
    )
    compact = Case(
        "compact network at 32 px", "image-classification", None, "RGB", 32, {}, {64: (2, 2, 2)}, warmup=3, trial=5
    )
    resnet = Case(
        f"ResNet-18 at {large_px} px",
        "benchmarks.tasks:ResNet18",
        networks.resnet18,
        "RGB",
        large_px,
        {},
        {large_batch: (2, 2, 2)},
        warmup=1,
        seconds=15.0,
        rounds=3,
        trial=3,
    )
    return [(narrow, mnist), (wide, mnist), (compact, small), (resnet, large)]


def compare(result: Result, case: Case, folder: Path, place: Path, *, is_quick: bool) -> None:
    """One network at each of its batch sizes: choose workers and numbers of steps, then by turns."""
    ours = Ours(case, folder, place)
    files, labels, _ = datasets.files_of(folder)
    pictures = plain.PilPictures(files, labels, px=case.px, mode=case.mode)
    in_memory, rows = plain.tensors(pictures)
    data = dict(zip(PEERS, (pictures, in_memory, rows), strict=True))
    seconds, rounds = (0.3, 1) if is_quick else (case.seconds, case.rounds)
    for batch_size, least in case.least.items():
        harness.say(f"{case.name}, batch {batch_size}")
        trial = case.warmup + (2 if is_quick else case.trial)
        least_steps = 2 if is_quick else 5
        guess = ours.rate(batch_size, trial)
        loop = ours.recipe.loop
        sides = {
            "Ouvroir": partial(ours.rate, batch_size, _steps(guess, batch_size, seconds, case.warmup, least_steps)),
            CEILING: partial(ours.ceiling, batch_size, _steps(guess, batch_size, seconds, case.warmup, least_steps)),
        }
        one_core: dict[str, float] = {}
        for name in PEERS:
            train = partial(_peer_rate, name, ours.network, data[name], batch_size, case.warmup, loop.threads)
            rates = {n_workers: train(n_workers, trial) for n_workers in (WORKERS[:1] if is_quick else WORKERS)}
            best = max(rates, key=rates.__getitem__)
            steps = _steps(rates[best], batch_size, seconds, case.warmup, least_steps)
            sides[name] = partial(train, best, steps)
            if best:
                one_core[name] = best
                steps = _steps(rates[0], batch_size, seconds, case.warmup, least_steps)
                sides[f"{name}, no workers"] = partial(train, 0, steps)
        choice = f"{loop.precision}, {loop.layout}, {loop.threads} thread{'s' * (loop.threads != 1)}"
        _report(result, f"{case.name}, batch {batch_size}", choice, harness.alternate(sides, rounds), one_core, least)


def _report(
    result: Result,
    what: str,
    choice: str,
    rates: dict[str, list[float]],
    best_workers: dict[str, int],
    least: tuple[float, float, float] | None,
) -> None:
    for name, values in rates.items():
        note = (
            f" ({choice})" if name == "Ouvroir" else f", {best_workers[name]} workers" if name in best_workers else ""
        )
        result.add(f"{what}: {name}{note}", harness.Spread.of(values), "samples/s")
    for name, goal in zip(PEERS, least or (None, None, None), strict=True):
        best = "best of 0 and 2 workers of " if name in best_workers else ""
        result.add(
            f"{what}: Ouvroir / {best}{name}", harness.ratio(rates["Ouvroir"], rates[name]), "times", at_least=goal
        )
        result.add(f"{what}: {CEILING} / {best}{name}", harness.ratio(rates[CEILING], rates[name]), "times")
        alone = f"{name}, no workers"
        if alone in rates:
            result.add(f"{what}: Ouvroir / {alone}", harness.ratio(rates["Ouvroir"], rates[alone]), "times")


def _peer_rate(
    name: str,
    make: Callable[[], nn.Module],
    data: Any,
    batch_size: int,
    warmup: int,
    threads: int,
    n_workers: int,
    n: int,
) -> float:
    torch.manual_seed(0)
    steps = Steps(warmup)
    with with_threads(threads):
        TRAIN[name](make(), data, batch_size, n_workers, n, steps)
    return steps.rate(batch_size)


def _steps(rate: float, batch_size: int, seconds: float, warmup: int, least: int) -> int:
    """The warm-up and steps that take about so many seconds."""
    return warmup + max(least, round(rate * seconds / batch_size))


if __name__ == "__main__":
    harness.run(measure)
