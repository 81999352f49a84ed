"""Kinds of task, as a recipe or a file of `tasks/` declares them: a dataset, a prompt, a metric. Free of torch.

A setting that makes text of an item is a Jinja template (`"Question: {{question}}"`); one that makes another value is a
Jinja expression (`[ans0, ans1, ans2]`, `label`). Both see the columns of the item's row by name, and `row`, the row
itself, for columns whose names are no names (`row['Best Answer']`). Names are those of lm-evaluation-harness where it
has the same thing.

`metrics` are a task's headlines, which MLflow gets; the artifact's table of scores has more.
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
    """What every task has."""

    metrics: tuple[str, ...]
    """The headlines."""

    @property
    def headlines(self) -> tuple[str, ...]:
        """The metrics that MLflow gets, the most important first."""
        return self.metrics


class BitsPerByte(TaskSettings):
    """How well the model predicts held-out text: bits per byte and perplexity, in all, by source and by host.

    The text is a split of the recipe's documents, or `documents` that no stage changes. The latter are the same for
    every model, tokenizer and trial of a sweep.
    """

    kind: Literal["bits_per_byte"]
    """The kind of task."""
    documents: tuple[str, ...] = execution(())
    """Files, folders and patterns of documents to predict: text, HTML, JSON lines, JSON, CSV, TSV, Parquet or WARC."""
    text_field: str = "text"
    """The field or column that holds the text of `documents`."""
    split: HeldOutSplit = "test"
    """The split of the token store that is read if there are no `documents`."""
    sources: tuple[str, ...] = ()
    """The sources whose documents are predicted; all if there are none."""
    num_tokens: PositiveInt | None = None
    """Number of tokens to predict at most, in evenly spread windows. Unset: all of `documents`, or 1 048 576 tokens of
    the split."""
    max_seq_length: PositiveInt | None = None
    """Number of tokens in a window; unset: the context of the model. For a model whose context is longer than its
    training sequences or the documents."""
    stride: PositiveInt | None = None
    """Number of tokens from one window to the next. If it is below the length of a window, each token has more text
    before it, at the cost of as many more passes. Unset: windows follow one another, as in validation."""
    metrics: tuple[Literal["bits_per_byte", "perplexity"], ...] = ("bits_per_byte", "perplexity")
    """The headlines."""

    @model_validator(mode="after")
    def _one_text(self) -> BitsPerByte:
        if self.documents and "split" in self.model_fields_set:
            raise ValueError("`documents` have no splits; leave out `split` or `documents`")
        if not self.documents and "text_field" in self.model_fields_set:
            raise ValueError("`text_field` is a field of `documents`, and there are none")
        return self


class Samples(TaskSettings):
    """What the model writes: for people to read, not scored."""

    kind: Literal["samples"]
    """The kind of task."""
    prompts: tuple[str, ...] = ()
    """Texts to continue; the beginnings of held-out documents if there are none."""
    split: HeldOutSplit = "test"
    """The split whose documents are begun."""
    num_samples: PositiveInt = 8
    """Documents to begin."""
    prompt_tokens: PositiveInt = 32
    """Tokens of a document that the model is given."""
    generation: GenerationSettings = GenerationSettings(max_new_tokens=64)
    """How they are continued."""
    metrics: tuple[()] = ()
    """Samples have no headlines."""


class Items(TaskSettings):
    """What the tasks on a dataset have in common."""

    dataset: Dataset = execution(...)
    """Where the items are: a path, or for each column the path of a file with one value a line."""
    limit: PositiveInt | None = None
    """Items at most, from the first."""
    group: Template | None = None
    """The category of an item; scores are also given by category."""


class Prompted(Items):
    """What the tasks have in common that put something after a prompt."""

    description: str = ""
    """Stands before everything; in a conversation it is the system's message."""
    num_fewshot: NonNegativeInt = 0
    """Solved items before the one that is asked."""
    fewshot_dataset: Dataset | None = execution(None)
    """Data set of the solved items; `dataset` if unset. The asked item itself is never among them."""
    fewshot_delimiter: str = "\n\n"
    """Stands after each solved item."""
    fewshot_seed: NonNegativeInt = 1234
    """Decides which solved items are drawn; items and seed alike, lm-evaluation-harness draws the same."""
    target_delimiter: str = " "
    """Stands between what is asked and its answer; in a conversation nothing does."""
    apply_chat_template: bool = False
    """Whether the prompt is a conversation in the form of the tokenizer's chat template, as an instructed model
    expects: solved items are the user's and the assistant's messages."""


