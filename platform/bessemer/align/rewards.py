"""Rewards: rules, unit tests and custom functions that give each answer a number.

    rewards:
      - {kind: exact_match, extract: '#### (.+)'}
      - {kind: regular_expression, pattern: '^<think>', weight: 0.2}
      - {kind: unit_tests}
      - {kind: length, limit: 256, buffer: 64}
      - {kind: function, file: rewards.py, name: politeness}

    # rewards.py, with the signature that TRL uses: keyword arguments are lists, and include all columns of the data set
    def politeness(completions, **columns):
        return [float("please" in completion) for completion in completions]

Usage: `with reward.open() as score: numbers = score(samples)`. The number of an answer that cannot be scored is None.
`scoring.py` adds up several rewards. To add a kind of reward, add its class to `AnyReward`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import regex
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from bessemer.align.function_process import ChildFunction
from bessemer.recipe.functions import function_file
from bessemer.recipe.settings import RecipeFile, Settings, execution
from bessemer.sandbox.run import Program, ProgramLimits, run_all

PATTERN_SECONDS = 1.0
"""Time limit of a pattern on one answer. Some patterns take exponential time on some texts."""


@dataclass(frozen=True)
class RewardSample:
    """An answer to score. `row` has the columns of the data set for its prompt."""

    prompt: str
    completion: str
    num_tokens: int
    """Number of tokens of the completion."""
    row: Mapping[str, Any]


Score = Callable[[Sequence[RewardSample]], list[float | None]]


def _compiles(pattern: str) -> str:
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"should be a regular expression ({error})") from None
    return pattern


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_compiles)]


class Reward(Settings):
    """Base of all kinds of reward."""

    weight: float = 1.0
    """Factor of this reward in the sum of all rewards."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The name of the reward in logs and metrics."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the data set that the reward reads."""
        return ()

    def lacks(self, row: Mapping[str, Any]) -> str | None:
        """The first column that the reward needs and that is missing or unreadable in `row`, or None."""
        return next((column for column in self.columns if not self.reads(row.get(column))), None)

    def reads(self, value: Any) -> bool:
        """Whether the reward can read this value of a column."""
        return value is not None

    @abstractmethod
    def open(self) -> AbstractContextManager[Score]:
        """A context manager that yields the function that scores answers."""


class RewardRule(Reward):
    """Base of the rewards that score one answer at a time."""

    @property
    def label(self) -> str:
        return str(type(self).model_fields["kind"].default)

    def open(self) -> AbstractContextManager[Score]:
        return nullcontext(lambda samples: [self._score_in_time(sample) for sample in samples])

    def _score_in_time(self, sample: RewardSample) -> float | None:
        try:
            return self.score(sample)
        except TimeoutError:
            return None

    @abstractmethod
    def score(self, sample: RewardSample) -> float:
        """The reward of one answer. Raises TimeoutError if a pattern takes too long."""


class ExactMatch(RewardRule):
    """1 if the answer equals the expected answer, else 0."""

    kind: Literal["exact_match"] = "exact_match"
    column: str = "answer"
    """The column with the expected answer."""
    extract: Pattern | None = None
    """A regular expression that finds the answer in the text: its last match, or the first group of that match. Without
    a match, the reward is 0. If the expected answer matches too, it is extracted in the same way."""
    ignore_case: bool = False
    """Whether the comparison ignores case."""
    regexes_to_ignore: tuple[Pattern, ...] = ()
    """Regular expressions, such as `[,$]`, whose matches are deleted from both texts before the comparison."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def score(self, sample: RewardSample) -> float:
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


class RegularExpression(RewardRule):
    """1 if a regular expression matches somewhere in the answer, else 0."""

    kind: Literal["regular_expression"] = "regular_expression"
    pattern: Pattern
    """The regular expression. Start it with `(?s)` to let `.` match newlines."""

    def score(self, sample: RewardSample) -> float:
        return float(regex.search(self.pattern, sample.completion, timeout=PATTERN_SECONDS) is not None)


