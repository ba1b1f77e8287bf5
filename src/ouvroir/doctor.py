"""Is this machine ready? Looks at Python, packages, processor, memory, disks, folders and the hub, and says what to do.

Nothing here is needed for training: every look is quick, fails softly and changes nothing unless `fix` is asked for.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from ouvroir.files import home, readable_count, readable_size
from ouvroir.run import DEFAULT_ROOT
from ouvroir.system import memory_bytes, usable_cores

Level = Literal["ok", "warn", "fail"]
OLDEST_PYTHON = (3, 11)
HUB_TIMEOUT_S = 2.0
LEAST_FREE_BYTES = 500_000_000
COMFORTABLE_FREE_BYTES = 5_000_000_000
LEAST_MEMORY_BYTES = 2_000_000_000
STALE_SECONDS = 3_600
EXTRA_PURPOSES = {
    "table": "Parquet tables",
    "text": "texts",
    "audio": "sounds",
    "video": "videos",
    "pretrained": "pretrained models",
    "export": "the ONNX format",
    "gguf": "files for llama.cpp",
}
_TEMPORARY = re.compile(r"^\.(?P<name>.+)\.(?P<pid>\d+)\.(?P<kind>tmp|old|gone)$")  # gone: removed in part
_CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination. `subject` is a stable short name, `next_step` empty when there is nothing to do."""

    subject: str
    level: Level
    text: str
    next_step: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def examine(*, fix: bool = False, runs: Path = DEFAULT_ROOT) -> list[Finding]:
    """Look at everything, in the order a person would; with `fix`, first create folders and clear what crashes left."""
    findings = _fix(runs) if fix else []
    looks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        _extras,
        _processor,
        _accelerators,
        _memory,
        _threads,
        lambda: _disks(runs),
        lambda: _folders(runs),
        lambda: _leftovers(runs),
        _hub,
    ]
    for look in looks:
        findings += look()
    return findings


def worst(findings: list[Finding]) -> Level:
    """The gravest level among the findings: `fail` means that Ouvroir cannot work here."""
    levels = {finding.level for finding in findings}
    return "fail" if "fail" in levels else "warn" if "warn" in levels else "ok"


def as_dict(findings: list[Finding]) -> dict[str, Any]:
    """Plain JSON values: `ready` (nothing fails), `worst`, `findings`."""
    level = worst(findings)
    return {"ready": level != "fail", "worst": level, "findings": [finding.as_dict() for finding in findings]}


# ---------------------------------------------------------------- Python and packages


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        yield Finding("python", "fail", f"Python {version} is too old.", f"Install Python {wanted} or newer.")
    else:
        yield Finding("python", "ok", f"Python {version} on {platform.system()} {platform.machine()}.")


def _packages() -> Iterator[Finding]:
    """The core requirements, read from the installed package itself so that no second list can go stale."""
    try:
        requirements = metadata.requires("ouvroir") or []
        version = metadata.version("ouvroir")
    except metadata.PackageNotFoundError:
        yield Finding("packages", "warn", "Ouvroir runs from a folder and is not installed.", "pip install -e .")
        return
    yield Finding("ouvroir", "ok", f"Ouvroir {version}.")
    for name, least, extra in map(_read_requirement, requirements):
        if not extra:
            yield _package(name, least)


def _package(name: str, least: str) -> Finding:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "fail", f"{name} is not installed.", f"pip install '{name}>={least}'")
    if _as_numbers(found) < _as_numbers(least):
        return Finding(
            name, "fail", f"{name} {found} is older than {least}.", f"pip install --upgrade '{name}>={least}'"
        )
    return Finding(name, "ok", f"{name} {found}.")


def _extras() -> Iterator[Finding]:
    wanted: dict[str, list[tuple[str, str]]] = {}
    try:
        requirements = metadata.requires("ouvroir") or []
    except metadata.PackageNotFoundError:
        return
    for name, least, extra in map(_read_requirement, requirements):
        if extra in EXTRA_PURPOSES:
            wanted.setdefault(extra, []).append((name, least))
    for extra, packages in wanted.items():
        lacking = [name for name, least in packages if _package(name, least).level != "ok"]
        purpose = EXTRA_PURPOSES[extra]
        if lacking:
            text = f"Without {', '.join(lacking)} there is no support for {purpose}."
            yield Finding(f"extra:{extra}", "warn", text, f"If you want it: pip install 'ouvroir[{extra}]'")
        else:
            yield Finding(f"extra:{extra}", "ok", f"Ready for {purpose}: {', '.join(name for name, _ in packages)}.")


