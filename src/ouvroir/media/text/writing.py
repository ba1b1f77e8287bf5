"""What a language model writes when it is asked to go on with a prompt, and its habits: what it repeats, copies and expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ouvroir.making import label_weights
from ouvroir.media.text import tokens
from ouvroir.media.text.passages import Passages
from ouvroir.media.text.pieces import pieces_of, spread
from ouvroir.media.text.sampling import Spoken, write
from ouvroir.rng import Rng
from ouvroir.sampling import Sampling
from ouvroir.windows import evenly

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
        turns = [numbers[:place].count(numbers[place]) for place in places]  # no other prompt changes what is drawn
        rng = Rng(seed, 0, torch.tensor(turns, device=device))
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
    """Plain values on texts that the model writes, beside as many stretches of real text that it did not learn from, as long.

    texts: how many, and `pieces` of them on average; repetition: share of the runs of REPEATED pieces that stood in the same text
    before; copied: characters of the longest passage that stands in a train row, with `passage`; of all also `..._real`. searched:
    the share of the train rows that it was looked for in. expected: what the model holds for likely at some places of the test:
    `before`, `then`, and `candidates` with their probability.
    """
    train, held_out = tables["train"], tables.get("test") or tables.get("validation")
    real = [] if held_out is None else _stretches(held_out)
    most = [len(one) for one in real] or [SAMPLE_PIECES] * N_SAMPLES
    lengths = train.lengths("pieces").numpy()
    made = _made(
        network, processor, how, most, may_end=bool(np.median(lengths) < SAMPLE_PIECES), seed=seed, device=device
    )
    places = spread(lengths, _MOST_KNOWN)
    known = Passages([row[:_MOST_KNOWN] for row in pieces_of(train.subset(places))])
    found: dict[str, Any] = {}
    for name, texts in (("", made), ("_real", real)):
        if not texts:
            continue
        found[f"texts{name}"] = len(texts)
        found[f"pieces{name}"] = float(np.mean([len(text) for text in texts]))
        found[f"repetition{name}"] = float(np.mean([_repeated(text) for text in texts]))
        longest, passage = 0, ""
        for text in texts:
            start, n = known.longest(text)
            said = processor.tokenizer.decode(text[start : start + n])
            if len(said) > longest:
                longest, passage = len(said), said
        found[f"copied{name}"] = longest
        found[f"passage{name}"] = passage
    found["searched"] = len(places) / len(lengths)
    if held_out is not None and not network.n_classes:
        found["expected"] = _expected(network, processor, held_out, device)
    return found


def _made(
    network: LanguageModel,
    processor: CorpusProcessor,
    how: Sampling,
    most: Sequence[int],
    *,
    may_end: bool,
    seed: int,
    device: str,
) -> list[np.ndarray]:
    """A text of the model's own of `most` pieces each; of fewer where it ends sooner and `may_end`, as short rows do."""
    weights = None
    if network.n_classes:
        weights = torch.from_numpy(label_weights([None] * len(most), processor.labels)).to(device)
    chances = Rng(seed, 0, torch.arange(len(most), device=device)).along("habits", max(most))
    prompt = torch.full((len(most), 1), tokens.BEGIN, device=device)
    least = min(REPEATED, max(most)) if may_end else max(most)
    written = np.array(list(write(network, prompt, weights, chances, how, least=least)))
    texts = (text[:n] for text, n in zip(written.T, most, strict=True))
    return [text[: np.argmax(text == tokens.END)] if (text == tokens.END).any() else text for text in texts]


def _stretches(table: Table) -> list[np.ndarray]:
    """N_SAMPLES stretches of real text of SAMPLE_PIECES, evenly spaced over all there is; a shorter row is one as a whole."""
    lengths = table.lengths("pieces").numpy() - 2  # what begins and ends a row is no text
    n_in = np.where(lengths < REPEATED, 0, np.maximum(1, lengths // SAMPLE_PIECES))
    if not n_in.sum():
        return []
    row = np.repeat(np.arange(len(lengths)), n_in)
    number = np.arange(len(row)) - np.repeat(n_in.cumsum() - n_in, n_in)
    places = evenly(len(row), N_SAMPLES)
    texts = (text[text > tokens.END] for text in pieces_of(table.subset(row[places])))
    starts = (number[places] * SAMPLE_PIECES).tolist()
    return [text[start : start + SAMPLE_PIECES] for text, start in zip(texts, starts, strict=True)]


def _repeated(text: np.ndarray) -> float:
    runs = np.lib.stride_tricks.sliding_window_view(text, REPEATED) if len(text) >= REPEATED else text[:0].reshape(0, 1)
    return 1 - len(np.unique(runs, axis=0)) / len(runs) if len(runs) else 0.0


@torch.no_grad()
def _expected(network: LanguageModel, processor: CorpusProcessor, table: Table, device: str) -> list[dict[str, Any]]:
    places = np.flatnonzero(table.lengths("pieces").numpy() > 2)
    found = []
    for whole in pieces_of(table.subset(places[evenly(len(places), N_EXPECTED)])):
        row = whole[: processor.context + 1]
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
