"""Several processes train as one, on gloo."""

import dataclasses

import pytest
import torch
import toy
from processes import finish, kill, start

from ouvroir.errors import RecipeError
from ouvroir.recipe import Loop
from ouvroir.run import Run
from ouvroir.training.checkpoint import read_weights
from ouvroir.training.distributed import World, share
from ouvroir.training.loop import fit


def trained(tmp_path, name, *, n=1, steps=20, options=None, task="toy:ToyTask", **loop):
    options = options or toy.Options(net="layernorm", noise=0.1)
    run = Run.create(
        toy.recipe(task=task, options=options, optim={"ema": 0.9}, steps=steps, **loop), tmp_path, name=name
    )
    finish(start(run.path, n=n))
    return run


def in_here(tmp_path, name, *, steps=20, options=None, task=toy.ToyTask, **loop):
    options = options or toy.Options(net="layernorm", noise=0.1)
    recipe = toy.recipe(task=task.name, options=options, optim={"ema": 0.9}, steps=steps, **loop)
    run = Run.create(recipe, tmp_path, name=name)
    fit(task(), run, toy.prepared(), device="cpu")
    return run


def far_apart(one, other):
    """Largest difference between the final weights of two runs."""
    a, b = read_weights(one.checkpoint("last")), read_weights(other.checkpoint("last"))
    return max((a[name] - b[name]).abs().max().item() for name in a)


def test_two_processes_are_one_to_rounding(tmp_path):
    one = in_here(tmp_path, "one")
    two = trained(tmp_path, "two", n=2)
    assert far_apart(one, two) < 1e-5
    assert [m.step for m in one.metrics()] == [m.step for m in two.metrics()]
    for mine, theirs in zip(one.metrics(), two.metrics(), strict=True):
        assert mine.value == pytest.approx(theirs.value, rel=1e-3, abs=1e-5)


def test_four_small_pieces_are_one_large_one_to_rounding(tmp_path):
    whole = in_here(tmp_path, "whole", batch_size=64, micro_batch=64)
    pieces = in_here(tmp_path, "pieces", batch_size=64, micro_batch=16)
    assert far_apart(whole, pieces) < 1e-5


def test_losses_that_count_different_things_are_divided_by_their_own_counts(tmp_path):
    whole = in_here(tmp_path, "whole", batch_size=64, micro_batch=64, task=toy.TwoLossTask)
    pieces = in_here(tmp_path, "pieces", batch_size=64, micro_batch=16, task=toy.TwoLossTask)
    assert far_apart(whole, pieces) < 1e-5
    assert {m.name for m in whole.metrics() if m.split == "train"} == {"loss", "penalty", "grad_norm", "lr"}


@pytest.mark.parametrize(
    ("net", "counts"),
    [
        pytest.param("layernorm", (2,), id="rows apart"),
        pytest.param("batchnorm", (2, 4), id="norms that mix rows", marks=pytest.mark.slow),
        pytest.param("conv", (2, 4), id="kernels", marks=pytest.mark.slow),
    ],
)
def test_exact_gives_the_same_bits_on_any_number_of_processes(tmp_path, net, counts):
    options = toy.Options(net=net, dropout=0.2, noise=0.1)
    one = in_here(tmp_path, "one", options=options, exact=True)
    reference = toy.sha256_of(one.checkpoint("last"))
    for n in counts:
        many = trained(tmp_path, f"many{n}", n=n, options=options, exact=True)
        assert toy.sha256_of(many.checkpoint("last")) == reference
        assert [dataclasses.replace(m, seconds=0) for m in many.metrics()] == [
            dataclasses.replace(m, seconds=0) for m in one.metrics()
        ]


@pytest.mark.slow
def test_exact_goes_on_with_one_process_after_two_were_killed(tmp_path):
    import time

    options = toy.Options(net="batchnorm", dropout=0.2, noise=0.1, step_s=0.01)
    whole = in_here(tmp_path, "whole", options=options, exact=True, steps=60, save_every=5)
    broken = Run.create(
        toy.recipe(options=options, optim={"ema": 0.9}, exact=True, steps=60, save_every=5), tmp_path, name="broken"
    )
    processes = start(broken.path, n=2)
    while not (broken.path / "checkpoints" / "last.txt").is_file():
        time.sleep(0.01)
    time.sleep(0.2)
    assert all(process.is_alive() for process in processes)
    kill(processes)
    finish(start(broken.path))
    assert toy.sha256_of(broken.checkpoint("last")) == toy.sha256_of(whole.checkpoint("last"))


@pytest.mark.slow
def test_length_and_arithmetic_are_settled_together(tmp_path):
    from ouvroir.recipe import Recipe

    recipe = Recipe(task="toy:ToyTask", options=toy.Options(), loop=Loop(batch_size=16, minutes=0.05))
    run = Run.create(recipe, tmp_path)
    finish(start(run.path, n=2))
    loop = run.recipe().loop
    assert loop.steps
    assert run.metrics()[-1].step == loop.steps


def test_every_row_of_a_batch_is_taken_once():
    for batch_size in (4, 7, 16, 63):
        loop = Loop(batch_size=batch_size, virtual_shards=4)
        for size in (1, 2, 4):
            taken = [
                row
                for rank in range(size)
                for first, last in share(loop, World(rank=rank, size=size)).pieces(5)
                for row in range(first, last)
            ]
            assert taken == list(range(batch_size))


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(RecipeError, match=r"virtual_shards is 4, which 3 processes do not divide.*virtual_shards=3"):
        share(Loop(), World(size=3))
    with pytest.raises(RecipeError, match=r"batch_size must be a multiple.*batch_size=12"):
        share(Loop(exact=True, batch_size=10), World())
    with pytest.raises(RecipeError, match="too few rows"):
        share(Loop(batch_size=2), World(size=4))


def test_one_process_needs_no_messages():
    world = World()
    assert world.is_first
    assert world.tell("a") == "a"
    assert world.gather(3) == [3]
    assert world.any(True)
    assert torch.equal(world.sum_(torch.ones(2)), torch.ones(2))
