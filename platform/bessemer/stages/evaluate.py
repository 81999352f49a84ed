"""evaluate: tasks on a model; scores with standard errors, one row an item, and samples to read.

    data/scores.parquet, data/scores.json    task, metric, group, value, standard_error, n, chance
    data/items/<task>.parquet                one row a document, question or prompt
    data/samples.jsonl                       what the model wrote

A task is a unit of work: a run that was killed does the unfinished tasks only. With `num_workers` 0 they run one
after the other in this process, with all its cores and its accelerator.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from bessemer import storage
from bessemer.errors import InputError, UsageError
from bessemer.evaluate.tasks import BitsPerByte, MultipleChoice, Samples
from bessemer.fingerprint import file_sha256
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig
from bessemer.stages.units import Unit, run_units


class Questions(MultipleChoice):
    """Multiple choice, from a file that the recipe names."""

    dataset: RecipePath | None = execution(None)
    """JSON lines of `query`, `choices` and `gold` (the right choice, from 0); the `questions` artifact if unset."""


class Config(StageConfig):
    num_workers: int | Literal["auto"] | None = execution(0)
    """Worker processes for tasks: 0 runs them in this process, with all its cores."""
    tasks: dict[str, Annotated[BitsPerByte | Questions | Samples, Field(discriminator="kind")]] = Field({})
    """Tasks by name; if none are given: bits per byte, the `questions` artifact where there is one, and samples."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What the model computes in; bf16 where the hardware multiplies it if `auto`."""

    @field_validator("tasks")
    @classmethod
    def _names(cls, tasks: dict[str, Any]) -> dict[str, Any]:
        for name in tasks:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"the task name `{name}` has other characters than letters, digits, `_` and `-`")
        return tasks


def outside(config: Config) -> Any:
    """The content of the questions that tasks bring."""
    found = {}
    for name, task in config.tasks.items():
        if isinstance(task, Questions) and task.dataset is not None:
            path = Path(task.dataset)
            if not path.is_file():
                raise InputError(
                    f"the task `{name}` names `{path}`, which is no file", hint="mend `dataset`, or leave it out"
                )
            found[name] = file_sha256(path)
    return found


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.evaluate.scores import Score, write_scores
    from bessemer.model.hardware import choose_device, choose_dtype

    dtype = choose_dtype(config.dtype, choose_device())
    draft.resolved["dtype"] = str(dtype).removeprefix("torch.")
    tasks = config.tasks or _default_tasks("questions" in inputs)
    questions = inputs["questions"].parts(".jsonl") if "questions" in inputs else []
    for name, task in tasks.items():
        if isinstance(task, MultipleChoice) and task.dataset is None and not questions:
            raise UsageError(
                f"the task `{name}` has nothing to ask",
                hint="set its `dataset` to a file of questions, or put a stage `questions` before `evaluate`",
            )
    make_worker = partial(_Evaluate, inputs["model"].data, inputs["tokens"].data, questions, dtype, draft.data)
    units = [Unit(name, task) for name, task in tasks.items()]
    receipts = run_units(units, make_worker, draft.work / "receipts", context, unit_name="tasks")

    scores = [(name, Score(**row)) for name, receipt in zip(tasks, receipts, strict=True) for row in receipt["scores"]]
    write_scores(draft.data, scores)
    rows = [{"task": name} | row for name, receipt in zip(tasks, receipts, strict=True) for row in receipt["samples"]]
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    storage.write_text(draft.data / "samples.jsonl", "".join(f"{line}\n" for line in lines))
    for name, score in scores:
        if score.group is None:
            draft.metrics[f"evaluate/{name}/{score.metric}"] = score.value
            error = "" if score.standard_error is None else f" ± {score.standard_error:.3g}"
            chance = "" if score.chance is None else f", chance {score.chance:.4g}"
            context.log.info("%s: %s %.4g%s (n = %d%s)", name, score.metric, score.value, error, score.n, chance)


def _default_tasks(with_questions: bool) -> dict[str, Any]:
    tasks: dict[str, Any] = {"held_out": BitsPerByte(kind="bits_per_byte")}
    if with_questions:
        tasks["questions"] = Questions(kind="multiple_choice")
    return tasks | {"samples": Samples(kind="samples")}


@dataclass
class _Evaluate:
    """Does tasks in one process. The model is loaded once."""

    model: Path
    tokens: Path
    questions: list[Path]
    dtype: Any
    data: Path
    subject: Any = field(init=False)
    store: Any = field(init=False)

    def __post_init__(self) -> None:
        from bessemer.evaluate.subject import Subject
        from bessemer.model.hardware import choose_device
        from bessemer.model.memory import keep_freed_memory
        from bessemer.tokens.store import TokenStore

        keep_freed_memory()
        self.subject = Subject.load(self.model, dtype=self.dtype, device=choose_device())
        self.store = TokenStore.open(self.tokens)

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        from bessemer.artifacts.documents import write_parquet
        from bessemer.evaluate.run import run_task

        result = run_task(unit.payload, self.subject, self.store, self.questions)
        write_parquet(result.items, self.data / "items" / f"{unit.name}.parquet")
        samples = result.items.to_pylist() if isinstance(unit.payload, Samples) else []
        return {"scores": [asdict(score) for score in result.scores], "samples": samples}


STAGE = Stage(
    kind="evaluate",
    version=1,
    config=Config,
    consumes=("model", "tokens"),
    optional=("questions",),
    produces="scores",
    run=run,
    libraries=("tokenizers", "torch"),
    outside=outside,
)
