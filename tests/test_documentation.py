"""What the documents say is true: reference pages, commands, settings, links, Python, and the README from end to end."""

import ast
import importlib
import importlib.util
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

import ouvroir
from ouvroir.cli import app
from ouvroir.media import TASKS, find_task
from ouvroir.recipe import Recipe

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
)
TOLD = [page for page in PAGES if "reference" not in page.parts and page.name != "CHANGELOG.md"]
OPERATORS = {"|", "&&", "||", ";", ">", ">>", "<"}
COMMAND_LINE = re.compile(r"^\s*(?:[A-Z_]+=\S+ +)*(?:ouvroir|torchrun)\b|\| *ouvroir\b")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)
every_told_page = pytest.mark.parametrize("page", TOLD, ids=name_of)


def blocks(page):
    """(language, text) of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def prose(page):
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def arguments_of(line):
    """The arguments of each `ouvroir` call in a line of shell, also of those that torchrun starts."""
    segments = [[]]
    for token in shlex.split(line, comments=True):
        if token in OPERATORS:
            segments.append([token] if token in {">", ">>", "<"} else [])
        else:
            segments[-1].append(token)
    for segment in segments:
        words = segment[next((at for at, word in enumerate(segment) if not re.match(r"[A-Z_]+=", word)), 0) :]
        if words[:1] == ["ouvroir"]:
            yield words[1:]
        elif words[:1] == ["torchrun"] and "ouvroir" in words:
            yield words[words.index("ouvroir") + 1 :]


def calls_in_blocks(page):
    for language, text in blocks(page):
        if not language:
            for line in filter(COMMAND_LINE.search, text.splitlines()):
                yield from arguments_of(line)


def calls_in_prose(page):
    for text in re.findall(r"`(ouvroir\s[^`]+)`", prose(page)):
        yield shlex.split(text.replace("\\|", "|"))[1:]


@dataclass
class Parsed:
    """A command and the words after its name."""

    command: object
    words: list


def find_command(words):
    """The command that `words` name, down to subcommands. Fails when there is none."""
    command = typer.main.get_command(app)
    rest = list(words)
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            raise AssertionError(f"`ouvroir {' '.join(words)}`: there is no command `{rest[0]}`")
        command = command.commands[rest.pop(0)]
    return Parsed(command, rest)


def options_of(command):
    return {spelled for param in command.params for spelled in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}


# --- reference pages --------------------------------------------------------------------------------------------------


def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["settings", "commands"])
def test_reference_pages_are_made_from_the_code(name):
    written = (ROOT / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")
    assert written == getattr(generator(), name)(), "Run `python docs/generate.py`."


def test_every_command_says_what_it_prints_as_json():
    told = (ROOT / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
    for name, command in typer.main.get_command(app).commands.items():
        if "--json" in options_of(command):
            assert f"`{name}`" in told, f"docs/reference/json.md does not speak of `{name}`"


# --- commands and settings --------------------------------------------------------------------------------------------


@every_told_page
def test_command_lines_parse(page):
    for words in calls_in_blocks(page):
        found = find_command(words)
        try:
            found.command.make_context("ouvroir", list(found.words))
        except typer.Exit:  # --help
            continue
        except typer.BadParameter.__mro__[1] as error:
            pytest.fail(f"`ouvroir {' '.join(words)}`: {error.format_message()}")


@every_told_page
def test_commands_in_sentences_exist(page):
    for words in calls_in_prose(page):
        found = find_command(words)
        for word in found.words:
            if word.startswith("-") and word != "-":
                assert word.partition("=")[0] in options_of(found.command), f"`ouvroir {' '.join(words)}`: no {word}"


@every_told_page
def test_settings_exist(page):
    recipes = [Recipe(task=task, options=find_task(task).Options()) for task in TASKS]
    known = {name for recipe in recipes for name, _, _ in recipe.settings()}
    text = page.read_text(encoding="utf-8")
    told = re.findall(r"--set\s+'?([a-z]+\.[a-z0-9_]+)", text)
    told += re.findall(r"`((?:data|model|optim|loop|constants|options)\.[a-z0-9_]+)`", text)
    assert set(told) - {"model.onnx", "model.pth", "model.safetensors"} <= known


# --- links and Python -------------------------------------------------------------------------------------------------


@every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(\s*([^)\s]+)\s*\)", prose(page)):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), f"{name_of(page)}: {target}"


@every_told_page
def test_python_compiles_and_names_what_there_is(page):
    for language, text in blocks(page):
        if language != "python":
            continue
        tree = ast.parse(text, filename=name_of(page))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ouvroir":
                assert node.attr in ouvroir.__all__, f"{name_of(page)}: ouvroir.{node.attr} is not public"
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "ouvroir":
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{name_of(page)}: {node.module} has no {alias.name}"


@every_told_page
def test_paths_in_the_text_exist(page):
    for path in re.findall(r"`((?:src|tests|docs|benchmarks)/[\w./-]+)`", prose(page)):
        assert (ROOT / path).exists(), f"{name_of(page)}: {path}"


def test_the_map_of_the_package_names_what_is_there():
    text = (ROOT / "docs" / "concepts" / "structure.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "ouvroir"
    drawn = text.partition("```")[2].partition("```")[0]
    told = set(re.findall(r"\b(\w+\.py)\b", drawn))
    there = {path.name for path in package.glob("*.py")} - {"__main__.py"}
    assert told == there
    for path in re.findall(r"`((?:media|data|training|evaluation)/[\w./]+\.py)`", text):
        assert (package / path).is_file(), path


# --- the two languages ------------------------------------------------------------------------------------------------


def without_comments(text):
    """The lines of a block, with what is to be filled in (<this repository>) left open."""
    lines = (re.sub(r"<[^>]*>", "<>", line) for line in text.splitlines() if line.strip())
    return [re.sub(r"\s+#.*", "", line) for line in lines]


def test_the_french_readme_follows_the_english_one():
    english, french = (ROOT / "README.md"), (ROOT / "README.fr.md")
    for (language, said), (langue, dit) in zip(blocks(english), blocks(french), strict=True):
        assert language == langue
        if "src/ouvroir/" not in said:  # the map is translated
            assert without_comments(said) == without_comments(dit)
    for pattern in (r"^#+ ", r"^\d\. ", r"^\| "):
        counts = [len(re.findall(pattern, prose(page), re.MULTILINE)) for page in (english, french)]
        assert counts[0] == counts[1], pattern
    links = [
        set(re.findall(r"\]\(([^)]+)\)", prose(page))) - {"README.md", "README.fr.md"} for page in (english, french)
    ]
    assert links[0] == links[1]
    english_calls = list(calls_in_prose(english))
    assert all(call in list(calls_in_prose(french)) for call in english_calls)


# --- from end to end --------------------------------------------------------------------------------------------------

SMALL = ["--preset", "tiny", "--set", "loop.steps=12", "--workers", "1"]


def draw_flowers(folder, labels, n_per_class, seed):
    """Small pictures: each class has its colour, and noise."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for place in range(n_per_class):
            pixels = rng.integers(0, 120, (16, 16, 3))
            pixels[4:12, 4:12, number] += 130
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{place}.png")


