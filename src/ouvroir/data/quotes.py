"""Short texts that stand word for word in other ones, found in a single pass over these. Any blanks are one, so are ends of lines.

Passages of long texts are known by marks, see `marks.py`; a row of a table, as a turn of a conversation is, is too short for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

SHORTEST = 24
"""Letters, blanks not counted, of a text that says something where it is found: shorter ones, as `Yes.`, stand everywhere."""
_WINDOW = 16  # bytes of the beginning of a text by which it is looked for: two words of eight
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_BITS = 22  # of a number that tells most places at once to be none


class Quotes:
    """Texts that are looked for in others: `found_in` gives the places of those that stand there, each once."""

    def __init__(self, texts: Iterable[tuple[int, str]]) -> None:
        self._places: dict[bytes, list[int]] = {}
        self._lengths: dict[bytes, set[int]] = {}
        for place, text in texts:
            words = text.split()
            if sum(map(len, words)) >= SHORTEST:
                whole = _line(words)
                self._places.setdefault(whole, []).append(place)
                self._lengths.setdefault(whole[:_WINDOW], set()).add(len(whole))
        known = _numbers(b"".join(self._lengths))[::_WINDOW] if self._lengths else np.zeros(0, dtype=np.uint64)
        self._known = np.unique(known)
        self._is_perhaps = np.zeros(1 << _BITS, dtype=bool)
        self._is_perhaps[_short(self._known)] = True

    def __bool__(self) -> bool:
        return bool(self._places)

    def found_in(self, text: str) -> list[int]:
        """The places of the texts that stand in `text`. They are not looked for again."""
        line = _line(text.split())
        numbers = _numbers(line if self else b"")
        perhaps = np.flatnonzero(self._is_perhaps[_short(numbers)])
        found: list[int] = []
        at = np.minimum(np.searchsorted(self._known, numbers[perhaps]), len(self._known) - 1)
        for start in perhaps[self._known[at] == numbers[perhaps]].tolist():
            for length in self._lengths.get(line[start : start + _WINDOW], ()):
                whole = line[start : start + length]
                if whole in self._places and _is_apart(line, start, start + length):
                    found += self._places.pop(whole)
        return found


def _line(words: Sequence[str]) -> bytes:
    return " ".join(words).encode("utf-8", "replace")


def _numbers(line: bytes) -> np.ndarray:
    """(n - _WINDOW + 1,) uint64: a number for each run of _WINDOW bytes."""
    n = len(line) - _WINDOW + 1
    found = np.zeros(max(0, n), dtype=np.uint64)
    for first in range(min(8, len(found))):
        words = np.frombuffer(line, dtype="<u8", offset=first, count=(len(line) - first) // 8)
        found[first::8] = (words[:-1] * _FIRST) ^ (words[1:] * _SECOND)
    return found


def _short(numbers: np.ndarray) -> np.ndarray:
    found: np.ndarray = ((numbers * _FIRST) >> np.uint64(64 - _BITS)).astype(np.int64)
    return found


def _is_apart(line: bytes, start: int, end: int) -> bool:
    """Whether no word goes on at either end of it: `number 1` is not in `number 12`. Without blanks in it that is not known."""
    if b" " not in line[start:end]:
        return True
    before, first = _letters(line[max(0, start - 4) : start])[-1:], _letters(line[start : start + 4])[:1]
    last, after = _letters(line[max(start, end - 4) : end])[-1:], _letters(line[end : end + 4])[:1]
    return not (before.isalnum() and first.isalnum()) and not (last.isalnum() and after.isalnum())


def _letters(some: bytes) -> str:
    """What of a few bytes is whole letters of UTF-8."""
    return some.decode("utf-8", "ignore")
