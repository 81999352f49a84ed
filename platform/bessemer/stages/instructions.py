"""instructions: writes questions and answers about the documentation as conversations for fine-tuning and tests."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from pydantic import PositiveInt

from bessemer.errors import NothingLeft
from bessemer.recipe.inputs import Input
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig

SPLITS = ("tune", "validation", "test")


class Config(StageConfig):
    num_conversations: PositiveInt | None = None
    """Maximum number of questions per split; keeps the questions with the smallest hashes. If unset, all are kept."""


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    import pyarrow as pa

    from bessemer.artifacts.documents import write_parquet
    from bessemer.artifacts.ledger import Removed
    from bessemer.docsite.askable import askable
    from bessemer.docsite.instructions import instructions
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.row_tables import CONVERSATIONS, conversation_columns
    from bessemer.tokens.tokenizer import TokenizerFolder

    template = ChatTemplate.of(TokenizerFolder.open(inputs["tokenizer"].data))
    dropped: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for split in SPLITS:
        found = askable(
            inputs["site"].data,
            inputs["documents"].parts(),
            split,
            dropped,
            held_out=split != "tune",
            between=context.check_stop,
        )
        chosen = instructions(found, dropped)
        if config.num_conversations is not None:
            chosen = sorted(chosen, key=lambda instruction: instruction.id)[: config.num_conversations]
        written = len(rows)
        for instruction in chosen:
            messages = [
                {"role": "user", "content": instruction.question},
                {"role": "assistant", "content": instruction.answer},
            ]
            names = {"id": instruction.id, "url": instruction.url, "source": "documentation", "split": split}
            fields = {"fields": json.dumps({"name": instruction.name})}
            try:
                rows.append(names | fields | conversation_columns(messages, template))
            except Removed as reason:
                dropped[f"{reason.rule} ({(reason.evidence or '')[:200]})"] += 1
        draft.metrics[f"data/{split}_conversations"] = len(rows) - written
        context.log.info("%s: %d questions", split, len(rows) - written)
    if not draft.metrics["data/tune_conversations"]:
        if dropped:
            context.log.warning("excluded: %s", ", ".join(f"{count} {reason}" for reason, count in dropped.items()))
        raise NothingLeft(
            "no question can be asked about the documents of the split `tune`",
            hint="give the split `tune` a larger share of the documents (`extract.split.tune=0.15`)",
        )
    context.log.info("excluded: %s", ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())))
    write_parquet(pa.Table.from_pylist(rows, schema=CONVERSATIONS), draft.data / "00000.parquet")


STAGE = Stage(
    kind="instructions",
    version=2,
    config=Config,
    inputs=(Input("site"), Input("documents"), Input("tokenizer")),
    produces="conversations",
    run=run,
    libraries=("jinja2", "tokenizers"),
)
