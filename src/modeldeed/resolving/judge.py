"""What one judge brings to a dispute, fixed before anything of a claimant is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from modeldeed.passport.evidence.private_check import DEFAULT_DECOYS, JudgeData
from modeldeed.suspects.answering.preparation import Prepare
from modeldeed.trust import Trust

__all__ = ["Judge"]


@dataclass(frozen=True)
class Judge:
    """The judge's means.

    Attributes:
        trust: owners, revocations, authorities and public bases.
        nonce: drawn for this dispute; openings are bound to it.
        models: architectures that can be built, for questions to weights and for level 2.
        data: for level 2.
        carriers: benign samples for plug-ins: a model's inputs, or canonical integers.
        prepare: how canonical integers become the input of a model in this process.
        transcripts: folder for answers of the suspect; None keeps none.
        decoys: wrong keys of level 2.
        decoy_seed: of all wrong keys.
    """

    trust: Trust
    nonce: str
    models: tuple[nn.Module, ...] = ()
    data: JudgeData | None = None
    carriers: Tensor | None = None
    prepare: Prepare | None = None
    transcripts: Path | None = None
    decoys: int = DEFAULT_DECOYS
    decoy_seed: int = 0
