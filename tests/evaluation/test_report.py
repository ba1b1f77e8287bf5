"""The report: its values, that it opens offline, that hostile names stay text, in both languages."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from answers_made import from_decisions, only_loss, several, single

from ouvroir.baselines import Suspect
from ouvroir.data.listing import MADE
from ouvroir.errors import DataError
from ouvroir.evaluation import writing_page
from ouvroir.evaluation.language import Language
from ouvroir.evaluation.report import ReportInput, System, make_report, render
from ouvroir.evaluation.report_input import Controlled, KeptAt
from ouvroir.evaluation.samples import MAX_ALL_BYTES, MAX_TEXT, Shelf
from ouvroir.recipe import Constants, Recipe
from ouvroir.run import Measurement
from ouvroir.task import Answers

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
EVIL = "<script>alert(1)</script>\"'&{{ 7*7 }}"
LANGUAGES = ("en", "fr")


def curve(n=60):
    lines = [Measurement(step, "train", "class", 2 / step, 0.1) for step in range(1, n)]
    lines += [Measurement(step, "train", "lr", 0.1, 0.1) for step in range(1, n)]
    return [*lines, *(Measurement(step, "validation", "accuracy", 1 - 1 / step, 0.1) for step in range(5, n, 5))]


def ledger(labels):
    return {
        "found": 412, "admitted": 410, "refused": 2, "refused_by_code": {"empty": 1, "too_many_things": 1},
        "refusals": [{"id": EVIL, "code": "empty", "reason": f"`{EVIL}` is 0 bytes long."}] * 2,
        "splits": {"train": 110, "validation": 100, "test": 200}, "labels": list(labels),
        "counts": {split: dict.fromkeys(labels, 20) for split in ("train", "validation", "test")},
        "notes": [{"code": "duplicates", "text": f"Two files are alike: {EVIL}", "proposal": {}}],
        "synthetic": 3, "is_multi_label": False, "fingerprint": "0f" * 32,
    }  # fmt: skip


def show(place):
    return f"{EVIL}/{place}.png", "image/png", PNG


@pytest.fixture(scope="module")
def full():
    labels = ("cat", "dog", EVIL, "été")
    return ReportInput(
        name=EVIL,
        task="toy",
        path=f"/runs/{EVIL}",
        created="2026-01-01",
        metrics=("accuracy", "macro_f1", "nll", "ece"),
        data=ledger(labels),
        systems=[
            System(name="most frequent class", role="baseline", answers=from_decisions(single(200).targets, [0] * 200, labels)),
            System(name=EVIL, role="baseline", answers=single(200, seed=3, skill=1, labels=labels)),
            System(name="base", role="base", answers=single(200, seed=1, labels=labels), curves=curve(), steps=600),
            System(name="tuned", role="tuned", answers=single(200, seed=2, skill=2.6, labels=labels), curves=curve(), steps=600),
        ],
        controls=[
            Controlled(f"Without what {EVIL} is", single(200, seed=5, skill=0.2, labels=labels)),
            Controlled("Without what it needs not", single(200, seed=2, skill=2.6, labels=labels)),
        ],
        groups=[(EVIL, "ann", "bob", "")[place % 4] for place in range(200)],
        at_random=[
            System(name="most frequent class", role="baseline", answers=from_decisions(single(200).targets, [0] * 200, labels)),
            System(name=EVIL, role="baseline", answers=single(200, seed=4, skill=2, labels=labels)),
        ],
        show_test=show,
        show_train=show,
        train_labels=[labels[k % 4] for k in range(110)],
        mislabels=[Suspect(3, EVIL, "cat", 0.97)],
        notes=[EVIL],
        timings={"check_s": 1.0, "pack_s": 2.0, "train_s": 120.0, "evaluate_s": 3.0},
        device="cpu",
        items_per_second=4000.0,
        n_parameters=10_000,
        model_bytes=40_000,
        threshold=0.5,
        settings=[("constants.phi", "1.6180339887", "ratio"), ("constants.zeta", '"ordinary"', "penalty"), (EVIL, EVIL, EVIL)],
        environment={"versions": {"ouvroir": "0.1"}, "command": ["ouvroir", EVIL], "commit": None},
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(full):
    return make_report(full)


class Page(HTMLParser):
    """Tags with their attributes, ids, and the text outside <style>."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self._open = [], [], []
        self.feed(html)
        self.text = re.sub(r"[ \n]+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" not in self._open:
            self.words.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self):
        return [one["id"] for one in self.of("section")]


