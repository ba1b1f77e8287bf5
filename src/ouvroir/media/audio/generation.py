"""Sound generation: new sounds of a class, by a flow over spectrograms whose phases are found again afterwards.

The flow is that of `ouvroir.flow`; spectra.py makes spectrograms of waves and waves of spectrograms. torch is imported by the
methods that need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Setting

from ouvroir import recipe as recipes
from ouvroir.classification import adopt_by_name
from ouvroir.making import FlowMaker, label_weights, shifted_views, train_classes
from ouvroir.media.audio.decode import usual_rate
from ouvroir.media.audio.encode import as_wav
from ouvroir.media.audio.processor import AudioProcessor
from ouvroir.media.audio.recipes import HIGHEST_HZ, look_at, window_seconds
from ouvroir.media.audio.sounds import Sounds
from ouvroir.recipe import Recipe, setting
from ouvroir.task import Batch, Example, Made, Note, Processor, StepOutput
from ouvroir.windows import first_windows, pieces_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ouvroir.data.manifest import Manifest
    from ouvroir.data.table import Table, TableSlice
    from ouvroir.media.audio.speaking import SoundFlow
    from ouvroir.rng import Rng

AT_ONCE = 32  # samples; always so many, so that a sample does not depend on how many are asked for
LONGEST_S = 2.0  # of what is made, unless the recipe says otherwise
STATISTICS_ROWS, ROWS_AT_ONCE = 1000, 128
QUIET = 0.01  # of the loudest sample; what is quieter at both ends of a made sound is cut off
_MADE_LOUD = 0.7  # of the largest value there is
_VIEW_FRAME = 256


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that only sound generation has."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    rate: Annotated[int, Setting(ge=4000, le=48_000)] | None = setting(
        None, "Samples a second of what is learned from and made; worked out from the data, at most 16000."
    )
    window_s: Annotated[float, Setting(ge=0.1, le=10)] | None = setting(
        None, "Seconds of what is made at most, and of each sound that are learned from; worked out from the data."
    )
    label_dropout: Annotated[float, Setting(ge=0, lt=1)] = setting(
        0.1, "Share of the rows that are learned from without their class, so that sounds of no class can be made too."
    )
    guidance: Annotated[float, Setting(ge=1)] = setting(
        1.0, "How far samples go towards their class; more than 1 makes them more typical and less varied."
    )
    sample_steps: Annotated[int, Setting(ge=1)] = setting(10, "Steps from noise to a spectrogram.")
    phase_steps: Annotated[int, Setting(ge=1)] = setting(40, "Steps in which the phases of a spectrogram are found.")


class AudioGeneration(FlowMaker, Sounds):
    """Noise to sounds of a class, or of none. See `ouvroir.task.Synthesiser`."""

    name: ClassVar[str] = "audio-generation"
    Options: ClassVar[type] = Options
    varies: ClassVar[bool] = True
    network_words: ClassVar[str] = "a U-Net that follows a flow from noise to spectrograms"

    # --- data ---------------------------------------------------------------------------------------------------------

    def recipe(self, manifest: Manifest, preset: str, *, init_from: str = "scratch") -> tuple[Recipe, list[Note]]:
        """The recipe proposed for these sounds."""
        look = look_at(manifest.rows)
        window = min(window_seconds(look), LONGEST_S)
        notes = []
        if (look.seconds > 1.2 * window).mean() > 0.05:
            notes.append(
                Note(
                    "short_sounds_made",
                    f"Sounds of up to {window:g} s are made, from the beginnings of the sounds that there are. Longer ones take as "
                    "much longer.",
                    {"options.window_s": f"{2 * window:g}"},
                )
            )
        chosen = Recipe(
            task=self.name,
            data=manifest.data,
            model=recipes.Model(preset=preset, init_from=init_from),  # type: ignore[arg-type]
            options=Options(rate=usual_rate(look.rates, HIGHEST_HZ), window_s=window),
        )
        return self.scheduled(chosen, look.n_train), notes

    def scheduled(self, recipe: Recipe, n_train: int) -> Recipe:
        """Steps by the root of the number of sounds; an average over the last tenth of them."""
        steps = float(np.clip(40 * n_train**0.5, 600, 8000))
        batch = 32
        found = recipe.replace("optim", lr=2e-3, ema=round(1 - 10 / steps, 4), max_grad_norm=1.0)
        return found.replace("loop", batch_size=batch, epochs=round(steps * batch / max(1, n_train), 1))

    def augments(self, recipe: Recipe) -> bool:
        """Always: the noise is new at each step."""
        del recipe
        return True

    def fit_processor(self, manifest: Manifest, recipe: Recipe, *, earlier: Processor | None = None) -> AudioProcessor:
        """Classes of the train rows, none where they have none; rate and window, as `earlier` has them."""
        assert earlier is None or isinstance(earlier, AudioProcessor)
        options: Options = recipe.options
        look = look_at(manifest.rows)
        rate = earlier.rate if earlier else options.rate or usual_rate(look.rates, HIGHEST_HZ)
        seconds = options.window_s or min(window_seconds(look), LONGEST_S)
        return AudioProcessor(
            labels=train_classes(manifest),
            is_multi_label=manifest.is_multi_label,
            rate=rate,
            window=earlier.window if earlier else round(seconds * rate),
            most_seconds=seconds,
        )

    # --- model --------------------------------------------------------------------------------------------------------

    def build_model(self, recipe: Recipe, processor: Processor) -> nn.Module:
        """The network with initial weights."""
        from ouvroir.media.audio.speaking import build

        assert isinstance(processor, AudioProcessor)
        return build(recipe, processor)

    def prepare_model(self, model: nn.Module, table: Table, recipe: Recipe) -> None:
        """Mean and deviation of each band over train sounds."""
        del recipe
        _network(model).mel.measure(
            self.collate(first_windows(table, places))["wave"]
            for places in pieces_of(len(table), STATISTICS_ROWS, ROWS_AT_ONCE)
        )

    def adopt(
        self, model: nn.Module, processor: Processor, weights: Mapping[str, Tensor], labels: tuple[str, ...]
    ) -> list[str]:
        """Load an earlier model as far as shapes agree; vectors of classes are matched by name."""
        per_class = {"flow.condition.label.weight": 1}
        return adopt_by_name(_network(model), processor.labels, weights, labels, per_class=per_class)

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
        maps, n_classes = network.maps(batch["wave"]), network.flow.n_classes
        return flow_step(model, maps, batch, recipe, n_classes=n_classes, rng=rng, training=training)

    # --- using --------------------------------------------------------------------------------------------------------

    def export_inputs(self, processor: Processor) -> dict[str, Tensor]:
        """`x`: (2, 4, H, W) float32; `times`: (2,); `labels`: (2, K + 1)."""
        import torch

        from ouvroir.media.audio.speaking import map_shape

        assert isinstance(processor, AudioProcessor)
        shape = map_shape(processor)
        labels = torch.zeros(2, len(processor.labels) + 1)
        labels[:, -1] = 1
        x = torch.linspace(-1, 1, 2 * int(np.prod(shape))).view(2, *shape)
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
        """New sounds as WAV files that say that they are synthetic: one for each of `labels`, None being of no class."""
        assert isinstance(processor, AudioProcessor)
        label_weights(labels, processor.labels)  # which refuses a class that is not known
        return _made(_network(model).eval(), processor, recipe.options, labels, seed, device, parents, begin)

    def mix(
        self, processor: Processor, first: Sequence[Example], second: Sequence[Example], shares: Sequence[float]
    ) -> Iterator[Made]:
        """Weighted sums of two sounds, each as loud as the other."""
        assert isinstance(processor, AudioProcessor)
        for one, other, share in zip(first, second, shares, strict=True):
            a, b = (_even(example["wave"][0]) for example in (one, other))
            yield _as_made(share * a + (1 - share) * b, processor.rate, {"mixture": f"{share:.4f}"})

    def views(self, rows: TableSlice) -> Tensor:
        """Small spectrograms, as they are and moved a little in time and pitch."""
        import torch

        wave = self.collate(rows)["wave"].float()
        window = torch.hann_window(_VIEW_FRAME)
        spectrum = torch.stft(wave, _VIEW_FRAME, _VIEW_FRAME // 4, window=window, return_complex=True)[:, 1:]
        power = spectrum.abs().square()
        loud = (power / power.mean(dim=(1, 2), keepdim=True).clamp_min(1e-6) + 1e-4).log()
        n = loud.shape[1]
        edges = (n ** (torch.arange(17) / 16)).round().long()
        bands = [loud[:, max(0, int(a) - 1) : max(int(a), int(b))].mean(dim=1) for a, b in pairwise(edges)]
        return shifted_views(torch.stack(bands, dim=1)[:, None])


def _network(model: nn.Module) -> SoundFlow:
    """The network itself, out of a wrapper for several processes."""
    from ouvroir.media.audio.speaking import SoundFlow

    inner = getattr(model, "module", model)
    assert isinstance(inner, SoundFlow)
    return inner


def _made(
    network: SoundFlow,
    processor: AudioProcessor,
    options: Options,
    labels: Sequence[str | None],
    seed: int,
    device: str,
    parents: Sequence[Example] | None,
    begin: float,
) -> Iterator[Made]:
    import torch

    from ouvroir.flow import follow, on_the_way
    from ouvroir.media.audio.speaking import map_shape
    from ouvroir.rng import Rng, key

    for start in range(0, len(labels), AT_ONCE):
        mine = labels[start : start + AT_ONCE]
        weights = torch.from_numpy(label_weights([*mine, *[None] * (AT_ONCE - len(mine))], processor.labels)).to(device)
        x = Rng(seed, 0, torch.arange(start, start + AT_ONCE, device=device)).normal("sample", map_shape(processor))
        if parents is not None:
            some = [parents[min(start + number, len(parents) - 1)]["wave"][0] for number in range(AT_ONCE)]
            real = network.maps(torch.from_numpy(np.stack(some)).to(device))
            x, _ = on_the_way(real, x, torch.full((AT_ONCE,), begin, device=device))
        maps = follow(network.flow, x, weights, steps=options.sample_steps, guidance=options.guidance, begin=begin)
        waves = network.waves(maps, seed=key(seed, "phase") >> 1, steps=options.phase_steps)
        for wave, label in zip(waves.cpu().numpy(), mine, strict=False):
            yield _as_made(wave, processor.rate, {"label": label or "", "seed": str(seed)})


def _even(wave: np.ndarray) -> np.ndarray:
    found: np.ndarray = wave.astype(np.float32)
    return found / max(1.0, float(np.sqrt((found**2).mean())))


def _as_made(wave: np.ndarray, rate: int, facts: Mapping[str, str]) -> Made:
    """A WAV file, its silent ends cut off, that says of itself that it is synthetic."""
    loud = np.flatnonzero(np.abs(wave) > QUIET * np.abs(wave).max(initial=1e-9))
    least = max(1, rate // 20)
    first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(wave))
    if last - first < least:
        first, last = 0, max(len(wave), least)
    part = np.pad(wave[first:last], (0, max(0, least - (last - first))))
    scaled = part / max(1e-9, float(np.abs(part).max())) * (_MADE_LOUD * 32767)
    told = "; ".join(["synthetic: true", *(f"{name}: {value}" for name, value in facts.items())])
    return Made(".wav", as_wav(np.rint(scaled).astype(np.int16), rate, {"ISFT": "Ouvroir", "ICMT": told}))
