"""Suggested commands find the runs that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.commands import VARIABLE, default_storage_path, with_storage_path

ROOT = Path("/data/my runs")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("next: bessemer status RUN", "next: bessemer status --storage-path '/data/my runs' RUN"),
        ("`bessemer runs` lists the runs", "`bessemer runs --storage-path '/data/my runs'` lists the runs"),
        ("bessemer gc x --yes", "bessemer gc --storage-path '/data/my runs' x --yes"),
        ("start with `bessemer run RECIPE`", "start with `bessemer run RECIPE storage_path='/data/my runs'`"),
        ("bessemer run a.yaml --until x", "bessemer run a.yaml --until x"),
        ("bessemer trace --help", "bessemer trace --help"),
        ("bessemer generate '/a b/data' PROMPT", "bessemer generate '/a b/data' PROMPT"),
        ("bessemer logs job --address http://h:1", "bessemer logs job --address http://h:1"),
        ("bessemer chat @last --storage-path x", "bessemer chat @last --storage-path x"),
        ("the bessemer shows statuses", "the bessemer shows statuses"),
    ],
)
def test_a_suggested_command_repeats_the_storage_path(text: str, expected: str) -> None:
    assert with_storage_path(text, ROOT) == expected
    assert with_storage_path(f"{text}\nbessemer ui", ROOT).endswith("\nbessemer ui --storage-path '/data/my runs'")


def test_the_default_storage_path_is_not_repeated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert with_storage_path("bessemer status", tmp_path / "runs") == "bessemer status"
    monkeypatch.setenv(VARIABLE, "other")
    assert default_storage_path() == "other"
    assert with_storage_path("bessemer status", tmp_path / "other") == "bessemer status"
    assert "--storage-path" in with_storage_path("bessemer status", tmp_path / "runs")
