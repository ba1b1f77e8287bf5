"""CorpusProcessor: the fixed work on a text to write like, saved in every checkpoint; and the windows that it is told in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from ouvroir.errors import RunError
from ouvroir.files import write_bytes, write_json
from ouvroir.media.text.processor import require_encoding
from ouvroir.media.text.reading import DECODING, text_of
from ouvroir.media.text.tokens import BEGIN, END, Tokenizer
from ouvroir.source import Source
from ouvroir.task import Example, Field, Items, Limits

if TYPE_CHECKING:
    from torch import nn

    from ouvroir.data.table import Ragged, TableSlice
    from ouvroir.media.text.language import LanguageModel

FILE_NAME, TOKENIZER = "corpus_processor.json", "tokenizer.model"
ENCODING = 1  # raise when `encode` gives other numbers for the same settings


@dataclass(frozen=True, kw_only=True)
class CorpusProcessor:
    """Turns a text into numbers, whole: BEGIN, its pieces, and END; a block that does not reach the end of its file has no END.

    `labels` are the class names in the order of the model's inputs, none where texts have no class. `context`: pieces that are
    told at a time; `longest`: pieces of a text that is made. `alike`: for words of the train rows those that stand in the same
    places there, for rewriting.
    """

    labels: tuple[str, ...] = ()
    is_multi_label: bool = False
    tokenizer: Tokenizer
    context: int
    longest: int
    alike: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def fields(self) -> dict[str, Field]:
        """`pieces` int32, as many as the text has."""
        return {"pieces": Field("int32", (None,))}

    def encode(self, source: Source, limits: Limits) -> Example:
        """Read, decode, cut. Raises Refused."""
        text, _ = text_of(source, limits)
        before, after = (np.array([one], dtype=np.int32) for one in (BEGIN, END))
        return {"pieces": np.concatenate([before, self.tokenizer.encode(text), after[: source.is_last_block()]])}

    def to_answer(self) -> Self:
        """Itself: it is the same in learning and answering."""
        return self

    def storage_fingerprint(self) -> str:
        """A hash of the tokenizer; labels, context and words that are alike do not change what is stored."""
        stored = [ENCODING, DECODING, self.tokenizer.kind]
        return hashlib.sha256(json.dumps(stored).encode() + self.tokenizer.model).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `corpus_processor.json` and `tokenizer.model` into `folder`."""
        write_bytes(folder / TOKENIZER, self.tokenizer.model)
        write_json(
            folder / FILE_NAME,
            {
                "encoding": ENCODING,
                "labels": self.labels,
                "is_multi_label": self.is_multi_label,
                "tokenizer": self.tokenizer.kind,
                "context": self.context,
                "longest": self.longest,
                "alike": self.alike,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> CorpusProcessor:
        """Read what `save` wrote. Raises RunError."""
        try:
            value = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
            encoding = value.pop("encoding")
            tokenizer = Tokenizer(value.pop("tokenizer"), (folder / TOKENIZER).read_bytes())
            alike = {word: tuple(others) for word, others in value.pop("alike").items()}
            found = cls(**{**value, "labels": tuple(value["labels"])}, alike=alike, tokenizer=tokenizer)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"The text processor in `{folder}` could not be read: {error}.") from error
        require_encoding(encoding, ENCODING, folder)
        return found

    def with_labels(self, labels: tuple[str, ...]) -> CorpusProcessor:
        """A copy for other classes; what is stored does not change."""
        return replace(self, labels=labels)


def stride(context: int) -> int:
    """By how many pieces windows of `context` begin apart."""
    return max(1, context // 2)


def windows(lengths: np.ndarray, context: int, *, is_told_once: bool) -> Items:
    """Windows over rows of `lengths` (N,) pieces, the first of which is given and told by none.

    Each is of `context` pieces and the one before them, as far as the row reaches; they begin half a context apart, and the last
    one ends with the row. is_told_once: what an earlier window told is the `lead` of a later one.
    """
    step = stride(context)
    more = np.maximum(lengths - context - 1, 0)  # pieces that the first window does not reach
    n_windows = 1 + -(-more // step)
    row = np.repeat(np.arange(len(lengths), dtype=np.int64), n_windows)
    number = np.arange(len(row), dtype=np.int64) - np.repeat(n_windows.cumsum() - n_windows, n_windows)
    start = np.minimum(number * step, more[row])
    length = np.minimum(context + 1, lengths[row])
    lead = np.zeros_like(start)
    if is_told_once:
        before = np.minimum((number - 1) * step, more[row])
        lead = np.where(number > 0, before + context - start, 0)
    return Items(row=row, start=start, length=length.astype(np.int64), lead=lead if is_told_once else None)


def windows_of(rows: TableSlice, processor: CorpusProcessor) -> Items:
    """Windows of encoded rows, all of each told, as in training."""
    field: Ragged = rows.fields["pieces"]  # type: ignore[assignment]
    return windows(field.lengths.numpy(), processor.context, is_told_once=False)


def network_of(model: nn.Module) -> LanguageModel:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.text.language import LanguageModel

    inner = getattr(model, "module", model)
    assert isinstance(inner, LanguageModel)
    return inner
