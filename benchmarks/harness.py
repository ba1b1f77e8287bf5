"""What every benchmark shares: both sides by turns, medians with their spread, the machine in words, results as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from ouvroir.system import usable_cores

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one thing: median, lowest, highest and their number."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every side in turn, A B A B ..., so that a slow minute of the machine falls on all of them alike."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name, measure in sides.items():
            values[name].append(measure())
            say(f"  round {turn + 1}/{rounds}  {name}: {values[name][-1]:,.1f}")
    return values


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs: of the medians, with the lowest and highest ratio of one round as spread."""
    by_round = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Spread(statistics.median(ours) / statistics.median(theirs), min(by_round), max(by_round), len(by_round))


@dataclass(frozen=True)
class Line:
    """One measured figure. `goal` is a text such as "at least 6"; `low` and `high` are the spread or the interval."""

    what: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    n: int = 1
    goal: str = ""
    is_met: bool | None = None


@dataclass
class Result:
    """What one benchmark found. `about` says in a few sentences what was compared, `spread` what low and high are."""

    name: str
    title: str
    about: str
    spread: str = "lowest and highest of the repetitions"
    seeds: Sequence[int] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def add(
        self,
        what: str,
        value: float | Spread | None,
        unit: str,
        *,
        interval: tuple[float, float] | None = None,
        n: int = 1,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Note one figure and print it. A value of None means that it was not reached."""
        low, high = interval or (None, None)
        if isinstance(value, Spread):
            value, low, high, n = value.median, value.low, value.high, value.n
        goal, is_met = "", None
        if at_least is not None:
            goal, is_met = f"at least {at_least:g}", value is not None and value >= at_least
        if at_most is not None:
            goal, is_met = f"at most {at_most:g}", value is not None and value <= at_most
        self.lines.append(Line(what, value, unit, low, high, n, goal, is_met))
        say(sentence(self.lines[-1]))

    def save(self, folder: Path = RESULTS) -> Path:
        """Write the result with date and machine."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        value = {**asdict(self), "date": time.strftime("%Y-%m-%d"), "machine": machine()}
        path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return path


def number(value: float | None) -> str:
    """A figure for a person: 38,412  6.14  0.0123  'not reached'."""
    if value is None:
        return "not reached"
    size = abs(value)
    return f"{value:,.0f}" if size >= 1000 else f"{value:.1f}" if size >= 100 else f"{value:.{4 if size >= 10 else 3}g}"


def sentence(line: Line) -> str:
    """One figure as it is printed at the end of a benchmark."""
    text = f"{line.what}: {number(line.value)} {line.unit if line.value is not None else ''}".rstrip()
    if line.low is not None:
        text += f" [{number(line.low)}, {number(line.high)}]"
    if line.goal:
        text += f"   goal {line.goal}: {'met' if line.is_met else 'NOT MET'}"
    return text


def machine() -> dict[str, Any]:
    """Processor, cores, memory and versions; no names of hosts, people or folders."""
    versions = {}
    for name in ("ouvroir", "torch", "numpy", "pillow", "lightning", "transformers", "accelerate"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu_name() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    fields = [line.partition(":") for line in text.splitlines()]
    found = {name.strip(): value.strip() for name, _, value in fields[:40]}
    arithmetic = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in found.get("flags", "")]
    return (
        f"{found.get('model name', platform.processor() or 'unknown')} ({', '.join(arithmetic) or 'no vector units'})"
    )


def say(text: str) -> None:
    """One line on standard output, at once."""
    print(text, flush=True)


@dataclass(frozen=True)
class Options:
    """How a benchmark is run. `seeds` replaces its own number of seeds where it repeats a training."""

    is_quick: bool = False
    seeds: int | None = None

    def seeds_or(self, usual: int) -> list[int]:
        """The seeds 0, 1, ... to use; one in a smoke run."""
        return list(range(1 if self.is_quick else self.seeds or usual))


def run(measure: Callable[[Options], Result], arguments: Sequence[str] | None = None) -> Result:
    """The command line of one benchmark: `--quick` for a smoke run that keeps nothing, `--seeds`, `--results FOLDER`."""
    parser = argparse.ArgumentParser(description=(sys.modules[measure.__module__].__doc__ or "").strip())
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean nothing")
    parser.add_argument("--seeds", type=int, help="how many seeds, where a training is repeated")
    parser.add_argument("--results", type=Path, help="folder for the JSON (by default benchmarks/results; quick: none)")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    start = time.perf_counter()
    with workplace():
        result = measure(Options(given.quick, given.seeds))
    say(f"{result.title}: {time.perf_counter() - start:.0f} s")
    folder = given.results or (None if given.quick else RESULTS)
    if folder:
        say(f"Written to {result.save(folder).name}.")
    return result


@contextmanager
def workplace() -> Iterator[Path]:
    """A temporary folder that also holds Ouvroir's cache, so that nothing prepared earlier helps, and nothing is left."""
    before = os.environ.get("OUVROIR_HOME")
    with tempfile.TemporaryDirectory(prefix="ouvroir-bench-") as folder:
        os.environ["OUVROIR_HOME"] = str(Path(folder) / "home")
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["OUVROIR_HOME"]
            else:
                os.environ["OUVROIR_HOME"] = before


class Steps:
    """Times at which steps ended; the first `warmup` of them are not counted."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.times: list[float] = []

    def tick(self, n: int = 1) -> None:
        """`n` more steps have ended."""
        self.times.extend([time.perf_counter()] * n)

    def rate(self, batch_size: int) -> float:
        """Samples per second after the warm-up. Counts whole calls of `tick`."""
        first, last = self.times[self.warmup], self.times[-1]
        counted = sum(1 for at in self.times if at > first)
        return counted * batch_size / (last - first)


class StepProgress:
    """Ouvroir's Progress that notes when the steps of training ended, seen from outside."""

    def __init__(self, steps: Steps, title: str = "") -> None:
        self.steps = steps
        self.title = title
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def bar(self, title: str, total: int | None, *, start: int = 0) -> Iterator[StepProgress | _NoBar]:
        del total, start
        yield self if self.title in title.lower() else _NoBar()

    def advance(self, n: int = 1, detail: str = "") -> None:
        del detail
        self.steps.tick(n)


class _NoBar:
    def advance(self, n: int = 1, detail: str = "") -> None:
        del n, detail
