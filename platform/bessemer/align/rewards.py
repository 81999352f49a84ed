"""What an answer is worth: rules, unit tests and functions of the user's own, each a number for every answer.

    rewards:
      - {kind: exact_match, extract: '#### (.+)'}
      - {kind: regular_expression, pattern: '^<think>', weight: 0.2}
      - {kind: unit_tests}
      - {kind: length, limit: 256, buffer: 64}
      - {kind: function, file: rewards.py, name: politeness}

    # rewards.py, as TRL calls them: lists by name, each column of the data set among them
    def politeness(completions, **columns):
        return [float("please" in completion) for completion in completions]

A reward is opened for as long as answers are scored: `with reward.open() as score: numbers = score(samples)`, with None
for an answer that cannot be scored. `scoring.py` adds several up. A reward model would be one more kind in `AnyReward`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import regex
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from bessemer.align.apart import ChildFunction
from bessemer.recipe.functions import function_file
from bessemer.recipe.settings import RecipeFile, Settings, execution
from bessemer.sandbox.run import Limits, Program, run_all

PATTERN_SECONDS = 1.0
"""Time for a pattern on one answer; some patterns take exponentially long on some texts."""


@dataclass(frozen=True)
class Sample:
    """An answer to be scored. `row` is what the data set says of its prompt."""

    prompt: str
    completion: str
    num_tokens: int
    """Tokens of the completion."""
    row: Mapping[str, Any]


Score = Callable[[Sequence[Sample]], list[float | None]]


def _compiles(pattern: str) -> str:
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"should be a regular expression ({error})") from None
    return pattern


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_compiles)]


class Reward(Settings):
    """Base of the kinds of reward."""

    weight: float = 1.0
    """What the reward is multiplied with before all are added up."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What the reward is recorded as."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a row must have."""
        return ()

    def lacks(self, row: Mapping[str, Any]) -> str | None:
        """The first column without which an answer to this row's prompt cannot be scored."""
        return next((column for column in self.columns if not self.reads(row.get(column))), None)

    def reads(self, value: Any) -> bool:
        """Whether a column's value is one that it can read."""
        return value is not None

    @abstractmethod
    def open(self) -> AbstractContextManager[Score]:
        """What scores answers, for as long as it is open."""


class Rule(Reward):
    """Base of the rewards that look at one answer at a time."""

    @property
    def label(self) -> str:
        return str(type(self).model_fields["kind"].default)

    def open(self) -> AbstractContextManager[Score]:
        return nullcontext(lambda samples: [self._score_in_time(sample) for sample in samples])

    def _score_in_time(self, sample: Sample) -> float | None:
        try:
            return self.score(sample)
        except TimeoutError:
            return None

    @abstractmethod
    def score(self, sample: Sample) -> float:
        """The reward of one answer. Raises TimeoutError where a pattern takes too long."""


class ExactMatch(Rule):
    """1 if the answer is the expected one, else 0."""

    kind: Literal["exact_match"] = "exact_match"
    column: str = "answer"
    """The column with the expected answer."""
    extract: Pattern | None = None
    """The last match of this regular expression is the answer (its first group, if it has one); without a match the
    reward is 0. The column is read in the same way where it matches."""
    ignore_case: bool = False
    """Whether `Yes` is `yes`."""
    regexes_to_ignore: tuple[Pattern, ...] = ()
    """What is taken out of both before they are compared, such as `[,$]`."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def score(self, sample: Sample) -> float:
        expected = str(sample.row[self.column])
        if self.extract is None:
            return float(self._plain(sample.completion) == self._plain(expected))
        found = _last_match(self.extract, sample.completion)
        if found is None:
            return 0.0
        return float(self._plain(found) == self._plain(_last_match(self.extract, expected) or expected))

    def _plain(self, text: str) -> str:
        for pattern in self.regexes_to_ignore:
            text = regex.sub(pattern, "", text, timeout=PATTERN_SECONDS)
        return text.strip().casefold() if self.ignore_case else text.strip()


class RegularExpression(Rule):
    """1 if a regular expression matches somewhere in the answer, else 0."""

    kind: Literal["regular_expression"] = "regular_expression"
    pattern: Pattern
    """The regular expression; begin it with `(?s)` to let `.` match line ends."""

    def score(self, sample: Sample) -> float:
        return float(regex.search(self.pattern, sample.completion, timeout=PATTERN_SECONDS) is not None)


class Length(Rule):
    """A penalty for length in tokens: for coming near a limit, or for the distance from a target."""

    kind: Literal["length"] = "length"
    limit: PositiveInt | None = None
    """An answer of this length or longer gets -1."""
    buffer: NonNegativeInt = 0
    """Before the limit the penalty grows from 0 to -1 over this many tokens (DAPO, arXiv 2503.14476, eq. 13)."""
    target: PositiveInt | None = None
    """The reward is -|length - target| / target, at least -1."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.limit is None) == (self.target is None):
            raise ValueError("should have a `limit` or a `target`")
        if self.limit is not None and self.buffer > self.limit:
            raise ValueError(f"should have a `buffer` of at most the limit, {self.limit}")
        if self.target is not None and self.buffer:
            raise ValueError("should have a `buffer` only with a `limit`")
        return self

    def score(self, sample: Sample) -> float:
        if self.target is not None:
            return max(-1.0, -abs(sample.num_tokens - self.target) / self.target)
        assert self.limit is not None
        if sample.num_tokens >= self.limit:
            return -1.0
        return min(0.0, (self.limit - self.buffer - sample.num_tokens) / max(self.buffer, 1))


