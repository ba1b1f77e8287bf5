"""The networks: any size, rows independent, every constant a switch, pretrained weights read as they are."""

import json
import math

import numpy as np
import pytest
import torch

from ouvroir.constants import ALPHA, PHI, PI
from ouvroir.errors import DataError
from ouvroir.layers import Head
from ouvroir.media import find_task
from ouvroir.media.image.models import AttentionPool, plan
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.media.image.recipes import Options
from ouvroir.recipe import Constants, Model, Recipe
from ouvroir.rng import Rng

TASK = find_task("image-classification")


def recipe_for(px=28, preset="tiny", init_from="scratch", constants=None, **options):
    return Recipe(
        task=TASK.name,
        model=Model(preset=preset, init_from=init_from),
        constants=constants or Constants(),
        options=Options(storage_px=px, train_px=px, **options),
    )


def processor_for(px=28, n_channels=1, n_classes=3, **others):
    labels = tuple(f"class {number}" for number in range(n_classes))
    return ImageProcessor(labels=labels, storage_px=px, n_channels=n_channels, **others)


def build(px=28, n_channels=1, seed=0, **settings):
    torch.manual_seed(seed)
    return TASK.build_model(recipe_for(px, **settings), processor_for(px, n_channels))


def pixels(px=28, n_channels=1, n_rows=4):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n_rows, n_channels, px, px), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("px", [8, 12, 16, 28, 32, 40, 41, 64, 80, 96, 128, 224])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_every_size(px, n_channels):
    model = build(px, n_channels).eval()
    with torch.inference_mode():
        logits = model(pixels(px, n_channels, 2))
    assert logits.shape == (2, 3)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


def test_a_model_takes_other_sizes_than_it_was_made_for():
    model = build(96, 3).eval()
    with torch.inference_mode():
        assert model(pixels(128, 3)).shape == (4, 3)


def test_uint8_and_float_pixels_answer_alike():
    model = build().eval()
    with torch.inference_mode():
        assert torch.equal(model(pixels()), model(pixels().float()))


