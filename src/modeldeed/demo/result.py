"""What the demo found: frozen, with a JSON schema of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from modeldeed.errors import OptionError
from modeldeed.results import Support, Verdict

__all__ = [
    "EPOCHS",
    "FINE_TUNE_EPOCHS",
    "PRIVATE_DECOYS",
    "WRONG_KEYS",
    "DemoResult",
    "DemoSize",
    "EpochRecord",
    "Outcome",
    "Versions",
]

EPOCHS = 30
FINE_TUNE_EPOCHS = 6
WRONG_KEYS = 200
PRIVATE_DECOYS = 60

_Rate = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class DemoSize:
    """How much the demo does; the defaults take about a minute on two cores.

    Attributes:
        epochs: of both models, at least 2.
        fine_tune_epochs: of the copy that is trained on, at least 1.
        wrong_keys: keys of nobody whose bits are read from the shipped file, at least 1.
        private_decoys: keys of nobody whose private branch is run, at least 1.

    Raises:
        OptionError: a field is out of range.
    """

    epochs: int = EPOCHS
    fine_tune_epochs: int = FINE_TUNE_EPOCHS
    wrong_keys: int = WRONG_KEYS
    private_decoys: int = PRIVATE_DECOYS

    def __post_init__(self) -> None:
        least = {"epochs": 2, "fine_tune_epochs": 1, "wrong_keys": 1, "private_decoys": 1}
        for name, bound in least.items():
            if (value := getattr(self, name)) < bound:
                raise OptionError(f"the demo's {name} is at least {bound}, got {value}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EpochRecord(_Part):
    """One epoch of both models; accuracies on the test images, after it.

    Attributes:
        epoch: from 1.
        plain: accuracy of the twin without a mark.
        public: of the marked model as anybody runs it.
        private: of the marked model's private branch, with its own statistics.
        plain_seconds: wall time of the twin's training steps.
        marked_seconds: of the marked model's.
    """

    epoch: Annotated[int, Field(ge=1)]
    plain: _Rate
    public: _Rate
    private: _Rate
    plain_seconds: float
    marked_seconds: float


class Outcome(_Part):
    """The owner's claim read from one model.

    Attributes:
        accuracy: of that model on the test images.
        matches: bits that read as the owner's key says.
        log10_p: log10 of the chance that an unrelated model does as well.
        verdict: what follows.
    """

    accuracy: _Rate
    matches: _Count
    log10_p: float
    verdict: Verdict


class Versions(_Part):
    """What ran: the package, PyTorch and Python."""

    modeldeed: str
    torch: str
    python: str


class DemoResult(_Part):
    """Everything the demo measured.

    Attributes:
        seed: of weights, order of samples, keys.
        dataset: what was learned.
        train_images: how many images both models were trained on.
        test_images: how many every accuracy of the history and the outcomes is over.
        epochs: passes over the training images.
        plain_accuracy: the twin trained without a mark.
        public_accuracy: the marked model as anybody runs it.
        private_accuracy: its private branch.
        signature_bits: n, bits in the claim.
        signature_matches: of them, read as claimed from the shipped file.
        required_matches: what the threshold asks for; None when n is too small for any.
        log10_p: log10 of the exact p-value.
        threshold_log2: the largest log2 p that verifies.
        grinding_log2: log2 of the keys tried beforehand that the threshold pays for.
        verdict: on the shipped file under the owner's key.
        wrong_key_matches: bits that match under another owner's key.
        wrong_key_log10_p: log10 of their p-value.
        wrong_key_verdict: what those bits say by themselves, as though the key were the
            passport's; `modeldeed.verify` refuses such a key whatever they say.
        decoy_keys: how many keys of nobody were read.
        decoy_matches: their matches.
        decoy_best_log10_p: p-value of the best of them, before it is corrected for being the best.
        branch_word: what the private branch says about the claim.
        branch_reason: why.
        branch_accuracy: of the private branch under the owner's key, statistics re-estimated on
            unlabelled images as a judge does it.
        private_accuracy_of_decoys: the same under keys of nobody.
        branch_test_images: what those two are over.
        median_margin: of the bits, in standard deviations of an unrelated weight.
        margins: of every bit, in the order of the canonical list.
        unmarked_margins: the same, read from the twin.
        deployed_keys_identical: the shipped file has the plain architecture's tensors: names,
            shapes and types.
        deployed_outputs_identical: a plain model that loads it gives the same bits on every test
            image as the model that was trained.
        deployed_bytes: size of the shipped file.
        private_bytes_in_deployed: bytes in it that belong to the mark.
        training_time_ratio: marked against plain, median over epochs.
        unmarked: the owner's claim against the twin.
        fine_tuned: against a copy of the shipped model that was trained on without the mark.
        fine_tune_epochs: for so many epochs.
        fine_tune_learning_rate: at this peak rate.
        pruned: against a copy whose smallest weights were set to zero.
        pruned_share: so many of them.
        history: epoch by epoch.
        seconds: the whole demo.
        versions: what ran.
    """

    schema_version: Literal["modeldeed-demo/v1"] = "modeldeed-demo/v1"
    seed: _Count
    dataset: str
    train_images: _Count
    test_images: _Count
    epochs: _Count
    plain_accuracy: _Rate
    public_accuracy: _Rate
    private_accuracy: _Rate
    signature_bits: _Count
    signature_matches: _Count
    required_matches: _Count | None
    log10_p: float
    threshold_log2: float
    grinding_log2: _Count
    verdict: Verdict
    wrong_key_matches: _Count
    wrong_key_log10_p: float
    wrong_key_verdict: Verdict
    decoy_keys: _Count
    decoy_matches: tuple[_Count, ...]
    decoy_best_log10_p: float
    branch_word: Support
    branch_reason: str
    branch_accuracy: _Rate
    private_accuracy_of_decoys: tuple[_Rate, ...]
    branch_test_images: _Count
    median_margin: float | None
    margins: tuple[float, ...]
    unmarked_margins: tuple[float, ...]
    deployed_keys_identical: bool
    deployed_outputs_identical: bool
    deployed_bytes: _Count
    private_bytes_in_deployed: _Count
    training_time_ratio: float
    unmarked: Outcome
    fine_tuned: Outcome
    fine_tune_epochs: _Count
    fine_tune_learning_rate: float
    pruned: Outcome
    pruned_share: _Rate
    history: tuple[EpochRecord, ...]
    seconds: float
    versions: Versions

    @property
    def proved(self) -> bool:
        """Whether the shipped file verified for its owner and not for another one."""
        return self.verdict is Verdict.VERIFIED and self.wrong_key_verdict is not Verdict.VERIFIED
