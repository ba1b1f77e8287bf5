"""What the page says of synthetic data and trials, written out in one language from the values of report.json.

The layout is in `templates/synthesis.html`; a part without values is None or empty, and left out there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from ouvroir import constants
from ouvroir.evaluation import plots, proof, trial_plot
from ouvroir.evaluation.language import Language
from ouvroir.evaluation.metrics import is_percent
from ouvroir.evaluation.synthesis_report import is_judged
from ouvroir.evaluation.trial import LEAST_GAIN, LEVEL

_CONSTANTS = "constants"
_SCORES = ("precision", "recall", "density", "coverage", "kernel_distance", "told_apart", "copy_ratio")
_PERCENT = ("precision", "recall", "coverage", "told_apart")
_REASONS = ("copy", "label", "too_strange", "too_typical", "off_manifold", "held_out", "of_class", "elsewhere")
_SEEDS_READ = 20  # of one arm, so many are read out to those who do not see the chart


def synthesis_view(report: Mapping[str, Any], t: Language) -> dict[str, Any] | None:
    """Everything that the template shows; None in a report without synthetic data and trials."""
    found = report.get("synthesis")  # absent in reports of the first version
    if not found:
        return None
    trials = found["trials"]
    others = [name for name in trials if name not in (proof.SYNTHETIC, _CONSTANTS)]
    assessment = found["assessment"]
    synthetic = trials.get(proof.SYNTHETIC)
    view = {
        "trial": None if synthetic is None else _trial(synthetic, t),
        "assessment": _assessment(assessment, t) if is_judged(assessment) else None,
        "gallery": _gallery(found, t),
        "constants": None if _CONSTANTS not in trials else _trial(trials[_CONSTANTS], t),
        "others": [_trial(trials[name], t) for name in others],
    }
    view["card"] = None if found["verdict"] is None else _card(found, view, t)
    return view


def _told(said: Iterable[Mapping[str, Any]], t: Language) -> tuple[list[str], bool]:
    """Sentences in the page's language, and whether there are others, which have no French."""
    given = [one["text"] if t.name == "en" else one["fr"] for one in said]
    return [one for one in given if one], None in given


def _card(found: Mapping[str, Any], view: Mapping[str, Any], t: Language) -> dict[str, Any]:
    trial = found["trials"].get(proof.SYNTHETIC)
    told = proof.tell(trial, found["verdict"]["arm"], t)
    said, has_more = _told(found["said"], t)
    if (
        told.verdict == "untried" and said and said[0].startswith(t("untried"))
    ):  # in large letters already; why is what counts
        told, said = replace(told, meaning=()), [said[0].removeprefix(t("untried")).lstrip(), *said[1:]]
    arm = None if trial is None else trial["arms"].get(found["verdict"]["arm"])
    sentence = arm and (arm.get("sentence") if t.name == "en" else arm.get("fr"))
    return {
        "told": told,
        "sentence": sentence,
        "said": said + ([t("notes_elsewhere")] if has_more else []),
        "cut": _cut(trial, t),
        "has_trial": bool(view["trial"] and view["trial"]["rows"]),
        "has_gallery": view["gallery"] is not None,
    }


def _cut(trial: Mapping[str, Any] | None, t: Language) -> str:
    """What was cut, and the ways that were left early, as one line; empty where nothing was."""
    if trial is None:
        return ""
    told, has_more = _told(trial.get("cut") or (), t)
    told += proof.left_told(trial, t)
    lines = [t("proof_cut", cut=" ".join(told))] if told else []
    return " ".join(lines + ([t("proof_cut_elsewhere")] if has_more else []))


# Trials


