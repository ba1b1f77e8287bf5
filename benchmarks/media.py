"""Texts, sounds and videos: training beside a plain loop and beside the usual DataLoader, packing, second start, bf16.

The plain loop holds the same tensors in memory and makes the same changes with the same network, and does nothing else. The usual
way opens each file anew in every epoch, in two DataLoader workers, and changes it there item by item.
"""

from __future__ import annotations

import itertools
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks import datasets, harness
from benchmarks.harness import Options, Result, Steps
from benchmarks.packing import second_start
from ouvroir.progress import QUIET
from ouvroir.training.device import arithmetic, place
from ouvroir.training.optim import rate

ROUNDS = 3
SECONDS = 6.0  # of one measurement
WARMUP = 5
LEAST = 0.97
TIMES_THE_USUAL = 5.0
TIMES_SINGLE = 1.8
BATCH = {"text-classification": 32, "audio-classification": 32, "video-classification": 16}
EMA, MAX_GRAD_NORM = 0.999, 1.0


@dataclass(frozen=True)
class Case:
    """One medium: a name for the table, the task, the data, and settings that both sides have."""

    name: str
    task: str
    data: Path
    settings: dict[str, Any] = field(default_factory=dict)


def measure(options: Options) -> Result:
    """All of it, medium by medium."""
    result = Result(
        name="media",
        title="Texts, sounds, videos",
        about=(
            "Texts: 621 French paragraphs (PIAF). Sounds: 3,000 spoken digits at 8 kHz (FSDD). Videos: 200 clips of moving "
            "shapes, 640 x 480 at 25 frames a second, 2 s each. Preset small, one thread, start not counted. Plain loop: the "
            "same tensors in memory, the same changes, fused AdamW, clipping, averaged weights, and nothing else. Usual "
            "DataLoader: two workers that open, decode, change and (sounds) transform item by item."
        ),
        seeds=[0],
        settings={"rounds": 1 if options.is_quick else ROUNDS},
    )
    seconds, rounds = (0.5, 1) if options.is_quick else (SECONDS, ROUNDS)
    with harness.workplace() as folder:
        for case in cases(folder, is_quick=options.is_quick):
            harness.say(f"{case.name}")
            prepare(result, case)
            ours = Ours(case, folder)
            compare(result, ours, seconds, rounds)
            if case.task != "text-classification":
                in_half(result, ours, seconds, rounds)
            second_start(result, case.name, case.data, folder, is_quick=options.is_quick)
    return result


# --- data -------------------------------------------------------------------------------------------------------------


def cases(folder: Path, *, is_quick: bool) -> list[Case]:
    """Real texts and recordings, and made clips as large as a phone makes them."""
    texts = folder / "texts.csv"
    shutil.copy(datasets.shared_data() / "piaf_topics_fr" / "train.csv", texts)
    return [
        Case("texts", "text-classification", texts),
        Case("sounds", "audio-classification", spoken(folder / "spoken", is_quick=is_quick)),
        Case("videos", "video-classification", films(folder / "films", 12 if is_quick else 40)),
    ]


def spoken(folder: Path, *, is_quick: bool) -> Path:
    """The spoken digits as files in class folders."""
    with zipfile.ZipFile(datasets.shared_data() / "fsdd" / "recordings.zip") as archive:
        names = [name for name in sorted(archive.namelist()) if name.endswith(".wav")]
        for name in names[:: 10 if is_quick else 1]:
            short = name.rsplit("/", 1)[-1]
            path = folder / short[0] / short
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))
    return folder


def films(folder: Path, n: int) -> Path:
    """`n` clips of each move, enlarged to 640 x 480 and shown 25 times a second."""
    from PIL import Image

    from ouvroir.media.video.encode import as_mp4
    from ouvroir.media.video.samples import FPS, MOVES, clip_of

    for number, move in enumerate(MOVES):
        (folder / move).mkdir(parents=True)
        for take in range(n):
            small = clip_of(move, take * len(MOVES) + number, 0)
            places = (np.arange(50) * FPS / 25).astype(int)
            large = np.stack([np.asarray(Image.fromarray(frame).resize((640, 480))) for frame in small])
            (folder / move / f"{take:03d}.mp4").write_bytes(as_mp4(large[places], 25))
    return folder


