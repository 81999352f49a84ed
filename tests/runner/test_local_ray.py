"""Protects: a Ray that does not start on this machine is an error with its reason, and leaves no variables behind."""

from __future__ import annotations

import os
from typing import Any

import pytest

from bessemer.errors import ClusterUnreachable
from bessemer.runner.local_ray import LocalRay


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            Exception(
                "The current node timed out during startup. This could happen because the GCS is overloaded.\nMore"
            ),
            "Ray does not start on this machine: The current node timed out during startup. This could happen because "
            "the GCS is overloaded",
        ),
        (TimeoutError(), "Ray does not start on this machine: TimeoutError"),
    ],
)
def test_a_failed_start_is_an_error_with_a_hint(
    raised: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**options: Any) -> None:
        raise raised

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    before = dict(os.environ)
    with pytest.raises(ClusterUnreachable) as found:
        LocalRay({}, lambda error: None).start()
    assert found.value.message == message
    assert "bessemer doctor" in found.value.hint
    assert dict(os.environ) == before
