"""What a trial of synthetic data left in its run for the trainings that come after it: samples to learn from, or none.

synthesis.json says it: the verdict, which samples, and the share of each batch that they make up.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ouvroir import assessing, generating
from ouvroir.errors import DataError
from ouvroir.evaluation.proof import UNTRIED
from ouvroir.recipe import Value
from ouvroir.run import GENERATOR, Run
from ouvroir.task import Row
from ouvroir.trials import rows_digest

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest
    from ouvroir.options import Workplace
    from ouvroir.recipe import Recipe

OUTCOME = "synthesis.json"


@dataclass(frozen=True)
class Admitted:
    """Samples to learn from, none unless a trial admitted them, and the share of each batch that they make up."""

    rows: tuple[Row, ...]
    share: float


def leave_out(run: Run, reason: str, kind: str | None = None) -> None:
    """Note that synthetic data were not tried, and why in a sentence; what is trained then learns from real data alone.

    `kind`: the samples that there are all the same.
    """
    run.write_json(OUTCOME, {"verdict": "untried", "kind": kind, "share": 0.0, "said": [f"{UNTRIED} {reason}"]})


def folder_of(run: Run) -> Path:
    """Where the samples of a run are that were tried; the new ones where none were."""
    return run.path / GENERATOR / ((run.read_json(OUTCOME) or {}).get("kind") or generating.FOLDER)


def admitted(run: Run) -> Admitted:
    """What the trial of synthetic data in a run admitted. Raises DataError when the samples are not as they were tried."""
    noted = run.read_json(OUTCOME)
    if noted is None or noted["verdict"] != "admitted":
        return Admitted((), 0.0)
    folder = folder_of(run)
    rows = assessing.kept_rows(folder)
    if rows_digest(rows) != noted["rows"]:
        raise DataError(
            f"The samples in {folder} are not those that were admitted. Delete {run.path / OUTCOME} and "
            f"`ouvroir prove {shlex.quote(str(run.path))}` tries them again."
        )
    return Admitted(rows, noted["share"])


def with_admitted(
    recipe: Recipe, manifest: Manifest, at: Workplace, *, share: Value | None = None
) -> tuple[Recipe, Manifest]:
    """A planned fine-tuning, with the samples that were admitted in the run whose model it starts from, on the same data.

    `share`: of each batch, where a person asked for another one; 0 leaves them out. Raises DataError when the samples are not as
    they were tried.
    """
    run = Run(Path(recipe.model.init_from)).whole
    if (run.read_json(OUTCOME) or {}).get("verdict") != "admitted" or (
        share is not None and not recipe.loop.synthetic_share
    ):
        return recipe, manifest
    if run.models[0].recipe().data.manifest != manifest.fingerprint:
        at.progress.say(
            f"Samples were admitted in {run.path} for other rows than these, or another split of them, so they are not learned "
            "from."
        )
        return recipe, manifest
    found = admitted(run)
    both = with_rows(manifest, found.rows)
    recipe = replace(recipe, data=replace(recipe.data, manifest=both.fingerprint))
    if share is None:
        recipe = recipe.replace("loop", synthetic_share=found.share)
    of_batch = f"{100 * recipe.loop.synthetic_share:.0f} % of each batch"
    at.progress.say(f"{len(found.rows)} samples that were admitted make up {of_batch}.")
    return recipe, both


def with_rows(manifest: Manifest, rows: Sequence[Row]) -> Manifest:
    """The manifest with samples among its train rows."""
    return replace(manifest, rows=tuple(sorted((*manifest.rows, *rows), key=lambda row: row.id)))
