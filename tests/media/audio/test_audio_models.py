"""The network for sounds: inputs, constants, windows, and rows that do not look at each other."""

import numpy as np
import pytest
import torch

from ouvroir.constants import ALPHA
from ouvroir.evaluation.evaluate import join
from ouvroir.media.audio.classification import AudioClassification
from ouvroir.media.audio.processor import AudioProcessor, in_windows
from ouvroir.recipe import Constants, Model, Recipe
from ouvroir.rng import Rng
from ouvroir.task import Answers

TASK = AudioClassification()
PROCESSOR = AudioProcessor(labels=("a", "b", "c"), rate=8_000, window=4_000, most_seconds=10.0)


def recipe_for(*, constants=None, **options):
    return Recipe(
        task=TASK.name, model=Model(preset="tiny"), options=TASK.Options(**options), constants=constants or Constants()
    )


def build(seed=0, **changes):
    torch.manual_seed(seed)
    return TASK.build_model(recipe_for(**changes), PROCESSOR).eval()


def waves(n=3):
    return (torch.randn(n, 4_000, generator=torch.Generator().manual_seed(0)) * 3000).to(torch.int16)


@pytest.mark.parametrize("inputs", ["mel", "mfcc", "raw"])
def test_answers_of_each_kind_of_input(inputs):
    model = build(inputs=inputs)
    with torch.no_grad():
        together = model(waves())
        assert together.shape == (3, 3)
        for row in range(3):
            assert torch.allclose(model(waves()[row : row + 1])[0], together[row], atol=1e-4)
        assert torch.allclose(model(waves() // 4), together, atol=0.05)  # how loud it is makes next to no difference


def test_constants_act():
    special, ordinary = build(), build(constants=Constants(phi="ordinary", pi="ordinary", alpha="ordinary"))
    assert float(special.body["stage1"][3].scale.detach().ravel()[0]) == pytest.approx(ALPHA.value)
    assert float(ordinary.body["stage1"][3].scale.detach().ravel()[0]) == pytest.approx(1e-4)
    assert special.pool.pi is not None
    assert ordinary.pool.pi is None
    assert special.head.widths != ordinary.head.widths


@pytest.mark.parametrize(
    ("n", "begin", "heard"),
    [
        (1_000, [0], [1_000]),
        (4_000, [0], [4_000]),
        (4_001, [0, 1], [4_000, 4_000]),
        (9_000, [0, 4_000, 5_000], [4_000] * 3),
        (8_000, [0, 4_000], [4_000] * 2),
    ],
)
def test_windows_cover_a_sound_and_end_with_it(n, begin, heard):
    samples = np.arange(1, n + 1, dtype=np.int16)
    found = in_windows(samples, 4_000)
    assert found["begin"].tolist() == begin
    assert found["heard"].tolist() == heard
    assert found["wave"].shape == (len(begin), 4_000)
    assert set(samples.tolist()) <= set(found["wave"].ravel().tolist())
    if n < 4_000:
        where = np.flatnonzero(found["wave"][0])
        assert abs((where[0] + where[-1]) / 2 - 2_000) <= 1  # in the middle of silence


def test_answers_for_windows_become_one_for_each_row():
    scores = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], dtype=np.float32)
    parts = [
        Answers(np.array([0, 1]), np.array([0.1, 0.7]), np.array([1, 1]), scores[:2], np.array([0, 1])),
        Answers(np.array([1]), np.array([0.3]), np.array([1]), scores[2:], np.array([1])),
    ]
    found = join(parts, labels=("x", "y"))
    assert found.index.tolist() == [0, 1]
    assert np.allclose(found.scores, [[0.9, 0.1], [0.35, 0.65]])
    assert np.allclose(found.loss, [0.1, 0.5])
    assert found.n_items.tolist() == [1, 1]
    assert found.targets.tolist() == [0, 1]


def test_long_sounds_get_an_answer_for_each_window():
    model = build()
    long = in_windows(np.random.default_rng(0).normal(0, 3000, 10_000).astype(np.int16), PROCESSOR.window)
    short = in_windows(np.random.default_rng(1).normal(0, 3000, 3_000).astype(np.int16), PROCESSOR.window)
    found = TASK.predict(model, PROCESSOR, recipe_for(), [short, long], device="cpu", threshold=0.0)
    assert found[0].times == ()
    assert [(one.begin_s, one.end_s) for one in found[1].times] == [(0.0, 0.5), (0.5, 1.0), (0.75, 1.25)]
    alone = TASK.predict(model, PROCESSOR, recipe_for(), [long], device="cpu", threshold=0.0)[0]
    assert alone.label == found[1].label
    assert sum(alone.scores.values()) == pytest.approx(1, abs=1e-4)


def test_mixed_rows_are_taught_both_labels():
    model, recipe = build(), recipe_for(mixup=1.0, dropout=0.0)
    batch = {
        "wave": waves(4),
        "heard": torch.full((4,), 4_000),
        "labels": torch.tensor([0, 1, 2, 0]),
        "index": torch.arange(4),
    }
    rng = Rng(0, 0, torch.arange(4))
    prepared = TASK.prepare(batch, recipe, rng=rng, training=True)
    loss = TASK.step(model, prepared, recipe, rng=rng, training=True).losses["class"].per_row
    plain = {**prepared}
    del plain["partner"], plain["share"]
    other = TASK.step(model, plain, recipe, rng=rng, training=True).losses["class"].per_row
    assert not torch.allclose(loss, other)


def test_an_earlier_model_is_adopted_by_the_names_of_its_classes():
    earlier = build(seed=1)
    with torch.no_grad():
        earlier.head.out.weight.normal_()
    later = PROCESSOR.with_labels(("b", "new"))
    torch.manual_seed(2)
    model = TASK.build_model(recipe_for(), later)
    said = TASK.adopt(model, later, earlier.state_dict(), PROCESSOR.labels)
    assert any("1 of 2 classes" in sentence for sentence in said)
    assert torch.equal(model.head.out.weight[0], earlier.head.out.weight[1])
    assert torch.equal(model.body["stem"][0].weight, earlier.body["stem"][0].weight)
