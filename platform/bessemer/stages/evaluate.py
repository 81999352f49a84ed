"""evaluate: tasks on one model or several; scores with standard errors, how models differ, and samples to read.

    data/scores.parquet, data/scores.json              model, task, metric, group, value, standard_error, n, chance
    data/comparisons.parquet, data/comparisons.json    every two models on every metric: difference, interval, p
    data/contamination.parquet                         which items stand in which training documents
    data/items/<model>/<task>.parquet                  one row a document, question or prompt
    data/samples.jsonl                                 what the models wrote

The models are those of the stages that `from` names, in that order, or else the newest above; those of `models` come
before them. The last is what the headlines and `require` mean where they name none.

A task on a model is a unit of work: a run that was killed does the unfinished ones only. With `num_workers` 0 they run
one after the other in this process, with all its cores and its accelerator.
"""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationInfo, field_validator

from bessemer import storage
from bessemer.align.rewards import code_of, runs_programs
from bessemer.errors import InputError, NotFinite, UsageError
from bessemer.evaluate import declared, requirements
from bessemer.evaluate.kinds import BitsPerByte, Code, Generation, Items, MultipleChoice, Samples
from bessemer.evaluate.requirements import Requirement
from bessemer.evaluate.risks import AnyTask, Exposure, Memorisation, PersonalData, Toxicity
from bessemer.evaluate.settings import ComparisonSettings, ContaminationSettings
from bessemer.recipe.settings import Shorthand, execution
from bessemer.sandbox.protection import warn_if_unprotected
from bessemer.stages import subjects
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig
from bessemer.stages.units import Unit, run_units

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.evaluate.run import TrainingText
    from bessemer.evaluate.scores import Result

MAKERS = {"tokens": "`tokenize`", "documents": "the stages of the documents", "classifier": "`toxicity_classifier`"}
ASKED = {"multiple_choice": "questions", "generation": "conversations"}
"""What a task without a dataset asks, by its kind."""
MOST_HEADLINES = 40
"""Metrics of one stage in MLflow; the artifact has all."""


def _declared_elsewhere(_: dict[str, Any]) -> dict[str, Any]:
    """The schema of a task that changes a declared one or one in a file."""
    named = {"task": {"enum": declared.names()}, "file": {"type": "string"}}
    changed = {"type": "object", "properties": named, "not": {"required": ["kind"]}}
    return {"anyOf": [{"type": "null"}, changed]}


class Config(StageConfig):
    num_workers: int | Literal["auto"] | None = execution(0)
    """Worker processes for tasks: 0 runs them in this process, with all its cores or its GPU; `auto` is one per GPU of
    the cluster, or per CPU if it has none."""
    datasets: RecipePath | None = execution(None)
    """The folder in which declared tasks find their files."""
    tasks: dict[str, Annotated[AnyTask, Shorthand(_declared_elsewhere)]] = Field({})
    """Tasks by name: a declared one with changes (`arc_easy: {num_fewshot: 5}`), a file of one's own (`mine: {file:
    my_task.yaml}`), or a declaration. If none are given: bits per byte, the `questions` artifact where there is one,
    and samples."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What the model computes in; bf16 where the hardware multiplies it if `auto`."""
    models: dict[str, RecipePath] = execution({})
    """Further models by a name of one's own: the path of a model's folder, an artifact, a checkpoint or a run."""
    comparison: ComparisonSettings = ComparisonSettings()
    """How models are compared, where there are several."""
    contamination: ContaminationSettings | None = ContaminationSettings()
    """How items are looked for in what the models were trained on, the documents, conversations and preferences of the
    stages above; `null` does not."""
    require: dict[str, str] = Field({})
    """What scores must be for the run to go on: `questions/acc: ">= 0.3"`, of a certain model
    `pretrain/questions/acc`, of a difference `align - pretrain/questions/acc: ">= -0.01"`."""

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

    @field_validator("models")
    @classmethod
    def _model_names(cls, models: dict[str, Any]) -> dict[str, Any]:
        for name in models:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"the model name `{name}` has other characters than letters, digits, `_` and `-`")
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
    """The content of the models and datasets that are not the recipe's. Every item is checked before anything runs."""
    from bessemer.evaluate.datasets import content
    from bessemer.evaluate.items import read_items

    found: dict[str, Any] = {"further models": subjects.content(config.models)} if config.models else {}
    for name, task in config.tasks.items():
        if isinstance(task, Items):
            try:
                read_items(task)
                datasets = (task.dataset, getattr(task, "fewshot_dataset", None))
                found[name] = [None if dataset is None else content(dataset) for dataset in datasets]
                if code := code_of(getattr(task, "rewards", ())):
                    found[f"rewards of {name}"] = code
            except InputError as error:
                raise InputError(f"the task `{name}`: {error.message}", hint=error.hint) from None
    return found


