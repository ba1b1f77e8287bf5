"""A small task whose files are bytes, for the tests of everything about data. Some contents make its decoder misbehave."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass

import numpy as np

from ouvroir.errors import Refused
from ouvroir.source import source_of
from ouvroir.task import Facts, Field, Limits, Prediction

NAME = "byte_task:ByteTask"
KEY_LENGTH = 16


@dataclass(frozen=True)
class Options:
    class_weights: str = "none"


class ByteProcessor:
    def __init__(self, labels=(), width=8):
        self.labels = tuple(labels)
        self.width = width

    def fields(self):
        return {"dense": Field("uint8", (self.width,)), "tokens": Field("int32", (None,))}

    def encode(self, source, limits):
        content = source.read(limits.max_bytes)
        misbehave(content, "encode")
        numbers = np.frombuffer(content, dtype=np.uint8)
        return {"dense": np.resize(numbers, self.width), "tokens": numbers.astype(np.int32) * 3}

    def to_answer(self):
        return self

    def storage_fingerprint(self):
        return f"bytes-{self.width}"

    def save(self, folder):
        (folder / "bytes.json").write_text(json.dumps({"labels": self.labels, "width": self.width}))


def misbehave(content, where):
    if content.startswith(b"CRASH " + where.encode()):
        os.abort()
    if content.startswith(b"HANG " + where.encode()):
        time.sleep(600)
    if content.startswith(b"PRINT"):
        print("a library that prints")  # noqa: T201
    if content.startswith(b"GREEDY"):
        bytearray(64 * 1024**3)
    if content.startswith(b"BUG"):
        raise KeyError("a mistake in a decoder")
    if content.startswith(b"BAD"):
        raise Refused("damaged", "It is damaged.")


class ByteTask:
    name = NAME
    Options = Options
    loop = "fit"
    draw = "row"
    synthesiser = None
    french: dict[str, str] = {}  # noqa: RUF012
    metrics = ("accuracy",)
    suffixes = frozenset({".bin", ".dat"})
    limits = Limits(max_seconds=20.0)
    reads_text = False
    needs_labels = True

    def decoder(self):
        return "bytes 1"

    def inspect(self, source, limits):
        content = source.read(limits.max_bytes)
        misbehave(content, "inspect")
        key = None
        if content.startswith(b"KEY"):
            key = np.random.default_rng(int(content[3:6])).standard_normal(KEY_LENGTH).astype(np.float32)
            key += np.float32(1e-3) * np.random.default_rng(list(content)).standard_normal(KEY_LENGTH).astype(
                np.float32
            )
        notes = ("It is odd.",) if content.startswith(b"ODD") else ()
        return Facts(hashlib.sha256(content).hexdigest(), len(content), key, {"length": len(content)}, notes)

    def notes_on(self, rows):
        return []

    def load_processor(self, folder):
        return ByteProcessor(**json.loads((folder / "bytes.json").read_text()))

    def as_source(self, given):
        return source_of(given)

    def predict(self, model, processor, recipe, examples, *, device, threshold):
        return [Prediction(text=example["tokens"].tobytes().hex()) for example in examples]

    def targets(self, rows, processor):
        return {"labels": np.array([processor.labels.index(row.label) for row in rows], dtype=np.int64)}


class TextTask(ByteTask):
    """Reads texts of tables, too."""

    reads_text = True
