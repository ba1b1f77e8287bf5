"""What whoever runs an exported language model without Ouvroir needs beside it: its tokenizer, and how numbers are made.

Axes: V numbers that there are, K classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouvroir.files import write_bytes, write_json
from ouvroir.media.text import tokens

if TYPE_CHECKING:
    from ouvroir.media.text.corpus import CorpusProcessor

SENTENCEPIECE, CHARACTERS = "tokenizer.model", "characters.json"
_FIRST_LEARNED = tokens.FIRST_BYTE + tokens.N_BYTES


def facts(processor: CorpusProcessor) -> dict[str, Any]:
    """Plain values on the numbers of an exported network: what goes in, what comes out, what they stand for."""
    n = processor.tokenizer.n
    shape = {"dtype": "float32", "shape": ["batch", "n_pieces", n]}
    return {
        "outputs": {"logits": shape, "probabilities": shape},
        "n_numbers": n,
        "context": processor.context,
        "numbers": {
            "nothing": tokens.NOTHING,
            "unknown": tokens.UNKNOWN,
            "begin": tokens.BEGIN,
            "end": tokens.END,
            "byte 0": tokens.FIRST_BYTE,
        },
        "tokenizer": processor.tokenizer.kind,
    }


def write_beside(processor: CorpusProcessor, folder: Path) -> dict[str, Any]:
    """Write the tokenizer into the folder of an export. Returns what is told of it in `export.json`."""
    tokenizer = processor.tokenizer
    if tokenizer.kind == "bpe":
        write_bytes(folder / SENTENCEPIECE, tokenizer.model)
    else:
        value = {
            "kind": tokenizer.kind,
            "byte 0": tokens.FIRST_BYTE,
            "first character": _FIRST_LEARNED,
            "characters": tokenizer.model.decode("utf-8", errors="surrogatepass"),
        }
        write_json(folder / CHARACTERS, value)
    return {
        "tokenizer_file": SENTENCEPIECE if tokenizer.kind == "bpe" else CHARACTERS,
        "how": [*_steps(processor), *_answer(processor)],
    }


def _steps(processor: CorpusProcessor) -> list[str]:
    """How a text becomes numbers, as sentences."""
    last = _FIRST_LEARNED - 1
    found = ["A text is put into NFC, with \\n for the end of each line."]
    if processor.tokenizer.kind == "bpe":
        found.append(
            f"SentencePiece cuts it with {SENTENCEPIECE}, without further options. In that file U+2581 stands for a blank: where a "
            "text itself holds that sign, the numbers of its three bytes stand for it instead."
        )
        found.append(
            f"What there is no piece for is spelled in the bytes of UTF-8, which are {tokens.FIRST_BYTE} to {last}."
        )
    elif processor.tokenizer.kind == "characters":
        found.append(
            f"Each character is {_FIRST_LEARNED} and its place in `characters` of {CHARACTERS}, the first place being 0. What is "
            f"not there is spelled in the bytes of UTF-8, byte 0 being {tokens.FIRST_BYTE}."
        )
    else:
        found.append(f"Each byte of it in UTF-8 is that byte and {tokens.FIRST_BYTE}.")
    found.append(f"{tokens.BEGIN}, the beginning of a text, stands before the first of them.")
    return found


def _answer(processor: CorpusProcessor) -> list[str]:
    """How the network is asked, and what its answer means, as sentences."""
    found = [
        "`pieces` holds the numbers of one text in each row; shorter ones are filled up with "
        f"{tokens.NOTHING} at the end. The outputs at a place tell what comes after it.",
        "Nothing is remembered from one call to the next: to write on, add the number that was chosen and give all of them again.",
        f"{tokens.END} is the end of a text. {tokens.NOTHING} and {tokens.UNKNOWN} are never to be chosen.",
        f"It learned from stretches of {processor.context} pieces.",
    ]
    if processor.labels:
        names = ", ".join(f"`{name}`" for name in processor.labels)
        found.append(
            f"`labels` holds a weight for each class, in the order {names}, and last that of no class: 1 for the one that is "
            "meant, 0 for the others."
        )
    return found


def page_blocks(processor: CorpusProcessor) -> list[str]:
    """Of README.md beside a graph what is of texts alone: how one becomes numbers, what comes of them, and Python that asks."""
    return [
        "## From a text to numbers",
        "\n".join(f"- {one}" for one in _steps(processor)),
        "## From numbers to what comes next",
        "\n".join(f"- {one}" for one in _answer(processor)),
        "## In Python",
        "The likeliest next piece, after `pip install numpy onnxruntime"
        + (" sentencepiece`" if processor.tokenizer.kind == "bpe" else "`")
        + ", from within this folder:",
        f"```python\n{_code(processor)}\n```",
    ]


def _code(processor: CorpusProcessor) -> str:
    """Python that asks the graph for the piece after a beginning."""
    feed = '{"pieces": np.array([numbers], dtype=np.int64)'
    if processor.labels:
        weights = [1.0, *[0.0] * len(processor.labels)]
        feed += f', "labels": np.array([{weights}], dtype=np.float32)'
    read = {
        "bpe": (
            ["import unicodedata"],
            ["import sentencepiece"],
            [f'tokenizer = sentencepiece.SentencePieceProcessor(model_file="{SENTENCEPIECE}")'],
            "tokenizer.encode(text)",
            "tokenizer.decode([number])",
        ),
        "characters": (
            ["import json", "import unicodedata", "from pathlib import Path"],
            [],
            [
                f'characters = json.loads(Path("{CHARACTERS}").read_text(encoding="utf-8"))["characters"]',
                f"known = {{one: {_FIRST_LEARNED} + place for place, one in enumerate(characters)}}",
            ],
            f"(n for one in text for n in ([known[one]] if one in known else [{tokens.FIRST_BYTE} + b for b in one.encode()]))",
            f"characters[number - {_FIRST_LEARNED}] if number >= {_FIRST_LEARNED} else bytes([number - {tokens.FIRST_BYTE}])",
        ),
        "bytes": (
            ["import unicodedata"],
            [],
            [],
            f"({tokens.FIRST_BYTE} + byte for byte in text.encode())",
            f"bytes([number - {tokens.FIRST_BYTE}])",
        ),
    }
    imports, others, opened, encoded, decoded = read[processor.tokenizer.kind]
    return "\n".join(
        [
            *imports,
            "",
            "import numpy as np",
            "import onnxruntime",
            *others,
            "",
            'session = onnxruntime.InferenceSession("model.onnx")',
            *opened,
            'text = unicodedata.normalize("NFC", "A beginning")',
            f"numbers = [{tokens.BEGIN}, *{encoded}]",
            f"logits, probabilities = session.run(None, {feed}}})",
            f"number = {tokens.END} + int(probabilities[0, -1, {tokens.END}:].argmax())",
            f'print("the end" if number == {tokens.END} else {decoded})',
        ]
    )
