"""What learns, what stays, and what a model starts from."""

import pytest
import torch
import toy
from torch import nn

from ouvroir.errors import RecipeError, RunError
from ouvroir.run import Run
from ouvroir.training.adapters import (
    choose_parts,
    first_learning,
    freeze,
    own_weights,
    recompute_activations,
    set_training,
)
from ouvroir.training.checkpoint import read_weights
from ouvroir.training.loop import fit


def parts():
    torch.manual_seed(0)
    return [
        ("stem", nn.Linear(2, 4)),
        ("body", nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))),
        ("pool", nn.ReLU()),
        ("head", nn.Linear(4, 3)),
    ]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("all", ["stem", "body", "pool", "head"]),
        ("head", ["head"]),
        ("last:2", ["pool", "head"]),
        ("last:4", ["stem", "body", "pool", "head"]),
        ("head, stem", ["stem", "head"]),
    ],
)
def test_scopes(scope, expected):
    assert choose_parts(parts(), scope) == expected


@pytest.mark.parametrize("scope", ["tail", "last:0", "last:5", "last:x", "head,tail"])
def test_a_wrong_scope_lists_the_parts(scope):
    with pytest.raises(RecipeError, match="stem, body, pool, head"):
        choose_parts(parts(), scope)


def test_freezing_says_how_much_learns_and_keeps_norms_still():
    found = parts()
    model = nn.Sequential(*(part for _, part in found))
    assert freeze(found, "all") == ""
    assert freeze(found, "head") == "Learning: head, 15 of 55 parameters (27.3 %)."
    set_training(model, found)
    assert found[3][1].training
    assert not any(module.training for module in found[1][1].modules())
    assert [param.requires_grad for param in model.parameters()] == [False] * 6 + [True] * 2


def test_the_first_learning_part():
    found = parts()
    assert first_learning(found) is None
    freeze(found, "body,head")
    assert first_learning(found) == "body"
    found = parts()
    freeze(found, "stem,head")
    assert first_learning(found) is None
    found = parts()
    freeze(found, "head")
    assert first_learning(found) == "head"


def test_recomputed_activations_give_the_same_gradients():
    one, other = parts(), parts()
    recompute_activations(other)
    inputs = torch.randn(6, 2)
    gradients = []
    for found in (one, other):
        torch.manual_seed(1)
        x = inputs
        for _, part in found:
            x = part(x)
        x.square().sum().backward()
        gradients.append([param.grad for _, part in found for param in part.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)
    with torch.no_grad():
        assert other[0][1](inputs).shape == (6, 4)


def test_a_run_can_start_from_another(tmp_path):
    data = toy.prepared()
    first = Run.create(toy.recipe(), tmp_path, name="first")
    fit(toy.ToyTask(), first, data, device="cpu")
    told = toy.Told()
    recipe = toy.recipe(steps=1, optim={"lr": 1e-9}).replace("model", init_from=str(first.path))
    second = Run.create(recipe, tmp_path, name="second")
    fit(toy.ToyTask(), second, data, device="cpu", progress=told)
    assert told.has("Started from a model of 3 classes")
    before, after = read_weights(first.checkpoint("best")), read_weights(second.checkpoint("last"))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_own_weights_are_told_from_other_names(tmp_path):
    run = Run.create(toy.recipe(steps=2), tmp_path)
    fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    assert own_weights("scratch") is None
    assert own_weights("microsoft/resnet-50") is None
    assert own_weights(str(run.path)) == run.checkpoint("best")
    assert own_weights(str(run.checkpoint("last"))) == run.checkpoint("last")


@pytest.mark.parametrize("start", ["/nowhere/at/all", "nobody/nothing"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_start_that_is_not_there_is_no_training_from_nothing(tmp_path, start, resume):
    run = Run.create(toy.recipe(steps=2).replace("model", init_from=start), tmp_path)
    with pytest.raises(RunError, match=rf"no model at `{start}`.*--from"):
        fit(toy.ToyTask(), run, toy.prepared(), device="cpu", resume=resume)
    assert not (run.path / "checkpoints").exists()


def test_a_model_of_another_task_cannot_start_this_one(tmp_path):
    run = Run.create(toy.recipe(steps=2), tmp_path)
    fit(toy.ToyTask(), run, toy.prepared(), device="cpu")
    other = toy.recipe(task="toy:TwoLossTask").replace("model", init_from=str(run.path))
    with pytest.raises(RunError, match="cannot start one for toy:TwoLossTask"):
        fit(toy.TwoLossTask(), Run.create(other, tmp_path, name="b"), toy.prepared(), device="cpu")
