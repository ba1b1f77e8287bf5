"""What is proposed for which pictures, and the processor that follows from it."""

import json
from dataclasses import replace

import numpy as np
import PIL
import pytest
from PIL import Image, features

from ouvroir.data.admission import admit
from ouvroir.data.manifest import Manifest
from ouvroir.errors import DataError, RecipeError, Refused, RunError
from ouvroir.media.image import recipes
from ouvroir.media.image.models import build
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.media.image.samples import write_digits
from ouvroir.recipe import Recipe, check_settings, read_data
from ouvroir.source import Source
from ouvroir.task import Limits, Row, options_of

GLYPH = {"width": 28, "height": 28, "is_grey": True, "background": 1.0, "two_tone": 0.9}
PHOTO = {"width": 640, "height": 480, "is_grey": False, "background": 0.2, "two_tone": 0.4}
PRODUCT = {"width": 200, "height": 200, "is_grey": False, "background": 1.0, "two_tone": 0.6}


def manifest(details, n=300, labels=("cat", "dog"), **changes):
    rows = tuple(
        Row(
            id=f"{number}.png",
            locator=f"{number}.png",
            sha256=str(number),
            label=labels[number % len(labels)],
            details=details,
        )
        for number in range(n)
    )
    return Manifest(root="", source="", task=recipes.TASK, rows=tuple(replace(row, **changes) for row in rows))


def test_digits_are_not_mirrored_nor_recoloured():
    recipe, notes = recipes.propose(manifest(GLYPH), "small")
    assert recipe.options.flip == "never"
    assert recipe.options.brightness == 0
    assert recipe.options.rotation_deg > 0
    assert recipe.options.storage_px == 28
    assert recipe.options.colour == "grey"
    assert "not mirrored" in notes[0].text
    assert notes[0].proposal == {"options.flip": "horizontal"}


def test_photographs_are_mirrored_and_cropped():
    recipe, notes = recipes.propose(manifest(PHOTO), "small")
    assert recipe.options.flip == "horizontal"
    assert recipe.options.crop < 1
    assert recipe.options.storage_px == 96
    assert recipe.options.train_px == 80
    assert recipe.options.colour == "rgb"
    assert "photographs" in notes[0].text


def test_few_photographs_from_nothing_come_with_a_hint_at_pretrained_weights(tmp_path):
    def hints(*asked):
        return [note for note in recipes.propose(*asked)[1] if note.code == "few_photographs"]

    (hint,) = hints(manifest(PHOTO), "small")
    assert hint.text.startswith("300 photographs")
    assert options_of(hint.proposal) == f"--from {recipes.HUB_WEIGHTS}"
    (tmp_path / "config.json").write_text("{}")
    assert not hints(manifest(PHOTO), "small", str(tmp_path))
    assert not hints(manifest(PHOTO, n=recipes.FEW_PHOTOGRAPHS + 1), "small")
    assert not hints(manifest(GLYPH), "small")


def test_things_on_a_plain_background_are_padded():
    recipe, notes = recipes.propose(manifest(PRODUCT), "small")
    assert recipe.options.aspect == "pad"
    assert "plain background" in notes[0].text


@pytest.mark.parametrize("labels", [("left", "right"), ("turn_left", "straight on"), ("Gauche", "Droite")])
def test_class_names_with_sides_stop_the_mirroring(labels):
    recipe, notes = recipes.propose(manifest(PHOTO, labels=labels), "small")
    assert recipe.options.flip == "never"
    assert any(note.code == "no_mirroring" for note in notes)


@pytest.mark.parametrize(("edge", "want"), [(8, 8), (28, 28), (40, 40), (41, 48), (64, 64), (90, 96), (4000, 96)])
def test_storage_size(edge, want):
    found = manifest({**PHOTO, "width": edge, "height": edge})
    assert recipes.propose(found, "small")[0].options.storage_px == want


