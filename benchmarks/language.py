"""Language models: how well they tell Shakespeare after some minutes, and how fast they are fed.

Characters of tiny Shakespeare, the first 90 % to learn from, the last 10 % to judge by, all of it told once.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import datasets, harness
from benchmarks.harness import Options, Result
from benchmarks.packing import FEW, Peak, child_of, told_by
from ouvroir.progress import QUIET

CORPUS_BYTES = 100_000_000
FEW_STEPS = 20
CHARACTERS = {"options.tokenizer": "characters", "data.test": 0}
TRAININGS = (
    ("LSTM", 3.0, 1.50, {"options.network": "lstm"}),
    ("LSTM", 10.0, 1.44, {"options.network": "lstm"}),
    ("Transformer", 3.0, None, {"options.network": "transformer"}),
    ("Transformer", 10.0, 1.60, {"options.network": "transformer"}),
)
"""Network, minutes, the most nats per character that are wanted, and settings."""


def measure(options: Options) -> Result:
    """All of it; 26 minutes of training."""
    result = Result(
        name="language",
        title="Language models",
        about=(
            "Tiny Shakespeare by characters: the first 90 % of 1,115,394 to learn from, the last 10 % to judge by, each of them "
            "told once, windows of 128 that begin 64 apart, in blocks of 8,192. Two threads, time as `loop.minutes` has it: start "
            "and validation are in it. Intervals: Student's t over runs of neighbouring blocks."
        ),
        spread="95 % interval over runs of blocks",
        seeds=[0],
        settings=dict(CHARACTERS),
    )
    with harness.workplace() as folder:
        data = split(folder / "shakespeare")
        ngrams(result, data)
        for name, minutes, most, settings in TRAININGS:
            quality(result, data, folder, name, 0.1 if options.is_quick else minutes, most, settings)
        feeding(result, folder, is_quick=options.is_quick)
    return result


def split(folder: Path) -> Path:
    """The text in two files, called as what they are for."""
    text = (datasets.shared_data() / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    n = int(0.9 * len(text))
    folder.mkdir()
    (folder / "train.txt").write_text(text[:n], encoding="utf-8")
    (folder / "validation.txt").write_text(text[n:], encoding="utf-8")
    return folder


def opened(data: Path, settings: dict[str, Any], preset: str = "small") -> tuple[Any, Any, Any]:
    """Task, recipe and prepared tables."""
    from ouvroir import api, planning, workflow
    from ouvroir.media import find_task

    manifest = api.check(data, settings={name: value for name, value in settings.items() if name.startswith("data.")})
    task: Any = find_task(manifest.task)
    recipe, _ = planning.propose_recipe(task, manifest, settings, preset=preset, init_from="scratch", progress=QUIET)
    return task, recipe, workflow.prepare(task, manifest, recipe, workers=None, progress=QUIET)


def ngrams(result: Result, data: Path) -> None:
    """Kneser-Ney on the same rows; its length is chosen by the rows that it is judged by, to its favour."""
    task, recipe, prepared = opened(data, CHARACTERS)
    tables = {**prepared.tables, "test": prepared.tables["validation"]}
    start = time.perf_counter()
    (cheap,) = task.baselines(tables, prepared.processor, recipe)
    seconds = time.perf_counter() - start
    from ouvroir.evaluation.metrics import measure as measured

    found = measured(("nats_per_character",), cheap.answers)["nats_per_character"]
    result.add(
        f"n-grams ({seconds:.0f} s)", found.value, "nats per character", interval=(found.low, found.high), n=found.n
    )


def quality(
    result: Result, data: Path, folder: Path, name: str, minutes: float, most: float | None, settings: dict[str, Any]
) -> None:
    """One training by the clock, judged on all of the validation split."""
    import ouvroir

    wanted = {**CHARACTERS, **settings, "loop.minutes": minutes}
    run = ouvroir.train(data, settings=wanted, runs=folder / "runs")
    found = (run.read_json("evaluation.json") or {})["validation"]["nats_per_character"]
    what = f"{name}, {minutes:g} minutes"
    interval = (found["low"], found["high"])
    result.add(what, found["value"], "nats per character", interval=interval, n=found["n"], at_most=most)


# --- feeding ----------------------------------------------------------------------------------------------------------


def corpus(path: Path, n_bytes: int) -> Path:
    """Made-up prose of so many bytes: words of the French novels in an order of their own, so that no block repeats another."""
    words = []
    for file in sorted((datasets.shared_data() / "french_novels").glob("*.txt")):
        words += file.read_text(encoding="utf-8").split()
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < n_bytes:
            some = [words[place] for place in rng.integers(0, len(words), 100_000).tolist()]
            file.write("\n".join(" ".join(some[at : at + 12]) for at in range(0, len(some), 12)) + "\n")
    return path


def feeding(result: Result, folder: Path, *, is_quick: bool) -> None:
    """Check, learn pieces of words, cut and pack 100 MB, and a few steps; anonymous memory of all processes together."""
    path = corpus(folder / "corpus.txt", 2_000_000 if is_quick else CORPUS_BYTES)
    megabytes = path.stat().st_size / 1e6
    child = child_of(path, folder, FEW_STEPS, *FEW)
    peak = Peak(child.pid)
    told = told_by(child)
    found = peak.stop()
    what = f"corpus of {megabytes:.0f} MB"
    result.add(f"{what}: check", megabytes / told["checked_s"], "MB/s")
    seconds = told["first_step_s"] - told["checked_s"]
    result.add(f"{what}: learning pieces of words, cutting, packing, to the first step", megabytes / seconds, "MB/s")
    result.add(f"{what}: peak anonymous memory, all processes", found.highest / 1e6, "MB", at_most=1000)


if __name__ == "__main__":
    harness.run(measure)