class MultipleChoice(Prompted):
    """Which of several texts the model finds likeliest after a query, and how sure it is."""

    kind: Literal["multiple_choice"]
    """The kind of task."""
    dataset: Dataset | None = execution(None)  # type: ignore[assignment]
    """Where the items are; the `questions` artifact if unset."""
    query: Template = "{{query}}"
    """What is asked."""
    choices: Expression | tuple[Template, ...] = "choices"
    """The answers: one expression that gives a list, or a list of templates."""
    gold: Expression = "gold"
    """The right answer: its number, from 0, or its text; or a list of the right ones."""
    query_without_passage: Template | None = None
    """The query without the passage that it is about. Each item is then asked twice: `acc_without_passage`, and
    `acc_gain`, what the passage adds."""
    target_delimiter: str = ""
    """Stands between query and choice."""
    metrics: tuple[
        Literal[
            "acc", "acc_norm", "acc_mutual_info", "mc2", "brier_score", "calibration_error", "acc_without_passage",
            "acc_gain",
        ], ...,
    ] = ("acc", "acc_norm", "acc_mutual_info")  # fmt: skip
    """The headlines. `acc_mutual_info` is measured only where it is one of them: it takes a pass of its own."""


class Schema(Prompted):
    """Which of several contexts makes one continuation likeliest (Winograd schemas)."""

    kind: Literal["schema"]
    """The kind of task."""
    contexts: Expression = "context_options"
    """The contexts: a list of texts."""
    continuation: Template = "{{continuation}}"
    """What follows each of them."""
    gold: Expression = "gold"
    """The number of the right context, from 0."""
    metrics: tuple[Literal["acc", "brier_score", "calibration_error"], ...] = ("acc",)
    """The headlines."""


class LanguageModelling(Prompted):
    """Whether the model continues a context as the text does, word for word, and how likely it finds that."""

    kind: Literal["language_modelling"]
    """The kind of task."""
    context: Template = "{{context}}"
    """What is continued."""
    continuation: Template = "{{continuation}}"
    """How it goes on."""
    metrics: tuple[Literal["acc", "perplexity"], ...] = ("acc", "perplexity")
    """The headlines: the share of items whose every token is the likeliest one, and exp of the mean nats an item."""


class MinimalPairs(Items):
    """Which of two sentences that differ in little the model finds likelier."""

    kind: Literal["minimal_pairs"]
    """The kind of task."""
    sentence: Template = "{{sentence_good}}"
    """The sentence whose side is counted."""
    other: Template = "{{sentence_bad}}"
    """The sentence beside it."""
    metrics: tuple[Literal["acc", "pct_stereotype", "likelihood_diff"], ...] = ("acc",)
    """The headlines: the share of items whose `sentence` is likelier, called `acc` where it is the right one and
    `pct_stereotype` where it is the prejudiced one (best is 0.5), and the mean distance in nats."""


class Stereotypes(Items):
    """StereoSet: a stereotype, its opposite and a meaningless sentence; in percent, as its authors count."""

    kind: Literal["stereotypes"]
    """The kind of task."""
    stereotype: Template
    """The prejudiced sentence."""
    anti_stereotype: Template
    """Its opposite."""
    unrelated: Template
    """A sentence without meaning."""
    target: Template = "{{target}}"
    """Who the sentences are about; every target weighs the same."""
    metrics: tuple[Literal["lms", "ss", "icat"], ...] = ("lms", "ss", "icat")
    """The headlines: language modelling score (best 100), stereotype score (best 50), and both in one (best 100)."""


