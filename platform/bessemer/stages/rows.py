"""Shared part of the stages that read rows of files (`conversations`, `preferences`): every row has a verdict.

A row is a line of JSON, an element of a JSON array, or a row of CSV, TSV or Parquet. A stage says what a row means;
here it is found, given a name and a split, and recorded: kept, or removed by the rule that it breaks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from bessemer.errors import InputError, NothingLeft
from bessemer.extract.settings import FileSettings
from bessemer.recipe.settings import Settings, execution
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, StageConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.extract.readers import Piece
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.conversations import Messages, Unfit


class HeldOut(Settings):
    """The shares of rows that are held back; the rest is `tune`, which fine-tuning and alignment learn from."""

    validation: float = Field(0.05, ge=0, lt=1)
    """The share that training measures its progress on."""
    test: float = Field(0.0, ge=0, lt=1)
    """The share that evaluation reads."""

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("`validation` and `test` together must be less than 1, the rest is `tune`")
        return self


class RowsConfig(StageConfig, FileSettings):
    paths: list[RecipePath] = execution(..., min_length=1)
    """Files, folders and patterns of JSON lines, JSON arrays, CSV, TSV or Parquet."""
    format: Literal["auto", "jsonl", "json", "csv", "tsv", "parquet"] = "auto"
    """The format of all files. `auto` decides by each file's name, and by its content if the name does not say."""
    split: HeldOut = HeldOut()
    """The shares held back; rows with the same prompt stay together."""
    max_seq_length: PositiveInt | None = None
    """Rows of more tokens are removed (`too_long`); the stage that learns from them sees no more at once."""


ROWS_TRIED = 10_000
"""Rows that the plan reads to find one that can be used; it should take a moment."""


def described(config: RowsConfig, meaning: Callable[[Any], object]) -> Any:
    """The names, sizes and hashes of the files. Raises InputError if `meaning` accepts no row, before anything runs.

    Reads up to the first row that is accepted, or `ROWS_TRIED` rows; of more rows, `run` finds whether any is.
    """
    from bessemer.extract.inputs import describe, find_files
    from bessemer.extract.readers.rows import SUFFIXES, read_rows
    from bessemer.extract.verdict import FILE_RULES
    from bessemer.tokens.conversations import Unfit

    files = find_files(config.paths)
    unfit: Counter[str] = Counter()
    first = failed = ""
    records = (record for unit in _units(config) for piece in unit for record in read_rows(piece, config))
    for number, record in enumerate(records):
        if number == ROWS_TRIED:
            return describe(files)
        if record.rule in FILE_RULES:
            failed = failed or f"`{record.url.removeprefix('file:')}` cannot be read: {record.evidence}"
            continue
        try:
            meaning(_row(asdict(record)))
        except Unfit as reason:
            first = first or f" (`{record.url}`: {reason.evidence or reason.rule})"
            unfit[reason.rule] += 1
        else:
            return describe(files)
    raise InputError(
        failed if failed and not unfit else _none_fit(unfit) + first,
        hint=f"rows are read from {SUFFIXES}; the README names the formats that a row may have",
    )


def _units(config: RowsConfig) -> list[list[Piece]]:
    from bessemer.extract.cut import cut_into_units
    from bessemer.extract.inputs import find_files

    return cut_into_units(find_files(config.paths), None if config.format == "auto" else config.format)


def _none_fit(removed: Mapping[str, int]) -> str:
    if not removed:
        return "the files of `paths` hold no rows"
    reasons = sorted(removed.items(), key=lambda item: -item[1])[:3]
    listed = ", ".join(f"{number} removed by `{rule}`" for rule, number in reasons)
    return f"none of {sum(removed.values())} rows can be used: {listed}"


def _row(record: Mapping[str, Any]) -> Any:
    """The value in a record; bytes that are not UTF-8 are lone surrogates in it. Raises Unfit if there is none."""
    from bessemer.extract.readers.base import parse_json
    from bessemer.extract.verdict import Refused
    from bessemer.tokens.conversations import Unfit

    if record["rule"]:
        raise Unfit(record["rule"], record["evidence"] or "", value=record["value"], threshold=record["threshold"])
    try:
        return parse_json(record["content"])
    except Refused as refused:
        raise Unfit(refused.rule, refused.evidence or "") from None


