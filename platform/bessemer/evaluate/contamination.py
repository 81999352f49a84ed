"""Finds evaluation items that also occur in the training documents, by the overlap of word n-grams.

Words are normalised as in the verification of de-duplication: in lower case and without punctuation, but with their
numbers and operators. So n-grams that differ in a number are different. As for GPT-3 (Brown et al., 2020, appendix C),
n is chosen per task: the 5th percentile of the items' lengths in words, but at least 8 and at most 13. A shorter item
is looked up as a whole. An item of fewer than 4 words is not judged, because such short texts occur everywhere. The
overlap of an item is the share of its words inside n-grams that also occur in a training document. An item with an
overlap of 0.2 or more is contaminated (Touvron et al., 2023, Llama 2, appendix A.6). For items of up to 65 words this
is GPT-3's rule: one shared 13-gram is enough.

The n-grams of the items are kept in memory as sorted hashes, and the documents are read in batches. The memory is that
of the items and one batch of documents; it does not depend on the size of the corpus.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from bessemer import storage
from bessemer.evaluate.datasets import Dataset
from bessemer.evaluate.held_out_text import document_texts, documents_file
from bessemer.evaluate.measures import Measured
from bessemer.evaluate.ngrams import Hashes, Integers, Wanted, prefix_sums, window_hashes
from bessemer.evaluate.scores import Result, Score, mean_score
from bessemer.evaluate.task import Task
from bessemer.recipe.settings import Settings

SHORTEST_NGRAM, LONGEST_NGRAM = 8, 13
LENGTH_PERCENTILE = 5
MINIMUM_WORDS = 4
CLEAN = "clean items"
"""The group of items that are not contaminated."""

HashWords = Callable[[Sequence[str]], tuple[Hashes, Integers]]
"""Returns (the hashes of the words of all texts, concatenated; the offset of each text, and the total at the end)."""

CONTAMINATION_SCHEMA = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("num_words", pa.int64(), nullable=False),
        pa.field("ngram_size", pa.int64(), nullable=False),
        pa.field("overlap", pa.float64()),
        pa.field("contaminated", pa.bool_()),
        pa.field("document", pa.string()),
        pa.field("url", pa.string()),
        pa.field("split", pa.string()),
    ]
)
"""`overlap` and `contaminated` are null if an item is too short to be judged. `document` is the document that shares
the most n-grams with the item."""


class ContaminationSettings(Settings):
    """How items are looked up in the training texts. The lookup reads all training texts once."""

    threshold: float = Field(0.2, gt=0, le=1)
    """Smallest share of an item's words found in a training text at which the item counts as contaminated."""
    splits: Annotated[tuple[Literal["train", "tune"], ...], Field(min_length=1)] = ("train", "tune")
    """The training splits to search: `train` is used in pre-training, `tune` in fine-tuning and alignment."""


@dataclass(frozen=True)
class CheckedItem:
    """The text of one item, its answer included, that is looked up in the training documents."""

    task: str
    id: str
    text: str


def checked_items(
    tasks: Mapping[str, Task],
    made: Mapping[str, Dataset],
    results: Mapping[tuple[str, str], Result],
    documents: Sequence[Path],
    work: Path,
) -> list[CheckedItem]:
    """Returns the items of the tasks' datasets and the documents that tasks predict.

    `results` are by (model, task). `documents` are the files of the recipe's documents. `work` has the documents that
    tasks name.
    """
    found = []
    for name, task in tasks.items():
        found += [CheckedItem(name, item.id, item.text) for item in task.items(made)]
        if task.predicted_text is not None:
            of_models = (result.items["id"].to_pylist() for (_, other), result in results.items() if other == name)
            parts = [documents_file(work, name)] if task.predicted_text.documents else documents
            texts = document_texts({document for ids in of_models for document in ids}, parts)
            found += [CheckedItem(name, *document) for document in sorted(texts.items())]
    return found


