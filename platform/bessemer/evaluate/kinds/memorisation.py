"""How much of its training text a model reproduces word for word, by length of the prompt and number of copies.

The definition is from Carlini et al. (Quantifying Memorization Across Neural Language Models, 2022). A text of 50
tokens is extracted if the model, given the tokens before it, continues greedily with exactly these 50 tokens. This
holds if and only if each of the 50 tokens is the likeliest one after the true text before it. So one forward pass over
prompt and text is enough, and nothing is generated.

Texts are drawn in three ways:
- Uniformly from all positions of the training split at which prompt and text lie in one document. Their extraction rate
  is the headline metric.
- From the same draw, up to `num_samples` texts per range of copies (1, 2 to 3, 4 to 7, ...). The copies of a text are
  the occurrences of its 50 tokens in the training split. Each distinct text is drawn at most once.
- The control: texts of the held-out split whose 50 tokens do not occur in the training split. A model that reproduces
  these has not memorised them: they are common phrases, tables, lists of numbers.

Small models reproduce almost no complete text. `tokens_given_back` is the mean number of tokens before the first
wrong one. It shows earlier than the rate whether a model knows training text better than other text.

Counting copies reads the split once: the hash of every 50 consecutive tokens is looked up among the drawn texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, NonNegativeInt, PositiveInt

from bessemer.artifacts.descriptions import Metric
from bessemer.errors import NothingLeft, UsageError
from bessemer.evaluate.ngrams import Hashes, Integers, Wanted, mix, prefix_sums, window_hashes
from bessemer.evaluate.scores import Result, Score, mean_score
from bessemer.evaluate.task import TRAINING_TEXT, HeldOutSplit, Task, TaskInput

if TYPE_CHECKING:
    from bessemer.evaluate.evaluated_model import EvaluatedModel
    from bessemer.evaluate.materials import Materials
    from bessemer.tokens.store import TokenStore

TRAIN = "train"
CANDIDATES_PER_SAMPLE = 50
"""Positions drawn per requested sample. The number is large so that the draw includes texts with many copies."""
BATCH_TOKENS = 8192
BATCH_LOGITS = 1 << 26
CHUNK_TOKENS = 1 << 22

ITEMS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("num_copies", pa.int64(), nullable=False),
        pa.field("uniform", pa.bool_(), nullable=False),
        pa.field("prefix_tokens", pa.int64(), nullable=False),
        pa.field("num_agreeing", pa.int64(), nullable=False),
        pa.field("extracted", pa.bool_(), nullable=False),
        pa.field("prefix", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)
"""`uniform` is true for texts of the uniform draw and false for texts drawn by their number of copies. `num_agreeing`
is the number of tokens that the model reproduced before its first wrong one. Two more columns hold the headline
metrics; they are null in rows that do not count for them."""
METRICS = {
    "extraction_rate": Metric("1", "Share of training texts whose continuation the model repeats verbatim (Carlini et "
                              "al., 2022)."),
    "held_out_extraction_rate": Metric("1", "The same for held-out texts, as a control."),
    "tokens_given_back": Metric("tokens", "Mean number of tokens repeated before the first wrong one."),
    "held_out_tokens_given_back": Metric("tokens", "The same for held-out texts, as a control."),
}  # fmt: skip


class Memorisation(Task):
    """How often the model reproduces its training text word for word, with held-out text as the control."""

    lower_is_better: ClassVar = frozenset({"extraction_rate"})
    descriptions: ClassVar = METRICS

    kind: Literal["memorisation"]
    """The kind of task."""
    split: HeldOutSplit = "test"
    """The held-out split that is the control."""
    prefix_tokens: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (25, 50, 100)
    """Lengths of the prompt in tokens. The headline metrics are for the longest."""
    continuation_tokens: PositiveInt = 50
    """Tokens after the prompt that the model must reproduce exactly."""
    num_samples: PositiveInt = 500
    """Largest number of texts for the headline, for the control, and for each range of copies."""
    seed: NonNegativeInt = 0
    """Seed of the draw of texts."""
    metrics: tuple[Literal["extraction_rate", "held_out_extraction_rate"], ...] = (
        "extraction_rate", "held_out_extraction_rate",
    )  # fmt: skip
    """The headline metrics."""

    @property
    def inputs(self) -> tuple[TaskInput, ...]:
        return (TRAINING_TEXT,)

    def score(self, materials: Materials) -> Result:
        """Returns the extraction rates of training and control texts, and one row per text and length of prompt.

        Raises UsageError if prompt and text are longer than the model's context.
        """
        subject, store = materials.subject, materials.store
        assert store is not None, "checked before the model is loaded"
        subject.check_tokens(store)
        longest = max(self.prefix_tokens)
        if longest + self.continuation_tokens > subject.context + 1:
            raise UsageError(
                f"a prompt of {longest} tokens and a text of {self.continuation_tokens} are longer than the model's "
                f"context of {subject.context}",
                hint="set shorter `prefix_tokens` for the task",
            )
        drawn = [draw(self, store, split) for split in (TRAIN, self.split)]
        items = pa.concat_tables(
            _rows(texts, prefix, self.continuation_tokens, subject, store)
            for texts in drawn
            for prefix in sorted(self.prefix_tokens)
        )
        train, uniform = np.array(items["split"].to_pylist()) == TRAIN, items["uniform"].to_numpy()
        is_longest = items["prefix_tokens"].to_numpy() == longest
        items = _with_headline(items, "extraction_rate", train & uniform & is_longest)
        items = _with_headline(items, "held_out_extraction_rate", ~train & is_longest)
        return Result(list(_scores(items, train, is_longest)), items)


@dataclass(frozen=True)
class Drawn:
    """Drawn texts: the position of each text's longest prompt, the tokens [n, prompt + text], and the number of copies
    in the training split."""

    split: str
    start: Integers
    tokens: Integers
    num_copies: Integers
    uniform: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.start)


def _with_headline(items: pa.Table, metric: str, chosen: npt.NDArray[np.bool_]) -> pa.Table:
    values = items["extracted"].to_numpy().astype(np.float64)
    return items.append_column(metric, pa.array(values, mask=~chosen))


def draw(task: Memorisation, store: TokenStore, split: str) -> Drawn:
    """Draws the texts of a split. Raises NothingLeft if no document is long enough, or if every text of a held-out
    split is also in the training split."""
    length = max(task.prefix_tokens) + task.continuation_tokens
    generator = np.random.default_rng(task.seed)
    start = _places(store, split, length, CANDIDATES_PER_SAMPLE * task.num_samples, generator)
    tokens = np.stack([store.read(split, int(place), length) for place in start]).astype(np.int64)
    hashes = window_hashes_of(tokens[:, -task.continuation_tokens :])
    once = np.sort(np.unique(hashes, return_index=True)[1])  # the first of equal texts, in the order drawn
    start, tokens, hashes = start[once], tokens[once], hashes[once]
    copies = count_copies(store, TRAIN, hashes, task.continuation_tokens)
    if split == TRAIN:
        chosen = _by_copies(copies, task.num_samples)
        uniform = np.arange(len(start)) < task.num_samples
        chosen |= uniform
    else:
        new = np.flatnonzero(copies == 0)[: task.num_samples]
        if not len(new):
            raise NothingLeft(
                f"every text of the split `{split}` is also in the training split",
                hint="de-duplicate before splitting, or evaluate another split",
            )
        chosen = np.isin(np.arange(len(start)), new)
        uniform = chosen
    return Drawn(split, start[chosen], tokens[chosen], copies[chosen], uniform[chosen])


def _places(store: TokenStore, split: str, length: int, count: int, generator: np.random.Generator) -> Integers:
    """Draws at most `count` distinct positions, uniformly from all at which a document has `length` more tokens."""
    rows = [(index["start"].to_numpy(), index["length"].to_numpy()) for index in store.iter_rows(split)]
    starts, lengths = (np.concatenate([np.empty(0, np.int64), *columns]) for columns in zip(*rows, strict=True))
    choices = np.maximum(0, lengths - length)  # a document's last token ends it and belongs to no text
    ends = np.cumsum(choices)
    total = int(ends[-1]) if len(ends) else 0
    if not total:
        raise NothingLeft(
            f"no document of the split `{split}` has {length + 1} tokens or more",
            hint="set shorter `prefix_tokens` for the task, or give the split a larger share of the documents",
        )
    chosen = generator.choice(total, min(count, total), replace=False)
    document = np.searchsorted(ends, chosen, side="right")
    places: Integers = starts[document] + chosen - (ends - choices)[document]
    return places


def window_hashes_of(tokens: Integers) -> Hashes:
    """Returns one hash per row of tokens [n, L]. `count_copies` gives the same tokens in the store the same hash."""
    length = tokens.shape[1]
    sums = prefix_sums(_values(tokens.ravel()))
    hashes: Hashes = window_hashes(sums, length)[::length]
    return hashes


def count_copies(store: TokenStore, split: str, hashes: Hashes, length: int) -> Integers:
    """Counts for each hash how often its `length` tokens occur in the split."""
    wanted, total = Wanted.of(hashes), store.num_tokens(split)
    counts = np.zeros(len(wanted.hashes), np.int64)
    for first in range(0, max(0, total - length + 1), CHUNK_TOKENS):
        tokens = store.read(split, first, min(CHUNK_TOKENS + length - 1, total - first))
        found = wanted.find(window_hashes(prefix_sums(_values(tokens)), length))[1]
        counts += np.bincount(found, minlength=len(counts))
    copies: Integers = counts[np.searchsorted(wanted.hashes, hashes)]
    return copies


def _values(tokens: npt.NDArray[np.integer]) -> Hashes:
    return mix(tokens.astype(np.uint64) + np.uint64(1))


def copies_range(num_copies: int) -> str:
    """The range that contains the number of copies: `1`, `2-3`, `4-7`, ..."""
    low = 1 << (num_copies.bit_length() - 1)
    return str(low) if low == 1 else f"{low}-{2 * low - 1}"


def _by_copies(copies: Integers, most: int) -> npt.NDArray[np.bool_]:
    """A mask of the first `most` texts of each range of copies."""
    chosen, exponents = np.zeros(len(copies), bool), np.log2(copies).astype(int)
    for exponent in np.unique(exponents):
        chosen[np.flatnonzero(exponents == exponent)[:most]] = True
    return chosen


def _rows(texts: Drawn, prefix: int, length: int, subject: EvaluatedModel, store: TokenStore) -> pa.Table:
    agreeing = np.concatenate(list(_agreeing(texts.tokens[:, -prefix - length :], length, subject)))
    rows = []
    for i, tokens in enumerate(texts.tokens.tolist()):
        index = store.rows_at(texts.split, int(texts.start[i]), 1).to_pylist()[0]
        rows.append(
            {
                "id": f"{texts.split}:{texts.start[i]}",
                "split": texts.split,
                "document": index["id"],
                "url": index["url"],
                "num_copies": int(texts.num_copies[i]),
                "uniform": bool(texts.uniform[i]),
                "prefix_tokens": prefix,
                "num_agreeing": int(agreeing[i]),
                "extracted": bool(agreeing[i] == length),
                "prefix": subject.tokenizer.decode(tokens[-prefix - length : -length]),
                "text": subject.tokenizer.decode(tokens[-length:]),
            }
        )
    return pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA)


def _agreeing(tokens: Integers, length: int, subject: EvaluatedModel) -> Iterator[Integers]:
    """Yields, for rows of tokens [n, prompt + text], how many tokens of the text are the likeliest ones, up to the
    first that is not."""
    import torch

    from bessemer.model.finite import check_finite

    vocabulary = subject.model.config.vocab_size
    size = max(1, min(BATCH_TOKENS // tokens.shape[1], BATCH_LOGITS // (length * vocabulary)))
    for first in range(0, len(tokens), size):
        batch = torch.from_numpy(tokens[first : first + size]).to(subject.device)
        rows = torch.arange(len(batch), device=subject.device)[:, None].expand(-1, length)
        places = torch.arange(tokens.shape[1] - 1 - length, tokens.shape[1] - 1, device=subject.device)
        with torch.inference_mode():
            logits = subject.model(batch[:, :-1], at=(rows, places.expand(len(batch), -1)))
            greatest = logits.max(-1)
            check_finite(greatest.values)
        right = greatest.indices == batch[:, -length:]
        yield right.long().cumprod(dim=1).sum(dim=1).cpu().numpy()


def _scores(items: pa.Table, train: npt.NDArray[np.bool_], longest: npt.NDArray[np.bool_]) -> Iterator[Score]:
    """Yields the rates for the longest prompt, then by length of prompt and by range of copies."""
    uniform, prefix = items["uniform"].to_numpy(), items["prefix_tokens"].to_numpy()
    extracted, copies = items["extracted"].to_numpy().astype(np.float64), items["num_copies"].to_numpy()
    agreeing = items["num_agreeing"].to_numpy().astype(np.float64)
    groups = [(None, longest), *((f"prefix {length}", prefix == length) for length in np.unique(prefix).tolist())]
    for group, chosen in groups:
        yield mean_score("extraction_rate", extracted[train & uniform & chosen], group=group)
        yield mean_score("held_out_extraction_rate", extracted[~train & chosen], group=group)
        yield mean_score("tokens_given_back", agreeing[train & uniform & chosen], group=group)
        yield mean_score("held_out_tokens_given_back", agreeing[~train & chosen], group=group)
    ranges = np.array([copies_range(number) if number else "" for number in copies.tolist()])
    for name in dict.fromkeys(copies_range(number) for number in sorted(copies[train].tolist())):
        yield mean_score("extraction_rate", extracted[train & longest & (ranges == name)], group=f"copies {name}")
