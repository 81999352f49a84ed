"""Compares the answers that a model writes with references.

An item's metric is the best over its references, and a task's metric is the mean over items. BLEU and chrF are computed
over the whole corpus, with standard errors by the delete-a-group jackknife. If a task also has incorrect answers
(TruthfulQA: Lin et al., 2022), a metric says whether, and by how much, an answer is more like a correct answer than
like an incorrect one.

A prompt that leaves too little room for the answer is truncated at its beginning. At most half of the context is
reserved for the answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Field

from bessemer.align.reward_scoring import Scorer
from bessemer.align.rewards import Rewards, RewardSample, code_of, runs_programs
from bessemer.artifacts.descriptions import Metric
from bessemer.errors import InputError
from bessemer.evaluate import text_metrics
from bessemer.evaluate.dataset_items import AskedItem, read_prompted_items, texts_of
from bessemer.evaluate.datasets import Dataset, Row
from bessemer.evaluate.scores import Result, Score, grouped, mean_score
from bessemer.evaluate.task import Expression, PromptedTask, Template
from bessemer.evaluate.templates import template
from bessemer.generate.settings import GenerationSettings
from bessemer.recipe.settings import execution

if TYPE_CHECKING:
    from bessemer.evaluate.evaluated_model import EvaluatedModel
    from bessemer.evaluate.materials import Materials

GenerationMetric = Literal["exact_match", "f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL"]


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_check_pattern)]

NUM_GROUPS = 20
"""Number of groups into which the jackknife divides the corpus. It leaves out one group at a time."""
_COLUMNS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("group", pa.string()),
    pa.field("query", pa.string(), nullable=False),
    pa.field("completion", pa.string(), nullable=False),
    pa.field("finish_reason", pa.string(), nullable=False),
    pa.field("answer", pa.string(), nullable=False),
    pa.field("references", pa.list_(pa.string()), nullable=False),
    pa.field("incorrect", pa.list_(pa.string()), nullable=False),
    pa.field("context_was_cut", pa.bool_(), nullable=False),
]
METRICS = {
    "exact_match": Metric("1", "Share of answers that equal a reference."),
    "f1": Metric("1", "F1 of the words shared with the best reference (SQuAD)."),
    "bleu": Metric("%", "BLEU of all answers together (sacrebleu)."),
    "chrf": Metric("%", "Character n-gram F-score (chrF) of all answers together (sacrebleu)."),
    "rouge1": Metric("1", "F1 of shared words (ROUGE-1; Lin, 2004)."),
    "rouge2": Metric("1", "F1 of shared pairs of words (ROUGE-2)."),
    "rougeL": Metric("1", "F1 of the longest common subsequence of words (ROUGE-L)."),
    "<metric>_max": Metric("1", "Best value of a generation metric over the right references."),
    "<metric>_diff": Metric("1", "`<metric>_max` minus the best value over the incorrect references."),
    "<metric>_acc": Metric("1", "Share of answers with a positive `<metric>_diff`."),
    "reward": Metric("1", "Sum of the rewards of an answer."),
    "reward_<label>": Metric("1", "One of several rewards."),
}  # fmt: skip


class Generation(PromptedTask):
    """The model's answers, compared with references."""

    descriptions: ClassVar = METRICS

    kind: Literal["generation"]
    """The kind of task."""
    dataset: Dataset | None = execution(None)  # type: ignore[assignment]
    """Path of the items. If unset, the items are the split `test` of the `conversations` artifact."""
    query: Template = "{{question}}"
    """The question."""
    references: Expression = "answer"
    """A right answer or a list of right answers. Solved items show the first."""
    incorrect: Expression | None = None
    """Wrong answers. If set, each metric is computed against right and wrong answers: `<metric>_max` is the best value
    over the right answers, `<metric>_diff` is that minus the best value over the wrong answers, and `<metric>_acc` is
    whether the difference is positive."""
    generation: GenerationSettings = GenerationSettings(temperature=0, stop=("\n",))
    """How the answer is generated."""
    extract: Pattern | None = None
    """A regular expression that finds the answer in the generated text: its first group, or the whole match if it has
    no group. The first match counts, or the last if `extract_last` is set."""
    extract_last: bool = False
    """Whether the last match of `extract` counts instead of the first."""
    regexes_to_ignore: tuple[Pattern, ...] = ()
    """For `exact_match`: regular expressions whose matches are removed from the answer and the references."""
    ignore_case: bool = False
    """For `exact_match`: whether to ignore case."""
    ignore_punctuation: bool = False
    """For `exact_match`: whether to ignore ASCII punctuation."""
    ignore_articles: bool = False
    """For `exact_match`: whether to ignore `a`, `an`, `the` and repeated blanks."""
    bleu_tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    """The tokenizer that sacrebleu uses for BLEU."""
    metrics: tuple[GenerationMetric, ...] = Field(("exact_match",), min_length=1)
    """The metrics to measure. Each is a headline metric."""
    rewards: Rewards = ()
    """Rewards that score each answer, the same as in `pairs` and `reinforce`, custom functions included. Their sum is
    reported as `reward`, and each reward also under its name."""

    @property
    def headlines(self) -> tuple[str, ...]:
        reward = ("reward",) if self.rewards else ()
        if self.incorrect is None:
            return self.metrics + reward
        return tuple(f"{metric}_{against}" for against in ("acc", "diff") for metric in self.metrics) + reward

    @property
    def items_from(self) -> str | None:
        return "conversations" if self.dataset is None else None

    @property
    def runs_programs(self) -> bool:
        return runs_programs(self.rewards)

    def content(self, name: str) -> dict[str, Any]:
        code = code_of(self.rewards)
        return super().content(name) | ({f"rewards of {name}": code} if code else {})

    def items(self, made: Mapping[str, Dataset]) -> list[GenerationItem]:
        dataset = self.dataset or made.get("conversations")
        return [] if dataset is None else read_prompted_items(self, dataset, self._item)

    def _item(self, row: Row, group: str | None) -> GenerationItem:
        references = texts_of("references", self.references, row, at_least=1)
        incorrect = () if self.incorrect is None else texts_of("incorrect", self.incorrect, row, at_least=1)
        return GenerationItem(row.id, group, template(self.query)(row.values), references, incorrect, row.values)

    def score(self, materials: Materials) -> Result:
        return score_items(self, materials.subject, self.items(materials.made))


