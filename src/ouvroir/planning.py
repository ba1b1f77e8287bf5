"""From a person's wishes to a recipe and its data: what `train`, `finetune` and `refine` settle before a run is made.

A recipe is proposed by the task, taken over from an earlier model, or given; the settings of the command stand over it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ouvroir.errors import UsageError
from ouvroir.files import natural, readable_names
from ouvroir.media import TASKS, find_task, require_whole
from ouvroir.options import does
from ouvroir.progress import Progress
from ouvroir.recipe import Data, Recipe, Value, check_settings, read_data
from ouvroir.source import shown_locator
from ouvroir.task import Note, Refusal, Task
from ouvroir.workflow import admit, fit_processor, learned_from

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.options import Training, Workplace
    from ouvroir.task import Processor


def plan_training(training: Training, at: Workplace, *, tuned_from: str = "scratch") -> tuple[Recipe, Manifest]:
    """The recipe that `train` would use, and the manifest it would use it on, with notes on what was chosen.

    `tuned_from`: where another model starts that will be judged by the same test. Raises DataError when it cannot train.
    """
    from ouvroir.data.findings import in_short

    settings, recipe = training.overrides, training.recipe
    if training.task is not None:
        find_task(training.task, is_asked_for=True)
    task = training.task or (recipe.task if recipe else None)
    check_settings(settings, tasks=[task] if task else TASKS)  # before the files are looked at, which may take long
    at.require_order(training.start, str(training.source))
    init_from = at.place_of(training.start, does(training.task))
    if "model.scope" in settings:
        _require_scope_of_earlier(init_from, settings)
    if recipe is not None and init_from == "scratch" and "model.init_from" not in settings:
        init_from = recipe.model.init_from
    data = read_data(settings) if recipe is None else with_data_settings(recipe.data, settings)
    manifest = admit(training.source, task, data, workers=at.workers, progress=at.progress)
    found = find_task(manifest.task)
    require_whole(found)
    for line in in_short(manifest):
        at.progress.say(line)
    for start in (init_from, tuned_from):
        manifest = _new_to(start, manifest, at.progress)
    manifest.require_trainable(needs_labels=found.needs_labels)
    if recipe is not None:
        settled, notes = _given_recipe(recipe, manifest, settings, init_from=init_from)
        say_all(notes, at.progress)
    else:
        settled, notes = propose_recipe(
            found, manifest, settings, preset=training.preset, init_from=init_from, progress=at.progress
        )
    return settled, with_notes(manifest, notes)


def _new_to(start: str, manifest: Manifest, progress: Progress) -> Manifest:
    """The manifest without test rows that a model of ours at `start` learned from, or one before it: to it they are not unseen."""
    from ouvroir.training.adapters import own_weights

    own = own_weights(start)
    if own is None:
        return manifest
    learned = learned_from(Recipe.from_json((own / "recipe.json").read_text(encoding="utf-8")), own, progress=progress)
    test = [row for row in manifest.rows if row.split == "test"]
    known = {row.id for row in test if learned.knows(row)}
    if not known:
        return manifest
    text = (
        f"Rows of the test that the model to start from has learned from: {len(known):,} of {len(test):,}. They are left out: what "
        "it knows already does not show how well it does on what is new."
    )
    if len(known) == len(test):
        text += " So there is no test: add data that it does not know, or start from nothing."
    note = Note("learned_before", text)
    say_all([note], progress)
    reason = "`{}` is known to the model to start from, which learned from it, so it can be no test."
    refused = [Refusal(name, "leak", reason.format(shown_locator(name))) for name in sorted(known, key=natural)]
    return replace(
        manifest,
        rows=tuple(row for row in manifest.rows if row.id not in known),
        refused=(*manifest.refused, *refused),
        notes=(*manifest.notes, note),
    )


def with_notes(manifest: Manifest, notes: Sequence[Note]) -> Manifest:
    """The manifest with `notes` behind its own: a run keeps it so, and the report shows them. None comes twice."""
    return manifest.copy(notes=(*manifest.notes, *(note for note in notes if note not in manifest.notes)))


def say_all(notes: Sequence[Note], progress: Progress) -> None:
    """Tell of notes, each with what it proposes."""
    from ouvroir.data.findings import proposed

    for note in notes:
        progress.say(note.text + proposed(note))


def _settled_otherwise(task: Task, processor: Processor, recipe: Recipe) -> list[Note]:
    """A note on each setting that the processor has otherwise than was asked for."""
    asked = {name: json.loads(value) for name, value, _ in recipe.settings()}
    return [
        Note(
            "settled_otherwise",
            f"`{name}` is {made}, and not {asked[name]} as was asked for: the data, the other settings or the model to start from "
            "decide on it.",
        )
        for name, made in task.worked_out(processor).items()
        if asked[name] not in (None, made)
    ]


def _forgotten(task: Task, processor: Processor, recipe: Recipe) -> list[Note]:
    """A note on what is forgotten of the model to start from: classes that the train rows lack, or other data without classes.

    None when it loses nothing. Raises CheckpointError when that model is damaged.
    """
    from ouvroir.training.adapters import start_of
    from ouvroir.training.checkpoint import check_model, read_recipe

    own = start_of(task, recipe.model.init_from)
    if own is None:
        return []
    check_model(own)
    known = task.load_processor(own / "processor").labels
    earlier = read_recipe(own).data
    is_other = earlier.manifest != recipe.data.manifest and earlier.source != recipe.data.source
    if not known and not processor.labels and is_other:
        text = (
            "Learning from other data makes a model forget some of what it learned before: `ouvroir evaluate` on the earlier data, "
            f"`{earlier.source}`, shows how well it still does there."
        )
        return [Note("other_data", text)]
    gone = [label for label in known if label not in processor.labels]
    if not gone:
        return []
    them = "it" if len(gone) == 1 else "them"
    text = (
        f"The model to start from knows {readable_names(gone)}, and no train row here has {them}. The new model forgets "
        f"{them} and can no longer answer with {them}. To keep {them}, add examples of {them} to the data, or train on the "
        "old and the new data together."
    )
    return [Note("forgotten", text)]


def _given_recipe(
    recipe: Recipe, manifest: Manifest, settings: Mapping[str, Value], *, init_from: str
) -> tuple[Recipe, list[Note]]:
    """A recipe that the user gave, for this data, with the settings over it, and what the model forgets."""
    from ouvroir.training.adapters import start_of

    if recipe.task != manifest.task:
        raise UsageError(f"The recipe is for {recipe.task}, and {manifest.task} was asked for.")
    if init_from != "scratch" or "model.init_from" in settings:
        recipe = recipe.replace("model", init_from=str(start_of(find_task(recipe.task), init_from) or init_from))
    return _for_data(_of_another_length(recipe, settings), manifest, settings)


def _require_scope_of_earlier(init_from: str, settings: Mapping[str, Value]) -> None:
    """Refuse a wrong scope before the files are looked at, where the model to start from is one of ours."""
    from ouvroir.training.adapters import own_weights

    own = own_weights(init_from)
    if own is not None:
        earlier = Recipe.from_json((own / "recipe.json").read_text(encoding="utf-8"))
        task = find_task(earlier.task)
        mine = {name: value for name, value in settings.items() if not name.startswith("data.")}
        _require_scope(task, earlier.with_overrides(mine), task.load_processor(own / "processor"))


def _require_scope(task: Task, recipe: Recipe, processor: Processor) -> None:
    """Refuse a scope that names no part of the model, before anything is packed. Raises RecipeError."""
    from ouvroir.training.adapters import choose_parts
    from ouvroir.training.checkpoint import empty_model

    if recipe.model.scope != "all":
        choose_parts(task.parts(empty_model(task, processor, recipe)), recipe.model.scope)


def _require_same_network(task: Task, recipe: Recipe) -> None:
    """Refuse a model of ours to start from that is another network. Raises UsageError."""
    from ouvroir.training.adapters import start_of

    own = start_of(task, recipe.model.init_from)
    if own is None:
        return
    theirs = task.network(Recipe.from_json((own / "recipe.json").read_text(encoding="utf-8")))
    mine = task.network(recipe)
    if theirs != mine:
        raise UsageError(
            f"The model to start from, `{recipe.model.init_from}`, is {theirs}, and {mine} was asked for: what it learned cannot "
            "be carried over. Leave out the setting that asks for another network, or train one from nothing."
        )


def _of_another_length(recipe: Recipe, settings: Mapping[str, Value]) -> Recipe:
    """The recipe without the numbers of steps that a run settled in it, when the settings ask for minutes or epochs."""
    if not {"loop.minutes", "loop.epochs"} & settings.keys():
        return recipe
    return recipe.replace("loop", steps=None, minutes=None, evaluate_every=None, save_every=None)


def _for_data(recipe: Recipe, manifest: Manifest, settings: Mapping[str, Value]) -> tuple[Recipe, list[Note]]:
    """The recipe naming the data of `manifest`, with the settings over it but for those that are in both already.

    With notes on what the model forgets, and on settings that cannot be as asked for. What is amiss with the weights to start
    from shows here, before a run is made: raises CheckpointError, RecipeError, UsageError.
    """
    data = replace(manifest.data, source=manifest.source, manifest=manifest.fingerprint)
    mine = {name: value for name, value in settings.items() if not name.startswith(("data.", "model.init_from"))}
    recipe = replace(recipe, data=data).with_overrides(mine)
    task = find_task(recipe.task)
    _require_same_network(task, recipe)
    processor = fit_processor(task, manifest, recipe)
    _require_scope(task, recipe, processor)
    return recipe, [*_settled_otherwise(task, processor, recipe), *_forgotten(task, processor, recipe)]


def with_data_settings(data: Data, settings: Mapping[str, Value]) -> Data:
    """`data` with the `data.*` settings over it, as a way of reading: it names no manifest."""
    mine = read_data(settings)
    changed = {name.partition(".")[2] for name in settings if name.startswith("data.")}
    return replace(data, manifest="", **{name: getattr(mine, name) for name in changed})


def propose_recipe(
    task: Task, manifest: Manifest, settings: Mapping[str, Value], *, preset: str, init_from: str, progress: Progress
) -> tuple[Recipe, list[Note]]:
    """The recipe for this data with the user's settings over it, and notes on what was chosen, which are said too.

    It is the task's own, or that of the earlier model, gently and for this data, when `init_from` is a run, bundle or
    checkpoint of ours; else `init_from` is "scratch", a hub name or a folder of pretrained weights. Raises UsageError when
    the tasks differ.
    """
    from ouvroir.training.adapters import start_of

    own = start_of(task, init_from)
    notes: list[Note] = []
    if own is None:
        recipe, notes = task.recipe(manifest, preset, init_from=init_from)
        if options := {name: value for name, value in settings.items() if name.startswith("options.")}:
            recipe = task.suited(recipe.with_overrides(options), manifest)
    else:
        earlier = Recipe.from_json((own / "recipe.json").read_text(encoding="utf-8"))
        if earlier.task != manifest.task:
            raise UsageError(f"`{init_from}` does {earlier.task}, and these data are for {manifest.task}.")
        recipe = task.tuning(earlier, manifest).replace(
            "loop",
            steps=None,
            minutes=None,
            micro_batch=None,
            activation_checkpointing=False,
            evaluate_every=None,
            save_every=None,
            branch_at=0.0,
            cache_features="auto",
        )
    recipe = recipe.replace("model", init_from=str(own or init_from))
    recipe, more = _for_data(recipe, manifest, settings)
    notes = [*(note for note in notes if not any(name in settings for name in note.proposal)), *more]
    say_all(notes, progress)
    return recipe, notes
