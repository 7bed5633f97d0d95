"""The passport of a host: issue it, train with it, save it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.errors import HostError
from modeldeed.owner import Owner
from modeldeed.passport import issuing, triggered
from modeldeed.passport.evidence import files
from modeldeed.passport.evidence.coloured import Factors, seen_weights
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.message import codewords_of
from modeldeed.passport.evidence.reading import load_layers, read_signature
from modeldeed.passport.evidence.signature import hinge, reachable_margin
from modeldeed.passport.host.plan import Plan, Selector, make_plan
from modeldeed.passport.host.reach import as_call
from modeldeed.passport.issuing import DEFAULT_HEAD
from modeldeed.passport.joint_loss import joint_loss
from modeldeed.passport.private.branch import PrivateBranch, Readings
from modeldeed.passport.private.copies import deep_copy, on, refuse_pickling
from modeldeed.passport.private.parallel import as_module
from modeldeed.passport.private.step import TrainingRule, batch_size
from modeldeed.passport.retrofit.embed import embed
from modeldeed.results import SignatureEvidence
from modeldeed.statistics import Budget
from modeldeed.suspects import open_weights
from modeldeed.suspects.answering.preparation import Prepare
from modeldeed.triggers.training import TriggerOptions
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["DEFAULT_HEAD", "Passport"]


class Passport:
    """A host's passport: the private branch beside it, and the training that plants the mark.

    Made by `Passport.issue` or `Passport.load`. The host stays an ordinary model: it trains,
    saves and loads as before, and what is shipped is its state dict.

    Attributes:
        host: the marked model, held by reference.
        manifest: what verification needs beside the key.
        training: schedule, share, interval, margin and weights of the losses.
        branch: the private branch.
        triggers: the triggers that it was issued with; None without any.
        steps: calls of `joint_loss` so far; the schedule counts in them.

    Reference:
        J. Zhang et al., "Passport-aware Normalization for Deep Model Protection", NeurIPS 2020.
        Here every channel has its own keyed passport, nothing is chosen by the claimant, and the
        host keeps its own normalization layers.

    Example:
        >>> import torch
        >>> owner = Owner.generate("Acme Vision")
        >>> host = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
        >>> x = torch.rand(8, 1, 8, 8)
        >>> passport = Passport.issue(host, owner, example=x)
        >>> public, private = passport.joint(x)
        >>> public.shape, private.shape
        (torch.Size([8, 16, 6, 6]), torch.Size([8, 16, 6, 6]))
    """

    def __init__(
        self,
        host: nn.Module,
        owner: Owner,
        manifest: Manifest,
        training: TrainingRule,
        factors: Factors | None = None,
        triggers: TriggerOptions | None = None,
    ) -> None:
        self.host = host
        self.manifest = manifest
        self.training = training
        self.steps = 0
        self._owner = owner
        self._key = manifest.model_key(owner)
        self.triggers = _triggers_of(manifest, owner, triggers or TriggerOptions())
        targets = manifest.anchor.targets
        self._codewords = codewords_of(self._key, targets, manifest.message)
        self.branch = PrivateBranch(
            host,
            targets,
            self._key,
            manifest.anchor.passport_rule,
            manifest.calls,
            self._codewords,
            factors,
        )
        self._reachable = torch.cat(
            [
                torch.full((target.channels,), reachable_margin(torch.inf, target.fan))
                for target in self.branch.targets
            ]
        )

    @staticmethod
    def plan(
        model: nn.Module,
        *,
        example: Any,
        targets: Selector | Iterable[Selector] | None = None,
        exclude: Selector | Iterable[Selector] | None = None,
    ) -> Plan:
        """Say which norms would carry a passport and why the others would not; change nothing.

        Args:
            model: the host.
            example: a small batch of its input: a tensor, a tuple of positional or a dict of
                keyword arguments.
            targets: only these norms: names, globs, compiled regexes or predicates on (name,
                layer). None takes every usable norm, the canonical list.
            exclude: not these.

        Returns:
            The plan.

        Raises:
            OptionError: a selector fits no norm.
        """
        return make_plan(model, example, targets=targets, exclude=exclude)

    anchor = classmethod(issuing.anchor)
    issue = classmethod(issuing.issue)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The passport's own trainable parameters: those of learned heads, else none."""
        return self.branch.heads.parameters()

    def private(self, inputs: Any) -> Any:
        """Run the private branch on an input, in the host's present mode.

        Args:
            inputs: a tensor, a tuple of positional or a dict of keyword arguments.

        Returns:
            What the host returns.

        Raises:
            HostError: a planned norm was skipped.
        """
        return self.branch(inputs)

    def joint(self, inputs: Any) -> tuple[Any, Any]:
        """Run both branches on a batch, as the schedule splits it.

        For losses of your own; `joint_loss` is the common case. The public branch is the host's
        own, untouched forward and comes first.

        Args:
            inputs: a batch; every tensor's first dimension is the batch.

        Returns:
            Public and private outputs. The private ones are of the first ⌈share·N⌉ samples
            (pair, reuse) or of all; under reuse the public ones are of the rest.

        Raises:
            OptionError: the batch's tensors differ in their first dimension.
            HostError: a planned norm was skipped.
        """
        cut = self.training.cut(batch_size(inputs, self.training.batch_dim))
        return self.public(cut.public(inputs)), self.branch(cut.private(inputs))

    def public(self, inputs: Any) -> Any:
        """Run the host on an input given as to `private`: its own, untouched forward."""
        args, kwargs = as_call(inputs)
        return self.host(*args, **kwargs)

    joint_loss = joint_loss

    def signature_loss(self) -> Tensor:
        """The mean hinge of all signature bits, a scalar ≥ 0, for training loops of your own."""
        return self.hinge(self.branch.readings())

    def hinge(self, readings: Readings) -> Tensor:
        """The same of readings that were taken already."""
        margins = self._reachable.to(readings.flat).clamp_max(self.training.margin)
        return hinge(readings.gamma, self.branch.signed_bits(), margins)

    embed = embed
    as_module = as_module
    on = on
    __deepcopy__ = deep_copy
    __reduce__ = refuse_pickling

    def signature(self) -> SignatureEvidence:
        """Read the signature from the host as it is now: matches, margins, p-value."""
        rule = self.manifest.anchor.passport_rule
        seen, targets = seen_weights(
            open_weights(self.host), self.branch.targets, self.branch.factors
        )
        evidence = read_signature(
            load_layers(seen, targets),
            self._key,
            Budget(),
            rows=rule.rows,
            codewords=self._codewords,
        )
        return evidence.model_copy(update={"reading": rule.reading_name})

    def save(self, path: str | Path) -> None:
        """Write the passport to a folder: a signed JSON manifest and trained private state.

        It holds neither key nor passports: those are derived again from the owner's key.

        Args:
            path: a folder; made when missing. A passport in it is replaced in one step.
        """
        files.save(
            Path(path),
            self.manifest,
            self._owner,
            self.state(),
        )

    def state(self) -> dict[str, Tensor]:
        """Everything of it that is trained or counted rather than derived."""
        own = files.state_of(self.branch, self.steps, self.training)
        return {**own, **triggered.state_of(self.triggers)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put a `state` back.

        Raises:
            KeyError: it lacks a tensor that the private branch needs.
            RuntimeError: a tensor has another shape.
        """
        self.steps = files.restore(self.branch, state)
        triggered.restore(self.triggers, state)

    @classmethod
    def load(
        cls,
        path: str | Path,
        owner: Owner,
        model: nn.Module,
        training: TrainingRule | None = None,
        prepare: Prepare | None = None,
    ) -> Passport:
        """Open a saved passport on its host.

        Args:
            path: the folder.
            owner: whose passport it is.
            model: the host, or another instance of it.
            training: how to train on; None to go on as before.
            prepare: of triggers; None as before, unless it was a function, which is not saved.

        Returns:
            The passport with its private statistics, heads, training rules and step count.

        Raises:
            EvidenceError: the passport was altered, or is not this owner's.
            HostError: the model is not one this passport fits.
        """
        manifest, state = files.load(Path(path))
        try:
            passport = cls(
                model,
                owner,
                manifest,
                training or files.training_of(state),
                files.factors_of(manifest, state),
                triggered.saved_options(state, prepare),
            )
            passport.restore(state)
        except (KeyError, RuntimeError) as error:
            raise HostError(
                f"{path}: its private state does not fit this model: {error}"
            ) from error
        return passport


def _triggers_of(manifest: Manifest, owner: Owner, options: TriggerOptions) -> TriggerSet | None:
    if manifest.anchor.triggers is None:
        return None
    return TriggerSet(owner, manifest, options.prepare, options.training)
