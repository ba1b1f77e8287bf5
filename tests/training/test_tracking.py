"""Measurements are written without gaps or doubles."""

import json

import toy

from ouvroir.run import Run
from ouvroir.training.tracking import Tracker


def make_run(tmp_path):
    return Run.create(toy.recipe(), tmp_path)


def test_values_are_written_in_batches(tmp_path):
    run = make_run(tmp_path)
    tracker = Tracker(run)
    tracker.begin(0)
    tracker.add(1, "train", {"loss": 1.25, "lr": 0.5}, 0.12345)
    assert run.metrics() == []
    tracker.flush(sync=True)
    assert [(m.step, m.split, m.name, m.value, m.seconds) for m in run.metrics()] == [
        (1, "train", "loss", 1.25, 0.123),
        (1, "train", "lr", 0.5, 0.123),
    ]
    tracker.close()


def test_going_on_forgets_what_came_after_and_torn_lines(tmp_path):
    run = make_run(tmp_path)
    first = Tracker(run)
    first.begin(0)
    for step in range(1, 6):
        first.add(step, "train", {"loss": float(step)}, step)
    first.close()
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "spl')
    second = Tracker(run)
    second.begin(3)
    second.add(4, "train", {"loss": 40.0}, 4)
    second.close()
    assert [(m.step, m.value) for m in run.metrics()] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0)]
    fresh = Tracker(run)
    fresh.begin(0)
    assert run.metrics() == []


def test_others_than_the_first_process_write_nothing(tmp_path):
    run = make_run(tmp_path)
    tracker = Tracker(run, is_writer=False)
    tracker.begin(0)
    tracker.add(1, "train", {"loss": 1.0}, 1)
    tracker.close()
    assert not (run.path / "metrics.jsonl").exists()


def test_tensorboard_can_read_it(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run(tmp_path)
    tracker = Tracker(run)
    tracker.begin(0)
    for step in (1, 2, 3):
        tracker.add(step, "validation", {"accuracy": step / 10}, step)
    tracker.close()
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    found = [(event.step, round(event.value, 3)) for event in events.Scalars("validation/accuracy")]
    assert found == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_lines_are_plain_json(tmp_path):
    run = make_run(tmp_path)
    tracker = Tracker(run)
    tracker.begin(0)
    tracker.add(1, "train", {"loss": 0.5}, 2.0)
    tracker.flush()
    assert json.loads((run.path / "metrics.jsonl").read_text()) == {
        "step": 1,
        "split": "train",
        "name": "loss",
        "value": 0.5,
        "seconds": 2.0,
    }
    tracker.close()
