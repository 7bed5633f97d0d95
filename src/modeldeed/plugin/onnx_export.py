"""A fused model as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.errors import MissingExtraError
from modeldeed.storage import write_atomically

__all__ = ["export_onnx"]


class _OneInput(nn.Module):
    """A model as one of a single input, whatever else its call takes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Any:
        """Return what the model returns."""
        return self.model(inputs)


def export_onnx(model: nn.Module, example: Tensor, path: Path) -> None:
    """Write a model to an ONNX file that takes batches of any size.

    Args:
        model: in evaluation mode.
        example: a prepared batch of at least two samples.
        path: written whole or not at all.

    Raises:
        MissingExtraError: onnxscript, which PyTorch exports with, is not installed.
    """
    try:
        import onnxscript  # noqa: F401, PLC0415 - said plainly before PyTorch says it in its way
    except ImportError as error:
        raise MissingExtraError("onnxscript", "onnx") from error
    batch = torch.export.Dim("batch")
    with torch.no_grad():  # a graph without what only training needs
        program = torch.onnx.export(
            _OneInput(model).eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
    if program is None:
        raise AssertionError("an export by torch.export gives a program")
    write_atomically(path, program.model_proto.SerializeToString())
