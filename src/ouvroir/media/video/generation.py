"""Video generation: new clips of a class, by a flow over space and time with the style of a clip as second condition.

The flow is that of `ouvroir.flow`, in three dimensions; the network and the style are in filming.py. torch is imported by the
methods that need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.classification import adopt_by_name
from ouvroir.making import Maker, label_weights, shifted_views, train_classes
from ouvroir.media.video.decode import MOST_FPS
from ouvroir.media.video.encode import as_mp4
from ouvroir.media.video.processor import VideoProcessor
from ouvroir.media.video.recipes import look_at, sampling
from ouvroir.media.video.videos import Videos
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Batch, Example, Made, Note, Processor, StepOutput
from ouvroir.windows import first_of, pieces_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table, TableSlice
    from ouvroir.media.video.filming import ClipFlow
    from ouvroir.rng import Rng

AT_ONCE = 16  # samples; always so many, so that a sample does not depend on how many are asked for
USUAL_PX, USUAL_FRAMES = 32, 8
STATISTICS_ROWS, ROWS_AT_ONCE = 1000, 64
_ENLARGED = 2  # colours of a file are stored at half the size: each pixel becomes four
_QUALITY = 8
_VIEWED = 4  # frames of a clip that copies are looked for by


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that only video generation has."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    storage_px: Annotated[int, Setting(ge=8, le=64)] = setting(
        USUAL_PX, "Edge of the clips that are learned from and made; twice the edge takes four times as long."
    )
    fps: Annotated[float, Setting(gt=0, le=MOST_FPS)] | None = setting(
        None, "Frames a second of what is learned from and made; worked out from the data, at most 10."
    )
    n_frames: Annotated[int, Setting(ge=4, le=64)] | None = setting(
        None, "Frames of what is made, and of each video that are learned from; worked out from the data, at most 8."
    )
    label_dropout: Annotated[float, Setting(ge=0, lt=1)] = setting(
        0.1, "Share of the rows that are learned from without their class, so that clips of no class can be made too."
    )
    guidance: Annotated[float, Setting(ge=1)] = setting(
        1.0, "How far samples go towards their class; more than 1 makes them more typical and less varied."
    )
    sample_steps: Annotated[int, Setting(ge=1)] = setting(10, "Steps from noise to a clip.")


class VideoGeneration(Maker, Videos):
    """Noise to clips of a class, or of none. See `ouvroir.task.Synthesiser`."""

    name: ClassVar[str] = "video-generation"
    Options: ClassVar[type] = Options
    varies: ClassVar[bool] = True

    # --- data ---------------------------------------------------------------------------------------------------------

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these videos."""
        look = look_at(manifest.rows)
        fps, n_frames = sampling(look, USUAL_FRAMES)
        notes = []
        if (look.seconds > 1.2 * n_frames / fps).mean() > 0.05:
            notes.append(
                Note(
                    "short_clips_made",
                    f"Clips of {n_frames / fps:.1f} s are made, from the beginnings of the videos that there are. Longer ones "
                    "take as much longer.",
                    {"options.n_frames": str(2 * n_frames)},
                )
            )
        chosen = Recipe(
            task=self.name,
            data=manifest.data,
            model=recipes.Model(preset=preset, init_from=init_from),  # type: ignore[arg-type]
            options=Options(fps=fps, n_frames=n_frames),
        )
        return self.scheduled(chosen, look.n_train), notes

    def scheduled(self, recipe: Recipe, n_train: int) -> Recipe:
        """Steps by the root of the number of videos; an average over the last tenth of them."""
        steps = float(np.clip(40 * n_train**0.5, 600, 8000))
        batch = 16
        found = recipe.replace("optim", lr=2e-3, ema=round(1 - 10 / steps, 4), max_grad_norm=1.0)
        return found.replace("loop", batch_size=batch, epochs=round(steps * batch / max(1, n_train), 1))

    def augments(self, recipe: Recipe) -> bool:
        """Always: the noise is new at each step."""
        del recipe
        return True

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> VideoProcessor:
        """Classes of the train rows, none where they have none; sampling and size, as `earlier` has them."""
        assert earlier is None or isinstance(earlier, VideoProcessor)
        options: Options = recipe.options
        usual_fps, usual_frames = sampling(look_at(manifest.rows), USUAL_FRAMES)
        fps = earlier.fps if earlier else options.fps or usual_fps
        n_frames = earlier.n_frames if earlier else options.n_frames or usual_frames
        return VideoProcessor(
            labels=train_classes(manifest),
            is_multi_label=manifest.is_multi_label,
            fps=fps,
            n_frames=n_frames,
            storage_px=earlier.storage_px if earlier else options.storage_px,
            most_seconds=n_frames / fps,
        )

    # --- model --------------------------------------------------------------------------------------------------------

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights."""
        from ouvroir.media.video.filming import build

        assert isinstance(processor, VideoProcessor)
        return build(recipe, processor)

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """The styles of train clips: mean, deviation, and some to draw those of new clips from."""
        import torch

        from ouvroir.media.video.filming import style_of

        del recipe
        styles, classes = [], []
        for places in pieces_of(len(table), STATISTICS_ROWS, ROWS_AT_ONCE):
            batch = self.collate(table.slice(places))
            styles.append(style_of(batch["frames"]))
            classes.append(_one_class(batch["labels"]))
        order = torch.randperm(sum(map(len, styles)), generator=torch.Generator().manual_seed(0))
        _network(model).keep(torch.cat(styles)[order], torch.cat(classes)[order])

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; vectors of classes are matched by name, styles are of these videos."""
        per_class = {"flow.condition.label.weight": 1}
        own = ("styles", "styles_of")
        return adopt_by_name(_network(model), processor.labels, weights, labels, per_class=per_class, own=own)

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """condition, down, middle, up, out."""
        return _network(model).flow.parts()

    # --- training -----------------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """As it is: the noise is added in `step`."""
        del recipe, rng, training
        return batch

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """How far the velocity is from that of the flow: `ouvroir.flow.flow_step`."""
        from ouvroir.flow import flow_step

        network = _network(model)
        maps, style, n_classes = network.maps(batch["frames"]), network.style(batch["frames"]), network.flow.n_classes
        return flow_step(model, maps, batch, recipe, n_classes=n_classes, rng=rng, training=training, style=style)

    # --- using --------------------------------------------------------------------------------------------------------

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`x`: (2, 12, T, H/2, W/2) float32; `times`: (2,); `labels`: (2, K + 1); `style`: (2, 7)."""
        import torch

        from ouvroir.media.video.filming import N_STYLES, map_shape

        assert isinstance(processor, VideoProcessor)
        shape = map_shape(processor)
        labels = torch.zeros(2, len(processor.labels) + 1)
        labels[:, -1] = 1
        x = torch.linspace(-1, 1, 2 * int(np.prod(shape))).view(2, *shape)
        style = torch.linspace(-1, 1, 2 * N_STYLES).view(2, N_STYLES)
        return {"x": x, "times": torch.tensor([0.25, 0.75]), "labels": labels, "style": style}

    def make(
        self,
        model: nn.Module,
        processor: Processor,
        recipe: Recipe,
        labels: Sequence[str | None],
        *,
        seed: int,
        device: str,
        parents: Sequence[Example] | None = None,
        begin: float = 0.0,
    ) -> Iterator[Made]:
        """New clips as MP4 files that say that they are synthetic: one for each of `labels`, None being of no class."""
        assert isinstance(processor, VideoProcessor)
        label_weights(labels, processor.labels)  # which refuses a class that is not known
        return _made(_network(model).eval(), processor, recipe.options, labels, seed, device, parents, begin)

    def mix(
        self, processor: Processor, first: Sequence[Example], second: Sequence[Example], shares: Sequence[float]
    ) -> Iterator[Made]:
        """Weighted means of two clips, frame by frame."""
        assert isinstance(processor, VideoProcessor)
        for one, other, share in zip(first, second, shares, strict=True):
            mixed = share * one["frames"][0].astype(np.float32) + (1 - share) * other["frames"][0]
            yield _as_made(mixed.round().astype(np.uint8), processor.fps, {"mixture": f"{share:.4f}"})

    def views(self, rows: TableSlice) -> Tensor:
        """Small copies of some frames, as they are and moved by a pixel in eight directions."""
        import torch

        frames = first_of(rows.fields["frames"])
        places = torch.linspace(0, frames.shape[1] - 1, _VIEWED).round().long()
        return shifted_views(frames[:, places].float().mean(dim=4) / 255)


def _one_class(labels: Tensor) -> Tensor:
    """(B,) int64, the first class of rows that may have several."""
    return labels if labels.ndim == 1 else labels.argmax(dim=1)


def _network(model: nn.Module) -> ClipFlow:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.video.filming import ClipFlow

    inner = getattr(model, "module", model)
    assert isinstance(inner, ClipFlow)
    return inner


def _made(
    network: ClipFlow,
    processor: VideoProcessor,
    options: Options,
    labels: Sequence[str | None],
    seed: int,
    device: str,
    parents: Sequence[Example] | None,
    begin: float,
) -> Iterator[Made]:
    import torch

    from ouvroir.flow import follow, on_the_way
    from ouvroir.media.video.filming import map_shape
    from ouvroir.rng import Rng

    for start in range(0, len(labels), AT_ONCE):
        mine = labels[start : start + AT_ONCE]
        weights = torch.from_numpy(label_weights([*mine, *[None] * (AT_ONCE - len(mine))], processor.labels)).to(device)
        rng = Rng(seed, 0, torch.arange(start, start + AT_ONCE, device=device))
        x = rng.normal("sample", map_shape(processor))
        style = network.drawn(weights, rng.uniform("style"))
        if parents is not None:
            some = [parents[min(start + number, len(parents) - 1)]["frames"][0] for number in range(AT_ONCE)]
            frames = torch.from_numpy(np.stack(some)).to(device)
            x, _ = on_the_way(network.maps(frames), x, torch.full((AT_ONCE,), begin, device=device))
            style = network.style(frames)
        maps = follow(
            network, x, weights, steps=options.sample_steps, guidance=options.guidance, begin=begin, style=style
        )
        for frames, label in zip(network.frames(maps).cpu().numpy(), mine, strict=False):
            yield _as_made(frames, processor.fps, {"label": label or "", "seed": str(seed)})


def _as_made(frames: np.ndarray, fps: float, facts: Mapping[str, str]) -> Made:
    """An MP4 file that says of itself that it is synthetic."""
    large = frames.repeat(_ENLARGED, axis=1).repeat(_ENLARGED, axis=2)
    told = "; ".join(["synthetic: true", *(f"{name}: {value}" for name, value in facts.items())])
    return Made(".mp4", as_mp4(large, fps, {"title": "Ouvroir", "comment": told}, quality=_QUALITY))
