"""Before step 1: measuring, rehearsing, and counting steps."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import toy

from ouvroir.errors import DeviceError, TrainingError
from ouvroir.files import home
from ouvroir.progress import QUIET
from ouvroir.recipe import Loop, Recipe
from ouvroir.run import Run
from ouvroir.task import Items
from ouvroir.training import device, plan, probe
from ouvroir.training.distributed import World, share
from ouvroir.training.loop import fit
from ouvroir.training.rehearsal import largest_places, rehearse
from ouvroir.training.step import Feed


def open_recipe(**loop):
    return Recipe(
        task="toy:ToyTask", options=toy.Options(net="conv"), loop=Loop(**{"batch_size": 16, "epochs": 4, **loop})
    )


def length(recipe, **known):
    defaults = {"n_items": 1000, "n_validation": 100, "step_s": 0.01, "spent_s": 0.0, "n_bytes": 1000}
    return plan.settle_length(recipe, **{**defaults, **known}).loop


def test_epochs_become_steps():
    loop = length(toy.recipe(steps=None, epochs=2.5, batch_size=64, evaluate_every=None, save_every=None))
    assert loop.steps == 40  # 2500 / 64 = 39.06
    assert loop.evaluate_every == 4  # 20 validations would take a quarter of the time
    assert loop.save_every == 40


def test_minutes_become_steps():
    recipe = toy.recipe(steps=None, minutes=2, evaluate_every=None, save_every=None)
    loop = length(recipe, spent_s=4.0, n_validation=1600)
    # 0.95 · 120 - 4 = 110 s; 20 validations of 100/3 steps' time are 6.67 s
    assert loop.steps == int((110 - 20 / 3) / 0.01)
    assert loop.save_every == 3000
    assert length(recipe, spent_s=500.0).steps == 1


def test_minutes_pay_for_the_validations_and_checkpoints_that_were_asked_for():
    recipe = toy.recipe(steps=None, minutes=2, evaluate_every=50, save_every=25)
    loop = length(recipe, n_validation=1600, n_bytes=10**7)
    # a validation takes 100/3 steps' time and comes every 50 steps, a checkpoint takes 0.05 + 0.1 s and comes every 25
    assert loop.steps == int(0.95 * 120 / (0.01 + 1 / 3 / 50 + 0.15 / 25))
    assert (loop.evaluate_every, loop.save_every) == (50, 25)


def test_costly_validations_become_rare():
    recipe = toy.recipe(steps=1000, evaluate_every=None)
    assert length(recipe, n_validation=100).evaluate_every == 50
    assert length(recipe, n_validation=16 * 3 * 28).evaluate_every == 200
    assert length(recipe, n_validation=10**6).evaluate_every == 1000


def test_costly_checkpoints_become_rare():
    recipe = toy.recipe(steps=10**6, save_every=None)
    assert length(recipe).save_every == 3000
    assert length(recipe, n_bytes=10**9).save_every == 50_000


def test_what_the_recipe_says_stays():
    loop = length(toy.recipe(steps=17, evaluate_every=5, save_every=3))
    assert (loop.steps, loop.evaluate_every, loop.save_every) == (17, 5, 3)
    assert plan.is_resolved(loop)
    assert not plan.is_resolved(Loop(steps=3))


def test_an_open_recipe_is_settled_told_and_written(tmp_path, monkeypatch):
    told = toy.Told()
    run = Run.create(open_recipe(), tmp_path)
    fitted = fit(toy.ToyTask(), run, toy.prepared(), device="cpu", progress=told)
    assert plan.is_resolved(run.recipe().loop)
    assert run.recipe() == fitted.recipe
    assert fitted.steps == fitted.recipe.loop.steps == 24
    assert told.has("Chosen by measuring real steps", "fp32 contiguous")
    assert told.has("Training for 24 steps of 16 rows")
    found = run.read_json("probe.json")
    assert found["precision"] == fitted.recipe.loop.precision
    assert len(found["candidates_ms"]) >= 2

    def never(*args, **kwargs):
        raise AssertionError("measured again")

    monkeypatch.setattr(plan, "probe", never)
    monkeypatch.setattr(plan, "rehearse", never)
    for kept in (home() / "probes").glob("*.json"):  # as if measured while the machine was busy
        kept.write_text(json.dumps({**json.loads(kept.read_text()), "step_s": 1000.0}))
    told = toy.Told()
    second = Run.create(open_recipe(), tmp_path, name="second")
    again = fit(toy.ToyTask(), second, toy.prepared(), device="cpu", progress=told)
    assert replace(again.recipe.loop, save_every=24) == fitted.recipe.loop  # steps of 1,000 s: every one is saved
    assert told.has("Training for 24 steps of 16 rows.")
    assert toy.sha256_of(run.checkpoint("last")) == toy.sha256_of(second.checkpoint("last"))


def probed(monkeypatch, times, *, losses=None, told=None, **loop):
    """What the probe takes when candidates took `times`, by (precision, layout, threads)."""
    monkeypatch.setattr(probe, "has_bf16", lambda _: True)
    monkeypatch.setattr(probe, "most_threads", lambda *_, **__: 2)

    def time(self, recipe):
        name = (recipe.loop.precision, recipe.loop.layout, recipe.loop.threads)
        self.times_ms[probe._name(recipe)] = times[name]
        return times[name], (losses or {}).get(name, 1.0)

    monkeypatch.setattr(probe._Trial, "time", time)
    recipe = open_recipe(**loop)
    model = toy.ToyTask().build_model(recipe, toy.prepared().processor)
    one = share(recipe.loop, World())
    told = told or toy.Told()
    found = probe.probe(recipe, model, None, None, share=one, device="cpu", world=World(), progress=told)
    return found.precision, found.layout, found.threads


def times(fp32=10.0, bf16=10.0, last=10.0, both=10.0, one=20.0):
    found = {}
    for threads, factor in ((2, 1.0), (1, one / 10)):
        found |= {("fp32", "contiguous", threads): fp32 * factor, ("bf16", "contiguous", threads): bf16 * factor}
        found |= {("fp32", "channels_last", threads): last * factor, ("bf16", "channels_last", threads): both * factor}
    return found


def test_the_fastest_candidate_is_taken_when_it_is_clearly_faster(monkeypatch):
    plain = ("fp32", "contiguous", 2)
    assert probed(monkeypatch, times()) == plain
    assert probed(monkeypatch, times(bf16=9.5, last=9.8)) == plain
    assert probed(monkeypatch, times(one=6.0)) == ("fp32", "contiguous", 1)
    assert probed(monkeypatch, times(one=11.5)) == ("fp32", "contiguous", 1)  # the second core is hardly worth it
    assert probed(monkeypatch, times(one=12.5)) == plain
    assert probed(monkeypatch, times(bf16=5.0)) == ("bf16", "contiguous", 2)
    assert probed(monkeypatch, times(bf16=12.0, last=11.0, both=4.0)) == ("bf16", "channels_last", 2)
    wrong = {("bf16", "channels_last", 2): 1.2}
    assert probed(monkeypatch, times(both=4.0, last=7.0), losses=wrong) == ("fp32", "channels_last", 2)
    assert probed(monkeypatch, times(both=4.0), precision="fp32") == plain
    assert probed(monkeypatch, times(both=4.0, one=1.0), threads=2) == ("bf16", "channels_last", 2)


def test_why_a_faster_candidate_was_not_taken_is_told(monkeypatch):
    told = toy.Told()
    probed(monkeypatch, times(bf16=9.5, both=4.0), losses={("bf16", "channels_last", 2): 1.2}, told=told)
    assert told.has("not bf16 channels_last on 2 threads: faster, but the first loss is another")
    assert told.has("not bf16 contiguous on 2 threads: not clearly faster")


def test_slow_steps_are_compared_by_the_same_rows(monkeypatch):
    """Of a slow step a part of the rows is timed, and the first loss of a candidate is that of the same rows."""
    monkeypatch.setattr(probe, "LONG_STEP_S", 0.0)
    monkeypatch.setattr(probe, "CANDIDATE_S", 0.0)
    recipe = open_recipe(threads=1)
    task, prepared = toy.ToyTask(), toy.prepared()
    model, table = task.build_model(recipe, prepared.processor), prepared.tables["train"]
    feed = Feed(task, table, task.items(table, None, training=True))
    one = share(recipe.loop, World())
    trial = probe._Trial(probe.engine_maker(task, model, feed, "cpu"), np.arange(16), one, "cpu")
    layouts = ("contiguous", "channels_last")
    losses = [trial.time(recipe.replace("loop", precision="fp32", layout=layout))[1] for layout in layouts]
    assert trial.share.last - trial.share.first < one.last - one.first
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_exact_runs_measure_nothing(monkeypatch):
    monkeypatch.setattr(probe, "_Trial", None)
    recipe = open_recipe(exact=True)
    model = toy.ToyTask().build_model(recipe, toy.prepared().processor)
    one = share(recipe.loop, World())
    found = probe.probe(recipe, model, None, None, share=one, device="cpu", world=World(), progress=toy.Told())
    assert (found.precision, found.layout, found.threads) == ("fp32", "contiguous", 1)


def test_a_resumed_run_never_measures(tmp_path, monkeypatch):
    import signal

    from ouvroir.training.step import Engine

    run = Run.create(open_recipe(), tmp_path)
    advance = Engine.advance

    def interrupted(self, step, places):
        if step == 11:
            signal.raise_signal(signal.SIGINT)
        return advance(self, step, places)

    with monkeypatch.context() as patch:
        patch.setattr("ouvroir.training.plan.recall", lambda _: None)
        fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    before = toy.sha256_of(run.checkpoint("last"))
    other = Run.create(open_recipe(), tmp_path, name="other")
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "advance", interrupted)
        fit(toy.ToyTask(), other, toy.prepared(), device="cpu")

    def never(*args, **kwargs):
        raise AssertionError("measured again")

    monkeypatch.setattr(plan, "settle_arithmetic", never)
    monkeypatch.setattr(plan, "settle_length", never)
    fit(toy.ToyTask(), other, toy.prepared(), device="cpu", resume=True)
    assert toy.sha256_of(other.checkpoint("last")) == before


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_ctrl_c_while_measuring_is_heard_at_once_and_loses_nothing(tmp_path, monkeypatch, number):
    import signal

    from ouvroir.training.step import Engine

    monkeypatch.setattr("ouvroir.training.plan.recall", lambda _: None)
    run, told, calls = Run.create(open_recipe(), tmp_path), toy.Told(), []

    def interrupted(self, step, places):
        calls.append(step)
        signal.raise_signal(getattr(signal, number))

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "advance", interrupted)
        fitted = fit(toy.ToyTask(), run, toy.prepared(), device="cpu", progress=told)
    assert len(calls) == 1
    assert (fitted.stopped, fitted.steps) == ("interrupted", 0)
    assert told.has("Stopped before training began", f"--resume {run.path}` begins")
    assert run.status()["state"] == "stopped"
    assert run.recipe() == open_recipe()
    assert fit(toy.ToyTask(), run, toy.prepared(), device="cpu", resume=True).stopped == "finished"


def test_ctrl_c_before_a_resumed_run_steps_says_where_it_goes_on(tmp_path, monkeypatch):
    import signal

    run, told = Run.create(open_recipe(), tmp_path), toy.Told()
    with monkeypatch.context() as patch:
        patch.setattr("ouvroir.training.loop._Job._is_asked", lambda *_: _[-1] == 12)
        fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr("ouvroir.training.loop._Job._feed", lambda *_: signal.raise_signal(signal.SIGINT))
        fitted = fit(toy.ToyTask(), run, toy.prepared(), device="cpu", progress=told, resume=True)
    assert (fitted.stopped, fitted.steps) == ("interrupted", 12)
    assert told.has("goes on from step 12")


def test_a_finding_holds_for_one_kind_of_work_only():
    data = toy.prepared()
    feed = plan.Feed(
        toy.ToyTask(), data.tables["train"], toy.ToyTask().items(data.tables["train"], None, training=True)
    )

    def found(recipe, task=None, place="cpu", size=1):
        model = toy.ToyTask().build_model(recipe, data.processor)
        return probe.signature(model, recipe, feed, place, World(size=size))

    base = found(toy.recipe())
    assert base == found(toy.recipe(seed=5, steps=99, evaluate_every=3))
    others = [
        found(toy.recipe(batch_size=32)),
        found(toy.recipe(options=toy.Options(width=8))),
        found(toy.recipe(precision="auto")),
        found(toy.recipe(optim={"ema": 0.5})),
        found(toy.recipe(), size=2),
    ]
    assert len({base, *others}) == 6


def test_a_damaged_finding_is_measured_again(tmp_path):
    probe.remember("k", probe.Finding("fp32", "contiguous", 1, candidates_ms={"a": 1.0}))
    assert probe.recall("k").candidates_ms == {"a": 1.0}
    path = tmp_path / "home" / "probes" / "k.json"
    path.write_text(json.dumps({"nonsense": 1}))
    assert probe.recall("k") is None
    path.write_text("{")
    assert probe.recall("k") is None


def climbed(fits, recipe=None, error=None):
    recipe = recipe or toy.recipe(batch_size=64, micro_batch=None)
    tried, told = [], toy.Told()

    def attempt(candidate):
        tried.append((candidate.loop.micro_batch, candidate.loop.activation_checkpointing))
        if not fits(candidate.loop):
            raise error or torch.OutOfMemoryError("CUDA out of memory")

    one = share(recipe.loop, World())
    found = None
    try:
        found = rehearse(recipe, attempt, share=one, world=World(), device="cpu", progress=told)
    except TrainingError as problem:
        told.say(str(problem))
    return found, tried, told


def test_the_ladder_halves_pieces_then_recomputes():
    found, tried, told = climbed(lambda loop: True)
    assert found.loop.micro_batch == 64
    assert not told.said
    found, tried, told = climbed(lambda loop: loop.micro_batch <= 20)
    assert found.loop.micro_batch == 16
    assert tried == [(64, False), (32, False), (16, False)]
    assert told.has("Not enough memory on cpu with 64 rows at a time")
    found, tried, _ = climbed(lambda loop: loop.activation_checkpointing)
    assert tried[-1] == (16, True)
    assert found.loop.batch_size == 64


def test_the_ladder_ends_in_a_sentence():
    error = RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes")
    found, _, told = climbed(lambda loop: False, error=error)
    assert found is None
    assert told.has("does not fit into the memory of cpu", "model.preset")


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        climbed(lambda loop: False, error=RuntimeError("shapes differ"))


def test_the_largest_items_are_rehearsed():
    items = Items(row=np.arange(5))
    assert largest_places(items, np.array([3, 9, 1, 7, 2]), 3).tolist() == [1, 3, 0]
    assert largest_places(Items(row=np.arange(2)), None, 5).tolist() == [0, 1, 0, 1, 0]


def test_a_real_step_that_runs_out_of_memory_is_made_smaller(tmp_path, monkeypatch):
    class Large(toy.ToyTask):
        def step(self, model, batch, recipe, *, rng, training):
            if training and len(batch["points"]) > 8:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: not enough memory")
            return super().step(model, batch, recipe, rng=rng, training=training)

    told = toy.Told()
    run = Run.create(toy.recipe(micro_batch=None), tmp_path)
    fitted = fit(Large(), run, toy.prepared(), device="cpu", progress=told)
    assert fitted.recipe.loop.micro_batch == 8
    assert told.has("Not enough memory", "16 rows")


def test_devices_are_found_or_refused():
    assert device.find_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match="There are: auto, cpu"):
        device.find_device("gpu")
    with pytest.raises(DeviceError, match="no kind of device"):
        device.find_device("cpu:1")
    if not torch.cuda.is_available():
        assert device.find_device("auto") in {"cpu", "mps"}
        with pytest.raises(DeviceError, match="No CUDA device"):
            device.find_device("cuda:1")
    if not torch.backends.mps.is_available():
        with pytest.raises(DeviceError, match="macOS"):
            device.find_device("mps")


def test_an_arithmetic_the_device_lacks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "has_bf16", lambda _: False)
    run = Run.create(toy.recipe(precision="bf16"), tmp_path)
    with pytest.raises(DeviceError, match=r"loop\.precision is bf16"):
        fit(toy.ToyTask(), run, toy.prepared(), device="cpu")


@pytest.mark.skipif(not device.has_bf16("cpu"), reason="this processor has no bf16")
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_bf16_and_channels_last_learn_as_well(tmp_path, layout):
    recipe = toy.recipe(options=toy.Options(net="conv"), precision="bf16", layout=layout, steps=60)
    run = Run.create(recipe, tmp_path)
    fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    assert max(m.value for m in run.metrics() if m.name == "accuracy") > 0.7
    again = Run.create(recipe, tmp_path, name="again")
    fit(toy.ToyTask(), again, toy.prepared(), device="cpu")
    assert toy.sha256_of(run.checkpoint("last")) == toy.sha256_of(again.checkpoint("last"))


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_a_crowded_machine_takes_one_thread(tmp_path, monkeypatch, preset):
    """Where a step takes far longer than when it was tried, threads wait for each other."""
    told = toy.Told()
    monkeypatch.setattr(probe, "most_threads", lambda *_, **__: 2)
    monkeypatch.setattr(plan, "settle_arithmetic", lambda recipe, _: (chosen(recipe), 0.03, False))
    monkeypatch.setattr(plan, "measure_step", lambda recipe, *_, **__: 5.0 if recipe.loop.threads > 1 else 0.5)

    def chosen(recipe):
        return recipe.replace("loop", precision="fp32", layout="contiguous", threads=2, micro_batch=16)

    recipe = open_recipe(steps=None, minutes=0.02)
    run = Run.create(recipe.replace("model", preset=preset), tmp_path)
    fitted = fit(toy.ToyTask(), run, toy.prepared(), device="cpu", progress=told)
    assert fitted.recipe.loop.threads == 1
    assert told.has("One thread instead of 2: other programs use this machine")
    assert told.has("That is few: ")
    noted = run.read_json("usual_steps.json")
    assert noted["steps"] > 4 * fitted.recipe.loop.steps
    assert noted["can_be_smaller"] == told.has("a smaller model with --preset tiny") == (preset != "tiny")


def test_threads_that_were_asked_for_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "measure_step", lambda *_, **__: 5.0)
    run = Run.create(open_recipe(steps=None, minutes=0.02, threads=1), tmp_path)
    told = toy.Told()
    assert fit(toy.ToyTask(), run, toy.prepared(), device="cpu", progress=told).recipe.loop.threads == 1
    assert not told.has("One thread instead")


@pytest.mark.parametrize(
    ("durations", "is_steady"),
    [
        ([0.1] * 20, True),
        ([0.1, 0.11, 0.1, 0.09] * 3, True),
        ([0.1] * 10 + [0.3] * 10, False),
        ([0.1] * 3, False),
        ([], False),
    ],
)
def test_steps_are_steady_where_no_part_of_them_takes_longer(durations, is_steady):
    assert plan.is_steady(list(np.cumsum(durations))) == is_steady


@pytest.mark.parametrize(("is_steady", "n_steps"), [(True, 5), (False, 100)])
def test_steps_are_measured_for_longer_on_a_busy_machine(tmp_path, monkeypatch, is_steady, n_steps):
    asked, taken = [], []

    class Clock:
        """Each step takes 10 ms."""

        def perf_counter(self):
            return 0.01 * len(taken)

    class Quick:
        def __init__(self, *_):
            pass

        def advance(self, step, places):
            taken.append(step)

    monkeypatch.setattr(plan, "is_steady", lambda ends: asked.append(len(ends)) or is_steady)
    monkeypatch.setattr(plan, "time", Clock())
    monkeypatch.setattr(plan, "engine_maker", lambda *_: Quick)
    recipe, task, data = open_recipe(steps=None, minutes=1, threads=1, micro_batch=16), toy.ToyTask(), toy.prepared()
    table, world = data.tables["train"], World(device="cpu")
    feed = Feed(task, table, task.items(table, data.processor, training=True))
    model = task.build_model(recipe, data.processor)
    ground = plan.Ground(Run.create(recipe, tmp_path), model, feed, share(recipe.loop, world), world, "cpu", QUIET)
    assert plan.measure_step(recipe, ground, 0.05, most=1.0) == pytest.approx(0.01)
    assert len(taken) - 2 == pytest.approx(n_steps, abs=1), "two steps are to begin with"
    assert len(asked) < 5, "what is asked at each step is measured with it"
