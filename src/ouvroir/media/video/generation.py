"""Video generation: new clips of a class, from a latent that a flow leads to, with the style of a clip as second condition.

The network and the style are in filming.py. torch is imported by the methods that need it.
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
from ouvroir.making import FlowMaker, label_weights, left_out, shifted_views, train_classes, weights_of
from ouvroir.media.video.decode import MOST_FPS
from ouvroir.media.video.encode import as_mp4
from ouvroir.media.video.processor import VideoProcessor
from ouvroir.media.video.recipes import look_at, sampling
from ouvroir.media.video.videos import Videos
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Batch, Example, Made, Note, Processor, StepOutput
from ouvroir.windows import first_of, first_windows, pieces_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table, TableSlice
    from ouvroir.media.video.filming import ClipMaker
    from ouvroir.rng import Rng

AT_ONCE = 16  # samples; always so many, so that a sample does not depend on how many are asked for
USUAL_PX, USUAL_FRAMES = 32, 8
STATISTICS_ROWS, ROWS_AT_ONCE = 1000, 64
_ENLARGED = 2  # colours of a file are stored at half the size: each pixel becomes four
_QUALITY = 8
_CLIP_WEIGHT = 10.0  # of the clips in the loss, beside the flow of their latents
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
        None, "Frames of what is made, and of each video learned from; worked out from the data, at most 8."
    )
    label_dropout: Annotated[float, Setting(ge=0, lt=1)] = setting(
        0.1, "Share of the rows that are learned from without their class, so that clips of no class can be made too."
    )
    shift: Annotated[float, Setting(ge=0, le=0.5)] = setting(
        0.1,
        "Pictures are moved by up to this share of their edge, in learning; 0 where the place is what tells the classes apart.",
    )
    guidance: Annotated[float, Setting(ge=1)] = setting(
        1.0, "How far samples go towards their class; more than 1 makes them more typical and less varied."
    )
    sample_steps: Annotated[int, Setting(ge=1)] = setting(20, "Steps from noise to the latent of a clip.")


class VideoGeneration(FlowMaker, Videos):
    """Noise to clips of a class, or of none. See `ouvroir.task.Synthesiser`."""

    name: ClassVar[str] = "video-generation"
    Options: ClassVar[type] = Options
    varies: ClassVar[bool] = True
    network_words: ClassVar[str] = "a decoder of clips, and a flow from noise to what it decodes"

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
        steps = float(np.clip(120 * n_train**0.5, 1500, 12_000))
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
            batch = self.collate(first_windows(table, places))
            styles.append(style_of(batch["frames"]))
            classes.append(_one_class(batch["labels"]))
        order = torch.randperm(sum(map(len, styles)), generator=torch.Generator().manual_seed(0))
        _network(model).keep(torch.cat(styles)[order], torch.cat(classes)[order])

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; vectors of classes are matched by name, styles are of these videos."""
        per_class = {"flow.condition.label.weight": 1, "decoder.label.weight": 1}
        own = ("styles", "styles_of", "style_mean", "style_std")
        return adopt_by_name(_network(model), processor.labels, weights, labels, per_class=per_class, own=own)

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """coder, flow, decoder."""
        return _network(model).parts()

    # --- training -----------------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """Move the clips a little in training. Latents and noise are drawn in `step`."""
        share = recipe.options.shift
        if not training or not share:
            return batch
        from ouvroir.media.video.filming import shifted

        most = share * batch["frames"].shape[2]
        across, down = ((most * (2 * rng.uniform(name) - 1)).round().long() for name in ("across", "down"))
        return {**batch, "frames": shifted(batch["frames"], across, down)}

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """How far decoded clips are from those that were coded, and how far the velocity of latents from that of the flow."""
        import torch

        from ouvroir.media.video.filming import JITTER, clip_loss
        from ouvroir.rng import Rng
        from ouvroir.task import Loss

        network = _network(model)
        if not training:  # by the row, and not by its place in a batch
            rng = Rng(rng.seed, 0, batch["index"])
        maps, style = network.maps(batch["frames"]), network.style(batch["frames"])
        labels = weights_of(batch["labels"], network.n_classes)
        jitter = JITTER * rng.normal("jitter", (network.n_latent,))
        if training:
            labels = left_out(labels, recipe.options.label_dropout, rng)
        phi = recipe.constants.phi
        times = rng.uniform("time") if phi == "ordinary" else rng.spread("time", 1 / phi)
        found, velocity, wanted = model(jitter, labels, style, maps, rng.normal("noise", (network.n_latent,)), times)
        per_row = _CLIP_WEIGHT * clip_loss(found, maps) + (velocity.float() - wanted).square().mean(dim=1)
        n_items = torch.ones(len(per_row), dtype=torch.int64, device=per_row.device)
        return StepOutput(losses={"clip": Loss(per_row, n_items)}, outputs=found)

    # --- using --------------------------------------------------------------------------------------------------------

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`z`: (2, D) latents; `labels`: (2, K + 1); `style`: (2, 7). What comes out are maps (2, 12, T, H/2, W/2) in [-1, 1]."""
        import torch

        from ouvroir.media.video.filming import N_LATENT, N_STYLES

        assert isinstance(processor, VideoProcessor)
        labels = torch.zeros(2, len(processor.labels) + 1)
        labels[:, -1] = 1
        style = torch.linspace(-1, 1, 2 * N_STYLES).view(2, N_STYLES)
        z = torch.linspace(-1, 1, 2 * N_LATENT).view(2, N_LATENT)
        return {"z": z, "labels": labels, "style": style}

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


def _network(model: nn.Module) -> ClipMaker:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.video.filming import ClipMaker

    inner = getattr(model, "module", model)
    assert isinstance(inner, ClipMaker)
    return inner


def _made(
    network: ClipMaker,
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
    from ouvroir.rng import Rng

    n_latent = network.n_latent
    for start in range(0, len(labels), AT_ONCE):
        mine = labels[start : start + AT_ONCE]
        weights = torch.from_numpy(label_weights([*mine, *[None] * (AT_ONCE - len(mine))], processor.labels)).to(device)
        rng = Rng(seed, 0, torch.arange(start, start + AT_ONCE, device=device))
        x = rng.normal("sample", (n_latent,))
        style = network.drawn(weights, rng.uniform("style"))
        with torch.no_grad():
            if parents is not None:
                some = [parents[min(start + number, len(parents) - 1)]["frames"][0] for number in range(AT_ONCE)]
                frames = torch.from_numpy(np.stack(some)).to(device)
                coded = network.latents(network.maps(frames))
                x, _ = on_the_way(coded, x, torch.full((AT_ONCE,), begin, device=device))
                style = network.style(frames)
            z = follow(network.flow, x, weights, steps=options.sample_steps, guidance=options.guidance, begin=begin)
            maps = network.painted(torch.nn.functional.layer_norm(z, (n_latent,)), weights, style)
        for made, label in zip(network.frames(maps).cpu().numpy(), mine, strict=False):
            yield _as_made(made, processor.fps, {"label": label or "", "seed": str(seed)})


def _as_made(frames: np.ndarray, fps: float, facts: Mapping[str, str]) -> Made:
    """An MP4 file that says of itself that it is synthetic."""
    large = frames.repeat(_ENLARGED, axis=1).repeat(_ENLARGED, axis=2)
    told = "; ".join(["synthetic: true", *(f"{name}: {value}" for name, value in facts.items())])
    return Made(".mp4", as_mp4(large, fps, {"title": "Ouvroir", "comment": told}, quality=_QUALITY))
