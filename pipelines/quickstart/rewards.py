"""The reward for answers of the documentation assistant."""

import re
from collections import Counter

ARTICLES = {"a", "an", "the"}


def helpful(completions, answer, name, **columns):
    """F1 of the words shared with the reference answer, without articles, as in SQuAD; plus half the share of the words
    in the function's name that the answer uses."""
    return [
        f1(Counter(words(text)), Counter(words(known))) + 0.5 * mentioned(text, asked)
        for text, known, asked in zip(completions, answer, name, strict=True)
    ]


def words(text):
    return [word for word in re.findall(r"[^\W_]+", text.lower()) if word not in ARTICLES]


def f1(ours, theirs):
    return 2 * (ours & theirs).total() / max(1, ours.total() + theirs.total())


def mentioned(text, name):
    """Share of the words in `name` that `text` uses. `copy_location` and `CopyLocation` are the words copy and
    location; `copies` counts as a use of `copy`."""
    last = name.rpartition(".")[2]
    parts = [part.lower() for part in re.findall(r"[A-Z]?[a-z]{2,}|[A-Z]{2,}", last)]
    used = words(text)
    return sum(any(word[:4] == part[:4] for word in used) for part in parts) / max(1, len(parts))
