"""The verdict as sentences: what the kept model is worth, against the cheap baseline and against the base model.

Nothing is said to be better without an interval that excludes zero; "no difference is shown" comes with what would
have been seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ouvroir.evaluation.language import Language, sentence
from ouvroir.evaluation.metrics import counts_rows, has_sentence, is_percent
from ouvroir.evaluation.words import WORDS

_FEW_ITEMS = 100
_FEW_GROUPS = 10  # of which an average says little about the next one
_FEW_OF_A_CLASS = 20
_ALIKE = 0.05  # times that differ by a smaller share are called equal


def verdict_lines(report: Mapping[str, Any], t: Language) -> list[str]:
    """The headline first, then one sentence per comparison, then cautions."""
    kept = next((one for one in report["systems"] if one["name"] == report["kept"]), None)
    if kept is None or report["main"] is None:
        return [t("verdict_none"), t("verdict_none_next"), *_few_steps(report, t)]
    lines = [_headline(report, kept, t)]
    lines += _told(report, ("sample_data",), t)
    if not counts_rows(report["main"]):  # the headline itself says what these are
        main = report["main"]
        lines.append(sentence(t("colon", name=t(f"metric_{main}"), value=about(main, report, t))) + ".")
    lines += [*_few_steps(report, t), *_kept_at(report, t)]
    for pair in report["pairs"]:
        lines.append(_PAIRS[pair["kind"]](report, pair, t))
    lines = [line for line in lines if line]
    if any(one.get("is_start") for one in report["systems"]):  # absent in earlier reports
        lines.append(t("kept_tuned"))
    elif any(pair["kind"] in ("tuning", "rival") for pair in report["pairs"]):
        ledger = report["ledger"]
        judged = ledger.get("judged") or ledger.get("splits", {})  # reports of the first version have the splits only
        had_validation = judged.get("validation", 1) > 0
        lines.append(t("kept_on_validation" if had_validation else "kept_without_validation"))
    lines += _told(report, ("groups_mixed", "group_leak"), t)  # the test may be easier than what comes
    return [*lines, *_cautions(report, kept, t)]


def _few_steps(report: Mapping[str, Any], t: Language) -> list[str]:
    """Of each model that had few steps that it had, then what to do about it."""
    short = [one for one in report["systems"] if one.get("usual_steps") and one["steps"]]  # absent in earlier reports
    said = [
        t(
            "few_steps",
            who=sentence(who(report, one, t, with_article=True)),
            n=t.count(one["steps"]),
            usual=t.count(one["usual_steps"]),
        )
        for one in short
    ]
    if short:
        can_be_smaller = any(one.get("can_be_smaller") for one in short)
        said[-1] += " " + t("few_steps_minutes_or_smaller" if can_be_smaller else "few_steps_minutes")
    return said


def _kept_at(report: Mapping[str, Any], t: Language) -> list[str]:
    """Which checkpoint of a fine-tuned model was kept; of any model that its validation became worse after that one.

    A single validation tells nothing of that, which is said.
    """
    is_tuned = any(one.get("is_start") for one in report["systems"])
    found = []
    for one in report["systems"]:
        at = one.get("kept_at")  # absent in earlier reports
        if not at or not (at["is_overfit"] or is_tuned):
            continue
        metric = at["metric"]
        is_once = at.get("n_validations", 2) == 1  # absent in earlier reports, which have no single ones
        said = t(
            "kept_at_once" if is_once else "kept_at_last" if at["step"] == at["steps"] else "kept_at_step",
            who=sentence(who(report, one, t, with_article=True)),
            step=t.count(at["step"]),
            steps=t.count(at["steps"]),
            metric=t.known("metric", metric),
            value=t.value(metric, at["value"]),
            last=t.value(metric, at["last"]),
        )
        found.append(" ".join([said, *([t("kept_at_overfit")] if at["is_overfit"] else [])]))
    return found


def _cautions(report: Mapping[str, Any], kept: Mapping[str, Any], t: Language) -> list[str]:
    """That the test has few items, few groups of them, or few units that intervals count."""
    n_units = report.get("n_test_units", report["n_test"])  # absent in earlier reports, as groups are
    found = []
    if kept["metrics"][report["main"]]["low"] is None:
        found.append(t("one_item"))
    elif n_units < report["n_test"]:
        found.append(t("in_units", n=t.count(n_units)))
    if 0 < report.get("n_test_groups", 0) < _FEW_GROUPS and n_units == report["n_test"]:
        found.append(t("few_groups", n=t.count(report["n_test_groups"])))
    elif not found and report["n_test"] < _FEW_ITEMS:
        found.append(t("few_items", n=t.count(report["n_test"])))
    return found


def _told(report: Mapping[str, Any], codes: Sequence[str], t: Language) -> list[str]:
    """The sentences of notes that bear on the verdict; notes had no code in reports of the first version."""
    notes = [note for note in report["ledger"].get("notes", ()) if not isinstance(note, str)]
    return [
        note["text"] if t.name == "en" else note.get("fr") or t("leak") for note in notes if note.get("code") in codes
    ]


def weakest_lines(weakest: Sequence[Mapping[str, Any]], t: Language) -> list[tuple[str, str, str]]:
    """For each of the weakest classes its name, how many were found with the interval, and what it was taken for."""
    found = []
    for one in weakest:
        right = t("weakest_right", right=t.count(one["n_right"]), n=t.count(one["n"]))
        span = f"{t.percent(one['value'])} {t.span('accuracy', one['low'], one['high'])}"
        instead = ""
        if one["taken_for"] is not None:
            instead = t("weakest_taken", answer=one["taken_for"], count=t.count(one["n_taken_for"]))
        elif one["n_in_vain"]:
            instead = t("weakest_in_vain", count=t.count(one["n_in_vain"]))
        found.append((str(one["label"]), t("colon", name=right, value=span), instead))
    return found


def weakest_caution(weakest: Sequence[Mapping[str, Any]], t: Language) -> str:
    """That shares of few items are uncertain; empty when the classes shown have enough of them."""
    return t("weakest_few") if any(one["n"] < _FEW_OF_A_CLASS for one in weakest) else ""


def who(report: Mapping[str, Any], system: Mapping[str, Any], t: Language, *, with_article: bool = False) -> str:
    """What a system is called: by its role, or 'the model' when only one was trained; baselines by their name.

    In a sentence it stands `with_article`, in a table or a legend without.
    """
    if system["role"] == "baseline":
        name = t.known("the" if with_article else "name", system["name"])
        n_rows = system.get("n_rows")  # absent in reports of the first version
        return t("of_rows", name=name, n=t.count(n_rows)) if n_rows else name
    trained = [one for one in report["systems"] if one["role"] != "baseline"]
    if len(trained) == 1:
        return t("the_only" if with_article else "only_model")
    roles = [one["role"] for one in trained]
    if roles.count(system["role"]) > 1:
        return t.known("the" if with_article else "name", str(system["name"]))
    return t(f"the_{system['role']}" if with_article else f"role_{system['role']}")


def about(metric: str, report: Mapping[str, Any], t: Language) -> str:
    """What a metric is; of a text that is read in windows, how large they are and by how much they overlap."""
    window = report.get("window")  # absent in earlier reports
    in_windows = f"about_{metric}_in_windows"
    if window and in_windows in WORDS:
        context, stride = window["context"], window["stride"]
        return t(in_windows, context=t.count(context), stride=t.count(stride), seen=t.count(context - stride))
    return t(f"about_{metric}")


def is_alike(one: float, other: float) -> bool:
    """Whether two times of training are equal as far as a machine that does other things too can make them so."""
    return abs(one - other) <= _ALIKE * max(one, other)


def _headline(report: Mapping[str, Any], kept: Mapping[str, Any], t: Language) -> str:
    """What the kept model is worth; that a cheap baseline does better, where one does."""
    main = report["main"]
    metric = kept["metrics"][main]
    key = f"verdict_{main}" if has_sentence(main) else "verdict_share" if is_percent(main) else "verdict_number"
    better: dict[str, str] = {}
    for pair in report["pairs"]:
        if (pair["kind"], pair["verdict"]) == ("baseline", "worse"):
            key, cheap = "verdict_beaten", _named(report, pair["first"])
            better = {
                "name": who(report, cheap, t, with_article=True),
                "cheap": t.value(main, cheap["metrics"][main]["value"]),
            }
    return t(
        key,
        **better,
        who=sentence(who(report, kept, t, with_article=True)),
        value=t.value(main, metric["value"]),
        n=t.count(metric["n"]),
        interval=t.span(main, metric["low"], metric["high"]),
        metric=t(f"metric_{main}"),
        direction=t("higher_better" if report["higher_is_better"] else "lower_better"),
    )


def _against(report: Mapping[str, Any], pair: Mapping[str, Any], t: Language) -> str:
    main = report["main"]
    cheap = next(one for one in report["systems"] if one["name"] == pair["first"])
    key = f"against_{pair['verdict']}"
    if pair["verdict"] != "better":
        at = _named(report, pair["second"]).get("kept_at") or {}  # absent in earlier reports
        if at.get("is_overfit"):  # longer training would change nothing
            key += "_overfit"
        elif report.get("writing"):  # what only counts cannot be used in its place
            key += "_writing"
    return t(
        key,
        name=who(report, cheap, t, with_article=True),
        value=t.value(main, cheap["metrics"][main]["value"]),
        gap=_gap(report, pair, t),
    )


def _gap(report: Mapping[str, Any], pair: Mapping[str, Any], t: Language) -> str:
    """The second system minus the first; only the size where the sentence says which is better."""
    return t.gap(report["main"], pair["difference"], signed=pair["verdict"] == "same")


def _tuning(report: Mapping[str, Any], pair: Mapping[str, Any], t: Language) -> str:
    is_counted = pair["p_value"] is not None  # else nothing is right or wrong
    changed = t("changed", fixed=t.count(pair["n_fixed"]), broken=t.count(pair["n_broken"])) if is_counted else ""
    return t(f"tuning_{pair['verdict']}", gap=_gap(report, pair, t), changed=changed, seen=_seen(report, pair, t))


def _seen(report: Mapping[str, Any], pair: Mapping[str, Any], t: Language) -> str:
    """What difference would have been seen; nothing where none could."""
    if pair["smallest"] is None:
        return ""
    return t("would_be_seen", smallest=t.gap_size(report["main"], pair["smallest"]))


def _named(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in report["systems"] if one["name"] == name)
    return found


def _rival(report: Mapping[str, Any], pair: Mapping[str, Any], t: Language) -> str:
    main, other = report["main"], _named(report, pair["first"])
    return t(
        f"rival_{pair['verdict']}",
        trained=_trained(other, _named(report, pair["second"]), t),
        name=who(report, other, t, with_article=True),
        value=t.value(main, other["metrics"][main]["value"]),
        gap=_gap(report, pair, t),
        seen=_seen(report, pair, t),
    )


def _trained(other: Mapping[str, Any], kept: Mapping[str, Any], t: Language) -> str:
    """How long one was trained, against the one that was kept."""
    mine, its = other.get("seconds"), kept.get("seconds")
    if not mine or not its:
        return t("rival_time_unknown")
    return t(f"rival_time_{'alike' if is_alike(mine, its) else 'other'}", seconds=t.seconds(mine), kept=t.seconds(its))


def _rival_baseline(report: Mapping[str, Any], pair: Mapping[str, Any], t: Language) -> str:
    """Said of a model that does not beat the cheap baseline, and else nothing."""
    if pair["verdict"] == "better":
        return ""
    other, cheap = _named(report, pair["second"]), _named(report, pair["first"])
    return t(
        f"rival_beaten_{pair['verdict']}",
        who=sentence(who(report, other, t, with_article=True)),
        name=who(report, cheap, t, with_article=True),
        gap=_gap(report, pair, t),
    )


_PAIRS = {"baseline": _against, "tuning": _tuning, "rival": _rival, "rival_baseline": _rival_baseline}