def _trial(trial: Mapping[str, Any], t: Language) -> dict[str, Any]:
    """A trial: verdict, chart, table of its arms, and of the effects of constants where it has them."""
    metric, arms, effects = trial["metric"], trial.get("arms") or {}, trial.get("effects") or {}
    rows = _rows(trial, arms, effects, t)
    chief, name = trial.get("chief"), str(trial["name"])
    return {
        "name": name,
        "told": proof.tell(trial, chief, t, name=name) if chief in arms and name != proof.SYNTHETIC else None,
        "chief": proof.arm_name(str(chief), t) if chief in arms else "",
        "size": _size(trial, t),
        "cut": _cut(trial, t),
        "short": proof.short_told(trial, t) if name != proof.SYNTHETIC else "",
        "ordinary": _ordinary(trial, t),
        "rows": rows,
        "ticks": _ticks(_axis(trial, arms, effects), metric, t) if rows else [],
        "axis": t("trial_axis_points" if is_percent(metric) else "trial_axis_loss"),
        "band": t("trial_band", least=proof.size_told(metric, LEAST_GAIN, t)),
        "has_same": trial.get("same") is not None,
        "is_same_off": _is_off(trial.get("same")),
        "marks_more": _marks_more(trial, arms, effects),
        "has_seeds": any(one.get("differences") for one in arms.values()),
        "effects": [_effect(constant, one, metric, t) for constant, one in effects.items()],
        "no_effect": _no_effect(effects, metric, t),
        "by_class": _by_class(arms.get(chief), metric, t),
    }


def _size(trial: Mapping[str, Any], t: Language) -> str:
    if not trial.get("steps"):
        return ""
    return t(
        "trial_size",
        items=t.count(trial["n_items"]),
        seeds=t.count(trial["n_seeds"]),
        steps=t.count(trial["steps"]),
    )


def _ordinary(trial: Mapping[str, Any], t: Language) -> str:
    means = [one for one in (trial.get("ordinary") or {}).get("means") or () if one is not None]
    if not means:
        return ""
    mean, low, high = (
        t.value(proof.unit(trial["metric"]), one) for one in (sum(means) / len(means), min(means), max(means))
    )
    return t("trial_ordinary", mean=mean, low=low, high=high)


def _marks_more(
    trial: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]], effects: Mapping[str, Mapping[str, Any]]
) -> str:
    """The key of the sentence on intervals that are wider than 95 %."""
    if trial.get("n_before"):
        return "trial_marks_looks"
    others = (*arms.values(), *effects.values())
    return "trial_marks_many" if any((one.get("level") or LEVEL) > LEVEL for one in others) else ""


def _is_off(same: Mapping[str, Any] | None) -> bool:
    """Whether the ordinary way was shown to differ from itself."""
    if same is None or same.get("low") is None or same.get("high") is None:
        return False
    return not same["low"] <= 0 <= same["high"]


def _ends(estimate: Mapping[str, Any] | None) -> tuple[float, float, float] | None:
    found = [None if estimate is None else estimate.get(end) for end in ("value", "low", "high")]
    return None if None in found else (found[0], found[1], found[2])  # type: ignore[return-value]


def _differences(arm: Mapping[str, Any]) -> list[tuple[int, float]]:
    """The seeds that have a difference, numbered from 1."""
    return [(place + 1, one) for place, one in enumerate(arm.get("differences") or ()) if one is not None]


def _axis(
    trial: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]], effects: Mapping[str, Mapping[str, Any]]
) -> tuple[float, float]:
    seen = [0.0, LEAST_GAIN]
    for one in (trial.get("same"), *(arm.get("gain") for arm in arms.values()), *effects.values()):
        seen += _ends(one) or ()
    for arm in arms.values():
        seen += [value for _, value in _differences(arm)]
    return plots.domain(seen, seen)


def _ticks(axis: tuple[float, float], metric: str, t: Language) -> list[tuple[float, str]]:
    """Where the numbers of the axis stand, in percent of its width, and what they are."""
    scale = 100 if is_percent(metric) else 1
    ticks = plots.nice_ticks(axis[0] * scale, axis[1] * scale)
    digits = plots.decimals(ticks)
    return [(100 * (tick / scale - axis[0]) / (axis[1] - axis[0]), t.number(tick, digits, sign=True)) for tick in ticks]


