"""Selects the entries of the documentation sites that questions can be about, from the files of artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow.compute as pc

from bessemer import storage
from bessemer.artifacts.documents import read_parquet
from bessemer.docsite.questions import Candidate, Page, candidates, unseen


def askable(
    site: Path,
    parts: Sequence[Path],
    split: str,
    dropped: Counter[str],
    *,
    held_out: bool,
    between: Callable[[], None] = lambda: None,
) -> list[Candidate]:
    """The entries that documents of `split` show.

    With `held_out`, leaves out entries whose signature, summary or first paragraph is also in another split. `site` is
    the data folder of the stage `docsite`, `parts` are the files of the documents. `dropped` counts the entries left
    out, by reason. `between` is called before each part.
    """
    copies: dict[str, str] = storage.read_json(site / "site.json")["copies"]

    def texts(*, inside: bool) -> Iterator[tuple[str, str]]:
        """Yields (URL, text) of the documents inside or outside the split, one part at a time."""
        for part in parts:
            between()
            table = read_parquet(part, ["url", "text", "split"])
            chosen = pc.equal(table["split"], split)
            table = table.filter(chosen if inside else pc.invert(chosen))
            yield from zip(table["url"].to_pylist(), table["text"].to_pylist(), strict=True)

    pages = (Page(copies.get(url, url), text) for url, text in texts(inside=True))
    found = candidates(read_parquet(site / "entries.parquet").to_pylist(), pages, dropped)
    return unseen(found, (text for _, text in texts(inside=False)), dropped) if held_out else found
