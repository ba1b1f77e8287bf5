"""What the verbs of the API are made of: from a manifest to tables, from a run to a judged model.

Written once for every task. `api.py` holds the verbs, `main_job.py` the main job.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ouvroir.errors import DataError, ManifestError, OuvroirError, RunBusy
from ouvroir.files import readable_count, readable_duration, readable_size
from ouvroir.media import find_task
from ouvroir.progress import QUIET, Progress
from ouvroir.recipe import Data, Loop, Optim, Recipe
from ouvroir.run import Run
from ouvroir.source import shown_locator
from ouvroir.task import Row, Split, Task

if TYPE_CHECKING:
    from ouvroir.bundle import Learned
    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table
    from ouvroir.options import Workplace
    from ouvroir.task import Processor
    from ouvroir.training.course import Fitted, Prepared
    from ouvroir.training.distributed import World

T = TypeVar("T")
MANIFEST = "manifest.jsonl"
_LOOKED_AT = 200  # files, to tell whether they are still there
_FITTED_KEPT = 4  # processors of this process: a plan and the training that follows it ask for the same
_fitted: dict[tuple[str, ...], Processor] = {}
_within: ContextVar[list[float] | None] = ContextVar(
    "within", default=None
)  # seconds of blocks inside the one that is timed


@contextmanager
def timed(run: Run, name: str) -> Iterator[None]:
    """Add the seconds of a block to `timings.json` of the run, under `name`; those of blocks timed within it are theirs alone."""
    start, within, outer = time.perf_counter(), [0.0], _within.get()
    token = _within.set(within)
    try:
        yield
    finally:
        _within.reset(token)
    seconds = time.perf_counter() - start
    if outer is not None:
        outer[0] += seconds
    _add_timing(run, name, seconds - within[0])


def _add_timing(run: Run, name: str, seconds: float) -> None:
    timings = run.read_json("timings.json") or {}
    timings[name] = round(timings.get(name, 0.0) + seconds, 3)
    run.write_json("timings.json", timings)


def once(world: World, work: Callable[[], T]) -> T:
    """Do `work` in the first process, and give what came out to all of them; an error reaches them all too."""
    found: T | None = None
    error: OuvroirError | None = None
    if world.is_first:
        try:
            found = work()
        except OuvroirError as problem:
            if world.size == 1:
                raise
            error = problem
    sentence = world.tell(None if error is None else str(error))
    if sentence is not None:
        raise error or OuvroirError(sentence)
    return world.tell(found)  # type: ignore[return-value]


@contextmanager
def held(run: Run, world: World) -> Iterator[None]:
    """Hold the run for all processes together. Raises RunBusy in each of them when others work on it."""
    with ExitStack() as stack:
        once(world, lambda: stack.enter_context(run.hold()))
        yield


def admit(source: str | Path, task: str | None, data: Data, *, workers: int | None, progress: Progress) -> Manifest:
    """Account for every file of `source` and save the manifest."""
    from ouvroir.data.admission import admit as admit_rows

    start = time.perf_counter()
    manifest = admit_rows(source, task=task, data=data, workers=workers, progress=progress)
    manifest.save()
    return manifest.copy(check_s=time.perf_counter() - start)


def keep_manifest(run: Run, manifest: Manifest) -> Run:
    """Give a run its own copy of its manifest: how rows were split cannot be worked out again once files were added."""
    manifest.save(run.path / MANIFEST)
    if manifest.check_s:
        _add_timing(run, "check_s", manifest.check_s)
    return run


def manifest_of(run: Run, *, progress: Progress = QUIET) -> Manifest:
    """The manifest a run was made with; read again from the files when it is neither kept nor cached. Raises ManifestError."""
    recipe = run.recipe()
    manifest = manifest_again(recipe, progress, near=run.path)
    if manifest.fingerprint != recipe.data.manifest:
        raise ManifestError(
            f"The data in {recipe.data.source} have changed since {run.name} began, so it cannot go on as it was. "
            f"Start anew: `ouvroir {run.verb} {shlex.quote(recipe.data.source)}`."
        )
    return manifest


def manifest_again(recipe: Recipe, progress: Progress, *, near: Path) -> Manifest:
    """The manifest of a recipe: kept in the run that `near` is or lies in, else cached, else what its source gives now.

    Raises DataError.
    """
    try:
        return kept_manifest(recipe, near=near)
    except ManifestError:
        if not recipe.data.source:
            raise
        progress.say("The manifest is no longer cached; the data are read again.")
    return admit(recipe.data.source, recipe.task, replace(recipe.data, manifest=""), workers=None, progress=progress)


def kept_manifest(recipe: Recipe, *, near: Path) -> Manifest:
    """The manifest of a recipe: kept in the run that `near` is or lies in, else cached. Raises ManifestError."""
    from ouvroir.data.manifest import Manifest

    for folder in (near, *near.parents[:3]):  # a checkpoint of one of the models of a job is three folders down
        if (folder / MANIFEST).is_file():
            with suppress(ManifestError):
                return Manifest.load(recipe.data.manifest, folder / MANIFEST)
    return Manifest.load(recipe.data.manifest)


def say_files_away(run: Run, progress: Progress) -> None:
    """Say of a run that is to go on which of its files are not where they were, and what that costs."""
    try:
        manifest = kept_manifest(run.recipe(), near=run.path)
    except ManifestError:  # its files are looked for then
        return
    step = max(1, len(manifest.rows) // _LOOKED_AT)
    looked_at = manifest.rows[::step]
    away = [shown_locator(row.id) for row in looked_at if not row.source(manifest.root).is_there()]
    if away:
        which = "The files" if len(away) == len(looked_at) else f"Some files, such as `{away[0]}`,"
        told = f"{which} are not in {manifest.root} any more. The run goes on from what is packed of them."
        if run.refit_of is None:  # which has no report
            report = f"`ouvroir report {shlex.quote(str(run.path))}`"
            told += f" The report cannot show them; once they are back, {report} does."
        progress.say(told)


def learned_from(recipe: Recipe, folder: Path, *, progress: Progress) -> Learned:
    """What the model in `folder` and those it was started from learned from.

    A bundle keeps it, so the data need not be here; for a checkpoint it is in the manifests. Of a bundle without it that
    was started from another model, it is not known what that one learned from.
    """
    from ouvroir.bundle import Learned, is_bundle, read_learned
    from ouvroir.training.adapters import start_of

    kept = read_learned(folder)
    if kept is not None:  # those that it was started from are in it
        return kept
    unknown = Learned(frozenset(), is_complete=False)
    found = _learned_rows(recipe, folder, progress) or unknown
    if is_bundle(folder):  # its recipe names what it started from, and not where that is
        return found if recipe.model.init_from == "scratch" else found.joined(unknown)
    try:
        start = start_of(find_task(recipe.task), recipe.model.init_from)
        if start is not None:
            earlier = Recipe.from_json((start / "recipe.json").read_text(encoding="utf-8"))
            found = found.joined(learned_from(earlier, start, progress=progress))
    except OuvroirError:  # deleted since
        found = found.joined(unknown)
    return found


def _learned_rows(recipe: Recipe, folder: Path, progress: Progress) -> Learned | None:
    """The train and validation rows of one model; None when its data changed, moved or never were here."""
    from ouvroir.bundle import Learned

    try:
        manifest = manifest_again(recipe, progress, near=folder)
    except OuvroirError:
        return None
    return Learned.of(manifest.rows) if manifest.fingerprint == recipe.data.manifest else None


def fit_processor(task: Task, manifest: Manifest, recipe: Recipe) -> Processor:
    """The processor for this data; with that of the model that the recipe starts from, if it is ours. Raises RunError.

    The last ones are kept in this process and given again, so nobody may change them.
    """
    from ouvroir.training.adapters import start_of

    start = start_of(task, recipe.model.init_from)
    if start is not None:
        return task.fit_processor(manifest, recipe, earlier=task.load_processor(start / "processor"))
    asked = _asked(task, manifest, recipe)
    if asked not in _fitted:
        _keep_fitted(asked, task.fit_processor(manifest, recipe))
    return _fitted[asked]


def use_processor(task: Task, manifest: Manifest, recipe: Recipe, processor: Processor) -> None:
    """Have `fit_processor` give this one for these data, as where they are a few of those that it was fitted to."""
    _keep_fitted(_asked(task, manifest, recipe), processor)


def _asked(task: Task, manifest: Manifest, recipe: Recipe) -> tuple[str, ...]:
    """What a processor that is fitted depends on."""
    data = replace(recipe.data, manifest=manifest.fingerprint)
    depends_on = replace(recipe, loop=Loop(), optim=Optim(), data=data).to_json()
    return task.name, manifest.root, manifest.fingerprint, depends_on


def _keep_fitted(asked: tuple[str, ...], processor: Processor) -> None:
    while len(_fitted) >= _FITTED_KEPT:
        del _fitted[next(iter(_fitted))]
    _fitted[asked] = processor


def prepare(
    task: Task,
    manifest: Manifest,
    recipe: Recipe,
    *,
    processor: Processor | None = None,
    packs: Path | None = None,
    workers: int | None,
    progress: Progress,
) -> Prepared:
    """Encode what is not packed yet, and give tables per split. Says size and time before it starts.

    `packs`: where the packs are when not in the cache.
    """
    from ouvroir.data.pack import build_pack, plan_pack
    from ouvroir.data.table import make_tables
    from ouvroir.training.course import Prepared

    processor = processor or fit_processor(task, manifest, recipe)
    plan = plan_pack(manifest, processor, packs=packs)
    if plan.n_new:
        kept = f" ({plan.n_kept:,} packed already)" if plan.n_kept else ""
        cost = f"{readable_size(plan.n_bytes)}, {readable_duration(plan.seconds)}"
        progress.say(f"Packing {readable_count(plan.n_new, manifest.row_word)}{kept}: {cost}.")
    pack = build_pack(manifest, processor, packs=packs, workers=workers, progress=progress)
    return Prepared(processor=processor, tables=make_tables(manifest, pack, task, processor))


def train_run(
    run: Run,
    at: Workplace,
    *,
    resume: bool = False,
    packs: Path | None = None,
    is_held: bool = False,
    to_branch: bool = False,
) -> Fitted:
    """Everything between a recipe and weights: prepare, then fit. On return the recipe is resolved and the best is intact.

    The run is held before anything in it is written, unless the caller does that. Under torchrun every process calls this;
    the first one packs, then all open the same pack. `to_branch` as `fit` has it. Raises what that raises, and RunBusy.
    """
    from ouvroir.training.checkpoint import Checkpoints
    from ouvroir.training.distributed import join, resolve_device

    device = resolve_device(at.device)
    with join(device) as world, nullcontext() if is_held else held(run, world):
        recipe = run.recipe()
        task = find_task(recipe.task)
        manifest = manifest_of(run, progress=at.progress)

        mine: list[Prepared] = []

        def ready() -> Prepared:
            kept = Checkpoints(run.path).processor() if resume else None  # what it was made from may be gone
            processor = None if kept is None else task.load_processor(kept)
            return prepare(
                task, manifest, recipe, processor=processor, packs=packs, workers=at.workers, progress=at.progress
            )

        def note() -> None:
            with timed(run, "pack_s"):
                mine.append(ready())
            summary = manifest.summary()
            facts = {
                "fingerprint": manifest.fingerprint,
                "rows": {split: count for split, count in summary["splits"].items() if count},
                **{name: summary[name] for name in ("contents", "judged", "unjudged")},
                "synthetic_share": synthetic_share(manifest.rows),
            }
            run.write_json("data.json", facts)
            run.write_json("environment.json", {**(run.read_json("environment.json") or {}), "device": device})

        once(world, note)
        data = mine.pop() if mine else ready()
        learn = loop_of(task)
        fitted = learn(task, run, data, device=device, progress=at.progress, resume=resume, to_branch=to_branch)
        if fitted.stopped != "interrupted":
            once(world, lambda: sound_best(run, at.progress))
        return fitted


def loop_of(task: Task) -> Callable[..., Fitted]:
    """The loop that trains the models of `task`."""
    if task.loop == "adversarial":
        from ouvroir.training.adversarial import contest

        return contest
    from ouvroir.training.loop import fit

    return fit


def sound_best(run: Run, progress: Progress) -> Path:
    """The best checkpoint that is intact, which is the run's best from then on. Raises CheckpointError."""
    from ouvroir.training.checkpoint import Checkpoints

    return Checkpoints(run.path).best(run.metrics(), progress)


