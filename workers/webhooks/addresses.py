"""Which IP addresses are public, by IANA's registries of special addresses and not by the release of Python.

`ipaddress.is_global` follows those registries as they were when Python was released: 3.11 takes multicast, 6to4,
NAT64 and the newer documentation networks for global.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

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
        "168.63.129.16/32",  # Azure's own services, inside each of its machines
        "169.254.0.0/16",  # link-local, and the metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocols
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4's relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
#: https://www.iana.org/assignments/ipv6-unicast-address-assignments: all that is given to anybody.
_GLOBAL_IPV6 = IPv6Network("2000::/3")
#: https://www.iana.org/assignments/iana-ipv6-special-registry, inside that.
_SPECIAL_IPV6 = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocols, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which leads to any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
#: With DNS64, every host that has only IPv4 has an address in this one.
_NAT64 = IPv6Network("64:ff9b::/96")


def reached_by(address: Address | str) -> Address:
    """Return the address that a connection to `address` ends at: the IPv4 address inside a mapped or NAT64 one.

    Raises:
        ValueError: a text that is no address.
    """
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return found.ipv4_mapped
        if found in _NAT64:
            return IPv4Address(int(found) & 0xFFFF_FFFF)
    return found


def is_public(address: Address) -> bool:
    """Whether an address, as `reached_by` returns it, is one that anybody on the internet may have."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def networks_of(text: str) -> tuple[IpNetwork, ...]:
    """Return the networks in a text, such as `10.1.0.0/16 fd00::/8`, with spaces or commas between them.

    Raises:
        ValueError: one of them is none; says which.
    """
    return tuple(_network_of(each) for each in text.replace(",", " ").split())


def _network_of(text: str) -> IpNetwork:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is no network such as 10.1.0.0/16 or fd00::/8") from None
