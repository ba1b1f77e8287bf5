"""What a file is that was to be a sound or a video, and that nothing opens: said for those which people meet most."""

from __future__ import annotations

import struct

from ouvroir.errors import Refused

_LOOKED_AT_BYTES = 4096
_LEAST_BOX_BYTES = 8
_LEAST_WORDS = 3


def explain_unopened(content: bytes, name: str, code: str) -> None:
    """Raise Refused with what is wrong where it can be told: an MP4 or MOV cut before its index, or plain text, as `code`."""
    if _lacks_index(content):
        raise Refused(
            "damaged",
            f"`{name}` lacks its index, which is written at the end: it was probably cut. Copy it or record it again.",
        )
    if _is_text(content):
        raise Refused(code, f"`{name}` holds text, whatever it is called.")


def _lacks_index(content: bytes) -> bool:
    """Whether boxes (ISO/IEC 14496-12, 4.2) begin as those of an MP4 do, and the one called moov is not among them."""
    if content[4:8] != b"ftyp":
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


def _is_text(content: bytes) -> bool:
    start = content[:_LOOKED_AT_BYTES]
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(start):  # else a character that the cut splits
            return False
        text = start[: error.start].decode("utf-8")
    return len(text.split()) >= _LEAST_WORDS and all(one.isprintable() or one.isspace() for one in text)
