"""Folders that appear whole or not at all, also when the process is killed in the middle of a replacement."""

import os
import subprocess
import sys

import pytest

from ouvroir.files import put_back, readable_count, readable_duration, whole_folder

REPLACE = """
import os, sys
from pathlib import Path
from ouvroir import files
rename, done = os.replace, []

def replace(*names):
    if len(done) == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
    done.append(names)
    rename(*names)

os.replace = replace
with files.whole_folder(Path(sys.argv[1])) as place:
    (place / "text").write_text("new")
"""


def killed(path, n_renames):
    """Replace `path` in a process that is killed after so many renames."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", REPLACE, str(path), str(n_renames)], check=False, env=environment)
    assert done.returncode == -9


def write(path, text):
    with whole_folder(path) as place:
        (place / "text").write_text(text)


def test_files_of_a_folder_can_be_read_by_whom_others_there_can(tmp_path):
    with whole_folder(tmp_path / "it") as place:
        (place / "usual").write_text("a")
        os.close(os.open(place / "narrow", os.O_CREAT | os.O_WRONLY, 0o600))
    assert (tmp_path / "it" / "narrow").stat().st_mode == (tmp_path / "it" / "usual").stat().st_mode


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    path = tmp_path / "f[1]"
    write(path, "old")
    killed(path, 1)
    assert not path.exists()  # the state in question
    put_back(path)
    assert (path / "text").read_text() == "old"


@pytest.mark.parametrize("n_renames", [0, 1])
def test_the_same_work_again_ends_as_if_nothing_had_been(tmp_path, n_renames):
    path = tmp_path / "folder"
    write(path, "old")
    killed(path, n_renames)
    write(path, "newer")
    assert (path / "text").read_text() == "newer"
    assert not list(tmp_path.glob(".folder.*.old"))


def test_when_the_work_again_fails_the_old_folder_is_there(tmp_path):
    path = tmp_path / "folder"
    write(path, "old")
    killed(path, 1)
    with pytest.raises(KeyError), whole_folder(path):
        raise KeyError
    assert (path / "text").read_text() == "old"


def test_a_rename_that_fails_leaves_the_old_folder(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    write(path, "old")
    rename, calls = os.replace, []

    def second_fails(*names):
        calls.append(names)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(*names)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="Input/output"):
        write(path, "new")
    assert (path / "text").read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_durations_for_a_person():
    said = [readable_duration(seconds) for seconds in (0.2, 1.2, 45.4, 720, 12_240)]
    assert said == ["under a second", "about 1 s", "about 45 s", "about 12 min", "about 3.4 h"]


def test_one_of_something_is_not_many():
    assert [readable_count(n, "row") for n in (0, 1, 12_000)] == ["0 rows", "1 row", "12,000 rows"]
    assert [readable_count(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
