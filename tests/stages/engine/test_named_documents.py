"""Documents that a task of `evaluate` names by path: read whole, the same text for every tokenizer, or an error."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.errors import InputError, NothingLeft
from bessemer.evaluate.held_out_text import token_store
from bessemer.evaluate.kinds.bits_per_byte import BitsPerByte
from bessemer.model.config import ModelShape
from bessemer.model.hub import export_model, load_model
from bessemer.model.transformer import Transformer
from bessemer.stages import evaluate
from bessemer.stages.engine.named_documents import content, read_documents
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.store import TokenStore
from bessemer.tokens.tokenizer import TokenizerFolder

TEXTS = [f"The river {number} rises in the hills and ends in the sea, naïve as it is." for number in range(9)]


def task(*documents: Path, **settings: Any) -> BitsPerByte:
    return BitsPerByte(kind="bits_per_byte", documents=tuple(map(str, documents)), **settings)


def read(found: BitsPerByte, folder: Path) -> list[dict[str, Any]]:
    read_documents("fixed", found.predicted_text, folder / "read.parquet", logging.getLogger("test"))
    rows: list[dict[str, Any]] = pq.read_table(folder / "read.parquet").to_pylist()
    return rows


@pytest.mark.parametrize("form", ["jsonl", "parquet", "folder", "csv"])
def test_every_format_of_documents_is_read(form: str, tmp_path: Path) -> None:
    place = tmp_path / f"held.{form}"
    if form == "jsonl":
        place.write_text("".join(json.dumps({"body": text}) + "\n" for text in TEXTS))
    elif form == "parquet":
        pq.write_table(pa.table({"body": TEXTS}), place)
    elif form == "csv":
        place.write_text("body\n" + "".join(f'"{text}"\n' for text in TEXTS))
    else:
        place.mkdir()
        for number, text in enumerate(TEXTS):
            (place / f"{number}.txt").write_text(text)
    rows = read(task(place, text_field="body"), tmp_path)
    assert [row["text"] for row in rows] == TEXTS
    assert {row["split"] for row in rows} == {"test"}


def test_the_content_counts_and_not_the_place(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("The same text.")
    here, there = (content(task(tmp_path / name).predicted_text) for name in ("here", "there"))
    assert here == there
    (tmp_path / "there" / "a.txt").write_text("Another text.")
    assert content(task(tmp_path / "there").predicted_text) != here
    with pytest.raises(InputError, match="nowhere") as caught:
        content(task(tmp_path / "nowhere.jsonl").predicted_text)
    assert "`documents` of the task" in caught.value.hint


def test_text_that_cannot_be_read_is_an_error_and_an_empty_row_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "A text."}\n{"other": 1}\n{"text": "More."}\n')
    with caplog.at_level(logging.INFO):
        assert len(read(task(tmp_path / "rows.jsonl"), tmp_path)) == 2
    assert "reads 2 documents (1 removed by `missing_text`)" in caplog.text
    with pytest.raises(NothingLeft, match="hold no document: 3 removed by `missing_text`"):
        read(task(tmp_path / "rows.jsonl", text_field="body"), tmp_path)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"the task `fixed` cannot read `damaged\.parquet`"):
        read(task(tmp_path / "damaged.parquet"), tmp_path)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="`documents` have no splits"):
        BitsPerByte(kind="bits_per_byte", documents=("a",), split="validation")
    with pytest.raises(ValidationError, match="`text_field` is a field of `documents`"):
        BitsPerByte(kind="bits_per_byte", text_field="body")


def make_model(folder: Path, vocab_size: int) -> TokenizerFolder:
    tokenizer = TokenizerFolder.trained(train_tokenizer(TEXTS, vocab_size=vocab_size))
    tokenizer.save(folder)
    shape = ModelShape(size="nano", num_hidden_layers=1).resolve(vocab_size=tokenizer.vocab_size, max_seq_length=32)
    model = Transformer(shape)
    model.initialise(0)
    export_model(model, folder, stop_ids=[tokenizer.end_of_text_id])
    return tokenizer


def test_models_with_different_tokenizers_predict_the_same_bytes(
    tmp_path: Path, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    """Nothing but the named files is needed; the nats are those of the model on the whole text."""
    (tmp_path / "held.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    draft, seal = make_artifact("model")
    make_model(draft.data, 300)
    make_model(tmp_path / "other", 270)
    tasks = {"fixed": {"kind": "bits_per_byte", "documents": [str(tmp_path / "held.jsonl")]}}
    config = evaluate.Config(tasks=tasks, models={"other": str(tmp_path / "other")})
    assert evaluate.outside(config)["fixed"][0][0] == "held.jsonl"
    inputs = {"model/pretrain": seal()}
    evaluate.check(config, inputs)
    scores, _ = make_artifact("scores")
    evaluate.run(config, inputs, scores, make_context())
    for name in ("other", "pretrain"):
        items = pq.read_table(scores.data / "items" / name / "fixed.parquet").to_pylist()
        # The first token of the stream has no text before it and is not predicted.
        lengths = [len(text.encode()) for text in TEXTS]
        assert [item["num_bytes"] for item in items][1:] == lengths[1:]
        assert lengths[0] - 4 <= items[0]["num_bytes"] < lengths[0]
    assert set(scores.resolved["held_out_text"]) == {"documents of fixed"}

    model, tokenizer = load_model(inputs["model/pretrain"].data), TokenizerFolder.open(inputs["model/pretrain"].data)
    ids = [id for text in TEXTS for id in [*tokenizer.encode(text), tokenizer.end_of_text_id]]
    stream = torch.tensor(ids)
    nats, sizes = 0.0, 0
    for start in range(0, len(ids) - 1, 32):
        window = stream[start : start + 33]
        found = model.requires_grad_(False)(window[None, :-1], targets=window[None, 1:], reduction="none")[0]
        of_text = torch.from_numpy(tokenizer.token_bytes[window[1:].numpy()])
        nats += float((found * (of_text > 0)).sum())
        sizes += int(of_text.sum())
    expected = nats / math.log(2) / sizes
    assert scores.metrics["evaluate/fixed/bits_per_byte"] == pytest.approx(expected, rel=1e-4)


def test_named_documents_that_were_trained_on_are_contaminated(
    tmp_path: Path, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    (tmp_path / "held.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS[:2]))
    draft, seal_model = make_artifact("model")
    make_model(draft.data, 300)
    draft, seal_documents = make_artifact("documents")
    row = {"id": "d", "text": TEXTS[1], "content_hash": "", "url": "d", "source": "a", "split": "train"}
    write_parquet(pa.Table.from_pylist([row | {"metadata": "{}"}], schema=SCHEMA), draft.data / "00000.parquet")
    config = evaluate.Config(tasks={"fixed": {"kind": "bits_per_byte", "documents": [str(tmp_path / "held.jsonl")]}})
    scores, _ = make_artifact("scores")
    inputs = {"model/pretrain": seal_model(), "documents": seal_documents()}
    evaluate.run(config, inputs, scores, make_context())
    found = pq.read_table(scores.data / "contamination.parquet").to_pylist()
    assert sorted((row["task"], row["overlap"] == 1.0, row["document"]) for row in found) == [
        ("fixed", False, "d"), ("fixed", True, "d"),
    ]  # fmt: skip


def test_more_tokens_than_a_split_are_predicted_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bessemer.evaluate.evaluated_model import EvaluatedModel
    from bessemer.evaluate.kinds import bits_per_byte as module
    from bessemer.evaluate.materials import Materials

    make_model(tmp_path / "model", 300)
    (tmp_path / "held.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    monkeypatch.setattr(module, "SPLIT_TOKENS", 32)
    subject = EvaluatedModel.load(tmp_path / "model", dtype=torch.float32, device=torch.device("cpu"))
    found = task(tmp_path / "held.jsonl")
    read(found, tmp_path)
    store = TokenStore.open(token_store(tmp_path / "read.parquet", subject.tokenizer, tmp_path / "tokens"))
    counted = [
        sum(one.score(Materials(subject, store)).items["num_tokens"].to_pylist())
        for one in (found, BitsPerByte(kind="bits_per_byte"), task(tmp_path / "held.jsonl", num_tokens=64))
    ]
    assert counted[0] == store.num_tokens("test") - len(TEXTS) - 1, "all but the ends of texts and the first token"
    assert counted[1] <= 32 < counted[2] <= 64
