"""pairs: a model's own answers become preferences, every prompt has a verdict, and killed work is not done twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.stages.test_reinforce import ROWS, inputs, tokenizer

from bessemer.align.best_of_n import RankedAnswer, best_and_worst
from bessemer.artifacts.ledger import Removed
from bessemer.artifacts.store import Artifact
from bessemer.errors import InputError, NothingLeft, UsageError
from bessemer.stages import align, pairs
from bessemer.tokens.tokenizer import TokenizerFolder

__all__ = ["inputs", "tokenizer"]  # fixtures
SETTINGS: dict[str, Any] = {
    "rewards": [{"kind": "exact_match", "column": "liked"}],
    "num_generations": 6,
    "max_completion_length": 8,
    "dtype": "float32",
}


@pytest.fixture
def compete(inputs: dict[str, Artifact], run_stage: Callable[..., Any]) -> Callable[..., Any]:
    def run(name: str = "pairs", **changes: Any) -> tuple[Any, Artifact]:
        draft, seal = run_stage(pairs, inputs, name, **SETTINGS | changes)
        return draft, seal()

    return run


def rows_of(artifact: Artifact) -> list[dict[str, Any]]:
    return [row for part in artifact.parts() for row in pq.read_table(part).to_pylist()]


def test_the_better_answer_is_chosen_and_every_prompt_has_a_verdict(compete: Any, tokenizer: TokenizerFolder) -> None:
    draft, artifact = compete()
    assert draft.counts.documents_in == len(ROWS)
    assert draft.counts.documents_out + draft.counts.removed == len(ROWS)
    assert set(draft.counts.removed_by_rule) <= {"no_spread", "never_ends"}
    rows = rows_of(artifact)
    assert len(rows) > len(ROWS) / 2
    for row in rows:
        assert row["chosen"][0]["content"] == "It is red."
        assert row["rejected"][0]["content"] != "It is red."
        assert tokenizer.decode(row["chosen_ids"]) == "It is red.<|im_end|>"
        assert tokenizer.decode(row["prompt_ids"]).endswith("<|im_start|>assistant\n")
    ledger = [row for path in artifact.ledger.glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len(ledger) == len(ROWS)
    assert all(0 <= row["signals"]["reward_mean"] <= 1 for row in ledger)


def test_the_same_seed_gives_the_same_pairs(compete: Any) -> None:
    one, other = (rows_of(compete(name)[1]) for name in ("one", "other"))
    assert one == other


def test_a_known_answer_may_compete(compete: Any) -> None:
    rows = rows_of(compete(include_reference=True, rewards=[{"kind": "exact_match"}])[1])
    assert {row["chosen"][0]["content"] for row in rows} == {"It is red.", "It is blue."}


def test_a_model_is_aligned_with_its_own_answers(compete: Any, inputs: dict[str, Artifact], run_stage: Any) -> None:
    from tests.stages.test_reinforce import share_of_red

    _, rows = compete()
    settings = {"dpo": {}, "max_seq_length": 64, "max_steps": 40, "global_batch_size": 8, "optimizer": "adamw"}
    settings |= {"learning_rate": 1e-3, "num_threads": 1, "dtype": "float32"}
    draft, _ = run_stage(align, inputs | {"preferences": rows}, "aligned", **settings)
    assert share_of_red(draft.data) > 0.9 > share_of_red(inputs["model"].data)


def test_a_reward_that_fails_on_a_batch_is_told_once_and_in_every_verdict(
    compete: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "rewards.py"
    file.write_text("def picky(completions):\n    assert len(completions) < 8, 'too many'\n    return [1.0]\n")
    with pytest.raises(NothingLeft, match=f"{len(ROWS)} by `no_reward`"):
        compete(rewards=[{"kind": "function", "file": str(file), "name": "picky"}])
    why = f"the reward `picky` failed: AssertionError: too many (line 2 of `{file}`)"
    assert [record.getMessage() for record in caplog.records] == [f"{len(ROWS)} prompts have no pair: {why}"]


def answer(reward: float, text: str = "yes", *, finished: bool = True) -> RankedAnswer:
    return RankedAnswer(text, np.array([1, 2]), finished, reward)


def test_an_answer_without_an_end_is_never_the_better_one() -> None:
    best, worst = best_and_worst([answer(1.0, finished=False), answer(0.5), answer(0.0)], 0.0)
    assert (best.reward, worst.reward) == (0.5, 0.0)
    best, worst = best_and_worst([answer(0.5), answer(0.0, finished=False)], 0.0)
    assert (best.reward, worst.reward) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("answers", "rule"),
    [
        ([answer(0.5), answer(0.5)], "no_spread"),
        ([answer(0.55), answer(0.5)], "no_spread"),
        ([answer(1.0, finished=False), answer(0.0, finished=False)], "never_ends"),
        ([answer(float("nan"))], "no_reward"),
        ([], "no_reward"),
    ],
)
def test_answers_that_teach_nothing_say_why(answers: list[RankedAnswer], rule: str) -> None:
    with pytest.raises(Removed) as caught:
        best_and_worst(answers, 0.1)
    assert caught.value.rule == rule


def test_what_cannot_be_is_said_before_sampling(compete: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least two answers"):
        pairs.Config.model_validate(SETTINGS | {"num_generations": 1})
    with pytest.raises(UsageError, match="reads the column `wanted`"):
        compete(rewards=[{"kind": "exact_match", "column": "wanted"}])
    file = tmp_path / "rewards.py"
    file.write_text("def broken(completions, **columns):\n    raise RuntimeError('no such thing')\n")
    with pytest.raises(InputError, match="no such thing"):
        compete(rewards=[{"kind": "function", "file": str(file), "name": "broken"}])
    with pytest.raises(UsageError, match="have 64 tokens at most, and `max_completion_length` is 64"):
        compete(max_completion_length=64)
    with pytest.raises(NothingLeft, match=rf"none of {len(ROWS)} prompts gave a pair: {len(ROWS)} by `too_long`"):
        compete("long", max_completion_length=60)
    with pytest.raises(NothingLeft, match=rf"none of {len(ROWS)} prompts gave a pair: {len(ROWS)} by `no_spread`"):
        compete(rewards=[{"kind": "regular_expression", "pattern": "^$"}])
