"""The command line: one function per verb reads arguments, calls the API and prints.

Results go to standard output, everything else to standard error. Exit status: 0 done, 1 refused, failed or stopped, 2
wrong call, 130 Ctrl-C with nothing to resume. With --json, one object on standard output (docs/reference/json.md).

Commands live in modules by family. What they share is written once: options in parameters.py, and in command.py how
errors become a sentence and an exit status. To add a command, write its function and name it here.
"""

from __future__ import annotations

import json
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer

from ouvroir import starting
from ouvroir.cli import data, models, training, upkeep
from ouvroir.errors import UnsupportedSystem
from ouvroir.memory import claim_process
from ouvroir.system import require_system

app = typer.Typer(
    name="ouvroir",
    help="Teach models from your own files, see honestly whether they got better, and use them.\n\n"
    "Example: ouvroir refine flowers/",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
for function in (  # in the order of the help
    data.check,
    training.train,
    training.finetune,
    training.refine,
    models.evaluate,
    models.compare,
    models.predict,
    models.generate,
    models.prove,
    models.export,
    training.refit,
    models.report,
    data.sample,
    upkeep.doctor,
):
    app.command()(function)
for group, remove in ((upkeep.runs, upkeep.runs_rm), (upkeep.cache, upkeep.cache_rm)):
    inner = typer.Typer(invoke_without_command=True, callback=group)
    inner.command("rm")(remove)
    app.add_typer(inner, name=group.__name__)

_WrongCall: Any = typer.BadParameter.__mro__[1]  # UsageError of the click that this typer stands on


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from ouvroir import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    del version


def main() -> None:
    """Entry point of the `ouvroir` command."""
    claim_process()
    try:
        require_system()
    except UnsupportedSystem as error:
        sys.exit(f"ouvroir: {error}")
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, starting.leave):
        signal.signal(signal.SIGINT, _interrupt)
    try:
        status = app(standalone_mode=False)
    except _WrongCall as error:
        error.message = error.message.replace("Value error, ", "")
        if "unexpected extra argument" in error.message:
            error.message += ". Put a name with spaces between quotes."
        error.show()
        if "--json" in sys.argv:
            print(json.dumps({"error": "UsageError", "message": error.format_message()}, ensure_ascii=False))
        status = 2
    sys.exit(status)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C. Inside an import nothing has begun."""
    above = frame
    while above is not None:
        if above.f_code.co_filename.startswith("<frozen importlib"):
            starting.leave(number, frame)
        above = above.f_back
    signal.default_int_handler(number, frame)
