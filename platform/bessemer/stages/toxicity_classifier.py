"""toxicity_classifier: labelled texts in, a classifier of toxic text out, with its own error rates.

    data/weights.npy       the classifier (`evaluate/classifier.py`)
    data/errors.parquet    for every set and category of texts: precision, recall, false positive rate, ROC AUC

A part of every training set is held out. Its errors, and those on the sets of `tests`, say what measurements of
toxicity made with this classifier are worth: one that learnt from tweets need not know toxic prose.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from bessemer.evaluate.labelled import LabelledTexts, errors, read_texts
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig

THRESHOLD = 0.5


class Texts(LabelledTexts):
    """Texts from a file that the recipe names."""

    dataset: RecipePath = execution(...)
    """Where they are: JSON lines, comma- or tab-separated values."""


class Config(StageConfig):
    train: Annotated[dict[str, Texts], Field(min_length=1)]
    """Sets of labelled texts to learn from, by name; each weighs the same."""
    tests: dict[str, Texts] = Field({})
    """Further sets, on which errors are counted."""
    held_out_ratio: float = Field(0.1, gt=0, lt=1)
    """The share of each training set that is not learnt from; errors are counted on it."""


def outside(config: Config) -> Any:
    """The content of the sets. Every text is read here, so before anything runs."""
    from bessemer.evaluate.datasets import content

    found = {"train": config.train, "tests": config.tests}
    for sets in found.values():
        for texts in sets.values():
            read_texts(texts)
    return {part: {name: content(texts.dataset) for name, texts in sets.items()} for part, sets in found.items()}


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    import pyarrow as pa

    from bessemer.artifacts.documents import write_parquet
    from bessemer.evaluate.classifier import train

    sets = {name: read_texts(texts).split(config.held_out_ratio) for name, texts in config.train.items()}
    classifier = train([(learnt.texts, learnt.labels) for learnt, _ in sets.values()])
    classifier.save(draft.data)
    judged = {name: held_out for name, (_, held_out) in sets.items()}
    judged |= {name: read_texts(texts) for name, texts in config.tests.items()}
    found = [
        error
        for name, texts in judged.items()
        for error in errors(name, texts, classifier.probabilities(texts.texts), THRESHOLD)
    ]
    write_parquet(pa.Table.from_pylist([asdict(one) for one in found]), draft.data / "errors.parquet")
    for one in found:
        if one.group is None:
            rates = {
                "precision": one.precision,
                "recall": one.recall,
                "false_positive_rate": one.false_positive_rate,
                "roc_auc": one.roc_auc,
            }
            known = {name: rate for name, rate in rates.items() if rate is not None}
            draft.metrics |= {f"toxicity_classifier/{one.set}/{name}": rate for name, rate in known.items()}
            told = ", ".join(f"{name} {rate:.3f}" for name, rate in known.items())
            context.log.info("%s (n = %d, %d toxic): %s", one.set, one.n, one.num_positive, told)


STAGE = Stage(
    kind="toxicity_classifier",
    version=1,
    config=Config,
    produces="classifier",
    run=run,
    libraries=("numpy", "torch"),
    outside=outside,
)
