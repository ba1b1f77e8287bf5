"""The command line: one function per verb reads arguments, calls the API and prints.

Results go to standard output, everything else to standard error. Exit status: 0 done, 1 refused, failed or stopped, 2
wrong call. With --json, one object on standard output (docs/reference/json.md).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import typer

from ouvroir import api, summaries, terminal
from ouvroir.errors import OuvroirError, RecipeError, UsageError
from ouvroir.recipe import Recipe
from ouvroir.run import DEFAULT_ROOT, Run

app = typer.Typer(
    name="ouvroir",
    help="Teach models from your own files, see honestly whether they got better, and use them.\n\n"
    "Example: ouvroir refine flowers/",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
runs_app = typer.Typer(invoke_without_command=True)
cache_app = typer.Typer(invoke_without_command=True)
app.add_typer(runs_app, name="runs")
app.add_typer(cache_app, name="cache")


_WrongCall: Any = typer.BadParameter.__mro__[1]  # UsageError of the click that this typer stands on


def _default_language() -> str:
    spoken = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "fr" if spoken.lower().startswith("fr") else "en"


DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="A folder, a table (CSV, JSONL, Parquet) or a zip of either.")
]
ModelArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run, its name, `last`, or a final_model folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
Runs = Annotated[Path, typer.Option("--runs", help="The folder of runs.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes that open files; one per core by default.")
]
TaskOption = Annotated[str | None, typer.Option("--task", help="The task; found by the kind of files when absent.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any setting, e.g. optim.lr=3e-4; repeatable.")
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", min=0.05, help="Time to train in all; turned into a number of steps.")
]
Preset = Annotated[str, typer.Option("--preset", help="tiny, small or base: the one dial for the size.")]
From = Annotated[str, typer.Option("--from", help="Start from a run, a folder of pretrained weights or a hub name.")]
LanguageOption = Annotated[
    str, typer.Option("--language", help="en or fr, for the report; by default as the terminal speaks.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, try two steps, say size and time; leave no run.")
]
Resume = Annotated[
    str | None, typer.Option("--resume", metavar="RUN", help="Go on with a stopped run, to the same result.")
]
LabelColumn = Annotated[str | None, typer.Option("--label-column", help="Short for --set data.label_column=...")]
GroupColumn = Annotated[str | None, typer.Option("--group-column", help="Short for --set data.group_column=...")]
GroupPattern = Annotated[str | None, typer.Option("--group-pattern", help="Short for --set data.group_pattern=...")]


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C. Inside an import nothing has begun, and an exception there can end a C++ library in a crash: leave at once."""
    above = frame
    while above is not None:
        if above.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"Stopped.\n")
            os._exit(1)
        above = above.f_back
    signal.default_int_handler(number, frame)


def _command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Turn our errors into a sentence and an exit status; everything else is our own fault and shows its traceback."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            status = function(*args, **kwargs) or 0
        except (UsageError, RecipeError) as error:
            status = _fail(error, 2, as_json=bool(kwargs.get("as_json")))
        except OuvroirError as error:
            status = _fail(error, 1, as_json=bool(kwargs.get("as_json")))
        except KeyboardInterrupt:
            terminal.say("Stopped.")
            status = 1
        except BrokenPipeError:
            sys.stderr.close()
            status = 1
        raise typer.Exit(status)

    return wrapper


def _fail(error: OuvroirError, status: int, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}, ensure_ascii=False))
    terminal.say(f"ouvroir: {error}")
    return status


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _settings(pairs: list[str] | None, **short: str | None) -> dict[str, str]:
    found = {f"data.{name}": value for name, value in short.items() if value is not None}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"`--set {pair}` lacks an equals sign. Write for instance --set optim.lr=3e-4.")
        found[name.strip()] = value.strip()
    return found


def _require_absent(*given: Any) -> None:
    """A run goes on as it began: what would change it is refused, and not left unheard."""
    if any(given):
        raise UsageError(
            "--resume goes on with a run as it began. Leave out DATA and the settings, or start a new run without --resume."
        )


def _choose(value: str, allowed: tuple[str, ...], option: str) -> Any:
    if value not in allowed:
        raise UsageError(f"{option} can be {', '.join(allowed)}, and not `{value}`.")
    return value


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from ouvroir import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    del version


