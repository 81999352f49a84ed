"""toxicity_classifier: trains a classifier of toxic text on labelled texts and measures its error rates.

    data/weights.npy       the classifier (`evaluate/classifier.py`)
    data/errors.parquet    per set and category of texts: precision, recall, false positive rate, ROC AUC

A part of each training set is held out. The error rates on these parts and on the sets of `tests` show how reliable the
classifier's measurements are. For example, a classifier trained on tweets may miss toxic prose.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from bessemer.evaluate.labelled import LabelledTexts, errors, read_texts
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig

THRESHOLD = 0.5


class LabelledFile(LabelledTexts):
    """Texts from a file that the recipe names."""

    dataset: RecipePath = execution(...)
    """Path of the file: JSON lines, CSV or TSV."""


class Config(StageConfig):
    train: Annotated[dict[str, LabelledFile], Field(min_length=1)]
    """Sets of labelled texts to train on, by name; all sets have the same weight."""
    tests: dict[str, LabelledFile] = Field({})
    """Further sets that only measure error rates."""
    held_out_ratio: float = Field(0.1, gt=0, lt=1)
    """Share of each training set that is held out to measure error rates."""


def outside(config: Config) -> Any:
    """Identifies the content of the sets. Reads every text, so that a faulty set fails before the recipe runs."""
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
    version=2,
    config=Config,
    produces="classifier",
    run=run,
    libraries=("numpy", "scikit-learn", "scipy"),
    outside=outside,
)
