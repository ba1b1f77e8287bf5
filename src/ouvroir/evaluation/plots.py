"""Small charts as hand-written SVG. Colours are classes that the page's style sheet fills, so they follow its theme.

Every text goes through `escape`; every mark carries a <title> for the pointer. Numbers are written by the language.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from ouvroir.evaluation.language import Language

_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 40
_MAX_POINTS = 240
_FEW_POINTS = 2
_VALUE_PX, _LINE_PX = 48, 13  # about how wide and how high a value is


def nice_ticks(low: float, high: float, n: int = 5) -> list[float]:
    """About `n` round numbers within [low, high]: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / n
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [round((first + place) * step, 12) for place in range(count)]


def decimals(ticks: Sequence[float]) -> int:
    """Decimals that tell the ticks apart."""
    if len(ticks) < 2:
        return 2
    return max(0, -math.floor(math.log10(abs(ticks[1] - ticks[0])) + 1e-9))


def domain(
    lows: Sequence[float], highs: Sequence[float], *, floor: float = -math.inf, ceiling: float = math.inf
) -> tuple[float, float]:
    """The range of a value axis: what must be seen and 6 % of air, within [floor, ceiling]."""
    low, high = min(lows), max(highs)
    air = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return max(floor, low - air), min(ceiling, high + air)


def track(
    value: float, low: float, high: float, *, axis: tuple[float, float], ticks: Sequence[float], kind: str, title: str
) -> Markup:
    """A dot with its whisker on a horizontal axis; it stretches to the width of its place. `kind` is a CSS class."""

    def x(number: float) -> str:
        return f"{100 * (number - axis[0]) / (axis[1] - axis[0]):.2f}"

    grid = Markup("").join(
        Markup('<line class="grid" x1="{0}" x2="{0}" y1="0" y2="28"/>').format(x(tick)) for tick in ticks
    )
    return Markup(
        '<svg class="track" viewBox="0 0 100 28" preserveAspectRatio="none" role="img" aria-label="{title}">'
        '<title>{title}</title>{grid}<line class="whisker {kind}" x1="{low}" x2="{high}" y1="14" y2="14"/>'
        '<line class="dot {kind}" x1="{value}" x2="{value}" y1="14" y2="14"/></svg>'
    ).format(title=title, grid=grid, kind=kind, low=x(low), high=x(high), value=x(value))


@dataclass(frozen=True)
class Series:
    """One line of a chart: its name, its CSS class and points (x, y)."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Frame:
    """A plotting area: data ranges, and where they lie."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = _WIDTH
    height: float = _HEIGHT

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return (
            round(_LEFT + across * (self.width - _LEFT - _RIGHT), 1),
            round(self.height - _BOTTOM - up * (self.height - _TOP - _BOTTOM), 1),
        )

    def axes(
        self, x_label: str, y_label: str, write_x: Callable[[float], str], write_y: Callable[[float], str]
    ) -> Markup:
        """Grid lines, tick labels and axis names."""
        parts = []
        for tick in nice_ticks(*self.y):
            _, y = self.place(self.x[0], tick)
            parts.append(
                Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(_LEFT, self.width - _RIGHT, y, y)
            )
            parts.append(_text(_LEFT - 8, y + 4, write_y(tick), "end"))
        for tick in nice_ticks(*self.x):
            x, _ = self.place(tick, self.y[0])
            parts.append(_text(x, self.height - _BOTTOM + 17, write_x(tick), "middle"))
        bottom = self.height - _BOTTOM
        parts.append(
            Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                _LEFT, self.width - _RIGHT, bottom, bottom
            )
        )
        parts.append(_text((_LEFT + self.width - _RIGHT) / 2, self.height - 5, x_label, "middle", "name"))
        parts.append(
            Markup('<text class="name" text-anchor="middle" transform="translate(12 {}) rotate(-90)">{}</text>').format(
                (_TOP + bottom) / 2, y_label
            )
        )
        return Markup("").join(parts)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, round(x, 1), round(y, 1), anchor, text
    )


def _svg(width: float, height: float, title: str, inside: Markup, *, kind: str = "chart") -> Markup:
    return Markup(
        '<svg class="{kind}" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{title}">{inside}</svg>'
    ).format(kind=kind, w=round(width), h=round(height), title=title, inside=inside)


