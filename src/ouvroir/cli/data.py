"""Commands about data: check, sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ouvroir import api, terminal
from ouvroir.cli.command import command, print_json
from ouvroir.cli.parameters import DataArgument, Json, Quiet, ReadingOptions, Workers
from ouvroir.errors import DataError
from ouvroir.files import readable_count
from ouvroir.media import find_task


@command
def check(
    data: DataArgument,
    *,
    reading: ReadingOptions,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Account for every file: admitted, or refused with a reason.

    Example: ouvroir check flowers/
    """
    with terminal.progress(quiet=quiet) as progress:
        manifest = api.check(data, task=reading.task, settings=reading.settings, workers=workers, progress=progress)
    if as_json:
        print_json(manifest.summary())
    else:
        terminal.show_manifest(manifest)
        try:
            manifest.require_trainable(needs_labels=find_task(manifest.task).needs_labels)
        except DataError as error:
            if not any(note.prevents for note in manifest.notes):  # which are shown
                terminal.say(str(error))
        else:
            if any(row.split != "train" for row in manifest.rows):  # else a model cannot be judged, as notes have said
                terminal.show_next("check", data=[data, *reading.words])
    return 0 if manifest.rows else 1


@command
def sample(
    task: Annotated[str, typer.Argument(help="A task, e.g. image-classification.")],
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    as_json: Json = False,
) -> None:
    """Write a small real data set to try things on.

    Example: ouvroir sample image-classification digits/
    """
    count = api.sample(task, folder)
    if as_json:
        print_json({"folder": str(folder.absolute()), "files": count})
    else:
        print(f"{readable_count(count, 'file is', 'files are')} in {folder}. Next: ouvroir refine {folder}")
