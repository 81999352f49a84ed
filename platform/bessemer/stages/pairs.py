"""pairs: generates several answers per prompt and pairs the answer with the highest reward with the lowest one.

The pairs are preferences for `align` and `reward`. Every prompt gets a verdict: its pair is kept, or the verdict names
the reason why it gave no pair.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from bessemer import storage
from bessemer.align.rewards import Rewards, code_of, runs_programs
from bessemer.errors import NothingLeft
from bessemer.recipe.inputs import Input
from bessemer.sandbox.protection import warn_if_unprotected
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.engine.context_length import check_max_completion_length
from bessemer.stages.engine.row_files import verdict_table
from bessemer.stages.engine.training_checks import check_brought
from bessemer.stages.engine.work_units import Unit, document_units

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.align.best_of_n import Competition, PromptAnswers, RankedAnswer

SPLITS = ("tune", "validation")
BATCH_PROMPTS = 64


class Config(StageConfig):
    rewards: Rewards = Field(min_length=1)
    """Reward functions for answers; the reward of an answer is their sum, each multiplied by its `weight`."""
    num_generations: PositiveInt = 4
    """Number of answers that the model generates per prompt."""
    include_reference: bool = False
    """Whether the answer in the conversation is also a candidate for the pair."""
    temperature: float = Field(1.0, gt=0)
    """Divides the logits while sampling."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Samples only from the most likely tokens whose probabilities add up to this value."""
    max_completion_length: PositiveInt = 128
    """Maximum number of tokens of an answer; an answer cut off at this length is never the chosen one."""
    min_margin: NonNegativeFloat = 0.0
    """Minimum difference in reward between the two answers of a pair."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Number type of the computation; `auto` is bf16 if the hardware supports bf16 multiplication."""

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.num_generations + self.include_reference < 2:
            raise ValueError("a pair needs at least two answers: raise `num_generations`")
        return self


def outside(config: Config) -> Any:
    """Identifies the content of the files with custom reward functions."""
    return code_of(config.rewards)


def context_length(config: Config, start: int | None) -> None:
    """Returns None, because the stage makes no model. Raises UsageError if answers do not fit into the context."""
    check_max_completion_length(config.max_completion_length, start)


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.model.hardware import choose_device, choose_dtype
    from bessemer.stages.engine.training_checks import check_chat
    from bessemer.tokens.row_tables import PREFERENCES

    model, conversations = inputs["model"], inputs["conversations"]
    shape, _ = check_chat(model, inputs["tokenizer"], conversations)
    context_length(config, shape.max_position_embeddings)
    dtype = choose_dtype(config.dtype, choose_device())
    draft.resolved["dtype"] = str(dtype).removeprefix("torch.")
    make_worker = partial(_Worker, config, model.data, inputs["tokenizer"].data, str(dtype), context.seed)
    _check_rewards(config, conversations.parts())
    if runs_programs(config.rewards):
        warn_if_unprotected(context.log)
    counts = document_units(
        [Unit(part.stem, part) for part in conversations.parts()],
        make_worker,
        context,
        data=draft.data,
        ledger=draft.ledger,
        receipts=draft.work / "receipts",
        unit_name="parts",
        schema=PREFERENCES,
        has_model=True,
    )
    for why, number in _without_reward(draft.ledger).items():
        context.log.warning("%d prompts have no pair: %s", number, why)
    if not counts.documents_out:
        reasons = ", ".join(f"{number} by `{rule}`" for rule, number in counts.removed_by_rule.items())
        raise NothingLeft(
            f"none of {counts.documents_in} prompts gave a pair: {reasons or 'there are no prompts'}",
            hint="raise `num_generations` or `temperature`, lower `max_completion_length` if prompts are too long, "
            "or check that the rewards give different answers different scores",
        )
    draft.counts = counts
    draft.metrics["data/pairs"] = counts.documents_out
    draft.metrics["data/removed_ratio"] = counts.removed / max(1, counts.documents_in)


def _without_reward(ledger: Path) -> Counter[str]:
    """Counts the prompts without a reward, by reason. Reads the ledger, which has the verdicts of all processes."""
    import pyarrow.compute as pc

    from bessemer.artifacts.documents import read_parquet

    found: Counter[str] = Counter()
    for part in storage.files_under(ledger, ".parquet"):
        table = read_parquet(part, ["rule", "evidence"])
        found.update(table.filter(pc.equal(table["rule"], "no_reward"))["evidence"].to_pylist())
    return found


def _check_rewards(config: Config, parts: Sequence[Path]) -> None:
    """Calls every reward once before sampling starts, with the first prompt that has all columns that the rewards read.

    Raises UsageError or InputError if a reward does not work.
    """
    from bessemer.align.reward_scoring import Scorer
    from bessemer.align.rewards import RewardSample

    prompts = (_prompt(row) for part in parts for batch in _conversations(part, 64) for row in batch.to_pylist())
    with Scorer(config.rewards) as scorer:
        if (first := next(prompts, None)) is None:
            return
        able = (prompt for prompt in chain([first], prompts) if not scorer.lacks(prompt.row))
        prompt = next(able, first)
        scorer.check(RewardSample(prompt.messages[-1]["content"], "An answer.", 3, prompt.row))


