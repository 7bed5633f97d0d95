"""Carriers: benign samples that verification samples are made of, in canonical integers."""

from __future__ import annotations

import torch
from torch import Tensor

from modeldeed.anchor.plugin_rule import BackgroundInput
from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput
from modeldeed.errors import OptionError
from modeldeed.suspects.answering.preparation import Preparation

__all__ = ["blank_carriers", "canonical_carriers", "require_carriers"]

_UNIT = 2**15


def blank_carriers(form: BackgroundInput, count: int) -> Tensor:
    """Samples of zeros, canonical integers ``(count, …)``."""
    shape, dtype = _expected(form)
    return torch.zeros(count, *shape, dtype=dtype)


def require_carriers(carriers: Tensor, form: BackgroundInput) -> None:
    """Check that carriers are canonical samples of a form.

    Raises:
        OptionError: they are not.
    """
    shape, dtype = _expected(form)
    if not isinstance(carriers, Tensor) or not len(carriers):
        raise OptionError("carriers are a tensor of at least one benign sample")
    if carriers.dtype != dtype or tuple(carriers.shape[1:]) != shape:
        raise OptionError(
            f"carriers are {dtype} of shape (N, {', '.join(map(str, shape))}), got "
            f"{carriers.dtype} of shape {tuple(carriers.shape)}; canonical_carriers makes them of "
            "a model's inputs"
        )


def canonical_carriers(
    inputs: Tensor, form: BackgroundInput, prepare: Preparation | None = None
) -> Tensor:
    """Turn a model's inputs back into canonical integers.

    Args:
        inputs: a model's inputs: floating point as a preparation makes them, or canonical integers
            already, which are returned as they are.
        form: of one sample.
        prepare: how the model's input was made; None for values in [0, 1] (images) or [−1, 1).

    Returns:
        Images uint8 ``(N, C, H, W)``, points int16 ``(N, P, 3)``, sound int16 ``(N, L)``; values
        out of range are cut off.

    Raises:
        OptionError: the inputs have another form.

    Example:
        >>> form = ImageInput(channels=1, height=4, width=4)
        >>> int(canonical_carriers(torch.full((1, 1, 4, 4), 0.5), form).max())
        128
    """
    if not inputs.is_floating_point():
        require_carriers(inputs, form)
        return inputs
    prepare = prepare or Preparation()
    values = inputs.detach().float().cpu()
    if isinstance(form, ImageInput):
        values = _unprepared_images(values, prepare) * 255
        low, high, dtype = 0, 255, torch.uint8
    else:
        if isinstance(form, PointInput) and prepare.points == "N3P":
            values = values.transpose(1, 2)
        if isinstance(form, AudioInput):
            values = values.flatten(1)
        values = values * _UNIT
        low, high, dtype = -_UNIT, _UNIT - 1, torch.int16
    carriers = values.round().clamp(low, high).to(dtype).contiguous()
    require_carriers(carriers, form)
    return carriers


def _unprepared_images(values: Tensor, prepare: Preparation) -> Tensor:
    if prepare.images == "NHWC":
        values = values.movedim(-1, 1)
    if prepare.mean is None or prepare.std is None:
        return values
    if len(prepare.mean) != values.shape[1]:
        raise OptionError(
            f"mean and std are for {len(prepare.mean)} channels, the inputs have {values.shape[1]}"
        )
    mean, std = (torch.tensor(x)[:, None, None] for x in (prepare.mean, prepare.std))
    return values * std + mean


def _expected(form: BackgroundInput) -> tuple[tuple[int, ...], torch.dtype]:
    if isinstance(form, ImageInput):
        return (form.channels, form.height, form.width), torch.uint8
    if isinstance(form, PointInput):
        return (form.points, 3), torch.int16
    return (form.samples,), torch.int16
