"""Opens connections to public addresses and to destinations in the recipe, and keeps them open between requests.

The address is checked before the socket connects, and again as the address of the connected peer. So neither a
redirect, nor a name that resolves differently the second time (DNS rebinding), nor an address that the system replaces
(`::` is `::1`) gets past the check. `connect_to` sends hosts elsewhere, as curl's option of that name does:
`{"*.test": "127.0.0.1:8000"}`. URLs, robots rules and records keep the host's own name. A destination
`http://127.0.0.1:8000` is contacted without TLS, also for `https` URLs: a copy of a site, served locally. A destination
is for its hosts only: a redirect from another host to `http://127.0.0.1:8000/` is refused.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bessemer.crawl.addresses import is_public, matching_pattern, parse_destination

DNS_CACHE_SECONDS = 300.0
IDLE_SECONDS = 15.0
CONNECT_SECONDS = 10.0

_Address = tuple[Any, ...]
"""As `getaddrinfo` returns it: family, kind, protocol, canonical name, socket address."""


class PrivateAddress(OSError):
    """A refused connection to an address that is not public."""


class UnknownHost(OSError):
    """A name that the name service does not know."""


@dataclass
class Connection:
    """A connection to one host."""

    key: tuple[str, int, bool]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_reused: bool = False
    idle_since: float = 0.0

    def close(self) -> None:
        self.writer.transport.abort()


class Connections:
    """Opens connections, and keeps at most `limit` idle ones. Belongs to one event loop."""

    def __init__(self, connect_to: Mapping[str, str], *, allow_private: bool, limit: int) -> None:
        self._destinations = {pattern.lower(): parse_destination(place) for pattern, place in connect_to.items()}
        self._allow_private = allow_private
        self._limit = limit
        self._idle: list[Connection] = []
        self._known: dict[tuple[str, int], tuple[float, Sequence[_Address]]] = {}
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])

    async def __aenter__(self) -> Connections:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # lets the transports close

    async def open(self, host: str, port: int, *, tls: bool, fresh: bool = False) -> Connection:
        """An idle connection to the host if there is one (and `fresh` is not set), else a new one.

        Raises OSError: PrivateAddress, UnknownHost, ssl.SSLError, or that of the last address tried.
        """
        pattern = matching_pattern(host, self._destinations)
        if pattern is not None:
            place, port, plain = self._destinations[pattern]
            tls = tls and not plain
        else:
            place = host.removeprefix("[").removesuffix("]")
        key = (host, port, tls)
        if not fresh and (idle := self._take_idle(key)):
            return idle
        failed: OSError | None = None
        for address in await self._resolve(place, port):
            try:
                made = await self._connect(address, named=pattern is not None)
                try:
                    reader, writer = await asyncio.open_connection(
                        sock=made, ssl=self._tls if tls else None, server_hostname=host.strip("[]") if tls else None
                    )
                except BaseException:
                    made.close()
                    raise
                return Connection(key, reader, writer)
            except OSError as error:
                failed = error
            except ValueError as error:  # `https://.example.com/`: a URL may hold names that TLS cannot
                failed = UnknownHost(f"not a host name: {error}")
        assert failed is not None
        raise failed

    def keep(self, connection: Connection) -> None:
        """Takes back a connection whose response was read to its end."""
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        while len(self._idle) > self._limit or self._idle[0].idle_since < connection.idle_since - IDLE_SECONDS:
            self._idle.pop(0).close()

    def _take_idle(self, key: tuple[str, int, bool]) -> Connection | None:
        for connection in [idle for idle in self._idle if idle.key == key]:
            self._idle.remove(connection)
            is_fresh = time.monotonic() - connection.idle_since < IDLE_SECONDS
            if is_fresh and not connection.reader.at_eof() and not connection.writer.is_closing():
                connection.is_reused = True
                return connection
            connection.close()
        return None

    async def _resolve(self, host: str, port: int) -> Sequence[_Address]:
        known = self._known.get((host, port))
        if known and time.monotonic() - known[0] < DNS_CACHE_SECONDS:
            return known[1]
        loop = asyncio.get_running_loop()
        try:
            found: Sequence[_Address] = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise UnknownHost(getattr(error, "strerror", None) or str(error)) from error
        self._known[host, port] = (time.monotonic(), found)
        return found

    async def _connect(self, place: _Address, *, named: bool) -> socket.socket:
        """Connects to an address. A private one needs a permission for all hosts, or a destination for this host."""
        family, kind, protocol, _, address = place
        is_wanted = self._allow_private or named
        if not is_wanted:
            _check(address)
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(made, address)
            if not is_wanted:
                _check(made.getpeername())
        except TimeoutError as error:
            made.close()
            raise TimeoutError("no connection in time") from error
        except BaseException:
            made.close()
            raise
        return made


def _check(address: tuple[Any, ...]) -> None:
    """Raises PrivateAddress for a socket address that is not public."""
    if not is_public(address[0]):
        raise PrivateAddress(f"`{address[0]}` is not a public address")
