"""report.html: the values of report.json as one file that opens offline, in English or French.

The page has no script, loads nothing, and says so in its content policy; names and labels of the user are text to it
and never markup. Charts are made here from `plots`, the layout is in `templates/`.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from ouvroir.evaluation import plots
from ouvroir.evaluation.compare import EQUAL_SIZES
from ouvroir.evaluation.language import Language, LanguageName, sentence
from ouvroir.evaluation.metrics import METRICS, counts_rows, is_higher_better, is_percent
from ouvroir.evaluation.synthesis_page import synthesis_view
from ouvroir.evaluation.verdict import about, is_alike, verdict_lines, weakest_caution, weakest_lines, who
from ouvroir.evaluation.words import WORDS
from ouvroir.evaluation.writing_page import writing_view
from ouvroir.source import shown_locator
from ouvroir.task import options_of

_TEMPLATES = Path(__file__).parent / "templates"
_CONSTANTS = ("phi", "pi", "alpha", "zeta")
_END_OF_NAME = 11  # characters: what fits under a small picture beside the beginning
_MOST_CURVES = 4
_AXES = ("seconds", "characters")  # that curves may be drawn against, beside steps
_AGREES = 0.05  # confidence and share right agree when they surely differ by no more
_STAGES = (
    "check",
    "pack",
    "train",
    "generator",
    "generate",
    "assess",
    "trial",
    "evaluate",
    "baselines",
    "bundle",
    "report",
)


def render(report: Mapping[str, Any], language: LanguageName = "en") -> str:
    """One self-contained HTML file from the values of `make_report`, which may have been read back from report.json."""
    t = Language.of(report, language)
    style = "".join(
        (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "synthesis.css", "writing.css")
    )
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    page: str = _template().render(
        r=report,
        t=t,
        lines=verdict_lines(report, t),
        style=Markup(style),  # noqa: S704 (our own file)
        style_hash=digest,
        about=lambda metric: about(metric, report, t),
        who=lambda system, **form: who(report, system, t, **form),
        compared=_compared(report, t),
        has_p=bool(report["main"]) and counts_rows(report["main"]),
        tables=_tables(report),
        has_intervals=_has_intervals(report),
        has_kept=_has_kept(report),
        explained=_explained(report),
        curves=_curves(report, t),
        confusion=_confusion(report, t),
        calibration=_calibration(report, t),
        weakest=weakest_lines(report.get("weakest", ()), t),  # absent in reports of the first version
        weakest_caution=weakest_caution(report.get("weakest", ()), t),
        steps=_steps(report, t),
        constants=_constants(report, t),
        costs=_costs(report, t),
        controls=[
            {**one, "said": _told(one["text"], [one.get("fr")], t) or t("control_elsewhere")}
            for one in report.get("controls", ())  # absent in reports of the first version
        ],
        groups=report.get("groups", ()),
        random_split=_random_split(report, t),
        named={one["name"]: one for one in report["systems"]},
        trained=[
            {"name": who(report, one, t), "kind": _kind(report, one)}
            for one in report["systems"]
            if one["role"] != "baseline" and not one.get("is_start")  # which has no curves; absent in earlier reports
        ],
        ledger_labels=_ledger_labels(report),
        notes=_notes(report, t),
        refusals=[(shown_locator(one["id"]), _reason(one, t)) for one in report["ledger"].get("refusals", ())],
        settings=_settings(report, t),
        commands=[(key, _command(key, text, t)) for key, text in (report.get("use") or {}).get("commands", ())],
        environment=_environment(report["environment"], t),
        synthesis=synthesis_view(report, t),
        writing=[writing_view(one, report, t) for one in report.get("writing", ())],
    )
    return page


@cache
def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sentence"] = sentence
    environment.filters["headline"] = _headline
    environment.filters["ticked"] = _ticked
    environment.filters["ends"] = _ends
    environment.filters["shown"] = shown_locator
    return environment.get_template("report.html")


def _headline(text: str) -> Markup:
    """The first line of the verdict with its interval set apart."""
    before, bracket, rest = text.partition("[")
    inside, close, after = rest.partition("]")
    if not close:
        return Markup("{}").format(text)
    return Markup("{}<span>{}</span>{}").format(before, bracket + inside + close, after)


def _ticked(text: str) -> Markup:
    """The text with what stands between backticks as <code>."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one that is not closed is an ordinary character
        parts[-2:] = ["`".join(parts[-2:])]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def _ends(names: Sequence[str]) -> list[tuple[str, str]]:
    """Each name in two parts, of which the second always stays in sight: the end, which often tells files apart.

    Where they all end alike, that is left out but for the suffix: `holiday_0012_edited.png` ends in `_0012….png`.
    """
    n_alike = 0
    if len(set(names)) > 1:
        columns = zip(*(reversed(name) for name in names), strict=False)
        n_alike = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
    alike = names[0][len(names[0]) - n_alike :].lstrip("0123456789") if names else ""  # a number stays whole
    suffix = alike[alike.rfind(".") :] if "." in alike else ""
    if len(alike) <= len(suffix) + 1:
        return [(name[:-_END_OF_NAME], name[-_END_OF_NAME:]) for name in names]
    n_kept = max(4, _END_OF_NAME - len(suffix) - 1)
    stems = [name.removesuffix(alike) for name in names]
    return [(stem[:-n_kept], f"{stem[-n_kept:]}…{suffix}") for stem in stems]


