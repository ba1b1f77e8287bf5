"""report.json: everything a report tells, as plain values made from what a run left behind. `page` makes it readable.

Blind to the medium: a sample is a MIME type and bytes. Every part is absent when its data are, so the same function
serves one label, several labels, and tasks that know only a loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ouvroir.baselines import MOST_FREQUENT
from ouvroir.evaluation import breakdown
from ouvroir.evaluation.compare import Comparison, compare
from ouvroir.evaluation.french import in_french
from ouvroir.evaluation.metrics import (
    Metric,
    counts_rows,
    decisions,
    is_classified,
    is_higher_better,
    labelled,
    measure,
    n_units,
)
from ouvroir.evaluation.page import render
from ouvroir.evaluation.report_input import ReportInput, Shown, Synthesis, System
from ouvroir.evaluation.samples import MAX_ALL_BYTES, Shelf, shown_samples
from ouvroir.evaluation.synthesis_report import MAX_MADE_BYTES, synthesis_values, synthesis_verdict
from ouvroir.task import Answers

FORMAT = 1
N_REFUSALS = 200
N_TOP_CONFUSIONS = 12
MOST_CLASSES_DRAWN = 150


def make_report(source: ReportInput) -> dict[str, Any]:
    """The report as plain JSON values (report.json). Compares the systems, which takes seconds on large test sets."""
    judged = [system for system in source.systems if system.answers is not None and len(system.answers.index)]
    metrics = {system.name: measure(source.metrics, _answers(system)) for system in judged}
    main = next((name for name in source.metrics if judged and all(name in metrics[one.name] for one in judged)), None)
    judged = judged if main else []
    kept = _kept(source, judged)
    pairs = _pairs(judged, kept, main, metrics)
    report: dict[str, Any] = {
        "format": FORMAT,
        "name": source.name,
        "task": source.task,
        "path": source.path,
        "created": source.created,
        "main": main,
        "higher_is_better": is_higher_better(main) if main else True,
        "kept": kept.name if kept else None,
        "n_test": len(labelled(_answers(kept)).index) if kept else 0,
        "n_test_units": n_units(labelled(_answers(kept))) if kept else 0,
        "systems": [_system(system, metrics.get(system.name, {})) for system in source.systems],
        "pairs": [_pair(*pair) for pair in pairs],
        "smallest": _smallest(kept, main, metrics),
        "ledger": dict(_ledger(source)),
        "curves": _curves(source),
        "writing": [{"system": name, **found} for name, found in source.writing.items()],
        "window": source.window,
        "notes": _notes(source),
        **_details(kept),
        **_cost(source),
        "controls": _controls(source, kept, judged, main),
        "groups": _groups(source, kept),
        "n_test_groups": _n_groups(_names_of_groups(source, kept)),
        "random_split": _random_split(source, judged, main, metrics),
        "threshold": _threshold(source, kept),
        "settings": [[*entry, in_french(entry[2], source.french)] for entry in source.settings],
        "settings_of": source.settings_of,
        "constants": _constants(source),
        "use": _use(source),
        "environment": dict(source.environment),
    }
    tuning = next(((first, second, found) for kind, first, second, found in pairs if kind == "tuning"), None)
    made = Shelf(MAX_MADE_BYTES)
    if source.synthesis is not None:
        report["synthesis"] = synthesis_values(source.synthesis, made, source.french)
    report.update(shown_samples(source, kept, tuning, Shelf(MAX_ALL_BYTES - made.used)))
    report = _plain(report)
    report["verdict"] = _verdict(report)
    if "synthesis" in report:
        report["synthesis"]["verdict"] = synthesis_verdict(report["synthesis"])
    return report


def _answers(system: System) -> Answers:
    assert system.answers is not None
    return system.answers


def _kept(source: ReportInput, judged: Sequence[System]) -> System | None:
    trained = [system for system in judged if system.role != "baseline"] or list(judged)
    return next((system for system in trained if system.name == source.kept), trained[-1] if trained else None)


def _system(system: System, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    return {
        "name": system.name,
        "role": system.role,
        "metrics": {name: {**one.as_dict(), "n": one.n} for name, one in metrics.items()},
        "steps": system.steps,
        "seconds": system.seconds,
        "n_rows": system.n_rows,
        "usual_steps": system.usual_steps,
        "can_be_smaller": system.can_be_smaller,
        "n_parameters": system.n_parameters,
        "kept_at": system.kept_at and asdict(system.kept_at),
        "is_start": system.is_start,
    }


Pair = tuple[Literal["baseline", "tuning", "rival", "rival_baseline"], System, System, Comparison]


def _pairs(
    judged: Sequence[System], kept: System | None, main: str | None, metrics: Mapping[str, Mapping[str, Metric]]
) -> list[Pair]:
    """The comparisons a verdict needs: the kept model against the best cheap baseline, tuned against base.

    Of models that were trained side by side, the kept one against each other one, and these against the baseline too.
    """
    if kept is None or main is None:
        return []
    found: list[Pair] = []
    cheap = [system for system in judged if system.role == "baseline" and system is not kept]
    if cheap:
        sign = 1 if is_higher_better(main) else -1
        best = max(cheap, key=lambda system: sign * metrics[system.name][main].value)
        found.append(("baseline", best, kept, compare(_answers(best), _answers(kept), metric=main)))
    for other in (system for system in judged if system.role == "rival" and system is not kept):
        found.append(("rival", other, kept, compare(_answers(other), _answers(kept), metric=main)))
        if cheap:
            found.append(("rival_baseline", best, other, compare(_answers(best), _answers(other), metric=main)))
    base = next((system for system in judged if system.role == "base"), None)
    tuned = next((system for system in judged if system.role == "tuned"), None)
    if base and tuned:
        found.append(("tuning", base, tuned, compare(_answers(base), _answers(tuned), metric=main)))
    return found


def _pair(kind: str, first: System, second: System, found: Comparison) -> dict[str, Any]:
    return {**found.as_dict(), "kind": kind, "first": first.name, "second": second.name}


def _constants(source: ReportInput) -> dict[str, list[str | None]] | None:
    """What each constant does that acts in the kept model, in English and in French."""
    if source.constants is None:
        return None
    return {name: [use, in_french(use, source.french)] for name, use in source.constants.items()}


def _smallest(kept: System | None, main: str | None, metrics: Mapping[str, Mapping[str, Metric]]) -> float | None:
    """For a system that has no partner: the difference that would be seen against one as good whose mistakes are others."""
    if kept is None or main is None or not counts_rows(main):
        return None
    one = metrics[kept.name][main]
    return breakdown.smallest_difference(one.n, disagreement=breakdown.cautious_disagreement(one.value, one.value))


def _controls(
    source: ReportInput, kept: System | None, judged: Sequence[System], main: str | None
) -> list[dict[str, Any]]:
    """What it costs the kept model when something is taken from the test rows, paired.

    A model that is not shown to do better than the most frequent class may lose nothing because it saw nothing: `guesses`.
    """
    if kept is None or main is None or not source.controls:
        return []
    blind = next((one for one in judged if one.name in MOST_FREQUENT), None)
    guesses = blind is not None and compare(_answers(blind), _answers(kept), metric=main).verdict != "better"
    found = []
    for one in source.controls:
        compared = compare(one.answers, _answers(kept), metric=main)
        told = {"text": one.text, "fr": in_french(one.text, source.french), "guesses": guesses}
        found.append({**told, **compared.as_dict()})
    return found


def _groups(source: ReportInput, kept: System | None) -> list[dict[str, Any]]:
    """How the kept model answers the rows of each group of the test, the worst first."""
    if kept is None or not source.groups or not is_classified(labelled(_answers(kept))):
        return []
    outcomes = breakdown.by_group(labelled(_answers(kept)), np.array(_names_of_groups(source, kept)))
    return [asdict(one) for one in outcomes]


def _n_groups(names: Sequence[str]) -> int:
    """How many groups the test rows are of; 0 where most are of none."""
    return len({*names} - {""}) if 2 * sum(map(bool, names)) > len(names) else 0


def _names_of_groups(source: ReportInput, kept: System | None) -> list[str]:
    """The group of each row that the kept model was judged by, '' for none."""
    if kept is None or not source.groups:
        return []
    return [source.groups[place] or "" for place in labelled(_answers(kept)).index.tolist()]


def _random_split(
    source: ReportInput, judged: Sequence[System], main: str | None, metrics: Mapping[str, Mapping[str, Metric]]
) -> dict[str, Any] | None:
    """What the best cheap baseline says of the test, whose groups it never saw, beside what it says of rows dealt out at random."""
    again = {one.name: one for one in source.at_random if one.answers is not None}
    cheap = [one for one in judged if one.role == "baseline" and one.name in again]
    if main is None or not cheap:
        return None
    sign = 1 if is_higher_better(main) else -1
    best = max(cheap, key=lambda one: sign * metrics[one.name][main].value)
    apart, mixed = metrics[best.name][main], measure((main,), _answers(again[best.name]))[main]
    return {
        "name": best.name,
        "n_rows": best.n_rows,
        "role": "baseline",
        "apart": {**apart.as_dict(), "n": apart.n},
        "mixed": {**mixed.as_dict(), "n": mixed.n},
        "is_easier": mixed.low > apart.high if is_higher_better(main) else mixed.high < apart.low,
    }


def _details(kept: System | None) -> dict[str, Any]:
    """Classes, confusions and calibration of the kept model, where it has scores."""
    if kept is None or not is_classified(labelled(_answers(kept))):
        return {"classes": [], "weakest": [], "confusion": None, "calibration": None}
    answers = labelled(_answers(kept))
    sure, right = decisions(answers)
    bins = [
        {"start": one.start, "end": one.end, "confidence": one.confidence, **asdict(one.right)}
        for one in breakdown.calibration(answers)
    ]
    return {
        "classes": [asdict(row) for row in breakdown.per_class(answers)],
        "weakest": [asdict(one) for one in breakdown.weakest_classes(answers)],
        "confusion": None if answers.is_multi_label else _confusion(answers),
        "calibration": {
            "bins": bins,
            "said": float(sure.mean()),
            "right": float(right.mean()),
            "half_width": 1.96 * float((right - sure).std()) / math.sqrt(len(sure)),
            "n": len(sure),
            "is_multi_label": answers.is_multi_label,
        },
    }


def _confusion(answers: Answers) -> dict[str, Any]:
    counts = breakdown.confusion(answers)
    given, answer = np.nonzero(counts)
    cells = [[int(i), int(j), int(counts[i, j])] for i, j in zip(given, answer, strict=True)]
    totals = counts.sum(1)
    wrong = sorted((cell for cell in cells if cell[0] != cell[1]), key=lambda cell: (-cell[2], cell[0], cell[1]))
    top = [
        {"given": answers.labels[i], "answer": answers.labels[j], "count": n, "total": int(totals[i])}
        for i, j, n in wrong[:N_TOP_CONFUSIONS]
    ]
    drawn = len(answers.labels) <= MOST_CLASSES_DRAWN
    return {"labels": list(answers.labels) if drawn else [], "cells": cells if drawn else [], "top": top}


def _ledger(source: ReportInput) -> Mapping[str, Any]:
    data = dict(source.data)
    if "refusals" in data:
        shown = list(data["refusals"])[:N_REFUSALS]
        data["refusals"] = [{**one, "fr": in_french(one["reason"], source.french)} for one in shown]
    if "notes" in data:
        data["notes"] = [{**note, "fr": in_french(note["text"], source.french)} for note in data["notes"]]
    return data


def _notes(source: ReportInput) -> list[dict[str, str | None]]:
    """The notes that the ledger does not hold already."""
    told = {note["text"] for note in source.data.get("notes", ())}
    own = [note for note in dict.fromkeys(source.notes) if note not in told]
    return [{"text": note, "fr": in_french(note, source.french)} for note in own]


def _threshold(source: ReportInput, kept: System | None) -> dict[str, float] | None:
    """The threshold for 'none of these', which has no meaning where an item may have several labels."""
    if not source.threshold or kept is None or _answers(kept).is_multi_label:
        return None
    return {"value": source.threshold, "keep": source.threshold_keep}


def _curves(source: ReportInput) -> list[dict[str, Any]]:
    """Each measured series of each system, loss of training and everything of validation."""
    found: dict[tuple[str, str, str, str], list[list[float]]] = {}
    seconds: dict[tuple[str, str, str, str], list[list[float]]] = {}
    for system in source.systems:
        for one in system.curves:
            of = (system.name, system.role, one.split, one.name)
            found.setdefault(of, []).append([one.step, one.value])
            seconds.setdefault(of, []).append([one.seconds, one.value])
    curves: list[dict[str, Any]] = []
    for key, points in found.items():
        name, role, split, metric = key
        curve: dict[str, Any] = {
            "system": name,
            "role": role,
            "split": split,
            "metric": metric,
            "points": _thinned(points),
        }
        if source.writing and split == "validation":
            curve["seconds"] = _thinned(seconds[key])
            a_step = [y for _, y in found.get((name, role, "train", "items"), [])]
            if a_step:
                mean = sum(a_step) / len(a_step)
                curve["characters"] = [[x * mean, y] for x, y in curve["points"]]
        curves.append(curve)
    return curves


def _thinned(points: list[list[float]]) -> list[list[float]]:
    from ouvroir.evaluation.plots import thin

    finite = [(x, y) for x, y in points if math.isfinite(y)]
    return [[x, y] for x, y in thin(finite)]


def _cost(source: ReportInput) -> dict[str, Any]:
    return {
        "timings": dict(source.timings),
        "device": source.device,
        "items_per_second": source.items_per_second,
        "n_parameters": source.n_parameters,
        "model_bytes": source.model_bytes,
    }


def _use(source: ReportInput) -> dict[str, Any] | None:
    if not source.path and source.commands is None:
        return None
    import shlex

    run, model = shlex.quote(source.path), str(Path(source.path) / "final_model")
    commands = [
        ("use_predict", f"ouvroir predict {run} FILE…"),
        ("use_evaluate", f"ouvroir evaluate {run} DATA"),
        ("use_finetune", f"ouvroir finetune {run} DATA"),
        ("use_export", f"ouvroir export {run} --to onnx"),
        ("use_report", f"ouvroir report {run} --language"),
    ]
    lines = [
        "import ouvroir",
        "",
        f"model = ouvroir.load({model!r})",
        'for answer in model.predict(["FILE", "ANOTHER_FILE"]):',
        "    print(answer.label, answer.scores)",
    ]
    return {
        "commands": [list(one) for one in (source.commands if source.commands is not None else commands)],
        "python": source.python if source.python is not None else "\n".join(lines),
        "python_fr": source.python_french,
    }


# The verdict in plain values, and in both languages


def _verdict(report: dict[str, Any]) -> dict[str, Any]:
    from ouvroir.evaluation.language import LANGUAGES, Language
    from ouvroir.evaluation.verdict import verdict_lines

    lines = {name: verdict_lines(report, Language.of(report, name)) for name in LANGUAGES}
    tuning = next((pair for pair in report["pairs"] if pair["kind"] == "tuning"), None)
    against = next((pair for pair in report["pairs"] if pair["kind"] == "baseline"), None)
    return {
        "sentence": " ".join(lines["en"]),
        "lines": lines,
        "weakest": report["weakest"],
        "kept": report["kept"],
        "against_baseline": against and against["verdict"],
        "tuning": tuning and tuning["verdict"],
    }


def _plain(value: Any) -> Any:
    """The same as values that JSON knows: no numpy, no NaN (None instead)."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


__all__ = ["ReportInput", "Shown", "Synthesis", "System", "make_report", "render"]
