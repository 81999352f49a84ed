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

from bessemer.errors import InputError, UsageError
from bessemer.evaluate import declared, requirements
from bessemer.evaluate.kinds import AnyTask
from bessemer.evaluate.kinds.bits_per_byte import BitsPerByte
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice
from bessemer.evaluate.kinds.samples import Samples
from bessemer.evaluate.requirements import Requirement
from bessemer.evaluate.settings import ComparisonSettings, ContaminationSettings
from bessemer.recipe.inputs import Input
from bessemer.recipe.settings import Shorthand, execution
from bessemer.sandbox.protection import warn_if_unprotected
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig
from bessemer.stages.engine import named_models

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.evaluate.scores import Result
    from bessemer.evaluate.task import Task

MAKERS = {
    "tokens": "`tokenize`",
    "documents": "the stages of the documents",
    "classifier": "`toxicity_classifier`",
    "questions": "a stage `questions`",
    "conversations": "a stage `conversations` with a split `test`",
}
"""The stages that make the artifacts that tasks read."""


def _declared_elsewhere(_: dict[str, Any]) -> dict[str, Any]:
    """Returns the JSON schema of a reference to a declared task or a task file, with changed settings."""
    named = {"task": {"enum": declared.names()}, "file": {"type": "string"}}
    changed = {"type": "object", "properties": named, "not": {"required": ["kind"]}}
    return {"anyOf": [{"type": "null"}, changed]}


class Config(StageConfig):
    num_workers: int | Literal["auto"] | None = execution(0)
    """Worker processes for tasks: 0 runs them in this process, with all its cores or its GPU; `auto` starts one per GPU
    of the cluster, or one per CPU if it has no GPU."""
    datasets: RecipePath | None = execution(None)
    """Folder with the dataset files of declared tasks."""
    tasks: dict[str, Annotated[AnyTask, Shorthand(_declared_elsewhere)]] = Field({})
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
                raise ValueError(f"the task name `{name}` may contain only letters, digits, `_` and `-`")
        return tasks

    @field_validator("models")
    @classmethod
    def _model_names(cls, models: dict[str, Any]) -> dict[str, Any]:
        for name in models:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"the model name `{name}` may contain only letters, digits, `_` and `-`")
        return models

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
    """Identifies the content of models, datasets and reward code from outside the recipe.

    Reads and checks every item, so that a faulty dataset fails before the recipe runs. Raises InputError.
    """
    from bessemer.stages.engine import named_documents

    found: dict[str, Any] = {"further models": named_models.content(config.models)} if config.models else {}
    for name, task in config.tasks.items():
        if task.predicted_text is not None and task.predicted_text.documents:
            found[name] = named_documents.content(task.predicted_text)
        try:
            task.items({})
            found |= task.content(name)
        except InputError as error:
            raise InputError(f"the task `{name}`: {error.message}", hint=error.hint) from None
    return found


