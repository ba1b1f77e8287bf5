"""Samples inside a report: which rows are shown, and each as a person sees or hears it.

Content is taken in the order of its worth until the file would grow heavy.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ouvroir.errors import OuvroirError
from ouvroir.evaluation.compare import Comparison
from ouvroir.evaluation.metrics import classified, decided, is_classified, is_right, labelled, take
from ouvroir.evaluation.report_input import ReportInput, Shown, System
from ouvroir.task import Answers

logger = logging.getLogger("ouvroir")

MAX_ALL_BYTES = 2_200_000  # of all samples of a report, as they stand in the file
MAX_ONE_BYTES = 150_000
MAX_TEXT = 600  # characters
N_MISTAKES = 24
N_CHANGED = 12
N_PER_CLASS = 8
N_CLASSES_SHOWN = 30
N_MISLABELS = 24
_MIME = re.compile(r"[a-z]+/[a-z0-9.+-]+")


class Shelf:
    """Turns rows into JSON values and stops taking content when the report would grow too large."""

    def __init__(self, max_bytes: int = MAX_ALL_BYTES) -> None:
        self._max = self._left = max_bytes

    @property
    def used(self) -> int:
        """Bytes that what was taken needs in the file."""
        return self._max - self._left

    def show_named(self, show: Callable[[str], Shown] | None, name: str) -> dict[str, Any]:
        """As `show`, of a row that is known by its id, under which `show_again` finds it."""
        if show is None:
            return {"name": name}
        try:
            shown = Shown(*show(name))
        except (OuvroirError, OSError) as error:
            logger.info("%s is not shown in the report: %s", name, error)
            shown = Shown(name)
        return {"name": name, **self.content(shown)} if shown.mime else {"name": name, "is_away": True}

    def show(self, show: Callable[[int], Shown] | None, place: int) -> dict[str, Any]:
        """`name` and either `text`, or `mime` and `data` (base64), or neither when there is nothing to show.

        `is_away` where the file could not be read: `show_again` may find it back.
        """
        if show is None:
            return {"name": f"#{place}"}
        try:
            shown = Shown(*show(place))
        except (OuvroirError, OSError) as error:
            logger.info("Row %d is not shown in the report: %s", place, error)
            return {"name": f"#{place}"}
        if not shown.mime:
            return {"name": shown.name, "is_away": True}
        return {"name": shown.name, **self.content(shown)}

    def content(self, shown: Shown) -> dict[str, str]:
        """`text`, or `mime`, `data` and, where there is one, `picture`; empty when it is too large."""
        family = shown.mime.partition(";")[0].strip().lower()
        if family.startswith("text/"):
            text = shown.content.decode("utf-8", errors="replace")
            value = {"text": text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"}
            cost = len(value["text"].encode("utf-8"))
        else:
            if not _MIME.fullmatch(family) or len(shown.content) + len(shown.picture) > MAX_ONE_BYTES:
                return {}
            value = {"mime": family, "data": base64.b64encode(shown.content).decode("ascii")}
            if shown.picture:
                value["picture"] = base64.b64encode(shown.picture).decode("ascii")
            cost = len(value["data"]) + len(value.get("picture", ""))
        if cost > self._left:
            return {}
        self._left -= cost
        return value


def n_away(report: Mapping[str, Any]) -> int:
    """How many samples of a report are not shown because their files could not be read."""
    return sum(1 for item in [*_all_items(report), *_made_items(report)] if item.get("is_away"))


def show_again(
    report: Mapping[str, Any],
    show: Callable[[str], Shown] | None,
    *,
    show_made: Callable[[str], Shown] | None = None,
) -> bool:
    """Put the samples whose files could not be read into the report, as far as they can be given by name now.

    `show` gives rows of the data, `show_made` made samples. Returns whether there were any.
    """
    real, made = _all_items(report), _made_items(report)
    taken = sum(len(item.get(kind, "")) for item in [*real, *made] for kind in ("data", "text", "picture"))
    shelf = Shelf(MAX_ALL_BYTES - taken)
    found = False
    for items, give in ((made, show_made), (real, show)):
        for item in items:
            if give is not None and item.get("is_away"):
                shown = Shown(*give(item["name"]))
                if shown.mime:
                    found = True
                    del item["is_away"]
                    item.update(shelf.content(shown))
    return found


def _made_items(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The made samples, which are no rows of the data."""
    return [pair["made"] for pair in _made_pairs(report)]


def _made_pairs(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Made samples with their nearest real rows; none in reports of the first version."""
    gallery = (report.get("synthesis") or {}).get("gallery") or {}
    return [pair for one in gallery.get("classes", ()) for kind in ("kept", "refused") for pair in one[kind]]


def _all_items(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All samples that are rows of the data."""
    changes, gallery = report["changes"] or {}, report["samples"] or {}
    return [
        *((report["mistakes"] or {}).get("items", ())),
        *changes.get("fixed", ()),
        *changes.get("broken", ()),
        *report["mislabels"],
        *(item for one in gallery.get("classes", ()) for item in one["items"]),
        *(pair["real"] for pair in _made_pairs(report) if pair["real"] is not None),
    ]


def shown_samples(
    source: ReportInput, kept: System | None, tuning: tuple[System, System, Comparison] | None, shelf: Shelf
) -> dict[str, Any]:
    """Samples in the order of their worth, as long as the file stays small."""
    return {
        "mistakes": _mistakes(source, kept, shelf),
        "changes": _changes(source, tuning, shelf),
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
        answer = [
            name for name, on in zip(answers.labels, decided(take(answers, np.array([row])))[0], strict=True) if on
        ]
        return {"given": ", ".join(given), "answer": ", ".join(answer), "confidence": None}
    best = int(scores[row].argmax())
    return {
        "given": answers.labels[int(targets[row])],
        "answer": answers.labels[best],
        "confidence": float(scores[row, best]),
    }


def _changes(
    source: ReportInput, tuning: tuple[System, System, Comparison] | None, shelf: Shelf
) -> dict[str, Any] | None:
    if tuning is None or not is_classified(labelled(_answers(tuning[0]))):
        return None
    first, second, found = tuning
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


def _answers(system: System) -> Answers:
    assert system.answers is not None
    return system.answers