@dataclass(frozen=True)
class Index:
    """The n-grams of all items: n-gram k is the words `start[k] .. start[k] + size[k]` of the item `owner[k]`."""

    items: Sequence[CheckedItem]
    num_words: Integers
    ngram_size: Integers
    owner: Integers
    start: Integers
    size: Integers
    hashes: Hashes

    @classmethod
    def of(cls, items: Sequence[CheckedItem], hash_words: HashWords) -> Index:
        words, offsets = hash_words([item.text for item in items])
        num_words = np.diff(offsets)
        sizes = np.minimum(_ngram_sizes([item.task for item in items], num_words), num_words)
        counts = np.where(num_words >= MINIMUM_WORDS, num_words - sizes + 1, 0)
        owner = np.repeat(np.arange(len(items)), counts)
        start = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        size, places = sizes[owner], offsets[:-1][owner] + start
        hashes, sums = np.zeros(len(owner), np.uint64), prefix_sums(words)
        for length in np.unique(size).tolist():
            chosen = size == length
            hashes[chosen] = window_hashes(sums, length)[places[chosen]]
        return cls(items, num_words, sizes, owner, start, size, hashes)

    @functools.cached_property
    def tables(self) -> dict[int, Table]:
        return {length: Table.of(self, length) for length in np.unique(self.size).tolist()}


@dataclass(frozen=True)
class Table:
    """The n-grams of one length, by their hash: those of hash k are `ngrams[bounds[k]:bounds[k + 1]]`."""

    wanted: Wanted
    bounds: Integers
    ngrams: Integers

    @classmethod
    def of(cls, index: Index, length: int) -> Table:
        ngrams = np.flatnonzero(index.size == length)
        ngrams = ngrams[np.argsort(index.hashes[ngrams], kind="stable")]
        wanted = Wanted.of(index.hashes[ngrams])
        bounds = np.searchsorted(index.hashes[ngrams], wanted.hashes)
        return cls(wanted, np.append(bounds, len(ngrams)), ngrams)


@dataclass(frozen=True)
class Matches:
    """The n-grams of the items that occur in the documents read so far. The result does not depend on how the documents
    are divided into batches."""

    found: npt.NDArray[np.bool_]
    """For each n-gram of the index, whether a document contains it."""
    shared: Integers
    """For each item, the largest number of its n-grams in one document. `documents` has that document's id, URL and
    split."""
    documents: list[tuple[str, str, str] | None]

    @classmethod
    def none(cls, index: Index) -> Matches:
        nothing = np.zeros(len(index.items), np.int64)
        return cls(np.zeros(len(index.hashes), bool), nothing, [None] * len(index.items))

    def save(self, path: Path) -> None:
        with storage.atomic_path(path) as temporary, temporary.open("wb") as file:
            named = np.array([json.dumps(document) for document in self.documents], str)
            np.savez(file, found=np.packbits(self.found), shared=self.shared, documents=named)

    @classmethod
    def load(cls, path: Path, index: Index) -> Matches:
        with np.load(path) as saved:
            found = np.unpackbits(saved["found"], count=len(index.hashes)).astype(bool)
            named = [json.loads(document) for document in saved["documents"].tolist()]
            return cls(found, saved["shared"], [None if one is None else (one[0], one[1], one[2]) for one in named])

    def __or__(self, later: Matches) -> Matches:
        """Merges both. If two documents share equally many n-grams with an item, the earlier one is named."""
        better = later.shared > self.shared
        documents = [b if which else a for a, b, which in zip(self.documents, later.documents, better, strict=True)]
        return Matches(self.found | later.found, np.maximum(self.shared, later.shared), documents)


def scan(index: Index, documents: Iterable[pa.Table], hash_words: HashWords) -> Matches:
    """Returns the n-grams of the items that occur in the documents: batches with `id`, `url`, `split` and `text`."""
    return functools.reduce(
        Matches.__or__, (_scan_batch(index, batch, hash_words) for batch in documents), Matches.none(index)
    )


