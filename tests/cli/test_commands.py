"""Every command is there, is documented, and ends with the right exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from bessemer import cli
from bessemer.errors import UsageError


def bessemer(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bessemer", *arguments], capture_output=True, text=True, cwd=folder, check=False
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    command = getattr(import_module(f"bessemer.cli.{cli.COMMANDS[name][0]}"), name)
    assert isinstance(command, click.Command)
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name != "help":
            assert parameter.help or parameter.show_default, f"--{parameter.name} of {name} is not explained"


@pytest.mark.parametrize(("words", "found"), [("bessemer ex", "explain"), ("bessemer run --un", "--until")])
def test_the_shell_completes_commands_and_options(words: str, found: str) -> None:
    asked = {"_BESSEMER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command = [str(Path(sys.executable).with_name("bessemer"))]
    done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True)
    assert done.stdout == f"plain,{found}\n"


def test_a_mistyped_command_is_met_with_the_nearest() -> None:
    done = bessemer("pln", "x")
    assert done.returncode == 2
    assert "did you mean `plan`?" in done.stderr


def test_a_bad_recipe_ends_with_2_and_nothing_on_standard_output(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\nstages:\n  ingst:\n")
    done = bessemer("plan", "recipe.yaml", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean `ingest`?" in done.stderr
    assert "\n\nhint: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--temperature=nan", "--top-p=nan", "--stop="])
def test_what_an_options_type_lets_pass_is_told_too(option: str) -> None:
    with pytest.raises(UsageError, match=f"`{option.partition('=')[0]}` cannot be"):
        cli.bessemer(["generate", "nowhere", "A prompt", option], standalone_mode=False)


def test_a_prompt_that_is_no_text_is_told() -> None:
    with pytest.raises(UsageError, match="is not UTF-8"):
        cli.bessemer(["generate", "nowhere", "caf\udce9"], standalone_mode=False)


def test_an_unreachable_cluster_ends_with_3(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\nstages:\n  ingest: {paths: [data]}\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("hello")
    done = bessemer("submit", "recipe.yaml", "--address", "http://127.0.0.1:9", folder=tmp_path)
    assert done.returncode == 3
    assert "no Ray cluster answers" in done.stderr


def test_no_runs_is_an_answer_with_a_way_on(tmp_path: Path) -> None:
    assert bessemer("runs", folder=tmp_path).returncode == 0
    done = bessemer("status", folder=tmp_path)
    assert done.returncode == 2
    assert "bessemer run RECIPE" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "--storage-path", "s3://bucket/runs"],
        ["report", "--output", "gs://bucket/report.html"],
        ["init", "s3://bucket/mine"],
    ],
)
def test_a_url_is_never_taken_for_a_folder(arguments: list[str], tmp_path: Path) -> None:
    done = bessemer(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "should be a local folder" in done.stderr
    assert not list(tmp_path.iterdir())


def test_suggested_commands_repeat_the_storage_path(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\nstages:\n  ingest: {paths: [a.txt]}\n")
    (tmp_path / "a.txt").write_text("hello")
    made = tmp_path / "made"
    planned = bessemer("plan", "recipe.yaml", "storage_path=made", "--until", "ingest", folder=tmp_path)
    assert planned.stderr.endswith("next: bessemer run recipe.yaml storage_path=made --until ingest\n")
    for name in ("status", "show", "report"):
        done = bessemer(name, *(["RUN", "STAGE"] if name == "show" else []), "--storage-path", "made", folder=tmp_path)
        assert f"hint: start one with `bessemer run RECIPE storage_path={made}`" in done.stderr
    ran = bessemer("run", "recipe.yaml", "storage_path=made", "tracking.register_model=false", folder=tmp_path)
    assert ran.stderr.endswith(f"next: bessemer ui --storage-path {made}\n")
    assert f"bessemer status --storage-path {made} " in next(made.glob("*/report.html")).read_text()
    listed = bessemer("runs", "--storage-path", "made", folder=tmp_path)
    assert f"next: bessemer status --storage-path {made} RUN" in listed.stderr


def test_every_command_reads_the_storage_path_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\nstages:\n  ingest: {paths: [a.txt]}\n")
    (tmp_path / "a.txt").write_text("hello")
    monkeypatch.setenv("BESSEMER_STORAGE_PATH", "made")
    ran = bessemer("run", "recipe.yaml", folder=tmp_path)
    assert ran.stderr.endswith("next: bessemer ui\n")
    assert (tmp_path / "made" / "artifacts" / "ingest").is_dir()
    assert bessemer("runs", folder=tmp_path).stdout.count("x-") == 1


def test_init_copies_a_recipe_and_never_overwrites(tmp_path: Path) -> None:
    assert bessemer("init", str(tmp_path / "mine")).returncode == 0
    assert (tmp_path / "mine" / "recipe.yaml").exists()
    again = bessemer("init", str(tmp_path / "mine"))
    assert again.returncode == 2
    assert "is not empty" in again.stderr


def test_a_plan_warns_of_what_the_rules_do_not_do(tmp_path: Path) -> None:
    recipe = "name: x\nstages:\n  ingest: {paths: [a.txt]}\n  clean: {override: {language: {languages: [gu]}}}\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    (tmp_path / "a.txt").write_text("hello")
    done = bessemer("plan", "recipe.yaml", folder=tmp_path)
    assert done.returncode == 0
    assert "warning: `clean`: `gopher_quality` has no stop words for `gu`" in done.stdout + done.stderr
    printed = json.loads(bessemer("plan", "recipe.yaml", "--json", folder=tmp_path).stdout)
    assert len(printed["warnings"]["clean"]) == 5


def test_gc_is_a_dry_run_until_it_is_confirmed(tmp_path: Path) -> None:
    loose = tmp_path / "runs" / "artifacts" / "clean" / "abc"
    loose.mkdir(parents=True)
    (loose / "part").write_text("text")
    listed = bessemer("gc", folder=tmp_path)
    assert (listed.returncode, str(loose) in listed.stdout) == (0, True)
    assert "nothing was deleted" in listed.stderr
    assert "next: bessemer gc --yes" in listed.stderr
    bessemer("gc", "--budget", "0", folder=tmp_path)
    assert loose.exists(), "no terminal, no confirmation"
    assert bessemer("gc", "--budget", "a lot", folder=tmp_path).returncode == 2
    printed = json.loads(bessemer("gc", "--json", folder=tmp_path).stdout)
    removal = {"folder": str(loose), "bytes": 4, "needed_by": []}
    expected = {"removals": [removal], "removed_bytes": 4, "kept_bytes": 0, "deleted": False, "own_bytes": {}}
    assert (printed, loose.exists()) == (expected, True)
    assert "freed 4 B" in bessemer("gc", "--yes", folder=tmp_path).stderr
    assert not loose.exists()


def test_describe_prints_a_setting_with_type_default_and_meaning() -> None:
    printed = bessemer("describe", "dedup.threshold").stdout
    assert printed.startswith(
        "threshold: number more than 0 and at most 1; default 0.8\n    Minimum Jaccard similarity"
    )


def test_describe_names_an_empty_default() -> None:
    assert "description: text; default empty;" in bessemer("describe", "recipe").stdout


def test_describe_points_to_the_settings_of_each_rule() -> None:
    assert "bessemer describe clean.rules.c4" in bessemer("describe", "clean").stdout
    assert "rules.c4.min_sentences: integer" in bessemer("describe", "clean.rules.c4").stdout


def test_describe_lists_the_stages() -> None:
    found = json.loads(bessemer("describe", "--json").stdout)
    assert {"stage": "dedup", "produces": "documents"}.items() <= next(
        s for s in found if s["stage"] == "dedup"
    ).items()


@pytest.mark.parametrize(("name", "hint"), [("dedupe", "`dedup`"), ("dedup.treshold", "`threshold`")])
def test_describe_suggests_the_nearest_name(name: str, hint: str) -> None:
    refused = bessemer("describe", name)
    assert refused.returncode == 2
    assert f"did you mean {hint}" in refused.stderr


def test_schema_prints_one_json_schema() -> None:
    assert json.loads(bessemer("schema").stdout)["title"] == "A recipe of Bessemer"
