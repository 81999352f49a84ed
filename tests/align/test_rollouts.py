"""Tests that rollouts have the trainer's log-probabilities and do not depend on the other rollouts of a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bessemer.align.rollouts import Prompt, Rollout, RolloutSampler
from bessemer.generate.settings import GenerationSettings
from bessemer.model.config import ModelShape
from bessemer.model.transformer import IGNORED, Transformer

SETTINGS = GenerationSettings(temperature=0.8, top_p=1.0, max_new_tokens=20)
STOP = 7
SLIDING = {"sliding_window": 5, "full_attention_interval": 2}
PROMPTS = [Prompt(3, (5, 9, 11), (3,)), Prompt(8, (1, 2, 3, 4, 5, 6, 8, 9, 10), (8,)), Prompt(9, (30,), (9,))]


def random_model(dtype: torch.dtype = torch.float32, **changes: Any) -> Transformer:
    shape = ModelShape(
        size="nano", num_hidden_layers=4, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, **changes
    )
    model = Transformer(shape.resolve(vocab_size=50, max_seq_length=32))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2, generator=generator)
    model.to(dtype).compute_dtype = dtype
    return model


def rolled(model: Transformer, prompts: list[Prompt] = PROMPTS, count: int = 4, **changes: Any) -> list[Rollout]:
    sampler = RolloutSampler(model, stop_ids={STOP})
    settings = SETTINGS.model_copy(update=changes)
    return sampler.sample(prompts, num_generations=count, settings=settings, seed=1)


def logprobs(rollouts: list[Rollout]) -> torch.Tensor:
    return torch.tensor([value for rollout in rollouts for value in rollout.logprobs])


@torch.no_grad()
def trained_logprobs(model: Transformer, rollouts: list[Rollout]) -> torch.Tensor:
    """Log-probabilities of the same tokens from the trainer's forward pass, with all rollouts in one padded batch."""
    texts = [[*rollout.prompt.tokens, *rollout.tokens] for rollout in rollouts]
    longest = max(map(len, texts))
    tokens = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    targets = torch.tensor([text[1:] + [IGNORED] * (longest - len(text) + 1) for text in texts])
    nats = model(tokens, targets=targets, reduction="none")
    starts = [len(rollout.prompt.tokens) - 1 for rollout in rollouts]
    return torch.cat(
        [
            -nats[row, at : at + len(rollout.tokens)]
            for row, (at, rollout) in enumerate(zip(starts, rollouts, strict=True))
        ]
    )


@pytest.mark.parametrize("changes", [{}, SLIDING], ids=["qwen3", "sliding"])
def test_log_probabilities_are_those_of_the_trainer(changes: dict[str, Any]) -> None:
    """Covers grouped-query attention and prompts of unequal length. The tolerance is 1e-4 in fp32."""
    model = random_model(**changes)
    rollouts = rolled(model)
    assert len({len(rollout.tokens) for rollout in rollouts}) > 1
    torch.testing.assert_close(logprobs(rollouts), trained_logprobs(model, rollouts), atol=1e-4, rtol=0)


@pytest.mark.parametrize("changes", [{}, SLIDING], ids=["qwen3", "sliding"])
def test_in_bf16_they_differ_by_no_more_than_bf16_does_from_fp32(changes: dict[str, Any]) -> None:
    """The two computations round differently. The root mean square of their difference is less than twice the trainer's
    rounding error (measured: 1.3 times, which is 0.05 nats for logits with a spread of 1.7)."""
    model = random_model(torch.bfloat16, **changes)
    rollouts = rolled(model)
    trained = trained_logprobs(model, rollouts)
    model.float().compute_dtype = torch.float32
    own_rounding = (trained - trained_logprobs(model, rollouts)).square().mean().sqrt()
    assert (logprobs(rollouts) - trained).square().mean().sqrt() < 2 * own_rounding