def _rows(
    trial: Mapping[str, Any],
    arms: Mapping[str, Mapping[str, Any]],
    effects: Mapping[str, Mapping[str, Any]],
    t: Language,
) -> list[dict[str, Any]]:
    """The rows of the chart and of the table beside it: the repetition first, then arms, then constants."""
    axis = _axis(trial, arms, effects)
    scale = 100 if is_percent(trial["metric"]) else 1
    ticks = [tick / scale for tick in plots.nice_ticks(axis[0] * scale, axis[1] * scale)]
    given: list[tuple[str, Mapping[str, Any], str]] = []
    if trial.get("same") is not None:
        given.append(("same", {"gain": trial["same"]}, "cheap"))
    given += [(name, arm, "kept" if name == trial.get("chief") else "other") for name, arm in arms.items()]
    given += [(name, {"gain": one}, "kept") for name, one in effects.items()]
    return [_row(name, arm, kind, trial["metric"], axis, ticks, t) for name, arm, kind in given]


def _row(
    name: str,
    arm: Mapping[str, Any],
    kind: str,
    metric: str,
    axis: tuple[float, float],
    ticks: Sequence[float],
    t: Language,
) -> dict[str, Any]:
    gain, called, seeds = arm.get("gain"), proof.arm_name(name, t), _differences(arm)
    written = proof.gain_told(metric, gain, t)
    words = [(number, value, _alone(metric, value, t)) for number, value in seeds]
    about = ""
    if seeds:
        read = ", ".join(text for _, _, text in words[:_SEEDS_READ]) + ("…" if len(words) > _SEEDS_READ else "")
        about = t("trial_seeds", gains=read)
    verdict = arm.get("verdict")
    value, _, interval = written.partition(" [")
    return {
        "name": called,
        "kind": kind,
        "sentence": _sentence(name, arm, t),
        "value": value,
        "span": f"[{interval}" if interval else "",
        "gain": written,
        "p": t.p(arm.get("flip_p")),
        "smallest": proof.size_told(metric, None if gain is None else gain.get("smallest"), t),
        "finding": proof.finding_told(arm, t),
        "tone": {"admitted": "better", "harmful": "worse"}.get(str(verdict), "same"),
        "losers": ", ".join(arm.get("losers") or ()),
        "track": trial_plot.arm_row(
            _ends(gain),
            [(value, t("trial_seed", number=number, gain=text)) for number, value, text in words],
            axis=axis,
            ticks=ticks,
            band=LEAST_GAIN,
            kind=kind,
            title=t("trial_row", name=called, gain=written),
            about=about,
        ),
    }


def _sentence(name: str, arm: Mapping[str, Any], t: Language) -> str:
    """What an arm does; nothing where its name says as much."""
    if arm.get("sentence") == f"With {name}.":
        return ""
    return (arm.get("sentence") if t.name == "en" else arm.get("fr")) or ""


def _alone(metric: str, value: float, t: Language) -> str:
    """One difference without interval."""
    scale = 100 if is_percent(metric) else 1
    return t.number(value * scale, proof.digits(metric), sign=True)


def _effect(name: str, effect: Mapping[str, Any], metric: str, t: Language) -> dict[str, str]:
    known = next((one for one in constants.ALL if one.name == name), None)
    kind = proof.effect_kind(effect)
    return {
        "symbol": proof.arm_name(name, t),
        "value": "–" if known is None else t.number(known.value, 5),
        "ordinary": "–" if known is None else _ordinary_value(known.ordinary, t),
        "gain": proof.gain_told(metric, effect, t),
        "finding": t(f"effect_{kind}"),
        "tone": {"admitted": "better", "harmful": "worse"}.get(kind, "same"),
        "use": "" if known is None else t(f"constant_{name}"),
    }


