"""Tests the batches and losses of GRPO and PPO against formulas written out by hand."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.small_chat import tokenizer_of
from torch import Tensor

from bessemer.align.policy_objective import PolicyPrompt, Reinforcing
from bessemer.align.reward_scoring import Scores
from bessemer.align.rewards import RewardSample
from bessemer.align.rollouts import Prompt, Rollout
from bessemer.align.settings import Grpo, Ppo
from bessemer.generate.settings import GenerationSettings
from bessemer.model.config import ModelShape
from bessemer.model.transformer import Transformer
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.train.objectives.base import Loss
from bessemer.train.sampler import Rows
from bessemer.train.workers import Workers

ALONE = Workers(0, 1, torch.device("cpu"))
QUESTIONS = [PolicyPrompt(f"question {n}", "?", (3 + n, 9, 11), {}) for n in range(4)]
LENGTHS = (5, 2, 7, 3)
"""Numbers of tokens of the four answers to each prompt."""
TRUNCATED = 2
"""The index in its group of the answer that is truncated."""


def model_of(seed: int, **changes: Any) -> Transformer:
    shape = ModelShape(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=16)
    config = shape.resolve(vocab_size=300, max_seq_length=64).model_copy(update=changes)
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2, generator=generator)
    return model


class Scripted:
    """Returns rollouts that depend only on the prompt and the index in the group. `asked` records the prompts."""

    def __init__(self) -> None:
        self.asked: list[tuple[Prompt, int]] = []

    def update(self, weights: Mapping[str, Tensor]) -> None:
        pass

    def sample(
        self, prompts: Sequence[Prompt], *, num_generations: int, settings: GenerationSettings, seed: int
    ) -> list[Rollout]:
        self.asked += [(prompt, seed) for prompt in prompts]
        return [self._answer(prompt, number) for prompt in prompts for number in range(num_generations)]

    @staticmethod
    def _answer(prompt: Prompt, number: int) -> Rollout:
        random = np.random.default_rng([prompt.number, number])
        tokens = tuple(random.integers(20, 300, LENGTHS[number]).tolist())
        logprobs, tempered = (tuple((-random.random(LENGTHS[number]) * 14).tolist()) for _ in range(2))
        return Rollout(prompt, number, tokens, logprobs, tempered, "length" if number == TRUNCATED else "stop")


def score(useful: Sequence[int]) -> Any:
    """Rewards that differ among the answers to each of the `useful` questions and are 0 for all other answers."""

    def scores(samples: Sequence[RewardSample], rollouts: Sequence[Rollout]) -> Scores:
        found = [float(r.generation + 1) if r.prompt.number in useful else 0.0 for r in rollouts]
        return Scores(found, {"scripted": found})

    return scores


@pytest.fixture(scope="module")
def tokenizer() -> TokenizerFolder:
    return tokenizer_of(["It is red.", "user assistant"], 300)


def objective(
    method: Grpo | Ppo, tokenizer: TokenizerFolder, useful: Sequence[int] = (0, 1, 2, 3), workers: Workers = ALONE
) -> Reinforcing:
    critic = model_of(3, is_reward=True) if isinstance(method, Ppo) else None
    return Reinforcing(
        method, QUESTIONS, [], model=model_of(1), reference=model_of(2), critic=critic, rollouts=Scripted(),
        score=score(useful), tokenizer=tokenizer, workers=workers, seed=5, log=logging.getLogger("test"),
    )  # fmt: skip


def rows(*numbers: int, epoch: int = 0) -> Rows:
    return Rows(np.full(len(numbers), epoch), np.array(numbers))


def loss_of(objective: Reinforcing, *numbers: int) -> Loss:
    return objective.loss(objective._model, objective.batch(1, rows(*numbers)))


@torch.no_grad()
def logprobs_of(model: Transformer, rollout: Rollout, temperature: float = 1.0) -> Tensor:
    """Log-probabilities of an answer's tokens [T], from a plain forward pass over this answer only."""
    text = [*rollout.prompt.tokens, *rollout.tokens]
    logits = model(torch.tensor([text]))[0, len(rollout.prompt.tokens) - 1 : -1].float() / temperature
    return logits.log_softmax(-1).gather(1, torch.tensor(rollout.tokens)[:, None])[:, 0]


def answers(*numbers: int) -> list[Rollout]:
    return [
        Scripted._answer(Prompt(number, QUESTIONS[number].tokens, (0, number)), generation)
        for number in numbers
        for generation in range(4)
    ]


