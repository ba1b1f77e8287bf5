"""Pretrained ResNets in the Hugging Face form, from a local folder or by hub name.

The shape of the network travels in the processor, so a model that was trained here is built again without the pretrained
weights. Weights are read from safetensors only. Batch normalisation keeps the statistics it was pretrained with, so that
rows stay independent of each other, and small batches do no harm.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ouvroir.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.image.models import ConceptualImageModel

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SCRATCH = "scratch"
_HUB_NAME = re.compile(r"\w[\w.-]*/[\w.-]+")  # of who made it, and its own
SHAPE = (  # what of ResNetConfig decides the network
    "num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act", "downsample_in_first_stage",
    "downsample_in_bottleneck",
)  # fmt: skip


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("The resnet50 backbone", "pretrained") from error
    return transformers


def _unreadable(source: str, error: Exception) -> DataError:
    first_line = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    offline = " HF_HUB_OFFLINE is set, so nothing is fetched." if os.environ.get("HF_HUB_OFFLINE") else ""
    if Path(source).is_dir():
        what = f"Pretrained weights could not be read from `{source}` ({first_line})."
    elif _HUB_NAME.fullmatch(source):
        what = f"There is no folder `{source}`, and nothing could be read under this hub name ({first_line}).{offline}"
    else:
        what = f"There is no folder `{source}`."
    return DataError(
        f"{what} Give a folder with config.json and "
        "model.safetensors, or on a machine with network run `hf download microsoft/resnet-50 --local-dir "
        "resnet-50`, copy the folder here, and use --from resnet-50."
    )


def read_backbone(source: str) -> dict[str, Any]:
    """What builds the network again: `config`, `image_mean`, `image_std`, `is_pretrained`.

    `source` is a folder, a hub name, or "scratch" for ResNet-50 with initial weights. Raises MissingExtra, DataError.
    """
    transformers = _transformers()
    if source == SCRATCH:
        config = transformers.ResNetConfig()
        return _described(config.to_dict(), IMAGENET_MEAN, IMAGENET_STD, is_pretrained=False)
    try:
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unreadable(source, error) from error
    if config.model_type != "resnet":
        raise DataError(f"`{source}` holds a {config.model_type} network; pictures take ResNets (model_type resnet).")
    try:
        pixels = transformers.ImageProcessingMixin.get_image_processor_dict(source)[0]
    except (OSError, ValueError):
        pixels = {}  # without preprocessor_config.json the values of ImageNet are the custom
    mean, std = pixels.get("image_mean") or IMAGENET_MEAN, pixels.get("image_std") or IMAGENET_STD
    return _described(config.to_dict(), mean, std, is_pretrained=True)


def _described(config: dict[str, Any], mean: Any, std: Any, *, is_pretrained: bool) -> dict[str, Any]:
    kept = {name: config[name] for name in SHAPE if name in config}
    return {
        "config": kept,
        "image_mean": [float(value) for value in mean],
        "image_std": [float(value) for value in std],
        "is_pretrained": is_pretrained,
    }


class _KeptStatistics(nn.Module):
    """A module whose batch normalisation always uses its stored mean and variance."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def train(self, mode: bool = True) -> _KeptStatistics:
        """Switch to training, except batch normalisation."""
        super().train(mode)
        for module in self.inner.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """As the inner module."""
        found: Tensor = self.inner(x)
        return found


def build_backbone(backbone: Mapping[str, Any]) -> tuple[dict[str, nn.Module], int]:
    """Named stages (stem, stage1, ...) with initial weights, and the width of the last one. Raises MissingExtra."""
    transformers = _transformers()
    network = transformers.ResNetModel(transformers.ResNetConfig(**backbone["config"]))
    body = {"stem": network.embedder}
    body |= {f"stage{number}": stage for number, stage in enumerate(network.encoder.stages, start=1)}
    if backbone["is_pretrained"]:
        body = {name: _KeptStatistics(module) for name, module in body.items()}
    return body, int(backbone["config"]["hidden_sizes"][-1])


def _require_all(source: str, found_keys: Mapping[str, Any]) -> None:
    """Raise DataError for weights that transformers did not find, which it replaces by random ones with a remark only."""
    counter = "num_batches_tracked"  # of batch normalisation; changes nothing here, and some converters leave it out
    missing = sorted(name for name in found_keys["missing_keys"] if not name.endswith(counter))
    if not missing:
        return
    others = sorted(found_keys["unexpected_keys"])
    named = f"; there is `{others[0]}`, which the network has no place for" if others else ""
    raise DataError(
        f"The weights in `{source}` are not those of the network that its config.json describes: `{missing[0]}` is missing, "
        f"one of {len(missing)}{named}. Write the folder with `save_pretrained` of transformers' ResNetModel or "
        "ResNetForImageClassification, or start from another one, such as microsoft/resnet-50."
    )


def load_backbone(model: ConceptualImageModel, source: str) -> None:
    """Put the pretrained weights at `source` (folder or hub name) into a model whose body `build_backbone` made.

    Raises DataError when they are absent or do not fit.
    """
    transformers = _transformers()
    try:
        network, found_keys = transformers.ResNetModel.from_pretrained(
            source, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreadable(source, error) from error
    _require_all(source, found_keys)
    found = {"stem": network.embedder}
    found |= {f"stage{number}": stage for number, stage in enumerate(network.encoder.stages, start=1)}
    try:
        for name, module in found.items():
            target = model.body[name]
            inner = target.inner if isinstance(target, _KeptStatistics) else target
            assert isinstance(inner, nn.Module)
            inner.load_state_dict(module.state_dict())
    except (KeyError, RuntimeError) as error:
        raise _unreadable(source, error) from error
