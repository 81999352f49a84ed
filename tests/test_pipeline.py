"""The main job from end to end through the command line: local files to an evaluated model, in one process.

What a user sees is checked, not what functions return: exit codes, what is printed, the files, MLflow's records.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

RECIPE = """
name: stories
num_workers: 0
stages:
  ingest: {paths: [documents], split: {validation: 0.15, test: 0.15}}
  clean: {rules: [normalise, pii]}
  dedup:
  tokenizer: {vocab_size: 512}
  tokenize:
  pretrain:
    model:
      {hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, intermediate_size: 64}
    max_seq_length: 32
    num_tokens: 4096
    global_batch_size: 4
    validation_tokens: 1024
  evaluate:
"""
ANIMALS = ("cat", "dog", "owl", "fox", "hen", "bat", "ant", "bee", "cow", "eel")


@dataclass
class Home:
    """A folder with a recipe and documents, where commands are called."""

    folder: Path

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "bessemer", *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done


def make_home(folder: Path) -> Home:
    documents = folder / "documents"
    documents.mkdir(parents=True)
    for number in range(60):
        animal, friend = ANIMALS[number % 10], ANIMALS[number // 10]
        story = f"Story {number}. The {animal} met the {friend} at the river. " * 3
        story += " ".join(f"Then the {ANIMALS[(number * k) % 10]} counted to {number * k}." for k in range(2, 30))
        (documents / f"{number:02d}.txt").write_text(story + f"\nWrite to {animal}@example.org for more.\n")
    (documents / "copy.txt").write_text((documents / "07.txt").read_text())
    (documents / "empty.txt").write_text("")
    (documents / "binary.txt").write_bytes(bytes(range(256)) * 20)
    (folder / "recipe.yaml").write_text(RECIPE)
    return Home(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    found = make_home(tmp_path_factory.mktemp("home"))
    found("run", "recipe.yaml")
    return found


def test_every_document_has_a_verdict_at_every_stage(home: Home) -> None:
    state = json.loads(home("status", "--json").stdout)
    assert state["status"] == "finished"
    for name in ("ingest", "clean", "dedup", "tokenize"):
        counts = json.loads((home.folder / "runs" / state["stages"][name]["path"] / "manifest.json").read_text())[
            "counts"
        ]
        assert counts["documents_in"] + counts["created"] == counts["documents_out"] + counts["removed"] > 0
    assert json.loads(home("show", "@last", "ingest", "--dropped", "--json").stdout)
    (copy,) = json.loads(home("show", "@last", "dedup", "--dropped", "exact_duplicate", "--json").stdout)
    assert copy["rule"] == "exact_duplicate"


def test_explain_tells_the_story_of_a_document(home: Home) -> None:
    (kept, *_) = json.loads(home("show", "@last", "dedup", "--sample", "1", "--json").stdout)
    chapters = json.loads(home("explain", kept["id"], "--json").stdout)["chapters"]
    assert [chapter["stage"] for chapter in chapters] == ["ingest", "clean", "dedup", "tokenize"]
    assert chapters[1]["verdict"] == "changed", "the address was masked"
    assert "@example.org" not in kept["text"]
    assert home("explain", kept["url"]).stdout.startswith(kept["url"])


def test_the_second_run_reuses_everything_and_says_so(home: Home) -> None:
    done = home("run", "recipe.yaml")
    assert "nothing to do: all 7 stages are reused" in done.stderr
    assert home("plan", "recipe.yaml").stdout.count("reuse") == 7


def test_the_model_loads_in_transformers_and_generates_here(home: Home) -> None:
    transformers = pytest.importorskip("transformers")
    state = json.loads(home("status", "--json").stdout)
    folder = home.folder / "runs" / state["stages"]["pretrain"]["path"] / "data"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__name__ == "Qwen3ForCausalLM"
    first = home("generate", "@last", "The cat", "--max-new-tokens", "8", "--seed", "3").stdout
    assert first == home("generate", "@last", "The cat", "--max-new-tokens", "8", "--seed", "3").stdout
    assert first.strip()


def test_mlflow_has_the_run_its_stages_curves_and_model(home: Home) -> None:
    with sqlite3.connect(home.folder / "runs" / "mlflow.db") as database:
        names = [name for (name,) in database.execute("select name from runs where lifecycle_stage = 'active'")]
        curve = database.execute("select count(*) from metrics where key = 'validation/bits_per_byte'").fetchone()[0]
        twice = database.execute(
            "select key, step from metrics group by run_uuid, key, step having count(*) > 1"
        ).fetchall()
        models = [name for (name,) in database.execute("select name from registered_models")]
        inputs = database.execute("select count(*) from inputs").fetchone()[0]
    assert {"ingest", "clean", "dedup", "tokenizer", "tokenize", "pretrain", "evaluate"} <= set(names)
    assert curve >= 2
    assert twice == []
    assert models == ["stories-base"]
    assert inputs > 0


def test_the_report_is_written_with_the_run(home: Home) -> None:
    path = Path(home("report").stdout.strip())
    page = path.read_text()
    assert "exact_duplicate" in page
    assert "<script" not in page


def test_a_changed_setting_runs_only_what_it_can_change(home: Home) -> None:
    plan = json.loads(home("plan", "recipe.yaml", "pretrain.learning_rate=1e-3", "--json").stdout)
    assert [stage["name"] for stage in plan["stages"] if stage["runs"]] == ["pretrain", "evaluate"]


BAD: dict[str, tuple[list[str], int, str]] = {
    "heads that do not divide": (["pretrain.model.num_attention_heads=3"], 2, "num_attention_heads"),
    "a sequence longer than the corpus": (["pretrain.max_seq_length=1000000"], 2, "max_seq_length"),
    "every document filtered away": (["clean.rules=[gopher_quality]"], 1, "the rules removed all"),
    "no such input": (["ingest.paths=[nowhere]"], 1, "does not exist"),
    "an unknown field": (["ingest.pahts=[documents]"], 2, "did you mean `paths`?"),
    "a wrong type": (["tokenizer.vocab_size=many"], 2, "valid integer"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_clear_error_with_a_hint(home: Home, name: str) -> None:
    assignments, code, words = BAD[name]
    done = home("run", "recipe.yaml", *assignments, code=code)
    assert words in done.stderr
    assert "hint: " in done.stderr


def test_mlflow_out_of_reach_does_not_stop_a_run_and_is_caught_up_later(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    done = home("run", "recipe.yaml", "--until", "dedup", "tracking.uri=http://127.0.0.1:9")
    assert "the run goes on" in done.stderr


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    (tmp_path / "file").write_text("")
    done = home("run", "recipe.yaml", "storage_path=/proc/bessemer", code=1)
    assert "storage_path" in done.stderr


def test_a_full_disk_ends_in_one_error_and_the_rest_continues(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """On a file system of one megabyte; needs the right to mount it."""
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


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[str], Any]:
    def damage(stage: str) -> Any:
        home = make_home(tmp_path)
        home("run", "recipe.yaml", "--until", "dedup")
        state = json.loads(home("status", "--json").stdout)
        (part,) = (tmp_path / "runs" / state["stages"][stage]["path"] / "data").glob("*.parquet")
        part.write_bytes(part.read_bytes()[:-100])
        return home

    return damage


def test_a_damaged_artifact_is_detected_and_made_again(damaged: Any) -> None:
    home = damaged("clean")
    done = home("run", "recipe.yaml", "--until", "dedup", code=1)
    assert "--rerun clean" in done.stderr
    again = home("run", "recipe.yaml", "--until", "dedup", "--rerun", "clean")
    assert "dedup: reused" in again.stderr
