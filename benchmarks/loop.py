"""Samples per second of Ouvroir's loop beside a bare loop: what logging, order, weights, checks and resuming cost.

Both train the same network on the same rows with fused AdamW, a one-cycle schedule, clipping and averaged weights, in the
same arithmetic. The bare loop is thirty lines over tensors in memory and can do nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import datasets, harness, networks, peers
from benchmarks.harness import Result, Steps
from ouvroir.training.device import arithmetic, place
from ouvroir.training.optim import rate

ROUNDS = 5
SECONDS = 5.0  # of one measurement
LEAST = 0.97
EMA = 0.999
MAX_GRAD_NORM = 1.0


def measure(options: harness.Options) -> Result:
    """The MLP at batch 256 and the compact network at batch 64, by turns."""
    result = Result(
        name="loop",
        title="The loop beside a bare loop",
        about=(
            "Samples per second in training, the start not counted. The bare loop: uint8 pictures in memory, one "
            "permutation an epoch, fused AdamW, one-cycle, clip_grad_norm_, averaged weights; no logs, checks or "
            "checkpoints. Same network, arithmetic, layout and threads on both sides, one thread."
        ),
        seeds=[0],
        settings={"rounds": 1 if options.is_quick else ROUNDS, "warm-up": "not counted"},
    )
    seconds, rounds = (0.5, 1) if options.is_quick else (SECONDS, ROUNDS)
    with harness.workplace() as folder:
        for case, pictures, batch_size in cases(folder, is_quick=options.is_quick):
            compare(result, case, pictures, batch_size, folder, seconds, rounds)
    return result


def cases(folder: Path, *, is_quick: bool) -> list[tuple[peers.Case, Path, int]]:
    """Networks with their pictures and batch size."""
    mnist = datasets.write_mnist(folder / "mnist", n_train=800 if is_quick else datasets.MNIST_TRAIN)
    clothes = datasets.write_clothing(folder / "clothes32", px=32, n=200 if is_quick else 3000)
    fp32 = {"precision": "fp32", "layout": "contiguous", "threads": 1}
    fast = {"precision": "auto", "layout": "auto", "threads": 1}
    return [
        (peers.Case("MLP", "benchmarks.tasks:Mlp", networks.mlp, "L", 28, fp32, {}), mnist, 256),
        (
            peers.Case("compact network at 32 px", "image-classification", networks.mlp, "RGB", 32, fast, {}, warmup=3),
            clothes,
            64,
        ),
    ]


def compare(
    result: Result, case: peers.Case, pictures: Path, batch_size: int, folder: Path, seconds: float, rounds: int
) -> None:
    """One network: a trial for the number of steps, then by turns."""
    ours = peers.Ours(case, pictures, folder)
    ours.recipe = ours.recipe.replace("optim", schedule="one-cycle", max_grad_norm=MAX_GRAD_NORM, ema=EMA)
    guess = ours.rate(batch_size, case.warmup + 60)
    n_steps = case.warmup + max(60, round(guess * seconds / batch_size))
    sides: dict[str, Callable[[], float]] = {
        "Ouvroir": partial(ours.rate, batch_size, n_steps),
        "bare loop": partial(bare_rate, ours, batch_size, n_steps),
    }
    harness.say(f"{case.name}, batch {batch_size}")
    rates = harness.alternate(sides, rounds)
    loop = ours.recipe.loop
    for name, values in rates.items():
        what = f"{case.name}, batch {batch_size}: {name} ({loop.precision}, {loop.layout})"
        result.add(what, harness.Spread.of(values), "samples/s")
    found = harness.ratio(rates["Ouvroir"], rates["bare loop"])
    result.add(f"{case.name}, batch {batch_size}: Ouvroir / bare loop", found, "times", at_least=LEAST)


def bare_rate(ours: peers.Ours, batch_size: int, n_steps: int) -> float:
    """Samples per second of the bare loop on the same rows."""
    recipe, table = ours.recipe, ours.prepared.tables["train"]
    batch = ours.task.collate(table.slice(torch.arange(len(table))))
    pixels, labels = batch["pixel_values"], batch["labels"]
    torch.set_num_threads(recipe.loop.threads)
    torch.manual_seed(0)
    model = ours.task.build_model(recipe, ours.prepared.processor)
    ours.task.prepare_model(model, table, recipe)
    place(model, recipe.loop, "cpu")
    steps = Steps(ours.case.warmup)
    train(model, pixels, labels, batch_size, n_steps, steps, recipe)
    return steps.rate(batch_size)


def train(
    model: nn.Module, pixels: Tensor, labels: Tensor, batch_size: int, n_steps: int, steps: Steps, recipe: object
) -> None:
    """The bare loop."""
    model.train()
    params = list(model.parameters())
    averaged = [param.detach().clone() for param in params]
    optimizer = torch.optim.AdamW(params, lr=1e-3, weight_decay=0.01, fused=True)
    order, start = torch.randperm(len(pixels)), 0
    for step in range(n_steps):
        if start + batch_size > len(order):
            order, start = torch.randperm(len(pixels)), 0
        rows = order[start : start + batch_size]
        start += batch_size
        with arithmetic(recipe.loop, "cpu"):
            loss = functional.cross_entropy(model(pixels[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, MAX_GRAD_NORM)
        optimizer.param_groups[0]["lr"] = rate(recipe.optim, step, n_steps)
        optimizer.step()
        torch._foreach_lerp_(averaged, params, 1 - EMA)
        steps.tick()


if __name__ == "__main__":
    harness.run(measure)
