"""No English in the French report: every sentence that the code can say of files and settings has its French."""

import ast
import itertools
import re
import string
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from answers_made import single

import ouvroir
from ouvroir.data.manifest import Manifest
from ouvroir.evaluation.french import SENTENCES, in_french
from ouvroir.evaluation.french_synthesis import SENTENCES_OF_TRIALS
from ouvroir.evaluation.language import Language, unbroken
from ouvroir.evaluation.proof import UNTRIED
from ouvroir.evaluation.report import ReportInput, System, make_report, render
from ouvroir.evaluation.words import WORDS
from ouvroir.ground import too_few
from ouvroir.media import TASKS, find_task
from ouvroir.recipe import Recipe
from ouvroir.task import Row

PACKAGE = Path(ouvroir.__file__).parent
SOURCES = [
    PACKAGE / "source.py",
    PACKAGE / "containers.py",
    PACKAGE / "planning.py",
    PACKAGE / "workflow.py",
    PACKAGE / "making.py",
    *(PACKAGE / "data").glob("*.py"),
    *(PACKAGE / "media").rglob("*.py"),
    *(
        PACKAGE / f"{name}.py"
        for name in "arms trials trying verdicts ground assessing generating proving main_job judging".split()
    ),
    PACKAGE / "evaluation" / "proof.py",
]
OWN = [find_task(name).french for name in TASKS]
CATALOGUES = [SENTENCES, SENTENCES_OF_TRIALS, *OWN]
TEXT_PLACE = {
    "Note": 1,
    "Refused": 1,
    "Refusal": 2,
    "refuse": 2,
    "Untried": 0,
}  # which argument of a call is the sentence


@pytest.mark.parametrize("name", TASKS)
def test_what_the_constants_do_has_its_french(name):
    task, options = find_task(name), find_task(name).Options
    choices = {key: get_args(kind) for key, kind in get_type_hints(options).items() if get_origin(kind) is Literal}
    for values in itertools.product(*choices.values()):
        recipe = Recipe(task=name, options=options(**dict(zip(choices, values, strict=True))))
        for use in task.constants(recipe).values():
            assert in_french(use, task.french), use
        assert task.network(recipe)


def fields(text):
    return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]


def bare(text):
    """The sentence with every name in braces left empty, as in the source."""
    return "".join(
        literal + ("{}" if name is not None else "") for literal, name, _, _ in string.Formatter().parse(text)
    )


KNOWN = {bare(english) for catalogue in CATALOGUES for english in catalogue}


def texts(node, known, *, filled=False):
    """The sentences that an expression may be, holes as {}; none where it is passed on from elsewhere.

    With `filled`, a hole for a name of which the texts are known holds each of them.
    """
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        parts = [
            texts(part, {})
            if isinstance(part, ast.Constant)
            else (filled and isinstance(part.value, ast.Name) and texts(part.value, known)) or ["{}"]
            for part in node.values
        ]
        return ["".join(one) for one in itertools.product(*parts)]
    if isinstance(node, ast.BinOp):
        sides = [texts(side, known, filled=filled) or ["{}"] for side in (node.left, node.right)]
        return [left + right for left, right in itertools.product(*sides)]
    if isinstance(node, ast.IfExp):
        return texts(node.body, known, filled=filled) + texts(node.orelse, known, filled=filled)
    if isinstance(node, ast.Name):
        own = {name: values for name, values in known.items() if name != node.id}
        return [text for value in known.get(node.id, ()) for text in texts(value, own, filled=filled)]
    return []


def made(path):
    """(call or list, what each name was given) for every one in a function of the file."""
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef):
            known = {}
            for node in ast.walk(function):
                if isinstance(node, ast.Assign | ast.AugAssign):
                    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                        known.setdefault(getattr(target, "id", ""), []).append(node.value)
            yield from ((node, known) for node in ast.walk(function) if isinstance(node, ast.Call | ast.List))


def said():
    """(file, code, sentences, the same with their parts filled in) of every place that makes a note or a refusal."""
    for path in SOURCES:
        for node, known in made(path):
            place, code = None, None
            if isinstance(node, ast.List):  # as worker processes send it: [code, sentence]
                args, name = node.elts, "list"
                place = 1 if len(args) == 2 and f"code_{getattr(args[0], 'value', None)}" in WORDS else None
            else:
                args, name = node.args, getattr(node.func, "id", getattr(node.func, "attr", ""))
                place = TEXT_PLACE.get(name)
            if name == "append" and ast.unparse(node.func.value) in ("notes", "cut", "kept", "self.cut"):
                place = 0 if isinstance(args[0], ast.Constant | ast.JoinedStr) else None
            elif place and name != "Note" and len(args) > place:
                code = getattr(args[place - 1], "value", None)
            if place is not None and len(args) > place:
                found = [texts(args[place], known, filled=filled) for filled in (False, True)]
                written, filled = (tuple(dict.fromkeys(text.strip() for text in one if " " in text)) for one in found)
                if written:
                    yield path.name, code, written, filled


