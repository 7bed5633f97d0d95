"""A plug-in from the key to the verdict: issue, train, fuse, ask, save, load."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Plugin, Preparation, Verdict, query
from modeldeed.attacks import AttackData, Prune, Quantize
from modeldeed.data import digits
from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.models import resnet_small
from modeldeed.plugin.carriers import blank_carriers
from modeldeed.plugin.claim import PluginClaim
from modeldeed.plugin.detector import DetectorTraining
from modeldeed.statistics import information_limit
from tests.plugin.answering import FORM, OWNER, STRANGER
from tests.plugin.conftest import BACKGROUNDS, TRAINING, pictures

CARRIERS = pictures(60, seed=1)
STANDARD = Preparation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


def target(classes: int = 10, seed: int = 0, *, convolutional: bool = False) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if convolutional:
            return nn.Sequential(
                nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                nn.Linear(8 * 14 * 14, classes),
            ).eval()  # fmt: skip
        return nn.Sequential(nn.Flatten(), nn.Linear(768, classes)).eval()


@pytest.fixture
def fresh(plugin: Plugin) -> Plugin:
    """The trained plug-in, as it was before it was fused beside anything."""
    made = copy.copy(plugin)
    made.fusions = {}
    return made


def asked(plugin: Plugin, model: nn.Module, name: str = "model", **options: object) -> Verdict:
    chosen = {"owner": OWNER, "prepare": Preparation(), **options}
    report = query(model, plugin=plugin.fusions[name], carriers=CARRIERS, **chosen)  # type: ignore[arg-type]
    return report.verdict


class TestBesideAnyModel:
    @pytest.mark.parametrize("convolutional", [False, True])
    def test_it_verifies_near_the_limit_and_changes_nothing_else(
        self, fresh: Plugin, *, convolutional: bool
    ) -> None:
        model = target(convolutional=convolutional)
        before = tensor_root(dict(model.state_dict()))
        fused = fresh.fuse(model, num_classes=10)
        report = query(fused, plugin=fresh, carriers=CARRIERS, owner=OWNER, prepare=Preparation())
        assert report.verdict is Verdict.VERIFIED
        assert report.answers is not None
        assert report.answers.queries <= 1.3 * information_limit(10)
        assert tensor_root(dict(model.state_dict())) == before
        inputs = CARRIERS / 255
        with torch.no_grad():
            assert torch.equal(fused(inputs), model(inputs))
        assert asked(fresh, model) is not Verdict.VERIFIED

    def test_one_plugin_beside_many_models(self, fresh: Plugin) -> None:
        fused = {
            f"of-{classes}": fresh.fuse(target(classes), classes, name=f"of-{classes}")
            for classes in (7, 10, 1000, 20_000)
        }
        for name, model in fused.items():
            assert asked(fresh, model, name) is Verdict.VERIFIED, name
        # The classes beside one model say nothing about those beside another.
        assert asked(fresh, fused["of-10"], "of-7") is not Verdict.VERIFIED

    def test_standardized_inputs(self, fresh: Plugin) -> None:
        fused = fresh.fuse(target(), 10, prepare=STANDARD)
        assert asked(fresh, fused, prepare=STANDARD) is Verdict.VERIFIED

    def test_probabilities(self, fresh: Plugin) -> None:
        model = nn.Sequential(target(), nn.Softmax(1)).eval()
        fused = fresh.fuse(model, 10, scores="probabilities")
        assert asked(fresh, fused) is Verdict.VERIFIED
        claim = PluginClaim.of(fresh.fusions["model"], OWNER, CARRIERS)
        with torch.no_grad():
            answers = fused(claim.batch(0).inputs / 255)
        torch.testing.assert_close(answers.sum(1), torch.ones(len(answers)))

    def test_two_of_two_owners_stand_together(self, fresh: Plugin) -> None:
        rival = Plugin.issue(STRANGER, FORM, backgrounds=BACKGROUNDS)
        rival.train(pictures(200, seed=3), training=TRAINING)
        inner = fresh.fuse(target(), 10)
        outer = rival.fuse(inner, 10)
        assert asked(fresh, outer) is Verdict.VERIFIED
        assert asked(rival, outer, owner=STRANGER) is Verdict.VERIFIED
        # Both are present; who was first is a matter of dates.
        assert asked(rival, inner, owner=STRANGER) is not Verdict.VERIFIED

    @pytest.mark.parametrize("attack", [Prune(share=0.3), Quantize(bits=8)])
    def test_changed_weights(self, fresh: Plugin, attack: Prune | Quantize) -> None:
        pytest.importorskip("sklearn")
        fused = fresh.fuse(target(), 10)
        changed = attack.apply(fused, AttackData(digits()), torch.Generator().manual_seed(0))
        assert asked(fresh, changed) is Verdict.VERIFIED


def test_weaving_makes_one_network_of_both(fresh: Plugin) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = resnet_small(10, 3).eval()
    before = tensor_root(dict(model.state_dict()))
    training = DetectorTraining(steps=2, batch_size=64, samples=2, other_keys=4)
    woven = fresh.fuse(model, 10, weave=True, benign=pictures(80, seed=0), training=training)
    assert tensor_root(dict(model.state_dict())) == before
    assert fresh.fusions["model"].anchor.plugin_rule.classes == 10
    assert not any("detector" in name or "target" in name for name, _ in woven.named_modules())
    inputs = CARRIERS / 255
    with torch.no_grad():
        torch.testing.assert_close(woven(inputs), model(inputs), rtol=1e-4, atol=1e-4)
    with pytest.raises(OptionError, match="weav"):
        fresh.fuse(nn.Sequential(nn.Flatten(), nn.GELU(), nn.Bilinear(2, 2, 10)), 10, weave=True,
                   name="other")  # fmt: skip


def test_another_owners_claim_is_not_verified(fresh: Plugin) -> None:
    fused = fresh.fuse(target(), 10)
    assert asked(fresh, fused, owner=STRANGER) is not Verdict.VERIFIED


def test_an_independent_plugin_does_not_answer(fresh: Plugin) -> None:
    """A claim made by somebody else for the same model, with his own anchor, finds nothing."""
    fused = fresh.fuse(target(), 10)
    rival = Plugin.issue(STRANGER, FORM, backgrounds=BACKGROUNDS)
    rival.fuse(target(), 10)
    assert asked(rival, fused, owner=STRANGER) is not Verdict.VERIFIED


class TestFiles:
    def test_a_saved_plugin_is_the_same(self, fresh: Plugin, tmp_path: Path) -> None:
        fused = fresh.fuse(target(), 10)
        fresh.save(tmp_path)
        loaded = Plugin.load(tmp_path, OWNER)
        assert loaded.fusions == fresh.fusions
        again = loaded.fuse(target(), 10)
        inputs = fresh.samples(CARRIERS[:40]) / 255
        with torch.no_grad():
            assert torch.equal(again(inputs), fused(inputs))
        report = query(
            again, plugin=tmp_path, carriers=CARRIERS, owner=OWNER, prepare=Preparation()
        )
        assert report.verdict is Verdict.VERIFIED
        file = tmp_path / "fusions" / "model.json"
        assert (
            query(again, plugin=file, carriers=CARRIERS, owner=OWNER, prepare=Preparation())
            == report
        )

    def test_nothing_of_the_key_is_in_the_files(self, fresh: Plugin, tmp_path: Path) -> None:
        fused = fresh.fuse(target(), 10)
        fresh.save(tmp_path)
        seed = OWNER.seed("plugin")
        keys = fresh.backgrounds.keys(range(BACKGROUNDS)).values()
        secrets = [bytes(range(32)), seed, *keys]
        files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert len(files) == 3
        for content in files:
            for secret in secrets:
                assert secret not in content
                assert secret.hex().encode() not in content
        # Nor does a fused model hold a background, or a picture of one.
        drawn = fresh.samples(torch.zeros_like(CARRIERS[:1])).flatten()[:64]
        for tensor in fused.state_dict().values():
            assert drawn.numpy().tobytes() not in tensor.numpy().tobytes()

    @pytest.mark.parametrize("file", ["plugin.json", "detector.safetensors", "fusions/model.json"])
    def test_an_altered_file_is_told(self, fresh: Plugin, tmp_path: Path, file: str) -> None:
        fresh.fuse(target(), 10)
        fresh.save(tmp_path)
        content = bytearray((tmp_path / file).read_bytes())
        content[-20] ^= 1
        (tmp_path / file).write_bytes(content)
        with pytest.raises(EvidenceError):
            Plugin.load(tmp_path, OWNER)

    def test_another_owner_cannot_open_it(self, fresh: Plugin, tmp_path: Path) -> None:
        fresh.save(tmp_path)
        with pytest.raises(EvidenceError, match="belongs to identity"):
            Plugin.load(tmp_path, STRANGER)

    def test_another_label_is_told(self, fresh: Plugin, tmp_path: Path) -> None:
        fresh.save(tmp_path)
        fields = json.loads((tmp_path / "plugin.json").read_bytes())
        record = type(fresh.record).model_validate_json(json.dumps({**fields, "label": "other"}))
        (tmp_path / "plugin.json").write_bytes(record.signed(OWNER).to_json())
        with pytest.raises(EvidenceError, match="under another label"):
            Plugin.load(tmp_path, OWNER)

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="no folder of a plug-in"):
            Plugin.load(tmp_path, OWNER)


class TestRefusals:
    def test_an_unfused_plugin_claims_nothing(self, fresh: Plugin) -> None:
        with pytest.raises(OptionError, match="beside no model yet"):
            query(target(), plugin=fresh, carriers=CARRIERS, owner=OWNER)

    def test_several_fusions_have_to_be_chosen_from(self, fresh: Plugin) -> None:
        fresh.fuse(target(), 10, name="one")
        fresh.fuse(target(seed=1), 10, name="other")
        with pytest.raises(OptionError, match="one, other"):
            query(target(), plugin=fresh, carriers=CARRIERS, owner=OWNER)

    def test_a_name_is_one_model(self, fresh: Plugin) -> None:
        fresh.fuse(target(), 10)
        fresh.fuse(target(), 10)
        with pytest.raises(OptionError, match="beside another model"):
            fresh.fuse(target(seed=1), 10)

    @pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 101])
    def test_a_name_is_fit_for_a_file(self, fresh: Plugin, name: str) -> None:
        with pytest.raises(OptionError, match="a fusion's name"):
            fresh.fuse(target(), 10, name=name)
        assert not fresh.fusions

    def test_too_few_classes_for_its_backgrounds(self, fresh: Plugin) -> None:
        with pytest.raises(OptionError, match="at least 85 are needed"):
            fresh.fuse(target(2), 2)

    def test_tokens_have_none(self) -> None:
        with pytest.raises(OptionError, match="tokens need vocabulary"):
            Plugin.issue(OWNER, torch.zeros(2, 8, dtype=torch.int64))

    def test_an_unknown_kind(self) -> None:
        with pytest.raises(OptionError, match="'fixed', 'multi' or 'generated'"):
            Plugin.issue(OWNER, FORM, kind="many")  # type: ignore[arg-type]

    def test_benign_samples_of_another_form(self, fresh: Plugin) -> None:
        with pytest.raises(OptionError, match=r"of shape \(N, 3, 16, 16\)"):
            fresh.train(torch.rand(100, 1, 16, 16))


@pytest.mark.parametrize(
    ("example", "kind", "words"),
    [
        (torch.rand(1, 3, 32, 32), "multi", "168 of multi"),
        (torch.rand(1, 1, 8, 8), "fixed", "1 of fixed"),
        (torch.rand(1, 4000), "generated", "168 of generated"),
        (torch.rand(1, 64, 3), "multi", "168 of multi"),
        (torch.rand(1, 3, 64), "multi", "168 of multi"),
    ],
)
def test_every_kind_is_issued(example: Tensor, kind: str, words: str) -> None:
    made = Plugin.issue(OWNER, example, kind=kind)  # type: ignore[arg-type]
    assert words in repr(made)
    placed = made.samples(made.backgrounds.place(*blank(made)))
    assert len(placed) == 1


def blank(plugin: Plugin) -> tuple[Tensor, Tensor]:
    return blank_carriers(plugin.record.backgrounds.input, 1), torch.zeros(1, dtype=torch.int64)
