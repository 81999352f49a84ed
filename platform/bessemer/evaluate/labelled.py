"""Reads labelled texts and measures how often a classifier errs on them. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jinja2 import TemplateError

from bessemer.errors import InputError
from bessemer.evaluate.datasets import read_rows
from bessemer.evaluate.scores import Numbers
from bessemer.evaluate.task import Expression, Template
from bessemer.evaluate.templates import expression, template
from bessemer.fingerprint import unit_interval
from bessemer.recipe.settings import Settings, execution


class LabelledTexts(Settings):
    """A set of texts, each labelled as in the class or not in it."""

    dataset: str = execution(...)
    """Path of the rows: JSON lines, comma-separated or tab-separated values."""
    text: Template = "{{text}}"
    """The text of a row."""
    label: Expression = "label"
    """Whether the text is in the class."""
    group: Template | None = None
    """The category of a text. Errors are also reported by category."""
    split_by: Template | None = None
    """Key that keeps related texts on one side of the split into training and held-out texts, for example the prompt
    that they continue. If unset, only equal texts stay together."""


@dataclass(frozen=True)
class TextSet:
    """Texts with their labels, their categories (empty if a text has none), and the keys by which they are split."""

    texts: list[str]
    labels: npt.NDArray[np.bool_]
    groups: list[str]
    keys: list[str]

    def only(self, chosen: npt.NDArray[np.bool_]) -> TextSet:
        places = np.flatnonzero(chosen)
        texts, groups, keys = ([column[i] for i in places] for column in (self.texts, self.groups, self.keys))
        return TextSet(texts, self.labels[chosen], groups, keys)

    def split(self, held_out_ratio: float) -> tuple[TextSet, TextSet]:
        """Returns (training texts, held-out texts), divided by the hash of their keys."""
        held_out = np.array([unit_interval("held out", key) < held_out_ratio for key in self.keys], bool)
        return self.only(~held_out), self.only(held_out)


def read_texts(settings: LabelledTexts) -> TextSet:
    """Reads all texts. Raises InputError if a row does not fit the templates, or if all labels are equal."""
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
                f"{row.place} is not a labelled text: {error}",
                hint="fix the row, or the set's `text`, `label`, `group` and `split_by`",
            ) from error
    found = TextSet(texts, np.array(labels, bool), groups, keys)
    if found.labels.all() or not found.labels.any():
        raise InputError(
            f"all texts of `{settings.dataset}` have the same label",
            hint="fix `label`, or add texts with the other label",
        )
    return found


@dataclass(frozen=True)
class Errors:
    """A classifier's error rates on n texts, num_positive of them in the class. A rate over no texts is None."""

    set: str
    group: str | None
    n: int
    num_positive: int
    precision: float | None
    recall: float | None
    false_positive_rate: float | None
    roc_auc: float | None


def errors(name: str, texts: TextSet, probabilities: Numbers, threshold: float) -> list[Errors]:
    """Returns the errors on all texts first, then one entry per category."""
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
    """The probability that a text in the class scores above a text outside it; a tie counts half (Mann and Whitney,
    1947). None if either set is empty."""
    labels = np.asarray(labels, bool)
    positive, negative = np.sort(scores[labels]), scores[~labels]
    if not len(positive) or not len(negative):
        return None
    below = np.searchsorted(positive, negative, side="left")
    not_above = np.searchsorted(positive, negative, side="right")
    wins = 2 * len(positive) * len(negative) - float((below + not_above).sum())
    return wins / (2 * len(positive) * len(negative))