def _conversations(part: Path, rows: int) -> Iterator[pa.Table]:
    """Yields the conversations of a part in the splits `SPLITS`, in tables of at most `rows` rows."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = ["id", "url", "source", "split", "messages", "variables", "fields", "ids", "prompt_length"]
    for batch in pq.ParquetFile(part).iter_batches(rows, columns=columns, use_threads=False):
        table = pa.Table.from_batches([batch])
        if len(table := table.filter(pc.is_in(table["split"], pa.array(SPLITS)))):
            yield table


def _prompt(row: dict[str, Any]) -> PromptAnswers:
    import numpy as np

    from bessemer.align.best_of_n import PromptAnswers, RankedAnswer

    messages = row["messages"]
    answered = messages[-1]["role"] == "assistant"
    known = {"answer": messages[-1]["content"]} if answered else {}
    asked, answer = np.split(np.array(row["ids"], np.int64), [row["prompt_length"]])
    return PromptAnswers(
        row["id"],
        messages[:-1] if answered else messages,
        tuple(asked.tolist()),
        RankedAnswer(messages[-1]["content"] or "", answer, finished=True) if answered else None,
        known | json.loads(row["fields"]),
    )


@dataclass
class _Worker:
    """Makes pairs in one process. It loads the model once and keeps the rewards open."""

    config: Config
    model: Path
    tokenizer: Path
    dtype: str
    seed: int
    signals: Sequence[str] = ("reward_mean", "reward_spread", "finished_ratio")
    competition: Competition = field(init=False)

    def __post_init__(self) -> None:
        import torch

        from bessemer.align.best_of_n import Competition
        from bessemer.align.reward_scoring import Scorer
        from bessemer.align.rollouts import RolloutSampler
        from bessemer.generate.settings import GenerationSettings
        from bessemer.model.hardware import choose_device
        from bessemer.model.hub import load_model
        from bessemer.tokens.chat import ChatTemplate
        from bessemer.tokens.tokenizer import TokenizerFolder

        c = self.config
        template = ChatTemplate.of(TokenizerFolder.open(self.tokenizer))
        model = load_model(self.model, device=choose_device())
        model.compute_dtype = getattr(torch, self.dtype.removeprefix("torch."))
        sampler = RolloutSampler(model.requires_grad_(False), stop_ids=template.stop_ids)
        settings = GenerationSettings(max_new_tokens=c.max_completion_length, temperature=c.temperature, top_p=c.top_p)
        scorer = ExitStack().enter_context(Scorer(c.rewards))
        self.competition = Competition(
            sampler,
            template,
            scorer,
            c.num_generations,
            settings,
            c.include_reference,
            model.config.max_position_embeddings - c.max_completion_length,
            self.seed,
        )

    def read(self, payload: Path) -> Iterator[pa.Table]:
        yield from _conversations(payload, BATCH_PROMPTS)

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        import numpy as np
        import pyarrow as pa

        from bessemer.align.best_of_n import best_and_worst
        from bessemer.artifacts.ledger import Removed
        from bessemer.tokens.row_tables import PREFERENCES

        rows = batch.to_pylist()
        prompts = [_prompt(row) for row in rows]
        kept: list[dict[str, Any]] = []
        verdicts: list[Removed | None] = []
        signals: dict[str, list[float | None]] = {name: [] for name in self.signals}
        unfit = [self.competition.unfit(prompt) for prompt in prompts]
        asked = [prompt for prompt, reason in zip(prompts, unfit, strict=True) if reason is None]
        answered, failures = self.competition.answers(asked) if asked else ([], [])
        found = iter(answered)
        for row, prompt, reason in zip(rows, prompts, unfit, strict=True):
            if reason is not None:
                verdicts.append(reason)
                for values in signals.values():
                    values.append(None)
                continue
            answers = next(found)
            rewards = np.array([answer.reward for answer in answers])
            rewards = rewards[~np.isnan(rewards)]
            signals["reward_mean"].append(float(rewards.mean()) if len(rewards) else None)
            signals["reward_spread"].append(float(np.ptp(rewards)) if len(rewards) else None)
            signals["finished_ratio"].append(float(np.mean([answer.finished for answer in answers])))
            try:
                best, worst = best_and_worst(answers, self.config.min_margin, failures)
            except Removed as reason:
                verdicts.append(reason)
                continue
            verdicts.append(None)
            names = {name: row[name] for name in ("id", "url", "source", "split", "variables")}
            kept.append(names | self._columns(prompt, best, worst))
        ledger = verdict_table(batch, verdicts, signals)
        return pa.Table.from_pylist(kept, schema=PREFERENCES), ledger

    def _columns(self, prompt: PromptAnswers, best: RankedAnswer, worst: RankedAnswer) -> dict[str, Any]:
        return {
            "prompt": prompt.messages,
            "prompt_ids": prompt.tokens,
            "chosen": [{"role": "assistant", "content": best.text}],
            "rejected": [{"role": "assistant", "content": worst.text}],
            "chosen_ids": best.ids,
            "rejected_ids": worst.ids,
        }


STAGE = Stage(
    kind="pairs",
    version=3,
    config=Config,
    inputs=(Input("model"), Input("conversations"), Input("tokenizer")),
    produces="preferences",
    run=run,
    libraries=("jinja2", "tokenizers", "torch"),
    seeded=True,
    outside=outside,
    check=check_brought,
    context_length=context_length,
)
