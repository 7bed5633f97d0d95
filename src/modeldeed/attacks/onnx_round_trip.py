"""Ship a model as an ONNX file, and read the weights back from that file.

The exporter folds batch norms into convolutions, drops what inference does not need and names
constants as it likes; an optimizer goes further. The function stays.

Source:
    This project. The format: ONNX, onnx.ai; its runtime's offline optimizer: ONNX Runtime.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from modeldeed.alignment.onnx_recording import ProbedOnnx
from modeldeed.alignment.recording import Operation
from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.data._extras import import_extra
from modeldeed.errors import OptionError
from modeldeed.plugin.onnx_export import export_onnx
from modeldeed.training import Recipe

__all__ = ["ExportedModel", "OnnxRoundTrip", "onnx_round_trip"]

Level = Literal["none", "basic", "extended"]
_PREFIX = "model."  # of the module that the exporter is given


class ExportedModel(nn.Module):
    """An ONNX file as a module: its constants are buffers, and ONNX Runtime runs it.

    The buffers are there to be read; the function is the file's, whatever becomes of them.

    Args:
        data: the file.

    Raises:
        MissingExtraError: onnx or ONNX Runtime is not installed.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data
        self._session: Any = None
        onnx: Any = import_extra("onnx", "onnx", "onnx")
        graph = onnx.load_from_string(data).graph
        for constant in graph.initializer:
            values = np.array(onnx.numpy_helper.to_array(constant))
            _place(self, constant.name.removeprefix(_PREFIX), torch.from_numpy(values))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the file gives, on the inputs' device."""
        if self._session is None:
            runtime: Any = import_extra("onnxruntime", "onnxruntime", "onnx")
            self._session = runtime.InferenceSession(self._data, providers=["CPUExecutionProvider"])
        name = self._session.get_inputs()[0].name
        (outputs, *_) = self._session.run(None, {name: inputs.detach().cpu().numpy()})
        return torch.from_numpy(outputs).to(inputs.device)

    def weighted_operations(self, probes: Any) -> list[Operation]:
        """What the file's weighted operations read and write; see `modeldeed.alignment.Probed`."""
        return ProbedOnnx(self._data).weighted_operations(probes)

    def __getstate__(self) -> dict[str, Any]:
        """Without the session, which cannot be copied and is made again."""
        return {**self.__dict__, "_session": None}


def _place(root: nn.Module, name: str, tensor: Tensor) -> None:
    """Register a buffer under a dotted name, with modules on its way made as needed."""
    *path, last = [part or "_" for part in name.split(".")]
    place = root
    for part in path:
        if part not in place._modules:
            place.add_module(part, nn.Module())
        place = place.get_submodule(part)
    # A name of the file may be one that every module has.
    free = last if not hasattr(place, last) else f"{last}_"
    place.register_buffer(free, tensor)


def onnx_round_trip(
    model: nn.Module, example: Tensor, *, optimize: Level = "none", half: bool = False
) -> nn.Module:
    """Export a model to ONNX and read it back.

    Args:
        model: not changed; it takes one tensor and returns one.
        example: a batch of at least two inputs.
        optimize: what ONNX Runtime's offline optimizer does to the file: nothing, what keeps
            standard operators, or all that is not bound to a machine.
        half: round the weights to 16 bits beforehand.

    Returns:
        A module that runs the file; its state dict has the file's constants.

    Raises:
        OptionError: ``optimize`` is unknown.
        MissingExtraError: onnx, onnxscript or ONNX Runtime is not installed.
    """
    if optimize not in get_args(Level):
        raise OptionError(f"optimize is 'none', 'basic' or 'extended', got {optimize!r}")
    changed = copy_of(model)
    if half:
        for parameter in changed.parameters():
            if parameter.is_floating_point():
                parameter.data.copy_(parameter.data.half())
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own modules
        path = Path(folder, "model.onnx")
        export_onnx(changed, example, path)
        if optimize != "none":
            path = _optimized(path, optimize)
        return ExportedModel(path.read_bytes()).eval()


def _optimized(path: Path, level: Level) -> Path:
    runtime: Any = import_extra("onnxruntime", "onnxruntime", "onnx")
    levels = runtime.GraphOptimizationLevel
    options = runtime.SessionOptions()
    basic, extended = levels.ORT_ENABLE_BASIC, levels.ORT_ENABLE_EXTENDED
    options.graph_optimization_level = basic if level == "basic" else extended
    options.optimized_model_filepath = str(path.with_name("optimized.onnx"))
    options.log_severity_level = 3  # that the file is bound to this machine is known
    runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return path.with_name("optimized.onnx")


@register("onnx-round-trip")
@dataclass(frozen=True, kw_only=True)
class OnnxRoundTrip(Attack):
    """Export to ONNX and read back; see `onnx_round_trip`.

    Nothing can be trained or changed after it.

    Attributes:
        optimize: by ONNX Runtime's offline optimizer.
        half: with weights of 16 bits.
    """

    source: ClassVar[str] = "This project"
    needs: ClassVar[tuple[Need, ...]] = ("architecture",)

    optimize: Level = "none"
    half: bool = False

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """As exported, optimized, optimized with 16-bit weights."""
        return {
            "exported": cls(),
            "optimized": cls(optimize="extended"),
            "optimized, fp16 weights": cls(optimize="extended", half=True),
        }

    def apply(
        self,
        model: nn.Module,
        data: AttackData,
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> nn.Module:
        """A module that runs the file; of the data, the shape of an input."""
        example = data.dataset.x_train[:2].cpu()
        return onnx_round_trip(
            copy_of(model).cpu(), example, optimize=self.optimize, half=self.half
        )
