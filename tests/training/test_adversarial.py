"""The loop for two parts that learn against each other: each by its own loss, resumed to the bit, plain refusals."""

import json
import random
import signal
import time

import numpy as np
import pytest
import torch
import toy
from processes import finish, kill, start

from ouvroir import workflow
from ouvroir.errors import NonFiniteLoss, RecipeError, TrainingError
from ouvroir.run import Run
from ouvroir.training.adversarial import Contest, contest
from ouvroir.training.checkpoint import read_weights
from ouvroir.training.loop import fit
from ouvroir.training.step import Feed

TASK = toy.ContestTask()
ADAM = {"name": "adam", "lr": 5e-3, "momentum": 0.0, "schedule": "constant", "weight_decay": 0.0, "max_grad_norm": 0.0}


def make_run(folder, name="run", *, step_s=0.0, optim=None, **loop):
    recipe = toy.recipe(
        task=TASK.name,
        options=toy.Options(step_s=step_s),
        optim={**ADAM, "ema": 0.9, **(optim or {})},
        **{"steps": 60, "save_every": 7, "evaluate_every": 15, "micro_batch": 16, **loop},
    )
    return Run.create(recipe, folder, name=name)


def lines(run):
    """Measurements without the clock."""
    found = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [(one["step"], one["split"], one["name"], one["value"]) for one in found]


def same_bits(one, other):
    for which in ("last", "best"):
        assert toy.sha256_of(one.checkpoint(which)) == toy.sha256_of(other.checkpoint(which))
    assert lines(one) == lines(other)


def test_a_task_says_which_loop_trains_it():
    assert workflow.loop_of(TASK) is contest
    assert workflow.loop_of(toy.ToyTask()) is fit


def test_made_points_become_like_those_of_their_class(tmp_path):
    run = make_run(tmp_path, steps=800, evaluate_every=100, save_every=800)
    fitted = contest(TASK, run, toy.prepared(256), device="cpu")
    assert fitted.stopped == "finished"
    measured = [value for _, split, name, value in lines(run) if (split, name) == ("validation", "loss")]
    assert min(measured) < 0.75 * 1.2  # points lie at distance 1 around the origin, spread by .5 in both directions
    assert fitted.best_step == 100 * (1 + int(np.argmin(measured)))
    assert {name for _, split, name, _ in lines(run) if split == "train"} == {"maker", "teller", "grad_norm", "lr"}


def test_each_loss_moves_its_own_part_only(tmp_path):
    """What one optimiser over both parts would do to the sum is another thing: compared with two of torch's own."""
    recipe = toy.recipe(task=TASK.name, optim={**ADAM, "part_decay": 0.2})
    data = toy.prepared()
    table = data.tables["train"]
    torch.manual_seed(0)
    model = TASK.build_model(recipe, data.processor)
    model.teller[2].p = 0.0
    expected = toy.Rivals(3)
    expected.load_state_dict(model.state_dict())
    expected.teller[2].p = 0.0
    places = np.arange(16)
    Contest(TASK, model, recipe, Feed(TASK, table, TASK.items(table, None, training=True)), device="cpu").advance(
        0, places
    )
    optimizers = {
        name: torch.optim.Adam(part.parameters(), lr=lr, betas=(0.0, 0.99))
        for (name, part), lr in zip(TASK.parts(expected), (1e-3, 5e-3), strict=True)
    }
    from ouvroir.rng import Rng

    rng = Rng(0, 0, torch.arange(16), shard_size=4)
    losses = TASK.step(expected, TASK.collate(table.slice(places)), recipe, rng=rng, training=True).losses
    for name, part in TASK.parts(expected):
        grads = torch.autograd.grad(losses[name].per_row.mean(), list(part.parameters()), retain_graph=True)
        for param, grad in zip(part.parameters(), grads, strict=True):
            param.grad = grad
    for optimizer in optimizers.values():
        optimizer.step()
    for (name, mine), theirs in zip(model.named_parameters(), expected.parameters(), strict=True):
        if name != "maker.0.bias":  # before a normalisation nothing but rounding moves it
            assert torch.allclose(mine, theirs, atol=1e-6), name


def test_interrupted_anywhere_it_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    data = toy.prepared()
    whole, broken = (
        make_run(tmp_path, name, steps=130, evaluate_every=50, save_every=40) for name in ("whole", "broken")
    )
    contest(TASK, whole, data, device="cpu")
    advance = Contest.advance

    def interrupted(self, step, places):
        if step in {0, 41, 42, 49, 99}:
            signal.raise_signal(signal.SIGINT)
        return advance(self, step, places)

    monkeypatch.setattr(Contest, "advance", interrupted)
    stopped = [contest(TASK, broken, data, device="cpu", resume=True).stopped for _ in range(6)]
    assert stopped == ["interrupted"] * 5 + ["finished"]
    same_bits(broken, whole)
    assert contest(TASK, broken, data, device="cpu", resume=True).stopped == "finished"
    with pytest.raises(TrainingError, match="trained already"):
        contest(TASK, broken, data, device="cpu")


