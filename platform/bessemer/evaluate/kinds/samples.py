"""Text samples: the model continues given prompts, or the beginnings of held-out documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from bessemer.errors import NothingLeft
from bessemer.evaluate.scores import Result
from bessemer.evaluate.task import HELD_OUT_TEXT, HeldOutSplit, Task, TaskInput
from bessemer.generate.settings import GenerationSettings

if TYPE_CHECKING:
    from bessemer.evaluate.evaluated_model import EvaluatedModel
    from bessemer.evaluate.materials import Materials
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
"""Length of the shortest document whose beginning is a prompt: two prompt tokens, one to write, and the end token."""


class Samples(Task):
    """Text samples for people to read. They are not scored."""

    shows_samples: ClassVar = True

    kind: Literal["samples"]
    """The kind of task."""
    prompts: tuple[str, ...] = ()
    """Texts to continue. If empty, the model continues the beginnings of held-out documents."""
    split: HeldOutSplit = "test"
    """The split whose documents the model continues."""
    num_samples: PositiveInt = 8
    """Number of documents whose beginning the model continues."""
    prompt_tokens: PositiveInt = 32
    """Tokens of a document that form the prompt."""
    generation: GenerationSettings = GenerationSettings(max_new_tokens=64)
    """How continuations are generated."""
    metrics: tuple[()] = ()
    """Samples have no headline metrics."""

    @property
    def inputs(self) -> tuple[TaskInput, ...]:
        return () if self.prompts else (HELD_OUT_TEXT,)

    def score(self, materials: Materials) -> Result:
        """Returns no scores and one row per prompt: the prompt and its completion.

        If the prompt comes from a document, the row also has the document's URL and its true continuation.
        """
        subject, store = materials.subject, materials.store
        if self.prompts:
            rows: list[dict[str, Any]] = [{"prompt": prompt} for prompt in self.prompts]
        else:
            assert store is not None, "checked before the model is loaded"
            rows = _beginnings(self, subject, store)
        completions = subject.generator.generate([row["prompt"] for row in rows], self.generation)
        for row, completion in zip(rows, completions, strict=True):
            row |= {"completion": completion.text, "finish_reason": completion.finish_reason}
        return Result([], pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA))


def _beginnings(task: Samples, subject: EvaluatedModel, store: TokenStore) -> list[dict[str, Any]]:
    """The beginnings of evenly spaced documents of the split.

    A prompt has `prompt_tokens` tokens, but at most half of its document and half of the model's context.
    """
    found = [
        (url, start, length)
        for rows in store.iter_rows(task.split)
        for url, start, length in zip(*(rows[name].to_pylist() for name in ("url", "start", "length")), strict=True)
        if length >= MINIMUM_TOKENS
    ]
    if not found:
        raise NothingLeft(
            f"the split `{task.split}` of the tokens has no document that is long enough for a prompt",
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