def test_the_values_are_plain_json_and_render_alike_when_read_back(report):
    text = json.dumps(report, allow_nan=False)
    assert render(json.loads(text)) == render(report)
    assert report["verdict"]["sentence"].startswith("The tuned model answers ")
    assert report["verdict"]["tuning"] in ("better", "same", "worse")
    assert set(report["verdict"]["lines"]) == set(LANGUAGES)
    assert report["kept"] == "tuned"
    assert report["main"] == "accuracy"
    accuracy = report["systems"][-1]["metrics"]["accuracy"]
    assert set(accuracy) == {"value", "low", "high", "n"}
    assert {pair["kind"] for pair in report["pairs"]} == {"baseline", "tuning"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_section_is_there(report, language):
    page = Page(render(report, language))
    assert page.sections == [
        "verdict", "side_by_side", "controls", "mistakes", "changes", "confusions", "classes", "groups", "calibration", "ledger",
        "samples",
        "mislabels", "curves", "cost", "use", "settings", "environment",
    ]  # fmt: skip
    assert page.of("html")[0]["lang"] == language
    assert report["verdict"]["lines"][language][1] in page.text


def test_what_is_taken_away_is_compared_with_everything(report):
    """The second control is the kept model itself, so that taking that away costs nothing."""
    needed, spare = report["controls"]
    assert needed["verdict"] == "better"
    assert needed["second"] == spare["second"]
    assert not needed["guesses"]
    assert (spare["verdict"], spare["difference"]["value"]) == ("same", 0)
    page = Page(render(report, "en"))
    assert "it needs what is missing" in page.text
    assert "not shown that it needs what is missing" in page.text
    assert "A control that the English report names" not in page.text
    assert "Un contrôle que nomme le rapport en anglais" in Page(render(report, "fr")).text


def test_groups_are_told_apart_the_worst_first(report):
    found = report["groups"]
    assert {one["group"] for one in found} == {EVIL, "ann", "bob"}
    assert sum(one["n"] for one in found) == 150
    values = [one["right"]["value"] for one in found]
    assert values == sorted(values)
    worst = found[0]
    assert worst["given"] != worst["answer"]
    assert 1 <= worst["n_taken"] <= worst["n"]


def test_few_groups_are_said(full, report):
    assert report["n_test_groups"] == 3
    assert any(line.startswith("Groups in the test: 3.") for line in report["verdict"]["lines"]["en"])
    many = make_report(dataclasses.replace(full, groups=[str(place % 40) for place in range(200)]))
    assert not any(line.startswith("Groups in the test") for line in many["verdict"]["lines"]["en"])


def test_what_a_split_at_random_would_have_said_stands_beside(full, report):
    found = report["random_split"]
    cheap = {one["name"]: one["metrics"]["accuracy"]["value"] for one in report["systems"] if one["role"] == "baseline"}
    assert found["name"] == max(cheap, key=cheap.get)
    assert found["apart"]["value"] == cheap[found["name"]]
    assert found["mixed"]["value"] > found["apart"]["value"]
    assert found["is_easier"] == (found["mixed"]["low"] > found["apart"]["high"])
    page = Page(render(report, "en")).text
    assert "Items dealt out at random" in page
    alone = make_report(dataclasses.replace(full, at_random=()))
    assert alone["random_split"] is None
    assert "Items dealt out at random" not in Page(render(alone, "en")).text


def test_a_leak_that_was_found_is_in_the_verdict(full):
    note = {"code": "groups_mixed", "text": "3 of 4 test rows leak.", "proposal": {}}
    leaking = dataclasses.replace(full, data={**full.data, "notes": [note]})
    report = make_report(leaking)
    assert note["text"] in report["verdict"]["lines"]["en"]
    assert any("sont dans des jeux différents" in line for line in report["verdict"]["lines"]["fr"])


def test_results_on_a_made_up_sample_are_told_as_such(full):
    note = {"code": "sample_data", "text": MADE, "proposal": {}}
    lines = make_report(dataclasses.replace(full, data={**full.data, "notes": [note]}))["verdict"]["lines"]
    assert lines["en"][1] == MADE
    assert lines["fr"][1].startswith("C’est un échantillon fabriqué")


@pytest.mark.parametrize("language", LANGUAGES)
def test_hostile_names_stay_text(report, language):
    html = render(report, language)
    page = Page(html)
    assert not page.of("script")
    assert "<script" not in html
    assert "alert(1)" in page.text
    assert "{{ 7*7 }}" in page.text
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_asks_nothing_of_the_network(report, language):
    html = render(report, language)
    page = Page(html)
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "action"):
            assert attributes.get(name, "#").startswith(("data:", "#"))
        assert "style" not in attributes  # the content policy would ignore it
    assert "url(" not in html
    assert "@import" not in html
    policy = next(one["content"] for one in page.of("meta") if one.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not page.of("link")


def test_the_style_is_the_one_the_policy_allows(report):
    import base64
    import hashlib

    html = render(report)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in html.replace("&#39;", "'")


def test_everything_shown_has_words_for_those_who_do_not_see_it(report):
    page = Page(render(report))
    assert all(one.get("alt") for one in page.of("img"))
    assert all(one.get("aria-label") or one.get("class") == "ticks" for one in page.of("svg"))
    assert all(one.get("scope") for one in page.of("th"))
    assert len(page.of("h1")) == 1


def test_the_verdict_never_claims_what_was_not_measured():
    same = [
        System(name="base", role="base", answers=single(60, seed=1), steps=10),
        System(name="tuned", role="tuned", answers=single(60, seed=1), steps=30),
    ]
    report = make_report(ReportInput(name="run", task="toy", systems=same, kept="base"))
    sentence = report["verdict"]["sentence"]
    assert sentence.startswith("The base model answers")
    assert "no difference is shown (" in sentence
    assert "With 60 test items the intervals are wide" in sentence
    assert "They are not equal" in Page(render(report)).text
    better = [
        System(name="majority", role="baseline", answers=single(400, seed=1, skill=4)),
        System(name="m", role="base", answers=single(400, seed=2, skill=0.5)),
    ]
    report = make_report(ReportInput(name="run", task="toy", systems=better))
    assert report["verdict"]["against_baseline"] == "worse"
    assert report["verdict"]["sentence"].startswith(
        "The model does worse than majority, the best cheap baseline: accuracy "
    )
    assert "the model is worse by " in report["verdict"]["sentence"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("source", "sections"),
    [
        (ReportInput(name="n", task="t"), {"verdict"}),
        (
            ReportInput(name="n", task="t", systems=[System(name="m", role="base", answers=single(120, 7))]),
            {"verdict", "measures", "mistakes", "confusions", "classes", "calibration"},
        ),
        (
            ReportInput(
                name="n",
                task="t",
                metrics=("micro_f1", "macro_f1", "subset_accuracy"),
                systems=[
                    System(name="a", role="base", answers=several(seed=1)),
                    System(name="b", role="tuned", answers=several(seed=2, noise=0.9)),
                ],
            ),
            {"verdict", "side_by_side", "mistakes", "changes", "classes", "calibration"},
        ),
        (
            ReportInput(
                name="n",
                task="t",
                metrics=("nll", "perplexity"),
                systems=[
                    System(name="n-grams", role="baseline", answers=only_loss()),
                    System(name="m", role="base", answers=only_loss(scale=0.9)),
                ],
            ),
            {"verdict", "side_by_side"},
        ),
        (
            ReportInput(name="n", task="t", systems=[System(name="m", role="base", answers=from_decisions([0, 1], [0, 1], "ab"))]),
            {"verdict", "measures", "mistakes", "confusions", "classes", "calibration"},
        ),
        (ReportInput(name="n", task="t", systems=[System(name="m", role="base", curves=curve())]), {"verdict", "curves"}),
    ],
    ids=["nothing", "one model", "several labels", "only a loss", "no mistakes", "no test"],
)  # fmt: skip
def test_sections_without_data_are_left_out(source, sections, language):
    report = make_report(source)
    page = Page(render(json.loads(json.dumps(report, allow_nan=False)), language))
    assert set(page.sections) == sections
    assert "None" not in page.text
    assert "nan" not in page.text


def test_many_classes_list_their_confusions_without_a_picture():
    answers = single(600, 200, skill=3)
    report = make_report(ReportInput(name="n", task="t", systems=[System(name="m", role="base", answers=answers)]))
    assert report["confusion"]["labels"] == []
    assert len(report["confusion"]["top"]) == 12
    assert len(render(report)) < 400_000


def test_baselines_stand_with_their_article_in_sentences():
    name = "nearest neighbours on simple features"
    systems = [
        System(name=name, role="baseline", answers=single(400, seed=1, skill=4)),
        System(name="m", role="base", answers=single(400, seed=2, skill=4)),
    ]
    report = make_report(ReportInput(name="n", task="t", systems=systems))
    assert "simple, les plus proches voisins sur" in report["verdict"]["lines"]["fr"][1]
    assert "le modèle contre les plus proches voisins sur" in Page(render(report, "fr")).text
    assert "The best cheap baseline, nearest neighbours on" in report["verdict"]["lines"]["en"][1]


@pytest.mark.parametrize(("n", "lead"), [(3, "Toutes les erreurs (3)"), (60, "Sur 60 erreurs, les 24 commises")])
def test_mistakes_are_counted_as_one_would_say_it(n, lead):
    answers = from_decisions([0] * n + [1], [1] * n + [1], "ab")
    source = ReportInput(name="n", task="t", systems=[System(name="m", role="base", answers=answers)], show_test=show)
    assert lead in Page(render(make_report(source), "fr")).text


def test_the_most_confident_mistake_comes_first():
    answers = single(150, 3, skill=0.5)
    source = ReportInput(name="n", task="t", systems=[System(name="m", role="base", answers=answers)], show_test=show)
    items = make_report(source)["mistakes"]["items"]
    wrong = answers.scores.argmax(1) != answers.targets
    assert items[0]["confidence"] == pytest.approx(answers.scores.max(1)[wrong].max())
    assert [one["confidence"] for one in items] == sorted((one["confidence"] for one in items), reverse=True)
    assert all(one["given"] != one["answer"] for one in items)


def test_a_note_is_told_once(full):
    note = full.data["notes"][0]["text"]
    text = Page(
        render(make_report(dataclasses.replace(full, notes=[note, "a note of its own", "a note of its own"])))
    ).text
    assert text.count(note) == 1
    assert text.count("a note of its own") == 1


# Samples


def test_samples_show_by_their_type():
    contents = {
        0: ("a", "image/png", PNG),
        1: ("b", "audio/wav", b"RIFF"),
        2: ("c", "text/plain", "<b>é</b>".encode()),
        3: ("d", "video/mp4", b"...."),
        4: ("e", 'image/png" onerror="alert(1)', PNG),
    }
    answers = from_decisions([0] * 5, [1] * 5, "ab")
    source = ReportInput(
        name="n", task="t", systems=[System(name="m", role="base", answers=answers)], show_test=contents.__getitem__
    )
    html = render(make_report(source))
    page = Page(html)
    assert [len(page.of(tag)) for tag in ("img", "audio", "video")] == [1, 1, 1]
    assert "&lt;b&gt;é&lt;/b&gt;" in html
    assert "onerror" not in html
    assert "not shown here" in page.text


def test_what_is_heard_has_a_picture_beside_it():
    contents = [("a.mp3", "audio/mpeg", b"abc", PNG)]
    answers = from_decisions([0, 1], [1, 1], "ab")
    source = ReportInput(
        name="n", task="t", systems=[System(name="m", role="base", answers=answers)], show_test=contents.__getitem__
    )
    report = make_report(source)
    (item,) = report["mistakes"]["items"]
    assert item["picture"]
    page = Page(render(report))
    assert [tag["class"] for tag in page.of("img")] == ["wave"]
    assert len(page.of("audio")) == 1
    shelf = Shelf(200)
    shelf.show(lambda _: contents[0], 0)
    assert shelf.used == len(item["data"]) + len(item["picture"])


def test_a_sample_that_cannot_be_read_does_not_stop_the_report():
    def gone(place):
        raise DataError("It was deleted.")

    answers = from_decisions([0] * 5, [1] * 5, "ab")
    source = ReportInput(name="n", task="t", systems=[System(name="m", role="base", answers=answers)], show_test=gone)
    assert "#3" in Page(render(make_report(source))).text


def test_the_file_stays_small():
    large = b"\x89PNG" + bytes(120_000)
    answers = from_decisions([0] * 400, [1] * 400, "ab")
    source = ReportInput(
        name="n",
        task="t",
        systems=[System(name="m", role="base", answers=answers)],
        show_test=lambda place: (f"{place}", "image/png", large),
        show_train=lambda place: (f"{place}", "image/png", large),
        train_labels=["a", "b"] * 50,
    )
    report = make_report(source)
    assert len(render(report).encode()) < 3_000_000
    assert "data" in report["mistakes"]["items"][0]
    assert "data" not in report["samples"]["classes"][-1]["items"][-1]
    assert MAX_ALL_BYTES < 2_500_000


def test_text_is_cut_and_large_content_left_out():
    shelf = Shelf()
    assert len(shelf.show(lambda _: ("n", "text/plain", b"x" * 5000), 0)["text"]) == MAX_TEXT + 1
    assert shelf.show(lambda _: ("n", "image/png", bytes(10**6)), 0) == {"name": "n"}


def test_settings_and_constants_are_told(full):
    recipe = Recipe(task="toy", constants=Constants())
    assert recipe.constants.phi == pytest.approx(1.618, abs=1e-3)
    text = Page(render(make_report(full), "fr")).text
    assert "1,61803" in text
    assert "ordinaire" in text


# In a browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def test_a_baseline_that_learned_from_fewer_rows_says_so(full):
    few = System(
        name="logistic regression on simple features", role="baseline", answers=full.systems[1].answers, n_rows=5000
    )
    report = make_report(dataclasses.replace(full, systems=[few, *full.systems[2:]]))
    named = {
        "en": "logistic regression on simple features (learned from 5,000 items)",
        "fr": "régression logistique sur des caractéristiques simples (5\u202f000 éléments d’entraînement)",
    }
    for language, name in named.items():
        assert name in Page(render(report, language)).text
        assert any(name in line for line in report["verdict"]["lines"][language])


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (320, "light")])
def test_it_fits_the_window_and_keeps_its_own_policy(report, tmp_path, width, scheme):
    api = pytest.importorskip("playwright.sync_api")
    path = tmp_path / "report.html"
    path.write_text(render(report, "fr"), encoding="utf-8")
    switches = "--no-sandbox --disable-gpu --disable-background-networking --disable-sync --no-first-run"
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=switches.split())
        page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("getComputedStyle(document.body).fontFamily") != ""
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 23)"
        assert dark == (scheme == "dark")
        browser.close()
    assert said == []
    assert all(url.startswith(("file:", "data:")) for url in asked)


