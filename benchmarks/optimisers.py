"""Muon beside AdamW on the compact network: accuracy after equal steps and after equal time, and the time of a step.

Each optimiser gets the learning rate of a small grid that is best on validation rows; the test rows see the outcome only.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import datasets, harness
from benchmarks.harness import Options, Result, Steps, say
from ouvroir import planning, workflow
from ouvroir.media import find_task
from ouvroir.options import Training, Workplace
from ouvroir.progress import QUIET
from ouvroir.run import Run

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.recipe import Recipe
    from ouvroir.task import Answers
    from ouvroir.training.course import Prepared

NAMES = ("adamw", "muon")
TITLES = {"adamw": "AdamW", "muon": "Muon"}
RATES = (0.3, 1.0, 3.0)  # times the rate that the recipe proposes, for AdamW; Muon's is scaled to need the same
STEPS = 1500
N_LOOKS = 10  # validations of one training; the best checkpoint is kept, as always
SPEED_STEPS, WARMUP, ROUNDS = 60, 10, 5


def measure(options: Options) -> Result:
    """Digits and clothes: a rate for each optimiser, time of a step by turns, then the trainings of every seed."""
    seeds = options.seeds_or(3)
    result = Result(
        name="optimisers",
        title="Muon beside AdamW",
        about=(
            "The compact network of the recipe from nothing, batch, schedule, augmentation and arithmetic alike. Muon moves "
            "the kernels between stem and head, AdamW the rest. Rates: each of three for each optimiser, seed 0, the best "
            "on validation rows. Equal time: AdamW's steps divided by how much longer a step of Muon takes. Differences "
            "are paired, on the same test pictures."
        ),
        spread="lowest and highest of rounds or seeds, or 95 % interval",
        seeds=seeds,
        settings={"steps": STEPS, "rates": f"{RATES} times the proposed one", "validations": N_LOOKS},
    )
    with harness.workplace() as folder:
        for name, source, settings in _data(folder, is_quick=options.is_quick):
            say(name)
            trial = Trial.prepare(name, source, settings, folder / "runs", is_quick=options.is_quick)
            compare_optimisers(result, trial, seeds, is_quick=options.is_quick)
    return result


def _data(folder: Path, *, is_quick: bool) -> list[tuple[str, Path, dict[str, str]]]:
    """Name, files and settings of each set of pictures."""
    n_train, n_test = (300, 60) if is_quick else (datasets.MNIST_TRAIN, 2000)
    clothes = datasets.write_few_clothes(folder / "few.zip") if is_quick else datasets.clothing_zip()
    return [
        ("MNIST", datasets.write_mnist(folder / "mnist", n_train=n_train, n_test=n_test), {"data.validation": "0.1"}),
        ("clothing10", clothes, {"options.storage_px": "64"}),
    ]


@dataclass(frozen=True)
class Trial:
    """One set of pictures, ready to train on, and the recipe that all trainings share but for optimiser, steps and seed."""

    name: str
    recipe: Recipe
    manifest: Manifest
    prepared: Prepared
    runs: Path

    @classmethod
    def prepare(cls, name: str, source: Path, settings: dict[str, str], runs: Path, *, is_quick: bool) -> Trial:
        """Check and pack the files, and let one short training settle the arithmetic for all."""
        steps = 4 if is_quick else STEPS
        preset = "tiny" if is_quick else "small"
        settings = settings | {"loop.patience": "0", "loop.steps": str(steps), "loop.save_every": str(steps)}
        recipe, manifest = planning.plan_training(Training(source, preset=preset, settings=settings), Workplace())
        recipe = recipe.replace("loop", minutes=None, evaluate_every=max(1, steps // N_LOOKS))
        task = find_task(recipe.task)
        trial = cls(
            name, recipe, manifest, workflow.prepare(task, manifest, recipe, workers=None, progress=QUIET), runs
        )
        chosen = trial.train("adamw", recipe.optim.lr, 2, seed=0).recipe().loop
        say(f"  {chosen.precision}, {chosen.layout}, {chosen.threads} threads; rate {recipe.optim.lr:g}")
        settled = {one: getattr(chosen, one) for one in ("precision", "layout", "threads", "micro_batch")}
        return replace(trial, recipe=recipe.replace("loop", **settled))

    def train(self, optimiser: str, lr: float, steps: int, *, seed: int, progress: Any = QUIET) -> Run:
        """One training to its end."""
        from ouvroir.training.loop import fit

        recipe = self.recipe.replace("optim", name=optimiser, lr=lr)
        every = min(steps, recipe.loop.evaluate_every or steps)
        recipe = recipe.replace("loop", steps=steps, seed=seed, evaluate_every=every, save_every=steps)
        run = Run.create(recipe, self.runs)
        fit(find_task(recipe.task), run, self.prepared, device="cpu", progress=progress)
        return run

    def answers(self, run: Run, split: str) -> Answers:
        """What the best checkpoint answers on one split."""
        from ouvroir.evaluation.evaluate import evaluate
        from ouvroir.training.checkpoint import load_model

        task = find_task(self.recipe.task)
        model, processor, recipe = load_model(task, run.checkpoint("best"))
        return evaluate(task, model, processor, recipe, self.prepared.tables[split], device="cpu", progress=QUIET)

    def step_ms(self, optimiser: str, n_steps: int) -> float:
        """Milliseconds of one step, the start not counted."""
        steps = Steps(min(WARMUP, n_steps // 2))
        self.train(optimiser, self.recipe.optim.lr, n_steps, seed=0, progress=harness.StepProgress(steps, "train"))
        return 1000 / steps.rate(1)


def compare_optimisers(result: Result, trial: Trial, seeds: list[int], *, is_quick: bool) -> None:
    """All figures of one set of pictures."""
    rounds, n_steps = (1, 6) if is_quick else (ROUNDS, SPEED_STEPS)
    steps = trial.recipe.loop.steps or STEPS
    times = harness.alternate({TITLES[one]: partial(trial.step_ms, one, n_steps) for one in NAMES}, rounds)
    for title, values in times.items():
        result.add(f"{trial.name}: one step of {title}", harness.Spread.of(values), "ms")
    slower = harness.ratio(times["Muon"], times["AdamW"])
    result.add(f"{trial.name}: time of a step, Muon / AdamW", slower, "times")
    rates = {one: choose_rate(result, trial, one, steps) for one in NAMES}
    fewer = max(1, round(steps / max(1.0, slower.median)))
    cases = {
        "AdamW": ("adamw", steps),
        f"Muon, equal steps ({steps})": ("muon", steps),
        f"Muon, equal time ({fewer} steps)": ("muon", fewer),
    }
    found: dict[str, list[Answers]] = {
        title: [trial.answers(trial.train(one, rates[one], n, seed=seed), "test") for seed in seeds]
        for title, (one, n) in cases.items()
    }
    for title, answers in found.items():
        _add_accuracy(result, f"{trial.name}: {title}", answers)
    for title in list(cases)[1:]:
        _add_difference(result, f"{trial.name}: {title}, minus AdamW", found["AdamW"], found[title], seeds)


def choose_rate(result: Result, trial: Trial, optimiser: str, steps: int) -> float:
    """The rate of the grid with the best accuracy on validation rows; of equal ones that with the lower loss."""
    from ouvroir.evaluation.metrics import measure as measure_answers

    judged: dict[float, tuple[float, float]] = {}
    for factor in RATES:
        lr = factor * trial.recipe.optim.lr
        answers = trial.answers(trial.train(optimiser, lr, steps, seed=0), "validation")
        metrics = measure_answers(["accuracy", "nll"], answers)
        judged[lr] = (metrics["accuracy"].value, -metrics["nll"].value)
        interval = (100 * metrics["accuracy"].low, 100 * metrics["accuracy"].high)
        what = f"{trial.name}: {TITLES[optimiser]} at rate {lr:.3g}, on validation"
        result.add(what, 100 * metrics["accuracy"].value, "%", interval=interval, n=metrics["accuracy"].n)
    chosen = max(judged, key=lambda lr: judged[lr])
    at_edge = ", at the edge of the grid" if chosen in (min(judged), max(judged)) else ""
    result.settings = {**result.settings, f"{TITLES[optimiser]}'s rate on {trial.name}": f"{chosen:.3g}{at_edge}"}
    return chosen


def _add_accuracy(result: Result, what: str, answers: list[Answers]) -> None:
    """Mean test accuracy over the seeds with its spread, and each seed's own with its interval."""
    from ouvroir.evaluation.metrics import measure as measure_answers

    found = [measure_answers(["accuracy"], one)["accuracy"] for one in answers]
    values = [100 * one.value for one in found]
    result.add(
        f"{what}, mean of the seeds", statistics.mean(values), "%", interval=(min(values), max(values)), n=len(values)
    )
    for seed, one in zip(result.seeds, found, strict=True):
        result.add(f"{what}, seed {seed}", 100 * one.value, "%", interval=(100 * one.low, 100 * one.high), n=one.n)


def _add_difference(result: Result, what: str, first: list[Answers], second: list[Answers], seeds: list[int]) -> None:
    """The paired difference of test accuracy, for each seed."""
    from ouvroir.evaluation.compare import compare

    for seed, a, b in zip(seeds, first, second, strict=True):
        gap = compare(a, b, metric="accuracy").difference
        result.add(f"{what}, seed {seed}", 100 * gap.value, "points", interval=(100 * gap.low, 100 * gap.high), n=gap.n)


if __name__ == "__main__":
    harness.run(measure)
