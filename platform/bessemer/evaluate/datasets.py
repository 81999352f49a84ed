"""Reads the rows of a task's dataset: JSON lines, comma- or tab-separated values, or one text file per column.

A path may contain `*`; the matching files are read in the order of their names. A file whose name does not end in
`.jsonl`, `.csv` or `.tsv` is plain text: each line is a row with the columns `text` and `file` (the file's name). Every
row records its file and line for error messages.
"""

from __future__ import annotations

import csv
import glob
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.errors import InputError
from bessemer.hashes import sha256_of

Dataset = str | dict[str, str]
"""A path of files of rows; or, for each column, the path of a text file with one value per line."""


@dataclass(frozen=True)
class Row:
    """One row of a file, as read."""

    file: str
    line: int
    values: dict[str, Any]

    @property
    def id(self) -> str:
        """The row's column `id`; if it has none, the file's stem and the line."""
        return str(self.values.get("id", f"{Path(self.file).stem}:{self.line}"))

    @property
    def place(self) -> str:
        return f"`{self.file}` line {self.line}"


def files(dataset: Dataset) -> list[Path]:
    """The dataset's files in order. Raises InputError if no file matches."""
    patterns = list(dataset.values()) if isinstance(dataset, dict) else [dataset]
    found: list[Path] = []
    for pattern in patterns:
        matches = [Path(pattern)] if Path(pattern).is_file() else sorted(map(Path, glob.glob(pattern)))  # noqa: PTH207
        if not matches:
            raise InputError(
                f"the dataset `{pattern}` does not exist",
                hint="fix `dataset` of the task, or `datasets`, the folder with the files of declared tasks",
            )
        found += matches
    return found


def content(dataset: Dataset) -> Any:
    """A JSON value that identifies the dataset's content: file names and SHA-256 sums, without folders."""
    if isinstance(dataset, dict):
        return {column: content(path) for column, path in dataset.items()}
    found = files(dataset)
    return [[path.name, sha256] for path, sha256 in zip(found, sha256_of(found), strict=True)]


def read_rows(dataset: Dataset) -> list[Row]:
    """Reads all rows. Raises InputError with the file and the line that cannot be read."""
    if isinstance(dataset, dict):
        return _aligned({column: files(path) for column, path in dataset.items()})
    rows = [row for path in files(dataset) for row in _READERS.get(path.suffix, _text)(path)]
    if not rows:
        raise InputError(f"the dataset `{dataset}` has no rows", hint="fix `dataset` of the task")
    return rows


def _aligned(columns: dict[str, list[Path]]) -> list[Row]:
    """Joins text files line by line: row n has line n of each column's files."""
    lines = {column: [row for path in paths for row in _text(path)] for column, paths in columns.items()}
    lengths = {column: len(found) for column, found in lines.items()}
    if len(set(lengths.values())) != 1:
        counts = ", ".join(f"`{column}` has {count}" for column, count in lengths.items())
        raise InputError(
            f"the columns of the dataset have different numbers of lines: {counts}",
            hint="line n of each file belongs to item n: give every column the same number of lines",
        )
    first = next(iter(lines))
    return [
        Row(place.file, place.line, {column: found[number].values["text"] for column, found in lines.items()})
        for number, place in enumerate(lines[first])
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"`{path}` is not UTF-8 text", hint="convert the dataset to UTF-8") from None


def _text(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_read(path).removesuffix("\n").split("\n"), start=1):
        yield Row(path.name, number, {"text": line, "file": path.name})


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            values, reason = None, f"not JSON ({error.msg})"
        else:
            reason = "not a JSON object"
        if not isinstance(values, dict):
            raise InputError(
                f"`{path.name}` line {number} is {reason}", hint="write one JSON object per line of a `.jsonl` dataset"
            )
        yield Row(path.name, number, values)


def _separated(delimiter: str) -> Callable[[Path], Iterator[Row]]:
    def read(path: Path) -> Iterator[Row]:
        reader = csv.reader(io.StringIO(_read(path), newline=""), delimiter=delimiter)
        header = next(reader, [])
        for values in reader:
            if not values:
                continue
            if len(values) != len(header):
                raise InputError(
                    f"`{path.name}` line {reader.line_num} has {len(values)} values, but the header names "
                    f"{len(header)} columns",
                    hint="put values that contain the delimiter or a line break in double quotes",
                )
            yield Row(path.name, reader.line_num, dict(zip(header, values, strict=True)))

    return read


def _refused(path: Path) -> Iterator[Row]:
    raise InputError(
        f"`{path.name}` has a format that is not supported for datasets",
        hint="convert it to JSON lines (`.jsonl`), `.csv`, `.tsv` or plain text",
    )


_READERS = {
    ".jsonl": _json_lines,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    **dict.fromkeys((".json", ".parquet", ".gz", ".zst", ".zip", ".xlsx"), _refused),
}
