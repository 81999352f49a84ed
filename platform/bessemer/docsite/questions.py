"""Makes multiple-choice questions from held-out documentation: which of four summaries belongs to this signature?

The query is the heading and the signature of an entry, exactly as in the document. The choices are summaries: the one
that follows in the document, and three others. The choice that a model finds most likely is the model's answer.

- An entry must be on a page that was kept and is in the chosen split. Its heading, signature and summary must be in the
  document as rendered.
- An entry must not occur in another split. It is left out if its signature, its summary or the paragraph that starts
  with the summary is a line of a document there, such as a copy, an inherited method or a page of contents.
- The wrong choices are summaries of other entries that pass these rules: from the same module or, if that has fewer
  than three, from the same package. They are drawn from the summaries nearest in length, because a language model
  prefers shorter texts.
- An entry is left out if it shares its summary with another entry, or if the summary is very short, very long or
  contains the entry's name.
- The choice of entries and the order of the choices depend only on the entries' names.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bessemer.fingerprint import origin_id, unit_interval

NUM_CHOICES = 4
SUMMARY_LENGTHS = (20, 200)
NEAREST = 8
"""The wrong choices are drawn from this many summaries: those nearest in length."""


@dataclass(frozen=True)
class Page:
    """A document of the chosen split. `url` is the page that it shows; for a copy, the original page."""

    url: str
    text: str


@dataclass(frozen=True)
class Question:
    """One question. In the document, `query` is followed by the right summary, `choices[gold]`."""

    id: str
    url: str
    module: str
    query: str
    choices: tuple[str, ...]
    gold: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """An entry that a question can be about. In the document, `query` is followed by the summary, `lines[1]`."""

    name: str
    module: str
    url: str
    query: str
    summary: str
    lines: tuple[str, str, str]
    """Signature, summary, and the paragraph that starts with the summary."""


def candidates(entries: Iterable[Mapping[str, str]], pages: Iterable[Page], dropped: Counter[str]) -> list[Candidate]:
    """The entries that the pages show. `dropped` counts the entries left out, by reason."""
    texts: dict[str, list[str]] = defaultdict(list)
    for page in pages:
        texts[page.url].append(page.text)
    found = []
    for entry in entries:
        if entry["url"] not in texts:
            continue
        summary, signature = entry["summary"], entry["signature"]
        heading = entry["name"].removeprefix(f"{entry['module']}.")
        shown = re.compile(rf"(?:^|\n)({re.escape(heading)}\n+{re.escape(signature)}\n+)({re.escape(summary)}.*)")
        match = next((m for text in texts[entry["url"]] if (m := shown.search(text))), None)
        if match is None:
            dropped["not on the page as rendered"] += 1
        elif not SUMMARY_LENGTHS[0] <= len(summary) <= SUMMARY_LENGTHS[1]:
            dropped["summary too short or too long"] += 1
        elif _gives_away(heading, summary):
            dropped["summary holds the name"] += 1
        else:
            lines = (signature, summary, match[2].strip())
            found.append(Candidate(entry["name"], entry["module"], entry["url"], match[1], summary, lines))
    return found


def unseen(found: Sequence[Candidate], other_texts: Iterable[str], dropped: Counter[str]) -> list[Candidate]:
    """The candidates without a line that occurs in a document of another split."""
    wanted = {line for candidate in found for line in candidate.lines}
    seen: set[str] = set()
    for text in other_texts:
        seen.update(wanted.intersection(map(str.strip, text.split("\n"))))
    kept = [candidate for candidate in found if seen.isdisjoint(candidate.lines)]
    dropped["seen in another split"] += len(found) - len(kept)
    return kept


def ask(found: Sequence[Candidate], num_questions: int, dropped: Counter[str]) -> list[Question]:
    """At most `num_questions` questions, on the entries whose names hash lowest, sorted by id."""
    times = Counter(_folded(candidate.summary) for candidate in found)
    unique = [candidate for candidate in found if times[_folded(candidate.summary)] == 1]
    dropped["summary of several entries"] += len(found) - len(unique)
    by_module: dict[str, list[Candidate]] = defaultdict(list)
    by_package: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in sorted(unique, key=lambda c: (c.name, c.url)):
        by_module[candidate.module].append(candidate)
        by_package[candidate.module.partition(".")[0]].append(candidate)
    questions: list[Question] = []
    for candidate in sorted(unique, key=lambda c: (unit_interval("question", c.name), c.name)):
        pool = by_module[candidate.module]
        if len(pool) < NUM_CHOICES:
            pool = by_package[candidate.module.partition(".")[0]]
        if len(pool) < NUM_CHOICES:
            dropped["too few other summaries"] += 1
        elif len(questions) < num_questions:
            questions.append(_question(candidate, pool))
    return sorted(questions, key=lambda question: question.id)


def _question(candidate: Candidate, pool: Sequence[Candidate]) -> Question:
    others = [other for other in pool if other is not candidate]
    others.sort(key=lambda other: (abs(len(other.summary) - len(candidate.summary)), other.name))
    wrong = sorted(others[:NEAREST], key=lambda other: unit_interval("wrong", candidate.name, other.name))
    choices = [candidate.summary, *(other.summary for other in wrong[: NUM_CHOICES - 1])]
    choices.sort(key=lambda choice: unit_interval("order", candidate.name, choice))
    return Question(
        id=origin_id("question", candidate.url, candidate.name),
        url=candidate.url,
        module=candidate.module,
        query=candidate.query,
        choices=tuple(choices),
        gold=choices.index(candidate.summary),
    )


def _folded(summary: str) -> str:
    return re.sub(r"\W+", " ", summary.casefold()).strip()


def _gives_away(name: str, summary: str) -> bool:
    """Whether the summary contains the name. A name that is an ordinary word does not count (`mean`)."""
    last = name.rpartition(".")[2]
    return not (last.islower() and last.isalpha()) and last.casefold() in summary.casefold()
