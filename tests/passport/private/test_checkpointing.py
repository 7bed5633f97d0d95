"""Activation checkpointing: private gradients are those of the same host without it."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modeldeed import Owner, Passport, TrainingRule
from modeldeed.errors import HostError
from tests.passport.hosts import images, tokens

OWNER = Owner(bytes(range(32)))
REENTRANT = pytest.mark.parametrize("reentrant", [False, True])
Norm = Callable[[int], nn.Module]


def block(channels: int, norm: Norm) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(12, channels, 3, padding=1), norm(channels), nn.ReLU(), nn.Dropout(0.2)
    )


class Blocks(nn.Module):
    """A stem and two blocks, which may be checkpointed."""

    def __init__(self, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 12, 3, padding=1), norm(12), nn.ReLU())
        self.blocks = nn.ModuleList([block(12, norm), block(16, norm)])
        self.fc = nn.Linear(16, 5)
        self.reentrant: bool | None = None
        self.wrap: Callable[[Tensor], Any] = lambda logits: logits
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        for each in self.blocks:
            if self.reentrant is None:
                x = each(x)
            else:
                x = checkpoint(each, x, use_reentrant=self.reentrant)
        return self.wrap(self.fc(x.mean((2, 3))))


def pair(norm: Norm = nn.BatchNorm2d, **rule: Any) -> tuple[Passport, Passport]:
    """A passport on a host, and one on a copy that is to be checkpointed."""
    torch.manual_seed(0)
    plain = Blocks(norm)
    checkpointed = copy.deepcopy(plain)
    made = [
        Passport.issue(host, OWNER, example=images(2), training=TrainingRule(interval=1, **rule))
        for host in (plain, checkpointed)
    ]
    return made[0], made[1]


def assert_ordinary(host: nn.Module) -> None:
    """Nothing of a private call is left on the host's layers."""
    assert not any("forward" in vars(module) for module in host.modules())
    assert not any(module._forward_pre_hooks for module in host.modules())


def gradients(host: nn.Module, run: Callable[[], Tensor]) -> dict[str, Tensor]:
    host.zero_grad()
    torch.manual_seed(1)
    run().backward()
    assert_ordinary(host)
    return {name: p.grad.clone() for name, p in host.named_parameters() if p.grad is not None}


def paths(passport: Passport) -> dict[str, Callable[[], Tensor]]:
    """Every way in which private gradients are made."""
    x, y = images(), torch.arange(8) % 5

    def joint() -> Tensor:
        public, private = passport.joint(x)
        # Private first, then public: the engine takes the later graph first, in one backward.
        return F.cross_entropy(private, y[: len(private)]) + F.cross_entropy(public, y)

    def reversed_joint() -> Tensor:
        private = F.cross_entropy(passport.private(x), y)
        return F.cross_entropy(passport.host(x), y) + private

    return {
        "private": lambda: F.cross_entropy(passport.private(x), y),
        "joint": joint,
        "public last": reversed_joint,
        "joint_loss": lambda: passport.joint_loss(x, y),
    }


@REENTRANT
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, lambda c: nn.GroupNorm(4, c)], ids=["bn", "gn"])
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_every_path_has_the_gradients_of_the_host_without_it(
    norm: Norm, reentrant: bool, early: bool, training: bool
) -> None:
    plain, checkpointed = pair(norm, early=early)
    checkpointed.host.reentrant = reentrant
    plain.host.train(training), checkpointed.host.train(training)
    for name, run in paths(plain).items():
        expected = gradients(plain.host, run)
        found = gradients(checkpointed.host, paths(checkpointed)[name])
        torch.testing.assert_close(found, expected, msg=lambda text, name=name: f"{name}: {text}")
        for key, kept in plain.branch.statistics.items():  # nothing is counted twice
            again = checkpointed.branch.statistics[key]
            torch.testing.assert_close(again.mean, kept.mean)
            torch.testing.assert_close(again.var, kept.var)
            assert again.count == kept.count


@REENTRANT
def test_a_graph_that_is_kept_serves_several_backwards(reentrant: bool) -> None:
    plain, checkpointed = pair()
    checkpointed.host.reentrant = reentrant
    found = []
    for passport in (plain, checkpointed):

        def twice(passport: Passport = passport) -> Tensor:
            loss = passport.private(images()).square().mean()
            loss.backward(retain_graph=True)
            return loss

        found.append(gradients(passport.host, twice))
    torch.testing.assert_close(found[1], found[0])


