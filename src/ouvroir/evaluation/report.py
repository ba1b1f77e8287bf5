"""report.json: everything a report tells, as plain values made from what a run left behind. `page` makes it readable.

Blind to the medium: a sample is a MIME type and bytes. Every part is absent when its data are, so the same function
serves one label, several labels, and tasks that know only a loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ouvroir.evaluation import breakdown
from ouvroir.evaluation.compare import Comparison, compare
from ouvroir.evaluation.metrics import (
    Metric,
    classified,
    decisions,
    is_classified,
    is_higher_better,
    is_right,
    labelled,
    measure,
)
from ouvroir.evaluation.page import render
from ouvroir.evaluation.samples import Shelf, Shown
from ouvroir.task import Answers, Label

if TYPE_CHECKING:
    from ouvroir.run import Measurement

FORMAT = 1
N_MISTAKES = 24
N_CHANGED = 12
N_PER_CLASS = 8
N_CLASSES_SHOWN = 30
N_MISLABELS = 24
N_REFUSALS = 200
N_TOP_CONFUSIONS = 12
MOST_CLASSES_DRAWN = 150

Role = Literal["baseline", "base", "tuned"]


@dataclass(frozen=True, kw_only=True)
class System:
    """One way to answer. `name` in plain words; `answers` to the test rows; `curves` its measurements while training.

    steps: training steps in all, those of an earlier model it started from included; seconds: spent training them.
    """

    name: str
    role: Role
    answers: Answers | None = None
    curves: Sequence[Measurement] = ()
    steps: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Suspect:
    """A row whose label is doubted: its place as `show_test` or `show_train` knows it, and how sure the model is of another."""

    place: int
    given: str
    suggested: str
    confidence: float
    split: Literal["train", "test"] = "test"


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """What a report is made from. Only `name` and `task` must be given.

    metrics: names in `evaluation.metrics`, the main one first. data: `Manifest.summary()`. systems: in the order of the
    table, cheap baselines first. kept: the name of the system that became the bundle, by default the last one.
    show_test(place) and show_train(place): a name, a MIME type and bytes that show a row of that table. timings: seconds
    by stage (check, pack, train, evaluate). settings: `Recipe.settings()`. constants: (symbol, used, ordinary, use, key
    of ouvroir.constants). mislabels: most doubted first. commands and python: how to use the model, by default made
    from `path`.
    """

    name: str
    task: str
    path: str = ""
    created: str = ""
    metrics: Sequence[str] = ("accuracy", "balanced_accuracy", "macro_f1", "top5", "nll", "ece")
    data: Mapping[str, Any] = field(default_factory=dict)
    systems: Sequence[System] = ()
    kept: str = ""
    show_test: Callable[[int], Shown] | None = None
    show_train: Callable[[int], Shown] | None = None
    train_labels: Sequence[Label] = ()
    mislabels: Sequence[Suspect] = ()
    notes: Sequence[str] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    items_per_second: float | None = None
    n_parameters: int | None = None
    model_bytes: int | None = None
    threshold: float = 0.0
    threshold_keep: float = 0.95
    settings: Sequence[tuple[str, str, str]] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    commands: Sequence[tuple[str, str]] | None = None
    python: str | None = None


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
        "systems": [_system(system, metrics.get(system.name, {})) for system in source.systems],
        "pairs": [_pair(*pair) for pair in pairs],
        "smallest": _smallest(kept, main, metrics),
        "ledger": dict(_ledger(source)),
        "curves": _curves(source),
        "notes": list(source.notes),
        **_details(kept),
        **_cost(source),
        "threshold": {"value": source.threshold, "keep": source.threshold_keep} if source.threshold else None,
        "settings": [list(entry) for entry in source.settings],
        "use": _use(source),
        "environment": dict(source.environment),
    }
    report.update(_shown(source, kept, pairs))
    report = _plain(report)
    report["verdict"] = _verdict(report)
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
    }


Pair = tuple[Literal["baseline", "tuning"], System, System, Comparison]


def _pairs(
    judged: Sequence[System], kept: System | None, main: str | None, metrics: Mapping[str, Mapping[str, Metric]]
) -> list[Pair]:
    """The comparisons a verdict needs: the kept model against the best cheap baseline, tuned against base."""
    if kept is None or main is None:
        return []
    found: list[Pair] = []
    cheap = [system for system in judged if system.role == "baseline" and system is not kept]
    if cheap:
        sign = 1 if is_higher_better(main) else -1
        best = max(cheap, key=lambda system: sign * metrics[system.name][main].value)
        found.append(("baseline", best, kept, compare(_answers(best), _answers(kept), metric=main)))
    base = next((system for system in judged if system.role == "base"), None)
    tuned = next((system for system in judged if system.role == "tuned"), None)
    if base and tuned:
        found.append(("tuning", base, tuned, compare(_answers(base), _answers(tuned), metric=main)))
    return found


def _pair(kind: str, first: System, second: System, found: Comparison) -> dict[str, Any]:
    return {**found.as_dict(), "kind": kind, "first": first.name, "second": second.name}


def _smallest(kept: System | None, main: str | None, metrics: Mapping[str, Mapping[str, Metric]]) -> float | None:
    """For a system that has no partner: the difference that would be seen against one as good whose mistakes are others."""
    if kept is None or main not in ("accuracy", "subset_accuracy"):
        return None
    one = metrics[kept.name][main]
    return breakdown.smallest_difference(one.n, disagreement=breakdown.cautious_disagreement(one.value, one.value))


def _details(kept: System | None) -> dict[str, Any]:
    """Classes, confusions and calibration of the kept model, where it has scores."""
    if kept is None or not is_classified(labelled(_answers(kept))):
        return {"classes": [], "confusion": None, "calibration": None}
    answers = labelled(_answers(kept))
    sure, right = decisions(answers)
    bins = [
        {"start": one.start, "end": one.end, "confidence": one.confidence, **asdict(one.right)}
        for one in breakdown.calibration(answers)
    ]
    return {
        "classes": [asdict(row) for row in breakdown.per_class(answers)],
        "confusion": None if answers.is_multi_label else _confusion(answers),
        "calibration": {
            "bins": bins,
            "said": float(sure.mean()),
            "right": float(right.mean()),
            "half_width": 1.96 * float((right - sure).std()) / math.sqrt(len(sure)),
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
        data["refusals"] = list(data["refusals"])[:N_REFUSALS]
    return data


def _curves(source: ReportInput) -> list[dict[str, Any]]:
    """Each measured series of each system, loss of training and everything of validation."""
    found: dict[tuple[str, str, str, str], list[list[float]]] = {}
    for system in source.systems:
        for one in system.curves:
            key = (system.name, system.role, one.split, one.name)
            found.setdefault(key, []).append([one.step, one.value])
    return [
        {"system": name, "role": role, "split": split, "metric": metric, "points": _thinned(points)}
        for (name, role, split, metric), points in found.items()
    ]


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
        "for answer in model.predict([FILE, ANOTHER_FILE]):",
        "    print(answer.label, answer.scores)",
    ]
    return {
        "commands": [list(one) for one in (source.commands if source.commands is not None else commands)],
        "python": source.python if source.python is not None else "\n".join(lines),
    }


# Samples


def _shown(source: ReportInput, kept: System | None, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Samples in the order of their worth, as long as the file stays small."""
    shelf = Shelf()
    return {
        "mistakes": _mistakes(source, kept, shelf),
        "changes": _changes(source, pairs, shelf),
        "mislabels": _suspects(source, shelf),
        "samples": _gallery(source, shelf),
    }


