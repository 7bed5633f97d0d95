import random

import pytest
import torch

from modeldeed.demo import DemoResult
from modeldeed.demo.result import EpochRecord, Outcome, Versions
from modeldeed.results import Support, Verdict


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    # Small layers on a busy machine: a second thread only waits.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def result() -> DemoResult:
    """A result with numbers that occur nowhere else."""
    draw = random.Random(7)
    return DemoResult(
        seed=41,
        dataset="digits",
        train_images=1234,
        test_images=321,
        epochs=4,
        plain_accuracy=0.9371,
        public_accuracy=0.9262,
        private_accuracy=0.9153,
        signature_bits=640,
        signature_matches=631,
        required_matches=483,
        log10_p=-171.6,
        threshold_log2=-100.0,
        grinding_log2=57,
        verdict=Verdict.VERIFIED,
        wrong_key_matches=317,
        wrong_key_log10_p=-0.21,
        wrong_key_verdict=Verdict.NOT_VERIFIED,
        decoy_keys=30,
        decoy_matches=(358, *(draw.randint(290, 350) for _ in range(29))),
        decoy_best_log10_p=-2.9,
        branch_word=Support.SUPPORTS,
        branch_reason="because",
        branch_accuracy=0.9044,
        private_accuracy_of_decoys=(0.123, 0.287),
        branch_test_images=200,
        median_margin=5.63,
        margins=tuple(draw.gauss(5.5, 1) for _ in range(640)),
        unmarked_margins=tuple(draw.gauss(0, 1) for _ in range(640)),
        deployed_keys_identical=True,
        deployed_outputs_identical=True,
        deployed_bytes=765432,
        private_bytes_in_deployed=0,
        training_time_ratio=1.273,
        unmarked=Outcome(accuracy=0.9371, matches=329, log10_p=-0.63, verdict=Verdict.NOT_VERIFIED),
        fine_tuned=Outcome(accuracy=0.934, matches=628, log10_p=-166.2, verdict=Verdict.VERIFIED),
        fine_tune_epochs=9,
        fine_tune_learning_rate=0.01,
        pruned=Outcome(accuracy=0.911, matches=590, log10_p=-114.9, verdict=Verdict.VERIFIED),
        pruned_share=0.5,
        history=tuple(
            EpochRecord(
                epoch=i,
                plain=0.5 + i / 10,
                public=0.4 + i / 10,
                private=i / 10,
                plain_seconds=1.0,
                marked_seconds=1.273,
            )
            for i in range(1, 5)
        ),
        seconds=57.3,
        versions=Versions(modeldeed="9.8.7", torch="6.5.4", python="3.2.1"),
    )
