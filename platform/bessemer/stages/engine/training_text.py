"""Searches the training text for `evaluate`: contaminated test items, and personal data.

It hashes words, including numbers, with the function by which `dedup` verifies pairs, and finds personal data with the
function of `clean`. This module connects these functions to `evaluate`, because the packages for text and the packages
for models must not import each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bessemer.artifacts.documents import read_parquet, write_parquet
from bessemer.artifacts.tables import document_parts
from bessemer.clean.pii import comparable, find_personal_data
from bessemer.clean.texts import Texts, batches
from bessemer.dedup.words import find_words
from bessemer.evaluate.contamination import CheckedItem, Index, Matches, judge, scan
from bessemer.evaluate.materials import GeneratedText
from bessemer.evaluate.ngrams import Hashes, Integers
from bessemer.stages.base import Context, Inputs
from bessemer.stages.engine.work_units import Unit, run_units

KINDS = ("documents", "conversations", "preferences")
"""Kinds of artifact that contain training text."""
_MESSAGES = {"conversations": ("messages",), "preferences": ("prompt", "chosen", "rejected")}


@dataclass(frozen=True)
class TrainingPart:
    """One file of training text."""

    kind: str
    path: Path

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.path.stem}"


def training_parts(inputs: Inputs) -> list[TrainingPart]:
    """Returns every file of training text in the inputs."""
    return [TrainingPart(kind, path) for kind in KINDS if kind in inputs for path in inputs[kind].parts()]


def training_documents(parts: Iterable[TrainingPart], splits: Sequence[str]) -> Iterator[pa.Table]:
    """Yields `id`, `url`, `split` and `text` of the rows in the splits, in bounded batches.

    The text of a conversation is its messages. The text of a preference is its prompt and both answers. The text
    includes tool calls and thoughts as JSON.
    """
    for part in parts:
        columns = _MESSAGES.get(part.kind, ("text",))
        for batch in document_parts(part.path, ["id", "url", "split", *columns]):
            chosen = batch.filter(pc.is_in(batch["split"], pa.array(splits)))
            if not len(chosen):
                continue
            if part.kind in _MESSAGES:
                sides = (chosen[name].to_pylist() for name in columns)
                texts = [_spoken(*messages) for messages in zip(*sides, strict=True)]
                chosen = chosen.select(["id", "url", "split"]).append_column("text", pa.array(texts, pa.large_string()))
            yield chosen


def _spoken(*conversations: Sequence[Mapping[str, str | None]] | None) -> str:
    said = (message[part] for messages in conversations for message in messages or () for part in ("content", "fields"))
    return "\n".join(text for text in said if text)


def personal_data_in(texts: Sequence[str]) -> list[list[GeneratedText]]:
    """Returns the personal data that the rule `pii` finds in each text."""
    found: list[list[GeneratedText]] = [[] for _ in texts]
    for batch in batches(texts):
        joined = Texts(texts[batch])
        for start, end, kind in find_personal_data(joined):
            characters = joined.joined[start:end]
            owner = batch.start + int(joined.ends.searchsorted(start))
            found[owner].append(GeneratedText(kind, characters, comparable(kind, characters)))
    return found


def contamination(
    items: Sequence[CheckedItem],
    parts: Sequence[TrainingPart],
    splits: Sequence[str],
    threshold: float,
    work: Path,
    context: Context,
) -> pa.Table:
    """Returns a table of the items that appear in the training text of the splits. Each part is a unit of work."""
    write_parquet(pa.Table.from_pylist([asdict(item) for item in items], schema=_ITEMS_SCHEMA), work / "items.parquet")
    units = [Unit(part.name, part) for part in parts]
    run_units(units, partial(_Scan, tuple(splits), work), work / "receipts", context, unit_name="parts")
    index = Index.of(items, _hash_words)
    found = [Matches.load(work / f"{unit.name}.npz", index) for unit in units]
    return judge(index, reduce(Matches.__or__, found, Matches.none(index)), threshold)


def _hash_words(texts: Sequence[str]) -> tuple[Hashes, Integers]:
    """Returns the hashes of all words, including numbers and operators, and the offset of each text's first word."""
    words = find_words(texts)
    return words.hashes, words.offsets


_ITEMS_SCHEMA = pa.schema([("task", pa.string()), ("id", pa.string()), ("text", pa.large_string())])


@dataclass
class _Scan:
    """Searches one part for the items."""

    splits: tuple[str, ...]
    work: Path
    index: Index = field(init=False)

    def __post_init__(self) -> None:
        items = [CheckedItem(**row) for row in read_parquet(self.work / "items.parquet").to_pylist()]
        self.index = Index.of(items, _hash_words)

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        documents = training_documents([unit.payload], self.splits)
        scan(self.index, documents, _hash_words).save(self.work / f"{unit.name}.npz")
        return {}
