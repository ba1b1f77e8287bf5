"""Run: the folder that one training leaves behind. Create, find, lock, read.

The folder is the interface: a person with a text editor and the report read the same files. Every file is
written whole or not at all; metrics.jsonl grows line by line and a torn last line is dropped on opening.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ouvroir.errors import CheckpointError, NotWritable, RecipeError, RunBusy, RunError, UsageError
from ouvroir.files import disk_errors, each_line, make_folder, write_json, write_text
from ouvroir.recipe import Recipe
from ouvroir.system import try_lock, usable_cores

State = Literal["queued", "running", "finished", "stopped", "failed"]
DEFAULT_ROOT = Path("runs")
GENERATOR = "generator"
"""The run of a generator, in that of the job or the model that it belongs to."""
JOB = "refine.json"
"""In the run of a main job: what was planned."""
USUAL_STEPS = "usual_steps.json"
"""In a run that had time for far fewer steps than its task proposes: how many these are, and if a smaller preset is to be had."""
_LOOK_S = 0.2  # `is_held` of another process has the lock for less
_LONGEST_NAME = 120  # characters of a folder's name after the time; most file systems take 255 bytes
_mine: set[Path] = set()  # folders of the runs that this process holds


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of metrics.jsonl. `seconds` is the training time so far, over all resumptions."""

    step: int
    split: str
    name: str
    value: float
    seconds: float


@dataclass(frozen=True)
class Branch:
    """Where a training goes on from: the checkpoint that `run` came to after `step` steps on the same data."""

    run: Run
    step: int


