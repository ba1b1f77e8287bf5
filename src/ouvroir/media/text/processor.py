"""TextProcessor: the fixed work on one text, the same in training and serving, saved in every checkpoint."""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ouvroir.errors import RunError
from ouvroir.files import read_json_object, write_bytes, write_json
from ouvroir.media.text import tokens
from ouvroir.media.text.reading import DECODING, text_of
from ouvroir.task import Example, Field, Limits, Source

FILE_NAME, PIECES = "text_processor.json", "pieces.model"
ENCODING = 1  # raise when `encode` gives other numbers for the same settings
N_BUCKETS = 2**16
"""Of hashed n-grams; number 0 is none."""
MOST_GRAMS = 4096  # of one text
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, kw_only=True)
class TextProcessor:
    """Cuts a text into pieces of words, and into n-grams of words and characters, both as numbers.

    `labels` are the class names in the order of the model's outputs; `pieces` is SentencePiece's model; of a longer text the
    first and the last of `max_pieces` pieces are kept.
    """

    labels: tuple[str, ...] = ()
    is_multi_label: bool = False
    pieces: bytes
    max_pieces: int

    def fields(self) -> dict[str, Field]:
        """`pieces` and `grams`: int32, as many as the text has."""
        return {"pieces": Field("int32", (None,)), "grams": Field("int32", (None,))}

    def encode(self, source: Source, limits: Limits) -> Example:
        """Read, decode, cut. Raises Refused."""
        text, _ = text_of(source, limits)
        numbers = tokens.encode(self.pieces, text) or [tokens.UNKNOWN]
        if len(numbers) > self.max_pieces:  # what a text is about stands at its beginning and its end
            first = self.max_pieces * 3 // 4
            numbers = numbers[:first] + numbers[first - self.max_pieces :]
        return {"pieces": np.array(numbers, dtype=np.int32), "grams": grams(text)}

    def storage_fingerprint(self) -> str:
        """A hash of the pieces and the length; labels do not change what is stored."""
        stored = f"{ENCODING} {DECODING} {self.max_pieces} {N_BUCKETS} {hashlib.sha256(self.pieces).hexdigest()}"
        return hashlib.sha256(stored.encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `text_processor.json` and `pieces.model` into `folder`."""
        write_bytes(folder / PIECES, self.pieces)
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
            value = read_json_object(folder / FILE_NAME)
            encoding = value.pop("encoding")
            pieces = (folder / PIECES).read_bytes()
            found = cls(**{**value, "labels": tuple(value["labels"])}, pieces=pieces)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"The text processor in `{folder}` could not be read: {error}.") from error
        if encoding != ENCODING:
            raise RunError(
                f"The model in `{folder.parent}` is of a version of Ouvroir that turns texts into numbers in another way "
                f"({encoding} there, {ENCODING} here), so it would not see what it learned from. Use that version, or train again."
            )
        return found

    def with_labels(self, labels: tuple[str, ...]) -> TextProcessor:
        """A copy for other classes; what is stored does not change."""
        return replace(self, labels=labels)


def grams(text: str) -> np.ndarray:
    """(n,) int32 in 1 to N_BUCKETS - 1: hashed words, pairs of words, and runs of 3 to 5 characters within words.

    Joulin 2016, arXiv 1607.01759; Bojanowski 2016, arXiv 1607.04606. Small letters; each as often as it occurs.
    """
    words = _WORD.findall(text.casefold())
    names = [f"w {word}" for word in words]
    names += [f"b {first} {second}" for first, second in zip(words, words[1:], strict=False)]
    for word in words:
        framed = f"<{word}>"
        names += [framed[at : at + n] for n in (3, 4, 5) for at in range(len(framed) - n + 1)]
    found = [zlib.crc32(name.encode("utf-8", errors="surrogatepass")) % (N_BUCKETS - 1) + 1 for name in names[:MOST_GRAMS]]
    return np.array(found or [1], dtype=np.int32)
