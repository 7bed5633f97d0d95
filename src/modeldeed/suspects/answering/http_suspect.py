"""A model behind an HTTP endpoint as a suspect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue
from torch import Tensor

from modeldeed.errors import OptionError
from modeldeed.suspects.answering.batches import groups
from modeldeed.suspects.answering.bodies import Body, body_of
from modeldeed.suspects.answering.client import Client, Reply
from modeldeed.suspects.answering.endpoint import Endpoint
from modeldeed.suspects.answering.responses import parse_answers
from modeldeed.suspects.answering.suspect import Answers, Suspect, joined_answers
from modeldeed.suspects.answering.waiting import Clock

if TYPE_CHECKING:
    import httpx

__all__ = ["HttpSuspect"]

_MOST_SHOWN = 200


class HttpSuspect(Suspect):
    """An endpoint that is asked request by request, never two at a time.

    Args:
        endpoint: its configuration.
        classes: names of the classes in their order, where the endpoint answers with names.
        folder: what relative paths of the configuration start from.
        transport: replaces the network, for tests.
        clock: time and waiting.

    Attributes:
        last_refusal: status and beginning of the last response that refused a sample, with the
            secret replaced; None as long as none did.

    Raises:
        OptionError: the endpoint answers with names and none are known, or the secret or a file
            of certificates cannot be used.
        MissingExtraError: httpx is not installed.
    """

    sees_groups = True

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        classes: Sequence[str] | None = None,
        folder: Path = Path(),
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._names = _names(endpoint, classes)
        self._secret = None if endpoint.auth is None else endpoint.auth.secret(folder)
        self._client = Client(
            endpoint, secret=self._secret, folder=folder, transport=transport, clock=clock
        )
        super().__init__(self._client.label, endpoint.samples_per_request)
        self._endpoint = endpoint
        self.last_refusal: str | None = None

    def description(self) -> dict[str, JsonValue]:
        """Address, model, form of requests and answers; see `Endpoint.description`."""
        return {**self._endpoint.description(), "names": dict(self._names) or None}

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _answers(self, batch: Tensor) -> Answers:
        return joined_answers(
            [self._group_answers(group) for group in groups(batch, self.group_size)], self.label
        )

    def _group_answers(self, group: Tensor) -> Answers:
        # Written before it counts as asked: a form that does not fit asks nobody.
        body = self._body(group)
        self.queries += len(group)
        reply = self._sent(body, len(group))
        if reply.status < 300:
            return self._parsed(reply, len(group))
        if len(group) == 1:
            self._note_refusal(reply)
            return Answers((None,))
        # One sample that is refused takes the others of its request with it.
        return joined_answers([self._alone(sample) for sample in groups(group, 1)], self.label)

    def _alone(self, sample: Tensor) -> Answers:
        reply = self._sent(self._body(sample), 1)
        if reply.status < 300:
            return self._parsed(reply, 1)
        self._note_refusal(reply)
        return Answers((None,))

    def _body(self, group: Tensor) -> Body:
        return body_of(self._endpoint.request, self._endpoint.preparation, group)

    def _sent(self, body: Body, count: int) -> Reply:
        def sent() -> None:
            self.attempts += count

        return self._client.send(body, sent)

    def _parsed(self, reply: Reply, count: int) -> Answers:
        return parse_answers(reply.data, self._endpoint.response, self._names, count, self.label)

    def _note_refusal(self, reply: Reply) -> None:
        text = reply.data[:10_000].decode("utf-8", "replace")
        if self._secret is not None:
            text = self._secret.redacted(text)
        shown = "".join(c if c.isprintable() else "?" for c in text[:_MOST_SHOWN])
        self.last_refusal = f"status {reply.status}: {shown}"


def _names(endpoint: Endpoint, classes: Sequence[str] | None) -> dict[str, int]:
    if endpoint.response.kind != "names":
        return {}
    if endpoint.response.names is not None:
        return dict(endpoint.response.names)
    if not classes:
        raise OptionError(
            "the endpoint answers with names of classes; give classes=[...] in their order, or "
            "response.names in its configuration"
        )
    names = {name: number for number, name in enumerate(classes)}
    if len(names) < len(classes):
        raise OptionError("a class name stands twice; names have to be different")
    return names
