"""json_values: the elements of arrays and the objects of a file, without holding or parsing the file."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bessemer.extract import json_values as module
from bessemer.extract.json_values import CutOff, json_values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


def split(content: bytes | str, limit: int = 1 << 20, chunk: int = 1 << 20) -> list[str]:
    encoded = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        return [value.decode("utf-8", "surrogatepass") for value, _ in json_values(io.BytesIO(encoded), limit)]


@given(st.lists(JSON, max_size=5), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 9))
@settings(max_examples=200)
def test_the_elements_of_any_array_are_found_wherever_chunks_end(
    values: list[Any], indent: int | None, ascii: bool, chunk: int
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii)
    assert [json.loads(value) for value in split(text, chunk=chunk)] == json.loads(text)


@given(st.binary(max_size=60), st.integers(1, 9))
@example(b"\xef\xbb\xbf", 1)
@example(b"\xef\xbb\xbf[1, 2]", 3)
@settings(max_examples=200)
def test_any_bytes_give_the_same_values_wherever_chunks_end(content: bytes, chunk: int) -> None:
    def outcome(size: int) -> list[bytes | str]:
        found: list[bytes | str] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_CHUNK", size)
            try:
                found += [value for value, _ in json_values(io.BytesIO(content), 1 << 20)]
            except CutOff:
                found.append("cut off")
        return found

    marks = b'{[",]}\\ '
    assert outcome(chunk) == outcome(1 << 20)
    content = bytes(marks[byte % len(marks)] for byte in content)
    assert outcome(chunk) == outcome(1 << 20)


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("[]", []),
        ('{"a": [1, {"b": 2}]}', ['{"a": [1, {"b": 2}]}']),
        ('{"a": 1}\n{"b": 2}', ['{"a": 1}', '{"b": 2}']),
        ('{"a": 1},\n{"b": 2},', ['{"a": 1}', '{"b": 2}']),
        ('[{"a": 1}]\n[{"b": 2}]', ['{"a": 1}', '{"b": 2}']),
        ('[{"a": 1}, {oops}, {"b": 2},]', ['{"a": 1}', "{oops}", '{"b": 2}']),
        ('\ufeff[{"a": "]"}]', ['{"a": "]"}']),
    ],
)
def test_other_shapes_that_people_write(content: str, values: list[str]) -> None:
    assert split(content) == values


@pytest.mark.parametrize("content", ['[{"a": 1}, {"b"', '[{"a": 1},', '{"a": 1}{"b"', '[{"a": 1}, "'])
def test_a_file_that_is_cut_off_gives_the_values_before_the_cut(content: str) -> None:
    values = json_values(io.BytesIO(content.encode()), 100)
    assert next(values)[0] == b'{"a": 1}'
    with pytest.raises(CutOff):
        next(values)


def test_a_value_beyond_the_limit_is_not_held() -> None:
    content = json.dumps(["a", "b" * 5000, "c"]).encode()
    assert list(json_values(io.BytesIO(content), 100)) == [(b'"a"', 3), (b"", 5003), (b'"c"', 3)]