@app.command()
@_command
def check(
    data: DataArgument,
    task: TaskOption = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    group_pattern: GroupPattern = None,
    settings: Settings = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Account for every file: admitted, or refused with a reason.

    Example: ouvroir check flowers/
    """
    chosen = _settings(settings, label_column=label_column, group_column=group_column, group_pattern=group_pattern)
    with terminal.progress(quiet=quiet) as progress:
        manifest = api.check(data, task=task, settings=chosen, workers=workers, progress=progress)
    if as_json:
        _print_json(manifest.summary())
    else:
        terminal.show_manifest(manifest)
    return 0 if manifest.rows else 1


@app.command()
@_command
def train(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="A folder, a table or a zip.")] = None,
    resume: Resume = None,
    init_from: From = "scratch",
    scope: Annotated[str, typer.Option("--scope", help="What learns: all, head, last:N or names of parts.")] = "all",
    task: TaskOption = None,
    preset: Preset = "small",
    minutes: Minutes = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="The same weights to the bit on any number of processes.")
    ] = False,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="A recipe.json to start from.")] = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    group_pattern: GroupPattern = None,
    settings: Settings = None,
    runs: Runs = DEFAULT_ROOT,
    device: Device = "auto",
    workers: Workers = None,
    dry_run: DryRun = False,
    language: LanguageOption = _default_language(),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train a model on your files and judge it on files it has not seen.

    Example: ouvroir train flowers/ --minutes 5
    """
    chosen = _settings(settings, label_column=label_column, group_column=group_column, group_pattern=group_pattern)
    if scope != "all":
        chosen["model.scope"] = scope
    if exact:
        chosen["loop.exact"] = "true"
    _choose(preset, ("tiny", "small", "base"), "--preset")
    _choose(language, ("en", "fr"), "--language")
    with terminal.progress(quiet=quiet) as progress:
        shared: dict[str, Any] = {"runs": runs, "device": device, "workers": workers, "language": language}
        if resume is not None:
            _require_absent(data, init_from != "scratch", minutes, recipe, chosen, dry_run, task)
            run = api.resume(resume, progress=progress, **shared)
        elif data is None:
            raise UsageError(
                "Say what to train on: ouvroir train DATA. Or go on with a run: ouvroir train --resume RUN."
            )
        else:
            if recipe and preset != "small":
                raise UsageError("The recipe says its preset. To change it: --set model.preset=" + preset)
            given = Recipe.from_json(_read(recipe)) if recipe else None
            common: dict[str, Any] = {"task": task, "preset": preset, "init_from": init_from, "recipe": given}
            common |= {"minutes": minutes, "settings": chosen, "progress": progress}
            if dry_run:
                return _show_plan(
                    api.dry_run(data, device=device, workers=workers, runs=runs, **common), as_json=as_json
                )
            run = api.train(data, **common, **shared)
    return _show_run(run, as_json=as_json, language=language)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} could not be read: {error}.") from error


