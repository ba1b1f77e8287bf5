"""Runs all measurements one after the other, each in a process of its own, and prints the list of goals.

`python -m benchmarks [NAME ...] [--quick] [--seeds N]`; then writes docs/benchmarks/README.md anew, unless quick.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import tables
from benchmarks.harness import RESULTS, Line, say, sentence

ALL = ("loop", "peers", "packing", "mnist", "clothing", "optimisers", "generator", "kinds", "trials", "constants")
ALL += (
    "verdicts_digits",
    "verdicts_mnist",
    "verdicts_clothing",
    "texts",
    "sounds",
    "videos",
    "media",
    "memory",
    "clips",
    "language",
    "language_speed",
    "language_constants",
    "waiting",
)
ALL += ("verdicts_texts", "verdicts_sounds", "verdicts_videos")
ROOT = Path(__file__).parent.parent


def main() -> int:
    """Run those named, or all. Returns 1 when one could not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; by default all")
    parser.add_argument("--quick", action="store_true", help="smoke runs of seconds, which keep no figures")
    parser.add_argument("--seeds", type=int, help="how many seeds, where a training is repeated")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in ALL]
    if unknown:
        parser.error(f"there is no benchmark `{unknown[0]}`; there are {', '.join(ALL)}")
    names = given.names or [name for name in ALL if importlib.util.find_spec(f"benchmarks.{name}")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if given.quick else RESULTS
        failed = [name for name in names if _run(name, folder, given)]
        _print_goals([folder / f"{name}.json" for name in names if name not in failed])
    if not given.quick:
        tables.main()
    for name in failed:
        say(f"{name} could not be measured; what it said is above.")
    return 1 if failed else 0


def _run(name: str, folder: Path, given: argparse.Namespace) -> int:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--results", str(folder)]
    command += ["--quick"] if given.quick else []
    command += ["--seeds", str(given.seeds)] if given.seeds else []
    say(f"\n== {name}")
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _print_goals(paths: list[Path]) -> None:
    say("\n== goals")
    for path in paths:
        for value in json.loads(path.read_text(encoding="utf-8"))["lines"]:
            if value["goal"]:
                say(sentence(Line(**value)))


if __name__ == "__main__":
    sys.exit(main())
