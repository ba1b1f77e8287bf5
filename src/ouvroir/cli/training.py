"""Commands that train: train, finetune, refine, refit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ouvroir import api, summaries, terminal
from ouvroir.cli.command import command, print_json
from ouvroir.cli.parameters import (
    DataArgument,
    DataUnlessResumed,
    From,
    Preset,
    ReadingOptions,
    Resume,
    RunArgument,
    Scope,
    TrainingOptions,
    WorkOptions,
    default_language,
)
from ouvroir.errors import UsageError
from ouvroir.options import Training, Workplace
from ouvroir.recipe import Recipe
from ouvroir.run import Run

if TYPE_CHECKING:
    from ouvroir.forecast import Forecast


@command
def train(
    data: DataUnlessResumed = None,
    resume: Resume = None,
    init_from: From = "scratch",
    preset: Preset = "small",
    scope: Scope = "all",
    recipe: Annotated[Path | None, typer.Option("--recipe", help="A recipe.json to start from.")] = None,
    *,
    reading: ReadingOptions,
    training: TrainingOptions,
    work: WorkOptions,
) -> int:
    """Train a model on your files and judge it on files it has not seen.

    Example: ouvroir train flowers/ --minutes 5
    """
    asked = _asked(reading, training, init_from=init_from, preset=preset, scope=scope)
    if resume is not None:
        return _resume(resume, data, asked, training, work, is_recipe_given=recipe is not None)
    if data is None:
        raise UsageError("Say what to train on: ouvroir train DATA. Or go on with a run: ouvroir train --resume RUN.")
    if recipe and preset != "small":
        raise UsageError("The recipe says its preset. To change it: --set model.preset=" + preset)
    asked["recipe"] = Recipe.from_json(_read(recipe)) if recipe else None
    return _perform("train", data, asked, training, work)


@command
def finetune(
    model: Annotated[str, typer.Argument(metavar="RUN|FOLDER|HUB", help="The model to start from.")],
    data: DataArgument,
    scope: Scope = "all",
    *,
    reading: ReadingOptions,
    training: TrainingOptions,
    work: WorkOptions,
) -> int:
    """Go on from an earlier model with your files; classes are mapped by name, those that DATA lacks are forgotten.

    Example: ouvroir finetune last more_flowers/ --scope head
    """
    return _perform("train", data, _asked(reading, training, init_from=model, scope=scope), training, work)


@command
def refine(
    data: DataUnlessResumed = None,
    resume: Resume = None,
    init_from: From = "scratch",
    preset: Preset = "small",
    synthetic: Annotated[
        bool, typer.Option("--synthetic/--no-synthetic", help="Whether to make synthetic data and try if it helps.")
    ] = True,
    *,
    reading: ReadingOptions,
    training: TrainingOptions,
    work: WorkOptions,
) -> int:
    """THE MAIN JOB: check, train, make synthetic data and try whether it helps, fine-tune, compare and report.

    Of a corpus, which is texts without labels, an LSTM and a Transformer are trained side by side, and the better one is kept.

    Example: ouvroir refine flowers/ --minutes 10
    """
    asked = {**_asked(reading, training, init_from=init_from, preset=preset), "synthetic": synthetic}
    if resume is not None:
        return _resume(resume, data, asked, training, work)
    if data is None:
        raise UsageError("Say what to work on: ouvroir refine DATA. Or go on with a run: ouvroir refine --resume RUN.")
    return _perform("refine", data, asked, training, work)


@command
def refit(run: RunArgument, *, work: WorkOptions) -> int:
    """Train again with the settled recipe on all the data, before shipping.

    Example: ouvroir refit last
    """
    with work.progress() as progress:
        made = api.refit(run, **work.place, progress=progress)
    return _show_run(made, as_json=work.as_json)


def _asked(
    reading: ReadingOptions, training: TrainingOptions, *, init_from: str, preset: str = "small", scope: str = "all"
) -> dict[str, Any]:
    """What is to be trained, by the names of the API."""
    settings = reading.settings
    if scope != "all":
        settings["model.scope"] = scope
    if training.exact:
        settings["loop.exact"] = "true"
    return {
        "task": reading.task,
        "preset": preset,
        "init_from": init_from,
        "minutes": training.minutes,
        "settings": settings,
    }


def _perform(
    verb: Literal["train", "refine"],
    data: str,
    asked: dict[str, Any],
    training: TrainingOptions,
    work: WorkOptions,
) -> int:
    """Do what is asked, or say what it would take, and show it."""
    with work.progress() as progress:
        place = {**work.place, "language": training.language or default_language(), "progress": progress}
        if training.dry_run:
            return _show_forecast(api.dry_run(verb, Training(data, **asked), Workplace(**place)), as_json=work.as_json)
        run = api.train(data, **asked, **place) if verb == "train" else api.refine(data, **asked, **place)
    return _show_run(run, as_json=work.as_json)


def _resume(
    run: str,
    data: str | None,
    asked: dict[str, Any],
    training: TrainingOptions,
    work: WorkOptions,
    *,
    is_recipe_given: bool = False,
) -> int:
    """Go on with a run as it began: what would change it is refused, and not left unheard."""
    untouched: dict[str, Any] = {
        "task": None,
        "preset": "small",
        "init_from": "scratch",
        "minutes": None,
        "settings": {},
    }
    synthetic = asked.pop("synthetic", True)
    if data is not None or asked != untouched or is_recipe_given or training.dry_run:
        raise UsageError(
            "--resume goes on with a run as it began. Leave out DATA and the settings, or start a new run without --resume."
        )
    with work.progress() as progress:
        resumed = api.resume(run, **work.place, synthetic=synthetic, language=training.language, progress=progress)
    return _show_run(resumed, as_json=work.as_json)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} could not be read: {error}.") from error


def _show_forecast(found: Forecast, *, as_json: bool) -> int:
    summary = summaries.forecast_summary(found)
    if terminal.is_first_process():
        if as_json:
            print_json(summary)
        else:
            terminal.show_forecast(summary)
    return 0


def _show_run(run: Run, *, as_json: bool) -> int:
    summary = summaries.run_summary(run)
    if not terminal.is_first_process():
        return 0
    if as_json:
        print_json(summary)
    else:
        terminal.show_run(summary, language=run.language)
    return 0 if summary["state"] == "finished" else 1
