"""What the page shows of a model that writes: samples as it learned, its habits beside those of real text, and what it expects."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from ouvroir.evaluation.language import Language
from ouvroir.evaluation.verdict import who

MOST_PASSAGE = 300  # characters


def writing_view(one: Mapping[str, Any], report: Mapping[str, Any], t: Language) -> dict[str, Any]:
    """The values of one system of `report["writing"]` for the template."""
    system = next(found for found in report["systems"] if found["name"] == one["system"])
    kept_at = (system.get("kept_at") or {}).get("step")  # absent in earlier reports
    moments = [
        {
            "title": t("writing_moment", step=t.count(step), time=t.seconds(seconds)),
            "is_kept": step == kept_at,
            "samples": [
                {
                    "title": t("writing_temperature", value=t.number(found["temperature"], 1)),
                    "text": readable(found["text"]),
                }
                for found in some
            ],
        }
        for (step, seconds), some in groupby(one["moments"], key=lambda found: (found["step"], _first(one, found)))
    ]
    habits = one["habits"]
    return {
        "name": who(report, system, t),
        "moments": moments,
        "habits": _habits(habits, t),
        "searched": t("writing_searched", share=t.percent(share)) if (share := habits.get("searched", 1)) < 1 else "",
        "passage": str(habits.get("passage", ""))[:MOST_PASSAGE],
        "expected": [
            {
                "before": found["before"],
                "then": seen(found["then"]),
                "share": t.percent(found["share"]),
                "candidates": [
                    {"text": seen(text), "share": t.percent(share), "width": round(100 * share, 1)}
                    for text, share in found["candidates"]
                ],
            }
            for found in habits.get("expected", ())
        ],
    }


def readable(text: str) -> str:
    """Without what no screen shows: a model that has learned little writes such signs."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)


def seen(piece: str) -> str:
    """A piece with signs for the ends of lines in it, and for blanks where there is nothing else."""
    text = readable(piece).replace("\n", "⏎").replace("\t", "⇥")
    return text if text.strip() else "␣" * len(text)


def _first(one: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """The seconds of the first sample of a moment."""
    return float(next(other["seconds"] for other in one["moments"] if other["step"] == found["step"]))


def _habits(habits: Mapping[str, Any], t: Language) -> list[tuple[str, str, str]]:
    """Name, what the model does, and what real text does."""
    found = []
    if "texts" in habits:  # absent in earlier reports
        texts = [
            f"{t.count(habits[f'texts{of}'])} × {t.count(habits[f'pieces{of}'])}" if f"texts{of}" in habits else "–"
            for of in ("", "_real")
        ]
        found.append((t("writing_texts"), texts[0], texts[1]))
    if "repetition" in habits:
        real = habits.get("repetition_real")
        found.append((t("writing_repetition"), t.percent(habits["repetition"]), t.percent(real)))
    if "copied" in habits:
        real = habits.get("copied_real")
        found.append((t("writing_copied"), t.count(habits["copied"]), "–" if real is None else t.count(real)))
    return found
