"""What users do by mistake, through the command line: each ends in a sentence, counts that add up, and untouched files."""

import csv
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from ouvroir.media import suffixes_of
from pictures import (
    QUICK,
    call,
    call_json,
    environment,
    read_object,
    run,
    unchanged,
    write_damaged,
    write_digits,
    write_zip,
)

IS_ROOT = os.geteuid() == 0
SHORT = (*QUICK, "--set", "loop.steps=3")
# Without its capabilities root is held by permissions as anyone is; another user may be unable to start this interpreter.
AS_ANYONE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if IS_ROOT else ()
needs_anyone = pytest.mark.skipif(IS_ROOT and not shutil.which("setpriv"), reason="root may read and write everything")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_below(folder):
    return sum(path.is_file() or path.is_symlink() for path in Path(folder).rglob("*"))


def refused_everywhere(data, hint, *, check_status=1):
    """`check`, `train` and `refine` answer `data` with a sentence that holds `hint`; no run is left."""
    source = Path(data)
    folder = source if source.is_dir() else source.parent
    with unchanged(folder):
        done = call("check", data, status=check_status)
        assert hint in done.stdout + done.stderr
        for verb in ("train", "refine"):
            done = call(verb, data, *SHORT, "--json", status=1)
            told = read_object(done.stdout)
            assert hint in told["message"]
            assert told["message"] in done.stderr
    assert not Path("runs").exists()


# ---------------------------------------------------------------- nothing to learn from


def test_empty_folder():
    Path("data").mkdir()
    refused_everywhere("data", "is empty. Put files into it, one folder for each class")


def test_folder_without_pictures():
    Path("data").mkdir()
    Path("data/notes.xyz").write_text("hello")
    Path("data/paper.pdf").write_bytes(b"%PDF-1.4")
    refused_everywhere("data", "None of the 2 files")


def test_path_that_does_not_exist(place):
    refused_everywhere(place / "nothere", "There is nothing at")


def test_one_class():
    write_digits("data", classes="7", per_class=8)
    refused_everywhere("data", "needs two or more to tell apart", check_status=0)


def test_pictures_outside_class_folders():
    write_digits("data", classes="7")
    refused_everywhere("data/7", "Sort them into folders inside it")


def test_a_single_picture_is_not_a_data_set():
    write_digits("data", classes="7", per_class=1)
    refused_everywhere(next(Path("data").rglob("*.png")), "is one file")


@pytest.mark.parametrize("name", ["set.zip", "set.csv", "set.jsonl", "set.parquet"])
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 and then nothing", bytes(range(256)) * 8], ids=["0", "zip", "any"]
)
def test_garbage_under_a_known_extension(name, content):
    Path("data").mkdir()
    Path("data", name).write_bytes(content)
    refused_everywhere(f"data/{name}", name)


def test_every_picture_damaged():
    for label in "ab":
        Path("data", label).mkdir(parents=True)
        Path("data", label, "one.png").write_bytes(b"")
        Path("data", label, "two.png").write_text("no picture")
    refused_everywhere("data", "None of")
    assert call_json("check", "data", status=1)["refused"] == 4


# ---------------------------------------------------------------- damage among good files


def test_damaged_files_are_counted_and_the_others_used(place):
    codes = write_damaged(place / "data")
    with unchanged(place / "data"):
        told = call_json("check", "data")
        assert told["found"] == files_below("data") == told["admitted"] + told["refused"]
        assert {one["id"]: one["code"] for one in told["refusals"]} == codes
        assert told["refused_by_code"] == dict.fromkeys(codes.values(), 1)
        assert any("JPEG" in note["text"] and "really.jpg.png" in note["text"] for note in told["notes"])
        shown = call("check", "data").stdout
        for name in codes:
            assert name in shown
        trained = call_json("train", "data", *SHORT)
        assert trained["state"] == "finished"
    page = Path(trained["report"]).read_text(encoding="utf-8")
    assert "empty.png" in page  # the ledger is in the report


