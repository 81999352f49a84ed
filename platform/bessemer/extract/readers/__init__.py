"""Readers, one module per format, that turn a piece of a file into records. No content of a file makes them raise.

To add a format, write a module with a `Reader` and add the `Reader` to the list below.
"""

from __future__ import annotations

from bessemer.extract.readers import archive, file, lines, parquet, separated, values

READERS = {
    reader.format: reader
    for reader in (
        file.HTML,
        file.TEXT,
        lines.JSONL,
        values.JSON,
        separated.CSV,
        separated.TSV,
        parquet.PARQUET,
        archive.WARC,
    )
}
"""The readers by format."""
