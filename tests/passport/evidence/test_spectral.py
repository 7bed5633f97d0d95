"""What singular vectors give away without the key: nothing of ours, everything of shared rows.

A passport vector shared by all rows of a layer plants a rank-one spike: the first right singular
vector is that vector, and the signs of the first left one are the bits. With one row for each
channel there is no common direction to find.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import pytest
import torch
from torch import nn

from modeldeed import Owner, Passport, models
from modeldeed.data import digits
from modeldeed.passport.evidence.private_check import decoy_keys
from modeldeed.passport.evidence.signature import layer_secrets
from modeldeed.training import Recipe, train

DECOYS = 40


@dataclass(frozen=True)
class Trace:
    """What the leading singular vectors share with a key.

    Attributes:
        bits: bits that sign(u₁) gets right, with the better global sign of every layer.
        cosines: of every layer, the largest |cos| of v₁ with a passport row or the rows' mean.
        fans: of every layer, its weights per channel.
    """

    bits: int
    cosines: list[float]
    fans: list[int]


def trace(host: nn.Module, passport: Passport, key: bytes) -> Trace:
    anchor = passport.manifest.anchor
    bits, cosines = 0, []
    for ordinal, target in enumerate(anchor.targets):
        secret = layer_secrets(key, ordinal, target, anchor.passport_rule.rows)
        rows = host.get_parameter(target.weight).detach().movedim(target.axis, 0).flatten(1)
        u, _, v = torch.linalg.svd(nn.functional.normalize(rows, dim=1), full_matrices=False)
        scale = host.get_parameter(f"{target.norm}.weight").detach()
        hits = int((u[:, 0].sign() * scale.sign() * secret.bits > 0).sum())
        bits += max(hits, target.channels - hits)
        passports = secret.passports[0].movedim(target.axis, 0).flatten(1).float()
        guesses = torch.cat([passports, passports.mean(0, keepdim=True)])
        cosines.append(float((nn.functional.normalize(guesses) @ v[0]).abs().max()))
    return Trace(bits, cosines, [target.fan for target in anchor.targets])


@pytest.fixture(scope="module", params=["keyed", "shared"])
def marked(request: pytest.FixtureRequest) -> tuple[str, Trace, list[Trace]]:
    """A digits classifier trained with its passport: its own trace and those of wrong keys."""
    dataset = digits().normalized()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = models.resnet_small()
    passport = Passport.issue(
        host, Owner(bytes(range(32))), example=dataset.x_train[:4], rows=request.param
    )
    for _ in train(host, dataset, Recipe(epochs=12), passport=passport):
        pass
    assert passport.signature().matches >= 700
    decoys = [trace(host, passport, key) for key in decoy_keys(0, DECOYS)]
    return request.param, trace(host, passport, passport._key), decoys


def test_signs_of_the_first_left_singular_vector(
    marked: tuple[str, Trace, list[Trace]],
) -> None:
    rows, own, decoys = marked
    if rows == "shared":
        assert own.bits > 0.97 * 720, "the published form is read without a key"
    else:
        assert own.bits <= max(decoy.bits for decoy in decoys)


def test_direction_of_the_first_right_singular_vector(
    marked: tuple[str, Trace, list[Trace]],
) -> None:
    rows, own, decoys = marked
    level = [max(d.cosines[layer] for d in decoys) for layer in range(len(own.cosines))]
    if rows == "shared":
        assert median(own.cosines) > 0.85
        assert sum(c > best for c, best in zip(own.cosines, level, strict=True)) >= 10
    else:
        # v₁ is made of rows, and each row holds some of its own passport: the best of a layer's
        # rows may exceed the best decoy a little. A common direction would lift every layer.
        over = [cosine / best for cosine, best in zip(own.cosines, level, strict=True)]
        assert median(over) < 1.1
        # In the nine dimensions of the first layer some row of 32 lies near everything, also near
        # what wrong keys guess (0.8 and more), so a bound says nothing there.
        thick = [c for c, fan in zip(own.cosines, own.fans, strict=True) if fan >= 144]
        assert max(thick) < 0.5
