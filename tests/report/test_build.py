"""Tests that the report shows a run's results, needs no other file, and escapes the texts that it quotes."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.report.demo_run import NASTY, build_demo_run

from bessemer import cli, storage
from bessemer.artifacts import lease
from bessemer.report.build import build

VOID = {"meta", "br", "hr"}


class Outline(HTMLParser):
    """Text and tags of a document. Fails if tags are not closed in order."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(document)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_demo_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def outline(run_folder: Path) -> Outline:
    return Outline(build(run_folder))


def test_every_section_is_there_with_its_figures(outline: Outline) -> None:
    for said in (
        "A little Python documentation assistant",
        "✓ finished",
        "= reused",
        "874 out, 247 removed",
        "gopher_quality/mean_word_length",
        "measured 2.731; limit 3",
        "Bits per byte on held-out text",
        "0.394 ± 0.022",
        "The statistics module",
        "1 of 2 differences are larger than noise.",
        "pretrain − before -0.065 -0.0807 … -0.0493 60.0% 0.0002",
        "Differences within noise (1)",
        "pretrain − before +0.008 -0.0216 … +0.0376 60.0% 0.62",
        "signatures acc 0.386 ± 0.022 0.394 ± 0.022 0.25 500 3.4% 0.391 ± 0.022 (n = 483)",
        "signatures test:17 52% 13 train http://library.test/",
        "canaries: exposure of secrets (bits)",
        "memorised: tokens repeated before the first mismatch",
        "before is is is the the pretrain provides functions",
        "before acc 0 a file",
        "wanted an iterable of numbers",
        "Glossary",
        "chance Score of random guessing.",
        "bessemer run pipelines/quickstart/recipe.yaml pretrain.learning_rate=2e-2",
        "0.02 USD",
        "6.3M",
    ):
        assert said in outline.text
    targets = {str(attributes["href"])[1:] for tag, attributes in outline.tags if tag == "a"}
    assert targets == {attributes["id"] for tag, attributes in outline.tags if tag == "section"}


def test_the_answer_comes_first_and_in_an_unfinished_run_the_stages(run_folder: Path, tmp_path: Path) -> None:
    def sections(folder: Path) -> list[str | None]:
        return [attributes["id"] for tag, attributes in Outline(build(folder)).tags if tag == "section"]

    assert sections(run_folder) == [
        *("scores", "samples", "data", "training", "stages", "cost", "lineage", "repeat", "glossary"),
    ]
    folder = build_demo_run(tmp_path)
    events = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    (folder / "events.jsonl").write_text("".join(events[:-1]))
    assert sections(folder)[:2] == ["stages", "scores"]


def test_a_running_run_shows_its_elapsed_time(tmp_path: Path) -> None:
    folder = build_demo_run(tmp_path)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    began = datetime.now(UTC) - timedelta(hours=2, minutes=3)
    events[0]["time"] = began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    (folder / "events.jsonl").write_text(json.dumps(events[0]) + "\n")
    with lease.hold(folder, folder.name, waiting=lambda owner: None):
        text = Outline(build(folder)).text
    assert "▸ running" in text
    assert "running for 2h 03m" in text


def test_nothing_is_fetched_and_nothing_runs(outline: Outline, run_folder: Path) -> None:
    assert not {tag for tag, _ in outline.tags} & {"script", "link", "img", "iframe", "object", "form"}
    for _, attributes in outline.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "xlink:href")]
        assert str(attributes.get("href", "#")).startswith("#")
    style = build(run_folder).split("<style>")[1].split("</style>")[0]
    assert "@import" not in style
    assert set(re.findall(r"url\((.*?)\)", style)) == {"#hatching"}


def test_what_it_quotes_is_text_and_names_nobody(outline: Outline) -> None:
    assert NASTY in outline.text
    assert "jane.doe" not in outline.text
    assert "555-2671" not in outline.text
    assert "write to <EMAIL> or call <PHONE>" in outline.text


def test_every_chart_says_what_it_shows(run_folder: Path) -> None:
    document = build(run_folder)
    charts = re.findall(r'<svg viewBox="[^"]*" role="img"[^>]*><title>([^<]+)</title>', document)
    assert any(title.startswith("Loss (nats per token): train/loss (mean of 19 points) from") for title in charts)
    assert any("clean: 1121 in, 0 created, 874 out, 247 removed" in title for title in charts)
    assert len(charts) == document.count('role="img"')
    assert "nan" not in re.sub(r"<title>.*?</title>", "", document.split("</style>")[1]).lower().split()


def test_equal_files_make_an_equal_report(run_folder: Path) -> None:
    assert build(run_folder) == build(run_folder)


