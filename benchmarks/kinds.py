"""Precision, recall, density and coverage of the flow and the adversarial generator after equal minutes on one core."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import harness
from benchmarks.harness import Options, Result, Spread
from benchmarks.verdicts import GENERATORS
from ouvroir.evaluation import sets
from ouvroir.training.device import threads

PER_CLASS = 40
MINUTES = 1.0
SEEDS = 3
NAMES = ("precision", "recall", "density", "coverage")


def measure(options: Options) -> Result:
    """Scikit-learn's digits, 40 of each class; judged by as many others."""
    import ouvroir

    result = Result(
        name="kinds",
        title="Two kinds of generator",
        about=(
            f"Each learns from 400 of scikit-learn's digits for {MINUTES:g} minute on one thread, with the recipe that Ouvroir "
            "proposes, and makes 400, which are compared by their pixels with 400 digits that neither learned from (5 "
            "neighbours; Kynkäänniemi 2019, Naeem 2020). Real: the 400 that were learned from in the place of samples, the "
            "most that can be expected. The defaults of the adversarial generator were chosen on these digits, so that its "
            "figures may flatter."
        ),
        seeds=list(range(options.seeds or SEEDS)),
        settings={"minutes": MINUTES, "threads": 1},
    )
    n_seeds = 1 if options.is_quick else options.seeds or SEEDS
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with harness.workplace() as place:
        ouvroir.sample("image-classification", place / "digits")
        for seed in range(n_seeds):
            for kind, task in GENERATORS.items():
                for name, value in one(place, task, seed, is_quick=options.is_quick).items():
                    found[kind, name].append(value)
    for name in NAMES:
        for kind in GENERATORS:
            result.add(f"{name}, {kind}", Spread.of(found[kind, name]), "")
        result.add(f"{name}, real", Spread.of(found["flow", f"real {name}"]), "")
    for kind in GENERATORS:
        result.add(f"sampling, {kind}", Spread.of(found[kind, "rate"]), "samples/s")
    return result


def one(place: Path, task: str, seed: int, *, is_quick: bool) -> dict[str, float]:
    """One generator, its samples and their scores."""
    import ouvroir
    from ouvroir import workflow
    from ouvroir.run import Run

    settings: dict[str, Any] = {
        "data.per_class": PER_CLASS,
        "data.validation": 0.2,
        "data.seed": seed,
        "loop.threads": 1,
        "loop.seed": seed,
        **({"loop.steps": 20} if is_quick else {"loop.minutes": MINUTES}),
    }
    run = Run(ouvroir.train(place / "digits", task=task, settings=settings, runs=place / "runs").path)
    with threads(1):
        made = ouvroir.generate(run.path, count=PER_CLASS, seed=seed)
    manifest = workflow.manifest_of(run)
    of = {split: [row for row in manifest.rows if row.split == split] for split in ("train", "test")}
    some = np.random.default_rng(seed).permutation(len(of["test"]))[: len(of["train"])]
    unseen = _pixels([Path(manifest.root) / of["test"][place].locator for place in some.tolist()])
    real = _pixels([Path(manifest.root) / row.locator for row in of["train"]])
    reached = {f"real {name}": value for name, value in sets.shape_of(unseen, real).as_dict().items()}
    shape = sets.shape_of(unseen, _pixels(made.files)).as_dict()
    return {"rate": len(made.files) / made.seconds, **shape, **reached}


def _pixels(paths: Sequence[Path]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path).convert("L"), dtype=np.float64).ravel() / 255 for path in paths])


if __name__ == "__main__":
    harness.run(measure)
