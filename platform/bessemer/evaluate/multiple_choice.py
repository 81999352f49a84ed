"""Multiple choice by log-likelihood, with the numbers of lm-evaluation-harness.

`acc`: the choice with the greatest log P(choice | query) is the right one. `acc_norm`: the same with each divided by
the choice's characters, which takes away the advantage of short choices. `acc_mutual_info`: log P(choice | query) -
log P(choice), which takes away that of choices likely anywhere.

Tokens are split as there: white space at the end of the query goes to the choice, query and choice are encoded
together, and what is past the query's own tokens is the choice. log P(choice) alone follows an end-of-text token.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from bessemer.evaluate.likelihood import Tree, log_likelihoods
from bessemer.evaluate.questions import Question
from bessemer.evaluate.scores import Result, mean_score
from bessemer.evaluate.subject import Subject
from bessemer.evaluate.tasks import MultipleChoice

ITEMS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("query", pa.string(), nullable=False),
        pa.field("choices", pa.list_(pa.string()), nullable=False),
        pa.field("gold", pa.int64(), nullable=False),
        pa.field("log_likelihoods", pa.list_(pa.float64()), nullable=False),
        pa.field("log_likelihoods_alone", pa.list_(pa.float64()), nullable=False),
        pa.field("acc", pa.float64(), nullable=False),
        pa.field("acc_norm", pa.float64(), nullable=False),
        pa.field("acc_mutual_info", pa.float64(), nullable=False),
        pa.field("context_was_cut", pa.bool_(), nullable=False),
    ]
)
METRICS = ("acc", "acc_norm", "acc_mutual_info")


def multiple_choice(task: MultipleChoice, subject: Subject, questions: Sequence[Question]) -> Result:
    """The three accuracies beside chance, and one row a question."""
    questions = questions[: task.limit]
    asked = [_tree(subject, question.query, question, task.target_delimiter) for question in questions]
    alone = [_tree(subject, "", question, task.target_delimiter) for question in questions]
    found = log_likelihoods(subject, [*asked, *alone])
    rows = []
    for number, question in enumerate(questions):
        conditional, unconditional = found[number], found[number + len(questions)]
        picks = {
            "acc": conditional,
            "acc_norm": conditional / np.array([len(choice) for choice in question.choices]),
            "acc_mutual_info": conditional - unconditional,
        }
        right = {metric: float(np.argmax(values) == question.gold) for metric, values in picks.items()}
        rows.append(
            {
                "id": question.id,
                "query": question.query,
                "choices": list(question.choices),
                "gold": question.gold,
                "log_likelihoods": conditional.tolist(),
                "log_likelihoods_alone": unconditional.tolist(),
                "context_was_cut": asked[number].cut(subject.context).context != asked[number].context,
            }
            | right
        )
    items = pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA)
    chance = float(np.mean([1 / len(question.choices) for question in questions]))
    scores = [mean_score(metric, items[metric].to_numpy(), chance=chance) for metric in METRICS]
    return Result(scores, items)


def _tree(subject: Subject, query: str, question: Question, delimiter: str) -> Tree:
    """The question as tokens. Query tokens that merge with a choice are predicted with it."""
    stripped = query.rstrip()
    between = query[len(stripped) :] + delimiter
    context = subject.tokenizer.encode(stripped)
    whole = [subject.tokenizer.encode(stripped + between + choice) for choice in question.choices]
    known = min(len(context), *(len(tokens) - 1 for tokens in whole))
    return Tree(context[:known] or [subject.tokenizer.end_of_text_id], [tokens[known:] for tokens in whole])
