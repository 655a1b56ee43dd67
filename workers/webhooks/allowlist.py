"""The allow-list of webhooks: hosts by name, and only public addresses unless their network is allowed.

Which addresses are public is decided by IANA's registries of special addresses, not by the Python release:
`ipaddress.is_global` of Python 3.11 takes multicast, 6to4, NAT64 and the newer documentation networks for global.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from workers.errors import TargetRefused
from workers.platform.http_url import DEFAULT_PORTS, Target, plain_host, port_of, read_url

_PATTERN = re.compile(r"((?P<scheme>https?)://)?(?P<host>\[[^/\[\]]+\]|[^:/\[\]]+)(:(?P<port>[0-9]{1,5}|\*))?")
_ANY = "*"

Address = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

#: https://www.iana.org/assignments/iana-ipv4-special-registry and multicast.
_SPECIAL_IPV4 = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # behind a provider's NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's own services, reachable from each of its machines
        "169.254.0.0/16",  # link-local, and the metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
#: https://www.iana.org/assignments/ipv6-unicast-address-assignments: all assigned networks.
_GLOBAL_IPV6 = IPv6Network("2000::/3")
#: https://www.iana.org/assignments/iana-ipv6-special-registry, inside that.
_SPECIAL_IPV6 = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which reaches any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
#: With DNS64, every IPv4-only host has an address in this network.
_NAT64 = IPv6Network("64:ff9b::/96")


def reached_by(address: Address | str) -> Address:
    """Return the address that a connection to `address` reaches: the IPv4 address inside a mapped or NAT64 one.

    Raises:
        ValueError: the text is not an address.
    """
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return found.ipv4_mapped
        if found in _NAT64:
            return IPv4Address(int(found) & 0xFFFF_FFFF)
    return found


def is_public(address: Address) -> bool:
    """Whether an address, as `reached_by` returns it, is a public address of the internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def networks_of(text: str) -> tuple[IpNetwork, ...]:
    """Return the networks in a text such as `10.1.0.0/16 fd00::/8`, separated by spaces or commas.

    Raises:
        ValueError: an entry is not a network; the message quotes it.
    """
    return tuple(_network_of(each) for each in text.replace(",", " ").split())


def _network_of(text: str) -> IpNetwork:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a network such as 10.1.0.0/16 or fd00::/8") from None


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One entry of the allow-list: `hooks.example.com`, `*.example.org:8443`, `http://hooks.internal:*`, `*`.

    Attributes:
        scheme: https unless the entry begins with `http://`.
        host: a name, an address, `*.` and a name (its subdomains, not the name itself), or `*`.
        port: the default port of the scheme unless the entry ends with one; None allows any.
    """

    scheme: str
    host: str
    port: int | None

    def matches(self, scheme: str, host: str, port: int) -> bool:
        """Whether the pattern matches a target; `host` is as `plain_host` returns it."""
        return self.scheme == scheme and self.port in (None, port) and self._matches_host(host)

    def _matches_host(self, host: str) -> bool:
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return self.host in (_ANY, host)


def patterns_of(text: str) -> tuple[HostPattern, ...]:
    """Return the entries of an allow-list, separated by spaces or commas.

    Raises:
        ValueError: an entry is not a host pattern; the message quotes it and gives the reason.
    """
    return tuple(_pattern_of(each) for each in text.replace(",", " ").split())


def _pattern_of(text: str) -> HostPattern:
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is not a host such as hooks.example.com, *.example.org:8443 or http://10.0.0.5:8080"
        )
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


@dataclass(frozen=True, slots=True)
class Allowlist:
    """The hosts and private networks that the administrator allows."""

    hosts: tuple[HostPattern, ...] = ()
    private_networks: tuple[IpNetwork, ...] = ()

    @classmethod
    def read(cls, hosts: str, private_networks: str = "") -> Self:
        """Parse the two settings.

        Raises:
            ValueError: one of them is invalid; the message gives the reason.
        """
        return cls(patterns_of(hosts), networks_of(private_networks))

    def check_url(self, url: str) -> Target:
        """Return the parts of a URL if webhooks may be sent to it. Makes no DNS query.

        Raises:
            TargetRefused: they may not; the message gives the reason and the remedy.
        """
        target = read_url(url)
        if not any(pattern.matches(target.scheme, target.host, target.port) for pattern in self.hosts):
            raise TargetRefused(
                f"Webhooks to {target.scheme}://{target.authority} are not allowed: use an allowed host, or ask an "
                f"administrator to add it to QUEUECAST_WEBHOOK_HOSTS."
            )
        if target.address is not None:
            self.check_address(target.address)
        return target

    def check_address(self, address: Address | str) -> None:
        """Refuse an address that is neither public nor in an allowed network.

        Raises:
            TargetRefused: the address is refused. The message doesn't contain the address, which may reveal an
                internal network to callers; the attribute does, for logs.
        """
        reached = reached_by(address)
        if is_public(reached) or any(reached in network for network in self.private_networks):
            return
        raise TargetRefused(
            "Webhooks to private addresses are not allowed: use a host that is reachable from the internet, or ask an "
            "administrator to add its network to QUEUECAST_WEBHOOK_PRIVATE_NETWORKS.",
            address=str(address),
        )