@dataclass(frozen=True)
class GenerationItem(AskedItem):
    """A question with its right and wrong answers."""

    query: str
    references: tuple[str, ...]
    incorrect: tuple[str, ...] = ()
    row: Mapping[str, Any] = field(default_factory=dict)
    """The item's row in the dataset."""

    @property
    def solved(self) -> tuple[str, str]:
        return self.query, self.references[0]

    @property
    def right_answers(self) -> tuple[str, ...]:
        return self.references


def score_items(task: Generation, subject: EvaluatedModel, items: Sequence[GenerationItem]) -> Result:
    """Returns every metric of the task, overall and by group, and one row per item."""
    from bessemer.evaluate.encoding import prompt_tokens

    check_rewards(task, items)
    prompts = [prompt_tokens(subject, item.preface, item.query) for item in items]
    room = max(subject.context - task.generation.max_new_tokens, subject.context // 2)
    completions = subject.complete(
        [prompt[-room:] for prompt in prompts], task.generation, is_conversation=task.apply_chat_template
    )
    texts = [subject.without_special(completion.text) for completion in completions]
    ended = [completion.finish_reason == "stop" for completion in completions]  # by a token, as when rewards train
    lengths = [len(completion.tokens) + stop for completion, stop in zip(completions, ended, strict=True)]
    rewarded = rewards(task, items, texts, lengths)
    rows: list[dict[str, Any]] = []
    for item, prompt, completion, text, worth in zip(items, prompts, completions, texts, rewarded, strict=True):
        answer = extracted(task, text)
        rows.append(
            {
                "id": item.id,
                "group": item.group,
                "query": item.query,
                "completion": completion.text,
                "finish_reason": completion.finish_reason,
                "answer": answer,
                "references": list(item.references),
                "incorrect": list(item.incorrect),
                "context_was_cut": len(prompt) > room,
            }
            | measures(task, answer, item.references, item.incorrect)
            | worth
        )
    names = [name for name in rows[0] if name not in {column.name for column in _COLUMNS}]
    table = pa.Table.from_pylist(rows, schema=pa.schema([*_COLUMNS, *(pa.field(name, pa.float64()) for name in names)]))
    scores: list[Score] = []
    for group, chosen in grouped(table["group"].to_pylist()):
        part = table.filter(pa.array(chosen))
        for name in names:
            corpus = _CORPUS.get(name)
            if corpus is None:
                scores.append(mean_score(name, part[name].to_numpy(), group=group))
            else:
                answers, references = part["answer"].to_pylist(), part["references"].to_pylist()
                scores.append(_corpus_score(name, partial(corpus, task), answers, references, group))
    return Result(scores, table)


def extracted(task: Generation, completion: str) -> str:
    """Extracts the answer from a completion. Returns an empty string if `extract` does not match."""
    if task.extract is None:
        return completion.strip()
    found = [match[1] if match.re.groups else match[0] for match in re.finditer(task.extract, completion)]
    return (found[-1 if task.extract_last else 0] or "") if found else ""


def check_rewards(task: Generation, items: Sequence[GenerationItem]) -> None:
    """Runs every reward once on a dummy answer, to fail before generation starts. Raises UsageError or InputError."""
    if task.rewards and items:
        with Scorer(task.rewards) as scorer:
            lacking = next((item for item in items if scorer.lacks(_row(item))), items[0])
            scorer.check(RewardSample(lacking.query, "An answer.", 3, _row(lacking)))


def _row(item: GenerationItem) -> dict[str, Any]:
    return {"answer": item.references[0], **item.row}


def rewards(
    task: Generation, items: Sequence[GenerationItem], texts: Sequence[str], lengths: Sequence[int]
) -> list[dict[str, float]]:
    """Returns for each text its total `reward`, and each reward under its name if there are several.

    `lengths` are in tokens. Raises InputError if a reward has no number for one of the texts.
    """
    if not task.rewards or not items:
        return [{} for _ in items]
    samples = [
        RewardSample(item.query, text, length, _row(item))
        for item, text, length in zip(items, texts, lengths, strict=True)
    ]
    with Scorer(task.rewards) as scorer:
        scores = scorer(samples)
    unknown = sum(map(math.isnan, scores.rewards))
    if unknown:
        raise InputError(
            next(iter(scores.failures), f"the rewards have no number for {unknown} of {len(samples)} answers"),
            hint="change the rewards so that each returns a number for every answer",
        )
    by_name = scores.by_reward if len(task.rewards) > 1 else {}
    return [
        {"reward": total, **{f"reward_{name}": values[n] for name, values in by_name.items()}}
        for n, total in enumerate(scores.rewards)
    ]


def measures(task: Generation, answer: str, references: Sequence[str], incorrect: Sequence[str]) -> dict[str, float]:
    """The metrics of one item."""
    found: dict[str, float] = {}
    for name in task.metrics:
        metric = _pair_metric(task, name)
        right = max(metric(answer, reference) for reference in references)
        if incorrect:
            wrong = max(metric(answer, reference) for reference in incorrect)
            found |= {f"{name}_max": right, f"{name}_diff": right - wrong, f"{name}_acc": float(right > wrong)}
        else:
            found[name] = right
    return found


def _pair_metric(task: Generation, name: str) -> Callable[[str, str], float]:
    """Returns the metric called `name`, a function of an answer and a reference."""
    metrics: dict[str, Callable[[str, str], float]] = {
        "exact_match": lambda answer, reference: float(_comparable(task, answer) == _comparable(task, reference)),
        "f1": text_metrics.f1,
        "bleu": lambda answer, reference: text_metrics.bleu([answer], [[reference]], task.bleu_tokenize),
        "chrf": lambda answer, reference: text_metrics.chrf([answer], [[reference]]),
        "rouge1": lambda answer, reference: text_metrics.rouge_n(answer, reference, 1),
        "rouge2": lambda answer, reference: text_metrics.rouge_n(answer, reference, 2),
        "rougeL": text_metrics.rouge_l,
    }
    return metrics[name]


def _comparable(task: Generation, text: str) -> str:
    """The form of a text that `exact_match` compares. Its steps have the same order as in lm-evaluation-harness."""
    for pattern in task.regexes_to_ignore:
        text = re.sub(pattern, "", text)
    if task.ignore_case:
        text = text.lower()
    if task.ignore_punctuation:
        text = text.translate(text_metrics.NO_PUNCTUATION)
    if task.ignore_articles:
        text = " ".join(re.sub(r"\b(a|an|the)\b", " ", text, flags=re.IGNORECASE).split())
    return text


_CORPUS: dict[str, Callable[[Generation, Sequence[str], Sequence[Sequence[str]]], float]] = {
    "bleu": lambda task, answers, references: text_metrics.bleu(answers, references, task.bleu_tokenize),
    "chrf": lambda task, answers, references: text_metrics.chrf(answers, references),
}


def _corpus_score(
    name: str,
    metric: Callable[[Sequence[str], Sequence[Sequence[str]]], float],
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    group: str | None,
) -> Score:
    """Returns a metric of the corpus. With m_i the metric without the i-th of g groups, the standard error is
    sqrt((g - 1) / g sum (m_i - mean m)^2)."""
    n = len(answers)
    parts = min(NUM_GROUPS, n)
    error = None
    if parts > 1:
        without = []
        for part in range(parts):
            kept = [number for number in range(n) if number % parts != part]
            without.append(metric([answers[i] for i in kept], [references[i] for i in kept]))
        error = math.sqrt((parts - 1) * float(np.var(without)))
    return Score(name, metric(answers, references), error, n, group)