def thin(points: Sequence[tuple[float, float]], most: int = _MAX_POINTS) -> list[tuple[float, float]]:
    """At most `most` points: neighbours are averaged."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def has_points_between(n_points: Iterable[int]) -> bool:
    """Whether any of several series, of so many points each, has some between its ends."""
    return max(n_points) > _FEW_POINTS


def curves(
    series: Sequence[Series],
    *,
    axis: tuple[float, float],
    title: str,
    x_label: str,
    y_label: str,
    t: Language,
    along: Callable[[float], str],
    write: Callable[[float], str],
    say: Callable[[float], str],
) -> Markup:
    """Lines over steps or seconds, values on `axis`. Points of few measurements are marked, each with its value as a tooltip.

    Where none of them has points between its ends there is no line: the values stand at the points.
    `along` says an x with its unit, `write` a value on the axis, `say` that of a point.
    """
    frame = _Frame(x=(0.0, max(x for one in series for x, _ in one.points)), y=axis)
    parts = [frame.axes(x_label, y_label, t.count, write)]
    are_few = not has_points_between(len(one.points) for one in series)
    for one in series:
        points = thin(one.points)
        if not are_few:
            line = " ".join("{},{}".format(*frame.place(x, y)) for x, y in points)
            parts.append(Markup('<polyline class="line {}" points="{}"/>').format(one.kind, line))
        marked = points if len(points) <= 40 else points[-1:]
        for x, y in marked:
            note = t("curve_point", name=one.name, along=along(x), value=say(y))
            is_alone = are_few or len(points) == 1  # no line leads to it
            parts.append(_mark(*frame.place(x, y), one.kind, note, 5 if is_alone else 3))
    if are_few:
        parts += _values_at([(*frame.place(x, y), say(y)) for one in series for x, y in one.points])
    return _svg(_WIDTH, _HEIGHT, title, Markup("").join(parts))


def _values_at(points: Sequence[tuple[float, float, str]]) -> list[Markup]:
    """Values at their points: above, or below or further off where another point or value is; one for two that are alike."""
    parts: list[Markup] = []
    taken: list[tuple[float, float]] = []
    for x, y, text in dict.fromkeys(points):
        dots = [(px, py + 4) for px, py, _ in points]  # each as a letter at its place
        near = [other for px, other in (*taken, *dots) if abs(x - px) < _VALUE_PX]
        ways = (y + off for n in range(len(points)) for off in (-11 - _LINE_PX * n, 20 + _LINE_PX * n))
        inside = [way for way in ways if _TOP <= way <= _HEIGHT - _BOTTOM]
        up = next((way for way in inside if all(abs(way - other) >= _LINE_PX for other in near)), y - 11)
        taken.append((x, up))
        parts.append(_text(x, up, text, "end" if x > _WIDTH - _RIGHT - 24 else "middle", "tick value"))
    return parts


def _mark(x: float, y: float, kind: str, note: str, radius: float = 3) -> Markup:
    return Markup('<circle class="mark {}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
        kind, x, y, radius, note
    )


def calibration(bins: Sequence[dict[str, Any]], *, title: str, t: Language) -> Markup:
    """Share right against confidence with Wilson whiskers, the diagonal, and how many decisions each bin holds."""
    width, height = 420, 400
    frame = _Frame(x=(0.0, 1.0), y=(0.0, 1.0), width=width, height=height)

    def write(share: float) -> str:
        return t.percent(share, 0)

    start, end = frame.place(0, 0), frame.place(1, 1)
    parts = [
        frame.axes(t("confidence"), t("share_right"), write, write),
        Markup('<line class="diagonal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(*start, *end),
    ]
    most = max(one["n"] for one in bins)
    for one in bins:
        left, base = frame.place(one["start"], 0)
        right, top = frame.place(one["end"], 0.22 * one["n"] / most)
        box = Markup('<rect class="count" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
        parts.append(box.format(left + 1, top, round(right - left - 2, 1), round(base - top, 1), _bin_note(one, t)))
    line = " ".join("{},{}".format(*frame.place(one["confidence"], one["value"])) for one in bins)
    parts.append(Markup('<polyline class="line kept thin" points="{}"/>').format(line))
    for one in bins:
        x, y = frame.place(one["confidence"], one["value"])
        low, high = frame.place(0, one["low"])[1], frame.place(0, one["high"])[1]
        parts.append(Markup('<line class="error kept" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(x, low, high))
        parts.append(_mark(x, y, "kept", _bin_note(one, t), 4))
    return _svg(width, height, title, Markup("").join(parts))


def _bin_note(one: dict[str, Any], t: Language) -> str:
    return t(
        "calibration_bin",
        start=t.percent(one["start"], 0),
        end=t.percent(one["end"], 0),
        right=t.count(one["value"] * one["n"]),
        n=t.count(one["n"]),
        interval=t.span("accuracy", one["low"], one["high"]),
    )


_MATRIX_PX = 620  # the side that cells share
_MAX_TITLES = 3000
_LEAST_SIDE_SCALED = 24.0
_LABEL_PX = 11.0
_LABEL_SCALED_PX = 16.0  # of report.css: what is made smaller on a narrow screen has larger letters there
_MOST_LETTERS = 24
_UP, _ACROSS = 0.77, 0.65  # sine and cosine of the 50 degrees that answers are turned by


def _length(text: str, size: float) -> float:
    """About how long a text is in letters of `size`, rather too long than too short."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    large = sum(letter.isupper() for letter in text)
    return size * (0.55 * len(text) + 0.2 * large + 0.45 * wide)


