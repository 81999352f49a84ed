"""Encodes prompts and answers as tokens.

Text is split as in lm-evaluation-harness: white space at the end of the context moves to the continuation, both are
encoded together, and the tokens after those of the context are the continuation. A context begins with the tokens that
the tokenizer puts before a text (BOS of Llama 3). An empty context is the token `bos_token`, or `eos_token` if the
tokenizer has no `bos_token`. In a conversation, the chat template determines how the text and the answer begin, and the
answer is encoded separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.likelihood import ContinuationTree
from bessemer.evaluate.prompts import Preface


def prompt_tokens(subject: EvaluatedModel, preface: Preface, query: str) -> list[int]:
    """The tokens of the prompt."""
    if preface.is_conversation:
        return [int(token) for token in subject.chat.prompt(preface.messages(query))]
    return subject.generator.encode(preface.text(query))


@dataclass(frozen=True)
class Asked:
    """A query and its possible continuations."""

    preface: Preface
    query: str
    continuations: Sequence[str]


def alone(preface: Preface, continuations: Sequence[str]) -> Asked:
    """The continuations with an empty context."""
    return Asked(Preface(target_delimiter=preface.target_delimiter), "", continuations)


def trees(subject: EvaluatedModel, asked: Sequence[Asked]) -> list[ContinuationTree]:
    """Encodes each query with its continuations as a tree. If the end of the query merges with a continuation into one
    token, that token belongs to the continuation."""
    encoded = iter(subject.encode_all([text for one in asked for text in _texts(one)]))
    begin, prefix = list(subject.tokenizer.begin_ids), subject.tokenizer.prefix_id
    found = []
    for one in asked:
        answers = [next(encoded) for _ in one.continuations]
        if one.preface.is_conversation:
            found.append(ContinuationTree(prompt_tokens(subject, one.preface, one.query), answers))
        else:
            context = next(encoded)
            known = min(len(context), *(len(tokens) - 1 for tokens in answers))
            answers = [tokens[known:] for tokens in answers]
            start = begin if one.preface.text(one.query) else []
            found.append(ContinuationTree([*start, *context[:known]] or [prefix], answers))
    return found


def _texts(asked: Asked) -> list[str]:
    """The texts to encode: in a conversation the answers, otherwise context + answer for each answer and then the
    context."""
    preface = asked.preface
    if preface.is_conversation:
        return [continuation.lstrip() for continuation in asked.continuations]
    text = preface.text(asked.query)
    stripped = text.rstrip()
    between = text[len(stripped) :] + preface.target_delimiter
    return [*(stripped + between + continuation for continuation in asked.continuations), stripped]