@pytest.fixture
def garden(tmp_path, monkeypatch):
    """A folder like the one of the README, and a home of its own for what is cached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    draw_flowers(tmp_path / "flowers", ["rose", "tulip"], 20, seed=0)
    draw_flowers(tmp_path / "more_flowers", ["rose", "tulip"], 4, seed=1)
    draw_flowers(tmp_path / "photos", ["unsorted"], 3, seed=2)
    (tmp_path / "new.jpg").write_bytes((tmp_path / "photos" / "unsorted" / "0.png").read_bytes())
    return tmp_path


def run(words, capsys):
    """Run a command in this process; returns what it printed. Fails unless its exit status is 0."""
    status = app(words, standalone_mode=False)
    printed = capsys.readouterr()
    assert not status, f"ouvroir {' '.join(words)}: {printed.err}"
    return printed.out


def quickly(words):
    """The call with minutes replaced by a few steps of a tiny model."""
    if "--minutes" in words:
        at = words.index("--minutes")
        words = [*words[:at], *words[at + 2 :], *SMALL]
    return words


def test_the_commands_of_the_readme_run_in_order(garden, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ouvroir"])
    page = ROOT / "README.md"
    printed = {words[0]: run(quickly(words), capsys) for words in calls_in_blocks(page)}
    assert set(printed) >= {"refine", "predict", "evaluate", "export", "refit"}
    assert "report.html" in printed["refine"]
    assert printed["predict"].startswith("input,label,score,error,rose,tulip\n")
    assert len(printed["predict"].splitlines()) == 1 + 3
    assert re.search(r"^accuracy .* 8$", printed["evaluate"], re.MULTILINE)
    assert "answers like the model" in printed["export"]
    assert "Trained on all 40 rows." in printed["refit"]

    (code,) = (text for language, text in blocks(page) if language == "python")
    small = 'preset="tiny", settings={"loop.steps": "12"}, workers=1'
    assert "minutes=10" in code
    exec(compile(code.replace("minutes=10", small), "README.md", "exec"), {})
    assert capsys.readouterr().out.strip() in {"rose", "tulip"}
