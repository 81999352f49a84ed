"""evaluate: tasks on a model; scores with standard errors, one row an item, and samples to read.

    data/scores.parquet, data/scores.json    task, metric, group, value, standard_error, n, chance
    data/items/<task>.parquet                one row a document, question or prompt
    data/samples.jsonl                       what the model wrote

A task is a unit of work: a run that was killed does the unfinished tasks only. With `num_workers` 0 they run one
after the other in this process, with all its cores and its accelerator.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationInfo, field_validator

from bessemer import storage
from bessemer.errors import InputError, UsageError
from bessemer.evaluate import declared
from bessemer.evaluate.kinds import BitsPerByte, Items, MultipleChoice, Samples, Task
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig
from bessemer.stages.units import Unit, run_units

MOST_HEADLINES = 40
"""Metrics of one stage in MLflow; the artifact has all."""


class Config(StageConfig):
    num_workers: int | Literal["auto"] | None = execution(0)
    """Worker processes for tasks: 0 runs them in this process, with all its cores."""
    datasets: RecipePath | None = execution(None)
    """The folder in which declared tasks find their files."""
    tasks: dict[str, Task] = Field({})
    """Tasks by name: a declared one with changes (`arc_easy: {num_fewshot: 5}`), a file of one's own (`mine: {file:
    my_task.yaml}`), or a declaration. If none are given: bits per byte, the `questions` artifact where there is one,
    and samples."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What the model computes in; bf16 where the hardware multiplies it if `auto`."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _resolve(cls, tasks: Any, info: ValidationInfo) -> Any:
        """Declarations from files take their place in the recipe, so that all of them are checked and recorded."""
        if not isinstance(tasks, dict):
            return tasks
        place = partial(TypeAdapter(RecipePath).validate_python, context=info.context)
        resolved, problems = {}, []
        for name, given in tasks.items():
            try:
                resolved[name] = declared.resolve(str(name), given, datasets=info.data.get("datasets"), place=place)
            except ValueError as error:
                problems.append(f"the task `{name}`: {error}")
        if problems:
            raise ValueError("; ".join(problems))
        return resolved

    @field_validator("tasks")
    @classmethod
    def _names(cls, tasks: dict[str, Any]) -> dict[str, Any]:
        for name in tasks:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"the task name `{name}` has other characters than letters, digits, `_` and `-`")
        return tasks


def outside(config: Config) -> Any:
    """The content of the datasets that tasks bring. Every item is checked here, so before anything runs."""
    from bessemer.evaluate.datasets import content
    from bessemer.evaluate.items import check_items

    found = {}
    for name, task in config.tasks.items():
        if isinstance(task, Items):
            try:
                check_items(task)
                datasets = (task.dataset, getattr(task, "fewshot_dataset", None))
                found[name] = [None if dataset is None else content(dataset) for dataset in datasets]
            except InputError as error:
                raise InputError(f"the task `{name}`: {error.message}", hint=error.hint) from None
    return found


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.evaluate.items import choice_items
    from bessemer.evaluate.scores import Score, write_scores
    from bessemer.model.hardware import choose_device, choose_dtype

    dtype = choose_dtype(config.dtype, choose_device())
    draft.resolved["dtype"] = str(dtype).removeprefix("torch.")
    questions = f"{glob.escape(str(inputs['questions'].data))}/*.jsonl" if "questions" in inputs else None
    tasks: Mapping[str, Any] = config.tasks or _default_tasks(questions is not None)
    tokens = inputs["tokens"].data if "tokens" in inputs else None
    for name, task in tasks.items():
        if isinstance(task, MultipleChoice) and task.dataset is None:
            if questions is None:
                raise UsageError(
                    f"the task `{name}` has nothing to ask",
                    hint="set its `dataset` to a file of questions, or put a stage `questions` before `evaluate`",
                )
            choice_items(task, questions)
        if tokens is None and (isinstance(task, BitsPerByte) or (isinstance(task, Samples) and not task.prompts)):
            raise UsageError(
                f"the task `{name}` reads held-out text, and no stage above makes tokens",
                hint="put `tokenize` before `evaluate`",
            )
    make_worker = partial(_Evaluate, inputs["model"].data, tokens, questions, dtype, draft.data)
    units = [Unit(name, task) for name, task in tasks.items()]
    receipts = run_units(units, make_worker, draft.work / "receipts", context, unit_name="tasks")

    scores = [(name, Score(**row)) for name, receipt in zip(tasks, receipts, strict=True) for row in receipt["scores"]]
    write_scores(draft.data, scores)
    rows = [{"task": name} | row for name, receipt in zip(tasks, receipts, strict=True) for row in receipt["samples"]]
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    storage.write_text(draft.data / "samples.jsonl", "".join(f"{line}\n" for line in lines))
    for name, score in scores:
        if score.group is None:
            error = "" if score.standard_error is None else f" ± {score.standard_error:.3g}"
            chance = "" if score.chance is None else f", chance {score.chance:.4g}"
            context.log.info("%s: %s %.4g%s (n = %d%s)", name, score.metric, score.value, error, score.n, chance)
    chosen = headlines(tasks, scores)
    draft.metrics |= dict(list(chosen.items())[:MOST_HEADLINES])
    if len(chosen) > MOST_HEADLINES:
        context.log.warning(
            "%d of %d headline metrics go to MLflow; all are in scores.parquet", MOST_HEADLINES, len(chosen)
        )


def headlines(tasks: Mapping[str, Any], scores: Sequence[tuple[str, Any]]) -> dict[str, float]:
    """What MLflow gets: the metrics that tasks name, of all their items; each task's first one before any second."""
    found = {(name, score.metric): score.value for name, score in scores if score.group is None}
    named = [(rank, name, metric) for name, task in tasks.items() for rank, metric in enumerate(task.headlines)]
    ranked = sorted(named, key=lambda one: one[0])
    return {f"evaluate/{name}/{metric}": found[name, metric] for _, name, metric in ranked if (name, metric) in found}


def _default_tasks(with_questions: bool) -> dict[str, Any]:
    tasks: dict[str, Any] = {"held_out": BitsPerByte(kind="bits_per_byte")}
    if with_questions:
        tasks["questions"] = MultipleChoice(kind="multiple_choice")
    return tasks | {"samples": Samples(kind="samples")}


@dataclass
class _Evaluate:
    """Does tasks in one process. The model is loaded once."""

    model: Path
    tokens: Path | None
    questions: str | None
    dtype: Any
    data: Path
    materials: Any = field(init=False)

    def __post_init__(self) -> None:
        from bessemer.evaluate.run import Materials
        from bessemer.evaluate.subject import Subject
        from bessemer.model.hardware import choose_device
        from bessemer.model.memory import keep_freed_memory
        from bessemer.tokens.store import TokenStore

        keep_freed_memory()
        subject = Subject.load(self.model, dtype=self.dtype, device=choose_device())
        self.materials = Materials(subject, TokenStore.open(self.tokens) if self.tokens else None, self.questions)

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        from bessemer.artifacts.documents import write_parquet
        from bessemer.evaluate.run import run_task

        result = run_task(unit.payload, self.materials)
        write_parquet(result.items, self.data / "items" / f"{unit.name}.parquet")
        samples = result.items.to_pylist() if isinstance(unit.payload, Samples) else []
        return {"scores": [asdict(score) for score in result.scores], "samples": samples}


STAGE = Stage(
    kind="evaluate",
    version=2,
    config=Config,
    consumes=("model",),
    optional=("tokens", "questions"),
    produces="scores",
    run=run,
    libraries=("tokenizers", "torch"),
    outside=outside,
)
