"""Write docs/reference/settings.md and commands.md from the code: `python docs/generate.py`. A test keeps them true."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from ouvroir.cli import app
from ouvroir.media import TASKS, find_task
from ouvroir.recipe import Recipe

REFERENCE = Path(__file__).parent / "reference"


def settings() -> str:
    """Every setting of a recipe, by section and by task."""
    lines = [
        "# Settings",
        "",
        "Everything that decides what a training does. Give any of them with `--set name=value`, in Python with",
        "`settings={name: value}`, or as a JSON file with `--recipe`. In Python a value may be a number, a boolean, None or",
        "the text of the command line. What stands here as a default is often replaced by what the task proposes for your",
        "data; the recipe.json of a run holds what was used.",
        "",
    ]
    plain = Recipe(task=next(iter(TASKS)), options=find_task(next(iter(TASKS))).Options())
    for section in ("data", "model", "optim", "loop", "constants"):
        lines += _table(section, getattr(plain, section))
    for task in TASKS:
        lines += _table("options", find_task(task).Options(), f"options of {task}")
    return "\n".join(lines).rstrip() + "\n"


def _table(section: str, part: Any, title: str = "") -> list[str]:
    rows = [f"## {title or section}", "", "| setting | default | what it is |", "|---|---|---|"]
    for entry in dataclasses.fields(part):
        value = json.dumps(getattr(part, entry.name), ensure_ascii=False)
        text = str(entry.metadata.get("description", "")).replace("|", "\\|")
        rows.append(f"| `{section}.{entry.name}` | `{value}` | {text} |")
    return [*rows, ""]


def commands() -> str:
    """Every command with its options."""
    group: Any = typer.main.get_command(app)
    lines = ["# Commands", "", "`ouvroir COMMAND --help` shows the same.", ""]
    for name, command in group.commands.items():
        lines += _command(f"ouvroir {name}", command)
        for inner, part in getattr(command, "commands", {}).items():
            lines += _command(f"ouvroir {name} {inner}", part)
    return "\n".join(lines).rstrip() + "\n"


def _command(name: str, command: Any) -> list[str]:
    text = [line.strip() for line in (command.help or "").strip().splitlines()]
    lines = [f"## {name}", ""]
    lines += [f"`{line}`" if line.startswith("Example:") else line for line in text] + [""]
    shown = [param for param in command.params if param.name != "help"]
    if shown:
        lines += ["| argument or option | default | what it is |", "|---|---|---|"]
    for param in shown:
        spelled = (
            ", ".join([*param.opts, *param.secondary_opts])
            if param.param_type_name == "option"
            else (param.metavar or param.name.upper())
        )
        default = "" if param.required or param.default is None else f"`{param.default}`"
        text = " ".join(filter(None, [getattr(param, "help", ""), _choices(command, param.name)]))
        lines.append(f"| `{spelled}` | {default} | {text.replace('|', chr(92) + '|')} |")
    return [*lines, ""]


def _choices(command: Any, name: str) -> str:
    """The values that an option may have, where they are few."""
    annotation = inspect.signature(command.callback).parameters[name].annotation
    kinds = [annotation, *get_args(annotation), *(inner for kind in get_args(annotation) for inner in get_args(kind))]
    found = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    return f"One of {', '.join(found)}." if found else ""


def main() -> None:
    """Write both pages."""
    REFERENCE.mkdir(exist_ok=True)
    (REFERENCE / "settings.md").write_text(settings(), encoding="utf-8")
    (REFERENCE / "commands.md").write_text(commands(), encoding="utf-8")


if __name__ == "__main__":
    main()
