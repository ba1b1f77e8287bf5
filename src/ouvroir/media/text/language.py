"""What language models share, and the one with a recurrent network: TextLSTM.

A few hundred texts are too few for a Transformer to learn a language from, and an LSTM (Hochreiter and Schmidhuber 1997) learns
more from them, and from a book, in a minute of a processor. The other network is in transformer.py.

Axes: B rows, P pieces, V pieces that there are, E width of their vectors, H of the state, K classes; place K is of no class, and
without classes there is no such axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from ouvroir.media.text.fused import surprise

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Masks = Mapping[str, Tensor]
    """Dropout by name, (B, 1, width) each: the same at each piece of a row (Gal and Ghahramani 2016, arXiv 1512.05287)."""

N_LENGTHS = 4  # parts of a batch that run each to its own length


@dataclass(frozen=True)
class Told:
    """Of the pieces of each row that were to be told: (B,) float32 surprise in nats and entropy, (B,) int64 characters and bytes.

    `entropy` is None where it was not asked for.
    """

    nats: Tensor
    entropy: Tensor | None
    n_characters: Tensor
    n_bytes: Tensor


class LanguageModel(nn.Module, ABC):
    """Tells the next piece. `sizes`: (2, V) characters and bytes that each piece stands for."""

    sizes: Tensor

    def __init__(self, sizes: np.ndarray, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.register_buffer(
            "sizes", torch.from_numpy(sizes), persistent=False
        )  # of the tokenizer, which is kept elsewhere

    @property
    @abstractmethod
    def first(self) -> nn.Embedding:
        """The vectors of the pieces, which are read off at the end too."""

    @abstractmethod
    def mask_widths(self) -> dict[str, int]:
        """What may be dropped in training: the name of each mask and its width."""

    @abstractmethod
    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""

    @abstractmethod
    def states(self, pieces: Tensor, labels: Tensor | None, masks: Masks | None = None) -> Tensor:
        """(B, P, H): what is known after each of pieces (B, P), for labels (B, K + 1)."""

    @abstractmethod
    def logits(self, state: Tensor, labels: Tensor | None) -> Tensor:
        """(n, V) of the next piece from states (n, H) and labels (n, K + 1)."""

    @abstractmethod
    def after(self, pieces: Tensor, labels: Tensor | None, memory: Any) -> tuple[Tensor, Any]:
        """Logits (B, V) of what comes after pieces (B, n), and what is remembered of them; `memory` of those before, or None."""

    def forward(self, pieces: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (B, P, V) of the piece after each of pieces (B, P), for labels (B, K + 1)."""
        state = self.states(pieces, labels)
        flat = None if labels is None else labels[:, None, :].expand(-1, pieces.shape[1], -1).flatten(0, 1)
        found: Tensor = self.logits(state.flatten(0, 1), flat).view(*pieces.shape, -1)
        return found

    def losses(
        self,
        pieces: Tensor,
        lengths: Tensor,
        lead: Tensor,
        labels: Tensor | None,
        masks: Masks | None = None,
        *,
        is_full: bool = False,
        with_entropy: bool = False,
    ) -> Told:
        """How well each piece is told from those before it.

        pieces: (B, P + 1) int64, the first of which is given, 0 beyond the (B,) int64 lengths. lead: (B,) int64, so many of the
        others are given too and not told. is_full: all rows are of full length and nothing but the first is given.
        """
        if is_full:
            state = self.states(pieces[:, :-1], labels, masks)
            row = torch.arange(len(pieces), device=pieces.device).repeat_interleave(pieces.shape[1] - 1)
            told = self._surprise(state.flatten(0, 1), row, pieces[:, 1:].flatten(), labels, with_entropy=with_entropy)
            return self._summed(len(pieces), [told])
        found = []
        n_told = lengths - 1
        order = torch.argsort(lengths, stable=True)
        n = N_LENGTHS if len(pieces) >= 2 * N_LENGTHS and pieces.device.type == "cpu" else 1
        for mine in order.chunk(n):
            longest = int(n_told[mine[-1]]) if n > 1 else pieces.shape[1] - 1
            some = None if masks is None else {name: mask[mine] for name, mask in masks.items()}
            state = self.states(pieces[mine, :longest], None if labels is None else labels[mine], some)
            place = torch.arange(longest, device=pieces.device)[None, :]
            is_told = (place >= lead[mine][:, None]) & (place < n_told[mine][:, None])
            row = mine[:, None].expand(-1, longest)[is_told]
            target = pieces[mine, 1 : longest + 1][is_told]
            found.append(self._surprise(state[is_told], row, target, labels, with_entropy=with_entropy))
        return self._summed(len(pieces), found)

    def _surprise(
        self, state: Tensor, row: Tensor, target: Tensor, labels: Tensor | None, *, with_entropy: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Rows, targets, surprise and entropy of n pieces to tell."""
        logits = self.logits(state, None if labels is None else labels[row])
        if with_entropy:
            return row, target, *surprise(logits, target)
        return row, target, functional.cross_entropy(logits.float(), target, reduction="none"), None

    def _summed(self, n_rows: int, found: list[tuple[Tensor, Tensor, Tensor, Tensor | None]]) -> Told:
        rows, targets = torch.cat([one[0] for one in found]), torch.cat([one[1] for one in found])
        nats = torch.cat([one[2] for one in found])
        entropies = [one[3] for one in found if one[3] is not None]
        size = self.sizes[:, targets]

        def per_row(values: Tensor) -> Tensor:
            return values.new_zeros(n_rows).index_add(0, rows, values)

        return Told(
            per_row(nats), per_row(torch.cat(entropies)) if entropies else None, per_row(size[0]), per_row(size[1])
        )


class Reading(nn.Module):
    """Vectors of pieces, and what the class adds to each of them. The table is also what the answer is read off."""

    def __init__(self, n_pieces: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.table = nn.Embedding(n_pieces, width)
        self.label = nn.Linear(n_classes + 1, width, bias=False) if n_classes else None
        nn.init.normal_(self.table.weight, std=2 * width**-0.5)

    def forward(self, pieces: Tensor, labels: Tensor | None) -> Tensor:
        """pieces: (B, P) int64; labels: (B, K + 1), the weight of each class. Returns (B, P, E)."""
        found: Tensor = self.table(pieces)
        if self.label is not None and labels is not None:
            found = found + self.label(labels)[:, None, :]
        return found


class Writing(nn.Module):
    """From the state, and the class once more, to what is compared with the vectors of all pieces."""

    def __init__(self, state: int, width: int, n_pieces: int, n_classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(state, width)
        self.label = nn.Linear(n_classes + 1, width, bias=False) if n_classes else None
        self.bias = nn.Parameter(torch.zeros(n_pieces))

    def forward(self, state: Tensor, labels: Tensor | None, table: Tensor) -> Tensor:
        """state: (n, H); labels: (n, K + 1); table: (V, E). Returns logits (n, V)."""
        found = self.out(state)
        if self.label is not None and labels is not None:
            found = found + self.label(labels)
        return functional.linear(found, table, self.bias)


LstmMemory = list[tuple["Tensor", "Tensor"]]


class TextLSTM(LanguageModel):
    """Layers of LSTM between a table that is read and written with. Parts, input first: `reading`, `memory`, `writing`.

    E = H/ratio². weight_drop: the share of the weights from state to state that is left out at each step of training
    (Merity 2017, arXiv 1708.02182, section 2).
    """

    def __init__(
        self, *, sizes: np.ndarray, n_classes: int, width: int, n_layers: int, ratio: float, weight_drop: float = 0.0
    ) -> None:
        super().__init__(sizes, n_classes)
        n_pieces, inner = sizes.shape[1], round(width / ratio**2)
        self.weight_drop = weight_drop
        self.reading = Reading(n_pieces, inner, n_classes)
        self.memory = nn.ModuleList(
            nn.LSTM(width if layer else inner, width, batch_first=True) for layer in range(n_layers)
        )
        self.writing = Writing(width, inner, n_pieces, n_classes)

    @property
    def first(self) -> nn.Embedding:
        """As of LanguageModel."""
        return self.reading.table

    def mask_widths(self) -> dict[str, int]:
        """Before the first layer, and after each."""
        width = self.writing.out.in_features
        return {"in": self.first.embedding_dim, **{f"out{layer}": width for layer in range(len(self.memory))}}

    def parts(self) -> list[tuple[str, nn.Module]]:
        """As of LanguageModel."""
        return [("reading", self.reading), ("memory", self.memory), ("writing", self.writing)]

    def states(self, pieces: Tensor, labels: Tensor | None, masks: Masks | None = None) -> Tensor:
        """As of LanguageModel."""
        x = self.reading(pieces, labels)
        if masks is not None:
            x = x * masks["in"]
        for number, layer in enumerate(self.memory):
            x = self._run(layer, x)
            if masks is not None:
                x = x * masks[f"out{number}"]
        found: Tensor = x
        return found

    def _run(self, layer: nn.Module, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return _as_onnx_does(layer, x)
        changed = {}
        if self.training and self.weight_drop:
            changed["weight_hh_l0"] = functional.dropout(layer.get_parameter("weight_hh_l0"), self.weight_drop)
        found: Tensor
        found, _ = torch.func.functional_call(layer, changed, (x,)) if changed else layer(x)
        return found

    def logits(self, state: Tensor, labels: Tensor | None) -> Tensor:
        """As of LanguageModel."""
        found: Tensor = self.writing(state, labels, self.first.weight)
        return found

    def after(self, pieces: Tensor, labels: Tensor | None, memory: LstmMemory | None) -> tuple[Tensor, LstmMemory]:
        """As of LanguageModel; however much was read, as much is remembered."""
        x = self.reading(pieces, labels)
        kept: LstmMemory = []
        for number, layer in enumerate(self.memory):
            x, state = layer(x, None if memory is None else memory[number])
            kept.append(state)
        return self.logits(x[:, -1], labels), kept


def _as_onnx_does(layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer makes of x (B, P, E) as one operator of ONNX, for any P; torch's own would be written out step by step.

    The gates are in another order there: input, output, forget, cell.
    """

    def ordered(name: str) -> Tensor:
        into, forget, cell, out = layer.get_parameter(name).chunk(4)
        return torch.cat([into, out, forget, cell])[None]

    bias = torch.cat([ordered("bias_ih_l0"), ordered("bias_hh_l0")], dim=1)
    width = bias.shape[1] // 8
    found: Tensor = torch.onnx.ops.symbolic(
        "LSTM",
        (x.transpose(0, 1), ordered("weight_ih_l0"), ordered("weight_hh_l0"), bias),
        {"hidden_size": width},
        dtype=x.dtype,
        shape=(x.shape[1], 1, x.shape[0], width),
    )
    return found[:, 0].transpose(0, 1)
