"""What each operation of a graph does to the channels of its input."""

from __future__ import annotations

import operator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import fx, nn

from modeldeed.errors import OptionError
from modeldeed.plugin.weaving.tracing import shape_of

__all__ = ["Role", "described", "role_of"]

Role = Literal[
    "input", "output", "conv", "depthwise", "linear", "norm", "linear_map", "pointwise", "add",
    "multiply", "flatten", "number",
]  # fmt: skip
"""``linear_map``: each channel by itself, and a positive factor passes through (ReLU, pools);
``pointwise``: each channel by itself; ``number``: no tensor with channels."""

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_SCALABLE_LAYERS = (
    nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
_POINTWISE_LAYERS = (
    nn.ReLU6, nn.Hardtanh, nn.GELU, nn.SiLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Mish,
    nn.Hardswish, nn.Hardsigmoid,
)  # fmt: skip
_SCALABLE: set[Any] = {
    F.relu, F.leaky_relu, F.dropout, torch.relu, torch.relu_, F.relu_, F.max_pool1d,
    F.max_pool2d, F.max_pool3d, torch.max_pool1d, torch.max_pool2d, F.avg_pool1d, F.avg_pool2d,
    F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d,
    torch.adaptive_avg_pool1d, F.adaptive_max_pool1d, F.adaptive_max_pool2d, "relu", "relu_",
    "contiguous",
}  # fmt: skip
_POINTWISE: set[Any] = {
    F.relu6, F.hardtanh, F.gelu, F.silu, F.elu, F.sigmoid, torch.sigmoid, torch.tanh, F.tanh,
    F.softplus, F.mish, F.hardswish, F.hardsigmoid, "sigmoid", "tanh",
}  # fmt: skip
_ADD: set[Any] = {operator.add, operator.iadd, torch.add, "add", "add_"}
_MULTIPLY: set[Any] = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
_FLATTEN: set[Any] = {torch.flatten, "flatten"}
_RESHAPE: set[Any] = {torch.reshape, "reshape", "view"}
_MEAN: set[Any] = {torch.mean, torch.amax, "mean", "amax"}


def described(node: fx.Node) -> str:
    """A node in words, for errors."""
    if node.op == "call_module":
        layer = node.graph.owning_module.get_submodule(str(node.target))  # type: ignore[union-attr]
        return f"{node.target} ({type(layer).__name__})"
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")
    return f"{node.name} ({name})"


def role_of(node: fx.Node) -> Role:
    """What a node does to channels; axis 1 is the axis of channels, everywhere.

    Raises:
        OptionError: an operation that is not known to keep channels apart.
    """
    if node.op in ("placeholder", "output"):
        return "input" if node.op == "placeholder" else "output"
    if shape_of(node) is None:
        return "number"
    if node.op == "call_module":
        layer = node.graph.owning_module.get_submodule(str(node.target))  # type: ignore[union-attr]
        return _layer_role(node, layer)
    if node.op in ("call_function", "call_method"):
        found = _function_role(node)
        if found:
            return found
    raise _refusal(node, "this operation is not known to keep channels apart")


def _layer_role(node: fx.Node, layer: nn.Module) -> Role:
    kind = type(layer)
    if kind in _CONVS:
        return _conv_role(node, layer)
    if kind is nn.Linear:
        if len(_input_shape(node)) != 2:
            raise _refusal(node, "its input is not of shape (N, features)")
        return "linear"
    if kind in _NORMS:
        if layer.running_mean is None:
            raise _refusal(node, "it has no running statistics, so it depends on the batch")
        return "norm"
    if kind in _SCALABLE_LAYERS:
        return "linear_map"
    if kind in _POINTWISE_LAYERS:
        return "pointwise"
    if kind is nn.Flatten and layer.start_dim == 1 and layer.end_dim == -1:
        return "flatten"
    if isinstance(layer, nn.GroupNorm | nn.LayerNorm | nn.InstanceNorm2d | nn.InstanceNorm1d):
        raise _refusal(node, "among norms only batch norm treats added channels by themselves")
    raise _refusal(node, "this layer is not known to keep channels apart")


def _conv_role(node: fx.Node, layer: Any) -> Role:
    if layer.groups == 1:
        return "conv"
    if layer.groups == layer.in_channels == layer.out_channels:
        return "depthwise"
    raise _refusal(
        node, f"it has {layer.groups} groups; only one, or one for each channel, can grow"
    )


def _function_role(node: fx.Node) -> Role | None:
    function = node.target
    if function in _SCALABLE:
        return "linear_map"
    if function in _POINTWISE:
        return "pointwise"
    if function in _ADD | _MULTIPLY:
        if not all(isinstance(each, fx.Node) for each in node.args[:2]):
            raise _refusal(node, "it has a constant for one of its operands")
        return "add" if function in _ADD else "multiply"
    if function in _MEAN:
        return _mean_role(node)
    if function in _FLATTEN and _argument(node, 1, "start_dim", 0) == 1:
        return "flatten"
    if function in _RESHAPE and _keeps_samples(node):
        return "flatten"
    return None


def _mean_role(node: fx.Node) -> Role:
    dims = _argument(node, 1, "dim", None)
    rank = len(_input_shape(node))
    axes = [dims] if isinstance(dims, int) else list(dims or range(rank))
    if any(axis % rank < 2 for axis in axes):
        raise _refusal(node, "it averages over channels or samples")
    return "linear_map"


def _keeps_samples(node: fx.Node) -> bool:
    before, after = _input_shape(node), shape_of(node)
    return after is not None and len(after) == 2 and after[0] == before[0]


def _input_shape(node: fx.Node) -> tuple[int, ...]:
    return shape_of(node.all_input_nodes[0]) or ()


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _refusal(node: fx.Node, reason: str) -> OptionError:
    return OptionError(
        f"{described(node)} cannot be woven: {reason}; fuse it plainly, without weave"
    )
