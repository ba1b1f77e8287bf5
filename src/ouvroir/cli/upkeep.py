"""Commands about this machine and what is kept on it: doctor, runs, cache."""

from __future__ import annotations

from typing import Annotated

import typer

from ouvroir import terminal
from ouvroir.cli.command import command, print_json
from ouvroir.cli.parameters import Json, Runs
from ouvroir.run import DEFAULT_ROOT


@command
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
        print_json(findings_as_dict(findings))
    else:
        terminal.show_findings(findings)
    return 1 if any(finding.level == "fail" for finding in findings) else 0


@command
def runs(context: typer.Context, runs: Runs = DEFAULT_ROOT, as_json: Json = False) -> None:
    """List the runs, or remove one.

    Example: ouvroir runs
    """
    from ouvroir.cache import list_runs

    if context.invoked_subcommand is not None:
        return
    found = list_runs(runs)
    if as_json:
        print_json({"runs": [one.as_dict() for one in found]})
    else:
        terminal.show_runs(found)


@command
def runs_rm(
    names: Annotated[list[str], typer.Argument(help="Runs to remove.")],
    runs: Runs = DEFAULT_ROOT,
    as_json: Json = False,
) -> None:
    """Remove runs for good. A run at work is refused.

    Example: ouvroir runs rm 2026-09-27_143012_image-classification_flowers
    """
    from ouvroir.cache import remove_run

    removed = [str(remove_run(name, runs)) for name in names]
    if as_json:
        print_json({"removed": removed})
    else:
        print("\n".join(f"Removed {path}." for path in removed))


@command
def cache(context: typer.Context, as_json: Json = False) -> None:
    """What Ouvroir keeps on the disk to start quickly, and how to remove it.

    Example: ouvroir cache
    """
    from ouvroir.cache import list_cache

    if context.invoked_subcommand is not None:
        return
    found = list_cache()
    if as_json:
        print_json({"entries": [one.as_dict() for one in found]})
    else:
        terminal.show_cache(found)


@command
def cache_rm(
    kinds: Annotated[
        list[str] | None, typer.Argument(help="manifests, facts, splits, packs or probes; all but splits when absent.")
    ] = None,
    unused_days: Annotated[float, typer.Option("--unused-days", min=0, help="Only what was not used for so long.")] = 0,
    as_json: Json = False,
) -> None:
    """Remove cached things; they are made again when needed.

    Example: ouvroir cache rm packs --unused-days 30
    """
    from ouvroir.cache import clear_cache

    with terminal.progress(quiet=False) as progress:
        removed = clear_cache(kinds or None, unused_days=unused_days, progress=progress)
    if as_json:
        print_json({"removed": [one.as_dict() for one in removed]})
    else:
        terminal.show_removed(removed)