class UnitTests(Reward):
    """1 if the answer's program, followed by tests, runs to its end in the sandbox, else 0."""

    kind: Literal["unit_tests"] = "unit_tests"
    column: str = "tests"
    """The column with the tests: Python text, or a list of lines such as `assert f(1) == 2`."""
    extract: Pattern = r"(?s)```(?:python|py)?[ \t]*\n(.*?)```"
    """The last match is the program (its first group, if it has one); without a match the whole answer is."""
    cpu_seconds: PositiveInt = 5
    """Processor time of one program."""
    memory_bytes: PositiveInt = 512 * 2**20
    """Memory of one program."""
    num_programs: PositiveInt | None = execution(None)
    """Programs side by side; as many as there are processors if unset."""

    @property
    def label(self) -> str:
        return self.kind

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def open(self) -> AbstractContextManager[Score]:
        limits = Limits(self.cpu_seconds, 3.0 * self.cpu_seconds, self.memory_bytes)

        def score(samples: Sequence[Sample]) -> list[float | None]:
            programs = [Program(self.program(sample)) for sample in samples]
            return [float(outcome.passed) for outcome in run_all(programs, limits, num_workers=self.num_programs)]

        return nullcontext(score)

    def reads(self, value: Any) -> bool:
        return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))

    def program(self, sample: Sample) -> str:
        """The program of an answer, with its tests."""
        try:
            code = _last_match(self.extract, sample.completion)
        except TimeoutError:
            code = None
        tests = sample.row[self.column]
        return "\n".join([sample.completion if code is None else code, *([tests] if isinstance(tests, str) else tests)])


class Function(Reward):
    """A function of your own, called as TRL calls reward functions: `(prompts, completions, **columns) -> numbers`.

    It may take fewer arguments, and answer None for what it cannot score. It runs in a process of its own.
    """

    kind: Literal["function"] = "function"
    file: RecipeFile = execution(...)
    """The Python file, relative to the recipe; its content is part of the fingerprint, its place is not."""
    name: str
    """The function's name in the file."""
    timeout_seconds: PositiveFloat = 60.0
    """Time to score one batch; then the process is killed and the batch has no score."""

    @property
    def label(self) -> str:
        return self.name

    @contextmanager
    def open(self) -> Iterator[Score]:
        with ChildFunction(self.file, self.name, timeout_seconds=self.timeout_seconds) as function:

            def score(samples: Sequence[Sample]) -> list[float | None]:
                columns = {name for sample in samples for name in sample.row}
                named: dict[str, list[Any]] = {name: [sample.row.get(name) for sample in samples] for name in columns}
                named["prompts"] = [sample.prompt for sample in samples]
                named["completions"] = [sample.completion for sample in samples]
                return function(len(samples), named)

            yield score


AnyReward = Annotated[ExactMatch | RegularExpression | Length | UnitTests | Function, Field(discriminator="kind")]


def _each_once(rewards: tuple[Reward, ...]) -> tuple[Reward, ...]:
    labels = [reward.label for reward in rewards]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"there are two rewards `{label}`; give each kind or function once")
    return rewards


Rewards = Annotated[tuple[AnyReward, ...], AfterValidator(_each_once)]
"""Rewards that are added up; each is recorded by its label, so there are no two of one."""


def code_of(rewards: Sequence[AnyReward]) -> list[str]:
    """The SHA-256 of the files of your own functions: what decides a result beside the settings. Raises InputError."""
    return [function_file(reward.file, reward.name) for reward in rewards if reward.kind == "function"]


def runs_programs(rewards: Sequence[AnyReward]) -> bool:
    """Whether a reward runs programs that the model writes."""
    return any(reward.kind == "unit_tests" for reward in rewards)


def _last_match(pattern: str, text: str) -> str | None:
    """The first group of a pattern's last match, or the whole match if there are no groups."""
    matches = list(regex.finditer(pattern, text, timeout=PATTERN_SECONDS))
    if not matches:
        return None
    return str((matches[-1].group(1) if matches[-1].re.groups else matches[-1].group()) or "")
