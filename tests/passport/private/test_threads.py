"""Threads: a private call is the matter of its own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport
from tests.passport.hosts import ConvHost, images, make
from tests.passport.private.test_checkpointing import assert_ordinary

OWNER = Owner(bytes(range(32)))


class Meeting(nn.Module):
    """Waits in the middle of the host until the other thread is there too."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier: threading.Barrier | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.barrier is not None:
            self.barrier.wait(timeout=30)
        return x


def together(host: nn.Module, *runs: Callable[[], Tensor]) -> list[Tensor]:
    """Run functions in a thread each, all of them within the host at once."""
    host.drop.barrier = threading.Barrier(len(runs))
    with ThreadPoolExecutor(len(runs)) as pool:
        results = [future.result() for future in [pool.submit(run) for run in runs]]
    host.drop.barrier = None
    return results


def prepared() -> tuple[nn.Module, Tensor]:
    host, x = ConvHost(nn.BatchNorm2d), images()
    host.drop = Meeting()
    return host.eval(), x


def test_inference_in_another_thread_is_public() -> None:
    host, x = prepared()
    passport = Passport.issue(host, OWNER, example=x)
    public, private = host(x), passport.private(x)
    for _ in range(3):
        found = together(host, lambda: passport.private(x), lambda: host(x))
        assert torch.equal(found[0], private)
        assert torch.equal(found[1], public)
    assert_ordinary(host)


def test_two_passports_of_one_host_run_at_once() -> None:
    host, x = prepared()
    one = Passport.issue(host, OWNER, example=x)
    two = Passport.issue(host, OWNER, example=x, label="another")
    expected = [one.private(x), two.private(x)]
    assert not torch.allclose(*expected)
    for _ in range(3):
        found = together(host, lambda: one.private(x), lambda: two.private(x))
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])
    assert_ordinary(host)


def test_the_layers_own_instance_forward_is_found_by_other_threads() -> None:
    host, x = prepared()
    own, calls = host.norm1.forward, []

    def mine(x: Tensor) -> Tensor:
        calls.append(len(x))
        return own(x)

    host.norm1.forward = mine  # type: ignore[method-assign]
    passport = Passport.issue(host, OWNER, example=x)
    calls.clear()
    together(host, lambda: passport.private(x), lambda: host(x[:3]))
    assert calls == [3]
    assert vars(host.norm1)["forward"] is mine


def test_transformer_layers_too() -> None:
    host, x = make("post-norm")
    host.eval()
    passport = Passport.issue(host, OWNER, example=x)
    with torch.no_grad():
        fused, private = host(x), passport.private(x)
        assert not torch.allclose(fused, private, atol=1e-2)
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(f, x) for _ in range(10) for f in (host, passport.private)]
        for index, run in enumerate(runs):
            torch.testing.assert_close(run.result(), private if index % 2 else fused)
