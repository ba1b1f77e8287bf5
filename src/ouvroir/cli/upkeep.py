"""Commands about this machine and what is kept on it: doctor, runs, cache."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ouvroir import terminal
from ouvroir.cli.command import command, print_json
from ouvroir.cli.parameters import Json, Runs
from ouvroir.errors import UsageError
from ouvroir.files import readable_size
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
        terminal.show_runs(found, runs)


@command
def runs_rm(
    names: Annotated[list[str], typer.Argument(help="Runs to remove.")],
    runs: Runs = DEFAULT_ROOT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> int:
    """Remove runs for good. It asks first. A run at work is refused.

    Example: ouvroir runs rm 2026-09-27_143012_image-classification-flowers
    """
    from ouvroir.cache import removable_run, remove_run, size_of

    if "last" in names:  # it may be another one than was meant, and nothing brings it back
        raise UsageError("Name the runs to remove in full. `ouvroir runs` lists them.")
    sizes = {path: size_of(path)[0] for path in (removable_run(name, runs) for name in names)}
    listed = ", ".join(f"{path} ({readable_size(n_bytes)})" for path, n_bytes in sizes.items())
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            f"Nothing was removed: there is no terminal to ask on. With --yes, {listed} would go for good."
        )
    if not yes and not terminal.ask(f"Remove {listed} for good?"):
        terminal.say("Nothing was removed.")
        return 1
    for path, n_bytes in sizes.items():
        remove_run(path, runs)
        if not as_json:
            print(f"Removed {path}, {readable_size(n_bytes)}.")
    if as_json:
        print_json({"removed": [str(path) for path in sizes], "size_bytes": sum(sizes.values())})
    return 0


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
