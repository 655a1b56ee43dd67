"""What a trusted reverse proxy reports about the request that it passes on: prefix, scheme, host and client.

The `X-Forwarded-…` headers of all other senders are ignored. Of several values the last one counts: the nearest
proxy has written it.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from flask import request

from api.settings import ROOT_PATH

#: In a request's environment: the address of its client, as a trusted proxy reports it.
_CLIENT = "queuecast.client"
_PATH = re.compile(ROOT_PATH)
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_MOST_HOPS = 20
Networks = list[IPv4Network | IPv6Network]


class TrustedProxies:
    """The proxies whose headers count, by their networks."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    def apply(self, environ: dict[str, Any]) -> str:
        """Put scheme, host and client into a request's environment; return the prefix that the proxy names, or ""."""
        if not self._are(environ.get("REMOTE_ADDR", "")):
            return ""
        if (scheme := _last(environ, "PROTO").lower()) in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        if _HOST.fullmatch(host := _last(environ, "HOST")):
            environ["HTTP_HOST"] = host
        environ[_CLIENT] = self._client(environ)
        prefix = _last(environ, "PREFIX").rstrip("/")
        return prefix if _PATH.fullmatch(prefix) else ""

    def _client(self, environ: dict[str, Any]) -> str:
        """Return the last address that is no trusted proxy's: a client can invent those before it."""
        client = str(environ.get("REMOTE_ADDR", ""))
        for each in reversed(_values(environ, "FOR")[-_MOST_HOPS:]):
            if _address(each) is None:
                break
            client = each
            if not self._are(each):
                break
        return client

    def _are(self, address: str) -> bool:
        found = _address(address)
        return found is not None and any(found in network for network in self._networks)


def client_address() -> str:
    """Return the address of the current request's client; behind an untrusted proxy, that of the proxy."""
    return str(request.environ.get(_CLIENT) or request.remote_addr or "")


def _values(environ: dict[str, Any], name: str) -> list[str]:
    return [each.strip() for each in str(environ.get(f"HTTP_X_FORWARDED_{name}", "")).split(",")]


def _last(environ: dict[str, Any], name: str) -> str:
    return _values(environ, name)[-1]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
