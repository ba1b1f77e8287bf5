"""What all tasks on texts share: how texts are opened, packed, put into batches and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ouvroir import classification as shared
from ouvroir.errors import UsageError
from ouvroir.media import TEXT_SUFFIXES
from ouvroir.media.text.french import FRENCH
from ouvroir.media.text.processor import TextProcessor
from ouvroir.media.text.reading import inspect_text, text_of
from ouvroir.task import Batch, Facts, Input, Items, Limits, Source, source_of

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.data.table import Ragged, Table, TableSlice

SHOWN_CHARACTERS = 600


class Texts:
    """The part of a Task that is the same whatever is done with texts."""

    suffixes: ClassVar[frozenset[str]] = TEXT_SUFFIXES
    reads_text: ClassVar[bool] = True
    loop: ClassVar[Literal["fit", "adversarial"]] = "fit"
    french: ClassVar[Mapping[str, str]] = FRENCH

    def inspect(self, source: Source, limits: Limits) -> Facts:
        """Open one text at admission. Raises Refused."""
        return inspect_text(source, limits)

    def decoder(self) -> str:
        """None: Python decodes."""
        return ""

    def load_processor(self, folder: Path) -> TextProcessor:
        """Read what `TextProcessor.save` wrote."""
        return TextProcessor.load(folder)

    def items(self, table: Table, *, training: bool) -> Items:
        """One draw is one text; its stratum is its class, or its rarest label when multi-label."""
        del training
        labels = table.targets.get("labels")
        stratum = None if labels is None else shared.strata(labels.numpy())
        return Items(row=np.arange(len(table), dtype=np.int64), stratum=stratum)

    def collate(self, rows: TableSlice) -> Batch:
        """`pieces` and `grams` (B, P) int64, 0 beyond the (B,) `lengths` of the pieces; `labels`, `weight`, `index`."""
        pieces, lengths = padded(rows.fields["pieces"])
        grams, _ = padded(rows.fields["grams"])
        return {
            "pieces": pieces,
            "lengths": lengths,
            "grams": grams,
            "weight": rows.weight,
            "index": rows.index,
            **rows.targets,
        }

    def as_source(self, given: Input) -> Source:
        """A text, a path, or bytes. A text that is the name of a file which is there is that file."""
        if isinstance(given, Source | Path | bytes):
            return source_of(given)
        if not isinstance(given, str):
            raise UsageError(f"A {type(given).__name__} cannot be read. Give a text, a path or bytes.")
        if "\n" not in given and len(given) < 1000 and Path(given).suffix.lower() in TEXT_SUFFIXES:
            return source_of(given)
        return Source(root="", locator="", text=given)

    def sample(self, folder: Path) -> int:
        """Short reviews and notes from a small grammar, in English and French, as .txt files in class folders."""
        from ouvroir.media.text.samples import write_reviews

        return write_reviews(folder)

    def render(self, source: Source, *, max_edge_px: int) -> tuple[str, bytes]:
        """The beginning of the text. Raises Refused."""
        del max_edge_px
        text, _ = text_of(source, Limits())
        shown = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1].rstrip() + "…"
        return "text/plain; charset=utf-8", shown.encode("utf-8")


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
