"""Evaluation runs a real model over a real table-like object in order, without leaving traces."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from answers_made import only_loss, several, single
from torch import nn

from ouvroir.errors import RunError
from ouvroir.evaluation.evaluate import evaluate, in_units, load_answers, save_answers
from ouvroir.recipe import Loop, Recipe
from ouvroir.task import Answers, Items, Loss, Row, StepOutput

LABELS = ("low", "high", "other")


class Rows:
    """As much of a table as evaluation asks for."""

    def __init__(self, n):
        self.values = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
        self.labels = torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(1))

    def __len__(self):
        return len(self.values)

    def slice(self, index, start=None, length=None):
        index = torch.as_tensor(index)
        return SimpleNamespace(index=index, values=self.values[index], labels=self.labels[index])


class Lines:
    """As much of a task as evaluation asks for; it notes what it saw."""

    def __init__(self, fails_above=None):
        self.sizes, self.modes, self.places, self.dtypes = [], [], [], []
        self.fails_above = fails_above

    def items(self, table, processor, *, training):
        assert not training
        return Items(row=np.arange(len(table)))

    def collate(self, rows):
        return {"index": rows.index, "values": rows.values, "labels": rows.labels}

    def prepare(self, batch, recipe, *, rng, training):
        assert not training
        self.places += rng.places.tolist()
        return batch

    def step(self, model, batch, recipe, *, rng, training):
        if self.fails_above and len(batch["index"]) > self.fails_above:
            raise torch.OutOfMemoryError("too much")
        self.sizes.append(len(batch["index"]))
        self.modes.append((model.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        logits = model(batch["values"])
        self.dtypes.append(logits.dtype)
        per_row = nn.functional.cross_entropy(logits.float(), batch["labels"], reduction="none")
        return StepOutput({"class": Loss(per_row, torch.ones_like(batch["labels"]))}, logits)

    def answers(self, batch, output, processor):
        loss = output.losses["class"]
        return Answers(
            index=batch["index"].numpy(),
            loss=loss.per_row.double().numpy(),
            n_items=loss.n_items.numpy(),
            scores=output.outputs.float().softmax(1).numpy(),
            targets=batch["labels"].numpy(),
            labels=processor.labels,
        )


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3)).train()


PROCESSOR = SimpleNamespace(labels=LABELS)


def recipe(**loop):
    return Recipe(task="lines", loop=Loop(**loop))


def test_answers_come_in_order_whatever_the_batch_size(model):
    table, task = Rows(70), Lines()
    whole = evaluate(task, model, PROCESSOR, recipe(), table, batch_size=70)
    parts = evaluate(task, model, PROCESSOR, recipe(), table, batch_size=16)
    assert task.sizes == [70, 16, 16, 16, 16, 6]
    assert task.places == list(range(70)) * 2
    assert (whole.index == np.arange(70)).all()
    for name in ("index", "loss", "n_items", "scores", "targets"):
        np.testing.assert_allclose(getattr(whole, name), getattr(parts, name), rtol=1e-5)
    with torch.no_grad():
        expected = model.eval()(table.values).softmax(1)
    np.testing.assert_allclose(whole.scores, expected, rtol=1e-5)
    assert whole.labels == LABELS


def test_the_model_is_judged_in_evaluation_mode_and_left_as_it_came(model):
    task = Lines()
    evaluate(task, model, PROCESSOR, recipe(), Rows(5))
    assert set(task.modes) == {(False, False, True)}
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_arithmetic_is_that_of_the_recipe(model):
    task = Lines()
    evaluate(task, model, PROCESSOR, recipe(precision="bf16"), Rows(5))
    evaluate(task, model, PROCESSOR, recipe(precision="fp32"), Rows(5))
    assert task.dtypes == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize(("learned_in", "judged_in"), [(8, 32), (16, 64), (64, 64), (128, 128), (512, 256)])
def test_the_default_batch_on_a_cpu_is_about_that_of_training_and_bounded(model, learned_in, judged_in):
    task = Lines()
    evaluate(task, model, PROCESSOR, recipe(batch_size=learned_in), Rows(300))
    assert task.sizes[0] == judged_in


def test_memory_that_runs_out_halves_the_batch(model):
    task = Lines(fails_above=20)
    answers = evaluate(task, model, PROCESSOR, recipe(), Rows(50), batch_size=64)
    assert task.sizes == [16, 16, 16, 2]
    assert len(answers.index) == 50
    task.fails_above = 0.5
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(task, model, PROCESSOR, recipe(), Rows(3), batch_size=4)
    assert model.training


def test_an_empty_table_gives_no_answers(model):
    answers = evaluate(Lines(), model, PROCESSOR, recipe(), Rows(0))
    assert len(answers.index) == 0
    assert answers.labels == LABELS


@pytest.mark.parametrize(
    "answers",
    [
        single(20, labels=("é", '"', "<b>", "d")),
        several(),
        replace(several(), answered=several(seed=1).scores > 0.3),
        only_loss(),
    ],
)
def test_answers_survive_the_disk(tmp_path, answers):
    path = tmp_path / "answers" / "test.safetensors"
    save_answers(path, answers)
    again = load_answers(path)
    assert again.labels == answers.labels
    for name in ("index", "loss", "n_items", "scores", "targets", "answered"):
        before, after = getattr(answers, name), getattr(again, name)
        assert (before is None) == (after is None)
        if before is not None:
            np.testing.assert_array_equal(before, after)
            assert before.dtype == after.dtype


def test_damaged_answers_are_a_sentence(tmp_path):
    path = tmp_path / "test.safetensors"
    with pytest.raises(RunError, match="could not be read"):
        load_answers(path)
    save_answers(path, single(20))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="Evaluate the run again"):
        load_answers(path)


def test_blocks_of_one_group_are_one_unit():
    rows = [
        Row("a.txt@0+9", "a.txt@0+9", "", group="a.txt 1"),
        Row("a.txt@9+9", "a.txt@9+9", "", group="a.txt 1"),
        Row("a.txt@18+9", "a.txt@18+9", "", group="a.txt 2"),
        Row("b.txt", "b.txt", "", group="ann"),
        Row("c.txt", "c.txt", "", group="ann"),
    ]
    answers = Answers(np.array([1, 0, 2, 4, 3]), np.ones(5), np.ones(5, np.int64))
    assert in_units(answers, rows).units.tolist() == [0, 0, 2, 3, 4], "no group but that of blocks is one unit"
    assert in_units(Answers(np.array([0, 2]), np.ones(2), np.ones(2, np.int64)), rows).units is None


@pytest.mark.parametrize(
    ("n", "step", "of_a_group", "n_units"),
    [(50, 1, 1, 13), (50, 7, 1, 50), (6, 1, 3, 2), (2, 1, 1, 1), (1, 1, 1, 1), (1000, 1, 2, 100)],
)
def test_blocks_side_by_side_are_one_unit_up_to_the_cube_root_of_them(n, step, of_a_group, n_units):
    places = [f"a.txt@{9 * step * number}+9" for number in range(n)]
    rows = [Row(place, place, "", group=f"a.txt {number // of_a_group}") for number, place in enumerate(places)]
    order = np.random.default_rng(0).permutation(n)
    units = in_units(Answers(order, np.ones(n), np.ones(n, np.int64)), rows).units
    assert (n if units is None else len(np.unique(units))) == n_units
    if units is not None:
        found = {name: sorted(order[units == name]) for name in units.tolist()}
        assert all(places == list(range(places[0], places[-1] + 1)) for places in found.values())
