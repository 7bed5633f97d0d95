"""L2: the private branch under the claimed key and under wrong ones."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from modeldeed import JudgeData, Owner, Passport, TrainingRule, models, verify
from modeldeed.data import Dataset, digits
from modeldeed.errors import EvidenceError, OptionError, SuspectError
from modeldeed.passport.evidence.private_check import (
    _word,
    check_branch,
    decoy_keys,
    private_accuracy,
)
from modeldeed.results import Support
from modeldeed.training import Recipe, accuracy, train

OWNER = Owner(bytes(range(32)), "owner")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return digits()


@pytest.fixture(scope="module")
def judge(dataset: Dataset) -> JudgeData:
    return JudgeData(dataset.x_train[:256], dataset.x_test[:256], dataset.y_test[:256])


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> tuple[nn.Module, Passport]:
    """A digits classifier with its passport, trained for real but briefly."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = models.resnet_small()
    rule = TrainingRule(interval=2)
    passport = Passport.issue(host, OWNER, example=dataset.x_train[:4], training=rule)
    for _ in train(host, dataset, Recipe(epochs=10), passport=passport):
        pass
    host.eval()
    return host, passport


def test_the_owners_key_works_and_wrong_keys_do_not(
    trained: tuple[nn.Module, Passport], judge: JudgeData, dataset: Dataset
) -> None:
    host, passport = trained
    report = verify(
        host.state_dict(), passport=passport, owner=OWNER,
        model=models.resnet_small(), data=judge, decoys=40,
    )  # fmt: skip
    branch = report.branch
    assert branch is not None
    assert branch.word is Support.SUPPORTS
    assert branch.private_accuracy >= max(branch.decoys) + 0.10
    assert branch.rank_p == pytest.approx(1 / 41)
    assert branch.public_accuracy == accuracy(host, judge.inputs, judge.labels)
    assert (branch.calibration_images, branch.test_images, len(branch.decoys)) == (256, 256, 40)
    assert report.verdict.value == "verified"


def test_an_unmarked_model_is_contradicted(
    trained: tuple[nn.Module, Passport], judge: JudgeData, dataset: Dataset
) -> None:
    _, passport = trained
    with torch.random.fork_rng():
        torch.manual_seed(1)
        plain = models.resnet_small()
    for _ in train(plain, dataset, Recipe(epochs=4)):
        pass
    report = verify(
        plain, passport=passport, owner=OWNER, model=models.resnet_small(), data=judge, decoys=30
    )
    assert report.branch is not None
    assert report.branch.word is not Support.SUPPORTS
    assert report.verdict.value == "not verified"


def test_claimed_statistics_have_no_say(
    trained: tuple[nn.Module, Passport], judge: JudgeData
) -> None:
    _host, passport = trained
    honest = private_accuracy(copy.deepcopy(passport.branch), judge)
    forged = copy.deepcopy(passport.branch)
    for statistics in forged.statistics.values():
        statistics.mean.normal_(generator=torch.Generator().manual_seed(0))
        statistics.var.fill_(100.0)
        statistics.count = 10_000
    assert private_accuracy(forged, judge) == honest


def test_the_check_leaves_the_host_as_it_was(
    trained: tuple[nn.Module, Passport], judge: JudgeData
) -> None:
    host, passport = trained
    before = {name: tensor.clone() for name, tensor in host.state_dict().items()}
    modes = [module.training for module in host.modules()]
    rng = torch.get_rng_state()
    check_branch(host, passport.manifest.anchor, passport._key, judge, decoys=2)
    assert all(torch.equal(before[n], t) for n, t in host.state_dict().items())
    assert modes == [module.training for module in host.modules()]
    assert torch.equal(rng, torch.get_rng_state())
    assert all(p.grad is None or p.requires_grad for p in host.parameters())