def drop_states(run: Run, *, is_held: bool = False) -> None:
    """Make a finished run smaller by what only going on would need. Where that fails it stays as it was, and as good."""
    from ouvroir.training.checkpoint import Checkpoints

    with suppress(OuvroirError, OSError), nullcontext() if is_held else run.hold():
        Checkpoints(run.path).drop_states()


def synthetic_share(rows: tuple[Row, ...]) -> float:
    """Share of the train rows that a generator made."""
    train = [row for row in rows if row.split == "train"]
    return sum(row.origin == "synthetic" for row in train) / max(1, len(train))


def require_tables(tables: Mapping[Split, Table], split: Split, what: str) -> Table:
    """The table of one split. Raises DataError when the data has no rows for it."""
    if split not in tables:
        raise DataError(
            f"{what} needs a {split} split, and the data has no rows for one. Add data, or name another split."
        )
    return tables[split]


@contextmanager
def failures_noted(run: Run) -> Iterator[None]:
    """Leave a true status behind when a run fails or is stopped by a signal; none when another process works on it."""
    from ouvroir.training.distributed import is_main_process

    try:
        yield
    except RunBusy:
        raise
    except KeyboardInterrupt as stop:
        if is_main_process():
            sentence = f"Stopped; `{run.way_on}` goes on."
            stop.args = (sentence,)  # which the command line says
            run.set_status("stopped", sentence)
        raise
    except Exception as error:
        if is_main_process():
            with suppress(OuvroirError, OSError):  # the disk may be the very thing that failed
                run.set_status("failed", str(error))
        raise


