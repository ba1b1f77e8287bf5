"""Tokenizers: how texts become numbers and come back to the character, learned from the train rows.

Byte-pair encoding by SentencePiece (Sennrich 2016, arXiv 1508.07909; Kudo and Richardson 2018, arXiv 1808.06226), single
characters, or the bytes of UTF-8. Whatever a tokenizer has no number for is spelled in bytes, which all of them have.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

import numpy as np

from ouvroir.errors import DataError, MissingExtra

Kind = Literal["bpe", "characters", "bytes"]

NOTHING, UNKNOWN, BEGIN, END = 0, 1, 2, 3
"""Numbers of the pieces that are no text: beyond the end, what is hidden, before the first and after the last piece."""
FIRST_BYTE, N_BYTES = 4, 256
"""The number of byte 0, those of the other bytes following, in all kinds; what is learned comes after them."""
LEAST_PIECES, MOST_PIECES = 400, 16_000
CHARACTERS_A_PIECE = 60  # of the train texts
MOST_LEARNED = 50_000_000
"""Characters that are learned from; of longer corpora every so many-th text is taken."""
_BYTES = 270  # pieces that are single bytes and signs, and some more
_LONGEST = 2000  # characters of a word, of which the rest counts as another
_BLANK = "\u2581"  # SentencePiece writes blanks so; where a text holds that sign, it is spelled in bytes
_APART = re.compile(f"[\n\t{_BLANK}]")


@dataclass(frozen=True)
class Tokenizer:
    """Numbers for texts. `model`: what was learned: SentencePiece's model, or the characters in UTF-8; empty for bytes.

    Two that do the same compare equal.
    """

    kind: Kind
    model: bytes = b""

    @property
    def n(self) -> int:
        """How many numbers there are: those of no text, bytes, and pieces or characters."""
        if self.kind == "bpe":
            return int(_loaded(self.model).get_piece_size())
        return FIRST_BYTE + N_BYTES + len(_alphabet(self.model))

    def encode(self, text: str) -> np.ndarray:
        """(n,) int32: the numbers of a text."""
        if self.kind == "bpe":
            return np.array(_encode_pieces(self.model, text), dtype=np.int32)
        if self.kind == "bytes":
            return np.frombuffer(_utf8(text), dtype=np.uint8).astype(np.int32) + FIRST_BYTE
        return _encode_characters(self.model, text)

    def decode(self, numbers: Sequence[int] | np.ndarray) -> str:
        """The text of numbers. Those of no text are left out; bytes that are no letter become U+FFFD."""
        if self.kind == "bpe":
            wanted = [int(number) for number in numbers if number > END]
            found: str = _loaded(self.model).decode(wanted)
            return found
        return b"".join(self.spelled(int(number)) for number in numbers).decode("utf-8", errors="replace")

    def spelled(self, number: int) -> bytes:
        """The bytes that a number stands for; none where it is of no text."""
        return _spellings(self)[number]

    def shown(self, number: int) -> str:
        """A number for a person: its text, `<begin>`, `<end>`, or the byte as `<E9>`."""
        if number <= END:
            return f"<{('nothing', 'unknown', 'begin', 'end')[number]}>"
        content = self.spelled(number)
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            return "".join(f"<{byte:02X}>" for byte in content)

    def vocabulary(self) -> list[tuple[str, float]]:
        """A name for each number, all different, as other libraries have them, and the score by which pieces are joined.

        Of no text `<pad>`, `<unk>`, `<s>`, `</s>`; of bytes `<0x00>` to `<0xFF>`; else the text itself. Higher scores go first.
        """
        names = ["<pad>", "<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(N_BYTES))]
        if self.kind == "bpe":
            model = _loaded(self.model)
            learned = range(len(names), self.n)
            others = [(model.id_to_piece(number).replace(_BLANK, " "), model.get_score(number)) for number in learned]
        else:
            others = [(chr(point), 0.0) for point in _alphabet(self.model).tolist()]
        return [*((name, 0.0) for name in names), *others]

    def sizes(self) -> np.ndarray:
        """(2, n) int64: how many characters and how many bytes of UTF-8 each number stands for.

        Of the bytes of one letter the first counts as the character.
        """
        spelled = _spellings(self)
        begins = [sum(byte & 0xC0 != 0x80 for byte in content) for content in spelled]
        return np.array([begins, [len(content) for content in spelled]], dtype=np.int64)


def learn(
    kind: Kind, texts: Iterable[str], n_characters: int, n_pieces: int | None = None, *, has_prefix: bool = False
) -> Tokenizer:
    """The tokenizer learned from texts of `n_characters` in all. `n_pieces`: of BPE, by default from their number.

    So many at most: of few texts fewer can be learned, and each letter that is not very rare is one. `has_prefix`: a text begins
    as if a blank stood before it, so that its first word is the same piece as elsewhere. Deterministic. Raises DataError when there
    is nothing to learn from, MissingExtra.
    """
    if kind == "bytes":
        return Tokenizer(kind)
    step = max(1, -(-n_characters // MOST_LEARNED))
    some = (text for number, text in enumerate(texts) if number % step == 0)
    if kind == "characters":
        found = sorted(set().union(*some))
        if not found:
            raise DataError("The train texts hold no characters to learn. Add texts.")
        return Tokenizer(kind, _utf8("".join(found)))
    return Tokenizer(kind, _learn_pieces(some, n_characters, n_pieces, has_prefix=has_prefix))


def _learn_pieces(texts: Iterable[str], n_characters: int, n_pieces: int | None, *, has_prefix: bool) -> bytes:
    trainer = _library().SentencePieceTrainer
    wanted = n_pieces or min(MOST_PIECES, max(LEAST_PIECES, n_characters // CHARACTERS_A_PIECE))
    words = _counted(texts, has_prefix=has_prefix)
    if not words:
        raise DataError("The train texts are too short to learn pieces of words from. Add texts.")
    model = io.BytesIO()
    trainer.train(
        sentence_iterator=(f"{word}\t{n}" for word, n in words),
        input_format="tsv",
        model_writer=model,
        model_type="bpe",
        vocab_size=max(wanted, _BYTES + len(set().union(*(word for word, _ in words)))),
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=0.9995,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=has_prefix,
        split_digits=True,
        max_sentence_length=5 * _LONGEST,  # bytes, the number among them
        pad_id=NOTHING,
        unk_id=UNKNOWN,
        bos_id=BEGIN,
        eos_id=END,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _counted(texts: Iterable[str], *, has_prefix: bool) -> list[tuple[str, int]]:
    """Words, each with the blank before it, and how often they occur: no piece reaches across a blank. has_prefix: without blanks.

    Far smaller than the texts. What is left out is spelled in bytes: the ends of lines, tabs, and the sign that stands for a blank.
    """
    found: Counter[str] = Counter()
    for text in texts:
        for line in _APART.split(text):
            first, *others = line.strip().split(" ")
            words = [first, *others] if has_prefix else [first, *(f" {word}" for word in others)]
            found.update(word[at : at + _LONGEST] for word in words for at in range(0, len(word), _LONGEST))
    return sorted(found.items())


@lru_cache(maxsize=4)
def _loaded(model: bytes) -> Any:
    return _library().SentencePieceProcessor(model_proto=model)


def _encode_pieces(model: bytes, text: str) -> list[int]:
    first, *others = text.split(_BLANK)
    found: list[int] = _loaded(model).encode(first)
    line = FIRST_BYTE + ord("\n")
    for part in others:
        found += [FIRST_BYTE + byte for byte in _BLANK.encode("utf-8")]
        # what begins a text is put before the line, and not before the part
        after: list[int] = _loaded(model).encode(f"\n{part}")
        found += after[after.index(line) + 1 :]
    return found


@lru_cache(maxsize=4)
def _alphabet(model: bytes) -> np.ndarray:
    """(n,) uint32, ascending: the code points that have a number."""
    return _code_points(model.decode("utf-8", errors="surrogatepass"))


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype="<u4")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


def _encode_characters(model: bytes, text: str) -> np.ndarray:
    known, asked = _alphabet(model), _code_points(text)
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    numbers = (place + FIRST_BYTE + N_BYTES).astype(np.int32)
    strange = np.flatnonzero(known[place] != asked)
    if not len(strange):
        return numbers
    parts: list[np.ndarray] = []
    begin = 0
    for at in strange.tolist():
        content = np.frombuffer(_utf8(text[at]), dtype=np.uint8).astype(np.int32) + FIRST_BYTE
        parts += [numbers[begin:at], content]
        begin = at + 1
    return np.concatenate([*parts, numbers[begin:]])


@lru_cache(maxsize=4)
def _spellings(tokenizer: Tokenizer) -> tuple[bytes, ...]:
    """The bytes of each number."""
    single = [bytes([byte]) for byte in range(N_BYTES)]
    if tokenizer.kind == "bpe":
        model = _loaded(tokenizer.model)
        others = (
            _utf8(model.id_to_piece(number).replace(_BLANK, " ")) for number in range(FIRST_BYTE + N_BYTES, tokenizer.n)
        )
    else:
        others = (_utf8(chr(point)) for point in _alphabet(tokenizer.model).tolist())
    return (*[b""] * FIRST_BYTE, *chain(single, others))


def _library() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingExtra("Cutting texts into pieces of words", "text") from error
    return sentencepiece
