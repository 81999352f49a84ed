"""tokenizer: trains on the training split or takes a folder as it is; a brought one counts by its content."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.store import Artifact
from bessemer.errors import InputError, NothingLeft
from bessemer.fingerprint import content_hash, origin_id
from bessemer.stages import tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder


@pytest.fixture
def make_documents(make_artifact: Callable[..., Any]) -> Callable[..., Artifact]:
    def make(*texts: tuple[str, str]) -> Artifact:
        draft, seal = make_artifact("documents")
        rows = [
            {
                "id": origin_id(str(number)),
                "text": text,
                "content_hash": content_hash(text),
                "url": f"file:{number}",
                "source": "test",
                "split": split,
                "metadata": "{}",
            }
            for number, (split, text) in enumerate(texts)
        ]
        write_parquet(SCHEMA.empty_table().from_pylist(rows, schema=SCHEMA), draft.data / "00000.parquet")
        return seal()

    return make


def run(config: tokenizer.Config, documents: Artifact, make_artifact: Any, context: Any, name: str) -> Any:
    draft, seal = make_artifact("tokenizer", name)
    tokenizer.run(config, {"documents": documents}, draft, context)
    return draft, seal()


def test_only_the_training_split_is_learnt_from(
    make_documents: Any, make_artifact: Any, make_context: Any, caplog: pytest.LogCaptureFixture
) -> None:
    documents = make_documents(("train", "apple apple apple"), ("test", "zebra zebra zebra"))
    with caplog.at_level(logging.WARNING, "test"):
        draft, artifact = run(tokenizer.Config(vocab_size=512), documents, make_artifact, make_context(), "one")
    folder = TokenizerFolder.open(artifact.path)
    assert len(folder.encode("apple")) == 1
    assert len(folder.encode("zebra")) > 2
    assert draft.resolved == {"vocab_size": folder.vocab_size}
    assert f"{folder.vocab_size} tokens only" in caplog.text, "fewer tokens than asked for is said"


def test_a_brought_tokenizer_is_taken_as_it_is_and_counts_by_content(
    make_documents: Any, make_artifact: Any, make_context: Any, tmp_path: Path
) -> None:
    documents = make_documents(("train", "apple apple apple"))
    _, trained = run(tokenizer.Config(vocab_size=512), documents, make_artifact, make_context(), "trained")
    brought = tokenizer.Config(path=str(trained.data))
    _, taken = run(brought, documents, make_artifact, make_context(), "brought")
    assert taken.manifest.digest == trained.manifest.digest

    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(trained.data, elsewhere)
    assert tokenizer.outside(tokenizer.Config(path=str(elsewhere))) == tokenizer.outside(brought)
    (elsewhere / "tokenizer.json").write_text("{}")
    assert tokenizer.outside(tokenizer.Config(path=str(elsewhere))) != tokenizer.outside(brought)
    with pytest.raises(InputError, match="holds no"):
        tokenizer.outside(tokenizer.Config(path=str(tmp_path / "absent")))


def test_a_vocabulary_size_for_a_brought_tokenizer_is_refused() -> None:
    with pytest.raises(ValidationError, match="`vocab_size` cannot be set together with `path`"):
        tokenizer.Config(path="somewhere", vocab_size=512)


def test_no_training_document_is_one_clear_error(make_documents: Any, make_artifact: Any, make_context: Any) -> None:
    with pytest.raises(NothingLeft):
        run(tokenizer.Config(), make_documents(("test", "text")), make_artifact, make_context(), "none")