@pytest.mark.parametrize(("edge", "want"), [(32, 32), (200, 96)])
def test_held_out_pictures_do_not_set_the_storage_size(edge, want):
    found = manifest({**PHOTO, "width": edge, "height": edge})
    for large in (900, 3000):
        test = replace(found.rows[0], split="test", details={**PHOTO, "width": large, "height": large})
        mixed = replace(found, rows=(test, *found.rows[1:]))
        recipe, _ = recipes.propose(mixed, "small")
        assert recipe.options.storage_px == want
        left_open = replace(recipe, options=replace(recipe.options, storage_px=None))
        assert recipes.make_processor(mixed, left_open).storage_px == want


def test_small_sets_get_many_passes_and_large_ones_few():
    epochs = [recipes.propose(manifest(GLYPH, n=n), "small")[0].loop.epochs for n in (100, 1000, 20_000)]
    assert epochs[0] > epochs[1] > epochs[2] >= 3


def test_the_proposal_survives_json_and_overrides():
    recipe, _ = recipes.propose(manifest(PHOTO), "base")
    assert Recipe.from_json(recipe.to_json()) == recipe
    changed = recipe.with_overrides({"options.flip": "never", "options.class_weights": "balanced", "options.crop": "1"})
    assert changed.options.flip == "never"
    with pytest.raises(RecipeError, match="rotation_deg"):
        recipe.with_overrides({"options.rotation": "3"})
    with pytest.raises(RecipeError, match=r"options\.crop"):
        recipe.with_overrides({"options.crop": "0"})


