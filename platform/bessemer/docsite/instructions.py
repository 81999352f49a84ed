"""Makes questions and answers from the documentation, to fine-tune and to test an assistant. For example:

    Explain `fmean(data, weights=None)` of `statistics` in one sentence.
    Convert data to floats and compute the mean.

An answer is the first sentence of an entry's documentation. The wording of a question depends only on the entry's name.
`askable` selects the entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bessemer.docsite.questions import Candidate
from bessemer.fingerprint import origin_id, unit_interval

ASKED = (
    "What does `{signature}` of `{module}` do?",
    "What is `{signature}` of `{module}` for?",
    "Explain `{signature}` of `{module}` in one sentence.",
)


@dataclass(frozen=True)
class Instruction:
    """A question about an entry, and its answer."""

    id: str
    url: str
    name: str
    question: str
    answer: str


def instructions(found: Sequence[Candidate], dropped: Counter[str]) -> list[Instruction]:
    """One instruction per entry, sorted by name. Leaves out an entry whose question repeats an earlier one."""
    by_question: dict[str, Instruction] = {}
    for candidate in sorted(found, key=lambda c: (c.name, c.url)):
        signature = candidate.lines[0].removeprefix("class ").removeprefix(f"{candidate.module}.")
        form = ASKED[int(unit_interval("form", candidate.name) * len(ASKED))]
        question = form.format(signature=signature, module=candidate.module)
        name = origin_id("instruction", candidate.url, candidate.name)
        instruction = Instruction(name, candidate.url, candidate.name, question, candidate.summary)
        if by_question.setdefault(question, instruction) is not instruction:
            dropped["asked already"] += 1
    return list(by_question.values())
