"""Which channels of a graph belong together.

Two values whose channels are added to each other, or that differ by an operation on each channel by
itself, have one *space*: what happens to the order, the scale or the number of its channels must
happen everywhere in it. Convolutions and linear layers lead from one space into another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import fx

from modeldeed.errors import OptionError
from modeldeed.plugin.weaving.operations import Role, described, role_of
from modeldeed.plugin.weaving.tracing import find_node, shape_of

__all__ = ["Layout", "Space", "layout_of"]


@dataclass(frozen=True)
class Space:
    """Channels that share one order.

    Attributes:
        number: from 0, in the order of the graph.
        channels: how many.
        fixed: its channels are the input's or the output's, which nobody may change.
        scalable: a positive factor on a channel passes through everything inside.
    """

    number: int
    channels: int
    fixed: bool
    scalable: bool


@dataclass(frozen=True)
class Layout:
    """The spaces of a graph.

    Attributes:
        spaces: by number.
        roles: of every node, by its name.
        of: the number of the space of a node's value, by the node's name.
        last: the layer that makes the output, a linear one.
    """

    spaces: tuple[Space, ...]
    roles: dict[str, Role]
    of: dict[str, int]
    last: fx.Node

    def space(self, node: fx.Node) -> Space:
        """The space of a node's value."""
        return self.spaces[self.of[node.name]]

    def layers(self, graph: fx.Graph) -> Iterator[tuple[fx.Node, Role]]:
        """The nodes whose layers have a weight for each channel, in the graph's order."""
        for node in graph.nodes:
            if self.roles[node.name] in ("conv", "depthwise", "linear", "norm"):
                yield node, self.roles[node.name]


class _Sets:
    """Union-find over the names of nodes."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        parent = self._parent.setdefault(name, name)
        if parent == name:
            return name
        found = self._parent[name] = self.root(parent)
        return found

    def join(self, first: str, second: str) -> None:
        self._parent[self.root(second)] = self.root(first)


def layout_of(traced: fx.GraphModule) -> Layout:
    """Find the spaces of a traced graph.

    Args:
        traced: as of `trace`.

    Raises:
        OptionError: an operation mixes channels in a way that is not known, two values are added
            whose channels do not match, or the output is not that of a linear layer.
    """
    nodes = list(traced.graph.nodes)
    roles = {node.name: role_of(node) for node in nodes}
    last = _last_layer(traced.graph, roles)
    sets, channels = _Sets(), dict[str, int]()
    for node in nodes:
        _place(node, roles, sets, channels)
    fixed = {sets.root(find_node(traced.graph, "placeholder").name), sets.root(last.name)}
    rigid = {sets.root(node.name) for node in nodes if _is_rigid(node, roles[node.name], traced)}
    _refuse_sums_with_input(traced.graph, roles, sets, last)
    roots = list(dict.fromkeys(sets.root(name) for name in channels))
    spaces = tuple(
        Space(
            number=number,
            channels=channels[root],
            fixed=root in fixed,
            scalable=root not in rigid,
        )
        for number, root in enumerate(roots)
    )
    of = {name: roots.index(sets.root(name)) for name in channels}
    return Layout(spaces, roles, of, last)


def _is_rigid(node: fx.Node, role: Role, traced: fx.GraphModule) -> bool:
    """Whether a factor on the input is not the same factor on the output."""
    if role == "norm":
        return not traced.get_submodule(str(node.target)).affine
    return role in ("pointwise", "multiply")


def _place(node: fx.Node, roles: dict[str, Role], sets: _Sets, channels: dict[str, int]) -> None:
    role, shape = roles[node.name], shape_of(node)
    if role in ("number", "output") or shape is None:
        return
    if len(shape) < 2:
        raise OptionError(f"{described(node)} cannot be woven: its value has no axis of channels")
    if role in ("input", "conv", "linear"):
        channels[node.name] = shape[1]  # a new space
        sets.root(node.name)
        return
    operands = [each for each in node.all_input_nodes if each.name in channels]
    sizes = {channels[each.name] for each in operands}
    if len(sizes) != 1:
        counts = " and ".join(map(str, sorted(sizes))) or "unknown"
        raise OptionError(
            f"{described(node)} cannot be woven: it joins values of {counts} channels"
        )
    channels[node.name] = sizes.pop()
    for each in operands:
        sets.join(node.name, each.name)


def _refuse_sums_with_input(
    graph: fx.Graph, roles: dict[str, Role], sets: _Sets, last: fx.Node
) -> None:
    fixed = {sets.root(find_node(graph, "placeholder").name), sets.root(last.name)}
    for node in graph.nodes:
        makes = roles[node.name] in ("conv", "linear", "depthwise") and node is not last
        if makes and sets.root(node.name) in fixed:
            raise OptionError(
                f"{described(node)} cannot be woven: it has the channels of the input or of the "
                "output, to which none can be added; fuse it plainly, without weave"
            )


def _last_layer(graph: fx.Graph, roles: dict[str, Role]) -> fx.Node:
    (result,) = find_node(graph, "output").args
    if not isinstance(result, fx.Node) or roles[result.name] != "linear":
        got = described(result) if isinstance(result, fx.Node) else "not one tensor"
        raise OptionError(
            f"the output is {got}: weaving needs the logits, one tensor that a linear layer makes; "
            "fuse it plainly, without weave"
        )
    return result
