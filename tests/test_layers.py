"""The shape of the package: who may import whom, and that shared code knows no medium."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ouvroir
from ouvroir.media import TASKS

PACKAGE = Path(ouvroir.__file__).parent
BLIND = tuple(
    "data training evaluation synthesis serving api planning single_job unseen judging comparing workflow main_job reporting "
    "forecast estimate "
    "generating arms ground verdicts trials trying assessing admitting proving "
    "options bundle card predictor streaming replay exporting export_page onnx_graph cache run files rng memory system "
    "classification baselines making usual layers flow windows source records row_groups writing".split()
)
HEAVY = {
    "torch",
    "numpy",
    "PIL",
    "sklearn",
    "transformers",
    "matplotlib",
    "pyarrow",
    "jinja2",
    "scipy",
    "onnx",
    "tensorboard",
}

# Each layer may import itself and those before it.
LAYERS = [
    {
        "errors",
        "system",
        "memory",
        "starting",
        "files",
        "hashes",
        "constants",
        "progress",
        "source",
        "records",
        "row_groups",
        "task",
        "recipe",
        "run",
        "rng",
        "options",
        "sampling",
    },
    {
        "data",
        "training",
        "evaluation",
        "synthesis",
        "classification",
        "baselines",
        "making",
        "usual",
        "layers",
        "windows",
        "flow",
        "containers",
        "writing",
        "evaluation_names",
    },
    {
        "api",
        "planning",
        "single_job",
        "unseen",
        "judging",
        "comparing",
        "workflow",
        "main_job",
        "estimate",
        "forecast",
        "generating",
        "arms",
        "ground",
        "verdicts",
        "trials",
        "trying",
        "assessing",
        "admitting",
        "proving",
        "reporting",
        "predictor",
        "streaming",
        "bundle",
        "card",
        "replay",
        "exporting",
        "export_page",
        "onnx_graph",
        "doctor",
        "cache",
        "testing",
        "testing_makers",
    },
    {"chat", "sentiment"},
    {"cli", "summaries", "terminal", "serving", "__main__"},
    {"studio"},
]
# what media may use beside itself
MEDIA_MAY_USE = LAYERS[0] | {
    "data",
    "classification",
    "baselines",
    "making",
    "usual",
    "layers",
    "flow",
    "windows",
    "containers",
}
MEDIA_MAY_ALSO_USE = {"ouvroir.evaluation.metrics"}
SIBLING_READERS = {"image_text": {"image", "text"}}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts)


def part_of(path):
    """`data` for data/pack.py, `run` for run.py, `` for __init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imports_of(path):
    """Full names of the package's modules that a module imports, without those for type checking only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "ouvroir")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports from the top of the package"
            if node.module == "ouvroir":
                yield from (f"ouvroir.{alias.name}" for alias in node.names)
            elif node.module and node.module.startswith("ouvroir."):
                yield node.module


def layer_of(part):
    for place, layer in enumerate(LAYERS):
        if part in layer:
            return place
    return None


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_downwards(path):
    part = part_of(path)
    if part in ("", "media"):
        return
    mine = layer_of(part)
    assert mine is not None, f"{path.name} is in no layer: give it a place in tests/test_layers.py"
    for name in imports_of(path):
        other = name.split(".")[1] if "." in name else ""
        if other in ("", "__version__"):
            continue
        if other == "media":
            allowed = name == "ouvroir.media" or part == "testing"
            assert allowed, f"{path} imports {name}: only the registry may be asked for a task"
            continue
        theirs = layer_of(other)
        assert theirs is not None, f"{path} imports {name}, which is in no layer"
        assert theirs <= mine, f"{path} imports {name}, which lies above it"


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "media").glob("*/*.py")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_media_use_shared_code_and_not_each_other(path):
    medium = path.parent.name
    for name in imports_of(path):
        other = name.split(".")[1] if "." in name else ""
        if other == "media":
            sibling = name.split(".")[2] if name.count(".") > 1 else medium
            assert sibling in {medium, *SIBLING_READERS.get(medium, ())}, f"{path} imports {name}"
        else:
            assert other in MEDIA_MAY_USE or name in MEDIA_MAY_ALSO_USE or other == "", f"{path} imports {name}"


@pytest.mark.parametrize("part", BLIND)
def test_shared_code_names_no_medium(part):
    classes = "|".join(entry.target.partition(":")[2] for entry in TASKS.values())
    forbidden = re.compile(
        rf"image|audio|video|spectrogram|pixel|{'|'.join(map(re.escape, TASKS))}|{classes}", re.IGNORECASE
    )
    paths = [PACKAGE / f"{part}.py", *(PACKAGE / part).rglob("*.py")]
    for path in paths:
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found = forbidden.search(line)
            assert not found, f"{path}:{number} names a medium ({found[0]}): {line.strip()}"


def loaded_by(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy():
    loaded = loaded_by("import ouvroir")
    assert "ouvroir" in loaded
    assert not loaded & HEAVY


def test_help_loads_nothing_heavy():
    code = "import ouvroir.cli\nsys.argv = ['ouvroir', '--help']\n"
    code += "try:\n    ouvroir.cli.main()\nexcept SystemExit as end:\n    assert not end.code"
    assert not loaded_by(code) & HEAVY


@pytest.mark.parametrize("module", ["doctor", "cache", "predictor", "bundle", "exporting", "api", "media", "task"])
def test_what_the_command_line_imports_loads_nothing_heavy(module):
    assert not loaded_by(f"import ouvroir.{module}") & HEAVY


def test_workers_need_no_torch():
    for entry in TASKS.values():
        module = entry.target.partition(":")[0]
        assert "torch" not in loaded_by(f"import {module}"), f"{module} loads torch, which every worker would then do"


def test_no_junk_drawers():
    names = {path.stem for path in modules()}
    assert not names & {"utils", "util", "common", "helpers", "misc"}


def test_a_verb_stays_a_function_when_its_module_is_loaded():
    code = "import importlib, ouvroir, pathlib\n"
    code += "names = [path.stem for path in pathlib.Path(ouvroir.__file__).parent.glob('*.py')]\n"
    code += "[importlib.import_module(f'ouvroir.{name}') for name in names if name in ouvroir.__all__]\n"
    code += "assert not any(isinstance(getattr(ouvroir, name), type(ouvroir)) for name in ouvroir.__all__)"
    loaded_by(code)
