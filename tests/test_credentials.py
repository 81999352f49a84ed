"""Protects: no password or token of a URL reaches a file, a log or the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.home import Home

from bessemer.credentials import redact, redact_all
from bessemer.errors import UsageError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ann:pa55@mlflow.test:5000/x", "https://ann:***@mlflow.test:5000/x"),
        ("postgresql+psycopg2://ann:pa55@db/mlflow", "postgresql+psycopg2://ann:***@db/mlflow"),
        ("postgresql://ann@db/mlflow", "postgresql://ann@db/mlflow"),
        ("https://ghp_token@github.test/x.git", "https://***@github.test/x.git"),
        ("https://ann:p@ss:w@rd@host/", "https://ann:***@host/"),
        ("https://:pa55@host/", "https://:***@host/"),
        ("bessemer run 'tracking.uri=http://a:b@h:1' x=1", "bessemer run 'tracking.uri=http://a:***@h:1' x=1"),
        ("s3://bucket/key?X-Amz-Signature=0af&X-Amz-Date=1", "s3://bucket/key?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://h/x?sv=1&sig=abc%3D", "https://h/x?sv=1&sig=***"),
        ("https://h/x?access_token=abc#top", "https://h/x?access_token=***#top"),
        ("two: http://a:b@h and http://c:d@i", "two: http://a:***@h and http://c:***@i"),
        ("https://h/@user and me@example.org", "https://h/@user and me@example.org"),
        ("https://h/path?next=a@b", "https://h/path?next=a@b"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
    ],
)  # fmt: skip
def test_credentials_are_replaced_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs", "Z", "Cc"], exclude_characters="/?#'\"`<>@"), min_size=1)
)
def test_no_password_survives(password: str) -> None:
    assert redact(f"http://ann:{password}@host/") == "http://ann:***@host/"


def test_nested_settings_are_redacted_without_touching_other_values() -> None:
    settings = {"uri": "http://a:b@h", "list": ["http://a:b@h", 1, None], "rate": 0.1}
    assert redact_all(settings) == {"uri": "http://a:***@h", "list": ["http://a:***@h", 1, None], "rate": 0.1}
    assert settings["uri"] == "http://a:b@h"


def test_an_error_never_carries_a_password() -> None:
    error = UsageError("no server at `http://a:b@h`", hint="open http://a:b@h")
    assert "a:b" not in str(error)
    assert (error.message, error.hint) == ("no server at `http://a:***@h`", "open http://a:***@h")


def test_a_run_leaves_the_password_of_its_tracking_server_nowhere(tmp_path: Path) -> None:
    """The server does not answer, so the address also reaches the warnings and MLflow's own errors."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "one.txt").write_text("One document is enough to see what a run writes.\n")
    recipe = "name: one\nnum_workers: 0\ntracking: {uri: 'http://ann:pa55word@127.0.0.1:9'}\n"
    (tmp_path / "recipe.yaml").write_text(recipe + "stages:\n  ingest: {paths: [documents]}\n")
    done = Home(tmp_path)("run", "recipe.yaml", "tracking.uri=http://ann:pa55word@127.0.0.1:9")
    assert "ann:***@127.0.0.1:9" in done.stderr
    assert "pa55word" not in done.stdout + done.stderr
    written = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert {"events.jsonl", "resolved.yaml", "report.html", "tracking.json"} <= {path.name for path in written}
    assert not [path for path in written if b"pa55word" in path.read_bytes()]
