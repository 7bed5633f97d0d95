"""Keys a forger can try on a model he holds, as fast as he can try them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from hashlib import sha256

from modeldeed.anchor import seed_commitment
from modeldeed.attacks.forgery.registry import Stolen
from modeldeed.digests import joined
from modeldeed.owner import Owner
from modeldeed.passport import Passport
from modeldeed.passport.evidence.reading import BoundLayer, load_layers, matches_of
from modeldeed.streams import derive
from modeldeed.suspects import open_weights

__all__ = ["Tries"]


class Tries:
    """One forger's keys on one model: every label is another key, at no cost.

    Args:
        stolen: the model.
        owner: the forger.
    """

    def __init__(self, stolen: Stolen, owner: Owner) -> None:
        self._stolen = stolen
        self._owner = owner
        self._anchor = Passport.issue(stolen.model, owner, example=stolen.example).manifest.anchor
        # Of an anchor's bytes nothing but the commitment depends on the label.
        self._before, self._after = self._anchor.canonical().split(
            self._anchor.seed_commitment.encode()
        )

    @property
    def bits(self) -> int:
        """N of every claim."""
        return sum(target.bits for target in self._anchor.targets)

    @cached_property
    def _layers(self) -> list[BoundLayer]:
        return load_layers(open_weights(self._stolen.model), self._anchor.targets)

    def key(self, label: str) -> bytes:
        """The model key of a label: as its anchor would derive it, without making one."""
        seed = self._owner.seed(label)
        commitment = seed_commitment(seed, self._owner.identity.public_key)
        anchor = self._before + commitment.encode() + self._after
        return derive(seed, "model-key", salt=sha256(joined(anchor)).digest())

    def matches(self, label: str) -> int:
        """Bits of the stolen model that match under a label's key."""
        return matches_of(self._layers, self.key(label))

    def best(self, count: int, label: Callable[[int], str]) -> tuple[str, int]:
        """The best of some labels and its matches; the first of several."""
        return max(((name := label(i), self.matches(name)) for i in range(count)), key=_second)

    def passport(self, label: str) -> Passport:
        """The passport that is issued under a label."""
        example = self._stolen.example
        return Passport.issue(self._stolen.model, self._owner, example=example, label=label)


def _second(pair: tuple[str, int]) -> int:
    return pair[1]
