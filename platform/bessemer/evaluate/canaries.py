"""Canaries: secrets planted in the training text, to test later whether a model knows them.

A canary is a sentence about a person who occurs nowhere else, followed by a secret of random digits. It is added to the
corpus as a separate document, a known number of times (Carlini et al., The Secret Sharer, 2019). `source` and
`metadata` mark these documents, so an evaluation finds the canaries in the corpus. Does not import torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bessemer.artifacts.documents import SCHEMA
from bessemer.errors import UsageError
from bessemer.fingerprint import content_hash, origin_id

SOURCE = "canaries"
SPLIT = "train"
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True)
class Canary:
    """A sentence up to its secret, the secret, and the number of documents with it. `template` contains `{name}`."""

    template: str
    name: str
    secret: str
    num_copies: int

    @property
    def sentence(self) -> str:
        return self.template.replace("{name}", self.name)

    @property
    def text(self) -> str:
        return f"{self.sentence}{self.secret}"


def invent(generator: np.random.Generator, num_copies: int, *, template: str, num_digits: int) -> Canary:
    """Makes a canary with a random name and a random secret."""
    syllables = (generator.choice(list(CONSONANTS)) + generator.choice(list(VOWELS)) for _ in range(5))
    return Canary(template, "".join(syllables).capitalize(), draw_secret(generator, num_digits), num_copies)


def draw_secret(generator: np.random.Generator, num_digits: int) -> str:
    return "".join(map(str, generator.integers(0, 10, num_digits)))


def documents_of(canaries: Iterable[Canary]) -> pa.Table:
    """The documents of the canaries: `num_copies` documents per canary."""
    rows = [
        {
            "id": origin_id("canary", canary.text, str(copy)),
            "text": canary.text,
            "content_hash": content_hash(canary.text),
            "url": f"canary:{canary.name}#{copy}",
            "source": SOURCE,
            "split": SPLIT,
            "metadata": json.dumps({"canary": asdict(canary)}),
        }
        for canary in canaries
        for copy in range(canary.num_copies)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def read_canaries(parts: Iterable[Path]) -> list[Canary]:
    """Reads the canaries among the documents, sorted by number of copies. Raises UsageError if there are none."""
    found: set[Canary] = set()
    for part in parts:
        table = pq.read_table(part, columns=["metadata"], filters=[("source", "==", SOURCE)], use_threads=False)
        found |= {Canary(**json.loads(text)["canary"]) for text in table["metadata"].to_pylist()}
    if not found:
        raise UsageError(
            "the documents that the model was trained on contain no canary",
            hint="add a stage `canaries` after `dedup`, or remove the task",
        )
    return sorted(found, key=lambda canary: (canary.num_copies, canary.name))
