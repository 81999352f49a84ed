"""`trace` names the stages that it supports."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.errors import UsageError
from bessemer.runner.tracing import trace


def test_a_run_without_training_on_tokens_is_an_error(execute: Any) -> None:
    run, _ = execute(until="write")
    for stage in (None, "write"):
        with pytest.raises(UsageError, match="has no stage that trains on tokens") as caught:
            trace(run, stage)
        assert caught.value.hint == f"bessemer status {run.name}"
