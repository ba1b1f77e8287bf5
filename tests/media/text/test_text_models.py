"""The networks for texts: padding changes nothing, constants act, and n-grams are weighed as scikit-learn does."""

import math

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfTransformer

from ouvroir.constants import ALPHA
from ouvroir.layers import Attention
from ouvroir.media.text import models, tokens
from ouvroir.media.text.baselines import rarity, weighted
from ouvroir.media.text.classification import INPUTS, TextClassification
from ouvroir.media.text.processor import N_BUCKETS, TextProcessor, grams
from ouvroir.media.text.texts import batch_of
from ouvroir.recipe import Constants, Model, Recipe
from ouvroir.rng import Rng
from ouvroir.source import Source
from ouvroir.task import Limits

TASK = TextClassification()
TEXTS = ["the red lamp broke", "I like the blue lamp, and the hat", "a note", "word " * 40]
PIECES = tokens.learn("bpe", TEXTS * 20, 4000, has_prefix=True)
PROCESSOR = TextProcessor(labels=("bad", "good", "note"), tokenizer=PIECES, max_pieces=64)


def recipe_for(*, constants=None, **options):
    return Recipe(
        task=TASK.name, model=Model(preset="tiny"), options=TASK.Options(**options), constants=constants or Constants()
    )


def build(seed=0, **changes):
    torch.manual_seed(seed)
    return TASK.build_model(recipe_for(**changes), PROCESSOR).eval()


def batch(texts=TEXTS):
    return batch_of([PROCESSOR.encode(Source("", "", text=text), Limits()) for text in texts])


def answered(model, texts):
    given = batch(texts)
    with torch.no_grad():
        return model(*(given[name] for name in INPUTS))


@pytest.mark.parametrize("network", ["blocks", "ngrams"])
def test_the_answer_for_a_text_does_not_depend_on_its_neighbours(network):
    model = build(network=network)
    together = answered(model, TEXTS)
    for number, text in enumerate(TEXTS):
        assert torch.allclose(answered(model, [text])[0], together[number], atol=1e-5)


def test_parts_of_about_equal_length_give_what_the_whole_gives():
    model = build()
    texts = [f"{'long ' * (number % 9)}text {number}" for number in range(17)]
    given = batch(texts)
    with torch.no_grad():
        by_length = model.embed(*(given[name] for name in INPUTS), "grams")
        whole = model._through(given["pieces"], given["lengths"], "head")
    assert torch.allclose(by_length, whole, atol=1e-5)


def test_constants_act():
    special, ordinary = build(), build(constants=Constants(phi="ordinary", pi="ordinary", alpha="ordinary"))
    width = special.pool.key.in_features
    assert special.embedding.out.in_features == round(width / 1.618034)
    assert ordinary.embedding.out.in_features == width // 2
    assert float(special.blocks[0].scale1.detach()[0]) == pytest.approx(ALPHA.value)
    assert float(ordinary.blocks[0].scale1.detach()[0]) == pytest.approx(1e-4)
    assert special.pool.pi == pytest.approx(math.pi)
    assert ordinary.pool.pi is None
    assert ordinary.blocks[0].attention.pi is None


@pytest.mark.parametrize("pi", [math.pi, None])
def test_attention_against_a_plain_computation(pi):
    torch.manual_seed(0)
    layer, x = Attention(64, pi), torch.randn(2, 5, 64)
    is_there = torch.tensor([[True] * 5, [True, True, True, False, False]])
    with torch.no_grad():
        found = layer(x, is_there)
        want = torch.zeros(2, 5, 64)
        query, key, value = layer.qkv(x).chunk(3, dim=2)
        for row in range(2):
            n = int(is_there[row].sum())
            for head in range(2):
                part = slice(32 * head, 32 * head + 32)
                q, k = query[row, :, part], key[row, :n, part]
                if pi is None:
                    logits = q @ k.T / math.sqrt(32)
                else:
                    logits = (
                        (q / q.norm(dim=1, keepdim=True)) @ (k / k.norm(dim=1, keepdim=True)).T * math.sqrt(32) / pi
                    )
                want[row, :, part] = logits.softmax(dim=1) @ value[row, :n, part]
        want = layer.out(want)
    assert torch.allclose(found, want, atol=1e-5)


