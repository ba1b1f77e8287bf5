"""Synthetic data in the report: from complete values to report.json and the page, and back when files were away."""

import copy
import json

import pytest
from answers_made import single
from synthesis_made import GAINS, REASONS, assessment, augmentation, constants, estimate, synthesis, trial
from test_report import CHROMIUM, EVIL, LANGUAGES, PNG, Page

from ouvroir.errors import DataError
from ouvroir.evaluation import proof
from ouvroir.evaluation.language import Language
from ouvroir.evaluation.report import ReportInput, Synthesis, System, make_report, render
from ouvroir.evaluation.samples import MAX_ALL_BYTES, n_away, show_again
from ouvroir.evaluation.words import WORDS

PARTS = ["trial_synthetic", "made_scores", "made_samples", "trial_constants", "trials"]
WORDS_IN_LARGE = {
    "admitted": ("ADMITTED", "ADMISES"),
    "rejected": ("REJECTED", "REJETÉES"),
    "harmful": ("HARMFUL", "NUISIBLES"),
    "unreliable": ("UNRELIABLE", "ESSAI PEU FIABLE"),
    "untried": ("NOT TRIED", "NON ESSAYÉES"),
}


def show(name):
    return name, "image/png", PNG


def report_of(found, **given):
    systems = [System(name="m", role="base", answers=single(120))]
    report = make_report(ReportInput(name="n", task="t", systems=systems, synthesis=found, **given))
    return json.loads(json.dumps(report, allow_nan=False))


def page_of(found, language="en"):
    return Page(render(report_of(found), language))


@pytest.fixture(scope="module")
def full():
    return report_of(synthesis("rejected", show=show))


def test_the_values_are_kept_as_they_came(full):
    found = full["synthesis"]
    assert found["assessment"] == {**assessment(), "features": found["assessment"]["features"]}
    assert found["assessment"]["features"]["fr"].startswith("Des classifieurs de même genre")
    assert found["trials"]["synthetic"]["arms"]["synthetic"]["gain"] == trial()["arms"]["synthetic"]["gain"]
    assert found["verdict"]["verdict"] == "rejected"
    assert found["verdict"]["arm"] == "synthetic"
    assert set(found["verdict"]["lines"]) == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_part_is_there_and_the_verdict_stands_first(full, language):
    page = Page(render(full, language))
    assert [one for one in page.sections if one in PARTS] == PARTS
    assert page.sections[0] == "verdict"
    word = WORDS_IN_LARGE["rejected"][LANGUAGES.index(language)]
    html = render(full, language)
    assert html.index(word) < html.index('<section id="trial_synthetic">')
    assert "None" not in page.text
    assert len(page.of("h1")) == 1
    assert all(one.get("alt") for one in page.of("img"))
    assert all(one.get("aria-label") or one.get("class") == "ticks" for one in page.of("svg"))
    assert all(one.get("scope") for one in page.of("th"))


def test_a_report_of_the_first_version_has_no_such_part(full):
    old = {name: value for name, value in full.items() if name != "synthesis"}
    page = Page(render(old))
    assert not set(PARTS) & set(page.sections)
    assert "proof" not in [one.get("class", "").split(" ")[0] for one in page.of("div")]
    assert n_away(old) == 0


