"""questions: writes multiple-choice questions about documentation pages that no model was trained on."""

from __future__ import annotations

import json
from collections import Counter
from typing import Literal

from pydantic import Field

from bessemer import storage
from bessemer.errors import NothingLeft
from bessemer.recipe.inputs import Input
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig


class Config(StageConfig):
    split: Literal["test", "validation"] = "test"
    """Held-out split whose documents the questions are about."""
    num_questions: int = Field(500, ge=1)
    """Maximum number of questions."""


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.docsite.askable import askable
    from bessemer.docsite.questions import ask

    dropped: Counter[str] = Counter()
    found = askable(
        inputs["site"].data,
        inputs["documents"].parts(),
        config.split,
        dropped,
        held_out=True,
        between=context.check_stop,
    )
    questions = ask(found, config.num_questions, dropped)
    if not questions:
        raise NothingLeft(
            f"no question can be asked about the documents of the split `{config.split}`",
            hint=f"give the split `{config.split}` a larger share of the documents, or raise `docsite.max_pages`",
        )
    if len(questions) < config.num_questions:
        context.log.warning("only %d questions instead of %d", len(questions), config.num_questions)
    context.log.info("excluded: %s", ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())))
    lines = (json.dumps(question.as_json(), ensure_ascii=False) for question in questions)
    storage.write_text(draft.data / f"{config.split}.jsonl", "".join(f"{line}\n" for line in lines))
    draft.metrics["data/questions"] = len(questions)


STAGE = Stage(
    kind="questions",
    version=1,
    config=Config,
    inputs=(Input("site"), Input("documents")),
    produces="questions",
    run=run,
)
