"""What all tasks on pictures share: how pictures are opened, packed, put into batches and shown."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ouvroir import classification as shared
from ouvroir.media import IMAGE_SUFFIXES
from ouvroir.media.image.decode import decode, decoder, inspect_picture
from ouvroir.media.image.french import FRENCH
from ouvroir.media.image.inputs import as_source
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.source import Source
from ouvroir.task import Batch, Facts, Input, Items, Limits, Processor, Rendering

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.data.table import Table, TableSlice


class Pictures:
    """The part of a Task that is the same whatever is done with pictures."""

    suffixes: ClassVar[frozenset[str]] = IMAGE_SUFFIXES
    limits: ClassVar[Limits] = Limits()
    reads_text: ClassVar[bool] = False
    loop: ClassVar[Literal["fit", "adversarial"]] = "fit"
    export_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {}
    french: ClassVar[Mapping[str, str]] = FRENCH

    def inspect(self, source: Source, limits: Limits) -> Facts:
        """Open one picture at admission. Raises Refused."""
        return inspect_picture(source, limits)

    def decoder(self) -> str:
        """Pillow and those of its libraries that decode pictures, with their versions."""
        return decoder()

    def load_processor(self, folder: Path) -> ImageProcessor:
        """Read what `ImageProcessor.save` wrote."""
        return ImageProcessor.load(folder)

    def items(self, table: Table, processor: Processor, *, training: bool) -> Items:
        """One draw is one picture; its stratum is its class, or its rarest label when multi-label."""
        del processor, training
        labels = table.targets.get("labels")
        stratum = None if labels is None else shared.strata(labels.numpy())
        return Items(row=np.arange(len(table), dtype=np.int64), stratum=stratum)

    def collate(self, rows: TableSlice) -> Batch:
        """`pixel_values` (B, C, H, W) uint8 in channels-last memory; `labels`, `weight`, `index`."""
        return {
            "pixel_values": pixels_of(rows).permute(0, 3, 1, 2),
            "weight": rows.weight,
            "index": rows.index,
            **rows.targets,
        }

    def as_source(self, given: Input) -> Source:
        """Paths, bytes, PIL images and (H, W), (H, W, C) uint8 arrays; the last two become files in memory."""
        return as_source(given)

    def sample(self, folder: Path) -> int:
        """The handwritten digits of scikit-learn as PNG files in class folders."""
        from ouvroir.media.image.samples import write_digits

        return write_digits(folder)

    def render(self, source: Source, *, max_edge_px: int) -> Rendering:
        """The picture as JPEG or, when small or grey, PNG, its longer side at most `max_edge_px`. Raises Refused."""
        limits = self.limits
        picture = decode(source.read(limits.max_bytes), source.name, limits, at_least_px=max_edge_px)
        image = picture.image
        image.thumbnail((max_edge_px, max_edge_px))
        kind = "PNG" if max(image.size) <= 64 or image.mode == "L" else "JPEG"
        file = io.BytesIO()
        image.save(file, kind, **({"quality": 85} if kind == "JPEG" else {}))
        return Rendering(f"image/{kind.lower()}", file.getvalue())


def pixels_of(rows: TableSlice) -> Tensor:
    """(B, H, W, C) uint8, as they are packed."""
    from torch import Tensor

    pixels = rows.fields["pixel_values"]
    assert isinstance(pixels, Tensor)
    return pixels


def to_floats(pixels: Tensor) -> Tensor:
    """uint8 levels as numbers in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(pictures: Tensor) -> Tensor:
    """Numbers in [-1, 1] as uint8 levels; what lies beyond is cut."""
    import torch

    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