def sparse(texts):
    from scipy.sparse import csr_matrix

    found = [grams(text) for text in texts]
    ends = np.cumsum([0, *(len(one) for one, _ in found)])
    values = np.concatenate([counts for _, counts in found]).astype(np.float32)
    return csr_matrix((values, np.concatenate([one for one, _ in found]), ends), shape=(len(texts), N_BUCKETS))


def test_n_grams_are_weighed_as_scikit_learn_does():
    seen = sparse(TEXTS)
    found = weighted(seen, rarity(np.bincount(seen.indices, minlength=N_BUCKETS), seen.shape[0])).toarray()
    want = TfidfTransformer(sublinear_tf=True).fit_transform(seen).toarray()
    assert np.allclose(found, want, atol=1e-6)


def test_the_network_weighs_n_grams_so_too():
    layer = models.Grams(N_BUCKETS, 8)
    seen = sparse(TEXTS)
    layer.rarity.copy_(torch.from_numpy(rarity(np.bincount(seen.indices, minlength=N_BUCKETS), seen.shape[0])))
    given = batch()
    with torch.no_grad():
        found = layer(given["grams"], given["gram_counts"])
        want = (
            models.GAIN
            * torch.from_numpy(
                weighted(seen, rarity(np.bincount(seen.indices, minlength=N_BUCKETS), seen.shape[0])).toarray()
            ).float()
            @ layer.table.weight
        )
    assert torch.allclose(found, want, atol=1e-5)


def test_what_is_hidden_is_the_same_in_any_batch():
    recipe = recipe_for(piece_dropout=0.5)
    given = {**batch(), "index": torch.arange(4)}
    whole = TASK.prepare(given, recipe, rng=Rng(0, 1, torch.arange(4)), training=True)
    alone = {**batch(TEXTS[1:2]), "index": torch.arange(1)}
    part = TASK.prepare(alone, recipe, rng=Rng(0, 1, torch.tensor([1])), training=True)
    n = alone["pieces"].shape[1]
    assert torch.equal(whole["pieces"][1, :n], part["pieces"][0])
    assert (whole["pieces"] == tokens.UNKNOWN).any()
    assert torch.equal(whole["pieces"] == 0, given["pieces"] == 0)  # what is not there is not hidden
    still = TASK.prepare(given, recipe, rng=Rng(0, 1, torch.arange(4)), training=False)
    assert torch.equal(still["pieces"], given["pieces"])


def test_features_are_cached_before_the_head_only():
    assert not TASK.augments(recipe_for().replace("model", scope="head"))
    assert TASK.augments(recipe_for(piece_dropout=0.0).replace("model", scope="last:2"))
    assert TASK.augments(recipe_for(augment="always").replace("model", scope="head"))


@pytest.mark.parametrize("network", ["blocks", "ngrams"])
def test_an_earlier_model_is_adopted_by_the_names_of_its_classes(network):
    earlier = build(seed=1, network=network)
    last = "deep.out" if network == "blocks" else "out"
    with torch.no_grad():
        earlier.head.get_submodule(last).weight.normal_()
    later = PROCESSOR.with_labels(("good", "new", "bad"))
    torch.manual_seed(2)
    model = TASK.build_model(recipe_for(network=network), later)
    said = TASK.adopt(model, later, earlier.state_dict(), PROCESSOR.labels)
    assert any("2 of 3 classes" in sentence for sentence in said)
    was, now = (one.head.get_submodule(last).weight for one in (earlier, model))
    assert torch.equal(now[0], was[1])
    assert torch.equal(now[2], was[0])
    assert now[1].abs().max() < 0.1
