"""Connections that reach only public addresses, or those that the recipe names.

The check stands where the socket is made, on the very address that is connected to, so neither a redirect nor a name
that resolves differently the second time (DNS rebinding) gets past it. `connect_to` sends hosts elsewhere, as curl's
option of that name does: `{"*.test": "127.0.0.1:8000"}`. URLs, robots rules and records keep the host's own name. A
destination `http://127.0.0.1:8000` is spoken to without TLS, also for `https` URLs: a copy of a site, served locally.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from bessemer.crawl.addresses import is_public, matching_pattern, parse_destination

DNS_CACHE_SECONDS = 300


class PrivateAddress(OSError):
    """A connection to an address that is not public, refused."""


def connector(connect_to: Mapping[str, str], *, allow_private: bool, limit: int) -> TCPConnector:
    """An aiohttp connector with at most `limit` connections. To be called inside the event loop."""
    destinations = {pattern.lower(): parse_destination(place) for pattern, place in connect_to.items()}
    named = {(host, port) for host, port, _ in destinations.values()}

    def make_socket(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allow_private and not is_public(address[0]) and address[:2] not in named:
            raise PrivateAddress(f"`{address[0]}` is not a public address")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    return TCPConnector(
        resolver=_Resolver(destinations),
        socket_factory=make_socket,
        ttl_dns_cache=DNS_CACHE_SECONDS,
        limit=limit,
        happy_eyeballs_delay=None,
    )


def without_tls(connect_to: Mapping[str, str]) -> Callable[[str], bool]:
    """Tells whether a host is spoken to in plain HTTP whatever its URLs say."""
    plain = {pattern.lower(): parse_destination(place)[2] for pattern, place in connect_to.items()}
    return lru_cache(maxsize=4096)(lambda host: plain.get(matching_pattern(host, plain) or "", False))


class _Resolver(AbstractResolver):
    def __init__(self, destinations: Mapping[str, tuple[str, int, bool]]) -> None:
        self._destinations = destinations
        self._names = ThreadedResolver(asyncio.get_running_loop())

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        pattern = matching_pattern(host, self._destinations)
        if pattern is None:
            return await self._names.resolve(host, port, family)
        address, port, _ = self._destinations[pattern]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        await self._names.close()
