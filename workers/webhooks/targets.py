"""Where webhooks may go: an allow-list of hosts, and no address that isn't public unless its network is allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from workers.errors import TargetRefused
from workers.webhooks.addresses import Address, IpNetwork, is_public, networks_of, reached_by
from workers.webhooks.hosts import DEFAULT_PORTS, HostPattern, patterns_of, plain_host, port_of

MOST_CHARACTERS = 2_048
_READABLE = re.compile(r"[!-\[\]-~]*")  # ASCII without spaces, control characters and the backslash
_URL = re.compile(r"(?P<scheme>[A-Za-z]+)://(?P<authority>[^/?#]*)(?P<path>[^#]*)(?P<fragment>#.*)?")
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(:(?P<port>.*))?")


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


@dataclass(frozen=True, slots=True)
class Targets:
    """What the administrator allows."""

    hosts: tuple[HostPattern, ...] = ()
    private_networks: tuple[IpNetwork, ...] = ()

    @classmethod
    def read(cls, hosts: str, private_networks: str = "") -> Self:
        """Return what two settings allow.

        Raises:
            ValueError: one of them can't be read; says what is wrong.
        """
        return cls(patterns_of(hosts), networks_of(private_networks))

    def check_url(self, url: str) -> Target:
        """Return the parts of a URL that webhooks may be sent to; asks no DNS.

        Raises:
            TargetRefused: they may not; says why and what to do.
        """
        target = read_url(url)
        if not any(pattern.fits(target.scheme, target.host, target.port) for pattern in self.hosts):
            raise TargetRefused(
                f"Webhooks may not go to {target.scheme}://{target.authority}: take a host that is allowed, or have an "
                f"administrator add it to QUEUECAST_WEBHOOK_HOSTS."
            )
        if target.address is not None:
            self.check_address(target.address)
        return target

    def check_address(self, address: Address | str) -> None:
        """Refuse an address that is not public, unless it is in an allowed network.

        Raises:
            TargetRefused: it is refused. The text doesn't name the address: it may tell callers of a network
                that is none of their business. The attribute does, for logs.
        """
        reached = reached_by(address)
        if is_public(reached) or any(reached in network for network in self.private_networks):
            return
        raise TargetRefused(
            "Webhooks may not go to an address that is not public: take a host that is reached from the internet, or "
            "have an administrator add its network to QUEUECAST_WEBHOOK_PRIVATE_NETWORKS.",
            address=str(address),
        )


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
