"""The task as shared code sees it: batches, losses, several labels, class weights, predictions, pictures to show."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ouvroir.data.table import Table
from ouvroir.media import find_task
from ouvroir.media.image import recipes
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.predictor import Predictor
from ouvroir.recipe import Model, Recipe
from ouvroir.rng import Rng
from ouvroir.source import Source
from ouvroir.task import Limits, Row

TASK = find_task("image-classification")
LABELS = ("a", "b", "c")


class Slice:
    def __init__(self, pixels, targets, index):
        self.fields = {"pixel_values": pixels[index]}
        self.targets = {"labels": targets[index]}
        self.index = index
        self.weight = torch.ones(len(index))


class MemoryTable:
    """A table of pictures in memory, with the two methods that the task uses."""

    def __init__(self, pixels, targets):
        self.pixels, self.targets = torch.from_numpy(pixels), {"labels": torch.from_numpy(targets)}

    def __len__(self):
        return len(self.pixels)

    def slice(self, index, start=None, length=None):
        return Slice(self.pixels, self.targets["labels"], torch.as_tensor(index))


@pytest.fixture
def table(pictures):
    return MemoryTable(pictures, np.arange(12) % 3)


@pytest.fixture
def several(pictures):
    targets = (np.random.default_rng(0).random((12, 3)) < 0.5).astype(np.float32)
    return MemoryTable(pictures, targets)


def recipe_for(**options):
    return Recipe(
        task=TASK.name, model=Model(preset="tiny"), options=recipes.Options(storage_px=16, train_px=16, **options)
    )


def processor_for(*, is_multi_label=False):
    return ImageProcessor(labels=LABELS, storage_px=16, n_channels=3, is_multi_label=is_multi_label)


def model_for(recipe, table, *, is_multi_label=False):
    torch.manual_seed(0)
    model = TASK.build_model(recipe, processor_for(is_multi_label=is_multi_label))
    TASK.prepare_model(model, table, recipe)
    return model


def rng(n=12):
    return Rng(0, 0, torch.arange(n))


def test_collate_makes_channels_last_batches_without_copying(table):
    rows = table.slice(torch.arange(12))
    batch = TASK.collate(rows)
    assert batch["pixel_values"].shape == (12, 3, 16, 16)
    assert batch["pixel_values"].is_contiguous(memory_format=torch.channels_last)
    assert batch["pixel_values"].data_ptr() == rows.fields["pixel_values"].data_ptr()


def test_prepare_model_measures_train_pictures(table):
    model = model_for(recipe_for(), table)
    pixels = table.pixels.float()
    assert torch.allclose(model.mean, pixels.mean(dim=(0, 1, 2)))
    assert torch.allclose(model.std, pixels.std(dim=(0, 1, 2)), rtol=1e-3)
    assert model.class_weight.tolist() == [1, 1, 1]


def test_class_weights_reach_the_loss_in_training_only(pictures):
    targets = np.array([0] * 9 + [1] * 2 + [2])
    uneven = MemoryTable(pictures, targets)
    recipe = recipe_for(class_weights="balanced", label_smoothing=0.0, dropout=0.0)
    model = model_for(recipe, uneven)
    weights = 12 / (3 * np.array([9, 2, 1]))
    assert model.class_weight.numpy() == pytest.approx(weights)
    batch = TASK.collate(uneven.slice(torch.arange(12)))
    plain = replace(recipe, options=replace(recipe.options, class_weights="equal"))
    losses = {
        (name, training): TASK.step(model, batch, one, rng=rng(), training=training).losses["class"].per_row
        for name, one in (("weighed", recipe), ("plain", plain))
        for training in (True, False)
    }
    ratio = losses["weighed", True] / losses["plain", True]
    assert ratio.detach().numpy() == pytest.approx(weights[targets], rel=1e-3)
    assert torch.equal(losses["weighed", False], losses["plain", False])


def test_smoothing_and_entropy_act_in_training_only(table):
    recipe = recipe_for(label_smoothing=0.2, dropout=0.0)
    model = model_for(recipe, table)
    batch = TASK.collate(table.slice(torch.arange(12)))
    output = TASK.step(model, batch, recipe, rng=rng(), training=False)
    want = torch.nn.functional.cross_entropy(output.outputs, batch["labels"], reduction="none")
    assert torch.allclose(output.losses["class"].per_row, want)
    trained = TASK.step(model, batch, recipe, rng=rng(), training=True)
    assert not torch.allclose(trained.losses["class"].per_row, want)


def test_blended_rows_learn_blended_targets(table):
    recipe = recipe_for(mixup=1.0, label_smoothing=0.0, dropout=0.0)
    recipe = replace(recipe, constants=replace(recipe.constants, zeta="ordinary"))
    model = model_for(recipe, table)
    batch = TASK.prepare(TASK.collate(table.slice(torch.arange(12))), recipe, rng=rng(), training=True)
    output = TASK.step(model, batch, recipe, rng=rng(), training=True)
    one_hot = torch.eye(3)[batch["labels"]]
    own = batch["mixed"].own[:, None]
    soft = own * one_hot + (1 - own) * one_hot[batch["mixed"].partner]
    want = -(soft * output.outputs.log_softmax(dim=1)).sum(dim=1)
    assert torch.allclose(output.losses["class"].per_row, want, atol=1e-5)


@pytest.mark.parametrize("mixed", [0.0, 1.0])
def test_several_labels(several, mixed):
    recipe = recipe_for(cutmix=mixed, class_weights="balanced")
    processor = processor_for(is_multi_label=True)
    model = model_for(recipe, several, is_multi_label=True)
    batch = TASK.prepare(TASK.collate(several.slice(torch.arange(12))), recipe, rng=rng(), training=True)
    output = TASK.step(model, batch, recipe, rng=rng(), training=True)
    assert torch.isfinite(output.losses["class"].per_row).all()
    judged = TASK.collate(several.slice(torch.arange(12)))
    answers = TASK.answers(judged, TASK.step(model, judged, recipe, rng=rng(), training=False), processor)
    assert answers.is_multi_label
    assert TASK.metrics_for(processor)[0] == "macro_f1"
    assert TASK.metrics_for(processor_for())[0] == "accuracy"
    assert len(TASK.baselines({"train": several, "test": several}, processor, Recipe(task=TASK.name))) == 3
    assert TASK.items(several, processor, training=True).stratum.shape == (12,)


def test_targets_of_rows():
    rows = [Row(id="1", locator="", sha256="", label="b"), Row(id="2", locator="", sha256="", label="a")]
    assert TASK.targets(rows, processor_for())["labels"].tolist() == [1, 0]


def test_baselines_answer_every_row(table):
    names = [
        cheap.name for cheap in TASK.baselines({"train": table, "test": table}, processor_for(), Recipe(task=TASK.name))
    ]
    assert names[0] == "most frequent class"
    assert "logistic regression on simple features" in names


def test_augments_says_whether_training_pictures_change():
    assert not TASK.augments(recipe_for())
    assert TASK.augments(recipe_for(flip="horizontal"))
    assert TASK.augments(replace(recipe_for(), options=replace(recipe_for().options, train_px=8)))


def test_only_a_head_that_learns_needs_no_augmentation_unless_asked(table):
    recipe = recipe_for(flip="horizontal")
    head = replace(recipe, model=replace(recipe.model, scope="head"))
    assert not TASK.augments(head)
    batch = TASK.collate(table.slice(torch.arange(12)))
    assert TASK.prepare(batch, head, rng=rng(), training=True) is batch
    assert TASK.augments(replace(head, options=replace(head.options, augment="always")))
    assert not TASK.augments(replace(recipe, options=replace(recipe.options, augment="never")))


def picture_inputs(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    image = Image.fromarray(pixels)
    path = tmp_path / "a.png"
    image.save(path)
    return {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "image": image,
        "array": pixels,
        "source": Source(root=str(tmp_path), locator="a.png"),
    }


def answering(table):
    recipe = recipe_for()
    return Predictor(TASK, model_for(recipe, table), processor_for(), recipe)


def test_predict_takes_every_form_of_a_picture(table, tmp_path):
    found = answering(table).predict(picture_inputs(tmp_path).values())
    assert all(one.error is None for one in found)
    for one in found[1:]:
        assert list(one.scores.values()) == pytest.approx(list(found[0].scores.values()), abs=1e-5)
    assert sum(found[0].scores.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_that_lies_on_its_side_is_turned_however_it_is_given(tmp_path, kind):
    values = np.add.outer(np.arange(40), 4 * np.arange(24))
    values = values.astype(np.uint8) if kind == "JPEG" else (31 * values).astype(np.uint16)  # 12 bits
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photograph"
    Image.fromarray(values).save(path, kind, exif=exif)
    given = (path, path.read_bytes(), Image.open(path))
    by_path, by_bytes, by_image = (
        processor_for().encode(TASK.as_source(one), Limits())["pixel_values"] for one in given
    )
    assert np.array_equal(by_path, by_bytes)
    assert np.array_equal(by_path, by_image)
    assert np.ptp(by_path[:, 0]) > 2 * np.ptp(by_path[0])  # what rose to the right rises downwards


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_deep_picture_in_memory_is_read_as_its_file_is(tmp_path, dtype):
    image = Image.fromarray(np.linspace(0, 3000, 256).reshape(16, 16).astype(dtype))
    image.save(tmp_path / "a.tif")
    processor = replace(processor_for(), levels={"whole": (0.0, 4095.0), "float": (0.0, 4095.0)})
    stored = [processor.encode(TASK.as_source(one), Limits())["pixel_values"] for one in (image, tmp_path / "a.tif")]
    assert np.array_equal(*stored)
    assert stored[0].max() == round(3000 * 255 / 4095)


def test_predict_names_what_is_wrong_with_an_input(table, tmp_path):
    (tmp_path / "a.txt").write_text("words")
    inputs = [tmp_path / "a.txt", tmp_path / "absent.png", b"", 17, np.zeros((4, 4)), np.zeros((16, 16), np.uint8)]
    for workers in (0, 1):
        found = answering(table).predict(inputs, workers=workers)
        assert [bool(one.error) for one in found] == [True] * 5 + [False]
        assert "not a picture" in found[0].error
        assert "17" not in found[3].error
        assert "int is not a picture" in found[3].error
    assert answering(table).predict([]) == []


@pytest.mark.parametrize(
    ("mode", "size", "kind"), [("RGB", (300, 200), "jpeg"), ("L", (300, 200), "png"), ("RGB", (8, 8), "png")]
)
def test_render(mode, size, kind):
    file = io.BytesIO()
    Image.new(mode, size, 90).save(file, "PNG")
    mime, content, _ = TASK.render(Source(root="", locator="", content=file.getvalue()), max_edge_px=100)
    assert mime == f"image/{kind}"
    assert max(Image.open(io.BytesIO(content)).size) == min(100, max(size))


def test_real_tables_have_what_the_fake_one_has():
    for name in ("slice", "__len__"):
        assert hasattr(Table, name)