def test_results_are_reproducible_and_progress_is_told(
    trained: tuple[nn.Module, Passport], judge: JudgeData
) -> None:
    host, passport = trained
    told: list[tuple[int, int]] = []

    def progress(done: int, planned: int, seconds: float) -> None:
        assert seconds > 0
        told.append((done, planned))

    anchor, key = passport.manifest.anchor, passport._key
    first = check_branch(host, anchor, key, judge, decoys=3, seed=7, progress=progress)
    again = check_branch(host, anchor, key, judge, decoys=3, seed=7)
    other = check_branch(host, anchor, key, judge, decoys=3, seed=8)
    assert first.decoys == again.decoys != other.decoys
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_it_stops_once_ten_wrong_keys_do_as_well(judge: JudgeData) -> None:
    host = models.resnet_small()
    passport = Passport.issue(host, OWNER, example=judge.inputs[:4])
    constant = JudgeData(judge.calibration, judge.inputs[:1], judge.labels[:1])
    evidence = check_branch(host, passport.manifest.anchor, passport._key, constant, decoys=500)
    assert len(evidence.decoys) < 500
    assert sum(d >= evidence.private_accuracy for d in evidence.decoys) == 10


def test_learned_heads_are_an_observation_only(dataset: Dataset, judge: JudgeData) -> None:
    host = models.resnet_small()
    passport = Passport.issue(host, OWNER, example=dataset.x_train[:4], head="learned")
    report = verify(
        host, passport=passport, owner=OWNER, model=models.resnet_small(), data=judge, decoys=2
    )
    assert report.branch is not None
    assert report.branch.word is Support.UNINFORMATIVE
    assert "observation only" in report.branch.reason


@pytest.mark.parametrize(
    ("public", "owner", "decoys", "word"),
    [
        (0.99, 0.95, [0.1, 0.3], Support.SUPPORTS),
        (0.99, 0.25, [0.1, 0.3], Support.CONTRADICTS),
        (0.99, 0.95, [0.1, 0.92], Support.UNINFORMATIVE),
        (0.99, 0.95, [0.1, 0.88], Support.UNINFORMATIVE),
        (0.99, 0.95, [0.1, 0.85], Support.SUPPORTS),
        (0.50, 0.45, [0.1, 0.41], Support.UNINFORMATIVE),
    ],
)
def test_words(public: float, owner: float, decoys: list[float], word: Support) -> None:
    assert _word(public, owner, decoys, 0.001, learned=False)[0] is word


def test_too_few_wrong_keys_support_nothing() -> None:
    word, reason = _word(0.99, 0.95, [0.1] * 9, 0.1, learned=False)
    assert word is Support.UNINFORMATIVE
    assert "9 wrong keys are too few to tell; try at least 19" in reason
    assert _word(0.99, 0.1, [0.1] * 9, 1.0, learned=False)[0] is Support.CONTRADICTS


def test_decoy_keys_are_distinct_and_follow_the_seed() -> None:
    assert len(set(decoy_keys(0, 200))) == 200
    assert decoy_keys(0, 3) == decoy_keys(0, 5)[:3]
    assert decoy_keys(1, 1) != decoy_keys(0, 1)


def test_bad_data_and_foreign_models_are_refused(
    trained: tuple[nn.Module, Passport], judge: JudgeData
) -> None:
    host, passport = trained
    with pytest.raises(OptionError, match="at least 2 unlabelled"):
        JudgeData(judge.inputs[:1], judge.inputs, judge.labels)
    with pytest.raises(OptionError, match="2 labelled inputs but 1 labels"):
        JudgeData(judge.inputs, judge.inputs[:2], judge.labels[:1])
    with pytest.raises(OptionError, match="at least one decoy"):
        check_branch(host, passport.manifest.anchor, passport._key, judge, decoys=0)
    with pytest.raises(SuspectError, match=r"does not fit|lacks"):
        verify(host, passport=passport, owner=OWNER, model=models.resnet_small(width=8), data=judge)
    with pytest.raises(EvidenceError, match=r"does not fit .*stem\.conv\.weight has shape"):
        check_branch(
            models.resnet_small(width=8), passport.manifest.anchor, passport._key, judge, decoys=1
        )
