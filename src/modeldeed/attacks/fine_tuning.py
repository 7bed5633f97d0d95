"""Train a model on, without its mark: on the same data or others, with its classifier or a new one.

Source:
    Y. Adi et al., "Turning Your Weakness Into a Strength", USENIX Security 2018, section 5.3: its
    FTAL (all layers trained on) and RTAL (classifier drawn anew, all layers trained on); with
    nothing but the classifier trained, its FTLL and RTLL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from modeldeed.attacks._layers import copy_of, drawn_seed
from modeldeed.attacks._learning import scaled
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Augment, Recipe, train

__all__ = ["FineTune", "fine_tune", "with_new_classifier"]


def with_new_classifier(model: nn.Module, classes: int, *, generator: torch.Generator) -> nn.Module:
    """A copy whose last linear layer is drawn anew, as another task needs it.

    Args:
        model: not changed; its last linear layer, in the order of its modules, is the classifier.
        classes: outputs of the new one, at least 2.
        generator: of the new weights, on the CPU.

    Returns:
        The copy, in evaluation mode.

    Raises:
        OptionError: there is no linear layer, or fewer than 2 classes are asked for.
    """
    if classes < 2:
        raise OptionError(f"a classifier has at least 2 classes, got {classes}")
    changed = copy_of(model)
    name, old = _classifier(changed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(drawn_seed(generator))
        new = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    parent, _, attribute = name.rpartition(".")
    setattr(
        changed.get_submodule(parent), attribute, new.to(old.weight.device, old.weight.dtype).eval()
    )
    return changed


def _classifier(model: nn.Module) -> tuple[str, nn.Linear]:
    """Name and layer of the last linear layer."""
    linear = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not linear or not linear[-1][0]:
        raise OptionError(
            f"{type(model).__name__} has no linear layer inside that could be its classifier; "
            "replace its classifier beforehand"
        )
    return linear[-1]


class _LastLayerAlone(nn.Module):
    """A model of which nothing but the classifier trains; its statistics stay as well."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.whole = model.requires_grad_(requires_grad=False)
        self._last = [_classifier(model)[1].requires_grad_()]  # in a list: no second registration

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.whole(inputs)
        return outputs

    def train(self, mode: bool = True) -> Self:
        """Put the classifier alone into a mode; the rest is in evaluation mode."""
        self.training = mode
        self.whole.eval()
        self._last[0].train(mode)
        return self


def fine_tune(
    model: nn.Module,
    dataset: Dataset,
    *,
    epochs: int,
    learning_rate: float,
    generator: torch.Generator,
    new_classifier: bool = False,
    last_layer_only: bool = False,
    batch_size: int = 64,
    bfloat16: bool = False,
    augment: Augment | None = None,
) -> nn.Module:
    """Train all layers of a copy on, or its classifier alone, with the task's loss and no other.

    Args:
        model: not changed; it returns logits.
        dataset: what is learned, on the model's device.
        epochs: passes over its training part, at least 1.
        learning_rate: peak of one cycle of SGD with Nesterov momentum.
        generator: of the order of samples, of a new classifier and of dropout, on the CPU.
        new_classifier: draw the last linear layer anew, for the classes of ``dataset``.
        last_layer_only: train the last linear layer alone; running statistics stay, too.
        batch_size: samples per step; a last smaller batch is left out.
        bfloat16: train under autocast to bfloat16.
        augment: applied to every batch.

    Returns:
        The trained copy in evaluation mode.

    Raises:
        OptionError: an argument is out of range, or the classes are not the model's and no new
            classifier was asked for.
        DataError: the training part is smaller than a batch.
    """
    recipe = Recipe(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        bfloat16=bfloat16,
        seed=drawn_seed(generator),
    )
    if new_classifier:
        changed = with_new_classifier(model, dataset.num_classes, generator=generator)
    else:
        changed = copy_of(model)
        _require_classes(changed, dataset)
    wanted = {name: p.requires_grad for name, p in changed.named_parameters()}
    learning = _LastLayerAlone(changed) if last_layer_only else changed
    device = dataset.x_train.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)  # dropout draws from the global generator
        for _ in train(learning, dataset, recipe, augment=augment):
            pass
    for name, parameter in changed.named_parameters():
        parameter.requires_grad_(wanted[name])
    return changed.eval()


def _require_classes(model: nn.Module, dataset: Dataset) -> None:
    with torch.no_grad():
        outputs = model(dataset.x_train[:2]).shape[-1]
    if outputs != dataset.num_classes:
        raise OptionError(
            f"the model has {outputs} outputs and {dataset.name} {dataset.num_classes} classes; "
            "fine-tune with new_classifier=True"
        )


@register("fine-tune")
@dataclass(frozen=True, kw_only=True)
class FineTune(Attack):
    """Train all layers on, or the last alone; see `fine_tune`.

    Attributes:
        epochs: passes over the training part.
        learning_rate: peak of one cycle.
        new_classifier: draw the last linear layer anew.
        last_layer_only: train that layer alone.
        batch_size: samples per step.
        bfloat16: train under autocast to bfloat16.
    """

    source: ClassVar[str] = "Adi et al., USENIX Security 2018"
    needs: ClassVar[tuple[Need, ...]] = ("inputs", "labels")

    epochs: int
    learning_rate: float
    new_classifier: bool = False
    last_layer_only: bool = False
    batch_size: int = 64
    bfloat16: bool = False

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """FTLL, RTLL, FTAL at a tenth of the rate and at all of it, RTAL."""
        made = partial(scaled, cls, recipe)
        return {
            "FTLL": made(last_layer_only=True),
            "RTLL": made(last_layer_only=True, new_classifier=True),
            "FTAL, 0.1× rate": made(rate=0.1),
            "FTAL": made(),
            "RTAL": made(new_classifier=True),
        }

    def needed(self) -> tuple[Need, ...]:
        """The architecture, too, where the classifier is treated apart."""
        apart = self.new_classifier or self.last_layer_only
        return (*self.needs, "architecture") if apart else self.needs

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A trained copy."""
        return fine_tune(
            model,
            data.dataset,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            new_classifier=self.new_classifier,
            last_layer_only=self.last_layer_only,
            batch_size=self.batch_size,
            bfloat16=self.bfloat16,
            augment=data.augment,
            generator=generator,
        )

    def steps(self, data: AttackData) -> int:
        """Optimizer steps."""
        return self.epochs * (len(data.dataset.y_train) // self.batch_size)
