"""An error passes between processes as JSON and does not change."""

from __future__ import annotations

import json

import pytest

from bessemer import errors
from bessemer.errors import ArtifactDamaged, BessemerError, TrainingDiverged, UsageError


@pytest.mark.parametrize("kind", [BessemerError, UsageError, ArtifactDamaged, TrainingDiverged])
def test_an_error_survives_json(kind: type[BessemerError]) -> None:
    found = errors.from_json(json.loads(json.dumps(errors.to_json(kind("no `x`", hint="set `x`")))))
    assert (type(found), found.message, found.hint, found.exit_code) == (kind, "no `x`", "set `x`", kind.exit_code)


@pytest.mark.parametrize("kind", ["redact", "Mapping", "print", "no such", "__builtins__"])
def test_a_kind_that_is_not_an_error_is_an_unspecific_error(kind: str) -> None:
    found = errors.from_json({"kind": kind, "message": "no", "hint": ""})
    assert type(found) is BessemerError
