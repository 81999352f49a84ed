"""What an answer of the documentation assistant is worth."""

import re
from collections import Counter


def words_in_common(completions, answer, **columns):
    """F1 of the words that an answer shares with the known one, as SQuAD counts them: 1 is all and no others."""
    return [f1(completion, known) for completion, known in zip(completions, answer, strict=True)]


def f1(text, known):
    ours, theirs = (Counter(re.findall(r"\w+", side.lower())) for side in (text, known))
    common = (ours & theirs).total()
    return 2 * common / max(1, ours.total() + theirs.total())
