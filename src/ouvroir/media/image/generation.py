"""Image generation: new pictures of a class, by a flow that is learned from the train pictures.

The network and the way along the flow are in flow.py. torch is imported by the methods that need it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
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
from ouvroir.task import Answers, Batch, Cheap, Example, Loss, Made, Note, Prediction, Processor, Row, StepOutput

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table, TableSlice
    from ouvroir.media.image.flow import FlowModel
    from ouvroir.rng import Rng

LEAST_PX, MOST_PX = 8, 64
USUAL_PX = 32  # of pictures larger than 40 px; twice the edge is four times the time
_VIEW_PX = 16
_AT_ONCE = 64  # samples; always so many, so that a sample does not depend on how many are asked for
_SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{_SYNTHETIC}"/></rdf:RDF></x:xmpmeta>'
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that only picture generation has."""

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
    guidance: Annotated[float, Setting(ge=1)] = setting(
        1.0, "How far samples go towards their class; more than 1 makes them more typical and less varied."
    )
    sample_steps: Annotated[int, Setting(ge=1)] = setting(10, "Steps from noise to a picture.")


class ImageGeneration(Pictures):
    """Noise to pictures of a class, or of none. See `ouvroir.task.Synthesiser`."""

    name: ClassVar[str] = "image-generation"
    Options: ClassVar[type] = Options
    needs_labels: ClassVar[bool] = False
    synthesiser: ClassVar[str | None] = None
    varies: ClassVar[bool] = True

    # --- data ---------------------------------------------------------------------------------------------------------

    def unjudged(self, row: Row, processor: Processor) -> str | None:
        """Every picture can be judged: by how well the flow to it is known."""
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
        options = Options(
            storage_px=min(edge, MOST_PX),
            aspect="stretch" if look.kind == "photographs" else "pad",
            colour="grey" if look.is_grey else "rgb",
            flip="horizontal" if mirrors(look) else "never",
        )
        chosen = Recipe(task=self.name, model=recipes.Model(preset=preset, init_from=init_from), options=options)  # type: ignore[arg-type]
        steps = float(np.clip(40 * look.n_train**0.5, 600, 8000))
        batch = 64
        chosen = chosen.replace("optim", lr=2e-3, ema=round(1 - 10 / steps, 4), max_grad_norm=1.0)
        return chosen.replace("loop", batch_size=batch, epochs=round(steps * batch / look.n_train, 1)), notes

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
        options: Options = recipe.options
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
        known = [[place[name] for name in _names(row.label) if name in place] for row in rows]
        nothing = len(processor.labels)
        if not processor.is_multi_label:
            return {"labels": np.array([places[0] if places else nothing for places in known], dtype=np.int64)}
        found = np.zeros((len(rows), nothing + 1), dtype=np.float32)
        for number, places in enumerate(known):
            found[number, places or [nothing]] = 1
        return {"labels": found}

    # --- model --------------------------------------------------------------------------------------------------------

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights."""
        from ouvroir.media.image.flow import WIDTHS, FlowModel

        assert isinstance(processor, ImageProcessor)
        scale = recipe.constants.value("alpha")
        assert scale is not None, "alpha has an ordinary value"
        return FlowModel(
            n_channels=processor.n_channels,
            n_classes=len(processor.labels),
            width=WIDTHS[recipe.model.preset],
            scale=scale,
            pi=recipe.constants.value("pi"),
        )

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """Nothing: levels are scaled alike for all data."""

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; vectors of classes are matched by name."""
        import torch

        network = _network(model)
        own = network.state_dict()
        per_class = "condition.label.weight"
        kept = {
            name: value
            for name, value in weights.items()
            if name in own and name != per_class and own[name].shape == value.shape
        }
        lost = [name for name in own if name not in kept and name != per_class]
        network.load_state_dict(kept, strict=False)
        earlier = weights.get(per_class)
        n_mapped = 0
        if earlier is not None and earlier.shape[0] == own[per_class].shape[0]:
            with torch.no_grad():
                network.condition.label.weight[:, -1] = earlier[:, -1]
                for number, label in enumerate(processor.labels):
                    if label in labels:
                        network.condition.label.weight[:, number] = earlier[:, labels.index(label)]
                        n_mapped += 1
        return adoption_sentences(processor.labels, labels, n_mapped, n_kept=len(kept), n_lost=len(lost))

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """condition, down, middle, up, out."""
        return _network(model).parts()

    # --- training -----------------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> Batch:
        """Mirror half of the pictures, where the recipe says so, in training."""
        import torch

        options: Options = recipe.options
        if not training or options.flip == "never":
            return batch
        pixels = batch["pixel_values"]
        is_turned = rng.uniform("flip") < 0.5
        return {**batch, "pixel_values": torch.where(is_turned[:, None, None, None], pixels.flip(3), pixels)}

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """Mean squared error of the velocity at one time of each row, drawn anew at each step; always the same in judging.

        The times are frac(i/φ + a) for row i, a being drawn for each step: evenly spread over every batch, however small. The
        ordinary way draws each time for itself.
        """
        import torch

        from ouvroir.media.image.flow import on_the_way, to_floats
        from ouvroir.rng import Rng

        options: Options = recipe.options
        if not training:  # by the row, and not by its place in a batch
            rng = Rng(rng.seed, 0, batch["index"])
        pictures = to_floats(batch["pixel_values"])
        noise = rng.normal("noise", tuple(pictures.shape[1:]))
        labels = _weights_of(batch["labels"], _network(model).n_classes)
        if training and options.label_dropout:
            nothing = torch.zeros_like(labels)
            nothing[:, -1] = 1
            is_left_out = rng.uniform("label") < options.label_dropout
            labels = torch.where(is_left_out[:, None], nothing, labels)
        phi = recipe.constants.phi
        times = rng.uniform("time") if phi == "ordinary" else rng.spread("time", 1 / phi)
        x, wanted = on_the_way(pictures, noise, times)
        velocity = model(x, times, labels).float()
        per_row = (velocity - wanted).square().flatten(1).mean(dim=1)
        n_items = torch.ones(len(per_row), dtype=torch.int64, device=per_row.device)
        return StepOutput(losses={"flow": Loss(per_row, n_items)}, outputs=velocity)

    def features(self, model: nn.Module, batch: Batch, part: str) -> Tensor:
        """Never asked for: the noise is new at each step, so nothing is ever cached."""
        del model, batch
        raise AssertionError(part)

    # --- judging and using --------------------------------------------------------------------------------------------

    def metrics_for(self, processor: Processor) -> tuple[str, ...]:
        """The loss on pictures that were not learned from: it rises when those that were are learned by heart."""
        del processor
        return ("loss",)

    def answers(self, batch: Batch, output: StepOutput, processor: Processor) -> Answers:
        """The losses of the rows, on the CPU."""
        del processor
        loss = output.losses["flow"]
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

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`x`: (2, C, H, W) float32; `times`: (2,); `labels`: (2, K + 1)."""
        import torch

        assert isinstance(processor, ImageProcessor)
        edge = processor.storage_px
        size = (2, processor.n_channels, edge, edge)
        labels = torch.zeros(2, len(processor.labels) + 1)
        labels[:, -1] = 1
        x = torch.linspace(-1, 1, 2 * processor.n_channels * edge**2).view(size)
        return {"x": x, "times": torch.tensor([0.25, 0.75]), "labels": labels}

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
        """New pictures as PNG files that say that they are synthetic: one for each of `labels`, None being of no class."""
        import torch

        from ouvroir.media.image.flow import follow, on_the_way, to_floats, to_pixels
        from ouvroir.rng import Rng

        assert isinstance(processor, ImageProcessor)
        options: Options = recipe.options
        network = _network(model).eval()
        edge, n_channels = processor.storage_px, processor.n_channels
        for start in range(0, len(labels), _AT_ONCE):
            asked = labels[start : start + _AT_ONCE]
            padded = [*asked, *[None] * (_AT_ONCE - len(asked))]
            weights = torch.from_numpy(_label_weights(padded, processor.labels)).to(device)
            places = torch.arange(start, start + _AT_ONCE, device=device)
            x = Rng(seed, 0, places).normal("sample", (n_channels, edge, edge))
            if parents is not None:
                mine = parents[start : start + _AT_ONCE]
                stacked = np.stack([mine[min(number, len(mine) - 1)]["pixel_values"] for number in range(_AT_ONCE)])
                real = to_floats(torch.from_numpy(stacked).permute(0, 3, 1, 2).to(device))
                x, _ = on_the_way(real, x, torch.full((_AT_ONCE,), begin, device=device))
            found = follow(network, x, weights, steps=options.sample_steps, guidance=options.guidance, begin=begin)
            pixels = to_pixels(found).permute(0, 2, 3, 1).cpu().numpy()
            for picture, label in zip(pixels, asked, strict=False):
                yield Made(".png", _png(picture, {"label": label or "", "seed": str(seed)}))

    def mix(
        self, processor: Processor, first: Sequence[Example], second: Sequence[Example], shares: Sequence[float]
    ) -> Iterator[Made]:
        """Weighted means of two pictures, as PNG files that say that they are synthetic."""
        del processor
        for one, other, share in zip(first, second, shares, strict=True):
            mixed = share * one["pixel_values"].astype(np.float32) + (1 - share) * other["pixel_values"]
            yield Made(".png", _png(mixed.round().astype(np.uint8), {"mixture": f"{share:.4f}"}))

    def views(self, rows: TableSlice) -> Tensor:
        """Small copies, as they are and moved by a pixel in eight directions."""
        return shifted_views(pixels_of(rows).permute(0, 3, 1, 2))


def _network(model: nn.Module) -> FlowModel:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.image.flow import FlowModel

    inner = getattr(model, "module", model)
    assert isinstance(inner, FlowModel)
    return inner


def _names(label: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if label is None else (label,) if isinstance(label, str) else label


def _weights_of(labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """(B, K + 1) float32, from class numbers (B,) or as they are."""
    from torch.nn import functional

    if labels.ndim == 2:
        return labels
    return functional.one_hot(labels, n_classes + 1).float()


def _label_weights(asked: Sequence[str | None], labels: Sequence[str]) -> np.ndarray:
    """(B, K + 1) float32 of 0 and 1. Raises UsageError."""
    place = {label: number for number, label in enumerate(labels)}
    found = np.zeros((len(asked), len(labels) + 1), dtype=np.float32)
    for number, label in enumerate(asked):
        if label is not None and label not in place:
            known = ", ".join(labels[:10]) + (", …" if len(labels) > 10 else "")
            raise UsageError(f"The generator knows no class `{label}`. It knows: {known}.")
        found[number, len(labels) if label is None else place[label]] = 1
    return found


def _png(picture: np.ndarray, facts: Mapping[str, str]) -> bytes:
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