GRPO: dict[str, Any] = {"num_generations": 4, "num_refills": 0, "max_completion_length": 9}


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo"])
@pytest.mark.parametrize("truncated", [False, True])
def test_a_worker_without_a_useful_group_changes_no_mean(
    tokenizer: TokenizerFolder, loss_type: Any, truncated: bool
) -> None:
    """Two workers with two prompts each equal one worker with four prompts, even if one worker has no useful group."""
    method = Grpo(**GRPO, loss_type=loss_type, beta=0.1, mask_truncated_completions=truncated)
    whole = loss_of(objective(method, tokenizer, useful=(0, 1)), 0, 1, 2, 3)
    useful = loss_of(objective(method, tokenizer, useful=(0, 1)), 0, 1)
    useless = loss_of(objective(method, tokenizer, useful=(0, 1)), 2, 3)
    assert whole.sum.item() != 0
    torch.testing.assert_close(useful.sum + useless.sum, whole.sum)
    torch.testing.assert_close(useful.weight + useless.weight, whole.weight)
    for name, (total, weight) in whole.measures.items():
        parts = [found.measures[name] for found in (useful, useless)]
        torch.testing.assert_close(sum(part[0] for part in parts), total, msg=name)
        torch.testing.assert_close(sum(part[1] for part in parts), weight, msg=name)


def test_a_batch_without_a_useful_group_has_no_gradient(tokenizer: TokenizerFolder) -> None:
    found = loss_of(objective(Grpo(**GRPO, loss_type="grpo"), tokenizer, useful=()), 0, 1)
    assert found.sum.item() == 0
    assert 0 < found.weight.item() < 1e-6


def test_each_row_of_a_step_seeds_its_own_answers(tokenizer: TokenizerFolder) -> None:
    """A prompt may occur twice in a step: from two epochs, or as the replacement of another row's prompt."""
    made = objective(Grpo(num_generations=4, num_refills=1), tokenizer, useful=())
    made.batch(1, Rows(np.array([0, 0, 0, 1, 1]), np.array([1, 2, 3, 1, 2])))
    asked = made._rollouts.asked  # type: ignore[attr-defined]
    assert len(asked) == 10
    assert len({(seed, prompt.key) for prompt, seed in asked}) == 10


def test_the_answers_to_a_row_do_not_depend_on_the_worker_that_has_it(tokenizer: TokenizerFolder) -> None:
    def asked(*numbers: int) -> set[tuple[Prompt, int]]:
        made = objective(Grpo(num_generations=4, num_refills=2), tokenizer, useful=())
        made.batch(3, rows(*numbers, epoch=1))
        return set(made._rollouts.asked)  # type: ignore[attr-defined]

    assert asked(0, 1, 2, 3) == asked(0, 2) | asked(1, 3)


