"""Random module trees: a plan never fails, leaves nothing out silently, and private = rebuilt."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from modeldeed import Owner, Passport
from modeldeed.errors import PlanError
from tests.passport.host.test_norm_kinds import (
    BatchNormAct2d,
    FrozenBatchNorm2d,
    GemmaRMSNorm,
    GroupNormAct,
    LayerNorm2d,
    LlamaRMSNorm,
)
from tests.passport.hosts import ChannelsLast
from tests.passport.oracle import oracle
from tests.passport.private.test_laws import same, snapshot

OWNER = Owner(bytes(range(32)), "tests")
WIDTHS = st.sampled_from([4, 12])
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "batch-plain": lambda c: nn.BatchNorm2d(c, affine=False),
    "batch-untracked": lambda c: nn.BatchNorm2d(c, track_running_stats=False),
    "synchronized": nn.SyncBatchNorm,
    "group": lambda c: nn.GroupNorm(2, c),
    "instance": lambda c: nn.InstanceNorm2d(c, affine=True),
    "layer": lambda c: ChannelsLast(nn.LayerNorm(c)),
    "rms": lambda c: ChannelsLast(nn.RMSNorm(c)),
    "layer-2d": LayerNorm2d,
    "llama": lambda c: ChannelsLast(LlamaRMSNorm(c)),
    "gemma": lambda c: ChannelsLast(GemmaRMSNorm(c)),
    "frozen": FrozenBatchNorm2d,
    "timm-batch": BatchNormAct2d,
    "timm-group": GroupNormAct,
}


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Listed(nn.Module):
    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class Named(Listed):
    """The same parts in a ModuleDict, called in another order than they are registered in."""

    def __init__(self, parts: list[nn.Module]) -> None:
        nn.Module.__init__(self)
        names = [f"part{i}" for i in range(len(parts))]
        self.order = names
        self.parts = nn.ModuleDict(dict(reversed(list(zip(names, parts, strict=True)))))

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            x = self.parts[name](x)
        return x


CONTAINERS = [lambda parts: nn.Sequential(*parts), Listed, Named]


@st.composite
def trees(draw: st.DrawFn) -> nn.Module:
    """A host over images of 4 channels; norms may be shared by several places."""
    pool: dict[int, list[nn.Module]] = {}

    def norm(width: int) -> nn.Module:
        known = pool.setdefault(width, [])
        if known and draw(st.integers(0, 4)) == 0:
            return draw(st.sampled_from(known))
        known.append(NORMS[draw(st.sampled_from(sorted(NORMS)))](width))
        return known[-1]

    def convolution(width: int, out: int) -> nn.Module:
        form = draw(st.integers(0, 5))
        if form == 0 and width == out:
            return nn.Conv2d(width, out, 3, padding=1, groups=width)
        if form == 1:
            return nn.ConvTranspose2d(width, out, 3, padding=1)
        layer = nn.Conv2d(width, out, 3, padding=1, bias=draw(st.booleans()))
        if form == 2:
            nn.utils.parametrizations.weight_norm(layer)
        if form == 3:
            nn.utils.parametrizations.spectral_norm(layer)
        return layer

    def block(width: int, depth: int) -> tuple[nn.Module, int]:
        parts: list[nn.Module] = []
        start = width
        for _ in range(draw(st.integers(1, 3))):
            if depth and draw(st.booleans()):
                part, width = block(width, depth - 1)
                parts.append(part)
                continue
            out = draw(WIDTHS)
            order = [convolution(width, out), norm(out), nn.ReLU()]
            if draw(st.booleans()):  # pre-norm
                order = [norm(width), nn.ReLU(), convolution(width, out)]
            parts += order
            width = out
        body = draw(st.sampled_from(CONTAINERS))(parts)
        return (Residual(body) if width == start and draw(st.booleans()) else body), width

    body, width = block(4, 2)
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 3))


def scaled(host: nn.Module) -> nn.Module:
    for module in host.modules():
        weight = getattr(module, "weight", None)
        if "Norm" in type(module).__name__ and isinstance(weight, Tensor) and weight.dim() == 1:
            nn.init.uniform_(weight, 0.5, 1.5)
            weight.data[::3] *= -1
    return host


def is_norm(module: nn.Module) -> bool:
    kinds = (LlamaRMSNorm, GemmaRMSNorm, FrozenBatchNorm2d)
    return type(module).__module__.endswith(("normalization", "norm")) or isinstance(
        module, (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase, *kinds)
    )


# Without shrinking, which takes minutes here: the trees are small as they are.
@settings(max_examples=30, phases=(Phase.explicit, Phase.generate))
@given(tree=trees())
def test_any_tree_is_planned_and_runs_privately(tree: nn.Module) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host, x = scaled(tree), torch.randn(3, 4, 5, 5)
    before = snapshot(host)
    plan = Passport.plan(host, example=x)
    listed = [t.norm for t in plan.targets] + [entry.norm for entry in plan.left_out]
    assert sorted(listed) == sorted(n for n, m in host.named_modules() if is_norm(m))
    assert all(entry.reason for entry in plan.left_out)
    assert not any(entry.blocking for entry in plan.left_out)
    event(f"{len(plan.planned)} planned")
    try:
        passport = Passport.issue(host, OWNER, example=x)
    except PlanError:
        assert plan.bits == 0
        return
    after = snapshot(host)
    assert [part for part in before if not same(before[part], after[part])] == []
    host.eval()
    with torch.no_grad():
        private, rebuilt = passport.private(x), oracle(passport)(x)
    torch.testing.assert_close(private, rebuilt, rtol=1e-3, atol=1e-3 * float(rebuilt.abs().max()))
