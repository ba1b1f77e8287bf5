"""What all generators of pictures share: their data, the recipe's beginning, files that say what they are.

How pictures are learned and made is in generation.py (a flow) and generation_adversarial.py. torch is imported by the
functions that need it.

Axes: B rows, C channels, H and W height and width, K classes.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.making import Maker, label_weights, shifted_views
from ouvroir.media.image.pictures import Pictures, pixels_of
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.media.image.recipes import channels, levels_of, look_at, mirrors, storage_edge
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Batch, Example, Made, Note, Processor

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import TableSlice
    from ouvroir.rng import Rng

LEAST_PX, MOST_PX = 8, 64
USUAL_PX = 32  # where there are pictures of more than 64 px; twice the edge is four times the time
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


class PictureMaker(Maker, Pictures):
    """The part of a Synthesiser that is the same however pictures are made. A task adds the net, its steps and `make`."""

    Options: ClassVar[type]
    name: ClassVar[str]

    # --- data ---------------------------------------------------------------------------------------------------------

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

    # --- training -----------------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """Mirror half of the pictures, where the recipe says so, in training."""
        import torch

        options: MakingOptions = recipe.options
        if not training or options.flip == "never":
            return batch
        pixels = batch["pixel_values"]
        is_turned = rng.uniform("flip") < 0.5
        return {**batch, "pixel_values": torch.where(is_turned[:, None, None, None], pixels.flip(3), pixels)}

    # --- judging and using --------------------------------------------------------------------------------------------

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
        return shifted_views(pixels_of(rows).permute(0, 3, 1, 2).float() / 255)


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

    from ouvroir.media.image.pictures import to_pixels
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
