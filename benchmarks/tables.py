"""Turns benchmarks/results/*.json into docs/benchmarks/README.md, so that no figure there is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, Line, number

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "README.md"
HEAD = """# Measurements

Each figure below was measured by a script in `benchmarks/` that runs both sides in one process run, by turns where it
measures speed. This page is written by `python -m benchmarks.tables` from `benchmarks/results/*.json`; nobody types a
figure. Speeds depend on the machine, so compare within a table; `make bench` measures them on yours.

| script | compares | takes |
| --- | --- | --- |
| `python -m benchmarks.loop` | the loop with a bare loop around the same model | minutes |
| `python -m benchmarks.peers` | samples per second with DataLoader + PIL, Lightning and the Trainer of transformers | 20 min |
| `python -m benchmarks.packing` | check and pack with PIL in a loop; the second start; memory at 100,000 pictures | 10 min |
| `python -m benchmarks.mnist` | accuracy in 3 minutes, and time to 99 %, with PyTorch's MNIST example | 20 min |
| `python -m benchmarks.clothing` | photographs in 10 minutes from nothing with a plain loop and cheap baselines | 25 min a seed |
| `python -m benchmarks.optimisers` | Muon with AdamW: equal steps, equal time, time of a step | 1 to 2 h |
| `python -m benchmarks.generator` | training and sampling of the flow with a plain script around the same network | 6 min |
| `python -m benchmarks.kinds` | quality of the flow and the adversarial generator after equal time | 6 min |
| `python -m benchmarks.trials` | a whole trial with the same trainings in a plain script | 15 min |
| `python -m benchmarks.constants` | each constant with its ordinary value, on two data sets | 40 min |
| `python -m benchmarks.verdicts_digits` | what the trial says of synthetic digits, by generator and size | 1 h |
| `python -m benchmarks.verdicts_mnist`, `.verdicts_clothing` | the same for MNIST and for clothes at 32 px | 1 h each |
| `python -m benchmarks.texts` | topics of French paragraphs with TF-IDF and logistic regression | 20 min |
| `python -m benchmarks.sounds` | spoken digits, known and new speakers, with an SVM on cepstra | 12 min |
| `python -m benchmarks.videos` | moving shapes in scenes not seen, with the motion of places and without; controls | 5 min |
| `python -m benchmarks.media` | texts, sounds, videos: with a plain loop and the usual DataLoader; bf16 | 10 min |
| `python -m benchmarks.memory` | memory on more than 4 GB of sounds and of videos | 12 min |
| `python -m benchmarks.clips` | made clips in the eyes of a classifier that saw none | 5 min |
| `python -m benchmarks.verdicts_texts`, `.verdicts_sounds`, `.verdicts_videos` | the same for other media | 25 min each |

`python -m benchmarks` runs all of them, `--quick` makes a smoke run of a minute that keeps no figures, and `--seeds N`
repeats trainings more often. They need `pip install 'ouvroir[all,bench]'` and the folder of the data sets (mnist,
clothing10, piaf_topics_fr, fsdd) in the environment variable OUVROIR_TEST_DATA.

Goals stand in the table whether they are met or not. What bounds the ratios to other trainers, and what was tried, is told in
[decision 8](../decisions/0008-what-bounds-a-ratio-to-peers.md) and, for texts, sounds and videos,
[decision 13](../decisions/0013-what-bounds-the-ratios-of-other-media.md).
"""


def main() -> None:
    """Write the page."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(results), encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE.name}.")


def page(results: list[dict[str, Any]]) -> str:
    """The whole page in Markdown."""
    return "\n".join([HEAD, *_goals(results), *(section(result) for result in results)])


def _goals(results: list[dict[str, Any]]) -> list[str]:
    rows = [
        f"| [{result['title']}](#{_anchor(result['title'])}) | {line['what']} | {line['goal']} | {_value(line)} | "
        f"{'yes' if line['is_met'] else '**no**'} |"
        for result in results
        for line in result["lines"]
        if line["goal"]
    ]
    if not rows:
        return []
    return [
        "## Goals",
        "",
        "| measurement | figure | goal | measured | met |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
    ]


def section(result: dict[str, Any]) -> str:
    """One benchmark: what it compares, when and where it was measured, and its figures."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        f"## {result['title']}",
        "",
        result["about"],
        "",
        f"`python -m benchmarks.{result['name']}`, {result['date']}; {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB; Python {machine['python']}, {versions}.",
    ]
    details = [f"{name} {value}" for name, value in result.get("settings", {}).items()]
    if result.get("seeds"):
        details.append("seeds " + ", ".join(str(seed) for seed in result["seeds"]))
    if details:
        lines += ["", "Settings: " + "; ".join(details) + "."]
    lines += ["", f"| figure | value | {result['spread']} | n | goal |", "| --- | --- | --- | --- | --- |"]
    for line in result["lines"]:
        spread = f"{number(line['low'])} to {number(line['high'])}" if line["low"] is not None else ""
        goal = f"{line['goal']}: {'met' if line['is_met'] else '**not met**'}" if line["goal"] else ""
        lines.append(f"| {line['what']} | {_value(line)} | {spread} | {line['n']} | {goal} |")
    return "\n".join([*lines, ""])


def _value(line: dict[str, Any]) -> str:
    made = Line(**line)
    return number(made.value) if made.value is None else f"{number(made.value)} {made.unit}".rstrip()


def _anchor(title: str) -> str:
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -")
    return kept.replace(" ", "-")


if __name__ == "__main__":
    main()
