"""Every forgery: what the published rule takes, and what our judge says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest
import torch

from modeldeed import JudgeData, Verdict, verify
from modeldeed.attacks import forgery
from modeldeed.attacks.forgery import (
    BruteForce,
    ClaimedStatistics,
    ClosedForm,
    DoctoredReference,
    FittedKey,
    Forgery,
    IndividualBlocks,
    LateLayers,
    LateMessage,
    OptimizedPassports,
    PermutedReference,
    ReadOff,
    RetrainedHead,
    SingularVector,
    Stolen,
    SurrogateKeys,
    examine,
    judged,
    share_read,
)
from modeldeed.attacks.forgery._fitting import Fit
from modeldeed.attacks.forgery.published import LEAST_MATCH_RATE, layers_of
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Recipe, accuracy
from tests.attacks.forgery.marked import OWNER, Victim, network

Hold = Callable[[Victim], Stolen]
BITS = 160
SHORT = Fit(steps=8, warm_up=10)
QUICK: dict[str, Forgery] = {
    "brute-force": BruteForce(keys=50),
    "fitted-key": FittedKey(steps=50),
    "inserted-blocks-collective": forgery.CollectiveBlocks(fitting=SHORT),
    "inserted-blocks-individual": IndividualBlocks(fitting=SHORT),
    "optimized-passports": OptimizedPassports(fitting=SHORT, factor_steps=40),
    "retrained-head": RetrainedHead(fitting=SHORT),
    "surrogate-keys": SurrogateKeys(keys=4, surrogates=1, recipe=Recipe(epochs=1)),
}


def quick(name: str) -> Forgery:
    return QUICK.get(name) or forgery.find(name)()


# Both rules know the owner


def test_the_owner_is_accepted_under_both_rules(
    published_victim: Victim, victim: Victim, dataset: Dataset
) -> None:
    x, y = dataset.x_test, dataset.y_test
    result = examine(published_victim.model, published_victim.published(), x, y)
    assert result.accepts
    assert result.match_rate == 1
    assert result.public_accuracy == accuracy(published_victim.model, x, y) > 0.9
    own = published_victim.passport
    with torch.no_grad():
        assert result.private_accuracy == accuracy(own.branch, x, y)
    report = verify(victim.model, passport=victim.passport, owner=OWNER)
    assert report.verdict is Verdict.VERIFIED


def test_the_published_rule_rejects_who_forges_nothing(
    published_victim: Victim, dataset: Dataset, hold: Hold, generator: torch.Generator
) -> None:
    """Random passports, head and bits: half of the bits, and no accuracy."""
    model = published_victim.model
    layers = layers_of(model, dataset.x_test[:4])
    claim = ReadOff().published(hold(published_victim), generator)
    drawn = [forgery.published.TwoLayers.drawn(layer.channels, generator) for layer in layers]
    naive = forgery.PublishedClaim(
        claim.passports,
        tuple(torch.randn(len(bits), generator=generator).sign() for bits in claim.bits),
        forgery.published.heads_of(drawn),
    )
    result = examine(model, naive, dataset.x_test, dataset.y_test)
    assert not result.accepts
    assert 0.3 < result.match_rate < 0.7


# Against the published rule


@pytest.mark.parametrize("kind", [ReadOff, ClosedForm, SingularVector, ClaimedStatistics])
def test_without_data_the_published_rule_is_deceived_perfectly(
    kind: type[Forgery],
    published_victim: Victim,
    dataset: Dataset,
    hold: Hold,
    generator: torch.Generator,
) -> None:
    claim = kind().published(hold(published_victim), generator)
    assert claim is not None
    result = examine(published_victim.model, claim, dataset.x_test, dataset.y_test)
    assert result.private_accuracy == result.public_accuracy
    assert result.match_rate == 1
    assert result.accepts


def test_the_private_branch_of_a_solved_head_is_the_public_one(
    published_victim: Victim, dataset: Dataset, hold: Hold, generator: torch.Generator
) -> None:
    model = published_victim.model
    for kind in (ClosedForm, ClaimedStatistics):
        claim = kind().published(hold(published_victim), generator)
        layers = layers_of(model, dataset.x_test[:4])
        with torch.no_grad():
            scales = forgery.published.affine(layers, claim.passports, claim.heads)
            run = forgery.published.private_branch(model, scales, claim.statistics)
            torch.testing.assert_close(
                run(dataset.x_test), model(dataset.x_test), rtol=1e-3, atol=1e-3
            )


def test_the_singular_vector_reads_the_owners_bits_there_and_not_here(
    published_victim: Victim, victim: Victim, hold: Hold, generator: torch.Generator
) -> None:
    shares = {}
    for form, marked in (("published", published_victim), ("ours", victim)):
        claim = SingularVector().published(hold(marked), generator)
        owned = [secrets.bits for secrets in marked.passport.branch.secrets]
        shares[form] = share_read(claim.bits, owned)
    assert shares["published"] > 0.95
    # Guessing reads ½ + 0.4/√C of a layer; four standard deviations of 160 bits are 0.16.
    assert shares["ours"] < 0.5 + 0.4 / 53**0.5 + 0.16


@pytest.mark.parametrize("name", ["retrained-head", "inserted-blocks-collective"])
def test_fitting_reaches_both_marks_of_the_published_rule(
    name: str, published_victim: Victim, dataset: Dataset, hold: Hold, generator: torch.Generator
) -> None:
    claim = forgery.find(name)(fitting=Fit(steps=40, warm_up=300)).published(  # type: ignore[call-arg]
        hold(published_victim), generator
    )
    assert claim is not None
    result = examine(published_victim.model, claim, dataset.x_test, dataset.y_test)
    assert result.match_rate >= LEAST_MATCH_RATE
    assert result.accepts


def test_optimized_passports_leave_the_owners_heads_alone(
    published_victim: Victim, dataset: Dataset, hold: Hold, generator: torch.Generator
) -> None:
    heads = published_victim.passport.branch.heads
    for parameter in heads.parameters():
        parameter.grad = None
    before = [p.detach().clone() for p in heads.parameters()]
    claim = QUICK["optimized-passports"].published(hold(published_victim), generator)
    assert claim is not None
    assert all(torch.equal(a, b) for a, b in zip(before, heads.parameters(), strict=True))
    assert all(p.grad is None for p in heads.parameters())


def test_optimized_passports_say_what_they_need(
    victim: Victim, hold: Hold, generator: torch.Generator
) -> None:
    with pytest.raises(OptionError, match="needs the owner's heads"):
        OptimizedPassports().published(hold(victim), generator)


# Against ours


@pytest.mark.parametrize("name", forgery.names())
def test_no_forgery_is_verified(
    name: str, victim: Victim, hold: Hold, dataset: Dataset, generator: torch.Generator
) -> None:
    claims = quick(name).claims(hold(victim), generator)
    assert claims
    for claim in claims:
        x, y = dataset.x_test, dataset.y_test
        beside = {}
        if claim.beside_model:
            beside = {"model": network(3), "data": JudgeData(x[:30], x[30:], y[30:])}
        judgement = judged(claim, victim.model, **beside)
        assert not judgement.accepted, (claim.what, judgement.reason)
        assert (judgement.report is None) == (judgement.verdict is Verdict.EVIDENCE_INVALID)
        if judgement.report and judgement.report.branch:
            assert judgement.report.branch.word.value != "supports"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("read-off", "malformed at bits"),
        ("closed-form", "its factors are not those"),
        ("optimized-passports", "its factors are not those"),
        ("late-message", "not the one its anchor commits to"),
        ("inserted-blocks-individual", "does not fit the model"),
        ("inserted-blocks-collective", "does not fit the model"),
    ],
)
def test_what_was_chosen_afterwards_is_refused_for_that_reason(
    name: str,
    words: str,
    victim: Victim,
    hold: Hold,
    dataset: Dataset,
    generator: torch.Generator,
) -> None:
    x, y = dataset.x_test, dataset.y_test
    data = JudgeData(x[:30], x[30:], y[30:])
    refused = [
        judgement.reason
        for claim in quick(name).claims(hold(victim), generator)
        if not (
            judgement := judged(
                claim,
                victim.model,
                **({"model": network(3), "data": data} if claim.beside_model else {}),
            )
        ).report
    ]
    assert [words in reason for reason in refused] == [True]


@pytest.mark.parametrize(
    ("name", "least"),
    [("closed-form", 1.0), ("optimized-passports", 0.9), ("late-layers", 1.0), ("read-off", 1.0)],
)
def test_the_same_choice_would_deceive_if_it_were_free(
    name: str, least: float, victim: Victim, hold: Hold, generator: torch.Generator
) -> None:
    """Otherwise a failure would say nothing about the rule."""
    claim = next(c for c in quick(name).claims(hold(victim), generator) if c.unbound)
    assert claim.unbound is not None
    matches, bits = claim.unbound
    assert matches >= least * bits > 0


def test_a_late_message_gains_if_it_is_free(
    victim: Victim, hold: Hold, generator: torch.Generator
) -> None:
    late, again = LateMessage().claims(hold(victim), generator)
    assert late.unbound is not None
    matches, bits = late.unbound
    report = judged(again, victim.model).report
    assert bits == BITS
    assert report is not None
    assert report.signature is not None
    # Two symbols of 32 bits, each the best of 94 words: about 22 bits of 32 in each.
    assert matches > BITS / 2 + 6
    assert abs(report.signature.matches - BITS / 2) < 4.5 * (BITS / 4) ** 0.5


def test_channels_left_out_give_other_bits(
    victim: Victim, hold: Hold, generator: torch.Generator
) -> None:
    edited, subset = LateLayers().claims(hold(victim), generator)
    report = judged(edited, victim.model).report
    assert report is not None
    assert report.signature is not None
    assert edited.unbound == (report.signature.bits, report.signature.bits)
    assert report.signature.matches < 0.8 * report.signature.bits
    assert judged(subset, victim.model).verdict in (Verdict.INCONCLUSIVE, Verdict.NOT_VERIFIED)


@pytest.mark.parametrize("kind", [PermutedReference, DoctoredReference])
def test_a_copy_carries_the_forgers_bits_and_the_original_does_not(
    kind: type[Forgery], victim: Victim, hold: Hold, dataset: Dataset, generator: torch.Generator
) -> None:
    """His own copy is verified: he marked it. The suspect is what a judge fetched himself."""
    claim = kind().claims(hold(victim), generator)[0]
    assert claim.own_copy is not None
    on_copy = judged(claim, claim.own_copy)
    assert on_copy.verdict is Verdict.VERIFIED
    assert judged(claim, victim.model).verdict is Verdict.NOT_VERIFIED
    x, y = dataset.x_test, dataset.y_test
    assert accuracy(claim.own_copy, x, y) >= accuracy(victim.model, x, y) - 0.05


def test_a_permuted_copy_computes_the_same(
    victim: Victim, hold: Hold, dataset: Dataset, generator: torch.Generator
) -> None:
    (claim,) = PermutedReference().claims(hold(victim), generator)
    with torch.no_grad():
        torch.testing.assert_close(
            claim.own_copy(dataset.x_test),  # type: ignore[misc]
            victim.model(dataset.x_test),
            rtol=1e-3,
            atol=1e-3,
        )
    assert not torch.equal(claim.own_copy[0].weight, victim.model[0].weight)  # type: ignore[index]


def test_claimed_statistics_work_until_they_are_estimated_again(
    victim: Victim, hold: Hold, dataset: Dataset, generator: torch.Generator
) -> None:
    from modeldeed import Passport

    (claim,) = ClaimedStatistics().claims(hold(victim), generator)
    x, y = dataset.x_test, dataset.y_test
    passport = Passport.load(claim.submitted, claim.owner, victim.model)  # type: ignore[arg-type]
    with torch.no_grad():
        torch.testing.assert_close(passport.private(x), victim.model(x), rtol=1e-2, atol=1e-2)
    data = JudgeData(x[:30], x[30:], y[30:])
    report = judged(claim, victim.model, model=network(3), data=data).report
    assert report is not None
    assert report.branch is not None
    assert report.branch.word.value != "supports"


# The registry


def test_every_forgery_says_what_it_needs_and_where_it_comes_from() -> None:
    assert len(forgery.names()) == 15
    for name in forgery.names():
        kind = forgery.find(name)
        assert kind.name == name
        assert kind.needs
        assert kind.unknown
        assert kind.source
        with pytest.raises(FrozenInstanceError):
            kind().name = "other"  # type: ignore[misc]


def test_names_are_taken_once_and_unknown_ones_refused() -> None:
    with pytest.raises(OptionError, match="registered already"):
        forgery.register("read-off", needs=("weights",), unknown=("x",), source="y")(ReadOff)
    with pytest.raises(OptionError, match="there are: brute-force"):
        forgery.find("none")


@pytest.mark.parametrize(
    "make",
    [
        lambda: BruteForce(keys=0),
        lambda: FittedKey(steps=0),
        lambda: DoctoredReference(margin=0),
        lambda: SurrogateKeys(keys=0),
        lambda: Fit(steps=0),
    ],
)
def test_options_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(OptionError):
        make()
