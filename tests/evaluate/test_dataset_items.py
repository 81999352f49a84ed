"""Templates turn rows into items. Rows that are not items are reported with file and line before the model runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bessemer.errors import InputError
from bessemer.evaluate.choices import ChoiceItem
from bessemer.evaluate.datasets import content, read_rows
from bessemer.evaluate.kinds import AnyTask
from bessemer.evaluate.kinds.generation import Generation
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice
from bessemer.evaluate.prompts import Preface, draw_solved
from bessemer.evaluate.templates import expression, template

GOOD = {"query": "q", "choices": ["a", "b"], "gold": 1}


def write(path: Path, *rows: Any) -> str:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def choices(dataset: str, **settings: Any) -> list[ChoiceItem]:
    return MultipleChoice(kind="multiple_choice", dataset=dataset, **settings).items({})


def test_rows_that_are_no_items_are_named_together(tmp_path: Path) -> None:
    bad = [{}, GOOD | {"choices": ["a"]}, GOOD | {"gold": 2}, GOOD | {"gold": True}, GOOD | {"choices": ["a", ""]}]
    path = write(tmp_path / "asked.jsonl", GOOD, "", *bad)
    with pytest.raises(InputError) as caught:
        choices(path)
    assert "`asked.jsonl` line 3: no column `choices`" in caught.value.message
    assert "line 4: `choices` is not a list of 2 or more texts" in caught.value.message
    assert "line 5: `gold` is not a number from 0 to 1" in caught.value.message
    assert "and 2 more" in caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.jsonl", b"{", "line 1 is not JSON"),
        ("a.jsonl", b"[1]", "line 1 is not a JSON object"),
        ("a.jsonl", b"", "has no rows"),
        ("a.jsonl", b"\xff\xfe", "is not UTF-8"),
        ("a.json", b"[]", "a format that is not supported for datasets"),
        ("a.csv", b"a,b\n1,2\n3\n", "line 3 has 1 values, but the header names 2 columns"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        choices(str(tmp_path / name))


def test_an_absent_dataset_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.jsonl` does not exist") as caught:
        choices(str(tmp_path / "absent.jsonl"))
    assert "`datasets`" in caught.value.hint


def test_tables_and_folders_and_lines_are_datasets(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufeffq,answers\r\n"two\nlines","x; y"\r\nplain,"z; w"\r\n', encoding="utf-8")
    rows = read_rows(str(tmp_path / "a.csv"))
    assert [row.values for row in rows] == [{"q": "two\nlines", "answers": "x; y"}, {"q": "plain", "answers": "z; w"}]
    assert rows[1].place == "`a.csv` line 4"
    found = choices(str(tmp_path / "a.csv"), query="{{q}}", choices="answers.split('; ')", gold="0")
    assert found[1].choices == ("z", "w")
    told = choices(str(tmp_path / "a.csv"), query="{{q}}", choices="answers.split('; ')", gold="answers.split('; ')[1]")
    assert [item.gold for item in told] == [(1,), (1,)]
    for name in ("2.jsonl", "1.jsonl"):
        write(tmp_path / name, {"id": name})
    assert [row.id for row in read_rows(str(tmp_path / "*.jsonl"))] == ["1.jsonl", "2.jsonl"]
    (tmp_path / "x.en").write_text("one\ntwo\n")
    (tmp_path / "x.de").write_text("eins\nzwei\n")
    pair = {"source": str(tmp_path / "x.en"), "target": str(tmp_path / "x.de")}
    assert [row.values for row in read_rows(pair)][1] == {"source": "two", "target": "zwei"}
    (tmp_path / "x.de").write_text("eins\n")
    with pytest.raises(InputError, match="`source` has 2, `target` has 1"):
        read_rows(pair)


def test_content_counts_and_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, second = write(tmp_path / "a.jsonl", GOOD), write(tmp_path / "other" / "a.jsonl", GOOD)
    assert content(first) == content(second)
    write(tmp_path / "other" / "a.jsonl", GOOD, GOOD)
    assert content(first) != content(second)


def test_templates_see_columns_and_the_row_and_nothing_of_python() -> None:
    row = {"a": "x y", "b c": 3}
    assert template("{{a}}\n{{row['b c'] + 1}}\n")(row) == "x y\n4\n"
    assert template("{{a | regex_replace('(x) ', '\\\\1-')}}")(row) == "x-y"
    assert expression("a.split()")(row) == ["x", "y"]
    with pytest.raises(Exception, match="unsafe"):
        template("{{a.__class__.__mro__}}")(row)


@pytest.mark.parametrize(
    "settings",
    [
        {"query": "{{query"},
        {"choices": "a b"},
        {"choices": ["{% if %}"]},
        {"metrics": ["accuracy"]},
        {"num_fewshot": -1},
    ],
)
def test_declarations_are_checked_where_they_stand(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(AnyTask).validate_python({"kind": "multiple_choice", "dataset": "x"} | settings)


def test_solved_items_stand_before_the_asked_one(tmp_path: Path) -> None:
    asked = write(tmp_path / "asked.jsonl", *({"question": f"q{n}", "answer": [f"a{n}", "alias"]} for n in range(4)))
    pool = write(tmp_path / "pool.jsonl", *({"question": f"p{n}", "answer": f"b{n}"} for n in range(2)))
    task = Generation(
        kind="generation", dataset=asked, fewshot_dataset=pool, num_fewshot=2, query="Q: {{question}}\nA:",
        references="answer", description="Answer.\n", limit=2,
    )  # fmt: skip
    found = task.items({})
    assert len(found) == 2
    solved = sorted(found[1].preface.solved)
    assert solved == [("Q: p0\nA:", "b0"), ("Q: p1\nA:", "b1")]
    text = found[1].preface.text(found[1].query)
    first, second = found[1].preface.solved
    assert text == f"Answer.\n{first[0]} {first[1]}\n\n{second[0]} {second[1]}\n\nQ: q1\nA:"
    own = task.model_copy(update={"fewshot_dataset": None, "limit": None}).items({})
    assert all((item.query, item.references[0]) not in item.preface.solved for item in own)
    with pytest.raises(InputError, match="`num_fewshot` is 4, but there are only 3 other items"):
        task.model_copy(update={"fewshot_dataset": None, "num_fewshot": 4}).items({})


def test_a_conversation_has_the_same_parts() -> None:
    preface = Preface("Be brief.", (("q", " a"),), is_conversation=True)
    roles = [(message["role"], message["content"]) for message in preface.messages("asked")]
    assert roles == [("system", "Be brief."), ("user", "q"), ("assistant", "a"), ("user", "asked")]
    assert preface.messages("asked")[1:] == Preface("", (("q", "a"),)).messages("asked")


@given(st.lists(st.integers(0, 5), min_size=6, max_size=30), st.integers(1, 3), st.integers(0, 9))
def test_drawn_items_are_others_and_a_limit_changes_none(pool: list[int], num_fewshot: int, seed: int) -> None:
    """This also holds if the pool repeats items, and if it is a different dataset that contains the asked items."""

    def draw(count: int, *, from_asked: bool) -> list[list[int]]:
        def is_asked(number: int, place: int) -> bool:
            return pool[number] == pool[place]

        return list(draw_solved(count, len(pool), num_fewshot, seed, is_asked, from_asked=from_asked))

    for from_asked in (True, False):
        if any(sum(other != item for other in pool) < num_fewshot for item in pool):
            with pytest.raises(InputError, match="other items to draw from"):
                draw(len(pool), from_asked=from_asked)
            continue
        drawn = draw(len(pool), from_asked=from_asked)
        for item, places in zip(pool, drawn, strict=True):
            assert len(set(places)) == num_fewshot
            assert item not in [pool[place] for place in places]
        assert draw(3, from_asked=from_asked) == drawn[:3]


def test_an_item_is_not_its_own_example(tmp_path: Path) -> None:
    """The pool is the dataset, a copy of it, or contains the item with other columns or with another right answer."""
    rows: list[dict[str, Any]] = [{"question": f"q{n}", "answer": [f"a{n}", f"alias {n}"]} for n in range(5)]
    asked = write(tmp_path / "asked.jsonl", *rows)
    settings = {"kind": "generation", "dataset": asked, "query": "{{question}}", "references": "answer"}
    pools = {
        "same.jsonl": rows,
        "more.jsonl": [*rows[::-1], {"question": "other", "answer": "x"}],
        "other.jsonl": [{"id": n, "question": f" {row['question']}", "answer": row["answer"][1]} for n, row in
                        enumerate(rows)],
    }  # fmt: skip
    found = {}
    for name, pool in pools.items():
        given = write(tmp_path / name, *pool)
        for count in (1, 3, 4):
            task = Generation.model_validate(settings | {"fewshot_dataset": given, "num_fewshot": count})
            found[name, count] = task.items({})
            for item in found[name, count]:
                assert len(item.preface.solved) == count
                assert item.query not in [query.strip() for query, _ in item.preface.solved]
    own = Generation.model_validate(settings | {"num_fewshot": 3}).items({})
    assert found["same.jsonl", 3] == own
    with pytest.raises(InputError, match="`num_fewshot` is 5, but there are only 4 other items to draw from"):
        Generation.model_validate(settings | {"fewshot_dataset": asked, "num_fewshot": 5}).items({})


def test_the_example_of_a_choice_may_show_another_right_one(tmp_path: Path) -> None:
    """An item with two right choices is recognised in the pool even if the pool has the second choice."""
    asked = write(tmp_path / "asked.jsonl", *({"query": q, "choices": ["a", "b", "c"], "gold": [0, 1]} for q in "xyz"))
    pool = write(tmp_path / "pool.jsonl", *({"query": q, "choices": ["b", "d"], "gold": 0} for q in "xyz"))
    for item in choices(asked, fewshot_dataset=pool, num_fewshot=2):
        assert item.query not in [query for query, _ in item.preface.solved]
