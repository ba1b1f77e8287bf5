"""How one text is opened: its encoding found, what is no text refused, and what near-duplicates are known by.

Runs in worker processes; nothing heavy is imported.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
import zlib
from collections import Counter

import numpy as np

from ouvroir.data.marks import MARKS, written
from ouvroir.data.tabular import decode_text
from ouvroir.errors import Refused
from ouvroir.media.text.passages import marks
from ouvroir.source import Source, block_of
from ouvroir.task import Facts, Limits

MOST_CHARACTERS = 1_000_000
"""Of one text: a longer one is a corpus, and no item of its own."""
_MOST_CONTROL = 0.02  # of the characters: a file with more is no text
_LOOKED_AT = 10_000  # characters
_STRANGE = ("Cc", "Co", "Cn")  # control characters, private ones, and those that are none
_RUN = 3  # characters
_END = 20_000  # characters of a long text that are looked at, at each end
KEY_WIDTH = 256
_SCATTER = 0x9E3779B1  # check sums of runs that differ alike would be alike in their bits
_SHORT_BLOCK = 16_384  # bytes; up to so many its passages are told finely
_WORD = re.compile(r"\w+")
DECODING = 1  # raise when the same bytes give another text
_MARK = re.compile(r"---\nsynthetic: true\ngenerator: Ouvroir\n(?:[^\n]*\n){0,8}?---\n")


def text_of(source: Source, limits: Limits, *, of_corpus: bool = False) -> tuple[str, tuple[str, ...]]:
    """The text of a row and what was odd about it, as sentences; of_corpus: where long files are cut. Raises Refused."""
    notes: tuple[str, ...] = ()
    is_binary = False
    if source.text is not None:
        text = source.text
    else:
        content = source.read(limits.max_bytes)
        text, said = decode_text(source.name, content)
        notes = tuple(note.text for note in said)
        is_binary = any(note.code == "null_bytes" for note in said) and content.count(0) > len(content) / 2
    text = as_learned(text)
    if marks := _MARK.match(text):  # of a text that a generator made: what it says of itself is no part of it
        text = text[marks.end() :]
    if not text.strip():
        raise Refused("empty", f"`{source.name}` holds no text." if source.locator else "The text is empty.")
    if is_binary:  # as a recording of silence is
        raise Refused("not_text", _no_text(source.name))
    some = text[:_LOOKED_AT]
    strange = sum(
        n for one, n in Counter(some).items() if one not in "\n\t\f" and unicodedata.category(one) in _STRANGE
    )
    if strange + some.count("\ufffd") > _MOST_CONTROL * len(some):
        raise Refused("not_text", _no_text(source.name))
    if len(text) > min(MOST_CHARACTERS, limits.max_elements):
        told = f"`{source.name}` has {len(text):,} characters, and one text may have at most {MOST_CHARACTERS:,}. Split it."
        if of_corpus and source.text is None and block_of(source.locator)[1] is None:  # a file that could not be cut
            told = (
                f"`{source.name}` has {len(text):,} characters, and one text may have at most {MOST_CHARACTERS:,}. Save it as "
                "UTF-8: it is then cut into blocks by itself."
            )
        raise Refused("too_large", told)
    return text, notes


def as_learned(text: str) -> str:
    """A text with one kind of line end, without zero bytes, its letters and their accents as one character (NFC)."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""))


def _no_text(name: str) -> str:
    return f"`{name}` holds bytes that are no text in an encoding that is read here."


def marked(text: str, label: str | None) -> str:
    """A text under lines that say that it is synthetic, as front matter: other tools show them, `text_of` takes them off."""
    said = [] if label is None else [f"label: {json.dumps(label, ensure_ascii=False)}"]
    return "\n".join(["---", "synthetic: true", "generator: Ouvroir", *said, "---", f"{text}\n"])


def inspect_text(source: Source, limits: Limits, *, of_corpus: bool = False) -> Facts:
    """One look at a text; of_corpus: with marks of its passages among the details. Raises Refused."""
    text, notes = text_of(source, limits, of_corpus=of_corpus)
    content = source.read(limits.max_bytes)
    words = _WORD.findall(text)
    block = block_of(source.locator)[1] if source.locator else None
    is_fine = block is not None and block[1] <= _SHORT_BLOCK
    found = written(marks(text, is_fine=is_fine)) if of_corpus else ""
    return Facts(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        near_key=near_key(words),
        details={"characters": len(text), "words": len(words), **({MARKS: found} if found else {})},
        notes=notes,
    )


def near_key(words: list[str]) -> np.ndarray | None:
    """(KEY_WIDTH,) float32: how often each run of 3 characters occurs, hashed with random signs; None for a text of no words.

    Counts and not shares: a word changed in a hundred moves it by less than 0.4 % (Weinberger 2009, arXiv 0902.2206).
    """
    if not words:
        return None
    line = " ".join(words).casefold()
    if len(line) > 2 * _END:
        line = line[:_END] + line[-_END:]
    framed = f"  {line}  "
    found = np.zeros(KEY_WIDTH, dtype=np.float32)
    points = np.frombuffer(framed.encode("utf-32-le", errors="surrogatepass"), dtype="<u4").astype(np.int64)
    runs = points[:-2] << 42 | points[1:-1] << 21 | points[2:]
    _, places, counts = np.unique(runs, return_index=True, return_counts=True)
    for at, count in zip(places.tolist(), counts.tolist(), strict=True):
        number = zlib.crc32(framed[at : at + _RUN].encode("utf-8", errors="surrogatepass")) * _SCATTER & 0xFFFFFFFF
        found[number >> 24] += count if number >> 23 & 1 else -count
    return found
