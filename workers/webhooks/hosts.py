"""The hosts that webhooks may go to, as the allow-list writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

DEFAULT_PORTS = {"https": 443, "http": 80}
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
#: A last part that resolvers take for a number makes the whole name a spelling of an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATTERN = re.compile(r"((?P<scheme>https?)://)?(?P<host>\[[^/\[\]]+\]|[^:/\[\]]+)(:(?P<port>[0-9]{1,5}|\*))?")
_ANY = "*"


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One entry of the allow-list: `hooks.example.com`, `*.example.org:8443`, `http://hooks.internal:*`, `*`.

    Attributes:
        scheme: https unless the entry begins with `http://`.
        host: a name, an address, `*.` and a name (what is below it, not itself), or `*`.
        port: the scheme's own unless the entry ends with one; None is any.
    """

    scheme: str
    host: str
    port: int | None

    def fits(self, scheme: str, host: str, port: int) -> bool:
        """Whether a target is meant; `host` as `plain_host` returns it."""
        return self.scheme == scheme and self.port in (None, port) and self._fits_host(host)

    def _fits_host(self, host: str) -> bool:
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return self.host in (_ANY, host)


def plain_host(text: str) -> str:
    """Return a host of a URL in the one spelling in which it is compared: lower case, an IPv6 address compressed.

    Raises:
        ValueError: it is spelled in a way that one program may read as another host than the next; says which.
    """
    if not text.isascii():  # before it becomes lower case: the sign of kelvin would be a k then
        raise ValueError("the host has other characters than ASCII: write it in its xn-- form")
    host = text.lower()
    if host.startswith("["):
        return _plain_ipv6(host)
    if not _NAME.fullmatch(host):
        raise ValueError("the host is no name of letters, digits, - and dots, without a dot at its end")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _plain_ipv4(host)
    return host


def patterns_of(text: str) -> tuple[HostPattern, ...]:
    """Return the entries of an allow-list, with spaces or commas between them.

    Raises:
        ValueError: one of them is none; says which and why.
    """
    return tuple(_pattern_of(each) for each in text.replace(",", " ").split())


def port_of(text: str) -> int:
    """Return the port that a URL or an entry names.

    Raises:
        ValueError: there is no such port.
    """
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65_536:
        raise ValueError("the port is no number from 1 to 65535")
    return int(text)


def _plain_ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise ValueError("the host is a number: write an IPv4 address as four decimal numbers") from None


def _plain_ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text.removeprefix("[").removesuffix("]")))
    except AddressValueError:
        raise ValueError("the host is no IPv6 address in brackets, without a zone") from None


def _pattern_of(text: str) -> HostPattern:
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no host such as hooks.example.com, *.example.org:8443 or http://10.0.0.5:8080")
    scheme, host, port = found["scheme"] or "https", found["host"], found["port"]
    try:
        if host.startswith("*."):
            host = "*." + plain_host(host[2:])
        elif host != _ANY:
            host = plain_host(host)
        number = None if port == _ANY else port_of(port) if port else DEFAULT_PORTS[scheme]
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    return HostPattern(scheme, host, number)