def test_one_picture_in_a_class_goes_into_train_and_is_said():
    write_digits("data")
    write_digits("data", classes="9", per_class=1)
    with unchanged("data"):
        told = call_json("check", "data")
        assert told["counts"]["train"]["9"] == 1
        assert "9" not in told["counts"]["test"]
        assert any("`9`" in note["text"] and "train" in note["text"] for note in told["notes"])
        assert call_json("train", "data", *SHORT)["state"] == "finished"


def test_zip_with_names_that_lead_out(place):
    write_digits("inside", classes="01")
    write_zip(place / "data.zip", "inside", extra=["../../escaped.png", "0/../../../escaped.png", "/abs/escaped.png"])
    before = {path for path in place.parent.rglob("*") if "escaped" in path.name}
    told = call_json("check", "data.zip")
    assert told["found"] == 15 == told["admitted"] + told["refused"]
    assert told["refused_by_code"]["unsafe_path"] >= 2
    assert call_json("train", "data.zip", *SHORT)["state"] == "finished"
    assert {path for path in place.parent.rglob("*") if "escaped" in path.name} == before
    assert not Path("/abs").exists()


def test_label_file_that_names_missing_pictures(place):
    write_digits("data")
    names = sorted(path.relative_to("data") for path in Path("data").rglob("*.png"))
    lines = [f"{name},{name.parent}" for name in names] + ["0/nothere.png,0", "../outside.png,1", "/etc/passwd,2"]
    Path("data/labels.csv").write_text("\n".join(["path,label", *lines]))
    with unchanged("data"):
        told = call_json("check", "data/labels.csv")
        assert told["found"] == 27
        assert (told["admitted"], told["refused"]) == (24, 3)
        assert all("labels.csv#" in one["id"] for one in told["refusals"])
        assert any("`0/nothere.png`" in one["reason"] for one in told["refusals"])
        assert call_json("train", "data/labels.csv", *SHORT)["state"] == "finished"


def test_many_refusals_of_one_kind_leave_room_for_the_others(place):
    write_digits("data")
    named = [f"{path.relative_to('data')},x" for path in Path("data").rglob("*.png")]
    lines = [*named[:-2], *(f"0/{number},x" for number in range(900, 930)), *(f"{line[:-1]}" for line in named[-2:])]
    Path("data/labels.csv").write_text("\n".join(["path,label", *lines]))
    shown = call("check", "data/labels.csv", status=0).stdout
    assert shown.count("\n  missing: `labels.csv#") == 3
    assert "\n  missing: 27 more, 30 in all; `--json` lists every one." in shown
    assert shown.count("\n  no_label: ") == 2


@needs_anyone
def test_files_and_folders_that_may_not_be_read(place):
    write_digits("data")
    locked, closed = next(Path("data/0").iterdir()), Path("data/3")
    locked.chmod(0)
    closed.chmod(0)
    try:
        told = read_object(run("check", "data", "--json", prefix=AS_ANYONE).stdout)
        assert told["found"] == told["admitted"] + told["refused"]
        assert told["admitted"] == 17
        reasons = {one["id"]: one["code"] for one in told["refusals"]}
        assert f"0/{locked.name}" in reasons
        assert any(name.startswith("3") for name in reasons), (
            reasons
        )  # a folder that cannot be listed is no silent loss
        assert read_object(run("train", "data", *SHORT, "--json", prefix=AS_ANYONE).stdout)["state"] == "finished"
        Path("data").chmod(0)
        assert "data" in run("check", "data", status=1, prefix=AS_ANYONE).stderr
    finally:
        for path in (Path("data"), closed, locked):
            path.chmod(0o755)


@needs_anyone
def test_read_only_data_folder(place):
    write_digits("data")
    below = [Path("data"), *Path("data").rglob("*")]
    for path in below:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    with unchanged("data"):
        done = run("refine", "data", *SHORT, "--json", prefix=AS_ANYONE)
    assert read_object(done.stdout)["state"] == "finished"
    for path in below:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