def _ordinary_value(value: float | None, t: Language) -> str:
    written = t("none") if value is None else f"{value:g}"
    return written if t.name == "en" or value is None else written.replace(".", ",")


def _no_effect(effects: Mapping[str, Mapping[str, Any]], metric: str, t: Language) -> str:
    """That none of the constants does anything measurable, where it is so of all of them."""
    sizes = [one["smallest"] for one in effects.values() if one.get("smallest") is not None]
    if not effects or len(sizes) < len(effects) or any(proof.effect_kind(one) != "none" for one in effects.values()):
        return ""
    return t("effects_none", smallest=proof.size_told(metric, max(sizes), t))


def _by_class(arm: Mapping[str, Any] | None, metric: str, t: Language) -> list[dict[str, str]]:
    found = (arm or {}).get("by_class") or {}
    losers = (arm or {}).get("losers") or ()
    return [
        {"label": label, "gain": proof.gain_told(metric, one, t), "tone": "worse" if label in losers else ""}
        for label, one in found.items()
    ]


# Scores


def _assessment(found: Mapping[str, Any], t: Language) -> dict[str, Any]:
    made, kept = found.get("n_made"), found.get("n_kept")
    refused = {code: n for code, n in (found.get("refused") or {}).items() if n}
    features, _ = _told([found["features"]] if found.get("features") else [], t)
    total = ""
    if made is not None and kept is not None:
        total = t("made_sum", made=t.count(made), kept=t.count(kept), refused=t.count(made - kept))
    return {
        "sum": total,
        "generator": _generator(found.get("generator"), t),
        "features": t("made_features", features=features[0]) if features else "",
        "refused": [(_reason(code, t), t.count(n), _why(code, t)) for code, n in _by_count(refused)],
        "likeness": _likeness(found.get("likeness") or {}, t),
        "likeness_says_little": _says_little(found.get("likeness") or {}),
        **_set(found.get("set") or {}, t),
        "classes": _classes(found.get("made_for_real") or {}, found.get("real_for_real") or {}, t),
    }


