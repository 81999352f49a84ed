"""Reads rows of files for the stages `conversations` and `preferences`, and records a verdict per row.

A row is a line of JSON, an element of a JSON array, or a row of CSV, TSV or Parquet. This module reads the row, assigns
an id and a split, and records in the ledger whether the row is kept or which rule removed it. The stage interprets the
row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from bessemer import storage
from bessemer.errors import InputError, NothingLeft
from bessemer.extract.formats import RowFormat
from bessemer.extract.settings import FileSettings
from bessemer.recipe.settings import Settings, execution
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, StageConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.artifacts.ledger import Removed
    from bessemer.extract.extracted_record import ExtractedRecord
    from bessemer.extract.readers.base import Piece
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.conversations import Messages


class HeldOut(Settings):
    """The shares of rows that are held out. The rest is the split `tune`, which fine-tuning and alignment train on."""

    validation: float = Field(0.05, ge=0, lt=1)
    """Share of rows for validation during training."""
    test: float = Field(0.0, ge=0, lt=1)
    """Share of rows for the stage `evaluate`."""

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("`validation` and `test` must add up to less than 1, because the rest is `tune`")
        return self


class RowsConfig(StageConfig, FileSettings):
    paths: list[RecipePath] = execution(..., min_length=1)
    """Files, folders and patterns of JSON lines, JSON arrays, CSV, TSV or Parquet."""
    format: RowFormat = "auto"
    """Format of all files. `auto` detects the format of each file from its name, or else from its content."""
    split: HeldOut = HeldOut()
    """Shares of held-out rows; rows with the same prompt are in the same split."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Column names of your files, by field: `{prompt: query, completion: reply, system: persona}`."""
    max_seq_length: PositiveInt | None = None
    """Maximum number of tokens of a row; longer rows are removed (`too_long`). Set it to the `max_seq_length` of the
    stage that trains on the rows."""

    @field_validator("columns")
    @classmethod
    def _known_fields(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := [field for field in columns if field not in cls.fields()]:
            raise ValueError(f"names the unknown field `{unknown[0]}`; the fields are {', '.join(cls.fields())}")
        return columns

    @classmethod
    def fields(cls) -> Sequence[str]:
        """Returns the names of the fields that the stage reads from a row."""
        raise NotImplementedError


ROWS_TRIED = 10_000
"""Number of rows that the plan reads to find a usable one."""
RENDERED_ROWS_TRIED = 500
"""Number of rows that the plan renders to find one that the chat template accepts."""


def described(config: RowsConfig, meaning: Callable[[Any], object]) -> Any:
    """Returns the names, sizes and hashes of the files.

    Raises InputError if none of the first `ROWS_TRIED` rows is usable. If the files have fewer rows, also raises
    InputError if no row has a column that `columns` names.
    """
    from bessemer.extract.inputs import describe, find_files

    files = find_files(config.paths)
    check_columns(config, ROWS_TRIED)
    _find_fit(config, meaning, ROWS_TRIED)
    return describe(files)


def check_columns(config: RowsConfig, limit: int | None = None) -> None:
    """Raises InputError if no row has a column that `columns` names.

    Reads rows until each column is found; for most files the first row has all columns. If the files have more than
    `limit` rows and a column is still missing, it raises nothing.
    """
    from bessemer.artifacts.ledger import Removed

    missing, present = dict(config.columns), dict[str, None]()
    records = _records(config) if missing else iter(())
    for record in islice(records, limit):
        try:
            row = _row(asdict(record))
        except Removed:
            continue
        if isinstance(row, Mapping):
            missing = {name: column for name, column in missing.items() if column not in row}
            present |= dict.fromkeys(map(str, row))
        if not missing:
            return
    if not present or next(records, None) is not None:
        return  # another check reports rows that cannot be read; otherwise, rows are left
    name, column = next(iter(missing.items()))
    raise InputError(
        f"no row has the column `{column}`, which `columns` names for `{name}`",
        hint=f"correct `columns`; the rows have {', '.join(f'`{found}`' for found in islice(present, 20))}",
    )


def check_rendered(config: RowsConfig, inputs: Mapping[str, StageConfig], read: Read) -> None:
    """For `plan`: raises InputError if an imported tokenizer has no chat template, or if its template accepts no row.

    Renders rows until one is usable. Tokenizers that the recipe trains are not checked.
    """
    from bessemer.stages import tokenizer
    from bessemer.tokens.chat import ChatTemplate

    brought = inputs.get("tokenizer")
    if isinstance(brought, tokenizer.Config) and brought.path is not None:
        template = ChatTemplate.of(tokenizer.brought(brought))
        _find_fit(config, lambda row: read(row, template), RENDERED_ROWS_TRIED)


def _find_fit(config: RowsConfig, meaning: Callable[[Any], object], limit: int) -> None:
    """Reads rows until one is usable.

    Raises InputError if the files have no usable row, or if none of the first `limit` rows is usable. With the limit
    `ROWS_TRIED`, it accepts a file that has more rows.
    """
    from bessemer.artifacts.ledger import Removed
    from bessemer.extract.formats import ROW_SUFFIXES
    from bessemer.extract.verdict import FILE_RULES

    unfit: Counter[str] = Counter()
    first = failed = ""
    for number, record in enumerate(_records(config)):
        if number == limit and limit == ROWS_TRIED:
            return
        if number == limit:
            break
        if record.rule in FILE_RULES:
            failed = failed or f"`{record.url.removeprefix('file:')}` cannot be read: {record.evidence}"
            continue
        try:
            meaning(_row(asdict(record)))
        except Removed as reason:
            first = first or f" (`{record.url}`: {(reason.evidence or reason.rule)[:_MAX_EVIDENCE]})"
            unfit[reason.rule] += 1
        else:
            return
    raise InputError(
        failed if failed and not unfit else _none_fit(unfit) + first,
        hint=_rule_hint(unfit)
        or f"rows are read from {ROW_SUFFIXES}, by the fields {', '.join(config.fields())}; map other column "
        "names with `columns`, for example `columns: {prompt: question}`",
    )


_MAX_EVIDENCE = 200
"""Characters of a row that the ledger keeps as evidence."""
_RULE_HINTS = {
    "prompt_changes": "the prompt at generation would differ from the prompt in training; set `chat_template` of the "
    "stage `tokenizer` to a file whose generation prompt is the text that it writes before an answer (often a copy of "
    "the template that begins with `{%- set enable_thinking = false %}`)",
    "not_in_template": "remove it from the rows, or set `chat_template` of the stage `tokenizer` to a file with it",
    "refused_by_template": "correct the rows, or set `chat_template` of the stage `tokenizer` to another file",
    "too_long": "raise `max_seq_length`",
    "no_end": "set `chat_template` of the stage `tokenizer` to a file that ends every answer with a special token",
}
"""Hints by rule, for the rules about the chat template and the length."""


def _rule_hint(removed: Mapping[str, int]) -> str:
    """Returns the hint for the most frequent rule, or an empty string if it has none."""
    return _RULE_HINTS.get(max(removed, key=lambda rule: removed[rule]), "") if removed else ""


def _units(config: RowsConfig) -> list[list[Piece]]:
    from bessemer.extract.cut import cut_into_units
    from bessemer.extract.inputs import find_files

    return cut_into_units(find_files(config.paths), None if config.format == "auto" else config.format)


def _records(config: RowsConfig) -> Iterator[ExtractedRecord]:
    """Yields the rows of all files, in order."""
    from bessemer.extract.reading import read_rows

    return (record for unit in _units(config) for piece in unit for record in read_rows(piece, config))


def _none_fit(removed: Mapping[str, int]) -> str:
    if not removed:
        return "the files of `paths` hold no rows"
    reasons = sorted(removed.items(), key=lambda item: -item[1])[:3]
    listed = ", ".join(f"{number} removed by `{rule}`" for rule, number in reasons)
    return f"none of {sum(removed.values())} rows can be used: {listed}"


def _row(record: Mapping[str, Any]) -> Any:
    """Returns the parsed value of a record. Raises Removed if the record has no value.

    Bytes that are not UTF-8 appear as lone surrogates in the value.
    """
    from bessemer.artifacts.ledger import Removed
    from bessemer.extract.readers.base import parse_json

    if record["rule"]:
        raise Removed(record["rule"], record["evidence"] or "", value=record["value"], threshold=record["threshold"])
    try:
        return parse_json(record["content"])
    except Removed as refused:
        raise Removed(refused.rule, refused.evidence or "") from None


Read = Callable[[Any, "ChatTemplate"], tuple[Mapping[str, Any], "Messages", int]]
"""Returns (columns, prompt, number of tokens) of a row. Raises Removed if the row cannot be used."""


def run_rows(
    config: RowsConfig, inputs: Inputs, draft: Draft, context: Context, *, schema: pa.Schema, read: Read
) -> None:
    """Reads the rows of the files into Parquet files with `schema`, and writes the ledger.

    Raises NothingLeft if no row can be used.
    """
    from bessemer.stages.engine.lost_input import report_losses
    from bessemer.stages.engine.work_units import Unit, document_units
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.tokenizer import TokenizerFolder

    tokenizer = inputs["tokenizer"].data
    ChatTemplate.of(TokenizerFolder.open(tokenizer))
    check_columns(config)
    units = [Unit(f"{index:05d}", pieces) for index, pieces in enumerate(_units(config))]
    context.check_outside()
    counts = document_units(
        units,
        partial(_Worker, config, tokenizer, schema, read),
        context,
        data=draft.data,
        ledger=draft.ledger,
        receipts=draft.work / "receipts",
        unit_name="units",
        created=True,
        schema=schema,
    )
    if not counts.documents_out:
        raise NothingLeft(
            _none_fit(counts.removed_by_rule),
            hint=_rule_hint(counts.removed_by_rule)
            or f"the ledger `{draft.ledger}` has the reason for each row; the fields are {', '.join(config.fields())}",
        )
    if unlearned := _sum_of_signal(draft.ledger, "unlearned_answers"):
        context.log.warning(
            "%d earlier answers are used only as context and not trained on, because the chat template writes them "
            "differently when the conversation continues; put each into a separate row to train on it",
            unlearned,
        )
    draft.counts = counts
    draft.metrics["data/rows_out"] = counts.documents_out
    draft.metrics["data/removed_ratio"] = counts.removed / max(1, counts.created)
    report_losses(draft, context)


def _sum_of_signal(ledger: Path, name: str) -> int:
    import pyarrow.compute as pc

    from bessemer.artifacts.documents import read_parquet

    tables = (read_parquet(part, ["signals"]) for part in storage.files_under(ledger, ".parquet"))
    return round(sum(pc.sum(pc.struct_field(table["signals"], name)).as_py() or 0 for table in tables))


def _unlearned_answers(columns: Mapping[str, Any]) -> int | None:
    """Counts the answers of a conversation that should be trained on and are not; returns None for a preference."""
    import numpy as np

    if "learned" not in columns or not len(columns["learned"]):
        return None
    messages = columns["messages"]
    if messages[-1]["role"] != "assistant":
        return None
    wanted: int = sum(
        message["role"] == "assistant" and json.loads(message["fields"] or "{}").get("weight", 1) != 0
        for message in messages
    )
    learned = np.concatenate([[False], columns["learned"]])
    return max(0, wanted - int(np.count_nonzero(learned[1:] & ~learned[:-1])))


@dataclass
class _Worker:
    """Reads the rows of a unit. Implements `DocumentWorker` with rows instead of documents."""

    config: RowsConfig
    tokenizer: Path
    schema: pa.Schema
    read_row: Read
    signals: Sequence[str] = ("tokens", "unconverted_values", "unlearned_answers")
    template: ChatTemplate = field(init=False)

    def __post_init__(self) -> None:
        from bessemer.tokens.chat import ChatTemplate
        from bessemer.tokens.tokenizer import TokenizerFolder

        self.template = ChatTemplate.of(TokenizerFolder.open(self.tokenizer))

    def read(self, payload: list[Piece]) -> Iterator[pa.Table]:
        from bessemer.extract.reading import read_rows
        from bessemer.extract.records import record_tables

        yield from record_tables(record for piece in payload for record in read_rows(piece, self.config))

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        import pyarrow as pa

        from bessemer.artifacts.ledger import Removed

        kept: list[dict[str, Any]] = []
        verdicts: list[Removed | None] = []
        sizes: list[float | None] = []
        unlearned: list[float | None] = []
        for record in batch.to_pylist():
            size = answers = None
            try:
                columns, prompt, size = self._read(record)
            except Removed as reason:
                verdicts.append(reason)
            else:
                verdicts.append(None)
                names = {name: record[name] for name in ("id", "url", "source")}
                kept.append({**names, "split": self._split(prompt), **columns})
                answers = _unlearned_answers(columns)
            sizes.append(size)
            unlearned.append(answers)
        lost = [count or None for count in batch["unconverted"].to_pylist()]
        signals = {"tokens": sizes, "unconverted_values": lost, "unlearned_answers": unlearned}
        ledger = verdict_table(batch, verdicts, signals, created=True)
        return pa.Table.from_pylist(kept, schema=self.schema), ledger

    def _read(self, record: dict[str, Any]) -> tuple[Mapping[str, Any], Messages, int]:
        from bessemer.artifacts.ledger import Removed

        columns, prompt, size = self.read_row(_row(record), self.template)
        if self.config.max_seq_length and size > self.config.max_seq_length:
            raise Removed("too_long", value=size, threshold=self.config.max_seq_length)
        return columns, prompt, size

    def _split(self, prompt: Messages) -> str:
        from bessemer.artifacts.documents import assign_split

        split = assign_split(json.dumps(prompt, ensure_ascii=False), self.config.split.model_dump())
        return "tune" if split == "train" else split


def verdict_table(
    batch: pa.Table,
    verdicts: Sequence[Removed | None],
    signals: Mapping[str, Sequence[float | None]],
    *,
    created: bool = False,
) -> pa.Table:
    """Returns the ledger of a batch of rows.

    A row without a `Removed` is kept. A row with one is removed by its rule, or failed if that rule
    concerns a whole file.
    """
    from bessemer.artifacts.ledger import ledger_table
    from bessemer.extract.records import verdict_of

    notes = batch["evidence"].to_pylist() if "evidence" in batch.column_names else [None] * len(batch)
    return ledger_table(
        batch["id"],
        batch["url"],
        [verdict_of(reason.rule if reason else None) for reason in verdicts],
        rules=[reason.rule if reason else None for reason in verdicts],
        values=[reason.value if reason else None for reason in verdicts],
        thresholds=[reason.threshold if reason else None for reason in verdicts],
        evidence=[
            (reason.evidence or "")[:_MAX_EVIDENCE] if reason else note
            for reason, note in zip(verdicts, notes, strict=True)
        ],
        created=created,
        signals=signals,
    )