def _mistakes(source: ReportInput, kept: System | None, shelf: Shelf) -> dict[str, Any] | None:
    if kept is None or not is_classified(labelled(_answers(kept))):
        return None
    answers = labelled(_answers(kept))
    wrong = np.flatnonzero(~is_right(answers))
    scores, _ = classified(answers)
    worst = wrong[np.argsort(-_wrong_confidence(answers)[wrong], kind="stable")][:N_MISTAKES]
    items = [
        {**_answered(answers, int(row), scores), **shelf.show(source.show_test, int(answers.index[row]))}
        for row in worst
    ]
    return {"n": len(wrong), "items": items}


def _wrong_confidence(answers: Answers) -> np.ndarray:
    """How sure each row's answer is; with several labels, how sure its most wrong label is."""
    scores, targets = classified(answers)
    if not answers.is_multi_label:
        return np.asarray(scores.max(1))
    return np.asarray(np.abs(scores - targets).max(1))


def _answered(answers: Answers, row: int, scores: np.ndarray) -> dict[str, Any]:
    """Given label, answer and confidence of one row."""
    _, targets = classified(answers)
    if answers.is_multi_label:
        given = [name for name, on in zip(answers.labels, targets[row], strict=True) if on]
        answer = [name for name, value in zip(answers.labels, scores[row], strict=True) if value >= 0.5]
        return {"given": ", ".join(given), "answer": ", ".join(answer), "confidence": None}
    best = int(scores[row].argmax())
    return {
        "given": answers.labels[int(targets[row])],
        "answer": answers.labels[best],
        "confidence": float(scores[row, best]),
    }


