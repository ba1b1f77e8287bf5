"""A finished run of the toy task, made without the training loop, for tests of what comes after it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from ouvroir.data.manifest import Manifest
from ouvroir.recipe import Data
from ouvroir.run import Measurement, Run
from ouvroir.task import Limits, Row
from ouvroir.training.checkpoint import Checkpoints, Place
from toy_task import NAME, NumberProcessor, Numbers, facts_of_one, numbers_in, write_data

METRICS = {
    "accuracy": {"value": 0.9, "low": 0.8, "high": 0.96, "n": 30},
    "nll": {"value": 0.3, "low": 0.2, "high": 0.4, "n": 30},
}


def make_manifest(folder: Path) -> Manifest:
    """Every third row is a test row, the others are train rows; saved in the cache."""
    rows = []
    for place, path in enumerate(sorted(folder.rglob("*.txt"))):
        locator = path.relative_to(folder).as_posix()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        split = "test" if place % 3 == 0 else "train"
        rows.append(Row(id=locator, locator=locator, sha256=digest, label=path.parent.name, split=split))
    manifest = Manifest(
        root=str(folder), source=str(folder), task=NAME, rows=tuple(rows), data=Data(source=str(folder))
    )
    manifest.save()
    return manifest


def make_run(tmp_path: Path, *, n_per_class: int = 30) -> tuple[Run, Manifest]:
    """A run whose best checkpoint tells the classes apart fairly well, and its manifest."""
    manifest = make_manifest(write_data(tmp_path / "numbers", n_per_class))
    task = Numbers()
    recipe, _ = task.recipe(manifest, "small")
    recipe = recipe.replace("data", manifest=manifest.fingerprint).replace("loop", steps=50)
    run = Run.create(recipe, tmp_path / "runs", name="numbers")
    processor = task.fit_processor(manifest, recipe)
    model = fit(task, processor, recipe, manifest)
    Checkpoints(run.path).save(
        Place(step=50, best_step=50, best_value=0.9, is_complete=True),
        recipe=recipe,
        processor=processor,
        weights=model.state_dict(),
        average=None,
        state={},
        is_best=True,
    )
    run.append_metrics([Measurement(50, "train", "loss", 0.2, 1.5)])
    run.write_json("evaluation.json", {"test": METRICS})
    run.set_status("finished", "Finished after 50 steps.")
    return run, manifest


def fit(task: Numbers, processor: NumberProcessor, recipe, manifest: Manifest):
    torch.manual_seed(0)
    model = task.build_model(recipe, processor)
    rows = [row for row in manifest.rows if row.split == "train"]
    facts = torch.stack(
        [facts_of_one(torch.from_numpy(numbers_in(row.source(manifest.root), Limits()))) for row in rows]
    )
    labels = torch.tensor([processor.labels.index(row.label) for row in rows])
    model.mean.copy_(facts.mean(0))
    model.std.copy_(facts.std(0))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(50):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(facts), labels).backward()
        optimiser.step()
    return model.eval()
