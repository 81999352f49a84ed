"""The settings of each kind of task: dataset, prompt and metrics. Does not import torch.

A recipe or a file of `tasks/` declares a task with these settings. A setting that turns an item into text is a Jinja
template (`"Question: {{question}}"`). A setting that turns an item into another value is a Jinja expression
(`[ans0, ans1, ans2]`, `label`). Both can use the columns of the item's row by name. `row` is the whole row, for columns
whose names are not identifiers (`row['Best Answer']`). Settings that lm-evaluation-harness has too keep its names.

`metrics` are a task's headline metrics, which are logged to MLflow. The artifact's table of scores has more metrics.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    model_validator,
)

from bessemer.align.rewards import Rewards
from bessemer.evaluate.datasets import Dataset
from bessemer.evaluate.templates import check_expression, check_template
from bessemer.generate.settings import GenerationSettings
from bessemer.recipe.settings import Settings, execution

HeldOutSplit = Literal["validation", "test"]
Template = Annotated[str, AfterValidator(check_template)]
Expression = Annotated[str, AfterValidator(check_expression)]


class TaskSettings(Settings):
    """The settings of every task."""

    metrics: tuple[str, ...]
    """The headline metrics."""

    @property
    def headlines(self) -> tuple[str, ...]:
        """The metrics that are logged to MLflow, the most important first."""
        return self.metrics


class BitsPerByte(TaskSettings):
    """How well the model predicts held-out text: bits per byte and perplexity, overall, by source and by host.

    The text is a split of the recipe's documents, or `documents` that no stage changes. The latter are the same for
    every model, tokenizer and trial of a sweep.
    """

    kind: Literal["bits_per_byte"]
    """The kind of task."""
    documents: tuple[str, ...] = execution(())
    """Files, folders and patterns of documents to predict: text, HTML, JSON lines, JSON, CSV, TSV, Parquet or WARC."""
    text_field: str = "text"
    """The field or column with the text of `documents`."""
    split: HeldOutSplit = "test"
    """The split of the token store to predict if `documents` is empty."""
    sources: tuple[str, ...] = ()
    """The sources whose documents are predicted. If empty, all sources."""
    num_tokens: PositiveInt | None = None
    """Largest number of tokens to predict. If the text has more, evenly spaced windows are predicted. If unset, all of
    `documents`, or 1 048 576 tokens of the split."""
    max_seq_length: PositiveInt | None = None
    """Length of a window in tokens. If unset, the model's context length. Set it if the context is longer than the
    sequences of the training or than the documents."""
    stride: PositiveInt | None = None
    """Tokens from the start of one window to the start of the next. A stride shorter than the window gives each token
    more context, but needs proportionally more compute. If unset, windows do not overlap, as in validation."""
    metrics: tuple[Literal["bits_per_byte", "perplexity"], ...] = ("bits_per_byte", "perplexity")
    """The headline metrics."""

    @model_validator(mode="after")
    def _one_text(self) -> BitsPerByte:
        if self.documents and "split" in self.model_fields_set:
            raise ValueError("`documents` have no splits; leave out `split` or `documents`")
        if not self.documents and "text_field" in self.model_fields_set:
            raise ValueError("`text_field` is a field of `documents`, and there are none")
        return self


class Samples(TaskSettings):
    """Text samples for people to read. They are not scored."""

    kind: Literal["samples"]
    """The kind of task."""
    prompts: tuple[str, ...] = ()
    """Texts to continue. If empty, the model continues the beginnings of held-out documents."""
    split: HeldOutSplit = "test"
    """The split whose documents the model continues."""
    num_samples: PositiveInt = 8
    """Number of documents whose beginning the model continues."""
    prompt_tokens: PositiveInt = 32
    """Tokens of a document that form the prompt."""
    generation: GenerationSettings = GenerationSettings(max_new_tokens=64)
    """How continuations are generated."""
    metrics: tuple[()] = ()
    """Samples have no headline metrics."""


class Items(TaskSettings):
    """The settings that all tasks on a dataset share."""

    dataset: Dataset = execution(...)
    """Path of the items; or, for each column, the path of a text file with one value per line."""
    limit: PositiveInt | None = None
    """Largest number of items, counted from the first row."""
    group: Template | None = None
    """The category of an item. Scores are also reported by category."""


class Prompted(Items):
    """The settings that all tasks with a prompt share."""

    description: str = ""
    """Text at the start of the prompt. In a conversation it is the system message."""
    num_fewshot: NonNegativeInt = 0
    """Number of solved items in the prompt before the asked item."""
    fewshot_dataset: Dataset | None = execution(None)
    """Dataset of the solved items. If unset, `dataset`. The asked item itself is never among them."""
    fewshot_delimiter: str = "\n\n"
    """Text after each solved item."""
    fewshot_seed: NonNegativeInt = 1234
    """Seed of the draw of solved items. With equal items and an equal seed, lm-evaluation-harness draws the same."""
    target_delimiter: str = " "
    """Text between a query and its answer. Not used in a conversation."""
    apply_chat_template: bool = False
    """Whether the prompt is a conversation in the format of the tokenizer's chat template, which instruction-tuned
    models expect. Solved items become messages of the user and the assistant."""


class MultipleChoice(Prompted):
    """Which of several answers the model finds likeliest after a query, and how confident it is."""

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


class Schema(Prompted):
    """Which of several contexts makes one continuation likeliest (Winograd schemas)."""

    kind: Literal["schema"]
    """The kind of task."""
    contexts: Expression = "context_options"
    """The possible contexts: a list of texts."""
    continuation: Template = "{{continuation}}"
    """The text after the context."""
    gold: Expression = "gold"
    """The number of the right context, from 0."""
    metrics: tuple[Literal["acc", "brier_score", "calibration_error"], ...] = ("acc",)
    """The headline metrics."""


class LanguageModelling(Prompted):
    """Whether the model predicts the continuation of a text word for word, and how likely it finds the continuation."""

    kind: Literal["language_modelling"]
    """The kind of task."""
    context: Template = "{{context}}"
    """The beginning of the text."""
    continuation: Template = "{{continuation}}"
    """The true continuation."""
    metrics: tuple[Literal["acc", "perplexity"], ...] = ("acc", "perplexity")
    """The headline metrics. `acc` is the share of items for which every token of the continuation is the likeliest.
    `perplexity` is exp of the mean nats per item."""


class MinimalPairs(Items):
    """Which of two similar sentences the model finds likelier."""

    kind: Literal["minimal_pairs"]
    """The kind of task."""
    sentence: Template = "{{sentence_good}}"
    """The first sentence. The metrics count how often it is likelier."""
    other: Template = "{{sentence_bad}}"
    """The sentence that it is compared with."""
    metrics: tuple[Literal["acc", "pct_stereotype", "likelihood_diff"], ...] = ("acc",)
    """The headline metrics. `acc` and `pct_stereotype` are both the share of items whose `sentence` is likelier: use
    `acc` if `sentence` is the right one, and `pct_stereotype` if it is the prejudiced one (the best value is 0.5).
    `likelihood_diff` is the mean distance in nats."""


class Stereotypes(Items):
    """StereoSet: compares a stereotype, its opposite and a meaningless sentence. Scores are in percent."""

    kind: Literal["stereotypes"]
    """The kind of task."""
    stereotype: Template
    """The prejudiced sentence."""
    anti_stereotype: Template
    """Its opposite."""
    unrelated: Template
    """A meaningless sentence."""
    target: Template = "{{target}}"
    """The group of people that the sentences are about. All targets have the same weight."""
    metrics: tuple[Literal["lms", "ss", "icat"], ...] = ("lms", "ss", "icat")
    """The headline metrics: the language modelling score (best 100), the stereotype score (best 50), and the score that
    combines both (best 100)."""


class BiasQuestions(Prompted):
    """BBQ: questions about a passage that may or may not contain the answer. Measures the direction of the errors."""

    kind: Literal["bias_questions"]
    """The kind of task."""
    query: Template
    """The passage and the question."""
    choices: Expression
    """The possible answers."""
    gold: Expression
    """The right answer: its number (from 0) or its text."""
    biased: Template
    """The number of the prejudiced answer, as digits."""
    unknown: Expression
    """The number of the answer "unknown"."""
    ambiguous: Expression
    """Whether the passage does not contain the answer."""
    metrics: tuple[
        Literal["acc", "acc_ambiguous", "acc_disambiguated", "bias_ambiguous", "bias_disambiguated"], ...
    ] = ("acc_ambiguous", "acc_disambiguated", "bias_ambiguous", "bias_disambiguated")
    """The headline metrics. A bias score is 1 if all answers follow the prejudice, -1 if all contradict it, and 0 if
    they are balanced."""


GenerationMetric = Literal["exact_match", "f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL"]


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_check_pattern)]


class Generation(Prompted):
    """The model's answers, compared with references."""

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


