"""The notebooks: .py and .ipynb say the same, in two languages and of no machine; and each runs from end to end."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]_*.py"))
MOST_BYTES = 400_000
OF_A_MACHINE = re.compile(r"/(?:home|root|Users|work|opt|mnt|tmp)/|\b[A-Z]:\\\\")

every_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def cells_of(source, kind):
    """The texts of the cells of one kind, and all that these cells put out, as JSON."""
    notebook = json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))
    chosen = [cell for cell in notebook["cells"] if cell["cell_type"] == kind]
    return ["".join(cell["source"]) for cell in chosen], [cell.get("outputs", []) for cell in chosen]


def pictures(outputs):
    return [one for one in outputs if "image/png" in one.get("data", {})]


def test_there_are_three():
    assert [source.stem for source in SOURCES] == ["1_digits", "2_lstm_bpe", "3_transformer"]


@every_notebook
def test_both_files_say_the_same(source):
    jupytext = pytest.importorskip("jupytext")
    edited, shown = jupytext.read(source), jupytext.read(source.with_suffix(".ipynb"))
    assert [(cell.cell_type, cell.source) for cell in shown.cells] == [
        (cell.cell_type, cell.source) for cell in edited.cells
    ], "Run `make notebooks`."


@every_notebook
def test_it_is_kept_with_small_results(source):
    texts, outputs = cells_of(source, "code")
    assert source.with_suffix(".ipynb").stat().st_size < MOST_BYTES
    assert len(pictures([one for some in outputs for one in some])) >= 2
    assert not [one for some in outputs for one in some if one["output_type"] == "error" or one.get("name") == "stderr"]
    assert len(texts) >= 8


@every_notebook
def test_every_text_is_in_two_languages(source):
    texts, _ = cells_of(source, "markdown")
    for text in texts:
        english = [line for line in text.splitlines() if not line.startswith((">", "#")) and line.strip()]
        french = [line for line in text.splitlines() if line.startswith("> ")]
        assert english, text
        assert french, text
        said = re.sub(r"`[^`]*`", "", " ".join(french))
        assert re.search(r"[éèàêçœ’]", said), text
        assert not re.search(r" [:;!?%»]|« ", said), f"a blank that may break, in: {text}"


@every_notebook
def test_it_names_no_machine(source):
    for file in (source, source.with_suffix(".ipynb")):
        told = re.sub(r'"image/png": "[^"]*"', "", file.read_text(encoding="utf-8"))
        assert not OF_A_MACHINE.search(told), OF_A_MACHINE.search(told)


@every_notebook
def test_it_uses_what_is_public(source):
    import ouvroir

    text = source.read_text(encoding="utf-8")
    assert not re.search(r"^\s*(?:from ouvroir|import ouvroir\.)", text, re.MULTILINE)
    assert set(re.findall(r"\bouvroir\.(\w+)\(", text)) <= set(ouvroir.__all__)


@pytest.mark.slow
@every_notebook
def test_it_runs_to_the_end(source, tmp_path, monkeypatch):
    for name in ("jupytext", "nbclient", "ipykernel", "matplotlib", "sentencepiece"):
        pytest.importorskip(name)
    for variable in ("HOME", "TMPDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.delenv("OUVROIR_HOME", raising=False)
    before = sorted(FOLDER.iterdir())
    spec = importlib.util.spec_from_file_location("notebooks_make", FOLDER / "make.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)

    notebook = made.run(source)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert pictures([one for cell in code for one in cell.outputs])
    assert sorted(path for path in FOLDER.iterdir() if path.name != "__pycache__") == [
        path for path in before if path.name != "__pycache__"
    ]
    assert not list((tmp_path / "HOME").rglob("ouvroir*")), "it wrote into the cache of the person"
