"""Preparing pictures: pictures per second beside PIL in a plain loop, the second start, and memory at 100,000 pictures."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import datasets, harness
from benchmarks.harness import Options, Result, say

ROUNDS = 3
STARTS = 5
MANY = 100_000
SAMPLE_S = 0.05
STEPS = 50
FEW = "data.validation=0.01", "data.test=0.01"  # so that the run is about packing and training


def measure(options: Options) -> Result:
    """Speed, second start, memory."""
    n = 500 if options.is_quick else MANY
    result = Result(
        name="packing",
        title="Preparing pictures",
        about=(
            "Speed: clothing10 (3,781 JPEG of up to 224 px in a zip) checked and packed at 128 px from nothing, beside a "
            "plain loop that opens each with PIL, converts, resizes and keeps the array, and does none of the checking. "
            "Second start: a new process on data that were trained on before, from `import ouvroir` to the end of the "
            f"first optimiser step. Memory: check, pack and {STEPS} steps on {n:,} distinct JPEG files of 128 px, "
            "anonymous memory (RssAnon) summed over all processes, looked at every 50 ms."
        ),
        settings={"rounds": 1 if options.is_quick else ROUNDS, "pictures for memory": n},
    )
    with harness.workplace() as place:
        source = datasets.write_few_clothes(place / "few.zip") if options.is_quick else datasets.clothing_zip()
        speed(result, source, rounds=1 if options.is_quick else ROUNDS)
        n_digits = 300 if options.is_quick else 10_000
        digits = datasets.write_mnist(place / "digits", n_train=n_digits)
        second_start(result, f"MNIST, {n_digits:,} PNG files", digits, place, is_quick=options.is_quick)
        if not options.is_quick:
            second_start(result, "clothing10, 3,781 JPEG in a zip", datasets.clothing_zip(), place, is_quick=False)
        memory(result, place, n)
    return result


# --- speed ------------------------------------------------------------------------------------------------------------


def speed(result: Result, source: Path, *, rounds: int) -> None:
    """Check + pack with 1 and 2 workers, and PIL, by turns."""
    with zipfile.ZipFile(source) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
    seconds: dict[str, list[float]] = {"check": [], "pack": []}
    sides = {
        "PIL in a loop": partial(_pil_rate, source, names),
        "check + pack, 1 worker": partial(_our_rate, source, 1, {"check": [], "pack": []}),
        "check + pack, 2 workers": partial(_our_rate, source, 2, seconds),
    }
    rates = harness.alternate(sides, rounds)
    for name, values in rates.items():
        result.add(name, harness.Spread.of(values), "pictures/s")
    for name, values in seconds.items():
        result.add(
            f"{name} alone, 2 workers", harness.Spread.of([len(names) / value for value in values]), "pictures/s"
        )
    for n_workers in ("1 worker", "2 workers"):
        both = harness.ratio(rates[f"check + pack, {n_workers}"], rates["PIL in a loop"])
        result.add(f"check + pack, {n_workers} / PIL in a loop", both, "times")


def _pil_rate(source: Path, names: list[str]) -> float:
    start = time.perf_counter()
    kept = np.empty((len(names), 128, 128, 3), np.uint8)
    with zipfile.ZipFile(source) as archive:
        for place, name in enumerate(names):
            picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            kept[place] = np.asarray(picture.resize((128, 128), Image.Resampling.BILINEAR))
    return len(names) / (time.perf_counter() - start)


def _our_rate(source: Path, n_workers: int, seconds: dict[str, list[float]]) -> float:
    """From nothing: a cache folder of its own."""
    from ouvroir import api, workflow
    from ouvroir.media import find_task
    from ouvroir.progress import QUIET

    with harness.workplace():
        start = time.perf_counter()
        manifest = api.check(source, workers=n_workers)
        task = find_task(manifest.task)
        recipe, _ = task.recipe(manifest, "small")
        checked = time.perf_counter()
        workflow.prepare(task, manifest, recipe, workers=n_workers, progress=QUIET)
        end = time.perf_counter()
    seconds["check"].append(checked - start)
    seconds["pack"].append(end - checked)
    return len(manifest.rows) / (end - start)


# --- the second start -------------------------------------------------------------------------------------------------


def second_start(result: Result, what: str, data: Path, place: Path, *, is_quick: bool) -> None:
    """Train once, then start anew several times."""
    first = told_by(child_of(data, place, 1))
    say(f"  {what}: the first start took {first['first_step_s']:.1f} s to the first step")
    again = []
    for _ in range(1 if is_quick else STARTS):
        start = time.perf_counter()
        child = child_of(data, place, 1)
        assert child.stdout is not None
        for line in child.stdout:
            if "first_step_s" in line:
                again.append((json.loads(line)["first_step_s"], time.perf_counter() - start))
        if child.wait():
            raise SystemExit("The process that trains ended with an error, said above.")
    result.add(f"{what}: first start, import to first step", first["first_step_s"], "s")
    inside = harness.Spread.of([seconds for seconds, _ in again])
    result.add(f"{what}: second start, import to first step", inside, "s", at_most=2.0)
    outside = harness.Spread.of([seconds for _, seconds in again])
    result.add(f"{what}: second start, from the start of Python", outside, "s")


def child_of(data: Path, place: Path, steps: int, *settings: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.child", str(data), str(place / "runs"), str(steps), *settings]
    root = Path(__file__).parent.parent
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, start_new_session=True)


def told_by(child: subprocess.Popen[str]) -> dict[str, float]:
    text, _ = child.communicate()
    if child.returncode:
        raise SystemExit("The process that trains ended with an error, said above.")
    told: dict[str, float] = {}
    for line in text.splitlines():
        told |= json.loads(line)
    return told


# --- memory -----------------------------------------------------------------------------------------------------------


def memory(result: Result, place: Path, n: int) -> None:
    """Peak anonymous memory of everything that check, pack and training start."""
    start = time.perf_counter()
    folder = datasets.write_smooth(place / "many", n=n)
    say(f"  {n:,} pictures made in {time.perf_counter() - start:.0f} s")
    child = child_of(folder, place, STEPS, *FEW)
    peak = Peak(child.pid)
    told = told_by(child)
    found = peak.stop()
    result.add(f"{n:,} pictures: checked after", told["checked_s"], "s")
    result.add(f"{n:,} pictures: packed, and the first step done after", told["first_step_s"], "s")
    result.add(f"{n:,} pictures: {STEPS} steps, validated and saved after", told["end_s"], "s")
    result.add(f"{n:,} pictures: checked", n / told["checked_s"], "pictures/s")
    result.add(f"{n:,} pictures: peak anonymous memory until checked", found.until(told["checked_s"]) / 1e6, "MB")
    result.add(f"{n:,} pictures: peak anonymous memory, all processes", found.highest / 1e6, "MB", at_most=1000)
    result.add(f"{n:,} pictures: processes at that moment", found.n_processes, "")


class Peak:
    """Watches the anonymous memory of a process and all that it starts, in bytes."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.started = time.perf_counter()
        self.seen: list[tuple[float, int]] = []
        self.highest = 0
        self.n_processes = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._is_over.wait(SAMPLE_S):
            sizes = [anonymous_bytes(pid) for pid in processes_of(self.first)]
            self.seen.append((time.perf_counter() - self.started, sum(sizes)))
            if sum(sizes) > self.highest:
                self.highest, self.n_processes = sum(sizes), len(sizes)

    def stop(self) -> Peak:
        """End the watch."""
        self._is_over.set()
        self._thread.join()
        return self

    def until(self, seconds: float) -> int:
        """The highest sum in the first `seconds`, give or take the start of Python."""
        return max((size for at, size in self.seen if at <= seconds), default=0)


def processes_of(first: int) -> set[int]:
    """A process and all its descendants; also those of its session, in case one has lost its parent."""
    parents: dict[int, int] = {}
    found = {first}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # ended meanwhile
                continue
            parents[int(path.name)] = int(fields[1])
            if int(fields[3]) == first:
                found.add(int(path.name))
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def anonymous_bytes(pid: int) -> int:
    """RssAnon of a process: memory that no file holds; 0 when it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


if __name__ == "__main__":
    harness.run(measure)
