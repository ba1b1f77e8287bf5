"""Text generation: texts follow from seed, place and class, end where the model ends them, and say that they are synthetic."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ouvroir.errors import UsageError
from ouvroir.media.text import tokens
from ouvroir.media.text.corpus import CorpusProcessor
from ouvroir.media.text.generation import AT_ONCE, TextGeneration
from ouvroir.media.text.language import TextLSTM
from ouvroir.media.text.reading import text_of
from ouvroir.media.text.rewriting import words_alike
from ouvroir.media.text.sampling import drawn, narrowed, write
from ouvroir.recipe import Model, Recipe
from ouvroir.rng import Rng
from ouvroir.sampling import Sampling
from ouvroir.source import Source
from ouvroir.task import Limits

TASK = TextGeneration()
TEXTS = [f"the {what} lamp is {how}" for what in "red blue green white".split() for how in "good bad new old".split()]
PIECES = tokens.learn("bpe", TEXTS * 5, 2000)
PROCESSOR = CorpusProcessor(labels=("a", "b"), tokenizer=PIECES, context=12, longest=12, alike=words_alike(TEXTS * 3))
RECIPE = Recipe(task=TASK.name, model=Model(preset="tiny"), options=TASK.Options(max_pieces=12))
NETWORKS = {name: replace(RECIPE, options=replace(RECIPE.options, network=name)) for name in ("lstm", "transformer")}
SIZES = np.ones((2, 300), dtype=np.int64)


def build(seed=0, recipe=RECIPE, processor=PROCESSOR):
    torch.manual_seed(seed)
    return TASK.build_model(recipe, processor)


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


def batch_of(rows, lead=None):
    """Windows as `collate` makes them."""
    lengths = torch.tensor([len(row) for row in rows])
    pieces = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for place, row in enumerate(rows):
        pieces[place, : len(row)] = torch.as_tensor(row, dtype=torch.int64)
    lead = torch.zeros_like(lengths) if lead is None else torch.tensor(lead)
    is_full = bool((lengths == pieces.shape[1]).all() and not lead.any())
    return {"pieces": pieces, "lengths": lengths, "lead": lead, "is_full": is_full}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_is_the_surprise_of_each_piece_after_those_before_it(name):
    model = build(recipe=NETWORKS[name]).eval()
    rows = [encoded(text)["pieces"] for text in [*TEXTS[:9], "a longer text about the lamp"]]
    given = batch_of(rows, lead=[0] * 8 + [2, 0])
    labels = torch.eye(3)[[number % 3 for number in range(10)]]
    with torch.no_grad():
        told = model.losses(given["pieces"], given["lengths"], given["lead"], labels, with_entropy=True)
        for place, numbers in enumerate(rows):
            row = torch.as_tensor(numbers, dtype=torch.int64)
            share = model(row[None, :-1], labels[place : place + 1])[0].log_softmax(dim=1)[given["lead"][place] :]
            then = row[1 + given["lead"][place] :]
            assert float(told.nats[place]) == pytest.approx(
                float(-share[torch.arange(len(then)), then].sum()), rel=1e-4
            )
            assert float(told.entropy[place]) == pytest.approx(float(-(share.exp() * share).sum()), rel=1e-4)
            assert int(told.n_characters[place]) == len(PIECES.decode(then.tolist()))


@pytest.mark.parametrize("name", NETWORKS)
def test_full_windows_are_told_as_others_are(name):
    model = build(recipe=NETWORKS[name]).eval()
    given = batch_of([encoded(TEXTS[0])["pieces"][:6], encoded(TEXTS[5])["pieces"][:6]])
    assert given["is_full"]
    found = [
        model.losses(given["pieces"], given["lengths"], given["lead"], torch.eye(3)[:2], is_full=is_full)
        for is_full in (True, False)
    ]
    assert torch.allclose(found[0].nats, found[1].nats, rtol=1e-5)
    assert torch.equal(found[0].n_bytes, found[1].n_bytes)


@pytest.mark.parametrize("name", NETWORKS)
def test_step_by_step_is_what_the_whole_gives(name):
    model = build(recipe=NETWORKS[name]).eval()
    pieces, labels = torch.tensor([[5, 9, 7, 8], [4, 4, 11, 6]]), torch.eye(3)[:2]
    with torch.no_grad():
        whole = model(pieces, labels)
        for sizes in ([1, 1, 1, 1], [2, 2], [3, 1]):
            memory, first, found = None, 0, []
            for n in sizes:
                logits, memory = model.after(pieces[:, first : first + n], labels, memory)
                first += n
                found.append((first - 1, logits))
            for place, logits in found:
                assert torch.allclose(logits, whole[:, place], atol=1e-5)


def test_a_transformer_sees_no_further_than_its_context():
    recipe, processor = NETWORKS["transformer"], replace(PROCESSOR, labels=(), context=8)
    model = build(recipe=recipe, processor=processor).eval()
    shape = model.shape
    line = torch.randint(4, 300, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, memory = model.after(line[:, :39], None, None)
        assert memory.n_kept == model.context
        one_by_one, _ = model.after(line[:, 39:], None, memory)
        at_once, _ = model.after(line, None, None)
        other = line.clone()
        other[:, : 40 - shape.n_layers * model.context] += 1  # further back than anything reaches through all layers
        changed, _ = model.after(other, None, None)
    assert torch.allclose(one_by_one, at_once, atol=1e-5)
    assert torch.allclose(changed, at_once, atol=1e-6)


class Said(TextLSTM):
    """Says "4 5 6" and ends, always."""

    def after(self, pieces, labels, memory):
        then = {tokens.BEGIN: 4, 4: 5, 5: 6}
        logits = torch.zeros(len(pieces), 300)
        logits[
            torch.arange(len(pieces)), torch.tensor([then.get(one, tokens.END) for one in pieces[:, -1].tolist()])
        ] = 50
        return logits, None


def written(model, n, how, **given):
    chances = Rng(0, 0, torch.arange(n)).along("pieces", how.most)
    prompt = torch.full((n, 1), tokens.BEGIN)
    found = write(model, prompt, None, chances, how, **given)
    return [list(row) for row in zip(*found, strict=True)]


def test_a_text_ends_where_the_model_ends_it():
    model = Said(sizes=SIZES, n_classes=0, width=32, n_layers=1, ratio=2.0)
    assert written(model, 2, Sampling(most=9), least=1) == [[4, 5, 6, tokens.END]] * 2


def test_pieces_are_drawn_as_often_as_they_are_likely():
    share = torch.tensor([0.5, 0.3, 0.15, 0.05])

    class Fair(TextLSTM):
        def after(self, pieces, labels, memory):
            logits = torch.full((len(pieces), 300), -1e4)
            logits[:, 10:14] = share.log()
            return logits, None

    model = Fair(sizes=SIZES, n_classes=0, width=32, n_layers=1, ratio=2.0)
    n = 4000
    cases = [
        (Sampling(most=1, top_p=1.0), share),
        (Sampling(most=1, top_p=0.9), torch.tensor([0.5, 0.3, 0.15, 0.0]) / 0.95),
        (Sampling(most=1, top_k=2, top_p=1.0), torch.tensor([0.5, 0.3, 0.0, 0.0]) / 0.8),
        (Sampling(most=1, min_p=0.2), torch.tensor([0.5, 0.3, 0.15, 0.0]) / 0.95),
        (Sampling(most=1, temperature=0), torch.tensor([1.0, 0.0, 0.0, 0.0])),
        (Sampling(most=1, temperature=0.5, top_p=1.0), share**2 / (share**2).sum()),
    ]
    for how, want in cases:
        counts = np.bincount([row[0] for row in written(model, n, how)], minlength=14)[10:14] / n
        assert np.allclose(counts, want.numpy(), atol=0.03), how


def test_what_was_written_is_less_likely_with_a_penalty():
    logits, seen = torch.tensor([[2.0, 2.0, -1.0, -1.0]]), torch.tensor([[True, False, True, False]])
    share = narrowed(logits, Sampling(repetition_penalty=2.0, top_p=1.0), seen)
    assert torch.allclose(share, torch.tensor([[1.0, 2.0, -2.0, -1.0]]).softmax(dim=1))


def test_a_chance_just_below_one_draws_what_can_be_drawn():
    share = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert drawn(share, torch.tensor([1 - 2**-24, 1 - 2**-24])).tolist() == [1, 0]
    assert drawn(share, torch.tensor([0.0, 0.0])).tolist() == [0, 0]


def test_it_learns_what_belongs_to_a_class():
    model = build()
    rows = [encoded(f"the {what} lamp")["pieces"] for what in ("red", "blue")] * 4
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
    short = PIECES.decode(parent["pieces"])

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
