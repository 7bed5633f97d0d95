"""What may be undone before a direct reading: prefixes, stored types, folded scales; nothing else.

Each is decided by one rule from the names, types and shapes of the suspect's tensors and of the
claim's list. Nothing is tried out on the bits: a claim is read in one way, so it pays for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from modeldeed.anchor import Target
from modeldeed.errors import SuspectError
from modeldeed.suspects.integers import NARROW, Stored, stored_tensor, storing_name
from modeldeed.suspects.weights import Weights, lacking, require_tensors

__all__ = ["Bound", "Restored", "restore", "summary"]

# What DistributedDataParallel and torch.compile put before the names of what they wrap.
_WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class Bound:
    """What a suspect holds for one entry of a claim's list.

    Attributes:
        weight: the bound weight.
        scale: γ₀; None where the norm has none, and where it was folded into the weight.
        undone: what had to be undone for it.
    """

    weight: Stored
    scale: Tensor | None
    undone: tuple[str, ...]


class _Renamed:
    """A suspect's tensors as they are, under other names; itself `Weights`."""

    def __init__(self, weights: Weights, stored_names: dict[str, str]) -> None:
        self.label = weights.label
        self._weights, self._stored_names = weights, stored_names

    def names(self) -> list[str]:
        return list(self._stored_names)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._weights.shape(self._stored_names[name])

    def tensor(self, name: str) -> Tensor:
        return self._weights.tensor(self._stored_names[name])

    def digest(self) -> str:
        return self._weights.digest()

    def require_unchanged(self) -> None:
        self._weights.require_unchanged()


class Restored(_Renamed):
    """A suspect under the claim's names, with its real values; made by `restore`.

    Attributes:
        label: how reports call the suspect.
        prefix: what was removed from all names, for people; empty for nothing.
    """

    def __init__(self, weights: Weights, stored_names: dict[str, str], prefix: str) -> None:
        super().__init__(weights, stored_names)
        self.prefix = prefix
        self._stored = _Renamed(weights, stored_names)

    def tensor(self, name: str) -> Tensor:
        """One tensor; integers that have a scale are multiplied with it."""
        tensor = self._stored.tensor(name)
        if tensor.dtype not in NARROW:
            return tensor
        try:
            return stored_tensor(self._stored, name, set(self.names())).values()
        except SuspectError:
            return tensor  # no weight of a known layout: whoever needs it refuses it

    def bound(self, targets: Sequence[Target]) -> Iterator[Bound]:
        """What the suspect holds for each entry of a claim's list.

        Args:
            targets: the list.

        Yields:
            One for each target, in order.

        Raises:
            SuspectError: tensors are missing, misshapen, or in a form that cannot be undone.
        """
        names = set(self.names())
        folded = self._require(targets, names)
        for target in targets:
            weight = stored_tensor(self._stored, target.weight, names)
            undone = list(weight.undone)
            if self.prefix:
                undone.append(f"{self.prefix} removed from all names")
            scale = None
            if target.affine in folded:
                undone.append("scale folded into the weight, its sign read as +1")
            elif target.affine:
                scale = self._scale(target.affine)
            yield Bound(weight, scale, tuple(undone))

    def _require(self, targets: Sequence[Target], names: set[str]) -> set[str]:
        """Check names and shapes; return the scales that were folded into weights."""
        weights = {t.weight: storing_name(t.weight, names) for t in targets}
        scales = {t.affine for t in targets if t.affine and t.affine not in names}
        folded = {scale for scale in scales if _is_folded(scale, names)}
        missing = [name for name, where in weights.items() if where is None]
        missing += sorted(scales if missing else scales - folded)
        if missing:
            wanted = set(weights) | {t.affine for t in targets if t.affine}
            raise lacking(self, missing, len(wanted))
        expected = [(where, t.shape) for t in targets if (where := weights[t.weight])]
        expected += [
            (t.affine, (t.channels,)) for t in targets if t.affine and t.affine not in folded
        ]
        require_tensors(self, expected)
        return folded

    def _scale(self, name: str) -> Tensor:
        tensor = self.tensor(name)
        if not tensor.is_floating_point():
            raise SuspectError(
                f"{self.label}: {name} is {tensor.dtype}, not floating point; restore its real "
                "values (integer times scale) before reading"
            )
        return tensor


def restore(weights: Weights, targets: Sequence[Target]) -> Restored:
    """Put a suspect under the names of a claim.

    Taken as they are, if all bound weights are there. Otherwise ``module.`` and ``_orig_mod.``,
    what wrappers put before every name, are removed from all names, one after the other, and at
    last every part ``_orig_mod`` within a name; the first form that has all bound weights counts.

    Args:
        weights: the suspect.
        targets: the claim's canonical list.

    Returns:
        The suspect under those names; as it is stored, if no form fits.

    Example:
        >>> import torch
        >>> from modeldeed.suspects import open_weights
        >>> suspect = open_weights({"module.w": torch.ones(9, 9)})
        >>> target = Target(norm="n", kind="batch", channels=9, affine=None, weight="w",
        ...                 shape=(9, 9), axis=0, side="rows")
        >>> restore(suspect, [target]).names()
        ['w']
    """
    names = weights.names()
    for prefix, renamed in _forms(names):
        known = set(renamed)
        if len(known) == len(names) and all(storing_name(t.weight, known) for t in targets):
            return Restored(weights, dict(zip(renamed, names, strict=True)), prefix)
    return Restored(weights, {name: name for name in names}, "")


def _forms(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The names as stored, then with ever more of what wrappers add removed."""
    removed = ""
    yield removed, names
    while names:
        wrapper = next((w for w in _WRAPPERS if names[0].startswith(w)), None)
        if wrapper is None or not all(name.startswith(wrapper) for name in names):
            break
        names = [name.removeprefix(wrapper) for name in names]
        removed += wrapper
        yield removed, names
    inner = [".".join(p for p in name.split(".") if p != "_orig_mod") for name in names]
    if inner != names:
        yield f"{removed}…_orig_mod." if removed else "_orig_mod.", inner


def _is_folded(scale: str, names: set[str]) -> bool:
    """Whether nothing is left of the norm: its scale was folded into the weight, not just lost."""
    module = scale.rpartition(".")[0] + "."
    return module != "." and not any(name.startswith(module) for name in names)


def summary(undone: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What was undone over all layers, each with the number of layers it concerned."""
    counts = Counter(what for layer in undone for what in layer)
    return tuple(f"{what}: {count} of {len(undone)} layers" for what, count in counts.items())
