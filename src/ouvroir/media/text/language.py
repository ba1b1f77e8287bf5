"""TextMaker: a small language model that knows the class of a text, piece by piece through a recurrent network.

A few hundred texts are too few for a Transformer to learn a language from, and an LSTM (Hochreiter and Schmidhuber 1997) learns
more from them in a minute of a processor.

Axes: B rows, P pieces, V pieces that there are, E width of their vectors, H of the state, K classes; place K is of no class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from ouvroir.media.text import tokens

if TYPE_CHECKING:
    from torch import Tensor

    State = tuple[Tensor, Tensor]

WIDTHS = {"tiny": 128, "small": 256, "base": 512}
N_LENGTHS = 4  # parts of a batch that run each to its own length


class Reading(nn.Module):
    """Vectors of pieces, and what the class adds to each of them. The table is also what the answer is read off."""

    def __init__(self, n_pieces: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.table = nn.Embedding(n_pieces, width)
        self.label = nn.Linear(n_classes + 1, width, bias=False)
        nn.init.normal_(self.table.weight, std=2 * width**-0.5)

    def forward(self, pieces: Tensor, labels: Tensor) -> Tensor:
        """pieces: (B, P) int64; labels: (B, K + 1), the weight of each class. Returns (B, P, E)."""
        found: Tensor = self.table(pieces) + self.label(labels)[:, None, :]
        return found


class Writing(nn.Module):
    """From the state, and the class once more, to what is compared with the vectors of all pieces."""

    def __init__(self, state: int, width: int, n_pieces: int, n_classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(state, width)
        self.label = nn.Linear(n_classes + 1, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_pieces))

    def forward(self, state: Tensor, labels: Tensor, table: Tensor) -> Tensor:
        """state: (n, H); labels: (n, K + 1); table: (V, E). Returns logits (n, V)."""
        return functional.linear(self.out(state) + self.label(labels), table, self.bias)


class TextMaker(nn.Module):
    """Logits of the next piece. Parts, input first: `reading`, `memory`, `writing`. E = H/φ."""

    def __init__(self, *, n_pieces: int, n_classes: int, width: int, ratio: float) -> None:
        super().__init__()
        self.n_classes = n_classes
        inner = round(width / ratio)
        self.reading = Reading(n_pieces, inner, n_classes)
        self.memory = nn.LSTM(inner, width, batch_first=True)
        self.writing = Writing(width, inner, n_pieces, n_classes)

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""
        return [("reading", self.reading), ("memory", self.memory), ("writing", self.writing)]

    def states(self, pieces: Tensor, labels: Tensor, mask_in: Tensor | None = None) -> Tensor:
        """(B, P, H): the state after each of pieces (B, P). mask_in: (B, 1, E), for dropout, the same at each piece."""
        x = self.reading(pieces, labels)
        if mask_in is not None:
            x = x * mask_in
        found: Tensor = self.memory(x)[0]
        return found

    def losses(
        self, pieces: Tensor, lengths: Tensor, labels: Tensor, mask_in: Tensor | None, mask_out: Tensor | None
    ) -> Tensor:
        """(B,) float32: the sum over a row's pieces of the surprise in nats, each told from those before it.

        pieces: (B, P) int64, 0 beyond the (B,) int64 lengths. mask_in: (B, 1, E), mask_out: (B, 1, H), for dropout.
        """
        before = torch.cat([pieces.new_full((len(pieces), 1), tokens.BEGIN), pieces[:, :-1]], dim=1)
        total = torch.zeros(len(pieces), device=pieces.device)
        order = torch.argsort(lengths, stable=True)
        n = N_LENGTHS if len(pieces) >= 2 * N_LENGTHS and pieces.device.type == "cpu" else 1
        for mine in order.chunk(n):
            longest = int(lengths[mine[-1]]) if n > 1 else pieces.shape[1]
            state = self.states(before[mine, :longest], labels[mine], None if mask_in is None else mask_in[mine])
            if mask_out is not None:
                state = state * mask_out[mine]
            is_there = torch.arange(longest, device=pieces.device)[None, :] < lengths[mine][:, None]
            row = mine[:, None].expand(-1, longest)[is_there]
            logits = self.writing(state[is_there], labels[row], self.reading.table.weight)
            surprise = functional.cross_entropy(logits.float(), pieces[mine, :longest][is_there], reduction="none")
            total = total.index_add(0, row, surprise)
        return total

    def forward(self, pieces: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, P, V) of the piece after each of pieces (B, P), for labels (B, K + 1)."""
        state = self.states(pieces, labels)
        flat = labels[:, None, :].expand(-1, pieces.shape[1], -1).flatten(0, 1)
        logits = self.writing(state.flatten(0, 1), flat, self.reading.table.weight)
        found: Tensor = logits.view(*pieces.shape, -1)
        return found

    def after(self, pieces: Tensor, labels: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Logits (B, V) of what comes after pieces (B,), and the state to go on from."""
        x = self.reading(pieces[:, None], labels)
        found, state = self.memory(x, state)
        return self.writing(found[:, 0], labels, self.reading.table.weight), state


@torch.no_grad()
def write(
    model: TextMaker, labels: Tensor, chances: Tensor, *, least: int, temperature: float, top_p: float
) -> list[list[int]]:
    """Pieces of one text for each of labels (B, K + 1), as many as `chances` (B, P) of [0, 1) at most.

    Each piece is drawn by one chance from the most probable ones that together have `top_p` (Holtzman 2020, arXiv 1904.09751), the
    logits being divided by `temperature`. The text ends where the model ends it, after `least` pieces at the soonest.
    """
    batch, longest = chances.shape
    piece = torch.full((batch,), tokens.BEGIN, dtype=torch.int64, device=labels.device)
    state: State | None = None
    has_ended = torch.zeros(batch, dtype=torch.bool, device=labels.device)
    found = torch.zeros(batch, longest, dtype=torch.int64, device=labels.device)
    for place in range(longest):
        logits, state = model.after(piece, labels, state)
        logits = logits.float() / temperature
        logits[:, : tokens.END] = -torch.inf
        if place < least:
            logits[:, tokens.END] = -torch.inf
        share, order = logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)
        before = share.cumsum(dim=1) - share
        kept = share * (before < top_p)
        line = kept.cumsum(dim=1)
        drawn = (line <= chances[:, place, None] * line[:, -1:]).sum(dim=1, keepdim=True)
        last = (kept > 0).sum(dim=1, keepdim=True) - 1
        piece = order.gather(1, torch.minimum(drawn, last))[:, 0]
        has_ended |= piece == tokens.END
        if has_ended.all():
            break
        found[:, place] = piece.masked_fill(has_ended, tokens.NOTHING)
    return [[number for number in row if number] for row in found.tolist()]
