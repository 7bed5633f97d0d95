"""Functions, modules and exported programs: their answers, and that they stay as they were."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from modeldeed.errors import OptionError, SuspectError
from modeldeed.suspects.answering import Answers, Preparation, Suspect, open_suspect
from modeldeed.suspects.answering.suspect import labels_of
from tests.suspects.answering.models import images, tiny_model


def plain_labels(scores: Tensor) -> tuple[int | None, ...]:
    """The slow twin of `labels_of`."""
    found: list[int | None] = []
    for row in scores.tolist():
        best = 0
        for place, score in enumerate(row):
            best = place if score > row[best] else best
        found.append(None if any(map(math.isnan, row)) else best)
    return tuple(found)


def test_the_label_is_the_first_of_the_highest() -> None:
    random = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 3, (500, 40), generator=random).float()
    scores[::7, 3] = float("nan")
    scores[::11, 5] = float("inf")
    assert labels_of(scores) == plain_labels(scores)
    assert labels_of(torch.full((1, 4), -torch.inf)) == (0,)


def test_a_module_answers_in_eval_mode_whatever_its_mode() -> None:
    batch, model = images(70), tiny_model()
    with torch.no_grad():
        expected = tiny_model().eval()(batch.float() / 255)
    suspect = open_suspect(model, group_size=32)
    found = suspect.answers(batch)
    torch.testing.assert_close(found.probabilities, expected)
    assert found.labels == plain_labels(found.probabilities)
    assert (suspect.queries, suspect.attempts) == (70, 70)
    assert torch.equal(suspect.probabilities(batch), found.probabilities)
    assert suspect.queries == 140


class Restless(nn.Module):
    """Changes its buffers, its modes and the random numbers, and may fail."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.inner = tiny_model()
        self.fails = fails
        self.register_buffer("count", torch.tensor([0.0, float("nan"), -0.0]))
        self.register_buffer("replaced", torch.zeros(2), persistent=False)
        self.register_buffer("nothing", None)

    def forward(self, x: Tensor) -> Tensor:
        self.count += torch.rand(3) + 1
        self.replaced = torch.ones(2)
        self.inner[3].train()
        if self.fails:
            raise RuntimeError("broken")
        return self.inner(x)


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().numpy().tobytes()


