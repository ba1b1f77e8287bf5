"""The processes of a trial: how many there are, what they answer, and what is said when one ends."""

import time

import pytest

from ouvroir.errors import TrainingError, Untried
from ouvroir.training import crew
from ouvroir.training.crew import Crew

WORKER = """
import json, os, signal, sys, time
start = time.time()
for line in sys.stdin:
    job = json.loads(line)
    if job["do"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = {**job, "started": start, "held_bytes": 100}
    if job["do"] in ("fail", "refuse"):
        answer |= {"error": "It cannot be done.", "is_final": job["do"] == "refuse"}
    time.sleep(0.3)
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Crews of a small worker, in a machine with so many free bytes."""
    (tmp_path / "small_worker.py").write_text(WORKER)
    monkeypatch.syspath_prepend(tmp_path)
    crews = []

    def made(free, size=3):
        monkeypatch.setattr(crew, "memory_bytes", lambda: (10**12, free))
        crews.append(Crew("small_worker", size=size))
        return crews[-1]

    yield made
    for one in crews:
        one.close()


def pids(found):
    return {one["hand"] for one in found}


def test_there_is_one_process_a_core_and_one_only_where_memory_is_short(make, tmp_path):
    jobs = [{"do": "work", "number": number} for number in range(6)]
    for free, wanted in ((10**12, 3), (50, 1)):
        found = list(make(free).run(jobs, tmp_path / "log"))
        assert sorted(one["number"] for one in found) == list(range(6))
        assert len(pids(found)) == wanted


def test_what_a_process_needs_is_taken_from_its_first_answer(make, tmp_path):
    few = make(crew._LIKELY_BYTES - 1)  # too little for what is taken to be likely, and much more than is needed
    answers = few.run([{"do": "work"}] * 6, tmp_path / "log")
    found, first = [next(answers)], time.time()
    found += answers
    assert len(pids(found)) > 1
    others = [one for one in found if one["hand"] != found[0]["hand"]]
    assert all(one["started"] > first - 0.2 for one in others)  # none before the first had answered, which takes longer
    assert len(pids(few.run([{"do": "work"}] * 2, tmp_path / "log")) & pids(found)) == 2  # they stay for the next ones


def test_memory_that_those_just_started_will_take_is_not_given_away_twice(make, tmp_path):
    free = 2 * 100 + 50  # for two, once it is known what one needs
    few = make(free, size=8)
    few._peak = 100
    assert len(pids(few.run([{"do": "work"}] * 2, tmp_path / "log"))) == 2
    few._new = {one.pid for one in few._hands}  # as if they had been started a moment ago
    answers = few.run([{"do": "work"}] * 8, tmp_path / "log")
    next(answers)
    assert len(few._hands) <= 3  # the one that answered has what it needs
    answers.close()


@pytest.mark.parametrize(
    ("do", "kind", "told"),
    [("fail", TrainingError, "It cannot"), ("refuse", Untried, "It cannot"), ("die", TrainingError, "memory runs out")],
)
def test_what_goes_wrong_is_said_and_ends_all(make, tmp_path, do, kind, told):
    few = make(10**12)
    with pytest.raises(TrainingError, match=told) as error:
        list(few.run([{"do": "work"}, {"do": do}, {"do": "work"}], tmp_path / "log"))
    assert type(error.value) is kind
    assert few._hands == []
