"""Training and sampling speed of the flow generator beside a plain script with the same network.

The plain script holds the pictures in memory, draws noise and times from torch's generator, and does nothing else: no logs,
checks, checkpoints, fixed order or samples that are the same whatever is asked for beside them.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import datasets, harness
from benchmarks.harness import Options, Result, Steps
from ouvroir.progress import QUIET
from ouvroir.training.device import arithmetic, place, threads
from ouvroir.training.optim import rate

ROUNDS = 7
SECONDS = 8.0  # of one measurement of training
WARMUP = 5
LEAST = 0.97
N_MADE = 256


class Ours:
    """Ouvroir's loop on the real pack of a folder, with the recipe that it proposes."""

    def __init__(self, folder: Path, place: Path) -> None:
        from ouvroir import api, planning, workflow
        from ouvroir.media import find_task

        self.place = place
        self.task: Any = find_task("image-generation")
        manifest = api.check(folder, task=self.task.name)
        proposed, _ = planning.propose_recipe(
            self.task, manifest, {"loop.threads": 1}, preset="small", init_from="scratch", progress=QUIET
        )
        self.recipe = proposed
        self.prepared = workflow.prepare(self.task, manifest, proposed, workers=None, progress=QUIET)

    def rate(self, n_steps: int) -> float:
        """Samples per second over the steps after the warm-up, seen from outside. Keeps what the probe chose."""
        from ouvroir.run import Run
        from ouvroir.training.course import Prepared
        from ouvroir.training.loop import fit

        recipe = self.recipe.replace("loop", steps=n_steps, evaluate_every=n_steps, save_every=n_steps)
        run = Run.create(recipe, self.place / "runs")
        steps = Steps(WARMUP)
        data = Prepared(self.prepared.processor, {"train": self.prepared.tables["train"]})
        fit(self.task, run, data, device="cpu", progress=harness.StepProgress(steps, "train"))
        chosen = run.recipe().loop
        self.recipe = self.recipe.replace(
            "loop", precision=chosen.precision, layout=chosen.layout, micro_batch=chosen.batch_size
        )
        return steps.rate(chosen.batch_size)

    def made_rate(self) -> float:
        """Pictures per second, as PNG in memory."""
        from ouvroir.generating import as_trained

        labels = self.labels()
        model = self.network().eval()
        with threads(1):
            start = time.perf_counter()
            found = self.task.make(model, self.prepared.processor, self.recipe, labels, seed=0, device="cpu")
            n = sum(1 for _ in as_trained(found, model, self.recipe, "cpu"))
            return n / (time.perf_counter() - start)

    def labels(self) -> list[str]:
        """A class for each picture that is made."""
        known = self.prepared.processor.labels
        return [known[number % len(known)] for number in range(N_MADE)]

    def network(self) -> nn.Module:
        """The network, its weights new: how fast it is does not depend on them."""
        torch.manual_seed(0)
        model: nn.Module = self.task.build_model(self.recipe, self.prepared.processor)
        return model


def plain_rate(ours: Ours, n_steps: int) -> float:
    """Samples per second of the plain training script, in Ouvroir's arithmetic."""
    recipe, table = ours.recipe, ours.prepared.tables["train"]
    batch = ours.task.collate(table.slice(torch.arange(len(table))))
    pixels, classes = batch["pixel_values"], batch["labels"]
    n_classes, dropout = len(ours.prepared.processor.labels), recipe.options.label_dropout
    with threads(1):
        model = place(ours.network(), recipe.loop, "cpu").train()
        params = list(model.parameters())
        averaged = [param.detach().clone() for param in params]
        optimizer = torch.optim.AdamW(params, lr=recipe.optim.lr, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
        size, steps = recipe.loop.batch_size, Steps(WARMUP)
        order, start = torch.randperm(len(pixels)), 0
        for step in range(n_steps):
            if start + size > len(order):
                order, start = torch.randperm(len(pixels)), 0
            rows = order[start : start + size]
            start += size
            x = pixels[rows].float() / 127.5 - 1
            noise, times = torch.randn_like(x), torch.rand(len(x))
            known = torch.where(torch.rand(len(x)) < dropout, n_classes, classes[rows])
            t = times[:, None, None, None]
            with arithmetic(recipe.loop, "cpu"):
                velocity = model((1 - t) * noise + t * x, times, functional.one_hot(known, n_classes + 1).float())
            loss = functional.mse_loss(velocity.float(), x - noise)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, recipe.optim.max_grad_norm)
            optimizer.param_groups[0]["lr"] = rate(recipe.optim, step, n_steps)
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(averaged, params, 1 - recipe.optim.ema)
            steps.tick()
    return steps.rate(size)


