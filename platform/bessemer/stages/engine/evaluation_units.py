"""Runs the tasks of `evaluate` as units of work. A unit is one task on one model.

Each unit writes its items and scores to disk, so a killed run repeats only the unfinished units. A worker keeps the
last model that it loaded, and units are ordered by model, so each worker loads a model once.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bessemer import storage
from bessemer.errors import NotFinite
from bessemer.stages.base import Context, Draft, Inputs
from bessemer.stages.engine.work_units import Unit, run_units

if TYPE_CHECKING:
    from bessemer.evaluate.materials import Materials, TrainingText
    from bessemer.evaluate.scores import Result
    from bessemer.evaluate.task import Task

DOCUMENTS = "documents"
"""Subfolder of the work folder. It holds the documents that tasks name, as `<task>.parquet`."""


def carry_out(
    tasks: Mapping[str, Task],
    models: Mapping[str, Path],
    made: Mapping[str, str],
    inputs: Inputs,
    draft: Draft,
    context: Context,
    *,
    dtype: Literal["auto", "bfloat16", "float32"],
    trained_splits: Sequence[str],
) -> dict[tuple[str, str], Result]:
    """Runs every task on every model, writes the samples to disk, and returns the results by (model, task).

    `made` holds the datasets that earlier stages made, by kind of artifact. `trained_splits` are the splits that the
    models were trained on.
    """
    from bessemer.artifacts.documents import read_parquet
    from bessemer.evaluate.materials import TrainingText
    from bessemer.evaluate.scores import Result, Score
    from bessemer.model.hardware import choose_device, choose_dtype
    from bessemer.stages.engine import training_text

    chosen = choose_dtype(dtype, choose_device())
    draft.resolved["dtype"] = str(chosen).removeprefix("torch.")
    _read_named_documents(tasks, draft, context)
    _record_held_out_text(tasks, inputs, draft, context)
    tokens = inputs["tokens"].data if "tokens" in inputs else None
    documents = inputs["documents"].parts() if "documents" in inputs else []
    read = partial(training_text.training_documents, training_text.training_parts(inputs), tuple(trained_splits))
    text = TrainingText(documents, read, training_text.personal_data_in)
    classifier = inputs["classifier"].data if "classifier" in inputs else None
    make_worker = partial(_Evaluate, dict(models), tokens, dict(made), text, classifier, chosen, draft.data, draft.work)
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
        if tasks[task].shows_samples
        for row in result.items.to_pylist()
    ]
    storage.write_text(draft.data / "samples.jsonl", "".join(f"{line}\n" for line in lines))
    return results


def made_datasets(inputs: Inputs, draft: Draft) -> dict[str, str]:
    """Returns the datasets that earlier stages made, as glob patterns by kind of artifact."""
    from bessemer.tokens.row_tables import CONVERSATIONS, read_split

    found = {}
    if "questions" in inputs:
        (file,) = inputs["questions"].parts(".jsonl")
        found["questions"] = glob.escape(str(file))
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
            found["conversations"] = glob.escape(str(file))
    return found


def documents_file(work: Path, task: str) -> Path:
    """Returns the Parquet file of the documents that a task names."""
    return work / DOCUMENTS / f"{task}.parquet"


def _items_file(data: Path, model: str, task: str) -> Path:
    return data / "items" / model / f"{task}.parquet"


def _read_named_documents(tasks: Mapping[str, Task], draft: Draft, context: Context) -> None:
    from bessemer.stages.engine.named_documents import read_documents

    for name, task in tasks.items():
        if task.predicted_text is not None and task.predicted_text.documents:
            file = documents_file(draft.work, name)
            if not file.exists():
                read_documents(name, task.predicted_text, file, context.log)


def _record_held_out_text(tasks: Mapping[str, Task], inputs: Inputs, draft: Draft, context: Context) -> None:
    """Records a digest of each held-out text. Bits per byte are comparable only for equal digests."""
    from bessemer.stages.engine.training_text import digests

    predicted = {name: text for name, task in tasks.items() if (text := task.predicted_text) is not None}
    splits = sorted({text.split for text in predicted.values() if not text.documents})
    found = digests(inputs["documents"].parts(), splits) if splits and "documents" in inputs else {}
    for name, text in predicted.items():
        if text.documents:
            found[f"documents of {name}"] = digests([documents_file(draft.work, name)], [text.split])[text.split]
    if found:
        draft.resolved["held_out_text"] = found
    for described, digest in found.items():
        context.log.info("held-out text `%s`: %s; compare bits per byte only on equal text", described, digest)


@dataclass
class _Evaluate:
    """Runs evaluation units in one process."""

    models: dict[str, Path]
    tokens: Path | None
    made: dict[str, str]
    training_text: TrainingText
    classifier: Path | None
    dtype: Any
    data: Path
    work: Path
    loaded: str = ""
    materials: Materials | None = None

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        from bessemer.artifacts.documents import write_parquet

        model, name, task = unit.payload
        if model != self.loaded:
            self.materials = None  # frees the memory of the last model before the next is loaded
            self.materials, self.loaded = self._load(model), model
        try:
            result = task.score(self._materials_of(name, task))
        except NotFinite as error:
            raise NotFinite(f"the task `{name}` on the model `{model}`: {error.message}", hint=error.hint) from None
        write_parquet(result.items, _items_file(self.data, model, name))
        return {"scores": [asdict(score) for score in result.scores]}

    def _materials_of(self, name: str, task: Task) -> Materials:
        """Returns the loaded model and its materials, including the tokens of the documents that the task names."""
        assert self.materials is not None
        if task.predicted_text is None or not task.predicted_text.documents:
            return self.materials
        from bessemer.stages.engine.named_documents import token_store
        from bessemer.tokens.store import TokenStore

        folder = self.work / "tokens" / self.loaded / name
        store = token_store(documents_file(self.work, name), self.materials.subject.tokenizer, folder)
        return replace(self.materials, store=TokenStore.open(store))

    def _load(self, model: str) -> Materials:
        from bessemer.evaluate.evaluated_model import EvaluatedModel
        from bessemer.evaluate.materials import Materials
        from bessemer.model.hardware import choose_device
        from bessemer.model.memory import keep_freed_memory
        from bessemer.tokens.store import TokenStore

        keep_freed_memory()
        return Materials(
            EvaluatedModel.load(self.models[model], dtype=self.dtype, device=choose_device()),
            TokenStore.open(self.tokens) if self.tokens else None,
            self.made,
            self.training_text,
            self.classifier,
        )
