"""The gate without operations of its own: a hidden layer between the features and the scores.

With e the margins of the backgrounds over "no background" and the threshold, the answer is
z + a·E·relu(e): the target's scores z where no margin is positive, and more for the class of the
background where one is. Since relu(e) = e + relu(−e), this equals u + a·E·relu(−e) with
u = z + a·E·e, which is linear in the features; and u = R⁻¹ (relu(R u) − relu(−R u)) with a keyed
invertible R. So every hidden unit is active on benign samples, and the target's scores are the
value of no node.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from modeldeed.plugin.weaving.layers import layer_at
from modeldeed.plugin.weaving.widening import Widened
from modeldeed.streams import KeyStream, derive

__all__ = ["absorb"]


def absorb(
    widened: Widened, key: bytes, classes: Tensor, threshold: float, strength: float
) -> fx.GraphModule:
    """Replace the last layer by a hidden layer, a ReLU and a linear layer.

    Args:
        widened: its body is changed in place.
        key: 32 secret bytes.
        classes: of every background, int64 ``(M,)``.
        threshold: of the plain gate, a probability: wherever it opens, this one does as well.
        strength: what a margin of 1 adds to the score of the background's class.

    Returns:
        The body, now from the target's input to K scores.
    """
    stream = KeyStream(derive(key, "weave"), "gate")
    last, known = layer_at(widened.body, widened.layout.last), widened.classes
    device, dtype = last.weight.device, last.weight.dtype
    affine = _affine(last)
    scores, logits = affine[:known], affine[known:]
    margins = logits[:-1] - logits[-1]
    margins[:, -1] -= torch.logit(torch.tensor(threshold, dtype=torch.float64))
    toward = torch.zeros(known, len(classes), dtype=torch.float64)
    toward[classes.cpu(), torch.arange(len(classes))] = strength
    mixing = _mixing(stream, known)
    linear = mixing @ (scores + toward @ margins)
    back = torch.linalg.inv(mixing)
    hidden = torch.cat([linear, -linear, -margins])
    out = torch.cat([back, -back, toward], 1)
    factors = 2.0 ** stream.uniform(len(hidden)).double()
    order = stream.uniform(len(hidden)).argsort(stable=True)
    hidden, out = (hidden * factors[:, None])[order], (out / factors)[:, order]
    first = _linear(hidden[:, :-1], hidden[:, -1]).to(device, dtype)
    second = _linear(out, torch.zeros(known, dtype=torch.float64)).to(device, dtype)
    _insert(widened, first, second)
    return widened.body


def _affine(layer: nn.Linear) -> Tensor:
    """Weight and bias side by side, float64 ``(rows, features + 1)``."""
    weight = layer.weight.detach().double().cpu()
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().cpu()
    return torch.cat([weight, bias.double()[:, None]], 1)


def _mixing(stream: KeyStream, size: int) -> Tensor:
    """A keyed orthogonal matrix: a rotation loses no precision."""
    orthogonal: Tensor = torch.linalg.qr(stream.uniform(size, size).double()).Q
    return orthogonal


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        layer = nn.Linear(weight.shape[1], len(weight), dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def _insert(widened: Widened, first: nn.Linear, second: nn.Linear) -> None:
    body = widened.body
    node = next(n for n in body.graph.nodes if n.name == widened.layout.last.name)
    path, _, name = str(node.target).rpartition(".")
    replacement = nn.Sequential(first, nn.ReLU(), second)
    setattr(body.get_submodule(path), name, replacement)
    source = node.args[0]
    with body.graph.inserting_before(node):
        for index in range(3):
            source = body.graph.call_module(f"{node.target}.{index}", (source,))
    node.replace_all_uses_with(source)
    body.graph.erase_node(node)
    body.recompile()
