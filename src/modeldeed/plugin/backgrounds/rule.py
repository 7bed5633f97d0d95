"""The rule of a plug-in's backgrounds, and the secret they follow from."""

from __future__ import annotations

from pydantic import ValidationError

from modeldeed.anchor.plugin_rule import BackgroundInput, BackgroundKind, BackgroundRule
from modeldeed.digests import canonical_json, sha256
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds.families import find
from modeldeed.plugin.backgrounds.placing import default_placing
from modeldeed.streams import derive

__all__ = ["DEFAULT_COUNT", "background_root", "background_rule"]

DEFAULT_COUNT = 168
"""Twice the 84 perfect answers that a verdict needs where there are two classes."""

# By kind of input: always the same, and drawn anew for every carrier.
_FAMILIES = {
    "image": ("layers/v1", "drifts/v1"),
    "points": ("beacons/v1", "mobiles/v1"),
    "audio": ("notes/v1", "modes/v1"),
}


def background_rule(
    form: BackgroundInput,
    kind: BackgroundKind = "multi",
    *,
    count: int | None = None,
    family: str | None = None,
) -> BackgroundRule:
    """The rule for backgrounds of a form.

    Args:
        form: of one verification sample.
        kind: ``"fixed"``: one background, a demonstration that never verifies; ``"multi"``: many,
            each always the same; ``"generated"``: many, each drawn anew for every carrier.
        count: M, how many; None takes 168, or the one of ``"fixed"``.
        family: versioned name of the way they are drawn; None takes the form's own.

    Returns:
        A rule with the newest placing.

    Raises:
        OptionError: the form, the kind or the family is not known, or the kind has not so many
            backgrounds.

    Example:
        >>> from modeldeed.anchor.trigger_rule import ImageInput
        >>> rule = background_rule(ImageInput(channels=3, height=32, width=32))
        >>> rule.family, rule.placing, rule.count
        ('layers/v1', 'window/v1', 168)
    """
    if form.kind not in _FAMILIES:
        raise OptionError(
            f"there are no backgrounds for {form.kind}: only for images, points, sound"
        )
    if kind not in ("fixed", "multi", "generated"):
        raise OptionError(f"kind must be 'fixed', 'multi' or 'generated', got {kind!r}")
    generated = kind == "generated"
    if family is None:
        family = _FAMILIES[form.kind][generated]
    find(form, family, generated=generated)
    if count is None:
        count = 1 if kind == "fixed" else DEFAULT_COUNT
    try:
        return BackgroundRule(
            input=form, kind=kind, family=family, placing=default_placing(form), count=count
        )
    except ValidationError as error:
        raise OptionError(
            f"a rule of {count} backgrounds of the kind {kind!r}: {error.errors()[0]['msg']}"
        ) from error


def background_root(seed: bytes, rule: BackgroundRule) -> bytes:
    """The secret of all backgrounds of a rule.

    Args:
        seed: of the plug-in, 32 secret bytes.
        rule: what they are made for; another rule has another secret.

    Returns:
        32 bytes.

    Raises:
        OptionError: the seed has another length.

    Example:
        >>> from modeldeed.anchor.trigger_rule import AudioInput
        >>> len(background_root(bytes(32), background_rule(AudioInput(samples=8000))))
        32
    """
    digest = sha256(b"modeldeed/v1/background rule", canonical_json(rule.model_dump(mode="json")))
    return derive(seed, "backgrounds", digest.hex())
