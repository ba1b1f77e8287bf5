"""A short measurement before step 1: which arithmetic, layout and number of threads make real steps fastest here.

Candidates are tried on copies of the model and one real batch, about two seconds in all. What was found is kept in the
home folder for this machine, model and batch, so that the next start does not measure again. A resumed run never does.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ouvroir.errors import DiskFull
from ouvroir.files import home, readable_count, write_json
from ouvroir.recipe import Loop, Recipe
from ouvroir.system import usable_cores
from ouvroir.training.device import has_bf16, synchronise, threads
from ouvroir.training.distributed import Share, World
from ouvroir.training.step import Engine, Feed

if TYPE_CHECKING:
    from ouvroir.progress import Progress
    from ouvroir.task import Task

CANDIDATE_S = 0.35
"""Time for one candidate."""
LONG_STEP_S = 0.4
"""Candidates are compared on fewer rows when a step takes longer than this."""
GAIN, BF16_GAIN = 1.05, 1.1
"""How much faster than the ordinary way a candidate must be to be taken; more for bf16, which also changes results."""
THREADS_GAIN = 1.2
"""How much faster all threads must be than one: on a machine that does other things too they wait for each other, at length."""
AGREEMENT = 0.02
"""Largest relative difference of the first loss between bf16 and fp32."""

MakeEngine = Callable[[Recipe, World, Share], Engine]


@dataclass(frozen=True)
class Finding:
    """What was measured: settings, seconds of one step (rough), and milliseconds of each candidate."""

    precision: str
    layout: str
    threads: int
    micro_batch: int | None = None
    activation_checkpointing: bool = False
    step_s: float = 0.0
    candidates_ms: dict[str, float] = field(default_factory=dict)

    def applied(self, recipe: Recipe) -> Recipe:
        """The recipe with these settings."""
        return recipe.replace(
            "loop",
            precision=self.precision,
            layout=self.layout,
            threads=self.threads,
            micro_batch=self.micro_batch,
            activation_checkpointing=self.activation_checkpointing,
        )


def engine_maker(task: Task, model: nn.Module, feed: Feed, device: str) -> MakeEngine:
    """A function that gives an engine on a copy of `model`, which is on the CPU and stays as it is."""

    def make(recipe: Recipe, world: World, share: Share) -> Engine:
        return Engine(task, copy.deepcopy(model), recipe, feed, device=device, world=world, share=share)

    return make


def signature(model: nn.Module, recipe: Recipe, feed: Feed, device: str, world: World, *, largest: int = 0) -> str:
    """What a finding holds for: machine, device, processes, model, kind of batch and the settings that change a step.

    `largest`: size of the largest item, where items differ.
    """
    batch = feed.batch(np.zeros(1, dtype=np.int64), "cpu")
    shapes = {name: [str(value.dtype), *value.shape] for name, value in batch.items() if hasattr(value, "dtype")}
    loop = asdict(recipe.loop)
    for name in (
        "steps",
        "epochs",
        "minutes",
        "evaluate_every",
        "save_every",
        "branch_at",
        "patience",
        "seed",
        "sampling",
        "synthetic_share",
        "cache_features",
    ):
        loop.pop(name)
    learning = [[name, *param.shape, param.requires_grad] for name, param in model.named_parameters()]
    described = [_machine(device), world.size, repr(model), learning, shapes, largest, loop, recipe.optim.name]
    described += [recipe.optim.ema > 0, recipe.options]
    text = json.dumps(described, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else str(value)


def _machine(device: str) -> list[Any]:
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor_name()
    # torch.get_num_threads and not the number of cores: OMP_NUM_THREADS is the user's word
    return [name, usable_cores(), torch.get_num_threads(), torch.__version__, device.partition(":")[0]]


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def recall(key: str) -> Finding | None:
    """What an earlier start found for `key`; None when there is nothing or it cannot be read."""
    try:
        return Finding(**json.loads((home() / "probes" / f"{key}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def remember(key: str, finding: Finding) -> None:
    """Keep a finding for the next start; without room for it, the next start measures again."""
    try:
        write_json(home() / "probes" / f"{key}.json", asdict(finding))
    except (OSError, DiskFull):
        return


def probe(
    recipe: Recipe,
    model: nn.Module,
    make: MakeEngine,
    places: np.ndarray,
    *,
    share: Share,
    device: str,
    world: World,
    progress: Progress,
) -> Finding:
    """Settle what the recipe leaves to `auto`: threads first, then the best pair of arithmetic and layout.

    The pair is tried as one: bf16 may lose in one layout and win in the other. With loop.exact nothing is measured: what
    is fastest may differ from one number of processes to another.
    """
    loop = recipe.loop
    best = recipe.replace(
        "loop",
        precision="fp32" if loop.precision == "auto" else loop.precision,
        layout="contiguous" if loop.layout == "auto" else loop.layout,
        threads=loop.threads or most_threads(world, is_exact=loop.exact),
    )
    fewer: list[dict[str, Any]] = []
    if not loop.threads and best.loop.threads > 1 and device == "cpu":
        fewer.append({"threads": 1})
    pairs = [] if loop.exact else _pairs(loop, model, device)
    if not fewer and not pairs:
        return Finding(best.loop.precision, best.loop.layout, best.loop.threads)
    trial = _Trial(make, places, share, device)
    fastest, loss = trial.time(best)
    strays: list[Recipe] = []
    for group in (fewer, pairs):
        base = best
        for changes in group:
            rival = base.replace("loop", **changes)
            seconds, rival_loss = trial.time(rival)
            gain = BF16_GAIN if changes.get("precision") == "bf16" else GAIN
            needed = 1 / THREADS_GAIN if "threads" in changes else gain
            if abs(rival_loss - loss) > AGREEMENT * abs(loss) + 1e-3:
                strays.append(rival)
            elif seconds * needed < fastest:
                best, fastest = rival, seconds * max(1.0, needed)
    finding = Finding(best.loop.precision, best.loop.layout, best.loop.threads, candidates_ms=trial.times_ms)
    progress.say(_chosen(best, trial, strays, is_on_cpu=device == "cpu"))
    return finding


def _pairs(loop: Loop, model: nn.Module, device: str) -> list[dict[str, Any]]:
    """Arithmetics and layouts to try beside fp32 and contiguous, where the recipe leaves them open."""
    precisions: list[dict[str, Any]] = [{}]
    if loop.precision == "auto" and has_bf16(device):
        precisions.append({"precision": "bf16"})
    layouts: list[dict[str, Any]] = [{}]
    if loop.layout == "auto" and any(param.ndim in {4, 5} for param in model.parameters()):
        layouts.append({"layout": "channels_last"})
    return [{**precision, **layout} for precision in precisions for layout in layouts if precision or layout]


def most_threads(world: World, *, is_exact: bool) -> int:
    """Threads that one process may use: its share of the cores, no more than OMP_NUM_THREADS, one with loop.exact."""
    return 1 if is_exact else max(1, min(torch.get_num_threads(), usable_cores() // world.local_size))


def _name(recipe: Recipe) -> str:
    return f"{recipe.loop.precision} {recipe.loop.layout} on {readable_count(recipe.loop.threads, 'thread')}"


class _Trial:
    """Times candidates on one batch."""

    def __init__(self, make: MakeEngine, places: np.ndarray, share: Share, device: str) -> None:
        self.make, self.places, self.share, self.device = make, places, share, device
        self.n_rows = share.last - share.first
        self.times_ms: dict[str, float] = {}

    def time(self, recipe: Recipe) -> tuple[float, float]:
        """Seconds of one step and the loss before any step."""
        with threads(recipe.loop.threads):
            start = time.perf_counter()
            engine, loss = self._begin(recipe)
            if time.perf_counter() - start > LONG_STEP_S and not self.times_ms:
                self._shorten(time.perf_counter() - start)
                engine, loss = self._begin(recipe)  # the loss of the same rows as that of the rivals
            seconds = time_steps(lambda step: engine.advance(step, self.places), CANDIDATE_S, device=self.device)
        self.times_ms[_name(recipe)] = round(1000 * seconds, 3)
        return seconds, loss

    def _begin(self, recipe: Recipe) -> tuple[Engine, float]:
        """An engine after its first step, and the loss before that step."""
        engine = self.make(recipe, World(device=self.device), self.share)
        taken = engine.advance(0, self.places)
        names = len(taken.names)
        return engine, (taken.sums[:names] / taken.sums[names:]).sum().item()

    def _shorten(self, step_s: float) -> None:
        """Compare on fewer rows: whole virtual shards, as many as pass in about the time for a candidate."""
        rows = self.share.last - self.share.first
        size = self.share.shard_size
        kept = max(size, int(rows * LONG_STEP_S / 2 / step_s) // size * size)
        self.share = replace(self.share, last=min(self.share.last, self.share.first + kept))


def time_steps(step: Callable[[int], object], seconds: float, *, device: str) -> float:
    """Seconds of the fastest call of `step(number)` within about `seconds`, two calls at least.

    The fastest, because whatever else the machine does can only make a call slower.
    """
    found: list[float] = []
    start = time.perf_counter()
    number = 1
    while len(found) < 2 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        step(number)
        synchronise(device)
        found.append(time.perf_counter() - before)
        number += 1
    return min(found)


def _chosen(best: Recipe, trial: _Trial, strays: Sequence[Recipe], *, is_on_cpu: bool) -> str:
    """What was chosen and measured, on how many rows, and why candidates with a shorter time were not taken."""
    words = f"{best.loop.precision}, {best.loop.layout}"
    if is_on_cpu:
        words += f", {readable_count(best.loop.threads, 'thread')}"
    times, chosen_ms = trial.times_ms, trial.times_ms[_name(best)]
    told = ", ".join(f"{name}: {ms:,.0f} ms" if ms >= 100 else f"{name}: {ms:.3g} ms" for name, ms in times.items())
    n_rows, n_all = trial.share.last - trial.share.first, trial.n_rows
    if n_rows < n_all:
        told += f"; for {n_rows} of the {n_all} rows of a step"
    astray = [name for name in map(_name, strays) if times[name] < chosen_ms]
    close = [name for name, ms in times.items() if ms < chosen_ms and name not in astray]
    if astray:
        told += f"; not {' nor '.join(astray)}: faster, but the first loss is another"
    if close:
        told += f"; not {' nor '.join(close)}: not clearly faster"
    return f"Chosen by measuring real steps: {words} ({told})."
