"""Tests that rewards give the documented numbers, and that a failing custom function does not end the training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from bessemer.align.reward_scoring import Scorer
from bessemer.align.rewards import (
    AnyReward,
    ExactMatch,
    Length,
    RegularExpression,
    Reward,
    RewardFunction,
    Rewards,
    RewardSample,
    UnitTests,
)
from bessemer.errors import InputError, UsageError
from bessemer.recipe.settings import result_settings

FUNCTIONS = """
import os, time

def politeness(completions, **columns):
    print("noise")
    return [float("please" in text) for text in completions]

def equal_to(completions, answer):
    return [None if a is None else c == a for c, a in zip(completions, answer)]

def lengths(prompts, completions):
    return [len(p) + len(c) for p, c in zip(prompts, completions)]

def raises(completions):
    return [1 / 0 for _ in completions]

def exits(completions):
    raise SystemExit

def hangs(completions):
    time.sleep(1000)

def dies(completions):
    os._exit(3)

def too_few(completions):
    return []

def words(completions):
    return ["good" for _ in completions]

def nothing(completions):
    pass

def not_finite(completions):
    return [float(text) for text in completions]

def dies_once(completions):
    if "die" in completions[0]:
        os._exit(3)
    return [1.0 for _ in completions]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("rewards") / "rewards.py"
    path.write_text(FUNCTIONS)
    return str(path)


def sample(completion: str, *, prompt: str = "p", num_tokens: int = 1, **row: Any) -> RewardSample:
    return RewardSample(prompt, completion, num_tokens, row)


def one(reward: Reward, *args: str, **row: Any) -> float | None:
    with reward.open() as score:
        (found,) = score([sample(*args, **row)])
    return found


@pytest.mark.parametrize(
    ("settings", "completion", "answer", "reward"),
    [
        ({}, " 42\n", "42", 1),
        ({}, "it is 42", "42", 0),
        ({"extract": r"#### (.+)"}, "so #### 7\nno, #### 42", "because ...\n#### 42", 1),
        ({"extract": r"#### (.+)"}, "#### 42", "42", 1),
        ({"extract": r"#### (.+)"}, "42", "42", 0),
        ({"extract": r"\d+"}, "1 + 1 = 2", "2", 1),
        ({"extract": r"(\d+)( apples)?"}, "2 apples", "2", 1),
        ({"regexes_to_ignore": ("[,$]",)}, "$1,000", "1000", 1),
        ({"ignore_case": True}, "Yes", "yes", 1),
        ({}, "Yes", "yes", 0),
    ],
)
def test_exact_match(settings: dict[str, Any], completion: str, answer: str, reward: float) -> None:
    assert one(ExactMatch(**settings), completion, answer=answer) == reward


def test_an_answer_that_is_a_number_is_compared_as_text() -> None:
    assert one(ExactMatch(), "42", answer=42) == 1


def test_a_pattern_that_takes_forever_is_no_score() -> None:
    assert one(RegularExpression(pattern=r"^(a|aa)+$"), "a" * 60 + "b") is None


@pytest.mark.parametrize(
    ("settings", "length", "reward"),
    [
        ({"limit": 10, "buffer": 4}, 6, 0),
        ({"limit": 10, "buffer": 4}, 7, -0.25),
        ({"limit": 10, "buffer": 4}, 10, -1),
        ({"limit": 10, "buffer": 4}, 99, -1),
        ({"limit": 10}, 9, 0),
        ({"limit": 10}, 10, -1),
        ({"target": 10}, 10, 0),
        ({"target": 10}, 5, -0.5),
        ({"target": 10}, 99, -1),
    ],
)
def test_length(settings: dict[str, Any], length: int, reward: float) -> None:
    assert one(Length(**settings), "x", num_tokens=length) == reward


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("def f(x): return x + 1", 1),
        ("Here:\n```python\ndef f(x): return x + 1\n```\nDone.", 1),
        ("```\ndef f(x): return 0\n```\nbetter:\n```py\ndef f(x): return x + 1\n```", 1),
        ("def f(x): return 0", 0),
        ("I do not know.", 0),
        ("exit()", 0),
        ("while True: pass", 0),
    ],
)
@pytest.mark.parametrize("tests", ["assert f(1) == 2", ["assert f(1) == 2", "assert f(2) == 3"]])
def test_unit_tests(completion: str, tests: str | list[str], reward: float) -> None:
    assert one(UnitTests(cpu_seconds=1), completion, tests=tests) == reward