Read = Callable[[Any, "ChatTemplate"], tuple[Mapping[str, Any], "Messages", int]]
"""(columns, prompt, tokens) of a row. Raises Unfit."""


def run_rows(
    config: RowsConfig, inputs: Inputs, draft: Draft, context: Context, *, schema: pa.Schema, read: Read
) -> None:
    """Reads every row of the files into Parquet of `schema`, with a ledger. Raises NothingLeft if none can be used."""
    from bessemer.stages.losses import report_losses
    from bessemer.stages.units import Unit, document_units
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.tokenizer import TokenizerFolder

    tokenizer = inputs["tokenizer"].data
    ChatTemplate.of(TokenizerFolder.open(tokenizer))
    counts = document_units(
        [Unit(f"{index:05d}", pieces) for index, pieces in enumerate(_units(config))],
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
            hint=f"see each row's reason in the ledger, `{draft.ledger}`; the README names the formats that are read",
        )
    draft.counts = counts
    draft.metrics["data/rows_out"] = counts.documents_out
    draft.metrics["data/removed_ratio"] = counts.removed / max(1, counts.created)
    report_losses(draft, context)


@dataclass
class _Worker:
    """Reads the pieces of a unit; a document worker whose documents are rows."""

    config: RowsConfig
    tokenizer: Path
    schema: pa.Schema
    read_row: Read
    signals: Sequence[str] = ("tokens", "unconverted_values")
    template: ChatTemplate = field(init=False)

    def __post_init__(self) -> None:
        from bessemer.tokens.chat import ChatTemplate
        from bessemer.tokens.tokenizer import TokenizerFolder

        self.template = ChatTemplate.of(TokenizerFolder.open(self.tokenizer))

    def read(self, payload: list[Piece]) -> Iterator[pa.Table]:
        from bessemer.extract.readers.rows import read_rows
        from bessemer.extract.records import record_tables

        yield from record_tables(record for piece in payload for record in read_rows(piece, self.config))

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        import pyarrow as pa

        from bessemer.tokens.conversations import Unfit

        kept: list[dict[str, Any]] = []
        verdicts: list[Unfit | None] = []
        sizes: list[float | None] = []
        for record in batch.to_pylist():
            size = None
            try:
                columns, prompt, size = self._read(record)
            except Unfit as reason:
                verdicts.append(reason)
            else:
                verdicts.append(None)
                names = {name: record[name] for name in ("id", "url", "source")}
                kept.append({**names, "split": self._split(prompt), **columns})
            sizes.append(size)
        lost = [count or None for count in batch["unconverted"].to_pylist()]
        ledger = verdict_table(batch, verdicts, {"tokens": sizes, "unconverted_values": lost}, created=True)
        return pa.Table.from_pylist(kept, schema=self.schema), ledger

    def _read(self, record: dict[str, Any]) -> tuple[Mapping[str, Any], Messages, int]:
        from bessemer.tokens.conversations import Unfit

        columns, prompt, size = self.read_row(_row(record), self.template)
        if self.config.max_seq_length and size > self.config.max_seq_length:
            raise Unfit("too_long", value=size, threshold=self.config.max_seq_length)
        return columns, prompt, size

    def _split(self, prompt: Messages) -> str:
        from bessemer.artifacts.documents import assign_split

        split = assign_split(json.dumps(prompt, ensure_ascii=False), self.config.split.model_dump())
        return "tune" if split == "train" else split


def verdict_table(
    batch: pa.Table,
    verdicts: Sequence[Unfit | None],
    signals: Mapping[str, Sequence[float | None]],
    *,
    created: bool = False,
) -> pa.Table:
    """The ledger of a batch of rows: kept, or removed by the rule of each `Unfit`, or failed if it is a file's."""
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
        evidence=[reason.evidence if reason else note for reason, note in zip(verdicts, notes, strict=True)],
        created=created,
        signals=signals,
    )
