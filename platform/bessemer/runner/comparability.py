"""Checks that the trials of a sweep measure their metric on the same text.

A model cannot be better than another because its test set is easier. If a searched field, such as `clean.rules`,
decides which documents are held out, each trial has its own test set, and the best trial may be the one with the
easiest test set. Losses per token also differ with the tokenizer; bits per byte do not.

`StageConfig.decided_splits` lists the splits that a stage's settings affect. A task of `evaluate` on a dataset or on
named documents is the same in all trials.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from bessemer.recipe.inputs import kind_of
from bessemer.recipe.recipe import LoadedRecipe, StageEntry
from bessemer.stages import load

_PER_TOKEN = ("loss", "nats_per_token", "perplexity")
_TRAINING_TEXT = ("bits_per_byte", *_PER_TOKEN)
"""Metrics below `train/` that depend on the text. The others are speeds, norms and counts."""

_NO_TEXT = ("model", "tokenizer")
"""Kinds of artifacts that do not affect which text a stage reads."""


class _Measured(NamedTuple):
    """The text that a metric is measured on: one split of the output of `sources`, read by `stage`."""

    stage: str
    sources: Collection[str]
    split: str


def incomparable(recipe: LoadedRecipe, metric: str, fields: Collection[str]) -> tuple[str, str] | None:
    """(what is wrong, a hint) if trials that differ in `fields` measure `metric` on different text, else None."""
    entries = {entry.name: entry for entry in recipe.stages}
    measured = _measured_text(recipe, metric)
    if measured is None:
        return None
    searched = {field.partition(".")[0] for field in fields} & entries.keys()
    above = _with_ancestors(entries, measured.sources, _NO_TEXT)
    for name in (name for name in entries if name in searched & above):
        config = entries[name].config
        if measured.split in config.decided_splits:
            where = f"have different text in the split `{measured.split}`"
            message = f"trials that differ in `{name}` {where}, and `{metric}` is measured there"
            return message, _hint(name, measured.split, "splits" in type(config).model_fields)
    if metric.rpartition("/")[2] in _PER_TOKEN:
        everything = _with_ancestors(entries, [measured.stage])
        for name in (name for name in entries if name in everything and entries[name].kind == "tokenizer"):
            if searched & _with_ancestors(entries, [name]):
                return (
                    f"trials have different tokenizers, and `{metric}` is a mean over tokens",
                    f"search by bits per byte: `{metric.rpartition('/')[0]}/bits_per_byte`",
                )
    return None


def _measured_text(recipe: LoadedRecipe, metric: str) -> _Measured | None:
    """None for a metric that does not depend on text of the recipe's stages."""
    first, _, rest = metric.partition("/")
    if first == "evaluate":
        evaluations = [entry for entry in recipe.stages if entry.kind == "evaluate"]
        return _evaluated_text(evaluations[-1], rest) if evaluations else None
    if first == "validation" or (first == "train" and rest in _TRAINING_TEXT):
        for entry in reversed(recipe.stages):
            if load(entry.kind).produces == "model" and (sources := list(_sources(entry, _NO_TEXT))):
                return _Measured(entry.name, sources, first)
    return None


def _evaluated_text(entry: StageEntry, metric: str) -> _Measured | None:
    from bessemer.stages.evaluate import tasks_of

    task = tasks_of(entry.config, entry.sources).get(metric.rpartition("/")[0].rpartition("/")[2])
    if task is None:
        return None
    if task.predicted_text is not None and task.predicted_text.documents:  # equal in all trials, except per token
        return _Measured(entry.name, [], task.predicted_text.split)
    if task.predicted_text is not None:
        kind, split = "tokens", task.predicted_text.split
    elif task.items_from is not None:
        kind, split = task.items_from, "test"
    else:
        return None
    return _Measured(entry.name, [entry.sources[kind]], split) if kind in entry.sources else None


def _sources(entry: StageEntry, without: Collection[str]) -> Iterator[str]:
    """The stages that supply `entry`, except with the kinds of artifact in `without`."""
    for key, source in entry.sources.items():
        if kind_of(key) not in without:
            yield source


def _with_ancestors(
    entries: Mapping[str, StageEntry], names: Collection[str], without: Collection[str] = ()
) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _sources(entries[name], without)
    return found


def _hint(name: str, split: str, has_splits: bool) -> str:
    if split == "train":
        return "search by a metric on held-out text, such as `validation/bits_per_byte`"
    if has_splits:
        return (
            f"set `{name}.splits: [train]`, so that held-out text is the same in all trials; fixed rules for held-out "
            f"text belong in another stage before `{name}`"
        )
    return (
        "search by a task of `evaluate` on a dataset, or on fixed documents: `tasks: {fixed: {kind: bits_per_byte, "
        "documents: [PATH]}}` and `metric: evaluate/fixed/bits_per_byte`"
    )
