"""The form in which metrics and verdicts are described next to their declaration. `make docs` prints them."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """A number that a stage records in its manifest and in MLflow, or a score of `evaluate`."""

    unit: str
    """`1` for a share, a probability or another number without a unit."""
    meaning: str


class Reason(NamedTuple):
    """A value of the ledger's column `rule`: why a stage removed a document, or why a file failed."""

    meaning: str
    limit: str = ""
    """The setting or constant that the value is compared with, in Markdown."""
    source: str = ""
    """The standard or publication of the rule or its limit."""