def test_what_a_model_that_guesses_needs_cannot_be_told(full):
    """It loses nothing where something is taken from it, since it saw nothing."""
    guesses = from_decisions(single(200).targets, [0] * 200, full.systems[0].answers.labels)
    systems = [one if one.role == "baseline" else dataclasses.replace(one, answers=guesses) for one in full.systems]
    found = make_report(dataclasses.replace(full, systems=systems, controls=[Controlled("Nothing", guesses)]))
    assert [(one["verdict"], one["guesses"]) for one in found["controls"]] == [("same", True)]
    page = Page(render(found, "en"))
    assert "says nothing: the model is not shown to do better than the most frequent class" in page.text
    assert "not shown that it needs" not in page.text


def test_a_training_of_few_steps_is_said(full):
    systems = [dataclasses.replace(one, usual_steps=2400) if one.role == "base" else one for one in full.systems]
    found = make_report(dataclasses.replace(full, systems=systems))
    (line,) = [line for line in found["verdict"]["lines"]["en"] if "usual for such data" in line]
    assert line.startswith("The base model was trained for 600 steps, and 2,400 are usual")
    assert not any("usual for such" in line for line in make_report(full)["verdict"]["lines"]["en"])


@pytest.mark.parametrize("can_be_smaller", [True, False])
def test_each_network_that_had_few_steps_is_told_and_none_is_smaller_than_the_smallest(can_be_smaller):
    def lines(*usual):
        rivals = [
            System(name=name, role="rival", answers=texts(40, seed=k), steps=100 + k, usual_steps=n, can_be_smaller=can_be_smaller)
            for k, (name, n) in enumerate(zip(("lstm", "transformer"), usual, strict=True))
        ]  # fmt: skip
        return writing_report(None, None, systems=rivals)["verdict"]["lines"]

    both = lines(900, 1200)
    english = [line for line in both["en"] if "usual for such data" in line]
    assert [line.split(" are usual")[0] for line in english] == [
        "The LSTM was trained for 100 steps, and 900",
        "The Transformer was trained for 101 steps, and 1,200",
    ]
    french = " ".join(both["fr"]).replace("\u202f", " ")
    assert "Le LSTM a été entraîné pendant 100 pas, et 900 sont habituels" in french
    assert "Le Transformer a été entraîné pendant 101 pas, et 1 200" in french
    advice = {"en": "Give more minutes (`--minutes`)", "fr": "Donnez plus de minutes (`--minutes`)"}
    for language in LANGUAGES:
        said = " ".join(both[language])
        assert said.count(advice[language]) == 1
        assert ("--preset tiny" in said) == can_be_smaller
    (other,) = [line for line in lines(None, 1200)["en"] if "usual for such data" in line]  # the kept one had enough
    assert other.startswith("The Transformer was trained for 101 steps, and 1,200")


