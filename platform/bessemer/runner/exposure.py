"""`bessemer doctor --security`: the sockets on which a run listens, and the protection against programs of a model.

A run on this machine binds everything to the loopback interface. This is measured: Ray is started as a run starts it,
and the listening sockets of all its processes are listed. A cluster that was started with `ray start` listens on every
interface, because its nodes must reach each other; its sockets on this machine are listed with advice.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psutil

from bessemer.errors import BessemerError
from bessemer.recipe.recipe import ClusterSettings
from bessemer.runner.cluster import Cluster
from bessemer.runner.doctor import Finding, sandbox_protection

RAY_PROCESSES = ("gcs_server", "raylet", "ray::")
_FIREWALL = (
    "let a firewall pass only the cluster's own nodes to these ports; Ray cannot bind them to one interface, and the "
    "token protects calls but not metrics"
)


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket of a process."""

    process: str
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        address = ipaddress.ip_address(self.host)
        mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:127.0.0.1
        return (mapped or address).is_loopback


def examine() -> Iterator[Finding]:
    """One finding per group of sockets, and one for the sandbox. Starts Ray for some seconds."""
    before = set(listeners(ray_processes()))
    cluster = Cluster(ClusterSettings(object_store_bytes=100 << 20))
    try:
        cluster.start()
        me = psutil.Process()
        own = set(listeners([me, *me.children(recursive=True)]))
    except BessemerError as error:
        yield Finding("error", "a run's sockets", error.message, error.hint)
        own = set()
    finally:
        cluster.stop()
    open_to_all = sorted(_described(found) for found in own if not found.is_loopback)
    if open_to_all:
        yield Finding("warn", "a run's sockets", "reachable from elsewhere: " + ", ".join(open_to_all), _FIREWALL)
    elif own:
        yield Finding("ok", "a run's sockets", f"all {len(own)} are bound to the loopback interface")
    others = sorted(_described(found) for found in before if not found.is_loopback)
    if others:
        yield Finding("warn", "other Ray processes", "reachable from elsewhere: " + ", ".join(others), _FIREWALL)
    yield from sandbox_protection()


def ray_processes() -> list[psutil.Process]:
    """The Ray processes on this machine that this user can see, of any run or cluster."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        name = ((process.info["cmdline"] or [""])[0]).rpartition("/")[2]
        if name.startswith(RAY_PROCESSES):
            found.append(process)
    return found


def listeners(processes: Iterable[psutil.Process]) -> Iterator[Listener]:
    """The listening TCP sockets of the processes. Omits processes of other users."""
    for process in processes:
        try:
            name = (process.cmdline() or [process.name()])[0].rpartition("/")[2]
            for found in process.net_connections(kind="tcp"):
                if found.status == psutil.CONN_LISTEN:
                    yield Listener(name.partition(" ")[0], found.laddr.ip, found.laddr.port)
        except psutil.Error:
            continue


def _described(listener: Listener) -> str:
    host = f"[{listener.host}]" if ":" in listener.host else listener.host
    return f"{listener.process} {host}:{listener.port}"
