"""Tests of registered models: found by fingerprint, the newest has the alias `candidate`."""

from __future__ import annotations

from typing import Any

from bessemer.tracking import registry
from bessemer.tracking.records import read_run


def aliases(recorded: Any) -> dict[str, str]:
    return {name: str(version) for name, version in recorded.client.get_registered_model("toy-base").aliases.items()}


def test_versions_and_aliases(recorded: Any, fake_run: Any) -> None:
    fake_run.whole()
    recorded.mirror(fake_run).synchronise()
    first = recorded.client.get_model_version_by_alias("toy-base", "candidate")
    assert first.source == str(fake_run.artifact("pretrain") / "data")
    assert first.tags["bessemer.fingerprint"] == "b" * 32

    stage = next(stage for stage in read_run(fake_run.folder, fake_run.root).stages if stage.name == "pretrain")
    stage.fingerprint = "d" * 32
    registry.register(recorded.client, recorded.uri, "toy", stage, first.run_id)
    assert aliases(recorded) == {"candidate": "2"}

    assert registry.fingerprints(recorded.client, only_aliased=True) == {"d" * 32}
    recorded.client.set_registered_model_alias("toy-base", "champion", "1")
    assert registry.fingerprints(recorded.client, only_aliased=True) == {"b" * 32, "d" * 32}
    assert registry.fingerprints(recorded.client, only_aliased=False) >= {"b" * 32, "d" * 32}