def size_of(data: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return (
        data.stat().st_size if data.is_file() else sum(one.stat().st_size for one in data.rglob("*") if one.is_file())
    )


# --- preparing --------------------------------------------------------------------------------------------------------


def prepare(result: Result, case: Case) -> None:
    """Check and pack from nothing, with two workers."""
    from ouvroir import api, workflow
    from ouvroir.media import find_task

    with harness.workplace():
        start = time.perf_counter()
        manifest = api.check(case.data, task=case.task, workers=2)
        task = find_task(case.task)
        recipe, _ = task.recipe(manifest, "small")
        workflow.prepare(task, manifest, recipe, workers=2, progress=QUIET)
        seconds = time.perf_counter() - start
    what = "texts" if case.name == "texts" else "files"
    result.add(f"{case.name}: check + pack, 2 workers", len(manifest.rows) / seconds, f"{what}/s")
    result.add(
        f"{case.name}: check + pack, 2 workers, of the files as they are", size_of(case.data) / seconds / 1e6, "MB/s"
    )


# --- training ---------------------------------------------------------------------------------------------------------


class Ours:
    """Ouvroir's loop on the real pack, with the recipe that it proposes."""

    def __init__(self, case: Case, folder: Path) -> None:
        from ouvroir import api, workflow
        from ouvroir.media import find_task

        self.case, self.folder = case, folder
        self.task: Any = find_task(case.task)
        self.manifest = api.check(case.data, task=case.task)
        recipe, _ = self.task.recipe(self.manifest, "small")
        batch = BATCH[case.task]
        recipe = recipe.replace("loop", threads=1, batch_size=batch, micro_batch=batch)
        self.recipe = recipe.replace("optim", schedule="one-cycle", max_grad_norm=MAX_GRAD_NORM, ema=EMA)
        self.prepared = workflow.prepare(self.task, self.manifest, self.recipe, workers=None, progress=QUIET)
        self.table = self.prepared.tables["train"]
        self.batch = batch

    def rate(self, n_steps: int, **loop: str) -> float:
        """Rows per second after the warm-up, seen from outside. What the probe chose is kept."""
        from ouvroir.run import Run
        from ouvroir.training.course import Prepared
        from ouvroir.training.loop import fit

        recipe = self.recipe.replace("loop", steps=n_steps, evaluate_every=n_steps, save_every=n_steps, **loop)
        run = Run.create(recipe, self.folder / "runs")
        steps = Steps(WARMUP)
        data = Prepared(self.prepared.processor, {"train": self.table})
        fit(self.task, run, data, device="cpu", progress=harness.StepProgress(steps, "train"))
        chosen = run.recipe().loop
        if not loop:
            self.recipe = self.recipe.replace("loop", precision=chosen.precision, layout=chosen.layout)
        return steps.rate(self.batch)

    def network(self) -> torch.nn.Module:
        """With initial weights, laid out as the loop does."""
        torch.set_num_threads(1)
        torch.manual_seed(0)
        model: torch.nn.Module = self.task.build_model(self.recipe, self.prepared.processor)
        self.task.prepare_model(model, self.table, self.recipe)
        place(model, self.recipe.loop, "cpu")
        return model.train()


def compare(result: Result, ours: Ours, seconds: float, rounds: int) -> None:
    """A trial for the number of steps, then by turns."""
    name = ours.case.name
    guess = ours.rate(WARMUP + 25)
    n_steps = WARMUP + max(10, round(guess * seconds / ours.batch))
    sides: dict[str, Callable[[], float]] = {
        "Ouvroir": partial(ours.rate, n_steps),
        "plain loop": partial(trained, ours, in_memory(ours), n_steps),
        "usual DataLoader": partial(trained, ours, item_by_item(ours), max(WARMUP + 10, n_steps // 4)),
    }
    rates = harness.alternate(sides, rounds)
    loop = ours.recipe.loop
    for side, values in rates.items():
        result.add(f"{name}: {side} ({loop.precision}, {loop.layout})", harness.Spread.of(values), "rows/s")
    plain = harness.ratio(rates["Ouvroir"], rates["plain loop"])
    result.add(f"{name}: Ouvroir / plain loop", plain, "times", at_least=LEAST)
    usual = harness.ratio(rates["Ouvroir"], rates["usual DataLoader"])
    result.add(f"{name}: Ouvroir / usual DataLoader", usual, "times", at_least=TIMES_THE_USUAL)


def in_half(result: Result, ours: Ours, seconds: float, rounds: int) -> None:
    """bf16 with the channels last, beside fp32 as it comes."""
    n_steps = WARMUP + max(10, round(ours.rate(WARMUP + 10) * seconds / ours.batch))
    sides: dict[str, Callable[[], float]] = {
        "bf16": partial(ours.rate, n_steps, precision="bf16", layout="channels_last"),
        "fp32": partial(ours.rate, n_steps, precision="fp32", layout="contiguous"),
    }
    rates = harness.alternate(sides, rounds)
    found = harness.ratio(rates["bf16"], rates["fp32"])
    result.add(f"{ours.case.name}: bf16, channels last / fp32", found, "times", at_least=TIMES_SINGLE)


Batches = Callable[[], Iterator[dict[str, Any]]]


def trained(ours: Ours, batches: Batches, n_steps: int) -> float:
    """Rows per second of thirty lines that train on what `batches` gives."""
    model, recipe = ours.network(), ours.recipe
    params = list(model.parameters())
    averaged = [param.detach().clone() for param in params]
    optimizer = torch.optim.AdamW(params, lr=1e-3, weight_decay=0.01, fused=True)
    steps = Steps(WARMUP)
    for step, (batch, rng) in enumerate(itertools.islice(batches(), n_steps)):
        with arithmetic(recipe.loop, "cpu"):
            out = ours.task.step(model, batch, recipe, rng=rng, training=True)
            loss = sum(one.per_row.mean() for one in out.losses.values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, MAX_GRAD_NORM)
        optimizer.param_groups[0]["lr"] = rate(recipe.optim, step, n_steps)
        optimizer.step()
        torch._foreach_lerp_(averaged, params, 1 - EMA)
        steps.tick()
    return steps.rate(ours.batch)


def drawn(seed: int, n: int) -> Any:
    """Random numbers for the changes of a batch."""
    from ouvroir.rng import Rng

    return Rng(seed, 0, torch.arange(n))


def in_memory(ours: Ours) -> Batches:
    """All rows as tensors; each batch is a few of them in another order, cut where the longest text ends."""
    table = ours.table
    items = ours.task.items(table, ours.prepared.processor, training=True)
    whole = ours.task.collate(table.slice(items.row, items.start, items.length))
    ragged = {"pieces", "grams", "gram_counts"} & set(whole)

    def batches() -> Iterator[Any]:
        for epoch in itertools.count():
            order = torch.randperm(len(items.row))
            for number, rows in enumerate(order.split(ours.batch)[:-1]):
                batch = {name: value[rows] for name, value in whole.items()}
                for name in ragged:
                    longest = int((batch[name] != 0).sum(dim=1).max())
                    batch[name] = batch[name][:, :longest]
                rng = drawn(epoch * 10_000 + number, len(rows))
                yield ours.task.prepare(batch, ours.recipe, rng=rng, training=True), rng

    return batches


class Files(Dataset):
    """One file at a time: open, decode, change; sounds become spectrograms here, as their libraries have it."""

    def __init__(self, ours: Ours) -> None:
        rows = [row for row in ours.manifest.rows if row.split == "train"]
        self.sources = [row.source(ours.manifest.root) for row in rows]
        self.labels = [ours.prepared.processor.labels.index(str(row.label)) for row in rows]
        self.task, self.recipe, self.processor = ours.task, ours.recipe, ours.prepared.processor
        self.front = ours.network().body["input"] if ours.case.name == "sounds" else None  # type: ignore[index, union-attr, operator]

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        """One row of a batch."""
        from ouvroir.task import Limits

        example = self.processor.encode(self.sources[place], Limits())
        label = torch.tensor([self.labels[place]])
        if self.task.name == "text-classification":
            return {**{name: torch.from_numpy(value).long() for name, value in example.items()}, "labels": label}
        first = {name: torch.from_numpy(value[:1]) for name, value in example.items() if name != "begin"}
        if "heard" in first:
            first["heard"] = first["heard"].long()
        batch = {**first, "labels": label, "weight": torch.ones(1), "index": label}
        rng = drawn(int(torch.randint(2**31, ())), 1)
        with torch.no_grad():
            done = self.task.prepare(batch, self.recipe, rng=rng, training=True)
            if self.front is None:
                return {"frames": done["frames"], "labels": label}
            seen = self.front(done["wave"], done.get("warp"), done.get("hidden"))
        return {"features": seen, "labels": label}


def together(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch; texts are padded to the longest."""
    if "pieces" not in rows[0]:
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    batch = {name: pad([row[name] for row in rows]) for name in ("pieces", "grams", "gram_counts")}
    lengths = torch.tensor([len(row["pieces"]) for row in rows])
    return {**batch, "lengths": lengths, "labels": torch.cat([row["labels"] for row in rows])}


def item_by_item(ours: Ours) -> Batches:
    """The usual DataLoader with two workers."""
    loader = DataLoader(
        Files(ours),
        batch_size=ours.batch,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
        prefetch_factor=4,
        collate_fn=together,
        worker_init_fn=_one_thread,
    )

    def batches() -> Iterator[Any]:
        for step in itertools.count():
            for number, batch in enumerate(loader):
                rng = drawn(step * 10_000 + number, ours.batch)
                is_raw = ours.case.name == "texts"
                yield (ours.task.prepare(batch, ours.recipe, rng=rng, training=True) if is_raw else batch), rng

    return batches


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


if __name__ == "__main__":
    harness.run(measure)
