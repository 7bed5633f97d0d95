"""What is done to the marked networks: rewrites that keep the function, and what follows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from pydantic import JsonValue
from torch import nn

from benchmarks.experiments._alignment_stages import PermuteStages
from modeldeed import attacks
from modeldeed.attacks import Attack, AttackData, FineTune, Prune, Quantize, chosen
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["REWRITES", "Kind", "Renamed", "Rewrite", "rewritten"]

Kind = Literal["pure", "composed", "lossy"]
"""Keeps the function; keeps it but for a change of weights afterwards; loses channels."""

Step = tuple[str, Mapping[str, Any]]
"""An attack's name and its fields."""


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """Rewrites in order, and what is done to the weights afterwards.

    Attributes:
        name: in the card.
        kind: what is to be expected.
        before: what changes the weights first: ``"fine-tune"``. Behind the rewrites it would be
            another attack: folded and mixed layers train badly.
        steps: attacks that keep the function. Of a *mixture* those that fit a network are taken;
            otherwise all must.
        after: what changes the weights at last: ``"fine-tune"``, ``"prune"``, ``"quantize"``.
        mixture: whether a step that does not fit is left out.
        renamed: give the model's parts other names.
    """

    name: str
    kind: Kind
    before: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    after: tuple[str, ...] = ()
    mixture: bool = False
    renamed: bool = False

    def configuration(self) -> dict[str, JsonValue]:
        """For the card."""
        plain: dict[str, JsonValue] = json.loads(json.dumps(asdict(self)))
        return plain


_ALL: tuple[Step, ...] = (
    ("permute", {}),
    ("rotate-residual", {}),
    ("permute-heads", {}),
    ("permute-stages", {}),
    ("flip-signs", {}),
    ("dummy-neurons", {"kind": "split", "share": 0.05}),
    ("dummy-neurons", {"kind": "clique", "share": 0.1}),
    ("scale", {}),
    ("fold-norms", {}),
    ("insert-layers", {"kind": "mixing"}),
)


_ORDERS: tuple[Step, ...] = (("permute", {}), ("permute-heads", {}), ("permute-stages", {}))
_TUNED = ("fine-tune",)


def _mixed(name: str, kind: Kind, *after: str, before: tuple[str, ...] = ()) -> Rewrite:
    return Rewrite(name=name, kind=kind, before=before, steps=_ALL, after=after, mixture=True,
                   renamed=True)  # fmt: skip


REWRITES: tuple[Rewrite, ...] = (
    Rewrite(name="as it is", kind="pure"),
    Rewrite(name="permuted", kind="pure", steps=(("permute", {}),)),
    Rewrite(name="scaled", kind="pure", steps=(("scale", {}),)),
    Rewrite(name="signs flipped", kind="pure", steps=(("flip-signs", {}),)),
    *(
        Rewrite(
            name=f"{kind} dummies {share:.0%}".replace("%", " %"),
            kind="pure",
            steps=(("dummy-neurons", {"kind": kind, "share": share}), ("permute", {})),
        )
        for kind, share in (("zero", 0.05), ("zero", 0.5), ("clique", 0.25), ("split", 0.5))
    ),
    Rewrite(name="identities inserted", kind="pure",
            steps=(("insert-layers", {"kind": "identity"}), ("permute", {}))),
    Rewrite(name="mixing layers inserted", kind="pure", steps=(("insert-layers", {}),)),
    Rewrite(name="norms folded", kind="pure", steps=(("permute", {}), ("fold-norms", {}))),
    Rewrite(name="renamed and permuted", kind="pure", steps=_ORDERS, mixture=True, renamed=True),
    Rewrite(name="stages permuted", kind="pure", steps=(("permute-stages", {}),)),
    Rewrite(name="residual stream permuted", kind="pure",
            steps=(("rotate-residual", {"kind": "permutation"}),)),
    Rewrite(name="residual stream rotated", kind="pure", steps=(("rotate-residual", {}),)),
    Rewrite(name="heads permuted", kind="pure", steps=(("permute-heads", {}),)),
    _mixed("all that fit", "pure"),
    Rewrite(name="permuted, then fine-tuned", kind="composed", steps=_ORDERS, mixture=True,
            after=_TUNED),
    _mixed("fine-tuned, then all", "composed", before=_TUNED),
    _mixed("all, then 30 % pruned", "composed", "prune"),
    _mixed("all, then 8 bits", "composed", "quantize"),
    _mixed("fine-tuned, then all, then pruned, 8 bits", "composed", "prune", "quantize",
           before=_TUNED),
    Rewrite(name="a tenth of channels cut, permuted", kind="lossy",
            steps=(("prune-channels", {"share": 0.1, "remove": True}), ("permute", {}))),
)  # fmt: skip


def rewritten(
    rewrite: Rewrite,
    model: nn.Module,
    data: AttackData,
    recipe: Recipe,
    generator: torch.Generator,
) -> tuple[nn.Module, tuple[str, ...]]:
    """Rewrite a copy of a network.

    Args:
        rewrite: what to do.
        model: left as it is.
        data: what fine-tuning has.
        recipe: of the model's own training; fine-tuning takes a fifth of its epochs.
        generator: of every choice, on the CPU.

    Returns:
        The copy and the names of what was done to it.

    Raises:
        OptionError: a step does not fit the network, or leaves one that does not run; or of a
            mixture none fits.
    """
    done: list[str] = []
    for name in rewrite.before:
        model = _changing(name, recipe).apply(model, data, generator)
    for name, fields in rewrite.steps:
        try:
            made = _step(name, fields).apply(model, data, generator)
            _require_running(name, made, data)
        except OptionError:
            if not rewrite.mixture:
                raise
        else:
            model = made
            done.append(name)
    if rewrite.mixture and not done:
        raise OptionError(f"none of {', '.join(name for name, _ in rewrite.steps)} fits")
    for name in rewrite.after:
        model = _changing(name, recipe).apply(model, data, generator)
    if rewrite.renamed:
        model = Renamed(model)
    return model.eval(), (*rewrite.before, *done, *rewrite.after)


def _step(name: str, fields: Mapping[str, Any]) -> Attack:
    if name == PermuteStages.name:
        return PermuteStages()
    return attacks.find(name)(**fields)


def _require_running(name: str, model: nn.Module, data: AttackData) -> None:
    """Refuse a rewrite whose model cannot be run: its code reads weights of layers by itself."""
    try:
        with torch.no_grad():
            model(data.dataset.x_train[:2])
    except (AttributeError, RuntimeError) as error:
        raise OptionError(f"{name} leaves a model that does not run: {error}") from error


def _changing(name: str, recipe: Recipe) -> Attack:
    if name == "fine-tune":
        strength = chosen("fine-tune", "FTAL, 0.1× rate", recipe=recipe)
        return FineTune(
            epochs=max(1, recipe.epochs // 5),
            learning_rate=strength.learning_rate,  # type: ignore[attr-defined]
            batch_size=recipe.batch_size,
        )
    return Prune(share=0.3) if name == "prune" else Quantize(bits=8)


class Renamed(nn.Module):
    """A model under other names, with its parts in another order.

    Args:
        model: becomes a part of it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)
        self.inner = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the model says."""
        scores: torch.Tensor = self.inner(x)
        return scores