def bundle_run(
    run: Run, *, folder: Path | None = None, refit: Mapping[str, Any] | None = None, progress: Progress = QUIET
) -> None:
    """Write the self-contained model of the run's best checkpoint to `folder`, by default final_model/ in the run.

    `refit`: what the run's refit.json says, where it is one: there is nothing unseen to find figures or a threshold on.
    """
    from ouvroir.bundle import write_bundle

    checkpoint = run.checkpoint("best")
    with timed(run, "bundle_s"):
        write_bundle(
            run,
            checkpoint,
            manifest_of(run, progress=progress),
            folder=folder or run.bundle,
            judged=None if refit is None else refit["evaluation"],
            learned=learned_from(run.recipe(), checkpoint, progress=progress),
            threshold=proposed_threshold(run) if refit is None else refit["threshold"],
        )


def kept_threshold(run: Run) -> float:
    """The threshold that the model of a finished run proposes; 0 for none."""
    return float((run.read_json("final_model/config.json") or {}).get("threshold", 0.0))


def proposed_threshold(run: Run) -> float:
    """The score under which to answer 'none of these': it kept 95 % of the right answers on validation; 0 for none."""
    from ouvroir.evaluation.evaluate import load_answers
    from ouvroir.evaluation.metrics import threshold_for_none

    path = run.path / "answers" / "validation.safetensors"
    return threshold_for_none(load_answers(path)) if path.is_file() else 0.0
