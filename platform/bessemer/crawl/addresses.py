"""The network addresses that a crawler may reach: global unicast ones only.

A page can link to `http://169.254.169.254/` or to a name that resolves to `10.0.0.1`. A crawler inside a company's
network or a cloud that followed such a link would publish internal pages. An address is public only if it belongs to
the space that IANA hands out to networks of the internet, and to none of the special-purpose blocks in it. IPv6 has
many ways to write a private IPv4 address (mapped, compatible, translated, 6to4, Teredo, NAT64), and networks differ in
the ones that they route. None of them is public here.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_SPECIAL_IPV4 = [
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # public by number; answered inside Azure, by its wire server
    )
]
"""IANA's IPv4 special-purpose registry (RFC 6890) without its globally reachable blocks, multicast, and class E."""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SPECIAL_IPV6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, deprecated by RFC 7526
        "3ffe::/16",  # returned by the 6bone (RFC 3701)
        "3fff::/20",  # documentation
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as a network without IPv4 sees them (RFC 6052). The prefix for local use (RFC 8215) is not public."""


def is_public(address: str) -> bool:
    """Whether an IP address is a global unicast one. IPv4 addresses that are mapped into IPv6, or translated by NAT64,
    are judged as IPv4 addresses."""
    try:
        number = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(number, IPv6Address) and number.ipv4_mapped is not None:
        number = number.ipv4_mapped
    elif isinstance(number, IPv6Address) and number in _NAT64:
        number = IPv4Address(int(number) & 0xFFFFFFFF)
    if isinstance(number, IPv4Address):
        return not any(number in network for network in _SPECIAL_IPV4)
    return number in _GLOBAL_UNICAST and not any(number in network for network in _SPECIAL_IPV6)


def parse_destination(text: str) -> tuple[str, int, bool]:
    """`127.0.0.1:8000` or `[::1]:8000` -> (address, port, whether to speak plain HTTP to it, `http://127.0.0.1:8000`).

    Raises ValueError for anything else.
    """
    host, _, port = text.removeprefix("http://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        host = str(ip_address(host))  # as the system writes it
    except ValueError:
        port = ""
    if not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"`{text}` is not an address and a port, such as `127.0.0.1:8000`")
    return host, int(port), text.startswith("http://")


def matching_pattern(host: str, patterns: Iterable[str]) -> str | None:
    """The pattern of `connect_to` that covers `host`: the longest one."""
    covering = [p for p in patterns if p == host or (p.startswith("*.") and host.endswith(p[1:]))]
    return max(covering, key=len, default=None)
