"""What Ouvroir keeps on this machine: the caches under `files.home()` and the runs in a folder.

Lists them with sizes and last use, and removes them safely: what a process holds is never touched, and nothing that is
not a cache entry or a run folder is ever deleted. Caches can be made again, except how rows were shared out; runs cannot.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ouvroir.errors import NotWritable, OuvroirError, RunError, UsageError
from ouvroir.files import RUN_FILES, home
from ouvroir.progress import QUIET, Progress
from ouvroir.run import DEFAULT_ROOT, Run
from ouvroir.system import try_lock

Kind = Literal["manifests", "facts", "splits", "packs", "probes"]
KINDS: dict[Kind, str] = {
    "manifests": "what `check` found: one line per file, with its split",
    "facts": "what one look at each file told, so that a second check is quick",
    "splits": "how rows were shared out, so that adding files moves none",
    "packs": "files decoded once, ready for training",
    "probes": "how fast this machine computes each model",
}
SECONDS_PER_DAY = 86_400
NAME_LENGTH = 12
NAMES_SHOWN = 3  # of the data sets that share one entry


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One removable thing in the cache. `name` is the start of its file's name, enough to tell entries of a kind apart.

    `data`: names of the folders, tables or zips it was made from, '' where it does not say.
    `used_at` is seconds since 1970, the last reading or writing of its files.
    """

    kind: Kind
    name: str
    data: str
    path: str
    size_bytes: int
    n_files: int
    used_at: float
    is_busy: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One run for a list: `metric` is the name of the main metric and `value`, `low`, `high` what it was on held-out rows.

    `refit_of`: the name of the judged run that this one is a refit of; it has no figures of its own. `changed_at` is
    seconds since 1970 of the last change of state. Fields are None where the run does not say.
    """

    name: str
    path: str
    state: str
    sentence: str
    task: str | None
    data: str | None
    metric: str | None
    value: float | None
    low: float | None
    high: float | None
    refit_of: str | None
    changed_at: float
    size_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def list_cache() -> list[CacheEntry]:
    """Everything in the cache, by kind, the longest unused first."""
    mapped = _mapped_files()
    found = [_entry(kind, path, mapped) for kind in KINDS for path in _places(kind)]
    order = list(KINDS)
    return sorted(found, key=lambda entry: (order.index(entry.kind), entry.used_at, entry.name))


def clear_cache(
    kinds: Iterable[str] | None = None,
    *,
    names: Iterable[str] | None = None,
    unused_days: float = 0.0,
    dry_run: bool = False,
    progress: Progress = QUIET,
) -> list[CacheEntry]:
    """Remove the entries of these `kinds` and `names` (None: all) that were not used for `unused_days`; return them.

    What a process holds is kept, and said. With `dry_run` nothing is deleted. Raises UsageError on an unknown kind or
    name.
    """
    if unused_days < 0:
        raise UsageError("The number of days cannot be negative.")
    newest = time.time() - unused_days * SECONDS_PER_DAY
    removed: list[CacheEntry] = []
    for entry in _choose(list_cache(), set(kinds or ()), set(names or ())):
        if unused_days and entry.used_at > newest:
            continue
        if not entry.is_busy and (dry_run or _remove(Path(entry.path))):
            removed.append(entry)
        else:
            progress.say(f"{entry.path} is in use, so it is kept.")
    return removed


def list_runs(root: Path = DEFAULT_ROOT) -> list[RunEntry]:
    """All runs in `root`, oldest first. A damaged run is listed with what is wrong with it."""
    return [_run_entry(run) for run in Run.all(root)]


def removable_run(name: str | Path, root: Path = DEFAULT_ROOT) -> Path:
    """Where the run is that may be removed under this name in `root` or this path.

    Raises RunError for a part of a run and for anything that is not a run folder, NotWritable for what this user may not
    delete.
    """
    run = Run.open(name, root)
    path, whole = run.path, run.whole.path
    if whole != path:
        raise RunError(
            f"`{path}` is a part of the run {whole}, which would be worth nothing without it. "
            f"The whole of it goes with: ouvroir runs rm {shlex.quote(str(whole))}"
        )
    missing = [file for file in RUN_FILES if not (path / file).is_file()]
    if missing or path.is_symlink():
        why = "it is a link" if path.is_symlink() else f"it has no {missing[0]}"
        raise RunError(
            f"`{path}` is not a run folder ({why}), so it is not removed. Delete it yourself if you mean it."
        )
    for folder in (path.parent, path, *(Path(above) / one for above, inside, _ in os.walk(path) for one in inside)):
        if not folder.is_symlink() and not os.access(folder, os.W_OK | os.X_OK):
            raise NotWritable(
                f"{path} cannot be removed: this user may not write to {folder}. Nothing was removed. "
                f"Change the permissions, or ask whom it belongs to."
            )
    return path


def remove_run(name: str | Path, root: Path = DEFAULT_ROOT) -> Path:
    """Delete one run folder, given its name in `root` or its path, and return where it was.

    Raises RunError for a run that a process is working on, and what `removable_run` raises.
    """
    path = removable_run(name, root)
    with ExitStack() as stack:
        for held in (path, *sorted(file.parent for file in path.glob("*/status.json"))):  # a job's runs are inside it
            stack.enter_context(Run(held).hold())
        # renamed first, so that an interrupted removal leaves no run that looks whole
        doomed = path.with_name(f".{path.name}.{os.getpid()}.gone")
        os.replace(path, doomed)
    try:
        shutil.rmtree(doomed)
    except OSError as error:
        raise NotWritable(
            f"{path} is removed, except for what could not be deleted ({error.strerror}), which is in {doomed}. "
            "Change its permissions and delete it yourself."
        ) from error
    return path


def size_of(path: Path) -> tuple[int, int, float]:
    """Bytes on disk, number of files, and time of last use (seconds since 1970) of a file or folder; links are not followed."""
    n_bytes, n_files, used_at = 0, 0, 0.0
    for file in _files(path):
        try:
            facts = file.lstat()
        except OSError:  # deleted by its owner meanwhile
            continue
        n_bytes += facts.st_size
        n_files += 1
        used_at = max(used_at, facts.st_mtime, facts.st_atime)
    return n_bytes, n_files, used_at


def _choose(entries: list[CacheEntry], kinds: set[str], names: set[str]) -> list[CacheEntry]:
    unknown = sorted(kinds - set(KINDS))
    if unknown:
        raise UsageError(f"There is no kind of cache called `{unknown[0]}`. There are: {', '.join(KINDS)}.")
    # how rows were shared out is no copy of anything: it goes only when it is named
    entries = [entry for entry in entries if (entry.kind in kinds if kinds else entry.kind != "splits" or names)]
    missing = sorted(names - {entry.name for entry in entries})
    if missing:
        raise UsageError(f"The cache holds nothing called `{missing[0]}`. `ouvroir cache` lists what there is.")
    return [entry for entry in entries if entry.name in names] if names else entries


def _places(kind: Kind) -> list[Path]:
    folder = home() / kind
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix != ".lock"]


def _entry(kind: Kind, path: Path, mapped: str) -> CacheEntry:
    n_bytes, n_files, used_at = size_of(path)
    is_busy = f" {path}/" in mapped or f" {path}\n" in mapped or _is_locked(path)
    name = path.name.partition(".")[0][:NAME_LENGTH]
    return CacheEntry(
        kind, name, _data_of(path), str(path), n_bytes, n_files, used_at or path.lstat().st_mtime, is_busy
    )


def _data_of(path: Path) -> str:
    """Names of the data that an entry was made from, where it says so."""
    from ouvroir.data.arrays import NAMES_FILE, data_name_in

    with suppress(OuvroirError, OSError, ValueError, KeyError, TypeError):
        if path.suffix == ".safetensors":
            return data_name_in(path)
        if (path / "manifest.jsonl").is_file():
            with open(path / "manifest.jsonl", encoding="utf-8") as file:
                return Path(json.loads(file.readline())["source"]).name
        if (path / NAMES_FILE).is_file():
            names = (path / NAMES_FILE).read_text(encoding="utf-8").splitlines()
            return ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
    return ""


def _mapped_files() -> str:
    """The files that processes have mapped into memory, as the kernel lists them; empty where it does not."""
    texts = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            texts.append(maps.read_text(encoding="utf-8", errors="replace"))
        except OSError:  # ended meanwhile, or belongs to somebody else
            continue
    return "".join(texts)


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path):
        for name in names:
            yield Path(folder) / name


def _lock_files(path: Path) -> list[Path]:
    """The locks that guard an entry: inside it, or beside it under its own name."""
    beside = [path.with_name(f"{path.name}.lock"), path.with_name(f".{path.name}.lock")]
    inside = [file for file in _files(path) if file.name.endswith(".lock")]
    return [file for file in [*beside, *inside] if file.is_file() and not file.is_symlink()]


@contextmanager
def _all_locks(path: Path) -> Iterator[bool]:
    """Hold every lock of an entry for the block; gives False when another process holds one."""
    with ExitStack() as stack:
        yield all(try_lock(stack.enter_context(open(lock, "rb"))) for lock in _lock_files(path))


def _is_locked(path: Path) -> bool:
    with _all_locks(path) as is_free:
        return not is_free


def _remove(path: Path) -> bool:
    with _all_locks(path) as is_free:
        if not is_free:
            return False
        if path.is_dir() and not path.is_symlink():
            doomed = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            os.replace(path, doomed)
            shutil.rmtree(doomed)
        else:
            path.unlink(missing_ok=True)
    return True


def _run_entry(run: Run) -> RunEntry:
    state, sentence, changed_at = "failed", "", run.path.stat().st_mtime
    task = data = metric = refit_of = None
    found: dict[str, float] = {}
    try:
        status = run.status()
        state, sentence, changed_at = status["state"], status["sentence"], float(status["time"]) or changed_at
        recipe = run.read_json("recipe.json")  # as text: listing runs must not load their tasks
        task, data = recipe["task"], recipe.get("data", {}).get("source") or None
        refit_of = run.refit_of
        metric, found = run.headline() or (None, {})
    except (OuvroirError, KeyError, TypeError, ValueError) as error:
        state, sentence = "failed", f"The run folder is damaged: {error}"
    return RunEntry(
        name=run.name,
        path=str(run.path),
        state=state,
        sentence=sentence,
        task=task,
        data=data,
        metric=metric,
        value=found.get("value"),
        low=found.get("low"),
        high=found.get("high"),
        refit_of=refit_of,
        changed_at=changed_at,
        size_bytes=size_of(run.path)[0],
    )
