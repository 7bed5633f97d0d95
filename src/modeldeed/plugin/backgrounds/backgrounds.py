"""Keyed backgrounds, and benign content placed on them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from modeldeed.anchor.plugin_rule import BackgroundRule
from modeldeed.digests import sha256
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds.checks import check_carriers, check_index, check_indices
from modeldeed.plugin.backgrounds.families import find
from modeldeed.plugin.backgrounds.placing import find_placing
from modeldeed.streams import KEY_BYTES, KeyStream, derive
from modeldeed.triggers.families import Array, Draws

__all__ = ["CACHE_BYTES", "Backgrounds"]

CACHE_BYTES = 2**28
"""So much of what was drawn is kept; beyond it, what was not used for longest is drawn again."""


class Backgrounds:
    """The keyed backgrounds of a plug-in: content placed on one is a verification sample.

    Every background has a key of its own, so the keys of some tell nothing about the others. A
    sample follows from that key, the rule and the carrier alone, in integers: a judge computes the
    same bytes on any machine, whatever else is in the batch.

    Args:
        root: 32 secret bytes; see `background_root`.
        rule: how backgrounds are drawn, and content placed on them.

    Raises:
        OptionError: the root has another length, or the rule's family or placing is not known.

    Example:
        >>> from modeldeed.anchor.trigger_rule import ImageInput
        >>> from modeldeed.plugin.backgrounds import background_rule
        >>> rule = background_rule(ImageInput(channels=1, height=8, width=8))
        >>> digits = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
        >>> samples = Backgrounds(bytes(32), rule).place(digits, torch.tensor([0, 167]))
        >>> bool(samples[0, 0, 0].any()), bool(samples[:, :, 1:7, 1:7].any())
        (True, False)
    """

    def __init__(self, root: bytes, rule: BackgroundRule) -> None:
        keys = {index: derive(root, "background", index) for index in range(rule.count)}
        self._begin(keys, rule)

    def _begin(self, keys: dict[int, bytes], rule: BackgroundRule) -> None:
        self.rule = rule
        self._keys = keys
        self._family = find(rule.input, rule.family, generated=rule.kind == "generated")
        self._placing = find_placing(rule.input, rule.placing)
        self._decided: OrderedDict[int, Array] = OrderedDict()

    @classmethod
    def of_keys(cls, keys: Mapping[int, bytes], rule: BackgroundRule) -> Backgrounds:
        """Some backgrounds from their own keys: what an opening shows.

        Args:
            keys: by index, 32 bytes each; see `keys`.
            rule: of all backgrounds.

        Returns:
            Backgrounds of the same rule; `place` refuses the indices without a key.

        Raises:
            OptionError: an index lies outside 0 … M − 1, a key has another length, or the rule's
                family or placing is not known.

        Example:
            >>> from modeldeed.anchor.trigger_rule import AudioInput
            >>> from modeldeed.plugin.backgrounds import background_rule
            >>> rule = background_rule(AudioInput(samples=800))
            >>> opened = Backgrounds(bytes(32), rule).keys(range(64, 128))
            >>> len(Backgrounds.of_keys(opened, rule).keys([64, 127]))
            2
        """
        for index, key in keys.items():
            check_index(index, rule.count)
            if len(key) != KEY_BYTES:
                raise OptionError(
                    f"the key of background {index} must have {KEY_BYTES} bytes, got {len(key)}"
                )
        some = cls.__new__(cls)
        some._begin(dict(keys), rule)
        return some

    def keys(self, indices: Iterable[int]) -> dict[int, bytes]:
        """The keys of some backgrounds, by index: all that an opening of them needs.

        Args:
            indices: on 0 … M − 1.

        Raises:
            OptionError: there is no background of an index, or its key is not known here.
        """
        return {index: self._key(index) for index in indices}

    def place(self, carriers: Tensor, indices: Tensor) -> Tensor:
        """Verification samples: the content of each carrier on the background of each index.

        Args:
            carriers: canonical, as the rule's input says: images uint8 ``(N, C, H, W)``, clouds
                int16 ``(N, P, 3)`` in units of 2⁻¹⁵, or sound int16 ``(N, L)``.
            indices: of backgrounds, int64 ``(N,)`` on 0 … M − 1.

        Returns:
            Canonical samples of the carriers' shape, dtype and device; always a new tensor.

        Raises:
            OptionError: carriers or indices of another dtype or shape, an index out of range, or
                one whose key is not known here.
        """
        check_carriers(carriers, self.rule.input)
        numbers = check_indices(indices, len(carriers), self.rule.count)
        if not numbers:
            return carriers.clone()
        rows = np.ascontiguousarray(carriers.cpu().numpy())
        decided = self._all_decided(numbers)
        if self._family.of_carrier is not None:
            draws = Draws([self._variation(*pair) for pair in zip(numbers, rows, strict=True)])
            decided = self._family.of_carrier(decided, draws, self.rule.input)
        placed = self._placing(rows, decided, self.rule.input)
        return torch.from_numpy(placed).to(carriers.device)

    def _key(self, index: int) -> bytes:
        check_index(index, self.rule.count)
        if index not in self._keys:
            raise OptionError(
                f"the key of background {index} is not among the {len(self._keys)} known here; "
                "its batch must be opened first"
            )
        return self._keys[index]

    def _variation(self, index: int, carrier: Array) -> KeyStream:
        """What a generated background takes from its carrier."""
        data = carrier.astype(carrier.dtype.newbyteorder("<"), copy=False).tobytes()
        digest = sha256(b"modeldeed/v1/carrier", data)
        return KeyStream(derive(self._key(index), "carrier", salt=digest), "variation")

    def _all_decided(self, numbers: Sequence[int]) -> Array:
        """What the keys decide about these backgrounds, in a new array ``(N, ...)``."""
        missing = [i for i in dict.fromkeys(numbers) if i not in self._decided]
        kept = {i: self._decided[i] for i in set(numbers) if i in self._decided}
        # One by one: the intermediate results of large pictures are larger than the pictures.
        for index in missing:
            stream = KeyStream(self._key(index), "background")
            kept[index] = self._family.of_key(Draws([stream]), self.rule.input)[0]
        self._keep(kept)
        return np.stack([kept[i] for i in numbers])

    def _keep(self, used: Mapping[int, Array]) -> None:
        for index, array in used.items():
            self._decided[index] = array
            self._decided.move_to_end(index)
        size = next(iter(used.values())).nbytes
        while len(self._decided) * size > CACHE_BYTES:
            self._decided.popitem(last=False)