def confusion(labels: Sequence[str], cells: Sequence[Sequence[int]], *, title: str, t: Language) -> Markup:
    """A heat map of (given, answer, count) cells, shaded by the share of the row; counts are written where they fit."""
    n = len(labels)
    side = max(6.0, min(44.0, _MATRIX_PX / n))
    totals = [0] * n
    for given, _, count in cells:
        totals[given] += count
    # on a narrow screen the whole is made smaller and its letters larger, as long as there is room for them
    is_scaled = side >= _LEAST_SIDE_SCALED
    letters = _LABEL_SCALED_PX if is_scaled else _LABEL_PX
    names = [label if len(label) <= _MOST_LETTERS else label[: _MOST_LETTERS - 1] + "…" for label in labels]
    lengths = [_length(name, letters) for name in names]
    left, top = max(lengths) + letters + 12, _UP * max(lengths) + 2 * letters + 6
    parts = [
        Markup('<rect class="field" x="{}" y="{}" width="{}" height="{}" rx="3"/>').format(
            round(left, 1), round(top, 1), round(side * n, 1), round(side * n, 1)
        ),
        _text(left + side * n / 2, letters, t("confusion_columns"), "middle", "name"),
        Markup('<text class="name" text-anchor="middle" transform="translate({} {}) rotate(-90)">{}</text>').format(
            round(letters - 3, 1), round(top + side * n / 2, 1), t("confusion_rows")
        ),
        *_confusion_labels(names, side, left, top),
        *(_cell(labels, one, totals, side, left, top, t, with_title=len(cells) <= _MAX_TITLES) for one in cells),
    ]
    right = max((place + 0.5) * side + _ACROSS * length for place, length in enumerate(lengths))
    half = max(side * n, _length(t("confusion_rows"), letters)) / 2  # the name of the rows may be longer than they are
    width, height = left + max(side * n, right) + 8, top + side * n / 2 + half + 8
    kind = "chart natural" if is_scaled else "chart natural many"
    return _svg(width, height, title, Markup("").join(parts), kind=kind)


def _confusion_labels(names: Sequence[str], side: float, left: float, top: float) -> list[Markup]:
    every = max(1, math.ceil(9.5 / side))  # labels need about 9.5 px each
    size = 11 if side >= 14 else 8.5
    parts = []
    for place in range(0, len(names), every):
        middle = (place + 0.5) * side
        parts.append(
            Markup('<text class="tick" font-size="{}" x="{}" y="{}" text-anchor="end">{}</text>').format(
                size, round(left - 6, 1), round(top + middle + size * 0.35, 1), names[place]
            )
        )
        parts.append(
            Markup('<text class="tick" font-size="{}" transform="translate({} {}) rotate(-50)">{}</text>').format(
                size, round(left + middle + 2, 1), round(top - 6, 1), names[place]
            )
        )
    return parts


def _cell(
    labels: Sequence[str],
    cell: Sequence[int],
    totals: Sequence[int],
    side: float,
    left: float,
    top: float,
    t: Language,
    *,
    with_title: bool,
) -> Markup:
    given, answer, count = cell
    share = count / max(1, totals[given])
    strength = 0.1 + 0.9 * (share if given == answer else math.sqrt(share) * 0.95)
    note = Markup("")
    if with_title:
        words = t(
            "confusion_cell",
            count=t.count(count),
            total=t.count(totals[given]),
            given=labels[given],
            answer=labels[answer],
        )
        note = Markup("<title>{}</title>").format(words)
    gap = 1 if side >= 12 else 0.5
    x, y = left + answer * side, top + given * side
    box = Markup(
        '<rect class="{}" fill-opacity="{:.2f}" x="{}" y="{}" width="{}" height="{}" rx="{}">{}</rect>'
    ).format(
        "right" if given == answer else "wrong",
        strength,
        round(x + gap / 2, 1),
        round(y + gap / 2, 1),
        round(side - gap, 1),
        round(side - gap, 1),
        2 if side >= 12 else 0,
        note,
    )
    if side < 24:
        return box
    kind = "on" if strength > 0.62 else "off"
    return box + _text(x + side / 2, y + side / 2 + 4, t.count(count), "middle", f"cell {kind}")


__all__ = [
    "Series",
    "calibration",
    "confusion",
    "curves",
    "decimals",
    "domain",
    "escape",
    "nice_ticks",
    "thin",
    "track",
]
