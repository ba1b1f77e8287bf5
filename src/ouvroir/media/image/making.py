"""What all generators of pictures share: their data, the recipe's beginning, classes by name, files that say what they are.

How pictures are learned and made is in generation.py (a flow) and generation_adversarial.py. torch is imported by the
functions that need it.

Axes: B rows, C channels, H and W height and width, K classes.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.classification import adoption_sentences
from ouvroir.errors import UsageError
from ouvroir.media.image.pictures import Pictures, pixels_of
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.media.image.recipes import channels, levels_of, look_at, mirrors, storage_edge
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Answers, Batch, Cheap, Example, Made, Note, Prediction, Processor, Row, StepOutput

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table, TableSlice
    from ouvroir.rng import Rng

LEAST_PX, MOST_PX = 8, 64
USUAL_PX = 32  # where there are pictures of more than 64 px; twice the edge is four times the time
_VIEW_PX = 16
AT_ONCE = 64  # samples; always so many, so that a sample does not depend on how many are asked for
_SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{_SYNTHETIC}"/></rdf:RDF></x:xmpmeta>'
)


@dataclass(frozen=True, kw_only=True)
class MakingOptions:
    """Settings that all generators of pictures have."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    storage_px: Annotated[int, Setting(ge=LEAST_PX, le=MOST_PX)] | None = setting(
        None, "Edge of the pictures that are learned from and made; worked out from the data, at most 64."
    )
    aspect: Literal["stretch", "pad", "crop"] = setting("stretch", "How a picture becomes square.")
    colour: Literal["auto", "grey", "rgb"] = setting(
        "auto", "Channels that are made; auto is grey when all pictures are."
    )
    flip: Literal["never", "horizontal"] = setting("never", "Mirroring in training.")
    label_dropout: Annotated[float, Setting(ge=0, lt=1)] = setting(
        0.1,
        "Share of the rows that are learned from without their class, so that pictures of no class can be made too.",
    )


