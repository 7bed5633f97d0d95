"""Top probabilities drawn from those a target usually has.

Confidences are log-odds of the greatest probability against all others together,
``z_top − logsumexp(z_others)``: probabilities of trained models round to 1 in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from modeldeed.errors import OptionError
from modeldeed.plugin.fusion.outputs import Key, ScorePlace
from modeldeed.suspects.answering.untouched import untouched

__all__ = ["SCORES", "Confidences", "Scores", "require_kind", "usual_confidences"]

Scores = Literal["logits", "probabilities"]
SCORES = ("logits", "probabilities")

_LEVELS = 65
_HIGHEST = 80.0  # log-odds; beyond them a float32 probability has long been 1
_TURNS = 8.0  # of the wave in which a draw is read, for detector logits one apart
_LEAD = 0.02  # of a draw level with the runner-up; one ahead by 1 is moved by 0.0004
_GOLDEN = (math.sqrt(5) - 1) / 2
_REST = 1e-18  # probability; the square of its inverse is finite in float32


def usual_confidences(
    target: nn.Module,
    batches: Iterable[Any],
    *,
    num_classes: int,
    scores: Scores = "logits",
    output: Key | tuple[Key, ...] | None = None,
) -> Tensor:
    """Measure how confident a target usually is.

    Args:
        target: any module; asked in eval mode and left as it was.
        batches: what it takes, benign: tensors, mappings as keyword arguments, tuples as positional
            ones.
        num_classes: K.
        scores: whether it returns logits or probabilities.
        output: where its scores stand, as for `fuse`.

    Returns:
        65 quantiles of the top class's log-odds, ascending, from the least to the greatest,
        float32.

    Raises:
        OptionError: there are fewer than two samples, or no scores are found.

    Example:
        >>> table = usual_confidences(nn.Identity(), [torch.eye(3), 2 * torch.eye(3)],
        ...                           num_classes=3)
        >>> [round(value, 3) for value in table[[0, -1]].tolist()]
        [0.307, 1.307]
    """
    require_kind(scores)
    place = ScorePlace(output, num_classes)
    found = []
    with untouched(target), torch.no_grad():
        target.eval()
        for batch in batches:
            found.append(_log_odds(place.find(_called(target, batch)), scores).cpu())
    values = torch.cat(found) if found else torch.zeros(0)
    values = values[~values.isnan()].clamp(-_HIGHEST, _HIGHEST)
    if len(values) < 2:
        raise OptionError(f"usual confidences need two samples at least, got {len(values)}")
    levels = torch.linspace(0, 1, _LEVELS, dtype=torch.float64)
    return values.quantile(levels).to(torch.float32)


class Confidences(nn.Module):
    """Moves the top probability of scores to one drawn from a table.

    The draw reads the detector's logits as the phase of a wave that rises and falls linearly: near
    uniform over samples, the same for a sample every time, and continuous, so that rounding
    changes it by roundings only. The other classes keep their ratios. A confidence that would let
    the runner-up win is raised, smoothly, so that leads do not pile up at a least one.

    Args:
        table: ascending quantiles of log-odds ``(Q,)``, as of `usual_confidences`.
        backgrounds: M.
        classes: K.
        scores: whether scores are logits or probabilities; logits keep their logsumexp, and
            probabilities their sum.

    Shape:
        scores ``(N, K)``, classes ``(N, 1)``, evidence ``(N, M + 1)``; the output ``(N, K)`` in the
        dtype of the scores.
    """

    table: Tensor
    phases: Tensor

    def __init__(self, table: Tensor, backgrounds: int, classes: int, scores: Scores) -> None:
        super().__init__()
        require_kind(scores)
        _require_table(table)
        self.scores = scores
        self._spread = math.log(classes) + 1
        turns = (torch.arange(1, backgrounds + 2, dtype=torch.float64) * _GOLDEN) % 1 + 0.5
        turns[1::2] *= -1
        scale = _TURNS / math.sqrt(backgrounds + 1)
        self.register_buffer("table", table.detach().to(torch.float32).clone())
        self.register_buffer("phases", (turns * scale).to(torch.float32))

    def drawn(self, evidence: Tensor) -> Tensor:
        """Draw one confidence for each sample.

        Args:
            evidence: the detector's logits ``(N, M + 1)``.

        Returns:
            Log-odds ``(N, 1)``, float32 or float64.
        """
        turns = evidence * self.phases
        phase = (turns - turns.round()).sum(1, keepdim=True)  # whole turns would cost digits
        level = 2 * (phase - phase.round()).abs()
        steps = self.table[1:] - self.table[:-1]
        number = torch.arange(len(steps), device=level.device)
        risen = (level * len(steps) - number).clamp(0, 1)
        return self.table[0] + (risen * steps).sum(1, keepdim=True)

    def forward(self, scores: Tensor, classes: Tensor, evidence: Tensor) -> Tensor:
        """Move the top probability.

        Args:
            scores: with their greatest entry at ``classes``.
            classes: the top classes.
            evidence: the detector's logits.
        """
        with torch.no_grad():
            drawn = self.drawn(evidence.to(torch.promote_types(evidence.dtype, torch.float32)))
        values = scores.to(torch.promote_types(scores.dtype, torch.float32))
        margin = 2 * torch.finfo(scores.dtype).eps + 8 * torch.finfo(values.dtype).eps
        move = self._logits if self.scores == "logits" else self._probabilities
        return move(values, classes, drawn, margin).to(scores.dtype)

    def _logits(self, values: Tensor, classes: Tensor, drawn: Tensor, margin: float) -> Tensor:
        top = values.gather(1, classes)
        # Not −∞: were all other classes masked, the derivative of logsumexp would be no number.
        others = values.scatter(1, classes, torch.finfo(values.dtype).min / 4)
        rest = torch.logsumexp(others, 1, keepdim=True)
        whole = torch.logaddexp(top, rest)
        with torch.no_grad():
            second = others.amax(1, keepdim=True)
            odds = _winning(drawn, second - rest, margin * (whole.abs() + self._spread))
        below, above = logsigmoid(-odds), logsigmoid(odds)
        return (values + (whole - rest + below)).scatter(1, classes, whole + above)

    def _probabilities(
        self, values: Tensor, classes: Tensor, drawn: Tensor, margin: float
    ) -> Tensor:
        top = values.gather(1, classes)
        others = values.scatter(1, classes, 0.0)
        rest = others.sum(1, keepdim=True)
        whole = top + rest
        with torch.no_grad():
            second = others.amax(1, keepdim=True).clamp_min(_REST).log()
            rival = second - rest.clamp_min(_REST).log()
            odds = _winning(drawn, rival, torch.full_like(rival, 2 * margin))
            # With nothing to give to other classes, the top keeps all.
            odds = torch.where(rest > _REST, odds, torch.full_like(odds, torch.inf))
        share = torch.sigmoid(-odds) / rest.clamp_min(_REST)
        return (values * (whole * share)).scatter(1, classes, whole * torch.sigmoid(odds))


def _winning(drawn: Tensor, rival: Tensor, margin: Tensor) -> Tensor:
    """Log-odds near the drawn ones, above a rival's by a margin at least."""
    ahead = (drawn - rival) / 2
    lead = ahead + (ahead.square() + _LEAD**2).sqrt()
    return rival + torch.maximum(lead, margin)