def test_a_run_that_only_began_has_a_report(tmp_path: Path) -> None:
    folder = build_demo_run(tmp_path)
    shutil.rmtree(tmp_path / "artifacts")
    events = list(storage.read_lines(folder / "events.jsonl"))
    (folder / "events.jsonl").unlink()
    storage.append_line(folder / "events.jsonl", events[0])
    text = Outline(build(folder)).text
    assert "‖ stopped" in text
    assert "· not run" in text


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    folder = build_demo_run(tmp_path)
    lines = list(storage.read_lines(folder / "events.jsonl"))
    (folder / "events.jsonl").unlink()
    for line in lines[:-2]:
        storage.append_line(folder / "events.jsonl", line)
    ending = {"time": lines[-1]["time"], "error": "training diverged at step 7: \x1b[31m\u202e"}
    storage.append_line(folder / "events.jsonl", {**lines[-2], **ending, "event": "stage_failed"})
    storage.append_line(folder / "events.jsonl", {**ending, "event": "run_failed"})
    text = Outline(build(folder)).text
    assert "✗ failed" in text
    assert r"training diverged at step 7: \x1b[31m\u202e" in text, "control characters are written out"


def test_scores_of_an_evaluation_that_failed_its_requirements_are_shown(tmp_path: Path) -> None:
    folder = build_demo_run(tmp_path)
    lines = list(storage.read_lines(folder / "events.jsonl"))
    (folder / "events.jsonl").unlink()
    for line in lines[:-2]:
        storage.append_line(folder / "events.jsonl", line)
    ending = {"time": lines[-1]["time"], "error": "1 requirement is not met: `signatures/acc` is 0.394 ± 0.022"}
    storage.append_line(folder / "events.jsonl", {**lines[-2], **ending, "event": "stage_failed"})
    (next((tmp_path / "artifacts" / "evaluate").iterdir()) / "manifest.json").unlink()
    text = Outline(build(folder)).text
    assert "1 requirement is not met" in text
    assert "larger than noise" in text


def test_scores_of_one_model_and_of_earlier_versions_are_shown(tmp_path: Path) -> None:
    folder = build_demo_run(tmp_path)
    (data,) = (tmp_path / "artifacts" / "evaluate").glob("*/data")
    table = pq.read_table(data / "scores.parquet")
    own = table.filter(pc.equal(table["model"], "pretrain"))
    pq.write_table(own.drop_columns("model"), data / "scores.parquet")
    for name in ("comparisons.parquet", "contamination.parquet", "samples.jsonl"):
        (data / name).unlink()
    shutil.rmtree(data / "items")
    text = Outline(build(folder)).text
    assert "signatures acc 0.394 ± 0.022" in text
    assert "Differences between models" not in text
    assert "Bars span 1.96 standard errors" in text


def test_a_long_training_makes_no_long_report(tmp_path: Path) -> None:
    assert len(build(build_demo_run(tmp_path, steps=6000))) < 200_000


def test_a_rule_that_removes_most_of_a_source_is_named(tmp_path: Path) -> None:
    folder = build_demo_run(tmp_path)
    artifacts = {path.parent.parent.parent.name: path for path in tmp_path.glob("artifacts/*/*/ledger/*.parquet")}
    ledger = pq.read_table(artifacts["clean"])
    assert "Warning:" not in Outline(build(folder)).text
    removed = ["removed"] * len(ledger)
    rules = ["c4/sentences"] * len(ledger)
    for name, column in (("verdict", removed), ("rule", rules)):
        place = ledger.schema.get_field_index(name)
        ledger = ledger.set_column(place, ledger.schema.field(name), [column])
    pq.write_table(ledger, artifacts["clean"])
    assert re.search(r"Warning: `c4` removes \d+ of \d+ documents of `", Outline(build(folder)).text)


def test_rules_that_skip_a_language_are_shown(tmp_path: Path) -> None:
    folder = build_demo_run(tmp_path)
    (file,) = tmp_path.glob("artifacts/clean/*/manifest.json")
    manifest = json.loads(file.read_text())
    arguments = ["show", folder.name, "clean", "--storage-path", str(tmp_path)]
    assert "skips limits" not in CliRunner().invoke(cli.bessemer, arguments).stdout
    manifest["resolved"]["abstentions"] = {"gopher_quality": {"gu": 12, "br": 3}, "c4": {"gu": 12}}
    file.write_text(json.dumps(manifest))
    text = Outline(build(folder)).text
    assert "Limits that clean skips" in text
    expected = [["12", "gopher_quality", "gu"], ["3", "gopher_quality", "br"], ["12", "c4", "gu"]]
    for number, rule, language in expected:
        assert re.search(rf"{rule}\s*{language}\s*{number}", text)
    for more in ([], ["--dropped"]):
        shown = CliRunner().invoke(cli.bessemer, [*arguments, *more], catch_exceptions=False).stdout
        rows = [line.split() for line in shown.splitlines()]
        assert all(row in rows for row in expected), shown
