"""Which rows of labelled data a model is judged on: with labels that it knows, and not learned from unless asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ouvroir import planning, workflow
from ouvroir.data.tabular import TABLE_SUFFIXES
from ouvroir.errors import DataError
from ouvroir.files import readable_names
from ouvroir.progress import QUIET
from ouvroir.recipe import Data, Value, check_settings
from ouvroir.task import Row, Split

if TYPE_CHECKING:
    from ouvroir.bundle import Learned
    from ouvroir.data.manifest import Manifest
    from ouvroir.predictor import Predictor


USUAL = Data(validation=0.0, test=0.0)  # data to judge on have only their own splits


def reading(source: str | Path, trained: Data, settings: Mapping[str, Value]) -> Data:
    """How to read data to judge on: labels as in training, columns too where it is the same table or has them; only their own
    splits.
    """
    from ouvroir.data.large_tables import columns_of

    check_settings(settings, sections=("data",))
    is_same = str(Path(source).expanduser().absolute()) == trained.source
    of_same = ("labels", "label_separator", "label_column", "label_pattern", "path_column", "text_column")
    kept = of_same if is_same else ("labels", "label_separator")
    data = replace(USUAL, **{name: getattr(trained, name) for name in kept})
    if not is_same and Path(source).suffix.lower() in TABLE_SUFFIXES and Path(source).is_file():
        named = {name: getattr(trained, name) for name in ("label_column", "path_column", "text_column")}
        there = columns_of(Path(source)) if any(named.values()) else ()
        data = replace(data, **{name: column for name, column in named.items() if column in there})
    if any(settings.get(f"data.{name}") is not None for name in ("label_column", "label_pattern", "label_separator")):
        data = replace(data, labels=True)
    return planning.with_data_settings(data, settings)


def judgeable(
    manifest: Manifest, predictor: Predictor, split: Split | Literal["all"] | None, learned: Learned, folder: Path
) -> tuple[Manifest, dict[str, int], dict[str, int]]:
    """The rows to judge on, all as test rows; how many were left out why, and with which labels that are unknown.

    Those that `learned` knows are left out, unless `split` asks for train or validation rows. A block of a file that begins
    elsewhere since it has grown is where most of it was.
    """
    from ouvroir.data.manifest import label_names, unjudged
    from ouvroir.data.marks import Places, gathered, is_among

    manifest.require_rows()
    rows = manifest.rows
    before: tuple[Row, ...] = ()
    if manifest.source == predictor.recipe.data.source and split != "all":
        before = _rows_of_training(predictor, folder)
    if split is None:
        split = "test" if any(row.split == "test" for row in before or rows) else "all"
    left_out: Counter[str] = Counter()
    if before and split != "all":
        # the split is that of the training, all else is what the data say now; new rows count when these name their split
        was, places = {row.sha256: row.split for row in before}, Places(before)
        now, passages = {row.sha256 for row in rows}, gathered(rows)
        found = [(row, was.get(row.sha256) or places.split_of(row)) for row in rows]
        exact = gathered(row for row in rows if row.sha256 in was)  # what else stands there is a second edition of it
        again = {row.id for row, part in found if part and row.sha256 not in was and is_among(row, exact)}
        known = [
            (row, part or row.split) for row, part in found if (part or row.split != "train") and row.id not in again
        ]
        left_out["repeats other rows"] = len(again)
        left_out["added since training"] = len(rows) - len(known) - len(again)
        left_out["gone since training"] = sum(
            row.split == split and row.sha256 not in now and not is_among(row, passages) for row in before
        )
        rows = tuple(replace(row, split=part) for row, part in known)
    wanted = [row for row in rows if split in ("all", row.split)]
    unknown: Counter[str] = Counter()
    left_out["another split"] = len(rows) - len(wanted)
    kept = []
    uncounted = unjudged(wanted)
    for place, row in enumerate(wanted):
        is_learned = split not in ("validation", "train") and learned.knows(row)
        reason = "learned from" if is_learned else predictor.task.unjudged(row, predictor.processor)
        reason = reason or uncounted.get(place)
        if reason is None:
            kept.append(replace(row, split="test"))
        else:
            left_out[reason] += 1
            if not is_learned:
                unknown.update(name for name in label_names(row.label) if name not in predictor.labels)
    left_out = +left_out
    if not kept and set(left_out) == {"another split"} and not any(row.split == split for row in rows):
        raise DataError(
            f"{manifest.source} has no {split} split, so none of its {len(rows):,} rows can be judged with `--split {split}`. "
            "Leave it out: then all rows that the model did not learn from are judged."
        )
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        labels = (
            f" The model does not know {readable_names(unknown)}; it knows {readable_names(predictor.labels)}."
            if unknown
            else ""
        )
        other = (
            " Leave out --split: then all rows that it did not learn from are judged."
            if "another split" in left_out
            else ""
        )
        raise DataError(f"No row of {manifest.source} can be judged: {reasons or 'there are none'}.{labels}{other}")
    return replace(manifest, rows=tuple(kept)), dict(left_out), dict(unknown.most_common())


def _rows_of_training(predictor: Predictor, folder: Path) -> tuple[Row, ...]:
    """The rows of the manifest that the model was trained with; none when it is not kept or was read from changed files."""
    try:
        before = workflow.manifest_again(predictor.recipe, QUIET, near=folder)
    except DataError:
        return ()
    return before.rows if before.fingerprint == predictor.recipe.data.manifest else ()
