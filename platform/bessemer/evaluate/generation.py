"""Compares the answers that a model writes with references.

An item's metric is the best over its references, and a task's metric is the mean over items. BLEU and chrF are computed
over the whole corpus, with standard errors by the delete-a-group jackknife. If a task also has incorrect answers
(TruthfulQA: Lin et al., 2022), a metric says whether, and by how much, an answer is more like a correct answer than
like an incorrect one.

A prompt that leaves too little room for the answer is truncated at its beginning. At most half of the context is
reserved for the answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from bessemer.align.reward_scoring import Scorer
from bessemer.align.rewards import RewardSample
from bessemer.errors import InputError
from bessemer.evaluate import text_metrics
from bessemer.evaluate.encoding import prompt_tokens
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.items import GenerationItem
from bessemer.evaluate.kinds import Generation
from bessemer.evaluate.scores import Result, Score, grouped, mean_score

NUM_GROUPS = 20
"""Number of groups into which the jackknife divides the corpus. It leaves out one group at a time."""
_COLUMNS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("group", pa.string()),
    pa.field("query", pa.string(), nullable=False),
    pa.field("completion", pa.string(), nullable=False),
    pa.field("finish_reason", pa.string(), nullable=False),
    pa.field("answer", pa.string(), nullable=False),
    pa.field("references", pa.list_(pa.string()), nullable=False),
    pa.field("incorrect", pa.list_(pa.string()), nullable=False),
    pa.field("context_was_cut", pa.bool_(), nullable=False),
]


def generation(task: Generation, subject: EvaluatedModel, items: Sequence[GenerationItem]) -> Result:
    """Returns every metric of the task, overall and by group, and one row per item."""
    check_rewards(task, items)
    prompts = [prompt_tokens(subject, item.preface, item.query) for item in items]
    room = max(subject.context - task.generation.max_new_tokens, subject.context // 2)
    completions = subject.complete(
        [prompt[-room:] for prompt in prompts], task.generation, is_conversation=task.apply_chat_template
    )
    texts = [subject.without_special(completion.text) for completion in completions]
    ended = [completion.finish_reason == "stop" for completion in completions]  # by a token, as when rewards train
    lengths = [len(completion.tokens) + stop for completion, stop in zip(completions, ended, strict=True)]
    rewarded = rewards(task, items, texts, lengths)
    rows: list[dict[str, Any]] = []
    for item, prompt, completion, text, worth in zip(items, prompts, completions, texts, rewarded, strict=True):
        answer = extracted(task, text)
        rows.append(
            {
                "id": item.id,
                "group": item.group,
                "query": item.query,
                "completion": completion.text,
                "finish_reason": completion.finish_reason,
                "answer": answer,
                "references": list(item.references),
                "incorrect": list(item.incorrect),
                "context_was_cut": len(prompt) > room,
            }
            | measures(task, answer, item.references, item.incorrect)
            | worth
        )
    names = [name for name in rows[0] if name not in {column.name for column in _COLUMNS}]
    table = pa.Table.from_pylist(rows, schema=pa.schema([*_COLUMNS, *(pa.field(name, pa.float64()) for name in names)]))
    scores: list[Score] = []
    for group, chosen in grouped(table["group"].to_pylist()):
        part = table.filter(pa.array(chosen))
        for name in names:
            corpus = _CORPUS.get(name)
            if corpus is None:
                scores.append(mean_score(name, part[name].to_numpy(), group=group))
            else:
                answers, references = part["answer"].to_pylist(), part["references"].to_pylist()
                scores.append(_corpus_score(name, partial(corpus, task), answers, references, group))
    return Result(scores, table)


def extracted(task: Generation, completion: str) -> str:
    """Extracts the answer from a completion. Returns an empty string if `extract` does not match."""
    if task.extract is None:
        return completion.strip()
    found = [match[1] if match.re.groups else match[0] for match in re.finditer(task.extract, completion)]
    return (found[-1 if task.extract_last else 0] or "") if found else ""


def check_rewards(task: Generation, items: Sequence[GenerationItem]) -> None:
    """Runs every reward once on a dummy answer, to fail before generation starts. Raises UsageError or InputError."""
    if task.rewards and items:
        with Scorer(task.rewards) as scorer:
            lacking = next((item for item in items if scorer.lacks(_row(item))), items[0])
            scorer.check(RewardSample(lacking.query, "An answer.", 3, _row(lacking)))


def _row(item: GenerationItem) -> dict[str, Any]:
    return {"answer": item.references[0], **item.row}


def rewards(
    task: Generation, items: Sequence[GenerationItem], texts: Sequence[str], lengths: Sequence[int]
) -> list[dict[str, float]]:
    """Returns for each text its total `reward`, and each reward under its name if there are several.

    `lengths` are in tokens. Raises InputError if a reward has no number for one of the texts.
    """
    if not task.rewards or not items:
        return [{} for _ in items]
    samples = [
        RewardSample(item.query, text, length, _row(item))
        for item, text, length in zip(items, texts, lengths, strict=True)
    ]
    with Scorer(task.rewards) as scorer:
        scores = scorer(samples)
    unknown = sum(map(math.isnan, scores.rewards))
    if unknown:
        raise InputError(
            next(iter(scores.failures), f"the rewards have no number for {unknown} of {len(samples)} answers"),
            hint="change the rewards so that each returns a number for every answer",
        )
    by_name = scores.by_reward if len(task.rewards) > 1 else {}
    return [
        {"reward": total, **{f"reward_{name}": values[n] for name, values in by_name.items()}}
        for n, total in enumerate(scores.rewards)
    ]


def measures(task: Generation, answer: str, references: Sequence[str], incorrect: Sequence[str]) -> dict[str, float]:
    """The metrics of one item."""
    found: dict[str, float] = {}
    for name in task.metrics:
        metric = text_metrics.pair_metric(task, name)
        right = max(metric(answer, reference) for reference in references)
        if incorrect:
            wrong = max(metric(answer, reference) for reference in incorrect)
            found |= {f"{name}_max": right, f"{name}_diff": right - wrong, f"{name}_acc": float(right > wrong)}
        else:
            found[name] = right
    return found


_CORPUS: dict[str, Callable[[Generation, Sequence[str], Sequence[Sequence[str]]], float]] = {
    "bleu": lambda task, answers, references: text_metrics.bleu(answers, references, task.bleu_tokenize),
    "chrf": lambda task, answers, references: text_metrics.chrf(answers, references),
}


def _corpus_score(
    name: str,
    metric: Callable[[Sequence[str], Sequence[Sequence[str]]], float],
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    group: str | None,
) -> Score:
    """Returns a metric of the corpus. With m_i the metric without the i-th of g groups, the standard error is
    sqrt((g - 1) / g sum (m_i - mean m)^2)."""
    n = len(answers)
    parts = min(NUM_GROUPS, n)
    error = None
    if parts > 1:
        without = []
        for part in range(parts):
            kept = [number for number in range(n) if number % parts != part]
            without.append(metric([answers[i] for i in kept], [references[i] for i in kept]))
        error = math.sqrt((parts - 1) * float(np.var(without)))
    return Score(name, metric(answers, references), error, n, group)