# The verdict


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verdict", GAINS)
def test_each_verdict_stands_in_large_letters_with_its_numbers(verdict, language):
    page = page_of(synthesis(verdict), language)
    t = Language(language)
    assert WORDS_IN_LARGE[verdict][LANGUAGES.index(language)] in page.text
    gain = trial(verdict)["arms"]["synthetic"]["gain"]
    assert proof.gain_told("accuracy", gain, t) in page.text
    assert f"941 {'unseen real items' if language == 'en' else 'éléments réels jamais vus'}" in page.text
    told = proof.tell(trial(verdict), "synthetic", t)
    assert all(line.replace("`", "") in page.text for line in (*told.numbers, *told.meaning))
    smallest = proof.size_told("accuracy", gain["smallest"], t)
    assert any(smallest in line for line in told.numbers) == (verdict == "rejected")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "given",
    [
        {"trials": {}},
        {"trials": {}, "said": ["Nothing was made."]},
        {"trials": {"synthetic": {**trial(), "chief": None}}},
    ],
    ids=["no trial", "something said", "no chief"],
)
def test_what_was_not_tried_is_not_claimed(given, language):
    found = synthesis(**given)
    page = page_of(found, language)
    assert WORDS_IN_LARGE["untried"][LANGUAGES.index(language)] in page.text
    assert report_of(found)["synthesis"]["verdict"]["verdict"] == "untried"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "Synthetic data were not tried. The job went on without them, as was asked for.",
            ("NOT TRIED. The job went on without them", "NON ESSAYÉES. Le travail a continué sans elles"),
        ),
        ("Synthetic data were not tried. A moose.", ("NOT TRIED. A moose.", "NON ESSAYÉES. Le rapport anglais dit")),
    ],
)
def test_the_closing_line_says_why_nothing_was_tried(said, line):
    lines = report_of(synthesis(trials={}, said=[said]))["synthesis"]["verdict"]["lines"]
    for name, told in zip(LANGUAGES, line, strict=True):
        assert told in lines[name]


def test_the_word_in_large_letters_is_said_of_the_same_in_the_table():
    costs = trial()
    costs["arms"]["synthetic"] |= {"gain": estimate(0.01, 0.004, 0.016), "losers": ["dog"]}
    text = page_of(synthesis(trials={"synthetic": costs})).text
    assert text.count("it costs some classes too much") == 2  # in large letters, and in the table
    french = proof.told(costs, "interpolation", "fr")
    assert "témoin" in french
    assert "REJETÉ," in french


def test_why_nothing_was_tried_is_said_once_in_the_box():
    reason = "The job went on without them, as was asked for."
    text = page_of(synthesis(trials={}, said=[f"Synthetic data were not tried. {reason}"])).text
    assert text.count(reason) == 1
    assert "Synthetic data were not tried" not in text
    assert WORDS["proof_means_untried"][0] not in text


def test_a_model_that_is_nearly_always_right_leaves_no_room_for_a_gain():
    tried = trial()
    told = proof.told(tried, "synthetic", "en")
    smallest = proof.size_told("accuracy", tried["arms"]["synthetic"]["gain"]["smallest"], Language("en"))
    assert f"A gain of {smallest} or more would probably have been seen." in told
    tried["ordinary"] = {"means": [0.999, 0.998]}
    told = proof.told(tried, "synthetic", "en")
    assert "so there is no room for a gain" in told
    assert "or more would probably have been seen" not in told


def test_a_trial_of_something_else_says_nothing_of_synthetic_data():
    found = report_of(Synthesis(trials={"constants": constants()}))
    assert found["synthesis"]["verdict"] is None
    page = Page(render(found))
    assert "NOT TRIED" not in page.text
    assert "trial_constants" in page.sections


@pytest.mark.parametrize(
    ("changed", "because", "word"),
    [
        ({}, "none", "no measurable gain"),
        ({"gain": estimate(0.01, 0.004, 0.016), "losers": ["dog"]}, "losers", "costs some classes"),
        ({"gain": estimate(0.01, 0.004, 0.016, n_seeds=5)}, "few", "too few seeds"),
        ({"gain": estimate(0.002, 0.001, 0.003)}, "small", "too small"),
        ({"gain": estimate(0.01, 0.004, 0.016), "flip_p": 0.2}, "flip", "may be chance"),
    ],
)
def test_a_rejection_says_what_is_lacking(changed, because, word):
    tried = trial("rejected")
    arm = {**tried["arms"]["synthetic"], "flip_p": 0.01, **changed}
    tried["arms"]["synthetic"] = arm
    assert proof.why(arm) == because
    for language in LANGUAGES:
        told = proof.tell(tried, "synthetic", Language(language))
        assert told.because == Language(language)(f"proof_because_{because}")
        assert "{" not in " ".join((*told.numbers, *told.meaning))
        if because != "none":
            assert not any("probably" in line or "sans doute" in line for line in told.numbers)
    assert word in proof.told(tried, "synthetic", "en")
    assert ("dog" in " ".join(proof.tell(tried, "synthetic", Language("en")).numbers)) == (because == "losers")


