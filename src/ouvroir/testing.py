"""check_task: the contract of a Task in executable form, for the tasks of this package and for those of others.

Call it in a test of your own: `check_task("my_package.birds:BirdSongs", tmp_path)`. It writes the task's own sample data
into a folder, takes a few rows of it through the real path (admission, pack, tables, model, answers) and raises
AssertionError with a sentence at the first promise that is not kept. It needs no network and no accelerator.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ouvroir.constants import ALL
from ouvroir.data.workers import import_path
from ouvroir.errors import Refused
from ouvroir.media import TASKS, find_task, suffixes_of
from ouvroir.progress import QUIET
from ouvroir.recipe import Data, Recipe, json_schema
from ouvroir.source import FOLDER, Source
from ouvroir.task import SPLITS, Limits, Processor, Row, Split, Synthesiser, Task
from ouvroir.testing_makers import check_contest, check_samples

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.task import Batch

N_ROWS = 8  # rows of a batch
N_PER_CLASS = 8  # rows kept of each class of the sample, so that every split has some
N_CLASSES = 3
OVERFIT_STEPS = 60
TOLERANCE = 2e-4  # single precision, other orders of summation


@dataclass(frozen=True)
class _Stage:
    """Everything that the checks share: made once by the real path."""

    task: Task
    manifest: Manifest
    recipe: Recipe
    processor: Processor
    tables: dict[Split, Table]
    folder: Path

    @property
    def train(self) -> Table:
        return self.tables["train"]

    def model(self, recipe: Recipe | None = None, seed: int = 0) -> nn.Module:
        import torch

        torch.manual_seed(seed)
        model = self.task.build_model(recipe or self.recipe, self.processor)
        self.task.prepare_model(model, self.train, recipe or self.recipe)
        return model

    def batch(self, n_rows: int = N_ROWS, first: int = 0) -> Batch:
        items = self.task.items(self.train, self.processor, training=True)
        from ouvroir.data.loader import take

        return self.task.collate(take(self.train, items, np.arange(first, first + n_rows)))


def check_task(task: str | Task, tmp_path: Path) -> None:
    """Raise AssertionError if `task`, a registered name, `module:Class` or an instance, breaks the contract of Task.

    `tmp_path` is an empty folder to work in; set OUVROIR_HOME to keep packs out of your own cache.
    """
    name = task if isinstance(task, str) else f"{type(task).__module__}:{type(task).__qualname__}"
    carried = find_task(name, is_asked_for=True)
    _check_imports_are_light(name)
    stage = _stage(carried, name, tmp_path)
    for check in _CHECKS:
        check(stage)


def _stage(task: Task, name: str, tmp_path: Path) -> _Stage:
    from ouvroir.data.admission import admit
    from ouvroir.data.pack import build_pack
    from ouvroir.data.table import make_tables

    assert isinstance(task, Task), f"{name} lacks a method or an attribute of Task."
    folder = tmp_path / "sample"
    folder.mkdir(parents=True)
    n_files = task.sample(folder)
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert n_files == len(files) > 0, "sample() returns the number of its files."
    manifest = admit(folder, task=name, data=Data(), limits=Limits(), workers=1, progress=QUIET)
    assert not manifest.refused, f"The task's own sample is refused: {manifest.refused[0].reason}"
    manifest = dataclasses.replace(manifest, rows=_few(manifest.rows))
    recipe, notes = task.recipe(manifest, "tiny")
    assert all(note.text for note in notes), "Every note is a sentence."
    recipe = dataclasses.replace(recipe, task=name)
    processor = task.fit_processor(manifest, recipe)
    pack = build_pack(manifest, processor, limits=Limits(), workers=1, progress=QUIET)
    tables = make_tables(manifest, pack, task, processor)
    return _Stage(task, manifest, recipe, processor, dict(tables), tmp_path)


def _few(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """At most N_PER_CLASS rows of at most N_CLASSES classes, in turn train, train, validation, test."""
    seen: Counter[Any] = Counter()
    chosen: list[Row] = []
    splits: tuple[Split, ...] = ("train", "train", "validation", "test")
    for row in rows:
        if (row.label in seen or len(seen) < N_CLASSES) and seen[row.label] < N_PER_CLASS:
            chosen.append(dataclasses.replace(row, split=splits[seen[row.label] % len(splits)]))
            seen[row.label] += 1
    return tuple(chosen)


# --- the door ---------------------------------------------------------------------------------------------------------


def _check_imports_are_light(name: str) -> None:
    code = "import sys; from ouvroir.media import find_task; "
    code += f"find_task({name!r}, is_asked_for=True); sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(import_path())}
    done = subprocess.run([sys.executable, "-P", "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, f"Importing the module of {name} loads torch, or fails: {done.stderr.decode()}"


def _check_refusals(stage: _Stage) -> None:
    row = stage.manifest.rows[0]
    good = row.source(stage.manifest.root)
    content = good.read(Limits().max_bytes)
    assert isinstance(stage.task.decoder(), str), "`decoder` names libraries and versions, or is empty."
    facts = stage.task.inspect(good, Limits())
    assert len(facts.sha256) == 64, "Facts.sha256 is a SHA-256 as hex."
    if facts.near_key is not None:
        assert facts.near_key.dtype == np.float32, "Facts.near_key is float32."
        assert facts.near_key.ndim == 1, "Facts.near_key is one vector."
    bad = {"empty.bin": b"", "half.bin": content[: len(content) // 2], "noise.bin": bytes(range(256)) * 4}
    for name, damaged in bad.items():
        (stage.folder / name).write_bytes(damaged)
        source = Source(root=str(stage.folder), locator=name)
        for work in (stage.task.inspect, stage.processor.encode):
            _refuses(work, source, Limits(), may_take=name == "half.bin")  # half a text is a text
    _refuses(stage.task.inspect, Source(root=str(stage.folder), locator="absent.bin"), Limits())
    _refuses(stage.task.inspect, good, Limits(max_bytes=1))


def _refuses(work: Callable[[Source, Limits], Any], source: Source, limits: Limits, *, may_take: bool = False) -> None:
    refusal: Refused | None = None
    try:
        work(source, limits)
    except Refused as refused:
        refusal = refused
    if may_take and refusal is None:
        return
    assert refusal is not None, f"{source.locator} was taken instead of refused."
    assert refusal.code, f"{source.locator}: a refusal has a code."
    assert refusal.reason.endswith((".", "?")), f"{source.locator}: a refusal has a sentence."


def _check_capabilities(stage: _Stage) -> None:
    task, name = stage.task, stage.manifest.task
    assert task.suffixes or task.reads_text, "Nothing can be read: neither files (suffixes) nor texts (reads_text)."
    assert task.suffixes == suffixes_of(name), "The task and its entry in the registry name other suffixes."
    suffixes = task.suffixes - {FOLDER}
    assert all(one == one.lower() and one.startswith(".") for one in suffixes), "Suffixes are like `.png`."
    for row in stage.manifest.rows:
        why = task.unjudged(row, stage.processor)
        assert why is None, f"unjudged() leaves out `{row.id}` of its own sample: {why}"
    bare = dataclasses.replace(stage.manifest.rows[0], label=None)
    left_out = task.unjudged(bare, stage.processor) is not None
    assert left_out or not task.needs_labels, "The task needs labels, and unjudged() keeps a row without one."


def _check_recipe(stage: _Stage) -> None:
    again = Recipe.from_json(stage.recipe.to_json())
    assert again == stage.recipe, "The proposed recipe does not survive JSON."
    assert dataclasses.is_dataclass(stage.task.Options), "Options is a dataclass."
    assert json_schema(stage.recipe.task)["properties"]["options"]["properties"], "Options has no settings."
    for name, _, text in stage.recipe.settings():
        assert text, f"{name} has no description."
    tuned = stage.task.tuning(stage.recipe)
    assert Recipe.from_json(tuned.to_json()) == tuned, "The recipe for tuning does not survive JSON."
    assert tuned.task == stage.recipe.task, "tuning() keeps the task."
    once = stage.task.tuning(stage.recipe, stage.manifest)
    twice = stage.task.tuning(once, stage.manifest)
    assert (twice.optim, twice.options) == (once.optim, once.options), "tuning() for other data is gentle once."
    assert not stage.task.reads_weights("scratch"), "scratch is no pretrained weights."
    assert not stage.task.reads_weights(str(stage.folder / "nowhere")), (
        "reads_weights() says yes to a place with nothing."
    )


def _check_constants(stage: _Stage) -> None:
    """The constants that are said to act change the initial weights or the loss of a step, and the others do not."""
    assert stage.task.network(stage.recipe), "network() says what kind of network it is."
    acting = stage.task.constants(stage.recipe)
    usual = _weights_and_losses(stage, stage.recipe)
    for one in ALL:
        other = _weights_and_losses(stage, stage.recipe.replace("constants", **{one.name: "ordinary"}))
        is_same = usual.keys() == other.keys() and all(_equal(value, other[name]) for name, value in usual.items())
        assert is_same or one.name in acting, f"{one.symbol} changes something, and constants() does not name it."
        assert not is_same or one.name not in acting, f"constants() names {one.symbol}, which changes nothing."


def _weights_and_losses(stage: _Stage, recipe: Recipe) -> dict[str, Tensor]:
    """Initial weights by name, and the losses of a step after they have moved, since some of them begin at nothing."""
    import torch

    model = stage.model(recipe).train()
    found = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    batch = stage.task.prepare(stage.batch(), recipe, rng=_rng(range(N_ROWS)), training=True)
    output = stage.task.step(model, batch, recipe, rng=_rng(range(N_ROWS)), training=True)
    return {**found, **{f"loss {name}": loss.per_row.detach() for name, loss in output.losses.items()}}


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _check_processor(stage: _Stage) -> None:
    folder = stage.folder / "processor"
    folder.mkdir()
    stage.processor.save(folder)
    again = stage.task.load_processor(folder)
    assert again.labels == stage.processor.labels, "A saved processor comes back with other labels."
    settings = {name for name, _, _ in stage.recipe.settings()}
    assert stage.task.worked_out(again).keys() <= settings, "worked_out() names something that is no setting."
    once_more = stage.task.fit_processor(stage.manifest, stage.recipe)
    assert once_more == stage.processor, "Processors of the same rows and recipe are not equal: a trial compares them."
    on = stage.task.fit_processor(stage.manifest, stage.recipe, earlier=again)
    assert on.storage_fingerprint() == again.storage_fingerprint(), (
        "A model to start from would see its rows otherwise."
    )
    assert again.storage_fingerprint() == stage.processor.storage_fingerprint(), "Saving changed the fingerprint."
    fields = stage.processor.fields()
    source = stage.manifest.rows[0].source(stage.manifest.root)
    first, second = stage.processor.encode(source, Limits()), again.encode(source, Limits())
    whole = stage.processor.to_answer()
    assert whole.fields() == fields, "What answers (`to_answer`) gives other arrays than what is learned from."
    assert set(first) == set(fields), "encode() gives the arrays that fields() declares."
    for name, field in fields.items():
        assert first[name].dtype == np.dtype(field.dtype), f"{name} has dtype {first[name].dtype}, not {field.dtype}."
        shape = first[name].shape
        assert len(shape) == len(field.shape), f"{name} has another number of axes than it declares."
        assert all(want in (None, got) for got, want in zip(shape, field.shape, strict=True)), f"{name}: {shape}."
        assert np.array_equal(first[name], second[name]), f"{name} differs after saving: encode() is not deterministic."


# --- batches and the model --------------------------------------------------------------------------------------------


def _check_batches(stage: _Stage) -> None:
    import torch

    assert set(stage.tables) == set(SPLITS), "The sample has rows for every split."
    items = stage.task.items(stage.train, stage.processor, training=True)
    assert items.row.dtype == np.int64, "Items.row is int64."
    assert 0 <= items.row.min() <= items.row.max() < len(stage.train), "Items point outside the table."
    batch = stage.batch()
    assert batch["weight"].dtype == torch.float32, "weight is float32."
    assert batch["index"].dtype == torch.int64, "index is int64."
    for name, value in batch.items():
        if isinstance(value, torch.Tensor):
            assert len(value) == N_ROWS, f"{name} has {len(value)} rows, not {N_ROWS}."


def _tensors(batch: Batch) -> Iterator[tuple[str, Tensor]]:
    import torch

    return ((name, value) for name, value in batch.items() if isinstance(value, torch.Tensor))


def _rng(places: range, seed: int = 0) -> Any:
    import torch

    from ouvroir.rng import Rng

    return Rng(seed, 1, torch.arange(places.start, places.stop), shard_size=N_ROWS // 2)


def _check_augmentation(stage: _Stage) -> None:
    """The same numbers for a row however rows are grouped; evaluation changes nothing at random."""
    import torch

    task, recipe, half = stage.task, stage.recipe, N_ROWS // 2
    whole = task.prepare(stage.batch(), recipe, rng=_rng(range(N_ROWS)), training=True)
    parts = [
        task.prepare(stage.batch(half, first), recipe, rng=_rng(range(first, first + half)), training=True)
        for first in (0, half)
    ]
    for name, value in _tensors(whole):
        joined = torch.cat([_as_wide(part[name], value) for part in parts])
        assert torch.equal(value, joined), f"{name} is augmented differently when the batch is cut in two."
    still = task.prepare(stage.batch(), recipe, rng=_rng(range(N_ROWS)), training=False)
    other = task.prepare(stage.batch(), recipe, rng=_rng(range(N_ROWS), seed=1), training=False)
    for name, value in _tensors(still):
        assert torch.equal(value, other[name]), f"{name} depends on random numbers in evaluation."
    if not task.augments(recipe):
        for name, value in _tensors(whole):
            assert torch.equal(value, still[name]), f"augments() says no, yet {name} changes in training."


def _as_wide(value: Tensor, like: Tensor) -> Tensor:
    """A part of a batch with zeros where the whole is wider, as its longest row may be in another part."""
    wide = like.new_zeros((len(value), *like.shape[1:]))
    wide[tuple(slice(n) for n in value.shape)] = value
    return wide


def _check_model(stage: _Stage) -> None:
    import torch

    model = stage.model()
    held = [id(param) for _, part in stage.task.parts(model) for param in part.parameters()]
    assert sorted(held) == sorted(id(param) for param in model.parameters()), "parts() holds every parameter once."
    batch = stage.task.prepare(stage.batch(), stage.recipe, rng=_rng(range(N_ROWS)), training=True)
    model.train()
    output = stage.task.step(model, batch, stage.recipe, rng=_rng(range(N_ROWS)), training=True)
    total = torch.zeros(())
    for name, loss in output.losses.items():
        assert loss.per_row.shape == (N_ROWS,), f"The loss {name} has shape {tuple(loss.per_row.shape)}."
        assert loss.n_items.shape == (N_ROWS,), f"The item counts of {name} are not (B,)."
        assert not loss.n_items.is_floating_point(), f"The item counts of {name} are not whole numbers."
        assert torch.isfinite(loss.per_row).all(), f"The loss {name} is not finite."
        total = total + loss.per_row.sum()
    total.backward()  # type: ignore[no-untyped-call]
    for name, param in model.named_parameters():
        assert param.grad is not None, f"{name} gets no gradient."


def _logits(stage: _Stage, model: nn.Module, batch: Batch) -> Tensor:
    """Outputs in evaluation mode."""
    import torch

    model.eval()
    rng = _rng(range(len(batch["index"])))
    prepared = stage.task.prepare(batch, stage.recipe, rng=rng, training=False)
    with torch.no_grad():
        outputs = stage.task.step(model, prepared, stage.recipe, rng=rng, training=False).outputs
    assert isinstance(outputs, torch.Tensor), "StepOutput.outputs is a tensor."
    return outputs


def _same(got: Tensor, want: Tensor, sentence: str) -> None:
    gap = float((got - want).abs().max())
    assert got.shape == want.shape, sentence
    assert gap <= TOLERANCE * (1 + float(want.abs().max())), f"{sentence} (largest difference {gap:.2g})"


def _check_rows_are_independent(stage: _Stage) -> None:
    import torch

    model = stage.model()
    together = _logits(stage, model, stage.batch())
    alone = torch.cat([_logits(stage, model, stage.batch(1, place)) for place in range(N_ROWS)])
    _same(alone, together, "An answer depends on the other rows of the batch.")
    _same(_logits(stage, stage.model(), stage.batch()), together, "Two models of one seed answer differently.")


def _check_features(stage: _Stage) -> None:
    """Starting at any part from the output of those before it gives the same answer, where anything is ever cached."""
    import torch

    if stage.task.augments(stage.recipe.replace("model", scope="head")):
        return
    names = [name for name, _ in stage.task.parts(stage.model())]
    for part in names[1:]:
        model = stage.model().eval()
        want = _logits(stage, model, stage.batch())
        for name, module in stage.task.parts(model)[: names.index(part)]:
            del name
            module.requires_grad_(False)
        if not any(param.requires_grad for param in dict(stage.task.parts(model))[part].parameters()):
            continue
        with torch.no_grad():
            features = stage.task.features(model, stage.batch(), part)
        got = _logits(stage, model, {**stage.batch(), "features": features})
        _same(got, want, f"Cached features before `{part}` give another answer.")


def _check_learns(stage: _Stage) -> None:
    import torch

    model, batch = stage.model(), stage.batch()
    if stage.task.loop == "adversarial":
        check_contest(stage.task, model, batch, stage.recipe, lambda: _rng(range(N_ROWS)))
        _check_keeps_what_it_learned(stage, model)
        return
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    losses = []
    for _ in range(OVERFIT_STEPS):
        rng = _rng(range(N_ROWS))
        output = stage.task.step(model, batch, stage.recipe, rng=rng, training=True)
        total = torch.stack([loss.per_row.sum() / loss.n_items.sum() for loss in output.losses.values()]).sum()
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(total.detach()))
    assert min(losses[-5:]) < 0.5 * losses[0], f"Eight rows are not learned: {losses[0]:.3f} became {losses[-1]:.3f}."
    _check_keeps_what_it_learned(stage, model)


def _check_keeps_what_it_learned(stage: _Stage, model: nn.Module) -> None:
    """Saved and loaded weights, and weights adopted under classes in another order, answer the same."""
    want = _logits(stage, model, stage.batch())
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    loaded = stage.model(seed=1)
    loaded.load_state_dict(weights)
    _same(_logits(stage, loaded, stage.batch()), want, "Loaded weights answer differently.")
    adopted = stage.model(seed=2)
    sentences = stage.task.adopt(adopted, stage.processor, weights, stage.processor.labels)
    assert sentences, "adopt() says what was kept."
    _same(_logits(stage, adopted, stage.batch()), want, "Adopted weights answer differently.")
    if stage.processor.labels:
        stranger = stage.model(seed=3)
        stage.task.adopt(stranger, stage.processor, weights, tuple(f"other {name}" for name in stage.processor.labels))


# --- answers ----------------------------------------------------------------------------------------------------------


def _check_answers(stage: _Stage) -> None:
    import torch

    from ouvroir.evaluation.metrics import measure

    model = stage.model().eval()
    rng = _rng(range(N_ROWS))
    batch = stage.task.prepare(stage.batch(), stage.recipe, rng=rng, training=False)
    with torch.no_grad():
        answers = stage.task.answers(
            batch, stage.task.step(model, batch, stage.recipe, rng=rng, training=False), stage.processor
        )
    assert np.array_equal(answers.index, batch["index"].numpy()), "Answers.index are the places of the rows."
    assert answers.loss.dtype == np.float64, "Answers.loss is float64."
    assert answers.n_items.dtype == np.int64, "Answers.n_items is int64."
    assert np.isfinite(answers.loss).all(), "Answers.loss is not finite."
    if answers.scores is not None:
        assert answers.scores.shape == (N_ROWS, len(answers.labels)), "Answers.scores is (N, C)."
        assert answers.scores.min() >= 0, "Scores are probabilities."
        assert answers.scores.max() <= 1, "Scores are probabilities."
        if not answers.is_multi_label:
            assert np.allclose(answers.scores.sum(axis=1), 1, atol=1e-4), "Scores of a row sum to 1."
    names = stage.task.metrics_for(stage.processor)
    assert set(measure(names, answers)) == set(names), "A metric of metrics_for() cannot be measured."
    for cheap in stage.task.baselines(stage.tables, stage.processor, stage.recipe):
        assert cheap.name, "A baseline has a name."
        assert len(cheap.answers.loss) == len(stage.tables["test"]), f"{cheap.name} does not answer every row."
        measure(names, cheap.answers)


def _check_predictions(stage: _Stage) -> None:
    from ouvroir.predictor import Predictor

    model = stage.model().eval()
    if isinstance(stage.task, Synthesiser):
        check_samples(stage.task, model, stage.processor, stage.recipe, stage.train)
        return
    good = [row.source(stage.manifest.root) for row in stage.manifest.rows[:3]]
    paths = [Path(source.root) / source.locator for source in good]
    inputs: list[Any] = [paths[0], stage.folder / "noise.bin", paths[1], stage.folder / "absent.bin", paths[2]]
    answering = Predictor(stage.task, model, stage.processor, stage.recipe)
    found = answering.predict(inputs)
    assert len(found) == len(inputs), "One prediction for each input."
    assert [bool(one.error) for one in found] == [False, True, False, True, False], "Unreadable inputs get an error."
    assert answering.predict(inputs, workers=1) == found, "A worker process gives another prediction."
    alone = answering.predict([paths[2]])[0]
    for label, score in alone.scores.items():
        assert abs(score - found[4].scores[label]) < 1e-3, "A prediction depends on the other inputs."
    if alone.scores:
        assert list(alone.scores.values()) == sorted(alone.scores.values(), reverse=True), "Highest score first."
        assert set(alone.scores) == set(stage.processor.labels), "Every label has a score."
        example = stage.processor.encode(good[0], Limits())
        sure = stage.task.predict(model, stage.processor, stage.recipe, [example], device="cpu", threshold=1.01)[0]
        assert sure.label is None, "Under the threshold the answer is none of these."


def _check_export_and_show(stage: _Stage) -> None:
    import torch

    model = stage.model().eval()
    arguments = stage.task.export_inputs(stage.processor)
    with torch.no_grad():
        outputs = model(**arguments)
    assert all(len(value) == 2 for value in arguments.values()), "export_inputs() gives two rows."
    assert len(outputs) == 2, "The model answers the rows of export_inputs()."
    shown = stage.task.render(stage.manifest.rows[0].source(stage.manifest.root), max_edge_px=64)
    assert "/" in shown.mime, "render() gives a MIME type."
    assert shown.content, "render() gives bytes."


def _check_controls(stage: _Stage) -> None:
    """What is taken away is gone, alike however rows are grouped, and the rest of the batch is as it was."""
    task, half = stage.task, N_ROWS // 2
    for control in task.controls:
        assert control.text[0].isupper(), f"The sentence of the control {control.name} begins with a capital letter."
        assert not control.text.endswith("."), f"The sentence of the control {control.name} has no full stop."
        batch = task.prepare(stage.batch(), stage.recipe, rng=_rng(range(N_ROWS)), training=False)
        taken = control.take(batch, _rng(range(N_ROWS)))
        changed = [name for name, value in _tensors(batch) if not value.equal(taken[name])]
        assert changed, f"The control {control.name} takes nothing away."
        assert not {"labels", "index", "weight"} & set(changed), f"The control {control.name} changes what is asked."
        some = _rng(range(half, N_ROWS))
        part = task.prepare(stage.batch(N_ROWS - half, half), stage.recipe, rng=some, training=False)
        alone = control.take(part, _rng(range(half, N_ROWS)))
        for name in changed:
            same = taken[name][half:].equal(alone[name])
            assert same, f"The control {control.name} depends on the other rows of a batch."


_CHECKS: tuple[Callable[[_Stage], None], ...] = (
    _check_refusals,
    _check_capabilities,
    _check_recipe,
    _check_constants,
    _check_processor,
    _check_batches,
    _check_augmentation,
    _check_model,
    _check_rows_are_independent,
    _check_features,
    _check_learns,
    _check_answers,
    _check_controls,
    _check_predictions,
    _check_export_and_show,
)


def registered() -> list[str]:
    """The names that `check_task` can be run over."""
    return list(TASKS)
