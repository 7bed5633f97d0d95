"""The hosts of the fidelity experiment; those of the standard setting cut to what two cores can do.

Reckoned for two cores without bfloat16. Seconds of one such core, while others kept it busy, for
one epoch of both networks: narrow ResNet-18 95 (10,000 images), half as wide as the papers' 155
(5,000), AlexNet 95 (2,500), ViT 33 (10,000), PointNet 63 (all clouds, 128 points each); the whole
ResNet-18 would take 600 (5,000). All cells together: three hours of one core.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.hosts import FULL, QUICK, STANDARD, Host
from modeldeed.training import Recipe

__all__ = ["HOSTS"]


def _usual(name: str) -> Host:
    return next(host for host in STANDARD if host.name == name)


def _cut(host: Host, epochs: int, **changes: object) -> Host:
    recipe = replace(host.recipe, epochs=epochs)
    return replace(host, recipe=recipe, seeds=1, **changes)  # type: ignore[arg-type]


_NARROW = _usual("cifar10-resnet18w16-batch")
_ALEXNET = _usual("cifar10-alexnet-batch")
_VIT = Host(
    data="cifar10",
    network="vit",
    norm="layer",
    augment="images",
    train=10_000,
    test=2_000,
    recipe=Recipe(epochs=20, batch_size=64, optimizer="adam", learning_rate=1e-3,
                  weight_decay=1e-4),
    seeds=1,
)  # fmt: skip

# Three seeds of one host show how far they differ; of the others there is time for one.
_STANDARD = (
    _NARROW,
    *(
        replace(_usual(f"cifar10-resnet18w16-{norm}"), seeds=1)
        for norm in ("group", "instance", "layer")
    ),
    _cut(_usual("cifar10-resnet18-batch"), 6, width=32),
    _cut(_NARROW, 12, data="cifar100"),
    *(
        _cut(_usual(f"cifar10-alexnet-{norm}"), 6, train=2_500)
        for norm in ("batch", "group", "instance")
    ),
    _cut(_ALEXNET, 4, data="cifar100"),
    _VIT,
    _cut(_usual("ldraw-parts-pointnet-batch"), 6, points=128),
)

HOSTS: dict[str, tuple[Host, ...]] = {
    "quick": QUICK,
    "standard": _STANDARD,
    # With the papers' networks, a ViT for as long as they are trained.
    "full": (
        *FULL,
        replace(_VIT, train=None, test=None, seeds=None, recipe=replace(_VIT.recipe, epochs=200)),
    ),
}
