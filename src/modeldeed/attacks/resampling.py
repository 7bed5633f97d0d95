"""Low-variance resampling: forget whatever a layer's inputs hardly ever excite.

A layer's function lives in the directions in which its inputs vary; a mark that was pressed into
the weights for a reading of the weights alone lies in all directions alike. So the component of
every row outside of the inputs' top subspace can be thrown away, or replaced by noise of the same
length, at little cost in accuracy, and the mark loses what it had there. A short fine-tune mends
the rest, and the whole can be repeated: the strongest removal known to us.

Source:
    This project. Pruning by what the inputs excite is older: Liu, Dolan-Gavitt, Garg,
    "Fine-Pruning", RAID 2018, does it with whole channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._layers import chunks, copy_of, re_estimate, weighted_layers
from modeldeed.attacks.fine_tuning import fine_tune
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError

__all__ = ["LowVarianceResampling", "low_variance_resampling"]

Fill = Literal["zero", "noise"]
_KINDS = (nn.Conv2d, nn.Linear)


@dataclass
class _Moments:
    """Sums over a layer's inputs, by group: of vectors ``(G, D)``, of products ``(G, D, D)``."""

    count: int
    sums: Tensor
    products: Tensor

    @classmethod
    def like(cls, vectors: Tensor) -> _Moments:
        """None yet, for vectors of shape ``(G, D, n)``."""
        groups, width, _ = vectors.shape
        sums = vectors.new_zeros(groups, width, dtype=torch.float64)
        return cls(0, sums, sums.new_zeros(groups, width, width))

    def add(self, vectors: Tensor) -> None:
        """Count some vectors of shape ``(G, D, n)``."""
        self.count += vectors.shape[-1]
        self.sums += vectors.sum(-1, dtype=torch.float64)
        self.products += (vectors @ vectors.mT).double()

    def mean(self) -> Tensor:
        """Shape ``(G, D)``."""
        return self.sums / self.count

    def covariance(self) -> Tensor:
        """Centered, shape ``(G, D, D)``."""
        mean = self.mean()
        return self.products / self.count - mean[:, :, None] * mean[:, None, :]


def low_variance_resampling(
    model: nn.Module,
    calibration: Tensor,
    *,
    energy: float = 0.95,
    fill: Fill = "zero",
    generator: torch.Generator,
) -> nn.Module:
    """Keep of every row what the layer's inputs excite; zero the rest or resample it.

    For every Conv2d and Linear layer the input vectors of the calibration samples (patches, for a
    convolution) give a mean μ and a centered covariance. Its leading eigenvectors up to the wanted
    share of variance, and μ itself, span the subspace that is kept: layers without a bias of their
    own keep their mean output. All layers are measured on the model as given; running statistics
    are re-estimated afterwards on the same samples.

    Args:
        model: the suspect; not changed.
        calibration: unlabelled inputs, shape ``(N, *)``, N ≥ 2, on the model's device; 140 were
            enough on digits.
        energy: share of the inputs' variance that is kept, in (0, 1].
        fill: what takes the place of the rest: ``"zero"``, or ``"noise"``: Gaussian, in the same
            directions, of each row's removed length.
        generator: source of the noise, on the CPU.

    Returns:
        A changed copy in evaluation mode.

    Raises:
        OptionError: an argument is out of range, or the model has no such layer.

    Note:
        Cost: one forward pass and one eigendecomposition of D × D for each layer.
    """
    if not 0 < energy <= 1:
        raise OptionError(f"energy is a share of variance in (0, 1], got {energy}")
    if fill not in ("zero", "noise"):
        raise OptionError(f"fill is 'zero' or 'noise', got {fill!r}")
    changed = copy_of(model)
    layers = weighted_layers(changed, _KINDS)
    for layer, moments in _measured(changed, layers, calibration):
        kept = _subspace(moments, energy)
        weight = layer.weight.data
        groups = kept.shape[0]
        rows = weight.double().reshape(groups, -1, kept.shape[1])
        inside = rows @ kept @ kept.mT
        if fill == "noise":
            inside = inside + _noise(rows - inside, kept, generator)
        weight.copy_(inside.reshape(weight.shape))
    re_estimate(changed, calibration)
    return changed