def test_one_line_for_a_terminal():
    assert proof.told(trial("admitted"), "synthetic", "en") == (
        "Synthetic data: ADMITTED. +1.31 points [+0.52, +2.08] on 941 unseen real items, 10 seeds, p\u00a0=\u00a00.004."
    )
    assert proof.told(trial("rejected"), "synthetic", "en").startswith(
        "Synthetic data: REJECTED, no measurable gain. +0.21"
    )
    assert proof.told(trial("rejected"), "synthetic", "fr").startswith(
        "Données synthétiques\u202f: REJETÉES, aucun gain mesurable."
    )
    assert proof.told(None, None, "fr") == "Données synthétiques\u202f: NON ESSAYÉES."
    assert proof.told(augmentation(), "no augmentation", "en").startswith("no augmentation: HARMFUL. −1.18 points")
    assert proof.told_effects(constants(), "fr")[0] == (
        "φ\u202f: aucun effet mesurable (−0,12\u00a0point [−0,51\u202f;\u00a0+0,27])"
    )
    assert proof.told_effects(trial(), "en") == []


def test_a_loss_is_told_in_its_own_unit():
    tried = trial("admitted", metric="loss")
    assert "points" not in proof.told(tried, "synthetic", "en")
    page = page_of(Synthesis(trials={"synthetic": tried}))
    assert "Gain, as a fall of the loss: +0.0131 [+0.0052, +0.0208]" in page.text
    assert "gains under 0.0030" in page.text
    assert "fall of the loss against the ordinary way" in page.text.lower()


# Arms and effects


def test_the_repetition_comes_first_and_every_seed_is_a_dot(full):
    html = render(full)
    start = html.index('<div class="compared arms">')
    chart = html[start : html.index("</section>", start)]
    names = ["ordinary again, other seeds", "synthetic data", "control: real rows mixed or repeated"]
    assert sorted(names, key=chart.index) == names
    assert chart.count('class="seed kept"') == 10
    assert chart.count('class="seed other"') == 10
    assert chart.count("<desc>One by one: ") == 2
    assert chart.count('class="zero"') == chart.count('class="least"') == 3
    assert "Here it does not" not in chart
    assert "Here it does not" in page_of(synthesis("unreliable")).text


def test_the_constants_have_their_effects_in_a_table(full):
    for language in LANGUAGES:
        page = Page(render(full, language))
        t = Language(language)
        assert page.text.count(t("effect_none")) >= 4
        assert t("effects_none", smallest=t.gap_size("accuracy", 1.43 * 0.0043, digits=2)) in page.text
        for symbol in ("φ", "π", "1/137", "−1/12"):
            assert symbol in page.words
    one = constants()
    one["effects"]["phi"] = {**estimate(0.01, 0.004, 0.016), "verdict": "admitted"}
    one["effects"]["pi"] = {**estimate(0.002, 0.001, 0.003), "verdict": "rejected"}
    text = page_of(Synthesis(trials={"constants": one})).text
    assert "No measurable effect of any of them" not in text
    assert "too small or too unsure to count" in text
    assert "better" in text


def test_any_trial_has_its_table_and_plot():
    found = Synthesis(trials={"my own idea": augmentation("my own idea", "upside down")})
    page = page_of(found, "fr")
    assert "trials" in page.sections
    assert "my own idea" in page.text
    assert "NUISIBLE" in page.text
    assert page.text.count("upside down") >= 3


# Scores


