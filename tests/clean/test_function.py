"""A custom rule gets the fields that it names, may measure, rewrite or remove, and its mistakes are reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bessemer.clean.function import CustomRule, FunctionFailed
from bessemer.clean.texts import Texts
from bessemer.errors import InputError

FIELDS = {
    "url": ["https://a.example/archive/1", "https://a.example/2"],
    "source": ["a.example", "a.example"],
    "license": [None, "CC0-1.0"],
    "metadata": ['{"type": "index"}', '{"author": "Ada"}'],
}


@pytest.fixture
def rule(tmp_path: Path) -> Any:
    """`rule(source, **settings)` is a rule by the function `f` of a file with this content."""

    def make(source: str, **settings: Any) -> CustomRule:
        path = tmp_path / f"rules{len(list(tmp_path.iterdir()))}.py"
        path.write_text(source, encoding="utf-8")
        return CustomRule(file=str(path), name="f", **settings)

    return make


def removed(rule: CustomRule, *texts: str) -> list[bool]:
    batch = Texts(list(texts), ["de"] * len(texts), {name: values[: len(texts)] for name, values in FIELDS.items()})
    found = rule.apply(batch)
    limits = rule.broken(found.signals, batch.languages)
    return [any(limit.texts[index] for limit in limits) for index in range(len(texts))]


def test_a_number_is_compared_with_the_limits(rule: Any) -> None:
    digits = "def f(text):\n    return sum(map(str.isdigit, text)) / len(text)"
    assert removed(rule(digits, max=0.4), "a1", "ab1") == [True, False]
    assert removed(rule(digits, min=0.4), "a1", "ab1") == [False, True]
    found = rule(digits, min=0, max=0.4).apply(Texts(["a1"]))
    assert found.signals["f"].tolist() == [0.5]
    assert found.texts is None


def test_true_keeps_and_false_removes(rule: Any) -> None:
    assert removed(rule("def f(text):\n    return ' is ' in text"), "it is so", "no") == [False, True]
    assert removed(rule("import numpy\ndef f(text): return numpy.bool_(text)"), "x", "") == [False, True]


def test_a_text_replaces_the_document_and_an_empty_one_removes_it(rule: Any) -> None:
    cut = rule("def f(text, language):\n    return text.split('Impressum')[0] if language == 'de' else text")
    found = cut.apply(Texts(["Ja. Impressum: x", "Impressum"], ["de", "de"], FIELDS))
    assert found.texts is not None
    assert found.texts.strings == ["Ja. ", ""]
    assert found.signals["f"].tolist() == [1, 0]
    assert cut.apply(Texts(["Impressum"], ["en"], FIELDS)).texts is None


def test_the_parameters_name_the_fields_of_the_document(rule: Any) -> None:
    source = "def f(url, metadata):\n    return '/archive/' not in url and metadata.get('type') != 'index'"
    assert removed(rule(source), "x", "x") == [True, False]
    both = "def f(*, source, license, least=1):\n    return source == 'a.example' and bool(license) and least == 1"
    assert removed(rule(both), "x", "x") == [True, False]
    everything = "def f(**document):\n    return sorted(document) == " + repr(
        ["language", "license", "metadata", "source", "text", "url"]
    )
    assert removed(rule(everything), "x") == [False]


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("def f(text):\n    if text == 'y': return True", {}, "returned None, a `NoneType`"),
        ("def f(text): return [True]", {}, "returned [True], a `list`"),
        ("def f(text): return b'x'", {}, "a `bytes`"),
        ("def f(text): return (False, 'why')", {}, "a `tuple`"),
        ("async def g(): return True\ndef f(text):\n    one = g(); one.close(); return one", {}, "a `coroutine`"),
        ("def f(text): return 0.3", {}, "the number 0.3, but neither `min` nor `max` is set"),
        ("def f(text): return True", {"max": 1}, "returned True, but `min` and `max` need a number"),
        ("def f(text): return text", {"min": 1}, "returned 'x', but `min` and `max` need a number"),
        ("def f(text): return float('nan')", {"min": 1}, "returned nan, which cannot be compared"),
        ("def f(text): return 10**400", {"min": 1}, "returned a number beyond the range of a float"),
        ("def f(text): return float('inf')", {"min": 1}, "returned inf, which cannot be compared"),
        ("def f(text): return text + chr(0xD800)", {}, "half a surrogate pair"),
    ],
)
def test_another_return_value_is_an_error(rule: Any, source: str, settings: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        removed(rule(source, **settings), "x")
    assert message in caught.value.message
    assert "https://a.example/archive/1" in caught.value.message
    assert "`True` or `False`" in caught.value.hint


def test_an_error_of_the_function_names_the_line(rule: Any) -> None:
    with pytest.raises(FunctionFailed, match=r"`f` raised KeyError in line 3 of `.*`: 'no'"):
        removed(rule("def f(metadata):\n    # a comment\n    return metadata['no']"), "x")
    with pytest.raises(InputError, match="cannot be run: ZeroDivisionError in line 1"):
        removed(rule("x = 1 / 0\ndef f(text): return True"), "x")
    with pytest.raises(InputError, match="cannot be run: SystemExit"):
        removed(rule("raise SystemExit\ndef f(text): return True"), "x")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(text): pass", "`f` in line 1 never returns a value"),
        ("def f(text):\n    def g(): return 1\n    return", "never returns a value"),
        ("def f(text): print(text); return None", "never returns a value"),
        ("def f(txt): return True", "the parameter `txt`"),
        ("def f(text, *, lang): return True", "the parameter `lang`"),
        ("def f(document): return True", "the parameter `document`"),
        ("async def f(text): return True", "is an `async def`"),
        ("def g(text): return True", "does not define the function `f`"),
        ("def f(text: return", "is not Python"),
    ],
)
def test_a_plan_finds_a_function_that_cannot_work(rule: Any, source: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        rule(source).checked_file()
    assert message in caught.value.message


@pytest.mark.parametrize(
    "source",
    [
        "def f(text, threshold=3): return True",
        "def f(**fields): return True",
        "import functools\n@functools.cache\ndef f(text):\n    ...",
        "f = lambda text: True",
        "raise SystemExit\ndef f(text): return True",
        "if 1:\n    def f(text): return True\nelse:\n    def f(txt): return True",
    ],
)
def test_a_plan_accepts_what_may_work_and_runs_nothing(rule: Any, source: str) -> None:
    assert len(rule(source).checked_file()) == 64


def test_a_parameter_by_position_is_refused(rule: Any) -> None:
    with pytest.raises(InputError, match="takes `text` by position"):
        removed(rule("def f(text, /): return True"), "x")


def test_a_missing_function_or_file_is_named(rule: Any) -> None:
    wrong = rule("def of(text): return True")
    with pytest.raises(InputError, match="does not define the function `f`") as caught:
        removed(wrong, "x")
    assert caught.value.hint == "did you mean `of`?"
    with pytest.raises(InputError, match="does not exist"):
        removed(CustomRule(file=wrong.file + "x", name="f"), "x")


def test_the_file_is_next_to_the_recipe(tmp_path: Path) -> None:
    rule = CustomRule.model_validate({"file": "rules.py", "name": "f"}, context={"folder": tmp_path})
    assert rule.file == str(tmp_path / "rules.py")
