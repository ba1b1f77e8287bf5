"""Arguments and options that several commands have, each written once.

A single one is an annotated type. Those that go together are a frozen dataclass: a command that names it as the type of a
parameter gets all its options, and the object (command.py spreads them out).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ouvroir import terminal
from ouvroir.errors import UsageError
from ouvroir.options import Language
from ouvroir.progress import Progress
from ouvroir.run import DEFAULT_ROOT


def default_language() -> Language:
    """The language of the terminal, as far as there is one in it."""
    spoken = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "fr" if spoken.lower().startswith("fr") else "en"


DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="A folder, a text, a table (CSV, JSONL, Parquet) or a zip of either.")
]
DataUnlessResumed = Annotated[str | None, typer.Argument(metavar="DATA", help="A folder, a text, a table or a zip.")]
ModelArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run, its name, `last` (the newest that can), or a final_model folder."),
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run, its name, or `last` (the newest that can).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
Runs = Annotated[Path, typer.Option("--runs", help="The folder of runs.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes that open files; one per core by default.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any setting, e.g. optim.lr=3e-4; repeatable.")
]
LanguageOption = Annotated[
    Language | None,
    typer.Option("--language", help="Of the report; by default that of the run, at first as the terminal speaks."),
]
Split = Annotated[
    Literal["train", "validation", "test", "all"] | None,
    typer.Option(
        "--split",
        help="Rows to judge on; by default test where the model knows the data, else all. With train or validation those "
        "that it learned from stay in, and the figures flatter.",
    ),
]
From = Annotated[str, typer.Option("--from", help="Start from a run, a folder of pretrained weights or a hub name.")]
Preset = Annotated[Literal["tiny", "small", "base"], typer.Option("--preset", help="The one dial for the size.")]
Resume = Annotated[
    str | None,
    typer.Option("--resume", metavar="RUN", help="Go on with a stopped run (`last`: the newest), to the same result."),
]
Scope = Annotated[str, typer.Option("--scope", help="What learns: all, head, last:N or names of parts.")]


def read_settings(pairs: list[str] | None) -> dict[str, str]:
    """What `--set NAME=VALUE` said. Raises UsageError."""
    found = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"`--set {pair}` lacks an equals sign. Write for instance --set optim.lr=3e-4.")
        found[name.strip()] = value.strip()
    return found


def setting_words(settings: Mapping[str, str]) -> list[str]:
    """What to type to have these settings again."""
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


@dataclass(frozen=True)
class ReadingOptions:
    """Of commands that read DATA to learn from it: how it is read, and with the same option every other setting."""

    task: Annotated[str | None, typer.Option("--task", help="The task; found by the kind of files when absent.")] = None
    label_column: Annotated[
        str | None, typer.Option("--label-column", help="Short for --set data.label_column=...")
    ] = None
    group_column: Annotated[
        str | None, typer.Option("--group-column", help="Short for --set data.group_column=...")
    ] = None
    group_pattern: Annotated[
        str | None, typer.Option("--group-pattern", help="Short for --set data.group_pattern=...")
    ] = None
    pairs: Settings = None

    @property
    def settings(self) -> dict[str, str]:
        """All of them as dotted names, `--set` last and so over the short forms. Raises UsageError."""
        short = {
            "data.label_column": self.label_column,
            "data.group_column": self.group_column,
            "data.group_pattern": self.group_pattern,
        }
        return {name: value for name, value in short.items() if value is not None} | read_settings(self.pairs)

    @property
    def words(self) -> list[str]:
        """What to type to have data read so again."""
        task = [] if self.task is None else ["--task", self.task]
        return [*task, *setting_words(self.settings)]


@dataclass(frozen=True)
class TrainingOptions:
    """Of commands that train."""

    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.05, help="Time to train in all; turned into a number of steps.")
    ] = None
    exact: Annotated[bool, typer.Option("--exact", help="The same weights to the bit on any number of processes.")] = (
        False
    )
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, try two steps, say size and time; leave no run.")
    ] = False
    language: LanguageOption = None


@dataclass(frozen=True)
class WorkOptions:
    """Of commands that do long work: where, on what, and how it is told."""

    runs: Runs = DEFAULT_ROOT
    device: Device = "auto"
    workers: Workers = None
    as_json: Json = False
    quiet: Quiet = False

    def progress(self) -> AbstractContextManager[Progress]:
        """Where the command tells of itself."""
        return terminal.progress(quiet=self.quiet)

    @property
    def place(self) -> dict[str, Any]:
        """The options of the API by the same names."""
        return {"runs": self.runs, "device": self.device, "workers": self.workers}
