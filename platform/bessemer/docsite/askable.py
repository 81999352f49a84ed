"""The entries of the documentation sites that can be asked about in a split, from the files of the artifacts."""

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
    """The entries shown on the documents of `split`; if `held_out`, those of which nothing stands in another split.

    `site` is the data folder of `docsite`, `parts` are the files of the documents; why others cannot be asked about is
    counted in `dropped`, and `between` is called between parts.
    """
    copies: dict[str, str] = storage.read_json(site / "site.json")["copies"]

    def texts(*, inside: bool) -> Iterator[tuple[str, str]]:
        """URL and text of the documents inside the split, or outside it, one part at a time."""
        for part in parts:
            between()
            table = read_parquet(part, ["url", "text", "split"])
            chosen = pc.equal(table["split"], split)
            table = table.filter(chosen if inside else pc.invert(chosen))
            yield from zip(table["url"].to_pylist(), table["text"].to_pylist(), strict=True)

    pages = (Page(copies.get(url, url), text) for url, text in texts(inside=True))
    found = candidates(read_parquet(site / "entries.parquet").to_pylist(), pages, dropped)
    return unseen(found, (text for _, text in texts(inside=False)), dropped) if held_out else found
