"""What a detector is made of, as JSON can hold it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modeldeed.anchor.plugin_rule import MAX_BACKGROUNDS, BackgroundInput
from modeldeed.evidence_model import EvidenceModel

__all__ = ["DetectorConfig"]

_Width = Annotated[int, Field(ge=1, le=4096)]


class DetectorConfig(EvidenceModel):
    """The sizes of a detector; its reduction follows from the form and the version.

    Attributes:
        format: of this record.
        version: of the architecture: another reduction or another order of layers is a new one.
        input: the form of one sample.
        backgrounds: M; there are M + 1 logits.
        hidden: widths of the two hidden layers.

    Example:
        >>> from modeldeed.anchor.trigger_rule import AudioInput
        >>> config = DetectorConfig(
        ...     input=AudioInput(samples=800), backgrounds=64, hidden=(64, 128)
        ... )
        >>> DetectorConfig.model_validate_json(config.model_dump_json()) == config
        True
    """

    format: Literal["modeldeed-detector/v1"] = "modeldeed-detector/v1"
    version: Literal["perceptron/v1"] = "perceptron/v1"
    input: BackgroundInput
    backgrounds: Annotated[int, Field(ge=1, le=MAX_BACKGROUNDS)]
    hidden: tuple[_Width, _Width]
