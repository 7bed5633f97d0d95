"""The default loss: what it understands, and what it says of the rest."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modeldeed.errors import OptionError
from modeldeed.passport.private.losses import default_loss

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(6) % 4


def test_logits_and_mappings_of_logits_are_classified() -> None:
    expected = F.cross_entropy(LOGITS, CLASSES)
    assert torch.equal(default_loss(LOGITS, CLASSES), expected)
    assert torch.equal(default_loss({"hidden": 0, "logits": LOGITS}, CLASSES), expected)


def test_tokens_and_pixels_are_told_apart() -> None:
    tokens, pixels = LOGITS.view(2, 3, 4), LOGITS.view(2, 3, 4).transpose(1, 2)
    classes = CLASSES.view(2, 3)
    expected = F.cross_entropy(LOGITS, CLASSES)
    torch.testing.assert_close(default_loss(tokens, classes), expected)
    torch.testing.assert_close(default_loss(pixels, classes), expected)


def test_where_both_readings_fit_pytorchs_own_is_taken() -> None:
    square = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(1))
    classes = torch.zeros(2, 3, dtype=torch.long)
    assert torch.equal(default_loss(square, classes), F.cross_entropy(square, classes))


def test_a_host_with_a_loss_of_its_own_needs_no_targets() -> None:
    assert float(default_loss({"loss": torch.tensor(2.0), "logits": LOGITS}, None)) == 2.0


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        ({"scores": LOGITS}, CLASSES, "a mapping with 'scores'; the default loss needs"),
        ((LOGITS, LOGITS), CLASSES, "a tuple of 2; the default loss needs"),
        (LOGITS, None, r"a tensor of shape \(6, 4\); without targets"),
        ({"logits": LOGITS}, None, "a mapping with 'logits'; without targets"),
        ("text", CLASSES, "a str"),
    ],
)
def test_another_form_is_named_with_the_mending(
    outputs: object, targets: object, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        default_loss(outputs, targets)
