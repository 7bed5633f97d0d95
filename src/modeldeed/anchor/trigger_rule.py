"""The rule of a trigger set: what it is made for, fixed in the anchor before any trigger exists."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from modeldeed.evidence_model import EvidenceModel, Name

__all__ = [
    "MAX_BATCHES",
    "MAX_CLASSES",
    "MAX_COUNT",
    "MIN_COUNT",
    "AudioInput",
    "ImageInput",
    "PointInput",
    "TokenInput",
    "TriggerInput",
    "TriggerRule",
]

MAX_CLASSES = 100_000
MAX_BATCHES = 256
MIN_COUNT, MAX_COUNT = 8, 2**16


class ImageInput(EvidenceModel):
    """Images of bytes.

    Attributes:
        channels: C.
        height: H, in pixels.
        width: W, in pixels.
    """

    kind: Literal["image"] = "image"
    channels: Annotated[int, Field(ge=1, le=64)]
    height: Annotated[int, Field(ge=4, le=4096)]
    width: Annotated[int, Field(ge=4, le=4096)]


class PointInput(EvidenceModel):
    """Clouds of points in space, with coordinates in units of 2⁻¹⁵.

    Attributes:
        points: P.
    """

    kind: Literal["points"] = "points"
    points: Annotated[int, Field(ge=16, le=2**20)]


class AudioInput(EvidenceModel):
    """One channel of 16-bit sound.

    Attributes:
        samples: L.
    """

    kind: Literal["audio"] = "audio"
    samples: Annotated[int, Field(ge=64, le=2**24)]


class TokenInput(EvidenceModel):
    """Sequences of token numbers.

    Attributes:
        length: L, tokens in a sequence.
        lowest: the first number that stands for an ordinary token.
        vocabulary: the number after the last one.
    """

    kind: Literal["tokens"] = "tokens"
    length: Annotated[int, Field(ge=4, le=2**16)]
    lowest: Annotated[int, Field(ge=0)] = 0
    vocabulary: Annotated[int, Field(ge=2, le=2**31)]

    @field_validator("vocabulary")
    @classmethod
    def _check_vocabulary(cls, vocabulary: int, info: ValidationInfo) -> int:
        if vocabulary - info.data.get("lowest", 0) < 2:
            raise ValueError("leaves fewer than two ordinary tokens")
        return vocabulary


TriggerInput = Annotated[
    ImageInput | PointInput | AudioInput | TokenInput, Field(discriminator="kind")
]


class TriggerRule(EvidenceModel):
    """How triggers follow from the key, and how answers to them are counted.

    Attributes:
        version: of this rule.
        input: the form of one trigger.
        family: versioned name of the way they are drawn.
        classes: K, the classes a label is drawn from.
        count: triggers of one batch; each batch has its own key and is opened alone.
        batches: how many batches the model learns.
        prior: of the match rate in the test.
    """

    version: Literal["triggers/v1"] = "triggers/v1"
    input: TriggerInput
    family: Name
    classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)]
    count: Annotated[int, Field(ge=MIN_COUNT, le=MAX_COUNT)]
    batches: Annotated[int, Field(ge=1, le=MAX_BATCHES)] = 2
    prior: Literal["grid-20/v1"] = "grid-20/v1"
