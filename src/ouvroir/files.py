"""Writing files whole or not at all, the home folder of caches, and free space.

Everything that Ouvroir leaves on a disk goes through here, so that a reader never meets half a file and a full disk
ends in a sentence.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from ouvroir.errors import DiskFull, NotWritable
from ouvroir.system import require_system

RUN_FILES = ("recipe.json", "status.json", "environment.json")
"""What a run has from its beginning to its end."""
_OWN = (
    ("run", frozenset(RUN_FILES)),
    ("model", frozenset({"recipe.json", "config.json", "hashes.json"})),  # a bundle
    ("model", frozenset({"recipe.json", "training_state.json", "hashes.json"})),  # a checkpoint
    # exports; others write an export.json too, so that alone says nothing
    *(("model", frozenset({"export.json", name})) for name in ("model.onnx", "model.pth", "model-f32.gguf")),
    ("model", frozenset({"export.json", "config.json", "model.safetensors"})),
)


def own_kind(names: Collection[str]) -> str:
    """What a folder with files of these names is, `run` or `model` of Ouvroir, in which nothing is data of a person; '' else."""
    return next((kind for kind, needed in _OWN if needed.issubset(names)), "")


def home() -> Path:
    """Where manifests, packs and measurements are cached: $OUVROIR_HOME, by default ~/.cache/ouvroir."""
    return Path(os.environ.get("OUVROIR_HOME") or Path.home() / ".cache" / "ouvroir").expanduser().absolute()


def readable_duration(seconds: float) -> str:
    """`under a second`, `about 45 s`, `about 12 min`, `about 3.4 h`: how long something takes."""
    if seconds < 1:
        return "under a second"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"


def readable_size(n_bytes: float) -> str:
    """`n_bytes` for a person: 999 B, 1.5 kB, 4.9 GB (powers of 1,000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def readable_count(n: int, one: str, many: str = "") -> str:
    """How many of something: `1 row`, `12,000 rows`; `many` where an s does not make it more."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def readable_names(names: Iterable[str] | Mapping[str, int], *, most: int = 10) -> str:
    """Names for a person: `a`, `b` and 3 more; a mapping gives counts, `a` (12). The first `most` are shown."""
    counts = names if isinstance(names, Mapping) else dict.fromkeys(names)
    shown = [f"`{name}`" if n is None else f"`{name}` ({n})" for name, n in islice(counts.items(), most)]
    return ", ".join(shown) + (f" and {len(counts) - most} more" if len(counts) > most else "")


def without_password(address: str) -> str:
    """An address, or a text with addresses, to show: who may see them stands before `@` or behind `?`, and is nobody else's.

    A password with a slash in it is not written as it should be, and is known by the name and colon before it.
    """
    shown = re.sub(r"(?<=://)(?:[^/?#\s]*|[^/?#\s:]+:(?!\d+/)[^?#\s]*)@", "…@", address)
    return re.sub(r"(://[^?\s]*)\?[^\s`'\"]*", r"\1?…", shown)


def natural(name: str) -> tuple[list[str | int], str]:
    """A key to sort by in which numbers count as such: img2 before img10."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)], name


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn 'no space left' into DiskFull and 'may not be written' into NotWritable, naming the place and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise _not_writable(path, error) from error
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"The disk that holds {path} is full. Nothing was left half written. "
            "Free some space (`ouvroir cache` shows what Ouvroir keeps), then run the same command again."
        ) from error


def _not_writable(path: Path, error: OSError) -> NotWritable:
    is_cached = path.absolute().is_relative_to(home())
    advice = "Set OUVROIR_HOME to a folder" if is_cached else "Choose a place"
    return NotWritable(f"{path} cannot be written ({error.strerror}). {advice} that this user may write to.")


def make_folder(path: Path) -> None:
    """Make `path`, with what is above it, unless it is there. Raises NotWritable, DiskFull."""
    with disk_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (
            FileNotFoundError,
            FileExistsError,
        ) as error:  # a place that takes no folder, as /proc; a file in the way
            raise _not_writable(path, error) from error


def require_space(folder: Path, n_bytes: int, purpose: str) -> None:
    """Raise DiskFull before work starts if `folder` has less than `n_bytes` free."""
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < n_bytes:
        raise DiskFull(
            f"{purpose} needs {readable_size(n_bytes)} in {folder}, and only {readable_size(free)} is free. "
            "Free some space, or use a larger disk: OUVROIR_HOME for packs, --runs for runs."
        )


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it appears complete or not at all.

    Written to a temporary name beside it, synced, renamed; the folder is synced too. Raises DiskFull.
    """
    require_system()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        make_folder(path.parent)
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, whole or not at all."""
    with whole_file(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the block ends well, replacing what was there.

    What was there is set aside under a name of its own until the new folder is in place. Between the two renames `path` is
    missing for a moment; a kill just then leaves both, and `put_back` makes it whole again. This function calls it first,
    as does whoever reads folders after a kill (resuming, `ouvroir doctor --fix`).
    """
    require_system()
    put_back(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        shutil.rmtree(temporary, ignore_errors=True)
        make_folder(temporary)
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    # some libraries write files for their owner alone
                    file.chmod(stat.S_IMODE(file.stat().st_mode) | temporary.stat().st_mode & 0o666)
                    _sync_file(file)
            if path.exists():
                os.replace(path, path.with_name(f".{path.name}.{os.getpid()}.old"))
            os.replace(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            put_back(path)
            raise
        sync_folder(path.parent)
        put_back(path)


def put_back(path: Path) -> None:
    """Return the folder that a killed `whole_folder` had set aside to `path`, or remove it when `path` is there."""
    aside = path.parent.glob(f".{glob.escape(path.name)}.*.old")
    newest_first = sorted(aside, key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    for folder in newest_first:
        if path.exists():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            os.replace(folder, path)
            sync_folder(path.parent)


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def each_line(path: Path, use: Callable[[Any], None]) -> int:
    """Call `use` with each whole JSON line of `path`; a torn last line is left out. Returns the bytes that were whole."""
    whole = 0
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                value = json.loads(line)
            except ValueError:  # no JSON, or no UTF-8
                break
            use(value)
            whole += len(line)
    return whole
