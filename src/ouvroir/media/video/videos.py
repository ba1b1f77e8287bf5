"""What all tasks on videos share: how videos are opened, packed, cut into clips, put into batches and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ouvroir.errors import UsageError
from ouvroir.media import ANIMATED_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES
from ouvroir.media.video.decode import decode, decoder, inspect_video
from ouvroir.media.video.encode import animated
from ouvroir.media.video.french import FRENCH
from ouvroir.media.video.processor import VideoProcessor
from ouvroir.source import FOLDER, Source, folder_locator, source_of
from ouvroir.task import Batch, Facts, Input, Items, Limits, Processor, Rendering
from ouvroir.windows import first_of, items_of

if TYPE_CHECKING:
    from ouvroir.data.table import Table, TableSlice

SHOWN_FPS, SHOWN_SECONDS, SHOWN_PX = 8.0, 3.0, 96


class Videos:
    """The part of a Task that is the same whatever is done with videos."""

    suffixes: ClassVar[frozenset[str]] = VIDEO_SUFFIXES | ANIMATED_SUFFIXES | {FOLDER}
    limits: ClassVar[Limits] = Limits(max_bytes=1024**3, max_seconds=300.0, max_memory_bytes=6 * 1024**3)
    reads_text: ClassVar[bool] = False
    loop: ClassVar[Literal["fit", "adversarial"]] = "fit"
    export_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {}
    french: ClassVar[Mapping[str, str]] = FRENCH

    def inspect(self, source: Source, limits: Limits) -> Facts:
        """Open one video at admission. Raises Refused."""
        return inspect_video(source, limits)

    def decoder(self) -> str:
        """FFmpeg, through PyAV."""
        return decoder()

    def load_processor(self, folder: Path) -> VideoProcessor:
        """Read what `VideoProcessor.save` wrote."""
        return VideoProcessor.load(folder)

    def items(self, table: Table, processor: Processor, *, training: bool) -> Items:
        """One draw is one clip of a video."""
        del processor, training
        return items_of(table)

    def collate(self, rows: TableSlice) -> Batch:
        """`frames` (B, T, H, W, 3) uint8, the first clip of what was cut out of each row; `labels`, `weight`, `index`."""
        return {
            "frames": first_of(rows.fields["frames"]),
            "weight": rows.weight,
            "index": rows.index,
            **rows.targets,
        }

    def as_source(self, given: Input) -> Source:
        """Paths, that of a folder of frames among them, and bytes."""
        if isinstance(given, str | Path) and Path(given).is_dir():
            path = Path(given).absolute()
            return Source(root=str(path.parent), locator=folder_locator(f"{path.name}/", IMAGE_SUFFIXES))
        if isinstance(given, Source | str | Path | bytes):
            return source_of(given)
        raise UsageError(f"A {type(given).__name__} is no video. Give a path or bytes.")

    def sample(self, folder: Path) -> int:
        """Moving shapes as MP4 files in class folders."""
        from ouvroir.media.video.samples import write_shapes

        return write_shapes(folder)

    def render(self, source: Source, *, max_edge_px: int) -> Rendering:
        """The first seconds as an animated picture. Raises Refused."""
        limits = self.limits
        edge = min(max_edge_px, SHOWN_PX)
        clip = decode(
            source.read(limits.max_bytes),
            source.name,
            limits,
            fps=SHOWN_FPS,
            px=edge,
            most_seconds=SHOWN_SECONDS,
            is_folder=source.locator.endswith(FOLDER),
        )
        shown = animated(clip.frames, SHOWN_FPS, width=_width(clip.width, clip.height, edge), height=edge)
        return Rendering("image/webp", shown)


def _width(width: int, height: int, edge: int) -> int:
    return int(np.clip(round(edge * width / max(1, height)), edge // 2, 2 * edge))
