"""A run that is killed and resumed ends in the same bits as one that was not."""

import json
import random
import time

import pytest
import toy
from processes import finish, kill, start

from ouvroir.run import Run
from ouvroir.training.loop import fit

STEPS = 60


def make_run(folder, name, **changes):
    options = toy.Options(net="batchnorm", dropout=0.2, noise=0.1, step_s=0.01)
    recipe = toy.recipe(
        options=options,
        optim={"ema": 0.9},
        steps=STEPS,
        save_every=7,
        evaluate_every=15,
        sampling="balanced",
        **changes,
    )
    return Run.create(recipe, folder, name=name)


def lines(run):
    """Measurements without the clock."""
    found = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [(one["step"], one["split"], one["name"], one["value"]) for one in found]


def is_trained(run):
    return run.read_json("status.json")["sentence"].startswith("Trained for")


def kill_and_resume(tmp_path, n_kills, seed):
    whole = make_run(tmp_path, "whole")
    start_s = time.perf_counter()
    fit(toy.ToyTask(), whole, toy.prepared(), device="cpu")
    whole_s = time.perf_counter() - start_s
    broken = make_run(tmp_path, "broken")
    moments = random.Random(seed)
    landed = 0
    for _ in range(n_kills):
        before = broken.read_json("status.json")["time"]
        processes = start(broken.path)
        while broken.read_json("status.json")["time"] == before and processes[0].is_alive():
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, whole_s / 2))
        landed += processes[0].is_alive()
        kill(processes)
        if is_trained(broken):
            break
    finish(start(broken.path))
    assert landed
    assert toy.sha256_of(broken.checkpoint("last")) == toy.sha256_of(whole.checkpoint("last"))
    assert toy.sha256_of(broken.checkpoint("best")) == toy.sha256_of(whole.checkpoint("best"))
    assert lines(broken) == lines(whole)
    assert is_trained(broken)


def test_kill_and_resume_gives_the_same_bits(tmp_path):
    kill_and_resume(tmp_path, n_kills=3, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_many_kills_and_resumes_give_the_same_bits(tmp_path, seed):
    kill_and_resume(tmp_path, n_kills=4, seed=seed)


def test_resuming_from_every_kind_of_place_gives_the_same_bits(tmp_path, monkeypatch):
    """Interrupted by Ctrl-C after every step of a short run: between logs, validations and checkpoints."""
    import signal

    from ouvroir.training.step import Engine

    data = toy.prepared()
    whole = Run.create(toy.recipe(steps=130, evaluate_every=50, save_every=40), tmp_path, name="whole")
    fit(toy.ToyTask(), whole, data, device="cpu")
    broken = Run.create(toy.recipe(steps=130, evaluate_every=50, save_every=40), tmp_path, name="broken")
    advance = Engine.advance

    def interrupted(self, step, places):
        if step in {0, 41, 42, 49, 99}:
            signal.raise_signal(signal.SIGINT)
        return advance(self, step, places)

    monkeypatch.setattr(Engine, "advance", interrupted)
    stopped = [fit(toy.ToyTask(), broken, data, device="cpu", resume=True).stopped for _ in range(6)]
    assert stopped == ["interrupted"] * 5 + ["finished"]
    assert toy.sha256_of(broken.checkpoint("last")) == toy.sha256_of(whole.checkpoint("last"))
    assert lines(broken) == lines(whole)


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_layouts_are_resumed_as_they_were(tmp_path, monkeypatch, layout, ema):
    """Kernels of one row or column have two layouts at once, and a validation must not choose another one."""
    from ouvroir.training.step import Engine

    data = toy.prepared()
    options = toy.Options(net="conv")

    def make(name):
        recipe = toy.recipe(options=options, optim={"ema": ema}, layout=layout, evaluate_every=5, save_every=8)
        return Run.create(recipe, tmp_path, name=name)

    whole, broken = make("whole"), make("broken")
    fit(toy.ToyTask(), whole, data, device="cpu")
    advance = Engine.advance

    def killed(self, step, places):
        if step == 13:
            raise KeyboardInterrupt
        return advance(self, step, places)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(toy.ToyTask(), broken, data, device="cpu")
    fit(toy.ToyTask(), broken, data, device="cpu", resume=True)
    assert toy.sha256_of(broken.checkpoint("last")) == toy.sha256_of(whole.checkpoint("last"))
    assert lines(broken) == lines(whole)


def test_a_finished_run_is_not_trained_again(tmp_path):
    run = Run.create(toy.recipe(), tmp_path)
    first = fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    before = lines(run)
    again = fit(toy.ToyTask(), run, toy.prepared(), device="cpu", resume=True)
    assert (again.steps, again.best_step, again.stopped) == (first.steps, first.best_step, "finished")
    assert lines(run) == before


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path):
    data = toy.prepared()
    whole = Run.create(toy.recipe(), tmp_path, name="whole")
    fit(toy.ToyTask(), whole, data, device="cpu")
    reference = toy.sha256_of(whole.checkpoint("last"))
    weights = whole.checkpoint("last") / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(bytes(content))
    told = toy.Told()
    fitted = fit(toy.ToyTask(), whole, data, device="cpu", resume=True, progress=told)
    assert told.has("step_000030", "damaged", "The one before it is used")
    assert told.has("Going on from step 20")
    assert fitted.stopped == "finished"
    assert toy.sha256_of(whole.checkpoint("last")) == reference
    assert lines(whole)[-1][0] == 30
