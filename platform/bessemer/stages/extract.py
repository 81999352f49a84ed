"""extract: extracts the main text of crawled pages and records one verdict per page.

A unit is a range of the page index with about 16 MiB of stored pages. The id of a page is derived from its source (the
host, unless the recipe names a source), its URL and the digest of its bytes. If a page appears twice in the index, the
stage removes the second one (`duplicate_record`). `/x/` and `/x/index.html` are the same page if their bytes are equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.extract.settings import TextSettings
from bessemer.recipe.inputs import Input
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.ingest import LIBRARIES, finish

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.extract.extracted_record import ExtractedRecord

UNIT_BYTES = 16 << 20
UNIT_PAGES = 4096
FEWEST_UNITS = 8  # so that several processes can share a small crawl


class Config(StageConfig, TextSettings):
    source: str | None = None
    """Name of the collection, used as the source of every page. If unset, the source of a page is its host."""


@dataclass(frozen=True)
class Span:
    """A range of rows of the page index. `repeats` maps each row that repeats an earlier page to that page's URL."""

    start: int
    end: int
    repeats: Mapping[int, str]


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.stages.engine.work_units import Unit, document_units

    pages = inputs["pages"].data
    draft.counts = document_units(
        [Unit(f"{number:05d}", span) for number, span in enumerate(spans(pages / "index.parquet"))],
        partial(ExtractWorker, config, pages),
        context,
        data=draft.data,
        ledger=draft.ledger,
        receipts=draft.work / "receipts",
        unit_name="units",
    )
    finish(draft, config, context)


def spans(index: Path) -> list[Span]:
    """Returns index ranges with about `UNIT_BYTES` of stored pages each.

    Uses 24 bytes of memory per page, plus the URLs of repeated pages.
    """
    import numpy as np
    import pyarrow.parquet as pq
    import xxhash

    lengths, keys = [], []
    for batch in pq.ParquetFile(index).iter_batches(columns=["url", "digest", "length"], use_threads=False):
        pairs = zip(batch["url"].to_pylist(), batch["digest"].to_pylist(), strict=True)
        keys.append(
            np.array(
                [xxhash.xxh3_64_intdigest(f"{_folder_of(url)}\0{digest}".encode()) for url, digest in pairs], np.uint64
            )
        )
        lengths.append(batch["length"].to_numpy())
    if not keys:
        return []
    _, first_rows, numbers = np.unique(np.concatenate(keys), return_index=True, return_inverse=True)
    originals = first_rows[numbers]
    repeats = np.flatnonzero(originals != np.arange(len(originals)))
    urls = _urls_of(index, set(originals[repeats].tolist()))
    return [
        Span(start, end, {row: urls[originals[row]] for row in repeats[(repeats >= start) & (repeats < end)].tolist()})
        for start, end in cut(np.concatenate(lengths).tolist())
    ]


def _folder_of(url: str) -> str:
    """Returns the URL of the folder if `url` is the URL of its index page, else `url`."""
    return _INDEX_PAGE.sub("/", url)


_INDEX_PAGE = re.compile(r"(?<=[^/:])/(?:index|default)\.(?:html?|xhtml|php|aspx?|jsp)$", re.IGNORECASE)


def _urls_of(index: Path, rows: set[int]) -> dict[int, str]:
    """Returns the URLs of the given rows of the index, by row."""
    import pyarrow.parquet as pq

    found: dict[int, str] = {}
    row = 0
    for batch in pq.ParquetFile(index).iter_batches(columns=["url"], use_threads=False) if rows else ():
        for url in batch["url"].to_pylist():
            if row in rows:
                found[row] = url
            row += 1
    return found


def cut(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Returns (start, end) of ranges of rows. A range has at most `UNIT_PAGES` rows.

    Its lengths add up to about `UNIT_BYTES`, or to an eighth of the total if that is less.
    """
    unit_bytes = min(UNIT_BYTES, -(-sum(lengths) // FEWEST_UNITS))
    ranges: list[tuple[int, int]] = []
    start = size = 0
    for row, length in enumerate(lengths):
        if row > start and (size + length > unit_bytes or row - start >= UNIT_PAGES):
            ranges.append((start, row))
            start, size = row, 0
        size += length
    return [*ranges, (start, len(lengths))] if lengths else []


@dataclass
class ExtractWorker:
    """Reads pages by their index entries and turns them into documents."""

    config: Config
    pages: Path
    signals: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        from bessemer.extract.records import SIGNALS

        self.signals = SIGNALS

    def read(self, payload: Span) -> Iterator[pa.Table]:
        from bessemer.extract.records import record_tables

        yield from record_tables(self._records(payload))

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        from bessemer.extract.records import documents_of

        return documents_of(batch, self.config, created=False)

    def _records(self, span: Span) -> Iterator[ExtractedRecord]:
        from bessemer.artifacts.pages import read_page
        from bessemer.extract.extracted_record import ExtractedRecord
        from bessemer.extract.readers.archive import page_values
        from bessemer.fingerprint import origin_id

        for row, entry in enumerate(read_rows(self.pages / "index.parquet", span.start, span.end), span.start):
            page = read_page(self.pages / entry["file"], entry["offset"], entry["length"])
            values = page_values(page, self.config.source)
            name = origin_id(values["source"], span.repeats.get(row, page.url), page.payload_digest)
            if row in span.repeats:
                copy = origin_id(values["source"], page.url, page.payload_digest, entry["file"], str(entry["offset"]))
                yield ExtractedRecord(copy, values["url"], values["source"], rule="duplicate_record", evidence=name)
            else:
                yield ExtractedRecord(name, **values)


def read_rows(index: Path, start: int, end: int) -> Iterator[dict[str, Any]]:
    """Yields the rows `start` to `end` (exclusive) of the index. Reads only the row groups that hold these rows."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(index) as file:
        first = 0
        for group in range(file.metadata.num_row_groups):
            last = first + file.metadata.row_group(group).num_rows
            if first < end and last > start:
                rows = file.read_row_group(group, columns=["file", "offset", "length"], use_threads=False)
                yield from rows.slice(max(0, start - first), min(last, end) - max(first, start)).to_pylist()
            first = last


STAGE = Stage(
    kind="extract",
    version=7,
    config=Config,
    inputs=(Input("pages"),),
    produces="documents",
    run=run,
    libraries=LIBRARIES,
)
