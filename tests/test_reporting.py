"""What a report is told of a finished run."""

from types import SimpleNamespace

import pytest

from ouvroir.reporting import _kept_at
from ouvroir.run import Measurement
from ouvroir.training import checkpoint


@pytest.mark.parametrize(
    ("values", "is_overfit"), [([2.0], False), ([2.0, 2.05], False), ([2.0, 2.5, 2.4], True), ([], None)]
)
def test_where_a_model_comes_from_says_how_often_it_was_validated(monkeypatch, values, is_overfit):
    monkeypatch.setattr(checkpoint, "step_of", lambda folder: 10)
    measured = [
        Measurement(10 * number, "validation", "loss", value, 1.0) for number, value in enumerate(values, start=1)
    ]
    run = SimpleNamespace(metrics=lambda: measured, checkpoint=lambda name: None, read_json=lambda name: None)
    found = _kept_at(run, 5)
    if is_overfit is None:
        assert found is None
        return
    assert (found.step, found.steps, found.n_validations) == (15, 5 + 10 * len(values), len(values))
    assert found.is_overfit == is_overfit
