"""A user's own rule: limits, booleans, and mistakes in its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bessemer.clean.function import Function
from bessemer.clean.texts import Texts
from bessemer.errors import InputError

SOURCE = """
def share_of_digits(text: str) -> float:
    return sum(map(str.isdigit, text)) / max(len(text), 1)

def has_verb(text: str) -> bool:
    return " is " in text
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "rules.py"
    path.write_text(SOURCE)
    return str(path)


def broken(rule: Function, *texts: str) -> list[bool]:
    found = rule.apply(Texts(list(texts)))
    return np.any([limit.texts for limit in rule.broken(found.signals)], axis=0).tolist()


def test_limits_and_booleans_remove(file: str) -> None:
    assert broken(Function(file=file, name="share_of_digits", max=0.4), "a1", "ab1") == [True, False]
    assert broken(Function(file=file, name="share_of_digits", min=0.4, max=0.9), "a1", "ab1", "1") == [
        False,
        True,
        True,
    ]
    assert broken(Function(file=file, name="has_verb"), "it is so", "no") == [False, True]


def test_a_missing_function_or_file_is_named(file: str) -> None:
    with pytest.raises(InputError, match="no function `share_of_digit`") as caught:
        Function(file=file, name="share_of_digit").apply(Texts(["x"]))
    assert caught.value.hint == "did you mean `share_of_digits`?"
    with pytest.raises(InputError, match="no file"):
        Function(file=file + "x", name="f").apply(Texts(["x"]))


def test_the_file_stands_beside_the_recipe(tmp_path: Path, file: str) -> None:
    rule = Function.model_validate({"file": "rules.py", "name": "has_verb"}, context={"folder": tmp_path})
    assert rule.file == file
