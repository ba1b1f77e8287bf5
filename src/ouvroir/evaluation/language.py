"""How the report speaks: the sentences of `words` in one language, and how it writes numbers, durations and sizes."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from ouvroir.evaluation.metrics import is_percent
from ouvroir.evaluation.words import WORDS
from ouvroir.evaluation.words_synthesis import WORDS_SYNTHESIS

LanguageName = Literal["en", "fr"]
LANGUAGES: tuple[LanguageName, ...] = ("en", "fr")
_THIN = "\u202f"  # narrow no-break space
_NO_ROWS = {
    *WORDS_SYNTHESIS,
    "items_per_second",
}  # sentences on made samples, and on what steps take, as windows of rows
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def unbroken(text: str) -> str:
    """The text with narrow no-break spaces where a line may not end: before % and French punctuation, inside « »."""
    return re.sub(r" (?=[%:;?!»])|(?<=«) ", _THIN, text)


def sentence(text: str) -> str:
    """The text with its first letter large and the others as they are."""
    return text[:1].upper() + text[1:]


def _of_blocks(text: str) -> str:
    """A sentence on items as one on blocks; names in braces stay."""
    text = re.sub(r"(?<!\{)\b(I|i)tem(?=s?\b)", lambda found: "Block" if found[1] == "I" else "block", text)
    text = re.sub(r"\bd’éléments\b", "de blocs", text)
    return re.sub(r"\b(É|é)lément(?=s?\b)", lambda found: "Bloc" if found[1] == "É" else "bloc", text)


class _Sentences(string.Formatter):
    """Fills values into sentences; `{n:item|items}` is the first word where the value is one of something, else the second."""

    def __init__(self, ones: tuple[str, ...]) -> None:
        self._ones = ones

    def format_field(self, value: Any, format_spec: str) -> str:
        """The value, or the word that its number asks for."""
        one, bar, many = format_spec.partition("|")
        if not bar:
            return str(super().format_field(value, format_spec))
        return one if str(value) in self._ones else many


_SENTENCES = {"en": _Sentences(("1",)), "fr": _Sentences(("0", "1"))}


@dataclass(frozen=True)
class Language:
    """Writes words and numbers in one language. `in_blocks`: rows are blocks of files, and so called."""

    name: LanguageName
    in_blocks: bool = False

    @classmethod
    def of(cls, report: Mapping[str, Any], name: LanguageName) -> Language:
        """The language of a report, in which rows are called blocks where most of them are blocks of files."""
        ledger = report["ledger"]
        return cls(name, in_blocks=2 * ledger.get("blocks", 0) > ledger.get("admitted", 0))  # absent in earlier reports

    def __call__(self, key: str, **values: object) -> str:
        """The sentence `key` with its values filled in."""
        text = unbroken(WORDS[key][LANGUAGES.index(self.name)])
        if self.in_blocks and key not in _NO_ROWS:
            text = _of_blocks(text)
        return _SENTENCES[self.name].format(text, **values) if values else text

    def known(self, kind: str, word: str) -> str:
        """A name that came from elsewhere, in this language where it is known, else as it came."""
        key = f"{kind}_{word}"
        return self(key) if key in WORDS else word.replace("_", " ")

    def refusal(self, code: str) -> str:
        """Why a file was refused, from its code."""
        key = "code_too_many" if code.startswith("too_many_") else f"code_{code}"
        return self(key) if key in WORDS else self.known("code", code) if self.name == "en" else self("code_other")

    def number(self, value: float | None, digits: int = 3, *, sign: bool = False) -> str:
        """`value` with `digits` decimals; a dash where there is none."""
        if value is None or not math.isfinite(value):
            return "–"
        text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
        text = text.replace("-", "−")
        if float(f"{value:.{digits}f}") == 0:
            text = text.lstrip("+−")
        return text if self.name == "en" else text.replace(",", _THIN).replace(".", ",")

    def setting(self, value: str) -> str:
        """The value of a setting, which is JSON: in French a number as French has it, anything else as it is typed."""
        if self.name == "en" or not _NUMBER.fullmatch(value):
            return value
        whole, point, rest = f"{Decimal(value):,f}".partition(".")
        return whole.replace(",", _THIN) + point.replace(".", ",") + rest

    def count(self, value: float) -> str:
        """A whole number with separated thousands."""
        return self.number(value, 0)

    def percent(self, share: float | None, digits: int = 1) -> str:
        """A share as a percentage."""
        return "–" if share is None else f"{self.number(share * 100, digits)}{_THIN}%"

    def p(self, value: float | None) -> str:
        """A p-value: three decimals, or that it is smaller than they can say."""
        if value is None:
            return "–"
        return f"<{_THIN}{self.number(0.001)}" if value < 0.001 else self.number(value)

    def interval(self, low: str, high: str) -> str:
        """Two written numbers as an interval."""
        return f"[{low}, {high}]" if self.name == "en" else f"[{low}{_THIN};\u00a0{high}]"

    def seconds(self, value: float) -> str:
        """A duration in the unit a person would choose."""
        if value < 0.05:
            return self("unit_s", n=f"<{_THIN}{self.number(0.1, 1)}")
        if value < 10:
            return self("unit_s", n=self.number(value, 1))
        if value < 120:
            return self("unit_s", n=self.number(value, 0))
        if value < 7200:
            return self("unit_min", n=self.number(value / 60, 0 if value > 600 else 1))
        return self("unit_h", n=self.number(value / 3600, 1))

    def size(self, n_bytes: float) -> str:
        """A size in bytes, in powers of 1,000."""
        units = self("size_units").split()
        place = 0
        while n_bytes >= 1000 and place < len(units) - 1:
            n_bytes, place = n_bytes / 1000, place + 1
        return f"{self.number(n_bytes, 1 if place else 0)}{_THIN}{units[place]}"

    def value(self, metric: str, value: float | None) -> str:
        """One value of a metric: a percentage or a number."""
        return self.percent(value) if is_percent(metric) else self.number(value)

    def span(self, metric: str, low: float | None, high: float | None) -> str:
        """The interval of a metric, without repeating the unit; that there is none where it has no ends."""
        if low is None or high is None:
            return self("no_interval")
        if is_percent(metric):
            return self.interval(self.number(low * 100, 1), self.number(high * 100, 1))
        return self.interval(self.number(low), self.number(high))

    def gap(
        self,
        metric: str,
        difference: Mapping[str, Any],
        *,
        turn: bool = False,
        signed: bool = True,
        digits: int | None = None,
    ) -> str:
        """A difference with its interval, in points or in the metric's own unit; `turn` changes its sign.

        Not `signed`, it is told by its size: for sentences that say which of two is better.
        """
        scale, usual = (100, 1) if is_percent(metric) else (1, 3)
        turn = turn if signed else difference["value"] < 0
        sign = -1 if turn else 1

        def written(end: float) -> str:
            return self.number(sign * end * scale, usual if digits is None else digits, sign=signed)

        ends = [difference["low"], difference["high"]]
        interval = self("no_interval") if None in ends else self.interval(*map(written, sorted(ends, reverse=turn)))
        value = written(difference["value"])
        return f"{self._points(value) if is_percent(metric) else value} {interval}"

    def gap_size(self, metric: str, size: float | None, *, digits: int | None = None) -> str:
        """A difference without sign."""
        if not is_percent(metric):
            return self.number(size, 3 if digits is None else digits)
        assert size is not None
        return self._points(self.number(size * 100, 1 if digits is None else digits))

    def _points(self, value: str) -> str:
        """A written number of percentage points; in French the plural begins at 2."""
        is_one = value.lstrip("+−").startswith(("0,", "1,"))
        return self("point" if self.name == "fr" and is_one else "points", value=value)
