"""Which rows each step takes."""

import numpy as np
import pytest

from ouvroir.data.loader import Sampler
from ouvroir.errors import DataError
from ouvroir.task import Items


def sampler(n=10, *, batch_size=4, strata=None, seed=0):
    items = Items(row=np.arange(n), stratum=None if strata is None else np.asarray(strata))
    return Sampler(items, seed=seed, batch_size=batch_size, sampling="plain" if strata is None else "balanced")


def stream(one, n_steps):
    return np.concatenate([one.draw(step) for step in range(n_steps)])


@pytest.mark.parametrize(("n", "batch_size"), [(10, 4), (10, 5), (3, 8), (1, 2), (7, 7)])
def test_every_epoch_holds_every_item_once(n, batch_size):
    drawn = stream(sampler(n, batch_size=batch_size), 3 * n)
    for epoch in range(len(drawn) // n):
        assert sorted(drawn[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_a_draw_is_a_function_of_seed_and_step():
    forward = [sampler(50, batch_size=8).draw(step).tolist() for step in range(30)]
    one = sampler(50, batch_size=8)
    assert [one.draw(step).tolist() for step in reversed(range(30))] == forward[::-1]
    assert sampler(50, batch_size=8, seed=1).draw(0).tolist() != forward[0]
    assert sampler(50, batch_size=50).draw(0).tolist() != sampler(50, batch_size=50).draw(1).tolist()


def test_balanced_draws_every_class_equally_often_and_every_member_too():
    strata = [0] * 50 + [1] * 7 + [2] * 3
    one = sampler(60, batch_size=6, strata=strata)
    drawn = stream(one, 210)  # 21 epochs of 60
    classes = np.asarray(strata)[drawn]
    assert np.bincount(classes).tolist() == [420, 420, 420]
    for epoch in range(21):
        assert np.bincount(classes[epoch * 60 : (epoch + 1) * 60]).tolist() == [20, 20, 20]
    for c, size in ((0, 50), (1, 7), (2, 3)):
        times = np.bincount(drawn[classes == c], minlength=60)[np.asarray(strata) == c]
        assert times.min() == 420 // size
        assert times.max() == -(-420 // size)


def test_balanced_shares_out_the_rest_over_epochs():
    strata = [0, 0, 0, 0, 1, 1, 2]
    classes = np.asarray(strata)[stream(sampler(7, batch_size=7, strata=strata), 3)]
    assert np.bincount(classes).tolist() == [7, 7, 7]


def test_balanced_is_a_function_of_the_step_too():
    strata = [0] * 9 + [5] * 4
    forward = [sampler(13, batch_size=4, strata=strata).draw(step).tolist() for step in range(20)]
    one = sampler(13, batch_size=4, strata=strata)
    assert [one.draw(step).tolist() for step in reversed(range(20))] == forward[::-1]


def test_steps_per_epoch():
    assert sampler(10, batch_size=4).steps_per_epoch == 2.5


def test_nothing_to_train_on_is_said():
    with pytest.raises(DataError, match="nothing to train on"):
        sampler(0)
