"""The deed: made by an owner, dated by authorities, checked by anybody, opened to a judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modeldeed.deed import files
from modeldeed.deed.checking import DeedCheck, check_deed
from modeldeed.deed.dated import Dated
from modeldeed.deed.derivation import Countersignature, DerivedFrom
from modeldeed.deed.envelope import Envelope
from modeldeed.deed.hashing import digest_model
from modeldeed.deed.making import statement_of
from modeldeed.deed.marks import manifests_of
from modeldeed.deed.opening import Opening
from modeldeed.deed.showing import shown_to_judge
from modeldeed.deed.statement import MarkEntry, Statement
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.identity import Identity
from modeldeed.manifest import SignedManifest
from modeldeed.owner import Owner

if TYPE_CHECKING:
    from modeldeed.trust import Trust

__all__ = ["Deed"]


class Deed(Dated):
    """Signed evidence of whose a model is, without anything secret.

    Made by `Deed.create`, or read by `Deed.load`; either way its signature was verified and its
    statement parsed strictly.

    Attributes:
        envelope: the signed payload.
        statement: what it says.
        tokens: timestamp tokens over it, DER, in the order in which they came.
        renewals: rounds of later tokens over the earlier ones.

    Example:
        >>> import tempfile, torch
        >>> from safetensors.torch import save_file
        >>> from modeldeed import Owner, Passport
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3), torch.nn.BatchNorm2d(16))
        >>> owner, folder = Owner.generate(), Path(tempfile.mkdtemp())
        >>> passport = Passport.issue(model, owner, example=torch.rand(2, 1, 8, 8))
        >>> save_file(model.state_dict(), folder / "model.safetensors")  # after training
        >>> deed = Deed.create(folder / "model.safetensors", owner=owner, marks=[passport])
        >>> [mark.kind for mark in deed.statement.predicate.marks]
        ['passport']
    """

    def __init__(
        self,
        envelope: Envelope,
        tokens: Sequence[bytes] = (),
        *,
        renewals: Sequence[Sequence[bytes]] = (),
        manifests: Sequence[SignedManifest] = (),
    ) -> None:
        super().__init__(envelope, tokens, renewals)
        self.statement = Statement.parse(envelope.payload)
        if self.statement.owner_identity() != envelope.identity:
            raise EvidenceError("the deed is signed by another key than its statement names")
        self._manifests = tuple(manifests)

    @classmethod
    def create(
        cls,
        model: str | Path,
        *,
        owner: Owner,
        marks: Any,
        derived_from: Iterable[DerivedFrom | Deed | tuple[Deed, Countersignature]] = (),
        alpha_log2: int | Mapping[str, int] | None = None,
        grinding_log2: int | Mapping[str, int] | None = None,
        second_digest: str | None = None,
    ) -> Deed:
        """Make the deed of a marked model.

        Args:
            model: its weights as they are shipped: a safetensors file, or a checkpoint's index or
                folder.
            owner: whose it is.
            marks: what it carries: passports (with their triggers), trigger sets, plug-ins with
                one fusion, manifests, or folders of these. Saved passports as they were last
                saved.
            derived_from: models that it was made from: their deeds, alone or each with its
                owner's countersignature (see `license`), or entries of your own.
            alpha_log2: a stricter −log2 α than the floor (64 for weights, 20 for answers): a
                number, or one for each kind of mark.
            grinding_log2: a higher price of grinding than the floor (20 anchored, 64 unanchored),
                likewise.
            second_digest: ``"blake3"`` or ``"sha512"``, beside SHA-256; None takes BLAKE3 where
                the optional package is installed.

        Returns:
            The deed, not timestamped yet.

        Raises:
            OptionError: a mark is of no known kind, stands there twice, or a budget is laxer than
                the floor.
            EvidenceError: a mark is somebody else's, was altered, or is not anchored yet; or a
                countersignature is about something else.
            SuspectError: the model's files cannot be read.
        """
        manifests = manifests_of(marks, owner)
        digests = digest_model(model, second=second_digest)
        statement = statement_of(
            manifests,
            digests,
            owner,
            derived_from=derived_from,
            alpha_log2=alpha_log2,
            grinding_log2=grinding_log2,
        )
        return cls(Envelope.signed(statement.to_payload(), owner), manifests=manifests)

    @classmethod
    def parse(
        cls,
        data: bytes,
        tokens: Sequence[bytes] = (),
        renewals: Sequence[Sequence[bytes]] = (),
    ) -> Deed:
        """Read a deed from its envelope's bytes.

        Args:
            data: the content of ``deed.json``.
            tokens: timestamp tokens; they are looked at by `check` only.
            renewals: of them, round by round.

        Raises:
            EvidenceError: it is too large, malformed, of another version, or was altered.
        """
        return cls(Envelope.parse(data), tokens, renewals=renewals)

    @classmethod
    def load(cls, path: str | Path) -> Deed:
        """Read a deed from its folder, or from ``deed.json`` in it.

        Raises:
            OptionError: there is none.
            EvidenceError: as of `parse`, or a file is too large.
        """
        return cls.parse(*files.load(Path(path)))

    def save(self, folder: str | Path) -> None:
        """Write the deed and its timestamps to a folder, by custom named ``….deed``.

        Raises:
            OptionError: the folder holds another deed.
        """
        files.save(Path(folder), self.envelope.to_bytes(), self.rounds)

    @property
    def identity(self) -> Identity:
        """Whose deed it is."""
        return self.envelope.identity

    @property
    def marks(self) -> tuple[MarkEntry, ...]:
        """What the model carries, as the statement says it."""
        return self.statement.predicate.marks

    def check(self, *, trust: Trust | None = None, model: str | Path | None = None) -> DeedCheck:
        """Check everything that needs no secret: see `DeedCheck`.

        Args:
            trust: known owners, revoked ones, and authorities; None verifies no timestamp.
            model: the deed's model, to hold its digests against; None leaves it.

        Raises:
            SuspectError: the model cannot be read.
        """
        return check_deed(self, trust=trust, model=model)

    def open(
        self,
        owner: Owner,
        suspect_digest: str,
        nonce: str,
        *,
        marks: Any = None,
        batches: Mapping[str, Sequence[int]] | Sequence[int] | None = None,
        plugin_seed: bool = False,
    ) -> Opening:
        """Show a judge this model's secrets, for one suspect and one dispute.

        By default the model's seed is shown, and of a plug-in the first batch of backgrounds: its
        seed would open it beside all other models as well.

        Args:
            owner: whose deed it is.
            suspect_digest: as reports give it, hexadecimal.
            nonce: that the judge drew, 16 … 64 bytes in hexadecimal.
            marks: the marks the deed was made of; None if it was made in this process.
            batches: show only these batches of triggers and backgrounds, and no seed: numbers, or
                numbers by kind of mark. Each that is shown is burnt for later.
            plugin_seed: show a plug-in's seed too.

        Raises:
            OptionError: marks are missing, or a batch does not exist; or the digest or the nonce
                is malformed.
            EvidenceError: the marks or the owner are not those of the deed.
        """
        manifests = self._manifests if marks is None else manifests_of(marks, owner)
        return shown_to_judge(
            self,
            owner,
            manifests,
            suspect=suspect_digest,
            nonce=nonce,
            batches=batches,
            plugin_seed=plugin_seed,
        )

    def license(
        self,
        owner: Owner,
        licensee: Identity,
        terms: str,
        *,
        tensor_root: str | None = None,
        deed: str | None = None,
    ) -> Countersignature:
        """Consent to a model derived from this one.

        Args:
            owner: of this deed.
            licensee: who may.
            terms: the licence, by name or in words.
            tensor_root: of the one derived model; None for any of this licensee.
            deed: digest of the one derived deed; None for any of this licensee.

        Returns:
            The signed consent, for ``derived_from`` of the derived deed, or beside it.

        Raises:
            OptionError: the owner is another one, or a value is malformed.
        """
        if owner.identity != self.identity:
            raise OptionError("only the owner of this deed can license what is derived from it")
        try:
            consent = Countersignature(
                identity=self.identity.public_key.hex(),
                upstream=self.digest,
                licensee=licensee.public_key.hex(),
                terms=terms,
                tensor_root=tensor_root,
                deed=deed,
            )
        except ValidationError as error:
            raise OptionError(f"no license can say this: {error.errors()[0]['msg']}") from error
        return consent.signed(owner)

    def __repr__(self) -> str:
        return f"Deed({self.digest[:16]}, identity={self.identity.fingerprint[:16]})"
