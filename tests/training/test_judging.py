"""Which checkpoint is the best."""

import math

from ouvroir.training.checkpoint import Place
from ouvroir.training.judging import take_if_better


def judged(*measured, name="accuracy"):
    place, found = Place(), []
    for step, (value, loss) in enumerate(measured, start=1):
        place.step = step
        found.append(take_if_better(place, {name: value, "loss": loss}))
    return found, place


def test_more_is_better_and_equal_ones_go_by_loss():
    found, place = judged((0.5, 1.0), (0.6, 2.0), (0.6, 1.9), (0.6, 1.9), (0.4, 0.1))
    assert found == [True, True, True, False, False]
    assert (place.best_step, place.best_value, place.best_loss, place.stale) == (3, 0.6, 1.9, 2)


def test_less_is_better_where_it_is():
    found, place = judged((0.5, 1.0), (0.6, 1.0), (0.4, 1.0), name="brier")
    assert found == [True, False, True]
    assert place.best_step == 3


def test_a_metric_that_is_no_number_is_never_the_best():
    found, place = judged((math.nan, 1.0), (0.5, math.inf), (0.5, 1.0))
    assert found == [False, False, True]
    assert place.stale == 0
