"""evaluate: scores models on tasks, compares several models, and generates sample texts.

It writes these files:

    data/scores.parquet, data/scores.json              model, task, metric, group, value, standard_error, n, chance
    data/comparisons.parquet, data/comparisons.json    every two models on every metric: difference, interval, p
    data/contamination.parquet                         the items that are in training documents
    data/items/<model>/<task>.parquet                  one row per document, question or prompt
    data/samples.jsonl                                 the texts that the models wrote

The stage evaluates first the models of the setting `models`, then the models of the stages in `from`, in that order.
Without `from`, it uses the newest model of the stages above. Headline metrics and `require` refer to the last model
unless they name another one.

Each pair of a task and a model is a unit of work (`evaluation_units.py`). With `num_workers` 0 the units run one after
the other in this process, with all its cores and its accelerator.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationInfo, field_validator

from bessemer.errors import UsageError
from bessemer.evaluate import declared, recipe_tasks, requirements
from bessemer.evaluate.compare import ComparisonSettings
from bessemer.evaluate.contamination import ContaminationSettings
from bessemer.evaluate.kinds import AnyTask
from bessemer.evaluate.requirements import Requirement
from bessemer.recipe.inputs import Input
from bessemer.recipe.settings import Shorthand, execution
from bessemer.sandbox.protection import warn_if_unprotected
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig
from bessemer.stages.engine import named_models

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.evaluate.datasets import Dataset
    from bessemer.evaluate.scores import Result
    from bessemer.evaluate.task import Task


class Config(StageConfig):
    num_workers: int | Literal["auto"] | None = execution(0)
    """Worker processes for tasks: 0 runs them in this process, with all its cores or its GPU; `auto` starts one per GPU
    of the cluster, or one per CPU if it has no GPU."""
    datasets: RecipePath | None = execution(None)
    """Folder with the dataset files of declared tasks."""
    tasks: dict[str, Annotated[AnyTask, Shorthand(declared.reference_schema)]] = Field({})
    """Tasks by name: a declared task with changes (`arc_easy: {num_fewshot: 5}`), your own file (`mine: {file:
    my_task.yaml}`), or a full declaration. The default is bits per byte, the `questions` artifact if there is one, and
    samples."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Number type of the computation; `auto` is bf16 if the hardware supports bf16 multiplication."""
    models: dict[str, RecipePath] = execution({})
    """Further models, each with a name of your choice: the path of a model folder, an artifact, a checkpoint or a run.
    """
    comparison: ComparisonSettings = ComparisonSettings()
    """Settings of the comparison of several models."""
    contamination: ContaminationSettings | None = ContaminationSettings()
    """Settings of the search for test items in the training text (the documents, conversations and preferences of the
    stages above); `null` turns the search off."""
    require: dict[str, str] = Field({})
    """Conditions on scores: `questions/acc: ">= 0.3"`, for a certain model `pretrain/questions/acc: ">= 0.3"`, for a
    difference `align - pretrain/questions/acc: ">= -0.01"`. The run fails if a condition is false."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _resolve(cls, tasks: Any, info: ValidationInfo) -> Any:
        """Replaces references to task declarations by the declarations, so that the recipe checks and records them."""
        place = partial(TypeAdapter(RecipePath).validate_python, context=info.context)
        return declared.resolve_all(tasks, datasets=info.data.get("datasets"), place=place)

    @field_validator("tasks", "models")
    @classmethod
    def _names(cls, named: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        what = "task" if info.field_name == "tasks" else "model"
        for name in named:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"the {what} name `{name}` may contain only letters, digits, `_` and `-`")
        return named

    @field_validator("require")
    @classmethod
    def _conditions(cls, require: dict[str, str]) -> dict[str, str]:
        for metric, condition in require.items():
            Requirement.parse(metric, condition)
        return require

    @property
    def requirements(self) -> list[Requirement]:
        return [Requirement.parse(metric, condition) for metric, condition in self.require.items()]


def outside(config: Config) -> Any:
    """Identifies the content of models, documents, datasets and reward code from outside the recipe.

    Reads and checks every item, so that a faulty dataset fails before the recipe runs. Raises InputError.
    """
    from bessemer.evaluate.held_out_text import named_documents
    from bessemer.stages.engine.named_documents import content

    found: dict[str, Any] = {"further models": named_models.content(config.models)} if config.models else {}
    found |= {name: content(text) for name, text in named_documents(config.tasks).items()}
    return found | recipe_tasks.check_files(config.tasks)


def check(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    """Raises UsageError for two models with the same name, a requirement that no task measures, or a task without data.

    Raises InputError if a task needs a chat template and an imported model has none.
    """
    models = named_models.names(config.models, inputs)
    tasks = tasks_of(config, inputs)
    requirements.check_names(config.requirements, tasks, models)
    if any(task.is_conversation for task in tasks.values()):
        _check_chat_templates(config, inputs)
    recipe_tasks.check_inputs(tasks, inputs)


def _check_chat_templates(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    from bessemer.stages import base_model
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.tokenizer import TokenizerFolder

    brought = {name: named_models.find_model(path) for name, path in config.models.items()}
    brought |= {kind: Path(stage.path) for kind, stage in inputs.items() if isinstance(stage, base_model.Config)}
    for folder in brought.values():
        ChatTemplate.of(TokenizerFolder.open(folder))


def tasks_of(config: Config, inputs: Collection[str]) -> Mapping[str, Task]:
    """Returns the recipe's tasks, or the default tasks if it has none."""
    return config.tasks or recipe_tasks.default_tasks(inputs)


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.evaluate.summary import summarise
    from bessemer.stages.engine.evaluation_units import carry_out

    models = named_models.subjects(config.models, inputs)
    tasks = tasks_of(config, inputs)
    made = recipe_tasks.made_datasets(
        inputs["questions"].parts(".jsonl")[0] if "questions" in inputs else None,
        inputs["conversations"].parts() if "conversations" in inputs else None,
        draft.work,
    )
    recipe_tasks.check_made_items(tasks, made)
    _check_tokens(inputs)
    if any(task.runs_programs for task in tasks.values()):
        warn_if_unprotected(context.log)
    splits = (config.contamination or ContaminationSettings()).splits
    results = carry_out(tasks, models, made, inputs, draft, context, dtype=config.dtype, trained_splits=splits)
    judged = _contamination(config.contamination, tasks, made, results, inputs, draft, context)
    found = summarise(draft.data, tasks, list(models), results, judged, config.comparison, context.log)
    draft.metrics |= found.headlines
    draft.resolved["headline"] = next(iter(found.headlines), None)
    known = requirements.measurements(found.scores, found.comparisons, last=list(models)[-1])
    requirements.check(config.requirements, known)


