"""Runs the tasks of `evaluate` as units of work. A unit is one task on one model.

Each unit writes its items and scores to disk, so a killed run repeats only the unfinished units. Units are ordered by
model, so each worker loads a model once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bessemer.artifacts.documents import read_parquet
from bessemer.evaluate.datasets import Dataset
from bessemer.evaluate.evaluator import Evaluator, items_file
from bessemer.evaluate.held_out_text import documents_file, named_documents, text_digests
from bessemer.evaluate.materials import TrainingText
from bessemer.evaluate.scores import Result, Score
from bessemer.evaluate.task import Task
from bessemer.model.hardware import choose_device, choose_dtype
from bessemer.stages.base import Context, Draft, Inputs
from bessemer.stages.engine import training_text
from bessemer.stages.engine.named_documents import read_documents
from bessemer.stages.engine.work_units import Unit, run_units


def carry_out(
    tasks: Mapping[str, Task],
    models: Mapping[str, Path],
    made: Mapping[str, Dataset],
    inputs: Inputs,
    draft: Draft,
    context: Context,
    *,
    dtype: Literal["auto", "bfloat16", "float32"],
    trained_splits: Sequence[str],
) -> dict[tuple[str, str], Result]:
    """Runs every task on every model and returns the results by (model, task).

    `made` holds the datasets that earlier stages made, by kind of artifact. `trained_splits` are the splits that the
    models were trained on.
    """
    chosen = choose_dtype(dtype, choose_device())
    draft.resolved["dtype"] = str(chosen).removeprefix("torch.")
    for name, text in named_documents(tasks).items():
        file = documents_file(draft.work, name)
        if not file.exists():
            read_documents(name, text, file, context.log)
    documents = inputs["documents"].parts() if "documents" in inputs else None
    if digests := text_digests(tasks, documents, draft.work):
        draft.resolved["held_out_text"] = digests
    for described, digest in digests.items():
        context.log.info("held-out text `%s`: %s; compare bits per byte only on equal text", described, digest)
    read = partial(training_text.training_documents, training_text.training_parts(inputs), tuple(trained_splits))
    make_worker = partial(
        _Worker,
        models=dict(models),
        tokens=inputs["tokens"].data if "tokens" in inputs else None,
        made=dict(made),
        training_text=TrainingText(documents or [], read, training_text.personal_data_in),
        classifier=inputs["classifier"].data if "classifier" in inputs else None,
        dtype=chosen,
        data=draft.data,
        work=draft.work,
    )
    pairs = [(model, task) for model in models for task in tasks]
    units = [Unit(f"{model}.{task}", (model, task, tasks[task])) for model, task in pairs]
    receipts = run_units(units, make_worker, draft.work / "receipts", context, unit_name="tasks", has_model=True)
    found = dict(zip(pairs, receipts, strict=True))
    return {
        (model, task): Result(
            [Score(**row) for row in found[model, task]["scores"]], read_parquet(items_file(draft.data, model, task))
        )
        for task in tasks
        for model in models
    }


class _Worker(Evaluator):
    """Runs evaluation units in one process."""

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        return {"scores": [asdict(score) for score in self.evaluate(*unit.payload)]}
