"""What a run says of itself while a process is at work on it, and after that."""

import pytest

from ouvroir.errors import CheckpointError, RunError
from ouvroir.options import Workplace
from ouvroir.reporting import render_again
from ouvroir.run import JOB, Run
from ouvroir.system import try_lock
from toy_run import make_run


class Told:
    def __init__(self):
        self.text = ""

    def say(self, text):
        self.text += text


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    return make_run(tmp_path)[0]


@pytest.fixture
def at_work():
    """Have another process work on a run, as far as that can be seen."""
    files = []

    def hold(run):
        files.append(open(run.path / ".lock", "a+b"))  # noqa: SIM115 - closed below
        assert try_lock(files[-1])

    yield hold
    for file in files:
        file.close()


@pytest.mark.parametrize("state", ["stopped", "failed", "running"])
def test_a_run_at_work_is_not_said_to_have_stopped(run, at_work, state):
    run.set_status(state, f"Stopped; `{run.way_on}` goes on.")
    if state == "running":
        assert run.status()["state"] == "stopped"
    at_work(run)
    status = run.status()
    assert status["state"] == "running"
    assert (status["sentence"] == "A process is at work on it.") == (state != "running")
    told = Told()
    Workplace(run.path.parent, progress=told).place_of(run.name)
    assert "is not finished" in told.text
    assert "A process is still at work on it." in told.text
    assert "--resume" not in told.text
    for asked in (
        lambda: Run.open("last", run.path.parent),
        lambda: render_again(run),
        lambda: run.checkpoint("branch"),
    ):
        with pytest.raises((RunError, CheckpointError), match=r"(?i)a process is still at work on it\.") as error:
            asked()
        assert "--resume" not in str(error.value)


def test_a_part_of_a_job_at_work_is_not_said_to_have_stopped(run, at_work):
    part = run.child("base", run.recipe())
    run.write_json(JOB, {})
    part.set_status("running", "Trained for 50 steps.")
    assert "goes on" in part.status()["sentence"]
    at_work(run)
    assert part.status()["sentence"] == "Trained for 50 steps."
    assert part.what_now.startswith("A process is still at work on it.")


def test_what_this_process_does_itself_is_no_other_process(run):
    run.set_status("stopped", "Stopped.")
    with run.hold():
        assert run.is_held()
        assert not run.is_at_work
        assert run.status()["state"] == "stopped"
        assert run.what_now.startswith(f"`{run.way_on}` goes on with it.")
