"""Key grinding on surrogates: find a key whose triggers unrelated models happen to answer right.

Independent networks answer odd inputs alike to some degree. So keys can be tried on networks of
one's own, and the best of them does better than chance on a model that was never seen. Our rule:
the budget pays for 2⁶⁴ tries.

Source:
    This project; the agreement of independent models is that behind transferable examples, Liu et
    al., "False Claims against Model Ownership Resolution", USENIX Security 2024, arXiv 2304.06607.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.errors import OptionError
from modeldeed.owner import Owner
from modeldeed.training import Recipe, train
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["SurrogateKeys"]


@register(
    "surrogate-keys",
    needs=("architecture", "data"),
    unknown=("the owner's key", "the stolen model itself"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class SurrogateKeys(Forgery):
    """Grind trigger sets on networks of one's own.

    Attributes:
        keys: how many are tried.
        surrogates: networks trained for it.
        recipe: how they are trained.

    Raises:
        OptionError: fewer than one key or surrogate.
    """

    keys: int = 100
    surrogates: int = 2
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=3))

    def __post_init__(self) -> None:
        if self.keys < 1 or self.surrogates < 1:
            raise OptionError(
                f"grinding needs keys ≥ 1 and surrogates ≥ 1, got {self.keys}, {self.surrogates}"
            )

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """The trigger set that the surrogates answer best."""
        owner = forger(generator)
        models = [self._surrogate(stolen, 1 + number) for number in range(self.surrogates)]
        sets = (self._triggers(stolen, owner, number) for number in range(self.keys))
        best = max(sets, key=lambda triggers: _answered(models, triggers, stolen.example))
        return (Claim(f"the best of {self.keys:,} keys on surrogates", owner, best),)

    def _triggers(self, stolen: Stolen, owner: Owner, number: int) -> TriggerSet:
        return TriggerSet.issue(
            owner,
            example=stolen.example,
            classes=stolen.data.num_classes,
            label=f"model {number}",
        )

    def _surrogate(self, stolen: Stolen, seed: int) -> nn.Module:
        model = stolen.fresh(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # dropout draws from the global generator
            for _ in train(model, stolen.data, self.recipe):
                pass
        return model.eval()


def _answered(models: list[nn.Module], triggers: TriggerSet, example: Tensor) -> int:
    """How many triggers the models answer with the key's labels, all models together."""
    inputs = triggers.prepared()
    if not isinstance(inputs, Tensor):
        raise OptionError("surrogates are asked single tensors")
    labels = triggers.labels.to(example.device)
    with torch.no_grad():
        return sum(int((model(inputs.to(example)).argmax(1) == labels).sum()) for model in models)
