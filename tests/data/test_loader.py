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


def with_made(n_real, n_made, *, share=0.25, steps=100, batch_size=16, sampling="plain"):
    """A sampler whose last items are synthetic, and which these are."""
    made = np.arange(n_real + n_made) >= n_real
    items = Items(row=np.arange(n_real + n_made), stratum=np.arange(n_real + n_made) % 3)
    sampler = Sampler(items, seed=1, batch_size=batch_size, sampling=sampling, synthetic=made, share=share, steps=steps)
    return sampler, made


@pytest.mark.parametrize("sampling", ["plain", "balanced"])
def test_synthetic_items_make_up_their_share_until_the_last_fifth(sampling):
    sampler, made = with_made(50, 200, sampling=sampling)
    shares = [made[sampler.draw(step)].sum() for step in range(100)]
    assert shares == [4] * 80 + [0] * 20
    assert all(len(sampler.draw(step)) == 16 for step in (0, 79, 80, 99))


def test_each_part_goes_through_its_items_before_any_comes_again():
    sampler, made = with_made(30, 40)
    drawn = np.concatenate([sampler.draw(step) for step in range(80)])
    synthetic, real = drawn[made[drawn]], drawn[~made[drawn]]
    assert sorted(synthetic[:40]) == list(range(30, 70))
    assert sorted(real[:30]) == list(range(30))
    after = np.concatenate([real, *(sampler.draw(step) for step in range(80, 90))])
    assert sorted(after[len(real) // 30 * 30 :][:30]) == list(range(30))  # the last fifth goes on where it was


def test_real_items_come_in_the_order_that_they_have_alone():
    sampler, made = with_made(30, 40, batch_size=16)
    alone = Sampler(Items(row=np.arange(30)), seed=1, batch_size=16)
    together = np.concatenate([sampler.draw(step) for step in range(20)])
    usual = np.concatenate([alone.draw(step) for step in range(20)])
    real = together[~made[together]]
    assert real.tolist() == usual[: len(real)].tolist()


def test_a_share_of_nothing_and_no_synthetic_items_change_nothing():
    usual = Sampler(Items(row=np.arange(30)), seed=1, batch_size=16)
    none = Sampler(
        Items(row=np.arange(30)), seed=1, batch_size=16, synthetic=np.zeros(30, dtype=bool), share=0.5, steps=10
    )
    kept_out, _ = with_made(30, 40, share=0.0)
    for step in range(10):
        assert none.draw(step).tolist() == usual.draw(step).tolist() == kept_out.draw(step).tolist()


def test_made_rows_alone_are_nothing_to_learn_from():
    with pytest.raises(DataError, match="All train rows are synthetic"):
        with_made(0, 10)
