"""The networks that are rewritten and aligned: trained plainly, then marked by a retrofit."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import JsonValue
from safetensors.torch import load, save
from torch import Tensor, nn

from benchmarks import environment
from benchmarks.experiments.retrofit import Batches
from benchmarks.hosts import QUICK as CARD_HOSTS
from benchmarks.hosts import STANDARD, Host, full_host
from benchmarks.pairs import owner_for
from benchmarks.run import Run
from modeldeed import Passport
from modeldeed.alignment import OrderCheck, check_order
from modeldeed.data import Dataset
from modeldeed.passport.claim import PassportClaim
from modeldeed.storage import write_atomically
from modeldeed.suspects import open_weights
from modeldeed.training import Augment, Recipe, accuracy, train

__all__ = ["HOSTS", "AlignedHost", "Victim", "model_folder", "owned", "shifted", "trained"]

State = dict[str, Tensor]


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images moved by at most one pixel along each dimension; what comes in is background.

    Args:
        images: ``(N, C, H, W)``.
        generator: of the shifts, on the CPU.

    Returns:
        Of the same shape.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1), value=float(images.min()))
    chosen = torch.randint(9, (len(images),), generator=generator)
    out = images.clone()
    for shift in range(9):
        rows, columns = divmod(shift, 3)
        picked = chosen == shift
        out[picked] = padded[picked, :, rows : rows + height, columns : columns + width]
    return out


@dataclass(frozen=True, kw_only=True)
class AlignedHost(Host):
    """A host whose data may be of another form than the data set's.

    Attributes:
        form: ``"doubled"``: each pixel of an image becomes four; ``"points"``: the brightest half
            of an image's pixels become points: column, row, brightness.
        steps: of the retrofit.
        shifts: move training images by a pixel.
    """

    form: Literal["as it is", "doubled", "points"] = "as it is"
    steps: int = 30
    shifts: bool = False

    @property
    def name(self) -> str:
        """How it is called in cards and by ``--only``."""
        width = "" if self.width is None else f"w{self.width}"
        return f"{self.data}-{self.network}{width}"

    @property
    def augmentation(self) -> Augment | None:
        """The function that augments a batch; None for none."""
        return shifted if self.shifts else super().augmentation

    def load(self, root: Path | None, device: torch.device) -> Dataset:
        """Its data, normalized and in its form, on a device."""
        dataset = super().load(root, device)
        if self.form == "as it is":
            return dataset
        change = _points if self.form == "points" else _doubled
        mean = () if self.form == "points" else dataset.mean
        return replace(dataset, x_train=change(dataset.x_train), x_test=change(dataset.x_test),
                       mean=mean)  # fmt: skip

    def _network(self, classes: int, channels: int, size: int) -> nn.Module:
        network: Any = super()._network(classes, channels, size)
        if self.network == "alexnet" and self.form == "doubled":
            # For 16×16 images: a fourth of the positions that it has on 32×32.
            network.classifier = nn.Linear(256 * 2 * 2, classes)
        return network  # type: ignore[no-any-return]


def _doubled(images: Tensor) -> Tensor:
    return images.repeat_interleave(2, 2).repeat_interleave(2, 3)


def _points(images: Tensor) -> Tensor:
    """The brightest half of the pixels as points, about in [−1, 1]³."""
    height, width = images.shape[2:]
    rows, columns = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    places = torch.cartesian_prod(rows, columns).flip(1).to(images)
    bright = images.flatten(1).topk(height * width // 2)
    return torch.cat([places[bright.indices], bright.values[..., None] / 2], 2)


_ADAM = Recipe(epochs=15, optimizer="adam", learning_rate=2e-3, weight_decay=1e-4)
_ALEXNET = next(h for h in STANDARD if h.network == "alexnet" and h.norm == "batch")
_POINTNET = next(h for h in STANDARD if h.network == "pointnet")


def _from(host: Host, recipe: Recipe, **changes: Any) -> AlignedHost:
    fields = {name: getattr(host, name) for name in Host.__dataclass_fields__}
    return AlignedHost(**{**fields, "recipe": recipe, **changes})


HOSTS: dict[str, tuple[AlignedHost, ...]] = {
    "quick": (
        AlignedHost(data="digits", network="resnet18", width=16, recipe=Recipe(epochs=6)),
        AlignedHost(
            data="digits", network="alexnet", form="doubled", train=800,
            recipe=Recipe(epochs=5, batch_size=32, learning_rate=0.02),
        ),
        AlignedHost(
            data="digits", network="pointnet", form="points", train=1_000,
            steps=60, recipe=replace(_POINTNET.recipe, epochs=6, bfloat16=False),
        ),
        AlignedHost(data="digits", network="convnext", recipe=replace(_ADAM, epochs=10)),
        AlignedHost(data="digits", network="vit", recipe=_ADAM),
        AlignedHost(
            data="digits", network="llama", shifts=True, steps=60,
            recipe=replace(_ADAM, epochs=35, learning_rate=3e-3),
        ),
    ),
    "standard": (
        _from(CARD_HOSTS[1], replace(CARD_HOSTS[1].recipe, epochs=20), steps=75),
        _from(_ALEXNET, replace(_ALEXNET.recipe, epochs=15), steps=50),
        _from(_POINTNET, replace(_POINTNET.recipe, epochs=10), steps=150),
    ),
    # A twentieth of their own steps, as in `retrofit`.
    "full": (
        _from(full_host("resnet18"), full_host("resnet18").recipe, steps=7_800),
        _from(full_host("alexnet"), full_host("alexnet").recipe, steps=7_800),
        _from(full_host("pointnet"), full_host("pointnet").recipe, steps=2_000),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Victim:
    """A marked network: the reference of all readings of its claim.

    Attributes:
        model: marked, in evaluation mode, not to be changed.
        unmarked: the same before it was marked: the exhibit.
        claim: its owner's.
        order: of its channels, against the network before it was marked.
        plain_accuracy: of that network.
        accuracy: of the marked one.
    """

    model: nn.Module
    unmarked: nn.Module
    claim: PassportClaim
    order: OrderCheck
    plain_accuracy: float
    accuracy: float


def model_folder(run: Run, host: Host, seed: int) -> Path:
    """Where a host's weights are kept: beside the cells, by everything they depend on."""
    key: dict[str, JsonValue] = {
        "host": host.configuration(),
        "seed": seed,
        "code": environment.code_digest(),
        "versions": environment.versions().model_dump(),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    return run.store.path("any", {}).parent.parent / "alignment-models" / f"{host.name}-{digest}"


def trained(run: Run, host: Host, dataset: Dataset, seed: int, path: Path) -> nn.Module:
    """A network in evaluation mode, trained without a mark; or taken up from an earlier run.

    Args:
        run: told of progress.
        host: what to train.
        dataset: its data.
        seed: of start and order.
        path: where its weights are kept.
    """
    model = host.build(dataset, seed)
    if path.exists():
        model.load_state_dict(load(path.read_bytes()))
        return model.eval()
    recipe = replace(host.recipe, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the global generator
        for epoch in train(model, dataset, recipe, augment=host.augmentation):
            run.say(f"  epoch {epoch.number}/{recipe.epochs}: {epoch.seconds:.1f} s")
    _keep(path, model.state_dict())
    return model.eval()


def owned(run: Run, host: AlignedHost, dataset: Dataset, seed: int, folder: Path) -> Victim:
    """Train a network and mark it; or take it up from an earlier run.

    Args:
        run: told of progress.
        host: what to train.
        dataset: its data.
        seed: of start, order and owner.
        folder: where its weights are kept.
    """
    marked = folder / "marked.safetensors"
    model = trained(run, host, dataset, seed, folder / "plain.safetensors")
    owner = owner_for(seed)
    unmarked = copy.deepcopy(model)
    plain_accuracy = accuracy(model, dataset.x_test, dataset.y_test)
    passport = Passport.issue(model, owner, example=dataset.x_train[:4], classes=dataset.classes)
    if marked.exists():
        model.load_state_dict(load(marked.read_bytes()))
    else:
        batches = Batches(host, dataset, torch.Generator().manual_seed(1_000 + seed))
        passport.embed(batches, steps=host.steps)
        _keep(marked, model.state_dict())
    key, anchor = passport.manifest.model_key(owner), passport.manifest.anchor
    state = model.eval().state_dict()
    return Victim(
        model=model,
        unmarked=unmarked,
        claim=PassportClaim.of(passport, owner),
        order=check_order(anchor, key, open_weights(unmarked), open_weights(state)),
        plain_accuracy=plain_accuracy,
        accuracy=accuracy(model, dataset.x_test, dataset.y_test),
    )


def _keep(path: Path, state: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    write_atomically(path, save(kept))
