"""Blocks of long files: each line stands in one of them, in files and in zips."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from ouvroir.source import Archive, Source, block_locator, block_of

LENGTH = 4096


def write(folder, content):
    (folder / "corpus.txt").write_bytes(content)
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/corpus.txt", content)
    return -(-len(content) // LENGTH)


def lines(n, longest, seed=0):
    rng = np.random.default_rng(seed)
    return "".join("é" * int(k) + "\n" for k in rng.integers(0, longest, n)).encode()


@pytest.mark.parametrize(
    "content", [lines(400, 200), lines(40, 1500), "ü".encode() * 20_000, b"a\r\n" * 9000, b"x" * 4096]
)
def test_blocks_end_to_end_are_the_file(tmp_path, content):
    n = write(tmp_path, content)
    places = [block_locator("corpus.txt", LENGTH * k, LENGTH) for k in range(n)]
    found = [Source(str(tmp_path), place).read(10**6) for place in places]
    assert b"".join(found) == content
    assert all(block.decode("utf-8") for block in found)
    archive = Archive(tmp_path / "a.zip")
    inside = [archive.read(block_locator("in/corpus.txt", LENGTH * k, LENGTH), 10**6) for k in range(n)]
    assert inside == found
    assert archive.read(block_locator("in/corpus.txt", 0, LENGTH), 10**6) == found[0]  # back to the front
    assert archive.read("in/corpus.txt", 10**6) == content
    archive.close()
    again = Source(str(tmp_path), block_locator("a.zip::in/corpus.txt", LENGTH * (n - 1), LENGTH))
    assert again.read(10**6) == found[-1]
    assert again.is_there()


def test_lines_that_are_not_very_long_are_whole(tmp_path):
    content = lines(400, 200)
    n = write(tmp_path, content)
    for k in range(n - 1):
        block = Source(str(tmp_path), block_locator("corpus.txt", LENGTH * k, LENGTH)).read(10**6)
        assert block.endswith(b"\n")


def test_locators_of_blocks():
    assert block_of("a/me@home.txt") == ("a/me@home.txt", None)
    assert block_of("a/me@home.txt@10+20") == ("a/me@home.txt", (10, 20))


def test_a_block_is_read_without_what_lies_before_it(tmp_path, monkeypatch):
    n = write(tmp_path, lines(4000, 200))
    n_read = []

    def counting(*given):
        return Counting(Path(*given[:1]).open("rb"), n_read)

    monkeypatch.setattr("ouvroir.source.open", counting, raising=False)
    assert Source(str(tmp_path), block_locator("corpus.txt", LENGTH * (n - 2), LENGTH)).read(10**6)
    assert sum(n_read) < 3 * LENGTH < LENGTH * (n - 2)


class Counting:
    """A file that tells what is read of it."""

    def __init__(self, file, n_read):
        self.file, self.n_read, self.seek = file, n_read, file.seek

    def read(self, n):
        self.n_read.append(n)
        return self.file.read(n)

    def __enter__(self):
        return self

    def __exit__(self, *given):
        self.file.close()
