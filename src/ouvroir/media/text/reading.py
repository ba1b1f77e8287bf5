"""How one text is opened: its encoding found, what is no text refused, and what near-duplicates are known by.

Runs in worker processes; nothing heavy is imported.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib

import numpy as np

from ouvroir.data.tabular import decode_text
from ouvroir.errors import Refused
from ouvroir.task import Facts, Limits, Source

MOST_CHARACTERS = 1_000_000
"""Of one text: a longer one is a corpus, and no item to classify."""
_MOST_CONTROL = 0.02  # of the characters: a file with more is no text
_SHINGLE = 4  # words
KEY_WIDTH = 256
_WORD = re.compile(r"\w+")
DECODING = 1  # raise when the same bytes give another text


def text_of(source: Source, limits: Limits) -> tuple[str, tuple[str, ...]]:
    """The text of a row and what was odd about it, as sentences. Raises Refused."""
    if source.text is not None:
        text, notes = source.text, ()
    else:
        content = source.read(limits.max_bytes)
        found, said = decode_text(source.name, content)
        text, notes = found, tuple(note.text for note in said)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    if not text.strip():
        raise Refused("empty", f"`{source.name}` holds no text.")
    if len(text) > min(MOST_CHARACTERS, limits.max_elements):
        raise Refused(
            "too_large",
            f"`{source.name}` has {len(text):,} characters, and a text to classify at most {MOST_CHARACTERS:,}. Split it.",
        )
    strange = sum(unicodedata.category(one) in ("Cc", "Co", "Cn") and one not in "\n\t\f" for one in text[:10_000])
    if strange + text[:10_000].count("\ufffd") > _MOST_CONTROL * min(len(text), 10_000):
        raise Refused("not_text", f"`{source.name}` holds bytes that are no text in any encoding that is read here.")
    return unicodedata.normalize("NFC", text), notes


def inspect_text(source: Source, limits: Limits) -> Facts:
    """One look at a text. Raises Refused."""
    text, notes = text_of(source, limits)
    content = text.encode("utf-8", errors="surrogatepass")
    words = _WORD.findall(text)
    return Facts(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        near_key=near_key(words),
        details={"characters": len(text), "words": len(words)},
        notes=notes,
    )


def near_key(words: list[str]) -> np.ndarray | None:
    """(KEY_WIDTH,) float32: signed counts of hashed runs of four words, small letters; None for a text of no words.

    Texts that share most runs have a cosine near 1, others near 0 (random signs; Weinberger 2009, arXiv 0902.2206).
    """
    if not words:
        return None
    small = [word.casefold() for word in words]
    runs = {" ".join(small[at : at + _SHINGLE]) for at in range(max(1, len(small) - _SHINGLE + 1))}
    found = np.zeros(KEY_WIDTH, dtype=np.float32)
    for run in runs:
        number = zlib.crc32(run.encode("utf-8", errors="surrogatepass"))
        found[number % KEY_WIDTH] += 1.0 if number >> 31 else -1.0
    return found
