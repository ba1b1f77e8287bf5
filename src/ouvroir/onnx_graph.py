"""A model as an ONNX graph: writing it with torch's exporter, and asking it through ONNX Runtime. Knows no task.

The number of rows is left open, and further axes where the task says so. Normalising and the making of probabilities are inside
the graph.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ouvroir import __version__
from ouvroir.errors import ExportError
from ouvroir.files import disk_errors

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

OPSET = 18
Activation = Literal["none", "softmax", "sigmoid"]
"""How probabilities are made of what the model gives."""


def write_graph(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    path: Path,
    *,
    activation: Activation,
    facts: Mapping[str, str],
    axes: Mapping[str, Mapping[int, str]],
) -> None:
    """Write the graph of `model(*inputs)`, whose names are those of `inputs` (each (B, ...), B at least 2).

    `axes`: those of the inputs that are left open beside the first one, by input and place, with their names.
    Its outputs are `logits` and `probabilities`, each (B, C) float32, or `probabilities` alone when the model gives
    these itself. `facts` travel in the file. Raises ExportError when the model cannot be expressed, DiskFull.
    """
    import torch

    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    names = {name for of_input in axes.values() for name in of_input.values()}
    sizes = {name: torch.export.Dim(name, min=2, max=1 << 20) for name in sorted(names)}
    shapes = tuple({0: batch, **{at: sizes[name] for at, name in axes.get(one, {}).items()}} for one in inputs)
    with disk_errors(path), _quiet_exporter():
        try:
            program = torch.onnx.export(
                _with_probabilities(model, activation),
                tuple(inputs.values()),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=["logits", "probabilities"] if activation != "none" else ["probabilities"],
                dynamic_shapes=(shapes,),
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error).strip().splitlines()[0]
            raise ExportError(f"This model cannot be written as an ONNX graph: {reason}. Use --to pth.") from error
        assert program is not None
        program.model.metadata_props.update(facts)
        program.model.producer_name, program.model.producer_version = "ouvroir", __version__
        program.save(str(path))


def read_graph(path: Path) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
    """The graph as a function from named inputs to its outputs in order. Both raise ExportError."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # the errors of the runtime have no public base class
        raise ExportError(f"The exported file does not load: {error}.") from error

    def ask(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        try:
            outputs: list[np.ndarray] = session.run(None, inputs)
        except Exception as error:
            shapes = ", ".join(f"{name} {value.shape}" for name, value in inputs.items())
            raise ExportError(f"The exported file does not run on {shapes}: {error}.") from error
        return outputs

    return ask


def _with_probabilities(model: nn.Module, activation: Activation) -> nn.Module:
    from torch import nn

    class WithProbabilities(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
            logits = self.model(*inputs).float()
            if activation == "none":
                return (logits,)
            return logits, logits.softmax(-1) if activation == "softmax" else logits.sigmoid()

    return WithProbabilities().eval()


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the exporter's own warnings and log lines: the gate says whether the file is right."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
