"""A sweep refuses a metric that its trials would measure on different text or per different token."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.runner.comparability import incomparable
from bessemer.runner.plan import load_recipe

RECIPE = """
name: toy
stages:
  ingest: {paths: [documents]}
  clean: {rules: [normalise]}
  quality: {stage: clean, splits: [train], rules: [gopher_quality]}
  dedup: {splits: [train, tune]}
  tokenizer: {vocab_size: 512}
  tokenize:
  pretrain: {num_tokens: 4096}
  evaluate:
    tasks:
      held_out: {kind: bits_per_byte}
      while_training: {kind: bits_per_byte, split: validation}
      fixed: {kind: bits_per_byte, documents: [held_out.jsonl]}
      quiz: {kind: multiple_choice, dataset: quiz.jsonl, query: "{{query}}"}
"""
TEXT, TOKENS = "have different text", "have different tokenizers"


@pytest.mark.parametrize(
    ("field", "metric", "problem"),
    [
        ("clean.rules", "validation/bits_per_byte", TEXT),
        ("clean.rules", "evaluate/held_out/bits_per_byte", TEXT),
        ("clean.rules", "evaluate/pretrain/held_out/bits_per_byte", TEXT),
        ("clean.rules", "evaluate/quiz/acc", None),
        ("clean.rules", "evaluate/fixed/bits_per_byte", None),
        ("ingest.split.test", "evaluate/fixed/bits_per_byte", None),
        ("clean.rules", "evaluate/fixed/perplexity", TOKENS),
        ("tokenizer.vocab_size", "evaluate/fixed/bits_per_byte", None),
        ("pretrain.learning_rate", "evaluate/fixed/perplexity", None),
        ("clean.rules", "train/loss", TEXT),
        ("clean.rules", "train/tokens_per_second", None),
        ("ingest.split.test", "evaluate/held_out/bits_per_byte", TEXT),
        ("quality.rules", "validation/bits_per_byte", None),
        ("quality.rules", "evaluate/held_out/bits_per_byte", None),
        ("quality.rules", "train/bits_per_byte", TEXT),
        ("quality.rules", "validation/loss", TOKENS),
        ("quality.rules", "evaluate/held_out/perplexity", TOKENS),
        ("dedup.threshold", "evaluate/while_training/bits_per_byte", None),
        ("tokenizer.vocab_size", "validation/bits_per_byte", None),
        ("tokenizer.vocab_size", "validation/loss", TOKENS),
        ("pretrain.learning_rate", "validation/loss", None),
        ("seed", "validation/loss", None),
    ],
)
def test_metrics(tmp_path: Path, field: str, metric: str, problem: str | None) -> None:
    (tmp_path / "quiz.jsonl").write_text('{"query": "?", "choices": ["a", "b"], "gold": 0}\n')
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    found = incomparable(load_recipe(tmp_path / "recipe.yaml", []), metric, [field])
    assert (found is None) == (problem is None), found
    if found is not None and problem is not None:
        assert problem in found[0]


def test_the_hint_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "quiz.jsonl").write_text('{"query": "?", "choices": ["a", "b"], "gold": 0}\n')
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "recipe.yaml", [])
    found = incomparable(recipe, "validation/bits_per_byte", ["clean.max_characters"])
    assert found is not None
    assert "`clean.splits: [train]`" in found[1]


MIXED = """
name: toy
stages:
  a: {stage: ingest, paths: [documents]}
  b: {stage: ingest, paths: [documents]}
  mix: {from: [a, b], shares: {a: 1, b: 1}}
  tokenizer: {vocab_size: 512}
  tokenize:
  pretrain: {num_tokens: 4096}
  conversations: {paths: [chats.jsonl]}
  finetune:
  evaluate:
"""


@pytest.mark.parametrize(
    ("field", "metric", "problem"),
    [
        ("mix.shares.a", "evaluate/held_out/bits_per_byte", None),
        ("b.split.test", "evaluate/held_out/bits_per_byte", TEXT),
        ("b.split.test", "validation/accuracy", None),
        ("conversations.split.validation", "validation/accuracy", TEXT),
        ("finetune.learning_rate", "validation/loss", None),
    ],
)
def test_the_text_of_the_last_trained_model_counts(
    tmp_path: Path, field: str, metric: str, problem: str | None
) -> None:
    """Fine-tuning is validated on conversations, which do not depend on the documents of its base model."""
    (tmp_path / "recipe.yaml").write_text(MIXED)
    found = incomparable(load_recipe(tmp_path / "recipe.yaml", []), metric, [field])
    assert (found is None) == (problem is None), found
