"""What a language model writes when it is asked to go on with a prompt, and its habits: what it repeats, copies and expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ouvroir.making import label_weights
from ouvroir.media.text import tokens
from ouvroir.media.text.baselines import pieces_of
from ouvroir.media.text.passages import Passages
from ouvroir.media.text.sampling import Spoken, write
from ouvroir.rng import Rng
from ouvroir.sampling import Sampling

if TYPE_CHECKING:
    from ouvroir.data.table import Table
    from ouvroir.media.text.corpus import CorpusProcessor
    from ouvroir.media.text.language import LanguageModel
    from ouvroir.task import Split

N_SAMPLES, SAMPLE_PIECES = 8, 400
REPEATED = 6
"""Pieces of a run that counts as repeated where it stood in the same text before."""
N_EXPECTED, N_CANDIDATES, SHOWN_BEFORE = 6, 5, 60
_MOST_KNOWN = 4_000_000  # pieces of the train rows that passages are looked for in


def go_on(
    network: LanguageModel,
    processor: CorpusProcessor,
    prompts: Sequence[str],
    label: str | None,
    how: Sampling,
    seed: int,
    device: str,
) -> Iterator[tuple[int, str]]:
    """Which prompt, and what is said next after it, as it is written. Prompts of as many pieces are gone on with together."""
    numbers = [[tokens.BEGIN, *processor.tokenizer.encode(prompt).tolist()] for prompt in prompts]
    for n in sorted({len(one) for one in numbers}):
        places = [place for place, one in enumerate(numbers) if len(one) == n]
        weights = None
        if network.n_classes:
            weights = torch.from_numpy(label_weights([label] * len(places), processor.labels)).to(device)
        prompt = torch.tensor([numbers[place] for place in places], device=device)
        spoken = [Spoken(processor.tokenizer, how.stops) for _ in places]
        rng = Rng(seed, 0, torch.tensor(places, device=device))
        for pieces in write(network, prompt, weights, rng.along("pieces", how.most), how, least=1):
            for place, piece, one in zip(places, pieces, spoken, strict=True):
                if rest := one.end() if piece == tokens.END else one.add(piece):
                    yield place, rest
            if all(one.has_stopped for one in spoken):
                break
        for place, one in zip(places, spoken, strict=True):
            if rest := one.end():
                yield place, rest


def habits(
    network: LanguageModel,
    processor: CorpusProcessor,
    how: Sampling,
    tables: Mapping[Split, Table],
    *,
    seed: int,
    device: str,
) -> dict[str, Any]:
    """Plain values on N_SAMPLES texts that the model writes, beside as much real text that it did not learn from.

    repetition: share of the runs of REPEATED pieces that stood in the same text before; copied: characters of the longest passage
    that stands in a train row, with `passage`; of both also `..._real`. expected: what the model holds for likely at some places of
    the test: `before`, `then`, and `candidates` with their probability.
    """
    weights = None
    if network.n_classes:
        weights = torch.from_numpy(label_weights([None] * N_SAMPLES, processor.labels)).to(device)
    line = Rng(seed, 0, torch.arange(N_SAMPLES, device=device)).along("habits", SAMPLE_PIECES)
    prompt = torch.full((N_SAMPLES, 1), tokens.BEGIN, device=device)
    written = np.array(list(write(network, prompt, weights, line, how, least=SAMPLE_PIECES)))
    made = list(written.T)
    known = Passages(_known(tables["train"]))
    held_out = tables.get("test") or tables.get("validation")
    real = [] if held_out is None else _as_long(held_out)
    found: dict[str, Any] = {}
    for name, texts in (("", made), ("_real", real)):
        if not texts:
            continue
        found[f"repetition{name}"] = float(np.mean([_repeated(text) for text in texts]))
        longest, passage = 0, ""
        for text in texts:
            start, n = known.longest(text)
            said = processor.tokenizer.decode(text[start : start + n])
            if len(said) > longest:
                longest, passage = len(said), said
        found[f"copied{name}"] = longest
        found[f"passage{name}"] = passage
    if held_out is not None and not network.n_classes:
        found["expected"] = _expected(network, processor, held_out, device)
    return found


def _known(table: Table) -> list[np.ndarray]:
    found, left = [], _MOST_KNOWN
    for row in pieces_of(table):
        found.append(row)
        left -= len(row)
        if left < 0:
            break
    return found


def _as_long(table: Table) -> list[np.ndarray]:
    """N_SAMPLES stretches of real text, evenly spaced over the rows."""
    rows = [row[row > tokens.END] for row in pieces_of(table)]
    rows = [row for row in rows if len(row) >= REPEATED]
    if not rows:
        return []
    places = np.unique(np.linspace(0, len(rows) - 1, min(N_SAMPLES, len(rows))).astype(np.int64))
    return [rows[place][:SAMPLE_PIECES] for place in places.tolist()]


def _repeated(text: np.ndarray) -> float:
    runs = np.lib.stride_tricks.sliding_window_view(text, REPEATED) if len(text) >= REPEATED else text[:0].reshape(0, 1)
    return 1 - len(np.unique(runs, axis=0)) / len(runs) if len(runs) else 0.0


@torch.no_grad()
def _expected(network: LanguageModel, processor: CorpusProcessor, table: Table, device: str) -> list[dict[str, Any]]:
    rows = [row for row in pieces_of(table) if len(row) > 2]
    found = []
    for place in np.unique(np.linspace(0, len(rows) - 1, min(N_EXPECTED, len(rows))).astype(np.int64)):
        row = rows[place][: processor.context + 1]
        at = len(row) - 1
        given = torch.from_numpy(row[:at].astype(np.int64))[None].to(device)
        share = network.after(given, None, None)[0][0].float().softmax(dim=0)
        best = share.topk(N_CANDIDATES)
        tokenizer = processor.tokenizer
        found.append(
            {
                "before": tokenizer.decode(row[:at])[-SHOWN_BEFORE:],
                "then": tokenizer.shown(int(row[at])),
                "share": round(float(share[int(row[at])]), 6),
                "candidates": [
                    [tokenizer.shown(number), round(value, 6)]
                    for number, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
                ],
            }
        )
    return found
