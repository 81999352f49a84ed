"""Groups pages for the split into training and held-out documents. All documents of a group are in the same split.

A group is one of the following:

- `page`: one URL without query and fragment (so `?page=2` and `?print=1` stay with their page), or one file or record.
- `directory`: the URL or path up to its last slash.
- `host`: the host, or the first part of a file's path.

For `directory` and `host`, the records of one file are one group. Larger groups keep similar pages of one site in
the same split, but a small corpus of few directories may then leave a split empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq

from bessemer.artifacts.documents import SPLIT_ORDER
from bessemer.extract.settings import SplitBy, SplitFractions
from bessemer.fingerprint import unit_interval


def group_of(url: str, by: SplitBy) -> str:
    """The name of the group of a document. `url` is a URL or `file:relative/path#record`."""
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


def splits_without_files(names: Sequence[str], by: SplitBy, fractions: SplitFractions) -> dict[str, float | None]:
    """Returns the splits that have a share but no file, each with the smallest share that gives it a file.

    Applies to a corpus of one document per file and needs only the files' names. The share is rounded up to two digits.
    It is None if no share helps as long as the other splits keep their shares.
    """
    shares = fractions.shares()
    points = sorted({unit_interval("split", group_of(f"file:{name}", by)) for name in names})
    found: dict[str, float | None] = {}
    start = 0.0
    for split in SPLIT_ORDER:
        share = shares.get(split, 0.0)
        if share and not any(start <= point < start + share for point in points):
            needed = next((math.floor((point - start) * 100 + 1) / 100 for point in points if point >= start), None)
            found[split] = needed if needed is not None and start + needed < 1 else None
        start += share
    return found


def empty_splits(parts: Iterable[Path], fractions: SplitFractions) -> list[str]:
    """Returns the splits that have a share but no document in the files `parts`."""
    missing = {name for name, share in fractions.shares().items() if share}
    for part in parts:
        if not missing:
            break
        missing -= set(pq.read_table(part, columns=["split"], use_threads=False)["split"].unique().to_pylist())
    return sorted(missing)
