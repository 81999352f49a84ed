"""Which pages belong together, so that no group stands on two sides of a split.

`page`: one URL without query and fragment (so `?page=2` and `?print=1` stay with their page), or one file or record.
`directory`: the URL or path up to its last slash. `host`: the host, or the first part of a file's path; the records
of one file are one group for both. A stricter group keeps likenesses between neighbours out of the evaluation, but a
small corpus of few directories may then leave a split empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq

from bessemer.extract.settings import SplitBy, SplitFractions


def group_of(url: str, by: SplitBy) -> str:
    """The name of the group that a document's `url` (a URL, or `file:relative/path#record`) belongs to."""
    if url.startswith("file:"):
        return _file_group(url, by)
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return url
    path = parts.path or "/"
    if by == "host":
        return host or path
    if by == "directory":
        return host + path[: path.rfind("/") + 1]
    folder, _, name = path.rpartition("/")
    return host + (f"{folder}/" if name.startswith("index.") else path)


def _file_group(url: str, by: SplitBy) -> str:
    if by == "page":
        return url
    path = url.partition("#")[0]
    folder, slash, _ = path.rpartition("/")
    if "#" in url or not slash:
        return path if by == "directory" or not slash else path.partition("/")[0]
    return folder + slash if by == "directory" else path.partition("/")[0]


def empty_splits(parts: Iterable[Path], fractions: SplitFractions) -> list[str]:
    """The splits that were asked for and that no document of the files `parts` fell into."""
    missing = {name for name, share in fractions.shares().items() if share}
    for part in parts:
        if not missing:
            break
        missing -= set(pq.read_table(part, columns=["split"], use_threads=False)["split"].unique().to_pylist())
    return sorted(missing)