def _read_requirement(text: str) -> tuple[str, str, str]:
    """(name, least version, extra) of a requirement such as `onnx>=1.18; extra == "export"`."""
    name = re.match(r"[A-Za-z0-9._-]+", text)
    least = re.search(r">=\s*([0-9.]+)", text)
    extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", text)
    return (name[0] if name else text), (least[1] if least else "0"), (extra[1] if extra else "")


def _as_numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


# ---------------------------------------------------------------- processor, devices, memory


def _processor() -> Iterator[Finding]:
    flags = _cpu_flags()
    features = [name for name in _CPU_FEATURES if name in flags]
    n_cores, n_usable = os.cpu_count() or 1, usable_cores()
    text = f"{_cpu_name()}, {n_usable} of {n_cores} cores may be used" + (
        f"; {', '.join(features)}." if features else "."
    )
    yield Finding("processor", "ok", text)
    if platform.machine() in ("x86_64", "AMD64") and flags and "avx2" not in flags:
        yield Finding(
            "processor", "warn", "The processor lacks AVX2, so training will be slow.", "Prefer a newer machine."
        )
    try:
        load = os.getloadavg()[0]
    except OSError:
        return
    if load > n_usable * 1.5:
        step = "Close other work before training with --minutes: the speed is measured at the start."
        yield Finding("load", "warn", f"The machine is busy: load {load:.1f} on {n_usable} cores.", step)


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    return set(found[1].split()) if found else set()


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _accelerators() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "fail", f"PyTorch does not load: {error}", "pip install --force-reinstall torch")
        return
    if torch.cuda.is_available():
        for place in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(place)
            bf16 = "with bf16" if torch.cuda.is_bf16_supported() else "without bf16"
            yield Finding(f"cuda:{place}", "ok", f"{facts.name}, {readable_size(facts.total_memory)}, {bf16}.")
    elif torch.backends.mps.is_available():
        yield Finding("mps", "ok", "An Apple GPU is there: --device mps.")
    elif shutil.which("nvidia-smi") and torch.version.cuda is None:
        step = "Install a CUDA build of torch: https://pytorch.org/get-started/locally"
        yield Finding("cuda", "warn", "There is an NVIDIA driver, but this torch was built for the CPU only.", step)
    else:
        kind = torch.backends.cpu.get_cpu_capability()
        yield Finding("device", "ok", f"No GPU; training runs on the CPU ({kind}). Small models do well there.")


def _memory() -> Iterator[Finding]:
    total, free = memory_bytes()
    if total is None:
        return
    if free is None:
        yield Finding("memory", "ok", f"{readable_size(total)} memory.")
        return
    text = f"{readable_size(free)} of {readable_size(total)} memory is free."
    if free < LEAST_MEMORY_BYTES:
        yield Finding("memory", "warn", text, "Close other programs, or use --set model.preset=tiny.")
    else:
        yield Finding("memory", "ok", text)


def _threads() -> Iterator[Finding]:
    n_usable = usable_cores()
    text = os.environ.get("OMP_NUM_THREADS", "")
    if not text:
        yield Finding("threads", "ok", "OMP_NUM_THREADS is not set; the number of threads is measured at the start.")
    elif not text.isdigit() or int(text) < 1:
        yield Finding("threads", "warn", f"OMP_NUM_THREADS is {text!r}, which is no number.", "unset OMP_NUM_THREADS")
    elif int(text) > n_usable:
        said = (
            f"OMP_NUM_THREADS is {text}, but {n_usable} cores may be used; threads that wait for each other are slow."
        )
        yield Finding("threads", "warn", said, f"export OMP_NUM_THREADS={n_usable}")
    else:
        yield Finding("threads", "ok", f"OMP_NUM_THREADS is {text}.")


# ---------------------------------------------------------------- disks and folders


def _disks(runs: Path) -> Iterator[Finding]:
    for subject, folder in (("cache disk", home()), ("runs disk", runs.absolute())):
        free = shutil.disk_usage(_nearest(folder)).free
        text = f"{readable_size(free)} free for {folder}."
        step = "Free some space; `ouvroir cache` shows what Ouvroir keeps, and OUVROIR_HOME moves it to another disk."
        if free < LEAST_FREE_BYTES:
            yield Finding(subject, "fail", text, step)
        elif free < COMFORTABLE_FREE_BYTES:
            yield Finding(subject, "warn", text, step)
        else:
            yield Finding(subject, "ok", text)


