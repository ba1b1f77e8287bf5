"""Predictions whose inputs are opened by worker processes: what one of them does costs its own answer only."""

import subprocess
from types import SimpleNamespace

import byte_task

from ouvroir.predictor import Predictor
from ouvroir.task import Limits


def make(**limits):
    recipe = SimpleNamespace(task=byte_task.NAME)
    return Predictor(
        byte_task.ByteTask(), model=None, processor=byte_task.ByteProcessor(), recipe=recipe, limits=Limits(**limits)
    )


def answer(text):
    return b"".join((3 * byte).to_bytes(4, "little") for byte in text.encode()).hex()


def test_a_crash_and_a_hanging_file_cost_one_input_each(write):
    files = {f"{number:03d}.bin": str(number) for number in range(150)}
    files |= {
        "007.bin": "CRASH encode",
        "008.bin": "HANG encode",
        "100.bin": "BAD",
        "101.bin": "GREEDY",
        "102.bin": "BUG",
    }
    folder = write(files)
    found = make(max_seconds=1.5).predict([folder / name for name in sorted(files)], workers=2, batch_size=7)
    bad = {place: one.error for place, one in enumerate(found) if one.error}
    assert set(bad) == {7, 8, 100, 101, 102}
    assert bad[7].startswith("`007.bin` made its decoder crash (signal 6)")
    assert bad[8].startswith("`008.bin` took longer than 1.5 s")
    assert all(found[place].text == answer(str(place)) for place in range(150) if place not in bad)


def test_what_is_in_memory_goes_through_them_too():
    found = make().predict([b"abc", b"CRASH encode", 17, b"d" * 100_000, 18], workers=1)
    assert [bool(one.error) for one in found] == [False, True, True, False, True]
    assert found[0].text == answer("abc")
    assert "input" in found[1].error


def test_without_workers_no_process_is_started(write, monkeypatch):
    folder = write({"a.bin": "abc"})
    monkeypatch.setattr("subprocess.Popen", None)
    assert make().predict([folder / "a.bin", b"abc"]) == [make().predict([b"abc"])[0]] * 2


def test_inputs_are_taken_as_they_are_needed_and_no_process_stays(write, monkeypatch):
    folder = write({"a.bin": "abc"})
    taken, started = [], []
    popen = subprocess.Popen

    def start(*arguments, **others):
        started.append(popen(*arguments, **others))
        return started[-1]

    monkeypatch.setattr("subprocess.Popen", start)

    def endless():
        while True:
            taken.append(1)
            yield folder / "a.bin"

    answers = make().each(endless(), workers=1, batch_size=5)
    assert [next(answers).text for _ in range(12)] == [answer("abc")] * 12
    assert len(taken) < 200
    answers.close()
    assert started
    assert all(process.poll() is not None for process in started)
