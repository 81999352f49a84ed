"""rows: conversations and preferences from every format; a value that is not used costs no row."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.small_chat import tokenizer_of

from bessemer.artifacts.store import Artifact
from bessemer.errors import InputError
from bessemer.stages import conversations, preferences
from bessemer.stages.engine.row_files import described
from bessemer.tokens.conversations import dialogue_of

CHATS = [{"prompt": f"Where is harbour {number}?", "completion": f"At pier {number}."} for number in range(4)]


@pytest.fixture
def read(make_artifact: Callable[..., Any], run_stage: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """`read(stage, name, content)` runs a stage on one file: (draft, rows, ledger)."""

    def run(stage: Any, name: str, content: bytes | None = None) -> tuple[Any, list[Any], list[Any]]:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        draft, seal = make_artifact("tokenizer", f"tokenizer-{name}")
        tokenizer_of(" ".join(chat.values()) for chat in CHATS).save(draft.data)
        inputs: dict[str, Artifact] = {"tokenizer": seal()}
        draft, _ = run_stage(stage, inputs, name, paths=[str(tmp_path / name)], split={"validation": 0})
        tables = [
            [pq.read_table(path).to_pylist() for path in folder.glob("*")] for folder in (draft.data, draft.ledger)
        ]
        return draft, tables[0][0], tables[1][0]

    return run


def lines(rows: list[Any]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def table(rows: list[dict[str, str]], mark: str) -> bytes:
    file = io.StringIO(newline="")
    csv.DictWriter(file, list(rows[0]), delimiter=mark).writeheader()
    csv.DictWriter(file, list(rows[0]), delimiter=mark).writerows(rows)
    return file.getvalue().encode()


CONTENTS = {
    "a.jsonl": lines(CHATS),
    "a.json": json.dumps(CHATS, indent=2).encode(),
    "b.json": lines(CHATS),
    "b.jsonl": json.dumps(CHATS).encode(),
    "a.json.gz": gzip.compress(json.dumps(CHATS).encode()),
    "c.jsonl": lines(CHATS).decode().encode("utf-16"),
    "a.csv": table(CHATS, ","),
    "b.csv": table(CHATS, ";"),
    "a.tsv": table(CHATS, "\t"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_every_format_gives_the_same_messages(read: Any, name: str) -> None:
    draft, rows, _ = read(conversations, name, CONTENTS[name])
    assert (draft.counts.documents_out, draft.counts.removed) == (4, 0)
    assert [[said["content"] for said in row["messages"]] for row in rows] == [list(chat.values()) for chat in CHATS]


def test_a_column_that_is_not_used_costs_no_row(read: Any, tmp_path: Path) -> None:
    """A date after 9999, a point in time out of range, a time zone that does not exist, a text that is not UTF-8."""
    columns = {
        **{name: [chat[name] for chat in CHATS] for name in ("prompt", "completion")},
        "day": pa.array([4_000_000, 0, 0, 0], pa.int32()).cast(pa.date32()),
        "sent": pa.array([2**60, 0, 0, 0]).cast(pa.timestamp("ms", "Mars/Olympus_Mons")),
        "note": pa.array([b"\xff", b"n", b"n", b"n"]).view(pa.string()),
    }
    doubled = pa.table(columns).append_column("note", pa.array(["other"] * 4))
    pq.write_table(doubled, tmp_path / "a.parquet")
    draft, rows, ledger = read(conversations, "a.parquet")
    assert draft.counts.documents_out == 4
    assert json.loads(rows[0]["fields"]) == {"day": "12921-08-18", "sent": None, "note": None}
    assert json.loads(rows[1]["fields"]) == {"day": "1970-01-01", "sent": "1970-01-01 00:00:00Z", "note": "n"}
    assert (ledger[0]["verdict"], ledger[0]["evidence"]) == ("kept", "not convertible, now null: sent, note")
    assert draft.metrics["data/unconverted_values"] == ledger[0]["signals"]["unconverted_values"] == 2


def test_messages_keep_their_text_if_something_else_in_them_is_lost(read: Any, tmp_path: Path) -> None:
    said = pa.StructArray.from_arrays(
        [pa.array(["user", "assistant"]), pa.array(["Hi?", "Hello."]), pa.array([2**60, 0]).cast(pa.timestamp("ms"))],
        ["role", "content", "sent"],
    )
    pq.write_table(pa.table({"messages": pa.ListArray.from_arrays(pa.array([0, 2]), said)}), tmp_path / "a.parquet")
    _, (row,), _ = read(conversations, "a.parquet")
    assert [message["content"] for message in row["messages"]] == ["Hi?", "Hello."]


def test_preferences_read_only_their_columns(read: Any, tmp_path: Path) -> None:
    pairs = {"prompt": ["Hi?"], "chosen": [b"Hello."], "rejected": ["No."]}
    pq.write_table(pa.table(pairs | {"day": pa.array([10**9], pa.int32()).cast(pa.date32())}), tmp_path / "a.parquet")
    _, (row,), _ = read(preferences, "a.parquet")
    (chosen,) = row["chosen"]
    assert (chosen["role"], chosen["content"]) == ("assistant", "Hello."), "binary columns of UTF-8 are texts"


def test_half_a_character_costs_the_row_only_in_its_messages(read: Any) -> None:
    content = lines([CHATS[0] | {"note": "\ud83d"}, CHATS[1] | {"completion": "\ud83d"}, CHATS[2]])
    content += json.dumps(CHATS[3] | {"note": "x"}).encode().replace(b'"x"', b'"\xff"') + b"\n"
    draft, rows, _ = read(conversations, "a.jsonl", content)
    assert draft.counts.removed_by_rule == {"bad_message": 1}
    assert [json.loads(row["fields"]) for row in rows] == [{"note": "\ufffd"}, {}, {"note": "\ufffd"}]


def test_a_file_that_cannot_be_read_is_a_failed_file(read: Any, caplog: pytest.LogCaptureFixture) -> None:
    content = gzip.compress(lines([{**chat, "n": chat["prompt"] * 3} for chat in CHATS * 20]))
    draft, _, ledger = read(conversations, "a.jsonl.gz", content[:-8])
    assert (draft.counts.removed, draft.counts.files_failed) == (0, 1)
    assert [row["rule"] for row in ledger if row["verdict"] == "failed"] == ["unreadable_file"]
    assert "1 file could not be read completely: a.jsonl.gz#" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", b"PK", "`a.xlsx` cannot be read: rows are read from .jsonl .json .csv .tsv .parquet"),
        ("a.parquet", b"PAR1", "`a.parquet` cannot be read: "),
        ("a.csv", b"id,body\n1,x\n", "none of 1 rows can be used: 1 removed by `no_conversation`"),
        ("a.csv", b"", "the files of `paths` hold no rows"),
    ],
)
def test_the_plan_names_what_cannot_be_read(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        described(conversations.Config(paths=[str(tmp_path / name)]), dialogue_of)
    assert error.value.message.startswith(message)
