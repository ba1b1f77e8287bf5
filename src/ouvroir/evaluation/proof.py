"""What a trial came to, in words: the verdict in large letters, its numbers, and what they mean for a newcomer.

It reads a trial as plain values, as report.json holds it; the statistics are those of `trial`. The report uses it, and so may
a command line, in one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ouvroir import constants
from ouvroir.evaluation.language import Language, LanguageName
from ouvroir.evaluation.metrics import is_percent
from ouvroir.evaluation.trial import LEAST_GAIN, LEAST_SEEDS, SIGNIFICANT
from ouvroir.evaluation.words_synthesis import WORDS_SYNTHESIS

SYNTHETIC = "synthetic"
"""The name of the trial of synthetic data, and of its arm."""
UNTRIED = WORDS_SYNTHESIS["untried"][0]
SYMBOLS = {one.name: one.symbol for one in constants.ALL}

Because = Literal["none", "losers", "small", "few", "flip"]


@dataclass(frozen=True)
class Told:
    """A verdict for the page. `word` stands in large letters, `because` beside it where there is a reason to give."""

    verdict: str
    word: str
    because: str
    numbers: tuple[str, ...]
    meaning: tuple[str, ...]


def tell(trial: Mapping[str, Any] | None, arm: str | None, t: Language, *, name: str = SYNTHETIC) -> Told:
    """The verdict of an arm in full; that nothing was tried where there is no trial or no arm. `name` is the trial's."""
    is_chief = trial is None or arm is None or arm == trial.get("chief")
    kind = "proof_data" if name == SYNTHETIC and is_chief else "proof"
    found = _arm(trial, arm)
    if trial is None or found is None:
        untried = (t("proof_means_untried"),) if name == SYNTHETIC else ()
        return Told("untried", t(f"{kind}_untried"), "", (), untried)
    metric, verdict, because = trial["metric"], found["verdict"], why(found)
    gain = found["gain"]
    numbers = [
        t(
            "proof_numbers",
            what=t("proof_gain_accuracy" if is_percent(metric) else "proof_gain_loss"),
            gain=gain_told(metric, gain, t),
            items=t.count(gain["n_items"]),
            seeds=t.count(gain["n_seeds"]),
            p=p_told(found.get("flip_p"), t),
        )
    ]
    if verdict == "rejected" and because == "none" and gain.get("smallest") is not None:
        numbers.append(_smallest(trial, gain["smallest"], t))
    if found.get("losers"):
        numbers.append(t("proof_losers", names=", ".join(found["losers"])))
    meaning = []
    if trial.get("steps"):
        meaning.append(t("proof_how", seeds=t.count(gain["n_seeds"]), steps=t.count(trial["steps"])))
    if name == SYNTHETIC:
        meaning.append(_meaning(verdict, because, metric, found, t))
    if short := short_told(trial, t):
        meaning.append(short)
    return Told(
        verdict,
        t(f"{kind}_{verdict}"),
        _because(verdict, because, t),
        tuple(numbers),
        tuple(meaning),
    )


def short_told(trial: Mapping[str, Any], t: Language) -> str:
    """That trainings were much shorter than those of the model, where they were; '' elsewhere."""
    full, mean = trial.get("full_steps"), _mean(trial)
    if not full or mean is None or trial["steps"] >= full / 2 or not is_percent(trial["metric"]):
        return ""
    return t("proof_short_trainings", steps=t.count(trial["steps"]), full=t.count(full), mean=t.percent(mean))


def _mean(trial: Mapping[str, Any]) -> float | None:
    """What the ordinary way reaches, over its seeds."""
    means = [one for one in (trial.get("ordinary") or {}).get("means") or () if one is not None]
    return sum(means) / len(means) if means else None


def _smallest(trial: Mapping[str, Any], smallest: float, t: Language) -> str:
    """The smallest gain that would have been seen; that there is no room for one, where the model is right nearly always."""
    mean = _mean(trial)
    if mean is not None and is_percent(trial["metric"]) and mean + smallest > 1:
        return t("proof_no_room", mean=t.percent(mean), smallest=size_told(trial["metric"], smallest, t))
    return t("proof_smallest", smallest=size_told(trial["metric"], smallest, t))


def told(trial: Mapping[str, Any] | None, arm: str | None, language: Language | LanguageName) -> str:
    """The verdict of an arm in one line, e.g. for a terminal.

    >>> told(None, None, "en")
    'Synthetic data: NOT TRIED.'
    """
    t = language if isinstance(language, Language) else Language(language)
    found = _arm(trial, arm)
    name = SYNTHETIC if trial is None or trial.get("name") == SYNTHETIC else str(trial.get("name"))
    full = tell(trial, arm, t, name=name)
    is_chief = trial is None or arm is None or arm == trial.get("chief")
    what = t("proof_data") if name == SYNTHETIC and is_chief else arm_name(arm or name, t)
    head = t("proof_short", what=what, verdict=full.word)
    if trial is None or found is None:
        return head + "."
    gain = found["gain"]
    values = {
        "gain": gain_told(trial["metric"], gain, t),
        "items": t.count(gain["n_items"]),
        "seeds": t.count(gain["n_seeds"]),
        "p": p_told(found.get("flip_p"), t),
    }
    if full.because:
        head = f"{head}, {full.because}"
    line = f"{head}. {t('proof_short_numbers', **values)}"
    if full.verdict == "rejected" and why(found) == "none" and gain.get("smallest") is not None:
        line = f"{line} {_smallest(trial, gain['smallest'], t)}"
    return line


