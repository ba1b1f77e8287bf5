"""Optimisers, schedules, clipping and averages against torch's own."""

import copy
import math

import pytest
import torch
from torch import nn

from ouvroir.recipe import Optim
from ouvroir.training.muon import _factor, _iterated, orthogonalise
from ouvroir.training.optim import Average, coefficient, fill_gradients, make_groups, make_optimizer, rate


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def parts(model):
    return [("first", model[:2]), ("middle", model[2:6]), ("last", model[6:])]


def backward(model, step):
    generator = torch.Generator().manual_seed(step)
    model.zero_grad()
    model(torch.randn(5, 3, 4, 4, generator=generator)).square().sum().backward()


def compared(optim, theirs, n_steps=5):
    """Largest difference between our weights and torch's after some steps at a changing rate."""
    mine, other = net(), net()
    optimizer, reference = make_optimizer(mine, parts(mine), optim), theirs(other)
    for step in range(n_steps):
        lr = 0.01 * (step + 1)
        backward(mine, step)
        optimizer.step(lr, None)
        for group in reference.param_groups:
            group["lr"] = lr
        backward(other, step)
        reference.step()
    return max((a - b).abs().max().item() for a, b in zip(mine.parameters(), other.parameters(), strict=True))


def split(model):
    """Matrices, then the rest: decay is for the first only."""
    decayed = [param for param in model.parameters() if param.ndim > 1]
    return decayed, [param for param in model.parameters() if param.ndim < 2]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_steps_equal_those_of_torch(name):
    optim = Optim(name=name, weight_decay=0.1, momentum=0.8, beta2=0.95)

    def theirs(model):
        decayed, others = split(model)
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        if name == "sgd":
            return torch.optim.SGD(groups, lr=1.0, momentum=0.8, nesterov=True)
        kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
        return kind(groups, lr=1.0, betas=(0.8, 0.95))

    assert compared(optim, theirs) < 2e-6


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "muon"])
def test_the_coefficient_multiplies_gradients(name):
    one, other = net(), net()
    optim = Optim(name=name, weight_decay=0.1)
    first, second = make_optimizer(one, parts(one), optim), make_optimizer(other, parts(other), optim)
    for step in range(3):
        backward(one, step)
        first.step(0.01, torch.tensor(0.25))
        backward(other, step)
        for param in other.parameters():
            param.grad *= 0.25
        second.step(0.01, None)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 1e6, 0.0])
def test_clipping_equals_that_of_torch(max_norm):
    model = net()
    backward(model, 0)
    grads = fill_gradients(list(model.parameters()))
    summed = [grad * 40 for grad in grads]
    factor, norm = coefficient(summed, torch.tensor(40.0), max_norm)
    reference = nn.utils.clip_grad_norm_(model.parameters(), max_norm or math.inf)
    assert norm.item() == pytest.approx(reference.item(), rel=1e-5)
    for grad, param in zip(summed, model.parameters(), strict=True):
        assert torch.allclose(grad * factor, param.grad, rtol=1e-5, atol=1e-9)


def test_nothing_counted_leaves_zero_and_not_nan():
    factor, norm = coefficient([torch.zeros(3)], torch.tensor(0.0), 1.0)
    assert math.isfinite(factor.item())
    assert norm.item() == 0


def test_parameters_that_took_no_part_get_zeros():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    used.sum().backward()
    assert [grad.tolist() for grad in fill_gradients([used, unused])] == [[1, 1], [0, 0, 0]]


def test_groups_by_decay_rate_and_kind():
    model = net()
    groups = make_groups(model, parts(model), Optim(name="muon", part_decay=0.5, weight_decay=0.1))
    found = {name: group for group in groups for name in group.names}
    assert {name: group.ratio for name, group in found.items()} == {
        "0.weight": 0.25,
        "0.bias": 0.25,
        "2.weight": 0.5,
        "2.bias": 0.5,
        "3.weight": 0.5,
        "3.bias": 0.5,
        "4.weight": 0.5,
        "4.bias": 0.5,
        "6.weight": 1.0,
        "6.bias": 1.0,
    }
    assert {name for name, group in found.items() if group.weight_decay} == {
        "0.weight",
        "2.weight",
        "4.weight",
        "6.weight",
    }
    assert {name for name, group in found.items() if group.by_muon} == {"2.weight", "4.weight"}


def test_frozen_parameters_are_in_no_group():
    model = net()
    model[0].requires_grad_(False)
    names = [name for group in make_groups(model, parts(model), Optim()) for name in group.names]
    assert "0.weight" not in names
    assert "6.weight" in names


def schedule(**settings):
    optim = Optim(lr=0.5, **settings)
    return [rate(optim, step, 40) for step in range(40)]


@pytest.mark.parametrize("warmup", [0.1, 0.3, 0.5])
def test_one_cycle_equals_that_of_torch(warmup):
    reference = torch.optim.lr_scheduler.OneCycleLR
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = reference(optimizer, max_lr=0.5, total_steps=40, pct_start=warmup, cycle_momentum=False)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert schedule(schedule="one-cycle", warmup=warmup) == pytest.approx(rates, rel=1e-9, abs=1e-12)


