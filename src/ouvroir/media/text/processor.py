"""TextProcessor: the fixed work on one text, the same in training and serving, saved in every checkpoint."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np

from ouvroir.errors import RunError
from ouvroir.files import write_bytes, write_json
from ouvroir.media.text.reading import DECODING, text_of
from ouvroir.media.text.tokens import UNKNOWN, Tokenizer
from ouvroir.source import Source
from ouvroir.task import Example, Field, Limits

FILE_NAME, PIECES = "text_processor.json", "pieces.model"
ENCODING = 2  # raise when `encode` gives other numbers for the same settings
N_BUCKETS = 2**16
"""Of hashed n-grams; number 0 is none."""
MOST_GRAMS = 8192  # of one text
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, kw_only=True)
class TextProcessor:
    """Cuts a text into pieces of words, and into n-grams of words and characters, both as numbers.

    `labels` are the class names in the order of the model's outputs. Of a text of more than `max_pieces` pieces the first three
    quarters of these and the last ones are kept: what a text is about mostly stands at both of its ends.
    """

    labels: tuple[str, ...] = ()
    is_multi_label: bool = False
    tokenizer: Tokenizer
    max_pieces: int

    def fields(self) -> dict[str, Field]:
        """`pieces` int32; `grams` int32, those that occur, and `gram_counts` uint8, how often. As many as the text has."""
        return {
            "pieces": Field("int32", (None,)),
            "grams": Field("int32", (None,)),
            "gram_counts": Field("uint8", (None,)),
        }

    def encode(self, source: Source, limits: Limits) -> Example:
        """Read, decode, cut. Raises Refused."""
        text, _ = text_of(source, limits)
        numbers = self.tokenizer.encode(text)
        if not len(numbers):
            numbers = np.array([UNKNOWN], dtype=np.int32)
        if len(numbers) > self.max_pieces:
            first = self.max_pieces * 3 // 4
            numbers = np.concatenate([numbers[:first], numbers[first - self.max_pieces :]])
        found, counts = grams(text)
        return {"pieces": numbers, "grams": found, "gram_counts": counts}

    def to_answer(self) -> Self:
        """Itself: it is the same in learning and answering."""
        return self

    def storage_fingerprint(self) -> str:
        """A hash of the pieces and what is kept; labels do not change what is stored."""
        stored = [ENCODING, DECODING, self.max_pieces, N_BUCKETS, MOST_GRAMS]
        return hashlib.sha256(json.dumps(stored).encode() + self.tokenizer.model).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `text_processor.json` and `pieces.model` into `folder`."""
        write_bytes(folder / PIECES, self.tokenizer.model)
        write_json(
            folder / FILE_NAME,
            {
                "encoding": ENCODING,
                "labels": self.labels,
                "is_multi_label": self.is_multi_label,
                "max_pieces": self.max_pieces,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> TextProcessor:
        """Read what `save` wrote. Raises RunError."""
        try:
            value = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            encoding = value.pop("encoding")
            tokenizer = Tokenizer("bpe", (folder / PIECES).read_bytes())
            found = cls(**{**value, "labels": tuple(value["labels"])}, tokenizer=tokenizer)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"The text processor in `{folder}` could not be read: {error}.") from error
        require_encoding(encoding, ENCODING, folder)
        return found

    def with_labels(self, labels: tuple[str, ...]) -> TextProcessor:
        """A copy for other classes; what is stored does not change."""
        return replace(self, labels=labels)


def require_encoding(theirs: int, ours: int, folder: Path) -> None:
    """Raise RunError where texts were turned into numbers otherwise than they are now."""
    if theirs != ours:
        raise RunError(
            f"The model in `{folder.parent}` is of a version of Ouvroir that turns texts into numbers in another way "
            f"({theirs} there, {ours} here), so it would not see what it learned from. Use that version, or train again."
        )


def grams(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The different n-grams of a text, (N,) int32 in 1 to N_BUCKETS - 1 and ascending, and how often each occurs, (N,) uint8.

    N-grams are words, pairs of words, and runs of 3 to 5 characters within words (Bojanowski 2016, arXiv 1607.04606), in small
    letters, hashed.
    """
    words = _WORD.findall(text.casefold())
    names = [f"w {word}" for word in words]
    names += [f"b {first} {second}" for first, second in pairwise(words)]
    for word in words:
        framed = f"<{word}>"
        names += [framed[at : at + n] for n in (3, 4, 5) for at in range(len(framed) - n + 1)]
    hashed = [zlib.crc32(name.encode("utf-8", errors="surrogatepass")) % (N_BUCKETS - 1) + 1 for name in names]
    found, counts = np.unique(np.array(hashed or [1], dtype=np.int32), return_counts=True)
    if len(found) > MOST_GRAMS:  # of a very long text those that occur most often
        kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_GRAMS])
        found, counts = found[kept], counts[kept]
    return found.astype(np.int32), np.minimum(counts, 255).astype(np.uint8)
