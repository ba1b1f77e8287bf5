"""Runs the notebooks and writes the .ipynb files, with their outputs, from the .py files beside them.

    python notebooks/make.py            # all; or the names of some

The .py files are what is edited (jupytext, percent format). What a library prints on standard error is left out, as are numbers
that are others each time.
"""

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
LONGEST_S = 600  # of one cell


def run(source: Path) -> nbformat.NotebookNode:
    """The notebook of a .py file with its outputs. Raises CellExecutionError where a cell fails."""
    notebook = jupytext.read(source)
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place}"
    at = {"metadata": {"path": source.parent}}
    NotebookClient(notebook, timeout=LONGEST_S, kernel_name="python3", resources=at, coalesce_streams=True).execute()
    return notebook


def tidied(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without times and versions."""
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def main(names: list[str]) -> None:
    """Make the notebooks of these names, or all."""
    for source in [HERE / f"{name}.py" for name in names] or sorted(HERE.glob("[0-9]_*.py")):
        nbformat.write(tidied(run(source)), source.with_suffix(".ipynb"))
        print(source.with_suffix(".ipynb").name)


if __name__ == "__main__":
    main(sys.argv[1:])