def check(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    """Raises UsageError for two models of one name, a requirement that no task measures, or a task without data.

    Raises InputError for a brought model without the chat template that a task needs.
    """
    models = subjects.names(config.models, inputs)
    tasks = tasks_of(config, inputs)
    requirements.check_names(config.requirements, tasks, models)
    if any(getattr(task, "apply_chat_template", False) for task in tasks.values()):
        _check_chat_templates(config, inputs)
    for name, task in tasks.items():
        if isinstance(task, MultipleChoice | Generation) and task.dataset is None:
            _check_asked(name, task, ASKED[task.kind] in inputs)
        begins = not getattr(task, "prompts", ())
        needed = []
        if isinstance(task, BitsPerByte) or (isinstance(task, Samples) and begins):
            needed.append(("held-out text", "tokens"))
        if isinstance(task, Memorisation) or (isinstance(task, PersonalData) and begins):
            needed.append(("training text", "tokens"))
        if isinstance(task, Exposure | PersonalData):
            needed.append(("training documents", "documents"))
        if isinstance(task, Toxicity):
            needed.append(("a classifier", "classifier"))
        for what, kind in needed:
            if kind not in inputs:
                raise UsageError(
                    f"the task `{name}` reads {what}, and no stage above makes {kind}",
                    hint=f"put {MAKERS[kind]} before `evaluate`, or leave the task out",
                )


def _check_chat_templates(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    from bessemer.stages import base_model
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.tokenizer import TokenizerFolder

    brought = {name: subjects.find_model(path) for name, path in config.models.items()}
    brought |= {kind: Path(stage.path) for kind, stage in inputs.items() if isinstance(stage, base_model.Config)}
    for folder in brought.values():
        ChatTemplate.of(TokenizerFolder.open(folder))


def _check_asked(name: str, task: MultipleChoice | Generation, there: bool) -> None:
    if not there:
        stage = "questions" if isinstance(task, MultipleChoice) else "conversations` with a split `test"
        raise UsageError(
            f"the task `{name}` has nothing to ask",
            hint=f"set its `dataset` to a file of questions, or put a stage `{stage}` before `evaluate`",
        )


def tasks_of(config: Config, inputs: Collection[str]) -> Mapping[str, Any]:
    """The recipe's tasks, or else the usual ones."""
    if config.tasks:
        return config.tasks
    asked = {"questions": MultipleChoice(kind="multiple_choice")} if "questions" in inputs else {}
    return {"held_out": BitsPerByte(kind="bits_per_byte"), **asked, "samples": Samples(kind="samples")}


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.evaluate.compare import compare, write_comparisons
    from bessemer.evaluate.contamination import clean_scores
    from bessemer.evaluate.measures import measured
    from bessemer.evaluate.scores import write_scores
    from bessemer.stages import training_text

    models = subjects.subjects(config.models, inputs)
    made = _datasets(inputs, draft)
    tasks = tasks_of(config, inputs)
    _check_inputs(tasks, inputs, made)
    if any(isinstance(task, Code) or runs_programs(getattr(task, "rewards", ())) for task in tasks.values()):
        warn_if_unprotected(context.log)
    results = _carry_out(config, inputs, models, tasks, made, draft, context)

    scores = [(model, task, score) for (model, task), result in results.items() for score in result.scores]
    by_item = [
        one for (model, task), result in results.items() for one in measured(model, task, result, tasks[task].headlines)
    ]
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
            context.log.info("not compared, for items have no part in them: %s", ", ".join(left_out))
    _tell(scores, comparisons, context.log)
    chosen = headlines(tasks, scores, list(models))
    draft.metrics |= dict(list(chosen.items())[:MOST_HEADLINES])
    draft.resolved["headline"] = next(iter(chosen), None)
    if len(chosen) > MOST_HEADLINES:
        context.log.warning(
            "%d of %d headline metrics go to MLflow; all are in scores.parquet", MOST_HEADLINES, len(chosen)
        )
    known = requirements.measurements(scores, comparisons, last=list(models)[-1])
    requirements.check(config.requirements, known)


def _tell(scores: Sequence[tuple[str, str, Any]], comparisons: Sequence[Any], log: logging.Logger) -> None:
    for model, task, score in scores:
        if score.group is None:
            error = "" if score.standard_error is None else f" ± {score.standard_error:.3g}"
            chance = "" if score.chance is None else f", chance {score.chance:.4g}"
            name = f"{model}, {task}: {score.metric}"
            log.info("%s %.4g%s (n = %d%s)", name, score.value, error, score.n, chance)
    for one in comparisons:
        name = f"{one.task}: {one.metric}, {one.model_b} - {one.model_a}"
        noise = ", larger than noise" if one.larger_than_noise else ""
        log.info("%s %+.4g (95 %%: %.4g to %.4g), p = %.2g%s", name, one.difference, one.low, one.high, one.p, noise)


def _check_inputs(tasks: Mapping[str, Any], inputs: Inputs, made: Mapping[str, str]) -> None:
    """Raises UsageError for a task that finds nothing in its material, and for text of other documents."""
    from bessemer.evaluate.items import read_items

    for name, task in tasks.items():
        if isinstance(task, MultipleChoice | Generation) and task.dataset is None:
            _check_asked(name, task, task.kind in made)
            read_items(task, made)
    if "documents" in inputs and "tokens" in inputs:
        trained_on = inputs["tokens"].manifest.inputs.get("documents")
        if trained_on is not None and trained_on["digest"] != inputs["documents"].manifest.digest:
            raise UsageError(
                f"the tokens were not made of the documents of `{inputs['documents'].manifest.stage}`",
                hint="name the stage whose documents were tokenized in `from`",
            )


def _carry_out(
    config: Config,
    inputs: Inputs,
    models: Mapping[str, Path],
    tasks: Mapping[str, Any],
    made: Mapping[str, str],
    draft: Draft,
    context: Context,
) -> dict[tuple[str, str], Result]:
    """The result of each model on each task, by task; and the samples, on disk."""
    from bessemer.artifacts.documents import read_parquet
    from bessemer.evaluate.run import TrainingText
    from bessemer.evaluate.scores import Result, Score
    from bessemer.model.hardware import choose_device, choose_dtype
    from bessemer.stages import training_text

    dtype = choose_dtype(config.dtype, choose_device())
    draft.resolved["dtype"] = str(dtype).removeprefix("torch.")
    predicted = sorted({task.split for task in tasks.values() if isinstance(task, BitsPerByte)})
    if predicted and "documents" in inputs:
        draft.resolved["held_out_text"] = training_text.digests(inputs["documents"].parts(), predicted)
        for split, digest in draft.resolved["held_out_text"].items():
            context.log.info("text of the split `%s`: %s; compare bits per byte of equal text only", split, digest)
    tokens = inputs["tokens"].data if "tokens" in inputs else None
    documents = inputs["documents"].parts() if "documents" in inputs else []
    splits = (config.contamination or ContaminationSettings()).splits
    read = partial(training_text.training_documents, training_text.training_parts(inputs), splits)
    text = TrainingText(documents, read, training_text.personal_data_in)
    classifier = inputs["classifier"].data if "classifier" in inputs else None
    make_worker = partial(_Evaluate, dict(models), tokens, dict(made), text, classifier, dtype, draft.data)
    pairs = [(model, task) for model in models for task in tasks]
    units = [Unit(f"{model}.{task}", (model, task, tasks[task])) for model, task in pairs]
    work = draft.work / "receipts"
    receipts = run_units(units, make_worker, work, context, unit_name="tasks", has_model=True)
    found = dict(zip(pairs, receipts, strict=True))
    results = {
        (model, task): Result(
            [Score(**row) for row in found[model, task]["scores"]], read_parquet(_items_file(draft.data, model, task))
        )
        for task in tasks
        for model in models
    }
    lines = [
        json.dumps({"model": model, "task": task} | row, ensure_ascii=False)
        for (model, task), result in results.items()
        if isinstance(tasks[task], Samples)
        for row in result.items.to_pylist()
    ]
    storage.write_text(draft.data / "samples.jsonl", "".join(f"{line}\n" for line in lines))
    return results


def _items_file(data: Path, model: str, task: str) -> Path:
    return data / "items" / model / f"{task}.parquet"


def _contamination(
    settings: ContaminationSettings,
    tasks: Mapping[str, Any],
    made: Mapping[str, str],
    results: Mapping[tuple[str, str], Result],
    inputs: Inputs,
    draft: Draft,
    context: Context,
) -> pa.Table:
    """Which items stand in what was trained on: those of datasets, and the held-out documents themselves."""
    from bessemer.artifacts.documents import write_parquet
    from bessemer.evaluate.contamination import Item
    from bessemer.evaluate.items import read_items
    from bessemer.stages import training_text

    documents = inputs["documents"].parts() if "documents" in inputs else []
    items = []
    for name, task in tasks.items():
        if isinstance(task, Items):
            items += [Item(name, item.id, item.text) for item in read_items(task, made)]
        elif isinstance(task, BitsPerByte):
            of_models = (result.items["id"].to_pylist() for (_, other), result in results.items() if other == name)
            texts = training_text.texts_of({document for ids in of_models for document in ids}, documents)
            items += [Item(name, *document) for document in sorted(texts.items())]
    parts = training_text.training_parts(inputs)
    work = draft.work / "contamination"
    judged = training_text.contamination(items, parts, settings.splits, settings.threshold, work, context)
    write_parquet(judged, draft.data / "contamination.parquet")
    return judged


def headlines(
    tasks: Mapping[str, Any], scores: Sequence[tuple[str, str, Any]], models: Sequence[str]
) -> dict[str, float]:
    """What MLflow gets: the metrics that tasks name, of all their items; each task's first one before any second.

    The last model's come first and are called `evaluate/<task>/<metric>`; of others, the model stands before the task.
    """
    found = {(model, task, score.metric): score.value for model, task, score in scores if score.group is None}
    named = [
        (model != models[-1], rank, model, task, metric)
        for model in models
        for task, settings in tasks.items()
        for rank, metric in enumerate(settings.headlines)
        if (model, task, metric) in found
    ]
    return {
        f"evaluate/{model}/{task}/{metric}" if other else f"evaluate/{task}/{metric}": found[model, task, metric]
        for other, _, model, task, metric in sorted(named, key=lambda one: one[:2])
    }


def _datasets(inputs: Inputs, draft: Draft) -> dict[str, str]:
    """By kind of task, what the stages above made to be asked: a pattern of files, or a file."""
    from bessemer.tokens.rows import CONVERSATIONS, read_split

    found = {}
    if "questions" in inputs:
        (file,) = inputs["questions"].parts(".jsonl")
        found["multiple_choice"] = glob.escape(str(file))
    if "conversations" in inputs:
        names = ["id", "messages", "variables", "fields"]
        rows = read_split(inputs["conversations"].parts(), CONVERSATIONS, "test", names)
        lines = [
            json.dumps(
                json.loads(fields)
                | {"id": name, "question": messages[-2]["content"], "answer": messages[-1]["content"]}
            )
            for name, messages, variables, fields in zip(*(rows[name].to_pylist() for name in names), strict=True)
            if [message["role"] for message in messages] == ["user", "assistant"] and variables is None
        ]
        if lines:
            file = draft.work / "conversations.jsonl"
            storage.write_text(file, "".join(f"{line}\n" for line in lines))
            found["generation"] = glob.escape(str(file))
    return found


@dataclass
class _Evaluate:
    """Does tasks in one process. A model is loaded once, for it keeps the one that it had last."""

    models: dict[str, Path]
    tokens: Path | None
    made: dict[str, str]
    training_text: TrainingText
    classifier: Path | None
    dtype: Any
    data: Path
    loaded: str = ""
    materials: Any = None

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        from bessemer.artifacts.documents import write_parquet
        from bessemer.evaluate.run import run_task

        model, task, settings = unit.payload
        if model != self.loaded:
            self.materials = None  # before the next one takes its memory
            self.materials, self.loaded = self._load(model), model
        try:
            result = run_task(settings, self.materials)
        except NotFinite as error:
            raise NotFinite(f"the task `{task}` on the model `{model}`: {error.message}", hint=error.hint) from None
        write_parquet(result.items, _items_file(self.data, model, task))
        return {"scores": [asdict(score) for score in result.scores]}

    def _load(self, model: str) -> Any:
        from bessemer.evaluate.run import Materials
        from bessemer.evaluate.subject import Subject
        from bessemer.model.hardware import choose_device
        from bessemer.model.memory import keep_freed_memory
        from bessemer.tokens.store import TokenStore

        keep_freed_memory()
        return Materials(
            Subject.load(self.models[model], dtype=self.dtype, device=choose_device()),
            TokenStore.open(self.tokens) if self.tokens else None,
            self.made,
            self.training_text,
            self.classifier,
        )


STAGE = Stage(
    kind="evaluate",
    version=6,
    config=Config,
    consumes=("model",),
    many=("model",),
    optional=("tokens", "questions", "documents", "conversations", "preferences", "classifier"),
    produces="scores",
    run=run,
    libraries=("tokenizers", "torch"),
    outside=outside,
    check=check,
)