def test_ctrl_c_before_the_first_step_loses_nothing(tmp_path, monkeypatch):
    run, data = make_run(tmp_path), toy.prepared()

    def interrupted(self, *rest):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(toy.ContestTask, "build_model", interrupted)
        assert contest(TASK, run, data, device="cpu").stopped == "interrupted"
    assert "before training began" in run.read_json("status.json")["sentence"]
    assert contest(TASK, run, data, device="cpu", resume=True).stopped == "finished"


def kill_and_resume(tmp_path, n_kills, seed):
    whole, broken = (make_run(tmp_path, name, step_s=0.01) for name in ("whole", "broken"))
    began = time.perf_counter()
    contest(TASK, whole, toy.prepared(), device="cpu")
    whole_s = time.perf_counter() - began
    moments, landed = random.Random(seed), 0
    for _ in range(n_kills):
        before = broken.read_json("status.json")["time"]
        processes = start(broken.path)
        while broken.read_json("status.json")["time"] == before and processes[0].is_alive():
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, whole_s / 2))
        landed += processes[0].is_alive()
        kill(processes)
        if broken.read_json("status.json")["sentence"].startswith("Trained for"):
            break
    finish(start(broken.path))
    assert landed
    same_bits(broken, whole)


def test_killed_it_goes_on_to_the_same_bits(tmp_path):
    kill_and_resume(tmp_path, n_kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_killed_again_and_again_it_goes_on_to_the_same_bits(tmp_path, seed):
    kill_and_resume(tmp_path, n_kills=4, seed=seed)


def test_a_loss_that_is_no_number_is_told_and_the_checkpoint_kept(tmp_path):
    data = toy.prepared()
    run = make_run(tmp_path)
    step = TASK.step

    class Spoilt(toy.ContestTask):
        def step(self, model, batch, recipe, *, rng, training):
            output = step(model, batch, recipe, rng=rng, training=training)
            if training and rng.step == 20:
                output.losses["maker"].per_row[batch["index"] == batch["index"][3]] *= float("nan")
            return output

    with pytest.raises(
        NonFiniteLoss, match=r"at step 21\. The last good checkpoint \(step 15\) is kept.*lower optim.lr"
    ):
        contest(Spoilt(), run, data, device="cpu")
    assert run.read_json("status.json")["state"] == "failed"
    assert all(torch.isfinite(value).all() for value in read_weights(run.checkpoint("last")).values())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"exact": True}, "loop.exact is for several processes"),
        ({"micro_batch": 8}, "takes each batch whole"),
        ({"activation_checkpointing": True}, "takes each batch whole"),
    ],
)
def test_what_only_the_main_loop_does_is_refused(tmp_path, changes, sentence):
    run = make_run(tmp_path, **changes)
    with pytest.raises(RecipeError, match=sentence):
        contest(TASK, run, toy.prepared(), device="cpu")
    assert run.read_json("status.json")["state"] == "failed"


def test_several_processes_and_parts_that_do_not_learn_are_refused(tmp_path):
    from ouvroir.training.adversarial import require_plain
    from ouvroir.training.distributed import World

    recipe = toy.recipe(task=TASK.name)
    with pytest.raises(RecipeError, match="one process, and here are 2"):
        require_plain(recipe, World(size=2))
    with pytest.raises(RecipeError, match="all parts learn"):
        require_plain(recipe.replace("model", scope="maker"), World())


def test_what_is_left_open_is_settled_within_the_time(tmp_path):
    run = make_run(
        tmp_path, steps=None, minutes=0.05, evaluate_every=None, save_every=None, micro_batch=None, precision="auto"
    )
    began = time.perf_counter()
    fitted = contest(TASK, run, toy.prepared(), device="cpu")
    assert time.perf_counter() - began < 12
    loop = run.recipe().loop
    assert fitted.recipe.loop == loop
    assert loop.precision != "auto"
    assert loop.micro_batch == 16
    assert fitted.steps == loop.steps > 20
    assert 1 <= loop.evaluate_every <= loop.steps


def test_patience_and_the_branch_are_kept(tmp_path):
    data = toy.prepared()
    run = make_run(tmp_path, "branch", branch_at=0.5)
    assert contest(TASK, run, data, device="cpu", to_branch=True).steps == 30
    assert (run.path / "checkpoints" / "branch.txt").read_text().strip() == "step_000030"
    early = make_run(tmp_path, "early", steps=400, evaluate_every=2, patience=3, optim={"lr": 1e-9})
    assert contest(TASK, early, data, device="cpu").stopped == "early"
