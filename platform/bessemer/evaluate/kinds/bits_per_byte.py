"""How well a model predicts held-out text: bits per byte, which does not depend on the tokenizer, and perplexity.

The tokens of the split form one stream, document after document. A window has L input tokens (L is the model's context
or `max_seq_length`), and the model predicts the next token at each of them. A new window begins every `stride` tokens.
The first window scores all its predictions, each later window its last `stride`. So every token except the first of the
stream is predicted once. With the default `stride` = L, windows do not overlap, as in validation during training, and a
token is predicted from the 1 to L tokens before it, about L / 2 on average. With a smaller stride, it is predicted from
at least L - stride tokens.

bits per byte = sum of nats / ln 2 / sum of UTF-8 bytes; perplexity = exp(mean nats). Both are over the targets that are
text. Special tokens, such as the end-of-document token, have no bytes and are excluded from every sum.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import PositiveInt, model_validator

from bessemer.artifacts.descriptions import Metric
from bessemer.errors import NothingLeft, UsageError
from bessemer.evaluate.scores import Numbers, Result, Score, exponential, grouped, ratio_score
from bessemer.evaluate.task import HELD_OUT_TEXT, HeldOutSplit, PredictedText, Task, TaskInput
from bessemer.recipe.settings import execution

if TYPE_CHECKING:
    from bessemer.evaluate.evaluated_model import EvaluatedModel
    from bessemer.evaluate.materials import Materials
    from bessemer.tokens.store import TokenStore

Integers = npt.NDArray[np.int64]
BATCH_TOKENS = 8192
"""Tokens per batch."""
SPLIT_TOKENS = 1_048_576
"""Default for the largest number of tokens of a split that are predicted."""
MOST_HOSTS = 50
"""Largest number of hosts that are scored separately."""

ITEMS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("nats", pa.float64(), nullable=False),
        pa.field("num_tokens", pa.int64(), nullable=False),
        pa.field("num_bytes", pa.int64(), nullable=False),
    ]
)
METRICS = {
    "bits_per_byte": Metric("bits/byte", "Bits to predict a byte of text. Does not depend on the tokenizer."),
    "perplexity": Metric("1", "Exponential of the mean loss: per token of text, or per item of `language_modelling`."),
}  # fmt: skip


class BitsPerByte(Task):
    """How well the model predicts held-out text: bits per byte and perplexity, overall, by source and by host.

    The text is a split of the recipe's documents, or `documents` that no stage changes. The latter are the same for
    every model, tokenizer and trial of a sweep.
    """

    lower_is_better: ClassVar = frozenset({"bits_per_byte", "perplexity"})
    descriptions: ClassVar = METRICS

    kind: Literal["bits_per_byte"]
    """The kind of task."""
    documents: tuple[str, ...] = execution(())
    """Files, folders and patterns of documents to predict: text, HTML, JSON lines, JSON, CSV, TSV, Parquet or WARC."""
    text_field: str = "text"
    """The field or column with the text of `documents`."""
    split: HeldOutSplit = "test"
    """The split of the token store to predict if `documents` is empty."""
    sources: tuple[str, ...] = ()
    """The sources whose documents are predicted. If empty, all sources."""
    num_tokens: PositiveInt | None = None
    """Largest number of tokens to predict. If the text has more, evenly spaced windows are predicted. If unset, all of
    `documents`, or 1 048 576 tokens of the split."""
    max_seq_length: PositiveInt | None = None
    """Length of a window in tokens. If unset, the model's context length. Set it if the context is longer than the
    sequences of the training or than the documents."""
    stride: PositiveInt | None = None
    """Tokens from the start of one window to the start of the next. A stride shorter than the window gives each token
    more context, but needs proportionally more compute. If unset, windows do not overlap, as in validation."""
    metrics: tuple[Literal["bits_per_byte", "perplexity"], ...] = ("bits_per_byte", "perplexity")
    """The headline metrics."""

    @model_validator(mode="after")
    def _one_text(self) -> BitsPerByte:
        if self.documents and "split" in self.model_fields_set:
            raise ValueError("`documents` have no splits; leave out `split` or `documents`")
        if not self.documents and "text_field" in self.model_fields_set:
            raise ValueError("`text_field` is a field of `documents`, and there are none")
        return self

    @property
    def inputs(self) -> tuple[TaskInput, ...]:
        return () if self.documents else (HELD_OUT_TEXT,)

    @property
    def predicted_text(self) -> PredictedText:
        return PredictedText(self.split, self.documents, self.text_field)

    def score(self, materials: Materials) -> Result:
        """Returns the scores overall, by source and by host, and one row per document that has predicted text.

        Raises UsageError if `stride` is longer than a window, and NothingLeft if the split has no text.
        """
        subject, store = materials.subject, materials.store
        assert store is not None, "checked before the model is loaded"
        subject.check_tokens(store)
        length = min(self.max_seq_length or subject.context, subject.context)
        stride = self.stride or length
        if stride > length:
            raise UsageError(
                f"`stride` is {stride}, but a window has only {length} tokens",
                hint=f"set `stride` to at most {length}: a longer stride would skip tokens",
            )
        items = _by_document(self, subject, store, length, stride)
        if not len(items) and self.documents:
            raise NothingLeft("the `documents` of the task have no text to predict", hint="name longer `documents`")
        if not len(items):
            raise NothingLeft(
                f"the split `{self.split}` of the tokens has no text to predict",
                hint=f"give the split `{self.split}` a larger share of the documents, or evaluate another split",
            )
        scores: list[Score] = []
        sources = items["source"].to_pylist()
        for group, chosen in grouped(sources) + _by_host(items, set(sources)):
            scores += _scores(items.filter(pa.array(chosen)), group)
        return Result(scores, items)

    def by_item(self, metric: str, items: pa.Table) -> tuple[list[str], Numbers, Numbers] | None:
        if metric != "bits_per_byte":
            return None
        nats, sizes = (items[name].to_numpy().astype(np.float64) for name in ("nats", "num_bytes"))
        return items["id"].to_pylist(), nats / math.log(2), sizes


def _by_host(items: pa.Table, known: set[str]) -> list[tuple[str | None, npt.NDArray[np.bool_]]]:
    """Returns the `MOST_HOSTS` hosts with the most bytes, each with a mask of its documents. `known` are the names of
    sources, which already have scores; they are skipped."""
    hosts = [urlsplit(url).hostname for url in items["url"].to_pylist()]
    sizes: Counter[str] = Counter()
    for host, size in zip(hosts, items["num_bytes"].to_pylist(), strict=True):
        if host and host not in known:
            sizes[host] += size
    kept = {host for host, _ in sizes.most_common(MOST_HOSTS)}
    return grouped([host if host in kept else None for host in hosts])[1:]


def _scores(items: pa.Table, group: str | None) -> list[Score]:
    nats, tokens, sizes = (items[name].to_numpy().astype(np.float64) for name in ("nats", "num_tokens", "num_bytes"))
    per_token = ratio_score("nats_per_token", nats, tokens, group=group)
    return [ratio_score("bits_per_byte", nats / math.log(2), sizes, group=group), exponential("perplexity", per_token)]


def _by_document(task: BitsPerByte, subject: EvaluatedModel, store: TokenStore, length: int, stride: int) -> pa.Table:
    """Returns one row per document with predicted targets: its sums of nats, tokens and bytes over them."""
    from bessemer.tokens.store import INDEX_SCHEMA

    index = pa.concat_tables([INDEX_SCHEMA.empty_table(), *store.iter_rows(task.split)])
    wanted = np.ones(len(index), bool)
    if task.sources:
        wanted = pc.is_in(index["source"], pa.array(task.sources)).to_numpy()
        if missing := sorted({*task.sources} - {*index["source"].unique().to_pylist()}):
            where = "`documents`" if task.documents else f"the split `{task.split}`"
            raise UsageError(
                f"`sources` names `{missing[0]}`, but {where} has no document from that source",
                hint=f"its sources are: {', '.join(sorted(index['source'].unique().to_pylist())[:20]) or 'none'}",
            )
    starts = index["start"].to_numpy()
    windows = _windows_of(index.filter(pa.array(wanted)), store.num_tokens(task.split), length, stride)
    limit = task.num_tokens or (None if task.documents else SPLIT_TOKENS)
    wanted_windows = len(windows) if limit is None else max(1, limit // stride)
    windows = windows[_spread(len(windows), wanted_windows)]
    nats: Numbers = np.zeros(len(index))
    tokens, sizes = np.zeros(len(index), np.int64), np.zeros(len(index), np.int64)
    for places, targets, values in _predictions(task.split, subject, store, length, stride, windows):
        document = np.searchsorted(starts, places, side="right") - 1
        counted = store.token_bytes[targets] > 0
        for sums, amounts in ((nats, values), (tokens, 1), (sizes, store.token_bytes[targets])):
            np.add.at(sums, document, amounts * counted)
    columns = {"nats": nats, "num_tokens": tokens, "num_bytes": sizes}
    index = index.select(["id", "url", "source"])
    for name, column in columns.items():
        index = index.append_column(ITEMS_SCHEMA.field(name), pa.array(column))
    return index.filter(pa.array(wanted & (tokens > 0)))


def _windows_of(documents: pa.Table, total: int, length: int, stride: int) -> Integers:
    """The ascending numbers of the windows that score a token of the documents. The first window that reaches token t
    scores it: window 0 or ceil((t - length) / stride)."""
    starts, lengths = documents["start"].to_numpy(), documents["length"].to_numpy()
    ends = np.minimum(starts + lengths, total) - 1
    first, last = (np.maximum(0, -(-(edge - length) // stride)) for edge in (np.maximum(starts, 1), ends))
    return np.unique(np.concatenate([np.empty(0, np.int64), *map(np.arange, first, last + 1)]))


def _spread(available: int, wanted: int) -> Integers:
    """At most `wanted` evenly spaced integers below `available`."""
    chosen = min(available, wanted)
    return np.arange(chosen) * available // max(1, chosen)


def _predictions(
    split: str, subject: EvaluatedModel, store: TokenStore, length: int, stride: int, windows: Integers
) -> Iterator[tuple[Integers, Integers, Numbers]]:
    """Yields per batch (positions in the split, targets, nats) of the targets that the windows score."""
    import torch

    from bessemer.model.finite import check_finite

    total, rows = store.num_tokens(split), max(1, BATCH_TOKENS // length)
    for first in range(0, len(windows), rows):
        batch = windows[first : first + rows]
        width = min(length, total - 1 - int(batch[0]) * stride)  # the last window may be short
        found = np.zeros((len(batch), width + 1), np.int64)
        scored = np.zeros((len(batch), width), bool)
        for row, number in enumerate(batch.tolist()):
            start = number * stride
            count = min(width + 1, total - start)
            found[row, :count] = store.read(split, start, count)
            scored[row, 0 if number == 0 else length - stride : count - 1] = True
        if not scored.any():
            continue
        places = batch[:, None] * stride + np.arange(1, width + 1)
        window = torch.from_numpy(found).to(subject.device)
        with torch.inference_mode():
            nats = check_finite(subject.model(window[:, :-1], targets=window[:, 1:], reduction="none"))
        yield places[scored], found[:, 1:][scored], nats.double().cpu().numpy()[scored]