class Run:
    """One run folder. Holds no open files between calls."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        """Name, state and headline metric, each as far as it can be read."""
        found = [self.name]
        with suppress(RunError, KeyError, TypeError, ValueError):
            found.append(str(self.status()["state"]))
            if self.refit_of is not None:
                found.append(f"refit of {self.refit_of}")
            if (headline := self.headline()) is not None:
                name, metric = headline
                found.append(f"{name} {metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]")
        return f"<Run {', '.join(found)}>"

    @classmethod
    def create(cls, recipe: Recipe, root: Path = DEFAULT_ROOT, *, name: str = "", now: float | None = None) -> Run:
        """Make a new folder `<time>_<task>_<name>` in `root` with recipe.json and environment.json. Never overwrites."""
        stamp = time.strftime("%Y-%m-%d_%H%M%S", time.localtime(now))
        words = re.sub(r"[^A-Za-z0-9]+", "-", f"{recipe.task.rsplit(':', 1)[-1]} {name}").strip("-").lower()
        words = words[:_LONGEST_NAME].rstrip("-")
        for attempt in range(1000):
            path = Path(root) / (f"{stamp}_{words}" + (f"_{attempt}" if attempt else ""))
            try:
                make_folder(Path(root))
                with disk_errors(path):
                    path.mkdir()
            except FileExistsError:
                continue
            except NotWritable as error:
                raise RunError(f"`{root}` cannot be written to. Choose another place with --runs.") from error
            return cls(path.absolute())._begin(recipe)
        raise RunError(f"Could not find a free name for a run in {root}.")

    def child(self, name: str, recipe: Recipe) -> Run:
        """The run `name` inside this one, made with `recipe` unless it is there already."""
        path = self.path / name
        if (path / "recipe.json").is_file():
            return Run(path)
        with disk_errors(path):
            path.mkdir(exist_ok=True)
        return Run(path)._begin(recipe)

    def _begin(self, recipe: Recipe) -> Run:
        write_json(self.path / "environment.json", _environment())
        self.set_status("queued", "Created.")
        self.write_recipe(recipe)  # last: a folder with a recipe is a run
        return self

    @classmethod
    def open(cls, path: str | Path, root: Path = DEFAULT_ROOT, *, suits: Callable[[Run], bool] | None = None) -> Run:
        """Open a run by its path, its name in `root`, or `last` for the newest that is finished. Raises RunError.

        `suits`: which runs `last` means; where none of them does, it is the newest finished one, whatever it is.
        """
        if str(path) == "last":
            return cls._last(root, suits)
        for place in (Path(path), Path(root) / str(path)):
            if (place / "recipe.json").is_file():
                return cls(place.absolute())
        raise RunError(f"`{path}` is not a run: there is no recipe.json in it. `ouvroir runs` lists the runs.")

    @classmethod
    def all(cls, root: Path = DEFAULT_ROOT) -> list[Run]:
        """All runs in `root`, oldest first."""
        found = [path.parent for path in Path(root).glob("[!.]*/recipe.json")] if Path(root).is_dir() else []
        return sorted((cls(path.absolute()) for path in found), key=lambda run: (run._created(), run.name))

    def _created(self) -> float:
        try:
            return float((self.read_json("environment.json") or {}).get("created", 0.0))
        except (RunError, ValueError, TypeError, AttributeError):
            return 0.0

    @classmethod
    def _last(cls, root: Path, suits: Callable[[Run], bool] | None) -> Run:
        runs = cls.all(root)
        if not runs:
            raise RunError(no_runs(root))
        finished = [run for run in reversed(runs) if run.state == "finished"]
        if not finished:
            newest = runs[-1]
            now = newest.what_now
            raise RunError(
                f"No run in {Path(root).absolute()} is finished yet. The newest is {newest.name}: {now[:1].lower()}{now[1:]}"
            )
        return next((run for run in finished if suits is None or suits(run)), finished[0])

    @classmethod
    def last_unfinished(cls, root: Path = DEFAULT_ROOT) -> Run:
        """The newest run in `root` that was stopped or failed and no process works on: the one to resume. Raises RunError."""
        found = cls.all(root)
        for run in reversed(found):
            if run.state not in ("finished", None) and not run.is_held():
                return run
        if not found:
            raise RunError(no_runs(root))
        raise RunError(f"No run in {Path(root).absolute()} waits to be resumed. `ouvroir runs` shows their states.")

    @property
    def state(self) -> State | None:
        """Of the status; None when status.json is damaged."""
        try:
            found: State = self.status()["state"]
        except (RunError, KeyError, TypeError):
            return None
        return found

    @property
    def is_unfinished(self) -> bool:
        """Whether it answers with what it came to so far, since its training, or what comes after that, is not done."""
        has_model = self.bundle.is_dir() or (self.path / "checkpoints" / "best.txt").is_file()
        return has_model and self.state not in ("finished", None)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def full_name(self) -> str:
        """The name, after that of the run it is a part of."""
        return self.name if self.whole.path == self.path else f"{self.whole.name}/{self.name}"

    @property
    def whole(self) -> Run:
        """The run that this one is a part of, as `base` and `tuned` of refine are, or itself: the one to go on with."""
        return Run(self.path.parent) if (self.path.parent / "recipe.json").is_file() else self

    @property
    def models(self) -> list[Run]:
        """The trained models of a run: base and tuned of the main job, or what it trains side by side; else the run itself."""
        plan = self.read_json(JOB)
        if plan is None:
            return [self]
        names = plan.get("rivals") or ("base", "tuned")
        return [Run(self.path / name) for name in names if (self.path / name / "recipe.json").is_file()]

    @property
    def kept(self) -> Run:
        """The one of `models` whose recipe the run has too, since final_model/ is of it; itself where there is none."""
        recipe = self.recipe()
        return next((model for model in self.models if model.recipe() == recipe), self)

    @property
    def verb(self) -> Literal["train", "refine"]:
        """The command that makes such a run and goes on with it."""
        return "refine" if (self.whole.path / JOB).is_file() else "train"

    @property
    def way_on(self) -> str:
        """What to type to go on with it."""
        return f"ouvroir {self.verb} --resume {shlex.quote(str(self.whole.path))}"

    @property
    def what_now(self) -> str:
        """That a process is at work on it, else what to type to go on with it; and which run inside it answers until then."""
        inside = sorted(self.path.glob("*/checkpoints/best.txt"), key=lambda file: file.stat().st_mtime)
        usable = f" Until then {Run(inside[-1].parents[1])._of_use()}." if inside else ""
        now = "A process is still at work on it." if self.is_at_work else f"`{self.way_on}` goes on with it."
        return f"{now}{usable}"

    def _of_use(self) -> str:
        """What a model is used by: by answers, by samples, or by going on with a text."""
        from ouvroir.media import find_task
        from ouvroir.task import Synthesiser, Writer

        task, model = find_task(self.recipe().task), shlex.quote(str(self.path))
        if isinstance(task, Writer):
            return f"`ouvroir generate {model} --prompt TEXT` goes on with a text"
        return (
            f"`ouvroir generate {model}` makes samples"
            if isinstance(task, Synthesiser)
            else f"`ouvroir predict {model} FILES` answers"
        )

    @property
    def refit_of(self) -> str | None:
        """The name of the judged run that this one learned again from, on all the data; None when it is no refit."""
        return (self.read_json("refit.json") or {}).get("of")

    def headline(self) -> tuple[str, dict[str, float]] | None:
        """The name of the main metric, and `value`, `low`, `high`, `n` on test rows, else on validation rows.

        None when nothing was judged, as in a refit.
        """
        judged = self.read_json("evaluation.json") or {}
        return next(iter((judged.get("test") or judged.get("validation") or {}).items()), None)

    def recipe(self) -> Recipe:
        """The resolved recipe."""
        try:
            return Recipe.from_json((self.path / "recipe.json").read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"The recipe of {self.path} could not be read: {error}.") from error
        except (RecipeError, UsageError) as error:  # the settings are not what was typed, so the call is not wrong
            raise RunError(f"{self.path / 'recipe.json'} is damaged or of another version. {error}") from error

    def write_recipe(self, recipe: Recipe) -> None:
        """Replace recipe.json, as choices are made before step 1."""
        write_text(self.path / "recipe.json", recipe.to_json())

    def status(self) -> dict[str, Any]:
        """`state`, `sentence`, `time`, as they are: a run that says running is stopped where no process holds it, or what it is a
        part of, and one that says stopped or failed is running where another process does.
        """
        status = self.read_json("status.json") or {"state": "failed", "sentence": "status.json is missing.", "time": 0}
        if status["state"] == "running" and not (self.is_held() or self.whole.is_held()):
            return {
                **status,
                "state": "stopped",
                "sentence": f"The process ended before the work did; `{self.way_on}` goes on.",
            }
        if status["state"] in ("stopped", "failed") and self.is_at_work:
            return {**status, "state": "running", "sentence": "A process is at work on it."}
        return status

    def set_status(self, state: State, sentence: str) -> None:
        """Write status.json."""
        write_json(self.path / "status.json", {"state": state, "sentence": sentence, "time": time.time()})

    def read_json(self, name: str) -> Any:
        """The JSON file `name` in the run, or None when it is absent. Raises RunError when it is damaged."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / name} is damaged: {error}.") from error

    def write_json(self, name: str, value: Any) -> None:
        """Write the JSON file `name` in the run."""
        write_json(self.path / name, value)

    @property
    def language(self) -> Literal["en", "fr"]:
        """The language that the work on the run was asked to be told in; English when it never was."""
        try:
            return "fr" if (self.path / "language.txt").read_text(encoding="utf-8").strip() == "fr" else "en"
        except FileNotFoundError:
            return "en"

    def keep_language(self, language: Literal["en", "fr"] | None) -> None:
        """Remember the language of the run's reports; None leaves it as it is."""
        if language is not None:
            write_text(self.path / "language.txt", language + "\n")

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one process that writes this run. Raises RunBusy when another one is. Freed by the kernel on kill -9."""
        with disk_errors(self.path), open(self.path / ".lock", "a+b") as file:
            if not try_lock(file, patience_s=_LOOK_S):
                raise RunBusy(f"Another process is working on {self.path}. Wait for it, or stop it first.")
            place = self.path.resolve()
            _mine.add(place)
            try:
                yield
            finally:
                _mine.discard(place)

    def is_held(self) -> bool:
        """Whether some process is working on this run."""
        try:
            with open(self.path / ".lock", "rb") as file:
                return not try_lock(file, shared=True)
        except FileNotFoundError:
            return False

    @property
    def is_at_work(self) -> bool:
        """Whether another process than this one is working on this run, or on the one that it is a part of."""
        return any(run.path.resolve() not in _mine and run.is_held() for run in (self, self.whole))

    @property
    def branch(self) -> Branch | None:
        """What the model of this run branched from, as `branch_from` noted it; None for any other start. Raises RunError."""
        noted = self.read_json("branch.json")
        if noted is None:
            return None
        return Branch(Run(Path(os.path.normpath(self.path / noted["run"]))), int(noted["step"]))

    def branch_from(self, run: Run, step: int) -> None:
        """Note that training goes on from the checkpoint of `run` after `step` steps, by a path that moves with both."""
        self.write_json("branch.json", {"run": os.path.relpath(run.path, self.path), "step": step})

    @property
    def steps_before(self) -> int:
        """Steps that the model had taken on the same data before this run: 0 unless it branched from another one."""
        branch = self.branch
        return branch.step if branch else 0

    @property
    def steps_taken(self) -> int | None:
        """Steps of this run so far, which early stopping may have made fewer than planned; None before any was measured."""
        measured = self.metrics()
        return measured[-1].step if measured else None

    @property
    def steps_in_all(self) -> int | None:
        """Steps that the model of this run has taken, with those before it branched; None before any was measured."""
        taken = self.steps_taken
        return None if taken is None else self.steps_before + taken

    def metrics(self) -> list[Measurement]:
        """All measurements so far, in order of writing."""
        found: list[Measurement] = []
        path = self.path / "metrics.jsonl"
        if path.exists():
            each_line(path, lambda line: found.append(Measurement(**line)))
        return found

    def append_metrics(self, measurements: list[Measurement]) -> None:
        """Add lines to metrics.jsonl."""
        text = "".join(json.dumps(asdict(measurement)) + "\n" for measurement in measurements)
        with disk_errors(self.path), open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(text)

    def checkpoint(self, which: Literal["best", "last", "branch"] | int = "best") -> Path:
        """The folder of a checkpoint. Raises CheckpointError when there is none."""
        folder = self.path / "checkpoints"
        if isinstance(which, int):
            path = folder / f"step_{which:06d}"
        else:
            pointer = folder / f"{which}.txt"
            if not pointer.is_file():
                raise CheckpointError(f"{self.path} has no {which} checkpoint yet. {self.what_now}")
            path = folder / pointer.read_text(encoding="utf-8").strip()
        if not path.is_dir():
            raise CheckpointError(f"{path} is missing. `{self.way_on}` goes on from what is there.")
        return path

    @property
    def bundle(self) -> Path:
        """Where the self-contained model is, once training has finished."""
        return self.path / "final_model"


def no_runs(root: Path) -> str:
    """The sentence for a folder without runs."""
    return (
        f"There are no runs in {Path(root).absolute()}. `ouvroir refine DATA` makes one; --runs names another folder."
    )


def _environment() -> dict[str, Any]:
    from importlib import metadata

    versions = {}
    for name in ("ouvroir", "torch", "numpy", "pillow", "transformers"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "created": time.time(),
        "versions": versions,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cores": usable_cores(),
        "command": sys.argv,
        **_commit(),
    }


def _commit() -> dict[str, Any]:
    """The commit of this code, where it runs from its own repository and not from a folder inside another one."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or not Path(__file__).resolve().is_relative_to(Path(top).resolve() / "src" / "ouvroir"):
        return {"commit": None, "uncommitted": False}
    return {"commit": _git("rev-parse", "HEAD"), "uncommitted": bool(_git("status", "--porcelain"))}


def _git(*arguments: str) -> str | None:
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
