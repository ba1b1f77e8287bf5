"""What picture classification can be told (Options), and the recipe proposed for a set of pictures, with its reasons.

The proposal looks at the facts of the manifest only: how large, how grey, on what background. Every choice is said in a
Note and can be overridden with `--set options.NAME=VALUE`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.classification import train_labels
from ouvroir.constants import ALPHA
from ouvroir.errors import DataError
from ouvroir.media.image.decode import MIN_EDGE_PX, common_levels, kind_of_values
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Note, Row

if TYPE_CHECKING:
    from ouvroir.data.manifest import Manifest

Kind = Literal["glyphs", "plain background", "photographs"]
Flip = Literal["never", "horizontal", "vertical", "both"]
Edge = Annotated[int, Setting(ge=8, le=1024)]
Share = Annotated[float, Setting(ge=0, le=1)]

TASK = "image-classification"
NATIVE_PX = 40  # pictures up to this size are stored as they are
USUAL_STORAGE_PX = 96  # fewer pictures than MANY_PICTURES learn more from many passes than from many pixels
LARGEST_STORAGE_PX = 128
MANY_PICTURES = 20_000
FEW_PHOTOGRAPHS = 5000  # up to here pretrained weights are worth a hint
HUB_WEIGHTS = "microsoft/resnet-50"
PRETRAINED_PX = 224  # what ImageNet networks were trained at
GLYPH_PX = 64
MUON_PICTURES = 400  # fewer come in small batches, to whose steps Muon adds much and gains little (docs/decisions/0007)
_SIDED = re.compile(r"\b(left|right|gauche|droite?|clockwise|horaire)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that only picture classification has."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    backbone: Literal["compact", "resnet50"] = setting(
        "compact", "compact: our residual network, from nothing; resnet50: ResNet of transformers, usually pretrained."
    )
    storage_px: Edge | None = setting(None, "Edge at which pictures are stored and judged; worked out from the data.")
    train_px: Edge | None = setting(None, "Edge at which pictures are trained on, at most storage_px; worked out.")
    aspect: Literal["stretch", "pad", "crop"] = setting(
        "stretch",
        "How a picture becomes square: stretch it (which `export --to hf` needs), pad it with its border colour, or crop "
        "its middle.",
    )
    colour: Literal["auto", "grey", "rgb"] = setting(
        "auto", "Channels that are stored; auto is grey when all pictures are."
    )
    augment: Literal["auto", "always", "never"] = setting(
        "auto", "Random changes in training; auto leaves them out when only the head learns, so the rest runs once."
    )
    flip: Flip = setting("never", "Mirroring in training; not where a mirrored picture would be another class.")
    rotation_deg: Annotated[float, Setting(ge=0, le=180)] = setting(
        0.0, "Rotation by up to so many degrees either way."
    )
    scale: Annotated[float, Setting(ge=0, lt=1)] = setting(0.0, "Zoom in or out by up to this ratio.")
    translate: Annotated[float, Setting(ge=0, lt=1)] = setting(0.0, "Shift by up to this share of the edge.")
    crop: Annotated[float, Setting(gt=0, le=1)] = setting(
        1.0, "Random crop of at least this share of the area; 1 is whole."
    )
    stretch: Annotated[float, Setting(ge=0, lt=1)] = setting(0.0, "Change of aspect ratio by up to this ratio.")
    brightness: Share = setting(0.0, "Brightness changed by up to this share.")
    contrast: Share = setting(0.0, "Contrast changed by up to this share.")
    colour_jitter: Share = setting(0.0, "Saturation changed by up to this share.")
    erasing: Share = setting(0.0, "Share of pictures of which a random rectangle is painted over.")
    mixup: Share = setting(0.0, "Share of batches' rows blended with another row, its label too.")
    cutmix: Share = setting(
        0.0, "Share of batches' rows that get a rectangle of another row, and a share of its label."
    )
    label_smoothing: Annotated[float, Setting(ge=0, lt=1)] = setting(
        ALPHA.value, "Share of each target spread evenly; 1/137."
    )
    head: Literal["phi", "linear"] = setting(
        "phi", "phi: hidden layers whose widths fall by φ; linear: one layer, which `export --to hf` needs."
    )
    dropout: Annotated[float, Setting(ge=0, lt=1)] = setting(0.1, "Dropout before each layer of the head.")
    class_weights: Literal["equal", "balanced"] = setting(
        "equal", "balanced: rows of rare classes count more in the loss."
    )


def is_augmented(recipe: Recipe) -> bool:
    """Whether training pictures are changed at all: see the setting `augment`."""
    options: Options = recipe.options
    return options.augment == "always" or (options.augment == "auto" and recipe.model.scope != "head")


@dataclass(frozen=True)
class Look:
    """What the facts of the pictures say together. `long_side_px`: the usual longer side; `largest_px`: the greatest."""

    kind: Kind
    n_train: int
    long_side_px: int
    largest_px: int
    is_grey: bool
    labels: tuple[str, ...] = ()


def look_at(rows: Sequence[Row]) -> Look:
    """Measure the train rows (all rows when there are none): kind, typical size, colour, class names."""
    train = [row for row in rows if row.split == "train"] or list(rows)
    if not train:
        raise DataError("There is no picture to learn from.")
    detail = {
        name: np.array([float(row.details.get(name, default)) for row in train])
        for name, default in (("width", 64), ("height", 64), ("is_grey", 0), ("background", 0), ("two_tone", 0))
    }
    longest = np.maximum(detail["width"], detail["height"])
    is_plain = float(np.median(detail["background"])) >= 0.9
    is_grey = bool(detail["is_grey"].all())
    is_small = float(np.median(longest)) <= GLYPH_PX
    is_glyph = is_small and detail["is_grey"].mean() >= 0.95 and float(np.median(detail["two_tone"])) >= 0.6
    labels = {label for row in train for label in ([row.label] if isinstance(row.label, str) else row.label or ())}
    return Look(
        kind="glyphs" if is_glyph else "plain background" if is_plain else "photographs",
        n_train=len(train),
        long_side_px=int(np.median(longest)),
        largest_px=int(longest.max()),
        is_grey=is_grey,
        labels=tuple(sorted(labels)),
    )


def storage_edge(look: Look) -> int:
    """Pictures of at most 40 px keep their size; others take the next multiple of 16 of the usual longer side.

    At most 96, or 128 where there are very many pictures.
    """
    if look.largest_px <= NATIVE_PX:
        return max(MIN_EDGE_PX, look.largest_px)
    largest = LARGEST_STORAGE_PX if look.n_train >= MANY_PICTURES else USUAL_STORAGE_PX
    return min(largest, max(16, -(-look.long_side_px // 16) * 16))


def channels(colour: Literal["auto", "grey", "rgb"], look: Look) -> int:
    """1 or 3."""
    return 1 if colour == "grey" or (colour == "auto" and look.is_grey) else 3


def mirrors(look: Look) -> bool:
    """Whether pictures are mirrored in training unless somebody says otherwise."""
    return _AUGMENTATION[look.kind]["flip"] != "never" and not _is_sided(look)


def _is_sided(look: Look) -> bool:
    return any(_SIDED.search(label.replace("_", " ")) for label in look.labels)


def is_pretrained(init_from: str) -> bool:
    """Whether `init_from` names pretrained weights (a folder in the Hugging Face form, a hub name) and not one of our runs."""
    if init_from == "scratch":
        return False
    path = Path(init_from)
    if not path.is_dir():
        return not path.is_absolute()
    is_ours = any((path / name).exists() for name in ("recipe.json", "checkpoints", "final_model"))
    return not is_ours and (path / "config.json").is_file()


def propose(manifest: Manifest, preset: str, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
    """The recipe for these pictures and the notes that explain it."""
    look = look_at(manifest.rows)
    pretrained = is_pretrained(init_from)
    notes = [_kind_note(look)]
    settings: dict[str, object] = dict(_AUGMENTATION[look.kind])
    if settings["flip"] != "never" and not mirrors(look):
        settings["flip"] = "never"
        notes.append(
            Note(
                "no_mirroring",
                "Class names speak of left and right, so pictures are not mirrored.",
                {"options.flip": "horizontal"},
            )
        )
    notes += [
        Note(
            "levels",
            f"Values deeper than 8 bits ({kind}): {low:g} is stored as black and {high:g} as white, in all pictures.",
        )
        for kind, (low, high) in levels_of(manifest.rows).items()
    ]
    if look.kind == "photographs" and look.n_train <= FEW_PHOTOGRAPHS and not pretrained:
        text = (
            f"{look.n_train:,} photographs are few to learn from nothing. Pretrained weights are usually what helps most with "
            "so few, from a hub or, without a network, from a folder (docs/guides/fine-tune.md)."
        )
        notes.append(Note("few_photographs", text, {"model.init_from": HUB_WEIGHTS}))
    storage_px = PRETRAINED_PX if pretrained else storage_edge(look)
    settings["aspect"] = "stretch" if look.kind == "photographs" else "pad"
    options = Options(
        backbone="resnet50" if pretrained else "compact",
        storage_px=storage_px,
        train_px=_train_edge(look, storage_px, pretrained=pretrained),
        colour="rgb" if pretrained or not look.is_grey else "grey",
        **settings,  # type: ignore[arg-type]
    )
    chosen = Recipe(task=TASK, model=recipes.Model(preset=preset, init_from=init_from), options=options)  # type: ignore[arg-type]
    return _schedule(chosen, look, pretrained=pretrained), notes


# steps are this times the root of the number of train pictures: photographs vary more than characters
_PATIENCE: dict[Kind, int] = {"glyphs": 20, "plain background": 40, "photographs": 60}

_AUGMENTATION: dict[Kind, dict[str, object]] = {
    "glyphs": {"flip": "never", "rotation_deg": 12.0, "scale": 0.12, "translate": 0.08, "stretch": 0.1},
    "plain background": {
        "flip": "horizontal", "rotation_deg": 10.0, "scale": 0.15, "translate": 0.08, "brightness": 0.2, "contrast": 0.2,
    },
    "photographs": {
        "flip": "horizontal", "rotation_deg": 10.0, "crop": 0.5, "stretch": 0.2, "brightness": 0.3, "contrast": 0.3,
        "colour_jitter": 0.3,
    },
}  # fmt: skip


def _train_edge(look: Look, storage_px: int, *, pretrained: bool) -> int:
    """Photographs are trained on smaller than judged: crops enlarge things, and this undoes it (Touvron 2019, FixRes).

    On 3,000 photographs, training on 64 px and judging on 80 was 3 points better than judging on 96.
    """
    if pretrained or look.kind != "photographs" or storage_px < GLYPH_PX:
        return storage_px
    return storage_px * 17 // 20 // 16 * 16


def _kind_note(look: Look) -> Note:
    if look.kind == "glyphs":
        text = "These look like characters or digits, so they are not mirrored; small turns and shifts only."
        return Note("kind", text, {"options.flip": "horizontal"})
    if look.kind == "plain background":
        text = "These show things on a plain background: mirrored left to right, turned and shifted a little."
    else:
        text = "These look like photographs: mirrored left to right, turned, cropped and recoloured in training."
    return Note(
        "kind", f"{text} If a mirrored picture would be another class, switch it off.", {"options.flip": "never"}
    )


def _schedule(chosen: Recipe, look: Look, *, pretrained: bool) -> Recipe:
    """Batch, rate and length by the amount of data. Small sets need many passes; large ones need few."""
    batch = 64 if look.n_train >= 2000 else 32 if look.n_train >= 400 else 16
    if pretrained:
        epochs = float(np.clip(20_000 / look.n_train, 3, 30))
        return chosen.replace("optim", lr=3e-4, ema=0.99, part_decay=0.7).replace(
            "loop", batch_size=batch // 2, epochs=epochs
        )
    steps = float(np.clip(_PATIENCE[look.kind] * look.n_train**0.5, 800, 12_000))
    epochs = round(max(3.0, steps * batch / look.n_train), 1)
    ema = round(min(0.999, 1 - 10 / steps), 4)  # an average over the last tenth of the steps
    name, lr = ("muon", 5e-3) if look.n_train >= MUON_PICTURES else ("adamw", 2e-3)
    return chosen.replace("optim", name=name, lr=lr, weight_decay=0.05, ema=ema, max_grad_norm=2.0).replace(
        "loop", batch_size=batch, epochs=epochs
    )


def tuning(recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
    """To fine-tune what `recipe` trained: a third of the rate, falling; whole pictures of full size, nothing blended.

    On the data of `manifest`, batch, length and rate start from what is proposed for these, and nothing is changed more
    than in half of what is proposed for these: `recipe` may itself be one for fine-tuning.
    """
    options: Options = recipe.options
    usual = options
    if manifest is not None:
        look = look_at(manifest.rows)
        usual = Options(**_AUGMENTATION[look.kind])  # type: ignore[arg-type]
        proposed = _schedule(Recipe(task=recipe.task), look, pretrained=options.backbone == "resnet50")
        recipe = replace(recipe, optim=proposed.optim).replace(
            "loop", batch_size=proposed.loop.batch_size, epochs=proposed.loop.epochs
        )
    calm = replace(
        options,
        train_px=options.storage_px,
        crop=max(options.crop, 1 - (1 - usual.crop) / 2),
        rotation_deg=min(options.rotation_deg, usual.rotation_deg / 2),
        scale=min(options.scale, usual.scale / 2),
        translate=min(options.translate, usual.translate / 2),
        erasing=0.0,
        mixup=0.0,
        cutmix=0.0,
    )
    return replace(recipe, options=calm).replace("optim", lr=recipe.optim.lr / 3, schedule="cosine", warmup=0.05)


def make_processor(manifest: Manifest, recipe: Recipe, earlier: ImageProcessor | None = None) -> ImageProcessor:
    """The processor for a recipe: what its options leave open is worked out from the train rows.

    `earlier` is that of the model to start from, which goes on seeing pictures as it learned to see them.
    """
    options: Options = recipe.options
    look = look_at(manifest.rows)
    n_channels = channels(options.colour, look if earlier is None else replace(look, is_grey=earlier.n_channels == 1))
    backbone = None
    if options.backbone == "resnet50" or is_pretrained(recipe.model.init_from):
        n_channels = 3
        backbone = earlier.backbone if earlier else None
        if backbone is None:
            from ouvroir.media.image.pretrained import read_backbone

            backbone = read_backbone(recipe.model.init_from)
    storage_px = options.storage_px or (earlier.storage_px if earlier else None)
    return ImageProcessor(
        labels=train_labels(manifest),
        is_multi_label=manifest.is_multi_label,
        storage_px=storage_px or (PRETRAINED_PX if backbone else storage_edge(look)),
        n_channels=n_channels,
        aspect=options.aspect,
        levels={**levels_of(manifest.rows), **(earlier.levels if earlier else {})},
        backbone=backbone,
    )


def levels_of(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """How all pictures deeper than 8 bits are scaled: by what the train rows hold. Empty when none of these is deeper."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        kind = kind_of_values(str(row.details.get("mode", "")))
        if kind is not None and row.split == "train" and "high" in row.details:
            spans.setdefault(kind, []).append((float(row.details["low"]), float(row.details["high"])))
    return {kind: common_levels(found) for kind, found in sorted(spans.items())}
