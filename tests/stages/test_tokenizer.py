"""tokenizer: trains on the training split or takes a folder as it is; a brought one counts by its content."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
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
    assert f"{folder.vocab_size} tokens, fewer than" in caplog.text, "fewer tokens than asked for is said"


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
    (elsewhere / "tokenizer.json").write_text((elsewhere / "tokenizer.json").read_text() + " ")
    assert tokenizer.outside(tokenizer.Config(path=str(elsewhere))) != tokenizer.outside(brought)
    with pytest.raises(InputError, match="holds no"):
        tokenizer.outside(tokenizer.Config(path=str(tmp_path / "absent")))

    (elsewhere / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        tokenizer.outside(tokenizer.Config(path=str(elsewhere)))


def test_a_sentencepiece_tokenizer_is_found_by_the_plan(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"sentencepiece")
    with pytest.raises(InputError, match="is a SentencePiece model"):
        tokenizer.outside(tokenizer.Config(path=str(tmp_path)))
    unigram = tokenizers.Tokenizer(tokenizers.models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0))
    unigram.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="is not byte-level BPE: it is Unigram"):
        tokenizer.outside(tokenizer.Config(path=str(tmp_path)))
    merged = tokenizers.Tokenizer(tokenizers.models.BPE({"<0x00>": 0, "a": 1}, [], byte_fallback=True))
    merged.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="as SentencePiece makes it"):
        tokenizer.outside(tokenizer.Config(path=str(tmp_path)))


def test_a_chat_template_of_the_recipe_replaces_the_tokenizer_s(
    make_documents: Any, make_artifact: Any, make_context: Any, tmp_path: Path
) -> None:
    documents = make_documents(("train", "apple apple apple"))
    file = tmp_path / "chat.jinja"
    file.write_text(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + ':' + m.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant:' }}{% endif %}"
    )
    _, plain = run(tokenizer.Config(vocab_size=512), documents, make_artifact, make_context(), "plain")
    for number, config in enumerate(
        (
            tokenizer.Config(vocab_size=512, chat_template=str(file)),
            tokenizer.Config(path=str(plain.data), chat_template=str(file)),
        )
    ):
        _, changed = run(config, documents, make_artifact, make_context(), f"changed{number}")
        opened = TokenizerFolder.open(changed.data)
        assert opened.chat_templates == {"default": file.read_text()}
        assert "chat_template" in tokenizer.outside(config)
        assert opened.tokenizer.to_str() == TokenizerFolder.open(plain.data).tokenizer.to_str()
    before = tokenizer.outside(config)
    file.write_text(file.read_text().replace(":", "\n"))
    assert tokenizer.outside(config) != before
    file.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(InputError, match="ends an answer without a special token"):
        tokenizer.outside(config)
    with pytest.raises(InputError, match="cannot be read"):
        tokenizer.outside(tokenizer.Config(path=str(plain.data), chat_template=str(tmp_path / "absent.jinja")))


def test_a_vocabulary_size_for_a_brought_tokenizer_is_refused() -> None:
    with pytest.raises(ValidationError, match="`vocab_size` cannot be set together with `path`"):
        tokenizer.Config(path="somewhere", vocab_size=512)


def test_no_training_document_is_one_clear_error(make_documents: Any, make_artifact: Any, make_context: Any) -> None:
    with pytest.raises(NothingLeft):
        run(tokenizer.Config(), make_documents(("test", "text")), make_artifact, make_context(), "none")