class Length(RewardRule):
    """A penalty for length in tokens: for answers near or above a limit, or for the distance from a target."""

    kind: Literal["length"] = "length"
    limit: PositiveInt | None = None
    """An answer with this number of tokens or more gets -1."""
    buffer: NonNegativeInt = 0
    """Number of tokens before the limit over which the reward falls from 0 to -1 (DAPO, arXiv 2503.14476, eq. 13)."""
    target: PositiveInt | None = None
    """Target length in tokens. The reward is -|length - target| / target, at least -1."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.limit is None) == (self.target is None):
            raise ValueError("should have a `limit` or a `target`")
        if self.limit is not None and self.buffer > self.limit:
            raise ValueError(f"should have a `buffer` of at most the limit, {self.limit}")
        if self.target is not None and self.buffer:
            raise ValueError("should have a `buffer` only with a `limit`")
        return self

    def score(self, sample: RewardSample) -> float:
        if self.target is not None:
            return max(-1.0, -abs(sample.num_tokens - self.target) / self.target)
        assert self.limit is not None
        if sample.num_tokens >= self.limit:
            return -1.0
        return min(0.0, (self.limit - self.buffer - sample.num_tokens) / max(self.buffer, 1))


class UnitTests(Reward):
    """1 if the program in the answer and then the tests run to the end in the sandbox, else 0."""

    kind: Literal["unit_tests"] = "unit_tests"
    column: str = "tests"
    """The column with the tests: Python source, or a list of lines such as `assert f(1) == 2`."""
    extract: Pattern = r"(?s)```(?:python|py)?[ \t]*\n(.*?)```"
    """A regular expression that finds the program: its last match, or the first group of that match. Without a match,
    the program is the whole answer."""
    cpu_seconds: PositiveInt = 5
    """Limit of the CPU time of one program, in seconds. The limit of the elapsed time is three times as long."""
    memory_bytes: PositiveInt = 512 * 2**20
    """Limit of the memory of one program, in bytes."""
    num_programs: PositiveInt | None = execution(None)
    """Number of programs that run in parallel. Default: the number of processors."""

    @property
    def label(self) -> str:
        return self.kind

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def open(self) -> AbstractContextManager[Score]:
        limits = ProgramLimits(self.cpu_seconds, 3.0 * self.cpu_seconds, self.memory_bytes)

        def score(samples: Sequence[RewardSample]) -> list[float | None]:
            programs = [Program(self.program(sample)) for sample in samples]
            return [float(outcome.passed) for outcome in run_all(programs, limits, num_workers=self.num_programs)]

        return nullcontext(score)

    def reads(self, value: Any) -> bool:
        return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))

    def program(self, sample: RewardSample) -> str:
        """The program in the answer, followed by the tests."""
        try:
            code = _last_match(self.extract, sample.completion)
        except TimeoutError:
            code = None
        tests = sample.row[self.column]
        return "\n".join([sample.completion if code is None else code, *([tests] if isinstance(tests, str) else tests)])


class RewardFunction(Reward):
    """A custom function with TRL's signature for rewards: `(prompts, completions, **columns) -> numbers`.

    It may have fewer parameters, and may return None for an answer that it cannot score. It runs in a separate process.
    """

    kind: Literal["function"] = "function"
    file: RecipeFile = execution(...)
    """The Python file, relative to the recipe. Its content is part of the fingerprint, its path is not."""
    name: str
    """The name of the function in the file."""
    timeout_seconds: PositiveFloat = 60.0
    """Time limit for one batch, in seconds. After it, the process is killed and the answers have no score."""

    @property
    def label(self) -> str:
        return self.name

    @contextmanager
    def open(self) -> Iterator[Score]:
        with ChildFunction(self.file, self.name, timeout_seconds=self.timeout_seconds) as function:

            def score(samples: Sequence[RewardSample]) -> list[float | None]:
                columns = {name for sample in samples for name in sample.row}
                named: dict[str, list[Any]] = {name: [sample.row.get(name) for sample in samples] for name in columns}
                named["prompts"] = [sample.prompt for sample in samples]
                named["completions"] = [sample.completion for sample in samples]
                return function(len(samples), named)

            yield score


AnyReward = Annotated[ExactMatch | RegularExpression | Length | UnitTests | RewardFunction, Field(discriminator="kind")]


def _each_once(rewards: tuple[Reward, ...]) -> tuple[Reward, ...]:
    labels = [reward.label for reward in rewards]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"there are two rewards `{label}`; give each kind or function once")
    return rewards


Rewards = Annotated[tuple[AnyReward, ...], AfterValidator(_each_once)]
"""Rewards that are added up. Their labels must be distinct, because metrics are named after them."""


def code_of(rewards: Sequence[AnyReward]) -> list[str]:
    """SHA-256 of the files of custom functions, for the stage's fingerprint. Raises InputError if one is missing."""
    return [function_file(reward.file, reward.name) for reward in rewards if reward.kind == "function"]


def runs_programs(rewards: Sequence[AnyReward]) -> bool:
    """Whether a reward runs programs that the model writes."""
    return any(reward.kind == "unit_tests" for reward in rewards)


def _last_match(pattern: str, text: str) -> str | None:
    """The last match of a pattern, or its first group if it has groups. None without a match."""
    matches = list(regex.finditer(pattern, text, timeout=PATTERN_SECONDS))
    if not matches:
        return None
    return str((matches[-1].group(1) if matches[-1].re.groups else matches[-1].group()) or "")
