"""Training on several devices: a whole step as one module, and weights that lie in shards.

`DistributedDataParallel` averages the gradients of what runs within its own forward, so both
branches and the signature have to run there. `fully_shard` works on the host in place; the
readings then gather each bound weight, and their gradient is averaged as the others are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.errors import HostError

if TYPE_CHECKING:
    from modeldeed.passport.passport import Passport

__all__ = ["JointStep", "as_module", "require_averaged", "whole"]

Loss = Callable[[Any, Any], Tensor]


class _Here(threading.local):
    stepping = False


_here = _Here()


class JointStep(nn.Module):
    """One training step as a module: its forward is `Passport.joint_loss`.

    Made by `Passport.as_module`, to be wrapped in `DistributedDataParallel`. Its children are
    the host and the heads; what is deployed is the host's state dict, as ever.

    Args:
        passport: the passport.
        loss: ``(outputs, targets) -> scalar``, a mean over samples.
    """

    def __init__(self, passport: Passport, loss: Loss) -> None:
        super().__init__()
        self.host = passport.host
        self.heads = passport.branch.heads
        self.passport = passport
        self.loss = loss

    def forward(self, inputs: Any, targets: Any) -> Tensor:
        """Return the loss of one step on this process's part of the batch, a scalar.

        Raises:
            HostError: the host's weights were flattened, or are sharded and heads are learned.
        """
        if any(getattr(p, "_fsdp_flattened", False) for p in self.host.parameters()):
            raise HostError(
                "FullyShardedDataParallel flattens the weights, so that no channel can be read "
                "from them; use torch.distributed.fsdp.fully_shard on the host"
            )
        learned = next(self.heads.parameters(), None) is not None
        if learned and any(_is_sharded(p) for p in self.host.parameters()):
            raise HostError(
                "fully_shard averages the gradients of the host and not those of the learned "
                "heads; issue with head='keyed', or use DistributedDataParallel"
            )
        before, _here.stepping = _here.stepping, True
        try:
            return self.passport.joint_loss(inputs, targets, self.loss)
        finally:
            _here.stepping = before

    def _replicate_for_data_parallel(self) -> NoReturn:
        raise HostError(
            "DataParallel copies the host for every step, and the copies' norms are not those "
            "of the passport; use DistributedDataParallel, one process for each device"
        )


def as_module(self: Passport, loss: Loss = F.cross_entropy) -> JointStep:
    """A whole training step as one module, for `DistributedDataParallel`.

    Args:
        self: the passport.
        loss: ``(outputs, targets) -> scalar``, a mean over samples.

    Returns:
        A module that is called as ``module(inputs, targets)`` and returns what `joint_loss` does.
        Its parameters are the host's and those of learned heads.
    """
    return JointStep(self, loss)


def require_averaged(what: str) -> None:
    """Refuse to train something whose gradients would differ between processes, silently.

    Args:
        what: what would be trained, for the message.

    Raises:
        HostError: several processes train together, but not through a `JointStep`.
    """
    distributed = torch.distributed
    if _here.stepping or not torch.is_grad_enabled() or not distributed.is_available():
        return
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return
    raise HostError(
        f"{distributed.get_world_size()} processes train together, but nothing averages the "
        f"gradients of {what} between them; wrap passport.as_module() in "
        "DistributedDataParallel and call that, or shard the host with fully_shard and call "
        "passport.as_module() itself"
    )


def _is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor of which every process may hold a shard.

    Args:
        tensor: any tensor.

    Returns:
        The tensor itself when it is no ``DTensor``. Otherwise its full value on every process;
        its gradient is the mean over the processes, as that of a sharded host's other parts.

    Note:
        A sharded tensor is gathered, so all processes must call this together.
    """
    if not _is_sharded(tensor):
        return tensor
    from torch.distributed.tensor import Partial  # noqa: PLC0415 - only sharded hosts need it

    sharded: Any = tensor
    mesh = sharded.device_mesh
    value: Tensor = sharded.full_tensor(grad_placements=[Partial()] * mesh.ndim)
    if value.requires_grad:
        value.register_hook(lambda gradient: gradient / mesh.size())  # type: ignore[no-untyped-call]
    return value
