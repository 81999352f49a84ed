"""The pages under docs/reference are those that `make docs` writes, and describe every metric and verdict of the code.

`tests/stages/engine/test_metric_names.py` compares the metrics of the stages with the code that records them.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bessemer.align import verdicts as pair_verdicts
from bessemer.artifacts.descriptions import Metric, Reason
from bessemer.crawl import verdicts as crawl_verdicts
from bessemer.crawl.limits import EXPLANATION
from bessemer.evaluate.metric_descriptions import METRICS
from bessemer.extract import verdict as extract_verdicts
from bessemer.stages import load
from bessemer.tokens import conversations, preferences, row_tables

PACKAGE = Path(__file__).parents[1] / "platform" / "bessemer"


def calls(folder: str, *functions: str) -> Iterator[ast.Call]:
    """The calls of these functions in the modules of a folder."""
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in functions:
                yield node


def literals(nodes: Iterator[ast.expr]) -> set[str]:
    """The texts among the expressions and their alternatives (`"a" if b else "c"`)."""
    found = set()
    for node in nodes:
        parts = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
        found |= {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return found


def keywords(folder: str, function: str, name: str) -> Iterator[ast.expr]:
    return (word.value for call in calls(folder, function) for word in call.keywords if word.arg == name)


def test_the_reference_is_not_stale(tmp_path: Path, repository: Path) -> None:
    subprocess.run([sys.executable, repository / "docs" / "make_reference.py", tmp_path], check=True)
    written = {path.relative_to(tmp_path): path.read_text("utf-8") for path in tmp_path.rglob("*.md")}
    folder = repository / "docs" / "reference"
    kept = {path.relative_to(folder): path.read_text("utf-8") for path in folder.rglob("*.md")}
    stale = sorted(str(name) for name in written.keys() | kept.keys() if written.get(name) != kept.get(name))
    assert not stale, "run `make docs`"


def test_every_rule_of_the_crawler_is_described() -> None:
    named = literals(call.args[0] for call in calls("crawl", "Failure"))
    named |= literals(call.args[1] for call in calls("crawl", "FetchOutcome") if len(call.args) > 1)
    named |= EXPLANATION.keys()
    assert {"timeout", "robots", "too_deep"} <= named
    assert named - crawl_verdicts.RULES.keys() == set()


def test_every_rule_of_the_readers_is_described() -> None:
    named = literals(call.args[0] for call in calls("extract", "Removed"))
    named |= literals(keywords("extract", "record", "rule"))
    assert {"empty_text", "missing_column", "not_html"} <= named
    assert named == (extract_verdicts.RULES.keys() | extract_verdicts.FILE_RULES.keys()) - {"duplicate_record"}


def test_every_rule_of_rows_and_pairs_is_described() -> None:
    rows = conversations.RULES | preferences.RULES | row_tables.RULES
    assert literals(call.args[0] for call in calls("tokens", "Removed")) == rows.keys() - {"too_long"}
    assert literals(call.args[0] for call in calls("align", "Removed")) == pair_verdicts.RULES.keys()


def test_every_score_of_an_evaluation_is_described() -> None:
    named = literals(call.args[0] for call in calls("evaluate", "mean_score", "ratio_score", "exponential"))
    schema = load("evaluate").config.model_json_schema()
    for kind in schema["$defs"].values():
        items = kind.get("properties", {}).get("metrics", {}).get("items", {})
        named |= set(items.get("enum", [items["const"]] if "const" in items else []))
    assert {"acc", "rougeL", "contaminated", "icat"} <= named
    assert named - METRICS.keys() == {"nats_per_token", "nats_per_item"}, "only the numbers that perplexity comes from"


def test_descriptions_are_sentences() -> None:
    described: list[Metric | Reason] = [
        *METRICS.values(),
        *crawl_verdicts.RULES.values(),
        *pair_verdicts.RULES.values(),
    ]
    described += [*extract_verdicts.RULES.values(), *conversations.RULES.values(), *row_tables.RULES.values()]
    assert [one for one in described if not re.fullmatch(r"([A-Z`]|log2 ).{5,}\.", one.meaning)] == []
