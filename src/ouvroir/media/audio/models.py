"""AdvancedAudioModel: a residual network over spectrograms, cepstra or raw waves, pooled by attention.

Waves come in as they are stored; the spectrogram is made inside, so that exported files carry it.

Axes: B rows, T samples, M bands, F frames, C channels, D width of the pooled vector, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional

from ouvroir.layers import Head, Pool, through
from ouvroir.media.audio.spectra import LogMel, cosines, masked, usual_bands

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.audio.processor import AudioProcessor
    from ouvroir.media.audio.recipes import Options
    from ouvroir.recipe import Recipe

KERNELS = (3, 5, 7)  # of the block that looks at three scales at once
_WIDTH = {"tiny": 16, "small": 24, "base": 48}
_DEPTH = {"tiny": 1, "small": 1, "base": 2}
N_STAGES = 3
_RAW_STRIDES = (4, 4, 5)  # of the stem for raw waves: 80 samples for one frame


class Spectrogram(nn.Module):
    """Waves to (B, 1, M, F): log-mel bands."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.n_bands = usual_bands(rate)
        self.mel = LogMel(rate, self.n_bands)

    def forward(self, wave: Tensor, warp: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """wave: (B, T); warp: (B,) places in WARPS; hidden: (B, 4), see `masked`."""
        seen = self.mel(wave, warp)
        if hidden is not None:
            seen = masked(seen, hidden)
        found: Tensor = seen[:, None]
        return found


class Cepstra(nn.Module):
    """Waves to (B, 3, N_CEPSTRA, F): cepstra, and how they change, and how that changes."""

    turn: Tensor

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.mel = LogMel(rate, usual_bands(rate))
        self.register_buffer("turn", cosines(usual_bands(rate)), persistent=False)

    def forward(self, wave: Tensor, warp: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """As `Spectrogram`."""
        seen = self.mel(wave, warp)
        if hidden is not None:
            seen = masked(seen, hidden)
        found = self.turn @ seen
        change = functional.pad(found, (1, 1), mode="replicate")
        change = (change[:, :, 2:] - change[:, :, :-2]) / 2
        again = functional.pad(change, (1, 1), mode="replicate")
        again = (again[:, :, 2:] - again[:, :, :-2]) / 2
        return torch.stack([found, change, again], dim=1)


class Raw(nn.Module):
    """Waves to (B, 1, M, F) by convolutions along time that are learned: M filters, a frame for 80 samples."""

    def __init__(self, n_bands: int) -> None:
        super().__init__()
        widths = (1, n_bands // 2, n_bands, n_bands)
        self.convs = nn.ModuleList(
            nn.Conv1d(before, after, 2 * stride + 1, stride=stride, padding=stride, bias=False)
            for before, after, stride in zip(widths, widths[1:], _RAW_STRIDES, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths[1:])

    def forward(self, wave: Tensor, warp: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """As `Spectrogram`; a throat is not made longer here."""
        del warp
        x = wave.float()
        x = x / x.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-4)
        x = x[:, None]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = functional.relu(norm(conv(x)))
        return (x if hidden is None else masked(x, hidden))[:, None]


class Scales(nn.Module):
    """Three convolutions of different kernels beside each other, of stride 2, fused by one of kernel 1."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        narrow = -(-width // len(KERNELS))
        self.branches = nn.ModuleList(
            nn.Conv2d(width_in, narrow, kernel, stride=2, padding=kernel // 2, bias=False) for kernel in KERNELS
        )
        self.fuse = nn.Conv2d(narrow * len(KERNELS), width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W). Returns (B, D, H/2, W/2)."""
        found: Tensor = functional.relu(self.norm(self.fuse(torch.cat([branch(x) for branch in self.branches], dim=1))))
        return found


class Block(nn.Module):
    """Residual block of two convolutions with batch normalisation: x + γ·f(x); γ, one number a channel, starts at `scale`."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.scale = nn.Parameter(torch.full((width, 1, 1), scale))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W), kept."""
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        found: Tensor = x + y * self.scale
        return found


class Stage(nn.Sequential):
    """A convolution to another width, of stride 2 where asked for, and residual blocks."""

    def __init__(self, width_in: int, width: int, depth: int, scale: float, stride: int) -> None:
        super().__init__(
            nn.Conv2d(width_in, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            *(Block(width, scale) for _ in range(depth)),
        )


class AdvancedAudioModel(nn.Module):
    """Waves to logits. Parts, input first: `input`, `stem`, `scales`, `stage1` to the last, `pool`, `head`.

    `class_weight` (K,) weighs the loss; it is set from the train rows before training and saved with the weights.
    """

    class_weight: Tensor
    per_class: ClassVar[Mapping[str, int]] = {"head.out.weight": 0, "head.out.bias": 0}
    """Arrays with an axis of classes, and which."""

    def __init__(self, body: dict[str, nn.Module], pool: Pool, head: Head, n_classes: int) -> None:
        super().__init__()
        self.body = nn.ModuleDict(body)
        self.pool = pool
        self.head = head
        self.register_buffer("class_weight", torch.ones(n_classes))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""
        return [*self.body.items(), ("pool", self.pool), ("head", self.head)]

    def embed(
        self, wave: Tensor, warp: Tensor | None = None, hidden: Tensor | None = None, part: str = "head"
    ) -> Tensor:
        """The output of all parts before `part`: (B, D) before the head, (B, C, H, W) before the others after the input."""
        if part == "input":
            return wave
        return through(self.parts()[1:], self.body["input"](wave, warp, hidden), end=part)

    def forward(
        self,
        wave: Tensor,
        warp: Tensor | None = None,
        hidden: Tensor | None = None,
        masks: Sequence[Tensor] = (),
        features: Tensor | None = None,
        part: str = "head",
    ) -> Tensor:
        """Logits (B, K) float32.

        wave: (B, T), int16 or in any scale; not looked at when `features`, the output of all parts before `part`, are given.
        warp, hidden: see `Spectrogram`; masks: for dropout in the head, see `Head`.
        """
        x = self.embed(wave, warp, hidden) if features is None else through(self.parts(), features, begin=part)
        logits: Tensor = self.head(x, masks)
        return logits


def build(recipe: Recipe, processor: AudioProcessor) -> AdvancedAudioModel:
    """The network for a recipe, with initial weights drawn from torch's global generator."""
    options: Options = recipe.options
    preset, n_classes = recipe.model.preset, len(processor.labels)
    scale, ratio = recipe.constants.value("alpha"), recipe.constants.value("phi")
    assert scale is not None, "alpha has an ordinary value"
    inputs: dict[str, nn.Module] = {
        "mel": Spectrogram(processor.rate),
        "mfcc": Cepstra(processor.rate),
        "raw": Raw(usual_bands(processor.rate)),
    }
    width, depth = _WIDTH[preset], _DEPTH[preset]
    n_channels = 3 if options.inputs == "mfcc" else 1
    stem = Stage(n_channels, width, 0, scale, stride=2)
    body: dict[str, nn.Module] = {"input": inputs[options.inputs], "stem": stem, "scales": Scales(width, 2 * width)}
    width *= 2
    for number in range(1, N_STAGES + 1):
        after = width * (2 if number == 2 else 1)
        body[f"stage{number}"] = Stage(width, after, depth, scale, stride=2 if number == 2 else 1)
        width = after
    for module in nn.ModuleList(body.values()).modules():
        if isinstance(module, nn.Conv2d | nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    pool = Pool(width, recipe.constants.value("pi"))
    return AdvancedAudioModel(body, pool, Head(width, n_classes, ratio), n_classes)


def mel_of(model: AdvancedAudioModel) -> LogMel | None:
    """What makes log-mel bands inside a model; None where it hears raw waves."""
    found = model.body["input"]
    return found.mel if isinstance(found, Spectrogram | Cepstra) else None
