"""split: pages that belong together are in the same split."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bessemer.artifacts.documents import SCHEMA, assign_split, write_parquet
from bessemer.extract.settings import SplitFractions
from bessemer.extract.split import empty_splits, group_of, splits_without_files


@pytest.mark.parametrize(
    ("url", "page", "directory", "host"),
    [
        ("https://www.A.test/b/c.html?page=2#top", "a.test/b/c.html", "a.test/b/", "a.test"),
        ("https://a.test/b/index.html", "a.test/b/", "a.test/b/", "a.test"),
        ("https://a.test", "a.test/", "a.test/", "a.test"),
        ("file:books/austen/emma.txt", "file:books/austen/emma.txt", "file:books/austen/", "file:books"),
        ("file:emma.txt", "file:emma.txt", "file:emma.txt", "file:emma.txt"),
        ("file:a/b.jsonl#7", "file:a/b.jsonl#7", "file:a/b.jsonl", "file:a"),
        ("http://[broken", "http://[broken", "http://[broken", "http://[broken"),
    ],
)
def test_groups(url: str, page: str, directory: str, host: str) -> None:
    assert (group_of(url, "page"), group_of(url, "directory"), group_of(url, "host")) == (page, directory, host)


@given(st.text(), st.sampled_from(["http://a.test/", "file:", "file:a/", ""]))
def test_a_group_within_a_group_is_never_torn_apart(rest: str, beginning: str) -> None:
    """Two URLs of one page have one directory and one host."""
    url = beginning + rest
    if not url.startswith("file:"):
        twin = url.partition("#")[0].partition("?")[0] + "?x=1"
        if group_of(url, "page") == group_of(twin, "page"):
            assert group_of(url, "directory") == group_of(twin, "directory")
            assert group_of(url, "host") == group_of(twin, "host")


def test_shares_leave_something_to_train_on() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        SplitFractions(tune=0.5, validation=0.3, test=0.2)


def test_a_split_that_came_out_empty_is_noticed(tmp_path: Path) -> None:
    row = {"id": "1", "text": "t", "content_hash": "h", "url": "u", "source": "s", "metadata": "{}"}
    rows = [row | {"split": "train"}, row | {"split": "test"}]
    write_parquet(pa.Table.from_pylist(rows, schema=SCHEMA), tmp_path / "a.parquet")
    parts = [tmp_path / "a.parquet"]
    assert empty_splits(parts, SplitFractions(tune=0.1, validation=0.1, test=0.1)) == ["tune", "validation"]
    assert empty_splits(parts, SplitFractions(validation=0, test=0.1)) == []


NAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=12, unique=True)
SHARES = st.tuples(*[st.sampled_from([0.0, 0.01, 0.1, 0.3])] * 3)


@given(NAMES, SHARES)
def test_the_plan_knows_the_splits_that_no_file_falls_into(names: list[str], shares: tuple[float, ...]) -> None:
    """Law: exactly the empty splits are named, and the advised share holds a file."""
    fractions = SplitFractions(**dict(zip(("tune", "validation", "test"), shares, strict=True)))

    def held(by_share: dict[str, float]) -> set[str]:
        return {assign_split(group_of(f"file:{name}", "page"), by_share) for name in names}

    found = splits_without_files(names, "page", fractions)
    assert found.keys() == {split for split, share in fractions.shares().items() if share} - held(fractions.shares())
    for split, share in found.items():
        if share is not None:
            assert split in held({**fractions.shares(), split: share})


def test_twelve_files_may_leave_a_split_without_any() -> None:
    names = [f"chapter-{number}.txt" for number in range(12)]
    found = splits_without_files(names, "page", SplitFractions(tune=0, validation=0.05, test=0.1))
    assert found == {"validation": 0.07}
