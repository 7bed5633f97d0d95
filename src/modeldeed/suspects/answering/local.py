"""Suspects in this process: a Python callable, a torch module, an exported program."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.export import ExportedProgram

from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError, SuspectError
from modeldeed.suspects.answering.batches import groups
from modeldeed.suspects.answering.outputs import answers_of
from modeldeed.suspects.answering.preparation import Inputs, Prepare, described, name_of
from modeldeed.suspects.answering.suspect import Answers, Suspect, joined_answers
from modeldeed.suspects.answering.untouched import untouched

__all__ = ["CallableSuspect", "ModuleSuspect", "ProgramSuspect", "cut", "padded"]

# What PyTorch and models raise on inputs that do not fit them.
_FAILURES = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    NotImplementedError, AssertionError,
)  # fmt: skip


class _Local(Suspect):
    """A suspect that answers group by group in this process."""

    def __init__(self, label: str, prepare: Prepare, group_size: int) -> None:
        super().__init__(label, group_size)
        self._prepare = prepare

    def _outputs(self, inputs: Inputs) -> Any:
        raise NotImplementedError

    def _answers(self, batch: Tensor) -> Answers:
        parts = []
        for group in groups(batch, self.group_size):
            self.queries += len(group)
            self.attempts += len(group)
            parts.append(self._answered(self._prepare(group), len(group)))
        return joined_answers(parts, self.label)

    def _answered(self, inputs: Inputs, count: int) -> Answers:
        return answers_of(self._outputs(inputs), count, self.label)

    def _failed(self, error: Exception, inputs: Inputs) -> SuspectError:
        return SuspectError(
            f"{self.label} failed on {_form(inputs)}: {type(error).__name__}: {error}; if it "
            "expects another layout or scale, give prepare=Preparation(...)"
        )


class CallableSuspect(_Local):
    """Any function from prepared inputs to scores or classes.

    Only its name tells it from others, so no transcript of it is kept; and it may pass its groups
    on to somebody. What the function raises is its owner's business and passes through.

    Args:
        function: called with what ``prepare`` makes of a group of samples.
        prepare: how samples become its input.
        group_size: the most samples in one call.
    """

    sees_groups = True
    identified = False

    def __init__(
        self, function: Callable[[Any], Any], *, prepare: Prepare, group_size: int = 64
    ) -> None:
        super().__init__(f"function {name_of(function)}", prepare, group_size)
        self._function = function

    def description(self) -> dict[str, JsonValue]:
        """The function's name and the preparation."""
        return {
            "kind": "callable",
            "name": name_of(self._function),
            "preparation": described(self._prepare),
        }

    def _outputs(self, inputs: Inputs) -> Any:
        return self._function(inputs)


class ModuleSuspect(_Local):
    """A torch module, on whatever device it is; asked in eval mode and left as it was.

    Modes, buffers and PyTorch's random numbers are the same after a call as before, also when the
    call fails. Floating-point inputs get the dtype of the module's parameters.

    Args:
        module: held by reference.
        prepare: how samples become its input; a mapping is passed as keyword arguments.
        group_size: the most samples in one forward.
    """

    def __init__(self, module: nn.Module, *, prepare: Prepare, group_size: int = 64) -> None:
        super().__init__(f"module {type(module).__qualname__}", prepare, group_size)
        self._module = module

    def description(self) -> dict[str, JsonValue]:
        """The module's class, the digest of its tensors, and the preparation.

        Raises:
            SuspectError: a tensor of it has no digest.
        """
        return {
            "kind": "module",
            "class": name_of(type(self._module)),
            "weights": _root(self._module.state_dict(), self.label),
            "preparation": described(self._prepare),
        }

    def _outputs(self, inputs: Inputs) -> Any:
        with untouched(self._module), torch.no_grad():
            self._module.eval()
            try:
                return _called(self._module, _moved(inputs, self._module))
            except _FAILURES as error:
                raise self._failed(error, inputs) from error


class ProgramSuspect(_Local):
    """A program of ``torch.export``, held in memory.

    A program that was exported for a fixed number of samples is fed that many: the last group is
    filled up with repetitions, whose answers are dropped.

    Args:
        program: taken as it is; a mapping that ``prepare`` makes is passed as keyword arguments.
        prepare: how samples become its input.
        group_size: the most samples in one call where the program takes any number.
    """

    def __init__(self, program: ExportedProgram, *, prepare: Prepare, group_size: int = 64) -> None:
        self._fixed = _fixed_count(program)
        super().__init__("exported program", prepare, self._fixed or group_size)
        self._program = program
        self._module = program.module()

    def description(self) -> dict[str, JsonValue]:
        """Digests of the program's graph and tensors, and the preparation.

        Raises:
            SuspectError: a tensor of it has no digest.
        """
        graph = str(self._program.graph).encode()
        return {
            "kind": "program",
            "graph": hashlib.sha256(graph).hexdigest(),
            "weights": _root(dict(self._program.state_dict), self.label),
            "preparation": described(self._prepare),
        }

    def _answered(self, inputs: Inputs, count: int) -> Answers:
        filled = padded(inputs, self._fixed) if self._fixed else inputs
        outputs = answers_of(self._outputs(filled), self._fixed or count, self.label)
        return cut(outputs, count)

    def _outputs(self, inputs: Inputs) -> Any:
        with untouched(self._module), torch.no_grad():
            try:
                return _called(self._module, _moved(inputs, self._module))
            except _FAILURES as error:
                raise self._failed(error, inputs) from error


def padded(inputs: Inputs, size: int) -> Inputs:
    """Repeat the last sample until there are ``size``."""
    if isinstance(inputs, dict):
        return {name: _filled(tensor, size) for name, tensor in inputs.items()}
    return _filled(inputs, size)


def cut(answers: Answers, count: int) -> Answers:
    """The first answers, without those to repetitions."""
    scores = answers.probabilities
    return Answers(answers.labels[:count], None if scores is None else scores[:count])


def _filled(tensor: Tensor, size: int) -> Tensor:
    missing = size - len(tensor)
    return (
        tensor
        if missing <= 0
        else torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])])
    )


def _called(module: nn.Module, inputs: Inputs) -> Any:
    return module(**inputs) if isinstance(inputs, dict) else module(inputs)


def _moved(inputs: Inputs, module: nn.Module) -> Inputs:
    """The inputs on the module's device, floats in its dtype."""
    tensors = [*module.parameters(), *module.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    floats = [p.dtype for p in module.parameters() if p.is_floating_point()]
    dtype = floats[0] if floats else torch.float32

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    if isinstance(inputs, dict):
        return {name: moved(tensor) for name, tensor in inputs.items()}
    return moved(inputs)


def _fixed_count(program: ExportedProgram) -> int | None:
    """For how many samples a program was exported; None for any number."""
    wanted = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in wanted:
            value = node.meta.get("val")
            if isinstance(value, Tensor) and value.dim():
                size = value.shape[0]
                return size if isinstance(size, int) else None
    return None


def _root(state: dict[str, Any], label: str) -> str:
    tensors = {name: t for name, t in state.items() if isinstance(t, Tensor)}
    try:
        return tensor_root(tensors).hex()
    except (EvidenceError, RuntimeError, NotImplementedError) as error:
        raise SuspectError(f"{label} has no digest: {error}") from error


def _form(inputs: Inputs) -> str:
    if isinstance(inputs, Tensor):
        return f"{inputs.dtype} {tuple(inputs.shape)}"
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in inputs.items())