def require_kind(scores: Scores) -> None:
    """Refuse anything but the names of the two kinds of scores."""
    if scores not in SCORES:
        raise OptionError(f"scores is {' or '.join(map(repr, SCORES))}, got {scores!r}")


def _require_table(table: Tensor) -> None:
    if not isinstance(table, Tensor) or table.dim() != 1 or len(table) < 2:
        raise OptionError(
            "confidences are quantiles of log-odds (Q,), two at least; usual_confidences() makes "
            f"them; got {tuple(table.shape) if isinstance(table, Tensor) else table!r}"
        )
    if not bool(table.isfinite().all()) or not bool((table.diff() >= 0).all()):
        raise OptionError("confidences are finite quantiles in ascending order")


def _log_odds(scores: Tensor, kind: Scores) -> Tensor:
    """Of each sample's top class, ``(N,)``, float64."""
    values = scores.to(torch.float64)
    top, winner = values.max(1, keepdim=True)
    if kind == "logits":
        others = values.scatter(1, winner, -torch.inf)
        return (top - torch.logsumexp(others, 1, keepdim=True)).flatten()
    return (top.log() - values.scatter(1, winner, 0.0).sum(1, keepdim=True).log()).flatten()


def _called(target: nn.Module, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return target(**batch)
    return target(*batch) if isinstance(batch, tuple) else target(batch)
