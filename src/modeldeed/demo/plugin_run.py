"""The plug-in's demo: train it once, fuse it beside two models, verify, change, verify again."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save as serialize_tensors
from torch import Tensor, nn

from modeldeed._version import __version__
from modeldeed.attacks import AttackData, FineTune, Prune
from modeldeed.data import Dataset, digits
from modeldeed.demo.pair import fresh_model
from modeldeed.demo.plugin_result import BARE, FUSED, OWN, Examined, PluginDemoResult
from modeldeed.demo.result import Versions
from modeldeed.digests import tensor_root
from modeldeed.owner import Owner
from modeldeed.plugin.carriers import canonical_carriers
from modeldeed.plugin.detector import DetectorTraining
from modeldeed.plugin.plugin import Plugin
from modeldeed.querying.query import query
from modeldeed.storage import write_atomically
from modeldeed.streams import derive
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.training import Recipe, accuracy, train

__all__ = ["run_plugin_demo"]

Progress = Callable[[str], None]
_PLAIN = "a plain network"
_RESIDUAL = "a residual network"
_OTHERS = 8  # owners whose verification samples must leave the fused model cold


def run_plugin_demo(
    out: Path,
    *,
    seed: int = 0,
    backgrounds: int = 64,
    training: DetectorTraining | None = None,
    progress: Progress | None = None,
) -> PluginDemoResult:
    """Protect two trained models with one plug-in, and try to spoil the proof.

    Args:
        out: a folder for the plug-in and a fused model's weights; made when missing.
        seed: of weights, order of samples and keys, at least 0.
        backgrounds: M.
        training: of the plug-in; None for the defaults.
        progress: told in one line what is being done.

    Returns:
        What was measured.

    Raises:
        MissingExtraError: scikit-learn, which brings the images, is not installed.
        OSError: the folder cannot be written.
    """
    tell = progress or (lambda _: None)
    start = time.perf_counter()
    dataset = digits().normalized()
    owner, *others = (
        Owner(derive(bytes(32), f"plugin demo {seed}", n)) for n in range(_OTHERS + 1)
    )
    tell("training two models of digits, which know nothing of any mark")
    targets = {_RESIDUAL: fresh_model(dataset, seed), _PLAIN: _plain_model(dataset, seed)}
    for model in targets.values():
        _learn(model, dataset, seed)
    before = {name: tensor_root(dict(model.state_dict())) for name, model in targets.items()}
    plugin = Plugin.issue(
        owner,
        dataset.x_train[:2],
        backgrounds=backgrounds,
        prepare=Preparation(mean=dataset.mean, std=dataset.std),
    )
    tell(f"training the plug-in on {backgrounds} keyed backgrounds, once for all models")
    began = time.perf_counter()
    plugin.train(dataset.x_train, training=training, progress=_every_tenth(tell))
    seconds = time.perf_counter() - began
    fused = {
        name: plugin.fuse(model, dataset.num_classes, name=name.replace(" ", "-")).eval()
        for name, model in targets.items()
    }
    judge = _Judge(plugin, owner, others[0], dataset)
    tell("verifying")
    examined = judge.examine_all(targets, fused, seed)
    one = fused[_RESIDUAL]
    _save(plugin, one, out)
    success = _success(plugin, one, judge.carriers)
    return PluginDemoResult(
        seed=seed,
        dataset=dataset.name,
        backgrounds=backgrounds,
        classes=dataset.num_classes,
        detector_parameters=sum(p.numel() for p in plugin.detector.parameters()),
        training_seconds=seconds,
        target_unchanged=all(
            tensor_root(dict(model.state_dict())) == before[name] for name, model in targets.items()
        ),
        benign_outputs_identical=all(
            _identical(fused[name], model, dataset.x_test) for name, model in targets.items()
        ),
        benign_images=len(dataset.x_test),
        success_rate=float(success.float().mean()),
        verification_samples=len(success),
        other_key_rate=_other_keys(plugin, one, targets[_RESIDUAL], others, judge.carriers),
        other_key_samples=_OTHERS * backgrounds,
        examined=examined,
        seconds=time.perf_counter() - start,
        versions=Versions(
            modeldeed=__version__, torch=torch.__version__, python=platform.python_version()
        ),
    )


class _Judge:
    """Asks models; his carriers are test images."""

    def __init__(self, plugin: Plugin, owner: Owner, other: Owner, dataset: Dataset) -> None:
        self._plugin, self._owner, self._other, self._dataset = plugin, owner, other, dataset
        form = plugin.record.backgrounds.input
        self.carriers = canonical_carriers(dataset.x_test, form, plugin.prepare)

    def examine_all(
        self, targets: dict[str, nn.Module], fused: Mapping[str, nn.Module], seed: int
    ) -> tuple[Examined, ...]:
        """Fused models under both keys, one of them changed, and a bare target."""
        one = fused[_RESIDUAL]
        data = AttackData(self._dataset)
        generator = torch.Generator().manual_seed(seed)
        tuned = FineTune(epochs=3, learning_rate=0.01).apply(one, data, generator)
        pruned = Prune(share=0.5).apply(one, data, generator)
        return (
            *(self._examine(f"{FUSED}: {name}", model) for name, model in fused.items()),
            self._examine(f"{FUSED}: {_RESIDUAL}, fine-tuned", tuned),
            self._examine(f"{FUSED}: {_RESIDUAL}, pruned 50 %", pruned),
            self._examine(f"{FUSED}: {_RESIDUAL}", one, other=True),
            self._examine(f"{BARE}: {_RESIDUAL}", targets[_RESIDUAL]),
        )

    def _examine(self, name: str, model: nn.Module, *, other: bool = False) -> Examined:
        fusion = _PLAIN if name == f"{FUSED}: {_PLAIN}" else _RESIDUAL
        report = query(
            model,
            plugin=self._plugin.fusions[fusion.replace(" ", "-")],
            carriers=self.carriers,
            owner=self._other if other else self._owner,
            prepare=self._plugin.prepare,
        )
        answers = report.answers
        if answers is None or answers.log10_e is None:
            raise AssertionError("a query has answers and, stopped by evidence, an e-value")
        return Examined(
            model=name,
            key="another owner's" if other else OWN,
            accuracy=accuracy(model, self._dataset.x_test, self._dataset.y_test),
            queries=answers.queries,
            matches=answers.matches,
            log10_e=answers.log10_e,
            verdict=report.verdict,
        )


def _plain_model(dataset: Dataset, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        size = dataset.x_train[0].numel()
        hidden = nn.Linear(size, 128)
        return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(128, dataset.num_classes))


def _learn(model: nn.Module, dataset: Dataset, seed: int) -> None:
    for _ in train(model, dataset, Recipe(epochs=8, seed=seed)):
        pass
    model.eval()


@torch.no_grad()
def _identical(fused: nn.Module, target: nn.Module, inputs: Tensor) -> bool:
    return torch.equal(fused(inputs), target(inputs))


@torch.no_grad()
def _success(plugin: Plugin, fused: nn.Module, carriers: Tensor) -> Tensor:
    """Of every background on several carriers, whether its class was answered, bool ``(N,)``."""
    matched = []
    rule = plugin.fusions[_RESIDUAL.replace(" ", "-")].anchor.plugin_rule
    for batch in range(rule.batches):
        for part in carriers.tensor_split(4):
            samples = plugin.verification_samples(
                part, fusion=_RESIDUAL.replace(" ", "-"), batch=batch
            )
            answers = fused(plugin.prepare(samples.inputs)).argmax(1)
            matched.append(answers == samples.labels)
    return torch.cat(matched)


@torch.no_grad()
def _other_keys(
    plugin: Plugin, fused: nn.Module, target: nn.Module, others: list[Owner], carriers: Tensor
) -> float:
    """The share of other owners' verification samples whose answer differs from the target's."""
    changed = []
    for other in others:
        rival = Plugin.issue(other, plugin.record.backgrounds.input, backgrounds=len(plugin))
        samples = plugin.prepare(rival.samples(carriers[: len(plugin)]))
        changed.append((fused(samples) != target(samples)).any(1))
    return float(torch.cat(changed).float().mean())


def _save(plugin: Plugin, fused: nn.Module, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    plugin.save(out / "plugin")
    state = {name: tensor.contiguous().clone() for name, tensor in fused.state_dict().items()}
    write_atomically(out / "fused.safetensors", serialize_tensors(state))


def _every_tenth(tell: Progress) -> Callable[[int, int], None]:
    said = -1

    def progress(done: int, planned: int) -> None:
        nonlocal said
        tenth = 10 * done // max(1, planned)
        if tenth > said:
            said = tenth
            tell(f"  training the plug-in: {10 * tenth} %")

    return progress
