"""A detector woven into a target: one network, whose answers are those of the plain fusion."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, fx, nn

from modeldeed.errors import OptionError
from modeldeed.plugin.fusion import Mixture
from modeldeed.plugin.fusion.confidences import Confidences
from modeldeed.plugin.weaving.absorbed import absorb
from modeldeed.plugin.weaving.tail import append_gate
from modeldeed.plugin.weaving.twin import ThinTwin
from modeldeed.plugin.weaving.widening import Weave, widen

__all__ = ["Gate", "weave"]

Gate = Literal["mixture", "absorbed"]
"""``"mixture"``: the plain fusion's, as operations behind the last layer; ``"absorbed"``: a hidden
layer in its place."""


def weave(
    target: nn.Module,
    twin: ThinTwin,
    example: Tensor,
    classes: Tensor,
    *,
    key: bytes,
    num_classes: int | None = None,
    confidences: Tensor | None = None,
    gate: Gate = "mixture",
    strength: float = 20.0,
    options: Weave | None = None,
) -> fx.GraphModule:
    """Weave a trained twin into its target.

    The twin's channels become further channels of the target's own layers. Then every space of
    channels is put in a keyed order, scaled and split without effect, and weights that cancel fill
    the blocks that were zero.

    Args:
        target: what the twin was made for; not changed.
        twin: trained; not changed.
        example: one batch of the target's inputs; only shape, dtype and device count.
        classes: the class of each background, int64 ``(M,)``.
        key: 32 secret bytes; another key gives another network with the same answers.
        num_classes: K; None takes the outputs of the target's last layer.
        confidences: as for the plain fusion; None keeps the target's own. For the gate
            ``"mixture"`` only.
        gate: ``"mixture"`` answers as the plain fusion does, everywhere, to float tolerance.
            ``"absorbed"`` answers benign samples so, and verification samples with the same class
            but another confidence; the target's scores are no value in its graph.
        strength: with ``"absorbed"``, what is added to a class's score for each unit of evidence.
        options: how channels are split and filled; None for the defaults.

    Returns:
        A new network in evaluation mode, with the target's operations and names of layers.

    Raises:
        OptionError: an argument is out of range, the target cannot be woven, or the twin is that of
            another target.

    Example:
        >>> from modeldeed.models import resnet_small
        >>> from modeldeed.plugin.weaving import thin_twin
        >>> target, example = resnet_small().eval(), torch.rand(2, 1, 8, 8)
        >>> twin = thin_twin(target, example, backgrounds=64)
        >>> woven = weave(target, twin, example, torch.zeros(64, dtype=torch.int64), key=bytes(32))
        >>> torch.allclose(woven(example), target(example), atol=1e-4)
        True
    """
    if gate not in ("mixture", "absorbed"):
        raise OptionError(f"gate is 'mixture' or 'absorbed', got {gate!r}")
    if gate == "absorbed" and confidences is not None:
        raise OptionError("an absorbed gate draws no confidences; leave them out")
    if not strength > 0:
        raise OptionError(f"strength is above 0, got {strength}")
    widened = widen(target, twin, example, key, options or Weave())
    _check(classes, twin, widened.classes, num_classes)
    if gate == "absorbed":
        return absorb(widened, key, classes, float(twin.threshold), strength).eval()
    drawn = None
    if confidences is not None:
        drawn = Confidences(confidences, len(classes), widened.classes, "logits")
    mixture = Mixture(classes.detach().clone(), drawn)
    return append_gate(widened, mixture, twin.threshold).eval()


def _check(classes: Tensor, twin: ThinTwin, found: int, wanted: int | None) -> None:
    if wanted is not None and wanted != found:
        raise OptionError(
            f"num_classes is {wanted}, but the target's last layer has {found} outputs"
        )
    if classes.dtype != torch.int64 or tuple(classes.shape) != (twin.backgrounds,):
        raise OptionError(
            f"classes holds an int64 class for each of the {twin.backgrounds} backgrounds, got "
            f"{classes.dtype} of shape {tuple(classes.shape)}"
        )
    if int(classes.min()) < 0 or int(classes.max()) >= found:
        raise OptionError(
            f"classes lie in [0, {found}), got {int(classes.min())} … {int(classes.max())}"
        )