def _told(english: str, french: Sequence[str | None], t: Language) -> str | None:
    """A sentence of others in the page's language; None when it has no French, as in reports of the first version."""
    return english if t.name == "en" else french[0] if french else None


def _notes(report: Mapping[str, Any], t: Language) -> list[str]:
    """The notes; where some have no French, one sentence says where they are."""
    given = [*report["ledger"].get("notes", ()), *report["notes"]]
    notes: list[Mapping[str, Any]] = [{"text": one} if isinstance(one, str) else one for one in given]
    told = [_told(note["text"], [note.get("fr")], t) for note in notes]
    for place, note in enumerate(notes):
        if told[place] and note.get("proposal"):
            told[place] = t("proposed", note=told[place], settings=options_of(note["proposal"]))
    return [one for one in told if one] + ([t("notes_elsewhere")] if None in told else [])


def _reason(refusal: Mapping[str, Any], t: Language) -> str:
    """Why a file was refused: the sentence, or else what its code says."""
    told = _told(refusal["reason"], [refusal.get("fr")], t)
    return told or t("reason_elsewhere", reason=sentence(t.refusal(refusal["code"])) + ".")


def _ledger_labels(report: Mapping[str, Any]) -> list[str]:
    """All classes of the ledger's table."""
    counts = report["ledger"].get("counts", {})
    return sorted({label for split in counts.values() for label in split})


def _settings(report: Mapping[str, Any], t: Language) -> dict[str, Any]:
    """Settings with their meaning and their values: of each model where several were trained, whose names head the columns."""
    of = report.get("settings_of") or {}  # absent in earlier reports
    trained = [one for one in report["systems"] if one["name"] in of]
    rows = []
    for name, value, *entry in report["settings"]:
        values = [
            _setting(name, found, t) for found in [of[one["name"]].get(name, value) for one in trained] or [value]
        ]
        rows.append((name, values, _told(entry[0], entry[1:], t)))
    return {"columns": [sentence(who(report, one, t)) for one in trained] or [t("value")], "rows": rows}


def _dated(environment: Mapping[str, Any]) -> dict[str, Any]:
    """With the time as people write it, which is kept in seconds since 1970."""
    created = environment.get("created")
    if not isinstance(created, int | float):
        return dict(environment)
    return {**environment, "created": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(created))}


def _environment(environment: Mapping[str, Any], t: Language) -> list[tuple[str, str]]:
    """Names and values of the table of the environment; versions have the names of their packages."""
    words = {"True": t("yes"), "False": t("no")}
    return [
        (t.known("environment", name.removeprefix("versions.")), words.get(value, value))
        for name, value in _flat(_dated(environment))
    ]


def _setting(name: str, value: str, t: Language) -> str:
    """The value of a setting; a seed is a name and no amount."""
    return value if name.endswith("seed") else t.setting(value)


def _command(key: str, text: str, t: Language) -> str:
    """A command of the section on use, with the words that stand for what one types in the page's language."""
    if key == "use_report":
        return f"{text} {'fr' if t.name == 'en' else 'en'}"
    before, _, last = text.rpartition(" ")
    return f"{before} {t(f'typed_{last}')}" if f"typed_{last}" in WORDS else text


