"""The names of the metrics that each stage records, derived from its settings.

A sweep optimises one metric. With these names, `plan` rejects a metric that no stage records before hours of trials.
This module does not import torch, so that `plan` stays fast. `tests/stages/test_metric_names.py` compares these names
with the names in the code of the stages, the trainer and the objectives.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bessemer.align.settings import Kto, Ppo
from bessemer.stages import evaluate
from bessemer.stages.engine import named_models

TRAINING = frozenset({
    "train/loss", "train/grad_norm", "train/learning_rate", "train/skipped_steps", "train/tokens",
    "throughput/tokens_per_second", "throughput/teraflops", "throughput/data_wait_ratio",
    "throughput/checkpoint_ratio", "throughput/model_flops_utilisation", "memory/peak_gib", "energy/kilowatt_hours",
})  # fmt: skip
"""Metrics of every stage that trains."""
HELD_OUT = {
    "causal": ("loss", "bits_per_byte"),
    "masked": ("pseudo_loss", "pseudo_bits_per_byte", "pseudo_perplexity"),
    "fill_in_the_middle": ("exact_infill", "infill_loss", "infill_bits_per_byte"),
}
"""Metrics of each objective of `pretrain`, recorded as `validation/<name>`."""
THUMBS = ("loss", "rewards_chosen", "rewards_rejected")
PAIRS = (*THUMBS, "rewards_margins", "rewards_accuracies")
ROLLOUTS = (
    "reward", "completion_length", "truncated_ratio", "zero_spread_ratio", "length_reward_correlation",
    "reward_failures", "clip_ratio", "logprob_gap", "entropy_estimate", "kl",
)  # fmt: skip
_READ = ("data/files_failed", "data/unconverted_values")
_ROWS = ("data/rows_out", "data/removed_ratio", *_READ)
_DOCUMENTS = ("data/documents_out", "data/text_bytes", "data/removed", *_READ)
DATA: Mapping[str, tuple[str, ...]] = {
    "base_model": ("model/parameters",),
    "canaries": ("data/canaries",),
    "clean": ("data/documents_out", "data/removed_ratio", "data/changed_ratio"),
    "conversations": _ROWS,
    "crawl": ("data/documents_out", "data/urls_known", "data/page_bytes"),
    "dedup": ("data/documents_out", "dedup/pairs_compared", "dedup/pairs_verified", "dedup/pairs_left_out"),
    "docsite": ("data/pages", "data/entries"),
    "extract": _DOCUMENTS,
    "ingest": _DOCUMENTS,
    "instructions": tuple(f"data/{split}_conversations" for split in ("tune", "validation", "test")),
    "mix": ("data/documents_out",),
    "pairs": ("data/pairs", "data/removed_ratio"),
    "preferences": _ROWS,
    "questions": ("data/questions",),
    "scaling_law": ("scaling_law/exponent", "scaling_law/irreducible", "scaling_law/prediction_error"),
    "tokenize": (
        "data/tokens", "data/bytes_per_token", *(f"data/tokens_{split}" for split in ("train", "validation", "test")),
    ),
    "tokenizer": ("tokenizer/vocab_size",),
}  # fmt: skip
"""Metrics of the stages whose metric names do not depend on their settings."""


def metric_names(kind: str, config: Any, inputs: Collection[str]) -> Collection[str] | None:
    """Returns the metric names of a stage of this kind, or None if this module does not declare them.

    `inputs` are the kinds of artifact that the stage reads.
    """
    if kind in DATA:
        return DATA[kind]
    if kind == "pretrain":
        names = {f"validation/{name}" for objective in config.objectives for name in HELD_OUT[objective]}
        mixed = config.objectives if len(config.objectives) > 1 else ()
        return TRAINING | names | {f"train/{objective}_loss" for objective in mixed}
    if kind == "finetune":
        return TRAINING | {"train/packing_ratio", "validation/loss"}
    if kind in ("align", "reward"):
        single = kind == "align" and isinstance(config.method, Kto)
        names = {f"{part}/{name}" for part in ("train", "validation") for name in (THUMBS if single else PAIRS)}
        return TRAINING | names | ({"train/kl"} if single else set())
    if kind == "reinforce":
        critic = ("value_loss", "value_clip_ratio") if isinstance(config.method, Ppo) else ()
        labels = tuple(f"reward_{reward.label}" for reward in config.rewards) if len(config.rewards) > 1 else ()
        return TRAINING | {"validation/reward"} | {f"train/{name}" for name in (*ROLLOUTS, *critic, *labels)}
    if kind == "evaluate":
        tasks = evaluate.tasks_of(config, inputs)
        models = named_models.names(config.models, inputs)
        places = ["", *(f"{model}/" for model in models[:-1])]
        return {
            f"evaluate/{place}{task}/{metric}" for place in places for task in tasks for metric in tasks[task].headlines
        }
    return None
