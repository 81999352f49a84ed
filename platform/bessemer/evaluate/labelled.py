"""Texts with labels, and how often a classifier errs on them. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jinja2 import TemplateError

from bessemer.errors import InputError
from bessemer.evaluate.datasets import read_rows
from bessemer.evaluate.kinds import Expression, Template
from bessemer.evaluate.scores import Numbers
from bessemer.evaluate.templates import expression, template
from bessemer.fingerprint import unit_interval
from bessemer.recipe.settings import Settings, execution


class LabelledTexts(Settings):
    """A set of texts of which some are of a class."""

    dataset: str = execution(...)
    """Where they are: JSON lines, comma- or tab-separated values."""
    text: Template = "{{text}}"
    """The text."""
    label: Expression = "label"
    """Whether it is of the class."""
    group: Template | None = None
    """The category of a text; errors are also counted by category."""
    split_by: Template | None = None
    """What texts have in common that must not be learnt from some and tested on others, as the prompt that they
    continue; equal texts if unset."""


@dataclass(frozen=True)
class TextSet:
    """Texts, whether each is of the class, their categories, empty where they have none, and what splits them."""

    texts: list[str]
    labels: npt.NDArray[np.bool_]
    groups: list[str]
    keys: list[str]

    def only(self, chosen: npt.NDArray[np.bool_]) -> TextSet:
        places = np.flatnonzero(chosen)
        texts, groups, keys = ([column[i] for i in places] for column in (self.texts, self.groups, self.keys))
        return TextSet(texts, self.labels[chosen], groups, keys)

    def split(self, held_out_ratio: float) -> tuple[TextSet, TextSet]:
        """(the texts to train on, those held out), by the hash of their keys."""
        held_out = np.array([unit_interval("held out", key) < held_out_ratio for key in self.keys], bool)
        return self.only(~held_out), self.only(held_out)


def read_texts(settings: LabelledTexts) -> TextSet:
    """Every text. Raises InputError where a row has none, or where all or none are of the class."""
    texts: list[str] = []
    labels, groups, keys = [], [], []
    for row in read_rows(settings.dataset):
        try:
            texts.append(template(settings.text)(row.values))
            labels.append(bool(expression(settings.label)(row.values)))
            groups.append("" if settings.group is None else template(settings.group)(row.values))
            keys.append(texts[-1] if settings.split_by is None else template(settings.split_by)(row.values))
        except (TemplateError, ValueError, TypeError, LookupError) as error:
            raise InputError(
                f"{row.place} is no labelled text: {error}",
                hint="mend the row, or the set's `text`, `label`, `group` and `split_by`",
            ) from error
    found = TextSet(texts, np.array(labels, bool), groups, keys)
    if found.labels.all() or not found.labels.any():
        raise InputError(
            f"the texts of `{settings.dataset}` are all of one class", hint="mend `label`, or add texts of the other"
        )
    return found


@dataclass(frozen=True)
class Errors:
    """How often a classifier errs: of n texts, num_positive of the class. A rate is None where it has no text."""

    set: str
    group: str | None
    n: int
    num_positive: int
    precision: float | None
    recall: float | None
    false_positive_rate: float | None
    roc_auc: float | None


def errors(name: str, texts: TextSet, probabilities: Numbers, threshold: float) -> list[Errors]:
    """The errors on all texts, then by category."""
    found = [_errors(name, None, texts.labels, probabilities, threshold)]
    for group in sorted(set(texts.groups) - {""}):
        chosen = np.array([one == group for one in texts.groups])
        found.append(_errors(name, group, texts.labels[chosen], probabilities[chosen], threshold))
    return found


def _errors(
    name: str, group: str | None, labels: npt.NDArray[np.bool_], probabilities: Numbers, threshold: float
) -> Errors:
    flagged = probabilities >= threshold

    def share(of: npt.NDArray[np.bool_], which: npt.NDArray[np.bool_]) -> float | None:
        return float((of & which).sum() / which.sum()) if which.any() else None

    return Errors(
        set=name,
        group=group,
        n=len(labels),
        num_positive=int(labels.sum()),
        precision=share(labels, flagged),
        recall=share(flagged, labels),
        false_positive_rate=share(flagged, ~labels),
        roc_auc=roc_auc(labels, probabilities),
    )


def roc_auc(labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Numbers) -> float | None:
    """The chance that a text of the class scores above one that is not, ties counting half (Mann and Whitney, 1947)."""
    labels = np.asarray(labels, bool)
    positive, negative = np.sort(scores[labels]), scores[~labels]
    if not len(positive) or not len(negative):
        return None
    below = np.searchsorted(positive, negative, side="left")
    not_above = np.searchsorted(positive, negative, side="right")
    wins = 2 * len(positive) * len(negative) - float((below + not_above).sum())
    return wins / (2 * len(positive) * len(negative))
