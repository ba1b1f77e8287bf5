import re
import string
from pathlib import Path

import pytest

import ouvroir.evaluation as package
from ouvroir.evaluation.language import LANGUAGES, Language
from ouvroir.evaluation.metrics import METRICS
from ouvroir.evaluation.words import WORDS

EN, FR = Language("en"), Language("fr")
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in Path(package.__file__).parent.rglob("*")
    if path.suffix in (".py", ".html") and not path.name.startswith("words")
)
FAMILIES = (
    "rival_",
    "metric_",
    "name_",
    "code_",
    "cost_",
    "constant_",
    "section_",
    "split_",
    "role_",
    "the_",
    "found_",
    "verdict_",
    "curve_by_",
    "curve_along_",
    "curve_characters",
    "curve_seconds",
)
FAMILIES += ("against_", "control_", "tuning_", "calibration_", "use_", "about_", "unjudged_", "environment_", "typed_")
FAMILIES += (
    "proof_",
    "trial_found_",
    "arm_",
    "tried_",
    "effect_",
    "made_code_",
    "made_why_",
    "made_likeness_",
    "score_",
)


def places(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_say_the_same_thing(key):
    english, french = WORDS[key]
    assert english.strip()
    assert french.strip()
    assert places(english) == places(french)
    assert "'" not in french, "French takes the typographic apostrophe here"


@pytest.mark.parametrize("key", WORDS)
def test_every_sentence_is_used(key):
    used = f'"{key}"' in SOURCES or any(key.startswith(family) for family in FAMILIES)
    assert used


def test_every_sentence_asked_for_exists():
    asked = set(re.findall(r'\bt\(\s*"(\w+)"\s*[,)]', SOURCES))
    assert asked
    assert asked <= set(WORDS)
    assert {f"metric_{name}" for name in METRICS} <= set(WORDS)
    sections = set(re.findall(r'call section\("(\w+)"\)', SOURCES)) | {"measures", "side_by_side", "writing"}
    assert {key for key in WORDS if key.startswith("section_")} == {f"section_{name}" for name in sections}


def test_translations_differ_unless_the_word_is_the_same_in_both():
    same = {key for key, (english, french) in WORDS.items() if english == french}
    assert len(same) < 25, same


def test_every_baseline_has_its_form_with_an_article():
    names = {key.removeprefix("name_") for key in WORDS if key.startswith("name_")}
    assert names
    for name in names:
        assert FR.known("the", name).endswith(FR.known("name", name))
        assert FR.known("the", name).startswith(("la ", "les ", "le ", "l’"))


@pytest.mark.parametrize("path", [*Path(package.__file__).parents[1].rglob("*.py")], ids=lambda path: path.stem)
def test_one_thing_has_one_word(path):
    text = path.read_text(encoding="utf-8")
    assert "learnt" not in text  # but learned
    assert not re.search("répartition|lignes synth", text)  # but jeux, and éléments


def test_numbers_in_two_languages():
    assert (EN.percent(0.9412), FR.percent(0.9412)) == ("94.1\u202f%", "94,1\u202f%")
    assert (EN.count(12345), FR.count(12345)) == ("12,345", "12\u202f345")
    assert (EN.number(-0.5, 2), FR.number(0.25, 2, sign=True)) == ("−0.50", "+0,25")
    assert EN.number(-0.0004, 2, sign=True) == "0.00"
    assert EN.number(None) == EN.percent(None) == EN.number(float("nan")) == "–"
    assert (EN.span("accuracy", 0.92, 0.957), FR.span("accuracy", 0.92, 0.957)) == (
        "[92.0, 95.7]",
        "[92,0\u202f;\u00a095,7]",
    )
    assert EN.gap("accuracy", {"value": 0.058, "low": 0.039, "high": 0.077}) == "+5.8 points [+3.9, +7.7]"
    assert FR.gap("accuracy", {"value": -0.0199, "low": -0.03, "high": 0}) == "−2,0\u00a0points [−3,0\u202f;\u00a00,0]"
    assert [FR.gap_size("accuracy", size) for size in (0.0194, 0.02, 0.12)] == [
        "1,9\u00a0point",
        "2,0\u00a0points",
        "12,0\u00a0points",
    ]
    assert EN.gap("nll", {"value": -0.05, "low": -0.06, "high": -0.04}, turn=True) == "+0.050 [+0.040, +0.060]"
    assert EN.gap("nll", {"value": -0.05, "low": -0.06, "high": -0.04}, signed=False) == "0.050 [0.040, 0.060]"
    assert [EN.seconds(s) for s in (0.01, 0.42, 59.6, 150, 3000, 9000)] == [
        "<\u202f0.1 s",
        "0.4 s",
        "60 s",
        "2.5 min",
        "50 min",
        "2.5 h",
    ]
    assert (EN.size(999), EN.size(4_950_000), FR.size(4_950_000)) == ("999\u202fB", "5.0\u202fMB", "5,0\u202fMo")
    assert (EN.p(0.0004), EN.p(0.0381), FR.p(0.5)) == ("<\u202f0.001", "0.038", "0,500")


def test_unknown_names_are_passed_on():
    assert FR.known("name", "most frequent class") == "classe la plus fréquente"
    assert FR.known("code", "some_new_code") == "some new code"


def test_french_punctuation_never_begins_a_line():
    for key in WORDS:
        text = FR(key) if not places(WORDS[key][1]) else WORDS[key][1]
        if not places(WORDS[key][1]):
            assert not re.search(r" [:;?!»%]|« ", text)
    assert LANGUAGES == ("en", "fr")


@pytest.mark.parametrize("key", WORDS)
def test_every_choice_of_a_word_is_made_by_a_count(key):
    """A choice stands behind a name in braces, and both words of it are there."""
    for text in WORDS[key]:
        for _, name, choice, _ in string.Formatter().parse(text):
            if choice:
                one, bar, many = choice.partition("|")
                assert (bool(name), bool(one), bar, bool(many)) == (True, True, "|", True), text


def test_one_is_not_many():
    said = {"who": "X", "value": "1.0", "interval": "[i]"}
    one, three = (EN("verdict_nats_per_character", n=EN.count(n), **said) for n in (1, 3))
    assert "on 1 unseen item [i]" in one
    assert "on 3 unseen items [i]" in three
    assert FR("verdict_accuracy", n="1", **said).startswith(
        "X donne la bonne réponse pour 1.0 du seul élément jamais vu [i]"
    )
    assert "1.0 des 12 éléments jamais vus [i]" in FR("verdict_accuracy", n="12", **said)
    assert FR("ledger_sum", found="2", admitted="2", refused="0") == "2 trouvés = 2 admis + 0 refusé."
    assert EN("writing_moment", step=EN.count(1), time="2 s") == "After 1 step, 2 s"


def test_rows_that_are_blocks_are_called_so():
    en, fr = Language("en", in_blocks=True), Language("fr", in_blocks=True)
    assert en("few_items", n="3") == "With 3 test blocks the intervals are wide. More test blocks make them narrower."
    assert fr("few_items", n="3").endswith("davantage de blocs les resserreraient.")
    assert en("tile_judged", n="1") == "unseen block judged"
    assert en("groups", n="4").startswith("Groups of related blocks: 4.")
    for t, word in ((en, r"\bitems?\b"), (fr, "lément")):
        for key in ("side_by_side_lead", "paired_lead", "kept_on_validation", "in_units", "one_item", "samples_lead"):
            assert not re.search(word, t(key, n="3"), re.IGNORECASE), key
    assert en("items_per_second") == EN("items_per_second"), "a step may take windows of a block"
    made = {"what": "w", "gain": "g", "items": "9", "seeds": "6", "p": "p"}
    assert "on 9 unseen real items" in en("proof_numbers", **made), "made samples and what is beside them are no blocks"


@pytest.mark.parametrize(
    ("value", "french"),
    [
        ("0.0003", "0,0003"),
        ("3e-05", "0,00003"),
        ("1e-10", "0,0000000001"),
        ("12000", "12\u202f000"),
        ("-0.5", "-0,5"),
        ("32", "32"),
        ("true", "true"),
        ('"last:2"', '"last:2"'),
        ('"0.5"', '"0.5"'),
        ("null", "null"),
    ],
)
def test_numbers_of_settings_are_french_and_words_are_as_they_are_typed(value, french):
    assert FR.setting(value) == french
    assert EN.setting(value) == value


def test_what_is_refused_as_empty_may_be_a_row_of_a_table_too():
    assert [one.refusal("empty") for one in (EN, FR)] == ["empty", "vide"]
