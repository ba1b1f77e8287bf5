"""What is told of an exported model to whoever uses it without Ouvroir: the Python that loads it, and README.md beside it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

Format = Literal["onnx", "pth", "hf", "gguf"]
FORMATS: dict[Format, str] = {
    "onnx": "a graph that needs no PyTorch",
    "pth": "a PyTorch state dict",
    "hf": "a folder for transformers",
    "gguf": "files for llama.cpp",
}
PAGE = "README.md"
_INSTALLED: dict[Format, str] = {
    "onnx": "numpy onnxruntime",
    "pth": "torch",
    "hf": "torch transformers",
    "gguf": "xllamacpp",
}


@dataclass(frozen=True)
class Loading:
    """How what was exported is loaded: lines of Python that can be pasted as they are, and sentences on other ways."""

    python: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Both, and where more is said, as Python."""
        return (*self.python, *(f"# {text}" for text in (*self.others, f"{PAGE} beside it says more.")))


def loading(to: Format, place: str, facts: Mapping[str, Any], sizes: Mapping[str, Sequence[int]], hf: str) -> Loading:
    """How what lies at `place` is loaded.

    `facts`: as in `export.json`; `sizes`: of an example of each input; `hf`: as of `ForHuggingFace.hf_load`.
    """
    if to == "onnx":
        return Loading(tuple(_asking(place, facts, sizes)))
    if to == "pth":
        python = ("import torch", "", f"weights = torch.load({place!r}, weights_only=True)  # by name")
        return Loading(
            python,
            ("`export.json` beside it says of which network; with Ouvroir, load the run or its final_model instead.",),
        )
    if to == "hf":
        return Loading(("import transformers", "", *hf.format(place=repr(place)).split("\n")))
    smallest = str(PurePath(place) / "model-q8_0.gguf")
    return Loading(
        (
            "import xllamacpp",
            "",
            "wanted = xllamacpp.CommonParams()",
            f"wanted.model.path = {smallest!r}",
            "server = xllamacpp.Server(wanted)",
            'answer = server.handle_completions({"prompt": "A beginning"})',
            'print(answer["choices"][0]["text"])',
        ),
        (
            f'On the command line, with llama.cpp: `llama-cli -m {shlex.quote(smallest)} -p "A beginning"`',
            "`model-f32.gguf` is exact, the others are smaller.",
        ),
    )


def _asking(place: str, facts: Mapping[str, Any], sizes: Mapping[str, Sequence[int]]) -> list[str]:
    """Python that asks a graph about inputs of ones."""
    made = [
        f"{name} = np.ones({tuple(sizes[name])}, dtype=np.{one['dtype']})  # {_shape(one)}: yours here"
        for name, one in facts["inputs"].items()
    ]
    given = ", ".join(f'"{name}": {name}' for name in facts["inputs"])
    outputs = list(facts["outputs"])
    names = ", ".join(outputs) if len(outputs) > 1 else f"({outputs[0]},)"
    return [
        "import numpy as np",
        "import onnxruntime",
        "",
        f"session = onnxruntime.InferenceSession({place!r})",
        *made,
        f"{names} = session.run(None, {{{given}}})",
    ]


def _inputs(facts: Mapping[str, Any]) -> list[str]:
    """Where what a graph is asked about comes from, and how files are answered for without making it."""
    names = [f"`{name}`" for name in facts["inputs"]]
    told = f"{', '.join(names[:-1])} and {names[-1]} are" if len(names) > 1 else f"{names[0]} is"
    return [
        "## From a file to the inputs",
        f"{told} made of a file, or of a text, by the processor of the model. That is a part of Ouvroir, and what it knows, "
        "such as sizes or pieces of words, lies in `processor/` of the folder `final_model` of the run. Neither is in this "
        "folder: what is written above shows only that the graph runs. About numbers that are made in another way it answers "
        "wrongly.",
        "Who has this folder alone cannot have files answered for. Ask for `final_model` of the same run, which holds the same "
        f"weights and makes the numbers itself, with Ouvroir {facts['ouvroir']} or a later one: "
        "`ouvroir predict final_model FILES` on the command line, or in Python",
        '```python\nimport ouvroir\n\nmodel = ouvroir.load("final_model")\n'
        'for answer in model.predict(["a_file", "another_file"]):\n    print(answer.error or answer.label, answer.scores)\n```',
    ]


def _shape(one: Mapping[str, Any]) -> str:
    return f"({', '.join(map(str, one['shape']))})"


def page(
    to: Format,
    facts: Mapping[str, Any],
    *,
    network: str,
    how: Loading,
    asked: Sequence[str] = (),
    context: int | None = None,
    checked: str,
) -> str:
    """The text of README.md: what it is, how it is loaded, what was checked.

    `network`: what the network is; `asked`: Markdown on how a graph is asked, with Python in place of that of `how`;
    `context`: over how many pieces of a text it looks back, where that is to be told; `checked`: what the gate found.
    """
    about = f"Made with Ouvroir {facts['ouvroir']}. The network is {network}."
    if facts["labels"]:
        about += f" `labels` in `export.json` are its {len(facts['labels'])} classes, in their order."
    blocks = [f"# A model for {facts['task']} as {FORMATS[to]}", about]
    if to == "onnx":
        rows = [
            f"| {kind} `{name}` | {_shape(one)} | {one['dtype']} |"
            for kind in ("input", "output")
            for name, one in facts[f"{kind}s"].items()
        ]
        blocks.append("\n".join(["| name | shape | dtype |", "|---|---|---|", *rows]))
    code = "\n".join(how.python)
    usual = [
        "## In Python",
        f"After `pip install {_INSTALLED[to]}`, from within this folder:",
        f"```python\n{code}\n```",
        *how.others,
    ]
    if to == "onnx" and not asked:
        usual += _inputs(facts)
    blocks += asked or usual
    if context is not None:
        exact = "`model-f32.gguf` writes" if to == "gguf" else "it writes"
        blocks.append(
            f"It looks back over {context} pieces of a text, those of the prompt among them (`context` in `export.json`). Where "
            f"the likeliest piece is always taken, up to there {exact} what `ouvroir generate --temperature 0` writes. Beyond, "
            "Ouvroir lets the window slide, and other programs stop, or go where the model has learned nothing."
        )
    blocks += [
        "## What was checked",
        checked,
        "`export.json` says the same for programs, and holds the settings that the model was trained with.",
    ]
    return "\n\n".join(blocks) + "\n"
