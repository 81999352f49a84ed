"""Runs programs that a model wrote against tests in the sandbox: pass@k (Chen et al., 2021).

`pass_at_k` is the probability that at least one of k programs passes. The unbiased estimate from n >= k programs, c of
which pass, is 1 - C(n - c, k) / C(n, k), averaged over items (section 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt, StringConstraints, model_validator

from bessemer.artifacts.descriptions import Metric
from bessemer.evaluate.dataset_items import Item, read_items, text_of
from bessemer.evaluate.datasets import Dataset, Row
from bessemer.evaluate.scores import Result, Score, grouped, mean_score
from bessemer.evaluate.task import DatasetTask, Template
from bessemer.generate.settings import GenerationSettings
from bessemer.sandbox.run import Program, ProgramLimits, run_all

if TYPE_CHECKING:
    from bessemer.evaluate.materials import Materials

_COLUMNS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("group", pa.string()),
    pa.field("prompt", pa.string(), nullable=False),
    pa.field("completions", pa.list_(pa.string()), nullable=False),
    pa.field("statuses", pa.list_(pa.string()), nullable=False),
    pa.field("details", pa.list_(pa.string()), nullable=False),
    pa.field("num_passed", pa.int64(), nullable=False),
]
METRICS = {
    "pass_at_<k>": Metric("1", "Probability that one of k programs passes the tests (Chen et al., 2021, eq. 1)."),
}  # fmt: skip


class Code(DatasetTask):
    """Python programs, run against tests. Measures the probability that at least one of k programs passes."""

    descriptions: ClassVar = METRICS

    kind: Literal["code"]
    """The kind of task."""
    prompt: Template = "{{prompt}}"
    """The beginning of the program."""
    test: Template
    """The code that runs after the program. The program passes if this code ends without an exception."""
    num_samples: PositiveInt = 1
    """Programs per item. The seed increases by 1 per program, from `generation.seed`."""
    generation: GenerationSettings = GenerationSettings(temperature=0, max_new_tokens=512)
    """How programs are generated."""
    cpu_seconds: PositiveInt = 5
    """Largest CPU time of a program in seconds. A program that needs more fails."""
    metrics: tuple[Annotated[str, StringConstraints(pattern=r"^pass_at_[1-9][0-9]*$")], ...] = ("pass_at_1",)
    """The metrics to measure: `pass_at_1`, `pass_at_10`, .... `pass_at_k` is the probability that at least one of k
    programs passes."""

    @property
    def k(self) -> tuple[int, ...]:
        """The k of each metric."""
        return tuple(int(metric.removeprefix("pass_at_")) for metric in self.metrics)

    @model_validator(mode="after")
    def _enough_samples(self) -> Code:
        if max(self.k, default=1) > self.num_samples:
            raise ValueError(f"`pass_at_{max(self.k)}` needs `num_samples` of at least {max(self.k)}")
        if self.num_samples > 1 and self.generation.temperature == 0:
            raise ValueError("with `temperature` 0 all samples are equal; set `generation.temperature` above 0")
        return self

    @property
    def runs_programs(self) -> bool:
        return True

    def items(self, made: Mapping[str, Dataset]) -> list[CodeItem]:
        return read_items(self, self.dataset, self._item)

    def _item(self, row: Row, group: str | None) -> CodeItem:
        return CodeItem(row.id, group, text_of("prompt", self.prompt, row), text_of("test", self.test, row))

    def score(self, materials: Materials) -> Result:
        """Returns every `pass_at_k` of the task, and one row per item with its programs and the outcome of each."""
        subject, items = materials.subject, self.items(materials.made)
        count = self.num_samples
        room = max(subject.context - self.generation.max_new_tokens, subject.context // 2)
        prompts = [subject.generator.encode(item.prompt)[-room:] for item in items for _ in range(count)]
        written = [subject.without_special(one.text) for one in subject.complete(prompts, self.generation)]
        programs = [
            Program(f"{item.prompt}{text}\n{item.test}")
            for number, item in enumerate(items)
            for text in written[number * count : (number + 1) * count]
        ]
        outcomes = run_all(programs, ProgramLimits(cpu_seconds=self.cpu_seconds, wall_seconds=3.0 * self.cpu_seconds))
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
                | {f"pass_at_{k}": pass_at_k(count, passed, k) for k in self.k}
            )
        metrics = [pa.field(metric, pa.float64(), nullable=False) for metric in self.metrics]
        table = pa.Table.from_pylist(rows, schema=pa.schema([*_COLUMNS, *metrics]))
        scores: list[Score] = []
        for group, chosen in grouped(table["group"].to_pylist()):
            scores += [mean_score(metric, table[metric].to_numpy()[chosen], group=group) for metric in self.metrics]
        return Result(scores, table)


@dataclass(frozen=True)
class CodeItem(Item):
    """The beginning of a program, and the code that tests it."""

    prompt: str
    test: str

    @property
    def text(self) -> str:
        return self.prompt


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k), computed as a product to avoid large numbers."""
    if num_samples - num_passed < k:
        return 1.0
    return 1.0 - float(np.prod(1.0 - k / np.arange(num_samples - num_passed + 1, num_samples + 1)))
