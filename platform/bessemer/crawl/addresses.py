"""Which network addresses a crawler may reach: public ones only.

A page can link to `http://169.254.169.254/` or to a name that resolves to `10.0.0.1`; a crawler inside a company's
network or a cloud that follows such a link hands out what was never public.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Public by number, but answered inside a cloud: Azure's wire server, Oracle's metadata (and its IANA neighbours).
_SPECIAL = [ip_network("168.63.129.16/32"), ip_network("192.0.0.0/24")]
# Addresses that a translator maps to an IPv4 address (RFC 6052, RFC 8215).
_NAT64 = [ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48")]


def is_public(address: str) -> bool:
    """Whether an IP address is a public unicast one. IPv4 addresses inside IPv6 ones are judged as what they are."""
    try:
        number = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(number, IPv6Address):
        inner = _embedded(number)
        if inner is not None:
            return is_public(str(inner))
    return number.is_global and not number.is_multicast and not any(number in network for network in _SPECIAL)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def parse_destination(text: str) -> tuple[str, int, bool]:
    """`127.0.0.1:8000` or `[::1]:8000` -> (address, port, whether to speak plain HTTP to it, `http://127.0.0.1:8000`).

    Raises ValueError for anything else.
    """
    host, _, port = text.removeprefix("http://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ip_address(host)
    except ValueError:
        port = ""
    if not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"`{text}` is not an address and a port, such as `127.0.0.1:8000`")
    return host, int(port), text.startswith("http://")


def matching_pattern(host: str, patterns: Iterable[str]) -> str | None:
    """The pattern of `connect_to` that covers `host`: the longest one."""
    covering = [p for p in patterns if p == host or (p.startswith("*.") and host.endswith(p[1:]))]
    return max(covering, key=len, default=None)
