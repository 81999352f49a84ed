"""Runs declared tasks on real items with lm-evaluation-harness and with this package, and prints the differences.

    PYTHONPATH=platform /tmp/oracle/bin/python tests/evaluate/compare_lm_eval.py MODEL DATASETS [--limit 200] [TASK ...]

MODEL is an exported model, and DATASETS is the folder with `eval_gauntlet` and the other datasets.
`make_lm_eval_vectors.py` shows how to make the environment. Both programs use Jinja templates,
so renaming settings converts a declaration.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.models.huggingface import HFLM
from pydantic import TypeAdapter
from tests.evaluate.make_lm_eval_vectors import run_theirs

from bessemer.evaluate import declared
from bessemer.evaluate.datasets import files
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds import AnyTask
from bessemer.evaluate.kinds.generation import Generation
from bessemer.evaluate.kinds.language_modelling import LanguageModelling
from bessemer.evaluate.kinds.minimal_pairs import MinimalPairs
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice
from bessemer.evaluate.kinds.schema import Schema
from bessemer.evaluate.materials import Materials


def as_theirs(task: Any) -> dict[str, Any] | None:
    """Converts a declaration for the harness. Returns None if the harness lacks the kind of task or of file."""
    if "row[" in repr(task) or isinstance(task.dataset, dict) or task.dataset.endswith(".tsv"):
        return None
    config: dict[str, Any] = {"metric_list": [{"metric": "acc"}], "output_type": "multiple_choice"}
    match task:
        case MultipleChoice(choices=str(choices)):
            config |= {
                "doc_to_text": task.query,
                "doc_to_choice": _value(choices),
                "doc_to_target": _value(task.gold),
            }
        case Schema():
            config |= {
                "doc_to_text": _value(task.gold),
                "doc_to_choice": _value(task.contexts),
                "doc_to_target": task.continuation,
            }
        case LanguageModelling(target_delimiter=delimiter):
            config |= {"doc_to_text": task.context, "doc_to_target": delimiter + task.continuation}
            config |= {"output_type": "loglikelihood"}
        case MinimalPairs():
            names = [source.removeprefix("{{").removesuffix("}}") for source in (task.sentence, task.other)]
            config |= {"doc_to_text": "", "doc_to_target": 0, "target_delimiter": ""}
            config |= {"doc_to_choice": _value(f"[{', '.join(names)}]")}
        case Generation(incorrect=None):
            exact = {
                "metric": "exact_match",
                "ignore_case": task.ignore_case,
                "ignore_punctuation": task.ignore_punctuation,
                "regexes_to_ignore": list(task.regexes_to_ignore),
            }
            until = {"until": list(task.generation.stop), "max_gen_toks": task.generation.max_new_tokens}
            config |= {
                "output_type": "generate_until",
                "doc_to_text": task.query,
                "doc_to_target": _value(task.references),
                "metric_list": [exact],
                "generation_kwargs": until | {"do_sample": False, "temperature": 0.0},
            }
            if task.extract:
                pattern = {"regex_pattern": task.extract, "group_select": -1 if task.extract_last else 0}
                steps = [{"function": "regex", **pattern}, {"function": "take_first"}]
                config["filter_list"] = [{"name": "extract", "filter": steps}]
        case _:
            return None
    if not isinstance(task, MinimalPairs):
        config |= {name: getattr(task, name) for name in ("num_fewshot", "description", "fewshot_delimiter")}
        if not isinstance(task, LanguageModelling):
            config["target_delimiter"] = task.target_delimiter
    return (
        config | {"dataset": "test"} | ({"fewshot_dataset": "train"} if getattr(task, "fewshot_dataset", None) else {})
    )


def _value(expression: str) -> str:
    return "{{" + expression + "}}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("datasets", type=Path)
    parser.add_argument("tasks", nargs="*", default=declared.names())
    parser.add_argument("--limit", type=int, default=200)
    options = parser.parse_args()
    subject = EvaluatedModel.load(options.model, dtype=torch.float32, device=torch.device("cpu"))
    model = HFLM(
        pretrained=str(options.model), dtype="float32", device="cpu", batch_size=16, max_length=subject.context
    )
    print("task                              n  metric       ours   theirs  greatest difference")
    for name in options.tasks:
        changes = {"limit": options.limit}
        settings = declared.resolve(name, changes, datasets=str(options.datasets), place=str)
        if settings["kind"] == "generation":
            settings["generation"] = {**settings["generation"], "max_new_tokens": 16}
        task = TypeAdapter(AnyTask).validate_python(settings)
        config = as_theirs(task)
        if config is None:
            continue
        fewshot = getattr(task, "fewshot_dataset", None)
        task = task.model_copy(update={"dataset": str(files(task.dataset)[0])})  # the harness needs equal columns
        paths = {"test": task.dataset, "train": fewshot}
        theirs = run_theirs(model, name, config | {"limit": options.limit}, paths)
        result = task.score(Materials(subject))
        found = {score.metric: score.value for score in result.scores if score.group is None}
        metric = "exact_match" if isinstance(task, Generation) else "acc"
        ours = "pct_stereotype" if "pct_stereotype" in found else metric
        difference = _difference(subject, result.items.to_pylist(), theirs["items"])
        print(
            f"{name:28} {len(result.items):6}  {metric:11} {found[ours]:6.4f}  {theirs['metrics'][metric]:6.4f}  "
            f"{difference}",
            flush=True,
        )


def _difference(subject: EvaluatedModel, rows: list[dict[str, Any]], theirs: list[Any]) -> str:
    if "completion" in rows[0]:
        written = [subject.without_special(row["completion"]).rstrip("\ufffd") for row in rows]
        wrong = sum(ours != one["completion"].rstrip("\ufffd") for ours, one in zip(written, theirs, strict=True))
        return f"{wrong} of {len(rows)} texts"
    ours = [row.get("log_likelihoods") or [row["log_likelihood"]] for row in rows]
    return f"{max(np.abs(np.array(a) - b).max() for a, b in zip(ours, theirs, strict=True)):.5f} nats"


if __name__ == "__main__":
    main()
