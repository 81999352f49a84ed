"""Protects: a run that attaches to a cluster fails in seconds if the cluster is not there."""

from __future__ import annotations

import socket

import pytest
from pydantic import ValidationError

from bessemer.errors import ClusterUnreachable
from bessemer.recipe.recipe import ClusterSettings
from bessemer.runner.cluster import Cluster


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
