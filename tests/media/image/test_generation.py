"""Picture generation: the flow learns, samples follow from seed, place and class, and say that they are synthetic."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pictures
from ouvroir import api, flow, workflow
from ouvroir.errors import UsageError
from ouvroir.making import shifted_views
from ouvroir.media import find_task
from ouvroir.media.image.generation import ImageGeneration
from ouvroir.media.image.pictures import to_floats, to_pixels
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.progress import QUIET
from ouvroir.recipe import Model, Recipe
from ouvroir.rng import Rng
from ouvroir.training.distributed import World, share
from ouvroir.training.step import Engine, Feed

TASK = ImageGeneration()


def recipe_for(**options):
    return Recipe(task=TASK.name, model=Model(preset="tiny"), options=ImageGeneration.Options(**options))


def made(processor, labels, *, seed=0, **changes):
    recipe = recipe_for(storage_px=processor.storage_px, sample_steps=2)
    torch.manual_seed(0)
    model = TASK.build_model(recipe, processor)
    nn.init.normal_(model.out.weight, std=0.1)
    return [one.content for one in TASK.make(model, processor, recipe, labels, seed=seed, device="cpu", **changes)]


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize(("px", "channels"), [(8, 1), (28, 1), (30, 3), (64, 3)])
def test_the_velocity_has_the_shape_of_the_pictures(px, channels):
    model = flow.FlowModel(n_channels=channels, n_classes=3, width=16, scale=1 / 137, pi=3.14)
    x, times = torch.randn(2, channels, px, px), torch.rand(2)
    labels = torch.eye(4)[[0, 3]]
    assert model(x, times, labels).shape == x.shape
    assert model(x, times, labels).abs().max() == 0  # before it has learned, the mean


def test_the_flow_leads_from_noise_to_the_picture_where_the_velocity_is_known():
    class Known(nn.Module):
        def forward(self, x, times, labels):
            return (target - x) / (1 - times[:, None, None, None])

    target, noise = torch.rand(3, 1, 8, 8) * 2 - 1, torch.randn(3, 1, 8, 8)
    found = flow.follow(Known(), noise, torch.eye(2)[[0, 1, 0]], steps=4)
    assert torch.allclose(found, target, atol=1e-5)
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_pixels(to_floats(levels)), levels)


def test_guidance_goes_further_from_no_class_towards_the_class():
    class OfClass(nn.Module):
        def forward(self, x, times, labels):
            return torch.ones_like(x) * (1 - labels[:, -1])[:, None, None, None]

    start, labels = torch.zeros(1, 1, 8, 8), torch.tensor([[1.0, 0.0]])
    assert flow.follow(OfClass(), start, labels, steps=2).mean() == pytest.approx(1)
    assert flow.follow(OfClass(), start, labels, steps=2, guidance=2.5).mean() == pytest.approx(2.5)


def test_the_loss_falls_on_real_digits(tmp_path):
    folder = pictures.write_digits(tmp_path / "digits", per_class=12)
    manifest = api.check(folder, task=TASK.name)
    recipe = recipe_for(storage_px=8).replace("loop", batch_size=32, steps=150, precision="fp32", micro_batch=32)
    recipe = recipe.replace("optim", lr=3e-3)
    data = workflow.prepare(TASK, manifest, recipe, workers=1, progress=QUIET)
    table = data.tables["train"]
    torch.manual_seed(0)
    model = TASK.build_model(recipe, data.processor)
    world = World(device="cpu")
    feed = Feed(TASK, table, TASK.items(table, None, training=True))
    engine = Engine(TASK, model, recipe, feed, device="cpu", world=world, share=share(recipe.loop, world))
    losses = []
    for step in range(150):
        taken = engine.advance(step, np.arange(step, step + 32) % len(table))
        losses.append(float(taken.sums[0] / taken.sums[1]))
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:5])


def test_a_sample_depends_on_seed_place_and_class_only():
    processor = ImageProcessor(labels=("a", "b"), storage_px=8, n_channels=1)
    few = made(processor, ["a"] * 3)
    many = made(processor, ["a"] * 70)
    assert many[:3] == few
    assert len(set(many)) == 70
    assert made(processor, ["a"] * 3) == few
    assert made(processor, ["b"] * 3) != few
    assert made(processor, [None] * 3) != few
    assert not set(made(processor, ["a"] * 3, seed=1)) & set(few)
    with pytest.raises(UsageError, match="knows no class `c`"):
        made(processor, ["c"])


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_files_say_that_they_are_synthetic(channels, mode):
    content = made(ImageProcessor(labels=("é/1",), storage_px=8, n_channels=channels), ["é/1"], seed=7)[0]
    image = Image.open(io.BytesIO(content))
    assert (image.mode, image.size) == (mode, (8, 8))
    assert image.text["Synthetic"] == "true"
    assert image.text["label"] == "é/1"
    assert image.text["seed"] == "7"
    assert "trainedAlgorithmicMedia" in image.text["XML:com.adobe.xmp"]


def test_a_variation_is_nearer_to_its_parent_the_later_it_begins():
    processor = ImageProcessor(labels=("a",), storage_px=8, n_channels=1)
    parent = np.full((8, 8, 1), 200, dtype=np.uint8)
    parents = [{"pixel_values": parent}] * 5
    gaps = [
        np.mean(
            [
                np.abs(pixels(one).astype(int) - 200).mean()
                for one in made(processor, ["a"] * 5, parents=parents, begin=t)
            ]
        )
        for t in (0.1, 0.5, 0.9)
    ]
    assert gaps[0] > gaps[1] > gaps[2]


def test_times_of_a_batch_are_spread_evenly():
    for step in range(5):
        times = Rng(0, step, torch.arange(55)).spread("time", 1 / 1.618033988749895).sort().values
        assert times.min() >= 0
        assert times.max() < 1
        assert times.diff().max() < 2.7 / 55  # three lengths only, the longest φ² of the mean at most
    other = Rng(0, 6, torch.arange(55)).spread("time", 0.618)
    assert not torch.allclose(other, Rng(0, 7, torch.arange(55)).spread("time", 0.618))


def test_classes_that_are_not_known_count_as_none(tmp_path):
    from ouvroir.task import Row

    rows = [Row("1", "1", "0" * 64, "b"), Row("2", "2", "1" * 64, "new"), Row("3", "3", "2" * 64)]
    one = ImageProcessor(labels=("a", "b"), storage_px=8, n_channels=1)
    assert TASK.targets(rows, one)["labels"].tolist() == [1, 2, 2]
    several = ImageProcessor(labels=("a", "b"), is_multi_label=True, storage_px=8, n_channels=1)
    rows = [Row("1", "1", "0" * 64, ("a", "b")), Row("2", "2", "1" * 64, ())]
    assert TASK.targets(rows, several)["labels"].tolist() == [[1, 1, 0], [0, 0, 1]]


def test_an_earlier_generator_is_adopted_by_the_names_of_its_classes():
    before = ImageProcessor(labels=("a", "b"), storage_px=8, n_channels=1)
    after = ImageProcessor(labels=("b", "c"), storage_px=8, n_channels=1)
    recipe = recipe_for(storage_px=8)
    old, new = TASK.build_model(recipe, before), TASK.build_model(recipe, after)
    told = TASK.adopt(new, after, old.state_dict(), before.labels)
    assert torch.equal(new.condition.label.weight[:, 0], old.condition.label.weight[:, 1])
    assert torch.equal(new.condition.label.weight[:, 2], old.condition.label.weight[:, 2])
    assert torch.equal(new.middle.conv1.weight, old.middle.conv1.weight)
    assert any("1 of 2 classes" in sentence for sentence in told)


def test_a_picture_moved_by_a_pixel_shows_the_middle_of_its_original():
    original = torch.randint(0, 256, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    original = original.float() / 255
    moved = original.roll((1, -1), dims=(2, 3))
    middle = shifted_views(original)[0, 0]
    assert torch.equal(middle.view(6, 6), original[0, 0, 1:7, 1:7])
    assert any(torch.equal(view, middle) for view in shifted_views(moved)[0])
    assert shifted_views(torch.zeros(2, 3, 40, 40)).shape == (2, 9, 3 * 14 * 14)


def test_large_pictures_are_made_small_and_it_is_said(tmp_path):
    for number in range(8):
        place = tmp_path / "photos" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((200, 150), Image.Resampling.BICUBIC).save(place / f"{number}.png")
    recipe, notes = find_task(TASK.name).recipe(api.check(tmp_path / "photos", task=TASK.name), "small")
    assert recipe.options.storage_px == 32
    assert [note.proposal for note in notes if note.code == "small_samples"] == [{"options.storage_px": "64"}]