def test_pretrained_weights_change_size_and_rate(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    recipe, _ = recipes.propose(manifest(PHOTO), "small", str(tmp_path))
    assert recipe.options.backbone == "resnet50"
    assert recipe.options.storage_px == 224
    assert recipe.model.init_from == str(tmp_path)
    plain, _ = recipes.propose(manifest(PHOTO), "small")
    assert recipe.optim.lr < plain.optim.lr


def test_what_is_pretrained_and_what_is_ours(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert recipes.is_pretrained(str(tmp_path))
    assert recipes.is_pretrained("microsoft/resnet-50")
    (tmp_path / "recipe.json").write_text("{}")
    assert not recipes.is_pretrained(str(tmp_path))
    assert not recipes.is_pretrained("scratch")


def test_tuning_is_gentler():
    recipe, _ = recipes.propose(manifest(PHOTO), "small")
    recipe = recipe.with_overrides({"options.cutmix": "0.3"})
    tuned = recipes.tuning(recipe)
    assert tuned.optim.lr < recipe.optim.lr
    assert tuned.options.cutmix == 0
    assert tuned.options.crop > recipe.options.crop
    assert tuned.options.storage_px == recipe.options.storage_px
    assert Recipe.from_json(tuned.to_json()) == tuned


def test_tuning_on_other_data_takes_its_length_from_them():
    few, many = manifest(GLYPH), manifest(GLYPH, n=3000)
    earlier, _ = recipes.propose(few, "small")
    proposed, _ = recipes.propose(many, "small")
    tuned = recipes.tuning(earlier, many)
    assert tuned.loop.epochs == proposed.loop.epochs < earlier.loop.epochs
    assert tuned.loop.batch_size == proposed.loop.batch_size
    assert tuned.optim.lr == proposed.optim.lr / 3
    assert tuned.optim.ema == proposed.optim.ema


@pytest.mark.parametrize("look", [PHOTO, GLYPH, PRODUCT], ids=["photographs", "glyphs", "products"])
def test_tuning_what_was_tuned_is_no_gentler(look):
    found = manifest(look)
    recipe, _ = recipes.propose(found, "small")
    tuned = recipes.tuning(recipe)
    again = recipes.tuning(recipes.tuning(tuned, found), found)
    assert again.optim == tuned.optim
    assert again.options == tuned.options
    chosen = recipes.tuning(recipe.with_overrides({"options.rotation_deg": "0", "options.flip": "never"}), found)
    assert (chosen.options.rotation_deg, chosen.options.flip) == (0, "never")


def test_tuning_a_pretrained_network_keeps_to_the_rates_of_one(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    recipe, _ = recipes.propose(manifest(PHOTO), "small", str(tmp_path))
    tuned = recipes.tuning(recipe, manifest(PHOTO, n=1000))
    assert tuned.optim.lr == recipe.optim.lr / 3
    assert tuned.optim.part_decay == recipe.optim.part_decay


@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
@pytest.mark.parametrize("look", [PHOTO, GLYPH], ids=["photographs", "glyphs"])
def test_tuning_goes_on_with_the_same_network(preset, look):
    found = manifest(look)
    recipe, _ = recipes.propose(found, preset)
    tuned = recipes.tuning(recipe)
    processor = recipes.make_processor(found, recipe)
    before, after = (build(one, processor).state_dict() for one in (recipe, tuned))
    assert {name: value.shape for name, value in before.items()} == {name: value.shape for name, value in after.items()}


def test_processor_of_a_manifest():
    found = manifest(GLYPH, labels=("one", "two"))
    recipe, _ = recipes.propose(found, "small")
    processor = recipes.make_processor(found, recipe)
    assert processor.labels == ("one", "two")
    assert processor.fields()["pixel_values"].shape == (28, 28, 1)
    assert not processor.is_multi_label


def test_labels_are_those_of_train_rows_only():
    found = manifest(GLYPH, labels=("one", "two"))
    others = tuple(replace(row, label="three", split="test") for row in found.rows[:3])
    recipe, _ = recipes.propose(found, "small")
    assert recipes.make_processor(replace(found, rows=found.rows + others), recipe).labels == ("one", "two")


def test_one_class_and_no_class_are_sentences():
    recipe, _ = recipes.propose(manifest(GLYPH), "small")
    with pytest.raises(DataError, match="at least two"):
        recipes.make_processor(manifest(GLYPH, labels=("one",)), recipe)
    with pytest.raises(DataError, match="No train row has a label"):
        recipes.make_processor(manifest(GLYPH, label=None), recipe)
    with pytest.raises(DataError, match="no picture"):
        recipes.propose(manifest(GLYPH, n=0), "small")


# --- the processor ----------------------------------------------------------------------------------------------------


def test_processor_saves_and_loads(tmp_path):
    processor = ImageProcessor(
        labels=("a", "b"), storage_px=32, n_channels=3, aspect="pad", backbone={"config": {"x": [1]}}
    )
    processor.save(tmp_path)
    assert ImageProcessor.load(tmp_path) == processor


def test_a_damaged_processor_is_a_sentence(tmp_path):
    (tmp_path / "image_processor.json").write_text("{")
    with pytest.raises(RunError, match="could not be read"):
        ImageProcessor.load(tmp_path)


def test_a_processor_that_would_encode_in_another_way_is_not_used(tmp_path, monkeypatch):
    processor = ImageProcessor(storage_px=32, n_channels=3)
    processor.save(tmp_path)
    monkeypatch.setattr("ouvroir.media.image.processor.ENCODING", 2)
    with pytest.raises(RunError, match="1 there, 2 here"):
        ImageProcessor.load(tmp_path)


def test_storage_fingerprint_depends_on_what_is_stored_only():
    one = ImageProcessor(labels=("a", "b"), storage_px=32, n_channels=3)
    assert one.storage_fingerprint() == one.with_labels(("c",)).storage_fingerprint()
    changes = ({"storage_px": 48}, {"n_channels": 1}, {"aspect": "pad"}, {"levels": {"whole": (0.0, 4095.0)}})
    prints = {replace(one, **change).storage_fingerprint() for change in changes}
    assert len(prints | {one.storage_fingerprint()}) == 5


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """12-bit pictures in 16-bit files, of two classes: dark and bright ones."""
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    for label, tops in (("dark", range(200, 1000, 80)), ("bright", range(2200, 4200, 200))):
        (tmp_path / "scans" / label).mkdir(parents=True)
        for top in tops:
            values = np.linspace(0, top, 144).astype(np.uint16).reshape(12, 12)
            Image.fromarray(values).save(tmp_path / "scans" / label / f"{top}.png")
    return tmp_path / "scans"


def test_deep_pictures_of_one_set_are_scaled_alike(scans, tmp_path):
    found = admit(scans, task="image-classification")
    recipe, notes = recipes.propose(found, "tiny")
    assert any(note.code == "levels" and "4095 as white" in note.text for note in notes)
    processor = recipes.make_processor(found, recipe)
    assert processor.levels == {"whole": (0.0, 4095.0)}
    processor.save(tmp_path)
    assert ImageProcessor.load(tmp_path) == processor
    for row in found.rows:
        stored = processor.encode(row.source(found.root), Limits())["pixel_values"]
        assert int(stored.max()) == round(row.details["high"] * 255 / 4095)


def test_a_model_that_is_trained_on_goes_on_seeing_pictures_alike(scans):
    found = admit(scans, task="image-classification")
    recipe, _ = recipes.propose(found, "tiny")
    first = recipes.make_processor(found, recipe)
    dark = replace(found, rows=tuple(row for row in found.rows if row.details["high"] < 1000))
    labelled = replace(dark, rows=tuple(replace(row, label=str(at % 2)) for at, row in enumerate(dark.rows)))
    assert recipes.make_processor(labelled, recipe).levels == {"whole": (0.0, 1023.0)}
    on = recipes.make_processor(labelled, recipe, first)
    assert on.levels == first.levels == {"whole": (0.0, 4095.0)}
    assert on.labels == ("0", "1")
    left_open = recipe.with_overrides({"options.storage_px": "null", "options.colour": "auto"})
    kept = recipes.make_processor(labelled, left_open, replace(first, storage_px=48, n_channels=3))
    assert (kept.storage_px, kept.n_channels) == (48, 3)


def test_levels_come_from_train_rows(scans):
    found = admit(scans, task="image-classification")
    rows = [replace(row, split="train" if row.details["high"] < 1000 else "test") for row in found.rows]
    assert recipes.levels_of(rows) == {"whole": (0.0, 1023.0)}
    assert recipes.levels_of([replace(row, split="test") for row in rows]) == {}


def test_a_processor_saved_before_there_were_levels_is_read(tmp_path):
    ImageProcessor(labels=("a",), storage_px=32, n_channels=3).save(tmp_path)
    path = tmp_path / "image_processor.json"
    value = json.loads(path.read_text())
    del value["levels"]
    path.write_text(json.dumps(value))
    assert ImageProcessor.load(tmp_path).levels == {}


def test_another_version_of_the_decoder_makes_another_pack(monkeypatch):
    one = ImageProcessor(labels=("a",), storage_px=32, n_channels=3)
    prints = {one.storage_fingerprint()}
    monkeypatch.setattr(PIL, "__version__", "99.0.0")
    prints.add(one.storage_fingerprint())
    monkeypatch.setattr(features, "version", lambda name: "99.0" if name == "jpg" else None)
    assert len(prints | {one.storage_fingerprint()}) == 3


def test_encode_gives_what_fields_declare(tmp_path):
    assert write_digits(tmp_path, n_pictures=20) == 20
    path = next(iter(sorted(tmp_path.rglob("*.png"))))
    assert path.name.startswith("digit_")
    processor = ImageProcessor(labels=("a",), storage_px=16, n_channels=3)
    source = Source(root=str(tmp_path), locator=str(path.relative_to(tmp_path)))
    found = processor.encode(source, Limits())["pixel_values"]
    assert found.dtype == np.uint8
    assert found.shape == (16, 16, 3)
    with pytest.raises(Refused):
        processor.encode(Source(root=str(tmp_path), locator="absent.png"), Limits())


def test_written_digits_are_those_of_scikit_learn(tmp_path):
    from sklearn.datasets import load_digits

    write_digits(tmp_path, n_pictures=30)
    digits = load_digits()
    for number in (0, 7, 29):
        path = tmp_path / str(digits.target[number]) / f"digit_{number + 1:04d}.png"
        assert np.abs(np.asarray(Image.open(path)) / (255 / 16) - digits.images[number]).max() < 0.05


def test_columns_may_be_called_by_numbers_and_no_setting_is_infinite():
    assert read_data({"data.label_column": "1"}).label_column == "1"
    with pytest.raises(RecipeError, match=r"loop\.minutes"):
        check_settings({"loop.minutes": "Infinity"})
    with pytest.raises(RecipeError, match=r"constants\.pi"):
        check_settings({"constants.pi": "0"})
