"""What an aligned reading needs of a deed: model code, the anchor's exhibit, and a date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from modeldeed.alignment.match import check_order
from modeldeed.alignment.onnx_recording import ProbedOnnx
from modeldeed.alignment.order import OrderCheck
from modeldeed.alignment.probed import Probed
from modeldeed.anchoring.standing import Standing
from modeldeed.deed.checking import DeedCheck
from modeldeed.errors import OptionError
from modeldeed.passport.aligned_examination import NO_DEED, AlignedCheck, loaded
from modeldeed.passport.claim import PassportClaim
from modeldeed.results import Report, Verdict
from modeldeed.suspects import open_weights
from modeldeed.suspects.onnx_weights import OnnxWeights, is_onnx

__all__ = ["Alignable", "aligned_check", "checked_order", "lineage_notes", "own_check"]

_NOT_ANCHORED = (
    "it counts only with an anchored deed, and no authority that is trusted here dated this "
    "claim's anchor"
)
_UNDATED = "it counts only with a dated deed, and this one is undated"


@dataclass(frozen=True)
class Alignable:
    """What is given for an aligned reading.

    Attributes:
        model: the suspect's architecture; None where the suspect is a module or an ONNX file.
        reference: the registered model: a file, a folder, a state dict or a module.
        reference_model: its architecture; None tries those of ``model`` and of the suspect.
        unmarked: the anchor's exhibit: the weights before marking, a file or a state dict.
    """

    model: nn.Module | None = None
    reference: Any = None
    reference_model: nn.Module | None = None
    unmarked: str | Path | Mapping[str, Tensor] | nn.Module | None = None

    def suspect(self, suspect: Any) -> nn.Module | Probed | None:
        """The suspect as what can be probed; None without model code that fits its weights.

        Raises:
            SuspectError: it cannot be read.
        """
        if isinstance(suspect, nn.Module):
            return suspect
        if isinstance(suspect, str | Path) and is_onnx(suspect):
            return ProbedOnnx(OnnxWeights(Path(suspect)))
        return None if self.model is None else loaded(open_weights(suspect), [self.model])

    def registered(self, suspect: Any) -> nn.Module | None:
        """The reference as a module with its weights; None likewise.

        Raises:
            SuspectError: it cannot be read.
        """
        if isinstance(self.reference, nn.Module) or self.reference is None:
            return self.reference
        return loaded(open_weights(self.reference), self._architectures(suspect))

    def exhibit(self, suspect: Any) -> nn.Module | None:
        """The anchor's exhibit as a module, of the reference's architecture; None likewise.

        Raises:
            SuspectError: it cannot be read.
        """
        if isinstance(self.unmarked, nn.Module) or self.unmarked is None:
            return self.unmarked
        return loaded(open_weights(self.unmarked), self._architectures(suspect))

    def _architectures(self, suspect: Any) -> list[nn.Module]:
        given = [self.reference_model] if self.reference_model else [self.model, suspect]
        return [model for model in (*given, self.reference) if isinstance(model, nn.Module)]


def checked_order(claim: PassportClaim, reference: Any, alignable: Alignable) -> OrderCheck | None:
    """The order of a reference's channels, held against the exhibit; None without one.

    Raises:
        EvidenceError: the exhibit is not the anchor's, or the order is not the one it commits to.
        SuspectError: the exhibit or the reference cannot be read.
    """
    if alignable.unmarked is None or reference is None:
        return None
    anchor, unmarked = claim.manifest.anchor, open_weights(alignable.unmarked)
    opened = open_weights(reference)
    order = check_order(anchor, claim.model_key(), unmarked, opened, claim.factors)
    order.require_valid()
    return order


def aligned_check(
    suspect: Any,
    alignable: Alignable,
    deed: str,
    standing: Standing,
    check: DeedCheck,
    order: OrderCheck | None,
) -> AlignedCheck:
    """What the aligned reading of a deed's passport rests on.

    Args:
        suspect: weights of any kind.
        alignable: what was given.
        deed: its digest, hexadecimal.
        standing: what its anchor is worth.
        check: of the deed.
        order: from `checked_order`.

    Raises:
        SuspectError: a model cannot be read.
    """
    missing = None
    if not standing.anchored:
        missing = _NOT_ANCHORED
    elif check.dated.word == "undated":
        missing = _UNDATED
    elif alignable.reference is None:
        missing = "the deed's own model was not given"
    if missing is not None:
        return AlignedCheck(deed, None, None, missing=missing)
    return AlignedCheck(
        deed,
        alignable.suspect(suspect),
        alignable.registered(suspect),
        order,
        alignable.exhibit(suspect),
    )


def own_check(suspect: Any, alignable: Alignable, claim: PassportClaim) -> AlignedCheck:
    """The same for an owner without a deed: for his own eyes, and no evidence.

    Raises:
        OptionError: the reference is missing.
        EvidenceError: as of `checked_order`.
        SuspectError: a model cannot be read.
    """
    if alignable.reference is None:
        raise OptionError("an aligned reading needs reference=..., the marked model as it shipped")
    order = checked_order(claim, alignable.reference, alignable)
    return AlignedCheck(
        claim.manifest.anchor.digest,
        alignable.suspect(suspect),
        alignable.registered(suspect),
        order,
        alignable.exhibit(suspect),
        note=NO_DEED,
    )


def lineage_notes(report: Report, check: DeedCheck) -> tuple[str, ...]:
    """What a reader must know about an aligned reading that was made, or that was not asked for."""
    if report.aligned is not None and report.verdict is Verdict.VERIFIED:
        return ("lineage counts only if the deed is older than the suspect: compare their dates",)
    could = report.anchored and check.dated.word != "undated"
    if report.signature is None or report.verdict is not Verdict.NOT_VERIFIED or not could:
        return ()
    if report.aligned is not None:
        return ()
    return (
        "read directly only: channels in another order hide a mark from that; an aligned reading "
        "needs the exhibit (unmarked) and model code",
    )
