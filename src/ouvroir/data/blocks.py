"""Long files become blocks that are rows of their own, in runs that stay together, so that no passage is in two splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ouvroir.data.candidates import Candidate
from ouvroir.errors import Refused
from ouvroir.media import TASKS
from ouvroir.records import UTF_32, mark_of
from ouvroir.source import LONGEST_LINE, Source, block_locator, block_of, cells_of

BLOCKS_WANTED = 128  # of all files together, so that shares of them are what was asked for
FILES_ENOUGH = 20  # so many files that are cut, and more, are shared out whole
RUNS_WANTED, RUNS_OF_A_FILE = 40, 10  # of all files, and of each on average where that is more
_LOOKED_AT = 1 << 16  # bytes: more than a line
_BEGIN = 512  # bytes, and the line that they end in


def block_bytes(task: str) -> int:
    """The most bytes of a block, where a task cuts files into blocks and so learns from a corpus; else 0."""
    return TASKS[task].block_bytes if task in TASKS else 0


def cut(root: str, candidates: Sequence[Candidate], most_bytes: int) -> list[Candidate]:
    """The candidates, each file that is longer than a block cut into blocks of equal length; at most `most_bytes`.

    Blocks of a file are one group where many files are cut, else each run of blocks that lie end to end; a group that is known
    stays. Rows that are text stay as they are, blocks of a table too, and so does a file of UTF-32.
    """
    files = [one for one in candidates if is_file(one)]
    length = block_length(sum(one.size for one in files), most_bytes)
    n_blocks = {
        place: _n_blocks(one.size, length)
        for place, one in enumerate(candidates)
        if is_file(one) and one.size > length and not _is_utf32(root, one)
    }
    n_runs = max(RUNS_WANTED, RUNS_OF_A_FILE * len(n_blocks))
    run = max(1, sum(n_blocks.values()) // n_runs)
    is_whole = len(n_blocks) >= FILES_ENOUGH
    found: list[Candidate] = []
    for place, one in enumerate(candidates):
        if place not in n_blocks:
            found.append(one)
            continue
        for number in range(n_blocks[place]):
            start = number * length
            n_bytes = one.size - start if number == n_blocks[place] - 1 else length
            locator = block_locator(one.locator, start, n_bytes)
            group = one.group or (one.id if is_whole else f"{one.id} {number // run + 1}")
            found.append(
                replace(one, id=block_locator(one.id, start, n_bytes), locator=locator, group=group, size=n_bytes)
            )
    return found


def longest_run(candidates: Sequence[Candidate]) -> int:
    """How many blocks of files stay together at most."""
    blocks = ((block_of(one.locator), one.group) for one in candidates if _is_block_of_file(one))
    return max(Counter((file, group) for (file, _), group in blocks).values(), default=0)


def stretches(locators: Sequence[str]) -> list[list[int]]:
    """The places of blocks that lie end to end, in the order of their file, one list for each such stretch."""
    found: list[list[int]] = []
    blocks = [(file, block, at) for at, (file, block) in enumerate(map(block_of, locators)) if block is not None]
    last, end = "", 0
    for file, (start, length), at in sorted(blocks):
        if file != last or start != end or not found:
            found.append([])
        found[-1].append(at)
        last, end = file, start + length
    return found


def counted(candidates: Sequence[Candidate]) -> tuple[int, int]:
    """How many files were cut, and into how many blocks."""
    files = [block_of(one.locator)[0] for one in candidates if _is_block_of_file(one)]
    return len(set(files)), len(files)


def _is_block_of_file(one: Candidate) -> bool:
    return one.text is None and block_of(one.locator)[1] is not None and cells_of(one.locator) is None


def is_file(one: Candidate) -> bool:
    """Whether it is a whole file."""
    return one.text is None and block_of(one.locator)[1] is None


def _n_blocks(size: int, length: int) -> int:
    """Of a file of `size` bytes; a rest of no more than a line, in which perhaps none begins, belongs to the block before it."""
    n, rest = divmod(size, length)
    return max(1, n + (rest > LONGEST_LINE))


def _is_utf32(root: str, one: Candidate) -> bool:
    """Whether a file is of UTF-32. What cannot be read is told later."""
    try:
        begin = Source(root, block_locator(one.locator, 0, _BEGIN)).read(_LOOKED_AT)
    except Refused:
        return False
    return mark_of(begin) in UTF_32


def block_length(total: int, most_bytes: int) -> int:
    """Bytes of a block: a power of two, so that files which come later change it seldom."""
    length = most_bytes
    while length > LONGEST_LINE and total < BLOCKS_WANTED * length:
        length //= 2
    return length