def test_cosine_equals_that_of_torch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert schedule(schedule="cosine", warmup=0.0) == pytest.approx(rates, rel=1e-9)


def test_warm_up_stable_decay_rises_stays_and_falls():
    rates = schedule(schedule="warmup-stable-decay", warmup=0.25)
    assert rates[:10] == pytest.approx([0.5 * (step + 1) / 11 for step in range(10)])
    assert rates[10:31] == [0.5] * 21
    assert rates[32:] == pytest.approx([0.5 * left / 9 for left in range(8, 0, -1)])


@pytest.mark.parametrize("name", ["one-cycle", "cosine", "warmup-stable-decay", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 1000])
def test_every_schedule_is_positive_and_within_the_peak(name, warmup, steps):
    rates = [rate(Optim(lr=0.5, schedule=name, warmup=warmup), step, steps) for step in range(steps)]
    assert all(0 < value <= 0.5 + 1e-12 for value in rates)


def test_muon_makes_directions_orthogonal():
    torch.manual_seed(0)
    for shape in ((20, 20), (12, 30), (30, 12)):
        matrix = torch.randn(shape)
        found = orthogonalise(matrix)
        values = torch.linalg.svdvals(found)
        assert values.min() > 0.6
        assert values.max() < 1.3
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        assert nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0) > 0.97


def test_polynomials_multiplied_first_or_one_by_one_give_the_same_direction():
    torch.manual_seed(0)
    for matrix in (torch.randn(16, 144), torch.randn(16, 2) @ torch.randn(2, 144) + 1e-3 * torch.randn(16, 144)):
        work = matrix / matrix.norm()
        assert torch.allclose(_factor(work @ work.mT) @ work, _iterated(work), atol=1e-4)


def test_muon_moves_matrices_inside_and_adamw_the_rest():
    mine, other = net(), net()
    optim = Optim(name="muon", lr=0.01)
    muon = make_optimizer(mine, parts(mine), optim)
    adamw = make_optimizer(other, parts(other), Optim(name="adamw", lr=0.01))
    for model, optimizer in ((mine, muon), (other, adamw)):
        backward(model, 0)
        optimizer.step(0.01, None)
    same = {name: torch.equal(a, b) for (name, a), b in zip(mine.named_parameters(), other.parameters(), strict=True)}
    assert not same["2.weight"]
    assert not same["4.weight"]
    assert all(value for name, value in same.items() if name not in {"2.weight", "4.weight"})


def test_one_number_a_channel_is_no_matrix_for_muon_or_decay():
    model = nn.ModuleDict({"first": nn.Linear(2, 2), "inside": nn.Conv2d(4, 4, 3), "last": nn.Linear(2, 2)})
    model["inside"].scale = nn.Parameter(torch.ones(4, 1, 1))  # a vector, whatever its shape says
    groups = make_groups(model, list(model.items()), Optim(name="muon"))
    assert [name for group in groups if group.by_muon for name in group.names] == ["inside.weight"]
    assert "inside.scale" not in {name for group in groups if group.weight_decay for name in group.names}


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "muon"])
def test_every_optimiser_learns_and_its_state_can_be_put_back(name):
    model = net()
    optimizer = make_optimizer(model, parts(model), Optim(name=name))
    losses = []
    for _ in range(40):
        backward(model, 0)
        losses.append(model(torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))).square().sum().item())
        optimizer.step(0.003, coefficient(fill_gradients(list(model.parameters())), torch.tensor(5.0), 1.0)[0])
    assert losses[-1] < losses[0] / 3
    copied, fresh = copy.deepcopy(model), None
    fresh = make_optimizer(copied, parts(copied), Optim(name=name))
    for key, tensor in fresh.state().items():
        tensor.copy_(optimizer.state()[key])
    for one, steps in ((model, optimizer), (copied, fresh)):
        backward(one, 1)
        steps.step(0.01, None)
    for a, b in zip(model.parameters(), copied.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_average_is_the_moving_average():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(model, 0.5)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(6):
        with torch.no_grad():
            for param in model.parameters():
                param.add_(torch.randn_like(param))
        model(torch.randn(4, 2))
        average.follow(step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
    average.copy_counters()
    for name, value in average.model.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, expected[name], atol=1e-6)
        else:
            assert value == 6


def test_the_average_follows_a_model_whose_layout_is_changed():
    """Evaluation may move a model to a layout; kernels of one column are then given new memory."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1))
    average = Average(model, 0.5)
    average.model.to(memory_format=torch.channels_last)
    with torch.no_grad():
        for param in model.parameters():
            param.add_(1.0)
    before = [param.clone() for param in average.model.parameters()]
    average.follow(100)
    for old, new, target in zip(before, average.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(new, (old + target) / 2)
