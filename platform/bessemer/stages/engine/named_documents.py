"""Reads documents that a task of `evaluate` names by path, so that every model in every run sees the same text.

The files are read once per task, with the readers of `ingest`, into one Parquet file. Each model's own tokenizer then
turns that file into a token store, so bits per byte are comparable between models with different tokenizers. An
unreadable file is an error, because the scores of the remaining text would not be comparable.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from bessemer.artifacts.documents import SCHEMA
from bessemer.artifacts.ledger import FAILED
from bessemer.artifacts.tables import TableWriter
from bessemer.errors import InputError, NothingLeft
from bessemer.evaluate.task import PredictedText
from bessemer.extract.formats import check_formats
from bessemer.extract.inputs import InputFile, describe, find_files
from bessemer.stages import ingest

if TYPE_CHECKING:
    pass

_HINT = "correct `documents` of the task; its paths are relative to the folder of the recipe"


def content(text: PredictedText) -> Any:
    """Returns the names, sizes and hashes of the files. Raises InputError if a file is missing or has no reader."""
    return describe(_files(text.documents))


def read_documents(name: str, text: PredictedText, file: Path, log: logging.Logger) -> None:
    """Writes the documents of the task `name` to the Parquet file `file`, all in the split `text.split`.

    Raises InputError if a file cannot be read, and NothingLeft if the files contain no document.
    """
    from bessemer.extract.cut import cut_into_units

    config = ingest.Config(paths=list(text.documents), fields={"text": text.text_field})
    worker = ingest.IngestWorker(config)
    removed: Counter[str] = Counter()
    kept = 0
    with TableWriter(file, SCHEMA) as writer:
        for unit in cut_into_units(_files(text.documents), None):
            for batch in worker.read(unit):
                documents, ledger = worker.process(batch)
                _check_read(name, ledger)
                removed.update(rule for rule in ledger["rule"].to_pylist() if rule is not None)
                place = SCHEMA.get_field_index("split")
                splits = pa.array([text.split] * len(documents), SCHEMA.field(place).type)
                writer.write(documents.set_column(place, SCHEMA.field(place), splits))
                kept += len(documents)
    listed = ", ".join(f"{count} removed by `{rule}`" for rule, count in removed.most_common())
    if not kept:
        raise NothingLeft(
            f"the files of the task `{name}` hold no document: {listed or 'they are empty'}",
            hint="correct the files, or set `text_field` of the task to the field or column with the text",
        )
    log.info("the task `%s` reads %d documents%s", name, kept, f" ({listed})" if listed else "")


def _files(paths: Sequence[str]) -> list[InputFile]:
    try:
        files = find_files(paths)
        check_formats(files, None)
    except InputError as error:
        raise InputError(error.message, hint=_HINT) from None
    return files


def _check_read(name: str, ledger: pa.Table) -> None:
    failed = ledger.filter(pc.equal(ledger["verdict"], FAILED))
    for url, rule, evidence in zip(
        *(failed[column].to_pylist() for column in ("url", "rule", "evidence")), strict=True
    ):
        why = f"{rule} ({evidence})" if evidence else rule
        raise InputError(
            f"the task `{name}` cannot read `{url.removeprefix('file:')}`: {why}",
            hint="correct the file, or remove it from `documents` of the task",
        )
