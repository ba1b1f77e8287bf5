"""What `--json` prints and the terminal shows for each verb: plain dictionaries with documented keys.

The keys are described in docs/reference/json.md; they are part of the interface and change only with a changelog line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ouvroir.reporting import kept_model, timings_of
from ouvroir.run import Run
from ouvroir.source import are_blocks
from ouvroir.task import SPLITS

if TYPE_CHECKING:
    from ouvroir.comparing import Evaluation, ModelComparison
    from ouvroir.evaluation.metrics import Metric
    from ouvroir.forecast import Forecast
    from ouvroir.generating import Generated
    from ouvroir.judging import Judgement
    from ouvroir.proving import Proof


def metrics_as_json(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """Metrics as `{name: {value, low, high}}`."""
    return {name: one.as_dict() for name, one in metrics.items()}


def _stored_metrics(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    return {name: {part: one[part] for part in ("value", "low", "high")} for name, one in metrics.items()}


def run_summary(run: Run) -> dict[str, Any]:
    """`run`, `name`, `task`, `state`, `sentence`, `metrics` (test), `validation`, `verdict`, `synthetic`,
    `steps`, `timings`, `report`, `model`.

    Absent things are null; metrics are empty when no such split was judged.
    """
    status, recipe = run.status(), run.recipe()
    evaluation = run.read_json("evaluation.json") or {}
    report = run.read_json("report.json") or {}
    page = run.path / "report.html"
    return {
        "run": str(run.path),
        "name": run.name,
        "task": recipe.task,
        "state": status["state"],
        "sentence": status["sentence"],
        "metrics": _stored_metrics(evaluation.get("test", {})),
        "validation": _stored_metrics(evaluation.get("validation", {})),
        "verdict": report.get("verdict"),
        "synthetic": (report.get("synthesis") or {}).get("verdict"),
        "steps": kept_model(run).steps_in_all,
        "timings": {stage: round(seconds, 3) for stage, seconds in timings_of(run).items()},
        "report": str(page) if page.is_file() else None,
        "model": str(run.bundle) if run.bundle.is_dir() else None,
    }


def generated_summary(found: Generated) -> dict[str, Any]:
    """`folder`, `made`, `copies`, `seconds`, `per_second`, `labels` (samples of each) and `samples` (as in rows.jsonl).

    `copies`: how many are copies of what was learned from, whole or for the most part; null where these are not there to compare.
    """
    counts: dict[str, int] = {}
    for sample in found.samples:
        counts[sample.label or ""] = counts.get(sample.label or "", 0) + 1
    return {
        "folder": str(found.folder),
        "made": len(found.samples),
        "copies": None if found.copies is None else len(found.copies),
        "seconds": round(found.seconds, 3),
        "per_second": round(len(found.samples) / max(found.seconds, 1e-9), 1),
        "labels": counts,
        "samples": [asdict(sample) for sample in found.samples],
    }


def proof_summary(found: Proof) -> dict[str, Any]:
    """`run`, `verdict` (null when several things were tried), `told` (a sentence for each, then what else to know of the trial),
    `trial` as in trial.json, `report`.
    """
    from ouvroir.evaluation.french import in_french
    from ouvroir.evaluation.language import Language
    from ouvroir.evaluation.proof import left_told, short_told, told, told_effects

    language, page = found.run.language, found.run.path / "report.html"
    t = Language(language)
    lines = [told(found.found, arm, language) for arm in found.found["arms"]]
    lines += [*told_effects(found.found, language), *left_told(found.found, t)]
    lines += [(in_french(text) if language == "fr" else None) or text for text in found.found["cut"]]
    lines += filter(None, [short_told(found.found, t)])
    return {
        "run": str(found.run.path),
        "verdict": found.verdict,
        "told": lines,
        "trial": dict(found.found),
        "report": str(page) if page.is_file() else None,
    }


def forecast_summary(found: Forecast) -> dict[str, Any]:
    """Counts of the check, what is to be packed, and of each of the `models` its size, steps and seconds."""
    manifest = found.manifest
    return {
        "found": manifest.found,
        "admitted": len(manifest.rows),
        "refused": len(manifest.refused),
        "splits": {split: len(manifest.positions(split)) for split in SPLITS},
        "pack_bytes": found.pack_bytes,
        "pack_seconds": round(found.pack_s, 1),
        "synthetic_seconds": round(found.synthetic_s, 1),
        "synthetic_untried": found.untried or None,
        "models": [
            {
                "name": model.name,
                "parameters": model.n_parameters,
                "steps": model.steps,
                "train_seconds": round(model.train_s, 1),
                "judge_seconds": round(model.judge_s, 1),
                "recipe": model.recipe.to_dict(),
            }
            for model in found.models
        ],
        "total_seconds": round(found.total_s, 1),
    }


def evaluation_summary(model: str, found: Evaluation) -> dict[str, Any]:
    """`model`, `n` items judged, `n_units` that intervals count, whether they are blocks of files, `n_learned` of the items,
    `metrics` with intervals, `classes` surely weak first, what was left out.
    """
    from ouvroir.evaluation.breakdown import class_outcomes
    from ouvroir.evaluation.metrics import is_classified, n_units

    answers = found.judgement.answers
    return {
        "model": model,
        "n": len(found.ids),
        "n_units": n_units(answers),
        "in_blocks": are_blocks(found.ids),
        "n_learned": len(found.learned),
        "metrics": metrics_as_json(found.judgement.metrics),
        "classes": [asdict(one) for one in class_outcomes(answers)] if is_classified(answers) else [],
        "left_out": found.left_out,
        "unknown_labels": found.unknown_labels,
    }


def comparison_summary(a: str, b: str, found: ModelComparison) -> dict[str, Any]:
    """`a` and `b`, the paired `difference` B − A of `metric` on `n` items, `p_value`, `fixed`, `broken`, `sentence`.

    Of each model its `metrics` on these items, its size and the seconds of its training, how many of them it learned from, what
    its own evaluation left out, and how it writes; `sizes` says which has more parameters, `kinship` whether one was started from
    the other.
    """
    paired, shared = found.comparison, frozenset(found.of[0].ids) & frozenset(found.of[1].ids)

    def one(model: str, judged: Judgement, of: Evaluation) -> dict[str, Any]:
        return {
            "model": model,
            "metrics": metrics_as_json(judged.metrics),
            "n_parameters": of.n_parameters,
            "seconds": of.seconds,
            "writing": of.writing,
            "n_learned": len(of.learned & shared),
            "left_out": of.left_out,
            "unknown_labels": of.unknown_labels,
        }

    return {
        "a": one(a, found.a, found.of[0]),
        "b": one(b, found.b, found.of[1]),
        "n": paired.n,
        "n_units": paired.n_units,
        "in_blocks": are_blocks(shared),
        "metric": paired.metric,
        "difference": paired.difference.as_dict(),
        "p_value": paired.p_value,
        "fixed": list(found.fixed),
        "broken": list(found.broken),
        "sentence": paired.sentence_on("block" if are_blocks(shared) else "item"),
        "sizes": found.sizes,
        "kinship": found.kinship,
    }
