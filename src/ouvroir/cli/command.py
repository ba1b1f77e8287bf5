"""What makes a function a command: groups of options are spread out, errors become a sentence and an exit status."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, get_type_hints

import typer

from ouvroir import terminal
from ouvroir.errors import OuvroirError, RecipeError, UsageError
from ouvroir.starting import INTERRUPTED


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """`function` as typer is to see and call it.

    A parameter whose type is a dataclass (parameters.py) stands for all its fields, in its place: typer sees these, and the
    function gets the object. What the function returns is the exit status, None for 0. Our own errors are told in a
    sentence; everything else is our fault and shows its traceback.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
    shown = [
        one
        for parameter in inspect.signature(function).parameters.values()
        for one in (
            _fields_of(groups[parameter.name])
            if parameter.name in groups
            else [_option(parameter.name, hints[parameter.name], parameter.default)]
        )
    ]

    @wraps(function)
    def wrapper(**given: Any) -> None:
        as_json = bool(given.get("as_json"))
        for name, group in groups.items():
            given[name] = group(**{entry.name: given.pop(entry.name) for entry in dataclasses.fields(group)})
        status = _status_of(lambda: function(**given), as_json=as_json)
        if status:
            raise typer.Exit(status)

    wrapper.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {one.name: one.annotation for one in shown}
    return wrapper


def _fields_of(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for entry in dataclasses.fields(group):
        yield _option(entry.name, hints[entry.name], entry.default)


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _status_of(work: Callable[[], int | None], *, as_json: bool) -> int:
    try:
        return work() or 0
    except (UsageError, RecipeError) as error:
        return _fail(error, 2, as_json=as_json)
    except OuvroirError as error:
        return _fail(error, 1, as_json=as_json)
    except KeyboardInterrupt as stop:
        terminal.say(str(stop) or "Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _fail(error: OuvroirError, status: int, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}, ensure_ascii=False))
    terminal.say(f"ouvroir: {error}")
    return status


def print_json(value: Mapping[str, Any]) -> None:
    """The one object of a command."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
