"""Makes the process group of training workers on one machine reachable only from that machine.

The workers find each other through torch's TCPStore, which listens on every interface without a password (torch 2.13,
https://github.com/pytorch/pytorch/issues/86962). TCPStore accepts a socket that already listens, so rank 0 passes it a
socket bound to 127.0.0.1. Gloo and NCCL read their interface from the environment (`runner.local_ray`).
"""

from __future__ import annotations

import importlib
import socket
from typing import Any

from ray.train.torch.config import TorchConfig, _TorchBackend

LOOPBACK = "127.0.0.1"


class LoopbackTorchConfig(TorchConfig):  # type: ignore[misc]
    """Ray Train's configuration of torch, with a TCPStore on the loopback interface."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        return _LoopbackBackend


class _LoopbackBackend(_TorchBackend):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(bind_stores_to_loopback)
        super().on_start(worker_group, backend_config)


def bind_stores_to_loopback() -> None:
    """Makes every TCPStore that this process serves listen on the loopback interface."""
    rendezvous: Any = importlib.import_module("torch.distributed.rendezvous")  # torch hides it behind a function
    store: Any = importlib.import_module("torch.distributed").TCPStore

    def make(**options: Any) -> Any:
        if options["is_master"]:
            listener = socket.create_server((LOOPBACK, options["port"]))
            options["master_listen_fd"] = listener.detach()  # the store closes it
        return store(**options)

    rendezvous.TCPStore = make