@needs_anyone
def test_places_that_may_not_be_written(place):
    write_digits("data")
    Path("shut").mkdir()
    Path("shut").chmod(0o555)
    done = run("train", "data", *SHORT, "--runs", "shut/runs", "--json", status=1, prefix=AS_ANYONE)
    assert "--runs" in read_object(done.stdout)["message"]
    for verb in (["check", "data"], ["train", "data", *SHORT]):
        closed = environment(OUVROIR_HOME=str(place / "shut" / "home"))
        done = run(*verb, "--json", status=1, prefix=AS_ANYONE, env=closed)
        assert "OUVROIR_HOME" in read_object(done.stdout)["message"]
    Path("file").write_text("in the way")
    closed = environment(OUVROIR_HOME=str(place / "file"))
    assert "OUVROIR_HOME" in run("check", "data", status=1, env=closed).stderr
    assert "--runs" in run("train", "data", *SHORT, "--runs", "file", status=1).stderr


@needs_anyone
def test_a_run_that_may_not_be_deleted_stays_whole(place):
    write_digits("data")
    made = Path(call_json("train", "data", *SHORT)["run"])
    for shut in (made, made / "final_model", made.parent):
        shut.chmod(0o555)
        with unchanged(made):
            done = run("runs", "rm", made, "-y", status=1, prefix=AS_ANYONE)
        shut.chmod(0o755)
        assert f"may not write to {shut}. Nothing was removed" in done.stderr
        assert [path.name for path in made.parent.iterdir()] == [made.name]
    call("runs", "rm", made, "-y")
    assert not list(made.parent.iterdir())


@needs_anyone
def test_a_sample_where_nothing_may_be_written(place):
    Path("shut").mkdir()
    Path("shut").chmod(0o555)
    done = run("sample", "image-classification", "shut/digits", status=1, prefix=AS_ANYONE)
    assert "shut/digits cannot be written" in done.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_places_that_take_no_folders(place):
    write_digits("data")
    assert "/proc/digits" in call("sample", "image-classification", "/proc/digits", status=1).stderr
    assert "--runs" in call("train", "data", *SHORT, "--runs", "/proc/runs", status=1).stderr
    closed = environment(OUVROIR_HOME="/proc/home")
    assert "Set OUVROIR_HOME" in run("check", "data", status=1, env=closed).stderr


# ---------------------------------------------------------------- files that change under way


def test_file_deleted_between_check_and_training():
    write_digits("data")
    first = call_json("check", "data")
    gone = next(Path("data/2").iterdir())
    gone.unlink()
    told = call_json("train", "data", *SHORT)
    assert told["state"] == "finished"
    assert call_json("check", "data")["found"] == first["found"] - 1


@pytest.mark.parametrize("change", ["delete", "change", "empty"])
def test_file_changed_between_check_and_packing(monkeypatch, change):
    """The change happens after the rows are admitted and before they are encoded."""
    from ouvroir import workflow

    write_digits("data")
    victim = sorted(Path("data/2").iterdir())[2]
    real = workflow.prepare

    def meddle(*args, **kwargs):
        if change == "delete":
            victim.unlink(missing_ok=True)
        elif change == "empty":
            victim.write_bytes(b"")
        else:
            victim.write_bytes(next(Path("data/1").iterdir()).read_bytes())
        return real(*args, **kwargs)

    monkeypatch.setattr(workflow, "prepare", meddle)
    told = read_object(call("train", "data", *SHORT, "--json", status=1).stdout)
    assert f"2/{victim.name}" in told["message"]
    assert "?." not in told["message"]
    assert "ouvroir train" in told["message"] or "ouvroir check" in told["message"] or "again" in told["message"]
    monkeypatch.undo()
    status = call_json("runs", "--runs", "runs") if Path("runs").exists() else {"runs": []}
    assert all(one["state"] == "failed" for one in status["runs"])


# ---------------------------------------------------------------- full disks