class Code(Items):
    """Python programs, run against tests. Measures the probability that at least one of k programs passes."""

    kind: Literal["code"]
    """The kind of task."""
    prompt: Template = "{{prompt}}"
    """The beginning of the program."""
    test: Template
    """The code that runs after the program. The program passes if this code ends without an exception."""
    num_samples: PositiveInt = 1
    """Programs per item. The seed increases by 1 per program, from `generation.seed`."""
    generation: GenerationSettings = GenerationSettings(temperature=0, max_new_tokens=512)
    """How programs are generated."""
    cpu_seconds: PositiveInt = 5
    """Largest CPU time of a program in seconds. A program that needs more fails."""
    metrics: tuple[Annotated[str, StringConstraints(pattern=r"^pass_at_[1-9][0-9]*$")], ...] = ("pass_at_1",)
    """The metrics to measure: `pass_at_1`, `pass_at_10`, .... `pass_at_k` is the probability that at least one of k
    programs passes."""

    @property
    def k(self) -> tuple[int, ...]:
        """The k of each metric."""
        return tuple(int(metric.removeprefix("pass_at_")) for metric in self.metrics)

    @model_validator(mode="after")
    def _enough_samples(self) -> Code:
        if max(self.k, default=1) > self.num_samples:
            raise ValueError(f"`pass_at_{max(self.k)}` needs `num_samples` of at least {max(self.k)}")
        if self.num_samples > 1 and self.generation.temperature == 0:
            raise ValueError("with `temperature` 0 all samples are equal; set `generation.temperature` above 0")
        return self


Task = Annotated[
    BitsPerByte
    | MultipleChoice
    | Schema
    | LanguageModelling
    | MinimalPairs
    | Stereotypes
    | BiasQuestions
    | Generation
    | Code
    | Samples,
    Field(discriminator="kind"),
]