def _check_tokens(inputs: Inputs) -> None:
    """Raises UsageError if the tokens were made from other documents than the inputs."""
    if "documents" in inputs and "tokens" in inputs:
        trained_on = inputs["tokens"].manifest.inputs.get("documents")
        if trained_on is not None and trained_on["digest"] != inputs["documents"].manifest.digest:
            raise UsageError(
                f"the tokens were not made from the documents of `{inputs['documents'].manifest.stage}`",
                hint="name in `from` the stage whose documents `tokenize` read",
            )


def _contamination(
    settings: ContaminationSettings | None,
    tasks: Mapping[str, Task],
    made: Mapping[str, Dataset],
    results: Mapping[tuple[str, str], Result],
    inputs: Inputs,
    draft: Draft,
    context: Context,
) -> pa.Table | None:
    """Searches the training text, if any, for dataset items and held-out documents. Writes and returns the result."""
    from bessemer.artifacts.documents import write_parquet
    from bessemer.evaluate.contamination import checked_items
    from bessemer.stages.engine import training_text

    parts = training_text.training_parts(inputs)
    if settings is None or not parts:
        return None
    documents = inputs["documents"].parts() if "documents" in inputs else []
    items = checked_items(tasks, made, results, documents, draft.work)
    work = draft.work / "contamination"
    judged = training_text.contamination(items, parts, settings.splits, settings.threshold, work, context)
    write_parquet(judged, draft.data / "contamination.parquet")
    return judged


STAGE = Stage(
    kind="evaluate",
    version=7,
    config=Config,
    inputs=(
        Input("model", many=True),
        Input("tokens", optional=True),
        Input("questions", optional=True),
        Input("documents", optional=True),
        Input("conversations", optional=True),
        Input("preferences", optional=True),
        Input("classifier", optional=True),
    ),
    produces="scores",
    run=run,
    libraries=("tokenizers", "torch"),
    outside=outside,
    check=check,
)