class BiasQuestions(Prompted):
    """BBQ: questions whose passage does, or does not, say the answer; which way does a model err?"""

    kind: Literal["bias_questions"]
    """The kind of task."""
    query: Template
    """Passage and question."""
    choices: Expression
    """The answers."""
    gold: Expression
    """The right answer: its number, from 0, or its text."""
    biased: Template
    """The number of the answer that the prejudice gives, as digits."""
    unknown: Expression
    """The number of the answer that it cannot be known."""
    ambiguous: Expression
    """Whether the passage leaves the answer open."""
    metrics: tuple[
        Literal["acc", "acc_ambiguous", "acc_disambiguated", "bias_ambiguous", "bias_disambiguated"], ...
    ] = ("acc_ambiguous", "acc_disambiguated", "bias_ambiguous", "bias_disambiguated")
    """The headlines; a bias score is 0 where errors go either way, 1 where all follow the prejudice, -1 against it."""


GenerationMetric = Literal["exact_match", "f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL"]


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_check_pattern)]


class Generation(Prompted):
    """What the model writes after a prompt, compared with references."""

    kind: Literal["generation"]
    """The kind of task."""
    dataset: Dataset | None = execution(None)  # type: ignore[assignment]
    """Where the items are; the split `test` of the `conversations` artifact if unset."""
    query: Template = "{{question}}"
    """What is asked."""
    references: Expression = "answer"
    """A right answer or a list of them; solved items show the first."""
    incorrect: Expression | None = None
    """Wrong answers. Then each metric is taken against both: `<metric>_max` over the right ones, `<metric>_diff`, how
    much that is more than over the wrong ones, and `<metric>_acc`, whether it is."""
    generation: GenerationSettings = GenerationSettings(temperature=0, stop=("\n",))
    """How the answer is written."""
    extract: Pattern | None = None
    """A regular expression: its first group in what was written (or all of what it finds) is the answer; the last
    place that it finds counts where `extract_last` is set."""
    extract_last: bool = False
    """Whether the last place that `extract` finds counts, not the first."""
    regexes_to_ignore: tuple[Pattern, ...] = ()
    """For `exact_match`: what is taken out of answer and references."""
    ignore_case: bool = False
    """For `exact_match`: whether letters are compared without their case."""
    ignore_punctuation: bool = False
    """For `exact_match`: whether ASCII punctuation is left out."""
    ignore_articles: bool = False
    """For `exact_match`: whether `a`, `an`, `the` and repeated blanks are left out."""
    bleu_tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    """How sacrebleu cuts words for BLEU."""
    metrics: tuple[GenerationMetric, ...] = Field(("exact_match",), min_length=1)
    """What is measured; each is a headline."""
    rewards: Rewards = ()
    """What an answer is worth, by the rewards of `pairs` and `reinforce`, a function of your own among them: their sum
    is measured as `reward`, each by its name beside it."""

    @property
    def headlines(self) -> tuple[str, ...]:
        reward = ("reward",) if self.rewards else ()
        if self.incorrect is None:
            return self.metrics + reward
        return tuple(f"{metric}_{against}" for against in ("acc", "diff") for metric in self.metrics) + reward


class Code(Items):
    """Python programs that are run against their tests: the chance that one of k passes."""

    kind: Literal["code"]
    """The kind of task."""
    prompt: Template = "{{prompt}}"
    """The beginning of the program."""
    test: Template
    """What is run after it; a program passes that gets to its end without an exception."""
    num_samples: PositiveInt = 1
    """Programs written for each item, each with its own random numbers, counted from `seed`."""
    generation: GenerationSettings = GenerationSettings(temperature=0, max_new_tokens=512)
    """How they are written."""
    cpu_seconds: PositiveInt = 5
    """How long a program may run; one that takes longer has failed."""
    metrics: tuple[Annotated[str, StringConstraints(pattern=r"^pass_at_[1-9][0-9]*$")], ...] = ("pass_at_1",)
    """What is measured, `pass_at_1`, `pass_at_10`, ...: the chance that at least one of so many programs passes."""

    @property
    def k(self) -> tuple[int, ...]:
        """The numbers of the metrics."""
        return tuple(int(metric.removeprefix("pass_at_")) for metric in self.metrics)

    @model_validator(mode="after")
    def _enough_samples(self) -> Code:
        if max(self.k, default=1) > self.num_samples:
            raise ValueError(f"`pass_at_{max(self.k)}` needs `num_samples` of at least {max(self.k)}")
        if self.num_samples > 1 and self.generation.temperature == 0:
            raise ValueError("with `temperature` 0 all samples are the same; set `generation.temperature`")
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
