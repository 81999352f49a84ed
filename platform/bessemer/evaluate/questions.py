"""Multiple-choice questions from JSON lines, all checked before any is asked.

{"query": "The capital of France is", "choices": ["Rome", "Paris"], "gold": 1}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.errors import InputError

NUM_NAMED_PROBLEMS = 3


@dataclass(frozen=True)
class Question:
    """A query, the texts that might follow it, and which of them does."""

    id: str
    query: str
    choices: tuple[str, ...]
    gold: int


def read_questions(files: Sequence[Path]) -> list[Question]:
    """Every question of the files; other fields than these are ignored, and `id` is the line's place if absent.

    Raises InputError that names the first lines that are no questions.
    """
    questions: list[Question] = []
    problems: list[str] = []
    for path in files:
        for number, line in enumerate(_lines(path), start=1):
            found = _parse(line, f"{path.stem}:{number}")
            if isinstance(found, Question):
                questions.append(found)
            else:
                problems.append(f"`{path.name}` line {number}: {found}")
    if problems:
        more = f" and {len(problems) - NUM_NAMED_PROBLEMS} more" if len(problems) > NUM_NAMED_PROBLEMS else ""
        raise InputError(
            f"questions that cannot be asked: {'; '.join(problems[:NUM_NAMED_PROBLEMS])}{more}",
            hint='each line is an object such as {"query": "2 + 2 =", "choices": ["3", "4"], "gold": 1}',
        )
    if not questions:
        raise InputError(
            f"no questions in {', '.join(f'`{path}`' for path in files) or 'the artifact'}",
            hint="a file of questions has one JSON object a line",
        )
    return questions


def _lines(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"there is no file `{path}`", hint="check `dataset` of the task") from None
    except UnicodeDecodeError:
        raise InputError(f"`{path}` is not UTF-8 text", hint="questions are JSON lines in UTF-8") from None
    return (line for line in text.splitlines() if line.strip())


def _parse(line: str, place: str) -> Question | str:
    """The question in a line, or what is wrong with it."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return f"no JSON ({error.msg})"
    if not isinstance(row, dict):
        return "no JSON object"
    if missing := [name for name in ("query", "choices", "gold") if name not in row]:
        return f"no `{missing[0]}`"
    query, choices, gold = row["query"], row["choices"], row["gold"]
    if not isinstance(query, str):
        return "`query` is no text"
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        return "`choices` are not two or more texts"
    if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(choices):
        return f"`gold` is no number from 0 to {len(choices) - 1}"
    return Question(str(row.get("id", place)), query, tuple(choices), gold)