def writing_report(answers, baseline, **others):
    systems = [
        System(name="n-grams (Kneser-Ney)", role="baseline", answers=baseline),
        System(name="lstm", role="rival", answers=answers, steps=863, seconds=100.0),
        System(name="transformer", role="rival", answers=baseline, steps=296, seconds=102.0),
    ]
    return make_report(
        ReportInput(
            name="books",
            task="text",
            metrics=("nats_per_character", "bits_per_byte"),
            **{"systems": systems, "kept": "lstm", **others},
        )
    )


def texts(n, *, seed=0, units=None):
    rng = np.random.default_rng(seed)
    n_items = np.full(n, 1000)
    return Answers(np.arange(n), 1000 * (1.5 + 0.01 * rng.normal(size=n)), n_items, n_bytes=n_items, units=units)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_test_of_one_block_gives_no_interval_and_no_verdict(language):
    report = writing_report(texts(1), texts(1, seed=1))
    assert {pair["verdict"] for pair in report["pairs"]} == {"same"}
    lines = report["verdict"]["lines"][language]
    assert any("single item" in line or "que pour un élément" in line for line in lines)
    assert not any("would probably" in line or "sans doute été vu" in line for line in lines)
    page = Page(render(json.loads(json.dumps(report, allow_nan=False)), language)).text
    assert ("[no interval]" if language == "en" else "[sans intervalle]") in page
    some = Page(render(writing_report(texts(5), texts(5, seed=1)), language)).text
    for key in ("interval_note", "smallest_note"):
        assert Language(language)(key) in some
        assert Language(language)(key) not in page, "there is nothing that it explains"


