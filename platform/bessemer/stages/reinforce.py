"""reinforce: trains a model by reinforcement learning to give answers with higher rewards.

The model generates answers to the prompts of conversations and learns from their rewards, by GRPO or by PPO with a
critic. The training workers generate the answers, or separate Ray actors do (`rollout_workers`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import NonNegativeInt, PositiveInt, model_validator

from bessemer.align.rewards import Rewards, code_of, runs_programs
from bessemer.align.settings import Grpo, Ppo
from bessemer.errors import NothingLeft, UsageError
from bessemer.model.config import ModelConfig
from bessemer.recipe.inputs import Input
from bessemer.recipe.settings import execution
from bessemer.sandbox.protection import warn_if_unprotected
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.engine.context_length import check_max_completion_length, check_max_seq_length
from bessemer.stages.engine.training import TuningConfig, TuningRates, tune
from bessemer.stages.engine.training_checks import check_brought, check_chat, check_start
from bessemer.train.settings import Auto

if TYPE_CHECKING:
    from bessemer.align.policy_objective import PolicyPrompt, Reinforcing, Rollouts, Score
    from bessemer.model.transformer import Transformer
    from bessemer.train.workers import Workers

RATES = TuningRates(share=0.05, full=1e-6, lora=1e-5)


class Config(TuningConfig):
    grpo: Grpo | None = None
    """Group relative policy optimization; `{}` selects its default settings."""
    ppo: Ppo | None = None
    """Proximal policy optimization with a critic."""
    rewards: Rewards = ()
    """Reward functions for answers; the reward of an answer is their sum, each multiplied by its `weight`."""
    reward_model_weight: float = 1.0
    """Factor for the reward of the reward model, if `from` names a `reward` stage."""
    rollout_workers: NonNegativeInt = execution(0)
    """Number of Ray actors per training worker that generate answers; with 0 the training worker generates them."""
    global_batch_size: PositiveInt | Auto = 16
    """Prompts per step over all workers; each prompt has `num_generations` answers."""

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        if (self.grpo is None) == (self.ppo is None):
            raise ValueError("choose one method, `grpo` or `ppo`")
        return self

    @property
    def method(self) -> Grpo | Ppo:
        method = self.grpo or self.ppo
        assert method is not None
        return method


def outside(config: Config) -> Any:
    """Identifies the content of the files with custom reward functions."""
    return code_of(config.rewards)


def context_length(config: Config, start: int | None) -> int | None:
    """Returns the model's context length in tokens. Raises UsageError if rows or answers are too long for it."""
    check_max_seq_length(config, start)
    check_max_completion_length(config.method.max_completion_length, config.max_seq_length)
    return start


