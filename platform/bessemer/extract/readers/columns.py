"""Converts Arrow columns to Python values, one column at a time.

`Array.to_pylist` fails for the whole column if a single value has no equivalent in Python: a date after the year 9999,
a time zone that the database lacks, a string that is not UTF-8. Here such a value becomes None and is reported with its
row. Dates and times become text (`2026-01-31 12:00:00Z`), because no Python type covers all of Arrow's values. Binary
values become text if they are UTF-8, because some writers store text in columns without an annotation.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import numpy as np
import pyarrow as pa

Lost = list[int]
"""The rows of values that could not be converted. A row occurs once per such value."""


def python_values(array: pa.Array) -> tuple[list[Any], Lost]:
    """Returns (values, rows of values that could not be converted and are None) of a column, which may be nested."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return python_values(array.storage)
    if pa.types.is_dictionary(kind):
        return python_values(array.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return python_values(pa.compute.run_end_decode(array))
    if pa.types.is_struct(kind):
        return _structs(array)
    if pa.types.is_map(kind):
        return _maps(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists(array)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return _texts(array.cast(pa.timestamp(kind.unit)), zone="Z")  # stored as UTC for every zone
    if is_text(kind) and not pa.types.is_null(kind):
        return _decoded(array)
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_interval(kind):
        return _texts(array)
    return _plain(array)


def binary_values(array: pa.Array) -> list[bytes | None]:
    """The bytes of a column of text or binary values, which need not be UTF-8."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return binary_values(array.dictionary_decode())
    if pa.types.is_null(kind):
        return [None] * len(array)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        array = array.cast(pa.binary_view())
    elif pa.types.is_large_string(kind):
        array = array.cast(pa.large_binary())
    elif pa.types.is_string(kind):
        array = array.cast(pa.binary())
    values: list[bytes | None] = array.to_pylist()
    return values


def is_text(kind: pa.DataType) -> bool:
    """Whether `binary_values` reads a column of this type."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = ("is_string", "is_large_string", "is_string_view", "is_binary", "is_large_binary", "is_binary_view")
    return pa.types.is_null(kind) or any(getattr(pa.types, check)(kind) for check in checks)


def _decoded(array: pa.Array) -> tuple[list[Any], Lost]:
    """Decodes the values of a column. In a binary column, values that are not UTF-8 stay bytes."""
    is_binary = "binary" in str(array.type)
    if not is_binary:
        with contextlib.suppress(UnicodeDecodeError):
            return array.to_pylist(), []
    values: list[Any] = []
    lost: Lost = []
    for row, value in enumerate(binary_values(array)):
        try:
            values.append(None if value is None else value.decode("utf-8"))
        except UnicodeDecodeError:
            values.append(value if is_binary else None)
            lost += [] if is_binary else [row]
    return values, lost


def _plain(array: pa.Array) -> tuple[list[Any], Lost]:
    try:
        return array.to_pylist(), []
    except _NO_VALUE:
        pass
    values: list[Any] = []
    lost: Lost = []
    for row, scalar in enumerate(array):
        try:
            values.append(scalar.as_py())
        except _NO_VALUE:
            values.append(None)
            lost.append(row)
    return values, lost


_NO_VALUE = (pa.ArrowException, ArithmeticError, LookupError, OSError, TypeError, ValueError)
"""The exceptions that `to_pylist` raises if a value has no equivalent in Python."""


def _texts(array: pa.Array, zone: str = "") -> tuple[list[Any], Lost]:
    """Dates and times as Arrow writes them, without a zero fraction. A value that Arrow writes as `<value out of range:
    ...>` is lost."""
    texts: list[Any] = array.cast(pa.string()).to_pylist()
    lost: Lost = []
    for row, text in enumerate(texts):
        if text is None:
            continue
        found = _TIME.fullmatch(text)
        texts[row] = found[1] + (found[2] if found[2].strip(".0") else "") + zone if found else None
        lost += [] if found else [row]
    return texts, lost


_TIME = re.compile(r"((?:[+-]?\d{4,}-\d\d-\d\d)?(?: ?\d\d:\d\d:\d\d)?)((?:\.\d+)?)")


def _structs(array: pa.StructArray) -> tuple[list[Any], Lost]:
    """Structs as dicts. If two fields have the same name, the first counts."""
    fields: dict[str, list[Any]] = {}
    lost: Lost = []
    for index, child in enumerate(array.flatten()):  # with the struct's own nulls
        name = array.type.field(index).name
        if name not in fields:
            fields[name], in_child = python_values(child)
            lost += in_child
    present = array.is_valid().to_pylist()
    rows = zip(*fields.values(), strict=True) if fields else [()] * len(array)
    return [
        dict(zip(fields, row, strict=True)) if here else None for row, here in zip(rows, present, strict=True)
    ], lost


def _lists(array: Any) -> tuple[list[Any], Lost]:
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths)
    values, lost = python_values(array.flatten())  # without the values under nulls
    present = array.is_valid().to_pylist()
    spans = zip((ends - lengths).tolist(), ends.tolist(), present, strict=True)
    lists = [values[start:end] if here else None for start, end, here in spans]
    return lists, np.searchsorted(ends, lost, side="right").tolist()


def _maps(array: pa.MapArray) -> tuple[list[Any], Lost]:
    """Maps as lists of (key, value), because keys may repeat and need not be text."""
    as_lists = array.cast(pa.list_(pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])))
    lists, lost = _lists(as_lists)
    pairs = [None if found is None else [(entry["key"], entry["value"]) for entry in found] for found in lists]
    return pairs, lost
