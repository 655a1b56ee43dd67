"""Takes the URL of a webhook apart, strictly: what two programs could read differently is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from workers.errors import TargetRefused

MOST_CHARACTERS = 2_048
DEFAULT_PORTS = {"https": 443, "http": 80}
_READABLE = re.compile(r"[!-\[\]-~]*")  # ASCII without spaces, control characters and the backslash
_URL = re.compile(r"(?P<scheme>[A-Za-z]+)://(?P<authority>[^/?#]*)(?P<path>[^#]*)(?P<fragment>#.*)?")
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(:(?P<port>.*))?")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
#: A last part that resolvers take for a number makes the whole name a spelling of an IPv4 address.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart, once: what is checked is what is connected to, with no second reading in between.

    Attributes:
        scheme: `https` or `http`.
        host: a name in lower case, or an address (without brackets).
        port: the one that is connected to.
        path: all that follows, with the query; begins with a slash.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> str | None:
        """The address that the URL names itself; None if it names a host."""
        last = self.host.rpartition(".")[2]
        return self.host if ":" in self.host or last.isdecimal() else None


def read_url(url: str) -> Target:
    """Return the parts of a URL that something could be sent to, whether or not it may.

    Raises:
        TargetRefused: it can't be used; says why.
    """
    if len(url) > MOST_CHARACTERS:
        raise TargetRefused(f"The webhook's URL has {len(url)} characters: it may have {MOST_CHARACTERS}.")
    try:
        return _taken_apart(url)
    except ValueError as error:
        raise TargetRefused(f"The webhook's URL can't be used: {error}.") from error


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


def port_of(text: str) -> int:
    """Return the port that a URL or an entry names.

    Raises:
        ValueError: there is no such port.
    """
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65_536:
        raise ValueError("the port is no number from 1 to 65535")
    return int(text)


def _taken_apart(url: str) -> Target:
    found = _URL.fullmatch(url)
    if found is None or (scheme := found["scheme"].lower()) not in DEFAULT_PORTS:
        raise ValueError("it has to begin with https:// and a host")
    authority = _AUTHORITY.fullmatch(found["authority"])
    if "@" in found["authority"]:
        raise ValueError("it holds a user or a password, which webhooks don't send: the signature proves the sender")
    if found["fragment"] is not None:
        raise ValueError("it has a part after #, which is never sent: leave it out")
    if authority is None:
        raise ValueError("the host is no name and no address")
    host = plain_host(authority["host"])
    if not _READABLE.fullmatch(found["path"]):
        raise ValueError("it holds spaces, backslashes, control or non-ASCII characters: percent-encode them")
    port = DEFAULT_PORTS[scheme] if authority["port"] is None else port_of(authority["port"])
    path = found["path"] if found["path"].startswith("/") else "/" + found["path"]
    return Target(scheme, host, port, path)


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
