"""The networks that both sides of a benchmark train: floats in, logits out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ouvroir.media.image.models import ConceptualImageModel


def mlp(n_classes: int = 10) -> nn.Module:
    """784-64-64-10, the network of Lightning's own MNIST tutorial without its dropout."""
    return _dense(28 * 28, 64, 64, n_classes)


def wide_mlp(n_classes: int = 10) -> nn.Module:
    """784-256-128-10: four times the arithmetic."""
    return _dense(28 * 28, 256, 128, n_classes)


def _dense(*widths: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def resnet18(n_classes: int = 10) -> nn.Module:
    """ResNet-18 (He 2016, table 1) as transformers builds it, from nothing."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        num_labels=n_classes,
    )
    return _Logits(ResNetForImageClassification(config))


class _Logits(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values).logits
        return logits


class Compact(nn.Module):
    """Ouvroir's compact network on pixels that are normalised already."""

    def __init__(self, network: ConceptualImageModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> Tensor:
        """pixel_values: (B, C, H, W) float. Returns (B, K)."""
        logits: Tensor = self.network(None, (), pixel_values, "stem")
        return logits


class FromPixels(nn.Module):
    """A network behind the normalising of pixels, as Ouvroir's own models carry it: (B, C, H, W) uint8 in."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(127.5))
        self.register_buffer("std", torch.tensor(64.0))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Logits (B, K)."""
        logits: Tensor = self.network((pixel_values.float() - self.mean) / self.std)
        return logits


class TutorialCnn(nn.Module):
    """The network of PyTorch's own MNIST example: two convolutions, max-pooling, dropout, 128 hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10), nn.LogSoftmax(dim=1)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (B, 1, 28, 28) float. Returns (B, 10) log-probabilities."""
        logits: Tensor = self.head(self.body(pixels))
        return logits
