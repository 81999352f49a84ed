"""The peer of `bench_align`, run by an interpreter that has `trl`: the seconds of each step, as one line of JSON.

PYTHON align_peer.py '{"method": "dpo", "model": "folder", "rows": "rows.jsonl", ...}'
"""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from typing import Any

import datasets
import torch
import transformers
import trl


class Clock(transformers.TrainerCallback):
    """Records the start and end time of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def main() -> None:
    settings = json.loads(sys.argv[1])
    torch.set_num_threads(settings["num_threads"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(settings["model"])
    tokenizer.chat_template = None
    rows = datasets.load_dataset("json", data_files=settings["rows"], split="train")
    common: dict[str, Any] = {
        "output_dir": settings["output"],
        "max_steps": settings["num_steps"],
        "learning_rate": settings["learning_rate"],
        "bf16": True,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1000,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "model_init_kwargs": {"dtype": "float32"},
    }
    clock = Clock()
    if settings["method"] == "dpo":
        trainer: Any = trl.DPOTrainer(
            model=settings["model"],
            args=trl.DPOConfig(
                **common,
                per_device_train_batch_size=settings["batch_size"],
                precompute_ref_log_probs=settings["precompute"],
                max_length=512,
            ),
            train_dataset=rows.select_columns(["prompt", "chosen", "rejected"]),
            processing_class=tokenizer,
            callbacks=[clock],
        )
    else:
        trainer = trl.GRPOTrainer(
            model=settings["model"],
            reward_funcs=lambda completions, **_: [float(len(set(completion))) for completion in completions],
            args=trl.GRPOConfig(
                **common,
                per_device_train_batch_size=settings["batch_size"] * settings["num_generations"],
                num_generations=settings["num_generations"],
                max_completion_length=settings["max_completion_length"],
                temperature=1.0,
                beta=0.0,
            ),
            train_dataset=rows.select_columns(["prompt"]),
            processing_class=tokenizer,
            callbacks=[clock],
        )
    trainer.train()
    versions = {name: metadata.version(name) for name in ("trl", "transformers", "torch")}
    print(json.dumps({"seconds": clock.seconds, "versions": versions}))


if __name__ == "__main__":
    main()
