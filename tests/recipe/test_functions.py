"""A user's function is looked for without running its file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bessemer.errors import InputError
from bessemer.fingerprint import file_sha256
from bessemer.recipe.functions import function_file, load_function


@pytest.mark.parametrize(
    "text",
    [
        "def wanted(): pass",
        "if True:\n    def wanted(): pass",
        "wanted = lambda: 1",
        "from elsewhere import wanted",
        "from elsewhere import other as wanted",
        "from elsewhere import *",
        "raise SystemExit\nclass wanted: pass",
    ],
)
def test_a_name_may_come_about_in_any_way(tmp_path: Path, text: str) -> None:
    file = tmp_path / "functions.py"
    file.write_text(text)
    assert function_file(str(file), "wanted") == file_sha256(file)


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (None, "of the function `wanted` does not exist", "from the recipe's folder"),
        (b"def want(): pass", "does not define the function `wanted`", "did you mean `want`?"),
        (b"class Other:\n    def wanted(self): wanted = 1", "does not define the function `wanted`", ""),
        (b"other = [wanted for wanted in ()]", "does not define the function `wanted`", ""),
        (b"\n\ndef wanted(:", "line 3 is not Python: invalid syntax", "set `file` to a Python file"),
        (b"\x00\xff", "is not Python", "set `file` to a Python file"),
    ],
)
def test_a_file_without_it_is_refused(tmp_path: Path, content: bytes | None, message: str, hint: str) -> None:
    file = tmp_path / "functions.py"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        function_file(str(file), "wanted")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("file_name", ["rewards.py", "rewards", "json.py"])
def test_a_file_of_any_name_may_look_itself_up(tmp_path: Path, file_name: str) -> None:
    """A `dataclass` whose annotations are texts finds its module in `sys.modules`; no other module is hidden."""
    file = tmp_path / file_name
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Point:\n    x: float\n\n"
        "def wanted(x):\n    return Point(x).x\n"
    )
    assert load_function(str(file), "wanted")(2.0) == 2.0


def test_a_changed_file_is_loaded_again(tmp_path: Path) -> None:
    """The fingerprint of a result follows the content, so the code must too."""
    file = tmp_path / "functions.py"
    for answer in (1, 2):
        file.write_text(f"def wanted(): return {answer}")
        assert load_function(str(file), "wanted")() == answer
    assert json.loads("2") == 2
    assert sys.modules["json"] is json
