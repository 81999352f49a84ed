"""Multiple choice by log-likelihood, with the metrics of lm-evaluation-harness.

- `acc`: whether the choice with the greatest log P(choice | query) is right.
- `acc_norm`: the same, with log P divided by the number of characters of the choice, so that short choices have no
  advantage.
- `acc_mutual_info`: the same with log P(choice | query) - log P(choice), so that choices that are likely anywhere have
  no advantage. log P(choice) is computed after an empty context.
- `mc2`, if an item has several right choices: their share of the probability of all choices (TruthfulQA: Lin et al.,
  2022).

If the declaration has `query_without_passage`, `acc_without_passage` is `acc` for that query. `acc_gain` is the mean of
`acc` minus `acc_without_passage`, item by item: it shows how far answers depend on the passage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from bessemer.artifacts.descriptions import Metric
from bessemer.evaluate.calibration import CALIBRATION_METRICS, brier, calibration_scores, probabilities
from bessemer.evaluate.choices import ChoiceItem, read_choices, read_gold
from bessemer.evaluate.dataset_items import read_prompted_items
from bessemer.evaluate.datasets import Dataset, Row
from bessemer.evaluate.scores import Numbers, Result, Score, grouped, mean_score
from bessemer.evaluate.task import Expression, PromptedTask, Template
from bessemer.evaluate.templates import template
from bessemer.recipe.settings import execution

if TYPE_CHECKING:
    from bessemer.evaluate.evaluated_model import EvaluatedModel
    from bessemer.evaluate.materials import Materials

MEASURES = ("acc", "acc_norm", "acc_mutual_info", "mc2", "acc_without_passage", "acc_gain")
ITEMS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("query", pa.string(), nullable=False),
        pa.field("choices", pa.list_(pa.string()), nullable=False),
        pa.field("gold", pa.list_(pa.int64()), nullable=False),
        pa.field("log_likelihoods", pa.list_(pa.float64()), nullable=False),
        pa.field("log_likelihoods_alone", pa.list_(pa.float64())),
        pa.field("log_likelihoods_without_passage", pa.list_(pa.float64())),
        pa.field("confidence", pa.float64(), nullable=False),
        pa.field("brier_score", pa.float64()),
        *(pa.field(measure, pa.float64()) for measure in MEASURES),
        pa.field("context_was_cut", pa.bool_(), nullable=False),
    ]
)
METRICS = {
    "acc": Metric("1", "Share of items whose likeliest choice is right; of `language_modelling`, share of items whose "
                  "every token is the likeliest; of `minimal_pairs`, share whose `sentence` is likelier."),
    "acc_norm": Metric("1", "Like `acc`, with log-likelihoods divided by the characters of the choice."),
    "acc_mutual_info": Metric("1", "Like `acc`, with log-likelihoods minus those of the choice without the query "
                              "(Holtzman et al., 2021)."),
    "mc2": Metric("1", "Probability of all right choices together (TruthfulQA; Lin et al., 2022)."),
    "acc_without_passage": Metric("1", "`acc` of the query without its passage."),
    "acc_gain": Metric("1", "`acc` minus `acc_without_passage`."),
    **CALIBRATION_METRICS,
}  # fmt: skip


class MultipleChoice(PromptedTask):
    """Which of several answers the model finds likeliest after a query, and how confident it is."""

    lower_is_better: ClassVar = frozenset({"brier_score", "calibration_error"})
    descriptions: ClassVar = METRICS

    kind: Literal["multiple_choice"]
    """The kind of task."""
    dataset: Dataset | None = execution(None)  # type: ignore[assignment]
    """Path of the items. If unset, the items come from the `questions` artifact."""
    query: Template = "{{query}}"
    """The question."""
    choices: Expression | tuple[Template, ...] = "choices"
    """The possible answers: one expression that returns a list, or a list of templates."""
    gold: Expression = "gold"
    """The right answer: its number (from 0) or its text, or a list of right answers."""
    query_without_passage: Template | None = None
    """The query without its passage. If set, each item is asked a second time with this query. `acc_without_passage` is
    the accuracy of these answers, and `acc_gain` is the accuracy that the passage adds."""
    target_delimiter: str = ""
    """Text between the query and a choice."""
    metrics: tuple[
        Literal[
            "acc", "acc_norm", "acc_mutual_info", "mc2", "brier_score", "calibration_error", "acc_without_passage",
            "acc_gain",
        ], ...,
    ] = ("acc", "acc_norm", "acc_mutual_info")  # fmt: skip
    """The headline metrics. `acc_mutual_info` is measured only if it is one of them, because it needs a second pass."""

    @property
    def items_from(self) -> str | None:
        return "questions" if self.dataset is None else None

    def items(self, made: Mapping[str, Dataset]) -> list[ChoiceItem]:
        dataset = self.dataset or made.get("questions")
        return [] if dataset is None else read_prompted_items(self, dataset, self._item)

    def _item(self, row: Row, group: str | None) -> ChoiceItem:
        choices = read_choices(self.choices, row)
        without = self.query_without_passage
        return ChoiceItem(
            row.id,
            group,
            template(self.query)(row.values),
            choices,
            read_gold(self.gold, row, choices),
            None if without is None else template(without)(row.values),
        )

    def score(self, materials: Materials) -> Result:
        return score_items(self, materials.subject, self.items(materials.made))


def score_items(task: MultipleChoice, subject: EvaluatedModel, items: Sequence[ChoiceItem]) -> Result:
    """Returns the accuracies with their chance levels, calibration scores, and one row per item."""
    from bessemer.evaluate.encoding import Asked, alone, trees
    from bessemer.evaluate.likelihood import log_likelihoods

    passes = {"log_likelihoods": [Asked(item.preface, item.query, item.choices) for item in items]}
    if "acc_mutual_info" in task.metrics:
        passes["log_likelihoods_alone"] = [alone(item.preface, item.choices) for item in items]
    if task.query_without_passage is not None:
        passes["log_likelihoods_without_passage"] = [
            Asked(item.preface, item.query_without_passage or "", item.choices) for item in items
        ]
    asked = trees(subject, [one for several in passes.values() for one in several])
    answers = iter(log_likelihoods(subject, asked))
    found = {name: [next(answers).nats for _ in items] for name in passes}
    several = any(len(item.gold) > 1 for item in items)
    rows = [
        _row(item, {name: values[number] for name, values in found.items()}, several)
        | {"context_was_cut": not asked[number].fits(subject.context)}
        for number, item in enumerate(items)
    ]
    table = pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA)
    chance = np.array([len(item.gold) / len(item.choices) for item in items])
    return Result(choice_scores(table, chance), table)


def choice_scores(table: pa.Table, chance: Numbers) -> list[Score]:
    """Every metric that the items have, overall and by group."""
    scores = []
    for group, chosen in grouped(table["group"].to_pylist()):
        rows = table.filter(pa.array(chosen))
        for measure in MEASURES:
            if not rows[measure].null_count:
                guessed = None if measure == "acc_gain" else float(chance[chosen].mean())
                scores.append(mean_score(measure, rows[measure].to_numpy(), chance=guessed, group=group))
        if not rows["brier_score"].null_count:
            confidence, right, briers = (rows[name].to_numpy() for name in ("confidence", "acc", "brier_score"))
            scores += calibration_scores(confidence, right, briers, group)
    return scores


def _row(item: ChoiceItem, found: dict[str, Numbers], several: bool) -> dict[str, Any]:
    conditional = found["log_likelihoods"]
    shares = probabilities(conditional)
    picks = {"acc": conditional, "acc_norm": conditional / np.array([len(choice) for choice in item.choices])}
    if "log_likelihoods_alone" in found:
        picks["acc_mutual_info"] = conditional - found["log_likelihoods_alone"]
    if "log_likelihoods_without_passage" in found:
        picks["acc_without_passage"] = found["log_likelihoods_without_passage"]
    measures = {name: float(np.argmax(values) in item.gold) for name, values in picks.items()}
    if "acc_without_passage" in measures:
        measures["acc_gain"] = measures["acc"] - measures["acc_without_passage"]
    if several:
        measures["mc2"] = float(shares[list(item.gold)].sum())
    return {
        "id": item.id,
        "group": item.group,
        "query": item.query,
        "choices": list(item.choices),
        "gold": list(item.gold),
        **{name: values.tolist() for name, values in found.items()},
        "confidence": float(shares.max()),
        "brier_score": None if several else brier(shares, item.gold[0]),
        **measures,
    }
