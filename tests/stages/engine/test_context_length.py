"""Every plan finds a sequence that is too long for its model, through any number of stages, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bessemer.artifacts.store import Store
from bessemer.errors import UsageError
from bessemer.runner.plan import load_recipe, make_plan

DATA = """
name: lengths
storage_path: {root}
stages:
  ingest: {{paths: [texts.txt]}}
  tokenizer: {{vocab_size: 512}}
  tokenize:
  conversations: {{paths: [chats.jsonl]}}
  preferences: {{paths: [pairs.jsonl]}}
"""
NEW = "  pretrain: {max_seq_length: 64, model: {size: nano}}\n"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one two three")
    (tmp_path / "chats.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')


def plan(folder: Path, stages: str) -> None:
    file = folder / "recipe.yaml"
    file.write_text(DATA.format(root=folder / "runs") + stages)
    make_plan(load_recipe(file, []), Store(folder / "runs"))


@pytest.mark.parametrize(
    "stages",
    [
        NEW + "  finetune: {max_seq_length: 64}\n",
        NEW + "  longer: {stage: pretrain, from: [pretrain, tokenize], max_seq_length: 128, model: {rope_theta: 1e6}}\n"
        "  finetune: {from: [longer, conversations], max_seq_length: 128}\n",
        NEW
        + "  finetune: {max_seq_length: 64}\n  align: {from: [finetune, preferences], max_seq_length: 64, dpo: {}}\n",
    ],
)
def test_a_sequence_that_fits_is_planned(tmp_path: Path, stages: str) -> None:
    plan(tmp_path, stages)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            NEW + "  finetune: {max_seq_length: 65}\n",
            "stage `finetune`: the model has a context of 64 tokens, and `max_seq_length` is 65",
        ),
        (NEW + "  finetune:\n", "stage `finetune`: the model has a context of 64 tokens, and `max_seq_length` is 512"),
        (
            NEW + "  longer: {stage: pretrain, from: [pretrain, tokenize], max_seq_length: 128}\n",
            "stage `longer`: the model to continue from has a context of 64 tokens, and `max_seq_length` is 128",
        ),
        (
            NEW + "  finetune: {max_seq_length: 32}\n  align: {from: [finetune, preferences], dpo: {}}\n",
            "stage `align`: the model has a context of 64 tokens, and `max_seq_length` is 512",
        ),
        (
            NEW + "  reward: {from: [pretrain, preferences], max_seq_length: 100}\n",
            "stage `reward`: the model has a context of 64 tokens, and `max_seq_length` is 100",
        ),
        (
            NEW + "  reinforce: {from: [pretrain, conversations], max_seq_length: 100, "
            "grpo: {max_completion_length: 8}, rewards: [{kind: length, limit: 5}]}\n",
            "stage `reinforce`: the model has a context of 64 tokens, and `max_seq_length` is 100",
        ),
        (
            NEW + "  reinforce: {from: [pretrain, conversations], max_seq_length: 64, "
            "grpo: {max_completion_length: 64}, rewards: [{kind: length, limit: 5}]}\n",
            "stage `reinforce`: a prompt and its answer have 64 tokens at most, and `max_completion_length` is 64",
        ),
        (
            NEW + "  pairs: {from: [pretrain, conversations], max_completion_length: 64, "
            "rewards: [{kind: length, limit: 5}]}\n",
            "stage `pairs`: a prompt and its answer have 64 tokens at most, and `max_completion_length` is 64",
        ),
    ],
)
def test_a_sequence_that_is_too_long_is_named(tmp_path: Path, stages: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(tmp_path, stages)
    assert caught.value.message == message
    assert "set `max_" in caught.value.hint


def test_the_length_of_a_checkpoint_comes_from_its_configuration(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    from bessemer.stages import base_model, finetune

    config = base_model.Config.model_validate({"path": str(model)})
    for written, found in (({"max_position_embeddings": 40}, 40), ({}, None), ({"max_position_embeddings": "x"}, None)):
        (model / "config.json").write_text(json.dumps(written))
        assert base_model.context_length(config, None) == found
    assert finetune.STAGE.context_length is not None
    assert finetune.STAGE.context_length(finetune.Config(), None) is None
