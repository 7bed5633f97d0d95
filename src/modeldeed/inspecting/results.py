"""What an inspection found: frozen, with a published JSON schema.

Everything here is description, for people. Nothing of it is evidence of ownership, and no verdict
uses it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = [
    "Explanation",
    "FileWord",
    "Inspection",
    "LayerFinding",
    "Operation",
    "OperationKind",
    "Similarity",
    "Tampering",
    "TensorChange",
]


def _printable(text: str) -> str:
    """Names are a stranger's: one with control characters could write over a terminal."""
    return text if text.isprintable() else ascii(text)


_Count = Annotated[int, Field(ge=0)]
_Shown = Annotated[str, AfterValidator(_printable)]
_Share = Annotated[float, Field(ge=0, le=1)]

OperationKind = Literal[
    "channels removed",
    "channels added",
    "permuted",
    "sign-flipped",
    "rescaled",
    "fine-tuned",
    "re-trained",
    "averaged",
    "noise added",
    "low-rank change",
    "components removed",
    "pruned",
    "channels silenced",
    "cast",
    "quantized",
]
"""What can have been done to a layer, in the order in which an explanation names it."""

LayerWord = Literal["identical", "changed", "unrelated", "missing", "added"]
FileWord = Literal["the same files", "the same tensors", "other tensors"]


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorChange(_Result):
    """A tensor that is not as it was.

    Attributes:
        name: in the reference; of an added one, in the suspect.
        what: its values, type or shape differ, it is missing, or it was added.
        change: relative L2 distance where the values differ; None where it cannot be computed.
    """

    name: _Shown
    what: Literal["values", "type", "shape", "missing", "added"]
    change: float | None = None


class Tampering(_Result):
    """Whether the suspect's files are what was registered.

    Attributes:
        word: the same files; the same tensors in other files; other tensors.
        against: what it was held against: ``"deed"`` or ``"reference"``.
        tensor_root: of the suspect, hexadecimal.
        identical: tensors that are the same, bit by bit; None where there was no reference to
            compare with.
        changes: the others; empty where there was no reference.
    """

    word: FileWord
    against: Literal["deed", "reference"]
    tensor_root: str
    identical: _Count | None = None
    changes: tuple[TensorChange, ...] = ()


class Operation(_Result):
    """One thing that was done to a layer.

    Attributes:
        kind: what.
        detail: how much, in words.
    """

    kind: OperationKind
    detail: str = ""


class Similarity(_Result):
    """How much more similar a layer is than chance would make it: forensics, not evidence.

    Attributes:
        cosine: of the reference with the suspect, order and scales undone, where the suspect is not
            zero.
        expected: of an independent model, treated alike.
        spread: standard deviation of that.
        score: (cosine − expected) / spread. A number to sort layers by; no p-value.
        rank: (1 + independent models at least as similar) / (N + 1); None where none were given.
    """

    cosine: Annotated[float, Field(ge=-1, le=1)]
    expected: float
    spread: float
    score: float
    rank: float | None = None


class LayerFinding(_Result):
    """What happened to one weight.

    Attributes:
        name: in the reference; of an added one, in the suspect.
        counterpart: its name in the suspect; empty for none.
        shape: in the reference.
        word: identical, changed, unrelated (not nearer than chance), missing or added.
        operations: what explains the change, in order; empty for the others.
        change: relative L2 distance, order and scales undone, of the weights that are left.
        kept: coefficient of the reference in them; 1 where nothing was taken from it.
        similarity: against chance; None where nothing could be compared.
        zeros: share of the suspect's weights that are zero.
        zeros_before: of the reference's.
        moved: rows and columns that stand elsewhere.
        missing_rows: of the reference, without a counterpart.
        added_rows: of the suspect, without one.
        rank: of a low-rank change.
        grid: that the suspect's values lie on and the reference's do not.
        bits_per_weight: that write the suspect down, given the reference and the operations; 24
            for what has nothing to do with it.
    """

    name: _Shown
    counterpart: _Shown
    shape: tuple[int, ...]
    word: LayerWord
    operations: tuple[Operation, ...] = ()
    change: float | None = None
    kept: float | None = None
    similarity: Similarity | None = None
    zeros: _Share = 0.0
    zeros_before: _Share = 0.0
    moved: _Count = 0
    missing_rows: _Count = 0
    added_rows: _Count = 0
    rank: int | None = None
    grid: str | None = None
    bits_per_weight: float | None = None

    @property
    def kinds(self) -> tuple[OperationKind, ...]:
        """The operations' kinds."""
        return tuple(operation.kind for operation in self.operations)


class Explanation(_Result):
    """One way to explain the whole suspect.

    Attributes:
        words: in words.
        bits_per_weight: that it takes to write the suspect's layers down, given the reference.
    """

    words: _Shown
    bits_per_weight: float


class Inspection(_Result):
    """What an inspection found.

    Attributes:
        suspect: as the caller named it.
        reference: likewise; empty where only digests were compared.
        tampering: files and tensors against what was registered.
        layers: weight by weight, in the reference's order; those that were added come last.
        explanations: of the whole, the best first; empty without a reference.
        null_models: how many independent models the similarities are held against.
        notes: what a reader must know beside it.
        version: of the package.
    """

    schema_version: Literal["modeldeed-inspection/v1"] = "modeldeed-inspection/v1"
    suspect: _Shown
    reference: _Shown
    tampering: Tampering
    layers: tuple[LayerFinding, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    null_models: _Count = 0
    notes: tuple[_Shown, ...] = ()
    version: str

    def layer(self, name: str) -> LayerFinding:
        """The finding of one weight.

        Raises:
            KeyError: there is none of that name.
        """
        for found in self.layers:
            if found.name == name:
                return found
        raise KeyError(name)