def test_neighbouring_blocks_are_counted_as_one_and_few_rows_are_said():
    report = writing_report(texts(30, units=np.arange(30) // 10), texts(30, seed=1, units=np.arange(30) // 10))
    assert (report["n_test"], report["n_test_units"]) == (30, 3)
    assert any("count each group of them as one item, 3 in all" in line for line in report["verdict"]["lines"]["en"])
    alone = writing_report(texts(30), texts(30, seed=1))
    assert any(line.startswith("With 30 test items") for line in alone["verdict"]["lines"]["en"])


@pytest.mark.parametrize(
    ("seconds", "said", "unsaid"),
    [
        (102.0, "Trained for as long (102 s, against 100 s for the one that was kept)", "times are not equal"),
        (80.0, "Trained for 80 s, against 100 s for the one that was kept", "as long"),
        (None, "Trained beside it, the Transformer", "as long"),
    ],
)
def test_how_long_rivals_were_trained_is_worked_out(seconds, said, unsaid):
    systems = [
        System(name="n-grams (Kneser-Ney)", role="baseline", answers=texts(40)),
        System(name="lstm", role="rival", answers=texts(40, seed=1), steps=863, seconds=100.0, n_parameters=100_000),
        System(name="transformer", role="rival", answers=texts(40, seed=2), steps=296, seconds=seconds, n_parameters=160_000),
    ]  # fmt: skip
    page = Page(render(writing_report(None, None, systems=systems))).text
    assert said in page
    assert unsaid not in page
    assert "may come from training more" not in page, "steps of two kinds of network say nothing beside each other"
    if seconds:
        assert ("The times are not equal" in page) == (seconds == 80.0)
        assert "Transformer, 296 steps in" in page
        assert "Not at equal parameters: the Transformer has 1.6 times as many." in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_model_that_was_validated_once_has_its_dot_and_labels_have_the_unit_of_the_axis(language):
    def measured(*steps):
        found = [Measurement(step, "validation", "nats_per_character", 2 - step / 1000, step / 10) for step in steps]
        return [Measurement(step, "train", "items", 100.0, step / 10) for step in steps] + found

    systems = [
        System(name="lstm", role="rival", answers=texts(40), curves=measured(200, 400)),
        System(name="transformer", role="rival", answers=texts(40, seed=1), curves=measured(300)),
    ]
    report = writing_report(None, None, systems=systems, writing={"lstm": {"moments": [], "habits": {}}})
    html = html_of(report, language)
    charts = re.findall(r"<figcaption>(.*?)</figcaption>(.*?)</figure>", html, re.DOTALL)
    assert len(charts) == 3  # over steps, seconds and characters
    said = {
        "en": (
            "Transformer, after 300 steps: 1.",
            "Transformer, after 30 s of training: 1.",
            "after 30,000 characters: 1.",
        ),
        "fr": ("Transformer, après 300 pas : 1,", "après 30 s d’entraînement : 1,", "après 30 000 caractères : 1,"),
    }[language]
    for (_, chart), label in zip(charts, said, strict=True):
        assert label in chart
        assert chart.count("<circle") == 3
    titles = re.findall("<title>(.*?)</title>", html)
    assert not [one for one in titles if language == "fr" and re.search(r"\w:", one)]
    once = [systems[1], dataclasses.replace(systems[1], name="lstm")]
    both = html_of(writing_report(None, None, systems=once, writing={"lstm": {"moments": [], "habits": {}}}), language)
    assert both.count("<circle") == 6, "two dots beside each other are one"
    assert "<polyline" not in html, "two points of a series are no line"
    assert all(f">{value}</text>" in html.replace(",", ".") for value in ("1.800", "1.600", "1.700"))
    two = writing_report(None, None, systems=systems[:1], writing={"lstm": {"moments": [], "habits": {}}})
    assert html_of(two, language).count("<circle") == 2, "of one model time and characters tell nothing more"
    more = [dataclasses.replace(systems[0], curves=measured(100, 200, 400)), systems[1]]
    course = html_of(
        writing_report(None, None, systems=more, writing={"lstm": {"moments": [], "habits": {}}}), language
    )
    assert course.count("<polyline") == 6
    assert course.count("text value") == 0
    alone = writing_report(None, None, systems=systems[1:], writing={"transformer": {"moments": [], "habits": {}}})
    assert "<figcaption>" not in html_of(alone, language), "one dot by itself is no chart"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_measured_twice_alike_is_drawn_once(language):
    curves = [
        Measurement(step, "validation", name, 2 - step / 1000, step / 10)
        for name in ("nats_per_character", "loss")
        for step in (100, 200, 400)
    ]
    systems = [System(name="lstm", role="base", answers=texts(40), curves=curves)]
    html = html_of(writing_report(None, None, systems=systems), language)
    assert len(re.findall(r"<figcaption>(.*?)</figcaption><svg", html)) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_measure_of_the_first_sentence_is_explained_once(language):
    html = render(writing_report(texts(40), texts(40)), language)
    assert html.count(Language(language)("about_nats_per_character")) == 1
    assert html.count(Language(language)("about_bits_per_byte")) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_kept_one_of_a_fine_tuning_is_marked_in_both_tables(language):
    systems = [
        System(name="start", role="base", answers=texts(40, seed=1), is_start=True),
        System(name="trained", role="tuned", answers=texts(40)),
    ]
    page = render(writing_report(None, None, systems=systems, kept="trained"), language)
    assert page.count('class="tag"') == 2
    assert page.count('<tr class="kept">') == 1


def html_of(report, language):
    return render(report, language).replace("\u202f", " ")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_fine_tuned_model_says_what_was_kept_of_it_and_what_that_brought(language):
    def lines(step, last, *, is_overfit, is_start=True, n_validations=8):
        kept_at = KeptAt(step, 40, "nats_per_character", 1.0, last, is_overfit, n_validations)
        worse = dataclasses.replace(texts(40), loss=texts(40).loss * 1.1)
        systems = [
            System(name="start", role="base", answers=worse, is_start=is_start),
            System(name="trained", role="tuned", answers=texts(40), steps=40, kept_at=kept_at),
        ]
        report = writing_report(None, None, systems=systems, kept="trained")
        return " ".join(report["verdict"]["lines"][language]).replace("\u202f", " ")

    early, late = lines(10, 1.21, is_overfit=True), lines(40, 1.0, is_overfit=False)
    said = {
        "en": (
            "The tuned model is kept as it was after step 10 of 40, where it did best on validation data (nats per character: "
            "1.000; 1.210 after the last step). After that it did worse on them, which is overfitting",
            "kept as it was after its last step, 40",
            "Tuning helped: the tuned model is better than the base model by 0.1",
            "This run keeps the tuned model. The base model, which it started from, is unchanged and can still be used.",
        ),
        "fr": (
            "Le modèle affiné est retenu tel qu’il était après le pas 10 sur 40, où il était le meilleur en validation (nats par "
            "caractère : 1,000 ; 1,210 après le dernier pas). Ensuite, il y a fait moins bien : c’est du surapprentissage.",
            "retenu tel qu’il était après son dernier pas, le 40",
            "L’affinage a aidé : le modèle affiné fait mieux que le modèle de base, de 0,1",
            "Cet entraînement garde le modèle affiné",
        ),
    }[language]
    assert said[0] in early
    assert said[1] in late
    assert not re.search("overfitting|surapprentissage", late)
    assert all(text in found for text in said[2:] for found in (early, late))
    assert not re.search("decided on validation|s’est fait sur", early)
    once = {
        "en": "The tuned model was validated only once, after step 40 (nats per character: 1.000), which cannot tell whether "
        "more steps made it worse. `--set loop.evaluate_every=STEPS`",
        "fr": "Le modèle affiné n’a été évalué en validation qu’une fois, après le pas 40 (nats par caractère : 1,000), ce qui ne "
        "dit pas si d’autres pas l’ont rendu moins bon. Avec `--set loop.evaluate_every=PAS`",
    }[language]
    assert once in lines(40, 1.0, is_overfit=False, n_validations=1)
    assert not re.search("evaluate_every", early + late)
    trained = lines(
        10, 1.01, is_overfit=False, is_start=False
    )  # both were trained here: only overfitting is worth a word
    assert not re.search("kept as it was|tel qu’il était", trained)
    assert "evaluate_every" not in lines(40, 1.0, is_overfit=False, is_start=False, n_validations=1)
    assert re.search("decided on validation|s’est fait sur", trained)


@pytest.mark.parametrize("factor", [1.0, 1.1])
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_overfits_is_not_told_to_train_longer(language, factor):
    def advice(is_overfit):
        answers = dataclasses.replace(texts(40), loss=texts(40).loss * factor)
        systems = [
            System(name="n-grams (Kneser-Ney)", role="baseline", answers=texts(40, seed=1)),
            System(name="lstm", role="base", answers=answers, kept_at=KeptAt(5, 40, "loss", 1.0, 1.2, is_overfit, 8)),
        ]
        writing = {"lstm": {"moments": [], "habits": {}}}
        return " ".join(writing_report(None, None, systems=systems, writing=writing)["verdict"]["lines"][language])

    longer = "longer|`--minutes`|plus long"
    assert not re.search(longer, advice(True))
    assert re.search("[Mm]ore data|avantage de données", advice(True))
    assert re.search(longer, advice(False))


def test_what_writes_is_not_said_to_be_replaced_by_what_counts():
    worse = dataclasses.replace(texts(40), loss=texts(40).loss * 1.1)
    lines = writing_report(worse, texts(40), writing={"lstm": {"moments": [], "habits": {}}})["verdict"]["lines"]
    for language in LANGUAGES:
        said = " ".join(lines[language])
        assert "`--minutes`" in said
        assert not re.search("Use the baseline|pretrained|Préférez|préentraînés", said)
    other = " ".join(writing_report(worse, texts(40))["verdict"]["lines"]["en"])
    assert "Use the baseline" in other


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_sentence_says_that_a_baseline_does_better(language):
    worse = dataclasses.replace(texts(40), loss=texts(40).loss * 1.1)
    first, *others = writing_report(worse, texts(40))["verdict"]["lines"][language]
    said = {
        "en": "The LSTM does worse than n-grams (Kneser-Ney), the best cheap baseline: nats per character 1.6",
        "fr": "Le LSTM fait moins bien que les n-grammes (Kneser-Ney), la meilleure référence simple : nats par caractère 1,6",
    }
    assert first.replace("\u202f", " ").startswith(said[language])
    assert any("train longer" in line or "plus longtemps" in line for line in others)
    better = writing_report(texts(40), worse)["verdict"]["lines"][language][0]
    assert not re.search("worse|moins bien", better)


@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_difference_has_one_sign_on_the_page_and_none_in_words(language, factor):
    """Less is better here; the table has the first minus the other, sentences the size and which is better."""
    report = writing_report(dataclasses.replace(texts(40), loss=texts(40).loss * factor), texts(40))
    t, (pair, rival, *_) = Language(language), report["pairs"]
    assert rival["difference"] == pair["difference"]
    size = t.number(abs(pair["difference"]["value"]))
    sign, other = "−+" if factor < 1 else "+−"
    said = {"en": ("better by", "worse by"), "fr": ("fait mieux, de", "fait moins bien, de")}[language][factor > 1]
    lines = " ".join(report["verdict"]["lines"][language])
    page = Page(render(report, language)).text
    assert f"{said} {size} [" in lines
    assert f"{sign}{size}" not in lines
    assert f"{sign}{size} [" in page
    assert f"{other}{size}" not in page
    assert re.search("below 0, the first does better|en dessous de 0, le premier fait mieux", page)
    assert not re.search("items fixed|erreurs corrigées", lines)


def test_a_difference_that_is_not_shown_says_what_is_subtracted():
    lines = writing_report(texts(40), texts(40, seed=1))["verdict"]["lines"]
    assert any("no difference is shown (model minus baseline: " in line for line in lines["en"])
    assert any("(celui qui a été retenu moins celui-ci" in line for line in lines["fr"])


@pytest.mark.parametrize("metric", ["accuracy", "nll"])
def test_what_tuning_changed_is_told_by_its_size(metric):
    systems = [
        System(name="base", role="base", answers=single(400, seed=1, skill=0.5)),
        System(name="tuned", role="tuned", answers=single(400, seed=2, skill=4)),
    ]
    cases = (
        (systems, "Tuning helped: the tuned model is better"),
        (systems[::-1], "Tuning did harm: the tuned model is worse"),
    )
    for order, said in cases:
        named = [
            dataclasses.replace(one, name=role, role=role) for one, role in zip(order, ("base", "tuned"), strict=True)
        ]
        report = make_report(ReportInput(name="n", task="t", metrics=(metric,), systems=named))
        (line,) = [line for line in report["verdict"]["lines"]["en"] if line.startswith("Tuning")]
        assert re.match(rf"{said} than the base model by \d[\d.]*( points)? \[\d[\d.]*, \d[\d.]*\] \(items fixed", line)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_settings_of_each_model_stand_beside_each_other(language):
    settings = [("optim.lr", "0.01", "Peak learning rate."), ("options.context", "64", "Pieces.")]
    of = {
        "lstm": {"optim.lr": "0.01", "options.context": "64"},
        "transformer": {"optim.lr": "0.0375", "options.context": "64"},
    }
    report = writing_report(texts(40), texts(40, seed=1), settings=settings, settings_of=of)
    page = render(report, language)
    point = {"en": ".", "fr": ","}[language]
    for value in (f"0{point}01", f"0{point}0375"):
        assert re.search(rf'data-label="(LSTM|Transformer)">{re.escape(value)}<', page)
    report.pop("settings_of")
    assert f"0{point}0375" not in render(report, language), "as in earlier reports"
    assert f">0{point}01<" in render(report, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_windows_that_a_text_was_read_in_are_said(language):
    told = Page(render(writing_report(texts(40), texts(40), window={"context": 64, "stride": 32}), language)).text
    assert re.search("windows of 64 pieces, a new one every 32|fenêtres de 64 morceaux, une nouvelle tous les 32", told)
    assert re.search("at least the 32 pieces before it|au moins les 32 morceaux qui le précèdent", told)
    unknown = writing_report(texts(40), texts(40))
    for text in (told, Page(render(unknown, language)).text):
        assert not re.search("knowing all|tout ce qui précède|moins est mieux", text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_said_what_the_percentage_behind_a_piece_is(language):
    expected = [
        {"before": "to be or not to", "then": " be", "share": 0.625, "candidates": [[" be", 0.625], [" do", 0.1]]}
    ]
    page = writing_report(texts(9), texts(9), writing={"lstm": {"moments": [], "habits": {"expected": expected}}})
    told = Page(html_of(page, language)).text
    assert re.search("62[.,]5", told)
    assert {
        "en": "The percentage behind what really came is the chance that the model gave to it.",
        "fr": "Le pourcentage qui suit ce qui venait vraiment est la probabilité que le modèle lui donnait.",
    }[language] in told


def test_french_shows_its_own_lines_of_python():
    report = writing_report(
        texts(40), texts(40), path="/runs/x", python="write('Once')", python_french="write('Une fois')"
    )
    assert "Une fois" not in render(report, "en")
    assert "Une fois" in render(report, "fr")
    report["use"].pop("python_fr")
    assert "Once" in render(report, "fr"), "as in earlier reports"


@pytest.mark.parametrize("language", LANGUAGES)
def test_how_much_was_written_and_searched_is_said(language):
    habits = {"texts": 8, "pieces": 397.5, "repetition": 0.1, "copied": 31, "passage": "x", "searched": 0.25}
    real = {"texts_real": 8, "pieces_real": 400.0, "repetition_real": 0.05, "copied_real": 30}

    def page(habits):
        writing = {"lstm": {"moments": [], "habits": habits}}
        return Page(render(writing_report(texts(40), texts(40), writing=writing), language)).text

    said = page({**habits, **real})
    assert "8 × 398" in said
    assert "8 × 400" in said
    assert re.search("in 25.0\u202f% of the train items|dans 25,0\u202f% des éléments", said)
    assert not re.search("as much real text|autant de texte réel", said)
    assert not re.search("were looked for|ont été cherchés", page({**habits, "searched": 1.0}))
    earlier = page({"repetition": 0.1, "copied": 31})
    assert "×" not in earlier


@pytest.mark.parametrize(
    ("steps", "english", "french"),
    [
        ((40,), "while it was trained, once and at three", "à un seul moment et à trois"),
        ((20, 40), "while it was trained, a few times and at three", "à quelques moments et à trois"),
    ],
)
def test_how_often_it_wrote_is_as_often_as_it_did(steps, english, french):
    moments = [{"step": step, "seconds": 1.0, "temperature": 0.8, "text": "x"} for step in steps]
    report = writing_report(texts(40), texts(40), writing={"lstm": {"moments": moments, "habits": {}}})
    assert english in Page(render(report, "en")).text
    assert french in Page(render(report, "fr")).text


def test_rows_of_a_corpus_are_blocks_and_have_no_bytes_in_their_names():
    id_ = "picture.txt@0+9087"
    refusal = {"id": "other.txt@0+512", "code": "empty", "reason": "`other.txt` is 0 bytes long."}
    data = {
        "found": 41, "admitted": 40, "refused": 1, "refused_by_code": {"empty": 1}, "refusals": [refusal],
        "splits": {"train": 30, "validation": 9, "test": 1}, "counts": {"train": {"": 30}}, "blocks": 40,
    }  # fmt: skip
    shown = {"show_train": lambda place: (id_, "text/plain", b"Once"), "train_labels": [None] * 30}
    report = writing_report(texts(1), texts(1, seed=1), data=data, **shown)
    assert report["samples"]["classes"][0]["items"][0]["name"] == id_, "by which it is found again"
    assert "on 1 unseen block " in report["verdict"]["lines"]["en"][0]
    assert "sur 1 bloc jamais vu " in report["verdict"]["lines"]["fr"][0]
    for language, of_blocks in (("en", "30 blocks to learn from"), ("fr", "30 blocs d’entraînement")):
        page = render(report, language)
        assert "picture.txt" in page
        assert not re.search(r"@0\+\d", page)
        assert of_blocks in Page(page).text
    without = writing_report(texts(3), texts(3, seed=1), data={**data, "blocks": 20})
    assert "on 3 unseen items " in without["verdict"]["lines"]["en"][0]


def test_the_french_page_has_no_english_names_points_and_words_to_type():
    report = writing_report(
        texts(40),
        texts(40),
        path="/runs/x",
        commands=[("use_write", "ouvroir generate /runs/TEXT --prompt TEXT"), ("use_report", "ouvroir report /runs/x --language")],
        settings=[("optim.lr", "0.0003", "Peak learning rate."), ("loop.seed", "12345", "Seed of the splits.")],
        environment={
            "created": 0.0, "versions": {"torch": "2.5.1"}, "cores": 2, "command": ["ouvroir", "refine"],
            "commit": "0f0f", "uncommitted": False, "platform": "Linux",
        },
    )  # fmt: skip
    french, english = Page(render(report, "fr")).text, Page(render(report, "en")).text
    for text in (
        "generate /runs/TEXT --prompt TEXTE",
        "--language en",
        "0,0003",
        "12345",
        "2.5.1",
        "commande",
        "début",
        "non",
    ):
        assert text in french
    for text in ("created", "uncommitted", "cores", "versions.torch", "False", "0.0003"):
        assert not re.search(rf"\b{re.escape(text)}\b", french), text
    for text in ("generate /runs/TEXT --prompt TEXT", "--language fr", "0.0003", "2.5.1"):
        assert text in english


@pytest.mark.parametrize(
    ("piece", "shown"),
    [("\n", "⏎"), (" ", "␣"), (" a", " a"), ("a\n\n", "a⏎⏎"), ("", ""), ("\t", "⇥"), ("\x07", "\ufffd")],
)
def test_ends_of_lines_and_blanks_are_seen_in_what_a_model_expects(piece, shown):
    assert writing_page.seen(piece) == shown