def _flat(value: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Nested values as (dotted name, text)."""
    found: list[tuple[str, str]] = []
    for name, one in value.items():
        if isinstance(one, Mapping):
            found += _flat(one, f"{before}{name}.")
        elif one is not None:
            found.append((f"{before}{name}", " ".join(map(str, one)) if isinstance(one, list | tuple) else str(one)))
    return found


def _kind(report: Mapping[str, Any], system: Mapping[str, Any]) -> str:
    """The CSS class of a system's colour."""
    return "kept" if system["name"] == report["kept"] else "other" if system["role"] != "baseline" else "cheap"


def _has_kept(report: Mapping[str, Any]) -> bool:
    """Whether there is more than one model, so that it is said which one was kept."""
    return len([one for one in report["systems"] if one["role"] != "baseline"]) > 1


def _has_intervals(report: Mapping[str, Any]) -> bool:
    """Whether any system has an interval of the main metric: a test of a single item gives none."""
    found = [one["metrics"].get(report["main"]) for one in report["systems"]]
    return any(one and one["low"] is not None for one in found)


def _compared(report: Mapping[str, Any], t: Language) -> dict[str, Any] | None:
    """The dot-and-whisker rows of the main metric with their common axis."""
    main = report["main"]
    systems = [one for one in report["systems"] if main in one["metrics"]] if main else []
    if not systems:
        return None
    values = [one["metrics"][main] for one in systems]
    ceiling = 1.0 if is_percent(main) else float("inf")
    lows, highs = ([_end(one, end) for one in values] for end in ("low", "high"))
    axis = plots.domain(lows, highs, floor=0.0, ceiling=ceiling)
    ticks = plots.nice_ticks(*axis)
    return {
        "rows": [_compared_row(report, one, main, axis, ticks, t) for one in systems],
        "ticks": [(100 * (tick - axis[0]) / (axis[1] - axis[0]), _tick(main, tick, ticks, t)) for tick in ticks],
        "is_cut": axis[0] > 0,
    }


def _end(metric: Mapping[str, Any], end: str) -> float:
    """Where the whisker of a metric ends: at its dot where it has no interval."""
    return float(metric["value"] if metric[end] is None else metric[end])


def _compared_row(
    report: Mapping[str, Any],
    system: Mapping[str, Any],
    main: str,
    axis: tuple[float, float],
    ticks: Sequence[float],
    t: Language,
) -> dict[str, Any]:
    metric = system["metrics"][main]
    name = who(report, system, t)
    value, span = t.value(main, metric["value"]), t.span(main, metric["low"], metric["high"])
    kind = _kind(report, system)
    return {
        "name": name,
        "role": t("role_baseline") if system["role"] == "baseline" else "",
        "kind": kind,
        "is_kept": kind == "kept" and _has_kept(report),
        "value": value,
        "span": span,
        "track": plots.track(
            metric["value"],
            _end(metric, "low"),
            _end(metric, "high"),
            axis=axis,
            ticks=ticks,
            kind=kind,
            title=t("colon", name=name, value=f"{value} {span}"),
        ),
    }


def _tick(metric: str, tick: float, ticks: Sequence[float], t: Language) -> str:
    if is_percent(metric):
        return t.percent(tick, max(0, plots.decimals(ticks) - 2))
    return t.number(tick, plots.decimals(ticks))


def _tables(report: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The metrics of the table of all measures, the main one first, with whether higher is better."""
    found = dict.fromkeys(name for system in report["systems"] for name in system["metrics"])
    return [(name, is_higher_better(name)) for name in found]


def _explained(report: Mapping[str, Any]) -> list[str]:
    """The metrics of that table but for the one that the verdict explains already."""
    is_told = bool(report["main"]) and not counts_rows(report["main"])
    return [name for name, _ in _tables(report) if not (is_told and name == report["main"])]


def _curves(report: Mapping[str, Any], t: Language) -> list[tuple[str, Markup]]:
    """Training loss, then each metric of validation that is known here."""
    charts: list[tuple[str, Markup]] = []
    drawn: list[tuple[str, list[Any]]] = []
    wanted = [("train", name) for name in _training_losses(report)]
    wanted += [("validation", name) for name in dict.fromkeys([report["main"], "loss", *METRICS]) if name]
    for split, metric in wanted:
        lines = [one for one in report["curves"] if (one["split"], one["metric"]) == (split, metric)]
        lines = [one for one in lines if one["points"]]
        points = split, [one["points"] for one in lines]  # of a text the loss is what nats per character are
        if sum(map(len, points[1])) > 1 and len(charts) < _MOST_CURVES and points not in drawn:
            drawn.append(points)
            charts.append(_curve(report, lines, split, metric, t))
            says_more = len(lines) > 1 or plots.has_points_between(map(len, points[1]))
            for against in _AXES if metric == report["main"] else ():
                if says_more and all(against in one for one in lines):
                    charts.append(_curve(report, lines, split, metric, t, against=against))
    return charts


def _training_losses(report: Mapping[str, Any]) -> list[str]:
    """The name under which the total training loss is kept: `loss`, or that of the only loss."""
    names = list(dict.fromkeys(one["metric"] for one in report["curves"] if one["split"] == "train"))
    return ["loss"] if "loss" in names else [name for name in names if name not in ("lr", "grad_norm", "items")][:1]


def _curve(
    report: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    split: str,
    metric: str,
    t: Language,
    against: str = "points",
) -> tuple[str, Markup]:
    title = t("curve_loss") if split == "train" else t("curve_validation", metric=t(f"metric_{metric}"))
    title = sentence(t(f"curve_by_{against}", title=title) if against in _AXES else title)
    values = [y for one in lines for _, y in one["points"]]
    axis = plots.domain(values, values, floor=0.0, ceiling=1.0) if is_percent(metric) else plots.domain(values, values)
    ticks = plots.nice_ticks(*axis)

    def write(value: float) -> str:
        if is_percent(metric):
            return t.percent(value, max(0, plots.decimals(ticks) - 2))
        return t.number(value, max(1, plots.decimals(ticks)))

    def say(value: float) -> str:
        return t.value(metric, value)

    systems = [{"name": one["system"], "role": one["role"]} for one in lines]
    names = [who(report, system, t) for system in systems]
    named = list(zip(names, lines, strict=True))
    series = [
        plots.Series(name, _kind(report, system), one[against])
        for (name, one), system in zip(named, systems, strict=True)
    ]
    ends = ", ".join(t("curve_end", name=name, value=say(one["points"][-1][1])) for name, one in named)

    def along(x: float) -> str:
        return t(f"curve_along_{against}", x=t.seconds(x) if against == "seconds" else t.count(x))

    alt = t("curve_alt", title=title, along=along(max(one[against][-1][0] for one in lines)), ends=ends)
    label = t("metric_loss") if split == "train" else t(f"metric_{metric}")
    x_label = t(f"curve_{against}") if against in _AXES else t("step")
    return title, plots.curves(
        series, axis=axis, title=alt, x_label=x_label, y_label=label, t=t, along=along, write=write, say=say
    )


def _confusion(report: Mapping[str, Any], t: Language) -> Markup | None:
    found = report["confusion"]
    if not found or not found["labels"]:
        return None
    title = t("confusion_alt", n=t.count(len(found["labels"])))
    return plots.confusion(found["labels"], found["cells"], title=title, t=t)


def _calibration(report: Mapping[str, Any], t: Language) -> dict[str, Any] | None:
    found = report["calibration"]
    if not found:
        return None
    said, right = t.percent(found["said"]), t.percent(found["right"])
    gap = found["said"] - found["right"]
    if found["is_multi_label"]:
        average = t("calibration_labels", said=said, right=right)
    else:
        average = _average_confidence(found, gap, said, right, t)
    bins = found["bins"]
    title = t("calibration_alt", n=len(bins))
    kept = next(one for one in report["systems"] if one["name"] == report["kept"])
    error = kept["metrics"].get("ece")
    if error is not None:
        span = t.span("ece", error["low"], error["high"])
        error = t("calibration_error", error=t.value("ece", error["value"]), interval=span)
    return {"sentence": average, "error": error, "chart": plots.calibration(bins, title=title, t=t)}


def _average_confidence(found: Mapping[str, Any], gap: float, said: str, right: str, t: Language) -> str:
    """Whether confidence and truth agree on average, as far as the interval of their difference says."""
    half = found["half_width"]
    ends = {"value": gap, "low": gap - half, "high": gap + half}
    if abs(gap) > half:
        key = "over" if gap > 0 else "under"
        sign = 1 if gap > 0 else -1
        size = t.gap_size("accuracy", abs(gap))
        size += " " + t.span("accuracy", *sorted((sign * ends["low"], sign * ends["high"])))
        return t(f"calibration_{key}", said=said, right=right, gap=size)
    bound = abs(gap) + half
    key = "even" if bound <= _AGREES else "unclear"
    n = t.count(found.get("n", sum(one["n"] for one in found["bins"])))
    words = {"said": said, "right": right, "gap": t.gap("accuracy", ends)}
    return t(f"calibration_{key}", **words, **({"bound": t.gap_size("accuracy", bound)} if key == "even" else {"n": n}))


def _steps(report: Mapping[str, Any], t: Language) -> str | None:
    """Whether base and tuned model had the same number of steps, as a sentence; of rivals, how long each was trained."""
    rivals = [one for one in report["systems"] if one["role"] == "rival"]
    if len(rivals) > 1:
        is_known = all(one["steps"] and one["seconds"] for one in rivals)
        return _efforts(report, rivals, t) if is_known else None
    steps = {
        who(report, one, t): one["steps"] for one in report["systems"] if one["role"] != "baseline" and one["steps"]
    }
    if len(steps) < 2:
        return None
    if len(set(steps.values())) == 1:
        return t("equal_steps", steps=t.count(next(iter(steps.values()))))
    return t("unequal_steps", steps=", ".join(t("colon", name=name, value=t.count(n)) for name, n in steps.items()))


def _efforts(report: Mapping[str, Any], rivals: Sequence[Mapping[str, Any]], t: Language) -> str:
    """Steps, times and sizes of models that were trained side by side, and what of it is not equal."""
    each = []
    for one in rivals:
        n = one.get("n_parameters")  # absent in earlier reports
        said = {"name": who(report, one, t), "steps": t.count(one["steps"]), "time": t.seconds(one["seconds"])}
        each.append(t("rival_effort_and_size", **said, parameters=t.count(n)) if n else t("rival_effort", **said))
    sentences = [t("rivals_trained", each="; ".join(each) if t.name == "en" else " ; ".join(each))]
    times = [one["seconds"] for one in rivals]
    if not is_alike(min(times), max(times)):
        sentences.append(t("unequal_times"))
    sizes = [one.get("n_parameters") or 0 for one in rivals]
    if all(sizes) and max(sizes) > EQUAL_SIZES * min(sizes):
        largest = who(report, rivals[sizes.index(max(sizes))], t, with_article=True)
        sentences.append(t("unequal_parameters", name=largest, factor=t.number(max(sizes) / min(sizes), 1)))
    return " ".join(sentences)


def _constants(report: Mapping[str, Any], t: Language) -> list[dict[str, str]]:
    """The constants that act in the kept model with their values, ordinary values and uses."""
    from ouvroir import constants

    uses = report.get("constants")  # absent in earlier reports, which show all of them
    values = {name: value for name, value, *_ in report["settings"]}
    found = []
    for name in _CONSTANTS:
        if f"constants.{name}" not in values or (uses is not None and name not in uses):
            continue
        one = getattr(constants, name.upper())
        used = values[f"constants.{name}"].strip('"')
        ordinary = t("none") if one.ordinary is None else f"{one.ordinary:g}"
        found.append(
            {
                "symbol": one.symbol,
                "used": t("ordinary") if used == "ordinary" else t.number(float(used), 5),
                "ordinary": ordinary if t.name == "en" else ordinary.replace(".", ","),
                "use": (uses and _told(uses[name][0], uses[name][1:], t)) or t(f"constant_{name}"),
            }
        )
    return found


def _random_split(report: Mapping[str, Any], t: Language) -> dict[str, Any] | None:
    found = report.get("random_split")  # absent in earlier reports
    return found and {**found, "who": who(report, found, t, with_article=True)}


def _costs(report: Mapping[str, Any], t: Language) -> list[tuple[str, str]]:
    """Names and values of the table of times and sizes."""
    found = []
    timings = {name.removesuffix("_s"): seconds for name, seconds in report["timings"].items()}
    for stage in (*_STAGES, *(name for name in timings if name not in _STAGES)):
        if timings.get(stage) is not None:
            found.append((t.known("cost", stage), t.seconds(timings[stage])))
    speed = "windows_per_second" if report.get("writing") else "items_per_second"
    for key, value in (
        ("device", report["device"] or None),
        (speed, report["items_per_second"] and t.count(report["items_per_second"])),
        ("parameters", report["n_parameters"] and t.count(report["n_parameters"])),
        ("model_bytes", report["model_bytes"] and t.size(report["model_bytes"])),
    ):
        if value:
            found.append((t(key), str(value)))
    return [*found, (t("energy"), t("energy_unknown"))] if found else []
