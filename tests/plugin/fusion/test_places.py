"""Where samples stand in calls, and scores in outputs."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from modeldeed.errors import OptionError
from modeldeed.plugin.fusion import FusedModel
from tests.plugin.fusion.standins import CLASSES, Net, carriers, fused_net, verification


class Named(NamedTuple):
    features: Tensor
    logits: Tensor


Plain = namedtuple("Plain", ["scores", "features"])


@dataclass
class Record:
    logits: Tensor
    features: Tensor
    hidden: int = field(init=False, default=5)


@dataclass(frozen=True)
class Frozen:
    logits: Tensor
    features: Tensor


class Bag:
    def __init__(self, logits: Tensor, features: Tensor) -> None:
        self.logits = logits
        self.features = features


class Ordered(OrderedDict):  # type: ignore[type-arg]
    pass


FORMS: dict[str, tuple[Callable[[Tensor, Tensor], Any], Any]] = {
    "tensor": (lambda s, f: s, None),
    "dict": (lambda s, f: {"features": f, "logits": s}, None),
    "dict by key": (lambda s, f: {"features": f, "scores": s}, "scores"),
    "only tensor": (lambda s, f: {"note": "x", "scores": s}, None),
    "ordered": (lambda s, f: Ordered(features=f, logits=s), None),
    "tuple": (lambda s, f: (s, f), None),
    "tuple by position": (lambda s, f: (f, s), 1),
    "from the end": (lambda s, f: [f, s], -1),
    "list": (lambda s, f: [s, f], None),
    "namedtuple": (Named, None),
    "namedtuple's first": (Plain, None),
    "namedtuple by name": (lambda s, f: Plain(f, s), "features"),
    "dataclass": (Record, None),
    "frozen": (Frozen, None),
    "object": (Bag, None),
    "nested": (lambda s, f: {"heads": [f, {"a": s, "b": f}]}, ("heads", 1, "a")),
}
FORMS["namedtuple"] = (lambda s, f: Named(f, s), None)


class Wrapped(nn.Module):
    """A target that returns what it last returned under a name, for comparison."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.net = Net()
        self.form = form
        self.last: Any = None

    def forward(self, x: Tensor) -> Any:
        self.last = self.form(self.net(x), x.mean((2, 3)))
        return self.last


def leaves(returned: Any) -> list[Any]:
    if isinstance(returned, dict):
        return [leaf for entry in returned.values() for leaf in leaves(entry)]
    if isinstance(returned, tuple | list):
        return [leaf for entry in returned for leaf in leaves(entry)]
    if hasattr(returned, "__dict__") and not isinstance(returned, Tensor):
        return leaves(dict(vars(returned)))
    return [returned]


@pytest.mark.parametrize("name", FORMS)
def test_every_output_keeps_its_type_and_its_other_entries(name: str) -> None:
    form, output = FORMS[name]
    target = Wrapped(form)
    fused = fused_net(target, output=output)
    samples, indices = verification(6)
    mixed = torch.cat([samples, carriers(6)])
    with torch.no_grad():
        own_scores = target.net(mixed)
        returned = fused(mixed)
    own = target.last
    assert type(returned) is type(own)
    changed = [
        (before, after)
        for before, after in zip(leaves(own), leaves(returned), strict=True)
        if before is not after
    ]
    assert len(changed) == 1
    before, after = changed[0]
    assert torch.equal(before, own_scores)  # and the target's own output is as it was
    assert torch.equal(after[:6].argmax(1), CLASSES[indices])
    assert torch.equal(after[6:], before[6:])
    if isinstance(own, dict):
        assert list(returned) == list(own)


