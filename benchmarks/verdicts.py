"""What the trial says of each kind of generator on one data set at several sizes, and whether an admission is confirmed.

Labels that were shuffled hold nothing that samples could help with: an admission there would be a false one.

Nothing is tuned to the outcome: base recipe, generator, samples, share and trial are those that `ouvroir prove` takes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Options, Result

GENERATORS = {"flow": "image-generation", "adversarial": "image-generation-adversarial"}
N_CONFIRMATIONS = 3


@dataclass(frozen=True)
class Case:
    """One data set at one size: settings of the base model, minutes of each trial in all, and seeds."""

    name: str
    source: Path
    settings: dict[str, Any]
    minutes: float
    seeds: int = 6
    generators: Mapping[str, str] = field(default_factory=lambda: GENERATORS)


def measure(result: Result, cases: Sequence[Case], options: Options) -> Result:
    """A base model for each case, and a trial for each kind of generator; admissions are repeated on fresh splits."""
    for case in cases[:1] if options.is_quick else cases:
        for kind, task in list(case.generators.items())[: 1 if options.is_quick else None]:
            verdict = one(result, case, kind, task, split=0, is_quick=options.is_quick)
            if verdict == "admitted":
                again = [
                    one(result, case, kind, task, split=1 + number, is_quick=options.is_quick)
                    for number in range(N_CONFIRMATIONS)
                ]
                result.add(
                    f"{case.name}, {kind}: confirmed on fresh splits, of {N_CONFIRMATIONS}", again.count("admitted"), ""
                )
    return result


def one(result: Result, case: Case, kind: str, task: str, *, split: int, is_quick: bool) -> str:
    """One trial. Returns the verdict, `refused` when every sample was."""
    import ouvroir
    from ouvroir.errors import Untried

    settings = {**case.settings, "data.seed": split} | ({"loop.steps": 20} if is_quick else {})
    with harness.workplace() as place:
        run = ouvroir.train(case.source, settings=settings, runs=place / "runs")
        what = f"{case.name}, {kind}" + (f", split {split}" if split else "")
        try:
            proof = ouvroir.prove(run.path, generator=task, seeds=case.seeds, minutes=0.5 if is_quick else case.minutes)
        except Untried as error:
            print(error)
            summaries = [json.loads(path.read_text()) for path in run.path.glob("generator/*/assessment.json")]
            if not summaries:  # it never came to samples
                result.add(f"{what}: not tried, samples made", 0, "")
                return "refused"
            made, kept = (sum(one[name] for one in summaries) for name in ("n_made", "n_kept"))
            result.add(f"{what}: not tried; samples that nothing spoke against, of {made:,}", kept, "")
            return "refused"
    found = proof.found
    for name, arm in found["arms"].items():
        gain = arm["gain"]
        length = (
            f"{found['steps']}"
            if found["steps"] == found["full_steps"]
            else f"{found['steps']} of {found['full_steps']}"
        )
        told = f"{what}: {name}, {arm['verdict']} after {gain['n_seeds']} seeds of {length} steps"
        result.add(
            told, 100 * gain["value"], "points", interval=(100 * gain["low"], 100 * gain["high"]), n=gain["n_items"]
        )
    return str(found["arms"][found["chief"]]["verdict"])


def result_for(name: str, title: str, data: str) -> Result:
    """An empty table."""
    return Result(
        name=name,
        title=title,
        about=(
            f"{data} `ouvroir train`, then `ouvroir prove` for each kind of generator: gain over the ordinary way, paired by "
            "seed and item, 95 % interval over seeds and items. Beside the samples (synthetic: new ones, varied: variations "
            "of rows learned last; whichever did better on validation rows) stand mixtures and repeats of real rows "
            "(interpolation). Arms that are beyond hope end after 4 seeds. Admissions are repeated on fresh splits."
        ),
        spread="95 % interval",
        seeds=[0],
    )


def write_table(path: Path, rows: Sequence[tuple[str, str]], *, what: str, is_shuffled: bool = False) -> Path:
    """(file or text, label) as a table; with `is_shuffled` each row has the label of another, drawn."""
    labels = [label for _, label in rows]
    if is_shuffled:
        labels = [labels[place] for place in np.random.default_rng(0).permutation(len(labels))]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([what, "label"])
        writer.writerows([name, label] for (name, _), label in zip(rows, labels, strict=True))
    return path


def of_medium(
    title: str, name: str, data: str, rows: Sequence[tuple[str, str]], place: Path, options: Options, **how: Any
) -> Result:
    """Two sizes, and the larger one with its labels shuffled. how: generator, preset, `what` of the table, sizes, minutes."""
    result = result_for(name, title, data)
    plain = write_table(place / "plain.csv", rows, what=how["what"])
    mixed = write_table(place / "shuffled.csv", rows, what=how["what"], is_shuffled=True)
    generators = {"generator": how["generator"]}
    most = max(how["sizes"])
    asked = [
        *((f"{n} per class", plain, n) for n in how["sizes"]),
        (f"{most} per class, labels shuffled", mixed, most),
    ]
    cases = [
        Case(name, source, {"model.preset": how["preset"], "data.per_class": n}, how["minutes"], generators=generators)
        for name, source, n in asked
    ]
    return measure(result, cases, options)