def test_sampling_log_probabilities_are_of_the_distribution_that_was_drawn_from() -> None:
    """They come from the logits divided by the temperature, and equal the plain ones at temperature 1."""
    model = random_model()
    rollout = rolled(model)[0]
    text = [*rollout.prompt.tokens, *rollout.tokens]
    with torch.no_grad():
        logits = model(torch.tensor([text]))[0, len(rollout.prompt.tokens) - 1 : -1]
    drawn = torch.tensor(rollout.tokens)[:, None]
    expected = (logits / 0.8).log_softmax(-1).gather(1, drawn)[:, 0]
    torch.testing.assert_close(torch.tensor(rollout.sampling_logprobs), expected, atol=1e-4, rtol=0)
    plain = rolled(model, temperature=1.0)[0]
    assert plain.logprobs == plain.sampling_logprobs


def test_frequencies_are_the_probabilities_that_are_claimed() -> None:
    """Samples many answers of one token. The frequency of each token is its probability within four standard errors."""
    model, count = random_model(), 4000
    rollouts = rolled(model, PROMPTS[:1], count, max_new_tokens=1)
    for token in {rollout.tokens[0] for rollout in rollouts}:
        with_it = [rollout for rollout in rollouts if rollout.tokens[0] == token]
        probability = torch.tensor(with_it[0].sampling_logprobs[0]).exp().item()
        error = (probability * (1 - probability) / count) ** 0.5
        assert abs(len(with_it) / count - probability) < 4 * error + 1 / count


def test_an_answer_does_not_depend_on_what_else_is_in_the_batch() -> None:
    model = random_model()
    together = {(r.prompt.number, r.generation): r.tokens for r in rolled(model)}
    alone = {(r.prompt.number, r.generation): r.tokens for p in PROMPTS for r in rolled(model, [p], 2)}
    assert {key: together[key] for key in alone} == alone
    assert [(r.prompt.number, r.generation) for r in rolled(model)] == [
        (p.number, n) for p in PROMPTS for n in range(4)
    ]


def test_seed_key_and_generation_give_other_answers() -> None:
    """A call may contain the same prompt twice, with different keys."""
    model = random_model()
    sampler = RolloutSampler(model, stop_ids=())
    same_text = [Prompt(7, (5, 9), key) for key in ((0, 7), (1, 7))]
    answers = [
        rollout.tokens
        for seed in (1, 2)
        for rollout in sampler.sample(same_text, num_generations=3, settings=SETTINGS, seed=seed)
    ]
    assert len(set(answers)) == len(answers)


def test_the_stop_token_is_part_of_the_answer_and_its_end() -> None:
    rollouts = rolled(random_model(), count=30)
    stopped = [rollout for rollout in rollouts if rollout.finish_reason == "stop"]
    assert 0 < len(stopped) < len(rollouts)
    for rollout in rollouts:
        assert len(rollout.tokens) == len(rollout.logprobs) == len(rollout.sampling_logprobs)
        assert STOP not in rollout.tokens[:-1]
        assert (rollout.tokens[-1] == STOP) == (rollout.finish_reason == "stop")
        assert rollout.finish_reason == "stop" or len(rollout.tokens) == 20


def test_new_weights_are_used_at_once() -> None:
    """The test also copies fp32 weights of the trainer into a bf16 sampler."""
    old, new = random_model(torch.bfloat16), random_model()
    for parameter in new.parameters():
        parameter.data *= 1.1
    sampler = RolloutSampler(old, stop_ids={STOP})
    before = sampler.sample(PROMPTS, num_generations=2, settings=SETTINGS, seed=1)
    sampler.update(dict(new.named_parameters()))
    after = sampler.sample(PROMPTS, num_generations=2, settings=SETTINGS, seed=1)
    assert before != after
    new.to(torch.bfloat16).compute_dtype = torch.bfloat16
    assert after == RolloutSampler(new, stop_ids={STOP}).sample(PROMPTS, num_generations=2, settings=SETTINGS, seed=1)


def test_more_answers_than_a_batch_holds() -> None:
    """Three groups of 30 answers need two batches. A group of 70 is one batch."""
    model = random_model()
    rollouts = rolled(model, count=30)
    assert [rollout.prompt for rollout in rollouts] == [prompt for prompt in PROMPTS for _ in range(30)]
    assert len(rolled(model, PROMPTS[:1], 70)) == 70
