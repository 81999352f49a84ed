"""Writes the files of the stage `evaluate` from the results of all tasks: scores, comparisons and samples.

The most visible scores are also lines of the log, and the headline metrics of the tasks go to MLflow.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bessemer import storage
from bessemer.evaluate.compare import Comparison, ComparisonSettings, compare, write_comparisons
from bessemer.evaluate.contamination import clean_scores
from bessemer.evaluate.measures import Measured, measured
from bessemer.evaluate.scores import Result, Score, write_scores
from bessemer.evaluate.task import Task

MOST_HEADLINES = 40
"""Largest number of metrics of one stage in MLflow. The artifact has all metrics."""


@dataclass(frozen=True)
class Summary:
    """The scores of all tasks on all models as (model, task, score), and the comparisons of the models."""

    scores: list[tuple[str, str, Score]]
    comparisons: list[Comparison]
    headlines: dict[str, float]
    """The metrics that go to MLflow, the most important first."""


def summarise(
    folder: Path,
    tasks: Mapping[str, Task],
    models: Sequence[str],
    results: Mapping[tuple[str, str], Result],
    judged: pa.Table | None,
    settings: ComparisonSettings,
    log: logging.Logger,
) -> Summary:
    """Writes the files to `folder` and logs the scores.

    `results` are by (model, task). `judged` is the table of the search for contamination, if there was one.
    """
    _write_samples(folder, tasks, results)
    scores = [(model, task, score) for (model, task), result in results.items() for score in result.scores]
    by_item = [one for (model, task), result in results.items() for one in measured(model, task, tasks[task], result)]
    if judged is not None:
        scores += clean_scores(by_item, judged)
    write_scores(folder, scores)
    comparisons = compare(by_item, num_resamples=settings.num_resamples, seed=settings.seed)
    if len(models) > 1:
        write_comparisons(folder, comparisons)
        _log_left_out(tasks, by_item, log)
    _log_scores(scores, comparisons, log)
    chosen = headlines(tasks, scores, models)
    if len(chosen) > MOST_HEADLINES:
        log.warning("only %d of %d headline metrics go to MLflow; scores.parquet has all", MOST_HEADLINES, len(chosen))
    return Summary(scores, comparisons, dict(list(chosen.items())[:MOST_HEADLINES]))


def headlines(
    tasks: Mapping[str, Task], scores: Sequence[tuple[str, str, Score]], models: Sequence[str]
) -> dict[str, float]:
    """The metrics of a stage in MLflow: the headline metrics of its tasks, over all items. The first metric of each
    task comes before all second metrics.

    Those of the last model come first, as `evaluate/<task>/<metric>`; others are `evaluate/<model>/<task>/<metric>`.
    """
    found = {(model, task, score.metric): score.value for model, task, score in scores if score.group is None}
    named = [
        (model != models[-1], rank, model, task, metric)
        for model in models
        for task, settings in tasks.items()
        for rank, metric in enumerate(settings.headlines)
        if (model, task, metric) in found
    ]
    return {
        f"evaluate/{model}/{task}/{metric}" if other else f"evaluate/{task}/{metric}": found[model, task, metric]
        for other, _, model, task, metric in sorted(named, key=lambda one: one[:2])
    }


def _log_scores(
    scores: Sequence[tuple[str, str, Score]], comparisons: Sequence[Comparison], log: logging.Logger
) -> None:
    for model, task, score in scores:
        if score.group is None:
            error = "" if score.standard_error is None else f" ± {score.standard_error:.3g}"
            chance = "" if score.chance is None else f", chance {score.chance:.4g}"
            name = f"{model}, {task}: {score.metric}"
            log.info("%s %.4g%s (n = %d%s)", name, score.value, error, score.n, chance)
    for one in comparisons:
        name = f"{one.task}: {one.metric}, {one.model_b} - {one.model_a}"
        noise = ", larger than noise" if one.larger_than_noise else ""
        log.info("%s %+.4g (95 %%: %.4g to %.4g), p = %.2g%s", name, one.difference, one.low, one.high, one.p, noise)


def _write_samples(folder: Path, tasks: Mapping[str, Task], results: Mapping[tuple[str, str], Result]) -> None:
    lines = [
        json.dumps({"model": model, "task": task} | row, ensure_ascii=False)
        for (model, task), result in results.items()
        if tasks[task].shows_samples
        for row in result.items.to_pylist()
    ]
    storage.write_text(folder / "samples.jsonl", "".join(f"{line}\n" for line in lines))


def _log_left_out(tasks: Mapping[str, Task], by_item: Sequence[Measured], log: logging.Logger) -> None:
    compared = {(one.task, one.metric) for one in by_item}
    left_out = [f"{name} {m}" for name, task in tasks.items() for m in task.headlines if (name, m) not in compared]
    if left_out:
        log.info("not compared, because these metrics have no values per item: %s", ", ".join(left_out))