def _show_plan(found: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        _print_json(found)
    else:
        terminal.show_plan(found)
    return 0


def _show_run(run: Run, *, as_json: bool, language: str = "en") -> int:
    summary = summaries.run_summary(run)
    if not terminal.is_first_process():
        return 0
    if as_json:
        _print_json(summary)
    else:
        terminal.show_run(summary, language=language)
    return 0 if summary["state"] == "finished" else 1


@app.command()
@_command
def finetune(
    model: Annotated[str, typer.Argument(metavar="RUN|FOLDER|HUB", help="The model to start from.")],
    data: DataArgument,
    scope: Annotated[str, typer.Option("--scope", help="What learns: all, head, last:N or names of parts.")] = "all",
    minutes: Minutes = None,
    settings: Settings = None,
    runs: Runs = DEFAULT_ROOT,
    device: Device = "auto",
    workers: Workers = None,
    language: LanguageOption = _default_language(),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Go on from an earlier model with your files; new classes are mapped by name.

    Example: ouvroir finetune last more_flowers/ --scope head
    """
    _choose(language, ("en", "fr"), "--language")
    with terminal.progress(quiet=quiet) as progress:
        run = api.finetune(
            model,
            data,
            scope=scope,
            minutes=minutes,
            settings=_settings(settings),
            runs=runs,
            device=device,
            workers=workers,
            language=language,
            progress=progress,
        )
    return _show_run(run, as_json=as_json, language=language)


@app.command()
@_command
def refine(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="A folder, a table or a zip.")] = None,
    resume: Resume = None,
    init_from: From = "scratch",
    task: TaskOption = None,
    preset: Preset = "small",
    minutes: Minutes = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    group_pattern: GroupPattern = None,
    settings: Settings = None,
    runs: Runs = DEFAULT_ROOT,
    device: Device = "auto",
    workers: Workers = None,
    dry_run: DryRun = False,
    language: LanguageOption = _default_language(),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """THE MAIN JOB: check, pack, train, fine-tune, compare and report.

    Example: ouvroir refine flowers/ --minutes 10
    """
    chosen = _settings(settings, label_column=label_column, group_column=group_column, group_pattern=group_pattern)
    _choose(preset, ("tiny", "small", "base"), "--preset")
    _choose(language, ("en", "fr"), "--language")
    with terminal.progress(quiet=quiet) as progress:
        shared: dict[str, Any] = {"runs": runs, "device": device, "workers": workers, "language": language}
        if resume is not None:
            _require_absent(data, init_from != "scratch", minutes, chosen, dry_run, task)
            run = api.resume(resume, progress=progress, **shared)
        elif data is None:
            raise UsageError(
                "Say what to work on: ouvroir refine DATA. Or go on with a run: ouvroir refine --resume RUN."
            )
        else:
            common: dict[str, Any] = {"task": task, "preset": preset, "init_from": init_from, "minutes": minutes}
            common |= {"settings": chosen, "progress": progress}
            if dry_run:
                return _show_plan(
                    api.dry_run(data, device=device, workers=workers, runs=runs, **common), as_json=as_json
                )
            run = api.refine(data, **common, **shared)
    return _show_run(run, as_json=as_json, language=language)


@app.command()
@_command
def evaluate(
    model: ModelArgument,
    data: DataArgument,
    split: Annotated[str | None, typer.Option("--split", help="train, validation, test or all.")] = None,
    settings: Settings = None,
    runs: Runs = DEFAULT_ROOT,
    device: Device = "auto",
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Judge a model on labelled files. Rows it learned from are left out, and counted.

    Example: ouvroir evaluate last new_flowers/
    """
    part = None if split is None else _choose(split, ("train", "validation", "test", "all"), "--split")
    with terminal.progress(quiet=quiet) as progress:
        found = api.evaluate(
            model,
            data,
            split=part,
            settings=_settings(settings),
            runs=runs,
            device=device,
            workers=workers,
            progress=progress,
        )
    summary = summaries.evaluation_summary(model, found)
    if as_json:
        _print_json(summary)
    else:
        terminal.show_evaluation(summary)
    return 0


@app.command()
@_command
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A run or bundle.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    data: DataArgument,
    split: Annotated[str | None, typer.Option("--split", help="train, validation, test or all.")] = None,
    settings: Settings = None,
    runs: Runs = DEFAULT_ROOT,
    device: Device = "auto",
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Judge two models on the same unseen files, paired: which items B fixes and breaks, and whether it is better.

    Example: ouvroir compare runs/first runs/second flowers/
    """
    part = None if split is None else _choose(split, ("train", "validation", "test", "all"), "--split")
    with terminal.progress(quiet=quiet) as progress:
        found = api.compare(
            a,
            b,
            data,
            split=part,
            settings=_settings(settings),
            runs=runs,
            device=device,
            workers=workers,
            progress=progress,
        )
    summary = summaries.comparison_summary(a, b, found)
    if as_json:
        _print_json(summary)
    else:
        terminal.show_comparison(summary)
    return 0


@app.command()
@_command
def predict(
    model: ModelArgument,
    files: Annotated[
        list[str], typer.Argument(metavar="FILES…", help="Files, folders, or - for paths on standard input.")
    ],
    output: Annotated[str, typer.Option("--format", help="table, csv, json or jsonl.")] = "table",
    threshold: Annotated[
        str | None,
        typer.Option(
            "--threshold", help="Answer 'none of these' below this confidence, 0 to 1; auto: as the report proposes."
        ),
    ] = None,
    runs: Runs = DEFAULT_ROOT,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Answer for new files.

    Example: ouvroir predict last photos/ --format csv > answers.csv
    """
    _choose(output, ("table", "csv", "json", "jsonl"), "--format")
    with terminal.progress(quiet=False) as progress:
        n_failed = api.predict_files(
            model,
            files,
            output="json" if as_json else output,  # type: ignore[arg-type]
            threshold=_threshold(threshold),
            runs=runs,
            device=device,
            to=sys.stdout,
            progress=progress,
        )
    return 1 if n_failed else 0


def _threshold(text: str | None) -> float | Literal["auto"] | None:
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"--threshold is a number between 0 and 1, or auto, and not `{text}`.")
    return value


@app.command()
@_command
def export(
    model: ModelArgument,
    to: Annotated[str, typer.Option("--to", help="onnx, pth or hf.")],
    folder: Annotated[Path | None, typer.Option("--folder", help="Where to; `export/` in the run by default.")] = None,
    runs: Runs = DEFAULT_ROOT,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write the model in another format; held-out items are replayed through it before it is called done.

    Example: ouvroir export last --to onnx
    """
    _choose(to, ("onnx", "pth", "hf"), "--to")
    with terminal.progress(quiet=quiet) as progress:
        result = api.export(model, to, folder, runs=runs, progress=progress)  # type: ignore[arg-type]
    if as_json:
        _print_json(result.as_dict())
    else:
        terminal.show_export(result)
    return 0


@app.command()
@_command
def refit(
    run: ModelArgument,
    runs: Runs = DEFAULT_ROOT,
    device: Device = "auto",
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train again with the settled recipe on all the data, before shipping.

    Example: ouvroir refit last
    """
    with terminal.progress(quiet=quiet) as progress:
        made = api.refit(run, runs=runs, device=device, workers=workers, progress=progress)
    return _show_run(made, as_json=as_json)


@app.command()
@_command
def report(
    run: ModelArgument,
    language: LanguageOption = _default_language(),
    runs: Runs = DEFAULT_ROOT,
    as_json: Json = False,
) -> int:
    """Render the report of a run again, for instance in French.

    Example: ouvroir report last --language fr
    """
    path = api.report(run, language=_choose(language, ("en", "fr"), "--language"), runs=runs)
    if as_json:
        _print_json({"report": str(path)})
    else:
        print(path)
    return 0


@app.command()
@_command
def sample(
    task: Annotated[str, typer.Argument(help="A task, e.g. image-classification.")],
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    as_json: Json = False,
) -> int:
    """Write a small real data set to try things on.

    Example: ouvroir sample image-classification digits/
    """
    count = api.sample(task, folder)
    if as_json:
        _print_json({"folder": str(folder.absolute()), "files": count})
    else:
        print(f"{count} files are in {folder}. Next: ouvroir refine {folder}")
    return 0


@app.command()
@_command
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without asking.")] = False,
    as_json: Json = False,
) -> int:
    """Is this machine ready? Packages, devices, disk, hub, folders.

    Example: ouvroir doctor
    """
    from ouvroir.doctor import as_dict as findings_as_dict
    from ouvroir.doctor import examine

    findings = examine(fix=fix)
    if as_json:
        _print_json(findings_as_dict(findings))
    else:
        terminal.show_findings(findings)
    return 1 if any(finding.level == "fail" for finding in findings) else 0


@runs_app.callback()
def runs_list(context: typer.Context, runs: Runs = DEFAULT_ROOT, as_json: Json = False) -> None:
    """List the runs, or remove one.

    Example: ouvroir runs
    """
    if context.invoked_subcommand is None:
        _list_runs(runs=runs, as_json=as_json)


@_command
def _list_runs(runs: Path, as_json: bool) -> int:
    from ouvroir.cache import list_runs

    found = list_runs(runs)
    if as_json:
        _print_json({"runs": [one.as_dict() for one in found]})
    else:
        terminal.show_runs(found)
    return 0


@runs_app.command("rm")
@_command
def runs_rm(
    names: Annotated[list[str], typer.Argument(help="Runs to remove.")],
    runs: Runs = DEFAULT_ROOT,
    as_json: Json = False,
) -> int:
    """Remove runs for good. A run at work is refused.

    Example: ouvroir runs rm 2026-09-27_143012_image-classification_flowers
    """
    from ouvroir.cache import remove_run

    removed = [str(remove_run(name, runs)) for name in names]
    if as_json:
        _print_json({"removed": removed})
    else:
        print("\n".join(f"Removed {path}." for path in removed))
    return 0


@cache_app.callback()
def cache_list(context: typer.Context, as_json: Json = False) -> None:
    """What Ouvroir keeps on the disk to start quickly, and how to remove it.

    Example: ouvroir cache
    """
    if context.invoked_subcommand is None:
        _list_cache(as_json=as_json)


@_command
def _list_cache(as_json: bool) -> int:
    from ouvroir.cache import list_cache

    found = list_cache()
    if as_json:
        _print_json({"entries": [one.as_dict() for one in found]})
    else:
        terminal.show_cache(found)
    return 0


@cache_app.command("rm")
@_command
def cache_rm(
    kinds: Annotated[
        list[str] | None, typer.Argument(help="manifests, facts, splits, packs or probes; all but splits when absent.")
    ] = None,
    unused_days: Annotated[float, typer.Option("--unused-days", min=0, help="Only what was not used for so long.")] = 0,
    as_json: Json = False,
) -> int:
    """Remove cached things; they are made again when needed.

    Example: ouvroir cache rm packs --unused-days 30
    """
    from ouvroir.cache import clear_cache

    with terminal.progress(quiet=False) as progress:
        removed = clear_cache(kinds or None, unused_days=unused_days, progress=progress)
    if as_json:
        _print_json({"removed": [one.as_dict() for one in removed]})
    else:
        terminal.show_removed(removed)
    return 0


def main() -> None:
    """Entry point of the `ouvroir` command."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        status = app(standalone_mode=False)
    except _WrongCall as error:
        error.show()
        if "--json" in sys.argv:
            print(json.dumps({"error": "UsageError", "message": error.format_message()}, ensure_ascii=False))
        status = 2
    sys.exit(status)
