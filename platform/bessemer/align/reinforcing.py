"""Learning from rewards: the model answers prompts itself, and answers with a higher reward become likelier.

    weights to the rollouts  ->  answers with their log-probabilities  ->  rewards  ->  advantages  ->  one batch

GRPO compares the answers to one prompt with each other. PPO compares an answer with the prediction of a critic, a
second model trained next to the first. An answer depends only on the weights, the seed, the step, the prompt's row
(epoch and index) and the answer's number in the group, so a continued run equals an uninterrupted one, and a prompt
that occurs twice in a step gets other answers each time. The row also decides which prompt replaces a group without
spread, so any number of workers asks the same prompts. With `num_iterations` updates per batch, a run is saved only
before an update that begins with new answers.

To show reward hacking, the log has more than the reward: the distance from the start, the length of answers and its
correlation with the reward, the fraction of unfinished answers, and the fraction of groups without spread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bessemer.align import policy
from bessemer.align.rewards import Sample
from bessemer.align.rollouts import Prompt, Rollout
from bessemer.align.scoring import Scores
from bessemer.align.settings import Grpo, Ppo
from bessemer.align.trees import Tree, by_answer_and_token, lay_out, token_logprobs, tree_mask
from bessemer.errors import InputError
from bessemer.generate.settings import GenerationSettings
from bessemer.model.transformer import IGNORED, Transformer
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.train.objectives.base import Batch, Loss, Measures, Stateless, generator_of
from bessemer.train.sampler import Rows
from bessemer.train.sharding import whole
from bessemer.train.workers import Workers

ROW_TOKENS = 512
"""Answers to one prompt share a row up to this length; attention over longer ones costs more than the prompt."""
PASS_TOKENS = 8192
"""Of the passes without gradients."""
HELD_OUT_PROMPTS = 256
"""Prompts that a measurement asks at most."""
SMALLEST_WEIGHT = 1e-12
"""Avoids a division by zero in a step without counted answers; too small to change any other step."""


@dataclass(frozen=True)
class Question:
    """A prompt that is learned from. `row` is what the rewards may know of it."""

    name: str
    text: str
    tokens: tuple[int, ...]
    row: Mapping[str, Any]


class Rollouts(Protocol):
    """Where answers are written: in this process, or by actors."""

    def update(self, weights: Mapping[str, Tensor]) -> None: ...

    def sample(
        self, prompts: Sequence[Prompt], *, num_generations: int, settings: GenerationSettings, seed: int
    ) -> list[Rollout]: ...


Score = Callable[[Sequence[Sample], Sequence[Rollout]], Scores]


@dataclass(frozen=True)
class _Group:
    """The answers to one prompt, and what each is worth."""

    rollouts: list[Rollout]
    rewards: Tensor
    by_reward: Mapping[str, Sequence[float]]
    """Before weights, by the label of each reward."""
    failures: Sequence[str]
    """Of the rewards, when this group was scored among others."""
    averaged: bool = True
    """Whether the loss is a mean over these answers too."""


class Reinforcing(Stateless):
    """GRPO or PPO over `questions`, measured on `held_out` by the reward of the likeliest answer."""

    causal = True
    prefetch = False
    measure_names = ("reward",)

    def __init__(
        self,
        method: Grpo | Ppo,
        questions: Sequence[Question],
        held_out: Sequence[Question],
        *,
        model: Transformer,
        reference: Transformer | None,
        critic: Transformer | None,
        rollouts: Rollouts,
        score: Score,
        tokenizer: TokenizerFolder,
        workers: Workers,
        seed: int,
        log: logging.Logger,
    ) -> None:
        assert (critic is None) == isinstance(method, Grpo)
        self.method, self._questions, self._held_out = method, questions, held_out[:HELD_OUT_PROMPTS]
        self._model, self._reference, self._critic = model, reference, critic
        self._rollouts, self._score, self._tokenizer = rollouts, score, tokenizer
        self._workers, self._seed, self._log = workers, seed, log
        self.num_rows, self.num_validation_rows = len(questions), len(self._held_out)
        self.num_iterations = method.num_iterations
        self.modules = nn.ModuleDict({} if critic is None else {"critic": critic})
        self._batch: dict[str, Tensor] = {}
        self._first = 0
        self._in_step = False
        self._told: Measures = {}
        self._lock = threading.Lock()

    # ------------------------------------------------------------------------------------------ answers to batches

    def batch(self, step: int, rows: Rows) -> Batch:
        first = (step - 1) // self.method.num_iterations * self.method.num_iterations + 1
        if first != self._first:
            self._hand_over()
            self._batch, self._first = self._experience(first, rows), first
        self._in_step = False  # an update follows
        return self._batch

    def batch_measures(self) -> Measures:
        return self._told

    def documents(self, rows: Rows) -> list[str]:
        return [self._questions[number].name for number in rows.index]

    def _hand_over(self) -> None:
        """Gives the rollouts the model as it is now."""
        if not self._in_step:
            self._rollouts.update({name: whole(p.detach()) for name, p in self._model.named_parameters()})
            self._in_step = True

    def _experience(self, step: int, rows: Rows) -> dict[str, Tensor]:
        kept = self._ask(step, 0, rows, {place: int(number) for place, number in enumerate(rows.index)})
        asked = list(kept)
        if isinstance(self.method, Grpo):
            for refill in range(1, self.method.num_refills + 1):
                if dull := [place for place, group in enumerate(kept) if not _has_spread(group)]:
                    others = {place: self._another(step, rows, place, refill) for place in dull}
                    more = self._ask(step, refill, rows, others)
                    asked += more
                    for place, group in zip(dull, more, strict=True):
                        kept[place] = group
            kept = [group for group in kept if _has_spread(group)]
        self._check_rewarded(asked)
        self._told = _told(asked, self._total)
        return self._laid_out(kept or [_placeholder(asked[0])])

    def _another(self, step: int, rows: Rows, place: int, refill: int) -> int:
        """Number of the question that replaces the question of a row. It does not depend on the worker."""
        random = generator_of("refill", self._seed, step, rows.epoch[place], rows.index[place], refill)
        return int(random.integers(0, self.num_rows))

    def _total(self, values: Tensor) -> Tensor:
        return self._workers.sum(values).cpu()

    def _check_rewarded(self, asked: Sequence[_Group]) -> None:
        """Raises InputError, on every worker, where no answer of any has a reward."""
        if not self._total((~torch.stack([group.rewards for group in asked]).isnan()).sum()):
            why = next((failure for group in asked for failure in group.failures), "none is a number")
            raise InputError(
                f"no answer of a batch has a reward: {why}",
                hint="mend the reward function; then run the same command again",
            )

    def _ask(self, step: int, refill: int, rows: Rows, numbers: Mapping[int, int]) -> list[_Group]:
        """The groups of the questions in `numbers`, which has one question number per entry of `rows`."""
        method, count = self.method, self.method.num_generations
        settings = GenerationSettings(
            max_new_tokens=method.max_completion_length,
            temperature=method.temperature,
            top_k=method.top_k,
            top_p=method.top_p,
        )
        prompts = [
            Prompt(number, self._questions[number].tokens, (int(rows.epoch[place]), int(rows.index[place])))
            for place, number in numbers.items()
        ]
        seed = int(generator_of("rollouts", self._seed, step, refill).integers(2**62))
        found = self._rollouts.sample(prompts, num_generations=count, settings=settings, seed=seed)
        scores = self._scores(found, self._questions)
        groups = [slice(start, start + count) for start in range(0, len(found), count)]
        return [
            _Group(
                found[group],
                torch.tensor(scores.rewards[group]),
                {label: values[group] for label, values in scores.by_reward.items()},
                scores.failures,
            )
            for group in groups
        ]

    def _scores(self, rollouts: Sequence[Rollout], questions: Sequence[Question]) -> Scores:
        samples = []
        for rollout in rollouts:
            question = questions[rollout.prompt.number]
            said = rollout.tokens[:-1] if rollout.finish_reason == "stop" else rollout.tokens
            text = self._tokenizer.decode(said, skip_special=True)
            samples.append(Sample(question.text, text, len(rollout.tokens), question.row))
        scores = self._score(samples, rollouts)
        for failure in scores.failures:
            self._log.warning("%s", failure)
        return scores

    def _laid_out(self, groups: Sequence[_Group]) -> dict[str, Tensor]:
        """The batch of all answers; what belongs to a token is [rows, n], as `sources` and `targets` are."""
        count = self.method.num_generations
        advantages = torch.zeros(len(groups) * count)
        if isinstance(self.method, Grpo):
            rewards = torch.cat([group.rewards for group in groups])
            advantages = policy.group_advantages(rewards, count, scale_rewards=self.method.scale_rewards)
        trees: list[Tree] = []
        answers: list[list[tuple[Rollout, float, float]]] = []
        averaged: list[bool] = []
        for number, group in enumerate(groups):
            gained = advantages[number * count : (number + 1) * count].tolist()
            for chunk in _chunks(list(zip(group.rollouts, gained, group.rewards.tolist(), strict=True))):
                prompt = np.array(chunk[0][0].prompt.tokens, np.int64)
                trees.append(Tree(prompt, [np.array(rollout.tokens, np.int64) for rollout, _, _ in chunk]))
                answers.append(chunk)
                averaged.append(group.averaged)
        batch, rows = lay_out(trees, ROW_TOKENS)
        shape = batch["targets"].shape
        names = ("old_logprobs", "advantages", "rewards", "counted", "averaged")
        columns = {name: np.zeros(shape, np.float32) for name in names}
        for row, numbers in enumerate(rows):
            place = 0
            for number, (rollout, worth, reward) in ((n, answer) for n in numbers for answer in answers[n]):
                here = slice(place, place + len(rollout.tokens))
                columns["old_logprobs"][row, here] = rollout.sampling_logprobs
                columns["advantages"][row, here], columns["rewards"][row, here] = worth, reward
                left_out = self.method.mask_truncated_completions and rollout.finish_reason == "length"
                columns["counted"][row, here] = not (left_out or np.isnan(reward))
                columns["averaged"][row, here] = averaged[number]
                place += len(rollout.tokens)
        batch |= {name: torch.from_numpy(column) for name, column in columns.items()}
        if self._reference is not None:
            batch["reference_logprobs"] = self._asked(self._reference_logprobs, batch)
        if isinstance(self.method, Ppo):
            batch |= self._expected(self.method, batch)
        return batch

    def _expected(self, method: Ppo, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """PPO's advantages and returns of every token, with the critic as it is now."""
        batch["old_values"] = self._asked(self._values, batch)
        keep = batch["targets"] != IGNORED
        old, reference, values, rewards, counted = (
            by_answer_and_token(batch, batch[name][keep])
            for name in ("old_logprobs", "reference_logprobs", "old_values", "rewards", "counted")
        )
        written = by_answer_and_token(batch, torch.ones(int(keep.sum())))  # also of answers that do not count
        scores = rewards[:, 0].nan_to_num(nan=0.0)
        given = policy.token_rewards(scores, old, reference, written, kl_coef=method.kl_coef)
        advantages, returns = policy.generalised_advantages(given, values, written, gamma=method.gamma, lam=method.lam)
        advantages = policy.whitened(advantages, counted, self._total)
        rows, places = torch.nonzero(keep, as_tuple=True)
        owners = rows * batch["ends"][0].numel() + batch["owners"][rows, places]
        at = (owners, batch["offsets"][rows, places])
        found = {"advantages": torch.zeros(keep.shape), "returns": torch.zeros(keep.shape)}
        found["advantages"][keep], found["returns"][keep] = advantages[at], returns[at]
        return found

    @torch.no_grad()
    def _asked(self, ask: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """What `ask` says of every token of an answer, [rows, n], some rows at a time."""
        keep = batch["targets"] != IGNORED
        size = max(1, PASS_TOKENS // batch["tokens"].shape[1])
        found = [
            ask({name: value[start : start + size].to(self._workers.device) for name, value in batch.items()}).cpu()
            for start in range(0, len(keep), size)
        ]
        values = torch.zeros(keep.shape)
        values[keep] = torch.cat(found)
        return values

    def _reference_logprobs(self, batch: Batch) -> Tensor:
        assert self._reference is not None
        return token_logprobs(self._reference, batch, temperature=self.method.temperature)

    def _values(self, batch: Batch) -> Tensor:
        """What the critic expects before each token of an answer."""
        assert self._critic is not None
        rows, places = torch.nonzero(batch["targets"] != IGNORED, as_tuple=True)
        at = (rows, batch["sources"][rows, places])
        values: Tensor = self._critic(batch["tokens"], at=at, positions=batch["positions"], mask=tree_mask(batch))
        return values

    # ------------------------------------------------------------------------------------------ the loss

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        method, keep = self.method, batch["targets"] != IGNORED
        there = batch["ends"].flatten() >= 0
        logprobs = token_logprobs(model, batch, temperature=method.temperature)

        def column(name: str) -> Tensor:
            return by_answer_and_token(batch, batch[name][keep])[there]

        mask = column("counted").bool()
        found = policy.policy_loss(
            by_answer_and_token(batch, logprobs)[there],
            column("old_logprobs"),
            column("advantages"),
            mask,
            epsilon=method.epsilon,
            epsilon_high=method.epsilon_high,
            delta=method.delta,
            loss_type=method.loss_type if isinstance(method, Grpo) else "dapo",
            max_completion_length=method.max_completion_length,
            beta=method.beta if isinstance(method, Grpo) else 0.0,
            reference_logprobs=column("reference_logprobs") if "reference_logprobs" in batch else None,
            averaged=column("averaged")[:, 0],
        )
        counted, now = batch["counted"][keep], logprobs.detach()
        tokens, gap = counted.sum(), (now - batch["old_logprobs"][keep]).abs()
        measures: Measures = found.measures | {
            "logprob_gap": ((gap * counted).sum(), tokens),
            "entropy_estimate": (-(now * counted).sum(), tokens),
        }
        if "reference_logprobs" in batch:
            distance = policy.kl(now, batch["reference_logprobs"][keep], "k3")
            measures["kl"] = ((distance * counted).sum(), tokens)
        weight = found.weight.clamp_min(SMALLEST_WEIGHT)
        if isinstance(method, Grpo):
            return Loss(found.sum, weight, measures)
        values = by_answer_and_token(batch, self._values(batch))[there]
        critic = policy.value_loss(
            values, column("old_values"), column("returns"), mask, cliprange_value=method.cliprange_value
        )
        measures |= critic.measures | {"value_loss": (critic.sum.detach(), critic.weight)}
        return Loss(found.sum + method.vf_coef * critic.sum, weight, measures)

    # ------------------------------------------------------------------------------------------ held out

    def validation_batch(self, first: int, last: int) -> Batch:
        return {"tokens": torch.zeros(last - first, 1, dtype=torch.long), "numbers": torch.arange(first, last)}

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        likeliest = GenerationSettings(max_new_tokens=self.method.max_completion_length, temperature=1.0, top_k=1)
        prompts = [Prompt(number, self._held_out[number].tokens, (number,)) for number in batch["numbers"].tolist()]
        with self._lock:  # lanes measure side by side
            self._hand_over()
            found = self._rollouts.sample(prompts, num_generations=1, settings=likeliest, seed=self._seed)
            rewards = torch.tensor(self._scores(found, self._held_out).rewards)
        return {"reward": (rewards.nansum(), (~rewards.isnan()).sum())}


def _has_spread(group: _Group) -> bool:
    return bool(policy.has_spread(group.rewards, len(group.rewards))[0])


def _placeholder(group: _Group) -> _Group:
    """A group without rewards and of weight 0. A worker without a useful group computes on it and learns nothing."""
    return replace(group, rewards=torch.full_like(group.rewards, torch.nan), averaged=False)


def _chunks(answers: Sequence[tuple[Rollout, float, float]]) -> list[list[tuple[Rollout, float, float]]]:
    """The answers to a prompt in pieces that fit a row with it."""
    found: list[list[tuple[Rollout, float, float]]] = [[]]
    begin = size = len(answers[0][0].prompt.tokens)
    for answer in answers:
        length = len(answer[0].tokens)
        if found[-1] and size + length > ROW_TOKENS:
            found.append([])
            size = begin
        found[-1].append(answer)
        size += length
    return found


def _told(groups: Sequence[_Group], total: Callable[[Tensor], Tensor]) -> Measures:
    """What is recorded of all answers, those left out of the batch included; `total` adds up over the workers."""
    rewards = torch.stack([group.rewards for group in groups])
    lengths = torch.tensor([[float(len(r.tokens)) for r in group.rollouts] for group in groups])
    truncated = torch.tensor([[float(r.finish_reason == "length") for r in group.rollouts] for group in groups])
    known = ~rewards.isnan()
    one, answers, asked = torch.tensor(1.0), torch.tensor(float(lengths.numel())), torch.tensor(float(len(groups)))
    spread = torch.tensor(float(sum(map(_has_spread, groups))))
    by_label = {
        f"reward_{label}": torch.tensor([group.by_reward[label] for group in groups]) for label in groups[0].by_reward
    }
    each = by_label if len(by_label) > 1 else {}
    return {name: (values.nansum(), (~values.isnan()).sum()) for name, values in each.items()} | {
        "reward": (rewards.nansum(), known.sum()),
        "completion_length": (lengths.sum(), answers),
        "truncated_ratio": (truncated.sum(), answers),
        "zero_spread_ratio": (asked - spread, asked),
        "length_reward_correlation": (_correlation(lengths[known], rewards[known], total), one),
        "reward_failures": ((~known).sum(), answers),
    }


def _correlation(x: Tensor, y: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
    """Pearson's, of the values of all workers; 0 where one of both does not vary."""
    both = torch.stack((x, y, torch.ones_like(x))).double()
    *sums, count = total(both.sum(1))
    away = both[:2] - torch.stack(sums)[:, None] / count
    (xx, xy), (_, yy) = total(away @ away.T)
    size = (xx * yy).sqrt()
    return xy / size if size > 0 else torch.zeros(())