@dataclass
class Output:
    logits: Tensor
    extra: Any = None


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda t: {"a": [None, {"logits": t}]}, lambda out: out["a"][1]["logits"]),
        (lambda t: ("text", t), lambda out: out[1]),
        (lambda t: Output(t, ["x", 3]), lambda out: out.logits),
    ],
    ids=["dict", "tuple", "dataclass"],
)
def test_nested_outputs_are_followed(
    wrap: Callable[[Tensor], Any], unwrap: Callable[[Any], Tensor]
) -> None:
    plain, checkpointed = pair()
    checkpointed.host.reentrant = False
    plain.host.wrap = checkpointed.host.wrap = wrap
    expected, found = (
        gradients(each.host, lambda each=each: unwrap(each.private(images())).square().mean())
        for each in (plain, checkpointed)
    )
    torch.testing.assert_close(found, expected)


class Opaque:
    """Keeps its tensors where nobody finds them."""

    __slots__ = ("logits",)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


def test_an_output_that_cannot_be_followed_is_refused() -> None:
    plain, checkpointed = pair()
    checkpointed.host.reentrant = False
    plain.host.wrap = checkpointed.host.wrap = Opaque
    plain.private(images()).logits.sum().backward()
    with pytest.raises(HostError, match="returns a Opaque, in which no tensor can be found"):
        checkpointed.private(images())


class Armed(nn.Module):
    """Raises when it runs, or runs again, or when its gradient arrives."""

    armed = ""

    def forward(self, x: Tensor) -> Tensor:
        again = torch._C._current_graph_task_id() != -1
        if self.armed == ("recomputation" if again else "forward"):
            raise RuntimeError("armed")
        if self.armed == "backward" and x.requires_grad:
            x.register_hook(self._raise)
        return x

    def _raise(self, gradient: Tensor) -> Tensor:
        raise RuntimeError("armed")


@REENTRANT
@pytest.mark.parametrize("where", ["forward", "recomputation", "backward"])
@pytest.mark.parametrize("path", ["private", "joint", "joint_loss"])
def test_exceptions_leave_no_trace(where: str, reentrant: bool, path: str) -> None:
    torch.manual_seed(0)
    host = Blocks()
    host.blocks[0].insert(1, armed := Armed())
    rule = TrainingRule(interval=1)
    passport = Passport.issue(host, OWNER, example=images(2), training=rule)
    host.reentrant = reentrant
    run = paths(passport)[path]
    expected = gradients(host, run)
    buffers = copy.deepcopy(dict(host.named_buffers()))

    armed.armed = where
    host.zero_grad()
    with pytest.raises(RuntimeError, match="armed"):
        run().backward()
    assert_ordinary(host)

    armed.armed = ""
    host.load_state_dict(buffers, strict=False)
    torch.testing.assert_close(gradients(host, run), expected)


def test_a_followed_graph_is_freed_with_its_output() -> None:
    _, passport = pair()
    passport.host.reentrant = False
    freed: list[bool] = []
    gc.collect()
    gc.disable()
    try:
        output = passport.private(images())
        weakref.finalize(output, freed.append, True)
        output.sum().backward()
        del output
        assert freed == [True]
    finally:
        gc.enable()


@REENTRANT
def test_transformers_own_switch(reentrant: bool) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=12, num_labels=5,
    )  # fmt: skip
    torch.manual_seed(0)
    plain = transformers.BertForSequenceClassification(config)
    checkpointed = copy.deepcopy(plain)
    enable = getattr(  # its name since transformers 5.20
        checkpointed, "activation_checkpointing_enable", checkpointed.gradient_checkpointing_enable
    )
    enable({"use_reentrant": reentrant})
    x = torch.arange(8 * 6).reshape(8, 6) % 40
    for early in (True, False):
        rule = TrainingRule(interval=1, early=early)
        found = []
        for host in (plain, checkpointed):
            passport = Passport.issue(host, OWNER, example=x[:2], training=rule)
            host.train()
            found.append(
                gradients(
                    host,
                    lambda passport=passport: passport.joint_loss(
                        x, torch.arange(8) % 5, lambda out, y: F.cross_entropy(out.logits, y)
                    ),
                )
            )
        torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


@REENTRANT
def test_fused_layers_run_again_unfused(reentrant: bool) -> None:
    """Frozen layers in eval mode would take their fused path in the recomputation."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                *(nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True) for _ in range(2))
            )
            self.reentrant: bool | None = None

        def forward(self, x: Tensor) -> Tensor:
            if self.reentrant is None:
                return self.layers(x)
            return checkpoint(self.layers, x, use_reentrant=self.reentrant)

    torch.manual_seed(0)
    found = []
    plain = Encoder().eval()
    for host, kind in ((plain, None), (copy.deepcopy(plain), reentrant)):
        host.layers[0].requires_grad_(False)
        passport = Passport.issue(host, OWNER, example=tokens(2))
        host.reentrant = kind
        x = tokens().requires_grad_()  # a reentrant checkpoint needs it
        found.append(gradients(host, lambda p=passport, x=x: p.private(x).square().mean()))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
