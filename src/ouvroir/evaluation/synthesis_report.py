"""The part of report.json about synthetic data: scores, trials and a choice of samples beside their nearest real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ouvroir.evaluation.french import in_french
from ouvroir.evaluation.language import LANGUAGES, Language, LanguageName
from ouvroir.evaluation.proof import SYNTHETIC, UNTRIED, tell, told
from ouvroir.evaluation.report_input import Synthesis
from ouvroir.evaluation.samples import N_CLASSES_SHOWN, Shelf

MAX_MADE_BYTES = 900_000  # of the samples in this part; what it leaves goes to the others
N_KEPT = 4
N_REFUSED = 3
_MOST_KEPT, _MOST_REFUSED = 120, 60  # over all classes


def synthesis_values(found: Synthesis, shelf: Shelf, french: Mapping[str, str]) -> dict[str, Any]:
    """The values of `assessment` and `trials` as they came, sentences with their French, and the `gallery`."""
    trials = {name: _trial(trial, name, french) for name, trial in found.trials.items()}
    assessment = None if found.assessment is None else dict(found.assessment)
    if assessment is not None and assessment.get("features"):
        assessment["features"] = _said(assessment["features"], french)
    return {
        "assessment": assessment,
        "trials": trials,
        "said": [_said(one, french) for one in found.said],
        "gallery": _gallery(found, shelf),
    }


def synthesis_verdict(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The verdict on the synthetic data, with a line in each language, from what `synthesis_values` gave as JSON values.

    None where nothing was judged and nothing said: a trial of something else tells nothing of synthetic data.
    """
    trial = found["trials"].get(SYNTHETIC)
    if not is_judged(found["assessment"]) and trial is None and not found["said"]:
        return None
    arm = None if trial is None else trial.get("chief")
    return {
        "verdict": tell(trial, arm, Language("en")).verdict,
        "arm": arm,
        "lines": {name: _line(trial, arm, found["said"], name) for name in LANGUAGES},
    }


def is_judged(assessment: Mapping[str, Any] | None) -> bool:
    """Whether there are scores, and not only samples to be looked at."""
    return assessment is not None and bool(assessment.keys() - {"samples", "n_classes"})


def _line(
    trial: Mapping[str, Any] | None, arm: str | None, said: Sequence[Mapping[str, Any]], name: LanguageName
) -> str:
    """The verdict in one line; where nothing was tried, why."""
    line, t = told(trial, arm, name), Language(name)
    if arm is not None or not said or not said[0]["text"].startswith(UNTRIED):
        return line
    reason = said[0]["text"] if name == "en" else said[0]["fr"]
    why = reason.removeprefix(t("untried")).lstrip() if reason else t("untried_elsewhere")
    return f"{line} {why}"


def _said(text: str, french: Mapping[str, str]) -> dict[str, str | None]:
    return {"text": text, "fr": in_french(text, french)}


def _trial(trial: Mapping[str, Any], name: str, french: Mapping[str, str]) -> dict[str, Any]:
    arms = trial.get("arms") or {}
    return {
        **trial,
        "name": name,
        "cut": [_said(one, french) for one in trial.get("cut") or ()],
        "arms": {
            arm: {**one, "fr": in_french(one["sentence"], french) if one.get("sentence") else None}
            for arm, one in arms.items()
        },
    }


def _gallery(found: Synthesis, shelf: Shelf) -> dict[str, Any] | None:
    """By class, the samples that are shown: `place` among those of the assessment, the sample, and its real neighbour.

    Content is taken in turns, so that a small file shows some of each class and not all of the first one.
    """
    samples: Sequence[Mapping[str, Any]] = (found.assessment or {}).get("samples") or ()
    if not samples:
        return None
    by_class: dict[str, tuple[list[int], list[int]]] = {}
    for place, sample in enumerate(samples):
        by_class.setdefault(sample.get("label") or "", ([], []))[bool(sample.get("reason"))].append(place)
    names = sorted(by_class)
    shown = names[:N_CLASSES_SHOWN]
    n_kept = max(2, min(N_KEPT, _MOST_KEPT // len(shown)))
    n_refused = max(1, min(N_REFUSED, _MOST_REFUSED // len(shown)))
    places = {name: (by_class[name][0][:n_kept], by_class[name][1][:n_refused]) for name in shown}
    items: dict[int, dict[str, Any]] = {}
    for rank in range(n_kept + n_refused):
        for name in shown:
            of_class = [*places[name][0], *places[name][1]]
            if rank < len(of_class):
                items[of_class[rank]] = _item(found, samples[of_class[rank]], of_class[rank], shelf)
    classes = [
        {
            "label": name,
            "kept": [items[place] for place in places[name][0]],
            "refused": [items[place] for place in places[name][1]],
        }
        for name in shown
    ]
    n_classes = max(len(names), (found.assessment or {}).get("n_classes", 0))  # samples may be of some classes only
    return {"classes": classes, "n_more": n_classes - len(shown)}


def _item(found: Synthesis, sample: Mapping[str, Any], place: int, shelf: Shelf) -> dict[str, Any]:
    nearest = sample.get("nearest")
    return {
        "place": place,
        "made": shelf.show_named(found.show, str(sample["id"])),
        "real": None if nearest is None else shelf.show_named(found.show_real, str(nearest)),
    }
