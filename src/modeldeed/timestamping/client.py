"""Asking an authority over the network; everything else about timestamps works offline."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
from typing import TYPE_CHECKING, Any

from modeldeed.errors import MissingExtraError, ModelDeedError, OptionError
from modeldeed.suspects.answering.urls import checked_url, is_private_line, without_query
from modeldeed.timestamping.query import Query
from modeldeed.timestamping.tokens import MAX_TOKEN_BYTES

if TYPE_CHECKING:
    import httpx

__all__ = ["AuthorityUnreachable", "post"]

_SENDS, _TAKES = "application/timestamp-query", "application/timestamp-reply"


class AuthorityUnreachable(ModelDeedError, OSError):  # noqa: N818 - says what is so
    """A timestamp authority that gave no usable answer; nothing was verified or refuted."""


def post(
    url: str,
    request: bytes,
    *,
    timeout: float = 20.0,
    transport: httpx.BaseTransport | None = None,
) -> bytes:
    """Send a request to an authority.

    What comes back is not verified: give it to `check`, with the request. Authorities that are
    reached by plain http only can be asked with other tools, see docs/timestamps.md.

    Args:
        url: its address; https, or any that stays on this machine.
        request: DER of a TimeStampReq, as `request` makes it.
        timeout: seconds for all of it.
        transport: replaces the network, for tests.

    Returns:
        The response, at most 64 KiB.

    Raises:
        MissingExtraError: httpx is not installed.
        OptionError: the address is malformed or not encrypted, or the timeout no positive number.
        EvidenceError: the request is none.
        AuthorityUnreachable: no connection, no answer in time, a redirect, a refusal, an answer
            of another type or of more than 64 KiB.
    """
    if not (math.isfinite(timeout) and timeout > 0):
        raise OptionError(f"timeout must be a positive number of seconds, got {timeout}")
    try:
        address = checked_url(url)
    except ValueError as error:
        raise OptionError(f"the authority's address {url!r}: {error}") from error
    if not is_private_line(address):
        raise OptionError(
            f"the authority's address {without_query(address)} is not encrypted; use https, or "
            "send the request file with another tool and accept the response file"
        )
    Query.from_der(request)
    return _Call(address, timeout, transport).send(request)


class _Call:
    """One request, which ends in time whatever the other side does."""

    def __init__(self, address: str, timeout: float, transport: httpx.BaseTransport | None) -> None:
        self._httpx = _httpx()
        self._address, self._timeout, self._transport = address, timeout, transport
        self._label = without_query(address)
        self._line: Any = None  # the network stream of the connection
        self._late = False

    def send(self, request: bytes) -> bytes:
        # Every byte restarts the connection's own timeout, those of headers too.
        watch = threading.Timer(self._timeout, self._cut)
        watch.daemon = True
        watch.start()
        try:
            with self._httpx.Client(
                timeout=self._timeout,
                transport=self._transport,
                trust_env=False,  # neither proxies nor .netrc of the surroundings
                follow_redirects=False,  # whoever is asked is who was named
                headers={"Accept": _TAKES, "Accept-Encoding": "identity"},
            ) as client:
                return self._answer(client, request)
        except (self._httpx.HTTPError, self._httpx.InvalidURL) as error:
            late = self._late or isinstance(error, self._httpx.TimeoutException)
            why = f"no answer within {self._timeout:g} s" if late else type(error).__name__
            raise AuthorityUnreachable(
                f"{self._label} gave no answer: {why}; try again, or ask another authority"
            ) from None
        finally:
            watch.cancel()

    def _answer(self, client: httpx.Client, request: bytes) -> bytes:
        with client.stream(
            "POST",
            self._address,
            content=request,
            headers={"Content-Type": _SENDS},
            extensions={"trace": self._note_line},
        ) as response:
            if response.is_redirect:
                raise AuthorityUnreachable(
                    f"{self._label} leads elsewhere (status {response.status_code}); redirects "
                    "are not followed: put the address where it leads into the trust file"
                )
            if response.status_code != 200:
                raise AuthorityUnreachable(
                    f"{self._label} answers with status {response.status_code}"
                )
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            coding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if kind != _TAKES or coding != "identity":
                raise AuthorityUnreachable(
                    f"{self._label} answers with type {kind[:80]!r} in coding {coding[:40]!r}, "
                    f"not with {_TAKES}; is it the address of a timestamp authority?"
                )
            return self._read(response)

    def _read(self, response: httpx.Response) -> bytes:
        said = response.headers.get("Content-Length", "")
        data = bytearray()
        if said.isascii() and said.isdigit() and len(said) < 20 and int(said) > MAX_TOKEN_BYTES:
            raise AuthorityUnreachable(
                f"{self._label} announces {said} bytes, over the {MAX_TOKEN_BYTES} taken"
            )
        for part in response.iter_bytes():
            data += part
            if len(data) > MAX_TOKEN_BYTES:
                raise AuthorityUnreachable(
                    f"{self._label} sends more than the {MAX_TOKEN_BYTES} bytes taken"
                )
        if self._late:  # a cut looks like the end of an answer without a length
            raise AuthorityUnreachable(
                f"{self._label} gave no whole answer within {self._timeout:g} s"
            )
        return bytes(data)

    def _note_line(self, event: str, facts: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._line = facts["return_value"]

    def _cut(self) -> None:
        """End a request that took too long: whoever waits for a byte gets none."""
        self._late = True
        with contextlib.suppress(OSError):
            if self._line is not None:
                self._line.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _httpx() -> Any:
    try:
        import httpx  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError("httpx", "http") from error
    return httpx
