"""Writing a picture classifier as the folder that the transformers library loads, and reading it back.

Only what transformers knows can be written so: a ResNet whose head is one linear layer. Our own network, and heads with
hidden layers, have no class there; the errors say so and name what to do instead.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import nn

from ouvroir.errors import ExportError, UsageError
from ouvroir.files import write_json
from ouvroir.media.image.models import ConceptualImageModel
from ouvroir.media.image.pretrained import _KeptStatistics, _transformers
from ouvroir.task import Limits

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.media.image.processor import ImageProcessor
    from ouvroir.source import Source
    from ouvroir.task import Batch

LEVELS_OFF = 4.0
"""Mean difference of a picture, of 255 levels, that two ways of resizing may leave: 1 on photographs, 2.5 on dithered ones."""
_INSTEAD = "Use --to onnx to run it without Ouvroir, or --to pth for the weights."


def write_hf(network: ConceptualImageModel, processor: ImageProcessor, folder: Path) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json of what `require_expressible` lets pass."""
    assert processor.backbone is not None
    transformers = _transformers()
    names = dict(enumerate(processor.labels))
    config = transformers.ResNetConfig(
        **processor.backbone["config"],
        id2label=names,
        label2id={label: number for number, label in names.items()},
        problem_type="multi_label_classification" if processor.is_multi_label else "single_label_classification",
    )
    model = transformers.ResNetForImageClassification(config)
    _copy(network.body["stem"], model.resnet.embedder)
    for number, stage in enumerate(model.resnet.encoder.stages, start=1):
        _copy(network.body[f"stage{number}"], stage)
    model.classifier[1].load_state_dict(network.head.out.state_dict())
    model.eval().save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", _preprocessing(processor))


def read_hf(folder: Path, processor: ImageProcessor) -> Callable[[Batch], Tensor]:
    """The folder as transformers reads it: from `pixel_values` (B, 3, H, W) uint8 to logits (B, K) float32."""
    import torch

    transformers = _transformers()
    try:
        model = transformers.AutoModelForImageClassification.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False
        ).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ExportError(f"transformers cannot read the exported folder: {error}.") from error
    found = tuple(model.config.id2label[number] for number in range(model.config.num_labels))
    if found != processor.labels:
        raise ExportError(f"The exported folder names other labels: {', '.join(found[:10])}.")
    pixels = _preprocessing(processor)
    mean = torch.tensor(pixels["image_mean"])[:, None, None]
    std = torch.tensor(pixels["image_std"])[:, None, None]

    def forward(batch: Batch) -> Tensor:
        logits: Tensor = model(pixel_values=(batch["pixel_values"].float() / 255 - mean) / std).logits
        return logits.float()

    return forward


def require_same_pictures(folder: Path, processor: ImageProcessor, sources: Sequence[Source]) -> None:
    """Open files as transformers does with that folder, and as in training. Raises ExportError naming those that differ."""
    transformers = _transformers()
    pixels = _preprocessing(processor)
    mean, std = np.array(pixels["image_mean"]), np.array(pixels["image_std"])
    try:
        theirs = transformers.AutoImageProcessor.from_pretrained(folder)
    except (OSError, ValueError, ImportError) as error:
        raise ExportError(f"transformers cannot read the preprocessing of the exported folder: {error}.") from error
    off = {}
    for source in sources:
        limits = Limits()
        wanted = processor.encode(source, limits)["pixel_values"].astype(np.float64)
        try:
            picture = transformers.image_utils.load_image(Image.open(io.BytesIO(source.read(limits.max_bytes))))
            found = theirs(picture, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)  # (H, W, C)
        except Exception as error:  # noqa: BLE001 - a file from anywhere that our decoder can read
            off[source.locator] = f"not opened: {error}"
            continue
        if found.shape != wanted.shape:
            raise ExportError(f"The exported folder makes pictures of shape {found.shape}, the model {wanted.shape}.")
        difference = float(np.abs((found * std + mean) * 255 - wanted).mean())
        if not difference <= LEVELS_OFF:
            off[source.locator] = f"{difference:.0f} of 255 levels off"
    if off:
        shown = "; ".join(f"`{name}` ({reason})" for name, reason in off.items())
        raise ExportError(
            f"transformers opens {len(off)} of {len(sources)} files otherwise than in training: {shown}. It lays nothing "
            "under transparent pictures and cuts off values deeper than 8 bits: if these are such files, save them as ordinary "
            f"RGB and train again. Or: {_INSTEAD[0].lower()}{_INSTEAD[1:]}"
        )


def require_expressible(network: ConceptualImageModel, processor: ImageProcessor) -> None:
    """Raise UsageError, saying what to do instead, when transformers has no class for this network."""
    if processor.backbone is None:
        raise UsageError(
            "This model is Ouvroir's own network (options.backbone is compact), which transformers has no class for. "
            f"{_INSTEAD}"
        )
    lacking = {}
    if len(network.head.hidden) or not isinstance(network.head.norm, nn.Identity):
        lacking["options.head=linear"] = (
            "its head has a normalisation and hidden layers, and ResNetForImageClassification has room for one linear layer only"
        )
    if processor.aspect != "stretch":
        lacking["options.aspect=stretch"] = (
            f"it makes pictures square with options.aspect={processor.aspect}, and transformers can only be told to stretch them"
        )
    if lacking:
        raise UsageError(
            f"The body of this model is a ResNet that transformers knows, but {'; and '.join(lacking.values())}. Train it with "
            f"{' '.join(f'--set {setting}' for setting in lacking)}. Or: {_INSTEAD[0].lower()}{_INSTEAD[1:]}"
        )
    if processor.levels:
        raise UsageError(
            "This model scales values deeper than 8 bits by the levels of its train pictures, which transformers does not: "
            f"it cuts them off at 255. Save the pictures with 8 bits and train again. Or: {_INSTEAD[0].lower()}{_INSTEAD[1:]}"
        )


def _preprocessing(processor: ImageProcessor) -> dict[str, Any]:
    assert processor.backbone is not None
    edge = processor.storage_px
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": edge, "width": edge},
        "resample": int(Image.Resampling.BICUBIC),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(processor.backbone["image_mean"]),
        "image_std": list(processor.backbone["image_std"]),
    }


def _copy(source: nn.Module, target: nn.Module) -> None:
    inner = source.inner if isinstance(source, _KeptStatistics) else source
    assert isinstance(inner, nn.Module)
    target.load_state_dict(inner.state_dict())
