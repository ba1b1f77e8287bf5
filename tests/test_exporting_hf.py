"""The transformers folder: written from our network, read and answered by transformers itself."""

import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ouvroir
from ouvroir import export_page
from ouvroir.errors import ExportError, UsageError
from ouvroir.media.image.classification import ImageClassification
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.media.image.recipes import Options
from ouvroir.recipe import Recipe
from ouvroir.source import source_of
from ouvroir.task import Limits

transformers = pytest.importorskip("transformers")

from ouvroir.media.image import hf  # noqa: E402
from ouvroir.media.image.hf import read_hf, require_expressible, require_same_pictures, write_hf  # noqa: E402
from ouvroir.media.image.models import build  # noqa: E402

SHAPE = {
    "num_channels": 3,
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 2],
    "layer_type": "bottleneck",
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
    "downsample_in_bottleneck": False,
}
BACKBONE = {
    "config": SHAPE,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "is_pretrained": True,
}


def make(backbone, *, is_linear):
    processor = ImageProcessor(labels=("cat", "dog", "owl"), storage_px=32, n_channels=3, backbone=backbone)
    options = Options(backbone="resnet50" if backbone else "compact", head="linear" if is_linear else "phi")
    recipe = Recipe(task="image-classification", options=options)
    torch.manual_seed(0)
    network = build(recipe.replace("model", preset="tiny"), processor)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics as after training, so that a forgotten one shows
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval(), processor


def pixels(n_rows):
    generator = torch.Generator().manual_seed(n_rows)
    return torch.randint(0, 256, (n_rows, 3, 32, 32), generator=generator, dtype=torch.uint8)


def test_transformers_answers_as_our_network_does(tmp_path):
    network, processor = make(BACKBONE, is_linear=True)
    write_hf(network, processor, tmp_path)
    forward = read_hf(tmp_path, processor)
    with torch.inference_mode():
        for n_rows in (1, 5):
            ours, theirs = network(pixels(n_rows)), forward({"pixel_values": pixels(n_rows)})
            assert torch.allclose(ours, theirs, atol=1e-4)


def test_the_folder_is_one_that_transformers_knows(tmp_path):
    network, processor = make(BACKBONE, is_linear=True)
    write_hf(network, processor, tmp_path)
    model = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
    assert type(model).__name__ == "ResNetForImageClassification"
    assert model.config.id2label == {0: "cat", 1: "dog", 2: "owl"}
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert settings["size"] == {"height": 32, "width": 32}
    assert settings["image_mean"] == BACKBONE["image_mean"]


def test_what_transformers_has_no_class_for_is_refused_with_the_reason():
    with pytest.raises(UsageError, match=r"own network.*--to onnx"):
        require_expressible(*make(None, is_linear=False))
    with pytest.raises(UsageError, match=r"room for one linear layer only.*--to onnx"):
        require_expressible(*make(BACKBONE, is_linear=False))
    require_expressible(*make(BACKBONE, is_linear=True))


def test_what_its_preprocessing_cannot_say_is_refused_with_the_reason():
    network, processor = make(BACKBONE, is_linear=True)
    for aspect in ("pad", "crop"):
        with pytest.raises(UsageError, match=rf"aspect={aspect}.*options\.aspect=stretch"):
            require_expressible(network, dataclasses.replace(processor, aspect=aspect))
    other, padded = make(BACKBONE, is_linear=False)[0], dataclasses.replace(processor, aspect="pad")
    with pytest.raises(UsageError, match=r"--set options\.head=linear --set options\.aspect=stretch"):
        require_expressible(other, padded)
    with pytest.raises(UsageError, match="deeper than 8 bits"):
        require_expressible(network, dataclasses.replace(processor, levels={"whole": (0.0, 4095.0)}))


def rectangle(path, **how):
    """A picture of 640 x 400 with soft and sharp edges, so that another way of resizing shows."""
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (10, 16, 3), dtype=np.uint8))
    Image.blend(coarse.resize((640, 400), 0), coarse.resize((640, 400), 3), 0.5).save(path, **how)
    return source_of(path)