@pytest.fixture
def small_disk(place):
    """A function that gives a folder on a disk of so many kilobytes."""
    mounted = []

    def make(name, kilobytes):
        folder = place / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        if not IS_ROOT or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("a small disk cannot be mounted here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def full(done):
    told = read_object(done.stdout)
    assert told["error"] == "DiskFull"
    assert "free" in told["message"].lower()
    assert "Traceback" not in done.stderr
    return told["message"]


def test_disk_full_while_packing(small_disk, monkeypatch):
    write_digits("data", per_class=40)
    home = small_disk("tight", 200)
    monkeypatch.setenv("OUVROIR_HOME", str(home))
    with unchanged("data"):
        full(call("train", "data", *SHORT, "--set", "options.storage_px=64", "--json", status=1))
    monkeypatch.setenv("OUVROIR_HOME", str(home.parent / "home"))
    assert call_json("train", "data", *SHORT)["state"] == "finished"


@pytest.mark.parametrize("kilobytes", [16, 400, 1500])
def test_disk_full_while_saving(small_disk, kilobytes):
    """The run lies on a disk that holds nothing, not one checkpoint, or not two; the same run goes on with more room."""
    write_digits("data", per_class=10)
    runs = small_disk("tight", kilobytes)
    settings = (*QUICK, "--set", "loop.steps=8", "--set", "loop.save_every=2", "--runs", runs)
    full(call("train", "data", *settings, "--json", status=1))
    found = call_json("runs", "--runs", runs)["runs"]
    subprocess.run(["mount", "-o", "remount,size=40m", str(runs)], check=True)
    if found:
        assert found[0]["state"] in ("queued", "failed", "stopped")
        assert call_json("train", "--resume", found[0]["name"], "--runs", runs)["state"] == "finished"
    assert not list(runs.rglob("*.tmp"))


def test_disk_full_while_reporting(small_disk):
    write_digits("data", per_class=10)
    runs = small_disk("tight", 40_000)
    told = call_json("train", "data", *QUICK, "--set", "loop.steps=4", "--runs", runs)
    page = Path(told["report"])
    before = page.read_bytes()
    stuff(runs)
    full(call("report", told["name"], "--runs", runs, "--language", "fr", "--json", status=1))
    assert page.read_bytes() == before  # the earlier one is whole


def stuff(folder):
    """Fill the disk to the last byte."""
    with open(folder / "stuffing", "wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass


# ---------------------------------------------------------------- the malformed collection


def malformed_pictures():
    root = os.environ.get("OUVROIR_TEST_DATA")
    if not root or not Path(root, "malformed", "files.csv").is_file():
        return []
    with open(Path(root, "malformed", "files.csv"), newline="", encoding="utf-8") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    suffixes = suffixes_of("image-classification")
    return [Path(root, "malformed", name) for name in names if Path(name).suffix.lower() in suffixes]


@pytest.mark.skipif(not malformed_pictures(), reason="OUVROIR_TEST_DATA is not set")
def test_malformed_collection_has_one_outcome_for_every_file():
    pictures = malformed_pictures()
    write_digits("data")
    for number, path in enumerate(pictures):
        shutil.copyfile(path, Path("data", "01"[number % 2], f"{number:02d}_{path.name}"))
    with unchanged("data"):
        told = call_json("check", "data")
        assert len(pictures) >= 25
        assert told["found"] == 24 + len(pictures) == told["admitted"] + told["refused"]
        refused = [one["id"] for one in told["refusals"]]
        assert len(set(refused)) == len(refused) == told["refused"]
        assert told["refused"] == sum(told["refused_by_code"].values())
        assert all(one["reason"].endswith((".", "!", "?")) for one in told["refusals"])
        assert call_json("train", "data", *SHORT)["state"] == "finished"


def test_predict_on_damage_answers_for_every_file(place):
    write_damaged(place / "data")
    call("train", "data", *SHORT)
    names = sorted(str(path) for path in Path("data").rglob("*.png"))
    told = call_json("predict", "last", *names, status=1)["predictions"]
    assert [one["input"] for one in told] == names
    assert sum("error" in one for one in told) == 5


def test_a_damaged_run_is_told(place):
    write_digits("data")
    told = call_json("train", "data", *SHORT)
    folder = Path(told["run"])
    (folder / "recipe.json").write_text("{broken")
    for arguments in (["refit", "last"], ["evaluate", "last", "data"], ["train", "--resume", told["name"]]):
        assert "recipe" in call(*arguments, status=1).stderr
    assert told["name"] in call("runs").stdout
    (folder / "final_model" / "model.safetensors").write_bytes(b"nonsense")
    assert "is damaged" in call("predict", told["name"], "data", status=1).stderr
    call("runs", "rm", "--yes", told["name"])
    assert not folder.exists()
