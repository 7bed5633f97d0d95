import importlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file, save
from typer.testing import CliRunner

from modeldeed import Owner, Passport, Verdict
from modeldeed.demo import DemoResult, DemoSize, run_demo
from modeldeed.demo.changes import prune_smallest
from modeldeed.demo.leaks import private_bytes, private_tensors
from modeldeed.demo.result import EPOCHS
from modeldeed.errors import OptionError
from modeldeed.models import resnet_small
from modeldeed.statistics import LN10, log_binomial_tail

pytest.importorskip("sklearn")

SMALL = DemoSize(epochs=2, fine_tune_epochs=1, wrong_keys=20, private_decoys=2)
KEYS = {
    *("plain_accuracy", "public_accuracy", "private_accuracy", "signature_bits"),
    *("signature_matches", "log10_p", "wrong_key_matches", "wrong_key_log10_p"),
    *("wrong_key_verdict", "threshold_log2", "decoy_keys", "decoy_matches"),
    *("decoy_best_log10_p", "private_accuracy_of_decoys", "median_margin", "verdict"),
    *("branch_word", "deployed_keys_identical", "deployed_outputs_identical"),
    *("private_bytes_in_deployed", "training_time_ratio", "fine_tuned", "pruned", "history"),
    *("margins", "seconds", "versions", "seed"),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    # Small layers on a busy machine: a second thread only waits.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "made"
    said: list[str] = []
    before = torch.random.get_rng_state()
    result = run_demo(out, seed=3, size=SMALL, progress=said.append)
    assert torch.equal(torch.random.get_rng_state(), before)
    return result, out, said


class TestRun:
    def test_shipped_model_verifies_for_its_owner_only(self, ran):
        result, _, _ = ran
        assert result.verdict is Verdict.VERIFIED
        assert result.wrong_key_verdict is Verdict.NOT_VERIFIED
        assert result.unmarked.verdict is Verdict.NOT_VERIFIED
        assert result.proved
        assert result.signature_matches >= (result.required_matches or math.inf)

    def test_what_ships_is_a_plain_model(self, ran):
        result, out, _ = ran
        state = load_file(out / "model.safetensors")
        resnet_small().load_state_dict(state, strict=True)
        assert result.deployed_keys_identical
        assert result.deployed_outputs_identical
        assert result.private_bytes_in_deployed == 0
        assert result.deployed_bytes == (out / "model.safetensors").stat().st_size
        assert (out / "passport" / "passport.json").is_file()

    def test_margins_are_of_the_same_reading_as_the_matches(self, ran):
        result, _, _ = ran
        assert len(result.margins) == result.signature_bits == len(result.unmarked_margins)
        assert sum(margin > 0 for margin in result.margins) == result.signature_matches
        assert sum(margin > 0 for margin in result.unmarked_margins) == result.unmarked.matches

    def test_wrong_keys(self, ran):
        result, _, _ = ran
        assert len(result.decoy_matches) == result.decoy_keys == SMALL.wrong_keys
        assert len(result.private_accuracy_of_decoys) == SMALL.private_decoys
        spread = math.sqrt(result.signature_bits) / 2
        for matches in (*result.decoy_matches, result.wrong_key_matches):
            assert abs(matches - result.signature_bits / 2) < 6 * spread
        best = log_binomial_tail(max(result.decoy_matches), result.signature_bits) / LN10
        assert result.decoy_best_log10_p == pytest.approx(best)

    def test_history(self, ran):
        result, _, said = ran
        assert [record.epoch for record in result.history] == [1, 2]
        assert result.history[-1].public == result.public_accuracy
        ratios = [r.marked_seconds / r.plain_seconds for r in result.history]
        assert result.training_time_ratio == pytest.approx(median(ratios))
        assert sum(line.startswith("epoch ") for line in said) == SMALL.epochs
        assert all("\n" not in line for line in said)

    def test_json(self, ran):
        result, _, _ = ran
        data = json.loads(result.model_dump_json())
        assert data.keys() >= KEYS
        for name in ("fine_tuned", "pruned"):
            assert data[name].keys() == {"accuracy", "matches", "log10_p", "verdict"}
        assert data["versions"].keys() == {"modeldeed", "torch", "python"}
        assert data["wrong_key_verdict"] == "not verified"
        assert DemoResult.model_validate_json(result.model_dump_json()) == result
        jsonschema = pytest.importorskip("jsonschema")
        jsonschema.validate(data, DemoResult.model_json_schema())

    def test_repeats(self, ran):
        result, _, _ = ran
        again = run_demo(seed=3, size=replace(SMALL, wrong_keys=1))
        assert again.signature_matches == result.signature_matches
        assert again.decoy_matches == result.decoy_matches[:1]

    def test_proved_needs_both(self, ran):
        result, _, _ = ran
        for change in ({"verdict": Verdict.NOT_VERIFIED}, {"wrong_key_verdict": Verdict.VERIFIED}):
            assert not result.model_copy(update=change).proved

    @pytest.mark.parametrize("field", ["epochs", "fine_tune_epochs", "wrong_keys"])
    def test_size_out_of_range(self, field):
        with pytest.raises(OptionError, match=field):
            DemoSize(**{field: 0})


@pytest.fixture(scope="module")
def passport():
    torch.manual_seed(0)
    model = resnet_small()
    x = torch.rand(32, 1, 8, 8)
    passport = Passport.issue(model, Owner(bytes(32)), example=x)
    with torch.no_grad():
        passport.private(x)  # gives the private statistics values of their own
    return passport


def _state(passport):
    return {name: t.detach().clone() for name, t in passport.host.state_dict().items()}


def _scan(state, passport, metadata=None):
    return private_bytes(save(state, metadata), passport.host.state_dict(), passport)


def _packed(bits):
    return np.packbits((bits > 0).numpy(), bitorder="little").tobytes()


class TestPrivateBytes:
    def test_clean(self, passport):
        assert _scan(_state(passport), passport) == 0

    def test_extra_tensor(self, passport):
        state = _state(passport)
        state["notes"] = torch.arange(5, dtype=torch.float32)
        assert _scan(state, passport) == 20

    def test_metadata(self, passport):
        assert _scan(_state(passport), passport, {"owner": "me"}) == 7

    def test_enlarged_tensor(self, passport):
        state = _state(passport)
        state["classifier.bias"] = torch.rand(12)
        assert _scan(state, passport) == 48

    @pytest.mark.parametrize("role", [0, 1], ids=["gamma", "beta"])
    def test_passport_in_a_weight(self, passport, role):
        state = _state(passport)
        target = passport.branch.targets[2]
        state[target.weight] = passport.branch.secrets[2].passports[role].float()
        # Sixteen signs of a small layer also turn up by luck in thousands of other signs.
        assert _scan(state, passport) >= 4 * state[target.weight].numel()

    def test_packed_bits_in_a_weight(self, passport):
        state = _state(passport)
        packed = _packed(torch.cat([secret.bits for secret in passport.branch.secrets]))
        padded = packed + bytes(-len(packed) % 4)
        state["classifier.weight"].view(-1)[: len(padded) // 4] = torch.frombuffer(
            bytearray(padded), dtype=torch.float32
        )
        assert _scan(state, passport) >= len(packed)

    def test_statistics_in_a_buffer(self, passport):
        state = _state(passport)
        state["stem.norm.running_mean"] = passport.branch.statistics["stem.norm"].mean.clone()
        assert _scan(state, passport) == 4 * 16

    def test_every_private_tensor_is_looked_for(self, passport):
        plain = {"weight": torch.rand(8)}
        clean = save(plain)
        assert private_bytes(clean, plain, passport) == 0
        for name, tensor in private_tensors(passport).items():
            if tensor.numel() < 8 or len(tensor.unique()) < 2:
                continue
            smuggled = clean + tensor.detach().contiguous().numpy().tobytes()
            assert private_bytes(smuggled, plain, passport) > 0, name


def test_pruning_cuts_the_smallest_and_keeps_the_keys():
    torch.manual_seed(0)
    model = resnet_small()
    names = sorted(model.state_dict())
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.dim() > 1}
    prune_smallest(model, 0.5)
    after = dict(model.named_parameters())
    cut = torch.cat([before[n][after[n] == 0].abs() for n in before])
    kept = torch.cat([before[n][after[n] != 0].abs() for n in before])
    assert sorted(model.state_dict()) == names
    assert len(cut) == pytest.approx(len(kept), abs=1)
    assert cut.max() <= kept.min()