def test_transformers_prepares_pictures_as_in_training(tmp_path):
    network, processor = make(BACKBONE, is_linear=True)
    write_hf(network, processor, tmp_path / "hf")
    turned = Image.Exif()
    turned[0x0112] = 6
    files = [
        rectangle(tmp_path / "a.png"),
        rectangle(tmp_path / "b.jpg", quality=90),
        rectangle(tmp_path / "c.jpg", exif=turned),
    ]
    Image.open(tmp_path / "a.png").convert("L").save(tmp_path / "grey.png")
    files.append(source_of(tmp_path / "grey.png"))
    require_same_pictures(tmp_path / "hf", processor, files)
    theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path / "hf")
    mean, std = np.array(BACKBONE["image_mean"]), np.array(BACKBONE["image_std"])
    for file in files[:2]:
        values = theirs(Image.open(io.BytesIO(file.read(10**6))), return_tensors="np")["pixel_values"][0]
        ours = processor.encode(file, Limits())["pixel_values"].astype(float)
        assert np.abs((values.transpose(1, 2, 0) * std + mean) * 255 - ours).mean() < 1
    Image.open(tmp_path / "a.png").convert("RGBA").point(lambda level: level // 2).save(tmp_path / "clear.png")
    with pytest.raises(ExportError, match=r"1 of 2 files otherwise.*`clear.png` \(\d+ of 255 levels off\)"):
        require_same_pictures(tmp_path / "hf", processor, [files[0], source_of(tmp_path / "clear.png")])


def test_another_or_damaged_folder_is_refused(tmp_path):
    network, processor = make(BACKBONE, is_linear=True)
    write_hf(network, processor, tmp_path)
    with pytest.raises(ExportError, match="other labels: cat, dog, owl"):
        read_hf(tmp_path, processor.with_labels(("a", "b", "c")))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ExportError, match="cannot read the exported folder"):
        read_hf(tmp_path, processor)


def test_a_model_from_pretrained_weights_goes_back_to_transformers(tmp_path, monkeypatch):
    """From a folder in the true format, through training, to a folder that transformers answers from."""
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    model = transformers.ResNetForImageClassification(transformers.ResNetConfig(**SHAPE, num_labels=3))
    model.save_pretrained(tmp_path / "weights")
    processing = {"image_mean": BACKBONE["image_mean"], "image_std": BACKBONE["image_std"], "do_normalize": True}
    (tmp_path / "weights" / "preprocessor_config.json").write_text(json.dumps(processing))
    generator = np.random.default_rng(0)
    for label in ("dark", "light"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(12):
            level = 60 if label == "dark" else 190
            picture = generator.integers(level - 50, level + 50, (24, 24, 3)).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "data" / label / f"{number}.png")
    settings = {"options.head": "linear", "options.storage_px": "32", "options.train_px": "32", "loop.steps": "3"}
    weights = str(tmp_path / "weights")
    run = ouvroir.train(tmp_path / "data", init_from=weights, settings=settings, runs=tmp_path / "runs")
    described = hf._preprocessing
    with monkeypatch.context() as patch:
        patch.setattr(hf, "_preprocessing", lambda processor: {**described(processor), "resample": 0})
        with pytest.raises(ExportError, match=r"opens \d of \d files otherwise than in training"):
            ouvroir.export(run.path, "hf")
    found = ouvroir.export(run.path, "hf")
    loaded = transformers.AutoModelForImageClassification.from_pretrained(found.path)
    assert set(loaded.config.id2label.values()) == {"dark", "light"}


def test_the_lines_that_load_the_folder_can_be_pasted(tmp_path, capsys):
    network, processor = make(BACKBONE, is_linear=True)
    write_hf(network, processor, tmp_path / "hf")
    rectangle(tmp_path / "a.png")
    how = export_page.loading("hf", str(tmp_path / "hf"), {}, {}, ImageClassification.hf_load)
    exec("\n".join(how.lines).replace("a_file.png", str(tmp_path / "a.png")), {})
    assert "'label': 'cat'" in capsys.readouterr().out
