"""A plug-in's claim: recomputed from key and carriers, tested background by background."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from modeldeed import Verdict, query, verify
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.plugin.claim import PluginClaim
from modeldeed.plugin.records import FusionManifest
from modeldeed.querying.query import rejudge
from modeldeed.statistics import information_limit
from modeldeed.suspects.answering import open_suspect
from tests.plugin.answering import FORM, OWNER, STRANGER, carriers, fusion, knowing


@pytest.fixture(scope="module")
def manifest() -> FusionManifest:
    return fusion()


@pytest.fixture(scope="module")
def claim(manifest: FusionManifest) -> PluginClaim:
    return PluginClaim.of(manifest, OWNER, carriers())


def test_who_knows_the_classes_is_verified_near_the_limit(
    manifest: FusionManifest, claim: PluginClaim
) -> None:
    report = query(knowing(claim), plugin=manifest, carriers=carriers(), owner=OWNER)
    assert report.verdict is Verdict.VERIFIED
    assert report.answers is not None
    assert report.answers.family == "multi " + claim.rule.backgrounds.family
    assert report.answers.queries <= 1.3 * information_limit(10)
    again = verify(knowing(claim), plugin=manifest, carriers=carriers(), owner=OWNER)
    assert again.answers == report.answers


def test_another_key_is_never_verified(manifest: FusionManifest, claim: PluginClaim) -> None:
    report = query(knowing(claim), plugin=manifest, carriers=carriers(), owner=STRANGER)
    assert report.verdict is Verdict.NOT_VERIFIED
    assert "the key is not this claim's" in report.reason
    # Not even where it answers the stranger's questions by the stranger's classes.
    strangers = knowing(PluginClaim.of(manifest, STRANGER, carriers()))
    report = query(strangers, plugin=manifest, carriers=carriers(), owner=STRANGER)
    assert report.verdict is Verdict.NOT_VERIFIED


def test_samples_follow_from_key_and_carriers(manifest: FusionManifest, claim: PluginClaim) -> None:
    again = PluginClaim.of(manifest, OWNER, carriers()).batch(0)
    assert torch.equal(again.inputs, claim.batch(0).inputs)
    assert torch.equal(again.labels, claim.batch(0).labels)
    fresh = PluginClaim.of(manifest, OWNER, carriers(seed=1)).batch(0)
    assert not torch.equal(fresh.inputs, again.inputs)
    assert torch.equal(fresh.labels, again.labels)
    assert not torch.equal(claim.batch(1).labels, again.labels)


def test_every_model_has_classes_of_its_own(claim: PluginClaim) -> None:
    other = PluginClaim.of(fusion(root="2" * 64), OWNER, carriers())
    assert (other.batch(0).labels == claim.batch(0).labels).float().mean() < 0.4
    report = query(knowing(claim), plugin=fusion(root="2" * 64), carriers=carriers(), owner=OWNER)
    assert report.verdict is not Verdict.VERIFIED


@pytest.mark.parametrize("answer", range(10))
def test_a_constant_answer_never_verifies(manifest: FusionManifest, answer: int) -> None:
    def constant(inputs: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(torch.full((len(inputs),), answer), 10).float()

    report = query(constant, plugin=manifest, carriers=carriers(), owner=OWNER)
    assert report.verdict is not Verdict.VERIFIED


def test_every_background_is_asked_once(manifest: FusionManifest) -> None:
    """One label for each background: a class that fits a few by chance is counted once."""
    asked: list[bytes] = []

    def remembering(inputs: Tensor) -> Tensor:
        asked.extend(sample.numpy().tobytes() for sample in inputs)
        return torch.zeros(len(inputs), 10)

    query(remembering, plugin=manifest, carriers=carriers(1), owner=OWNER, count=64)
    assert len(set(asked)) >= 64


def test_the_fixed_kind_never_verifies() -> None:
    manifest = fusion(kind="fixed")
    claim = PluginClaim.of(manifest, OWNER, carriers())
    report = query(knowing(claim), plugin=manifest, carriers=carriers(), owner=OWNER)
    assert report.answers is not None
    assert report.answers.matches == report.answers.queries == 1
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_transcript_is_judged_again(
    manifest: FusionManifest, claim: PluginClaim, tmp_path: Path
) -> None:
    suspect = torch.nn.Sequential()
    suspect.forward = knowing(claim)  # type: ignore[method-assign]
    report = query(suspect, plugin=manifest, carriers=carriers(), owner=OWNER, transcripts=tmp_path)
    assert report.verdict is Verdict.VERIFIED
    (path,) = tmp_path.glob("*.jsonl")
    judged = rejudge([path], plugin=manifest, carriers=carriers(), owner=OWNER)
    assert judged.answers == report.answers
    with pytest.raises(EvidenceError, match="another sample than the batch has"):
        rejudge([path], plugin=manifest, carriers=carriers(seed=1), owner=OWNER)


class TestRefusals:
    def test_a_claim_is_one_mark(self, manifest: FusionManifest) -> None:
        with pytest.raises(OptionError, match="give one claim"):
            query(lambda x: x, owner=OWNER)
        with pytest.raises(OptionError, match="give one claim"):
            query(lambda x: x, plugin=manifest, triggers=manifest, owner=OWNER)
        with pytest.raises(OptionError, match="benign samples of the judge's own"):
            query(lambda x: x, plugin=manifest, owner=OWNER)
        with pytest.raises(OptionError, match="carriers belong to a plug-in"):
            query(lambda x: x, triggers=manifest, carriers=carriers(), owner=OWNER)

    def test_carriers_of_another_form(self, manifest: FusionManifest) -> None:
        with pytest.raises(OptionError, match="of shape"):
            PluginClaim.of(manifest, OWNER, carriers()[:, :1])

    def test_what_is_no_plugin(self) -> None:
        with pytest.raises(OptionError, match="plugin is a Plugin"):
            PluginClaim.of(3, OWNER, carriers())  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "change",
        [
            {"label": "another"},
            {"signature": "AAAA"},
            {"anchor": {"classes": 11}},
            {"anchor": {"count": 65}},
        ],
    )
    def test_an_altered_manifest(self, manifest: FusionManifest, change: dict[str, object]) -> None:
        fields = json.loads(manifest.to_json())
        if "anchor" in change:
            fields["anchor"]["plugin"].update(change["anchor"])
        else:
            fields.update(change)
        with pytest.raises(EvidenceError):
            PluginClaim.of(FusionManifest.from_json(json.dumps(fields).encode()), OWNER, carriers())


def test_the_form_is_small(manifest: FusionManifest) -> None:
    assert manifest.anchor.plugin_rule.backgrounds.input == FORM
    with open_suspect(lambda x: torch.zeros(len(x), 10)) as suspect:
        assert len(suspect.labels(carriers(3))) == 3
