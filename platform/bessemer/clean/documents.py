"""Cleans a table of documents: applies the rules in order to batches of texts, and records a verdict per document.

Cleaning is pure and deterministic. The result for a document does not depend on other documents or on their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bessemer.artifacts.descriptions import Reason
from bessemer.artifacts.documents import SCHEMA
from bessemer.artifacts.ledger import CHANGED, KEPT, REMOVED, ledger_table
from bessemer.clean.language import SAMPLE_CHARACTERS, identify, sample
from bessemer.clean.rules import Findings, Rule
from bessemer.clean.settings import CleanSettings
from bessemer.clean.spans import Array
from bessemer.clean.texts import Texts, batches
from bessemer.fingerprint import content_hash

TOO_LONG = "max_characters"
REASONS: Mapping[str, Reason] = {
    TOO_LONG: Reason("Too long for the rules, which do not read it.", "`max_characters`"),
}
"""The verdicts that do not belong to a rule."""


def clean_documents(documents: pa.Table, settings: CleanSettings) -> tuple[pa.Table, pa.Table]:
    """(the kept documents, a ledger row for each input document), both in the order of the input.

    Cleaning may change text, content hash and language, and no other column.
    """
    rules = settings.chosen_rules
    lengths = pc.utf8_length(documents["text"]).to_numpy()
    verdicts = _Verdicts(len(documents), signal_names(rules), documents["language"].to_pylist())
    too_long = np.flatnonzero(lengths > settings.max_characters)
    verdicts.remove(too_long, TOO_LONG, lengths[too_long], np.full(len(too_long), settings.max_characters))

    rows = np.flatnonzero(lengths <= settings.max_characters)
    before = documents["text"].take(pa.array(rows)).to_pylist()
    names = sorted({name for rule in rules for name in rule.reads_fields})
    fields = {name: documents[name].to_pylist() for name in names}
    after: list[str] = []
    for part in batches(before):
        own = {name: [column[row] for row in rows[part].tolist()] for name, column in fields.items()}
        languages = [verdicts.language[row] for row in rows[part].tolist()]
        after += _apply(rules, Texts(before[part], languages, own), rows[part], verdicts)
    changed = np.array([new is not old and new != old for new, old in zip(after, before, strict=True)], bool)

    ledger = verdicts.table(documents["id"], documents["url"], rows[changed])
    kept = np.array([verdicts.rule[row] is None for row in rows], bool)
    left = documents.take(pa.array(rows[kept]))
    columns = {
        "text": pa.array([text for text, stays in zip(after, kept, strict=True) if stays], pa.large_string()),
        "language": pa.array([verdicts.language[row] for row in rows[kept]], pa.string()),
    }
    hashes = left["content_hash"].to_pylist()
    for index in np.flatnonzero(changed[kept]).tolist():
        hashes[index] = content_hash(columns["text"][index].as_py())
    columns["content_hash"] = pa.array(hashes, pa.string())
    for name, column in columns.items():
        left = left.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    return left, ledger


@cache
def signal_names(rules: tuple[Rule, ...]) -> list[str]:
    """The names of the signals that the ledger records for every document, in order."""
    return [f"{rule.label}/{name}" for rule in rules for name in rule.apply(Texts([])).signals]


def _apply(rules: Sequence[Rule], texts: Texts, rows: Array, verdicts: _Verdicts) -> list[str]:
    """The texts of one batch after all rules. Rules also process the texts of documents that an earlier rule
    removed."""
    identified = False
    for rule in rules:
        if rule.reads_language and not identified:
            texts, identified = _with_languages(texts), True
        removed = np.array([verdicts.rule[row] is not None for row in rows.tolist()], bool)
        findings = _apply_to_rest(rule, texts, removed) if rule.skips_removed else rule.apply(texts)
        for name, values in findings.signals.items():
            verdicts.signals[f"{rule.label}/{name}"][rows] = values
        for limit in rule.broken(findings.signals, texts.languages):
            broken, values = np.flatnonzero(limit.texts), findings.signals[limit.signal]
            evidence = [findings.evidence.get(index) for index in broken.tolist()]
            name = f"{rule.label}/{limit.signal}"
            verdicts.remove(rows[broken], name, values[broken], limit.thresholds[broken], evidence)
        if findings.languages:
            languages = [findings.languages.get(index) for index in range(len(texts))]
            texts, identified = Texts(texts.strings, languages, texts.fields), True
            for index, language in findings.languages.items():
                verdicts.language[rows[index]] = language
        if findings.texts is not None:
            for index, (old, new) in enumerate(zip(texts.strings, findings.texts.strings, strict=True)):
                if old != new:
                    note = findings.evidence.get(index)
                    verdicts.changes[rows[index]].append((rule.label, f"{rule.label}: {note}" if note else rule.label))
            findings.texts.languages, findings.texts.fields = texts.languages, texts.fields
            texts = findings.texts
    return list(texts.strings)


def _apply_to_rest(rule: Rule, texts: Texts, removed: Array) -> Findings:
    """The findings of a rule for the texts that earlier rules kept. Signals are NaN for the other texts."""
    rest = np.flatnonzero(~removed).tolist()
    fields = {name: [column[index] for index in rest] for name, column in texts.fields.items()}
    own = Texts([texts.strings[index] for index in rest], [texts.languages[index] for index in rest], fields)
    findings = rule.apply(own)
    signals = {name: np.full(len(texts), np.nan) for name in findings.signals}
    for name, values in findings.signals.items():
        signals[name][rest] = values
    if findings.texts is None:
        return Findings(signals)
    strings = list(texts.strings)
    for index, text in zip(rest, findings.texts.strings, strict=True):
        strings[index] = text
    return Findings(signals, Texts(strings))


def _with_languages(texts: Texts) -> Texts:
    """The same texts; those without a language get the most probable one.

    So a rule that depends on the language works without an earlier rule `language`, at the cost of the identification.
    """
    if None not in texts.languages:
        return texts
    languages = [
        known or identify(sample(text, SAMPLE_CHARACTERS))[0]
        for text, known in zip(texts.strings, texts.languages, strict=True)
    ]
    return Texts(texts.strings, languages, texts.fields)


class _Verdicts:
    """The decisions so far about each document of a table. The first rule that removes a document decides."""

    def __init__(self, num_documents: int, signals: Sequence[str], languages: list[str | None]) -> None:
        self.rule: list[str | None] = [None] * num_documents
        self.value, self.threshold = np.full((2, num_documents), np.nan)
        self.evidence: list[str | None] = [None] * num_documents
        self.language = languages
        self.changes: list[list[tuple[str, str]]] = [[] for _ in range(num_documents)]
        self.signals = {name: np.full(num_documents, np.nan) for name in signals}

    def remove(
        self, rows: Array, rule: str, values: Array, thresholds: Array, evidence: Sequence[str | None] | None = None
    ) -> None:
        for index, row in enumerate(rows.tolist()):
            if self.rule[row] is None:
                self.rule[row], self.value[row], self.threshold[row] = rule, values[index], thresholds[index]
                self.evidence[row] = evidence[index] if evidence else None

    def table(self, ids: pa.ChunkedArray, urls: pa.ChunkedArray, changed: Array) -> pa.Table:
        """The ledger. For a changed document, `rule` is the first rule that changed it, and `evidence` lists all."""
        verdicts = [KEPT if rule is None else REMOVED for rule in self.rule]
        rules, evidence = list(self.rule), list(self.evidence)
        for row in changed.tolist():
            if rules[row] is None:
                verdicts[row], rules[row] = CHANGED, self.changes[row][0][0]
                evidence[row] = "; ".join(note for _, note in self.changes[row])
        return ledger_table(
            ids,
            urls,
            verdicts,
            rules=rules,
            values=self.value,
            thresholds=self.threshold,
            evidence=evidence,
            signals=self.signals,
        )
