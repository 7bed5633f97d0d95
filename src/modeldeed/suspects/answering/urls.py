"""Addresses that a configuration may hold: plain, absolute, without secrets."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, parse_qsl, urlsplit

from modeldeed.suspects.answering.secret import looks_secret

__all__ = ["checked_proxy", "checked_url", "is_private_line", "without_query"]

_PORTS = {"http": 80, "https": 443}


def checked_url(url: str) -> str:
    """The address in one spelling: lower-case scheme and host, no default port.

    Raises:
        ValueError: it is no absolute http(s) address, or holds a user, a fragment or a secret.

    Example:
        >>> checked_url("HTTPS://Models.Example:443/infer?version=2")
        'https://models.example/infer?version=2'
    """
    parts = _plain(url)
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if looks_secret(name):
            raise ValueError(
                f"its query field {name} looks like a secret; send it as a header, with auth"
            )
    return SplitResult(
        parts.scheme, _host_and_port(parts), parts.path or "/", parts.query, ""
    ).geturl()


def checked_proxy(url: str) -> str:
    """The address of a proxy.

    Raises:
        ValueError: it is no absolute http(s) address, or holds more than host and port.
    """
    parts = _plain(url)
    if parts.path not in ("", "/") or parts.query:
        raise ValueError("a proxy is scheme, host and port, for example http://proxy.example:3128")
    return f"{parts.scheme}://{_host_and_port(parts)}"


def is_private_line(url: str) -> bool:
    """Whether nobody else can listen: the connection is encrypted or stays on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def without_query(url: str) -> str:
    """The address as reports show it."""
    return url.partition("?")[0]


def _plain(url: str) -> SplitResult:
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("an address holds printable ASCII characters only; encode others with %")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("an address begins with http:// or https:// and a host")
    if "@" in parts.netloc:
        raise ValueError(
            "it holds a user or password; remove them, and name the secret's place with auth"
        )
    if parts.fragment:
        raise ValueError("it holds a fragment (#...), which no server gets to see")
    _ = parts.port  # raises for a port that is none
    return parts


def _host_and_port(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
