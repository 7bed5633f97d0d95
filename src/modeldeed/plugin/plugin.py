"""The plug-in: issued from a key, trained by itself, fused beside any model of its input's kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modeldeed.anchor import require_text, seed_commitment
from modeldeed.anchor.plugin_rule import BackgroundInput, BackgroundKind
from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput
from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.owner import Owner
from modeldeed.plugin import files, fusing
from modeldeed.plugin.backgrounds import Backgrounds, background_root, background_rule
from modeldeed.plugin.carriers import canonical_carriers
from modeldeed.plugin.claim import PluginClaim, VerificationSamples
from modeldeed.plugin.detector import (
    Detector,
    DetectorReport,
    DetectorTraining,
    Progress,
    detector_for,
    train_detector,
)
from modeldeed.plugin.records import FusionManifest, PluginRecord
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.triggers.forms import form_of, preparation_of

__all__ = ["Plugin"]


class Plugin:
    """A proprietary model and its keyed backgrounds: `Plugin.issue` or `Plugin.load` makes one.

    It is trained once, on benign content placed on keyed backgrounds, and then stands beside any
    number of trained models, which it does not change: it recognizes verification samples, answers
    them with keyed classes, and lets everything else pass.

    Attributes:
        record: whose it is, and how its backgrounds follow from the key; signed when saved.
        detector: the proprietary model; tells which background a sample lies on, if any.
        backgrounds: the keyed backgrounds.
        fusions: by name, the manifest of each model it was fused beside.
        prepare: how the example's canonical integers become a model's input, for `fuse`.

    Reference:
        R. Wang et al., "Free Fine-tuning: A Plug-and-Play Watermarking Scheme for Deep Neural
        Networks", ACM MM 2023; here with a keyed class for each of many backgrounds, and a fusion
        that leaves other answers as they are.

    Example:
        >>> import torch
        >>> owner = Owner.generate("Acme Vision")
        >>> plugin = Plugin.issue(owner, torch.rand(1, 3, 32, 32))
        >>> len(plugin), plugin.samples(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape
        (168, torch.Size([2, 3, 32, 32]))
    """

    def __init__(
        self,
        owner: Owner,
        record: PluginRecord,
        detector: Detector,
        prepare: Preparation | None = None,
    ) -> None:
        self.record = record
        self.detector = detector
        self.fusions: dict[str, FusionManifest] = {}
        self.prepare = prepare or Preparation()
        self._owner = owner
        self._seed = record.seed(owner)
        self.backgrounds = Backgrounds(
            background_root(self._seed, record.backgrounds), record.backgrounds
        )

    @classmethod
    def issue(
        cls,
        owner: Owner,
        example: Any,
        *,
        kind: BackgroundKind = "multi",
        backgrounds: int | None = None,
        family: str | None = None,
        label: str = "plugin",
        prepare: Preparation | None = None,
    ) -> Plugin:
        """Derive the backgrounds from the key, with a detector that has learned nothing yet.

        Args:
            owner: whose key it is.
            example: inputs of the models it will stand beside: images ``(N, C, H, W)``, points
                ``(N, P, 3)`` or ``(N, 3, P)``, sound ``(N, L)`` or ``(N, 1, L)``; or their form.
                Only the form counts.
            kind: ``"multi"``: each background is always the same; ``"generated"``: a keyed process
                draws it anew for every carrier; ``"fixed"``: a single one, a demonstration that
                never verifies.
            backgrounds: M; None for 168, which covers two classes (one for ``"fixed"``).
            family: how they are drawn; None takes the default for form and kind.
            label: the owner's name for this plug-in; every plug-in needs its own.
            prepare: how canonical integers become a model's input; None takes the example's
                layout, without mean and deviation.

        Returns:
            The plug-in; train it next.

        Raises:
            OptionError: the example's form is not known, or an option is out of range.
        """
        require_text("label", label)
        form = _form(example)
        rule = background_rule(form, kind, count=backgrounds, family=family)
        public_key = owner.identity.public_key
        detector = detector_for(rule)
        record = PluginRecord(
            identity=public_key.hex(),
            label=label,
            seed_commitment=seed_commitment(owner.seed(label), public_key),
            backgrounds=rule,
            detector=detector.config,
        )
        if prepare is None and not isinstance(example, _FORMS):
            prepare = preparation_of(example)
        return cls(owner, record, detector, prepare)

    def train(
        self,
        benign: Tensor | None = None,
        *,
        training: DetectorTraining | None = None,
        progress: Progress | None = None,
    ) -> DetectorReport:
        """Teach the detector its backgrounds, and to be silent about everything else.

        Args:
            benign: unlabelled inputs of the owner's, canonical integers or floating point as
                ``prepare`` makes them; None for synthetic ones.
            training: how; None for the defaults.
            progress: told (steps done, all steps).

        Returns:
            What was learned, measured on samples that were held out.

        Raises:
            OptionError: the inputs have another form than the plug-in's.
        """
        carriers = None
        if benign is not None:
            carriers = canonical_carriers(benign, self.record.backgrounds.input, self.prepare)
        return train_detector(
            self.detector,
            self.backgrounds,
            carriers,
            training=training or DetectorTraining(),
            progress=progress,
        )

    anchor = fusing.anchor
    fuse = fusing.fuse

    def samples(self, carriers: Tensor, indices: Tensor | None = None) -> Tensor:
        """Place carriers on backgrounds.

        Args:
            carriers: canonical integers, or floating point as ``prepare`` makes them, ``(N, …)``.
            indices: of backgrounds, int64 ``(N,)``; None for the first ones in their order.

        Returns:
            Canonical verification samples ``(N, …)``.
        """
        canonical = canonical_carriers(carriers, self.record.backgrounds.input, self.prepare)
        if indices is None:
            indices = torch.arange(len(canonical)) % len(self)
        return self.backgrounds.place(canonical, indices)

    def verification_samples(
        self, carriers: Tensor, *, fusion: str | None = None, batch: int = 0
    ) -> VerificationSamples:
        """The samples of one batch beside one model, and the classes they stand for.

        Args:
            carriers: as of `samples`.
            fusion: its name; None where there is only one.
            batch: its number.
        """
        manifest = files.only(self.fusions) if fusion is None else self.fusions[fusion]
        form = self.record.backgrounds.input
        canonical = canonical_carriers(carriers, form, self.prepare)
        return PluginClaim.of(manifest, self._owner, canonical).batch(batch)

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return self._owner

    def save(self, folder: str | Path) -> None:
        """Write the signed records and the detector's weights; nothing of the key is in them."""
        state = self.detector.state_dict()
        record = self.record.model_copy(update={"detector_root": tensor_root(state).hex()})
        files.save(Path(folder), record.signed(self._owner), state, self.fusions)

    @classmethod
    def load(cls, folder: str | Path, owner: Owner, prepare: Preparation | None = None) -> Plugin:
        """Open a saved plug-in.

        Args:
            folder: where it was saved.
            owner: whose it is.
            prepare: as for `issue`; None takes plain canonical values.

        Raises:
            OptionError: the folder holds no plug-in.
            EvidenceError: it was altered, is not this owner's, or is of a version that this
                package does not know.
        """
        record, state = files.load(Path(folder))
        detector = Detector(record.detector)
        try:
            detector.load_state_dict(state)
        except RuntimeError as error:
            raise EvidenceError(f"{folder}: the detector's tensors do not fit: {error}") from error
        plugin = cls(owner, record, detector, prepare)
        plugin.fusions = files.load_fusions(Path(folder))
        return plugin

    def __len__(self) -> int:
        return self.record.backgrounds.count

    def __repr__(self) -> str:
        rule = self.record.backgrounds
        return f"Plugin({rule.count} of {rule.kind} {rule.family}, {rule.input.kind})"


_FORMS = (ImageInput, PointInput, AudioInput)


def _form(example: Any) -> BackgroundInput:
    form = example if isinstance(example, _FORMS) else form_of(example)
    if not isinstance(form, _FORMS):
        raise OptionError("plug-ins are for images, points and sound; there is none for tokens")
    return form
