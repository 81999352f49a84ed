"""Bad input and machine faults give one clear error with a hint and the right exit code, or verdicts. No data is lost.

The tests use the real command line. The test files of stages and readers cover the damage specific to each.
"""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.home import Home, make_home

from bessemer.artifacts.pages import PageWriter


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home in which the data stages are finished, so each case runs only later stages."""
    found = make_home(tmp_path_factory.mktemp("home"))
    found("run", "recipe.yaml", "--until", "tokenize")
    return found


BAD: dict[str, tuple[list[str], int, str]] = {
    "heads that do not divide": (["pretrain.model.num_attention_heads=3"], 2, "num_attention_heads"),
    "a sequence longer than the corpus": (["pretrain.max_seq_length=1000000"], 2, "max_seq_length"),
    "every document filtered away": (["clean.rules=[gopher_quality]"], 1, "the rules removed all"),
    "no such input": (["ingest.paths=[nowhere]"], 1, "does not exist"),
    "an unknown field": (["ingest.pahts=[documents]"], 2, "did you mean `paths`?"),
    "a wrong type": (["tokenizer.vocab_size=many"], 2, "valid integer"),
    "a stage that is not there": (["evaluate.from=[train]"], 2, "not a stage above it"),
    "a loop": (["ingest.from=[dedup]"], 2, "a stage can only use stages above it"),
    "adapters of a new model": (["pretrain.lora={}"], 2, "stage `pretrain`: `lora` adapts an existing model"),
    "a loss that is no number": (["pretrain.learning_rate=1e30", "pretrain.gradient_clip=null"], 1, "diverged"),
    "an input of a kind that is not consumed": (["pretrain.from=[ingest]"], 2, "does not consume documents"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_clear_error_with_a_hint(home: Home, name: str) -> None:
    assignments, code, words = BAD[name]
    done = home("run", "recipe.yaml", *assignments, code=code)
    assert words in done.stderr
    assert "hint: " in done.stderr


def test_a_recipe_with_a_field_twice_names_both_lines(home: Home) -> None:
    (home.folder / "twice.yaml").write_text("name: x\nseed: 1\nseed: 2\nstages:\n  ingest: {paths: [documents]}\n")
    done = home("plan", "twice.yaml", code=2)
    assert "twice.yaml:3" in done.stderr
    assert "seed" in done.stderr


def test_no_seed_reachable(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "name: x\nnum_workers: 0\nstages:\n"
        "  crawl: {seeds: ['http://127.0.0.1:9/'], allow_private_addresses: true, delay_seconds: 0}\n"
    )
    done = Home(tmp_path)("run", "recipe.yaml", code=1)
    assert "no page could be crawled" in done.stderr
    assert "hint: check that the site is up" in done.stderr


def test_what_cannot_be_read_has_a_verdict_and_the_rest_is_kept(tmp_path: Path) -> None:
    """The inputs are files that are empty, truncated, binary or not JSON, a line of 100 MB, and a truncated WARC
    file."""
    home = make_home(tmp_path)
    documents = tmp_path / "documents"
    line = json.dumps({"text": "word " * 20_000_000})
    (documents / "huge.txt").write_text("word " * 20_000_000)
    (documents / "huge.jsonl").write_text(f'{{"text": "Before the long line."}}\n{line}\n{{"text": "And after it."}}\n')
    stories = gzip.compress("\n".join(json.dumps({"text": f"Story {n} " * 9}) for n in range(1000)).encode())
    (documents / "cut.jsonl.gz").write_bytes(stories[: len(stories) // 2])
    (documents / "no.jsonl").write_bytes(b"\x00\xff\xfe{{{\n\n[1,2]\n")
    with PageWriter(documents / "cut.warc.gz", software="test", user_agent="test") as writer:
        for n in range(20):
            body = f"<html><body><p>{'A page about the owl and the fox. ' * 9}{n}</p></body></html>".encode()
            headers = [("Content-Type", "text/html")]
            writer.write(f"http://a.test/{n}", 200, "OK", headers, body, datetime(2026, 1, 1, tzinfo=UTC))
    archive = (documents / "cut.warc.gz").read_bytes()
    (documents / "cut.warc.gz").write_bytes(archive[: len(archive) * 3 // 4])

    home("run", "recipe.yaml", "--until", "clean")
    dropped = json.loads(home("show", "@last", "ingest", "--dropped", "--sample", "100", "--json").stdout)
    rules = {row["url"]: row["rule"] for row in dropped}
    assert rules["file:huge.txt"] == rules["file:huge.jsonl#2"] == "too_large"
    assert rules["file:empty.txt"] == "empty_text"
    assert rules["file:binary.txt"] == "undecodable"
    assert rules["file:no.jsonl#1"] == "malformed_json"
    assert any(url.startswith("file:cut.jsonl.gz") and rule == "unreadable_file" for url, rule in rules.items())
    assert any(url.startswith("http://a.test/") and rule == "damaged_record" for url, rule in rules.items())
    kept = json.loads(home("show", "@last", "ingest", "--sample", "10000", "--json").stdout)
    urls = {row["url"] for row in kept}
    assert {"file:huge.jsonl#1", "file:huge.jsonl#3", "http://a.test/0"} <= urls


def test_a_port_in_use(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = home("ui", "--port", str(taken.getsockname()[1]), code=2)
    assert "hint: choose another `--port`" in done.stderr


def test_mlflow_out_of_reach_does_not_stop_a_run_and_is_caught_up_later(tmp_path: Path) -> None:
    """The server starts after the first run. The second run records both runs."""
    home = make_home(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    done = home("run", "recipe.yaml", "--until", "dedup", f"tracking.uri={uri}")
    assert "this does not affect the run" in done.stderr
    first = json.loads(home("runs", "--json").stdout)[0]["run"]
    with mlflow_server(tmp_path, port):
        home("run", "recipe.yaml", "--until", "tokenizer", f"tracking.uri={uri}")
        from mlflow import MlflowClient

        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("stories")
        assert experiment is not None
        names = {run.info.run_name for run in client.search_runs([experiment.experiment_id])}
        assert first in names


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[None]:
    arguments = ["server", "--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--port", str(port)]
    arguments += ["--artifacts-destination", str(folder / "server-artifacts"), "--workers", "1"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "mlflow", *arguments], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    (tmp_path / "file").write_text("")
    done = home("run", "recipe.yaml", "storage_path=/proc/bessemer", code=1)
    assert "storage_path" in done.stderr


def test_a_full_disk_ends_in_one_error_and_the_rest_continues(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Runs on a file system of one megabyte. Skipped without the permission to mount it."""
    home = make_home(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", small], check=True))
    (small / "ballast").write_bytes(b"0" * 980_000)
    arguments = ("run", "recipe.yaml", "--until", "ingest", f"storage_path={small}")
    done = home(*arguments, code=1)
    assert "no space left" in done.stderr
    (small / "ballast").unlink()
    home(*arguments)