def test_scores_stand_beside_their_ceiling(full):
    text = Page(render(full)).text
    for told in (
        "500 made = 430 kept + 70 refused.",
        "pure noise (control)",
        "61.0\u202f%",
        "[55.0, 67.0]",
        "97.0\u202f%",
    ):
        assert told in text
    assert "another class" in text
    assert "like a test item" not in text[: text.index("Synthetic samples beside")]  # none was refused for that
    for code in REASONS:
        assert WORDS[f"made_why_{code}"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_values_that_are_null_are_dashes(language):
    def emptied(value):
        if isinstance(value, dict):
            return {name: emptied(one) for name, one in value.items()}
        return None if isinstance(value, float) else value

    found = emptied(assessment())
    found["samples"] = [{**sample, "nearest": None, "label": None} for sample in found["samples"]]
    tried = trial()
    tried["same"] = {**tried["same"], "low": float("nan")}
    tried["arms"]["interpolation"] = {
        **tried["arms"]["interpolation"],
        "gain": None,
        "flip_p": None,
        "differences": [None],
    }
    page = page_of(Synthesis(assessment=found, trials={"synthetic": tried}), language)
    assert "–" in page.text
    assert "None" not in page.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "found",
    [
        Synthesis(),
        Synthesis(assessment={}),
        Synthesis(assessment={"n_made": 3, "n_kept": 0, "set": None, "likeness": None, "refused": None, "samples": []}),
        Synthesis(said=["One thing.", "Another."]),
        Synthesis(
            trials={"synthetic": {"name": "synthetic", "metric": "accuracy", "n_items": 9, "n_seeds": 2, "chief": "a"}}
        ),
        Synthesis(trials={"x": {"name": "x", "metric": "loss", "effects": {"other": {"value": None}}}}),
    ],
    ids=["nothing", "empty", "few", "only said", "no arms", "unknown effect"],
)
def test_parts_may_be_absent(found, language):
    page = page_of(found, language)
    assert "None" not in page.text
    assert "verdict" in page.sections


@pytest.mark.parametrize("language", LANGUAGES)
def test_where_noise_is_as_much_like_real_samples_as_they_are_it_is_said(language):
    said = Language(language)("made_likeness_little")
    for noise, is_said in ((0.2, False), (0.7, True)):
        found = {"n_made": 9, "n_kept": 9, "likeness": {"noise": noise, "made": 0.5, "real": 0.6}}
        assert (said in page_of(Synthesis(assessment=found), language).text) == is_said


# Names, languages, sizes


@pytest.mark.parametrize("language", LANGUAGES)
def test_hostile_names_stay_text(language):
    labels = (EVIL, "lead", "been")
    found = synthesis("rejected", labels=labels, show=lambda name: (EVIL, "image/png", PNG), said=[EVIL])
    tried = trial("rejected", labels=labels, losers=[EVIL])
    tried["arms"][EVIL] = {**tried["arms"]["interpolation"], "sentence": EVIL}
    found = Synthesis(
        assessment={**found.assessment, "refused": {EVIL: 3}, "features": EVIL}, show=found.show, show_real=found.show,
        trials={"synthetic": tried, EVIL: {**tried, "chief": EVIL}, "lead": tried}, said=[EVIL],
    )  # fmt: skip
    html = render(report_of(found), language)
    page = Page(html)
    assert "<script" not in html
    assert "alert(1)" in page.text
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    assert all("style" not in attributes for _, attributes in page.tags)


def test_no_english_is_left_in_french(full):
    text = Page(render(full, "fr")).text
    for key, (english, french) in WORDS.items():
        if "{" not in english and len(english) > 14 and english != french:
            assert english not in text, key
    for english in (
        "of each batch are",
        "seeds instead of",
        "other half of the train",
        "real data alone",
        "interpolated",
    ):
        assert english not in text
    assert "de chaque lot sont de nouveaux éléments synthétiques." in text
    assert "6 graines au lieu de 10" in text


def test_what_has_no_french_is_left_out_and_said_to_be_elsewhere():
    tried = {**trial(), "cut": ["A moose was cut."]}
    tried["arms"]["synthetic"] = {**tried["arms"]["synthetic"], "sentence": "Mostly moose."}
    found = synthesis(trials={"synthetic": tried}, said=["A moose was seen."])
    french, english = page_of(found, "fr").text, page_of(found).text
    assert "moose" not in french.lower()
    for told in ("A moose was cut.", "Mostly moose.", "A moose was seen."):
        assert told in english
    assert "Cet essai a ses limites" in french
    assert "D’autres remarques n’existent qu’en anglais" in french


def test_two_hundred_classes_fit():
    labels = tuple(f"class {k}" for k in range(200))
    report = report_of(synthesis("admitted", labels=labels, show=show))
    html = render(report)
    assert len(html) < 1_500_000
    page = Page(html)
    assert "and 170 more" in page.text
    assert len(report["synthesis"]["gallery"]["classes"]) == 30
    assert page.text.count("class 199") >= 2


