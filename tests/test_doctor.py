import json
import os
import subprocess
import sys
import time
from collections import namedtuple
from importlib import metadata

import pytest

from ouvroir import doctor

A_DEAD_PID = 2**22 - 3  # above what this machine gives out in practice


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def by_subject(findings):
    return {finding.subject: finding for finding in findings}


def make_stale(path, *, is_folder=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_folder:
        path.mkdir()
        (path / "inside").write_text("x")
    else:
        path.write_text("x")
    old = time.time() - 2 * doctor.STALE_SECONDS
    os.utime(path, (old, old))
    return path


def test_a_healthy_machine_is_ready_and_nothing_is_changed(place):
    findings = doctor.examine()
    subjects = by_subject(findings)
    assert {"python", "processor", "memory", "threads", "cache disk", "cache folder", "runs folder", "hub"} <= set(
        subjects
    )
    assert all(finding.next_step for finding in findings if finding.level != "ok")
    assert doctor.as_dict(findings)["ready"] is True
    assert json.loads(json.dumps(doctor.as_dict(findings)))["findings"][0]["subject"] == "python"
    assert not (place / "home").exists()
    assert not (place / "runs").exists()


def test_packages_agree_with_what_is_installed(place):
    subjects = by_subject(doctor.examine())
    assert metadata.version("torch") in subjects["torch"].text
    assert subjects["torch"].level == "ok"


def test_missing_and_old_packages_say_how_to_install(monkeypatch, place):
    needs = ["absent-thing>=1.2", "numpy>=999", 'onnx>=999; extra == "export"', 'ruff; extra == "dev"']
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: needs)
    subjects = by_subject(doctor.examine())
    assert subjects["absent-thing"].level == "fail"
    assert subjects["absent-thing"].next_step == "pip install 'absent-thing>=1.2'"
    assert subjects["numpy"].level == "fail"
    assert "older than 999" in subjects["numpy"].text
    assert subjects["extra:export"].level == "warn"
    assert "ouvroir[export]" in subjects["extra:export"].next_step
    assert "extra:dev" not in subjects
    assert doctor.worst(doctor.examine()) == "fail"


def test_full_disks_are_told_apart(monkeypatch, place):
    usage = namedtuple("usage", "total used free")
    for free, level in ((10**6, "fail"), (10**9, "warn"), (10**11, "ok")):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path, free=free: usage(10**12, 0, free))
        assert by_subject(doctor.examine())["cache disk"].level == level


def test_a_folder_that_cannot_be_written_fails(place, monkeypatch):
    (place / "file").write_text("x")
    monkeypatch.setenv("OUVROIR_HOME", str(place / "file"))
    found = by_subject(doctor.examine())["cache folder"]
    assert found.level == "fail"
    assert "OUVROIR_HOME" in found.next_step


@pytest.mark.parametrize(("value", "level"), [("", "ok"), ("1", "ok"), ("9999", "warn"), ("many", "warn")])
def test_thread_settings(monkeypatch, place, value, level):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert by_subject(doctor.examine())["threads"].level == level


def test_offline_is_respected_and_the_hub_is_never_required(monkeypatch, place):
    def never(address):
        raise AssertionError("the hub was asked although the user works offline")

    monkeypatch.setattr(doctor, "_reach", never)
    assert "Offline by choice" in by_subject(doctor.examine())["hub"].text
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setattr(doctor, "_reach", lambda address: "no answer in time")
    assert by_subject(doctor.examine())["hub"].level == "warn"


def test_an_unreachable_hub_costs_little_time(monkeypatch, place):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    assert by_subject(doctor.examine())["hub"].level == "warn"
    assert time.monotonic() - start < doctor.HUB_TIMEOUT_S + 3


def test_leftovers_are_found_and_cleared(place):
    gone = make_stale(place / "home" / "packs" / f".p1.{A_DEAD_PID}.tmp", is_folder=True)
    file = make_stale(place / "runs" / "r" / f".report.json.{A_DEAD_PID}.tmp")
    mine = make_stale(place / "home" / "packs" / f".p2.{os.getpid()}.tmp")  # its writer lives
    fresh = place / "home" / "packs" / f".p3.{A_DEAD_PID}.tmp"
    fresh.write_text("x")
    other = make_stale(place / "home" / "packs" / ".notes.tmp")  # not one of ours
    assert by_subject(doctor.examine())["leftovers"].level == "warn"
    findings = doctor.examine(fix=True)
    assert sum(finding.text.startswith("Removed") for finding in findings) == 2
    assert by_subject(findings)["leftovers"].level == "ok"
    assert not gone.exists()
    assert not file.exists()
    assert mine.exists()
    assert fresh.exists()
    assert other.exists()


def test_what_is_left_of_a_run_that_was_removed_needs_no_hour(place):
    left = place / "runs" / f".r.{A_DEAD_PID}.gone"
    left.mkdir(parents=True)
    assert left.name in by_subject(doctor.examine())["leftovers"].text
    doctor.examine(fix=True)
    assert not left.exists()


def test_a_folder_set_aside_by_a_killed_replacement_is_put_back(place):
    make_stale(place / "runs" / "r" / f".final_model.{A_DEAD_PID}.old", is_folder=True)
    doctor.examine(fix=True)
    assert (place / "runs" / "r" / "final_model" / "inside").read_text() == "x"
    make_stale(place / "runs" / "r" / f".final_model.{A_DEAD_PID}.old", is_folder=True)
    doctor.examine(fix=True)  # now the original is there, so the one set aside is rubbish
    assert [path.name for path in (place / "runs" / "r").iterdir()] == ["final_model"]


def test_fix_creates_folders(place):
    doctor.examine(fix=True)
    assert (place / "home").is_dir()
    assert (place / "runs").is_dir()


def test_it_runs_without_torch(place):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from ouvroir import doctor\n"
        "print([f.level for f in doctor.examine() if f.subject == 'torch' and 'does not load' in f.text])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['fail']", done.stderr
