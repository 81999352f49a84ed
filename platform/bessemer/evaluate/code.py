"""Runs programs that a model wrote against tests in the sandbox: pass@k (Chen et al., 2021).

`pass_at_k` is the probability that at least one of k programs passes. The unbiased estimate from n >= k programs, c of
which pass, is 1 - C(n - c, k) / C(n, k), averaged over items (section 2.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.items import CodeItem
from bessemer.evaluate.kinds import Code
from bessemer.evaluate.scores import Result, Score, grouped, mean_score
from bessemer.sandbox.run import Program, ProgramLimits, run_all

_COLUMNS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("group", pa.string()),
    pa.field("prompt", pa.string(), nullable=False),
    pa.field("completions", pa.list_(pa.string()), nullable=False),
    pa.field("statuses", pa.list_(pa.string()), nullable=False),
    pa.field("details", pa.list_(pa.string()), nullable=False),
    pa.field("num_passed", pa.int64(), nullable=False),
]


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k), computed as a product to avoid large numbers."""
    if num_samples - num_passed < k:
        return 1.0
    return 1.0 - float(np.prod(1.0 - k / np.arange(num_samples - num_passed + 1, num_samples + 1)))


def code(task: Code, subject: EvaluatedModel, items: Sequence[CodeItem]) -> Result:
    """Returns every `pass_at_k` of the task, and one row per item with its programs and the outcome of each."""
    count = task.num_samples
    room = max(subject.context - task.generation.max_new_tokens, subject.context // 2)
    prompts = [subject.generator.encode(item.prompt)[-room:] for item in items for _ in range(count)]
    written = [subject.without_special(one.text) for one in subject.complete(prompts, task.generation)]
    programs = [
        Program(f"{item.prompt}{text}\n{item.test}")
        for number, item in enumerate(items)
        for text in written[number * count : (number + 1) * count]
    ]
    outcomes = run_all(programs, ProgramLimits(cpu_seconds=task.cpu_seconds, wall_seconds=3.0 * task.cpu_seconds))
    rows = []
    for number, item in enumerate(items):
        own = slice(number * count, (number + 1) * count)
        passed = sum(outcome.passed for outcome in outcomes[own])
        rows.append(
            {
                "id": item.id,
                "group": item.group,
                "prompt": item.prompt,
                "completions": written[own],
                "statuses": [outcome.status for outcome in outcomes[own]],
                "details": [outcome.detail for outcome in outcomes[own]],
                "num_passed": passed,
            }
            | {f"pass_at_{k}": pass_at_k(count, passed, k) for k in task.k}
        )
    metrics = [pa.field(metric, pa.float64(), nullable=False) for metric in task.metrics]
    table = pa.Table.from_pylist(rows, schema=pa.schema([*_COLUMNS, *metrics]))
    scores: list[Score] = []
    for group, chosen in grouped(table["group"].to_pylist()):
        scores += [mean_score(metric, table[metric].to_numpy()[chosen], group=group) for metric in task.metrics]
    return Result(scores, table)
