"""Image generation: new pictures of a class, by a flow that is learned from the train pictures.

The network and the way along the flow are in flow.py. torch is imported by the methods that need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field as Setting

from ouvroir.classification import adopt_by_name
from ouvroir.making import FlowMaker
from ouvroir.media.image.making import AT_ONCE, MakingOptions, PictureMaker, pieces
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Batch, Example, Made, Processor, StepOutput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.flow import FlowModel
    from ouvroir.rng import Rng


@dataclass(frozen=True, kw_only=True)
class Options(MakingOptions):
    """Settings that only picture generation has."""

    guidance: Annotated[float, Setting(ge=1)] = setting(
        1.0, "How far samples go towards their class; more than 1 makes them more typical and less varied."
    )
    sample_steps: Annotated[int, Setting(ge=1)] = setting(10, "Steps from noise to a picture.")


class ImageGeneration(FlowMaker, PictureMaker):
    """Noise to pictures of a class, or of none. See `ouvroir.task.Synthesiser`."""

    name: ClassVar[str] = "image-generation"
    Options: ClassVar[type] = Options
    varies: ClassVar[bool] = True
    network_words: ClassVar[str] = "a U-Net that follows a flow from noise to pictures"

    def scheduled(self, recipe: Recipe, n_train: int) -> Recipe:
        """Steps by the root of the number of pictures; an average over the last tenth of them."""
        steps = float(np.clip(40 * n_train**0.5, 600, 8000))
        batch = 64
        found = recipe.replace("optim", lr=2e-3, ema=round(1 - 10 / steps, 4), max_grad_norm=1.0)
        return found.replace("loop", batch_size=batch, epochs=round(steps * batch / n_train, 1))

    # --- model --------------------------------------------------------------------------------------------------------

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights."""
        from ouvroir.flow import WIDTHS, FlowModel

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

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; vectors of classes are matched by name."""
        per_class = {"condition.label.weight": 1}
        return adopt_by_name(_network(model), processor.labels, weights, labels, per_class=per_class)

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """condition, down, middle, up, out."""
        return _network(model).parts()

    # --- training -----------------------------------------------------------------------------------------------------

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """How far the velocity is from that of the flow: `ouvroir.flow.flow_step`."""
        from ouvroir.flow import flow_step
        from ouvroir.media.image.pictures import to_floats

        pictures, n_classes = to_floats(batch["pixel_values"]), _network(model).n_classes
        return flow_step(model, pictures, batch, recipe, n_classes=n_classes, rng=rng, training=training)

    # --- using --------------------------------------------------------------------------------------------------------

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

        from ouvroir.flow import follow, on_the_way
        from ouvroir.media.image.pictures import to_floats

        assert isinstance(processor, ImageProcessor)
        options: Options = recipe.options
        network = _network(model).eval()
        size = (processor.n_channels, processor.storage_px, processor.storage_px)

        def paint(rng: Rng, weights: Tensor, first: int) -> Tensor:
            x = rng.normal("sample", size)
            if parents is not None:
                mine = parents[first : first + AT_ONCE]
                stacked = np.stack([mine[min(number, len(mine) - 1)]["pixel_values"] for number in range(AT_ONCE)])
                real = to_floats(torch.from_numpy(stacked).permute(0, 3, 1, 2).to(device))
                x, _ = on_the_way(real, x, torch.full((AT_ONCE,), begin, device=device))
            return follow(network, x, weights, steps=options.sample_steps, guidance=options.guidance, begin=begin)

        return pieces(labels, processor, paint, seed=seed, device=device)


def _network(model: nn.Module) -> FlowModel:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.flow import FlowModel

    inner = getattr(model, "module", model)
    assert isinstance(inner, FlowModel)
    return inner
