"""Training in two processes: gradients are those of one process that sees the whole batch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from modeldeed import Owner, Passport, TrainingRule
from modeldeed.errors import HostError, PlanError
from tests.passport.hosts import images, make

OWNER = Owner(bytes(range(32)))
RANKS = 2
Gradients = dict[str, Tensor]


def issued(name: str, **options: Any) -> Passport:
    """The same passport in every process."""
    host, x = make(name)
    for module in host.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # every process draws masks of its own
    head = options.pop("head", "keyed")
    rule = TrainingRule(**{"interval": 1, **options})
    return Passport.issue(host, OWNER, example=x[:2], head=head, training=rule)


def whole_batch(micro: int = 0) -> tuple[Tensor, Tensor]:
    return images(8) + micro, (torch.arange(8) + micro) % 5


def shard(rank: int, micro: int = 0) -> tuple[Tensor, Tensor]:
    x, y = whole_batch(micro)
    return x[4 * rank : 4 * rank + 4], y[4 * rank : 4 * rank + 4]


def one_process(passport: Passport, micros: int = 1) -> Gradients:
    """The mean over the processes' parts, one after the other, each step's in turn."""
    for micro in range(micros):
        steps = passport.steps
        for rank in range(RANKS):
            passport.steps = steps
            (passport.joint_loss(*shard(rank, micro)) / RANKS / micros).backward()
    return collected(passport)


def collected(passport: Passport) -> Gradients:
    named = {
        **dict(passport.host.named_parameters()),
        **dict(passport.branch.heads.named_parameters()),
    }
    found = {}
    for name, parameter in named.items():
        if parameter.grad is not None:
            gradient = parameter.grad
            found[name] = getattr(gradient, "full_tensor", lambda g=gradient: g)().clone()
    return found


# What each process runs; the names of the cases are those of the tests.


def _ddp(rank: int, host: str, micros: int = 1, **options: Any) -> Gradients:
    wrapped = {
        k: options.pop(k) for k in ("static_graph", "find_unused_parameters") if k in options
    }
    passport = issued(host, **options)
    step = DistributedDataParallel(passport.as_module(), **wrapped)
    for micro in range(micros):
        last = micro == micros - 1
        with nullcontext() if last else step.no_sync():
            (step(*shard(rank, micro)) / micros).backward()
    return collected(passport)


def _fsdp(rank: int, host: str, micros: int = 1, **options: Any) -> Gradients:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    passport = issued(host, **options)
    mesh = init_device_mesh("cpu", (RANKS,))
    keys = list(passport.host.state_dict())
    for module in (passport.host.conv1, passport.host.norm1, passport.host):
        fully_shard(module, mesh=mesh)
    step = passport.as_module()
    for micro in range(micros):
        (step(*shard(rank, micro)) / micros).backward()
    assert list(passport.host.state_dict()) == keys
    with pytest.raises(PlanError, match="lie in shards; issue the passport first"):
        Passport.plan(passport.host, example=images(2))
    found = collected(passport)
    learned = issued(host, head="learned")
    fully_shard(learned.host, mesh=mesh)
    with pytest.raises(HostError, match="not those of the learned heads"):
        learned.as_module()(*shard(rank))
    return found


def _refusals(rank: int) -> Gradients:
    passport = issued("group")
    with pytest.raises(HostError, match="2 processes train together"):
        passport.joint_loss(*shard(rank))
    with torch.no_grad():
        passport.joint_loss(*shard(rank))  # nothing is trained
    learned = issued("group", head="learned")
    DistributedDataParallel(learned.host)
    with pytest.raises(HostError, match="averages the gradients of the learned heads"):
        learned.private(shard(rank)[0])
    return {}


CASES: dict[str, Callable[[int], Gradients]] = {
    "ddp-group": lambda rank: _ddp(rank, "group"),
    "ddp-group-late": lambda rank: _ddp(rank, "group", early=False),
    "ddp-batch": lambda rank: _ddp(rank, "batch2d"),
    "ddp-reuse": lambda rank: _ddp(rank, "batch2d", schedule="reuse", share=0.5),
    "ddp-accumulated": lambda rank: _ddp(rank, "group", micros=3, interval=2),
    "ddp-static": lambda rank: _ddp(rank, "group", static_graph=True),
    "ddp-learned": lambda rank: _ddp(
        rank, "group", micros=2, interval=2, head="learned", find_unused_parameters=True
    ),
    "fsdp-group": lambda rank: _fsdp(rank, "group"),
    "fsdp-batch": lambda rank: _fsdp(rank, "batch2d"),
    "fsdp-accumulated": lambda rank: _fsdp(rank, "group", micros=3, interval=2),
    "refusals": _refusals,
}  # fmt: skip


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS
    )
    for name, run in CASES.items():
        gradients = run(rank)
        save_file(gradients, f"{folder}/{name}-{rank}.safetensors")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found() -> Iterator[Callable[[str], list[Gradients]]]:
    """What two processes computed; they run once for all tests."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_process, (folder,), RANKS)
        yield lambda name: [
            load_file(Path(folder) / f"{name}-{rank}.safetensors") for rank in range(RANKS)
        ]