def _scan_batch(index: Index, batch: pa.Table, hash_words: HashWords) -> Matches:
    words, offsets = hash_words(batch["text"].to_pylist())
    sums, matches = prefix_sums(words), Matches.none(index)
    pairs = [np.zeros(0, np.int64)]
    for length, table in index.tables.items():
        places, which = table.wanted.find(window_hashes(sums, length))
        document = np.searchsorted(offsets, places, side="right") - 1
        inside = places + length <= offsets[document + 1]
        once = np.unique(document[inside] * len(table.wanted.hashes) + which[inside])
        document, which = np.divmod(once, len(table.wanted.hashes))
        counts = np.diff(table.bounds)[which]
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        ngrams = table.ngrams[np.repeat(table.bounds[which], counts) + steps]
        matches.found[ngrams] = True
        pairs.append(np.repeat(document, counts) * len(index.items) + index.owner[ngrams])
    both, counts = np.unique(np.concatenate(pairs), return_counts=True)
    document, item = np.divmod(both, max(1, len(index.items)))
    order = np.lexsort((document, -counts, item))
    best = order[np.unique(item[order], return_index=True)[1]]
    matches.shared[item[best]] = counts[best]
    named = [batch[name].take(pa.array(document[best])).to_pylist() for name in ("id", "url", "split")]
    for place, *names in zip(item[best].tolist(), *named, strict=True):
        matches.documents[place] = (names[0], names[1], names[2])
    return matches


def judge(index: Index, matches: Matches, threshold: float) -> pa.Table:
    """One row per item, with `CONTAMINATION_SCHEMA`."""
    rows = []
    edges = np.searchsorted(index.owner, np.arange(len(index.items) + 1))
    for number, item in enumerate(index.items):
        ngrams = np.arange(edges[number], edges[number + 1])
        ngrams = ngrams[matches.found[ngrams]]
        total = int(index.num_words[number])
        judged = total >= MINIMUM_WORDS
        overlap = _covered(index.start[ngrams], index.size[ngrams], total) / total if judged else None
        document, url, split = matches.documents[number] or (None, None, None)
        rows.append(
            {
                "task": item.task,
                "id": item.id,
                "num_words": total,
                "ngram_size": int(index.ngram_size[number]),
                "overlap": overlap,
                "contaminated": overlap >= threshold if overlap is not None else None,
                "document": document,
                "url": url,
                "split": split,
            }
        )
    return pa.Table.from_pylist(rows, schema=CONTAMINATION_SCHEMA)


def clean_scores(measured: Sequence[Measured], judged: pa.Table) -> list[tuple[str, str, Score]]:
    """Returns for each model and task the score `contaminated` (the share of contaminated items), and every metric on
    the clean items alone, as (model, task, score).

    Items that are too short to be judged are excluded from both.
    """
    verdicts: dict[str, dict[str, bool]] = {}
    for row in judged.filter(judged["contaminated"].is_valid()).to_pylist():
        of_task = verdicts.setdefault(row["task"], {})
        of_task[row["id"]] = of_task.get(row["id"], False) or row["contaminated"]
    found: dict[tuple[str, str, str], Score] = {}
    for one in measured:
        known = verdicts.get(one.task, {})
        seen = np.array([known[item] for item in one.items if item in known], np.float64)
        if not len(seen):
            continue
        found[one.model, one.task, "contaminated"] = mean_score("contaminated", seen)
        clean = np.array([place for place, item in enumerate(one.items) if known.get(item) is False], np.intp)
        if len(clean):
            found[one.model, one.task, one.metric] = one.only(clean).score(CLEAN)
    return [(model, task, score) for (model, task, _), score in found.items()]


def _ngram_sizes(tasks: Sequence[str], num_words: Integers) -> Integers:
    """The n of each item's task."""
    names, which = np.unique(np.array(tasks, str), return_inverse=True)
    sizes = [np.percentile(num_words[which == number], LENGTH_PERCENTILE) for number in range(len(names))]
    chosen: Integers = np.clip(np.array(sizes), SHORTEST_NGRAM, LONGEST_NGRAM).astype(np.int64)
    return chosen[which]


def _covered(starts: Integers, sizes: Integers, total: int) -> int:
    """The number of the `total` words that are inside one of the n-grams."""
    edges = np.zeros(total + 1, np.int64)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + sizes, -1)
    return int(np.count_nonzero(np.cumsum(edges)))
