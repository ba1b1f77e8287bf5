"""ClipFlow: the flow over clips, and the style that is its second condition.

Axes: B rows, T frames, H and W height and width, S numbers of a style, N styles kept of train clips, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from ouvroir.flow import WIDTHS, FlowModel

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.video.processor import VideoProcessor
    from ouvroir.recipe import Recipe

FOLD = 2  # places along an edge that become channels: a quarter of the positions, and of the time
N_STYLES = 7
N_KEPT = 256  # styles of train clips, from which those of new clips are drawn
_LEAST_SPREAD = 1e-3


def map_shape(processor: VideoProcessor) -> tuple[int, int, int, int]:
    """(12, T, H/2, W/2) of the maps of clips."""
    edge = -(-processor.storage_px // FOLD)
    return 3 * FOLD**2, processor.n_frames, edge, edge


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


class ClipFlow(nn.Module):
    """Velocity of maps of clips for a class and a style. A map is a clip in [-1, 1], 2 x 2 pixels of it folded to channels.

    `style_mean` and `style_std` (S,) are those of the train clips; `styles` (N, S) are some of theirs, in deviations from the mean,
    and `styles_of` (N,) the classes of these, K for none. All are saved with the weights.
    """

    style_mean: Tensor
    style_std: Tensor
    styles: Tensor
    styles_of: Tensor

    def __init__(self, *, px: int, n_classes: int, width: int, scale: float, pi: float | None) -> None:
        super().__init__()
        self.px = px
        self.flow = FlowModel(
            n_channels=3 * FOLD**2, n_classes=n_classes, width=width, scale=scale, pi=pi, n_dims=3, n_styles=N_STYLES
        )
        self.register_buffer("style_mean", torch.zeros(N_STYLES))
        self.register_buffer("style_std", torch.ones(N_STYLES))
        self.register_buffer("styles", torch.zeros(N_KEPT, N_STYLES))
        self.register_buffer("styles_of", torch.full((N_KEPT,), n_classes, dtype=torch.int64))

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

    def forward(self, x: Tensor, times: Tensor, labels: Tensor, style: Tensor) -> Tensor:
        """Velocity (B, 12, T, H/2, W/2) at x, times (B,), labels (B, K + 1) and style (B, S)."""
        found: Tensor = self.flow(x, times, labels, style)
        return found


def build(recipe: Recipe, processor: VideoProcessor) -> ClipFlow:
    """The network for a recipe, with initial weights drawn from torch's global generator."""
    scale = recipe.constants.value("alpha")
    assert scale is not None, "alpha has an ordinary value"
    return ClipFlow(
        px=processor.storage_px,
        n_classes=len(processor.labels),
        width=WIDTHS[recipe.model.preset],
        scale=scale,
        pi=recipe.constants.value("pi"),
    )