@torch.no_grad()
def plain_made_rate(ours: Ours, at_once: int) -> float:
    """Pictures per second of the plain sampling script: Heun's method, `at_once` at a time, PNG in memory."""
    processor: Any = ours.prepared.processor
    model = place(ours.network(), ours.recipe.loop, "cpu").eval()
    known = processor.labels
    labels = torch.tensor([known.index(label) for label in ours.labels()])
    with threads(1), arithmetic(ours.recipe.loop, "cpu"):
        start = time.perf_counter()
        for first in range(0, len(labels), at_once):
            some = functional.one_hot(labels[first : first + at_once], len(known) + 1).float()
            x = torch.randn(len(some), processor.n_channels, processor.storage_px, processor.storage_px)
            for picture in _pixels(_flow(model, x, some, ours.recipe.options.sample_steps)):
                Image.fromarray(picture.squeeze(-1).numpy()).save(io.BytesIO(), "PNG")
        return len(labels) / (time.perf_counter() - start)


def _flow(model: nn.Module, x: Tensor, labels: Tensor, n_steps: int) -> Tensor:
    for now, then in pairwise(torch.linspace(0, 1, n_steps + 1)):
        first = model(x, now.expand(len(x)), labels)
        if then < 1:
            second = model(x + (then - now) * first, then.expand(len(x)), labels)
            first = (first + second) / 2
        x = x + (then - now) * first
    return x


def _pixels(x: Tensor) -> Tensor:
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


def measure(options: Options) -> Result:
    """Digits of 8 px and clothes of 32 px, by turns."""
    import ouvroir

    result = Result(
        name="generator",
        title="The generator beside a plain script",
        about=(
            "Training of the flow generator and sampling from it, in samples per second on one thread, the start not counted. "
            "The plain script has the same network, batch, arithmetic, layout, fused AdamW, one-cycle, clipping and averaged "
            "weights, and samples by the same method in pieces of the same size, PNG in memory."
        ),
        seeds=[0],
        settings={"rounds": 1 if options.is_quick else ROUNDS, "warm-up": "not counted"},
    )
    seconds, rounds = (0.5, 1) if options.is_quick else (SECONDS, ROUNDS)
    with harness.workplace() as folder:
        ouvroir.sample("image-classification", folder / "digits")
        clothes = datasets.write_clothing(folder / "clothes32", px=32, n=200 if options.is_quick else 1000)
        for name, pictures in (("digits, 8 px", folder / "digits"), ("clothes, 32 px", clothes)):
            compare(result, name, Ours(pictures, folder), seconds, rounds)
    return result


def compare(result: Result, name: str, ours: Ours, seconds: float, rounds: int) -> None:
    """One set of pictures: a trial for the number of steps, then by turns."""
    from ouvroir.media.image.making import AT_ONCE

    harness.say(name)
    guess = ours.rate(WARMUP + 10)
    n_steps = WARMUP + max(10, round(guess * seconds / ours.recipe.loop.batch_size))
    for what, sides in (
        ("training", {"Ouvroir": partial(ours.rate, n_steps), "plain script": partial(plain_rate, ours, n_steps)}),
        ("sampling", {"Ouvroir": ours.made_rate, "plain script": partial(plain_made_rate, ours, AT_ONCE)}),
    ):
        _compare(result, f"{name}, {what}", sides, rounds, ours)


def _compare(result: Result, what: str, sides: dict[str, Callable[[], float]], rounds: int, ours: Ours) -> None:
    rates = harness.alternate(sides, rounds)
    loop = ours.recipe.loop
    for side, values in rates.items():
        result.add(f"{what}: {side} ({loop.precision}, {loop.layout})", harness.Spread.of(values), "samples/s")
    ratio = harness.ratio(rates["Ouvroir"], rates["plain script"])
    result.add(f"{what}: Ouvroir / plain script", ratio, "times", at_least=LEAST)


if __name__ == "__main__":
    harness.run(measure)
