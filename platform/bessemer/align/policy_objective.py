"""The objective of GRPO and PPO: the model answers prompts, and training makes answers with higher rewards likelier.

    weights to the rollouts  ->  answers with their log-probabilities  ->  rewards  ->  advantages  ->  one batch

GRPO compares the answers to one prompt with each other. PPO compares an answer with the prediction of a critic, a
second model that is trained together with the first.

Apart from rounding, an answer depends only on the weights, the seed, the step, the row of the prompt (epoch and index)
and the number of the answer in its group. So a resumed run equals an uninterrupted one, and a prompt that occurs twice
in a step gets different answers. The row also decides which prompt replaces a group without spread, so the prompts do
not depend on the number of workers. With `num_iterations` updates per batch, the trainer saves checkpoints only before
an update with new answers.

The log helps to detect reward hacking. In addition to the reward, it has the KL divergence from the reference, the
length of answers and its correlation with the reward, the fraction of truncated answers, and the fraction of groups
without spread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bessemer.align import policy_losses
from bessemer.align.answer_groups import AnswerGroup, group_measures, has_spread, placeholder
from bessemer.align.prompt_trees import PromptTree, by_answer_and_token, lay_out, token_logprobs, tree_mask
from bessemer.align.reward_scoring import Scores
from bessemer.align.rewards import RewardSample
from bessemer.align.rollouts import Prompt, Rollout
from bessemer.align.settings import Grpo, Ppo
from bessemer.errors import InputError
from bessemer.generate.settings import GenerationSettings
from bessemer.model.transformer import IGNORED, Transformer
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.train.objectives.base import Batch, Loss, Measures, Stateless, generator_of
from bessemer.train.sampler import Rows
from bessemer.train.sharding import whole
from bessemer.train.workers import Workers

ROW_TOKENS = 512
"""Maximum tokens of a row of answers that share their prompt. Longer rows cost more in attention than they save."""
PASS_TOKENS = 8192
"""Maximum tokens per batch of a pass without gradients."""
HELD_OUT_PROMPTS = 256
"""Maximum number of held-out prompts per measurement."""
SMALLEST_WEIGHT = 1e-12
"""Prevents a division by zero in a step without counted answers. It is too small to change any other step."""


@dataclass(frozen=True)
class PolicyPrompt:
    """A prompt for training or for validation. `row` has the columns that rewards read."""

    name: str
    text: str
    tokens: tuple[int, ...]
    row: Mapping[str, Any]


class Rollouts(Protocol):
    """Samples answers, in this process or in actors."""

    def update(self, weights: Mapping[str, Tensor]) -> None: ...

    def sample(
        self, prompts: Sequence[Prompt], *, num_generations: int, settings: GenerationSettings, seed: int
    ) -> list[Rollout]: ...


Score = Callable[[Sequence[RewardSample], Sequence[Rollout]], Scores]


class Reinforcing(Stateless):
    """GRPO or PPO over `questions`. The validation metric is the mean reward of greedy answers to `held_out`."""

    causal = True
    prefetch = False
    measure_names = ("reward",)

    def __init__(
        self,
        method: Grpo | Ppo,
        questions: Sequence[PolicyPrompt],
        held_out: Sequence[PolicyPrompt],
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
        self._batch_measures: Measures = {}
        self._lock = threading.Lock()

    # ------------------------------------------------------------------------------------------ answers to batches

    def batch(self, step: int, rows: Rows) -> Batch:
        first = (step - 1) // self.method.num_iterations * self.method.num_iterations + 1
        if first != self._first:
            self._hand_over()
            self._batch, self._first = self._experience(first, rows), first
        self._in_step = False  # the next update changes the weights
        return self._batch

    def batch_measures(self) -> Measures:
        return self._batch_measures

    def documents(self, rows: Rows) -> list[str]:
        return [self._questions[number].name for number in rows.index]

    def _hand_over(self) -> None:
        """Copies the present weights of the model to the rollouts, unless they have them already."""
        if not self._in_step:
            self._rollouts.update({name: whole(p.detach()) for name, p in self._model.named_parameters()})
            self._in_step = True

    def _experience(self, step: int, rows: Rows) -> dict[str, Tensor]:
        kept = self._ask(step, 0, rows, {place: int(number) for place, number in enumerate(rows.index)})
        asked = list(kept)
        if isinstance(self.method, Grpo):
            for refill in range(1, self.method.num_refills + 1):
                if flat := [place for place, group in enumerate(kept) if not has_spread(group)]:
                    others = {place: self._another(step, rows, place, refill) for place in flat}
                    more = self._ask(step, refill, rows, others)
                    asked += more
                    for place, group in zip(flat, more, strict=True):
                        kept[place] = group
            kept = [group for group in kept if has_spread(group)]
        self._check_rewarded(asked)
        self._batch_measures = group_measures(asked, self._total)
        return self._laid_out(kept or [placeholder(asked[0])])

    def _another(self, step: int, rows: Rows, place: int, refill: int) -> int:
        """The index of the question that replaces the question of a row. It does not depend on the worker."""
        random = generator_of("refill", self._seed, step, rows.epoch[place], rows.index[place], refill)
        return int(random.integers(0, self.num_rows))

    def _total(self, values: Tensor) -> Tensor:
        return self._workers.sum(values).cpu()

    def _check_rewarded(self, asked: Sequence[AnswerGroup]) -> None:
        """Raises InputError on every worker if no answer on any worker has a reward."""
        if not self._total((~torch.stack([group.rewards for group in asked]).isnan()).sum()):
            why = next((failure for group in asked for failure in group.failures), "every reward is None or not finite")
            raise InputError(
                f"no answer of a batch has a reward: {why}",
                hint="fix the reward function, then run the same command again",
            )

    def _ask(self, step: int, refill: int, rows: Rows, numbers: Mapping[int, int]) -> list[AnswerGroup]:
        """Samples and scores the answers to questions. `numbers` maps positions in `rows` to question indices."""
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
            AnswerGroup(
                found[group],
                torch.tensor(scores.rewards[group]),
                {label: values[group] for label, values in scores.by_reward.items()},
                scores.failures,
            )
            for group in groups
        ]

    def _scores(self, rollouts: Sequence[Rollout], questions: Sequence[PolicyPrompt]) -> Scores:
        samples = []
        for rollout in rollouts:
            question = questions[rollout.prompt.number]
            content = rollout.tokens[:-1] if rollout.finish_reason == "stop" else rollout.tokens
            text = self._tokenizer.decode(content, skip_special=True)
            samples.append(RewardSample(question.text, text, len(rollout.tokens), question.row))
        scores = self._score(samples, rollouts)
        for failure in scores.failures:
            self._log.warning("%s", failure)
        return scores

    def _laid_out(self, groups: Sequence[AnswerGroup]) -> dict[str, Tensor]:
        """Builds the batch of all answers. Values per token are [rows, n], as `sources` and `targets` of `lay_out`."""
        count = self.method.num_generations
        advantages = torch.zeros(len(groups) * count)
        if isinstance(self.method, Grpo):
            rewards = torch.cat([group.rewards for group in groups])
            advantages = policy_losses.group_advantages(rewards, count, scale_rewards=self.method.scale_rewards)
        trees: list[PromptTree] = []
        answers: list[list[tuple[Rollout, float, float]]] = []
        averaged: list[bool] = []
        for number, group in enumerate(groups):
            gained = advantages[number * count : (number + 1) * count].tolist()
            for chunk in _chunks(list(zip(group.rollouts, gained, group.rewards.tolist(), strict=True))):
                prompt = np.array(chunk[0][0].prompt.tokens, np.int64)
                trees.append(PromptTree(prompt, [np.array(rollout.tokens, np.int64) for rollout, _, _ in chunk]))
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
        """PPO's advantages and returns of all tokens [rows, n], from the present critic."""
        batch["old_values"] = self._asked(self._values, batch)
        keep = batch["targets"] != IGNORED
        old, reference, values, rewards, counted = (
            by_answer_and_token(batch, batch[name][keep])
            for name in ("old_logprobs", "reference_logprobs", "old_values", "rewards", "counted")
        )
        written = by_answer_and_token(batch, torch.ones(int(keep.sum())))  # 1 also for answers that do not count
        scores = rewards[:, 0].nan_to_num(nan=0.0)
        given = policy_losses.token_rewards(scores, old, reference, written, kl_coef=method.kl_coef)
        advantages, returns = policy_losses.generalised_advantages(
            given, values, written, gamma=method.gamma, lam=method.lam
        )
        advantages = policy_losses.whitened(advantages, counted, self._total)
        rows, places = torch.nonzero(keep, as_tuple=True)
        owners = rows * batch["ends"][0].numel() + batch["owners"][rows, places]
        at = (owners, batch["offsets"][rows, places])
        found = {"advantages": torch.zeros(keep.shape), "returns": torch.zeros(keep.shape)}
        found["advantages"][keep], found["returns"][keep] = advantages[at], returns[at]
        return found

    @torch.no_grad()
    def _asked(self, ask: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """Values of `ask` for every token of the answers, [rows, n], computed in batches of `PASS_TOKENS` tokens."""
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
        """The critic's predictions before each token of the answers, in the order of `targets`."""
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
        found = policy_losses.policy_loss(
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
            distance = policy_losses.kl(now, batch["reference_logprobs"][keep], "k3")
            measures["kl"] = ((distance * counted).sum(), tokens)
        weight = found.weight.clamp_min(SMALLEST_WEIGHT)
        if isinstance(method, Grpo):
            return Loss(found.sum, weight, measures)
        values = by_answer_and_token(batch, self._values(batch))[there]
        critic = policy_losses.value_loss(
            values, column("old_values"), column("returns"), mask, cliprange_value=method.cliprange_value
        )
        measures |= critic.measures | {"value_loss": (critic.sum.detach(), critic.weight)}
        return Loss(found.sum + method.vf_coef * critic.sum, weight, measures)

    # ------------------------------------------------------------------------------------------ held out

    def validation_batch(self, first: int, last: int) -> Batch:
        return {"tokens": torch.zeros(last - first, 1, dtype=torch.long), "numbers": torch.arange(first, last)}

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        greedy = GenerationSettings(max_new_tokens=self.method.max_completion_length, temperature=1.0, top_k=1)
        prompts = [Prompt(number, self._held_out[number].tokens, (number,)) for number in batch["numbers"].tolist()]
        with self._lock:  # several threads may measure at the same time
            self._hand_over()
            found = self._rollouts.sample(prompts, num_generations=1, settings=greedy, seed=self._seed)
            rewards = torch.tensor(self._scores(found, self._held_out).rewards)
        return {"reward": (rewards.nansum(), (~rewards.isnan()).sum())}


def _chunks(answers: Sequence[tuple[Rollout, float, float]]) -> list[list[tuple[Rollout, float, float]]]:
    """Splits the answers to a prompt into parts that fit into one row together with the prompt."""
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