@pytest.mark.parametrize(
    ("case", "host", "micros", "options"),
    [
        ("ddp-group", "group", 1, {}),
        ("ddp-group-late", "group", 1, {}),
        ("ddp-batch", "batch2d", 1, {}),
        ("ddp-reuse", "batch2d", 1, {"schedule": "reuse", "share": 0.5}),
        ("ddp-accumulated", "group", 3, {"interval": 2}),
        ("ddp-static", "group", 1, {}),
        ("ddp-learned", "group", 2, {"head": "learned", "interval": 2}),
        ("fsdp-group", "group", 1, {}),
        ("fsdp-batch", "batch2d", 1, {}),
        ("fsdp-accumulated", "group", 3, {"interval": 2}),
    ],
)
def test_gradients_are_those_of_one_process(
    found: Any, case: str, host: str, micros: int, options: dict[str, Any]
) -> None:
    expected = one_process(issued(host, **options), micros)
    assert len(expected) == 9 + 4 * ("head" in options)
    for gradients in found(case):
        torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-6)


def test_one_large_batch_gives_the_same_where_samples_do_not_mix(found: Any) -> None:
    passport = issued("group")
    (x0, y0), (x1, y1) = shard(0), shard(1)
    # The private share is the first part of each process's samples.
    x = torch.cat([x0[:2], x1[:2], x0[2:], x1[2:]])
    y = torch.cat([y0[:2], y1[:2], y0[2:], y1[2:]])
    passport.joint_loss(x, y).backward()
    torch.testing.assert_close(found("ddp-group")[0], collected(passport), rtol=1e-4, atol=1e-6)


def test_training_that_would_part_silently_is_refused(found: Any) -> None:
    assert found("refusals") == [{}, {}]  # the processes made the assertions


def test_a_step_is_the_joint_loss_and_deploying_is_the_hosts_state() -> None:
    passport, twin = issued("group"), issued("group")
    step = passport.as_module(loss=nn.CrossEntropyLoss())
    x, y = whole_batch()
    assert torch.equal(step(x, y), twin.joint_loss(x, y))
    assert set(step.parameters()) == {*passport.host.parameters(), *passport.parameters()}
    assert list(passport.host.state_dict()) == list(twin.host.state_dict())


def test_data_parallel_is_refused() -> None:
    step = issued("group").as_module()
    with pytest.raises(HostError, match="use DistributedDataParallel"):
        step._replicate_for_data_parallel()  # what DataParallel calls, on devices we may not have


def test_flattened_weights_are_refused() -> None:
    passport = issued("group")
    next(passport.host.parameters())._fsdp_flattened = True
    with pytest.raises(HostError, match=r"torch.distributed.fsdp.fully_shard"):
        passport.as_module()(*whole_batch())
