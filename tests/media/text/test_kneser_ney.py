"""N-grams: probabilities sum to one, and the order is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from ouvroir.media.text.kneser_ney import KneserNey

V = 6


def texts(n=3, length=60, seed=0):
    """Of a chain in which the next token depends on the two before it."""
    rng = np.random.default_rng(seed)
    table = np.random.default_rng(7).dirichlet(np.full(V, 0.3), (V, V))
    found = []
    for _ in range(n):
        text = [0, 1]
        while len(text) < length:
            text.append(int(rng.choice(V, p=table[text[-2], text[-1]])))
        found.append(np.array(text))
    return found


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_sum_to_one_and_are_those_of_the_surprise(order):
    model = KneserNey.of(texts(), V, order)
    asked = texts(n=1, length=12, seed=5)[0]
    nats = model.nats(asked)
    for place in range(len(asked)):
        chances = np.exp([-model.nats(np.append(asked[:place], token))[-1] for token in range(V)])
        assert chances.min() > 0
        assert chances.sum() == pytest.approx(1, abs=1e-6)
        assert -np.log(chances[asked[place]]) == pytest.approx(nats[place], abs=1e-6)


def test_a_known_chain_is_told_nearly_as_well_as_can_be():
    table = np.random.default_rng(7).dirichlet(np.full(V, 0.3), (V, V))
    model = KneserNey.best(texts(n=40, length=400), texts(n=5, length=400, seed=1), V)
    assert len(model.orders) in (3, 4)
    asked = texts(n=1, length=2000, seed=2)[0]
    least = -np.log([table[a, b, c] for a, b, c in zip(asked, asked[1:], asked[2:], strict=False)]).mean()
    assert model.nats(asked)[2:].mean() == pytest.approx(least, rel=0.03)


def test_what_never_occurred_is_possible():
    model = KneserNey.of([np.array([0, 1, 0, 1, 0, 1])], V, 3)
    nats = model.nats(np.array([5, 0, 1]))
    assert np.isfinite(nats).all()
    assert nats[0] > nats[2]
