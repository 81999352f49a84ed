"""Held-out texts have equal digests only if their documents are equal. Texts are found by the id of the document."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.evaluate.held_out_text import digests, document_texts, documents_file, text_digests
from bessemer.evaluate.kinds.bits_per_byte import BitsPerByte
from bessemer.evaluate.kinds.samples import Samples
from bessemer.fingerprint import content_hash, origin_id


def write(path: Path, texts: dict[str, str], split: str = "test") -> Path:
    rows = [
        {"id": origin_id(url), "text": text, "content_hash": content_hash(text), "url": url, "source": "a"}
        | {"split": split, "metadata": "{}"}
        for url, text in texts.items()
    ]
    write_parquet(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return path


def test_digests_are_equal_for_equal_text_only(tmp_path: Path) -> None:
    one = write(tmp_path / "one.parquet", {"a": "first", "b": "second"})
    turned = [write(tmp_path / "x.parquet", {"b": "second"}), write(tmp_path / "y.parquet", {"a": "first"})]
    other = write(tmp_path / "other.parquet", {"a": "first", "b": "changed"})
    fewer = write(tmp_path / "fewer.parquet", {"a": "first"})
    train = write(tmp_path / "train.parquet", {"c": "third"}, "train")
    expected = digests([one], ["test"])
    assert digests([*turned, train], ["test"]) == expected
    assert digests([other], ["test"]) != expected
    assert digests([fewer], ["test"]) != expected
    assert digests([one, train], ["train", "test"])["train"] != expected["test"]


def test_every_text_that_a_task_predicts_has_a_digest(tmp_path: Path) -> None:
    """Tasks on the same split share a digest. A task without held-out text has none."""
    documents = [write(tmp_path / "documents.parquet", {"a": "first", "b": "second"})]
    write(documents_file(tmp_path, "named"), {"c": "third"})
    tasks = {
        "one": BitsPerByte(kind="bits_per_byte"),
        "two": BitsPerByte(kind="bits_per_byte", stride=2),
        "named": BitsPerByte(kind="bits_per_byte", documents=("c.jsonl",)),
        "samples": Samples(kind="samples"),
    }
    found = text_digests(tasks, documents, tmp_path)
    assert found.keys() == {"test", "documents of named"}
    assert found["test"] == digests(documents, ["test"])["test"] != found["documents of named"]
    assert text_digests(tasks, None, tmp_path).keys() == {"documents of named"}


def test_texts_are_found_by_the_id_of_their_document(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{name}.parquet", {name: f"text {name}", "x" + name: "other"}) for name in "ab"]
    assert document_texts([origin_id("a"), origin_id("b")], parts) == {
        origin_id("a"): "text a", origin_id("b"): "text b",
    }  # fmt: skip