class PictureMaker(Pictures, ABC):
    """The part of a Synthesiser that is the same however pictures are made. A task adds the net, its steps and `make`."""

    Options: ClassVar[type]
    name: ClassVar[str]
    needs_labels: ClassVar[bool] = False
    synthesiser: ClassVar[str | None] = None

    # --- data ---------------------------------------------------------------------------------------------------------

    def unjudged(self, row: Row, processor: Processor) -> str | None:
        """Every picture can be judged: by how well what is made fits it."""
        del row, processor
        return None

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these pictures."""
        look = look_at(manifest.rows)
        edge = storage_edge(look)
        notes = []
        if edge > USUAL_PX and look.largest_px > MOST_PX:
            notes.append(
                Note(
                    "small_samples",
                    f"Pictures of {USUAL_PX} px are made, and enlarged where larger ones are needed; {MOST_PX} px are the most and "
                    "take four times as long.",
                    {"options.storage_px": str(MOST_PX)},
                )
            )
            edge = USUAL_PX
        options = self.Options(
            storage_px=min(edge, MOST_PX),
            aspect="stretch" if look.kind == "photographs" else "pad",
            colour="grey" if look.is_grey else "rgb",
            flip="horizontal" if mirrors(look) else "never",
        )
        chosen = Recipe(task=self.name, model=recipes.Model(preset=preset, init_from=init_from), options=options)  # type: ignore[arg-type]
        return self.scheduled(chosen, look.n_train), notes

    @abstractmethod
    def scheduled(self, recipe: Recipe, n_train: int) -> Recipe:
        """The recipe with batch, rates and length for so many pictures: what differs between the ways to learn."""

    def reads_weights(self, init_from: str) -> bool:
        """None but our own."""
        del init_from
        return False

    def tuning(self, recipe: Recipe, manifest: Manifest | None = None) -> Recipe:
        """A third of the rate, falling."""
        if manifest is not None:
            proposed, _ = self.recipe(manifest, recipe.model.preset)
            recipe = replace(recipe, optim=proposed.optim, loop=proposed.loop)
        return recipe.replace("optim", lr=recipe.optim.lr / 3, schedule="cosine", warmup=0.05)

    def augments(self, recipe: Recipe) -> bool:
        """Always: the noise is new at each step."""
        del recipe
        return True

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> ImageProcessor:
        """Classes of the train rows, none where they have none; size, channels and levels, as `earlier` has them."""
        assert earlier is None or isinstance(earlier, ImageProcessor)
        options: MakingOptions = recipe.options
        look = look_at(manifest.rows)
        return ImageProcessor(
            labels=look.labels,
            is_multi_label=manifest.is_multi_label,
            storage_px=earlier.storage_px if earlier else options.storage_px or min(storage_edge(look), MOST_PX),
            n_channels=earlier.n_channels if earlier else channels(options.colour, look),
            aspect=options.aspect,
            levels={**levels_of(manifest.rows), **(earlier.levels if earlier else {})},
        )

    def targets(self, rows: Sequence[Row], processor: Processor) -> dict[str, np.ndarray]:
        """`labels`: (N,) int64, or (N, K + 1) float32 when multi-label; place K is of rows without a class that is known."""
        assert isinstance(processor, ImageProcessor)
        place = {label: number for number, label in enumerate(processor.labels)}
        known = [[place[name] for name in names_of(row.label) if name in place] for row in rows]
        nothing = len(processor.labels)
        if not processor.is_multi_label:
            return {"labels": np.array([places[0] if places else nothing for places in known], dtype=np.int64)}
        found = np.zeros((len(rows), nothing + 1), dtype=np.float32)
        for number, places in enumerate(known):
            found[number, places or [nothing]] = 1
        return {"labels": found}

    # --- training -----------------------------------------------------------------------------------------------------

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """Nothing: levels are scaled alike for all data."""

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """Mirror half of the pictures, where the recipe says so, in training."""
        import torch

        options: MakingOptions = recipe.options
        if not training or options.flip == "never":
            return batch
        pixels = batch["pixel_values"]
        is_turned = rng.uniform("flip") < 0.5
        return {**batch, "pixel_values": torch.where(is_turned[:, None, None, None], pixels.flip(3), pixels)}

    def features(self, model: nn.Module, batch: Batch, part: str) -> Tensor:
        """Never asked for: the noise is new at each step, so nothing is ever cached."""
        del model, batch
        raise AssertionError(part)

    # --- judging and using --------------------------------------------------------------------------------------------

    def metrics_for(self, processor: Processor) -> tuple[str, ...]:
        """The loss on pictures that were not learned from."""
        del processor
        return ("loss",)

    def answers(self, batch: Batch, output: StepOutput, processor: Processor) -> Answers:
        """The losses of the rows, on the CPU."""
        del processor
        (loss,) = output.losses.values()
        return Answers(
            index=batch["index"].cpu().numpy(),
            loss=loss.per_row.double().cpu().numpy(),
            n_items=loss.n_items.cpu().numpy(),
        )

    def baselines(self, train: Table, test: Table, processor: Processor) -> list[Cheap]:
        """None."""
        del train, test, processor
        return []

    def predict(
        self,
        model: nn.Module,
        processor: Processor,
        recipe: Recipe,
        examples: Sequence[Example],
        *,
        device: str,
        threshold: float,
    ) -> list[Prediction]:
        """Raises UsageError: it answers nothing about pictures."""
        del model, processor, recipe, examples, device, threshold
        raise UsageError(
            "This model makes pictures and answers nothing about them: `ouvroir generate RUN` has it make some."
        )

    def mix(
        self, processor: Processor, first: Sequence[Example], second: Sequence[Example], shares: Sequence[float]
    ) -> Iterator[Made]:
        """Weighted means of two pictures, as PNG files that say that they are synthetic."""
        del processor
        for one, other, share in zip(first, second, shares, strict=True):
            mixed = share * one["pixel_values"].astype(np.float32) + (1 - share) * other["pixel_values"]
            yield Made(".png", as_png(mixed.round().astype(np.uint8), {"mixture": f"{share:.4f}"}))

    def views(self, rows: TableSlice) -> Tensor:
        """Small copies, as they are and moved by a pixel in eight directions."""
        return shifted_views(pixels_of(rows).permute(0, 3, 1, 2))


def names_of(label: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The classes of a row: none, one or several."""
    return () if label is None else (label,) if isinstance(label, str) else label


