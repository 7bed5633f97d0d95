"""Which attacks at which strengths: a grid for every setting and form.

The quick grid takes three strengths of whatever is quick on one core. The standard one has to hold
attacks that train as well, so it names strengths: of those that cost no training what separates
the marks, of those that train one to three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.experiments._audit_plugin import CutPlugin
from modeldeed import attacks
from modeldeed.attacks import Attack

__all__ = ["GRIDS", "Form", "Group", "not_tried"]

Form = Literal["ours", "published", "plug-in"]
"""One keyed row for each channel; or one row for all with bits by position and learned heads; or
a plug-in beside the model, attacked where both are fused."""


@dataclass(frozen=True)
class Group:
    """Attacks that are carried out in one go; an interrupted run takes up the next group.

    Attributes:
        name: in words.
        attacks: by name, or made by hand.
        strengths: of each at most so many, or those that are named.
    """

    name: str
    attacks: tuple[str | Attack, ...]
    strengths: Mapping[str, Sequence[str]] | int

    @property
    def names(self) -> tuple[str, ...]:
        """How the attacks are called."""
        return tuple(a if isinstance(a, str) else a.name for a in self.attacks)


_Named = Mapping[str, tuple[str, ...]]


def _groups(untrained: _Named, trained: _Named, *by_hand: Attack) -> tuple[Group, ...]:
    """All that cost no training together, then one by one those that do."""
    first = Group("untrained", (*untrained, *by_hand), untrained)
    return (first, *(Group(name, (name,), {name: taken}) for name, taken in trained.items()))


_QUICK = (
    Group("untrained", ("cast", "dummy-neurons", "flip-signs", "fold-norms", "insert-layers",
          "permute", "prune", "prune-channels", "quantize", "remove-components", "scale",
          "weight-noise"), 3),
    *(Group(name, (name,), 3) for name in
      ("fine-tune", "low-rank", "low-variance-resampling", "stack")),
)  # fmt: skip

_UNTRAINED: _Named = {
    "cast": ("fp16", "fp8 e4m3"),
    "dummy-neurons": ("zero, 25%", "clique, 25%", "split, 50%"),
    "flip-signs": ("all",),
    "fold-norms": ("all",),
    "insert-layers": ("mixing",),
    "permute": ("a tenth", "all"),
    "prune": ("30 %", "60 %", "90 %"),
    "prune-channels": ("10 %", "25 %"),
    "quantize": ("8 bits", "4 bits"),
    "remove-components": ("1 leading", "4 leading"),
    "scale": ("1", "2"),
    "weight-noise": ("5 %", "20 %"),
}
_TRAINED: _Named = {
    "distill": ("soft",),
    "fine-prune": ("50 %",),
    "fine-tune": ("FTLL", "FTAL", "RTAL"),
    "low-variance-resampling": ("once", "4 passes, energy 0.8, fine-tuned"),
    "overwrite": ("once",),
    "stack": ("pruned 60 %, resampled, fine-tuned, 8 bits",),
}
_TRAINED_OURS: _Named = {
    "low-rank": ("rank 8",),
    "sensitivity-resampling": ("once, 20 %", "4 passes of 50 %, fine-tuned"),
    "turn-away": ("penalty 10",),
}
_BESIDE: _Named = {name: _UNTRAINED[name] for name in ("cast", "prune", "quantize", "weight-noise")}
_TRAINED_BESIDE: _Named = {"fine-tune": _TRAINED["fine-tune"]}


def _every(untrained: _Named, trained: _Named, *by_hand: Attack) -> tuple[Group, ...]:
    """Three strengths of everything."""
    first = Group("untrained", (*untrained, *by_hand), 3)
    return (first, *(Group(name, (name,), 3) for name in trained))


GRIDS: dict[str, Mapping[Form, tuple[Group, ...]]] = {
    "quick": {
        "ours": _QUICK,
        "published": _QUICK,
        "plug-in": (*_QUICK, Group("cut", (CutPlugin(),), 1)),
    },
    "standard": {
        "ours": _groups(_UNTRAINED, {**_TRAINED, **_TRAINED_OURS}),
        "published": _groups(_UNTRAINED, _TRAINED),
        "plug-in": _groups(_BESIDE, _TRAINED_BESIDE, CutPlugin()),
    },
    "full": {
        "ours": _every(_UNTRAINED, {**_TRAINED, **_TRAINED_OURS}),
        "published": _every(_UNTRAINED, _TRAINED),
        "plug-in": _every(_BESIDE, _TRAINED_BESIDE, CutPlugin()),
    },
}


def not_tried(setting: str) -> list[str]:
    """Registered attacks that stand in no grid of a setting."""
    tried = {name for groups in GRIDS[setting].values() for g in groups for name in g.names}
    return [name for name in attacks.names() if name not in tried]