def test_rows_are_independent_in_training_too():
    model = build(28, 3).train()
    together = model(pixels(28, 3))
    alone = torch.cat([model(row[None]) for row in pixels(28, 3)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_presets_grow():
    sizes = [
        sum(param.numel() for param in build(96, 3, preset=name).parameters()) for name in ("tiny", "small", "base")
    ]
    assert sizes[0] < sizes[1] / 3 < sizes[2] / 9


def test_plan():
    assert plan("small", 8).stem_stride == 1
    assert plan("small", 28).stem_stride == 2
    assert plan("small", 64).stem_stride == 2
    assert plan("small", 224).stem_stride == 4
    assert len(plan("small", 96).widths) == 3
    assert len(plan("small", 112).widths) == 4


def test_parts_hold_every_parameter_once_and_in_order():
    model = build()
    assert [name for name, _ in TASK.parts(model)] == ["stem", "stage1", "stage2", "pool", "head"]
    held = [id(param) for _, part in TASK.parts(model) for param in part.parameters()]
    assert sorted(held) == sorted(map(id, model.parameters()))


def test_head_widths_fall_by_phi_or_by_half():
    assert Head(256, 10, PHI.value).widths == (256, round(256 / PHI.value), round(256 / PHI.value**2))
    ordinary = build(constants=Constants(phi="ordinary"), preset="small")
    assert ordinary.head.widths == (96, 48, 24)


def test_residual_branches_start_at_alpha_or_at_the_ordinary_value():
    special = build().body["stage1"][0].scale.detach()
    assert torch.allclose(special, torch.full_like(special, ALPHA.value))
    ordinary = build(constants=Constants(alpha="ordinary"))
    assert float(ordinary.body["stage1"][0].scale.detach().ravel()[0]) == pytest.approx(1e-4)


@pytest.mark.parametrize("pi", [PI.value, None])
def test_attention_pooling_against_a_plain_computation(pi):
    torch.manual_seed(0)
    pool = AttentionPool(64, pi)
    x = torch.randn(2, 64, 3, 3)
    with torch.no_grad():
        found = pool(x)
        seen = torch.relu(pool.norm(x))
        keys = pool.key(seen)
        want = torch.zeros(2, 64)
        for row in range(2):
            for head in range(2):
                part = slice(head * 32, head * 32 + 32)
                query, key = pool.query[head], keys[row, part].reshape(32, 9)
                if pi is None:
                    logits = query @ key / math.sqrt(32)
                else:
                    logits = (query / query.norm()) @ (key / key.norm(dim=0)) * math.sqrt(32) / pi
                want[row, part] = seen[row, part].reshape(32, 9) @ logits.softmax(dim=0)
    assert torch.allclose(found, want, atol=1e-5)


def test_special_attention_is_bounded():
    """No position weighs more than exp(2√d/π) times another, however large the activations."""
    pool = AttentionPool(32, PI.value)
    with torch.no_grad():
        pool.key.weight.mul_(1e4)
        x = torch.randn(1, 32, 4, 4) * 100
        calm, loud = pool(x), pool(x * 1.0)
    assert torch.isfinite(calm).all()
    assert torch.equal(calm, loud)


def test_dropout_is_a_function_of_the_rng():
    model, recipe = build(), recipe_for(dropout=0.5)
    batch = {"pixel_values": pixels(), "labels": torch.tensor([0, 1, 2, 0]), "index": torch.arange(4)}
    places = torch.arange(4)
    first, again, other = (
        TASK.step(model, batch, recipe, rng=Rng(0, step, places), training=True).outputs for step in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    judged = TASK.step(model, batch, recipe, rng=Rng(0, 0, places), training=False).outputs
    assert torch.equal(judged, model(pixels()))


def test_scopes_start_from_cached_features():
    model = build().eval()
    batch = {"pixel_values": pixels(), "labels": torch.tensor([0, 1, 2, 0]), "index": torch.arange(4)}
    want = model(pixels())
    names = [name for name, _ in TASK.parts(model)]
    for part in names[1:]:
        for name, module in TASK.parts(model):
            module.requires_grad_(names.index(name) >= names.index(part))
        features = TASK.features(model, batch, part)
        cached = {"features": features, "labels": batch["labels"], "index": batch["index"]}
        output = TASK.step(model, cached, recipe_for(), rng=Rng(0, 0, torch.arange(4)), training=False)
        assert torch.allclose(output.outputs, want, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_frozen_beginning_trains_in_channels_last(dtype):
    """torch's own GroupNorm ends the process here: its input needs no gradient, its weights do."""
    model = build(28, 3).to(memory_format=torch.channels_last).train()
    model.body["stem"].requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        model(pixels(28, 3).contiguous(memory_format=torch.channels_last)).sum().backward()
    learning = [param for param in model.parameters() if param.requires_grad]
    assert all(param.grad is not None for param in learning)


def test_adopt_maps_classes_by_name():
    old, new = build(seed=1), None
    processor = ImageProcessor(labels=("class 2", "fresh", "class 0"), storage_px=28, n_channels=1)
    torch.manual_seed(2)
    new = TASK.build_model(recipe_for(), processor)
    said = TASK.adopt(new, processor, old.state_dict(), ("class 0", "class 1", "class 2"))
    with torch.inference_mode():
        before, after = old.eval()(pixels()), new.eval()(pixels())
    assert torch.allclose(after[:, 0], before[:, 2], atol=1e-5)
    assert torch.allclose(after[:, 2], before[:, 0], atol=1e-5)
    assert said[0] == "The weights of the earlier model are kept."
    text = " ".join(said)
    assert "2 of 3 classes" in text
    assert "`fresh`" in text


def test_adopt_says_what_does_not_fit():
    old = build(preset="small")
    said = TASK.adopt(build(), processor_for(), old.state_dict(), processor_for().labels)
    assert "do not fit" in said[0]


# --- pretrained networks ----------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny ResNet checkpoint in the true Hugging Face form, written by transformers itself."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], layer_type="basic", num_labels=5
    )
    network = transformers.ResNetForImageClassification(config).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    folder = tmp_path / "tiny-resnet"
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "ConvNextImageProcessor",
                "image_mean": [0.5, 0.4, 0.3],
                "image_std": [0.2, 0.25, 0.3],
            }
        )
    )
    return folder, network