def test_the_file_stays_small_and_shows_some_of_each_class():
    labels = tuple(f"class {k}" for k in range(10))

    def large(name):
        return name, "image/png", b"\x89PNG" + bytes(30_000)

    given = {
        "show_train": lambda place: (f"{place}", "image/png", b"\x89PNG" + bytes(60_000)),
        "train_labels": ["a", "b"] * 50,
    }
    report = report_of(synthesis(labels=labels, show=large), **given)
    assert len(render(report)) < MAX_ALL_BYTES + 600_000
    first = [one["kept"][0]["made"] for one in report["synthesis"]["gallery"]["classes"]]
    assert all("data" in one for one in first)
    assert "data" in report["samples"]["classes"][0]["items"][0]


# Samples


def test_samples_show_by_their_type():
    kinds = {
        "a": ("text/plain", "<b>é</b>".encode()),
        "b": ("audio/wav", b"RIFF"),
        "c": ("image/png", PNG),
        "d": ("video/mp4", b"...."),
    }

    def by_type(name):
        return (name, *kinds[name[0]])

    html = render(report_of(synthesis(labels=tuple(kinds), show=by_type)))
    page = Page(html)
    assert "&lt;b&gt;é&lt;/b&gt;" in html
    assert {tag for tag, _ in page.tags} >= {"pre", "audio", "img", "video"}
    assert "Synthetic sample c/0_00000.png" in html
    assert "twins wide" in html


def test_samples_that_were_away_are_found_again():
    def away(name):
        if name.endswith("1.png"):
            raise DataError("It was deleted.")
        return name, "", b""

    report = report_of(synthesis(show=away))
    n = n_away(report)
    assert n == 2 * 12
    assert "not shown here" in Page(render(report)).text
    asked = {"made": [], "real": []}

    def give(kind):
        return lambda name: (asked[kind].append(name), (name, "image/png", PNG))[1]

    before = copy.deepcopy(report)
    assert not show_again(before, None)
    assert show_again(report, give("real"), show_made=give("made"))
    assert n_away(report) == 0
    assert all("/0_0000" in name for name in asked["made"])
    assert all("/img" in name for name in asked["real"])
    assert len(Page(render(report)).of("img")) == n


def test_made_samples_wait_when_only_real_rows_can_be_shown():
    report = report_of(synthesis(show=lambda name: (name, "", b"")))
    assert show_again(report, show)
    assert n_away(report) == 12


# In a browser


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_the_window(tmp_path, width, scheme):
    api = pytest.importorskip("playwright.sync_api")
    labels = (
        "cat",
        "a class whose name is as long as names of classes ever become",
        "Donaudampfschifffahrtsgesellschaft",
    )
    report = report_of(synthesis("unreliable", labels=labels, show=show))
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        said = []
        page.on("console", lambda message: said.append(message.text))
        for language in LANGUAGES:
            path = tmp_path / f"{language}.html"
            path.write_text(render(report, language), encoding="utf-8")
            page.goto(path.as_uri())
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            # all rows of a chart have one scale: their plots lie under each other
            rows = page.evaluate(
                "[...document.querySelectorAll('#trial_synthetic .plot')].map(one => one.getBoundingClientRect())"
                ".map(one => [one.left, one.width])"
            )
            assert len(rows) == 4
            assert max(left for left, _ in rows) - min(left for left, _ in rows) < 0.5
            assert max(wide for _, wide in rows) - min(wide for _, wide in rows) < 0.5
            assert rows[0][1] > 200
            # nothing that is read reaches out of its place
            outside = page.evaluate(
                "[...document.querySelectorAll('.proof p, .arms .num span, .twins figcaption')].filter("
                "one => one.getBoundingClientRect().right > one.closest('.proof, .card, li').getBoundingClientRect().right + 1"
                ").map(one => one.textContent)"
            )
            assert outside == []
            page.screenshot(path=str(tmp_path / f"{language}_{width}_{scheme}.png"), full_page=True)
        browser.close()
    assert said == []
