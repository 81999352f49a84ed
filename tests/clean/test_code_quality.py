"""Program files are judged by their lines, as BigCode does."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from bessemer.clean.code_quality import CodeQuality
from bessemer.clean.texts import Texts


def removed_by(text: str) -> str | None:
    rule = CodeQuality()
    limits = rule.broken(rule.apply(Texts(["x = 1\n", text, ""])).signals, ["en", "en", None])
    return next((limit.signal for limit in limits if limit.texts[1]), None)


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("def f(x):\n\n    return x + 1\n", None),
        ("x" * 1000 + "\n" * 20, None),
        ("x" * 1001 + "\n" * 20, "longest_line"),
        (("y" * 101 + "\n") * 9, "mean_line_length"),
        ("{[()]};" * 5 + "\n", "alphanumeric_ratio"),
        ("数据 = 读取()\n", None),
        (" \n\t\n", "lines"),
        ("", "lines"),
    ],
)
def test_a_file_is_removed_by(text: str, signal: str | None) -> None:
    assert removed_by(text) == signal


def test_signals_are_those_of_pythons_own_methods() -> None:
    text = "ab\n\n  c1d  \n"
    found = {name: values[0] for name, values in CodeQuality().apply(Texts([text])).signals.items()}
    lengths = [len(line) for line in text.splitlines()]
    assert found["lines"] == 2
    assert found["longest_line"] == max(lengths)
    assert found["mean_line_length"] == sum(lengths) / len(lengths)
    assert found["alphanumeric_ratio"] == sum(map(str.isalnum, text)) / len(text)


def test_the_standard_library_passes() -> None:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    assert [removed_by(path.read_text("utf-8", errors="replace")) for path in files] == [None] * len(files)
