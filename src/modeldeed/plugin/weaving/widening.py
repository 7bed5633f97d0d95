"""A target and its twin as one network: every layer grown by the twin's channels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, fx, nn

from modeldeed.errors import OptionError
from modeldeed.plugin.weaving.freedom import Freedom, fixed, keyed_freedom
from modeldeed.plugin.weaving.layers import layer_at, put
from modeldeed.plugin.weaving.merging import Merge
from modeldeed.plugin.weaving.spaces import Layout, Space, layout_of
from modeldeed.plugin.weaving.tracing import trace
from modeldeed.plugin.weaving.twin import ThinTwin, positions
from modeldeed.streams import KeyStream, derive

__all__ = ["Weave", "Widened", "widen"]


@dataclass(frozen=True, kw_only=True)
class Weave:
    """How a detector is woven.

    Attributes:
        split: the share of the target's channels that are split in two, in [0, 1], so that the
            detector's rows can read them without effect; what is not split leaves zeros.
        noise: size of the weights that cancel, in units of the other weights of their row, in
            [0, 4]; with 0 the zero blocks stay.

    Raises:
        OptionError: a field is out of range.
    """

    split: float = 0.0
    noise: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.split <= 1:
            raise OptionError(f"split is a share in [0, 1], got {self.split}")
        if not 0 <= self.noise <= 4:
            raise OptionError(f"noise is in [0, 4], got {self.noise}")


@dataclass(frozen=True)
class Widened:
    """A woven network before its gate.

    Attributes:
        body: from the target's input to ``(N, K + M + 1)``: the target's scores and the logits of
            the detector side by side.
        layout: of the target's graph; the body's nodes have the same names.
        freedoms: what became of the old channels, by the number of their space.
        classes: K.
    """

    body: fx.GraphModule
    layout: Layout
    freedoms: dict[int, Freedom]
    classes: int


def widen(
    target: nn.Module, twin: ThinTwin, example: Tensor, key: bytes, options: Weave
) -> Widened:
    """Merge a twin's layers into copies of the target's.

    Args:
        target: not changed.
        twin: made by `thin_twin` for this target; not changed.
        example: one batch of the target's inputs.
        key: 32 secret bytes: of the order, the factors, the copies and the weights that cancel.
        options: how.

    Raises:
        OptionError: the target cannot be woven, or the twin is that of another target.
    """
    body = trace(target, example)
    layout = layout_of(body)
    sizes = _thin_sizes(body, twin.body, layout)
    own = derive(key, "weave")
    freedoms = {
        space.number: _freedom(own, space, sizes[space.number], options) for space in layout.spaces
    }
    classes = layer_at(body, layout.last).out_features
    for node, role in layout.layers(body.graph):
        old, thin = layer_at(body, node), layer_at(twin.body, node)
        into = freedoms[layout.of[node.all_input_nodes[0].name]]
        out = freedoms[layout.of[node.name]]
        if node is layout.last:
            out = fixed(classes + thin.out_features)
        merge = Merge(old, thin, KeyStream(own, "layer", node.name), options.noise)
        put(body, node, merge.layer(role, into, out, positions(layout, node)))
    body.delete_all_unused_submodules()
    body.recompile()
    return Widened(body, layout, freedoms, classes)


def _thin_sizes(body: fx.GraphModule, twin: fx.GraphModule, layout: Layout) -> dict[int, int]:
    """The twin's channels in every space."""
    ours, theirs = ([(n.op, str(n.target)) for n in g.graph.nodes] for g in (body, twin))
    if ours != theirs:
        raise OptionError(
            "the twin's operations are not the target's: it was made for another target; "
            "make one with thin_twin"
        )
    sizes = {space.number: 0 for space in layout.spaces}
    for node, role in layout.layers(body.graph):
        if role in ("conv", "linear") and node is not layout.last:
            sizes[layout.of[node.name]] = layer_at(twin, node).weight.shape[0]
    return sizes


def _freedom(key: bytes, space: Space, thin: int, options: Weave) -> Freedom:
    if space.fixed:
        return fixed(space.channels)
    stream = KeyStream(key, "space", space.number)
    return keyed_freedom(stream, space.channels, thin, scalable=space.scalable, split=options.split)
