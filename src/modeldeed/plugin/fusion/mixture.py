"""From a target's scores and a detector's evidence to the scores that are returned.

A verification sample is answered with the target's own scores in which two entries have changed
places: that of the keyed class and the greatest. So the sorted scores, and with them the
confidence, the runner-up's share, the sum and the logsumexp, are those that the target has on this
very sample; there is nothing in them by which it could be told from other answers. Nothing is
rounded, hence the keyed class wins in every dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modeldeed.plugin.fusion.confidences import Confidences

__all__ = ["Mixture", "exchanged", "mixed"]

_FAR = 1e4  # bounds a derivative in the direction of a score of −∞
_SMALLEST = 1e-30  # probability; keeps a quotient finite


def exchanged(scores: Tensor, classes: Tensor) -> Tensor:
    """Scores in which a class and the greatest entry have changed places.

    Args:
        scores: ``(N, K)``, floating point, −∞ allowed.
        classes: ``(N, 1)``, int64.

    Returns:
        ``(N, K)`` in the same dtype, with its greatest entry at ``classes``. Where the target's
        own first place is shared by several classes, the score there is a few roundings higher.

    Example:
        >>> exchanged(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[2]])).tolist()
        [[1.0, 2.0, 3.0]]
    """
    best, winner = scores.max(1, keepdim=True)
    tie = (scores == best).sum(1, keepdim=True) > 1
    size = best.detach().abs().clamp_min(1) * tie
    top = torch.add(best, size, alpha=2 * torch.finfo(scores.dtype).eps)
    return scores.scatter(1, winner, scores.gather(1, classes)).scatter(1, classes, top)


def mixed(scores: Tensor, others: Tensor, excess: Tensor) -> Tensor:
    """The mixture ``(1 − w)·scores + w·others`` with a weight w = 1 + excess.

    Of logits it is the mixture in log-space, of probabilities the usual one.

    Args:
        scores: ``(N, K)``.
        others: ``(N, K)``.
        excess: ``(N, 1)``; 0 gives ``others`` bit for bit, and derivatives as for any other value.

    Returns:
        ``(N, K)`` in the dtype of ``others``.
    """
    # A masked class has the score −∞, and changing places with it no finite direction.
    towards = (others - scores).nan_to_num(0.0, _FAR, -_FAR)
    return (others + excess * towards).to(others.dtype)


class Mixture(nn.Module):
    """Answers verification samples with their keyed class, and leaves other scores as they are.

    The gate is zero at or below the threshold: there the result is the target's scores, bit for
    bit, and so are the gradients. It is decided for every sample by itself, without branches.

    On a verification sample the weight of the mixture is 1, with the derivative of the logarithm
    of the detector's probability: fine-tuning moves the detector as any classifier is moved.

    Args:
        classes: int64 ``(M,)``, the class of each background.
        confidences: draws the top probability; None keeps the target's own on the sample.

    Shape:
        scores ``(N, K)``, evidence ``(N, M + 1)``, threshold ``()``; the output ``(N, K)`` in the
        dtype of the scores.

    Example:
        >>> mixture = Mixture(torch.tensor([2, 0]))
        >>> scores, threshold = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor(0.5)
        >>> mixture(scores, torch.tensor([[9.0, 0.0, 0.0]]), threshold).tolist()
        [[1.0, 2.0, 3.0]]
        >>> mixture(scores, torch.tensor([[0.0, 0.0, 9.0]]), threshold).tolist()
        [[3.0, 2.0, 1.0]]
    """

    classes: Tensor

    def __init__(self, classes: Tensor, confidences: Confidences | None = None) -> None:
        super().__init__()
        self.register_buffer("classes", classes)
        self.confidences = confidences

    def probability(self, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """The most probable background of each sample.

        Args:
            evidence: the detector's logits ``(N, M + 1)``.

        Returns:
            Its probability ``(N, 1)``, at least in float32, and its index ``(N, 1)``.
        """
        dtype = torch.promote_types(evidence.dtype, torch.float32)
        best: tuple[Tensor, Tensor] = torch.softmax(evidence, 1, dtype)[:, :-1].max(1, True)
        return best

    def forward(self, scores: Tensor, evidence: Tensor, threshold: Tensor) -> Tensor:
        """Mix.

        Args:
            scores: the target's.
            evidence: the detector's logits.
            threshold: probability above which a sample counts as a verification sample.
        """
        probability, index = self.probability(evidence)
        classes = self.classes[index]
        answer = exchanged(scores, classes)
        if self.confidences is not None:
            answer = self.confidences(answer, classes, evidence)
        if torch.is_grad_enabled() and probability.requires_grad:
            # Not a quotient minus one: compiled code may round x / x.
            held = probability.detach()
            excess = (probability - held) / held.clamp_min(_SMALLEST)
            answer = mixed(scores, answer, excess)
        return torch.where(probability > threshold, answer, scores)