def check(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    """Raises UsageError for two models with the same name, a requirement that no task measures, or a task without data.

    Raises InputError if a task needs a chat template and an imported model has none.
    """
    models = named_models.names(config.models, inputs)
    tasks = tasks_of(config, inputs)
    requirements.check_names(config.requirements, tasks, models)
    if any(task.is_conversation for task in tasks.values()):
        _check_chat_templates(config, inputs)
    for name, task in tasks.items():
        if task.items_from is not None and task.items_from not in inputs:
            raise _no_items(name, task.items_from)
        for needed in task.inputs:
            if needed.artifact not in inputs:
                raise UsageError(
                    f"the task `{name}` reads {needed.content}, and no stage above makes {needed.artifact}",
                    hint=f"put {MAKERS[needed.artifact]} before `evaluate`, or remove the task",
                )


def _check_chat_templates(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    from bessemer.stages import base_model
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.tokenizer import TokenizerFolder

    brought = {name: named_models.find_model(path) for name, path in config.models.items()}
    brought |= {kind: Path(stage.path) for kind, stage in inputs.items() if isinstance(stage, base_model.Config)}
    for folder in brought.values():
        ChatTemplate.of(TokenizerFolder.open(folder))


def _no_items(name: str, artifact: str) -> UsageError:
    return UsageError(
        f"the task `{name}` has no questions",
        hint=f"set its `dataset` to a file of questions, or put {MAKERS[artifact]} before `evaluate`",
    )


def tasks_of(config: Config, inputs: Collection[str]) -> Mapping[str, Task]:
    """Returns the recipe's tasks, or the default tasks if it has none."""
    if config.tasks:
        return config.tasks
    asked = {"questions": MultipleChoice(kind="multiple_choice")} if "questions" in inputs else {}
    return {"held_out": BitsPerByte(kind="bits_per_byte"), **asked, "samples": Samples(kind="samples")}


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.evaluate.compare import compare, write_comparisons
    from bessemer.evaluate.contamination import clean_scores
    from bessemer.evaluate.headlines import MOST_HEADLINES, headlines, log_scores
    from bessemer.evaluate.measures import measured
    from bessemer.evaluate.scores import write_scores
    from bessemer.stages.engine import training_text
    from bessemer.stages.engine.evaluation_units import carry_out, made_datasets

    models = named_models.subjects(config.models, inputs)
    made = made_datasets(inputs, draft)
    tasks = tasks_of(config, inputs)
    _check_inputs(tasks, inputs, made)
    if any(task.runs_programs for task in tasks.values()):
        warn_if_unprotected(context.log)
    settings = config.contamination or ContaminationSettings()
    results = carry_out(tasks, models, made, inputs, draft, context, dtype=config.dtype, trained_splits=settings.splits)

    scores = [(model, task, score) for (model, task), result in results.items() for score in result.scores]
    by_item = [one for (model, task), result in results.items() for one in measured(model, task, tasks[task], result)]
    if config.contamination is not None and training_text.training_parts(inputs):
        judged = _contamination(config.contamination, tasks, made, results, inputs, draft, context)
        scores += clean_scores(by_item, judged)
    write_scores(draft.data, scores)
    comparisons = compare(by_item, num_resamples=config.comparison.num_resamples, seed=config.comparison.seed)
    if len(models) > 1:
        write_comparisons(draft.data, comparisons)
        compared = {(one.task, one.metric) for one in by_item}
        left_out = [f"{t} {m}" for t in tasks for m in tasks[t].headlines if (t, m) not in compared]
        if left_out:
            context.log.info("not compared, because these metrics have no values per item: %s", ", ".join(left_out))
    log_scores(scores, comparisons, context.log)
    chosen = headlines(tasks, scores, list(models))
    draft.metrics |= dict(list(chosen.items())[:MOST_HEADLINES])
    draft.resolved["headline"] = next(iter(chosen), None)
    if len(chosen) > MOST_HEADLINES:
        context.log.warning(
            "only %d of %d headline metrics go to MLflow; scores.parquet has all", MOST_HEADLINES, len(chosen)
        )
    known = requirements.measurements(scores, comparisons, last=list(models)[-1])
    requirements.check(config.requirements, known)


def _check_inputs(tasks: Mapping[str, Task], inputs: Inputs, made: Mapping[str, str]) -> None:
    """Raises UsageError if a task has no items, or if the tokens were made from other documents than the inputs."""
    for name, task in tasks.items():
        if task.items_from is not None:
            if task.items_from not in made:
                raise _no_items(name, task.items_from)
            task.items(made)
    if "documents" in inputs and "tokens" in inputs:
        trained_on = inputs["tokens"].manifest.inputs.get("documents")
        if trained_on is not None and trained_on["digest"] != inputs["documents"].manifest.digest:
            raise UsageError(
                f"the tokens were not made from the documents of `{inputs['documents'].manifest.stage}`",
                hint="name in `from` the stage whose documents `tokenize` read",
            )


def _contamination(
    settings: ContaminationSettings,
    tasks: Mapping[str, Task],
    made: Mapping[str, str],
    results: Mapping[tuple[str, str], Result],
    inputs: Inputs,
    draft: Draft,
    context: Context,
) -> pa.Table:
    """Searches the training text for dataset items and held-out documents; writes and returns the judged items."""
    from bessemer.artifacts.documents import write_parquet
    from bessemer.evaluate.contamination import CheckedItem
    from bessemer.stages.engine import training_text
    from bessemer.stages.engine.evaluation_units import documents_file

    made_documents = inputs["documents"].parts() if "documents" in inputs else []
    items = []
    for name, task in tasks.items():
        items += [CheckedItem(name, item.id, item.text) for item in task.items(made)]
        if task.predicted_text is not None:
            of_models = (result.items["id"].to_pylist() for (_, other), result in results.items() if other == name)
            documents = [documents_file(draft.work, name)] if task.predicted_text.documents else made_documents
            texts = training_text.texts_of({document for ids in of_models for document in ids}, documents)
            items += [CheckedItem(name, *document) for document in sorted(texts.items())]
    parts = training_text.training_parts(inputs)
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
