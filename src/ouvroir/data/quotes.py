"""Short texts that stand word for word in other ones, found in a single pass over these. Any blanks are one, so are ends of lines.

Passages of long texts are known by marks, see `marks.py`; a row of a table, as a turn of a conversation is, is too short for them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

SHORTEST = 24
"""Letters and digits of a text that says something where it is found: shorter ones, as `Yes.`, stand everywhere, and so do rows of
dashes.
"""
_WINDOW = 16  # bytes of the beginning of a text by which it is looked for: two words of eight
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_BITS = 22  # of a number that tells most places at once to be none
_PIECE = 1 << 20  # bytes that are looked through at once
_SHELF = 256  # bytes by which texts are put in order at first
_FEW = 8  # texts that are looked at one by one


class Quotes:
    """Texts that are looked for in others: `found_in` gives the places of those that stand there, each once."""

    def __init__(self, texts: Iterable[tuple[int, str]]) -> None:
        self._places: dict[bytes, list[int]] = {}
        for place, text in texts:
            if _says_something(text):
                self._places.setdefault(_line(text.split()), []).append(place)
        self._shelf = _Shelf(self._places, 0, _SHELF)
        begins = b"".join({whole[:_WINDOW] for whole in self._places})
        words = np.frombuffer(begins, dtype="<u8")
        self._known = np.unique(_number(words[::2], words[1::2]))
        self._is_perhaps = np.zeros(1 << _BITS, dtype=bool)
        self._is_perhaps[_short(self._known)] = True

    def __bool__(self) -> bool:
        return bool(self._places)

    def found_in(self, text: str) -> list[int]:
        """The places of the texts that stand in `text`. They are not looked for again."""
        found: list[int] = []
        line = _line(text.split()) if self else b""
        for start in self._likely(line):
            for whole in list(self._shelf.at(line, start)):
                if _is_apart(line, start, start + len(whole)):
                    self._shelf.drop(whole)
                    found += self._places.pop(whole)
        return found

    def _likely(self, line: bytes) -> Iterator[int]:
        """Where in `line` the beginning of one of the texts stands."""
        for first in range(0, len(line) - _WINDOW + 1, _PIECE):
            if not self:
                return
            numbers = _numbers(line[first : first + _PIECE + _WINDOW - 1])
            perhaps = np.flatnonzero(self._is_perhaps[_short(numbers)])
            at = np.minimum(np.searchsorted(self._known, numbers[perhaps]), len(self._known) - 1)
            yield from (perhaps[self._known[at] == numbers[perhaps]] + first).tolist()


class _Shelf:
    """Texts in the order of their bytes from `start` to `end`: which of them stand at a place is found in one search.

    Of those that go on, many that are alike so far have a shelf of their own.
    """

    def __init__(self, texts: Iterable[bytes], start: int, end: int) -> None:
        self._start, self._end = start, end
        self._whole: dict[bytes, bytes] = {}
        longer: dict[bytes, list[bytes]] = {}
        for text in texts:
            part = text[start:end]
            if len(text) <= end:
                self._whole[part] = text
            else:
                longer.setdefault(part, []).append(text)
        self._longer = {
            part: some if len(some) <= _FEW else _Shelf(some, end, end * _WINDOW) for part, some in longer.items()
        }
        self._parts = sorted(self._whole)
        self._above: list[int] = []  # of each the place of the longest that it begins with, or -1
        for place, part in enumerate(self._parts):
            above = place - 1
            while above >= 0 and not part.startswith(self._parts[above]):
                above = self._above[above]
            self._above.append(above)

    def at(self, line: bytes, start: int) -> Iterator[bytes]:
        """The texts that stand in `line` from `start` on."""
        part = line[start + self._start : start + self._end]
        longer = self._longer.get(part, ())
        if isinstance(longer, _Shelf):
            yield from longer.at(line, start)
        else:
            yield from (text for text in longer if line.startswith(text, start))
        place = bisect_right(self._parts, part) - 1
        while place >= 0 and not part.startswith(self._parts[place]):  # what `part` begins with is no longer than that
            part = part[: _n_alike(part, self._parts[place])]
            place = bisect_right(self._parts, part) - 1
        while (place := self._kept(place)) >= 0:
            yield self._whole[self._parts[place]]
            place = self._above[place]

    def _kept(self, place: int) -> int:
        """The place, or where its text was dropped, that of the longest kept one which it begins with."""
        passed = []
        while place >= 0 and self._parts[place] not in self._whole:
            passed.append(place)
            place = self._above[place]
        for one in passed:
            self._above[one] = place
        return place

    def drop(self, text: bytes) -> None:
        """Look for it no more."""
        part = text[self._start : self._end]
        if len(text) <= self._end:
            del self._whole[part]
        elif isinstance(longer := self._longer[part], _Shelf):
            longer.drop(text)
        else:
            longer.remove(text)


def _says_something(text: str) -> bool:
    return any(islice((one for one in text if one.isalnum()), SHORTEST - 1, None))


def _line(words: Sequence[str]) -> bytes:
    return " ".join(words).encode("utf-8", "replace")


def _n_alike(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    n = min(len(one), len(other))
    differing = int.from_bytes(one[:n], "big") ^ int.from_bytes(other[:n], "big")
    return n - (differing.bit_length() + 7) // 8


def _number(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    found: np.ndarray = (first * _FIRST) ^ (second * _SECOND)
    return found


def _numbers(line: bytes) -> np.ndarray:
    """(n - _WINDOW + 1,) uint64: a number for each run of _WINDOW bytes."""
    n = len(line) - _WINDOW + 1
    found = np.zeros(max(0, n), dtype=np.uint64)
    for first in range(min(8, len(found))):
        words = np.frombuffer(line, dtype="<u8", offset=first, count=(len(line) - first) // 8)
        found[first::8] = _number(words[:-1], words[1:])
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
