import itertools
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouvroir.evaluation import plots
from ouvroir.evaluation.language import Language

EN, FR = Language("en"), Language("fr")


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low, width):
    high = low + width
    ticks = plots.nice_ticks(low, high)
    assert 1 <= len(ticks) <= 7
    assert all(low - 1e-6 * width <= tick <= high + 1e-6 * width for tick in ticks)
    steps = {round(b - a, 9) for a, b in itertools.pairwise(ticks)}
    assert len(steps) <= 2  # one, but for rounding
    if steps:
        step = min(steps)
        assert float(f"{step:.3e}".partition("e")[0]) in (1.0, 2.0, 5.0)


def test_ticks_by_hand():
    assert plots.nice_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert plots.nice_ticks(0.871, 0.964) == [0.88, 0.9, 0.92, 0.94, 0.96]
    assert plots.decimals([0.88, 0.9]) == 2
    assert plots.decimals([0, 200]) == 0
    assert plots.nice_ticks(3, 3) == [3]


def test_thinning_keeps_the_mean_and_the_order():
    points = [(float(x), math.sin(x)) for x in range(1000)]
    thinned = plots.thin(points, 100)
    assert len(thinned) == 100
    assert sum(y for _, y in thinned) / 100 == pytest.approx(sum(y for _, y in points) / 1000)
    assert thinned == sorted(thinned)
    assert plots.thin(points[:50], 100) == points[:50]


def numbers(svg, tag, *names):
    root = ET.fromstring(str(svg))
    return [tuple(float(mark.get(name)) for name in names) for mark in root.iter(tag)], root


def test_curves_place_values_on_their_axes():
    line = plots.Series("a & b", "kept", [(0.0, 1.0), (100.0, 0.5), (200.0, 0.75)])
    svg = plots.curves(
        [line], axis=(0.0, 2.0), title="loss", x_label="step", y_label="loss", t=EN, along=str, write=str, say=str
    )
    marks, root = numbers(svg, "circle", "cx", "cy")
    (x0, y0), (x1, y1), (x2, y2) = marks
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 < y2 < y1  # up is more
    assert (y1 - y0) / (y1 - y2) == pytest.approx(2, abs=0.02)
    assert any("a & b" in (mark.text or "") for mark in root.iter("title"))


def test_a_constant_or_single_value_can_be_drawn():
    for points in ([(1.0, 0.5)], [(1.0, 0.5), (2.0, 0.5)], [(0.0, 0.0)]):
        axis = plots.domain([y for _, y in points], [y for _, y in points])
        svg = plots.curves(
            [plots.Series("a", "kept", points)],
            axis=axis,
            title="t",
            x_label="step",
            y_label="y",
            t=EN,
            along=str,
            write=str,
            say=str,
        )
        assert "nan" not in str(svg)


@pytest.mark.parametrize("n", [2, 12, 40, 130])
def test_confusions_of_any_number_of_classes(n):
    labels = [f"<class> {k}" for k in range(n)]
    cells = [[k, k, 10] for k in range(n)] + [[k, (k + 1) % n, 3] for k in range(n)]
    svg = plots.confusion(labels, cells, title="matrix", t=EN)
    root = ET.fromstring(str(svg))
    drawn = [box for box in root.iter("rect") if box.get("class") in ("right", "wrong")]
    assert len(drawn) == 2 * n
    assert sum(box.get("class") == "right" for box in drawn) == n
    width, height = float(root.get("width")), float(root.get("height"))
    assert all(float(box.get("x")) + float(box.get("width")) <= width for box in drawn)
    assert all(float(box.get("y")) + float(box.get("height")) <= height for box in drawn)
    counts = [text.text for text in root.iter("text") if "cell" in text.get("class", "")]
    assert (len(counts) == 2 * n) == (n <= 12)
    assert "10 of 13 <class> 0 were answered <class> 0" in {title.text for title in root.iter("title")}


def test_long_class_names_are_whole_and_clear_of_the_axis_name():
    labels = ["Chaussures de ville", "PANTALONS DE VELOURS", "Bottes de caoutchouc à revers fourrés"]
    root = ET.fromstring(str(plots.confusion(labels, [[0, 1, 2]], title="matrix", t=FR)))
    rows = [text for text in root.iter("text") if text.get("text-anchor") == "end"]
    assert [text.text for text in rows] == [*labels[:2], "Bottes de caoutchouc à …"]
    (name,) = (text for text in root.iter("text") if text.text == "étiquette donnée")
    across, down = (float(number) for number in name.get("transform").split(")")[0].split("(")[1].split())
    css = (Path(plots.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    assert f".natural:not(.many) text{{font-size:{plots._LABEL_SCALED_PX:g}px}}" in css  # on a narrow screen
    for text, em in zip(rows, (0.5, 0.7, 0.5), strict=True):  # what a letter takes at least
        assert float(text.get("x")) - em * plots._LABEL_SCALED_PX * len(text.text) > across
    assert down + plots._LABEL_SCALED_PX * 0.5 * len(name.text) / 2 < float(root.get("height"))


def test_calibration_on_the_diagonal_is_drawn_on_it():
    bins = [
        {
            "start": k / 10,
            "end": (k + 1) / 10,
            "confidence": k / 10 + 0.05,
            "value": k / 10 + 0.05,
            "low": k / 10,
            "high": k / 10 + 0.1,
            "n": 10 * k + 1,
        }
        for k in range(10)
    ]
    svg = plots.calibration(bins, title="calibration", t=EN)
    marks, root = numbers(svg, "circle", "cx", "cy")
    diagonal = next(line for line in root.iter("line") if line.get("class") == "diagonal")
    x1, y1, x2, y2 = (float(diagonal.get(name)) for name in ("x1", "y1", "x2", "y2"))
    for x, y in marks:
        assert y == pytest.approx(y1 + (x - x1) * (y2 - y1) / (x2 - x1), abs=0.3)
    assert len(list(root.iter("rect"))) == 10


def test_whiskers_stay_within_the_track():
    svg = plots.track(0.9, 0.85, 0.94, axis=(0.8, 1.0), ticks=[0.8, 0.9, 1.0], kind="kept", title='a "b" <c>')
    root = ET.fromstring(str(svg))
    whisker = next(line for line in root.iter("line") if "whisker" in line.get("class"))
    assert (float(whisker.get("x1")), float(whisker.get("x2"))) == pytest.approx((25, 70))
    assert root.get("aria-label") == 'a "b" <c>'


@pytest.mark.parametrize(
    ("points", "n_values"),
    [
        ([(10.0, 0.5), (10.0, 0.501), (10.0, 0.502)], 3),
        ([(10.0, 0.5), (10.0, 0.5)], 1),
        ([(10.0, 0.1), (10.0, 0.9), (9.0, 0.101)], 3),
    ],
)
def test_values_at_one_place_do_not_lie_on_each_other(points, n_values):
    svg = plots.curves(
        [plots.Series(f"model {n}", "kept", [point]) for n, point in enumerate(points)],
        axis=(0.0, 1.0),
        title="t",
        x_label="step",
        y_label="y",
        t=EN,
        along=str,
        write=str,
        say=str,
    )
    marks = ET.fromstring(str(svg)).iter("text")
    values = [(float(one.get("x")), float(one.get("y"))) for one in marks if one.get("class") == "tick value"]
    assert len(values) == n_values
    for place, (x, y) in enumerate(values):
        assert 0 < y < 250
        assert all(abs(y - other) > 12 or abs(x - across) > 47 for across, other in values[:place])
