"""A table of documents for tests of the rules."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from bessemer.artifacts.documents import SCHEMA
from bessemer.fingerprint import content_hash, origin_id


def documents(texts: Sequence[str]) -> pa.Table:
    """A table of documents of the training split with these texts."""
    rows = [
        {
            "id": origin_id("test", str(number)),
            "text": text,
            "content_hash": content_hash(text),
            "url": f"file:{number}",
            "source": "test",
            "split": "train",
            "metadata": "{}",
        }
        for number, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)
