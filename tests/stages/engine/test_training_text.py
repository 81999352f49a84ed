"""Searches in training text: the personal data of each text, and items that are in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.evaluate.contamination import CheckedItem
from bessemer.fingerprint import content_hash, origin_id
from bessemer.stages.engine.training_text import TrainingPart, contamination, personal_data_in


def test_personal_data_is_that_of_its_own_text() -> None:
    """This holds even if the texts fill several batches."""
    texts = [
        "write to a@b.example",
        "nothing " * 20_000,
        "",
        "Tel. 030 2345678 or +49 30 2345678",
        "c@d.example" + " x" * 90_000,
    ]
    found = [[(piece.kind, piece.characters) for piece in pieces] for pieces in personal_data_in(texts)]
    assert found == [
        [("email", "a@b.example")],
        [],
        [],
        [("phone", "030 2345678"), ("phone", "+49 30 2345678")],
        [("email", "c@d.example")],
    ]


def write(path: Path, texts: dict[str, str], split: str = "test") -> Path:
    rows = [
        {"id": origin_id(url), "text": text, "content_hash": content_hash(text), "url": url, "source": "a"}
        | {"split": split, "metadata": "{}"}
        for url, text in texts.items()
    ]
    write_parquet(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return path


def test_items_with_other_numbers_are_not_contaminated(tmp_path: Path, make_context: Any) -> None:
    """A question of the same form with other numbers is another question, as `dedup` judges it."""
    form = "What is {} + {}? Ann has {} apples and eats {} of them."
    sums = ((27, 82, 5, 2), (31, 40, 9, 4))
    items = [CheckedItem("sums", str(number), form.format(*numbers)) for number, numbers in enumerate(sums)]
    seen = write(tmp_path / "seen.parquet", {"a": "They asked: " + form.format(*sums[0]).upper()}, "train")
    parts = [TrainingPart("documents", seen)]
    rows = contamination(items, parts, ["train"], 0.2, tmp_path / "work", make_context()).to_pylist()
    assert [row["contaminated"] for row in rows] == [True, False]
    assert rows[1]["overlap"] == 0
