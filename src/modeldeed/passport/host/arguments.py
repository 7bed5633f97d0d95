"""What a plan is asked for: a host that can be followed, and a batch of its input."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from modeldeed.errors import OptionError, PlanError
from modeldeed.passport.host.host_trace import all_tensors, described

__all__ = ["require_traceable"]


def require_traceable(model: object, example: Any) -> None:
    """Refuse what no forward should be tried on.

    Args:
        model: what was given as the host.
        example: what was given as a batch of its input.

    Raises:
        OptionError: the model is no module, or the example holds no tensor.
        PlanError: the model is a wrapper, compiled to a script, or has no values.
    """
    if isinstance(model, type):
        raise OptionError(
            f"model is a torch.nn.Module, got the class {model.__name__}; make an instance of it"
        )
    if not isinstance(model, nn.Module):
        raise OptionError(f"model is a torch.nn.Module, got {type(model).__name__}")
    _refuse_wrapped(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise PlanError("a TorchScript module cannot be followed; use the module it was made from")
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise PlanError(
            "the host lies on the meta device: it has shapes and no values; load its weights first"
        )
    if not all_tensors(example):
        raise OptionError(
            f"example is a batch of the host's input (a tensor, or a tuple or dict of them), got "
            f"{described(example) or 'nothing'}"
        )


def _refuse_wrapped(model: nn.Module) -> None:
    """Refuse a wrapper: its prefix would stand in every name, and in no deployed file."""
    packages = ("torch.nn.parallel", "torch._dynamo", "torch.distributed")
    for attribute, wrapper in (("_orig_mod", "torch.compile"), ("module", "a parallel wrapper")):
        parallel = type(model).__module__.startswith(packages)
        if parallel and isinstance(getattr(model, attribute, None), nn.Module):
            raise PlanError(
                f"this {type(model).__name__} is made by {wrapper}; issue the passport on the "
                f"model inside (model.{attribute})"
            )
    if any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
        raise PlanError(
            "the host's weights lie in shards; issue the passport first, then call fully_shard"
        )
