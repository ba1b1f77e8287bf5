"""The processes that open files: order, limits, and that none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import byte_task
import pytest

from ouvroir.data.workers import _COMMAND, Job, Pool, import_path, n_workers
from ouvroir.errors import DataError
from ouvroir.task import Limits


def pool(root, n=1, **limits):
    return Pool({"job": "inspect", "task": byte_task.NAME, "root": str(root)}, Limits(**limits), n)


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def wait_until_gone(pids, seconds=10.0):
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_answers_come_in_order_and_only_the_culprits_are_lost(write):
    files = {f"{number:03d}.bin": str(number) for number in range(150)}
    files |= {"007.bin": "CRASH inspect", "008.bin": "CRASH inspect", "100.bin": "HANG inspect"}
    folder = write(files)
    with pool(folder, 2, max_seconds=1.5) as workers:
        done = list(workers.run([Job(name) for name in sorted(files)]))
    assert [one.place for one in done] == list(range(150))
    assert {one.place: one.refused[0] for one in done if one.refused} == {7: "crashed", 8: "crashed", 100: "too_slow"}
    assert "signal 6" in done[7].refused[1]


def test_long_texts_do_not_block_the_pipes(folder):
    text = "é" * 300_000
    with pool(folder) as workers:
        done = list(workers.run([Job("", text=f"{number}{text}") for number in range(20)]))
    assert [one.header["size_bytes"] for one in done] == [600_000 + len(str(number)) for number in range(20)]


def test_a_slow_reader_is_not_a_slow_row(write):
    folder = write({f"{number:03d}.bin": str(number) for number in range(40)})
    with pool(folder, max_seconds=0.6) as workers:
        for one in workers.run([Job(f"{number:03d}.bin") for number in range(40)]):
            assert one.refused is None
            if one.place == 3:
                time.sleep(1.2)


def test_any_number_of_jobs_is_taken_as_there_is_room(write):
    folder = write({"a.bin": "a"})
    taken = []

    def jobs():
        for number in range(1000):
            taken.append(number)
            yield Job("a.bin")

    with pool(folder, 2) as workers:
        assert len(workers._workers) == 1
        answers = workers.run(jobs())
        next(answers)
        assert len(taken) <= 2 * 64
        assert len(workers._workers) == 2
        assert sum(1 for _ in answers) == 999


def test_contents_are_taken_when_a_worker_can_have_them(tmp_path):
    taken = []

    def jobs(n_bytes):
        taken.clear()
        for number in range(300):
            taken.append(number)
            yield Job("", content=b"HANG inspect" if number == 20 else bytes(n_bytes))

    for n_bytes, most in ((1, 2 * 8), (20 * 1024**2, 2 * 4)):
        with pool(tmp_path, 8, max_seconds=0.5) as workers:
            answers = workers.run(jobs(n_bytes))
            assert next(answers).refused is None
            assert len(taken) <= most
            if n_bytes == 1:
                assert [one.place for one in answers if one.refused] == [20]
                assert len(workers._workers) > 1


def test_a_few_jobs_start_one_process_which_stays_for_the_next(write):
    folder = write({"a.bin": "a"})
    with pool(folder, 4) as workers:
        for _ in range(3):
            assert len(list(workers.run([Job("a.bin")] * 20))) == 20
        assert len(workers._workers) == 1


def test_content_and_other_roots(write, tmp_path):
    write({"a.bin": "a"})
    (tmp_path / "a.bin").write_bytes(b"other")
    large = bytes(range(256)) * 4000  # more than a pipe holds
    jobs = [Job("a.bin"), Job("a.bin", root=str(tmp_path)), Job("", content=large), Job("", content=b"CRASH inspect")]
    with pool(tmp_path / "source") as workers:
        done = list(workers.run([*jobs, *jobs]))
    assert [one.header.get("size_bytes") for one in done] == [1, 5, len(large), None] * 2
    assert done[3].refused[0] == "crashed"


def test_workers_that_cannot_start_are_told(folder):
    with (
        pytest.raises(DataError, match="do not start"),
        Pool({"job": "inspect", "task": "no_such_module:Task", "root": str(folder)}, Limits(), 1) as workers,
    ):
        list(workers.run([Job("x.bin")]))


def test_files_named_like_modules_are_data(write, monkeypatch):
    """Neither as the folder that a command runs in, nor as that of an interactive Python."""
    names = ["struct.py", "zipfile.py", "json.py", "numpy.py"]
    folder = write(dict.fromkeys(names, "import os; os.abort()") | {"a.bin": "a"})
    monkeypatch.chdir(folder)
    for path in (sys.path, ["", *sys.path]):
        monkeypatch.setattr(sys, "path", path)
        with pool(folder) as workers:
            assert [one.header.get("size_bytes") for one in workers.run([Job("a.bin")])] == [1]


def test_the_command_that_a_failed_start_names_says_nothing_of_a_sound_one():
    done = subprocess.run(
        list(_COMMAND),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(import_path())},
    )
    assert not done.stdout + done.stderr


def test_number_of_workers():
    assert n_workers(None, 10) == 1
    assert n_workers(4, 10) == 1
    assert n_workers(4, 1000) == 4
    assert n_workers(1, 10**6) == 1
    assert 1 <= n_workers(None, 10**6) <= 16


def test_a_worker_loads_no_torch():
    code = "import ouvroir.data._worker, sys; assert 'torch' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


SCRIPT = """
import sys
from ouvroir.data.workers import Job, Pool
from ouvroir.task import Limits
with Pool({"job": "inspect", "task": "byte_task:ByteTask", "root": sys.argv[1]}, Limits(max_seconds=600), 2) as pool:
    print(*[worker.process.pid for worker in pool._workers], flush=True)
    list(pool.run([Job("hang.bin"), Job("hang.bin")]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent_even_in_the_middle_of_a_row(write, how):
    """No guard for `__main__` is needed either: the script starts workers at its top level."""
    folder = write({"hang.bin": "HANG inspect"})
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        time.sleep(1.0)
        assert all(map(alive, pids))
        parent.send_signal(how)
    assert wait_until_gone(pids)
