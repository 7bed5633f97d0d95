"""Anchored answers: half the questions, where the authority is trusted; else as many as ever."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from modeldeed import Passport, Plugin, TriggerSet, Verdict, query
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.claimant import OpenedSeed
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.owner import Owner
from modeldeed.plugin.claim import PluginClaim
from modeldeed.querying.query import rejudge
from modeldeed.statistics import BLACK_BOX, information_limit
from tests.anchoring.conftest import AT
from tests.plugin.answering import FORM, carriers, knowing
from tests.querying.answerers import Knowing
from tests.timestamping.authorities import LocalAuthority

IMAGE = torch.zeros(1, 1, 8, 8)


def fixed(owner: Owner, one: LocalAuthority, classes: int = 10, batches: int = 2) -> Anchoring:
    anchoring = TriggerSet.anchor(
        owner, example=IMAGE, classes=classes, batches=batches, authority=one.trusted
    )
    anchoring.accept(one.stamp(anchoring.request(), AT), one.trusted)
    return anchoring


def issued(owner: Owner, one: LocalAuthority, classes: int = 10, batches: int = 2) -> TriggerSet:
    return TriggerSet.issue(owner, example=IMAGE, anchor=fixed(owner, one, classes, batches))


def wrong(label: int) -> int:
    return (label + 1) % 10


@pytest.mark.parametrize(("classes", "trusted", "untrusted"), [(10, 14, 27), (2, 45, 90)])
def test_perfect_answers_needed(
    owner: Owner, one: LocalAuthority, classes: int, trusted: int, untrusted: int
) -> None:
    triggers = issued(owner, one, classes)
    for trust, queries in (([one.trusted], trusted), (None, untrusted), ((), untrusted)):
        report = query(Knowing(triggers), triggers=triggers, owner=owner, trust=trust)
        assert report.verdict is Verdict.VERIFIED
        assert report.answers is not None
        assert report.answers.queries == queries
        assert report.anchored == bool(trust)
        assert bool(report.warnings) != bool(trust)
    # 13 and 40 are what no test undercuts; the mixture over match rates adds the rest.
    assert information_limit(classes) > untrusted - 7


def test_a_batch_still_suffices_where_the_authority_is_not_trusted(
    owner: Owner, one: LocalAuthority
) -> None:
    for classes in (2, 10, 100):
        rule = issued(owner, one, classes).rule
        assert rule.count >= 2 * information_limit(classes, BLACK_BOX) - 2
        assert rule == TriggerSet.issue(owner, example=IMAGE, classes=classes).rule


def test_triggers_and_labels_follow_from_the_token(owner: Owner, one: LocalAuthority) -> None:
    first, second = issued(owner, one), issued(owner, one)
    unanchored = TriggerSet.issue(owner, example=IMAGE, classes=10)
    sets = (first, second, unanchored)
    assert len({each.labels.numpy().tobytes() for each in sets}) == 3
    assert len({each.inputs.numpy().tobytes() for each in sets}) == 3


def test_a_saved_set_keeps_its_token(owner: Owner, one: LocalAuthority, tmp_path: Path) -> None:
    triggers = issued(owner, one)
    triggers.save(tmp_path)
    assert torch.equal(TriggerSet.load(tmp_path, owner).labels, triggers.labels)
    report = query(Knowing(triggers), triggers=tmp_path, owner=owner, trust=[one.trusted])
    assert report.anchored
    seed = OpenedSeed(owner.identity, "model", owner.seed("model"))
    judged = query(Knowing(triggers), triggers=tmp_path, owner=seed, trust=[one.trusted])
    assert judged.answers == report.answers


def test_transcripts_are_judged_by_whoever_reads_them(
    owner: Owner, one: LocalAuthority, tmp_path: Path
) -> None:
    triggers, trust = issued(owner, one), [one.trusted]
    claim = {"triggers": triggers, "owner": owner}
    report = query(Knowing(triggers), **claim, trust=trust, transcripts=tmp_path)
    paths = list(tmp_path.glob("*.jsonl"))
    assert rejudge(paths, **claim, trust=trust).answers == report.answers
    doubting = rejudge(paths, **claim)
    assert (doubting.verdict, doubting.anchored) == (Verdict.INCONCLUSIVE, False)
    # Asked again without trust, it goes on where the transcript ends.
    on = query(Knowing(triggers), **claim, transcripts=tmp_path)
    assert on.answers is not None
    assert (on.verdict, on.answers.queries) == (Verdict.VERIFIED, 27)


def test_who_went_on_for_want_of_trust_did_nothing_wrong(
    owner: Owner, one: LocalAuthority, tmp_path: Path
) -> None:
    """The first batch is used up undecided without trust, and enough with it."""
    triggers = issued(owner, one)
    suspect = Knowing(
        triggers, lambda number, label: label if number < 14 or number % 2 else wrong(label)
    )
    claim = {"triggers": triggers, "owner": owner}
    plain = query(suspect, **claim, transcripts=tmp_path, batches=(0, 1))
    assert plain.answers is not None
    began = [b for b in plain.answers.batches if b.queries]
    assert len(began) == 2
    zero, *others = (next(tmp_path.glob(f"*-{b.batch}.jsonl")) for b in began)
    believed = rejudge([zero, *others], **claim, trust=[one.trusted])
    assert believed.verdict is Verdict.VERIFIED
    assert believed.answers is not None
    assert len(believed.answers.batches) == 1


def test_a_stranger_gets_no_discount(owner: Owner, stranger: Owner, one: LocalAuthority) -> None:
    triggers = issued(owner, one)
    report = query(Knowing(triggers), triggers=triggers, owner=stranger, trust=[one.trusted])
    assert (report.verdict, report.anchored) == (Verdict.NOT_VERIFIED, False)


def test_a_set_waits_for_its_token(owner: Owner, one: LocalAuthority) -> None:
    anchoring = TriggerSet.anchor(owner, example=IMAGE, classes=10, authority=one.trusted)
    with pytest.raises(EvidenceError, match="not anchored yet"):
        TriggerSet.issue(owner, example=IMAGE, anchor=anchoring)


def test_what_a_set_fixed_is_not_chosen_again(
    owner: Owner, stranger: Owner, one: LocalAuthority
) -> None:
    anchoring = fixed(owner, one)
    for option in ({"classes": 9}, {"count": 99}, {"batches": 3}, {"family": "mosaic/v1"}):
        with pytest.raises(OptionError, match=f"{next(iter(option))}=.*anchor"):
            TriggerSet.issue(owner, example=IMAGE, anchor=anchoring, **option)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="commits to no model"):
        TriggerSet.issue(owner, example=IMAGE, anchor=anchoring, model=nn.Linear(2, 2))
    with pytest.raises(EvidenceError, match="another owner"):
        TriggerSet.issue(stranger, example=IMAGE, anchor=anchoring)
    host = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32))
    with pytest.raises(OptionError, match="holds no passport"):
        Passport.issue(host, owner, example=torch.zeros(2, 16), anchor=anchoring)
    with pytest.raises(OptionError, match="give classes"):
        TriggerSet.issue(owner, example=IMAGE)


# --- plug-ins ---


def target(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    size = FORM.channels * FORM.height * FORM.width
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 10))


def test_a_plugin_is_anchored_beside_a_model(
    owner: Owner, one: LocalAuthority, tmp_path: Path
) -> None:
    plugin, model = Plugin.issue(owner, FORM), target()
    anchoring = plugin.anchor(model, 10, authority=one.trusted)
    with pytest.raises(EvidenceError, match="not anchored yet"):
        plugin.fuse(model, 10, anchor=anchoring)
    anchoring.save(tmp_path / "anchor", model)
    anchoring = Anchoring.load(tmp_path / "anchor")
    anchoring.accept(one.stamp(anchoring.request(), AT), one.trusted)
    plugin.fuse(model, 10, anchor=anchoring)
    manifest = plugin.fusions["model"]
    plugin.save(tmp_path / "plugin")
    claim = PluginClaim.of(manifest, owner, carriers())
    assert manifest.anchor.plugin_rule.count * 10 >= 2 * information_limit(10)
    for trust, queries in (([one.trusted], 14), (None, 27)):
        report = query(
            knowing(claim),
            plugin=tmp_path / "plugin",
            carriers=carriers(),
            owner=owner,
            trust=trust,
        )
        assert (report.verdict, report.anchored) == (Verdict.VERIFIED, bool(trust))
        assert report.answers is not None
        assert report.answers.queries == queries


def test_a_plugins_anchor_is_of_one_model_and_its_classes(
    owner: Owner, one: LocalAuthority
) -> None:
    plugin, model = Plugin.issue(owner, FORM), target()
    anchoring = plugin.anchor(model, ("a", "b"), authority=one.trusted)
    anchoring.accept(one.stamp(anchoring.request(), AT))
    with pytest.raises(OptionError, match="num_classes"):
        plugin.fuse(model, 2, anchor=anchoring)
    with pytest.raises(OptionError, match="other weights"):
        plugin.fuse(target(1), ("a", "b"), anchor=anchoring)
    with pytest.raises(OptionError, match="not one of this plug-in"):
        Plugin.issue(owner, FORM, label="other").fuse(model, ("a", "b"), anchor=anchoring)
    with pytest.raises(OptionError, match="not one of this plug-in"):
        plugin.fuse(model, 10, anchor=fixed(owner, one))
    with pytest.raises(OptionError, match="not one of a trigger set"):
        TriggerSet.issue(owner, example=IMAGE, anchor=anchoring)


def test_the_classes_of_backgrounds_follow_from_the_token(
    owner: Owner, one: LocalAuthority
) -> None:
    plugin, model = Plugin.issue(owner, FORM), target()
    for name in ("first", "second"):
        anchoring = plugin.anchor(model, 10, authority=one.trusted)
        anchoring.accept(one.stamp(anchoring.request(), AT))
        plugin.fuse(model, 10, name=name, anchor=anchoring)
    plugin.fuse(model, 10, name="third")
    labels = {
        PluginClaim.of(manifest, owner, carriers()).batch(0).labels.numpy().tobytes()
        for manifest in plugin.fusions.values()
    }
    assert len(labels) == 3
    with pytest.raises(OptionError, match="another anchor"):
        plugin.fuse(model, 10, name="first")