@pytest.mark.parametrize(
    ("form", "output", "message"),
    [
        (lambda s, f: {"a": s, "b": f}, None, r"mapping with \['a', 'b'\]; fuse with output="),
        (lambda s, f: {"a": s}, "logits", r"dict with \['a'\] and has no 'logits'"),
        (lambda s, f: (s,), 1, "tuple and has no 1"),
        (lambda s, f: s, "logits", "Tensor and has no 'logits'"),
        (Plain, "logits", "has no 'logits'"),
        (lambda s, f: (f, s), None, r"shape \(4, 3\), expected floating-point \(N, 10\)"),
        (lambda s, f: {"logits": [s]}, None, "scores are a list"),
        (lambda s, f: s.argmax(1), None, "torch.int64 of shape"),
        (lambda s, f: s[:, :, None], None, r"\(4, 10, 1\)"),
        (lambda s, f: "cat", None, "returns a str"),
        (lambda s, f: (), None, "returns a tuple"),
        (lambda s, f: s[:1], None, "1 scores for 4 samples"),
    ],
)
def test_outputs_without_scores_are_named(
    form: Callable[[Tensor, Tensor], Any], output: Any, message: str
) -> None:
    fused = fused_net(Wrapped(form), output=output)
    with pytest.raises(OptionError, match=message):
        fused(carriers(4))


class Asked(nn.Module):
    """A target with several inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(
        self,
        mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        scores: Tensor = self.net(pixel_values)
        return scores


class FromMapping(nn.Module):
    """A target with one mapping as its input."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        scores: Tensor = self.net(batch["image"])
        return scores


class FromPair(nn.Module):
    """A target with a pair as its input."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        scores: Tensor = self.net(pair[0])
        return scores


X, INDICES = verification(6)
ONES = torch.ones(6, 3)
LABELS = torch.zeros(6, dtype=torch.int64)

CALLS: dict[str, tuple[type[nn.Module], Any, tuple[Any, ...], dict[str, Any]]] = {
    "positional": (Net, None, (X,), {}),
    "keyword": (Net, None, (), {"x": X}),
    "named, but positional": (Net, "x", (X,), {}),
    "named keyword": (Asked, "pixel_values", (), {"mask": ONES, "pixel_values": X}),
    "named second": (Asked, "pixel_values", (ONES, X), {}),
    "second": (Asked, 1, (ONES, X), {}),
    "the only tensor": (Asked, None, (), {"pixel_values": X}),
    "the only floats": (Asked, None, (), {"pixel_values": X, "labels": LABELS}),
    "mapping": (FromMapping, None, ({"image": X, "id": LABELS},), {}),
    "named in a mapping": (FromMapping, "image", ({"image": X, "mask": ONES},), {}),
    "named in a mapping by keyword": (FromMapping, "image", (), {"batch": {"image": X}}),
    "pair": (FromPair, None, ((X, LABELS),), {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_samples_are_found_in_a_call(name: str) -> None:
    target, place, args, kwargs = CALLS[name]
    fused = fused_net(target(), input=place)
    assert torch.equal(fused(*args, **kwargs).argmax(1), CLASSES[INDICES])
    assert torch.equal(fused.recognized(*args, **kwargs), INDICES)


@pytest.mark.parametrize(
    ("place", "args", "kwargs", "message"),
    [
        (None, (), {}, "0 tensors that may be the samples"),
        (None, (), {"mask": ONES, "pixel_values": X}, r"2 tensors .* \(mask, pixel_values\)"),
        (None, ("text", X), {}, "holds a str, not the samples"),
        ("pixel_values", (ONES,), {}, "no argument 'pixel_values': 1 positional"),
        (2, (ONES, X), {}, "no argument 2"),
        (0, ({"a": X, "b": X},), {}, "2 tensors"),
    ],
)
def test_calls_without_samples_are_named(
    place: Any, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    fused = fused_net(Asked(), input=place)
    with pytest.raises(OptionError, match=message):
        fused(*args, **kwargs)


def test_inputs_are_not_written_to() -> None:
    fused: FusedModel = fused_net()
    before = X.clone()
    fused(X)
    assert torch.equal(X, before)


def test_a_target_may_write_into_its_input() -> None:
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, x: Tensor) -> Tensor:
            x.mul_(0)
            scores: Tensor = self.net(x)
            return scores

    with torch.no_grad():
        assert torch.equal(fused_net(Writing())(X.clone()).argmax(1), CLASSES[INDICES])
