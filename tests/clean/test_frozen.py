"""Documents of other splits pass a stage unchanged, in their places, with a verdict."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bessemer.artifacts.documents import SCHEMA, SPLITS
from bessemer.artifacts.ledger import Counts
from bessemer.clean.documents import clean_documents, signal_names
from bessemer.clean.frozen import process_splits
from bessemer.clean.settings import CleanSettings
from bessemer.fingerprint import content_hash, origin_id

SETTINGS = CleanSettings.model_validate({"rules": ["normalise", {"gopher_quality": {"min_words": 5}}]})
ORDER = ["train", "test", "validation", "train", "tune", "test", "train"]


def documents(splits: list[str]) -> pa.Table:
    rows = []
    for number, split in enumerate(splits):
        text = "too short  " if number % 2 else f"this is the text that has {number} words and a bit more of them  "
        row = {"id": origin_id(str(number)), "text": text, "content_hash": content_hash(text), "url": f"file:{number}"}
        rows.append(row | {"source": "a", "split": split, "metadata": "{}"})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def processed(batch: pa.Table, splits: tuple[str, ...]) -> tuple[pa.Table, pa.Table]:
    return process_splits(
        batch, splits, signal_names(SETTINGS.chosen_rules), lambda table: clean_documents(table, SETTINGS)
    )


def test_the_rest_is_frozen() -> None:
    batch = documents(ORDER)
    left, ledger = processed(batch, ("train",))
    frozen = pc.not_equal(batch["split"], "train")
    assert left.filter(pc.not_equal(left["split"], "train")).equals(batch.filter(frozen))
    assert ledger["id"].to_pylist() == batch["id"].to_pylist()
    assert ledger["verdict"].to_pylist() == ["changed", "kept", "kept", "removed", "kept", "kept", "changed"]
    assert Counts.of(left, ledger).removed == 1


@pytest.mark.parametrize("splits", [("train",), ("train", "tune"), SPLITS])
def test_other_documents_are_treated_alike(splits: tuple[str, ...]) -> None:
    batch = documents(ORDER)
    left, ledger = processed(batch, splits)
    expected, verdicts = clean_documents(batch, SETTINGS)
    chosen = pa.array(splits)
    assert left.filter(pc.is_in(left["split"], chosen)).equals(expected.filter(pc.is_in(expected["split"], chosen)))
    mask = pc.is_in(batch["split"], chosen)
    assert ledger.filter(mask).to_pylist() == verdicts.filter(mask).to_pylist()


@pytest.mark.parametrize("order", [["test", "test"], ["train", "train"], []])
def test_batches_of_one_kind(order: list[str]) -> None:
    left, ledger = processed(documents(order), ("train",))
    assert len(ledger) == len(order)
    assert left.schema.equals(SCHEMA)
