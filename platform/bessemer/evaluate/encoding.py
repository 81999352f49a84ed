"""Prompts and answers as tokens.

Text is split as in lm-evaluation-harness: white space at the end of the context goes to the continuation, both are
encoded together, and what is past the context's own tokens is the continuation. An empty context is an end-of-text
token. In a conversation the chat template says where the answer begins, and the answer is encoded alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.evaluate.likelihood import Tree
from bessemer.evaluate.prompts import Preface
from bessemer.evaluate.subject import Subject


def prompt_tokens(subject: Subject, preface: Preface, query: str) -> list[int]:
    """What the model reads before it writes."""
    if preface.is_conversation:
        return [int(token) for token in subject.chat.prompt(preface.messages(query))]
    return subject.generator.encode(preface.text(query))


def tree(subject: Subject, preface: Preface, query: str, continuations: Sequence[str]) -> Tree:
    """A query and what may follow it. Tokens of the query that merge with a continuation are predicted with it."""
    encode = subject.tokenizer.encode
    if preface.is_conversation:
        answers = [encode(continuation.lstrip()) for continuation in continuations]
        return Tree(prompt_tokens(subject, preface, query), answers)
    text = preface.text(query)
    stripped = text.rstrip()
    between = text[len(stripped) :] + preface.target_delimiter
    context = encode(stripped)
    whole = [encode(stripped + between + continuation) for continuation in continuations]
    known = min(len(context), *(len(tokens) - 1 for tokens in whole))
    return Tree(context[:known] or [subject.tokenizer.end_of_text_id], [tokens[known:] for tokens in whole])


def alone(subject: Subject, preface: Preface, continuations: Sequence[str]) -> Tree:
    """The same continuations after nothing."""
    return tree(subject, Preface(target_delimiter=preface.target_delimiter), "", continuations)
