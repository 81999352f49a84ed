"""instructions: the questions of a split are about its own documentation; held-out text is in no other split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.stages.test_questions import NAMES, entries, text

from bessemer import storage
from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.store import Artifact
from bessemer.docsite.sites import ENTRIES
from bessemer.errors import NothingLeft
from bessemer.fingerprint import content_hash, origin_id
from bessemer.stages import instructions
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder

MODULES = {"tuned": "tune", "measured": "validation", "asked": "test", "trained": "train"}


@pytest.fixture
def make_inputs(make_artifact: Callable[..., Any]) -> Callable[..., dict[str, Artifact]]:
    def make(modules: dict[str, str], also: str = "") -> dict[str, Artifact]:
        site, seal_site = make_artifact("site")
        write_parquet(
            pa.Table.from_pylist([row for module in modules for row in entries(module)], schema=ENTRIES),
            site.data / "entries.parquet",
        )
        storage.write_json(site.data / "site.json", {"copies": {}})
        documents, seal_documents = make_artifact("documents")
        for number, (module, split) in enumerate(modules.items()):
            shown = text(module) + (f"\n{also}" if split == "train" else "")
            row = {"id": origin_id(module), "text": shown, "content_hash": content_hash(shown), "metadata": "{}"}
            row |= {"url": f"http://x.test/{module}/", "source": "x.test", "split": split}
            write_parquet(pa.Table.from_pylist([row], schema=SCHEMA), documents.data / f"{number:05d}.parquet")
        tokenizer, seal_tokenizer = make_artifact("tokenizer")
        TokenizerFolder.trained(train_tokenizer([text("tuned")] * 3, 512)).save(tokenizer.data)
        return {"site": seal_site(), "documents": seal_documents(), "tokenizer": seal_tokenizer()}

    return make


def run(inputs: Any, make_artifact: Any, make_context: Any, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
    draft, seal = make_artifact("conversations", f"conversations-{len(settings)}")
    instructions.run(instructions.Config(**settings), inputs, draft, make_context())
    return draft, [row for part in seal().parts() for row in pq.read_table(part).to_pylist()]


def test_each_split_is_asked_about_itself(make_inputs: Any, make_artifact: Any, make_context: Any) -> None:
    leaked = entries("asked")[0]["summary"]
    draft, rows = run(make_inputs(MODULES, leaked), make_artifact, make_context)
    assert Counter(row["split"] for row in rows) == {"tune": 8, "validation": 8, "test": 7}
    for row in rows:
        module = {split: module for module, split in MODULES.items()}[row["split"]]
        (asked, answered) = row["messages"]
        assert f"of `{module}`" in asked["content"]
        assert answered["content"].startswith(f"Return for {module} number")
        assert any(f"`{name}(values)`" in asked["content"] for name in NAMES)
        assert row["learned"][-1]
        assert answered["content"] != leaked, "a line of the training text is no test"
    assert len({row["messages"][0]["content"] for row in rows}) == len(rows)
    assert draft.metrics["data/test_conversations"] == 7


def test_fewer_are_taken_where_fewer_are_wanted(make_inputs: Any, make_artifact: Any, make_context: Any) -> None:
    _, rows = run(make_inputs(MODULES), make_artifact, make_context, num_conversations=3)
    assert Counter(row["split"] for row in rows) == {"tune": 3, "validation": 3, "test": 3}


def test_without_documents_to_tune_on_it_says_so(make_inputs: Any, make_artifact: Any, make_context: Any) -> None:
    with pytest.raises(NothingLeft, match="documents of the split `tune`"):
        run(make_inputs({"asked": "test", "trained": "train"}), make_artifact, make_context)
