"""Pieces of words that texts are cut into, learned from the train rows: byte-pair encoding by SentencePiece.

Sennrich 2016, arXiv 1508.07909; Kudo and Richardson 2018, arXiv 1808.06226. Whatever the pieces lack is spelled in bytes, so
that any text can be cut, and put together again to the character.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from ouvroir.errors import DataError, MissingExtra

NOTHING, UNKNOWN, BEGIN, END = 0, 1, 2, 3
"""Numbers of the pieces that are no text: beyond the end, what is hidden, before the first and after the last piece."""
LEAST_PIECES, MOST_PIECES = 400, 16_000
CHARACTERS_A_PIECE = 60  # of the train texts
_MOST_LEARNED = 50_000_000  # characters; of longer corpora every so many-th text is taken
_BYTES = 270  # pieces that are single bytes and signs, and some more
_LINE = 2000  # characters that SentencePiece is given at a time
_BLANK, _STAND_IN = "\u2581", "\ue000"  # SentencePiece writes blanks so; where a text holds that sign another is kept


def learn(texts: Iterable[str], n_characters: int, n_pieces: int | None = None) -> bytes:
    """The pieces learned from texts, as SentencePiece keeps them. `n_pieces`: how many, by default from `n_characters`.

    So many at most: of few texts fewer can be learned, and each letter that is not very rare is one. Deterministic. Raises
    DataError when there is nothing to learn from, MissingExtra.
    """
    trainer = _library().SentencePieceTrainer
    wanted = n_pieces or min(MOST_PIECES, max(LEAST_PIECES, n_characters // CHARACTERS_A_PIECE))
    lines = list(_lines(texts, step=max(1, -(-n_characters // _MOST_LEARNED))))
    if not lines:
        raise DataError("The train texts are too short to learn pieces of words from. Add texts.")
    model = io.BytesIO()
    trainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=max(wanted, _BYTES + len(set().union(*lines))),
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=0.9995,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        split_digits=True,
        max_sentence_length=4 * _LINE,
        pad_id=NOTHING,
        unk_id=UNKNOWN,
        bos_id=BEGIN,
        eos_id=END,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _lines(texts: Iterable[str], *, step: int) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number % step:
            continue
        for line in text.replace(_BLANK, _STAND_IN).split("\n"):
            for at in range(0, len(line), _LINE):
                if piece := line[at : at + _LINE].strip():
                    yield piece


@lru_cache(maxsize=4)
def _loaded(model: bytes) -> Any:
    return _library().SentencePieceProcessor(model_proto=model)


def encode(model: bytes, text: str) -> list[int]:
    """The numbers of the pieces of a text."""
    found: list[int] = _loaded(model).encode(text.replace(_BLANK, _STAND_IN))
    return found


def decode(model: bytes, numbers: list[int]) -> str:
    """The text of pieces; those that are no text are left out."""
    found: str = _loaded(model).decode([number for number in numbers if number > END])
    return found.replace(_STAND_IN, _BLANK)


def count(model: bytes) -> int:
    """How many pieces there are, bytes and signs among them."""
    return int(_loaded(model).get_piece_size())


def _library() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingExtra("Cutting texts into pieces of words", "text") from error
    return sentencepiece