class TestCommand:
    @pytest.fixture
    def run(self, ran, monkeypatch, tmp_path):
        pytest.importorskip("matplotlib")
        pytest.importorskip("jinja2")
        module = importlib.import_module("modeldeed.cli.demo")
        app = typer.Typer()
        app.command()(module.demo)

        def invoke(*arguments, **changes):
            result = ran[0].model_copy(update=changes)

            def fake(out, *, seed, progress):
                progress("epoch 1 of 1")
                return result.model_copy(update={"seed": seed})

            monkeypatch.setattr(module, "run_demo", fake)
            return CliRunner().invoke(app, ["--out", str(tmp_path), *arguments])

        return invoke

    def test_table(self, run, ran, tmp_path):
        done = run()
        assert done.exit_code == 0
        assert f"{ran[0].signature_matches}/{ran[0].signature_bits}" in done.stdout
        assert str(tmp_path / "report.html") in done.stdout.replace("\n", "")
        assert (tmp_path / "report.html").is_file()
        assert done.stderr.splitlines() == ["epoch 1 of 1", "writing the report"]

    def test_json_is_all_of_stdout(self, run, ran, tmp_path):
        done = run("--json", "--seed", "8")
        data = json.loads(done.stdout)
        assert done.exit_code == 0
        assert data["seed"] == 8
        assert json.loads((tmp_path / "report.json").read_text()) == data

    @pytest.mark.parametrize(
        "change",
        [{"verdict": Verdict.INCONCLUSIVE}, {"wrong_key_verdict": Verdict.VERIFIED}],
    )
    def test_exit_code_when_nothing_is_proved(self, run, change):
        assert run(**change).exit_code == 1

    def test_leaves_threads_as_they_were(self, run):
        threads = torch.get_num_threads()
        run()
        assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_the_whole_command(tmp_path: Path):
    code = (
        "import typer; from modeldeed.cli.demo import demo; "
        "app = typer.Typer(); app.command()(demo); app()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "--json", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = DemoResult.model_validate_json(done.stdout)
    assert result.epochs == EPOCHS
    assert result.signature_bits >= 500
    assert result.signature_matches >= 0.98 * result.signature_bits
    assert result.public_accuracy >= result.plain_accuracy - 0.01
    assert result.private_accuracy >= result.public_accuracy - 0.03
    assert result.fine_tuned.verdict is result.pruned.verdict is Verdict.VERIFIED
