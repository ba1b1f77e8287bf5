"""Writing with a language model: piece after piece, drawn by chances that follow from a seed.

Axes: B texts, V pieces that there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ouvroir.media.text import tokens
from ouvroir.sampling import Sampling

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.text.language import LanguageModel


def narrowed(logits: Tensor, how: Sampling, seen: Tensor | None = None) -> Tensor:
    """(B, V) probabilities that pieces are drawn by, from logits (B, V), changed as `how` says. seen: (B, V) bool, written already.

    Logits of pieces that were written are divided by the penalty where they are positive and else multiplied (Keskar 2019, arXiv
    1909.05858), then all are divided by the temperature; of the most likely `top_k` those are kept that together have `top_p`
    (Holtzman 2020, arXiv 1904.09751) and that have `min_p` of the most likely one (Nguyen 2024, arXiv 2407.01082).
    """
    logits = logits.float()
    if seen is not None and how.repetition_penalty != 1:
        changed = torch.where(logits > 0, logits / how.repetition_penalty, logits * how.repetition_penalty)
        logits = torch.where(seen, changed, logits)
    if how.temperature == 0:
        return torch.zeros_like(logits).scatter_(1, logits.argmax(dim=1, keepdim=True), 1.0)
    share = (logits / how.temperature).softmax(dim=1)
    if how.top_k and how.top_k < share.shape[1]:
        least = share.topk(how.top_k, dim=1).values[:, -1:]
        share = share * (share >= least)
    if how.min_p:
        share = share * (share >= how.min_p * share.amax(dim=1, keepdim=True))
    if how.top_p < 1:
        ordered, order = share.sort(dim=1, descending=True, stable=True)
        before = ordered.cumsum(dim=1) - ordered
        kept = ordered * (before < how.top_p * ordered.sum(dim=1, keepdim=True))
        share = torch.zeros_like(share).scatter_(1, order, kept)
    return share


def drawn(share: Tensor, chance: Tensor) -> Tensor:
    """(B,) pieces, each drawn with its share (B, V) by one chance (B,) in [0, 1); the shares need not sum to 1."""
    line = share.double().cumsum(dim=1)
    found = (line <= chance.double()[:, None] * line[:, -1:]).sum(dim=1)
    last = share.shape[1] - 1 - (share > 0).flip(1).to(torch.uint8).argmax(dim=1)
    return torch.minimum(found, last)


@torch.no_grad()
def write(
    model: LanguageModel,
    prompt: Tensor,
    labels: Tensor | None,
    chances: Tensor,
    how: Sampling,
    *,
    least: int = 0,
) -> Iterator[list[int]]:
    """Yields the next piece of each of B texts, END for those that have ended, until all have or there are no chances left.

    prompt: (B, P) int64, all of one length, the first of which mostly is BEGIN. chances: (B, N) in [0, 1), one for each piece that
    is written. A text ends where the model ends it, after `least` pieces at the soonest.
    """
    has_ended = torch.zeros(len(prompt), dtype=torch.bool, device=prompt.device)
    seen = torch.zeros(len(prompt), model.first.num_embeddings, dtype=torch.bool, device=prompt.device)
    seen.scatter_(1, prompt, value=True)
    memory: Any = None
    given = prompt
    for place in range(chances.shape[1]):
        logits, memory = model.after(given, labels, memory)
        logits = logits.float()
        logits[:, : tokens.END] = -torch.inf
        if place < least:
            logits[:, tokens.END] = -torch.inf
        piece = drawn(narrowed(logits, how, seen), chances[:, place])
        piece = piece.masked_fill(has_ended, tokens.END)
        has_ended |= piece == tokens.END
        yield piece.tolist()
        if has_ended.all():
            return
        given = piece[:, None]
        seen.scatter_(1, given, value=True)


class Spoken:
    """What a text has come to so far, piece by piece: only whole letters are given, and nothing after a string that stops it."""

    def __init__(self, tokenizer: tokens.Tokenizer, stops: Sequence[str] = ()) -> None:
        self.tokenizer, self.stops = tokenizer, [stop for stop in stops if stop]
        self.has_stopped = False
        self._bytes = b""  # of a letter that has begun
        self._held = ""  # what may be the beginning of a stop string

    def add(self, number: int) -> str:
        """Take one more piece. Returns what can be said now, perhaps nothing: the beginning of a stop string waits."""
        if self.has_stopped:
            return ""
        content = self._bytes + self.tokenizer.spelled(number)
        whole = _whole_letters(content)
        self._bytes = content[len(whole) :]
        return self._give(self._held + whole.decode("utf-8", errors="replace"))

    def end(self) -> str:
        """What is left when no more comes; a letter that was begun becomes U+FFFD."""
        if self.has_stopped:
            return ""
        self.has_stopped = True
        return self._held + self._bytes.decode("utf-8", errors="replace")

    def _give(self, text: str) -> str:
        found = [at for stop in self.stops if (at := text.find(stop)) >= 0]
        if found:
            self.has_stopped = True
            return text[: min(found)]
        kept = max((_begun(text, stop) for stop in self.stops), default=0)
        said, self._held = text[: len(text) - kept], text[len(text) - kept :]
        return said


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text are the beginning of a stop string."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def _whole_letters(content: bytes) -> bytes:
    """Bytes without the letter of UTF-8 that they end within."""
    for back in range(1, min(4, len(content) + 1)):
        byte = content[-back]
        if byte & 0xC0 == 0x80:
            continue
        wanted = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return content[:-back] if wanted > back else content
    return content
