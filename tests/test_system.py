"""The processor cores that may be used, and what is said on a system that Ouvroir does not run on."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ouvroir
from ouvroir import system
from ouvroir.errors import RunBusy
from ouvroir.run import Run

WINDOWS = "import sys; sys.modules['fcntl'] = None\n"  # where the module is not there, as on Windows


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", WINDOWS + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_tests_that_were_started_with_sigint_ignored_hear_it_and_so_do_their_children():
    """As `nohup make test-all &` starts them."""
    child = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    code = (
        f"import runpy, subprocess, sys; runpy.run_path(sys.argv[1]); subprocess.run([sys.executable, '-c', {child!r}])"
    )
    done = subprocess.run(
        [
            "sh",
            "-c",
            'trap "" INT; exec "$@"',
            "sh",
            sys.executable,
            "-c",
            code,
            Path(__file__).with_name("conftest.py"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"


@pytest.mark.parametrize("arguments", [("doctor",), ("check", "."), ("--help",)])
def test_the_command_says_where_it_runs(arguments):
    done = python("from ouvroir.cli import main; main()", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("ouvroir: Ouvroir runs on Linux and macOS.")
    assert "WSL" in done.stderr
    assert "Traceback" not in done.stderr


def test_from_python_it_imports_and_says_so_when_something_is_asked_of_it(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"x")
    code = (
        "import ouvroir\ntry:\n    ouvroir.check(sys.argv[1])\nexcept ouvroir.OuvroirError as error:\n    print(error)"
    )
    done = python(code, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Ouvroir runs on Linux and macOS.")


def test_a_look_at_a_run_does_not_make_it_busy(tmp_path):
    """`Run.is_held` of another process takes the lock for a moment, which must not end a training that begins."""
    run = Run(tmp_path)
    with run.hold(), pytest.raises(RunBusy), Run(tmp_path).hold():
        pass
    with open(tmp_path / ".lock", "rb") as look:
        assert system.try_lock(look, shared=True)
        threading.Timer(0.05, look.close).start()
        with run.hold():
            assert look.closed
            assert Run(tmp_path).is_held()
    assert not run.is_held()


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({}, 8),
    ],
)
def test_a_containers_quota_counts(tmp_path, monkeypatch, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(system, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert system.usable_cores() == cores


def test_cores_are_counted_in_one_place():
    package = Path(ouvroir.__file__).parent
    for path in package.rglob("*.py"):
        if path.name != "system.py":
            assert not re.search(r"sched_getaffinity|process_cpu_count", path.read_text(encoding="utf-8")), path
            # the doctor tells the cores of the machine beside those that may be used
            assert path.name == "doctor.py" or "cpu_count" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("version", [1, 2])
def test_memory_is_that_of_the_container_and_files_that_it_caches_are_free(tmp_path, monkeypatch, version):
    total, free = system.memory_bytes()
    assert 0 < free <= total
    folder = tmp_path if version == 2 else tmp_path / "memory"
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(system, "_CGROUP", tmp_path)
    (folder / names[0]).write_text("5000\n")
    (folder / names[1]).write_text("4000\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} 1500\nactive_file 9\n")
    assert system.memory_bytes() == (5000, 2500)
    (folder / names[0]).write_text("max\n")
    assert system.memory_bytes()[0] == total


def test_what_a_process_holds_is_what_it_has_of_its_own(tmp_path):
    before = system.held_bytes()
    held = bytearray(os.urandom(1) * 50_000_000)
    assert system.held_bytes() - before > 40_000_000
    assert len(held) == 50_000_000