def _folders(runs: Path) -> Iterator[Finding]:
    steps = {
        "cache folder": "Set OUVROIR_HOME to a folder of yours.",
        "runs folder": "Work in a folder of yours, or use --runs.",
    }
    places = {"cache folder": home(), "runs folder": runs.absolute(), "temporary folder": Path(tempfile.gettempdir())}
    for subject, folder in places.items():
        problem = _write_problem(_nearest(folder))
        if problem:
            step = steps.get(subject, "Set TMPDIR to a folder of yours.")
            yield Finding(subject, "fail", f"{folder} cannot be written to: {problem}.", step)
        else:
            there = "" if folder.exists() else " (made when needed)"
            yield Finding(subject, "ok", f"{folder} can be written to{there}.")


def _nearest(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _write_problem(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _leftovers(runs: Path) -> Iterator[Finding]:
    found = [*stale_files(home()), *stale_files(runs)]
    if found:
        were = readable_count(len(found), "temporary file or folder was", "temporary files or folders were")
        text = f"{were} left by work that was killed, such as {found[0]}."
        yield Finding("leftovers", "warn", text, "ouvroir doctor --fix")
    else:
        yield Finding("leftovers", "ok", "No leftovers of killed work.")


def stale_files(root: Path) -> list[Path]:
    """Temporary files and folders under `root` whose writer is gone for at least an hour, outermost only.

    What it was removing needs no hour: nobody waits for it.
    """
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        stale = [Path(folder) / name for name in (*folders, *files) if _is_stale(Path(folder) / name)]
        folders[:] = [name for name in folders if Path(folder) / name not in stale]
        found += stale
    return sorted(found)


def _is_stale(path: Path) -> bool:
    name = _TEMPORARY.match(path.name)
    if not name or _is_alive(int(name["pid"])):
        return False
    try:
        return name["kind"] == "gone" or time.time() - path.lstat().st_mtime > STALE_SECONDS
    except OSError:
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _fix(runs: Path) -> list[Finding]:
    findings = []
    for folder in (home(), runs.absolute()):
        if not folder.exists():
            try:
                folder.mkdir(parents=True)
                findings.append(Finding("fixed", "ok", f"Created {folder}."))
            except OSError as error:
                said = (error.strerror or str(error)).lower()
                findings.append(
                    Finding("fixed", "warn", f"{folder} could not be created: {said}.", "Choose another place.")
                )
    return findings + [_clear(path) for path in [*stale_files(home()), *stale_files(runs)]]


def _clear(path: Path) -> Finding:
    """Remove a leftover; a folder set aside by a replacement that never finished goes back to its place instead."""
    name = _TEMPORARY.match(path.name)
    assert name is not None
    original = path.with_name(name["name"])
    try:
        if name["kind"] == "old" and not original.exists():
            path.rename(original)
            return Finding("fixed", "ok", f"Put back {original}, which a killed replacement had set aside.")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        return Finding("fixed", "warn", f"{path} could not be removed: {said}.", "Remove it yourself.")
    return Finding("fixed", "ok", f"Removed {path}.")


# ---------------------------------------------------------------- the hub


def _hub() -> Iterator[Finding]:
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            yield Finding(
                "hub", "ok", f"Offline by choice ({variable} is set). Local files and folders are all that is used."
            )
            return
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    problem = _reach(address)
    if problem:
        text = f"{address} was not reached within {HUB_TIMEOUT_S:g} s ({problem}). Only hub names need it."
        yield Finding(
            "hub", "warn", text, "Give folders instead of hub names, or set HF_HUB_OFFLINE=1 to skip the attempt."
        )
    elif importlib.util.find_spec("transformers") is None:
        text = f"{address} answers, but transformers is missing, so nothing can be loaded from it."
        yield Finding("hub", "warn", text, "If you want it: pip install 'ouvroir[pretrained]'")
    else:
        yield Finding("hub", "ok", f"{address} answers.")


def _reach(address: str) -> str:
    """Why `address` could not be reached in time; empty when it was. Looking up a name has no time-out of its own."""
    if not address.startswith(("https://", "http://")):
        return "not a web address"
    outcome: list[str] = []

    def attempt() -> None:
        request = urllib.request.Request(address, method="HEAD")  # noqa: S310 -- the scheme was checked above
        try:
            with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S):  # noqa: S310
                outcome.append("")
        except urllib.error.HTTPError:
            outcome.append("")  # it answered, whatever it thinks of the question
        except (OSError, ValueError) as error:
            outcome.append(str(getattr(error, "reason", error)) or "no answer")

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT_S)
    return outcome[0] if outcome else "no answer in time"
