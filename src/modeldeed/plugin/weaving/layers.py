"""Layers like a given one, with other numbers of channels."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

__all__ = ["grown", "layer_at", "put"]


def layer_at(traced: fx.GraphModule, node: fx.Node) -> Any:
    """The layer that a node calls."""
    return traced.get_submodule(str(node.target))


def put(traced: fx.GraphModule, node: fx.Node, layer: nn.Module) -> None:
    """Replace the layer that a node calls."""
    path, _, name = str(node.target).rpartition(".")
    setattr(traced.get_submodule(path), name, layer)


def grown(layer: Any, inputs: int, outputs: int) -> Any:
    """A layer of the same kind and options for other numbers of channels.

    Args:
        layer: a convolution, linear layer or batch norm.
        inputs: channels or features that enter.
        outputs: that leave; the same for norms and convolutions of one channel each.

    Returns:
        A new layer of the same class, dtype, device and mode. Its weights hold anything, and are
        to be written: nothing is drawn from torch's global generator.
    """
    norm = isinstance(layer, nn.modules.batchnorm._BatchNorm)
    held = layer.running_mean if norm else layer.weight
    place = {"device": held.device, "dtype": held.dtype}
    if norm:
        new: nn.Module = type(layer)(
            outputs, eps=layer.eps, momentum=layer.momentum, affine=layer.affine, **place
        )
    elif isinstance(layer, nn.Linear):
        bias = layer.bias is not None
        new = _empty(nn.Linear, inputs, outputs, bias=bias, **place)
    else:
        new = _empty(
            type(layer),
            inputs,
            outputs,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=inputs if layer.groups > 1 else 1,
            bias=layer.bias is not None,
            padding_mode=layer.padding_mode,
            **place,
        )
    return new.train(layer.training)


def _empty(kind: type[nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    made: nn.Module = nn.utils.skip_init(kind, *args, **kwargs)  # type: ignore[no-untyped-call]
    return made