@pytest.mark.parametrize("fails", [False, True])
def test_a_module_is_left_bit_for_bit_as_it_was(fails: bool) -> None:
    model = Restless(fails)
    model.inner[1].eval()
    kept = copy.deepcopy(model)
    objects = {name: id(buffer) for name, buffer in model.named_buffers()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    if fails:
        with pytest.raises(SuspectError, match=r"RuntimeError: broken; .*prepare=Preparation"):
            open_suspect(model).answers(images(2))
    else:
        open_suspect(model).answers(images(2))
    assert [module.training for module in model.modules()] == modes
    assert {name: id(buffer) for name, buffer in model.named_buffers()} == objects
    for name, tensor in kept.state_dict().items():
        assert bits(model.state_dict()[name]) == bits(tensor), name
    assert bits(model.replaced) == bits(kept.replaced)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_floats_come_in_the_modules_dtype() -> None:
    model = tiny_model().double()
    assert open_suspect(model).answers(images(2)).probabilities.dtype == torch.float64
    assert open_suspect(tiny_model().bfloat16()).answers(images(2)).probabilities.dtype == (
        torch.float32
    )


class Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        return {"logits": (self.table(input_ids) * attention_mask[..., None]).sum(1)}


def test_a_mapping_is_passed_by_name() -> None:
    tokens = torch.tensor([[1, 2], [3, 4]])
    model = Embedding()
    found = open_suspect(model, prepare=Preparation(tokens="mapping")).answers(tokens)
    assert torch.equal(found.probabilities, model.table(tokens).sum(1).detach())


class Output(dict[str, Any]):
    """As the outputs of transformers: a mapping that has attributes as well."""


SCORES = torch.tensor([[0.0, 1.0], [3.0, 2.0]])
FORMS: dict[str, Any] = {
    "tensor": SCORES,
    "half": SCORES.half(),
    "tuple": (SCORES, torch.zeros(9)),
    "list of tensors": [SCORES, SCORES],
    "mapping": {"loss": torch.zeros(()), "logits": SCORES},
    "output": Output(logits=SCORES),
    "attribute": type("Result", (), {"logits": SCORES})(),
    "array": SCORES.numpy(),
    "classes": torch.tensor([1, 0]),
    "list of classes": [1, 0],
    "array of classes": np.array([1, 0], np.int32),
    "numpy integers": list(np.array([1, 0])),
    "answers": Answers((1, 0)),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_functions_return(form: str) -> None:
    suspect = open_suspect(lambda batch: FORMS[form])
    assert suspect.labels(images(2)) == (1, 0)
    assert all(type(label) is int for label in suspect.labels(images(2)))
    if "classes" in form or form == "answers":
        with pytest.raises(SuspectError, match="best class only"):
            suspect.probabilities(images(2))


def test_a_function_may_refuse() -> None:
    assert open_suspect(lambda batch: [None, 4]).labels(images(2)) == (None, 4)


@pytest.mark.parametrize(
    "outputs",
    [None, "ab", torch.zeros(2), torch.zeros(2, 1), torch.zeros(2, 3, 4), torch.zeros(3, 4),
     torch.zeros(2, 4, dtype=torch.int64), [1], [1, 2, 3], [True, False], [1.0, 2.0], {},
     {"loss": torch.zeros(2, 4)}, torch.tensor([True, False]), Answers((1,)), ()],
    ids=repr,
)  # fmt: skip
def test_outputs_of_another_form_are_no_answers(outputs: Any) -> None:
    with pytest.raises(SuspectError):
        open_suspect(lambda batch: outputs).answers(images(2))


def test_what_a_function_raises_passes_through() -> None:
    def broken(batch: Tensor) -> Tensor:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        open_suspect(broken).answers(images(1))


def program(count: int, dynamic: bool) -> Any:
    shapes = ({0: Dim("count", min=1, max=512)},) if dynamic else None
    return export(tiny_model().eval(), (torch.zeros(count, 3, 8, 8),), dynamic_shapes=shapes)


@pytest.mark.parametrize(("count", "dynamic"), [(2, True), (1, False), (4, False)])
def test_an_exported_program_answers_as_its_model(count: int, dynamic: bool) -> None:
    batch = images(7)
    suspect = open_suspect(program(count, dynamic))
    assert suspect.group_size == (64 if dynamic else count)
    found = suspect.answers(batch)
    expected = open_suspect(tiny_model()).answers(batch)
    torch.testing.assert_close(found.probabilities, expected.probabilities)
    assert found.labels == expected.labels
    assert suspect.queries == 7


def test_a_program_that_does_not_fit_says_so() -> None:
    suspect = open_suspect(program(2, True))
    with pytest.raises(SuspectError, match=r"exported program failed on torch.float32 \(1, 3, 9"):
        suspect.answers(torch.zeros(1, 3, 9, 9, dtype=torch.uint8))


def named(batch: Tensor) -> Tensor:
    return batch.mean((2, 3))


def test_identities() -> None:
    other = tiny_model()
    other[0].weight.data[0] += 1
    suspects = [
        open_suspect(named),
        open_suspect(named, prepare=Preparation(images="NHWC")),
        open_suspect(named, prepare=lambda batch: batch.float()),
        open_suspect(tiny_model()),
        open_suspect(other),
        open_suspect(program(2, True)),
    ]
    assert len({suspect.identity() for suspect in suspects}) == len(suspects)
    assert open_suspect(tiny_model(), group_size=3).identity() == suspects[3].identity()
    assert all(isinstance(each, Suspect) and each.label.isprintable() for each in suspects)
    with pytest.raises(OptionError, match="at least 1"):
        open_suspect(named, group_size=0)
