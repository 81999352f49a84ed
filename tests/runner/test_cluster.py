"""Protects: a run that attaches to a cluster fails in seconds if the cluster is not there or refuses the token."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from pydantic import ValidationError

from bessemer.errors import ClusterUnreachable
from bessemer.recipe.recipe import ClusterSettings
from bessemer.runner.cluster import Cluster, current_token


@pytest.fixture
def unattached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the Ray that other tests of this session may have started."""
    monkeypatch.setattr("ray.is_initialized", lambda: False)


@pytest.mark.usefixtures("unattached")
@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "localhost:{}"])
def test_a_closed_port_is_an_error_at_once(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ClusterUnreachable, match="no Ray cluster answers at"):
        Cluster(ClusterSettings(address=form.format(port))).start()


@pytest.mark.parametrize("address", ["http://head:8265", "head", "head:", "", "ray://head", "head:port", "a b:1"])
def test_an_address_that_ray_cannot_attach_to_is_found_in_the_recipe(address: str) -> None:
    with pytest.raises(ValidationError, match="must be `host:6379`"):
        ClusterSettings(address=address)


@pytest.mark.parametrize("address", [None, "auto", "head:6379", "10.0.0.1:6379", "[::1]:6379", "ray://head:10001"])
def test_addresses_of_clusters_are_accepted(address: str | None) -> None:
    assert ClusterSettings(address=address).address == address


@pytest.fixture
def guarded() -> Iterator[str]:
    """The address of a server that answers like Ray's GCS, and accepts only the token `right`."""
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    class Service(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):  # type: ignore[misc]
        def GetClusterId(self, request: Any, context: Any) -> Any:  # noqa: N802  the name in the protocol
            if dict(context.invocation_metadata()).get("authorization") != "Bearer right":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return gcs_service_pb2.GetClusterIdReply()

    server = grpc.server(ThreadPoolExecutor(2))
    gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.usefixtures("unattached")
@pytest.mark.parametrize(
    ("token", "said"), [("wrong", "refuses the token"), (None, "asks for a token, and none is set")]
)
def test_a_refused_token_is_an_error_at_once(
    guarded: str, monkeypatch: pytest.MonkeyPatch, token: str | None, said: str
) -> None:
    """Ray itself would retry for 20 seconds."""
    monkeypatch.setattr("bessemer.runner.cluster.current_token", lambda: token)
    began = time.monotonic()
    with pytest.raises(ClusterUnreachable, match=said):
        Cluster(ClusterSettings(address=guarded)).start()
    assert time.monotonic() - began < 10


def test_the_right_token_passes_to_ray(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bessemer.runner import cluster

    monkeypatch.setattr(cluster, "current_token", lambda: "right")
    cluster._refuse_wrong_token(guarded)


def test_a_port_of_another_program_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    from bessemer.runner import cluster

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        cluster._refuse_wrong_token(f"127.0.0.1:{server.getsockname()[1]}")


def test_the_token_is_found_where_ray_looks(tmp_path: Any) -> None:
    (tmp_path / "token").write_text("from a file\n")
    file = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    assert current_token(file) == "from a file"
    assert current_token({**file, "RAY_AUTH_TOKEN": " given "}) == "given"
    assert current_token({**file, "RAY_AUTH_MODE": "disabled"}) is None
