"""What the model writes after given prompts, or after the beginnings of documents it was not trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from bessemer.errors import NothingLeft
from bessemer.evaluate.kinds import Samples
from bessemer.evaluate.scores import Result
from bessemer.evaluate.subject import Subject
from bessemer.tokens.store import TokenStore

ITEMS_SCHEMA = pa.schema(
    [
        pa.field("url", pa.string()),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("completion", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("reference", pa.string()),
    ]
)
MINIMUM_TOKENS = 4
"""Tokens of the shortest document that is begun: two known, one to write, and the end."""


def samples(task: Samples, subject: Subject, store: TokenStore | None) -> Result:
    """No scores; one row a prompt: the prompt, the completion, and of a document its URL and how it really goes on."""
    if task.prompts:
        rows: list[dict[str, Any]] = [{"prompt": prompt} for prompt in task.prompts]
    else:
        assert store is not None, "checked before the model is loaded"
        rows = _beginnings(task, subject, store)
    completions = subject.generator.generate([row["prompt"] for row in rows], task.generation)
    for row, completion in zip(rows, completions, strict=True):
        row |= {"completion": completion.text, "finish_reason": completion.finish_reason}
    return Result([], pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA))


def _beginnings(task: Samples, subject: Subject, store: TokenStore) -> list[dict[str, Any]]:
    """Evenly spread documents of the split, each cut after `prompt_tokens`, or in its middle if that comes first.

    A prompt leaves half of the model's context for what follows.
    """
    found = [
        (url, start, length)
        for rows in store.iter_rows(task.split)
        for url, start, length in zip(*(rows[name].to_pylist() for name in ("url", "start", "length")), strict=True)
        if length >= MINIMUM_TOKENS
    ]
    if not found:
        raise NothingLeft(
            f"the split `{task.split}` of the tokens has no document to begin a sample with",
            hint=f"set `prompts` of the task, or give the split `{task.split}` a larger share of the documents",
        )
    rows = []
    for place in np.linspace(0, len(found) - 1, min(task.num_samples, len(found))).astype(int):
        url, start, length = found[place]
        known = min(task.prompt_tokens, length // 2, subject.context // 2)
        wanted = min(length - 1, known + task.generation.max_new_tokens)
        tokens = store.read(task.split, start, wanted).tolist()
        prompt = subject.tokenizer.decode(tokens[:known], skip_special=True).rstrip("\ufffd")
        text = subject.tokenizer.decode(tokens, skip_special=True)
        rows.append({"prompt": prompt, "url": url, "reference": text[len(prompt) :].rstrip("\ufffd")})
    return rows