SAID = list(said())


def are_known(text):
    """Whether the text is one whole sentence of the catalogues, or several that follow one another.

    What is filled in as the first or the last sentence is one of its own.
    """
    rests = (text[len(one) + 1 :] for one in KNOWN if text.startswith(f"{one} "))
    is_known = text in KNOWN or any(rest == "{}" or are_known(rest) for rest in rests)
    return is_known or (text.startswith("{} ") and are_known(text[3:]))


def test_the_source_was_read():
    assert len(SAID) > 60
    files = "decode findings labels listing planning relations source containers workers"
    assert {f"{name}.py" for name in files.split()} <= {file for file, *_ in SAID}


@pytest.mark.parametrize("one", SAID, ids=lambda one: f"{one[0]}-{one[2][0][:30]}")
def test_every_note_and_refusal_of_the_source_has_its_french(one):
    _, code, written, filled = one
    unknown = [text for text in written if not are_known(text)]
    if unknown:  # it may have a part that is one of several texts of ours
        unknown = [text for text in filled if not are_known(text)]
    assert not unknown, "add it to evaluation/french.py"
    assert not isinstance(code, str) or f"code_{code}" in WORDS or code.startswith("too_many_")


def test_every_sentence_with_french_is_said_somewhere():
    everything = {text for _, _, written, filled in SAID for text in (*written, *filled)}
    for path in {*SOURCES, PACKAGE / "files.py"}:
        if path.name != "french.py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                everything |= {text.strip() for text in texts(node, {})}
    for name in TASKS:
        everything |= {text for _, _, text in Recipe(task=name, options=find_task(name).Options()).settings()}
    everything.add(UNTRIED)
    everything |= {text.removeprefix("{} ").removesuffix(" {}") for text in everything}
    assert sorted(one for one in KNOWN if one.removeprefix("{} ") not in everything) == []


@pytest.mark.parametrize("name", TASKS)
def test_every_setting_has_its_french(name):
    task = find_task(name)
    for setting, _, text in Recipe(task=name, options=task.Options()).settings():
        assert in_french(text, task.french), setting


@pytest.mark.parametrize("catalogue", CATALOGUES)
def test_french_fills_in_nothing_that_english_lacks(catalogue):
    for english, french in catalogue.items():
        assert set(fields(french)) <= set(fields(english)), english
        assert "'" not in re.sub(r"`[^`]*`", "", french), f"French takes the typographic apostrophe here: {french}"


@pytest.mark.parametrize(
    ("english", "french"),
    [
        (
            "Classes are uneven: `t-shirt` has 76 rows to learn from, `hat` 11. If the rare ones matter as much, let them "
            "count as much.",
            "Les classes sont inégales : `t-shirt` a 76 éléments d’entraînement, `hat` en a 11. Si les rares importent "
            "autant, faites-les compter autant.",
        ),
        (
            "`labels.csv` was read: paths from `path`, labels from `label`.",
            "`labels.csv` a été lu : chemins dans `path`, étiquettes dans `label`.",
        ),
        (
            "6 files repeat the content of another, e.g. `a and b.png` that of `c.png`. They are kept in one split; in "
            "validation and test each content is judged once.",
            "6 fichiers répètent le contenu d’un autre, par exemple `a and b.png` celui de `c.png`. Ils restent dans un "
            "même jeu ; en validation et en test, chaque contenu n’est évalué qu’une fois.",
        ),
        ("Fewer than 10 rows: `a` 2, `b` 3 and 4 more. What is measured on them is uncertain.", None),
        ("The name of `x` is not UTF-8. Rename the file.", "Le nom de `x` n’est pas en UTF-8. Renommez le fichier."),
        ("The name of `x` contains `::`. Rename the file.", "Le nom de `x` contient `::`. Renommez le fichier."),
        ("`x` is a link that leads nowhere.", "`x` est un lien qui ne mène nulle part."),
        ("`x` could not be looked at: No such file.", "`x` n’a pas pu être examiné."),
        (
            "Seed of the splits. Peak learning rate.",
            "Graine du tirage des jeux. Taux d’apprentissage maximal.",
        ),
        ("Nobody has ever said this.", ""),
    ],
)
def test_sentences_are_known_by_their_form(english, french):
    found = in_french(english)
    if french is None:
        assert found
        assert " more" not in found
        assert "et 4 de plus" in found
    else:
        assert (found or "").replace("\u202f", " ") == french
        assert not re.search(r" [:;?!»]", found or "")  # a line does not end before these


