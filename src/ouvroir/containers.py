"""What a file is that was to be a sound or a video, and that nothing opens: said for those which people meet most."""

from __future__ import annotations

import struct

from ouvroir.errors import Refused

_LOOKED_AT_BYTES = 4096
_LEAST_BOX_BYTES = 8
_LEAST_WORDS = 3
_UNKNOWN_BYTES = 0x7FFFFFFF  # and more: written by a recorder that did not know how long it would go on
_PICTURES = {b"heic", b"heix", b"heif", b"mif1", b"msf1", b"avif", b"avis"}  # brands that need no moov


def explain_unopened(content: bytes, name: str, code: str) -> None:
    """Raise Refused with what is wrong where it can be told: an MP4 or MOV cut before its index, or plain text, as `code`."""
    if _lacks_index(content):
        raise Refused(
            "damaged",
            f"`{name}` lacks its index, which is written at the end: it was probably cut. Copy it or record it again.",
        )
    if _is_text(content):
        raise Refused(
            code,
            f"`{name}` holds text, whatever it is called. Was it saved from a page? Download it again, or leave it.",
        )


def _lacks_index(content: bytes) -> bool:
    """Whether boxes (ISO/IEC 14496-12, 4.2) begin as those of an MP4 do, and the one called moov is not among them."""
    if content[4:8] != b"ftyp" or content[8:12] in _PICTURES:
        return False
    place = 0
    while place + _LEAST_BOX_BYTES <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"moov":
            return False
        if size == 1 and place + 2 * _LEAST_BOX_BYTES <= len(content):
            (size,) = struct.unpack_from(">Q", content, place + _LEAST_BOX_BYTES)
        if size < _LEAST_BOX_BYTES:  # 0: up to the end of the file
            return True
        place += size
    return True


def seconds_of_wave(content: bytes) -> float | None:
    """How long a WAV file says that it lasts (by the size of its chunk `data`); None for other files, and where it does not say.

    What decodes WAV files goes by the size of the file, and does not tell that one was cut.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return None
    place, bytes_per_second = 12, 0
    while place + _LEAST_BOX_BYTES <= len(content):
        kind, size = struct.unpack_from("<4sI", content, place)
        if kind == b"fmt " and place + 20 <= len(content):
            (bytes_per_second,) = struct.unpack_from("<I", content, place + 16)
        if kind == b"data":
            return size / bytes_per_second if bytes_per_second and size < _UNKNOWN_BYTES else None
        place += _LEAST_BOX_BYTES + size + size % 2
    return None


def _is_text(content: bytes) -> bool:
    start = content[:_LOOKED_AT_BYTES]
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(start):  # else a character that the cut splits
            return False
        text = start[: error.start].decode("utf-8")
    return len(text.split()) >= _LEAST_WORDS and all(one.isprintable() or one.isspace() for one in text)
