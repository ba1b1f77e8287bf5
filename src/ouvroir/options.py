"""What the verbs that train have in common: what is asked for, and the place of work. Both are passed on as a whole.

The verbs of the API name these options one by one, with the same defaults, for people; nothing below them does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ouvroir.errors import OuvroirError, RunError, UsageError
from ouvroir.media import find_task
from ouvroir.progress import QUIET, Progress
from ouvroir.recipe import Recipe, Value
from ouvroir.run import DEFAULT_ROOT, GENERATOR, Run
from ouvroir.task import Synthesiser, Task

Language = Literal["en", "fr"]
_OF_MODELS = ("recipe.json", "model.safetensors")


def answers(run: Run) -> bool:
    """Whether what the run trained gives answers, and does not make samples: what `last` means where answers are wanted."""
    task = _task_of(run)
    return task is not None and not isinstance(task, Synthesiser)


def makes(run: Run) -> bool:
    """Whether the run trained what makes samples, for itself or beside its model."""
    return any(isinstance(_task_of(one), Synthesiser) for one in (run, Run(run.path / GENERATOR)))


def is_judged(run: Run) -> bool:
    """Whether the run answers and was judged on rows it did not learn from, which a refit was not."""
    return answers(run) and run.refit_of is None


def has_report(run: Run) -> bool:
    """Whether there is a report to write again."""
    return (run.path / "report.json").is_file()


def does(task: str | None) -> Callable[[Run], bool]:
    """Which runs are of a task; where none is named, those that give answers."""
    return answers if task is None else lambda run: _named_task(run) == task


def _named_task(run: Run) -> str | None:
    with suppress(OuvroirError, OSError):
        return run.recipe().task
    return None


def _task_of(run: Run) -> Task | None:
    """None where it cannot be told, as of a task from outside that is not trusted."""
    name = _named_task(run)
    with suppress(OuvroirError):
        return None if name is None else find_task(name)
    return None


@dataclass(frozen=True)
class Training:
    """What is to be trained, and on what: everything here may change the result.

    `init_from`: "scratch", a run, a bundle, a folder of pretrained weights or a hub name. `minutes`: time to train in all.
    `recipe`: one to start from, instead of what the task proposes. `settings`: dotted names over either of them.
    `synthetic`: whether `refine` tries synthetic data; the other verbs never do.
    """

    source: str | Path
    task: str | None = None
    preset: str = "small"
    init_from: str = "scratch"
    minutes: float | None = None
    recipe: Recipe | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)
    synthetic: bool = True

    @property
    def start(self) -> str:
        """Where the weights come from: `init_from`, or the setting of that name over it."""
        return str(self.settings.get("model.init_from", self.init_from))

    @property
    def overrides(self) -> dict[str, Value]:
        """The settings with the minutes among them."""
        return {**self.settings, **({} if self.minutes is None else {"loop.minutes": self.minutes})}


@dataclass(frozen=True)
class Workplace:
    """Where the work is done, in what language it is reported, and where it tells of itself: no result depends on it.

    `workers`: processes that open files, one per core when None. `language`: as the run has it when None, first English.
    """

    runs: Path = DEFAULT_ROOT
    device: str = "auto"
    workers: int | None = None
    language: Language | None = None
    progress: Progress = QUIET

    def place_of(self, source: str, suits: Callable[[Run], bool] | None = None) -> str:
        """A local place, or one in `runs` (the name of a run, `NAME/base`, `last`), made absolute; anything else as it is.

        That is `scratch` and hub names. `suits`: which runs `last` means, if there is one. Which run that is, and that a run is
        not finished, is said. Raises RunError.
        """
        if source == "scratch":
            return source
        name, _, inside = source.partition("/")
        if name == "last":
            return str(self.run_of("last", suits).path / inside)
        places = [place.absolute() for place in (Path(source), self.runs / source) if place.exists()]
        ours = [place for place in places if (place / "recipe.json").is_file()]
        if not places:
            return source
        run = Run((ours or places)[0])
        if run.is_unfinished:
            self.progress.say(f"{run.path} is not finished, so the best it came to so far is used. {run.what_now}")
        return str(run.path)

    def require_order(self, model: str, data: str) -> None:
        """Raise UsageError when the model stands where the data belong and they where it does."""

        def is_model(text: str) -> bool:
            places = (place / name for place in (Path(text), self.runs / text) for name in _OF_MODELS)
            return text == "last" or any(place.is_file() for place in places)

        if is_model(data) and Path(model).exists() and not is_model(model):
            raise UsageError(
                f"`{data}` is a run or a model, and `{model}` is none: the model comes first, then what it is to work on."
            )

    def run_of(self, source: str | Path, suits: Callable[[Run], bool] | None = None) -> Run:
        """A run by its path, its name in `runs` or `last`; which run that is, is said. Its final_model stands for it.

        `suits`: which runs `last` means, if there is one. Raises RunError; also for a model that was carried away from its run.
        """
        run = Run.open(source, self.runs, suits=suits)
        if (run.path / "config.json").is_file() and not (run.path / "status.json").is_file():
            whole = Run(run.path.parent)
            if whole.bundle != run.path or not (whole.path / "recipe.json").is_file():
                raise RunError(
                    f"{run.path} is a model without its run, and this takes a run, as where samples are made. `ouvroir runs` "
                    "lists the runs."
                )
            run = whole
        if str(source) == "last":
            self.progress.say(f"`last` is the run {run.name}.")
        return run
