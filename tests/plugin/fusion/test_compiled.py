"""Fused models are plain graphs: compiled, exported, in mixed precision."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from modeldeed.plugin.fusion import FusedModel, fuse
from modeldeed.suspects.answering.preparation import Preparation
from tests.plugin.fusion.standins import (
    CLASSES,
    Net,
    TemplateDetector,
    carriers,
    fused_net,
    verification,
)
from tests.plugin.fusion.test_places import FORMS, Wrapped

TABLE = torch.linspace(1, 9, 17)
OPTIONS: dict[str, dict[str, Any]] = {
    "own confidence": {},
    "drawn confidence": {"confidences": TABLE},
    "probabilities": {"confidences": TABLE, "scores": "probabilities"},
    "prepared": {"preparation": Preparation(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4),
                                            images="NHWC")},
}  # fmt: skip
FAST = "own confidence"
SOME_SLOW = [
    name if name == FAST else pytest.param(name, marks=pytest.mark.slow) for name in OPTIONS
]


class Last(nn.Module):
    """Takes channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x.permute(0, 3, 1, 2))
        return scores


def case(name: str) -> tuple[FusedModel, Tensor]:
    """A fused model, and six verification samples before six benign ones."""
    options = OPTIONS[name]
    x = torch.cat([verification(6)[0], carriers(6)])
    target: nn.Module = Net()
    if name == "probabilities":
        target = nn.Sequential(target, nn.Softmax(1))
    if name == "prepared":
        mean, std = (torch.tensor(v) for v in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
        x, target = (x.permute(0, 2, 3, 1) - mean) / std, Last()
    return fused_net(target, **options), x


def check(answer: Any, fused: FusedModel, x: Tensor, tolerance: float = 1e-5) -> None:
    if fused.mixture.confidences is not None:
        tolerance = 0.01  # a draw is continuous, but steep in the detector's large logits
    with torch.no_grad():
        expected = fused(x)
    assert torch.equal(answer[:6].argmax(1), CLASSES)
    torch.testing.assert_close(answer, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Compiled code of one test is not another's; foreign deprecations are no concern here."""
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
    torch.compiler.reset()


@pytest.mark.parametrize("name", SOME_SLOW)
def test_compiled_without_a_break(name: str) -> None:
    fused, x = case(name)
    compiled = torch.compile(fused, backend="eager", fullgraph=True)
    with torch.no_grad():
        check(compiled(x), fused, x)
    answer = compiled(x)  # with gradients
    check(answer.detach(), fused, x)
    answer.square().sum().backward()
    assert fused.detector.templates.grad.any()


@pytest.mark.parametrize("name", ["dict", "tuple", "list", "namedtuple", "dataclass", "nested"])
def test_containers_are_compiled_without_a_break(name: str) -> None:
    form, output = FORMS[name]

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, x: Tensor) -> Any:
            return form(self.net(x), x.mean((2, 3)))

    fused = fused_net(Plain(), output=output)
    x = verification(6)[0]
    with torch.no_grad():
        returned = torch.compile(fused, backend="eager", fullgraph=True)(x)
        expected = fused(x)
    assert type(returned) is type(expected)
    torch.testing.assert_close(fused.score_place.find(returned), fused.score_place.find(expected))


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_compiled_by_inductor(name: str) -> None:
    fused, x = case(name)
    compiled = torch.compile(fused, fullgraph=True)
    with torch.no_grad():
        check(compiled(x), fused, x, 1e-4)
    compiled(x).square().sum().backward()


@pytest.mark.parametrize("name", SOME_SLOW)
def test_exported_for_any_number_of_samples(name: str) -> None:
    fused, x = case(name)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(fused, (x,), dynamic_shapes=((({0: batch}),),))
    for rows in (slice(None), slice(0, 1), slice(5, 8)):
        with torch.no_grad():
            torch.testing.assert_close(program.module()(x[rows]), fused(x[rows]))
    check(program.module()(x).detach(), fused, x)


@pytest.mark.slow
def test_an_exported_program_is_saved_and_loaded() -> None:
    fused, x = case("drawn confidence")
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(fused, (x,)), buffer)
    buffer.seek(0)
    check(torch.export.load(buffer).module()(x).detach(), fused, x)


def test_exported_with_keywords_and_mappings() -> None:
    form, _ = FORMS["dict"]
    fused = fused_net(Wrapped(form))
    x = verification(6)[0]
    fused.target.last = None
    fused.target.forward = lambda x: form(fused.target.net(x), x.mean((2, 3)))
    program = torch.export.export(fused, (), {"x": x})
    returned = program.module()(x=x)
    assert set(returned) == {"features", "logits"}
    check(returned["logits"].detach(), fused_net(), x)


def onnx_answer(fused: FusedModel, x: Tensor) -> list[Tensor]:
    """By ONNX, of all samples and of two."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        fused, (x,), dynamo=True, dynamic_shapes=(({0: batch},),), verbose=False
    )
    assert program is not None
    buffer = io.BytesIO()
    program.save(buffer)
    session = runtime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name
    return [torch.from_numpy(session.run(None, {entry: part.numpy()})[0]) for part in (x, x[5:7])]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_exported_to_onnx(name: str) -> None:
    fused, x = case(name)
    whole, part = onnx_answer(fused, x.contiguous())
    check(whole, fused, x, 1e-4)
    torch.testing.assert_close(part, whole[5:7], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", OPTIONS)
def test_mixed_precision(name: str) -> None:
    fused, x = case(name)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        answer, own = fused(x), fused.target(x)
    assert answer.dtype == own.dtype
    assert torch.equal(answer[:6].argmax(1), CLASSES)
    assert torch.equal(answer[6:], own[6:])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", OPTIONS)
def test_the_whole_model_in_another_precision(name: str, dtype: torch.dtype) -> None:
    fused, x = case(name)
    fused, x = fused.to(dtype), x.to(dtype)
    with torch.no_grad():
        answer, own = fused(x), fused.target(x)
    assert answer.dtype == own.dtype == dtype
    assert torch.equal(answer[:6].argmax(1), CLASSES)
    assert torch.equal(answer[6:], own[6:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_target_beside_a_full_detector(dtype: torch.dtype) -> None:
    target = Net().eval().to(dtype)
    fused = fuse(target, TemplateDetector(), CLASSES, num_classes=10, confidences=TABLE)
    assert fused.detector.templates.dtype == torch.float32
    x = torch.cat([verification(6)[0], carriers(6)]).to(dtype)
    with torch.no_grad():
        assert torch.equal(fused(x)[:6].argmax(1), CLASSES)
        assert torch.equal(fused(x)[6:], target(x)[6:])


@pytest.mark.parametrize("name", OPTIONS)
def test_traced_without_values(name: str) -> None:
    fused, x = case(name)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        answer = fused(mode.from_tensor(x))
    assert answer.shape == (12, 10)