def test_functions_are_called_as_trl_calls_them(file: str) -> None:
    samples = [sample("please", answer="please"), sample("no", answer=None, prompt="long")]
    found = {}
    for name in ("politeness", "equal_to", "lengths"):
        with RewardFunction(file=file, name=name).open() as score:
            found[name] = score(samples)
    assert found == {"politeness": [1, 0], "equal_to": [1, None], "lengths": [7, 6]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "ZeroDivisionError: division by zero (line 15 of "),
        ("hangs", "did not answer within 0.5 seconds"),
        ("dies", "its process ended with exit code 3"),
        ("exits", "SystemExit"),
        ("too_few", "ValueError: it returned 0 numbers for 1 completions"),
        ("words", "could not convert string to float: 'good'"),
        ("nothing", "it returned NoneType instead of a list of numbers"),
        ("politenes", "does not define the function `politenes`"),
    ],
)
def test_a_function_that_does_not_work_is_an_error_before_and_a_failure_during_training(
    file: str, name: str, message: str
) -> None:
    function = RewardFunction(file=file, name=name, timeout_seconds=0.5 if name == "hangs" else 60)
    with Scorer([function, Length(target=1)]) as scorer:
        with pytest.raises(InputError) as caught:
            scorer.check(sample("x"))
        assert message in caught.value.message
        scores = scorer([sample("x")])
    assert math.isnan(scores.rewards[0])
    assert scores.by_reward["length"] == [0]
    assert message in scores.failures[0]


def test_what_is_no_finite_number_is_no_score(file: str) -> None:
    with RewardFunction(file=file, name="not_finite").open() as score:
        assert score([sample("nan"), sample("inf"), sample("-inf"), sample("2")]) == [None, None, None, 2.0]


def test_a_function_that_died_is_started_again(file: str) -> None:
    with Scorer([RewardFunction(file=file, name="dies_once")]) as scorer:
        assert scorer([sample("die")]).failures
        assert scorer([sample("live")]).rewards == [1]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        Scorer([RewardFunction(file=str(tmp_path / "x.py"), name="f")]) as scorer,
        pytest.raises(InputError, match="does not exist"),
    ):
        scorer.check(sample("x"))


def test_weights_add_up() -> None:
    rewards = [ExactMatch(weight=2), RegularExpression(pattern="^a", weight=0.5)]
    with Scorer(rewards) as scorer:
        scores = scorer([sample("ab", answer="ab"), sample("ac", answer="ab"), sample("b", answer="b")])
    assert scores.rewards == [2.5, 0.5, 2]
    assert scores.by_reward == {"exact_match": [1, 0, 1], "regular_expression": [1, 1, 0]}


def test_a_reward_that_is_not_finite_is_none() -> None:
    class Overflowing(RegularExpression):
        def score(self, sample: RewardSample) -> float:
            return float("inf") if sample.completion == "x" else 1.0

    with Scorer([Overflowing(pattern=".")]) as scorer:
        assert scorer([sample("x"), sample("y")]).rewards == [pytest.approx(math.nan, nan_ok=True), 1.0]


def test_a_missing_column_is_an_error_before_training() -> None:
    with Scorer([ExactMatch(column="anser")]) as scorer, pytest.raises(UsageError) as caught:
        scorer.check(sample("x", answer="y"))
    assert caught.value.hint == "did you mean `answer`?"


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "exact_match", "extract": "("},
        {"kind": "length"},
        {"kind": "length", "limit": 3, "target": 4},
        {"kind": "length", "limit": 3, "buffer": 4},
        {"kind": "length", "target": 3, "buffer": 1},
        {"kind": "function", "name": "f"},
        {"kind": "reglar"},
    ],
)
def test_mistakes_are_found_in_the_recipe(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(AnyReward).validate_python(settings)


def test_a_functions_file_stands_beside_the_recipe_and_its_place_is_no_setting(tmp_path: Path) -> None:
    reward = TypeAdapter(AnyReward).validate_python(
        {"kind": "function", "file": "rewards.py", "name": "f"}, context={"folder": tmp_path}
    )
    assert isinstance(reward, RewardFunction)
    assert reward.file == str(tmp_path / "rewards.py")
    assert "file" not in result_settings(reward)


def test_a_reward_twice_is_found_in_the_recipe() -> None:
    with pytest.raises(ValidationError, match="there are two rewards `exact_match`"):
        TypeAdapter(Rewards).validate_python([{"kind": "exact_match"}, {"kind": "exact_match", "column": "b"}])


@pytest.mark.parametrize("tests", [None, 5, ["assert True", 5]])
def test_a_column_that_cannot_be_read_is_an_error_before_training(tests: Any) -> None:
    with Scorer([UnitTests()]) as scorer, pytest.raises(UsageError, match="`tests`, which is missing or unreadable"):
        scorer.check(sample("x", tests=tests))


def test_a_change_of_the_file_during_the_run_changes_no_reward(tmp_path: Path) -> None:
    """The fingerprint of the model names the content that the run began with."""
    file = tmp_path / "reward.py"
    file.write_text("def one(completions):\n    return [1.0 for text in completions]\n")
    samples = [RewardSample("q", "a", 1, {})]
    with RewardFunction(file=str(file), name="one").open() as score:
        assert score(samples) == [1.0]
        file.write_text("def one(completions):\n    return [2.0 for text in completions]\n")
        assert score(samples) == [1.0]
