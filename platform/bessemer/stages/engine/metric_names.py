"""The names of the metrics that each stage records, derived from its settings, and their descriptions.

A sweep optimises one metric. With these names, `plan` rejects a metric that no stage records before hours of trials.
This module does not import torch, so that `plan` stays fast. `tests/stages/test_metric_names.py` compares these names
with the names in the code of the stages, the trainer and the objectives.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bessemer.align.settings import Kto, Ppo
from bessemer.artifacts.descriptions import Metric
from bessemer.stages import evaluate
from bessemer.stages.engine import named_models

TRAINING: Mapping[str, Metric] = {
    "train/loss": Metric("nats", "Loss that the step minimises, as a mean over its weights (tokens, pairs, ...)."),
    "train/grad_norm": Metric("1", "Euclidean norm of the gradient before it is clipped."),
    "train/learning_rate": Metric("1", "Learning rate of the step."),
    "train/skipped_steps": Metric("steps", "Number of steps so far that were skipped as loss spikes."),
    "train/tokens": Metric("tokens", "Tokens of the batches so far, including padding."),
    "throughput/tokens_per_second": Metric("tokens/s", "Tokens of all workers per second of the steps."),
    "throughput/teraflops": Metric("10^12 FLOP/s", "Floating-point operations of the model per second, all workers."),
    "throughput/data_wait_ratio": Metric("1", "Share of the time of the steps that waits for the data."),
    "throughput/checkpoint_ratio": Metric("1", "Share of the elapsed time in which training pauses to save."),
    "throughput/model_flops_utilisation": Metric(
        "1", "Operations of the model as a share of the peak of the hardware (PaLM, arXiv 2204.02311, appendix B)."
    ),
    "memory/peak_gib": Metric("GiB", "Largest memory use: of the GPU, or of the process on a CPU."),
    "energy/kilowatt_hours": Metric("kWh", "Energy that the devices report since the start, if they do."),
}
"""Metrics of every stage that trains."""
HELD_OUT = {
    "causal": ("loss", "bits_per_byte"),
    "masked": ("pseudo_loss", "pseudo_bits_per_byte", "pseudo_perplexity"),
    "fill_in_the_middle": ("exact_infill", "infill_loss", "infill_bits_per_byte"),
}
"""Metrics of each objective of `pretrain`, recorded as `validation/<name>`."""
SINGLE_ANSWERS = ("loss", "rewards_chosen", "rewards_rejected")
PAIRS = (*SINGLE_ANSWERS, "rewards_margins", "rewards_accuracies")
ROLLOUTS = (
    "reward", "completion_length", "truncated_ratio", "zero_spread_ratio", "length_reward_correlation",
    "reward_failures", "clip_ratio", "logprob_gap", "entropy_estimate", "kl",
)  # fmt: skip
CRITIC = ("value_loss", "value_clip_ratio")
MEASURES: Mapping[str, Metric] = {
    "loss": Metric("nats", "Loss on held-out rows, as a mean over its weights (tokens, answers, pairs, ...)."),
    "bits_per_byte": Metric("bits/byte", "Bits to predict a byte of held-out text. Does not depend on the tokenizer."),
    "pseudo_loss": Metric("nats", "Mean loss of the masked tokens (Salazar et al., 2020)."),
    "pseudo_bits_per_byte": Metric("bits/byte", "Bits to predict a byte of the masked tokens."),
    "pseudo_perplexity": Metric("1", "Exponential of `pseudo_loss`."),
    "exact_infill": Metric("1", "Share of held-out gaps whose every token is the likeliest one."),
    "infill_loss": Metric("nats", "Mean loss of the tokens of the gaps."),
    "infill_bits_per_byte": Metric("bits/byte", "Bits to predict a byte of the gaps."),
    "rewards_chosen": Metric("1", "Mean reward of preferred answers: beta log(policy / reference), or the model's."),
    "rewards_rejected": Metric("1", "The same for rejected answers."),
    "rewards_margins": Metric("1", "Mean difference of both rewards of a pair."),
    "rewards_accuracies": Metric("1", "Share of pairs whose preferred answer has the higher reward. Chance: 0.5."),
    "reward": Metric(
        "1", "Mean weighted reward: of the step's sampled answers, or of greedy answers to held-out rows."
    ),
    "completion_length": Metric("tokens", "Mean length of the sampled answers."),
    "truncated_ratio": Metric("1", "Share of answers that end at the length limit, not with a stop token."),
    "zero_spread_ratio": Metric("1", "Share of groups whose answers all have the same reward, and so no gradient."),
    "length_reward_correlation": Metric("1", "Pearson correlation of the length and the reward of an answer."),
    "reward_failures": Metric("1", "Share of answers that no reward could score."),
    "clip_ratio": Metric(
        "1", "Share of tokens whose gradient is 0 because their probability ratio is beyond the clipping bound."
    ),
    "logprob_gap": Metric("nats", "Mean absolute difference of the log-probabilities of rollouts and trainer."),
    "entropy_estimate": Metric("nats", "Mean negative log-probability of the sampled tokens."),
    "kl": Metric("nats", "KL divergence from the reference model: per token, or per answer for KTO."),
    "value_loss": Metric("1", "Half the squared error of the critic, clipped as in PPO (arXiv 1707.06347)."),
    "value_clip_ratio": Metric("1", "Share of tokens whose value estimate is clipped."),
}
"""Measures of the objectives. They are recorded as `train/<name>` or `validation/<name>`."""
BY_SETTING: Mapping[str, Metric] = {
    "train/<objective>_loss": Metric("nats", "Loss of one objective of a mixture (`pretrain`)."),
    "train/packing_ratio": Metric("1", "Share of the positions of packed rows that have tokens (`finetune`)."),
    "train/reward_<label>": Metric("1", "Mean of one of several rewards, before its weight (`reinforce`)."),
    "toxicity_classifier/<set>/precision": Metric("1", "Share of the texts judged toxic that are labelled toxic."),
    "toxicity_classifier/<set>/recall": Metric("1", "Share of the texts labelled toxic that are judged toxic."),
    "toxicity_classifier/<set>/false_positive_rate": Metric("1", "Share of the other texts that are judged toxic."),
    "toxicity_classifier/<set>/roc_auc": Metric("1", "Area under the ROC curve. Chance: 0.5."),
}
"""Metrics whose names or existence depend on the settings."""
_FILES = {
    "data/files_failed": Metric("files", "Files that could not be read, or not to their end."),
    "data/unconverted_values": Metric("values", "Fields whose value could not be converted and is null."),
}
_DOCUMENTS_OUT = {"data/documents_out": Metric("documents", "Documents in the artifact.")}
_REMOVED_RATIO = {"data/removed_ratio": Metric("1", "Share of the documents or rows that the stage removed.")}
_ROWS = {"data/rows_out": Metric("rows", "Rows in the artifact.")} | _REMOVED_RATIO | _FILES
_DOCUMENTS = (
    _DOCUMENTS_OUT
    | {
        "data/text_bytes": Metric("bytes", "UTF-8 bytes of the text of the documents."),
        "data/removed": Metric("documents", "Records that did not become a document."),
    }
    | _FILES
)
DATA: Mapping[str, Mapping[str, Metric]] = {
    "base_model": {"model/parameters": Metric("parameters", "Parameters of the model.")},
    "canaries": {"data/canaries": Metric("secrets", "Planted secrets, without those of the control.")},
    "clean": _DOCUMENTS_OUT
    | _REMOVED_RATIO
    | {"data/changed_ratio": Metric("1", "Share of the documents whose text the rules changed.")},
    "conversations": _ROWS,
    "crawl": {
        "data/documents_out": Metric("pages", "Pages that were stored."),
        "data/urls_known": Metric("URLs", "URLs that the crawl found, fetched or not."),
        "data/page_bytes": Metric("bytes", "Size of the stored pages."),
    },
    "dedup": _DOCUMENTS_OUT
    | {
        "dedup/pairs_compared": Metric("pairs", "Pairs that MinHash proposed and whose shingles were compared."),
        "dedup/pairs_verified": Metric("pairs", "Compared pairs that are at least as similar as the threshold."),
        "dedup/pairs_left_out": Metric("pairs", "Proposed pairs that a limit left out."),
    },
    "docsite": {
        "data/pages": Metric("pages", "Rendered pages."),
        "data/entries": Metric("entries", "Documented functions, classes, methods and attributes."),
    },
    "extract": _DOCUMENTS,
    "ingest": _DOCUMENTS,
    "instructions": {
        f"data/{split}_conversations": Metric("conversations", f"Conversations of the split `{split}`.")
        for split in ("tune", "validation", "test")
    },
    "mix": _DOCUMENTS_OUT,
    "pairs": {"data/pairs": Metric("pairs", "Pairs of a preferred and a rejected answer.")} | _REMOVED_RATIO,
    "preferences": _ROWS,
    "questions": {"data/questions": Metric("questions", "Multiple-choice questions.")},
    "scaling_law": {
        "scaling_law/exponent": Metric("1", "alpha of L(C) = E + A C^-alpha."),
        "scaling_law/irreducible": Metric("that of `metric`", "E of the law: the loss with unlimited compute."),
        "scaling_law/prediction_error": Metric("1", "Largest relative error of the predicted losses."),
    },
    "tokenize": {
        "data/tokens": Metric("tokens", "Tokens of all splits."),
        "data/bytes_per_token": Metric("bytes/token", "UTF-8 bytes of text per token."),
    }
    | {
        f"data/tokens_{split}": Metric("tokens", f"Tokens of the split `{split}`.")
        for split in ("train", "validation", "test")
    },
    "tokenizer": {"tokenizer/vocab_size": Metric("tokens", "Size of the vocabulary, with special tokens.")},
}
"""Metrics of the stages whose metric names do not depend on their settings."""


def metric_names(kind: str, config: Any, inputs: Collection[str]) -> Collection[str] | None:
    """Returns the metric names of a stage of this kind, or None if this module does not declare them.

    `inputs` are the kinds of artifact that the stage reads.
    """
    if kind in DATA:
        return DATA[kind].keys()
    if kind == "pretrain":
        names = {f"validation/{name}" for objective in config.objectives for name in HELD_OUT[objective]}
        mixed = config.objectives if len(config.objectives) > 1 else ()
        return TRAINING.keys() | names | {f"train/{objective}_loss" for objective in mixed}
    if kind == "finetune":
        return TRAINING.keys() | {"train/packing_ratio", "validation/loss"}
    if kind in ("align", "reward"):
        single = kind == "align" and isinstance(config.method, Kto)
        names = {f"{part}/{name}" for part in ("train", "validation") for name in (SINGLE_ANSWERS if single else PAIRS)}
        return TRAINING.keys() | names | ({"train/kl"} if single else set())
    if kind == "reinforce":
        critic = CRITIC if isinstance(config.method, Ppo) else ()
        labels = tuple(f"reward_{reward.label}" for reward in config.rewards) if len(config.rewards) > 1 else ()
        return TRAINING.keys() | {"validation/reward"} | {f"train/{name}" for name in (*ROLLOUTS, *critic, *labels)}
    if kind == "evaluate":
        tasks = evaluate.tasks_of(config, inputs)
        models = named_models.names(config.models, inputs)
        places = ["", *(f"{model}/" for model in models[:-1])]
        return {
            f"evaluate/{place}{task}/{metric}" for place in places for task in tasks for metric in tasks[task].headlines
        }
    return None
