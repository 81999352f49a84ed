"""ingest: reads local files (HTML, text, Markdown, JSON, CSV, TSV, Parquet, WARC) into documents.

Every file, line, row and archive record gets a verdict. The fingerprint covers the content of the files but not their
location. From a damaged file, the stage keeps the documents before the damage; it counts the file as failed and logs a
warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from bessemer.artifacts.store import Artifact
from bessemer.extract.formats import FileFormat
from bessemer.extract.settings import ReaderSettings, TextSettings
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.extract.readers.base import Piece


LIBRARIES = ("charset-normalizer", "justext", "lxml", "pyarrow", "trafilatura", "webencodings")
"""The libraries whose versions affect the extracted text."""

FEW_FILES = 1000
"""With more files, a split with the share 0.01 is empty with a probability below 0.0001."""


class Config(StageConfig, TextSettings, ReaderSettings):
    paths: list[RecipePath] = execution(..., min_length=1)
    """Files, folders and patterns (`books/**/*.txt`) to read; hidden files below a folder are skipped."""
    format: FileFormat = "auto"
    """Format of all files. `auto` detects the format of each file from its name, or else from its content."""
    strip_gutenberg: bool = False
    """Whether to remove the licence header and footer of Project Gutenberg's books."""


def outside(config: Config) -> Any:
    """Returns the names, sizes and hashes of the files. Raises InputError if no file has a reader."""
    from bessemer.extract.formats import check_formats
    from bessemer.extract.inputs import describe, find_files

    files = find_files(config.paths)
    check_formats(files, None if config.format == "auto" else config.format)
    return describe(files)


def warnings(config: Config, inputs: Mapping[str, Artifact], made: Artifact | None) -> list[str]:
    """Warns of splits without files.

    Checks only up to `FEW_FILES` files in formats with one document per file, because only then a plan knows the
    splits.
    """
    from bessemer.extract.formats import find_format
    from bessemer.extract.inputs import find_files
    from bessemer.extract.split import splits_without_files

    files = find_files(config.paths)
    if len(files) > FEW_FILES:
        return []
    formats = {config.format} if config.format != "auto" else {find_format(file) for file in files}
    if not formats <= {"html", "text"}:
        return []
    said = []
    for split, share in splits_without_files([file.relative for file in files], config.split_by, config.split).items():
        advice = f"`split.{split}={share:g}` would hold one" if share else "add files"
        said.append(f"none of the {len(files)} files falls into the split `{split}`; {advice}")
    return said


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.extract.cut import cut_into_units
    from bessemer.extract.inputs import find_files
    from bessemer.stages.engine.work_units import Unit, document_units

    units = cut_into_units(find_files(config.paths), None if config.format == "auto" else config.format)
    context.check_outside()
    draft.counts = document_units(
        [Unit(f"{index:05d}", pieces) for index, pieces in enumerate(units)],
        partial(IngestWorker, config),
        context,
        data=draft.data,
        ledger=draft.ledger,
        receipts=draft.work / "receipts",
        unit_name="units",
        created=True,
    )
    finish(draft, config, context)


def finish(draft: Draft, config: TextSettings, context: Context) -> None:
    """Records the metrics of a stage that creates documents. Warns of failed files, lost values and empty splits."""
    from bessemer.extract.split import empty_splits
    from bessemer.stages.engine.lost_input import report_losses
    from bessemer.storage import files_under

    assert draft.counts is not None
    draft.metrics["data/documents_out"] = draft.counts.documents_out
    draft.metrics["data/text_bytes"] = draft.counts.bytes_out
    draft.metrics["data/removed"] = draft.counts.removed
    report_losses(draft, context)
    for name in empty_splits(files_under(draft.data), config.split):
        context.log.warning("no document fell into the split `%s`; raise its share in `split`", name)


@dataclass
class IngestWorker:
    """Reads the pieces of a unit and turns their records into documents."""

    config: Config
    signals: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        from bessemer.extract.records import SIGNALS

        self.signals = SIGNALS

    def read(self, payload: list[Piece]) -> Iterator[pa.Table]:
        from bessemer.extract.reading import read
        from bessemer.extract.records import record_tables

        yield from record_tables(record for piece in payload for record in read(piece, self.config))

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        from bessemer.extract.records import documents_of

        return documents_of(batch, self.config, created=True, strip_gutenberg=self.config.strip_gutenberg)


STAGE = Stage(
    kind="ingest",
    version=7,
    config=Config,
    produces="documents",
    run=run,
    libraries=LIBRARIES,
    outside=outside,
    verifies_reads=True,
    warnings=warnings,
)
