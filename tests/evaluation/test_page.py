"""Small things of the page: what tells names apart, backticks as code, sentences that say no more than was measured."""

import pytest
from answers_made import from_scores, several, single

from ouvroir.evaluation.breakdown import weakest_classes
from ouvroir.evaluation.language import Language
from ouvroir.evaluation.page import _ends, _ticked
from ouvroir.evaluation.report import ReportInput, System, make_report, render
from ouvroir.evaluation.verdict import weakest_lines


def test_what_tells_names_apart_stays_in_sight():
    assert _ends(["hat/31c03aa0-1d2e.jpg", "hat/31c03aa0-77aa.jpg"]) == [
        ("hat/31c03a", "a0-1d2e.jpg"),
        ("hat/31c03a", "a0-77aa.jpg"),
    ]
    alike = [f"a_day_at_the_sea_{k:04d}_edited.png" for k in (12, 17)]
    assert [end for _, end in _ends(alike)] == ["a_0012….png", "a_0017….png"]
    assert _ends(["one.png", "one.png"]) == [("", "one.png"), ("", "one.png")]
    assert _ends(["a1.png", "b1.png"]) == [("", "a1.png"), ("", "b1.png")]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("`a<b` is read", "<code>a&lt;b</code> is read"),
        ("`a` and `b`", "<code>a</code> and <code>b</code>"),
        ("not ` closed", "not ` closed"),
        ("`a` and ` alone", "<code>a</code> and ` alone"),
    ],
)
def test_backticks_become_code(text, html):
    assert _ticked(text) == html


def page_of(answers, language="en", metrics=("accuracy", "ece"), **kept):
    source = ReportInput(
        name="n", task="t", metrics=metrics, systems=[System(name="m", role="base", answers=answers)], **kept
    )
    return render(make_report(source), language)


def confident(n, share_right, confidence):
    """`n` answers of two classes, all as sure, of which that share is right."""
    n_right = round(n * share_right)
    return from_scores([[confidence, 1 - confidence]] * n, [0] * n_right + [1] * (n - n_right), "ab")


@pytest.mark.parametrize(
    ("n", "right", "said", "expected"),
    [
        (5000, 0.9, 0.9, "so the two agree to within"),
        (40, 0.9, 0.9, "40 items are too few to tell"),
        (5000, 0.7, 0.9, "too sure by 20.0 points [18.7, 21.3]"),
        (5000, 0.95, 0.9, "it could be surer by 5.0 points"),
    ],
)
def test_confidence_is_said_to_agree_only_where_the_interval_says_so(n, right, said, expected):
    page = page_of(confident(n, right, said))
    assert expected in page
    assert "the calibration error" in page
    assert page.count("agree to within") == (expected == "so the two agree to within")


def test_one_model_is_not_called_kept():
    assert 'class="tag"' not in page_of(single(200))
    two = [
        System(name="base", role="base", answers=single(200, seed=1)),
        System(name="tuned", role="tuned", answers=single(200, seed=2)),
    ]
    assert render(make_report(ReportInput(name="n", task="t", systems=two))).count('class="tag"') == 2


def test_the_weakest_classes_are_those_that_are_surely_weak():
    # of 3 items of "few" none is right, which may be chance; of 30 of "weak" 3 are
    targets = [0] * 60 + [1] * 30 + [2] * 3 + [3] * 20
    answered = [0] * 60 + [1] * 3 + [0] * 20 + [3] * 7 + [0] * 3 + [3] * 20
    scores = [[0.7 if k == best else 0.1 for k in range(4)] for best in answered]
    answers = from_scores(scores, targets, ["good", "weak", "few", "fine"])
    assert [one.label for one in weakest_classes(answers)] == ["weak", "few"]
    report = make_report(ReportInput(name="n", task="t", systems=[System(name="m", role="base", answers=answers)]))
    assert report["verdict"]["weakest"] == report["weakest"]
    assert weakest_lines(report["weakest"], Language("en"))[0] == (
        "weak",
        "3 of 30 found: 10.0\u202f% [3.5, 25.6]",
        "most often taken for good (20)",
    )
    html = render(report, "fr")
    assert html.index("Classes les plus faibles") < html.index('<section id="measures">')
    assert "prise le plus souvent pour good (20)" in html
    assert "fiez-vous à l’intervalle" in html


def test_p_is_told_only_where_it_speaks_of_the_main_measure():
    # with several labels the main measure is no share of right rows, and p, which counts these, decides nothing
    for made, metric, n in ((single, "accuracy", 200), (several, "macro_f1", 150)):
        systems = [
            System(name="a", role="base", answers=made(n, seed=1)),
            System(name="b", role="tuned", answers=made(n, seed=2)),
        ]
        html = render(make_report(ReportInput(name="n", task="t", metrics=(metric,), systems=systems)))
        assert ("McNemar" in html) == (metric == "accuracy")
        assert ("besides an interval without 0" in html) == (metric == "accuracy")
        assert "broken" in html


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "so it is not opened. To change that: <code>"),
        ("fr", "il n’est pas ouvert. Pour changer cela\u202f: <code>"),
    ],
)
def test_a_note_says_what_its_setting_is_for(language, told):
    note = {"code": "n", "text": "`x` leads out of its archive, so it is not opened.", "proposal": {"options.dog": "1"}}
    data = {"found": 1, "admitted": 1, "refused": 0, "splits": {"train": 1}, "notes": [note]}
    assert f"{told}--set options.dog=1</code>" in page_of(single(120), language, data=data)


def test_classes_that_are_always_right_are_not_weak():
    assert weakest_classes(from_scores([[0.9, 0.1], [0.1, 0.9]], [0, 1], "ab")) == []


def test_several_labels_explain_their_measure_and_name_what_was_named_wrongly():
    answers = several(120, seed=1)
    report = make_report(
        ReportInput(name="n", task="t", metrics=("macro_f1",), systems=[System(name="m", role="base", answers=answers)])
    )
    assert "harmonic mean of recall and precision" in report["verdict"]["lines"]["en"][1]
    assert report["weakest"]
    assert all(one["taken_for"] is None for one in report["weakest"])


@pytest.mark.parametrize("language", ["en", "fr"])
def test_each_measure_of_the_table_is_explained(language):
    metrics = ("accuracy", "balanced_accuracy", "macro_f1", "nll", "brier", "ece")
    html = page_of(single(200), language, metrics)
    t = Language(language)
    for metric in metrics:
        assert t(f"about_{metric}") in html
