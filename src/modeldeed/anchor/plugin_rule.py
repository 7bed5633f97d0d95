"""The rules of a plug-in: its backgrounds, and how answers beside one model are counted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from modeldeed.anchor.trigger_rule import (
    MAX_BATCHES,
    MAX_CLASSES,
    AudioInput,
    ImageInput,
    PointInput,
)
from modeldeed.evidence_model import EvidenceModel, Name

__all__ = ["MAX_BACKGROUNDS", "BackgroundInput", "BackgroundKind", "BackgroundRule", "PluginRule"]

MAX_BACKGROUNDS = 4096

BackgroundInput = Annotated[ImageInput | PointInput | AudioInput, Field(discriminator="kind")]
BackgroundKind = Literal["fixed", "multi", "generated"]


class BackgroundRule(EvidenceModel):
    """How backgrounds follow from the key, and how a carrier's content is placed on one.

    Attributes:
        version: of this rule.
        input: the form of one verification sample.
        kind: ``"fixed"``: one background, a demonstration; ``"multi"``: many, each always the
            same; ``"generated"``: many, each drawn anew for every carrier.
        family: versioned name of the way they are drawn.
        placing: versioned name of the way content is placed on them.
        count: M, how many there are.
    """

    version: Literal["backgrounds/v1"] = "backgrounds/v1"
    input: BackgroundInput
    kind: BackgroundKind
    family: Name
    placing: Name
    count: Annotated[int, Field(ge=1, le=MAX_BACKGROUNDS)]

    @model_validator(mode="after")
    def _check_count(self) -> BackgroundRule:
        if (self.kind == "fixed") != (self.count == 1):
            raise ValueError("of the kind 'fixed' there is one background, of others at least two")
        return self


class PluginRule(EvidenceModel):
    """A plug-in beside one model: which backgrounds, and which class each of them stands for.

    Attributes:
        version: of this rule.
        backgrounds: of the plug-in, the same beside every model.
        classes: K, of this model; the target classes are drawn from them.
        count: backgrounds of one batch; batch b holds those from ``b · count`` on.
        batches: how many batches; each is opened alone.
        prior: of the match rate in the test.
    """

    version: Literal["plugin/v1"] = "plugin/v1"
    backgrounds: BackgroundRule
    classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)]
    count: Annotated[int, Field(ge=1, le=MAX_BACKGROUNDS)]
    batches: Annotated[int, Field(ge=1, le=MAX_BATCHES)] = 1
    prior: Literal["grid-20/v1"] = "grid-20/v1"

    @model_validator(mode="after")
    def _check_batches(self) -> PluginRule:
        if self.count * self.batches > self.backgrounds.count:
            raise ValueError("its batches hold more backgrounds than there are")
        return self
