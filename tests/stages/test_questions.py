"""questions: reads the sites and the documents, asks about one split, and never about what another split holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bessemer import storage
from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.store import Artifact
from bessemer.docsite.sites import ENTRIES
from bessemer.errors import NothingLeft
from bessemer.fingerprint import content_hash, origin_id
from bessemer.stages import questions

NAMES = ["mean", "median", "mode", "spread", "range", "total", "product", "count"]
MODULES = {"kept": "test", "trained": "train", "copied": "test"}


def entries(module: str) -> list[dict[str, str]]:
    return [
        {
            "url": f"http://x.test/{module}/",
            "module": module,
            "name": f"{module}.{name}",
            "kind": "function",
            "signature": f"{module}.{name}(values)",
            "summary": f"Return for {module} number {number} of the sequence.",
            "doc": "",
        }
        for number, name in enumerate(NAMES)
    ]


def text(module: str) -> str:
    shown = (f"{e['name'].partition('.')[2]}\n{e['signature']}\n{e['summary']} More." for e in entries(module))
    return "\n".join(shown)


@pytest.fixture
def inputs(make_artifact: Callable[..., Any]) -> dict[str, Artifact]:
    """Three modules: one in test, one in train, one of which only a copy of the page is left, in test."""
    site, seal_site = make_artifact("site")
    rows = [row for module in MODULES for row in entries(module)]
    write_parquet(pa.Table.from_pylist(rows, schema=ENTRIES), site.data / "entries.parquet")
    copies = {"http://x.test/latest/copied/": "http://x.test/copied/"}
    storage.write_json(site.data / "site.json", {"copies": copies})
    documents, seal_documents = make_artifact("documents")
    for number, (module, split) in enumerate(MODULES.items()):
        url = f"http://x.test/latest/{module}/" if module == "copied" else f"http://x.test/{module}/"
        row = {"id": origin_id(url), "text": text(module), "content_hash": content_hash(text(module)), "url": url}
        row |= {"source": "x.test", "split": split, "metadata": "{}"}
        write_parquet(pa.Table.from_pylist([row], schema=SCHEMA), documents.data / f"{number:05d}.parquet")
    return {"site": seal_site(), "documents": seal_documents()}


def asked(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pages_in_the_split_are_asked_about_also_where_only_a_copy_was_kept(
    inputs: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    draft, _ = make_artifact("questions")
    questions.run(questions.Config(), inputs, draft, make_context())
    found = asked(draft.data / "test.jsonl")
    assert draft.metrics["data/questions"] == len(found) == 16
    assert {question["module"] for question in found} == {"kept", "copied"}
    assert set(found[0]) == {"id", "url", "module", "query", "choices", "gold"}
    assert [question["id"] for question in found] == sorted({question["id"] for question in found})
    for question in found:
        assert question["query"] + question["choices"][question["gold"]] in text(question["module"])


def test_equal_input_is_equal_bytes(
    inputs: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    written = []
    for name in ("first", "second"):
        draft, _ = make_artifact("questions", name)
        questions.run(questions.Config(num_questions=5), inputs, draft, make_context())
        written.append((draft.data / "test.jsonl").read_bytes())
    assert written[0] == written[1]
    assert written[0].count(b"\n") == 5


def test_a_split_without_questions_is_an_error_that_says_what_to_change(
    inputs: dict[str, Artifact], make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    draft, _ = make_artifact("questions")
    with pytest.raises(NothingLeft, match="split `validation`") as caught:
        questions.run(questions.Config(split="validation"), inputs, draft, make_context())
    assert "larger share" in caught.value.hint
