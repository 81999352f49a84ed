"""Addresses that are not public are known by number, however they are written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.crawl.addresses import is_public, matching_pattern, parse_destination

PRIVATE = [
    *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1"),
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.1.2.3", "240.0.0.1"),
    "255.255.255.255",
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("fec0::1", "feff::1", "fe00::1", "100::1", "4000::1", "5f00::1", "3fff::1", "3ffe::1", "2001:2::1", "2001:10::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1"),  # mapped
    *("::10.0.0.1", "::127.0.0.1", "::8.8.8.8", "::ffff:0:10.0.0.1", "::ffff:0:127.0.0.1"),  # compatible, translated
    *("64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1"),  # NAT64
    "64:ff9b:1:a00:0:100:808:808",  # NAT64 for local use, 10.0.0.1 by a prefix of 48 bits
    *("2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::", "2002:a9fe:a9fe::"),  # 6to4
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo with the client 192.0.2.45
    "2001:0:4136:e378:0:ffff:f5ff:fffe",  # Teredo with the client 10.0.0.1
    *("", "localhost", "127.1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "172.32.0.1", "192.0.1.1", "223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::808:808"),
        *("2606:4700:4700::1111", "2001:4860:4860::8888", "2400:cb00::1", "2a00:1450::1", "2001:200::1"),
    ],
)
def test_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_only_public_addresses_of_ipv4_are_global_for_python(address: IPv4Address) -> None:
    """Python knows the same registry; some of its versions count fewer blocks as private."""
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_a_private_address_stays_private_in_every_form_of_ipv6(address: IPv4Address) -> None:
    number = int(address)
    forms = {prefix: ip_address(prefix) for prefix in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::")}
    addresses = [IPv6Address(int(prefix) + number) for prefix in forms.values()]
    addresses.append(IPv6Address((0x2002 << 112) + (number << 80)))
    if not is_public(str(address)):
        assert not any(is_public(str(form)) for form in addresses)


def test_destinations() -> None:
    assert parse_destination("127.0.0.1:8000") == ("127.0.0.1", 8000, False)
    assert parse_destination("http://[::1]:80") == ("::1", 80, True)
    assert parse_destination("[0:0::0:1]:80") == ("::1", 80, False)
    for wrong in ("localhost:80", "127.0.0.1", "127.0.0.1:x", ":80", "127.0.0.1:99999999999"):
        with pytest.raises(ValueError, match="is not an address and a port"):
            parse_destination(wrong)


def test_the_longest_pattern_wins() -> None:
    patterns = ["*.test", "*.docs.test", "docs.test"]
    hosts = ["a.docs.test", "docs.test", "b.test", "test", "other.example"]
    assert [matching_pattern(host, patterns) for host in hosts] == ["*.docs.test", "docs.test", "*.test", None, None]