def _changes(source: ReportInput, pairs: Sequence[Pair], shelf: Shelf) -> dict[str, Any] | None:
    pair = next((pair for pair in pairs if pair[0] == "tuning"), None)
    if pair is None or not is_classified(labelled(_answers(pair[1]))):
        return None
    _, first, second, found = pair
    if not found.fixed and not found.broken:
        return None
    return {
        "n_fixed": len(found.fixed),
        "n_broken": len(found.broken),
        "fixed": [_changed(source, _answers(first), place, shelf) for place in found.fixed[:N_CHANGED]],
        "broken": [_changed(source, _answers(second), place, shelf) for place in found.broken[:N_CHANGED]],
    }


def _changed(source: ReportInput, wrong: Answers, place: int, shelf: Shelf) -> dict[str, Any]:
    """One row with the answer of the system that got it wrong."""
    row = int(np.flatnonzero(wrong.index == place)[0])
    scores, _ = classified(wrong)
    return {**_answered(wrong, row, scores), **shelf.show(source.show_test, place)}


def _suspects(source: ReportInput, shelf: Shelf) -> list[dict[str, Any]]:
    return [
        {
            "given": one.given,
            "answer": one.suggested,
            "confidence": one.confidence,
            **shelf.show(source.show_train if one.split == "train" else source.show_test, one.place),
        }
        for one in source.mislabels[:N_MISLABELS]
    ]


def _gallery(source: ReportInput, shelf: Shelf) -> dict[str, Any] | None:
    """The first training items of each class, spread over the table; one row of the gallery per class."""
    if source.show_train is None or not source.train_labels:
        return None
    by_class: dict[str, list[int]] = {}
    for place, label in enumerate(source.train_labels):
        for name in (label,) if isinstance(label, str) else (label or ("",)):
            by_class.setdefault(name, []).append(place)
    names = sorted(by_class)
    shown = names[:N_CLASSES_SHOWN]
    per_class = max(3, min(N_PER_CLASS, 120 // max(1, len(shown))))
    classes = []
    for name in shown:
        places = by_class[name]
        picked = [
            places[round(k * (len(places) - 1) / max(1, per_class - 1))] for k in range(min(per_class, len(places)))
        ]
        items = [shelf.show(source.show_train, place) for place in dict.fromkeys(picked)]
        classes.append({"label": name, "n": len(places), "items": items})
    return {"classes": classes, "n_more": len(names) - len(shown)}


# The verdict in plain values, and in both languages


def _verdict(report: dict[str, Any]) -> dict[str, Any]:
    from ouvroir.evaluation.verdict import verdict_lines
    from ouvroir.evaluation.words import LANGUAGES, Language

    lines = {name: verdict_lines(report, Language(name)) for name in LANGUAGES}
    tuning = next((pair for pair in report["pairs"] if pair["kind"] == "tuning"), None)
    against = next((pair for pair in report["pairs"] if pair["kind"] == "baseline"), None)
    return {
        "sentence": " ".join(lines["en"]),
        "lines": lines,
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


__all__ = ["ReportInput", "Shown", "Suspect", "System", "make_report", "render"]
