"""The detector as a module: sizes, cost, batches, modes, precision, export."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds import background_rule
from modeldeed.plugin.detector import Detector, DetectorConfig, detector_for
from tests.plugin.detector.conftest import FORMS, carriers, rule_for, unit_scale


def samples(name: str, count: int) -> torch.Tensor:
    return unit_scale(carriers(name, count, 7))


@pytest.mark.parametrize(
    "form",
    [
        ImageInput(channels=1, height=8, width=8),
        ImageInput(channels=3, height=224, width=224),
        ImageInput(channels=3, height=227, width=300),
        ImageInput(channels=64, height=32, width=32),
        PointInput(points=2048),
        AudioInput(samples=16_000),
    ],
    ids=str,
)
def test_it_is_small_and_fast(form: ImageInput | PointInput | AudioInput) -> None:
    detector = detector_for(background_rule(form))
    shape = {
        "image": lambda: (form.channels, form.height, form.width),  # type: ignore[union-attr]
        "points": lambda: (form.points, 3),  # type: ignore[union-attr]
        "audio": lambda: (form.samples,),  # type: ignore[union-attr]
    }[form.kind]()
    counter = FlopCounterMode(display=False)
    with counter:
        assert detector(torch.rand(1, *shape)).shape == (1, 169)
    assert sum(p.numel() for p in detector.parameters()) <= 100_000
    assert counter.get_total_flops() <= 6_000_000


@pytest.mark.parametrize("name", FORMS)
def test_a_sample_alone_is_a_sample_in_a_batch(name: str) -> None:
    detector, x = detector_for(rule_for(name)), samples(name, 9)
    together = detector(x)
    alone = torch.cat([detector(one[None]) for one in x])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    # Whatever is beside it, a sample of the same place in the batch is the same to the last bit.
    other = torch.cat([x[:4], x[:5] * 0.5])
    assert torch.equal(detector(other)[:4], together[:4])


@pytest.mark.parametrize("name", FORMS)
def test_modes_make_no_difference(name: str) -> None:
    detector, x = detector_for(rule_for(name)), samples(name, 4)
    assert torch.equal(detector.train()(x), detector.eval()(x))


def test_it_is_silent_until_it_is_trained() -> None:
    detector = detector_for(rule_for("images"))
    assert float(detector.threshold) == 1
    assert detector.detect(samples("images", 50)).unique().tolist() == [-1]


def test_making_one_leaves_global_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    first, second = detector_for(rule_for("images")), detector_for(rule_for("images"))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.first.weight, second.first.weight)
    second.reset(1)
    assert not torch.equal(first.first.weight, second.first.weight)


def test_detect_is_what_the_threshold_says() -> None:
    detector, x = detector_for(rule_for("images")), samples("images", 64)
    probability, index = detector(x).detach().softmax(1)[:, :-1].max(1)
    detector.threshold.fill_(float(probability.median()))
    expected = [
        int(i) if p > float(detector.threshold) else -1
        for p, i in zip(probability.tolist(), index, strict=True)
    ]
    found = detector.detect(x)
    assert found.tolist() == expected
    assert {-1} < set(expected)
    assert found.dtype == torch.int64


@pytest.mark.parametrize("name", FORMS)
def test_autocast_changes_nothing(name: str) -> None:
    detector, x = detector_for(rule_for(name)), samples(name, 4)
    plain = detector(x)
    with torch.autocast("cpu", torch.bfloat16):
        under = detector(x)
    assert under.dtype == torch.float32
    assert torch.equal(under, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", FORMS)
def test_converted_weights_still_work(name: str, dtype: torch.dtype) -> None:
    detector, x = detector_for(rule_for(name)), samples(name, 4)
    converted = copy.deepcopy(detector).to(dtype)
    logits = converted(x.to(dtype))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, detector(x), atol=0.15, rtol=0.1)


@pytest.mark.parametrize("name", FORMS)
def test_it_exports(name: str) -> None:
    detector, x = detector_for(rule_for(name)).eval(), samples(name, 3)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(detector, (x,), dynamic_shapes=({0: batch},))
    for part in (x, x[:1]):
        torch.testing.assert_close(program.module()(part), detector(part), atol=1e-5, rtol=1e-5)


def test_derivatives_reach_the_input() -> None:
    detector, x = detector_for(rule_for("images")), samples("images", 2).requires_grad_()
    detector(x).logsumexp(1).sum().backward()
    assert x.grad is not None
    assert bool((x.grad != 0).any())


def test_weights_and_threshold_are_saved_and_nothing_else() -> None:
    detector = detector_for(rule_for("large"))
    detector.threshold.fill_(0.9)
    names = {
        f"{layer}.{part}" for layer in ("first", "second", "last") for part in ("weight", "bias")
    }
    assert set(detector.state_dict()) == names | {"threshold"}
    file = io.BytesIO()
    torch.save(detector.state_dict(), file)
    file.seek(0)
    again = detector_for(rule_for("large"))
    again.load_state_dict(torch.load(file, weights_only=True))
    x = samples("large", 2)
    assert torch.equal(again(x), detector(x))
    assert float(again.threshold) == pytest.approx(0.9)


def test_only_plain_layers_hold_weights() -> None:
    detector = detector_for(rule_for("images"))
    kinds = {type(m) for m in detector.modules() if list(m.parameters(recurse=False))}
    assert kinds == {nn.Linear}


def test_its_configuration_is_json_and_checked() -> None:
    config = detector_for(rule_for("sound")).config
    assert DetectorConfig.model_validate_json(config.model_dump_json()) == config
    assert Detector(config).version == "perceptron/v1"
    with pytest.raises(ValueError, match="version"):
        DetectorConfig.model_validate_json(
            config.model_dump_json().replace("perceptron/v1", "perceptron/v2")
        )


def test_another_kind_of_model_is_not_trained() -> None:
    from modeldeed.plugin.backgrounds import Backgrounds
    from modeldeed.plugin.detector import train_detector

    with pytest.raises(OptionError, match="Detector"):
        train_detector(nn.Linear(2, 2), Backgrounds(bytes(32), rule_for("images")))  # type: ignore[arg-type]
