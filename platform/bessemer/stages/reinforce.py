"""reinforce: a model, prompts and rewards in, a model whose answers are worth more out.

The model answers the prompts of conversations itself, and learns from what its answers are worth: by GRPO, or by PPO
with a critic. Answers are written by the training workers, or beside them by Ray actors (`rollout_workers`).
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
from bessemer.recipe.settings import execution
from bessemer.sandbox.protection import warn_if_unprotected
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.context_length import check_max_completion_length, check_max_seq_length
from bessemer.stages.training import TuningConfig, TuningRates, tune
from bessemer.stages.training_checks import check_brought, check_chat, check_start
from bessemer.train.settings import Auto

if TYPE_CHECKING:
    from bessemer.align.reinforcing import Question, Reinforcing, Rollouts, Score
    from bessemer.model.transformer import Transformer
    from bessemer.train.workers import Workers

RATES = TuningRates(share=0.05, full=1e-6, lora=1e-5)


class Config(TuningConfig):
    grpo: Grpo | None = None
    """Group relative policy optimization; `{}` for its usual settings."""
    ppo: Ppo | None = None
    """Proximal policy optimization, with a critic."""
    rewards: Rewards = ()
    """What an answer is worth; several are added up, each times its `weight`."""
    reward_model_weight: float = 1.0
    """What the reward of a `reward` stage that `from` names is multiplied with."""
    rollout_workers: NonNegativeInt = execution(0)
    """Ray actors that write answers for each training worker; with 0 it writes them itself."""
    global_batch_size: PositiveInt | Auto = 16
    """Prompts a step, over all workers; each has `num_generations` answers."""

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        if (self.grpo is None) == (self.ppo is None):
            raise ValueError("name one method, `grpo` or `ppo`")
        return self

    @property
    def method(self) -> Grpo | Ppo:
        method = self.grpo or self.ppo
        assert method is not None
        return method


def outside(config: Config) -> Any:
    """The files of the user's own reward functions, by content."""
    return code_of(config.rewards)


def context_length(config: Config, start: int | None) -> int | None:
    """The longest sequence of the model. Raises UsageError if rows or answers are too long for it."""
    check_max_seq_length(config, start)
    check_max_completion_length(config.method.max_completion_length, config.max_seq_length)
    return start


def check(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    """Raises UsageError if there is no reward, or a weight for a missing reward model."""
    check_brought(config, inputs)
    if "reward_model" in inputs:
        return
    if "reward_model_weight" in config.model_fields_set:
        raise UsageError(
            "`reward_model_weight` weighs a reward model, and there is none", hint="let `from` name a stage `reward`"
        )
    if not config.rewards:
        raise UsageError(
            "nothing says what an answer is worth",
            hint="set `rewards`, or let `from` name a stage `reward` that trains a reward model",
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
        from bessemer.stages.rollouts import check_room
        from bessemer.stages.workers import resolve_training_workers

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

    from bessemer.align.reinforcing import Reinforcing
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
    """A model that begins as the one at `origin`, and expects nothing yet; it computes as `model` does."""
    from bessemer.model.hub import load_config, load_model

    critic = load_model(origin, config=load_config(origin).model_copy(update={"is_reward": True}))
    critic.compute_dtype = model.compute_dtype
    critic.learning_rate_ratio = method.critic_learning_rate_ratio
    return critic.to(model.embed_tokens.device)


def _rollouts(config: Config, stop_ids: tuple[int, ...], model: Transformer, workers: Workers) -> Rollouts:
    import copy

    from bessemer.align.rollouts import RolloutSampler
    from bessemer.stages.rollouts import RolloutActors

    if config.rollout_workers:
        dtype = str(model.compute_dtype).removeprefix("torch.")
        return RolloutActors(config.rollout_workers, model.config, config.lora, dtype, stop_ids, peers=workers.size)
    return RolloutSampler(copy.deepcopy(model).requires_grad_(False), stop_ids=stop_ids)


def _score(config: Config, reward_model: Path | None, workers: Workers) -> Score:
    from bessemer.align.judging import Judge
    from bessemer.align.scoring import Scorer
    from bessemer.model.hub import load_model

    scorer = ExitStack().enter_context(Scorer(config.rewards)) if config.rewards else None
    judge = load_model(reward_model, device=workers.device) if reward_model else None
    return Judge(scorer, judge, config.reward_model_weight)


def _questions(parts: Sequence[Path], split: str) -> list[Question]:
    """The prompts of a split: all before the last answer of each conversation."""
    from bessemer.align.reinforcing import Question
    from bessemer.tokens.rows import CONVERSATIONS, read_split

    found = read_split(parts, CONVERSATIONS, split, ["id", "messages", "fields", "ids", "prompt_length"])
    plain = (found[key].to_pylist() for key in ("id", "messages", "fields", "prompt_length"))
    questions = []
    for number, (name, messages, fields, length) in enumerate(zip(*plain, strict=True)):
        answered = messages[-1]["role"] == "assistant"
        prompt = messages[:-1] if answered else messages
        known = {"answer": messages[-1]["content"]} if answered else {}
        tokens = tuple(found["ids"][number][:length].tolist())
        questions.append(Question(name, prompt[-1]["content"], tokens, known | json.loads(fields)))
    return questions


def _check_questions(questions: Sequence[Question], config: Config, model: ModelConfig) -> None:
    """Raises what is wrong with the prompts: none is cut or left out in silence."""
    if not questions:
        raise NothingLeft(
            "the split `tune` of the conversations holds no prompt", hint="give the splits held back smaller shares"
        )
    longest = max(len(question.tokens) for question in questions)
    room = min(config.max_seq_length, model.max_position_embeddings)
    if longest + config.method.max_completion_length > room:
        shorter = f"set `max_completion_length` to at most {room - longest}, or " if longest < room else "set "
        raise UsageError(
            f"a prompt has {longest} tokens and an answer up to {config.method.max_completion_length}, and "
            f"`max_seq_length` is {room}",
            hint=f"{shorter}`max_seq_length` of the stage `conversations`, which then gives longer ones a verdict",
        )


def _check_rewards(config: Config, questions: Sequence[Question]) -> None:
    """Calls every reward once, before any training. Raises UsageError where some prompts cannot be scored."""
    from bessemer.align.rewards import Sample
    from bessemer.align.scoring import Scorer

    if config.rewards:
        question = questions[0]
        with Scorer(config.rewards) as scorer:
            lacking = [found for other in questions if (found := scorer.lacks(other.row))]
            if 0 < len(lacking) < len(questions):
                label, column = lacking[0]
                raise UsageError(
                    f"{len(lacking)} of {len(questions)} prompts have no column `{column}` that the reward `{label}` "
                    "can read",
                    hint="give them one, or leave these rows out",
                )
            scorer.check(Sample(question.text, "An answer.", 3, question.row))


STAGE = Stage(
    kind="reinforce",
    version=4,
    config=Config,
    consumes=("model", "conversations", "tokenizer"),
    named=("reward_model",),
    produces="model",
    run=run,
    libraries=("torch",),
    seeded=True,
    outside=outside,
    check=check,
    context_length=context_length,
)
