"""Explains the terms of the report: on hover where they appear, and in a section at the end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from markupsafe import Markup

from bessemer.align import verdicts as pair_verdicts
from bessemer.artifacts.descriptions import Reason
from bessemer.clean import documents as cleaned_documents
from bessemer.clean.settings import RULES as CLEANING_RULES
from bessemer.crawl import verdicts as crawl_verdicts
from bessemer.dedup import verdicts as dedup_verdicts
from bessemer.evaluate.metric_descriptions import METRICS
from bessemer.extract import verdict as extract_verdicts
from bessemer.recipe.describe import describe_settings
from bessemer.stages import mix
from bessemer.stages.engine import metric_names
from bessemer.tokens import tokenize

TERMS = {
    "95 % interval": "Range of the difference over resampled items (paired bootstrap). Noise rarely leaves it.",
    "bits per byte": METRICS["bits_per_byte"].meaning,
    "chance": "Score of random guessing.",
    "changed": "Documents whose text the stage changed.",
    "clean items only": "Score without the contaminated items.",
    "compute": "Floating-point operations of the training.",
    "contaminated": "Share of the items that occur in the training text. Their scores are not to be trusted.",
    "created": "Documents that begin at this stage, such as crawled pages.",
    "difference": "Score of the first model minus score of the second, on the same items.",
    "digest": "Hash of all files of an artifact. Equal digests mean equal bytes.",
    "documents": "Texts that the last data stage kept.",
    "fingerprint": "Hash of the settings and inputs of a stage. It names the folder of the artifact.",
    "in": "Documents that the stage read.",
    "items won": "Share of the items on which the first model is better; a tie counts half.",
    "law": "Loss that the fitted law predicts.",
    "metric": "How an answer is scored. The glossary at the end describes each.",
    "n": "Number of items, documents or texts.",
    "n-gram": "Length in words of the shared passage that shows a contaminated item.",
    "out": "Documents that the stage wrote.",
    "p": "Probability of a difference at least as large if both models were equally good.",
    "parameters": "Trained numbers of the model.",
    "recall": metric_names.BY_SETTING["toxicity_classifier/<set>/recall"].meaning,
    "precision": metric_names.BY_SETTING["toxicity_classifier/<set>/precision"].meaning,
    "false positive rate": metric_names.BY_SETTING["toxicity_classifier/<set>/false_positive_rate"].meaning,
    "roc auc": metric_names.BY_SETTING["toxicity_classifier/<set>/roc_auc"].meaning,
    "removed": "Documents that a rule of the stage removed.",
    "split": "Part of the data: `train` is learned from; the other parts are only measured.",
    "text out": "Size of the text that the stage wrote, in UTF-8.",
    "tokens": "Pieces of words that the model reads and writes.",
    "tokens trained on": "Tokens of all training batches; repeated text counts again.",
    "wanted": "The answer in the evaluation data.",
    "words seen": "Share of the item's words that are in the overlap with a training document.",
    "work": "Time of the stages of this run, without reused stages.",
}

_RULES: Mapping[str, Mapping[str, Reason]] = {
    "crawl": crawl_verdicts.RULES,
    "extract": extract_verdicts.RULES,
    "ingest": extract_verdicts.RULES,
    "clean": cleaned_documents.REASONS,
    "dedup": dedup_verdicts.RULES,
    "mix": mix.RULES,
    "tokenize": tokenize.RULES,
    "pairs": pair_verdicts.RULES,
}
"""The described verdicts by kind of stage. Cleaning rules have theirs in the settings."""
_ABBREVIATION = re.compile(r'<abbr title="([^"]*)">([^<]*)</abbr>')


def term(name: str, meaning: str = "") -> Markup:
    """The name with its meaning on hover: the given one, or that of a known term or metric."""
    meaning = meaning or meaning_of(name)
    return Markup('<abbr title="{}">{}</abbr>').format(meaning, name) if meaning else Markup.escape(name)


def meaning_of(name: str) -> str:
    """The meaning of a term or a metric; empty if it is unknown."""
    return TERMS.get(name) or _metrics().get(name) or _metrics().get(name.rpartition("/")[2], "")


def meaning_of_rule(kind: str, rule: str) -> str:
    """Why a stage of this kind removes a document with this verdict; empty if the reason has no description."""
    name, _, signal = rule.partition("/")
    if kind == "clean" and name in CLEANING_RULES:
        limits = {setting.path: setting.description for setting in describe_settings(CLEANING_RULES[name])}
        return " ".join(limits[field] for field in (f"min_{signal}", f"max_{signal}") if field in limits)
    reason = _RULES.get(kind, {}).get(rule)
    return reason.meaning if reason else ""


def used(sections: list[Markup]) -> list[tuple[str, str]]:
    """The explained terms in the sections, sorted, each with its meaning. Only `term` writes the tag that it finds."""
    found = {Markup(name).unescape(): Markup(meaning).unescape() for s in sections for meaning, name in _pairs(s)}
    return sorted(found.items(), key=lambda pair: pair[0].lower())


def _pairs(section: Markup) -> list[tuple[str, str]]:
    return _ABBREVIATION.findall(section)


@cache
def _metrics() -> dict[str, str]:
    data = {name: metric for metrics in metric_names.DATA.values() for name, metric in metrics.items()}
    known = {**data, **metric_names.BY_SETTING, **metric_names.MEASURES, **METRICS, **metric_names.TRAINING}
    return {name: metric.meaning for name, metric in known.items()}
