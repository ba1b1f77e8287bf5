"""Operations with gradients of their own do what the plain ones do."""

import pytest
import torch
from torch.nn import functional

from ouvroir.media.text.fused import EPS, gated, normed, surprise, turned


def plain_normed(x):
    return functional.rms_norm(x, x.shape[-1:], eps=EPS)


def plain_gated(both):
    gate, up = both.chunk(2, dim=-1)
    return functional.silu(gate) * up


@pytest.mark.parametrize(("mine", "plain"), [(normed, plain_normed), (gated, plain_gated)])
def test_values_and_gradients_are_those_of_plain_operations(mine, plain):
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.allclose(mine(x), plain(x), rtol=1e-12)
    with torch.no_grad():
        assert torch.allclose(mine(x), plain(x), rtol=1e-12)
    assert torch.autograd.gradcheck(mine, (x,))


def test_a_row_of_zeros_has_a_finite_gradient():
    x = torch.zeros(2, 4, requires_grad=True)
    normed(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_surprise_is_cross_entropy_and_its_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 11, generator=generator, requires_grad=True)
    target = torch.randint(11, (7,), generator=generator)
    nats, entropy = surprise(logits, target)
    share = logits.softmax(dim=1)
    assert torch.allclose(nats, functional.cross_entropy(logits, target, reduction="none"), rtol=1e-5)
    assert torch.allclose(entropy, -(share * share.log()).sum(dim=1), rtol=1e-5)
    weight = torch.rand(2, 7, generator=generator)
    (mine,) = torch.autograd.grad((weight[0] * nats + weight[1] * entropy).sum(), logits)
    plain = functional.cross_entropy(logits, target, reduction="none")
    wanted = (weight[0] * plain - weight[1] * (logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)).sum()
    assert torch.allclose(mine, torch.autograd.grad(wanted, logits)[0], atol=1e-6)


def test_turning_keeps_lengths_and_tells_places_by_their_distance():
    angles = torch.arange(6.0)[:, None] * torch.tensor([1.0, 0.1])
    turns = torch.stack([angles.cos(), angles.sin()], dim=-1)
    query, key = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    queries, keys = turned(query.expand(6, 4), turns), turned(key.expand(6, 4), turns)
    assert torch.allclose(queries.norm(dim=1), query.norm().expand(6), rtol=1e-5)
    products = queries @ keys.T
    assert torch.allclose(products.diagonal(2), products[0, 2].expand(4), atol=1e-5)
    assert not torch.allclose(products[0, 2], products[2, 0], atol=1e-3)
