"""A claim by a passport: whose it is, and what its bits are read with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from modeldeed.claimant import Claimant
from modeldeed.errors import OptionError
from modeldeed.passport.evidence import files
from modeldeed.passport.evidence.coloured import Factors, require_factors
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.passport import Passport

__all__ = ["PassportClaim"]


@dataclass(frozen=True)
class PassportClaim:
    """A passport's manifest under somebody's key.

    Attributes:
        manifest: authenticated.
        claimant: who claims.
        heads: trained parameters of learned heads; None without any.
        factors: of a coloured reading, checked; None where weights are read.
    """

    manifest: Manifest
    claimant: Claimant
    heads: dict[str, Tensor] | None = None
    factors: Factors | None = None

    @classmethod
    def of(cls, passport: Passport | Manifest | str | Path, claimant: Claimant) -> PassportClaim:
        """Read a claim.

        Args:
            passport: a passport, its manifest, or the folder it was saved to.
            claimant: who claims.

        Raises:
            EvidenceError: it was altered.
            OptionError: there is none; or it is a manifest alone whose reading is coloured: its
                factors lie in the passport's folder.
        """
        if isinstance(passport, Passport):
            return cls(passport.manifest, claimant, *_held(passport))
        if isinstance(passport, Manifest):
            return cls(_parsed(passport), claimant)
        manifest, state = files.load(Path(passport))
        prefix = "head."
        trained = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
        return cls(manifest, claimant, trained or None, files.factors_of(manifest, state))

    @property
    def owns(self) -> bool:
        """Whether the manifest is the claimant's."""
        return self.manifest.owned_by(self.claimant)

    def model_key(self) -> bytes:
        """The key of this model under the claimant's secret."""
        return self.manifest.claimed_key(self.claimant)


def _held(passport: Passport) -> tuple[dict[str, Tensor] | None, Factors | None]:
    heads = dict(passport.branch.heads.named_parameters())
    trained = {name: parameter.detach() for name, parameter in heads.items()}
    anchor, factors = passport.manifest.anchor, passport.branch.factors
    if isinstance(anchor.passport_rule.reading, str):
        return trained or None, None
    require_factors(factors, anchor.passport_rule.reading.factors, anchor.targets)
    return trained or None, factors


def _parsed(manifest: Manifest) -> Manifest:
    parsed = Manifest.from_json(manifest.to_json())
    parsed.require_authentic()
    rule = parsed.anchor.passport_rule
    if not isinstance(rule.reading, str):
        raise OptionError(
            f"this passport is read by {rule.reading_name}, which needs the factors beside its "
            "manifest: give the folder it was saved to"
        )
    return parsed