def left_told(trial: Mapping[str, Any], t: Language) -> list[str]:
    """A sentence for each way that was left before the last seed for want of hope."""
    return [
        t("trial_left", name=arm_name(name, t), seeds=t.count(one["gain"]["n_seeds"]))
        for name, one in (trial.get("arms") or {}).items()
        if one.get("is_futile") and one.get("gain") and one["gain"]["n_seeds"] < (trial.get("planned_seeds") or 0)
    ]


def finding_told(arm: Mapping[str, Any], t: Language) -> str:
    """The verdict on an arm in a few words, as a table holds it: of one that was rejected, what it lacks."""
    verdict = arm.get("verdict")
    if not verdict:
        return ""
    return t(f"proof_because_{why(arm)}" if verdict == "rejected" else f"trial_found_{verdict}")


def told_effects(trial: Mapping[str, Any], language: Language | LanguageName) -> list[str]:
    """One line for each constant that a trial measured the effect of."""
    t = language if isinstance(language, Language) else Language(language)
    return [
        t(
            "effect_short",
            symbol=arm_name(name, t),
            verdict=effect_told(one, t),
            gain=gain_told(trial["metric"], one, t),
        )
        for name, one in (trial.get("effects") or {}).items()
    ]


def why(arm: Mapping[str, Any]) -> Because:
    """What an arm that was rejected lacks: any gain above chance, or else one of the further conditions of `trial.judge`."""
    gain = arm["gain"]
    if gain is None or gain["low"] is None or gain["low"] <= 0:
        return "none"
    if arm.get("losers"):
        return "losers"
    if gain["n_seeds"] < least_seeds(arm):
        return "few"
    if gain["value"] < LEAST_GAIN:
        return "small"
    p_value = arm.get("flip_p")
    return "none" if p_value is None or p_value < SIGNIFICANT else "flip"


def least_seeds(arm: Mapping[str, Any]) -> int:
    """The fewest seeds with which it could have been admitted."""
    return int(arm.get("least_seeds") or LEAST_SEEDS)


def arm_name(name: str, t: Language) -> str:
    """What a way of training is called: known names in the page's language, constants by their symbol, others as given."""
    key = f"arm_{name}"
    return SYMBOLS.get(name) or (t(key) if key in WORDS_SYNTHESIS else name)


def effect_told(effect: Mapping[str, Any], t: Language) -> str:
    """The finding on one constant, in words."""
    return t(f"effect_{effect_kind(effect)}")


def effect_kind(effect: Mapping[str, Any]) -> str:
    """The finding on one constant: "none" where its interval holds 0, "unsure" where it does not but that is not enough."""
    if effect.get("verdict") in ("admitted", "harmful", "unreliable"):
        return str(effect["verdict"])
    low, high = effect.get("low"), effect.get("high")
    return "none" if low is None or high is None or low <= 0 <= high else "unsure"


def gain_told(metric: str, gain: Mapping[str, Any] | None, t: Language) -> str:
    """A gain with its interval; a dash where it is not known."""
    if gain is None or any(gain.get(end) is None for end in ("value", "low", "high")):
        return "–"
    return t.gap(unit(metric), gain, digits=digits(metric))


def size_told(metric: str, size: float | None, t: Language) -> str:
    """The size of a gain, without sign."""
    return "–" if size is None else t.gap_size(unit(metric), size, digits=digits(metric))


def unit(metric: str) -> str:
    """The metric whose unit gains are written in."""
    return metric if is_percent(metric) else "loss"


def digits(metric: str) -> int:
    """Decimals of a gain: effects of a tenth of a point are common."""
    return 2 if is_percent(metric) else 4


def p_told(value: float | None, t: Language) -> str:
    """A p-value as it stands in a sentence."""
    written = t.p(value)
    return f"p\u00a0{written}" if written.startswith("<") else f"p\u00a0=\u00a0{written}"


def _arm(trial: Mapping[str, Any] | None, arm: str | None) -> Mapping[str, Any] | None:
    """The arm, where it was judged."""
    found = None if trial is None or arm is None else (trial.get("arms") or {}).get(arm)
    return found if found and found.get("gain") and found["gain"].get("value") is not None else None


def _because(verdict: str, because: Because, t: Language) -> str:
    """What stands beside the large word."""
    key = {"rejected": because, "unreliable": "unreliable"}.get(verdict)
    return t(f"proof_because_{key}") if key else ""


def _meaning(verdict: str, because: Because, metric: str, arm: Mapping[str, Any], t: Language) -> str:
    if verdict != "rejected" or because == "none":
        return t(f"proof_means_{verdict}")
    if because == "small":
        return t("proof_means_small", least=size_told(metric, LEAST_GAIN, t))
    if because == "few":
        least = least_seeds(arm)  # and one more, since the next look is a second one
        return t(
            "proof_means_few", seeds=t.count(arm["gain"]["n_seeds"]), least=t.count(least), more=t.count(least + 1)
        )
    return t(f"proof_means_{because}")
