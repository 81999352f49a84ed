"""The planted canaries can be read from the corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.errors import UsageError
from bessemer.evaluate.canaries import Canary, documents_of, invent, read_canaries


def part(folder: Path, *planted: Canary) -> Path:
    other = {"id": "1", "text": "", "content_hash": "", "url": "", "source": "books", "split": "test", "metadata": "{}"}
    table = pa.concat_tables([documents_of(planted), pa.Table.from_pylist([other], schema=SCHEMA)])
    write_parquet(table, folder / "part.parquet")
    return folder / "part.parquet"


def test_canaries_are_found_among_the_documents_once_each(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    planted = [invent(generator, copies, template="{name}: ", num_digits=4) for copies in (5, 1)]
    file = part(tmp_path, *planted)
    assert read_canaries([file]) == planted[::-1]
    table = pq.read_table(file)
    assert table["text"].to_pylist() == [planted[0].text] * 5 + [planted[1].text, ""]
    assert len(set(table["id"].to_pylist())) == 7
    assert planted[0].text == f"{planted[0].name}: {planted[0].secret}"
    assert len(planted[0].secret) == 4
    with pytest.raises(UsageError, match="contain no canary"):
        read_canaries([part(tmp_path)])
