"""Rows of the charts about trials and made samples, as SVG that stretches to the width of its place (see `plots`).

Lines of no length with round ends are the dots: they stay round however wide the row becomes.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_HEIGHT = 40
_MEAN_Y, _SEED_Y = 12, 29
_JITTER = (0, -4, 4, -2, 2)  # of seeds that lie close together


def arm_row(
    estimate: tuple[float, float, float] | None,
    seeds: Sequence[tuple[float, str]],
    *,
    axis: tuple[float, float],
    ticks: Sequence[float],
    band: float,
    kind: str,
    title: str,
    about: str,
) -> Markup:
    """The mean difference (value, low, high) with its interval above the differences of the seeds, each with its words.

    `band`: gains from 0 to this are shaded; `kind` is a CSS class; `about` says in words what the seeds gave.
    """
    parts = [
        Markup('<rect class="least" x="{}" width="{}" y="0" height="{}"/>').format(
            _x(max(0.0, axis[0]), axis), f"{100 * band / (axis[1] - axis[0]):.2f}", _HEIGHT
        ),
        *(_upright(tick, axis, "grid") for tick in ticks),
        _upright(0.0, axis, "zero"),
    ]
    for place, (value, words) in enumerate(seeds):
        parts.append(_dot(value, axis, _SEED_Y + _JITTER[place % len(_JITTER)], f"seed {kind}", words))
    if estimate is not None:
        value, low, high = estimate
        y = _MEAN_Y if seeds else _HEIGHT // 2
        parts.append(
            Markup('<line class="whisker {}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                kind, _x(low, axis), _x(high, axis), y, y
            )
        )
        parts.append(_dot(value, axis, y, f"dot {kind}", title))
    return _row(parts, title, about, "track arm")


def scale_row(values: Sequence[tuple[float, str]], *, axis: tuple[float, float], title: str) -> Markup:
    """Values as dots on one line from the least to the greatest; each (value, CSS class)."""
    ends = [value for value, _ in values]
    y = _HEIGHT // 2
    parts = [
        Markup('<line class="lane" x1="0" x2="100" y1="{0}" y2="{0}"/>').format(y),
        Markup('<line class="between" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _x(min(ends), axis), _x(max(ends), axis), y, y
        ),
        *(_dot(value, axis, y, f"dot {kind}", "") for value, kind in values),
    ]
    return _row(parts, title, "", "track scale")


def bar_row(value: float, *, axis: tuple[float, float], kind: str, title: str) -> Markup:
    """A bar from 0 to the value."""
    start, end = sorted((0.0, value))
    y = _HEIGHT // 2
    parts = [
        Markup('<line class="lane" x1="0" x2="100" y1="{0}" y2="{0}"/>').format(y),
        Markup('<line class="bar {}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            kind, _x(start, axis), _x(end, axis), y, y
        ),
    ]
    return _row(parts, title, "", "track scale")


def _x(value: float, axis: tuple[float, float]) -> str:
    return f"{100 * (value - axis[0]) / (axis[1] - axis[0]):.2f}"


def _upright(value: float, axis: tuple[float, float], kind: str) -> Markup:
    return Markup('<line class="{0}" x1="{1}" x2="{1}" y1="0" y2="{2}"/>').format(kind, _x(value, axis), _HEIGHT)


def _dot(value: float, axis: tuple[float, float], y: float, kind: str, words: str) -> Markup:
    note = Markup("<title>{}</title>").format(words) if words else ""
    return Markup('<line class="{0}" x1="{1}" x2="{1}" y1="{2}" y2="{2}">{3}</line>').format(
        kind, _x(value, axis), y, note
    )


def _row(parts: Sequence[Markup], title: str, about: str, kind: str) -> Markup:
    desc = Markup("<desc>{}</desc>").format(about) if about else ""
    return Markup(
        '<svg class="{}" viewBox="0 0 100 {}" preserveAspectRatio="none" role="img" aria-label="{}"><title>{}</title>{}{}</svg>'
    ).format(kind, _HEIGHT, title, title, desc, Markup("").join(parts))
