"""The spaces of channels, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn

from modeldeed import models
from modeldeed.errors import OptionError
from modeldeed.plugin.weaving import Weave, thin_twin, weave
from modeldeed.plugin.weaving.spaces import layout_of
from modeldeed.plugin.weaving.tracing import trace
from tests.plugin.weaving.targets import KEY, Residual, classes_of, target_of, twin_of


def test_channels_that_are_added_share_a_space() -> None:
    traced = trace(models.resnet_small(), torch.zeros(2, 1, 8, 8))
    layout = layout_of(traced)
    nodes = {str(node.target): node for node in traced.graph.nodes if node.op == "call_module"}

    def space(name: str) -> int:
        return layout.of[nodes[name].name]

    # Stem and first block: the identity is added to the block's output.
    assert space("stem.conv") == space("stem.norm") == space("stages.0.0.norm2")
    # A block's inner channels are its own.
    assert space("stages.0.0.conv1") == space("stages.0.0.norm1") != space("stem.conv")
    # A block that changes the shape begins a space, and its shortcut is in it.
    assert space("stages.1.0.conv2") == space("stages.1.0.shortcut.conv") != space("stem.conv")
    assert [s.channels for s in layout.spaces] == [1, 16, 16, 32, 32, 64, 64, 128, 128, 10]
    assert [s.number for s in layout.spaces if s.fixed] == [0, 9]
    assert all(s.scalable for s in layout.spaces)


def test_what_is_not_homogeneous_is_not_scaled() -> None:
    layout = layout_of(trace(Residual(), torch.zeros(2, 2, 8, 8)))
    by_channels = {s.channels: s.scalable for s in layout.spaces if s.channels == 7}
    assert by_channels == {7: False}  # behind a ReLU6


class Odd(nn.Module):
    """Two layers with something between them."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 1)
        self.between = between
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.between(self.first(x)).mean((2, 3)))
        return scores


class Mixing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(1)


class Joined(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :2], x[:, :2]], 1)


class Shifted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Averaging(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.mean(1, keepdim=True)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.conv(x))
        return y


@pytest.mark.parametrize(
    ("between", "text"),
    [
        (nn.GroupNorm(2, 4), r"between \(GroupNorm\) cannot be woven.*batch norm"),
        (nn.InstanceNorm2d(4), r"between \(InstanceNorm2d\).*batch norm"),
        (nn.BatchNorm2d(4, track_running_stats=False), r"between \(BatchNorm2d\).*running"),
        (nn.Conv2d(4, 4, 1, groups=2), r"between \(Conv2d\).*2 groups"),
        (nn.Softmax(1), r"between \(Softmax\).*keep channels apart"),
        (Mixing(), r"softmax.*keep channels apart"),
        (Joined(), r"cannot be woven"),
        (Shifted(), r"add.*constant"),
        (Averaging(), r"mean.*averages over channels"),
        (Branching(), r"Odd cannot be woven: torch.fx cannot follow"),
        (Twice(), r"between.conv \(Conv2d\).*called twice"),
    ],
)
def test_what_cannot_be_woven_is_refused_by_name(between: nn.Module, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        thin_twin(Odd(between).eval(), torch.zeros(2, 1, 4, 4), 8)


class NotLinear(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Added(nn.Module):
    """A convolution is added to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.last = nn.Linear(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last((x + self.conv(x)).mean((2, 3)))
        return scores


class Mapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(1, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.last(x.mean((2, 3)))}


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(1, 3)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        scores: Tensor = self.last(x.mean((2, 3)))
        return scores


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (NotLinear(), r"the output is mean.*a linear layer makes"),
        (Added(), r"conv \(Conv2d\).*channels of the input"),
        (Mapping(), "the output is not one tensor"),
        (TwoInputs(), "more than one input"),
        (models.pointnet(), "transpose"),
    ],
)
def test_targets_of_another_form_are_refused(target: nn.Module, text: str) -> None:
    shape = (2, 16, 3) if isinstance(target, models.PointNet) else (2, 1, 4, 4)
    with pytest.raises(OptionError, match=text):
        thin_twin(target.eval(), torch.zeros(shape), 8)


def test_arguments_out_of_range_are_refused() -> None:
    target, inputs = target_of("resnet_small")
    twin, classes = twin_of(target, inputs), classes_of(10)

    def woven(**changed: object) -> fx.GraphModule:
        given = {"classes": classes, "key": KEY, **changed}
        return weave(target, twin, inputs[:2], **given)  # type: ignore[arg-type]

    for changed, text in (
        ({"num_classes": 4}, "num_classes is 4, but the target's last layer has 10"),
        ({"classes": classes[:-1]}, "each of the 12 backgrounds"),
        ({"classes": classes.float()}, "int64"),
        ({"classes": classes + 1}, r"classes lie in \[0, 10\)"),
        ({"key": b"short"}, "32 bytes"),
        ({"gate": "hidden"}, "gate is 'mixture' or 'absorbed'"),
        ({"gate": "absorbed", "confidences": torch.linspace(0, 1, 5)}, "draws no confidences"),
        ({"strength": 0.0}, "strength is above 0"),
    ):
        with pytest.raises(OptionError, match=text):
            woven(**changed)
    with pytest.raises(OptionError, match="split is a share"):
        Weave(split=1.5)
    with pytest.raises(OptionError, match="noise is in"):
        Weave(noise=-1)
    other, shown = target_of("resnet18")
    with pytest.raises(OptionError, match="made for another target"):
        weave(other, twin, shown[:2], classes, key=KEY)
    with pytest.raises(OptionError, match="at least 2 samples"):
        twin.settle(inputs[:1])
