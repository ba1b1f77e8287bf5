"""Adversarial picture generation: the two nets, what is done to pictures on the way, how it is judged, what is made."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

import ouvroir
import pictures
from ouvroir.errors import UsageError
from ouvroir.evaluation.sets import kernel_distance
from ouvroir.media.image import adversarial
from ouvroir.media.image.generation_adversarial import AdversarialImageGeneration
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.recipe import Constants, Model, Recipe
from ouvroir.rng import Rng

TASK = AdversarialImageGeneration()
NAME = TASK.name
QUICK = {"loop.precision": "fp32", "loop.layout": "contiguous", "loop.threads": 1, "loop.micro_batch": 32}


def model_for(processor, *, constants=None, seed=0):
    recipe = Recipe(
        task=NAME,
        model=Model(preset="tiny"),
        constants=constants or Constants(),
        options=TASK.Options(storage_px=processor.storage_px),
    )
    torch.manual_seed(seed)
    return TASK.build_model(recipe, processor), recipe


def made(processor, labels, *, seed=0, **changes):
    model, recipe = model_for(processor)
    return [one.content for one in TASK.make(model, processor, recipe, labels, seed=seed, device="cpu", **changes)]


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def write_spots(folder, *, px=9, per_class=24, mode="L", classes=("left", "right")):
    """A bright spot that wanders a little, in the left or the right half."""
    rng = np.random.default_rng(0)
    for number in range(per_class):
        for place, label in enumerate(classes):
            rows, columns = np.mgrid[:px, :px] + 0.5
            row, column = px / 2 + rng.uniform(-1, 1), px * (1 + 2 * place) / 4 + rng.uniform(-1, 1)
            spot = 255 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (px / 4))
            spot = np.clip(spot + rng.uniform(0, 20, (px, px)), 0, 255).astype(np.uint8)
            to = folder / label / f"{number}.png"
            to.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(spot).convert(mode).save(to)
    return folder


def run_of(tmp_path, folder, **settings):
    given = {
        **QUICK,
        "loop.batch_size": 32,
        "loop.steps": 3,
        **{name.replace("__", "."): v for name, v in settings.items()},
    }
    return ouvroir.train(folder, task=NAME, preset="tiny", settings=given, runs=tmp_path / "runs")


# --- the nets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("px", "channels"), [(8, 1), (9, 1), (13, 3), (28, 1), (64, 3)])
def test_sizes_odd_and_even_grey_and_in_colour(px, channels):
    processor = ImageProcessor(labels=("a", "b"), storage_px=px, n_channels=channels)
    model, _ = model_for(processor)
    n, base = adversarial.doublings(px)
    assert base <= adversarial.LARGEST_BASE_PX
    assert base * 2**n >= px
    labels = torch.eye(3)[[0, 2]]
    found = model(torch.randn(2, adversarial.N_LATENTS), labels)
    assert found.shape == (2, channels, px, px)
    assert found.abs().max() <= 1
    assert model.discriminator(found, labels).shape == (2,)


def test_widths_grow_by_phi_or_double():
    processor = ImageProcessor(labels=("a",), storage_px=64, n_channels=3)
    ordinary, _ = model_for(processor, constants=Constants(phi="ordinary", alpha="ordinary"))
    ours, _ = model_for(processor)
    assert adversarial.widths(48, 3, 2.0) == [24, 48, 96, 192]
    assert adversarial.widths(24, 1, (1 + 5**0.5) / 2) == [24, 40]
    assert adversarial.widths(24, 3, (1 + 5**0.5) / 2) == [16, 24, 40, 64]
    assert sum(p.numel() for p in ordinary.parameters()) > sum(p.numel() for p in ours.parameters())
    assert float(ours.generator.refined[0].scale[0].detach()) == pytest.approx(1 / 137)
    assert float(ordinary.generator.refined[0].scale[0].detach()) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    "make", [lambda: torch.nn.Linear(12, 7), lambda: torch.nn.Conv2d(3, 8, 3)], ids=["linear", "convolution"]
)
def test_bounded_weights_have_spectral_norm_one(make):
    torch.manual_seed(0)  # of weights with two norms that are nearly alike it is found slowly
    layer = make()
    bounded = adversarial.Bounded(layer).train()
    x = torch.randn(4, 12) if isinstance(layer, torch.nn.Linear) else torch.randn(4, 3, 6, 6)
    for _ in range(50):
        bounded(x)
    value = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
    with torch.no_grad():
        unbiased = layer(x) - bounded.bias.view(1, -1, *[1] * (x.ndim - 2))
        mine = bounded.eval()(x) - bounded.bias.view(1, -1, *[1] * (x.ndim - 2))
    assert torch.allclose(mine * value, unbiased, rtol=1e-3, atol=1e-4)


def test_the_class_comes_in_from_a_third_of_its_time_on():
    found = [adversarial.conditioning(step, 100, 0.6) for step in (0, 20, 40, 60, 99)]
    assert found == pytest.approx([0, 0, 0.5, 1, 1])
    assert adversarial.conditioning(0, 100, 0.0) == 1
    assert adversarial.conditioning(0, None, 0.6) == 1


# --- what is done to pictures, and how they are judged ----------------------------------------------------------------


@pytest.mark.parametrize(("px", "channels"), [(8, 1), (9, 3)])
def test_changes_are_of_the_row_and_let_gradients_pass(px, channels):
    x = torch.rand(6, channels, px, px) * 2 - 1
    whole = adversarial.changed(x, Rng(0, 5, torch.arange(6)), "real")
    half = adversarial.changed(x[3:], Rng(0, 5, torch.arange(3, 6)), "real")
    assert torch.equal(whole[3:], half)
    assert whole.shape == x.shape
    assert not torch.equal(whole, adversarial.changed(x, Rng(0, 5, torch.arange(6)), "made"))
    assert not torch.equal(whole, adversarial.changed(x, Rng(0, 6, torch.arange(6)), "real"))
    x.requires_grad_()
    adversarial.changed(x, Rng(0, 5, torch.arange(6)), "real").square().sum().backward()
    assert all(one.abs().sum() > 0 for one in x.grad)


def test_what_is_covered_is_a_square_of_half_the_edge_wherever_it_lies(monkeypatch):
    monkeypatch.setattr(adversarial, "SHIFT", 0)
    covered = torch.zeros(8, 8)
    for step in range(60):
        x = adversarial.changed(torch.full((16, 1, 8, 8), 0.7), Rng(0, step, torch.arange(16)), "real")
        is_covered = (x == 0)[:, 0]
        assert is_covered.any(1).sum(1).max() == is_covered.any(2).sum(1).max() == 4
        covered += is_covered.float().sum(0)
    assert covered.min() > 0.2 * covered.max()


def test_the_energy_score_is_least_for_the_distribution_itself():
    torch.manual_seed(0)
    real = torch.randn(400, 1, 4, 4)

    def score(made):
        return float(adversarial.energy(made, real).mean())

    true = score(torch.randn(8, 400, 1, 4, 4))
    assert true < score(torch.zeros(8, 400, 1, 4, 4) + 1e-3 * torch.randn(8, 400, 1, 4, 4))  # the mean of all
    assert true < score(torch.randn(1, 400, 1, 4, 4).expand(8, -1, -1, -1, -1))  # no variety
    assert true < score(torch.randn(8, 400, 1, 4, 4) + 0.5)
    one = torch.tensor([[[[[1.0]]]], [[[[3.0]]]]])  # by hand: (1 + 3)/2 - |1 - 3|/2 = 1
    assert adversarial.energy(one, torch.zeros(1, 1, 1, 1)).item() == pytest.approx(1.0)


# --- what is made -----------------------------------------------------------------------------------------------------


def test_a_sample_depends_on_seed_place_and_class_only():
    processor = ImageProcessor(labels=("a", "b"), storage_px=9, n_channels=1)
    few, many = made(processor, ["a"] * 3), made(processor, ["a"] * 70)
    assert many[:3] == few
    assert len(set(many)) == 70
    assert made(processor, ["b"] * 3) != few
    assert made(processor, [None] * 3) != few
    assert not set(made(processor, ["a"] * 3, seed=1)) & set(few)
    assert Image.open(io.BytesIO(few[0])).text["Synthetic"] == "true"
    with pytest.raises(UsageError, match="knows no class `c`"):
        made(processor, ["c"])


def test_variations_are_refused_with_what_makes_them():
    processor = ImageProcessor(labels=("a",), storage_px=8, n_channels=1)
    parent = {"pixel_values": np.zeros((8, 8, 1), dtype=np.uint8)}
    with pytest.raises(UsageError, match=r"no variations.*--task image-generation"):
        made(processor, ["a"], parents=[parent], begin=0.5)


def test_an_earlier_generator_is_adopted_by_the_names_of_its_classes():
    before = ImageProcessor(labels=("a", "b"), storage_px=8, n_channels=1)
    after = ImageProcessor(labels=("b", "c"), storage_px=8, n_channels=1)
    old, new = model_for(before)[0], model_for(after, seed=1)[0]
    told = TASK.adopt(new, after, old.state_dict(), before.labels)
    for one in ("generator", "discriminator"):
        mine, theirs = getattr(new, one).label.weight, getattr(old, one).label.weight
        assert torch.equal(mine[:, 0], theirs[:, 1])
        assert torch.equal(mine[:, 2], theirs[:, 2])
    assert torch.equal(new.generator.out.weight, old.generator.out.weight)
    assert any("1 of 2 classes" in sentence for sentence in told)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    place = tmp_path_factory.mktemp("spots")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(place / "home"))
        folder = write_spots(place / "spots")
        yield run_of(place, folder, loop__steps=500, loop__evaluate_every=50), folder


def test_it_learns_what_pictures_of_each_class_look_like(learned):
    run, folder = learned
    found = ouvroir.generate(run.path, count=40, seed=1)
    real = {
        label: np.stack([pixels(f.read_bytes()) for f in (folder / label).iterdir()]) for label in ("left", "right")
    }
    far = []
    for label, other in (("left", "right"), ("right", "left")):
        mine = np.stack([pixels((found.folder / one.id).read_bytes()) for one in found.samples if one.label == label])
        assert mine.shape == (40, 9, 9)
        mean = mine.mean(axis=0)
        assert np.abs(mean - real[label].mean(axis=0)).mean() < 25
        far.append(np.abs(mean - real[other].mean(axis=0)).mean())
        assert mine.std(axis=0).max() > 10  # and they are not all the same
        flat = [one.reshape(len(one), -1) / 127.5 - 1 for one in (real[label], mine, real[other])]
        assert kernel_distance(flat[0][:24], flat[1]) < 0.3 * kernel_distance(flat[0][:24], flat[2])
    assert min(far) > 25


def test_the_kept_checkpoint_is_the_one_that_held_out_pictures_like_best(learned):
    run, _ = learned
    loss = {one.step: one.value for one in run.metrics() if (one.split, one.name) == ("validation", "loss")}
    best = min(loss, key=loss.get)
    assert run.checkpoint("best").name == f"step_{best:06d}"
    assert loss[best] < 0.7 * loss[50]
    assert run.read_json("evaluation.json")["test"]["loss"]["value"] < 0.8 * loss[50]


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_files(learned, tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    folder = write_spots(tmp_path / "spots")
    contents = []
    for name in "ab":
        run = run_of(tmp_path / name, folder, loop__steps=12)
        contents.append([path.read_bytes() for path in ouvroir.generate(run.path, count=3, seed=2).files])
    assert contents[0] == contents[1]


def test_pictures_without_classes_and_in_colour_at_64_px(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    folder = tmp_path / "plain"
    folder.mkdir()
    for number, path in enumerate(sorted(write_spots(tmp_path / "spots", px=64, per_class=8).rglob("*.png"))):
        grey = np.asarray(Image.open(path))
        Image.fromarray(np.stack([grey, grey // 2, 255 - grey], 2)).save(folder / f"{number}.png")
    run = run_of(tmp_path, folder, options__storage_px=64)
    found = ouvroir.generate(run.path, count=2)
    assert [sample.label for sample in found.samples] == [None, None]
    assert {pixels(path.read_bytes()).shape for path in found.files} == {(64, 64, 3)}


def test_the_command_line_trains_resumes_and_refuses(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    folder = write_spots(tmp_path / "spots", per_class=12)
    common = (folder, "--task", NAME, *pictures.QUICK, "--set", "loop.steps=6", "--runs", tmp_path / "runs")
    told = pictures.call_json("train", *common)
    assert told["task"] == NAME
    exact = pictures.call("train", *common, "--exact", status=2)
    assert re.search(r"loop\.exact is for several processes", exact.stderr.replace("\n", " "))
    dry = pictures.call("train", *common, "--dry-run")
    assert "2 steps" in dry.stderr


def test_norms_are_as_exact_in_half_precision():
    bounded = adversarial.Bounded(torch.nn.Linear(64, 32)).eval()
    x = torch.randn(8, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = bounded(x).float()
    assert torch.allclose(half, bounded(x), atol=0.02)


def test_broken_off_it_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    """Norms, averages and power iterations go on from where the last checkpoint was."""
    from ouvroir.training.adversarial import Contest
    from ouvroir.training.checkpoint import read_checkpoint

    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    folder = write_spots(tmp_path / "spots", per_class=12)
    given = {"loop__steps": 20, "loop__save_every": 6, "loop__evaluate_every": 8}
    whole = run_of(tmp_path / "whole", folder, **given)
    advance = Contest.advance

    def broken_off(self, step, places):
        if step == 15:
            raise KeyboardInterrupt
        return advance(self, step, places)

    with monkeypatch.context() as patch:
        patch.setattr(Contest, "advance", broken_off)
        with pytest.raises(KeyboardInterrupt):
            run_of(tmp_path / "broken", folder, **given)
    broken = ouvroir.resume("last", runs=tmp_path / "broken" / "runs")
    weights = [read_checkpoint(run.checkpoint("last")).weights for run in (whole, broken)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    metrics = [[(one.step, one.split, one.name, one.value) for one in run.metrics()] for run in (whole, broken)]
    assert metrics[0] == metrics[1]
