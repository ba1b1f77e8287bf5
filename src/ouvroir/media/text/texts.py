"""What all tasks on texts share: how texts are opened, packed, put into batches and shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ouvroir import classification as shared
from ouvroir.errors import Refused, UsageError
from ouvroir.media import TEXT_SUFFIXES
from ouvroir.media.text.french import FRENCH
from ouvroir.media.text.reading import inspect_text, text_of
from ouvroir.source import Source, source_of
from ouvroir.task import Batch, Example, Facts, Input, Items, Limits, Processor, Rendering, Row

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Ragged, Table, TableSlice
    from ouvroir.media.text.tokens import Tokenizer

SHOWN_CHARACTERS = 600
LEAST_LENGTH = 16  # pieces
_LENGTHS_LOOKED_AT = 2000  # texts
_LONGEST_NAME = 1000  # characters; no longer text is taken for the name of a file


class Texts:
    """The part of a Task that is the same whatever is done with texts."""

    suffixes: ClassVar[frozenset[str]] = TEXT_SUFFIXES
    limits: ClassVar[Limits] = Limits()
    reads_text: ClassVar[bool] = True
    loop: ClassVar[Literal["fit", "adversarial"]] = "fit"
    export_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {
        "pieces": {1: "n_pieces"},
        "grams": {1: "n_grams"},
        "gram_counts": {1: "n_grams"},
    }
    french: ClassVar[Mapping[str, str]] = FRENCH

    def inspect(self, source: Source, limits: Limits) -> Facts:
        """Open one text at admission. Raises Refused."""
        return inspect_text(source, limits)

    def decoder(self) -> str:
        """None: Python decodes."""
        return ""

    def items(self, table: Table, processor: Processor, *, training: bool) -> Items:
        """One draw is one text; its stratum is its class, or its rarest label when multi-label."""
        del processor, training
        labels = table.targets.get("labels")
        stratum = None if labels is None else shared.strata(labels.numpy())
        return Items(row=np.arange(len(table), dtype=np.int64), stratum=stratum)

    def collate(self, rows: TableSlice) -> Batch:
        """`pieces` (B, P), `lengths` (B,) of these, `grams` and `gram_counts` (B, N), int64; 0 where a text has no more."""
        return {**_padded_fields(rows.fields), "weight": rows.weight, "index": rows.index, **rows.targets}

    def as_source(self, given: Input) -> Source:
        """A text, a path, or bytes. Text that ends like the name of a text file is that file."""
        if isinstance(given, Source | Path | bytes):
            return source_of(given)
        if not isinstance(given, str):
            raise UsageError(f"A {type(given).__name__} is no text. Give a text, a path or bytes.")
        is_name = "\n" not in given and len(given) < _LONGEST_NAME and Path(given).suffix.lower() in TEXT_SUFFIXES
        return source_of(given) if is_name else Source(root="", locator="", text=given)

    def sample(self, folder: Path) -> int:
        """Short reviews and notes from a small grammar, in English and French, as .txt files in class folders."""
        from ouvroir.media.text.samples import write_reviews

        return write_reviews(folder)

    def render(self, source: Source, *, max_edge_px: int) -> Rendering:
        """The beginning of the text. Raises Refused."""
        del max_edge_px
        text, _ = text_of(source, Limits())
        shown = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1].rstrip() + "…"
        return Rendering("text/plain; charset=utf-8", shown.encode("utf-8"))


def _padded_fields(fields: Mapping[str, Tensor | Ragged]) -> Batch:
    pieces, lengths = padded(fields["pieces"])
    grams, _ = padded(fields["grams"])
    counts, _ = padded(fields["gram_counts"])
    return {"pieces": pieces, "lengths": lengths, "grams": grams, "gram_counts": counts}


def padded(field: Tensor | Ragged) -> tuple[Tensor, Tensor]:
    """(B, P) int64 with zeros beyond the (B,) int64 lengths, without a loop over rows."""
    import torch
    from torch import Tensor

    assert not isinstance(field, Tensor)
    lengths = field.lengths
    longest = int(lengths.max()) if len(lengths) else 0
    found = torch.zeros(len(lengths), longest, dtype=torch.int64)
    row = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    place = torch.arange(len(field.values)) - torch.repeat_interleave(field.offsets[:-1], lengths)
    found[row, place] = field.values.long()
    return found, lengths


def batch_of(examples: Sequence[Example]) -> Batch:
    """Encoded rows as a batch, without weights and places."""
    import torch

    from ouvroir.data.table import Ragged

    fields: dict[str, Tensor | Ragged] = {}
    for name in examples[0]:
        lengths = torch.tensor([0, *(len(one[name]) for one in examples)])
        fields[name] = Ragged(torch.from_numpy(np.concatenate([one[name] for one in examples])), lengths.cumsum(0))
    return _padded_fields(fields)


def train_texts(manifest: Manifest) -> tuple[list[Row], int]:
    """The real train rows, and how many characters they have."""
    rows = [row for row in manifest.rows if row.split == "train" and row.origin == "real"]
    return rows, sum(map(characters, rows))


def characters(row: Row) -> int:
    """How many a row has, as was counted at its admission."""
    return int(row.details.get("characters", 0))


def read_texts(manifest: Manifest, rows: Sequence[Row]) -> Iterator[str]:
    """The texts of rows. One that has changed since it was admitted is left out here; packing says so."""
    limits = Limits()
    for row in rows:
        try:
            yield text_of(row.source(manifest.root), limits)[0]
        except Refused:
            continue


def usual_length(manifest: Manifest, rows: Sequence[Row], tokenizer: Tokenizer, *, most: int) -> int:
    """Pieces that nearly all texts of `rows` have at most, with the one that ends a text; no more than `most`."""
    some = rows[:: max(1, len(rows) // _LENGTHS_LOOKED_AT)]
    lengths = [1 + len(tokenizer.encode(text)) for text in read_texts(manifest, some)]
    return int(np.clip(np.percentile(lengths or [LEAST_LENGTH], 98), LEAST_LENGTH, most))