def _measured(
    model: nn.Module, layers: list[tuple[str, Any]], calibration: Tensor
) -> list[tuple[Any, _Moments]]:
    """Each layer that ran, with the moments of its inputs; a shared weight has those of all."""
    moments: dict[int, _Moments] = {}

    def watch(module: Any, inputs: tuple[Tensor, ...]) -> None:
        vectors = _vectors(module, inputs[0].detach().float())
        key = id(module.weight)
        if key not in moments:
            moments[key] = _Moments.like(vectors)
        moments[key].add(vectors)

    hooks = [
        module.register_forward_pre_hook(watch)
        for module in model.modules()
        if isinstance(module, _KINDS)
    ]
    try:
        with torch.no_grad():
            for piece in chunks(calibration):
                model(piece)
    finally:
        for hook in hooks:
            hook.remove()
    return [(m, moments[id(m.weight)]) for _, m in layers if id(m.weight) in moments]


def _vectors(module: Any, x: Tensor) -> Tensor:
    """The vectors a layer's rows are multiplied with, ``(G, D, n)``."""
    if isinstance(module, nn.Linear):
        return x.reshape(1, -1, x.shape[-1]).mT
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(x, module._reversed_padding_repeated_twice, mode=mode)
    patches = F.unfold(padded, module.kernel_size, dilation=module.dilation, stride=module.stride)
    samples, width, positions = patches.shape
    grouped = patches.reshape(samples, module.groups, width // module.groups, positions)
    return grouped.permute(1, 2, 0, 3).flatten(2)


def _subspace(moments: _Moments, energy: float) -> Tensor:
    """An orthonormal basis ``(G, D, k)`` of what is kept; zero columns where a group keeps less."""
    values, vectors = torch.linalg.eigh(moments.covariance())
    values, vectors = values.flip(-1).clamp_min(0), vectors.flip(-1)
    reached = values.cumsum(-1) / values.sum(-1, keepdim=True).clamp_min(1e-300)
    # Everything before the wanted share is reached, and the direction that reaches it.
    wanted = torch.cat([torch.zeros_like(reached[:, :1]), reached[:, :-1]], 1) < energy
    kept = vectors * wanted[:, None, :]
    mean = moments.mean()[:, :, None]
    rest = mean - kept @ (kept.mT @ mean)
    length = rest.norm(dim=1, keepdim=True)
    # A mean that lies in the subspace already leaves rounding noise, which is no direction.
    direction = torch.where(length > 1e-9 * mean.norm(dim=1, keepdim=True), rest / length, 0.0)
    return torch.cat([kept, direction.nan_to_num()], -1)


def _noise(removed: Tensor, kept: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian rows outside of the kept subspace, as long as what was removed."""
    drawn = torch.randn(removed.shape, generator=generator, dtype=removed.dtype).to(removed.device)
    outside = drawn - drawn @ kept @ kept.mT
    length = outside.norm(dim=-1, keepdim=True)
    scale: Tensor = removed.norm(dim=-1, keepdim=True) / torch.where(length > 0, length, 1.0)
    return outside * scale


@register("low-variance-resampling")
@dataclass(frozen=True, kw_only=True)
class LowVarianceResampling(Attack):
    """Resample what the inputs hardly excite, fine-tune, and again.

    Attributes:
        passes: how often.
        energy: see `low_variance_resampling`.
        fill: see `low_variance_resampling`.
        samples: unlabelled training inputs that are looked at.
        epochs: of fine-tuning after each pass; 0 for none.
        learning_rate: the fine-tuning's peak.
        batch_size: samples per step.
        bfloat16: fine-tune under autocast to bfloat16.

    Raises:
        OptionError: a field is out of range.
    """

    passes: int = 1
    energy: float = 0.95
    fill: Fill = "noise"
    samples: int = 140
    epochs: int = 0
    learning_rate: float = 0.1
    batch_size: int = 64
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if self.passes < 1 or self.samples < 2 or self.epochs < 0:
            raise OptionError(
                "resampling needs passes ≥ 1, samples ≥ 2 and epochs ≥ 0, got "
                f"{self.passes}, {self.samples}, {self.epochs}"
            )

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A changed copy; see `low_variance_resampling`."""
        calibration = data.dataset.x_train[: self.samples]
        for _ in range(self.passes):
            model = low_variance_resampling(
                model, calibration, energy=self.energy, fill=self.fill, generator=generator
            )
            if self.epochs:
                model = fine_tune(
                    model,
                    data.dataset,
                    epochs=self.epochs,
                    learning_rate=self.learning_rate,
                    batch_size=self.batch_size,
                    bfloat16=self.bfloat16,
                    augment=data.augment,
                    generator=generator,
                )
        return model

    def steps(self, data: AttackData) -> int:
        """Optimizer steps of all passes."""
        return self.passes * self.epochs * (len(data.dataset.y_train) // self.batch_size)