def test_pictures_speak_french_too():
    own = find_task("image-classification").french
    assert in_french("`a.png` is 2x3 pixels; its longer side needs 8.", own) == (
        "`a.png` mesure 2 × 3 pixels\u202f; son grand côté doit en avoir 8."
    )
    kind = (
        "These look like photographs: mirrored left to right, turned, cropped and recoloured in training. "
        "If a mirrored picture would be another class, switch it off."
    )
    assert (in_french(kind, own) or "").endswith("désactivez le miroir.")


def test_what_has_no_french_is_told_by_its_code():
    data = {
        "found": 3, "admitted": 1, "refused": 2, "refused_by_code": {"damaged": 1, "bitten_by_dog": 1},
        "refusals": [
            {"id": "a", "code": "damaged", "reason": "`a` was chewed."},
            {"id": "b", "code": "bitten_by_dog", "reason": "`b` was bitten."},
        ],
        "notes": [{"code": "odd", "text": "A dog was seen.", "proposal": {}}],
    }  # fmt: skip
    source = ReportInput(
        name="n",
        task="t",
        data=data,
        systems=[System(name="m", role="base", answers=single(120))],
        settings=[("options.dog", "1", "How many dogs.")],
    )
    report = make_report(source)
    french, english = render(report, "fr"), render(report)
    for text in ("was chewed", "was bitten", "A dog was seen", "How many dogs", "bitten by dog"):
        assert text not in french
        assert text in english
    assert "Endommagé. Le rapport en anglais dit que faire" in french
    assert "Autre raison." in french
    assert Language("fr")("notes_elsewhere").replace("`", "")[:20] in french


def test_why_nothing_was_tried_has_french():
    anew = (
        "Delete runs/x/generator, and `ouvroir prove runs/x --minutes N` trains another one, longer with more minutes."
    )
    diverged = "The generator diverged: its loss became NaN or infinite."
    known = in_french(f"Synthetic data were not tried. {diverged} {anew}")
    assert "Supprimez runs/x/generator" in known
    assert in_french("Synthetic data were not tried. The moon was full.") is None
    told = in_french(
        "Synthetic data were not tried. 3 of 72 samples were kept, which is too few to try. /a b/refused.jsonl says why the "
        f"others were refused. {anew}"
    )
    assert "3 éléments sur 72" in told
    rows = tuple(Row(f"{n}.png", "", str(n), "a", split="test" if n < 6 else "train") for n in range(140))
    for some, has_way in ((rows, True), (rows[:30], False)):
        told = in_french(f"Synthetic data were not tried. {too_few(Manifest('', '', 't', some))}")
        assert "Éléments indépendants du jeu de test\u202f: 6." in told
        assert ("data.test=0.4" in told) == has_way
        assert ("250 éléments indépendants en tout" in told) == (not has_way)


@pytest.mark.parametrize("own", [None, *OWN], ids=["shared", *TASKS])
def test_each_sentence_is_put_into_its_own_french(own):
    """And not into that of another one, which would match too."""
    for english, french in (SENTENCES if own is None else own).items():
        names = dict.fromkeys(fields(english), "7")
        assert in_french(english.format(**names), own) == unbroken(french).format(**names), english


def test_every_reason_to_refuse_stands_in_the_guide():
    guide = (PACKAGE.parent.parent / "docs" / "guides" / "prepare-your-data.md").read_text(encoding="utf-8")
    codes = {code for _, code, _, _ in SAID if isinstance(code, str)}
    assert len(codes) > 20
    assert sorted(code for code in codes if f"`{code}`" not in guide) == []


def test_a_document_that_is_no_plain_text_is_told_in_french_with_what_to_do():
    from ouvroir.data.candidates import not_of_a_kind

    told = in_french(not_of_a_kind("a.docx", ".docx", "text-generation"), find_task("text-generation").french)
    assert told.endswith("Enregistrez-le comme texte brut (.txt), en UTF-8.")


def test_counts_of_thousands_are_known_and_written_in_french():
    told = in_french(
        "Long files are cut at the ends of lines. Files: 3; blocks: 12,345, each a row. "
        "Blocks that lie side by side stay in one split, up to 1,000 at a time, so that few passages are on both sides of a border."
    )
    assert "Fichiers\u202f: 3\u202f; blocs\u202f: 12\u202f345, qui" in told
    assert "par suites de 1\u202f000 au plus" in told
