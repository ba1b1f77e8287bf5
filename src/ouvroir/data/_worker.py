"""The process that opens files, started by `workers.py`, which see for the protocol.

It reads one row after the other from standard input and answers on standard output. A decoder that crashes or hangs
takes this process along and nothing else. Must not load torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from ouvroir.errors import Refused
from ouvroir.media import find_task
from ouvroir.source import ZIP_SEPARATOR, Archive, Source, shown_locator
from ouvroir.task import Limits

FRAME = struct.Struct("<IQ")  # bytes of the JSON header, bytes of the payload
_ARCHIVES_KEPT_OPEN = 4

Answer = tuple[dict[str, Any], list[bytes]]


def main() -> None:
    """Serve rows until standard input ends."""
    inputs, outputs = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints must not break the protocol
    first, _ = _read_frame(inputs)
    if not first:
        return
    setup = json.loads(first)
    _limit_memory(int(setup["limits"]["max_memory_bytes"]))
    _end_with_parent(int(setup["parent"]))
    limits = Limits(**setup["limits"])
    reader = Reader(setup["root"], limits)
    work = _encoder(setup, limits) if setup["job"] == "encode" else _inspector(setup, limits)
    _write_frame(outputs, {"ready": True}, [])
    while True:
        header, content = _read_frame(inputs)
        if not header:
            return
        header_out, payload = _serve(json.loads(header), content, reader, work)
        _write_frame(outputs, header_out, payload)


def _serve(
    job: dict[str, Any], content: bytes, reader: Reader, work: Callable[[Source, dict[str, Any]], Answer]
) -> Answer:
    name = shown_locator(job["locator"]) or "input"
    try:
        return work(reader.load(job, content), job)
    except Refused as error:
        return {"refused": [error.code, error.reason]}, []
    except MemoryError:
        text = f"`{name}` needs more memory to open than one file may take. Make it smaller, or leave it out."
        return {"refused": ["too_large", text]}, []
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises costs one row
        text = f"`{name}` could not be decoded: {type(error).__name__}: {error}."
        return {"refused": ["unreadable", text]}, []


class Reader:
    """Loads the whole content of rows, keeping a few zips open."""

    def __init__(self, root: str, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        self._archives: dict[str, Archive] = {}

    def load(self, job: dict[str, Any], content: bytes) -> Source:
        """A source that carries its content: `content` where the job brings it. Raises Refused."""
        root, locator = self._root if job["root"] is None else job["root"], job["locator"]
        if job["has_content"]:
            return Source(root, locator, content=content)
        source = Source(root, locator, text=job["text"])
        if source.text is not None:
            return source
        archive, _, inside = locator.partition(ZIP_SEPARATOR)
        if not inside:
            return Source(root, locator, content=source.read(self._limits.max_bytes))
        try:
            content = self._read_entry(str(Path(root) / archive), inside)
        except Refused:
            raise
        except Exception:  # noqa: BLE001 - read once more in the plain way, which says what is wrong
            content = source.read(self._limits.max_bytes)
        return Source(root, locator, content=content)

    def _read_entry(self, archive: str, inside: str) -> bytes:
        if archive not in self._archives:
            if len(self._archives) >= _ARCHIVES_KEPT_OPEN:
                self._archives.pop(next(iter(self._archives))).close()
            self._archives[archive] = Archive(Path(archive))
        return self._archives[archive].read(inside, self._limits.max_bytes)


def _inspector(setup: dict[str, Any], limits: Limits) -> Callable[[Source, dict[str, Any]], Answer]:
    task = find_task(setup["task"], is_asked_for=True)

    def work(source: Source, _: dict[str, Any]) -> Answer:
        facts = task.inspect(source, limits)
        header = {
            "sha256": facts.sha256,
            "size_bytes": facts.size_bytes,
            "details": dict(facts.details),
            "notes": list(facts.notes),
        }
        key = b"" if facts.near_key is None else facts.near_key.astype("<f4", copy=False).tobytes()
        return header, [key]

    return work


def _encoder(setup: dict[str, Any], limits: Limits) -> Callable[[Source, dict[str, Any]], Answer]:
    processor = find_task(setup["task"], is_asked_for=True).load_processor(Path(setup["processor"]))

    def work(source: Source, job: dict[str, Any]) -> Answer:
        if job["sha256"] and hashlib.sha256(source.read(limits.max_bytes)).hexdigest() != job["sha256"]:
            raise Refused("changed", f"`{shown_locator(source.locator)}` has changed since it was checked.")
        example = processor.encode(source, limits)
        arrays = {name: [array.dtype.name, list(array.shape)] for name, array in example.items()}
        return {"arrays": arrays}, [array.tobytes() for array in example.values()]

    return work


def _limit_memory(max_bytes: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (max_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _end_with_parent(parent: int) -> None:
    """End when the process that started us is gone, even in the middle of a row."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _read_frame(file: BinaryIO) -> tuple[bytes, bytes]:
    """The header and the payload of the next frame; the header is empty at the end."""
    head = file.read(FRAME.size)
    if len(head) < FRAME.size:
        return b"", b""
    n_header, n_payload = FRAME.unpack(head)
    return file.read(n_header), file.read(n_payload)


def _plain(value: Any) -> Any:
    """Numbers of numpy as Python's own."""
    return value.item() if hasattr(value, "item") else str(value)


def _write_frame(file: BinaryIO, header: dict[str, Any], payload: list[bytes]) -> None:
    text = json.dumps(header, default=_plain).encode()
    buffer = io.BytesIO()
    buffer.write(FRAME.pack(len(text), sum(map(len, payload))))
    buffer.write(text)
    for part in payload:
        buffer.write(part)
    file.write(buffer.getbuffer())
    file.flush()


if __name__ == "__main__":
    main()