def _by_count(refused: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(refused.items(), key=lambda one: -one[1])


def _reason(code: str, t: Language) -> str:
    return t.known("made_code", code)


def _why(code: str, t: Language) -> str:
    return t(f"made_why_{code}") if code in _REASONS else ""


def _generator(found: Mapping[str, Any] | None, t: Language) -> str:
    wanted = ("steps", "seconds", "loss_train", "loss_held_out")
    if found is None or any(found.get(name) is None for name in wanted):
        return ""
    return t(
        "made_generator",
        steps=t.count(found["steps"]),
        time=t.seconds(found["seconds"]),
        train=t.number(found["loss_train"]),
        held_out=t.number(found["loss_held_out"]),
    )


def _says_little(likeness: Mapping[str, Any]) -> bool:
    """Whether pure noise is as much like real samples as these are like each other."""
    noise, real = likeness.get("noise"), likeness.get("real")
    return noise is not None and real is not None and noise >= real


def _likeness(found: Mapping[str, Any], t: Language) -> list[dict[str, Any]]:
    rows = [(name, kind) for name, kind in (("noise", "cheap"), ("made", "kept"), ("real", "other"))]
    known = [(name, kind, found[name]) for name, kind in rows if found.get(name) is not None]
    if not known:
        return []
    axis = (min(0.0, *(value for *_, value in known)), 1.0)
    return [
        {
            "name": (called := t(f"made_likeness_{name}")),
            "kind": kind,
            "value": (written := t.number(value, 2)),
            "track": trial_plot.bar_row(value, axis=axis, kind=kind, title=t("colon", name=called, value=written)),
        }
        for name, kind, value in known
    ]


def _set(found: Mapping[str, Any], t: Language) -> dict[str, Any]:
    """The scores of the set with what real samples reach beside each other, in words and as rows of a table."""
    ceilings = {
        **(found.get("real") or {}),
        **{name: found.get(f"{name}_real") for name in ("kernel_distance", "copy_ratio")},
    }
    rows = []
    for name in _SCORES:
        value = found.get(name)
        span = ""
        if name == "told_apart" and value is not None:
            ends = (value.get("low"), value.get("high"))
            span = "" if None in ends else t.span("accuracy", *ends)
            value = value.get("value")
        if value is None and ceilings.get(name) is None:
            continue
        ceiling = t.percent(0.5, 0) if name == "told_apart" else _score(name, ceilings.get(name), t)
        rows.append(
            {
                "name": t(f"score_{name}"),
                "value": _score(name, value, t),
                "span": span,
                "ceiling": ceiling,
                "about": t(f"about_score_{name}"),
            }
        )
    n = found.get("n")
    return {"set": rows, "set_lead": t("made_set_lead", n=t.count(n)) if rows and n is not None else ""}


def _score(name: str, value: float | None, t: Language) -> str:
    if name in _PERCENT:
        return t.percent(value)
    return t.number(value, 4 if name == "kernel_distance" else 2)


def _classes(made: Mapping[str, Any], real: Mapping[str, Any], t: Language) -> list[dict[str, Any]]:
    """Classes in the order of how far made samples fall behind real ones; those without a value last."""
    rows = []
    for label in dict.fromkeys([*made, *real]):
        mine, theirs = made.get(label), real.get(label)
        values = [(value, kind) for value, kind in ((theirs, "other"), (mine, "kept")) if value is not None]
        written = (t.percent(mine), t.percent(theirs))
        title = t("made_classes_row", name=label, made=written[0], real=written[1])
        track = trial_plot.scale_row(values, axis=(0.0, 1.0), title=title) if values else Markup("")
        behind = 2.0 if mine is None or theirs is None else mine - theirs
        rows.append((behind, {"label": label, "made": written[0], "real": written[1], "track": track}))
    return [row for _, row in sorted(rows, key=lambda one: one[0])]


# Samples


def _gallery(found: Mapping[str, Any], t: Language) -> dict[str, Any] | None:
    gallery = found["gallery"]
    if gallery is None:
        return None
    samples, judged = found["assessment"]["samples"], is_judged(found["assessment"])
    return {
        "classes": [
            {
                "label": one["label"],
                "groups": [
                    {
                        "kind": kind,
                        "name": name,
                        "items": [_pair(item, samples[item["place"]], t) for item in one[kind]],
                    }
                    for kind, name in (("kept", t("made_kept") if judged else ""), ("refused", t("made_refused_ones")))
                    if one[kind]
                ],
            }
            for one in gallery["classes"]
        ],
        "n_more": gallery["n_more"],
        "legend": t("made_samples_scores" if judged else "made_samples_copy"),
    }


def _pair(item: Mapping[str, Any], sample: Mapping[str, Any], t: Language) -> dict[str, Any]:
    scores = [
        (key, write)
        for key, value, write in (
            ("made_right", sample.get("right"), t.percent(sample.get("right"), 0)),
            ("made_alike", sample.get("likeness"), t.number(sample.get("likeness"), 2)),
            ("made_copy", sample.get("copy_ratio"), t.number(sample.get("copy_ratio"), 2)),
            ("made_realism", sample.get("realism"), t.percent(sample.get("realism"), 0)),
            ("made_weight", sample.get("weight"), t.number(sample.get("weight"), 2)),
        )
        if value is not None
    ]
    reason = sample.get("reason") or ""
    return {
        "made": {**item["made"], "alt": t("made_of", name=item["made"]["name"])},
        "real": item["real"],
        "scores": [(t(key), value) for key, value in scores],
        "reason": _reason(reason, t) if reason else "",
        "why": _why(reason, t),
    }
