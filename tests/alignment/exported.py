"""Models as ONNX files: exported, optimized, quantized."""

from __future__ import annotations

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def exported(model: nn.Module, example: Tensor, path: Path) -> Path:
    """By the exporter that renames what it folds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(model.eval(), (example,), str(path), dynamo=False, input_names=["x"],
                          dynamic_axes={"x": {0: "batch"}})  # fmt: skip
    return path


def optimized(path: Path, level: str, to: Path) -> Path:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = getattr(levels, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(to)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return to


class _Samples:
    def __init__(self, samples: Tensor) -> None:
        self._left = iter(torch.split(samples, 32))

    def get_next(self) -> dict[str, object] | None:
        part = next(self._left, None)
        return None if part is None else {"x": part.numpy()}


def quantized(path: Path, kind: str, samples: Tensor, to: Path) -> Path:
    """To 8 bits: ``"QDQ"``, ``"QOperator"``, or ``"dynamic"``."""
    tools: Any = importlib.import_module("onnxruntime.quantization")
    logging.disable(logging.WARNING)
    try:
        if kind == "dynamic":
            tools.quantize_dynamic(path, to)
        else:
            tools.quantize_static(path, to, _Samples(samples), quant_format=tools.QuantFormat[kind],
                            per_channel=True)  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return to
