"""What the plug-in's demo found: frozen, with a JSON schema of its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from modeldeed.demo.result import Versions
from modeldeed.results import Verdict

__all__ = ["Examined", "PluginDemoResult"]

_Rate = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Examined(_Part):
    """A model that was asked about verification samples.

    Attributes:
        model: which one, in words.
        key: whose claim.
        accuracy: on the test images; None for what is no model of digits.
        queries: answers until the evidence decided.
        matches: of them, those that are the keyed class.
        log10_e: the e-value that was reached.
        verdict: what follows.
    """

    model: str
    key: str
    accuracy: _Rate | None
    queries: _Count
    matches: _Count
    log10_e: float
    verdict: Verdict


class PluginDemoResult(_Part):
    """Everything the plug-in's demo measured.

    Attributes:
        seed: of weights, order of samples, keys.
        dataset: what the targets learned.
        backgrounds: M, keyed backgrounds.
        classes: K.
        detector_parameters: of the plug-in, all that a fusion adds.
        training_seconds: of the plug-in, once for all targets.
        target_unchanged: the target's weights have the same digest after fusing as before.
        benign_outputs_identical: fused and bare target give the same bits on every test image.
        benign_images: how many those are.
        success_rate: verification samples that are answered with the keyed class: every
            background on several carriers that the plug-in never saw.
        verification_samples: how many those are.
        other_key_rate: of other owners' verification samples, those that change an answer.
        other_key_samples: how many those are.
        examined: fused models, changed ones, and others, asked by the judge.
        seconds: the whole demo.
        versions: what ran.
    """

    schema_version: Literal["modeldeed-plugin-demo/v1"] = "modeldeed-plugin-demo/v1"
    seed: _Count
    dataset: str
    backgrounds: _Count
    classes: _Count
    detector_parameters: _Count
    training_seconds: float
    target_unchanged: bool
    benign_outputs_identical: bool
    benign_images: _Count
    success_rate: _Rate
    verification_samples: _Count
    other_key_rate: _Rate
    other_key_samples: _Count
    examined: tuple[Examined, ...]
    seconds: float
    versions: Versions

    @property
    def proved(self) -> bool:
        """Whether both fused models verified for their owner, and nothing else did."""
        own = [e for e in self.examined if e.key == OWN and e.model.startswith(FUSED)]
        others = [e for e in self.examined if e.key != OWN or e.model.startswith(BARE)]
        return all(e.verdict is Verdict.VERIFIED for e in own) and not any(
            e.verdict is Verdict.VERIFIED for e in others
        )


OWN = "the owner's"
FUSED, BARE = "fused", "bare"
