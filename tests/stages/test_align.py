"""preferences and align: every method teaches a model the preferences; impossible settings are errors at the start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from tests.support.small_chat import recorded, tokenizer_of

from bessemer.align.preference_trees import logprobs_of, of_answers, read_pairs
from bessemer.align.reward_model_objective import answer_rewards
from bessemer.artifacts.store import Artifact
from bessemer.errors import NothingLeft, Stopped, UsageError
from bessemer.model.hub import load_model
from bessemer.stages import align, preferences, reward
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.train.workers import Workers

ANIMALS = ["cat", "dog", "owl", "fox", "hen", "cow", "bee", "ant"]
PLACES = ["house", "field", "wood", "town"]
PAIRS = [
    {
        "prompt": f"Where in the {place} is the {animal}?",
        "chosen": f"The {animal} is in the old {place}.",
        "rejected": f"The {animal}? Look for it.",
    }
    for animal in ANIMALS
    for place in PLACES
]
THUMBS = [
    {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
    for pair in PAIRS
    for side in ("chosen", "rejected")
]
SETTINGS: dict[str, Any] = {
    "max_seq_length": 64,
    "global_batch_size": 8,
    "max_steps": 20,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "embedding_learning_rate": 1e-3,
    "log_interval": 1,
    "num_threads": 1,
    "dtype": "float32",
}


@pytest.fixture(scope="module")
def tokenizer() -> TokenizerFolder:
    return tokenizer_of([*(" ".join(row.values()) for row in PAIRS), "user assistant system"])


@pytest.fixture
def inputs(make_model: Callable[..., Any], tokenizer: TokenizerFolder) -> dict[str, Artifact]:
    found: dict[str, Artifact] = make_model(tokenizer, spread=0.05)
    return found


@pytest.fixture
def prefer(inputs: dict[str, Artifact], read_rows: Callable[..., Any]) -> Callable[..., Any]:
    """`prefer(rows)` runs the stage `preferences` on a file of them."""

    def run(rows: list[Any], **changes: Any) -> Any:
        return read_rows(preferences, inputs, rows, **{"split": {"validation": 0.2}} | changes)

    return run


@pytest.fixture
def learn(inputs: dict[str, Artifact], run_stage: Callable[..., Any]) -> Callable[..., Any]:
    """`learn("name", rows=artifact, dpo={})` runs the stage `align`."""

    def run(name: str, *, rows: Artifact, stage: Any = align, **changes: Any) -> Any:
        return run_stage(stage, inputs | {"preferences": rows}, name, **SETTINGS | changes)[0]

    return run


def share_preferred(folder: Path, rows: Artifact, split: str) -> float:
    """Of the pairs of a split, those whose preferred answer gained more on where the model began."""
    found = logprobs_of(load_model(folder), read_pairs(rows.parts(), split).trees, Workers(0, 1, torch.device("cpu")))
    return float((found[:, 0] > found[:, 1]).float().mean())


# ------------------------------------------------------------------------------------------------ preferences


def test_every_row_has_a_verdict_and_a_pair_its_tokens(prefer: Any, tokenizer: TokenizerFolder) -> None:
    bad = [
        {"prompt": "Hi?", "chosen": "Same.", "rejected": "Same."},
        {"prompt": "Hi?", "chosen": "", "rejected": "Go."},
        {"prompt": "Hi?", "chosen": "Hello."},
        {"prompt": "Hi?", "chosen": "long " * 80, "rejected": "Go."},
    ]
    draft, artifact = prefer([*PAIRS, *bad], max_seq_length=64)
    assert (draft.counts.created, draft.counts.documents_out) == (36, 32)
    assert draft.counts.removed_by_rule == {
        "empty_answer": 1, "identical_answers": 1, "no_preference": 1, "too_long": 1,
    }  # fmt: skip
    rows = [row for part in artifact.parts() for row in pq.read_table(part).to_pylist()]
    for row in rows:
        prompt, chosen = (tokenizer.decode(row[name]) for name in ("prompt_ids", "chosen_ids"))
        assert prompt == f"<|im_start|>user\n{row['prompt'][0]['content']}<|im_end|>\n<|im_start|>assistant\n"
        assert chosen == f"{row['chosen'][0]['content']}<|im_end|>"
    assert len({row["split"] for row in rows if row["prompt"] == rows[0]["prompt"]}) == 1


# ------------------------------------------------------------------------------------------------ align


@pytest.mark.parametrize(
    "method", [{"dpo": {}}, {"dpo": {"label_smoothing": 0.1}}, {"ipo": {}}, {"kto": {}}, {"orpo": {}}]
)
def test_what_people_prefer_becomes_likelier(
    prefer: Any, learn: Any, inputs: dict[str, Artifact], method: dict[str, Any]
) -> None:
    _, rows = prefer(THUMBS if "kto" in method else PAIRS)
    _, pairs = prefer(PAIRS)
    assert share_preferred(inputs["model"].data, pairs, "validation") < 0.5, "the longer answer is less likely first"
    draft = learn("aligned", rows=rows, **method)
    assert share_preferred(draft.data, pairs, "validation") > 0.9, "also after prompts that it did not learn from"
    first, last = recorded(draft)[0], recorded(draft)[-1]
    assert last["train/loss"] < first["train/loss"]
    if "kto" in method:
        assert last["validation/rewards_chosen"] > last["validation/rewards_rejected"]
    elif "orpo" not in method:
        assert first["train/rewards_margins"] == pytest.approx(0.0, abs=1e-4), "it begins at its reference"
        assert last["validation/rewards_accuracies"] > 0.9


def test_the_result_does_not_depend_on_how_a_batch_is_cut(prefer: Any, learn: Any) -> None:
    _, rows = prefer(THUMBS)
    found = [learn(f"by-{size}", rows=rows, kto={}, micro_batch_size=size, max_steps=5) for size in (1, 8)]
    one, eight = ([figures["train/loss"] for figures in recorded(draft)] for draft in found)
    assert one == pytest.approx(eight, rel=1e-4)


@pytest.mark.parametrize("method", [{"dpo": {}, "lora": {"r": 2}}, {"kto": {}}])
def test_a_stopped_run_continues_to_the_same_model(
    prefer: Any, learn: Any, make_context: Any, method: dict[str, Any]
) -> None:
    _, rows = prefer(PAIRS)
    whole = learn("whole", rows=rows, max_steps=6, **method)
    context = make_context()
    context.progress = lambda step, *_, **__: context.stopping.set() if step == 3 else None
    with pytest.raises(Stopped):
        learn("halves", rows=rows, max_steps=6, context=context, **method)
    halves = learn("halves", rows=rows, max_steps=6, attempt=2, **method)
    assert (whole.data / "model.safetensors").read_bytes() == (halves.data / "model.safetensors").read_bytes()


def test_what_cannot_be_is_said_before_training(prefer: Any, learn: Any) -> None:
    _, rows = prefer(THUMBS)
    with pytest.raises(UsageError, match="64 of 64 preferences have one answer"):
        learn("pairs", rows=rows, dpo={})
    with pytest.raises(UsageError, match=r"a prompt with its answer has \d+ tokens, and `max_seq_length` is 8"):
        learn("short", rows=rows, kto={}, max_seq_length=8)
    with pytest.raises(UsageError, match="the whole model"):
        learn("sharded", rows=rows, kto={}, sharding="full")
    _, held_out = prefer(PAIRS, split={"validation": 0.999})
    with pytest.raises(NothingLeft, match="`tune` of the preferences has no rows"):
        learn("none", rows=held_out, dpo={})
    for methods in ({}, {"dpo": {}, "kto": {}}):
        with pytest.raises(ValueError, match="choose one method"):
            align.Config.model_validate(methods)


# ------------------------------------------------------------------------------------------------ reward


@pytest.mark.parametrize("lora", [None, {"r": 4}])
def test_a_reward_model_learns_what_people_prefer_and_stock_transformers_agrees(
    prefer: Any, learn: Any, lora: dict[str, int] | None
) -> None:
    _, rows = prefer(PAIRS)
    draft = learn("scores", rows=rows, stage=reward, lora=lora, max_steps=30)
    assert draft.metrics["validation/rewards_accuracies"] > 0.9
    model = load_model(draft.data)
    pairs = read_pairs(rows.parts(), "validation")
    scores = of_answers(partial(answer_rewards, model), pairs.trees, Workers(0, 1, torch.device("cpu")))
    assert float((scores[:, 0] > scores[:, 1]).float().mean()) > 0.9
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(draft.data, dtype=torch.float32)
    tree = pairs.trees[0]
    for answer, score in zip(tree.answers, scores[0], strict=True):
        row = torch.from_numpy(np.concatenate((tree.prompt, answer)).astype(np.int64))[None]
        assert float(theirs(row).logits.detach()) == pytest.approx(float(score), rel=1e-3, abs=1e-4)