class FakeTable:
    """The two things that prepare_model looks at."""

    def __init__(self):
        self.targets = {}

    def __len__(self):
        return 4


def pretrained(folder, px=64):
    from ouvroir.media.image.pretrained import read_backbone

    recipe = recipe_for(px, init_from=str(folder), backbone="resnet50")
    processor = processor_for(px, 3, backbone=read_backbone(str(folder)))
    torch.manual_seed(0)
    return TASK.build_model(recipe, processor), recipe, processor


def test_pretrained_features_equal_those_of_transformers(checkpoint):
    folder, network = checkpoint
    model, recipe, processor = pretrained(folder)
    TASK.prepare_model(model, FakeTable(), recipe)
    x = pixels(64, 3)
    mean, std = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.2, 0.25, 0.3])[:, None, None]
    with torch.inference_mode():
        want = network.resnet((x.float() / 255 - mean) / std).pooler_output.flatten(1)
        found = TASK.features(model.eval(), {"pixel_values": x}, "head")
    assert torch.allclose(found, want, atol=1e-4)
    assert [name for name, _ in TASK.parts(model)] == ["stem", "stage1", "stage2", "stage3", "stage4", "pool", "head"]
    assert processor.backbone["is_pretrained"]


def test_pretrained_batch_normalisation_keeps_its_statistics(checkpoint):
    folder, _ = checkpoint
    model, recipe, _ = pretrained(folder)
    TASK.prepare_model(model, FakeTable(), recipe)
    model.train()
    together = model(pixels(64, 3))
    alone = torch.cat([model(row[None]) for row in pixels(64, 3)])
    assert torch.allclose(together, alone, atol=1e-4)
    before = {name: value.clone() for name, value in model.state_dict().items() if "running" in name}
    model(pixels(64, 3))
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_a_saved_pretrained_model_is_built_again_without_the_weights(checkpoint, tmp_path):
    folder, _ = checkpoint
    model, recipe, processor = pretrained(folder)
    TASK.prepare_model(model, FakeTable(), recipe)
    place = tmp_path / "processor"
    processor.save(place)
    import shutil

    shutil.rmtree(folder)
    again = TASK.build_model(recipe, TASK.load_processor(place))
    again.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(pixels(64, 3)), model.eval()(pixels(64, 3)))


def test_absent_weights_are_a_sentence_with_the_next_step(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    from ouvroir.media.image.pretrained import read_backbone

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="hf download"):
        read_backbone(str(tmp_path / "nothing"))
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(DataError, match="take ResNets"):
        read_backbone(str(tmp_path))


def test_weights_that_lack_a_part_are_refused_and_not_drawn_at_random(checkpoint):
    from safetensors.torch import load_file, save_file

    folder, _ = checkpoint
    model, recipe, _ = pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    headless = {name: value for name, value in weights.items() if not name.startswith("classifier")}
    counters = [name for name in headless if name.endswith("num_batches_tracked")]
    save_file(
        {name: headless[name] for name in headless if name not in counters},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    TASK.prepare_model(model, FakeTable(), recipe)
    without_one = {name: value for name, value in headless.items() if "stages.2" not in name}
    renamed = {f"backbone.{name}": value for name, value in headless.items()}
    for wrong, first in ((without_one, r"`encoder\.stages\.2\.\S+` is missing"), (renamed, r"there is `backbone\.")):
        save_file(wrong, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(DataError, match=rf"{first}.*save_pretrained"):
            TASK.prepare_model(model, FakeTable(), recipe)


def test_resnet50_from_nothing_trains_its_batch_normalisation():
    pytest.importorskip("transformers")
    from ouvroir.media.image.pretrained import read_backbone

    backbone = read_backbone("scratch")
    assert backbone["config"]["hidden_sizes"] == [256, 512, 1024, 2048]
    small = {
        **backbone,
        "config": {**backbone["config"], "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]},
    }
    model = TASK.build_model(recipe_for(32, backbone="resnet50"), processor_for(32, 3, backbone=small))
    model.train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.training for norm in norms)
    assert np.isfinite(model(pixels(32, 3)).detach().numpy()).all()
