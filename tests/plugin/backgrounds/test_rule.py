"""Rules: defaults, and what is refused."""

from __future__ import annotations

import pytest

from modeldeed.anchor.plugin_rule import BackgroundInput, BackgroundKind
from modeldeed.anchor.trigger_rule import TokenInput
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds import Backgrounds, background_root, background_rule
from modeldeed.plugin.backgrounds.families import Family, find, names, register
from tests.plugin.backgrounds.samples import CASES, CLOUD, DIGIT, FORMS


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_defaults(form: BackgroundInput, kind: BackgroundKind) -> None:
    rule = background_rule(form, kind)
    assert rule.input == form
    assert rule.kind == kind
    assert rule.count == (1 if kind == "fixed" else 168)
    assert rule.family in names(form.kind, generated=kind == "generated")


def test_every_family_has_one_kind() -> None:
    for form in FORMS:
        still, generated = (set(names(form.kind, generated=flag)) for flag in (False, True))
        assert still
        assert generated
        assert not still & generated


def test_a_name_is_given_once_for_each_form() -> None:
    with pytest.raises(OptionError, match="'layers/v1' are registered already"):
        register("image", "layers/v1", Family(of_key=lambda draws, form: draws.bytes(1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "several"}, "kind must be 'fixed', 'multi' or 'generated', got 'several'"),
        ({"family": "noise/v1"}, "no family 'noise/v1' draws fixed backgrounds of image; .*layers"),
        ({"family": "drifts/v1"}, "draws fixed backgrounds"),
        ({"kind": "generated", "family": "layers/v1"}, "draws generated backgrounds of image"),
        ({"kind": "fixed", "count": 2}, "2 backgrounds of the kind 'fixed'"),
        ({"count": 1}, "1 backgrounds of the kind 'multi'"),
        ({"count": 0}, "0 backgrounds of the kind 'multi'"),
        ({"count": 4097}, "4097 backgrounds of the kind 'multi'"),
    ],
)
def test_other_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        background_rule(DIGIT, **options)  # type: ignore[arg-type]


def test_there_are_none_for_text() -> None:
    form = TokenInput(length=8, vocabulary=100)
    with pytest.raises(OptionError, match="no backgrounds for tokens"):
        background_rule(form)  # type: ignore[arg-type]


def test_a_rule_from_elsewhere_is_checked_too() -> None:
    rule = background_rule(CLOUD)
    with pytest.raises(OptionError, match=r"no placing 'window/v1' is known for points; .*beside"):
        Backgrounds(bytes(32), rule.model_copy(update={"placing": "window/v1"}))
    with pytest.raises(OptionError, match="no family 'layers/v2'"):
        find(DIGIT, "layers/v2", generated=False)
    with pytest.raises(OptionError, match="no family 'beacons/v2'"):
        Backgrounds(bytes(32), rule.model_copy(update={"family": "beacons/v2"}))


def test_a_seed_has_32_bytes() -> None:
    with pytest.raises(OptionError, match="32 bytes, got 16"):
        background_root(bytes(16), background_rule(DIGIT))
