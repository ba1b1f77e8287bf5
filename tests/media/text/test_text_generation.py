"""Text generation: texts follow from seed, place and class, end where the model ends them, and say that they are synthetic."""

import numpy as np
import pytest
import torch

from ouvroir.errors import UsageError
from ouvroir.media.text import tokens
from ouvroir.media.text.generation import AT_ONCE, TextGeneration
from ouvroir.media.text.language import TextMaker, write
from ouvroir.media.text.processor import TextProcessor
from ouvroir.media.text.reading import text_of
from ouvroir.media.text.rewriting import words_alike
from ouvroir.media.text.texts import batch_of
from ouvroir.recipe import Model, Recipe
from ouvroir.rng import Rng
from ouvroir.source import Source
from ouvroir.task import Limits

TASK = TextGeneration()
TEXTS = [f"the {what} lamp is {how}" for what in "red blue green white".split() for how in "good bad new old".split()]
PIECES = tokens.learn(TEXTS * 5, 2000)
PROCESSOR = TextProcessor(
    labels=("a", "b"), pieces=PIECES, max_pieces=12, keep="beginning", has_end=True, alike=words_alike(TEXTS * 3)
)
RECIPE = Recipe(task=TASK.name, model=Model(preset="tiny"), options=TASK.Options(max_pieces=12))


def build(seed=0):
    torch.manual_seed(seed)
    return TASK.build_model(RECIPE, PROCESSOR)


def encoded(text):
    return PROCESSOR.encode(Source("", "", text=text), Limits())


def texts_of(made):
    return [text_of(Source("", "x.txt", content=one.content), Limits())[0] for one in made]


def made(labels, *, model=None, seed=0, **changes):
    return list(TASK.make(model or build(), PROCESSOR, RECIPE, labels, seed=seed, device="cpu", **changes))


def test_files_say_that_they_are_synthetic():
    (one,) = made(["a"])
    assert one.suffix == ".txt"
    assert one.content.decode().startswith('---\nsynthetic: true\ngenerator: Ouvroir\nlabel: "a"\n---\n')


def test_a_sample_depends_on_its_place_and_not_on_how_many_are_asked_for():
    many = made(["a", None] * (AT_ONCE // 2 + 3))
    assert many[: AT_ONCE + 2] == made(["a", None] * (AT_ONCE // 2 + 1))
    assert made(["a"], seed=1) != made(["a"])


def test_the_loss_is_the_surprise_of_each_piece_after_those_before_it():
    model = build().eval()
    given = batch_of([encoded(text) for text in [*TEXTS[:9], "a much longer text about the lamp and the hat"]])
    labels = torch.eye(3)[[number % 3 for number in range(10)]]
    with torch.no_grad():
        found = model.losses(given["pieces"], given["lengths"], labels, None, None)
        for row in range(10):
            pieces = given["pieces"][row, : given["lengths"][row]]
            before = torch.cat([torch.tensor([tokens.BEGIN]), pieces[:-1]])
            logits = model(before[None], labels[row : row + 1])[0]
            want = -logits.log_softmax(dim=1)[torch.arange(len(pieces)), pieces].sum()
            assert float(found[row]) == pytest.approx(float(want), rel=1e-4)


def test_step_by_step_is_what_the_whole_gives():
    model = build().eval()
    pieces, labels = torch.tensor([[5, 9, 7], [4, 4, 11]]), torch.eye(3)[:2]
    with torch.no_grad():
        whole, state, found = model(pieces, labels), None, []
        for place in range(3):
            logits, state = model.after(pieces[:, place], labels, state)
            found.append(logits)
    assert torch.allclose(torch.stack(found, dim=1), whole, atol=1e-5)


class Said(TextMaker):
    """Says "4 5 6" and ends, always."""

    def after(self, pieces, labels, state):
        then = {tokens.BEGIN: 4, 4: 5, 5: 6}
        logits = torch.zeros(len(pieces), 300)
        logits[torch.arange(len(pieces)), torch.tensor([then.get(one, tokens.END) for one in pieces.tolist()])] = 50
        return logits, (pieces, pieces)


def test_a_text_ends_where_the_model_ends_it():
    model = Said(n_pieces=300, n_classes=1, width=32, ratio=2.0)
    chances = Rng(0, 0, torch.arange(2)).along("pieces", 9)
    found = write(model, torch.eye(2), chances, least=1, temperature=1.0, top_p=0.95)
    assert found == [[4, 5, 6], [4, 5, 6]]


def test_pieces_are_drawn_as_often_as_they_are_likely():
    share = torch.tensor([0.5, 0.3, 0.15, 0.05])

    class Fair(TextMaker):
        def after(self, pieces, labels, state):
            logits = torch.full((len(pieces), 300), -1e4)
            logits[:, 10:14] = share.log()
            return logits, (pieces, pieces)

    model = Fair(n_pieces=300, n_classes=1, width=32, ratio=2.0)
    n = 4000
    chances = Rng(0, 0, torch.arange(n)).along("pieces", 1)
    for top_p, want in ((1.0, share), (0.9, torch.tensor([0.5, 0.3, 0.15, 0.0]) / 0.95)):
        found = write(model, torch.eye(2)[:1].expand(n, 2), chances, least=0, temperature=1.0, top_p=top_p)
        counts = np.bincount([row[0] for row in found], minlength=14)[10:14] / n
        assert np.allclose(counts, want.numpy(), atol=0.03)


def test_it_learns_what_belongs_to_a_class():
    model = build()
    rows = [encoded(f"the {what} lamp") for what in ("red", "blue")] * 4
    given = {**batch_of(rows), "labels": torch.tensor([0, 1] * 4), "index": torch.arange(8)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(120):
        loss = TASK.step(model, given, RECIPE, rng=Rng(0, step, torch.arange(8)), training=True).losses["language"]
        optimizer.zero_grad()
        (loss.per_row.sum() / loss.n_items.sum()).backward()
        optimizer.step()
    found = texts_of(made(["a"] * 20 + ["b"] * 20, model=model))
    assert sum("red" in text for text in found[:20]) >= 16
    assert sum("blue" in text for text in found[20:]) >= 16


def test_rewritten_texts_change_less_the_higher_begin_is():
    text = " ".join(TEXTS[:2])
    parent = encoded(text)
    short = tokens.decode(PIECES, parent["pieces"].tolist())

    def kept(begin):
        found = texts_of(made(["a"] * 40, parents=[parent] * 40, begin=begin))
        return np.mean([sum(a == b for a, b in zip(one.split(), short.split(), strict=False)) for one in found])

    assert kept(0.9) > kept(0.0)
    assert texts_of(made(["a"], parents=[parent], begin=0.5)) != [short]


def test_a_class_that_is_not_known_is_refused():
    with pytest.raises(UsageError, match="no class `c`"):
        made(["c"])


def test_mixtures_have_the_beginning_of_one_and_the_end_of_the_other():
    (one,) = TASK.mix(PROCESSOR, [encoded("the red lamp")], [encoded("the blue hat")], [0.67])
    assert texts_of([one]) == ["the red hat\n"]
