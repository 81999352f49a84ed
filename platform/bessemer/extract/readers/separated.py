"""Reads CSV and TSV files: one record per row. The first row names the fields.

A field may be quoted (RFC 4180), so a row may span several lines. If a row does not fit the header, only its first line
is removed and reading continues with the next line. So a quote that is never closed does not remove the rest of the
file. In TSV, where quoting is rare, a first line with the right number of tabs is kept as a row, quotes included.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from bessemer.artifacts.ledger import Removed
from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.readers.base import Piece, Reader, lacks, record_of_fields, row_record, text_of
from bessemer.extract.settings import FileSettings, ReaderSettings
from bessemer.extract.streams import BROKEN_STREAM, compression_of, open_utf8

_DELIMITERS = ",;\t|"
"""Candidate delimiters of a `.csv` file, the most common first. Spreadsheets write `;` in countries where the decimal
mark is a comma."""
_CHUNK = 1 << 20
_MARKED = "sep="  # the first line in files of some spreadsheets names the delimiter


def read_separated(piece: Piece, settings: ReaderSettings) -> Iterator[ExtractedRecord]:
    """Yields the rows of a table. A record's number is the number of its row below the header, from 1."""
    name = settings.fields.text

    def refusal(header: Sequence[str]) -> str | None:
        return None if name in header else lacks(name, header, "")

    return records_of_rows(piece, settings, partial(_record, piece, settings), refusal)


def _rows(piece: Piece, settings: FileSettings) -> Iterator[ExtractedRecord]:
    return records_of_rows(piece, settings, partial(row_record, piece, settings))


def records_of_rows(
    piece: Piece,
    settings: FileSettings,
    record: Callable[[int, dict[str, str]], ExtractedRecord],
    refusal: Callable[[Sequence[str]], str | None] = lambda header: None,
) -> Iterator[ExtractedRecord]:
    """Yields `record(number, fields)` for every row, and a removed record for each row that does not fit the header.

    `refusal(header)` returns the reason if the whole file is unusable. Bytes that are not UTF-8 become lone surrogates.
    """
    number = 0
    path, limit = piece.checked_path(), settings.max_document_bytes
    csv.field_size_limit(max(limit, csv.field_size_limit()))
    try:
        with open_utf8(path) as file, io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="") as text:
            table = _Table(text, limit, "\t" if piece.format == "tsv" else None)
            if reason := refusal(table.header) if table.header else None:
                yield piece.record(settings, rule="missing_column", evidence=reason)
                return
            for number, row in enumerate(table.rows(), start=1):
                if isinstance(row, Removed):
                    values = {"rule": row.rule, "value": row.value, "threshold": row.threshold}
                    yield piece.record(settings, number, evidence=row.evidence, **values)
                else:
                    yield record(number, row)
    except BROKEN_STREAM as error:
        if compression_of(path) is None:
            raise
        yield piece.unreadable(settings, error, number)


class _Table:
    """The rows of a table, read line by line. If two columns have the same name, the first counts."""

    def __init__(self, file: io.TextIOWrapper, limit: int, delimiter: str | None) -> None:
        self._file, self._limit = file, limit
        self._again: deque[str] = deque()  # lines to read a second time, each as the beginning of a row
        self._row: list[str] = []  # the lines of the current row
        self._size = 0
        first = self._line().removeprefix("\ufeff")
        while first and first.isspace():
            first = self._line()
        if delimiter is None and first[:4].lower() == _MARKED and len(first.strip()) == len(_MARKED) + 1:
            delimiter, first = first[4], self._line()
        self._delimiter = delimiter or max(_DELIMITERS, key=lambda mark: len(_split(first, mark)))
        self._again.append(first)
        self.header: list[str] = [name.strip() for name in self._first_row()]

    def rows(self) -> Iterator[dict[str, str] | Removed]:
        """Yields the fields of every row that is not blank, or the reason why a line is not a row."""
        lines = self._parsed()
        while True:
            self._row, self._size = [], 0
            try:
                values = next(lines, None)
            except (csv.Error, Removed) as error:
                yield self._single_line(error)
                lines = self._parsed()
                continue
            if values is None:
                return
            if not values:  # a blank line
                continue
            if len(values) > len(self.header):
                yield self._single_line(self._misfit(len(values)))
                continue
            yield dict(reversed(list(zip(self.header, values, strict=False))))

    def _first_row(self) -> list[str]:
        try:
            return next(self._parsed(), [])
        except (csv.Error, Removed):
            line, *rest = self._row
            self._again.extendleft(reversed(rest))
            return line.strip().split(self._delimiter)

    def _single_line(self, error: Exception) -> dict[str, str] | Removed:
        """Queues all lines of a failed row except the first, to be read again. The first line becomes a row of TSV or
        is removed."""
        line, *rest = self._row
        self._again.extendleft(reversed(rest))
        if self._delimiter == "\t":
            values = line.rstrip("\r\n").split("\t")
            if len(values) == len(self.header):
                return dict(reversed(list(zip(self.header, values, strict=True))))
        return error if isinstance(error, Removed) else Removed("malformed_row", evidence=str(error))

    def _misfit(self, number: int) -> Removed:
        evidence = (
            f"{number} values for the {len(self.header)} columns of the header; quote a value that holds a delimiter"
        )
        return Removed("malformed_row", evidence=evidence)

    def _parsed(self) -> Iterator[list[str]]:
        return csv.reader(iter(self._next_line, ""), delimiter=self._delimiter, strict=True)

    def _next_line(self) -> str:
        line = self._again.popleft() if self._again else self._line()
        self._row.append(line)
        self._size += len(line)
        if self._size > self._limit:
            raise Removed("too_large", value=self._size, threshold=self._limit)
        return line

    def _line(self) -> str:
        """The next line. A line that exceeds the limit is cut off just beyond it."""
        line = rest = self._file.readline(self._limit + 1)
        while len(line) > self._limit and rest and not rest.endswith(("\n", "\r")):
            rest = self._file.readline(_CHUNK)
        return line


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _record(piece: Piece, settings: ReaderSettings, number: int, values: dict[str, Any]) -> ExtractedRecord:
    try:
        text = text_of(values, settings.fields.text, is_utf8=False)
    except Removed as refused:
        return piece.record(settings, number, rule=refused.rule, evidence=f"row {number}: {refused.evidence}")
    return record_of_fields(piece, settings, number, text, values)


CSV = Reader("csv", (".csv",), read_separated, _rows)
TSV = Reader("tsv", (".tsv",), read_separated, _rows)
