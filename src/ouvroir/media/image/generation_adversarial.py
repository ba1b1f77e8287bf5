"""Image generation by contest: a net that makes pictures of a class, taught by one that tells them from real ones.

The nets and what is done to pictures on the way are in adversarial.py. torch is imported by the methods that need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field as Setting

from ouvroir.classification import adopt_by_name
from ouvroir.constants import ALPHA
from ouvroir.errors import UsageError
from ouvroir.making import left_out, weights_of
from ouvroir.media.image.making import MakingOptions, PictureMaker, pieces
from ouvroir.media.image.processor import ImageProcessor
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Batch, Example, Loss, Made, Processor, StepOutput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.media.image.adversarial import AdversarialModel
    from ouvroir.rng import Rng

DISCRIMINATOR_LR, GENERATOR_RATE = 2e-3, 0.1
"""The peak rate, and the share of it at which the generator learns: 2e-4."""
N_JUDGED = 8
"""Pictures that are made for each held-out one, to judge the generator by."""


@dataclass(frozen=True, kw_only=True)
class Options(MakingOptions):
    """Settings that only adversarial picture generation has."""

    class_late: Annotated[float, Setting(ge=0, lt=1)] = setting(
        0.6,
        "Share of the steps after which the class counts in full, from a third of it on a little; 0 is from the start.",
    )


class AdversarialImageGeneration(PictureMaker):
    """Latent numbers to pictures of a class, or of none, in one pass. See `ouvroir.task.Synthesiser`.

    In training each loss of `step` is that of the part of its name, as the loop in `training.adversarial` has it.
    """

    name: ClassVar[str] = "image-generation-adversarial"
    Options: ClassVar[type] = Options
    loop: ClassVar[Literal["fit", "adversarial"]] = "adversarial"
    varies: ClassVar[bool] = False

    def scheduled(self, recipe: Recipe, n_train: int) -> Recipe:
        """Adam without momentum at a level rate, the generator's a part of the discriminator's (Heusel 2017, arXiv 1706.08500).

        Steps by the root of the number of pictures. With equal rates the samples of a class hardly differed from each other on
        400 digits (recall under .05, against .2 and more), whether the rate fell or not.
        """
        steps = float(np.clip(100 * n_train**0.5, 1500, 20_000))
        batch = 64
        found = recipe.replace(
            "optim",
            name="adam",
            lr=DISCRIMINATOR_LR,
            weight_decay=0.0,
            momentum=0.0,
            beta2=0.99,
            schedule="constant",
            ema=0.995,
            max_grad_norm=0.0,
            part_decay=GENERATOR_RATE,
        )
        return found.replace("loop", batch_size=batch, epochs=round(steps * batch / n_train, 1))

    # --- model --------------------------------------------------------------------------------------------------------

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """Both nets with initial weights."""
        from ouvroir.media.image.adversarial import WIDTHS, AdversarialModel

        assert isinstance(processor, ImageProcessor)
        ratio, scale = recipe.constants.value("phi"), recipe.constants.value("alpha")
        assert ratio is not None, "phi has an ordinary value"
        assert scale is not None, "alpha has an ordinary value"
        return AdversarialModel(
            n_channels=processor.n_channels,
            n_classes=len(processor.labels),
            edge_px=processor.storage_px,
            width=WIDTHS[recipe.model.preset],
            ratio=ratio,
            scale=scale,
        )

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; vectors of classes are matched by name."""
        per_class = {"generator.label.weight": 1, "discriminator.label.weight": 1}
        return adopt_by_name(_network(model), processor.labels, weights, labels, per_class=per_class)

    def network(self, recipe: Recipe) -> str:
        """As of `ouvroir.task.Task`."""
        del recipe
        return "a generator and a discriminator that learn against each other"

    def constants(self, recipe: Recipe) -> Mapping[str, str]:
        """As of `ouvroir.task.Task`."""
        del recipe
        return {"phi": "Channels fall by this ratio from one size of the picture to the next.", "alpha": ALPHA.use}

    def parts(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        """The two that learn against each other."""
        network = _network(model)
        return [("generator", network.generator), ("discriminator", network.discriminator)]

    # --- training -----------------------------------------------------------------------------------------------------

    def step(self, model: nn.Module, batch: Batch, recipe: Recipe, *, rng: Rng, training: bool) -> StepOutput:
        """In training the hinge losses of both parts (Miyato 2018), each of which is to teach its own part only.

        In judging the energy score of pictures made for each row, always from the same latent numbers.
        """
        if not training:
            return self._judged(model, batch, rng)
        import torch
        from torch.nn import functional

        from ouvroir.media.image.adversarial import N_LATENTS, changed, conditioning
        from ouvroir.media.image.pictures import to_floats

        network, options = _network(model), recipe.options
        assert isinstance(options, Options)
        labels = left_out(weights_of(batch["labels"], network.n_classes), options.label_dropout, rng)
        conditioned = conditioning(rng.step, recipe.loop.steps, options.class_late)
        made = network.generator(rng.normal("latents", (N_LATENTS,)), labels, conditioned)
        real = changed(to_floats(batch["pixel_values"]), rng, "real")
        both = torch.cat([real, changed(made, rng, "made")])
        scores = network.discriminator(both, torch.cat([labels, labels]), conditioned).float()
        of_real, of_made = scores.chunk(2)
        told = functional.relu(1 - of_real) + functional.relu(1 + of_made)
        n_items = torch.ones(len(told), dtype=torch.int64, device=told.device)
        losses = {"generator": Loss(-of_made, n_items), "discriminator": Loss(told, n_items)}
        return StepOutput(losses=losses, outputs=made)

    def _judged(self, model: nn.Module, batch: Batch, rng: Rng) -> StepOutput:
        import torch

        from ouvroir.media.image.adversarial import N_LATENTS, energy
        from ouvroir.media.image.pictures import to_floats
        from ouvroir.rng import Rng

        network = _network(model)
        rng = Rng(rng.seed, 0, batch["index"])  # by the row, and not by its place in a batch
        labels = weights_of(batch["labels"], network.n_classes)
        latents = rng.normal("latents", (N_JUDGED, N_LATENTS))
        made = torch.stack([network.generator(latents[:, number], labels).float() for number in range(N_JUDGED)])
        per_row = energy(made, to_floats(batch["pixel_values"]))
        n_items = torch.ones(len(per_row), dtype=torch.int64, device=per_row.device)
        return StepOutput(losses={"energy": Loss(per_row, n_items)}, outputs=made[0])

    # --- using --------------------------------------------------------------------------------------------------------

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`latents`: (2, E) float32; `labels`: (2, K + 1)."""
        import torch

        from ouvroir.media.image.adversarial import N_LATENTS

        labels = torch.zeros(2, len(processor.labels) + 1)
        labels[:, -1] = 1
        return {"latents": torch.linspace(-1, 1, 2 * N_LATENTS).view(2, N_LATENTS), "labels": labels}

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
        """New pictures as PNG files that say that they are synthetic: one for each of `labels`, None being of no class.

        Raises UsageError for variations of parents, which it cannot make.
        """
        import torch

        from ouvroir.media.image.adversarial import N_LATENTS

        del recipe, begin
        if parents is not None:
            raise UsageError(
                f"A generator of {self.name} makes new pictures and no variations of given ones. Train one with "
                "`--task image-generation`, which makes both."
            )
        assert isinstance(processor, ImageProcessor)
        network = _network(model).eval()

        def paint(rng: Rng, weights: Tensor, first: int) -> Tensor:
            del first
            with torch.no_grad():
                found: Tensor = network(rng.normal("latents", (N_LATENTS,)), weights).float()
            return found

        return pieces(labels, processor, paint, seed=seed, device=device)


def _network(model: nn.Module) -> AdversarialModel:
    from ouvroir.media.image.adversarial import AdversarialModel

    assert isinstance(model, AdversarialModel)
    return model
