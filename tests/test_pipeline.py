"""The main job from end to end through the command line: local files to an evaluated model, in one process.

The tests check the visible results: exit codes, output, files and MLflow's records.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.home import Home, make_home

from bessemer.runner.plan import load_recipe


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    found = make_home(tmp_path_factory.mktemp("a home"))
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


def test_trace_leads_from_a_step_to_its_documents_and_back(home: Home) -> None:
    documents = json.loads(home("trace", "@last", "--step", "3", "--json").stdout)["documents"]
    assert documents
    for name in (documents[0]["id"], documents[-1]["url"]):
        assert 3 in json.loads(home("trace", "@last", "--document", name, "--json").stdout)["steps"]
    assert "hint: " in home("trace", "@last", "--document", "file:nowhere", code=2).stderr
    assert "steps are counted from 1" in home("trace", "@last", "--step", "10000", code=2).stderr


def test_the_second_run_reuses_everything_and_says_so(home: Home) -> None:
    done = home("run", "recipe.yaml")
    assert "nothing to do: all 7 stages are reused" in done.stderr


def test_the_suggested_command_can_be_pasted_for_a_folder_with_a_blank(home: Home) -> None:
    def suggested(stderr: str) -> list[str]:
        (line,) = [line for line in stderr.splitlines() if line.startswith("next: ")]
        return shlex.split(line.removeprefix("next: ").partition(", or")[0])

    command, verb, model, _ = suggested(home("run", "recipe.yaml").stderr)
    assert (command, verb, Path(model, "config.json").is_file()) == ("bessemer", "generate", True)
    again = suggested(home("generate", model, "The", "--max-new-tokens", "1").stderr)
    assert again[:3] == [command, verb, model]
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


def test_a_checkpoint_from_elsewhere_is_adapted_to_a_domain(home: Home, repository: Path) -> None:
    """`pipelines/domain/checkpoint.yaml`: the model predicts the domain better than before, and general text is
    reported separately."""
    state = json.loads(home("status", "@last", "--json").stdout)
    checkpoint = home.folder / "runs" / state["stages"]["pretrain"]["path"] / "data"
    manuals = home.folder / "manuals"
    manuals.mkdir()
    for number in range(60):
        turns = " ".join(f"Turn valve {number * k % 97} by {k} degrees, then wait." for k in range(3, 25))
        (manuals / f"{number:02d}.txt").write_text(f"Manual of pump {number}. {turns}\n")
    split = "{validation: 0.15, test: 0.15}"
    home(
        "run", str(repository / "pipelines" / "domain" / "checkpoint.yaml"),
        f"base_model.path={checkpoint}", f"tokenizer.path={checkpoint}", "domain.paths=[manuals]",
        "general.paths=[documents]", f"domain.split={split}", f"general.split={split}",
        "domain_clean.rules=[normalise]", "general_clean.rules=[normalise]", "domain_dedup.fuzzy=false",
        "general_dedup.fuzzy=false", "mixed.fuzzy=false",
        "adapt.max_seq_length=32", "adapt.learning_rate=3e-3", "adapt.global_batch_size=4",
        "num_workers=0",
        f"storage_path={home.folder / 'adapted'}",
    )  # fmt: skip
    (scores,) = (home.folder / "adapted").glob("artifacts/evaluate/*/data/scores.json")
    found = {
        (row["model"], row["task"]): row["value"]
        for row in json.loads(scores.read_text())
        if row["metric"] == "bits_per_byte" and row["group"] is None
    }
    assert found["adapt", "domain"] < 0.8 * found["base_model", "domain"]
    assert {task for _, task in found} == {"domain", "general"}


def test_the_domain_recipe_begins_with_the_quickstart(repository: Path) -> None:
    """The first half of the recipe equals the quickstart, except for the questions, so a finished quickstart is reused.
    Both corpora are cleaned by the same rules."""
    quickstart, domain = (
        load_recipe(repository / "pipelines" / name / "recipe.yaml", ()).stages for name in ("quickstart", "domain")
    )
    end = [entry.name for entry in quickstart].index("pretrain") + 1
    shared = [entry for entry in quickstart[:end] if entry.kind != "questions"]
    assert [(e.name, e.config, e.sources) for e in domain[: len(shared)]] == [
        (e.name, e.config, e.sources) for e in shared
    ]
    rules = {entry.name: entry.config for entry in domain if entry.kind == "clean"}
    assert rules["domain_clean"] == rules["clean"]
