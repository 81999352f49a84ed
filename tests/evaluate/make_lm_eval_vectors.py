"""Writes `lm_eval_vectors.json`: the results of lm-evaluation-harness for a tiny model on the items of `lm_eval_tasks`.

    python -m venv /tmp/oracle && /tmp/oracle/bin/pip install 'lm-eval[hf]==0.4.13' torch==2.13.0 sacrebleu
    PYTHONPATH=platform /tmp/oracle/bin/python tests/evaluate/make_lm_eval_vectors.py

`compare_lm_eval.py` does the same with the real datasets.
"""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tests.evaluate.lm_eval_tasks import CONTEXT, TASKS, TEXTS, training_texts, write_datasets
from tests.evaluate.tiny_model import make_tiny_model

VECTORS = Path(__file__).with_name("lm_eval_vectors.json")


def run_theirs(model: HFLM, name: str, config: dict[str, Any], paths: dict[str, str]) -> dict[str, Any]:
    """The metrics of a task, and the model's answers to each item."""
    config = dict(config)
    conversation, limit = config.pop("conversation", False), config.pop("limit", None)
    files = {"test": paths[config.pop("dataset")]}
    fewshot = config.pop("fewshot_dataset", None)
    if fewshot:
        files["train"] = paths[fewshot]
    kind = "csv" if files["test"].endswith(".csv") else "json"
    config |= {"task": name, "dataset_path": kind, "dataset_kwargs": {"data_files": files}, "test_split": "test"}
    config["fewshot_split"] = "train" if fewshot else "test"
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=[config],
        limit=limit,
        log_samples=True,
        bootstrap_iters=10,
        apply_chat_template=conversation,
        fewshot_as_multiturn=conversation,
        task_manager=TaskManager(include_defaults=False),
    )
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    metrics = {key.partition(",")[0]: value for key, value in found["results"][name].items() if "," in key}
    return {"metrics": metrics, "items": [_answers(sample) for sample in samples]}


def _answers(sample: dict[str, Any]) -> Any:
    """The log-likelihoods, or the completion with the filtered answer."""
    responses = [one for request in sample["resps"] for one in request]
    if isinstance(responses[0], str):
        return {"completion": responses[0], "answer": sample["filtered_resps"][0]}
    return [round(float(nats), 5) for nats, _ in responses]


def rolling(model: HFLM, texts: list[str]) -> list[float]:
    from lm_eval.api.instance import Instance

    requests = [Instance("loglikelihood_rolling", {}, (text,), number) for number, text in enumerate(texts)]
    return [round(float(nats), 4) for nats in model.loglikelihood_rolling(requests)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model_folder = Path(folder, "model")
        model_folder.mkdir()
        make_tiny_model(model_folder, training_texts(), max_seq_length=CONTEXT)
        model = HFLM(pretrained=str(model_folder), dtype="float32", device="cpu", batch_size=4, max_length=CONTEXT)
        paths = write_datasets(Path(folder))
        result: dict[str, Any] = {
            "versions": {name: version(name) for name in ("lm_eval", "torch", "transformers", "tokenizers")},
            "rolling": rolling(model, TEXTS),
            "tasks": {name: run_theirs(model, name, theirs, paths) for name, (_, theirs) in TASKS.items()},
        }
    tasks = ",\n".join(f" {json.dumps(name)}: {json.dumps(found)}" for name, found in result.pop("tasks").items())
    head = json.dumps(result, indent=1).removesuffix("\n}")
    VECTORS.write_text(f'{head},\n "tasks": {{\n{tasks}\n }}\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