def weights_of(labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """(B, K + 1) float32, from class numbers (B,) or as they are."""
    from torch.nn import functional

    if labels.ndim == 2:
        return labels
    return functional.one_hot(labels, n_classes + 1).float()


def left_out(labels: torch.Tensor, share: float, rng: Rng) -> torch.Tensor:
    """(B, K + 1): the weights of the classes, and for a random `share` of the rows that of no class instead."""
    import torch

    if not share:
        return labels
    nothing = torch.zeros_like(labels)
    nothing[:, -1] = 1
    return torch.where((rng.uniform("label") < share)[:, None], nothing, labels)


def label_weights(asked: Sequence[str | None], labels: Sequence[str]) -> np.ndarray:
    """(B, K + 1) float32 of 0 and 1. Raises UsageError."""
    place = {label: number for number, label in enumerate(labels)}
    found = np.zeros((len(asked), len(labels) + 1), dtype=np.float32)
    for number, label in enumerate(asked):
        if label is not None and label not in place:
            known = ", ".join(labels[:10]) + (", …" if len(labels) > 10 else "")
            raise UsageError(f"The generator knows no class `{label}`. It knows: {known}.")
        found[number, len(labels) if label is None else place[label]] = 1
    return found


def as_png(picture: np.ndarray, facts: Mapping[str, str]) -> bytes:
    """A picture (H, W, C) uint8 as PNG, marked as made by a model (IPTC digital source type) and with `facts` as text."""
    info = PngInfo()
    info.add_text("Software", "Ouvroir")
    info.add_text("Synthetic", "true")
    for name, value in facts.items():
        info.add_itxt(name, value)
    info.add_itxt("XML:com.adobe.xmp", _XMP)
    file = io.BytesIO()
    Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def shifted_views(pixels: Tensor) -> Tensor:
    """(B, V, D) float32 in [0, 1]: the inside of pictures (B, C, H, W), made small, and what is seen one pixel off it each way.

    The small copy has at most 16 px; its border is left out, so that a copy which was moved by a pixel shows exactly what its
    original shows in the middle.
    """
    import torch
    from torch.nn import functional

    edge = min(_VIEW_PX, pixels.shape[-1])
    small = functional.interpolate(pixels.float() / 255, size=edge, mode="area")
    moves = [(1, 1), *((down, right) for down in range(3) for right in range(3) if (down, right) != (1, 1))]
    inside = edge - 2
    found = [small[:, :, down : down + inside, right : right + inside].flatten(1) for down, right in moves]
    return torch.stack(found, dim=1)


def pieces(
    labels: Sequence[str | None],
    processor: ImageProcessor,
    paint: Callable[[Rng, Tensor, int], Tensor],
    *,
    seed: int,
    device: str,
) -> Iterator[Made]:
    """PNG files of what `paint` gives for (random numbers, label weights (B, K + 1), number of the first): (B, C, H, W) in [-1, 1].

    It is always asked for as many, so that a sample does not depend on how many are wanted.
    """
    import torch

    from ouvroir.media.image.flow import to_pixels
    from ouvroir.rng import Rng

    for start in range(0, len(labels), AT_ONCE):
        asked = labels[start : start + AT_ONCE]
        padded = [*asked, *[None] * (AT_ONCE - len(asked))]
        weights = torch.from_numpy(label_weights(padded, processor.labels)).to(device)
        places = torch.arange(start, start + AT_ONCE, device=device)
        found = paint(Rng(seed, 0, places), weights, start)
        pixels = to_pixels(found).permute(0, 2, 3, 1).cpu().numpy()
        for picture, label in zip(pixels, asked, strict=False):
            yield Made(".png", as_png(picture, {"label": label or "", "seed": str(seed)}))


def adopt_by_name(
    network: nn.Module,
    per_class: Sequence[str],
    processor: Processor,
    weights: Mapping[str, Tensor],
    labels: tuple[str, ...],
) -> list[str]:
    """Load earlier weights into `network` as far as shapes agree; those of `per_class`, (E, K + 1), by the names of the classes.

    `labels`: the classes of the earlier weights. Returns what `Task.adopt` does.
    """
    import torch

    own = network.state_dict()
    kept = {
        name: value
        for name, value in weights.items()
        if name in own and name not in per_class and own[name].shape == value.shape
    }
    lost = [name for name in own if name not in kept and name not in per_class]
    network.load_state_dict(kept, strict=False)
    mapped = set()
    with torch.no_grad():
        for name in per_class:
            earlier, mine = weights.get(name), network.get_parameter(name)
            if earlier is None or earlier.shape[0] != mine.shape[0]:
                continue
            mine[:, -1] = earlier[:, -1]
            for number, label in enumerate(processor.labels):
                if label in labels:
                    mine[:, number] = earlier[:, labels.index(label)]
                    mapped.add(label)
    return adoption_sentences(processor.labels, labels, len(mapped), n_kept=len(kept), n_lost=len(lost))