def check(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    """Raises UsageError if there is no reward and no reward model, or if a missing reward model has a weight."""
    check_brought(config, inputs)
    if "reward_model" in inputs:
        return
    if "reward_model_weight" in config.model_fields_set:
        raise UsageError(
            "`reward_model_weight` is set, but `from` names no reward model", hint="add a stage `reward` to `from`"
        )
    if not config.rewards:
        raise UsageError(
            "the stage has no reward for answers",
            hint="set `rewards`, or add a stage `reward` to `from`, which trains a reward model",
        )


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    start, tokenizer, conversations = inputs["model"], inputs["tokenizer"], inputs["conversations"]
    model, stop_ids = check_start(config, start, tokenizer, conversations)
    reward_model = inputs["reward_model"].data if "reward_model" in inputs else None
    if reward_model is not None:
        check_chat(model=inputs["reward_model"], tokenizer=tokenizer, rows=conversations)
    questions = _questions(conversations.parts(), "tune")
    _check_questions(questions, config, model)
    _check_rewards(config, [*questions, *_questions(conversations.parts(), "validation")])
    if runs_programs(config.rewards):
        warn_if_unprotected(context.log)
    if config.rollout_workers:
        from bessemer.stages.engine.rollout_actors import check_room
        from bessemer.stages.engine.training_workers import resolve_training_workers

        training = resolve_training_workers(context)
        check_room(config.rollout_workers, training, model, context.start_ray().cluster_resources())
    parts = conversations.parts()
    tune(
        config,
        start=start,
        tokenizer=tokenizer,
        model=model,
        stop_ids=stop_ids,
        num_rows=len(questions) * config.method.num_iterations,
        objective={"name": "grpo" if config.grpo else "ppo", **config.method.model_dump(mode="json")},
        make_objective=partial(
            _objective, config, parts, tokenizer.data, start.data, reward_model, stop_ids, context.seed
        ),
        rates=RATES,
        draft=draft,
        context=context,
    )


def _objective(
    config: Config,
    parts: Sequence[Path],
    tokenizer: Path,
    start: Path,
    reward_model: Path | None,
    stop_ids: tuple[int, ...],
    seed: int,
    model: Transformer,
    workers: Workers,
    log: logging.Logger,
) -> Reinforcing:
    import copy

    from bessemer.align.policy_objective import Reinforcing
    from bessemer.tokens.tokenizer import TokenizerFolder

    method = config.method
    watched = method.track_kl or isinstance(method, Ppo) or method.beta > 0
    return Reinforcing(
        method,
        _questions(parts, "tune"),
        _questions(parts, "validation"),
        model=model,
        reference=copy.deepcopy(model).requires_grad_(False) if watched else None,
        critic=_critic(method, reward_model or start, model) if isinstance(method, Ppo) else None,
        rollouts=_rollouts(config, stop_ids, model, workers),
        score=_score(config, reward_model, workers),
        tokenizer=TokenizerFolder.open(tokenizer),
        workers=workers,
        seed=seed,
        log=log,
    )


def _critic(method: Ppo, origin: Path, model: Transformer) -> Transformer:
    """Returns a critic with the weights of the model at `origin`, on the device and in the number type of `model`.

    If `origin` is a language model, the new value head predicts zero.
    """
    from bessemer.model.hub import load_config, load_model

    critic = load_model(origin, config=load_config(origin).model_copy(update={"is_reward": True}))
    critic.compute_dtype = model.compute_dtype
    critic.learning_rate_ratio = method.critic_learning_rate_ratio
    return critic.to(model.embed_tokens.device)


def _rollouts(config: Config, stop_ids: tuple[int, ...], model: Transformer, workers: Workers) -> Rollouts:
    import copy

    from bessemer.align.rollouts import RolloutSampler
    from bessemer.stages.engine.rollout_actors import RolloutActors

    if config.rollout_workers:
        dtype = str(model.compute_dtype).removeprefix("torch.")
        return RolloutActors(config.rollout_workers, model.config, config.lora, dtype, stop_ids, peers=workers.size)
    return RolloutSampler(copy.deepcopy(model).requires_grad_(False), stop_ids=stop_ids)


def _score(config: Config, reward_model: Path | None, workers: Workers) -> Score:
    from bessemer.align.reward_scoring import Scorer
    from bessemer.align.total_reward import TotalReward
    from bessemer.model.hub import load_model

    scorer = ExitStack().enter_context(Scorer(config.rewards)) if config.rewards else None
    judge = load_model(reward_model, device=workers.device) if reward_model else None
    return TotalReward(scorer, judge, config.reward_model_weight)


def _questions(parts: Sequence[Path], split: str) -> list[PolicyPrompt]:
    """Returns the prompts of a split. A prompt is all messages before the last answer of a conversation."""
    from bessemer.align.policy_objective import PolicyPrompt
    from bessemer.tokens.row_tables import CONVERSATIONS, read_split

    found = read_split(parts, CONVERSATIONS, split, ["id", "messages", "fields", "ids", "prompt_length"])
    plain = (found[key].to_pylist() for key in ("id", "messages", "fields", "prompt_length"))
    questions = []
    for number, (name, messages, fields, length) in enumerate(zip(*plain, strict=True)):
        answered = messages[-1]["role"] == "assistant"
        prompt = messages[:-1] if answered else messages
        known = {"answer": messages[-1]["content"]} if answered else {}
        tokens = tuple(found["ids"][number][:length].tolist())
        questions.append(PolicyPrompt(name, prompt[-1]["content"], tokens, known | json.loads(fields)))
    return questions


def _check_questions(questions: Sequence[PolicyPrompt], config: Config, model: ModelConfig) -> None:
    """Raises NothingLeft if there are no prompts, and UsageError if one is too long, because none is silently cut."""
    if not questions:
        raise NothingLeft(
            "the split `tune` of the conversations has no prompts", hint="give `validation` and `test` smaller shares"
        )
    longest = max(len(question.tokens) for question in questions)
    room = min(config.max_seq_length, model.max_position_embeddings)
    if longest + config.method.max_completion_length > room:
        shorter = f"set `max_completion_length` to at most {room - longest}, or " if longest < room else "set "
        raise UsageError(
            f"a prompt has {longest} tokens and an answer up to {config.method.max_completion_length}, and "
            f"`max_seq_length` is {room}",
            hint=f"{shorter}`max_seq_length` of the stage `conversations`, which then removes longer rows",
        )


def _check_rewards(config: Config, questions: Sequence[PolicyPrompt]) -> None:
    """Calls every reward once before training starts. Raises UsageError if a reward cannot score some prompts."""
    from bessemer.align.reward_scoring import Scorer
    from bessemer.align.rewards import RewardSample

    if config.rewards:
        question = questions[0]
        with Scorer(config.rewards) as scorer:
            lacking = [found for other in questions if (found := scorer.lacks(other.row))]
            if 0 < len(lacking) < len(questions):
                label, column = lacking[0]
                raise UsageError(
                    f"{len(lacking)} of {len(questions)} prompts have no column `{column}` that the reward `{label}` "
                    "can read",
                    hint="add the column to these prompts, or remove their rows",
                )
            scorer.check(RewardSample(question.text, "An answer.", 3, question.row))


STAGE = Stage(
    kind="reinforce",
    version=4,
    config=Config,
    inputs=(Input("model"), Input("conversations"), Input("tokenizer"), Input("reward_model", explicit=True)),
    produces="model",
    run=run,
    libraries=("torch",),
    seeded=True,
    outside=outside,
    check=check,
    context_length=context_length,
)
