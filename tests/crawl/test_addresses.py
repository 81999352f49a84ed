"""Addresses that are not public are known by number, however they are written."""

from __future__ import annotations

import pytest

from bessemer.crawl.addresses import is_public, matching_pattern, parse_destination

PRIVATE = [
    *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1"),
    *("198.18.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::"),
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo with the client 192.0.2.45
    *("", "localhost", "127.1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808", "172.32.0.1"])
def test_public(address: str) -> None:
    assert is_public(address)


def test_destinations() -> None:
    assert parse_destination("127.0.0.1:8000") == ("127.0.0.1", 8000, False)
    assert parse_destination("http://[::1]:80") == ("::1", 80, True)
    for wrong in ("localhost:80", "127.0.0.1", "127.0.0.1:x", ":80", "127.0.0.1:99999999999"):
        with pytest.raises(ValueError, match="is not an address and a port"):
            parse_destination(wrong)


def test_the_longest_pattern_wins() -> None:
    patterns = ["*.test", "*.docs.test", "docs.test"]
    hosts = ["a.docs.test", "docs.test", "b.test", "test", "other.example"]
    assert [matching_pattern(host, patterns) for host in hosts] == ["*.docs.test", "docs.test", "*.test", None, None]
