"""ClipMaker: clips as a few numbers, the way from noise to these for a class, and the style that is a second condition.

A coder turns a clip into its latent, a vector of length √D; a decoder of transposed convolutions over space and time turns
latent, class and style into a clip; a flow leads from noise to latents of a class. So the movement of a clip is one thing that
is drawn once, and making it takes one pass through the decoder.

Axes: B rows, T frames, H and W height and width, D numbers of a latent, S numbers of a style, N styles kept of train clips,
K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from ouvroir.flow import Condition, on_the_way
from ouvroir.layers import Conv3d, group_norm

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.video.processor import VideoProcessor
    from ouvroir.recipe import Recipe

FOLD = 2  # pixels along an edge that become channels: a quarter of the positions
N_STYLES = 7
N_KEPT = 256  # styles of train clips, from which those of new clips are drawn
WIDTHS = {"tiny": 16, "small": 24, "base": 48}
N_LATENT = 48
JITTER = 0.3  # deviation of what is added to latents in learning, so that near ones give near clips
_FLOW_WIDTH, _FLOW_BLOCKS = 4, 3  # times the size of a latent; residual blocks
_OF_CHANGE = 20.0  # how much more a place counts in learning that is far from its mean over time
_LEAST_SPREAD = 1e-3


def style_of(frames: Tensor) -> Tensor:
    """(B, 7) of frames (B, T, H, W, 3): mean of each colour, contrast, amount of change, and its direction across and down.

    The direction is the movement of least squares under constant brightness (Lucas and Kanade 1981), one for the whole clip.
    """
    x = frames.float() / 127.5 - 1
    grey = x.mean(dim=4)
    change = grey[:, 1:] - grey[:, :-1]
    middle = (grey[:, 1:] + grey[:, :-1]) / 2
    across = functional.pad((middle[..., 2:] - middle[..., :-2]) / 2, (1, 1))
    down = functional.pad((middle[..., 2:, :] - middle[..., :-2, :]) / 2, (0, 0, 1, 1))

    def total(values: Tensor) -> Tensor:
        return values.flatten(1).mean(dim=1)

    aa, dd, ad = total(across * across), total(down * down), total(across * down)
    ta, td = total(change * across), total(change * down)
    whole = (aa * dd - ad * ad).clamp_min(1e-8)
    right, lower = -(dd * ta - ad * td) / whole, -(aa * td - ad * ta) / whole
    moved = torch.stack([right, lower], dim=1).clamp(-3, 3)
    colours = x.mean(dim=(1, 2, 3))
    return torch.cat([colours, grey.flatten(1).std(dim=1)[:, None], total(change.abs())[:, None], moved], dim=1)


class Coder(nn.Sequential):
    """Maps (B, 12, T, h, w) to latents (B, D), not yet of unit size; every place of the smallest map has a say."""

    def __init__(self, shape: tuple[int, int, int, int], width: int, n_latent: int) -> None:
        channels, grid = shape[0], smallest(shape)
        super().__init__(
            Conv3d(channels, width, 3, stride=(1, 2, 2), padding=1),
            group_norm(width),
            nn.SiLU(),
            Conv3d(width, 2 * width, 3, stride=2, padding=1),
            group_norm(2 * width),
            nn.SiLU(),
            Conv3d(2 * width, 4 * width, 3, stride=2, padding=1),
            group_norm(4 * width),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(4 * width * grid[0] * grid[1] * grid[2], n_latent),
        )


class Decoder(nn.Module):
    """Latents (B, D), labels (B, K + 1) and style (B, S) to maps (B, 12, T, h, w), as differences from the mean colours."""

    def __init__(self, shape: tuple[int, int, int, int], width: int, n_latent: int, n_classes: int) -> None:
        super().__init__()
        self.shape, self.grid, self.width = shape, smallest(shape), 4 * width
        n_first = self.width * self.grid[0] * self.grid[1] * self.grid[2]
        self.latent = nn.Linear(n_latent, n_first)
        self.label = nn.Linear(n_classes + 1, n_first, bias=False)
        self.style = nn.Linear(N_STYLES, n_first, bias=False)
        self.layers = nn.Sequential(
            group_norm(4 * width),
            nn.SiLU(),
            nn.ConvTranspose3d(4 * width, 2 * width, 4, stride=2, padding=1),
            group_norm(2 * width),
            nn.SiLU(),
            nn.ConvTranspose3d(2 * width, 2 * width, 4, stride=2, padding=1),
            group_norm(2 * width),
            nn.SiLU(),
            nn.ConvTranspose3d(2 * width, width, (3, 4, 4), stride=(1, 2, 2), padding=1),
            group_norm(width),
            nn.SiLU(),
            Conv3d(width, shape[0], 3, padding=1),
        )

    def forward(self, z: Tensor, labels: Tensor, style: Tensor) -> Tensor:
        """The maps, cut to their size."""
        first = self.latent(z) + self.label(labels) + self.style(style)
        found: Tensor = self.layers(first.view(-1, self.width, *self.grid))
        return found[:, :, : self.shape[1], : self.shape[2], : self.shape[3]]


class LatentFlow(nn.Module):
    """Velocity (B, D) of latents for a class: residual blocks whose scale and shift are linear in time and class (FiLM)."""

    def __init__(self, n_latent: int, n_classes: int, scale: float, pi: float | None) -> None:
        super().__init__()
        width = _FLOW_WIDTH * n_latent
        self.condition = Condition(n_classes, width, pi)
        self.first = nn.Linear(n_latent, width)
        self.films = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(_FLOW_BLOCKS))
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(_FLOW_BLOCKS))
        self.outer = nn.ModuleList(nn.Linear(width, width) for _ in range(_FLOW_BLOCKS))
        self.scales = nn.ParameterList(nn.Parameter(torch.full((width,), scale)) for _ in range(_FLOW_BLOCKS))
        self.out = nn.Linear(width, n_latent)

    def forward(self, x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """x: (B, D); times: (B,); labels: (B, K + 1)."""
        known = self.condition(times, labels)
        x = self.first(x)
        for film, inner, outer, scale in zip(self.films, self.inner, self.outer, self.scales, strict=True):
            gain, shift = film(known).chunk(2, dim=1)
            y = functional.layer_norm(x, x.shape[1:]) * (1 + gain) + shift
            x = x + outer(functional.silu(inner(y))) * scale
        found: Tensor = self.out(functional.silu(x))
        return found


def smallest(shape: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """(T/4, h/8, w/8), upwards: the map that a latent is laid out on."""
    return -(-shape[1] // 4), -(-shape[2] // 8), -(-shape[3] // 8)


class ClipMaker(nn.Module):
    """Coder, flow and decoder. A map is a clip in [-1, 1], 2 x 2 pixels of it folded to channels.

    `style_mean` and `style_std` (S,) are those of the train clips; `styles` (N, S) are some of theirs, in deviations from the mean,
    and `styles_of` (N,) the classes of these, K for none. All are saved with the weights.
    """

    style_mean: Tensor
    style_std: Tensor
    styles: Tensor
    styles_of: Tensor

    def __init__(
        self,
        *,
        px: int,
        n_frames: int,
        n_classes: int,
        width: int,
        scale: float,
        pi: float | None,
    ) -> None:
        super().__init__()
        n_latent = N_LATENT
        edge = -(-px // FOLD)
        shape = (3 * FOLD**2, n_frames, edge, edge)
        self.px, self.n_latent, self.n_classes = px, n_latent, n_classes
        self.coder = Coder(shape, width, n_latent)
        self.flow = LatentFlow(n_latent, n_classes, scale, pi)
        self.decoder = Decoder(shape, width, n_latent, n_classes)
        self.register_buffer("style_mean", torch.zeros(N_STYLES))
        self.register_buffer("style_std", torch.ones(N_STYLES))
        self.register_buffer("styles", torch.zeros(N_KEPT, N_STYLES))
        self.register_buffer("styles_of", torch.full((N_KEPT,), n_classes, dtype=torch.int64))

    def parts(self) -> list[tuple[str, nn.Module]]:
        """Ordered named stages that together hold all parameters."""
        return [("coder", self.coder), ("flow", self.flow), ("decoder", self.decoder)]

    def maps(self, frames: Tensor) -> Tensor:
        """(B, 12, T, H/2, W/2) of frames (B, T, H, W, 3)."""
        x = (frames.float() / 127.5 - 1).permute(0, 1, 4, 2, 3)
        pad = -self.px % FOLD
        x = functional.pad(x.flatten(0, 1), (0, pad, 0, pad), mode="replicate")
        folded = functional.pixel_unshuffle(x, FOLD)
        return folded.view(*frames.shape[:2], *folded.shape[1:]).transpose(1, 2).contiguous()

    def frames(self, maps: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 of maps (B, 12, T, H/2, W/2)."""
        each = maps.float().transpose(1, 2)
        x = functional.pixel_shuffle(each.flatten(0, 1), FOLD)[:, :, : self.px, : self.px]
        levels = ((x.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return levels.reshape(*each.shape[:2], *levels.shape[1:])

    def style(self, frames: Tensor) -> Tensor:
        """(B, S), in deviations from the mean of the train clips."""
        return (style_of(frames) - self.style_mean) / self.style_std

    @torch.no_grad()
    def keep(self, styles: Tensor, classes: Tensor) -> None:
        """Take mean, deviation and styles from those of train clips: styles (M, S) as `style_of` gives, classes (M,)."""
        self.style_mean.copy_(styles.mean(dim=0))
        self.style_std.copy_(styles.std(dim=0, correction=0).clamp_min(_LEAST_SPREAD))
        places = torch.arange(N_KEPT) % len(styles)
        self.styles.copy_((styles[places] - self.style_mean) / self.style_std)
        self.styles_of.copy_(classes[places])

    def drawn(self, weights: Tensor, draws: Tensor) -> Tensor:
        """(B, S): for each row a style of its class, of any where it has none: weights (B, K + 1), draws (B,) in [0, 1)."""
        fits = weights[:, self.styles_of] > 0
        is_any = (weights[:, -1] > 0) | ~fits.any(dim=1)
        fits = (fits | is_any[:, None]).long()
        wanted = (draws * fits.sum(dim=1)).long()
        place = (fits.cumsum(dim=1) > wanted[:, None]).long().argmax(dim=1)
        return self.styles[place]

    def latents(self, maps: Tensor) -> Tensor:
        """(B, D), of length √D each."""
        return functional.layer_norm(self.coder(maps).float(), (self.n_latent,))

    def forward(
        self,
        z: Tensor,
        labels: Tensor,
        style: Tensor,
        maps: Tensor | None = None,
        noise: Tensor | None = None,
        times: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Maps of the clips with latents z (B, D), labels (B, K + 1) and style (B, S).

        In learning, `maps` are those of real clips, z is added to their latents, and `noise` (B, D) and `times` (B,) are of the
        flow: then what comes back are the maps, the velocity of the flow, and what it should be.
        """
        if maps is None or noise is None or times is None:
            return self.painted(z, labels, style)
        coded = self.latents(maps)
        x, wanted = on_the_way(coded.detach(), noise, times)
        velocity = self.flow(x, times, labels)
        return self.painted(coded + z, labels, style), velocity, wanted

    def painted(self, z: Tensor, labels: Tensor, style: Tensor) -> Tensor:
        """Maps (B, 12, T, H/2, W/2): what the decoder gives, on the mean colours of the style."""
        colours = style[:, :3] * self.style_std[:3] + self.style_mean[:3]
        ground = colours.repeat_interleave(FOLD**2, dim=1)[:, :, None, None, None]
        found: Tensor = ground + self.decoder(z, labels, style).float()
        return found


def shifted(frames: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Frames (B, T, H, W, 3) moved by whole pixels (B,), those at the edge staying where nothing comes after them."""
    n_rows, _, height, width, _ = frames.shape
    y = (torch.arange(height, device=frames.device) - down[:, None]).clamp(0, height - 1)
    x = (torch.arange(width, device=frames.device) - across[:, None]).clamp(0, width - 1)
    rows = torch.arange(n_rows, device=frames.device)[:, None, None]
    return frames.transpose(1, 3)[rows, x[:, :, None], y[:, None, :]].transpose(1, 2).permute(0, 3, 1, 2, 4)


def clip_loss(found: Tensor, maps: Tensor) -> Tensor:
    """(B,): mean squared difference; places count the more, the further they are from their mean over time."""
    moved = (maps - maps.mean(dim=2, keepdim=True)).abs()
    weight = 1 + _OF_CHANGE * moved
    return ((found - maps).square() * weight).flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1)


def build(recipe: Recipe, processor: VideoProcessor) -> ClipMaker:
    """The network for a recipe, with initial weights drawn from torch's global generator."""
    scale = recipe.constants.value("alpha")
    assert scale is not None, "alpha has an ordinary value"
    return ClipMaker(
        px=processor.storage_px,
        n_frames=processor.n_frames,
        n_classes=len(processor.labels),
        width=WIDTHS[recipe.model.preset],
        scale=scale,
        pi=recipe.constants.value("pi"),
    )
