"""What inputs a host takes: fixed in the anchor, so that nobody chooses probes afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from modeldeed.evidence_model import EvidenceModel, Name

__all__ = ["ProbeInput", "ProbeTensor"]

MAX_NUMBERS = 2**22  # of one sample; an aligned reading makes 64 of them
MAX_TENSORS = 32

_Dtype = Literal[
    "float16", "bfloat16", "float32", "float64",
    "bool", "uint8", "int8", "int16", "int32", "int64",
]  # fmt: skip
_Dimension = Annotated[int, Field(ge=0, le=MAX_NUMBERS)]
_Integer = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class ProbeTensor(EvidenceModel):
    """One tensor of a host's input.

    Attributes:
        name: of the keyword; None where inputs are positional.
        shape: of one sample, without the batch.
        dtype: as PyTorch calls it.
        low: of integers, the least value that may be drawn; None for floating point.
        high: likewise the largest.
    """

    name: Name | None = None
    shape: Annotated[tuple[_Dimension, ...], Field(max_length=8)]
    dtype: _Dtype
    low: _Integer | None = None
    high: _Integer | None = None

    @model_validator(mode="after")
    def _check(self) -> ProbeTensor:
        if math.prod(self.shape) > MAX_NUMBERS:
            raise ValueError(f"one sample has more than {MAX_NUMBERS} numbers")
        bounded = (self.low is not None, self.high is not None)
        if bounded != (not self.floating,) * 2:
            raise ValueError("integers have bounds, floating point has none")
        if self.low is not None and self.high is not None:
            limits = (0, 1) if self.dtype == "bool" else _limits(self.torch_dtype)
            if not limits[0] <= self.low <= self.high <= limits[1]:
                raise ValueError(f"{self.low} … {self.high} is no range of {self.dtype}")
        return self

    @property
    def torch_dtype(self) -> torch.dtype:
        """PyTorch's object."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    @property
    def floating(self) -> bool:
        """Whether it holds floating point."""
        return self.torch_dtype.is_floating_point


class ProbeInput(EvidenceModel):
    """The input of a host, as far as probes need it.

    Attributes:
        rule: version of the probes' distribution.
        form: a tensor, positional arguments, or keyword arguments.
        batch_dim: which dimension is the batch, of every tensor.
        tensors: one by one.
    """

    rule: Literal["probes/v1"] = "probes/v1"
    form: Literal["tensor", "arguments", "keywords"]
    batch_dim: Annotated[int, Field(ge=0, le=8)] = 0
    tensors: Annotated[tuple[ProbeTensor, ...], Field(min_length=1, max_length=MAX_TENSORS)]

    @model_validator(mode="after")
    def _check(self) -> ProbeInput:
        names = [tensor.name for tensor in self.tensors]
        if self.form == "keywords" and (None in names or len(set(names)) < len(names)):
            raise ValueError("keyword arguments have names, each its own")
        if self.form != "keywords" and any(names):
            raise ValueError("only keyword arguments have names")
        if self.form == "tensor" and len(names) != 1:
            raise ValueError("a tensor is one")
        if any(self.batch_dim > len(tensor.shape) for tensor in self.tensors):
            raise ValueError("a tensor has no such batch dimension")
        return self

    @classmethod
    def of(cls, example: Any, batch_dim: int = 0) -> ProbeInput | None:
        """Describe a batch of a host's input.

        Args:
            example: a tensor, a tuple or list of tensors, or a dict of them. Of integers the
                smallest and the largest value are kept: 0 … largest, unless all are the same.
            batch_dim: which dimension is the batch.

        Returns:
            The description; None where it is anything else, as nested inputs, tensors without
            a common batch, or more than 32 of them: such hosts have no aligned reading.

        Example:
            >>> ProbeInput.of(torch.zeros(4, 3, 8, 8)).tensors[0].shape
            (3, 8, 8)
        """
        entries: list[tuple[str | None, Any]]
        if isinstance(example, Tensor):
            form, entries = "tensor", [(None, example)]
        elif isinstance(example, Mapping):
            form, entries = "keywords", [(str(name), value) for name, value in example.items()]
        elif isinstance(example, tuple | list):
            form, entries = "arguments", [(None, value) for value in example]
        else:
            return None
        tensors = [value for _, value in entries if isinstance(value, Tensor)]
        dims = [t.dim() for t in tensors]
        if len(tensors) != len(entries) or not dims or not 0 <= batch_dim < min(dims):
            return None
        if len({tensor.shape[batch_dim] for tensor in tensors}) != 1:
            return None
        try:
            return cls(
                form=form,  # type: ignore[arg-type]
                batch_dim=batch_dim,
                tensors=tuple(_described(n, value, batch_dim) for n, value in entries),
            )
        except ValidationError:  # too large, or of a type that no probe is drawn in
            return None


def _limits(dtype: torch.dtype) -> tuple[int, int]:
    info = torch.iinfo(dtype)
    return int(info.min), int(info.max)


def _described(name: str | None, value: Tensor, batch_dim: int) -> ProbeTensor:
    low = high = None
    if not (value.is_floating_point() or value.is_complex()):
        low, high = (int(value.min()), int(value.max())) if value.numel() else (0, 0)
        low = min(low, 0) if low != high else low
    return ProbeTensor(
        name=name,
        shape=tuple(size for d, size in enumerate(value.shape) if d != batch_dim),
        dtype=str(value.dtype).removeprefix("torch."),  # type: ignore[arg-type]
        low=low,
        high=high,
    )
