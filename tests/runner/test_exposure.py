"""A run on this machine listens on the loopback interface only, and ends with its system processes."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import psutil
import pytest

from bessemer.runner.exposure import Listener, listeners


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("::ffff:10.0.0.7", False),
    ],
)
def test_the_interface_of_a_socket(host: str, is_loopback: bool) -> None:
    assert Listener("raylet", host, 1).is_loopback == is_loopback


def test_listening_sockets_of_a_process_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = [one for one in listeners([psutil.Process()]) if one.port == server.getsockname()[1]]
    assert [one.host for one in found] == ["127.0.0.1"]


def test_ray_binds_to_the_loopback_interface(cluster: Any, ray_session: Any) -> None:
    """Its servers, its workers, and the address by which they call each other."""

    @ray_session.remote(num_cpus=0)
    def address() -> str:
        import ray

        return str(ray.util.get_node_ip_address())

    assert ray_session.get(address.remote()) == "127.0.0.1"
    me = psutil.Process()
    found = list(listeners([me, *me.children(recursive=True)]))
    assert {"raylet", "gcs_server"} <= {one.process for one in found}
    assert [one for one in found if not one.is_loopback] == []


def test_a_store_of_training_workers_binds_to_the_loopback_interface() -> None:
    code = """
import datetime, psutil, socket
from bessemer.stages.engine.loopback import bind_stores_to_loopback
bind_stores_to_loopback()
bind_stores_to_loopback()  # a group that is started again
from torch.distributed.rendezvous import _create_c10d_store
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
timeout = datetime.timedelta(seconds=30)
store = _create_c10d_store("127.0.0.1", port, 0, 1, timeout)
store.set("a", "b")
assert _create_c10d_store("127.0.0.1", port, 1, 2, timeout).get("a") == b"b"
from bessemer.runner.exposure import listeners
print([(one.host, one.port == port) for one in listeners([psutil.Process()])])
"""
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed == "[('127.0.0.1', True)]\n"


DIES = """
import os, signal, threading, time
from bessemer.recipe.recipe import ClusterSettings
from bessemer.runner.cluster import Cluster
from ray._private import worker
cluster = Cluster(ClusterSettings(object_store_bytes=100 << 20))
said = []
heard = threading.Event()
cluster.on_death = lambda error: (said.append(error), heard.set())
cluster.start()
assert cluster.death() is None
(victim,) = worker._global_node.all_processes[{kind!r}]
os.kill(victim.process.pid, signal.SIGKILL)
began = time.monotonic()
assert heard.wait(60)
print(said[0].message, said[0].abrupt, cluster.death() is not None, flush=True)
cluster.stop()
assert time.monotonic() - began < 60
os._exit(0)
"""


@pytest.mark.parametrize(("kind", "name"), [("raylet", "raylet"), ("gcs_server", "GCS")])
def test_the_death_of_a_system_process_is_noticed(kind: str, name: str) -> None:
    ended = subprocess.run([sys.executable, "-c", DIES.format(kind=kind)], capture_output=True, text=True, timeout=250)
    assert ended.stdout == f"Ray's {name} died (killed by SIGKILL) True True\n", ended.stderr[-2000:]
