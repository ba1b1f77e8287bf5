"""What a language model answers to being exported: its inputs, questions to compare by, and the ways to Llama and llama.cpp."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ouvroir.media.text import tokens
from ouvroir.media.text.corpus import CorpusProcessor, network_of, windows_of
from ouvroir.task import Batch, Carried, Processor

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.table import TableSlice
    from ouvroir.recipe import Recipe
    from ouvroir.source import Source


class Exports:
    """The part of text generation that is about exporting. See `ouvroir.task.Writer`."""

    hf_load: ClassVar[str] = (
        'pipeline = transformers.pipeline("text-generation", {place})\n'
        'print(pipeline("A beginning", max_new_tokens=40)[0]["generated_text"])'
    )

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`pieces`: (2, 8) int64; with classes `labels`: (2, K + 1)."""
        import torch

        assert isinstance(processor, CorpusProcessor)
        found = {"pieces": torch.arange(16).view(2, 8) + tokens.FIRST_BYTE}
        if processor.labels:
            found["labels"] = torch.zeros(2, len(processor.labels) + 1)
            found["labels"][:, -1] = 1
        return found

    def export_questions(self, processor: Processor, rows: TableSlice) -> Iterator[Batch]:
        """As of `ouvroir.task.Writer`: windows of `context` pieces, `pieces` (B, P) and with classes `labels` (B, K + 1)."""
        from ouvroir.media.text.carrying import questions

        assert isinstance(processor, CorpusProcessor)
        return questions(rows, windows_of(rows, processor), len(processor.labels))

    def export_facts(self, processor: Processor) -> dict[str, Any]:
        """As of `ouvroir.task.Writer`."""
        from ouvroir.media.text.outside import facts

        assert isinstance(processor, CorpusProcessor)
        return facts(processor)

    def export_beside(self, processor: Processor, folder: Path) -> dict[str, Any]:
        """As of `ouvroir.task.Writer`."""
        from ouvroir.media.text.outside import write_beside

        assert isinstance(processor, CorpusProcessor)
        return write_beside(processor, folder)

    def export_page(self, processor: Processor) -> Sequence[str]:
        """As of `ouvroir.task.Writer`."""
        from ouvroir.media.text.outside import page_blocks

        assert isinstance(processor, CorpusProcessor)
        return page_blocks(processor)

    def require_hf(self, model: nn.Module, processor: Processor) -> None:
        """Raise UsageError for what is no Llama."""
        from ouvroir.media.text.carrying import require_llama

        del processor
        require_llama(network_of(model), "transformers")

    def to_hf(self, model: nn.Module, processor: Processor, recipe: Recipe, folder: Path) -> None:
        """Write the folder that transformers loads, with its tokenizer."""
        from ouvroir.media.text.carrying import require_llama, write_hf

        del recipe
        assert isinstance(processor, CorpusProcessor)
        write_hf(require_llama(network_of(model), "transformers"), processor, folder)

    def from_hf(self, folder: Path, processor: Processor) -> Callable[[Batch], Tensor]:
        """Read what `to_hf` wrote: from `pieces` (B, P) to logits (B, P, V)."""
        from ouvroir.media.text.carrying import read_hf

        del processor
        return read_hf(folder)

    def check_hf(self, folder: Path, processor: Processor, sources: Sequence[Source]) -> None:
        """Compare the folder's own tokenizer with ours on files and on texts that are hard. Raises ExportError."""
        from ouvroir.media.text.carrying import require_same_pieces

        assert isinstance(processor, CorpusProcessor)
        require_same_pieces(folder, processor, sources)

    def require_gguf(self, model: nn.Module, processor: Processor) -> None:
        """Raise UsageError for what llama.cpp has no architecture or no tokenizer for."""
        from ouvroir.media.text.llama import require_gguf

        assert isinstance(processor, CorpusProcessor)
        require_gguf(network_of(model), processor)

    def to_gguf(self, model: nn.Module, processor: Processor, folder: Path) -> None:
        """Write the files that llama.cpp loads, one for each precision."""
        from ouvroir.media.text.llama import require_gguf, write_gguf

        assert isinstance(processor, CorpusProcessor)
        write_gguf(require_gguf(network_of(model), processor), processor, folder)

    def check_gguf(
        self, model: nn.Module, processor: Processor, folder: Path, rows: TableSlice, tolerance: float
    ) -> Carried:
        """Ask llama.cpp what the model is asked: pieces of texts, what comes next, what is written. Raises ExportError."""
        from ouvroir.media.text.llama import check_gguf, require_gguf

        assert isinstance(processor, CorpusProcessor)
        network = require_gguf(network_of(model).eval(), processor)
        return check_gguf(network, processor, folder, rows, windows_of(rows, processor), tolerance)