@pytest.mark.parametrize("method", [Grpo(**GRPO), Ppo(num_generations=4, max_completion_length=9)])
def test_the_distance_from_the_start_is_measured(tokenizer: TokenizerFolder, method: Grpo | Ppo) -> None:
    """The measure `kl` is the mean over tokens of exp(-d) - 1 + d with d = log(policy / reference)."""
    found, weight = loss_of(objective(method, tokenizer), 0, 1).measures["kl"]
    model, reference = model_of(1), model_of(2)
    d = torch.cat([logprobs_of(model, one) - logprobs_of(reference, one) for one in answers(0, 1)])
    expected = ((-d).exp() - 1 + d).mean()
    assert expected > 0.01
    torch.testing.assert_close(found / weight, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo"])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("scale_rewards", ["none", "group"])
def test_the_loss_of_grpo_is_clipped_ratios_and_the_weighed_distance(
    tokenizer: TokenizerFolder, loss_type: Any, temperature: float, scale_rewards: Any
) -> None:
    """Compares the loss with TRL's formula, token by token."""
    method = Grpo(
        **GRPO, loss_type=loss_type, scale_rewards=scale_rewards, beta=0.3, epsilon=0.1, epsilon_high=0.6, delta=4.0,
        temperature=temperature,
    )  # fmt: skip
    found = loss_of(objective(method, tokenizer), 0, 1)
    total = 0.0
    deviation = np.std([1, 2, 3, 4], ddof=1) + 1e-4 if scale_rewards == "group" else 1.0
    for one in answers(0, 1):
        now, start = logprobs_of(model_of(1), one, temperature), logprobs_of(model_of(2), one, temperature)
        ratio = (now - torch.tensor(one.sampling_logprobs)).exp()
        advantage = (one.generation + 1 - 2.5) / deviation  # rewards of a group are 1, 2, 3, 4
        gained = torch.min(ratio.clamp(max=4.0) * advantage, ratio.clamp(0.9, 1.6) * advantage)
        losses = -gained + 0.3 * ((start - now).exp() - 1 - (start - now))
        total += (losses.mean() if loss_type == "grpo" else losses.sum()).item()
    assert found.sum.item() == pytest.approx(total, rel=1e-4)
    assert found.weight == {"dapo": 2 * sum(LENGTHS), "grpo": 8, "dr_grpo": 8 * 9}[loss_type]


def test_answers_that_do_not_end_can_be_left_out(tokenizer: TokenizerFolder) -> None:
    """With `mask_truncated_completions`, the tokens of truncated answers change neither the loss nor the measures."""
    every, ended = (
        loss_of(objective(Grpo(**GRPO, mask_truncated_completions=masked), tokenizer), 0, 1) for masked in (False, True)
    )
    assert every.weight == 2 * sum(LENGTHS)
    assert ended.weight == 2 * (sum(LENGTHS) - LENGTHS[TRUNCATED])
    assert ended.sum != every.sum
    for name in ("kl", "entropy_estimate", "logprob_gap"):
        assert ended.measures[name][1] == ended.weight


@pytest.mark.parametrize("kl_coef", [0.0, 0.25])
def test_ppo_pays_for_the_distance_from_the_start(tokenizer: TokenizerFolder, kl_coef: float) -> None:
    """With `gamma` = `lam` = 1, a token's return is the reward minus the penalties of this and all later tokens."""
    method = Ppo(num_generations=4, max_completion_length=9, kl_coef=kl_coef)
    batch = objective(method, tokenizer).batch(1, rows(0))
    reference = model_of(2)
    expected = []
    for one in answers(0):
        paid = kl_coef * (torch.tensor(one.sampling_logprobs) - logprobs_of(reference, one))
        expected.append(one.generation + 1 - paid.flip(0).cumsum(0).flip(0))
    found = batch["returns"][batch["targets"] >= 0]
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_advantages_of_ppo_follow_the_critic(tokenizer: TokenizerFolder) -> None:
    """Advantages are sums of temporal-difference errors, discounted by `gamma` and `lam` and then scaled to mean 0 and
    variance 1 over all tokens."""
    method = Ppo(num_generations=4, max_completion_length=9, kl_coef=0.0, gamma=0.9, lam=0.7)
    batch = objective(method, tokenizer).batch(1, rows(0, 1))
    critic = model_of(3, is_reward=True)
    expected = []
    for one in answers(0, 1):
        start, count = len(one.prompt.tokens), len(one.tokens)
        at = (torch.zeros(count, dtype=torch.long), torch.arange(start - 1, start - 1 + count))
        values = [*critic(torch.tensor([[*one.prompt.tokens, *one.tokens]]), at=at).tolist(), 0.0]
        following, gained = 0.0, []
        for t in reversed(range(count)):
            reward = one.generation + 1.0 if t == count - 1 else 0.0
            following = reward + 0.9 * values[t + 1] - values[t] + 0.9 * 0.7 * following
            gained.insert(0, following)
        expected += gained
    wanted = (torch.tensor(expected) - np.mean(expected)) / np.std(expected, ddof=1)
    torch.testing.assert_close(batch["advantages"][batch["targets"] >= 0], wanted.float(), rtol=1e-3, atol=1e-3)


def test_values_that_move_far_are_clipped(tokenizer: TokenizerFolder) -> None:
    def loss(cliprange: float) -> Loss:
        made = objective(Ppo(num_generations=4, max_completion_length=9, cliprange_value=cliprange), tokenizer)
        batch = made.batch(1, rows(0))
        with torch.no_grad():
            assert made._critic is not None
            assert made._critic.score is not None
            made._critic.score.mul_(3)
        return made.loss(made._model, batch)

    narrow, wide = loss(0.01), loss(1e9)
    assert narrow.measures["value_clip_ratio"][0] > 0
    assert narrow.sum > wide.sum


def test_the_critic_learns_the_returns(tokenizer: TokenizerFolder) -> None:
    """`vf_coef` weights half the squared error of the values. The values equal the old values, so none is clipped."""
    light, heavy = (
        loss_of(objective(Ppo(num_generations=4, max_completion_length=9, vf_coef=weight), tokenizer), 0, 1)
        for weight in (0.5, 2.5)
    )
    value_loss, tokens = light.measures["value_loss"]
    assert value_loss > 1
    assert tokens == light.weight == heavy.weight == 2 * sum(LENGTHS)
    torch.testing.assert_close(heavy.sum - light.sum, 2.0 * value_loss)
