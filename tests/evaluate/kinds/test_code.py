"""Programs run against their tests, and pass@k is the probability that a draw contains one that passes."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.code import Code, pass_at_k
from bessemer.evaluate.materials import Materials
from bessemer.generate.settings import GenerationSettings


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_draws_with_one_that_passes(num_samples: int, data: st.DataObject) -> None:
    passed, k = data.draw(st.integers(0, num_samples)), data.draw(st.integers(1, num_samples))
    draws = [any(number < passed for number in draw) for draw in combinations(range(num_samples), k)]
    assert pass_at_k(num_samples, passed, k) == pytest.approx(sum(draws) / len(draws))


def test_programs_are_run_against_their_tests(subject: EvaluatedModel, tmp_path: Path) -> None:
    """The prompt ends with a comment sign, so the model's text is a comment and only the prompt decides."""
    rows = [
        {"prompt": "def f(): return 1\n#", "test": "assert f() == 1"},
        {"prompt": "def f(): return 1\n#", "test": "assert f() == 2"},
        {"prompt": "def f(): return 1\n#", "test": "while True: pass"},
    ]
    (tmp_path / "programs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = Code(
        kind="code",
        dataset=str(tmp_path / "programs.jsonl"),
        test="{{test}}",
        num_samples=3,
        cpu_seconds=1,
        generation=GenerationSettings(max_new_tokens=2, stop=("\n", "\r", "\0")),
        metrics=("pass_at_1", "pass_at_2"),
    )
    result = task.score(Materials(subject))
    found = result.items.to_pylist()
    assert [set(row["statuses"]) for row in found] == [{"finished"}, {"error"}, {"timeout"}]
    assert [row["num_passed"] for row in found] == [3, 0, 0]
    assert "AssertionError" in found[1]["details"][0]
    assert {score.metric: (score.value, score.n) for score in result.scores} == {
        "pass_at_1": (pytest.approx(1 / 3), 3),
        "pass_at_2": (pytest.approx(1 / 3), 3),
    }


def test_every_sample_of_every_item_has_its_own_random_numbers(subject: EvaluatedModel, tmp_path: Path) -> None:
    """Two items with the same prompt get different programs."""
    (tmp_path / "programs.jsonl").write_text('{"prompt": "#"}\n' * 2)
    task = Code(
        kind="code",
        dataset=str(tmp_path / "programs.jsonl"),
        test="pass",
        num_samples=2,
        cpu_seconds=1,
        generation=GenerationSettings(max_new_tokens=8, temperature=1, top_p=1),
    )
    found = task.score(Materials(subject)).items["completions"].to_pylist()
    assert len({text for texts in found for text in texts}) == 4


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"metrics": ["pass_at_10"]}, "needs `num_samples` of at least 10"),
        ({"num_samples": 4}, "all samples are equal"),
        ({"metrics": ["pass@1"]}, "pattern"),
    ],
)
def test_settings_that_cannot_measure_are_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Code.model_validate({"kind": "code", "dataset": "x", "test": "x"} | settings)
