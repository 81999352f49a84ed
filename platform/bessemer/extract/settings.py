"""Settings that the stages `extract` and `ingest` share."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bessemer.recipe.settings import Settings, Size

SplitBy = Literal["page", "directory", "host"]


class SplitFractions(Settings):
    """The shares of page groups in each split. The rest is `train`."""

    tune: float = Field(0.0, ge=0, le=1)
    """The share for fine-tuning and alignment."""
    validation: float = Field(0.01, ge=0, le=1)
    """The share for the validation loss during training."""
    test: float = Field(0.01, ge=0, le=1)
    """The share for evaluation."""

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        if self.tune + self.validation + self.test >= 1:
            raise ValueError("the sum of `tune`, `validation` and `test` must be less than 1: the rest is `train`")
        return self

    def shares(self) -> dict[str, float]:
        return {"tune": self.tune, "validation": self.validation, "test": self.test}


class TextSettings(Settings):
    """How pages and files become text."""

    output_format: Literal["txt", "markdown"] = "txt"
    """`txt` for plain text; `markdown` to keep the markup of headings, lists, tables and code blocks."""
    favor_precision: bool = False
    """Whether to omit doubtful parts of a page. The result has less boilerplate, but also fewer leads and titles of
    news pages."""
    include_tables: bool = True
    """Whether tables are part of a page's text."""
    include_comments: bool = False
    """Whether readers' comments under an article are part of its text."""
    max_page_bytes: Size = 8 << 20
    """An HTML page with more bytes is removed (`too_large`)."""
    max_html_nodes: int = Field(100_000, gt=0)
    """An HTML page with more elements is removed (`too_many_nodes`)."""
    license: str | None = None
    """The SPDX identifier of the licence of documents that do not state their own."""
    split: SplitFractions = SplitFractions()
    """The shares of `tune`, `validation` and `test`."""
    split_by: SplitBy = "page"
    """The group of documents that stays in one split: a page with all its queries, a directory, or a host."""


class Fields(Settings):
    """The names of fields in JSON lines and of columns in Parquet files. Short plain values of other fields become
    metadata."""

    text: str = "text"
    """The document's text. A record without it is removed (`missing_text`)."""
    url: str = "url"
    """The document's URL, if the record has one."""
    source: str = "source"
    """The document's source, if the record has one and the recipe does not set `source`."""
    license: str = "license"
    """The document's SPDX licence identifier, if the record has one."""
    language: str = "language"
    """The document's language, if the record has one."""


class FileSettings(Settings):
    """The settings of all readers of files."""

    source: str | None = None
    """The name of the collection. If unset, the record's own source, or else its host, its top folder or its file's
    name."""
    max_document_bytes: Size = 32 << 20
    """A file, line or row with more bytes is removed (`too_large`)."""


class ReaderSettings(FileSettings):
    """How files of documents are read."""

    fields: Fields = Fields()
    """The names of the fields in JSON lines and of the columns in Parquet files."""
